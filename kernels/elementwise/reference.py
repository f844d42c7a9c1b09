"""Elementwise kernels, defined in NumPy.

Every function reads its inputs, broadcast to `out`, and fills `out`; parameters follow `out`.
This text serves every dtype that NumPy serves (integers, booleans, long double), and smooth
functions continue analytically to complex arguments where NumPy has what it takes, so that a
complex step differentiates them. Formulas are the stable ones: no exponential overflows, and
`1 + exp(-big)` is never subtracted from 1.

A gradient kernel is `out = g * f'(saved)`, and its second argument says what is saved: x or y.
At kinks and for NaN the derivatives are PyTorch's.
"""

from __future__ import annotations

import math

import numpy as np

SELU_SCALE = 1.0507009873554804934193349852946  # Klambauer et al. 2017, equation 14
SELU_ALPHA = 1.6732632423543772848170429916717
SQRT_TWO_OVER_PI = math.sqrt(2.0 / math.pi)
INV_SQRT_TWO_PI = 1.0 / math.sqrt(2.0 * math.pi)
GELU_CUBIC = 0.044715  # Hendrycks & Gimpel 2016


# --- NumPy's own --------------------------------------------------------------------------------


def _numpy(ufunc):
    """Give a ufunc the contract's signature: `out` after the inputs, nothing returned."""

    def kernel(*arrays):
        ufunc(*arrays[:-1], out=arrays[-1])

    kernel.__name__ = kernel.__qualname__ = ufunc.__name__
    kernel.__doc__ = f"numpy.{ufunc.__name__}"
    return kernel


negative = _numpy(np.negative)
positive = _numpy(np.positive)
abs = _numpy(np.absolute)
sign = _numpy(np.sign)
square = _numpy(np.square)
sqrt = _numpy(np.sqrt)
reciprocal = _numpy(np.reciprocal)
exp = _numpy(np.exp)
expm1 = _numpy(np.expm1)
log = _numpy(np.log)
log1p = _numpy(np.log1p)
log2 = _numpy(np.log2)
log10 = _numpy(np.log10)
sin = _numpy(np.sin)
cos = _numpy(np.cos)
tan = _numpy(np.tan)
asin = _numpy(np.arcsin)
acos = _numpy(np.arccos)
atan = _numpy(np.arctan)
sinh = _numpy(np.sinh)
cosh = _numpy(np.cosh)
tanh = _numpy(np.tanh)
floor = _numpy(np.floor)
ceil = _numpy(np.ceil)
round = _numpy(np.rint)
trunc = _numpy(np.trunc)
isnan = _numpy(np.isnan)
isinf = _numpy(np.isinf)
isfinite = _numpy(np.isfinite)
logical_not = _numpy(np.logical_not)

add = _numpy(np.add)
subtract = _numpy(np.subtract)
multiply = _numpy(np.multiply)
divide = _numpy(np.true_divide)
power = _numpy(np.power)
maximum = _numpy(np.maximum)
minimum = _numpy(np.minimum)
atan2 = _numpy(np.arctan2)
hypot = _numpy(np.hypot)
logaddexp = _numpy(np.logaddexp)
remainder = _numpy(np.remainder)
floor_divide = _numpy(np.floor_divide)
equal = _numpy(np.equal)
not_equal = _numpy(np.not_equal)
less = _numpy(np.less)
less_equal = _numpy(np.less_equal)
greater = _numpy(np.greater)
greater_equal = _numpy(np.greater_equal)
logical_and = _numpy(np.logical_and)
logical_or = _numpy(np.logical_or)
logical_xor = _numpy(np.logical_xor)


def where(condition, a, b, out):
    """a where condition, else b."""
    out[...] = np.where(condition, a, b)


def clip(x, out, low, high):
    """min(max(x, low), high)"""
    np.clip(x, low, high, out=out)


# --- what several definitions share -------------------------------------------------------------


def _decay(x):
    """exp(-|x|), continued to complex x by the sign of the real part."""
    return np.exp(np.where(x.real < 0, x, -x))


def _sigmoid(x):
    """1 / (1 + exp(-x)) with exponents that never overflow."""
    e = _decay(x)
    return np.where(x.real < 0, e, 1) / (1 + e)


def _softplus(x):
    """log(1 + exp(x))"""
    return np.where(x.real < 0, 0, x) + np.log1p(_decay(x))


