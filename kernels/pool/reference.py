"""Pooling and resampling: the definition.

x is (N, D, H, W, C), y (N, OD, OH, OW, C). What an output reads along an axis stands in a table
with one row (start, stop) per output; so strides, padding, ceil mode, adaptive and global pooling
are all the same to the kernels, and so are averaging, interpolation and their adjoints.

    max_pool       y = max over i in start_d, start_d + step_d, ... < stop_d, the same for h and w
                   index = (i_d H + i_h) W + i_w of the first such element; a NaN wins
    max_pool_grad  dx[n, p, c] = sum of g[n, o, c] over the o with index[n, o, c] = p
    max_pool_take  y[n, o, c] = x[n, index[n, o, c], c]: the adjoint; 0 where no such place exists
    resample       y[n, o] = sum over d, h, w of weight_d[o_d, i] weight_h[o_h, j] weight_w[o_w, k]
                   x[n, start_d + i, start_h + j, start_w + k]

Both ends of a table never decrease (with a step, a start by less than a step), so that the windows
which may hold an input are a contiguous range.

Bytes: every kernel reads its inputs and writes its outputs once; windows overlap in the cache.

Source: Scherer, Muller, Behnke, "Evaluation of pooling operations" (2010).
"""

import itertools
import math

import numpy as np

__all__ = ["max_pool", "max_pool_grad", "max_pool_take", "resample"]


def max_pool(x, y, index, d, h, w, steps):
    H, W = x.shape[2:4]
    for a, b, c in itertools.product(range(len(d)), range(len(h)), range(len(w))):
        i, j, k = (np.arange(table[o, 0], table[o, 1], step) for table, o, step in zip(
            (d, h, w), (a, b, c), steps, strict=True))
        places = ((i[:, None, None] * H + j[:, None]) * W + k).reshape(-1)
        window = x[:, i[0]:i[-1] + 1:steps[0], j[0]:j[-1] + 1:steps[1], k[0]:k[-1] + 1:steps[2]]
        window = window.reshape(len(x), places.size, x.shape[4])
        first = np.argmax(window, axis=1)
        index[:, a, b, c] = places[first]
        y[:, a, b, c] = np.take_along_axis(window, first[:, None], axis=1)[:, 0]


def max_pool_grad(g, index, dx, d, h, w, steps):
    N, C = len(g), g.shape[4]
    dx[...] = 0
    flat = dx.reshape(N, math.prod(dx.shape[1:4]), C)
    rows, channels = np.arange(N)[:, None, None], np.arange(C)
    lines = N, math.prod(g.shape[1:4]), C
    np.add.at(flat, (rows, index.reshape(lines), channels), g.reshape(lines))


def max_pool_take(x, index, y):
    inside = (index >= 0) & (index < x.shape[1])
    places = np.where(inside, index, 0).astype(np.intp)
    y[...] = np.where(inside, np.take_along_axis(x, places, axis=1), 0)


def resample(x, y, d, h, w, weight_d, weight_h, weight_w):
    matrices = [_matrix(table, weights, n, x.dtype) for table, weights, n in zip(
        (d, h, w), (weight_d, weight_h, weight_w), x.shape[1:4], strict=True)]
    y[...] = np.einsum("ndhwc,ad,bh,ew->nabec", x, *matrices, optimize=True)


def _matrix(table, weights, n, dtype):
    """Return the windows of an axis as a matrix (outputs, inputs)."""
    found = np.zeros((len(table), n), dtype)
    for o, (start, stop) in enumerate(table):
        found[o, start:stop] = weights[o, : stop - start]
    return found
