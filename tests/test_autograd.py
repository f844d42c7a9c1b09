"""Reverse mode and the functions of functions, against closed forms."""

from __future__ import annotations

import gc
import math
import weakref

import numpy as np
import pytest

import medai_engine as me
from medai_engine.tensor import Tensor

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 3))
X = RNG.standard_normal(3)
V = RNG.standard_normal(3)


def leaf(values):
    return me.tensor(values, dtype=np.float64, requires_grad=True)


def quadratic(x):
    """x^T A x: gradient (A + A^T) x, Hessian A + A^T."""
    return (x * (Tensor(A) @ x)).sum()


# ---- backward ---------------------------------------------------------------------------------


def test_diamonds_and_repeated_use():
    x = leaf(X)
    y = x * x
    z = y * x + y + x + y  # x^3 + 2 x^2 + x
    z.sum().backward()
    assert np.allclose(x.grad.data, 3 * X**2 + 4 * X + 1, rtol=1e-14)


def test_backward_of_a_leaf_and_with_a_gradient():
    x = leaf(2.0)
    x.backward()
    assert x.grad.item() == 1.0
    x = leaf(X)
    (x * 2.0).backward(V)
    assert np.allclose(x.grad.data, 2 * V)


def test_needless_parts_are_not_visited():
    calls = []

    @me.op(gradient={"x": lambda g: calls.append("x") or g})
    def same(x):
        return x.copy()

    a, b = leaf(X), leaf(X)
    y = (same(a) * b).sum()
    (gb,) = me.autograd.gradients([y], [b], [None], retain_graph=True)
    assert not calls and np.array_equal(gb.data, X)
    me.autograd.gradients([y], [a], [None])
    assert calls == ["x"]


@pytest.mark.parametrize(("start", "match"), [
    (lambda: leaf(X).backward(), "a scalar"),
    (lambda: (leaf(X) * 2.0).backward(np.ones(4)), r"gradient of shape \(3,\), got \(4,\)"),
    (lambda: me.tensor(1.0).backward(), "requires_grad"),
    (lambda: (leaf(X) > 0).sum().backward(), "requires_grad"),
    (lambda: (leaf(X) * 2.0).requires_grad_(False), "a leaf")])
def test_what_cannot_be_differentiated(start, match):
    with pytest.raises((me.GraphError, me.ShapeError), match=match):
        start()


def test_second_backward_needs_retain_graph():
    x = leaf(X)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert np.allclose(x.grad.data, 4 * X)
    with pytest.raises(me.GraphError, match="retain_graph=True"):
        y.backward()
    z = (x + x).sum()  # keeps nothing, so that nothing is missed; freed all the same
    z.backward()
    with pytest.raises(me.GraphError, match="retain_graph=True"):
        z.backward()


def test_create_graph():
    x = leaf(X)
    (x * x * x).sum().backward(create_graph=True)
    first = x.grad
    assert first.requires_grad and np.allclose(first.data, 3 * X**2)
    x.grad = None
    first.sum().backward()
    assert np.allclose(x.grad.data, 6 * X)
    x.grad = first
    (x * 2.0).sum().backward()  # adds without a graph
    assert np.allclose(x.grad.data, 3 * X**2 + 2) and not x.grad.requires_grad


def test_deep_graph():
    """A hundred thousand nodes: no recursion, neither walking nor dying."""
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1.0
    alive = weakref.ref(y)
    del y
    assert alive() is None


def test_deep_graph_that_keeps_values():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = me.sin(y)
    (g,) = me.autograd.gradients([y], [x], [None])
    z, slope = 1.0, 1.0
    for _ in range(20_000):
        slope *= math.cos(z)
        z = math.sin(z)
    assert math.isclose(g.item(), slope, rel_tol=1e-10)
    del y  # nothing was freed by a backward pass before
    gc.collect()


def test_size_zero():
    x = leaf(np.zeros((0, 3)))
    y = (me.exp(x) @ Tensor(np.ones((3, 2)))).sum()
    y.backward()
    assert y.item() == 0.0 and x.grad.shape == (0, 3)
    g = me.grad(lambda t: me.concat([t, t * 2.0], axis=0).sum())(np.zeros((0, 2)))
    assert g.shape == (0, 2)
    assert me.jacobian(lambda t: t * 2.0)(np.zeros(0)).shape == (0, 0)


def test_unused_inputs_have_gradient_zero():
    ga, gb = me.grad(lambda a, b: (a * a).sum(), (0, 1))(X, V)
    assert np.allclose(ga.data, 2 * X) and np.array_equal(gb.data, np.zeros(3))


# ---- transforms against closed forms ----------------------------------------------------------


def test_closed_forms():
    s = A + A.T
    value, g = me.value_and_grad(quadratic)(X)
    assert np.isclose(value.item(), X @ A @ X) and np.allclose(g.data, s @ X)
    assert not value.requires_grad and not g.requires_grad
    assert np.allclose(me.hessian(quadratic)(X).data, s)
    assert np.allclose(me.hvp(quadratic, [X], [V]).data, s @ V)
    linear = me.jacobian(lambda x: Tensor(A) @ x)(X)
    assert linear.shape == (3, 3) and np.allclose(linear.data, A)
    y, pull = me.vjp(lambda x: me.sin(x), X)
    assert np.allclose(y.data, np.sin(X))
    assert np.allclose(pull(V).data, V * np.cos(X)) and np.allclose(pull(X).data, X * np.cos(X))
    y, moved = me.jvp(lambda x: me.sin(x), [X], [V])
    assert np.allclose(y.data, np.sin(X)) and np.allclose(moved.data, V * np.cos(X))


