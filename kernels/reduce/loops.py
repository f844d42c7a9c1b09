"""Reductions of x (outer, n, inner) over the middle axis, as loops: the equation by element.

Serial, in the order of the index r. Sums are carried in float64, which serves float32 with all its
digits. Every loop runs over inner last, the order of memory.
"""

from __future__ import annotations

import math

import numba
import numpy as np

__all__ = ["argmax", "argmin", "cumulative_prod", "cumulative_sum", "logsumexp", "max", "min",
           "prod", "sum", "sum_squares"]

_jit = numba.njit(nogil=True, cache=True, error_model="numpy")


@_jit
def sum(x, out, scale):
    outer, n, inner = x.shape
    total = np.empty(inner)
    for o in range(outer):
        total[:] = 0
        for r in range(n):
            for j in range(inner):
                total[j] += x[o, r, j]
        for j in range(inner):
            out[o, j] = scale * total[j]


@_jit
def sum_squares(x, out):
    outer, n, inner = x.shape
    total = np.empty(inner)
    for o in range(outer):
        total[:] = 0
        for r in range(n):
            for j in range(inner):
                total[j] += np.float64(x[o, r, j]) * x[o, r, j]
        for j in range(inner):
            out[o, j] = total[j]


@_jit
def prod(x, out):
    outer, n, inner = x.shape
    for o in range(outer):
        for j in range(inner):
            total = np.float64(1)
            for r in range(n):
                total *= x[o, r, j]
            out[o, j] = total


@_jit
def max(x, out):
    outer, n, inner = x.shape
    for o in range(outer):
        out[o] = x[o, 0]
        for r in range(1, n):
            for j in range(inner):
                if x[o, r, j] > out[o, j] or math.isnan(x[o, r, j]):
                    out[o, j] = x[o, r, j]


@_jit
def min(x, out):
    outer, n, inner = x.shape
    for o in range(outer):
        out[o] = x[o, 0]
        for r in range(1, n):
            for j in range(inner):
                if x[o, r, j] < out[o, j] or math.isnan(x[o, r, j]):
                    out[o, j] = x[o, r, j]


@_jit
def argmax(x, out):
    outer, n, inner = x.shape
    for o in range(outer):
        out[o] = 0
        for r in range(1, n):
            for j in range(inner):
                best = x[o, out[o, j], j]
                if x[o, r, j] > best or (math.isnan(x[o, r, j]) and not math.isnan(best)):
                    out[o, j] = r


@_jit
def argmin(x, out):
    outer, n, inner = x.shape
    for o in range(outer):
        out[o] = 0
        for r in range(1, n):
            for j in range(inner):
                best = x[o, out[o, j], j]
                if x[o, r, j] < best or (math.isnan(x[o, r, j]) and not math.isnan(best)):
                    out[o, j] = r


@_jit
def logsumexp(x, out):
    outer, n, inner = x.shape
    total = np.empty(inner)
    shift = np.empty(inner)
    for o in range(outer):
        shift[:] = -np.inf
        for r in range(n):
            for j in range(inner):
                if x[o, r, j] > shift[j]:
                    shift[j] = x[o, r, j]
        for j in range(inner):
            total[j] = 0
            if math.isinf(shift[j]):
                shift[j] = 0
        for r in range(n):
            for j in range(inner):
                total[j] += math.exp(x[o, r, j] - shift[j])
        for j in range(inner):
            out[o, j] = shift[j] + math.log(total[j])


@_jit
def cumulative_sum(x, out):
    outer, n, inner = x.shape
    for o in range(outer):
        out[o, 0] = x[o, 0]
        for r in range(1, n):
            for j in range(inner):
                out[o, r, j] = out[o, r - 1, j] + x[o, r, j]


@_jit
def cumulative_prod(x, out):
    outer, n, inner = x.shape
    for o in range(outer):
        out[o, 0] = x[o, 0]
        for r in range(1, n):
            for j in range(inner):
                out[o, r, j] = out[o, r - 1, j] * x[o, r, j]
