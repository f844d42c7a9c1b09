"""Functions of layers and activations against PyTorch's, derivatives, and errors."""

# ruff: noqa: B023 (the lambdas run before the loop goes on)

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import agree, channels_first, enough, rng

import medai_engine as me
from medai_engine import functional, nn
from medai_engine import functional as F
from medai_engine.errors import DataError, DTypeError, ParameterError, ShapeError
from medai_engine.testing import gradcheck, gradgradcheck

try:
    import torch
    import torch.nn.functional as T
except ImportError:
    torch = T = None

# ---- activations ------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": [{}], "relu6": [{}], "selu": [{}], "silu": [{}], "mish": [{}], "softsign": [{}],
    "hardsigmoid": [{}], "hardswish": [{}], "sigmoid": [{}], "tanh": [{}], "log_sigmoid": [{}],
    "leaky_relu": [{}, {"negative_slope": 0.3}], "elu": [{}, {"alpha": 0.75}],
    "celu": [{}, {"alpha": 0.75}], "gelu": [{}, {"approximate": "tanh"}],
    "softplus": [{}, {"beta": 2.0, "threshold": 1.0}],
    "hardtanh": [{}, {"min_val": -0.5, "max_val": 2.0}],
}
# both sides, the kinks themselves, and far out
POINTS = np.array([-300.0, -30, -6, -3, -1.5, -1, -0.5, -1e-9, 0, 1e-9, 0.5, 1, 1.5, 2, 3, 6, 30,
                   300])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    for options in ACTIVATIONS[name]:
        # PyTorch evaluates Phi near -6 with a cancellation, and rounds 1/6 to float32
        rtol = {"gelu": 1e-9, "hardsigmoid": 1e-7}.get(name, 1e-12)
        agree(name, lambda x: getattr(F, name)(x, **options),
              lambda x: getattr(T, name.replace("log_s", "logs"))(x, **options),
              [POINTS], rtol=rtol)


@pytest.mark.parametrize("channels", [1, 3])
def test_prelu(channels):
    x = rng().standard_normal((4, 5, 3))
    x[0, 0] = 0
    weight = rng().uniform(0.1, 0.5, channels)
    agree("prelu", F.prelu, lambda x, w: T.prelu(channels_first(x), w).movedim(1, -1),
          [x, weight], (0, 1))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(name, axis):
    agree(name, lambda x: getattr(F, name)(x, axis), lambda x: getattr(T, name)(x, axis),
          [rng().standard_normal((3, 4, 5)) * 10])


# ---- second derivatives of the compositions ---------------------------------------------------

SECOND: dict[str, Callable[[Any], Any]] = {
    "cross_entropy": lambda x: F.cross_entropy(x, np.array([0, 3, -100]), np.arange(1.0, 5.0),
                                               label_smoothing=0.1),
    "cross_entropy of probabilities": lambda x: F.cross_entropy(x, np.full((3, 4), 0.25)),
    "nll_loss": lambda x: F.nll_loss(x * x, np.array([0, 3, 2])),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy(F.sigmoid(x), np.full((3, 4), 0.3)),
    "pos_weight": lambda x: F.binary_cross_entropy_with_logits(
        x, np.full((3, 4), 0.3), pos_weight=np.arange(1.0, 5.0)),
    "huber_loss": lambda x: F.huber_loss(x, np.full((3, 4), 0.03), delta=0.5),
    "focal_loss": lambda x: F.focal_loss(x, np.eye(3, 4), gamma=2.5),
    "tversky_loss": lambda x: F.tversky_loss(F.sigmoid(x).reshape((3, 2, 2)), np.ones((3, 2, 2))),
    "cosine_similarity": lambda x: F.cosine_similarity(x, np.arange(4.0)).sum(),
    "triplet_margin_loss": lambda x: F.triplet_margin_loss(x, x * 0.5, np.ones((3, 4))),
    "softmax": lambda x: (F.softmax(x) * np.arange(4.0)).sum(),
}


@pytest.mark.parametrize("name", SECOND)
def test_derivatives(name):
    x = me.Tensor(rng().standard_normal((3, 4)) * 0.4)
    assert gradcheck(SECOND[name], [x])
    assert gradgradcheck(SECOND[name], [x])


# ---- dropout, embedding -----------------------------------------------------------------------


def test_dropout_keeps_the_mean_and_repeats_its_mask_in_the_gradient():
    me.manual_seed(3)
    x = me.Tensor(np.ones((200, 300), np.float32)).requires_grad_()
    y = F.dropout(x, 0.3)
    y.backward(np.ones((200, 300), np.float32))
    kept = y.numpy() != 0
    assert abs(kept.mean() - 0.7) < 0.01
    assert np.array_equal(x.grad.data, y.numpy())
    assert np.allclose(y.numpy()[kept], 1 / 0.7)
    assert not np.array_equal(F.dropout(x, 0.3).numpy(), y.numpy())
    me.manual_seed(3)
    assert np.array_equal(F.dropout(x, 0.3).numpy(), y.numpy())
    own = F.dropout(x, 0.3, rng=me.random.Generator(3))
    assert np.array_equal(own.numpy(), y.numpy())


def test_dropout_off_and_full():
    x = me.Tensor(np.ones(5, np.float32))
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).tolist() == [0] * 5


