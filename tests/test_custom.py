"""A user's own op and own kernel go through the engine's gate."""

import numpy as np
import pytest

import medai_engine as me


@me.op(gradient={"x": lambda g, x, exponent: g * x ** (exponent - 1.0) * exponent})
def raised(x, *, exponent=3.0):
    """y = x^exponent"""
    return np.power(x, x.dtype.type(exponent))


@me.op(gradient=lambda g, h, a, b, needs: (g * b if needs[0] else None,
                                           g * a + h if needs[1] else None),
       outputs=("product", "second"))
def pair(a, b):
    """product = a b, second = b"""
    return a * b, b.copy()


def test_gradients_of_any_order():
    x = np.array([0.5, 1.5, -2.0])
    np.testing.assert_allclose(me.grad(lambda t: raised(t).sum())(x).numpy(), 3 * x**2)
    np.testing.assert_allclose(me.hessian(lambda t: raised(t).sum())(x).numpy(), np.diag(6 * x))
    np.testing.assert_allclose(raised(x, exponent=2.0).numpy(), x**2)


def test_several_results_and_wanted_gradients():
    a, b = np.array([2.0, 3.0]), np.array([5.0, 7.0])
    total = lambda s, t: (pair(s, t)[0] * 10.0 + pair(s, t)[1]).sum()  # noqa: E731
    ga, gb = me.grad(total, (0, 1))(a, b)
    np.testing.assert_allclose(ga.numpy(), 10 * b)
    np.testing.assert_allclose(gb.numpy(), 10 * a + 1)
    only = me.grad(total, 1)(a, b)
    np.testing.assert_allclose(only.numpy(), gb.numpy())


def test_checker_accepts_it_and_refuses_a_wrong_rule():
    me.testing.gradcheck(raised, [np.array([0.3, 1.7])])

    @me.op(gradient={"x": lambda g, x: g * x * 3.01})
    def wrong(x):
        return 1.5 * x * x

    with pytest.raises(AssertionError):
        me.testing.gradcheck(wrong, [np.array([0.3, 1.7])])


def test_float64_leak_is_named():
    @me.op()
    def leak(x):
        return x * np.linspace(0.0, 1.0, x.size)

    with pytest.raises(me.DTypeError, match=r"leak: expected a result of dtype float32"):
        leak(me.ones(3))


def test_rule_that_asks_for_an_unknown_name():
    with pytest.raises(TypeError, match="asks for 'z'"):
        me.op(gradient={"x": lambda g, z: g})(lambda x: x)


def test_wrong_number_of_results():
    @me.op(outputs=("a", "b"))
    def one(x):
        return x + 1

    with pytest.raises(me.ParameterError, match="expected 2 results, got 1"):
        one(me.ones(2))


def test_own_kernel_inside_an_own_op():
    pytest.importorskip("numba", reason="own kernels are compiled by Numba")

    @me.kernel
    def running_sum(x, out):
        total = 0.0
        for i in range(x.size):
            total += x[i]
            out[i] = total

    def reverse(g):
        out = np.empty_like(g.numpy())
        running_sum(np.ascontiguousarray(g.numpy()[::-1]), out)
        return me.Tensor(out[::-1].copy())

    @me.op(gradient={"x": reverse})
    def cumulative(x):
        out = np.empty_like(x)
        running_sum(x, out)
        return out

    x = np.array([1.0, -2.0, 4.0, 0.5])
    np.testing.assert_array_equal(cumulative(x).numpy(), np.cumsum(x))
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    found = me.grad(lambda t: (cumulative(t) * me.asarray(weights)).sum())(x)
    np.testing.assert_array_equal(found.numpy(), np.cumsum(weights[::-1])[::-1])
    plain = np.empty_like(x)
    running_sum.python(x, plain)
    np.testing.assert_array_equal(plain, np.cumsum(x))
