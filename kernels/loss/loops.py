"""Softmax and the cross-entropy of class indices as loops; equations in reference.py.

Order: one row after the other, three sweeps over each (maximum, sum of exponentials, result), so
that a row is read from memory once and twice more from cache. With `inner > 1` a row is a column
of stride `inner`. Sums are carried in float64 whatever the dtype.
Bytes: one read and one write of each element. Source: see reference.py.
"""

import math

from numba import njit

__all__ = [
    "log_softmax",
    "log_softmax_grad",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
    "softmax_grad",
]

kernel = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def _top(row):
    """Return the largest element; a NaN anywhere wins."""
    top = row[0]
    for x in row:
        if x > top or x != x:
            top = x
    return top


@kernel
def softmax(x, out):
    outer, n, inner = x.shape
    for o in range(outer):
        for i in range(inner):
            row, result = x[o, :, i], out[o, :, i]
            top = _top(row)
            total = 0.0
            for c in range(n):
                result[c] = math.exp(row[c] - top)
                total += result[c]
            for c in range(n):
                result[c] /= total


@kernel
def log_softmax(x, out):
    outer, n, inner = x.shape
    for o in range(outer):
        for i in range(inner):
            row, result = x[o, :, i], out[o, :, i]
            top = _top(row)
            total = 0.0
            for c in range(n):
                total += math.exp(row[c] - top)
            log_total = math.log(total)
            for c in range(n):
                result[c] = (row[c] - top) - log_total


@kernel
def softmax_grad(g, y, out):
    outer, n, inner = y.shape
    for o in range(outer):
        for i in range(inner):
            dot = 0.0
            for c in range(n):
                dot += g[o, c, i] * y[o, c, i]
            for c in range(n):
                out[o, c, i] = y[o, c, i] * (g[o, c, i] - dot)


@kernel
def log_softmax_grad(g, y, out):
    outer, n, inner = y.shape
    for o in range(outer):
        for i in range(inner):
            total = 0.0
            for c in range(n):
                total += g[o, c, i]
            for c in range(n):
                out[o, c, i] = g[o, c, i] - math.exp(y[o, c, i]) * total


@kernel
def softmax_cross_entropy(logits, labels, loss, lse):
    N, C = logits.shape
    for i in range(N):
        row, label = logits[i], labels[i]
        top = _top(row)
        shift = top if math.isfinite(top) else logits.dtype.type(0)
        total = 0.0
        for c in range(C):
            total += math.exp(row[c] - shift)
        log_total = math.log(total)
        lse[i] = shift + log_total
        loss[i] = log_total - (row[label] - shift) if 0 <= label < C else 0.0


@kernel
def softmax_cross_entropy_grad(g_loss, g_lse, logits, labels, lse, out):
    N, C = logits.shape
    for i in range(N):
        label = labels[i]
        known = 0 <= label < C
        scale = g_lse[i] + g_loss[i] if known else g_lse[i]
        if g_lse[i] == 0 and (g_loss[i] == 0 or not known):
            out[i] = 0
            continue
        for c in range(C):
            out[i, c] = scale * math.exp(logits[i, c] - lse[i])
        if known:
            out[i, label] -= g_loss[i]