def test_embedding():
    indices = np.array([[1, 2, 1], [4, 4, 0]])
    for padding in (None, 4, -4):
        agree("embedding", lambda w: F.embedding(indices, w, padding),
              lambda w: T.embedding(torch.from_numpy(indices), w, padding),
              [rng().standard_normal((5, 3))])


# ---- errors -----------------------------------------------------------------------------------

X = np.zeros((2, 3), np.float32)
ERRORS = [
    (lambda: F.cross_entropy(X, np.zeros(2)), DTypeError, "integer dtype.*astype"),
    (lambda: F.cross_entropy(X, np.zeros(2), ignore_index=1), DTypeError, "integer dtype"),
    (lambda: F.cross_entropy(X, np.eye(3, dtype=int)[:2]), ShapeError, "one-hot"),
    (lambda: F.cross_entropy(X, np.zeros((2, 1), int)), ShapeError, "squeeze"),
    (lambda: F.cross_entropy(X, [0, 3]), DataError, r"labels from 0 to 2, got 3 at labels\[1\]"),
    (lambda: F.cross_entropy(X, [0, -1]), DataError, "got -1"),
    (lambda: F.cross_entropy(X, [0, -100, 3]), ShapeError, "labels of shape"),
    (lambda: F.cross_entropy(X, [0, 7], np.ones(3)), DataError, "got 7"),
    (lambda: F.cross_entropy(X, [0, 1], np.ones(2)), ShapeError, "one number per class"),
    (lambda: F.cross_entropy(X, [0, 1], label_smoothing=2), ParameterError, "between 0 and 1"),
    (lambda: F.cross_entropy(X, [0, 1], reduction="avg"), ParameterError, "mean, sum, none"),
    (lambda: F.cross_entropy(np.zeros((2, 3), int), [0, 1]), DTypeError, "last layer first"),
    (lambda: F.nll_loss(X, np.zeros(2)), DTypeError, "integer dtype"),
    (lambda: F.nll_loss(X, np.eye(3, dtype=int)[:2]), ShapeError, "argmax"),
    (lambda: F.nll_loss(X, [0, 3]), DataError, "got 3"),
    (lambda: F.binary_cross_entropy(X - 1, X), DataError, "with_logits"),
    (lambda: F.binary_cross_entropy(X, X + 2), DataError, "0 and 1"),
    (lambda: F.binary_cross_entropy_with_logits(X[:, :1], X[:, 0]), ShapeError, "reshape"),
    (lambda: F.mse_loss(X[:, :1], X[:, 0]), ShapeError, r"target.reshape\(\(2, 1\)\)"),
    (lambda: F.mse_loss(X, X[:, :2]), ShapeError, "width of the last layer"),
    (lambda: F.mse_loss(np.zeros(3, int), X[0]), DTypeError, "predictions first"),
    (lambda: F.huber_loss(X, X, delta=0), ParameterError, "delta above 0"),
    (lambda: F.smooth_l1_loss(X, X, beta=-1), ParameterError, "beta >= 0"),
    (lambda: F.hinge_loss(X, X), ParameterError, "2 \\* target - 1"),
    (lambda: F.dice_loss(X, X), ShapeError, r"\(N, ..., C\)"),
    (lambda: F.embedding([0, 5], X), ShapeError, "^embedding.*to 1 into a table of size 2, got 5"),
    (lambda: F.embedding([0.5], X), DTypeError, "integer dtype"),
    (lambda: F.embedding(X, [0]), ShapeError, "indices first"),
    (lambda: F.embedding([0], X, padding_idx=2), ParameterError, "between -2 and 1"),
    (lambda: F.dropout(X, 1.5), ParameterError, "between 0 and 1"),
    (lambda: F.softmax(X, 2), ShapeError, "axis between -2 and 1"),
    (lambda: F.gelu(X, "exact"), ParameterError, '"none" or "tanh"'),
    (lambda: F.celu(X, 0), ParameterError, "other than 0"),
    (lambda: F.softplus(X, 0), ParameterError, "other than 0"),
    (lambda: F.hardtanh(X, 1, -1), ParameterError, "min_val below max_val"),
    (lambda: F.prelu(X, np.ones(2)), ShapeError, r"\(1,\) or \(3,\)"),
    (lambda: F.linear(X, np.ones((4, 5), np.float32)), ShapeError, "5 input features, got 3"),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_error(number):
    call, error, match = ERRORS[number]
    with pytest.raises(error, match=match):
        call()


def test_enough_was_compared():
    """Every function ran against its equivalent, with all options."""
    enough({"embedding": 3, "prelu": 2, "softmax": 3, "log_softmax": 3,
            **{name: len(options) for name, options in ACTIVATIONS.items()}})


# ---- documentation ----------------------------------------------------------------------------

TEXTS = [m.name for package in (functional, nn)
         for m in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]


@pytest.mark.parametrize("name", TEXTS)
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", F.__all__)
def test_functions_say_equation_and_sections(name):
    doc = inspect.getdoc(getattr(F, name))
    sections = re.findall(r"^(\w+)\n-+$", doc, re.M)
    assert sections or "rguments as in" in doc
    assert "``" in doc.split("\n\n")[0] or name in ("dropout",)
