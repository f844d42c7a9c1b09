"""One step of every optimiser over all its parameters: the definition.

Every list has one flat array per segment (a parameter that has a gradient in this step), and the
float64 array `hyper` one row per segment with the columns of COLUMNS. Parameters and states are
written in place. A state that no segment has is an empty list, one that a segment lacks is None:
momentum buffers, the running maximum of AMSGrad, the mean gradient of centred RMSProp.

With t the step (1 at the first), s = -1 to maximise, else 1, and w the weight decay:
  g  <- s grad + w p                    or, with `decoupled`,  g <- s grad, p <- (1 - lr w) p
  sgd       b <- mu b + (1 - dampening) g, b <- g at t = 1;  p -= lr b;  nesterov: lr (g + mu b);
            without b: lr g
  adam      m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,  AMSGrad: top <- max(top, v) for v,
            p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)
  nadam     mu_t = b1 (1 - 0.96^(t decay) / 2),  M_t = mu_1 ... mu_t (column `mu_product`),
            p -= lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_t mu_(t+1)) m)
                 / (sqrt(v / (1 - b2^t)) + eps)
  radam     R = 2 / (1 - b2) - 1,  r = R - 2 t b2^t / (1 - b2^t),  p -= lr / (1 - b1^t) * m * k,
            k = sqrt((r-4)(r-2)R / ((R-4)(R-2)r)) * sqrt(1 - b2^t) / (sqrt(v) + eps) if r > 5 else 1
  rmsprop   v <- a v + (1 - a) g^2,  centred: c <- a c + (1 - a) g, then v - c^2 for v,
            d = g / (sqrt(v) + eps),  p -= lr d;  with b: b <- mu b + d, p -= lr b
  adagrad   v <- v + g^2,  p -= lr / (1 + (t - 1) decay) * g / (sqrt(v) + eps)
  adadelta  v <- rho v + (1 - rho) g^2,  d = sqrt(u + eps) / sqrt(v + eps) * g,
            u <- rho u + (1 - rho) d^2,  p -= lr d
  adamax    m as Adam,  u <- max(b2 u, |g| + eps),  p -= lr / (1 - b1^t) * m / u
  lion      p <- (1 - lr w) p - lr sign(b1 m + (1 - b1) g),  then m <- b2 m + (1 - b2) g
  ema       average <- decay average + (1 - decay) p

What depends on the row only is computed in float64 and rounded once to the arrays' dtype.

A running mean of gradients that have ended would decay into the subnormal numbers and never leave
them (0.9 times the smallest rounds to itself), where arithmetic is many times slower: a mean
smaller than the smallest normal number becomes 0.

A gradient may be given by its factors, a tuple of matrices (a, b): it is a^T b, and need not be
written to memory.

Bytes: every array once in, every written one once out (Adam: 4 in and 3 out per element).
Source: PyTorch's torch.optim, whose formulas these are (its float32 roundings differ); Kingma & Ba
(2015), Loshchilov & Hutter (2019, decoupled), Reddi et al. (2018, AMSGrad), Dozat (2016, NAdam),
Liu et al. (2020, RAdam), Tieleman & Hinton (2012, RMSProp), Duchi et al. (2011), Zeiler (2012),
Chen et al. (2023, Lion), Sutskever et al. (2013, momentum).
"""

import math

import numpy as np

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

# The columns of `hyper`, in order.
COLUMNS = {
    "sgd_step": ("lr", "momentum", "dampening", "nesterov", "weight_decay", "step", "maximize"),
    "adam_step": (
        "lr", "beta1", "beta2", "eps", "weight_decay", "decoupled", "step", "maximize",
    ),
    "nadam_step": (
        "lr", "beta1", "beta2", "eps", "weight_decay", "decoupled", "step", "maximize",
        "momentum_decay", "mu_product",
    ),
    "radam_step": (
        "lr", "beta1", "beta2", "eps", "weight_decay", "decoupled", "step", "maximize",
    ),
    "rmsprop_step": ("lr", "alpha", "eps", "momentum", "weight_decay", "maximize"),
    "adagrad_step": ("lr", "lr_decay", "eps", "weight_decay", "step", "maximize"),
    "adadelta_step": ("lr", "rho", "eps", "weight_decay", "maximize"),
    "adamax_step": ("lr", "beta1", "beta2", "eps", "weight_decay", "step", "maximize"),
    "lion_step": ("lr", "beta1", "beta2", "weight_decay", "maximize"),
}  # fmt: skip


def _segments(hyper, *lists):
    """Yield (row of Python floats, one array or None of each list) per segment."""
    none = [None] * len(hyper)
    params, grads, *states = (arrays or none for arrays in lists)
    yield from zip(hyper.tolist(), params, map(gradient_of, grads), *states, strict=True)


def gradient_of(grad):
    """Return a flat gradient, which may be given by its factors."""
    return np.matmul(grad[0].T, grad[1]).reshape(-1) if type(grad) is tuple else grad


def _gradient(p, grad, weight_decay, maximize):
    g = -grad if maximize else grad
    return g + weight_decay * p if weight_decay else g


def _decayed_gradient(p, grad, lr, weight_decay, decoupled, maximize):
    """Return the gradient of Adam's family; decoupled decay shrinks `p` instead."""
    if decoupled:
        p *= 1 - lr * weight_decay
        weight_decay = 0
    return _gradient(p, grad, weight_decay, maximize)


