"""Elementwise kernels as scalar functions, one element in, one element out.

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
        self.__name__, self.__doc__ = scalar.__name__, scalar.__doc__
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
    def register(scalar):
        __all__.append(scalar.__name__)
        return _Kernel(scalar, inputs, result)

    return register


_unary, _binary = _kernel(1), _kernel(2)
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
    """n / (n + 2), n = w (w + 2), w = exp(x); over w^2 where x > 0."""
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


@_unary
def negative(x):
    return -x


@_unary
def positive(x):
    return x


@_unary
def abs(x):
    return math.fabs(x)


@_unary
def sign(x):
    return x if math.isnan(x) else (x > 0) - (x < 0)


@_unary
def square(x):
    return x * x


@_unary
def sqrt(x):
    return math.sqrt(x)


@_unary
def reciprocal(x):
    return 1 / x


@_binary
def add(a, b):
    return a + b


@_binary
def subtract(a, b):
    return a - b


@_binary
def multiply(a, b):
    return a * b


@_binary
def divide(a, b):
    return a / b


@_binary
def power(a, b):
    return a**b


@_binary
def maximum(a, b):
    return a if a >= b or math.isnan(a) else b


@_binary
def minimum(a, b):
    return a if a <= b or math.isnan(a) else b


@_binary
def remainder(a, b):
    return a % b


@_binary
def floor_divide(a, b):
    return a // b


@_kernel(3)
def where(condition, a, b):
    return a if condition else b


@_unary
def clip(x, low, high):
    return _clip(x, low, high)


# --- exponentials, logarithms, angles -----------------------------------------------------------


@_unary
def exp(x):
    return math.exp(x)


@_unary
def expm1(x):
    return math.expm1(x)


@_unary
def log(x):
    return math.log(x)


@_unary
def log1p(x):
    return math.log1p(x)


@_unary
def log2(x):
    return np.log2(x)


@_unary
def log10(x):
    return math.log10(x)


@_unary
def sin(x):
    return math.sin(x)


@_unary
def cos(x):
    return math.cos(x)


@_unary
def tan(x):
    return math.tan(x)


@_unary
def asin(x):
    return math.asin(x)


@_unary
def acos(x):
    return math.acos(x)


@_unary
def atan(x):
    return math.atan(x)


@_unary
def sinh(x):
    return math.sinh(x)


@_unary
def cosh(x):
    return math.cosh(x)


@_unary
def tanh(x):
    return math.tanh(x)


@_unary
def erf(x):
    return math.erf(x)


@_binary
def atan2(a, b):
    return math.atan2(a, b)


@_binary
def hypot(a, b):
    return math.hypot(a, b)


@_binary
def logaddexp(a, b):
    if a == b:  # also equal infinities, whose difference is NaN
        return a + math.log(2.0)
    return _maximum(a, b) + math.log1p(math.exp(-math.fabs(a - b)))


# --- rounding, tests, comparisons ---------------------------------------------------------------


@_unary
def floor(x):
    return np.floor(x)


@_unary
def ceil(x):
    return np.ceil(x)


@_unary
def trunc(x):
    return np.trunc(x)


@_unary
def round(x):
    return np.rint(x)


@_test
def isnan(x):
    return x != x


@_test
def isinf(x):
    return math.isinf(x)


@_test
def isfinite(x):
    return math.isfinite(x)


@_test
def logical_not(x):
    return x == 0


@_comparison
def equal(a, b):
    return a == b


@_comparison
def not_equal(a, b):
    return a != b


@_comparison
def less(a, b):
    return a < b


@_comparison
def less_equal(a, b):
    return a <= b


@_comparison
def greater(a, b):
    return a > b


@_comparison
def greater_equal(a, b):
    return a >= b


@_comparison
def logical_and(a, b):
    return (a != 0) and (b != 0)


@_comparison
def logical_or(a, b):
    return (a != 0) or (b != 0)


@_comparison
def logical_xor(a, b):
    return (a != 0) != (b != 0)


# --- activations --------------------------------------------------------------------------------


@_unary
def relu(x):
    return _maximum(x, 0)


@_unary
def relu6(x):
    return _clip(x, 0, 6)


@_unary
def sigmoid(x):
    return _sigmoid(x)


@_unary
def log_sigmoid(x):
    return -_softplus(-x)


@_unary
def softsign(x):
    return x / (1 + math.fabs(x))


@_unary
def gelu(x):
    return x * _normal_cdf(x)


@_unary
def gelu_tanh(x):
    return x * _sigmoid(2 * _gelu_tanh_inner(x))


@_unary
def silu(x):
    return x * _sigmoid(x)


@_unary
def mish(x):
    return x * _tanh_softplus(x)


@_unary
def hardsigmoid(x):
    return _clip(x + 3, 0, 6) / 6


@_unary
def hardswish(x):
    return x * _clip(x + 3, 0, 6) / 6


@_unary
def hardtanh(x, low, high):
    return _clip(x, low, high)


@_unary
def leaky_relu(x, slope):
    return x if x > 0 else slope * x


@_unary
def elu(x, alpha):
    return x if x > 0 else alpha * math.expm1(x)


@_unary
def selu(x):
    return SELU_SCALE * (x if x > 0 else SELU_ALPHA * math.expm1(x))


@_unary
def celu(x, alpha):
    return x if x > 0 else alpha * math.expm1(x / alpha)


@_unary
def softplus(x, beta, threshold):
    return x if beta * x > threshold else _softplus(beta * x) / beta


@_binary
def bce_with_logits(x, t):
    return _maximum(x, 0) - x * t + math.log1p(math.exp(-math.fabs(x)))


# --- gradients: out = g f'(saved) ---------------------------------------------------------------


@_binary
def relu_grad(g, y):
    return 0 if y <= 0 else g


@_binary
def relu6_grad(g, x):
    return 0 if x <= 0 or x >= 6 else g


@_binary
def sigmoid_grad(g, y):
    return g * (y * (1 - y))


@_binary
def tanh_grad(g, y):
    return g * ((1 - y) * (1 + y))


@_binary
def log_sigmoid_grad(g, x):
    return g * _sigmoid(-x)


@_binary
def softsign_grad(g, x):
    return g / (1 + math.fabs(x)) ** 2


@_binary
def gelu_grad(g, x):
    return g * (_normal_cdf(x) + x * (INV_SQRT_TWO_PI * math.exp(-0.5 * x * x)))


@_binary
def gelu_tanh_grad(g, x):
    x = _clip(x, -40, 40)  # s (1 - s) is 0 from there, before u' becomes infinite
    twice_u = 2 * _gelu_tanh_inner(x)
    slope = SQRT_TWO_OVER_PI * (1 + 3 * GELU_CUBIC * x * x)
    return g * _sigmoid(twice_u) * (1 + 2 * x * slope * _sigmoid(-twice_u))


@_binary
def silu_grad(g, x):
    return g * (_sigmoid(x) * (1 + x * _sigmoid(-x)))


@_binary
def mish_grad(g, x):
    e = math.exp(-math.fabs(x))
    if x > 0:
        d = 2 * e * e + 2 * e + 1
        slope = 4 * e * e * (1 + e) / (d * d)
    else:
        d = e * e + 2 * e + 2
        slope = 4 * e * (1 + e) / (d * d)
    return g * (_tanh_softplus(x) + x * slope)


@_binary
def hardsigmoid_grad(g, x):
    return g / 6 if -3 < x < 3 else 0


@_binary
def hardswish_grad(g, x):
    if x <= -3:
        return 0
    return g * (x / 3 + 0.5) if x < 3 else g


@_binary
def hardtanh_grad(g, x, low, high):
    return 0 if x <= low or x >= high else g


@_binary
def clip_grad(g, x, low, high):
    return g if low <= x <= high else 0


@_binary
def leaky_relu_grad(g, x, slope):
    return g if x > 0 else slope * g


@_binary
def elu_grad(g, y, alpha):
    return g if y > 0 else g * (y + alpha)


@_binary
def selu_grad(g, y):
    return SELU_SCALE * g if y > 0 else g * (y + SELU_SCALE * SELU_ALPHA)


@_binary
def celu_grad(g, x, alpha):
    return g if x > 0 else g * math.exp(x / alpha)


@_binary
def softplus_grad(g, x, beta, threshold):
    return g if beta * x > threshold else g * _sigmoid(beta * x)


@_kernel(3)
def bce_with_logits_grad(g, x, t):
    return g * (_sigmoid(x) - t)
