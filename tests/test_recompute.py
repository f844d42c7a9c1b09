"""me.checkpoint: the values, the memory, the random draws, and what goes wrong."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

import medai_engine as me
from medai_engine.generator import Generator

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 3))
X = RNG.standard_normal(3)
V = RNG.standard_normal(3)


def leaf(values):
    return me.tensor(values, dtype=np.float64, requires_grad=True)


def block(x, w):
    return me.tanh(x @ w) * me.exp(x) + me.functional.softmax(x)


def test_checkpoint_gives_the_same_bits():
    x, w = leaf(RNG.standard_normal((4, 3))), leaf(A)
    results = []
    for f in (block, me.checkpoint(block)):
        x.grad = w.grad = None
        y = f(f(x, w), w)
        (y * y).sum().backward()
        results.append([y.data.tobytes(), x.grad.data.tobytes(), w.grad.data.tobytes()])
    assert results[0] == results[1]


def test_checkpoint_computes_again_once():
    calls = []

    def f(x):
        calls.append(x)
        return me.exp(me.sin(x) * x)

    x = leaf(X)
    y = me.checkpoint(f)(x)
    assert len(calls) == 1
    y.sum().backward()
    assert len(calls) == 2


def test_checkpoint_keeps_nothing():
    inner = []

    def f(x):
        h = me.exp(x)
        inner.append(weakref.ref(h))
        return (me.log(h) * me.sin(h)).sum()

    x = leaf(X)
    f(x)
    plain = f(x)
    assert inner[-1]() is not None
    del plain
    y = me.checkpoint(f)(x)
    assert inner[-1]() is None
    y.backward()
    assert inner[-1]() is None  # what the second run kept is gone as well


def test_checkpoint_lets_go_while_the_backward_pass_goes_on():
    inner, alive = [], []

    @me.op(gradient={"x": lambda g: alive.append(inner[-1]() is not None) or g})
    def first(x):
        return x.copy()

    def f(x):
        h = me.exp(first(x))
        inner.append(weakref.ref(h))
        return me.log(h)

    me.checkpoint(f)(leaf(X)).sum().backward()
    assert len(inner) == 2 and alive == [False]


def test_checkpoint_twice_differentiable():
    me.testing.gradcheck(me.checkpoint(block), [X.reshape(1, 3), A])
    me.testing.gradgradcheck(me.checkpoint(block), [X.reshape(1, 3), A])
    hessian = me.hessian(me.checkpoint(lambda x: (x * (me.asarray(A) @ x)).sum()))(X)
    assert np.allclose(hessian.data, A + A.T)


def test_checkpoint_repeats_dropout():
    x = leaf(np.ones((40, 50)))
    rng = Generator(3)

    def f(t):
        return me.functional.dropout(t * 2.0, 0.5, rng=rng) * me.functional.dropout(t, 0.2, rng=rng)

    y = me.checkpoint(f)(x)
    offset = rng.offset
    g, = me.autograd.gradients([y.sum()], [x], [None])
    assert rng.offset == offset > 0  # running again draws nothing new
    assert np.array_equal(g.data != 0, y.data != 0)
    again = f(x)
    assert not np.array_equal(again.data, y.data)


def test_checkpoint_inside_a_checkpoint_and_without_gradient():
    x = leaf(X)
    outer = me.checkpoint(lambda t: me.checkpoint(lambda u: me.sin(u) * u)(t) * t)
    g = me.grad(lambda t: outer(t).sum())(x)
    assert np.allclose(g.data, 2 * X * np.sin(X) + X * X * np.cos(X))
    with me.no_grad():
        assert not outer(x).requires_grad


def test_checkpoint_notices_another_computation():
    count = [0]

    def f(x):
        count[0] += 1
        return me.exp(x) if count[0] == 1 else me.exp(me.sin(x))

    y = me.checkpoint(f)(leaf(X)).sum()
    with pytest.raises(me.GraphError, match="same every time"):
        y.backward()


@pytest.mark.parametrize("f", [lambda x, w: me.exp(x + w), lambda x, w: me.exp(x) * w])
def test_checkpoint_notices_writes(f):
    x, w = leaf(X), leaf(V)
    y = me.checkpoint(f)(x, w).sum()
    with me.no_grad():
        w *= 2.0
    with pytest.raises(me.GraphError, match="written since"):
        y.backward()
    me.checkpoint(f)(x, w).sum().backward()


def test_checkpoint_passes_errors_on_and_recovers():
    fail = [False]

    def f(x):
        y = me.exp(x)
        if fail[0]:
            raise ZeroDivisionError
        return me.sin(y)

    x = leaf(X)
    y = me.checkpoint(f)(x).sum()
    fail[0] = True
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_graph=True)
    fail[0] = False
    y.backward()
    assert np.allclose(x.grad.data, np.cos(np.exp(X)) * np.exp(X))