def _keep(state, new):
    """Write a state; what is smaller than the smallest normal number becomes 0."""
    state[...] = np.where(np.abs(new) < np.finfo(state.dtype).tiny, 0, new)


def _average(state, decay, new):
    _keep(state, decay * state + (1 - decay) * new)


def sgd_step(params, grads, buffers, hyper):
    for row, p, grad, b in _segments(hyper, params, grads, buffers):
        lr, momentum, dampening, nesterov, weight_decay, step, maximize = row
        g = _gradient(p, grad, weight_decay, maximize)
        if b is not None:
            _keep(b, g if step == 1 else momentum * b + (1 - dampening) * g)
            g = g + momentum * b if nesterov else b
        p -= lr * g


def adam_step(params, grads, means, squares, tops, hyper):
    for row, p, grad, m, v, top in _segments(hyper, params, grads, means, squares, tops):
        lr, beta1, beta2, eps, weight_decay, decoupled, step, maximize = row
        g = _decayed_gradient(p, grad, lr, weight_decay, decoupled, maximize)
        _average(m, beta1, g)
        _average(v, beta2, g * g)
        if top is not None:
            np.maximum(top, v, out=top)
            v = top
        p -= lr / (1 - beta1**step) * m / (np.sqrt(v) * (1 - beta2**step) ** -0.5 + eps)


def nadam_step(params, grads, means, squares, hyper):
    for row, p, grad, m, v in _segments(hyper, params, grads, means, squares):
        lr, beta1, beta2, eps, weight_decay, decoupled, step, maximize, decay, product = row
        g = _decayed_gradient(p, grad, lr, weight_decay, decoupled, maximize)
        _average(m, beta1, g)
        _average(v, beta2, g * g)
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * decay))
        of_g = lr * (1 - mu) / (1 - product)
        of_m = lr * mu_next / (1 - product * mu_next)
        p -= (of_g * g + of_m * m) / (np.sqrt(v) * (1 - beta2**step) ** -0.5 + eps)


def radam_step(params, grads, means, squares, hyper):
    for row, p, grad, m, v in _segments(hyper, params, grads, means, squares):
        lr, beta1, beta2, eps, weight_decay, decoupled, step, maximize = row
        g = _decayed_gradient(p, grad, lr, weight_decay, decoupled, maximize)
        _average(m, beta1, g)
        _average(v, beta2, g * g)
        rate = lr / (1 - beta1**step)
        correction = 1 - beta2**step
        limit = 2 / (1 - beta2) - 1
        length = limit - 2 * step * beta2**step / correction
        if length > 5:  # the variance of the adaptive rate is finite: rectify it
            rectifier = (length - 4) * (length - 2) * limit
            rectifier /= (limit - 4) * (limit - 2) * length
            p -= rate * math.sqrt(rectifier * correction) * m / (np.sqrt(v) + eps)
        else:
            p -= rate * m


def rmsprop_step(params, grads, squares, centres, buffers, hyper):
    for row, p, grad, v, c, b in _segments(hyper, params, grads, squares, centres, buffers):
        lr, alpha, eps, momentum, weight_decay, maximize = row
        g = _gradient(p, grad, weight_decay, maximize)
        _average(v, alpha, g * g)
        if c is not None:
            _average(c, alpha, g)
            v = np.maximum(v - c * c, 0)  # rounding may leave it just below 0
        d = g / (np.sqrt(v) + eps)
        if b is not None:
            _keep(b, momentum * b + d)
            d = b
        p -= lr * d


def adagrad_step(params, grads, sums, hyper):
    for row, p, grad, v in _segments(hyper, params, grads, sums):
        lr, lr_decay, eps, weight_decay, step, maximize = row
        g = _gradient(p, grad, weight_decay, maximize)
        v += g * g
        p -= lr / (1 + (step - 1) * lr_decay) * g / (np.sqrt(v) + eps)


def adadelta_step(params, grads, squares, deltas, hyper):
    for row, p, grad, v, u in _segments(hyper, params, grads, squares, deltas):
        lr, rho, eps, weight_decay, maximize = row
        g = _gradient(p, grad, weight_decay, maximize)
        _average(v, rho, g * g)
        d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        _average(u, rho, d * d)
        p -= lr * d


def adamax_step(params, grads, means, norms, hyper):
    for row, p, grad, m, u in _segments(hyper, params, grads, means, norms):
        lr, beta1, beta2, eps, weight_decay, step, maximize = row
        g = _gradient(p, grad, weight_decay, maximize)
        _average(m, beta1, g)
        u[...] = np.maximum(beta2 * u, np.abs(g) + eps)
        p -= lr / (1 - beta1**step) * m / u


def lion_step(params, grads, means, hyper):
    for row, p, grad, m in _segments(hyper, params, grads, means):
        lr, beta1, beta2, weight_decay, maximize = row
        g = -grad if maximize else grad
        p *= 1 - lr * weight_decay
        p -= lr * np.sign(beta1 * m + (1 - beta1) * g)
        _average(m, beta2, g)


def ema_step(averages, params, decay):
    for average, p in zip(averages, params, strict=True):
        average[...] = decay * average + (1 - decay) * p


def segments_sum_squares(arrays, out):
    out[0] = sum(np.sum(np.square(x, dtype=np.float64)) for x in arrays)


def segments_scale(arrays, factor):
    for x in arrays:
        x *= factor


def segments_clip(arrays, low, high):
    for x in arrays:
        np.clip(x, low, high, out=x)
