"""Elementwise kernels as scalar functions, one element in, one element out: a row of a table each.

Numba compiles each to machine code as a NumPy ufunc, for the dtypes that are asked for and when
they are asked for; the loop around it (broadcasting, strides, `out`, releasing the GIL) is
NumPy's. Strict IEEE arithmetic, no fast-math.

Bytes moved: every input once, `out` once; nothing is kept between elements.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from .reference import (
    GELU_CUBIC,
    INV_SQRT_TWO_PI,
    SELU_ALPHA,
    SELU_SCALE,
    SQRT_TWO_OVER_PI,
)

SQRT_HALF = 0.70710678118654752440
SQRT_HALF_LOW = -4.8336466567264567e-17  # what float64 drops of it
TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)

__all__ = []


class _Kernel:
    """A scalar function over `inputs` arrays and any parameters, called as the contract says."""

    def __init__(self, scalar, inputs, result=None):
        self.scalar, self.inputs, self.result = scalar, inputs, result
        self.ufuncs = {}

    def __call__(self, *arguments):
        k = self.inputs
        arrays, out, parameters = arguments[:k], arguments[k], arguments[k + 1 :]
        dtype = arrays[-1].dtype
        ufunc = self.ufuncs.get(dtype) or self.compile(dtype, arrays, len(parameters))
        with np.errstate(all="ignore"):
            ufunc(*arrays, *map(dtype.type, parameters), out=out)

    def compile(self, dtype, arrays, parameters):
        kind = numba.from_dtype(dtype)
        takes = [numba.from_dtype(a.dtype) for a in arrays] + [kind] * parameters
        signature = (self.result or kind)(*takes)
        self.ufuncs[dtype] = ufunc = numba.vectorize([signature], cache=True)(self.scalar)
        return ufunc


def _kernel(inputs, result=None):
    def register(name, scalar):
        __all__.append(name)
        globals()[name] = _Kernel(scalar, inputs, result)

    return register


_unary, _binary, _ternary = _kernel(1), _kernel(2), _kernel(3)
_test, _comparison = _kernel(1, numba.boolean), _kernel(2, numba.boolean)
_inline = numba.njit(cache=True)


# --- what several definitions share -------------------------------------------------------------


@_inline
def _maximum(a, b):
    return a if a >= b or math.isnan(a) else b


@_inline
def _clip(x, low, high):
    """min(max(x, low), high); a NaN in any of the three comes out."""
    x = _maximum(x, low)
    return x if x <= high or math.isnan(x) else high


@_inline
def _sigmoid(x):
    if x < 0:
        e = math.exp(x)
        return e / (1 + e)
    return 1 / (1 + math.exp(-x))


@_inline
def _softplus(x):
    return _maximum(x, 0) + math.log1p(math.exp(-math.fabs(x)))


@_inline
def _tanh_softplus(x):
    """As in reference.py: n / (n + 2), n = w (w + 2), w = exp(x); over w^2 where x > 0."""
    e = math.exp(-math.fabs(x))
    if x > 0:
        return (1 + 2 * e) / (1 + 2 * e + 2 * e * e)
    return e * (e + 2) / (e * (e + 2) + 2)


@_inline
def _normal_cdf(x):
    """erfc(-x / sqrt(2)) / 2, the argument's rounding error (2 z^2 large) put back to first order.

    sqrt(1/2) = SQRT_HALF + SQRT_HALF_LOW; the product's own error is Dekker's.
    """
    z = -x * SQRT_HALF
    if math.fabs(z) > 30:
        return 0.5 * math.erfc(z)
    x_high, half_high = _upper_bits(x), _upper_bits(SQRT_HALF)
    x_low, half_low = x - x_high, SQRT_HALF - half_high
    error = ((x_high * half_high + z) + x_high * half_low + x_low * half_high) + x_low * half_low
    dropped = -(error + x * SQRT_HALF_LOW)
    return 0.5 * (math.erfc(z) - dropped * TWO_OVER_SQRT_PI * math.exp(-z * z))


@_inline
def _upper_bits(x):
    """Veltkamp's split: the upper 26 bits of a float64."""
    scaled = x * 134217729.0
    return scaled - (scaled - x)