def test_jacobian_of_matrices():
    jacobian = me.jacobian(lambda b: Tensor(A) @ b)(np.eye(3)[:, :2])
    assert jacobian.shape == (3, 2, 3, 2)
    assert np.allclose(jacobian.data, np.einsum("ik,jl->ijkl", A, np.eye(2)))


def test_several_primals_and_tangents():
    def f(a, b):
        return {"product": a * b, "sum": [a + b]}

    y, moved = me.jvp(f, [X, V], [V, X])
    assert np.allclose(y["product"].data, X * V)
    assert np.allclose(moved["product"].data, V * V + X * X)
    assert np.allclose(moved["sum"][0].data, X + V)
    h = me.hvp(lambda a, b: (a * a * b).sum(), [X, V], [V, X])
    assert np.allclose(h[0].data, 2 * V * V + 2 * X * X) and np.allclose(h[1].data, 2 * X * V)
    constant, zero = me.jvp(lambda a: Tensor(np.ones(2)), [X], [V])
    assert np.array_equal(constant.data, np.ones(2)) and np.array_equal(zero.data, np.zeros(2))


def test_structures_auxiliary_results_argnums():
    def loss(parameters, scale, *, power):
        return (parameters["w"] ** power).sum() * scale + parameters["b"][0], "extra"

    parameters = {"w": X.copy(), "b": [np.float64(1.0)]}
    (value, aux), g = me.value_and_grad(loss, has_aux=True)(parameters, 2.0, power=2)
    assert aux == "extra" and np.isclose(value.item(), 2 * (X**2).sum() + 1)
    assert np.allclose(g["w"].data, 4 * X) and g["b"][0].item() == 1.0
    last = me.grad(lambda a, b: (a * b).sum(), -1)(X, V)
    assert np.allclose(last.data, X)
    with pytest.raises(me.ParameterError, match="argnums"):
        me.grad(quadratic, 1)(X)
    with pytest.raises(me.GraphError, match="floating"):
        me.grad(quadratic)(np.arange(3))
    with pytest.raises(me.ShapeError, match="one number"):
        me.grad(lambda x: x * 2.0)(X)
    with pytest.raises(me.ShapeError, match="tangent"):
        me.jvp(quadratic, [X], [np.ones(4)])
    with pytest.raises(me.ShapeError, match="cotangents"):
        me.vjp(lambda x: (x, x), X)[1](V)


# ---- transforms inside transforms -------------------------------------------------------------


@pytest.mark.parametrize("order", range(1, 6))
def test_derivatives_of_any_order(order):
    f = lambda x: me.exp(x * 2.0) * me.sin(x)  # noqa: E731
    exact = ((2 + 1j) ** order * np.exp((2 + 1j) * 0.3)).imag
    for _ in range(order):
        f = me.grad(f)
    assert math.isclose(f(np.float64(0.3)).item(), exact, rel_tol=1e-12)


def test_inner_functions_close_over_outer_variables():
    """The classic confusion: the inner derivative must not see the outer one's variable."""
    assert me.grad(lambda x: x * me.grad(lambda y: x + y)(1.0))(1.0).item() == 1.0
    assert me.grad(lambda x: x * me.grad(lambda y: x * y)(3.0))(2.0).item() == 4.0
    assert me.grad(lambda x: me.grad(lambda y: x * x * y * y)(x))(2.0).item() == 6 * 4.0
    nested = me.grad(lambda x: me.jvp(lambda y: y * y * x, [x], [me.tensor(1.0)])[1])(3.0)
    assert nested.item() == 12.0  # d/dx 2 x^2, by both uses of x


def test_gradient_steps_inside_a_loss():
    """Meta-learning: differentiate through a step of gradient descent."""

    def after_one_step(w, rate):
        return ((w - rate * me.grad(lambda v: (v * v).sum())(w)) ** 2).sum()

    gw, gr = me.grad(after_one_step, (0, 1))(X, np.float64(0.1))
    assert np.allclose(gw.data, 2 * 0.8**2 * X)
    assert np.isclose(gr.item(), (2 * (1 - 0.2) * -2 * X * X).sum())


def test_inside_an_outer_graph():
    """An argument with a gradient connects the result; what a function closes over does not."""
    w = leaf(X)
    through = me.grad(quadratic)(w)
    assert through.requires_grad
    through.sum().backward()
    assert np.allclose(w.grad.data, (A + A.T).sum(0))
    assert not me.grad(lambda x: (x * x * w).sum())(V).requires_grad
    closed = me.grad(lambda w: me.grad(lambda x: (x * x * w).sum())(V).sum())(w)
    assert np.allclose(closed.data, 2 * V)


def test_pulling_back_later_and_inside():
    y, pull = me.vjp(lambda x: x * x, X)
    assert not y.requires_grad
    slope = me.grad(lambda u: (pull(u) * pull(u)).sum())(V)
    assert np.allclose(slope.data, 2 * (2 * X) ** 2 * V)


def test_under_no_grad():
    with me.no_grad():
        g = me.grad(quadratic)(X)
        second = me.grad(lambda x: me.grad(quadratic)(x).sum())(X)
        y, pull = me.vjp(lambda x: x * x, X)
        pulled, moved = pull(V), me.jvp(lambda x: x * x, [X], [V])[1]
    assert np.allclose(g.data, (A + A.T) @ X) and np.allclose(second.data, (A + A.T).sum(0))
    assert np.allclose(pulled.data, 2 * X * V) and np.allclose(moved.data, 2 * X * V)
    assert not g.requires_grad and not y.requires_grad

    def stopped(x):
        with me.no_grad():
            factor = x * 2.0
        return (factor * x).sum()

    assert np.allclose(me.grad(stopped)(X).data, 2 * X)
    assert np.allclose(me.grad(lambda x: (x.detach() * x).sum())(X).data, X)
