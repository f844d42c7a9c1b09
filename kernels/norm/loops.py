"""Normalisation as loops; equations in reference.py.

Order: one group after the other, a sweep for the mean, one for the variance, one for the result;
the gradient takes one sweep for the sums and one for dx. Sums are carried in float64.
Bytes: see reference.py, one more read of x. Source: see reference.py.
"""

import math

import numpy as np
from numba import njit

__all__ = ["channel_affine", "channel_affine_grad", "norm", "norm_grad"]

kernel = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def norm(x, weight, bias, y, mean, var, eps):
    outer, n, C = x.shape
    groups = mean.shape[1]
    W = C // groups
    for o in range(outer):
        for k in range(groups):
            total = 0.0
            for i in range(n):
                for c in range(k * W, k * W + W):
                    total += x[o, i, c]
            middle = total / (n * W)
            squares = 0.0
            for i in range(n):
                for c in range(k * W, k * W + W):
                    squares += (x[o, i, c] - middle) ** 2
            mean[o, k], var[o, k] = middle, squares / (n * W)
            r = 1 / math.sqrt(squares / (n * W) + eps)
            for i in range(n):
                for c in range(k * W, k * W + W):
                    y[o, i, c] = (x[o, i, c] - middle) * r * weight[c] + bias[c]


@kernel
def norm_grad(g, g_mean, g_var, x, mean, var, weight, dx, dweight, dbias, eps):
    outer, n, C = x.shape
    groups = mean.shape[1]
    W = C // groups
    m = n * W
    to_weight, to_bias = np.zeros(C), np.zeros(C)
    for o in range(outer):
        for k in range(groups):
            middle, r = mean[o, k], 1 / math.sqrt(var[o, k] + eps)
            A = B = 0.0
            for i in range(n):
                for c in range(k * W, k * W + W):
                    d = x[o, i, c] - middle
                    to_weight[c] += g[o, i, c] * d * r
                    to_bias[c] += g[o, i, c]
                    A += g[o, i, c] * weight[c]
                    B += g[o, i, c] * weight[c] * d
            constant = (g_mean[o, k] - r * A) / m
            slope = (2 * g_var[o, k] - r * r * r * B) / m
            for i in range(n):
                for c in range(k * W, k * W + W):
                    dx[o, i, c] = (r * weight[c] * g[o, i, c]
                                   + slope * (x[o, i, c] - middle) + constant)
    dweight[:] = to_weight
    dbias[:] = to_bias


@kernel
def channel_affine(x, center, scale, shift, y):
    rows, C = x.shape
    for i in range(rows):
        for c in range(C):
            y[i, c] = (x[i, c] - center[c]) * scale[c] + shift[c]


@kernel
def channel_affine_grad(g, x, center, scale, dx, dscale, dshift):
    rows, C = x.shape
    to_scale, to_shift = np.zeros(C), np.zeros(C)
    for i in range(rows):
        for c in range(C):
            dx[i, c] = g[i, c] * scale[c]
            to_scale[c] += g[i, c] * (x[i, c] - center[c])
            to_shift[c] += g[i, c]
    dscale[:] = to_scale
    dshift[:] = to_shift
