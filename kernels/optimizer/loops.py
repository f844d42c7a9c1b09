"""One step of every optimiser as loops over the elements of a segment; equations in reference.py.

Order: one segment after the other, one sweep in which an element's gradient, state and parameter
are read, updated and written, so that nothing passes through memory twice. Scalars of a row are
computed in float64 and rounded once: `real(...)`.
Bytes: every array once in, every written one once out. Source: see reference.py.
"""

import math

import numpy as np
from numba import njit

from .reference import gradient_of

__all__ = [
    "adadelta_step",
    "adagrad_step",
    "adam_step",
    "adamax_step",
    "ema_step",
    "lion_step",
    "nadam_step",
    "radam_step",
    "rmsprop_step",
    "segments_clip",
    "segments_scale",
    "segments_sum_squares",
    "sgd_step",
]

kernel = njit(nogil=True, cache=True, error_model="numpy")


def _over_segments(sweep, hyper, *lists):
    """Call `sweep(row, one array or None of each list)` for every segment."""
    none = [None] * len(hyper)
    params, grads, *states = (arrays or none for arrays in lists)
    for arguments in zip(hyper, params, map(gradient_of, grads), *states, strict=True):
        sweep(*arguments)


@kernel
def _kept(x, tiny):
    """Return what a state keeps: 0 for what is smaller than the smallest normal number."""
    return tiny - tiny if abs(x) < tiny else x


@kernel
def _greater(a, b):
    """Return the larger one; a NaN wins."""
    return a if a > b or a != a else b


@kernel
def _sgd(row, p, grad, b):
    real = p.dtype.type
    tiny = np.finfo(p.dtype).tiny
    lr, momentum, fresh = real(row[0]), real(row[1]), real(1 - row[2])
    nesterov, decay, step, sign = row[3], real(row[4]), row[5], real(-1 if row[6] else 1)
    for i in range(p.size):
        g = sign * grad[i]
        if decay != 0:
            g += decay * p[i]
        if b is not None:
            b[i] = _kept(g if step == 1 else momentum * b[i] + fresh * g, tiny)
            g = g + momentum * b[i] if nesterov else b[i]
        p[i] -= lr * g


@kernel
def _adam_scalars(real, row):
    """Return what Adam's family shares, rounded: decays, averages, bias corrections, eps, sign."""
    lr, beta1, beta2, eps, weight_decay, decoupled, step, maximize = row[:8]
    return (
        real(1 - lr * weight_decay if decoupled else 1),
        real(0 if decoupled else weight_decay),
        real(-1 if maximize else 1),
        real(beta1),
        real(1 - beta1),
        real(beta2),
        real(1 - beta2),
        real((1 - beta2**step) ** -0.5),
        real(eps),
    )


@kernel
def _adam(row, p, grad, m, v, top):
    real = p.dtype.type
    tiny = np.finfo(p.dtype).tiny
    shrink, decay, sign, b1, c1, b2, c2, root, eps = _adam_scalars(real, row)
    rate = real(row[0] / (1 - row[1] ** row[6]))
    for i in range(p.size):
        p[i] *= shrink
        g = sign * grad[i]
        if decay != 0:
            g += decay * p[i]
        m[i] = _kept(b1 * m[i] + c1 * g, tiny)
        v[i] = _kept(b2 * v[i] + c2 * (g * g), tiny)
        square = v[i]
        if top is not None:
            top[i] = _greater(top[i], square)
            square = top[i]
        p[i] -= rate * m[i] / (math.sqrt(square) * root + eps)


@kernel
def _nadam(row, p, grad, m, v):
    real = p.dtype.type
    tiny = np.finfo(p.dtype).tiny
    shrink, decay, sign, b1, c1, b2, c2, root, eps = _adam_scalars(real, row)
    lr, beta1, step, momentum_decay, product = row[0], row[1], row[6], row[8], row[9]
    mu = beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
    of_g = real(lr * (1 - mu) / (1 - product))
    of_m = real(lr * mu_next / (1 - product * mu_next))
    for i in range(p.size):
        p[i] *= shrink
        g = sign * grad[i]
        if decay != 0:
            g += decay * p[i]
        m[i] = _kept(b1 * m[i] + c1 * g, tiny)
        v[i] = _kept(b2 * v[i] + c2 * (g * g), tiny)
        p[i] -= (of_g * g + of_m * m[i]) / (math.sqrt(v[i]) * root + eps)


@kernel
def _radam(row, p, grad, m, v):
    real = p.dtype.type
    tiny = np.finfo(p.dtype).tiny
    shrink, decay, sign, b1, c1, b2, c2, _, eps = _adam_scalars(real, row)
    lr, beta1, beta2, step = row[0], row[1], row[2], row[6]
    correction = 1 - beta2**step
    limit = 2 / (1 - beta2) - 1
    length = limit - 2 * step * beta2**step / correction
    rate = lr / (1 - beta1**step)
    rectified = length > 5
    if rectified:
        rectifier = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
        rate *= math.sqrt(rectifier * correction)
    rate = real(rate)
    for i in range(p.size):
        p[i] *= shrink
        g = sign * grad[i]
        if decay != 0:
            g += decay * p[i]
        m[i] = _kept(b1 * m[i] + c1 * g, tiny)
        v[i] = _kept(b2 * v[i] + c2 * (g * g), tiny)
        p[i] -= rate * m[i] / (math.sqrt(v[i]) + eps) if rectified else rate * m[i]