def _tanh_softplus(x):
    """tanh(log(1 + exp(x))) = n / (n + 2), n = w (w + 2), w = exp(x); over w^2 where x > 0."""
    e = _decay(x)
    n = np.where(x.real < 0, e * (e + 2), 1 + 2 * e)
    return n / (n + np.where(x.real < 0, 2, 2 * e * e))


def _erf(x):
    return np.asanyarray(np.frompyfunc(math.erf, 1, 1)(x), dtype=np.float64)


def _normal_cdf(x):
    """erfc(z) / 2, z = -x / sqrt(2).

    erfc multiplies the rounding of z by 2 z^2, so the part of z that float64 drops comes back
    through the derivative (long double holds it).
    """
    wide = np.asanyarray(x, np.longdouble) * -np.sqrt(np.longdouble(0.5))
    z = wide.astype(np.float64)
    dropped = np.where(np.isfinite(z), wide - z, 0).astype(np.float64)
    slope = 2 / math.sqrt(math.pi) * np.exp(-z * z)
    erfc = np.asanyarray(np.frompyfunc(math.erfc, 1, 1)(z), dtype=np.float64)
    return 0.5 * (erfc - dropped * slope)


def _normal_pdf(x):
    return INV_SQRT_TWO_PI * np.exp(-0.5 * x * x)


def _gelu_tanh_inner(x):
    return SQRT_TWO_OVER_PI * x * (1 + GELU_CUBIC * x * x)


# --- activations --------------------------------------------------------------------------------


def erf(x, out):
    """2 / sqrt(pi) int_0^x exp(-t^2) dt"""
    out[...] = _erf(x)


def relu(x, out):
    """max(x, 0)"""
    np.maximum(x, 0, out=out)


def relu6(x, out):
    """min(max(x, 0), 6)"""
    np.clip(x, 0, 6, out=out)


def sigmoid(x, out):
    """1 / (1 + exp(-x))"""
    out[...] = _sigmoid(x)


def log_sigmoid(x, out):
    """log(sigmoid(x)) = -softplus(-x)"""
    out[...] = -_softplus(-x)


def softsign(x, out):
    """x / (1 + |x|)"""
    out[...] = x / (1 + np.where(x.real < 0, -x, x))


def gelu(x, out):
    """x Phi(x), Phi the normal distribution function (the exact form, with erf)."""
    out[...] = x * _normal_cdf(x)


def gelu_tanh(x, out):
    """x (1 + tanh(u)) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)"""
    out[...] = x * _sigmoid(2 * _gelu_tanh_inner(x))


def silu(x, out):
    """x sigmoid(x)"""
    out[...] = x * _sigmoid(x)


def mish(x, out):
    """x tanh(softplus(x))"""
    out[...] = x * _tanh_softplus(x)


def hardsigmoid(x, out):
    """relu6(x + 3) / 6"""
    out[...] = np.clip(x + 3, 0, 6) / 6


def hardswish(x, out):
    """x relu6(x + 3) / 6"""
    out[...] = x * np.clip(x + 3, 0, 6) / 6


def hardtanh(x, out, low, high):
    """min(max(x, low), high)"""
    np.clip(x, low, high, out=out)


def leaky_relu(x, out, slope):
    """x where x > 0, else slope x"""
    out[...] = np.where(x > 0, x, slope * x)


def elu(x, out, alpha):
    """x where x > 0, else alpha (exp(x) - 1)"""
    out[...] = np.where(x > 0, x, alpha * np.expm1(x))


def selu(x, out):
    """scale elu(x, alpha) with the two constants of self-normalising networks"""
    negative_side = SELU_SCALE * SELU_ALPHA * np.expm1(x)
    out[...] = np.where(x > 0, SELU_SCALE * x, negative_side)


def celu(x, out, alpha):
    """x where x > 0, else alpha (exp(x / alpha) - 1)"""
    out[...] = np.where(x > 0, x, alpha * np.expm1(x / alpha))


