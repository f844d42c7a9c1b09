"""Pooling and resampling as loops; equations in reference.py.

Order: one output after the other, its window inside; the gradient of max pooling visits the
outputs in order and adds to the place of their maximum. Sums of resample are carried in float64.
Bytes and source: see reference.py.
"""

import math

from numba import njit

__all__ = ["max_pool", "max_pool_grad", "max_pool_take", "resample"]

kernel = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def max_pool(x, y, index, d, h, w, steps):
    _, _, H, W, C = x.shape
    N, OD, OH, OW, _ = y.shape
    for n in range(N):
        for a in range(OD):
            for b in range(OH):
                for e in range(OW):
                    for c in range(C):
                        best, place = -math.inf, -1
                        for i in range(d[a, 0], d[a, 1], steps[0]):
                            for j in range(h[b, 0], h[b, 1], steps[1]):
                                for k in range(w[e, 0], w[e, 1], steps[2]):
                                    v = x[n, i, j, k, c]
                                    if place < 0 or v > best or (v != v and best == best):
                                        best, place = v, (i * H + j) * W + k
                        y[n, a, b, e, c], index[n, a, b, e, c] = best, place


@kernel
def max_pool_grad(g, index, dx, d, h, w, steps):
    N, _, H, W, C = dx.shape
    _, OD, OH, OW, _ = g.shape
    dx[:] = 0
    for n in range(N):
        for a in range(OD):
            for b in range(OH):
                for e in range(OW):
                    for c in range(C):
                        place = index[n, a, b, e, c]
                        dx[n, place // (H * W), place // W % H, place % W, c] += g[n, a, b, e, c]


@kernel
def max_pool_take(x, index, y):
    N, outputs, C = index.shape
    for n in range(N):
        for o in range(outputs):
            for c in range(C):
                place = index[n, o, c]
                y[n, o, c] = x[n, place, c] if 0 <= place < x.shape[1] else 0


@kernel
def resample(x, y, d, h, w, weight_d, weight_h, weight_w):
    N, OD, OH, OW, C = y.shape
    for n in range(N):
        for a in range(OD):
            for b in range(OH):
                for e in range(OW):
                    for c in range(C):
                        total = 0.0
                        for i in range(d[a, 0], d[a, 1]):
                            for j in range(h[b, 0], h[b, 1]):
                                weight = weight_d[a, i - d[a, 0]] * weight_h[b, j - h[b, 0]]
                                line = 0.0
                                for k in range(w[e, 0], w[e, 1]):
                                    line += weight_w[e, k - w[e, 0]] * x[n, i, j, k, c]
                                total += weight * line
                        y[n, a, b, e, c] = total