@kernel
def _rmsprop(row, p, grad, v, c, b):
    real = p.dtype.type
    tiny = np.finfo(p.dtype).tiny
    lr, alpha, rest, eps = real(row[0]), real(row[1]), real(1 - row[1]), real(row[2])
    momentum, decay, sign = real(row[3]), real(row[4]), real(-1 if row[5] else 1)
    for i in range(p.size):
        g = sign * grad[i]
        if decay != 0:
            g += decay * p[i]
        v[i] = _kept(alpha * v[i] + rest * (g * g), tiny)
        square = v[i]
        if c is not None:
            c[i] = _kept(alpha * c[i] + rest * g, tiny)
            square = _greater(square - c[i] * c[i], real(0))
        d = g / (math.sqrt(square) + eps)
        if b is not None:
            b[i] = _kept(momentum * b[i] + d, tiny)
            d = b[i]
        p[i] -= lr * d


@kernel
def _adagrad(row, p, grad, v):
    real = p.dtype.type
    rate, eps, decay = real(row[0] / (1 + (row[4] - 1) * row[1])), real(row[2]), real(row[3])
    sign = real(-1 if row[5] else 1)
    for i in range(p.size):
        g = sign * grad[i]
        if decay != 0:
            g += decay * p[i]
        v[i] += g * g
        p[i] -= rate * g / (math.sqrt(v[i]) + eps)


@kernel
def _adadelta(row, p, grad, v, u):
    real = p.dtype.type
    tiny = np.finfo(p.dtype).tiny
    lr, rho, rest, eps = real(row[0]), real(row[1]), real(1 - row[1]), real(row[2])
    decay, sign = real(row[3]), real(-1 if row[4] else 1)
    for i in range(p.size):
        g = sign * grad[i]
        if decay != 0:
            g += decay * p[i]
        v[i] = _kept(rho * v[i] + rest * (g * g), tiny)
        d = math.sqrt(u[i] + eps) / math.sqrt(v[i] + eps) * g
        u[i] = _kept(rho * u[i] + rest * (d * d), tiny)
        p[i] -= lr * d


@kernel
def _adamax(row, p, grad, m, u):
    real = p.dtype.type
    tiny = np.finfo(p.dtype).tiny
    rate, b1, c1, b2 = real(row[0] / (1 - row[1] ** row[5])), real(row[1]), real(1 - row[1]), row[2]
    b2, eps, decay, sign = real(b2), real(row[3]), real(row[4]), real(-1 if row[6] else 1)
    for i in range(p.size):
        g = sign * grad[i]
        if decay != 0:
            g += decay * p[i]
        m[i] = _kept(b1 * m[i] + c1 * g, tiny)
        u[i] = _greater(b2 * u[i], abs(g) + eps)
        p[i] -= rate * m[i] / u[i]


@kernel
def _lion(row, p, grad, m):
    real = p.dtype.type
    tiny = np.finfo(p.dtype).tiny
    lr, shrink, sign = real(row[0]), real(1 - row[0] * row[3]), real(-1 if row[4] else 1)
    b1, c1, b2, c2 = real(row[1]), real(1 - row[1]), real(row[2]), real(1 - row[2])
    for i in range(p.size):
        g = sign * grad[i]
        direction = b1 * m[i] + c1 * g
        p[i] *= shrink
        if direction > 0:
            p[i] -= lr
        elif direction < 0:
            p[i] += lr
        elif direction != direction:
            p[i] = direction
        m[i] = _kept(b2 * m[i] + c2 * g, tiny)


@kernel
def _ema(average, p, decay):
    keep, rest = p.dtype.type(decay), p.dtype.type(1 - decay)
    for i in range(p.size):
        average[i] = keep * average[i] + rest * p[i]


@kernel
def _sum_squares(x):
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@kernel
def _scale(x, factor):
    factor = x.dtype.type(factor)
    for i in range(x.size):
        x[i] *= factor


@kernel
def _clip(x, low, high):
    low, high = x.dtype.type(low), x.dtype.type(high)
    for i in range(x.size):
        if x[i] < low:
            x[i] = low
        elif x[i] > high:
            x[i] = high


def sgd_step(params, grads, buffers, hyper):
    _over_segments(_sgd, hyper, params, grads, buffers)


def adam_step(params, grads, means, squares, tops, hyper):
    _over_segments(_adam, hyper, params, grads, means, squares, tops)


def nadam_step(params, grads, means, squares, hyper):
    _over_segments(_nadam, hyper, params, grads, means, squares)


def radam_step(params, grads, means, squares, hyper):
    _over_segments(_radam, hyper, params, grads, means, squares)


def rmsprop_step(params, grads, squares, centres, buffers, hyper):
    _over_segments(_rmsprop, hyper, params, grads, squares, centres, buffers)


def adagrad_step(params, grads, sums, hyper):
    _over_segments(_adagrad, hyper, params, grads, sums)


def adadelta_step(params, grads, squares, deltas, hyper):
    _over_segments(_adadelta, hyper, params, grads, squares, deltas)


def adamax_step(params, grads, means, norms, hyper):
    _over_segments(_adamax, hyper, params, grads, means, norms)


def lion_step(params, grads, means, hyper):
    _over_segments(_lion, hyper, params, grads, means)


def ema_step(averages, params, decay):
    for average, p in zip(averages, params, strict=True):
        _ema(average, p, float(decay))


def segments_sum_squares(arrays, out):
    out[0] = sum(_sum_squares(x) for x in arrays)


def segments_scale(arrays, factor):
    for x in arrays:
        _scale(x, float(factor))


def segments_clip(arrays, low, high):
    for x in arrays:
        _clip(x, float(low), float(high))