@_inline
def _gelu_tanh_inner(x):
    return SQRT_TWO_OVER_PI * x * (1 + GELU_CUBIC * x * x)


# --- arithmetic ---------------------------------------------------------------------------------

_unary("negative", lambda x: -x)
_unary("positive", lambda x: x)
_unary("abs", lambda x: math.fabs(x))
_unary("sign", lambda x: x if math.isnan(x) else (x > 0) - (x < 0))
_unary("square", lambda x: x * x)
_unary("sqrt", lambda x: math.sqrt(x))
_unary("reciprocal", lambda x: 1 / x)
_binary("add", lambda a, b: a + b)
_binary("subtract", lambda a, b: a - b)
_binary("multiply", lambda a, b: a * b)
_binary("divide", lambda a, b: a / b)
_binary("power", lambda a, b: a**b)
_binary("maximum", lambda a, b: a if a >= b or math.isnan(a) else b)
_binary("minimum", lambda a, b: a if a <= b or math.isnan(a) else b)
_binary("remainder", lambda a, b: a % b)
_binary("floor_divide", lambda a, b: a // b)
_ternary("where", lambda condition, a, b: a if condition else b)
_unary("clip", lambda x, low, high: _clip(x, low, high))


# --- exponentials, logarithms, angles -----------------------------------------------------------

_unary("exp", lambda x: math.exp(x))
_unary("expm1", lambda x: math.expm1(x))
_unary("log", lambda x: math.log(x))
_unary("log1p", lambda x: math.log1p(x))
_unary("log2", lambda x: np.log2(x))
_unary("log10", lambda x: math.log10(x))
_unary("sin", lambda x: math.sin(x))
_unary("cos", lambda x: math.cos(x))
_unary("tan", lambda x: math.tan(x))
_unary("asin", lambda x: math.asin(x))
_unary("acos", lambda x: math.acos(x))
_unary("atan", lambda x: math.atan(x))
_unary("sinh", lambda x: math.sinh(x))
_unary("cosh", lambda x: math.cosh(x))
_unary("tanh", lambda x: math.tanh(x))
_unary("erf", lambda x: math.erf(x))
_binary("atan2", lambda a, b: math.atan2(a, b))
_binary("hypot", lambda a, b: math.hypot(a, b))


def _logaddexp(a, b):
    if a == b:  # also equal infinities, whose difference is NaN
        return a + math.log(2.0)
    return _maximum(a, b) + math.log1p(math.exp(-math.fabs(a - b)))


_binary("logaddexp", _logaddexp)


# --- rounding, tests, comparisons ---------------------------------------------------------------

_unary("floor", lambda x: np.floor(x))
_unary("ceil", lambda x: np.ceil(x))
_unary("trunc", lambda x: np.trunc(x))
_unary("round", lambda x: np.rint(x))
_test("isnan", lambda x: x != x)
_test("isinf", lambda x: math.isinf(x))
_test("isfinite", lambda x: math.isfinite(x))
_test("logical_not", lambda x: x == 0)
_comparison("equal", lambda a, b: a == b)
_comparison("not_equal", lambda a, b: a != b)
_comparison("less", lambda a, b: a < b)
_comparison("less_equal", lambda a, b: a <= b)
_comparison("greater", lambda a, b: a > b)
_comparison("greater_equal", lambda a, b: a >= b)
_comparison("logical_and", lambda a, b: (a != 0) and (b != 0))
_comparison("logical_or", lambda a, b: (a != 0) or (b != 0))
_comparison("logical_xor", lambda a, b: (a != 0) != (b != 0))


# --- activations --------------------------------------------------------------------------------

_unary("relu", lambda x: _maximum(x, 0))
_unary("relu6", lambda x: _clip(x, 0, 6))
_unary("sigmoid", lambda x: _sigmoid(x))
_unary("log_sigmoid", lambda x: -_softplus(-x))
_unary("softsign", lambda x: x / (1 + math.fabs(x)))
_unary("gelu", lambda x: x * _normal_cdf(x))
_unary("gelu_tanh", lambda x: x * _sigmoid(2 * _gelu_tanh_inner(x)))
_unary("silu", lambda x: x * _sigmoid(x))
_unary("mish", lambda x: x * _tanh_softplus(x))
_unary("hardsigmoid", lambda x: _clip(x + 3, 0, 6) / 6)
_unary("hardswish", lambda x: x * _clip(x + 3, 0, 6) / 6)
_unary("hardtanh", lambda x, low, high: _clip(x, low, high))
_unary("leaky_relu", lambda x, slope: x if x > 0 else slope * x)
_unary("elu", lambda x, alpha: x if x > 0 else alpha * math.expm1(x))
_unary("selu", lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * math.expm1(x)))
_unary("celu", lambda x, alpha: x if x > 0 else alpha * math.expm1(x / alpha))
_unary("softplus", lambda x, beta, threshold:
       x if beta * x > threshold else _softplus(beta * x) / beta)
