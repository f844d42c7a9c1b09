"""Every module, and small models of every kind of system, train under ``me.jit`` as in eager."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from module_table import ROWS

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim
from medai_engine.jit.history import texts

HOLDERS = ("ModuleList", "ModuleDict", "ParameterList")
COMPUTING = [name for name in ROWS if name not in HOLDERS]


def state(module: nn.Module) -> list[np.ndarray]:
    """Return weights, buffers and gradients."""
    return [*(t.data.copy() for t in module.state_dict().values()),
            *(p.grad.data.copy() for p in module.parameters() if p.grad is not None)]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", COMPUTING)
def test_module(name, training):
    found = []
    for wrap in (lambda f: f, me.jit):
        me.manual_seed(0)
        module = ROWS[name].make().train(training)

        def step(*inputs, module=module):
            module.zero_grad()
            y = module(*inputs)
            if y.requires_grad:
                (y * y).sum().backward()
            return y.detach()

        step = wrap(step)
        me.manual_seed(5)
        results = []
        for seed in range(1, 5):
            arrays = ROWS[name].inputs(np.random.default_rng(seed))
            results += [step(*map(me.asarray, arrays)).data.copy(), *state(module)]
        found.append(results)
    assert same(*found)
    assert len(step.plans) == 1


class Last(nn.Module):
    """An LSTM's last valid output."""

    def __init__(self, *sizes: int, **options: Any):
        self.lstm = nn.LSTM(*sizes, **options)

    def forward(self, x: Any) -> Any:
        return self.lstm(x)[1][0][-1]


class Steps(Last):
    """All outputs."""

    def forward(self, x: Any) -> Any:
        return self.lstm(x)[0]


def images(r: np.random.Generator) -> Any:
    return r.standard_normal((4, 16, 16, 3)).astype(np.float32)


def histories(r: np.random.Generator) -> Any:
    return r.standard_normal((4, 7, 5)).astype(np.float32)


def classes(*shape: int) -> Callable[[np.random.Generator], Any]:
    return lambda r: r.integers(0, 2, shape)


SYSTEMS: dict[str, tuple[Any, Any, Any, Any]] = {
    "images": (lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(None, 8), nn.ReLU(), nn.Linear(8, 2)),
        images, classes(4), F.cross_entropy),
    "history": (lambda: nn.Sequential(Last(5, 8), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)),
                histories, classes(4), F.cross_entropy),
    "phases": (lambda: nn.Sequential(nn.Dropout(0.2), Steps(5, 8, num_layers=2, dropout=0.3),
                                     nn.Linear(8, 2)),
               histories, classes(4, 7), F.cross_entropy),
    "autoencoder": (lambda: nn.Sequential(nn.Linear(768, 8), nn.Sigmoid(), nn.Linear(8, 768),
                                          nn.Sigmoid()),
                    lambda r: r.uniform(0, 1, (4, 768)).astype(np.float32), None, F.mse_loss),
    "generator": (lambda: nn.Sequential(
        nn.Linear(5, 128), nn.BatchNorm1d(128), nn.LeakyReLU(0.2), nn.Reshape((4, 4, 8)),
        nn.Upsample(2), nn.ConvTranspose2d(8, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Upsample(2), nn.ConvTranspose2d(8, 3, 5, padding=2), nn.Tanh()),
        lambda r: r.standard_normal((4, 5)).astype(np.float32), images, F.mse_loss),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_system(name):
    make, inputs, targets, loss_of = SYSTEMS[name]
    found = []
    for wrap in (lambda f: f, me.jit):
        me.manual_seed(0)
        model = make()
        opt: list[Any] = []

        def step(x, y, model=model, opt=opt):
            output = model(x)
            if not opt:  # layers have inferred their sizes now
                opt.append(optim.AdamW(model.parameters(), lr=0.01))
            opt[0].zero_grad()
            loss = loss_of(output, x if y is None else y)
            loss.backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            opt[0].step()
            return loss.detach()

        step = wrap(step)
        me.manual_seed(7)
        rng = np.random.default_rng(3)
        losses = [step(inputs(rng), targets and targets(rng)).data.copy() for _ in range(6)]
        found.append(losses + state(model))
    assert same(*found)
    assert len(step.plans) == 1 and found[0][0] != found[0][5]
    stages = step.plan.history()  # rewriting from what was recorded ends at the same program
    assert stages[-1].after == texts(step.plan.program)
    assert all(a.after == b.before for a, b in pairwise(stages))


def test_layers_joined_by_a_sequential_are_guarded_and_named():
    me.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.1), nn.MaxPool2d(2))
    x = me.tensor(np.random.default_rng(0).normal(size=(2, 10, 10, 3)).astype(np.float32))
    step = me.jit(lambda x: model(x))
    for slope in (0.1, 0.5):
        model[1].negative_slope = slope
        for _ in range(2):
            assert same([step(x).data], [model(x).data])
    assert {type(line.module) for line in step.plan.program.lines} == {nn.Conv2d}
