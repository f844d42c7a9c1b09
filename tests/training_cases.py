"""Small data and models that the tests of training share."""

from __future__ import annotations

import hashlib

import numpy as np

import medai_engine as me
from medai_engine import nn, optim


def points(n: int = 90, seed: int = 0, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Classes of points around different centres, float32 (n, 5)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return (rng.normal(size=(n, 5)) + 1.5 * y[:, None]).astype(np.float32), y


def net(classes: int = 2, dropout: float = 0.0, seed: int = 7) -> nn.Module:
    me.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, classes))


def bits(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def same(a: nn.Module, b: nn.Module) -> bool:
    return bits(a) == bits(b)


def fitted(callbacks, epochs=12, lr=0.3, **options):
    x, y = points(60)
    model = net()
    model.compile(optim.SGD(model.parameters(), lr=lr), "cross_entropy", ["accuracy"])
    history = model.fit(x, y, epochs, 16, callbacks=callbacks, verbose=False,
                        validation_data=points(30, seed=9), **options)
    return model, history