_binary("bce_with_logits", lambda x, t:
        _maximum(x, 0) - x * t + math.log1p(math.exp(-math.fabs(x))))


# --- gradients: out = g f'(saved) ---------------------------------------------------------------

_binary("relu_grad", lambda g, y: 0 if y <= 0 else g)
_binary("relu6_grad", lambda g, x: 0 if x <= 0 or x >= 6 else g)
_binary("sigmoid_grad", lambda g, y: g * (y * (1 - y)))
_binary("tanh_grad", lambda g, y: g * ((1 - y) * (1 + y)))
_binary("log_sigmoid_grad", lambda g, x: g * _sigmoid(-x))
_binary("softsign_grad", lambda g, x: g / (1 + math.fabs(x)) ** 2)
_binary("gelu_grad", lambda g, x:
        g * (_normal_cdf(x) + x * (INV_SQRT_TWO_PI * math.exp(-0.5 * x * x))))


def _gelu_tanh_grad(g, x):
    x = _clip(x, -40, 40)  # s (1 - s) is 0 from there, before u' becomes infinite
    twice_u = 2 * _gelu_tanh_inner(x)
    slope = SQRT_TWO_OVER_PI * (1 + 3 * GELU_CUBIC * x * x)
    return g * _sigmoid(twice_u) * (1 + 2 * x * slope * _sigmoid(-twice_u))


_binary("gelu_tanh_grad", _gelu_tanh_grad)
_binary("silu_grad", lambda g, x: g * (_sigmoid(x) * (1 + x * _sigmoid(-x))))


def _mish_grad(g, x):
    e = math.exp(-math.fabs(x))
    if x > 0:
        d = 2 * e * e + 2 * e + 1
        slope = 4 * e * e * (1 + e) / (d * d)
    else:
        d = e * e + 2 * e + 2
        slope = 4 * e * (1 + e) / (d * d)
    return g * (_tanh_softplus(x) + x * slope)


_binary("mish_grad", _mish_grad)
_binary("hardsigmoid_grad", lambda g, x: g / 6 if -3 < x < 3 else 0)


def _hardswish_grad(g, x):
    if x <= -3:
        return 0
    return g * (x / 3 + 0.5) if x < 3 else g


_binary("hardswish_grad", _hardswish_grad)
_binary("hardtanh_grad", lambda g, x, low, high: 0 if x <= low or x >= high else g)
_binary("clip_grad", lambda g, x, low, high: g if low <= x <= high else 0)
_binary("leaky_relu_grad", lambda g, x, slope: g if x > 0 else slope * g)
_binary("elu_grad", lambda g, y, alpha: g if y > 0 else g * (y + alpha))
_binary("selu_grad", lambda g, y: SELU_SCALE * g if y > 0 else g * (y + SELU_SCALE * SELU_ALPHA))
_binary("celu_grad", lambda g, x, alpha: g if x > 0 else g * math.exp(x / alpha))
_binary("softplus_grad", lambda g, x, beta, threshold:
        g if beta * x > threshold else g * _sigmoid(beta * x))
_ternary("bce_with_logits_grad", lambda g, x, t: g * (_sigmoid(x) - t))