def softplus(x, out, beta, threshold):
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold"""
    scaled = beta * x
    out[...] = np.where(scaled.real > threshold, x, _softplus(scaled) / beta)


def bce_with_logits(x, t, out):
    """-(t log p + (1 - t) log(1 - p)), p = sigmoid(x)"""
    out[...] = np.maximum(x, 0) - x * t + np.log1p(_decay(x))


# --- gradients: out = g f'(saved) ---------------------------------------------------------------


def relu_grad(g, y, out):
    """0 where y <= 0, else g"""
    out[...] = np.where(y <= 0, 0, g)


def relu6_grad(g, x, out):
    """g inside (0, 6)"""
    out[...] = np.where((x <= 0) | (x >= 6), 0, g)


def sigmoid_grad(g, y, out):
    """g y (1 - y)"""
    out[...] = g * (y * (1 - y))


def tanh_grad(g, y, out):
    """g (1 - y^2), factored so that y near 1 loses nothing"""
    out[...] = g * ((1 - y) * (1 + y))


def log_sigmoid_grad(g, x, out):
    """g sigmoid(-x)"""
    out[...] = g * _sigmoid(-x)


def softsign_grad(g, x, out):
    """g / (1 + |x|)^2"""
    out[...] = g / (1 + np.abs(x)) ** 2


def gelu_grad(g, x, out):
    """g (Phi(x) + x phi(x))"""
    out[...] = g * (_normal_cdf(x) + x * _normal_pdf(x))


def gelu_tanh_grad(g, x, out):
    """g (s + 2 x s (1 - s) u'), s = sigmoid(2 u), u' = sqrt(2 / pi) (1 + 3 0.044715 x^2)

    From |x| = 40 on s (1 - s) is 0 in every type, before u' becomes infinite.
    """
    x = np.clip(x, -40, 40)
    twice_u = 2 * _gelu_tanh_inner(x)
    slope = SQRT_TWO_OVER_PI * (1 + 3 * GELU_CUBIC * x * x)
    out[...] = g * _sigmoid(twice_u) * (1 + 2 * x * slope * _sigmoid(-twice_u))


def silu_grad(g, x, out):
    """g s (1 + x (1 - s)), s = sigmoid(x)"""
    out[...] = g * (_sigmoid(x) * (1 + x * _sigmoid(-x)))


def mish_grad(g, x, out):
    """g (T + x (1 - T^2) sigmoid(x)), T = tanh(softplus(x))

    With w = exp(x) and D = w^2 + 2 w + 2: (1 - T^2) sigmoid(x) = 4 w (1 + w) / D^2; both
    sides of that fraction are divided by w^4 where x > 0.
    """
    e = _decay(x)
    d = np.where(x.real < 0, e * e + 2 * e + 2, 2 * e * e + 2 * e + 1)
    slope = 4 * np.where(x.real < 0, e, e * e) * (1 + e) / (d * d)
    out[...] = g * (_tanh_softplus(x) + x * slope)


def hardsigmoid_grad(g, x, out):
    """g / 6 inside (-3, 3)"""
    out[...] = np.where((x > -3) & (x < 3), g / 6, 0)


def hardswish_grad(g, x, out):
    """0 up to -3, g (x / 3 + 1/2) up to 3, then g"""
    out[...] = np.where(x <= -3, 0, np.where(x < 3, g * (x / 3 + 0.5), g))


def hardtanh_grad(g, x, out, low, high):
    """g inside (low, high)"""
    out[...] = np.where((x <= low) | (x >= high), 0, g)


def clip_grad(g, x, out, low, high):
    """g inside [low, high]"""
    out[...] = np.where((x >= low) & (x <= high), g, 0)


def leaky_relu_grad(g, x, out, slope):
    """g where x > 0, else slope g"""
    out[...] = np.where(x > 0, g, slope * g)


def elu_grad(g, y, out, alpha):
    """g where y > 0, else g (y + alpha)"""
    out[...] = np.where(y > 0, g, g * (y + alpha))


def selu_grad(g, y, out):
    """scale g where y > 0, else g (y + scale alpha)"""
    out[...] = np.where(y > 0, SELU_SCALE * g, g * (y + SELU_SCALE * SELU_ALPHA))


def celu_grad(g, x, out, alpha):
    """g where x > 0, else g exp(x / alpha)"""
    out[...] = np.where(x > 0, g, g * np.exp(x / alpha))


def softplus_grad(g, x, out, beta, threshold):
    """g sigmoid(beta x), and g where beta x > threshold"""
    scaled = beta * x
    out[...] = np.where(scaled > threshold, g, g * _sigmoid(scaled))


def bce_with_logits_grad(g, x, t, out):
    """g (sigmoid(x) - t)"""
    out[...] = g * (_sigmoid(x) - t)


__all__ = sorted(
    name for name, value in list(globals().items()) if callable(value) and not name.startswith("_")
)

# As the compiled texts: log(0) is -inf and inf - inf is NaN without a warning.
globals().update({name: np.errstate(all="ignore")(globals()[name]) for name in __all__})
