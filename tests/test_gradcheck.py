"""me.testing: the public gradient checker, on functions and modules."""

from __future__ import annotations

import numpy as np
import pytest

import medai_engine as me
from medai_engine.tensor import Tensor

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 3))
X = RNG.standard_normal(3)


def test_checker_names_the_wrong_entry():
    @me.op(gradient={"x": lambda g, x: g * (x * 2.0 + Tensor(np.float64([0, 0, 1e-3])))})
    def off(x):
        return x * x

    with pytest.raises(me.testing.GradientError, match=r"input 0\[2\].*finite difference"):
        me.testing.gradcheck(off, [X])

    @me.op(gradient={"x": lambda g, x: g * Tensor(2.0 * x.data)})  # right, but a constant
    def square(x):
        return x * x

    assert me.testing.gradcheck(square, [X])
    with pytest.raises(me.testing.GradientError, match=r"gradgradcheck: .*input 0\["):
        me.testing.gradgradcheck(square, [X])


def test_checker_of_modules():
    layer = me.nn.Sequential(me.nn.Linear(3, 4), me.nn.Tanh(), me.nn.Linear(4, 2))
    x = RNG.standard_normal((5, 3))
    with pytest.raises(me.ParameterError, match=r"float64 parameters.*astype"):
        me.testing.gradcheck(layer, x)
    layer.astype(np.float64)
    before = {name: p.data.copy() for name, p in layer.named_parameters()}
    assert me.testing.gradcheck(layer, x) and me.testing.gradgradcheck(layer, x)
    assert all(np.array_equal(before[name], p.data) and p.grad is None
               for name, p in layer.named_parameters())
    with pytest.raises(me.ParameterError, match="floating input"):
        me.testing.gradcheck(lambda i: i, np.arange(3))


def test_checker_takes_integers_structures_and_constants():
    labels = np.array([0, 2])
    logits = RNG.standard_normal((2, 3))
    assert me.testing.gradcheck(me.functional.cross_entropy, [logits, labels])
    assert me.testing.gradcheck(lambda x: {"a": x * x, "b": [x.sum(), x > 0]}, X)
    assert me.testing.gradcheck(lambda x: Tensor(np.ones(2)), X)
    assert me.testing.gradcheck(lambda x: x * x, np.float32([1.0, 2.0]))  # in float64
    assert me.testing.gradcheck(lambda a, b: a @ b, [A, X.reshape(3, 1)], step=1.0, rtol=1e-13)


def test_checker_needs_a_function():
    random = me.nn.Sequential(me.nn.Dropout(0.5))
    with pytest.raises(me.ParameterError, match=r"same result every time.*eval"):
        me.testing.gradcheck(random, np.ones(50))
    random.eval()
    assert me.testing.gradcheck(random, np.ones(50))


def test_checker_sees_what_ones_would_not():
    """Any multiple of the gradient of sum(softmax) is 0: the cotangent has to be random."""

    @me.op(gradient={"x": lambda g, y: 7.0 * y * (g - (g * y).sum())})
    def softmax(x):
        e = np.exp(x - x.max())
        return e / e.sum()

    assert np.allclose(me.grad(lambda x: softmax(x).sum())(X).data, 0, atol=1e-15)
    with pytest.raises(me.testing.GradientError):
        me.testing.gradcheck(softmax, X)
