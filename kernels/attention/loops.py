"""Scaled dot-product attention as loops; equations in reference.py.

Order: sample, head, query, then the keys once: the running maximum, the sum of exponentials and the
weighted sum of v are put right whenever the maximum grows (the online softmax), so that no row of
weights is kept. The gradient goes the same way, its weights recomputed from lse. Sums are carried
in float64. Bytes: k and v once per query. Source: see reference.py; Milakov, Gimelshein 2018,
Online normalizer calculation for softmax.
"""

import math

import numpy as np
from numba import njit

__all__ = ["attention", "attention_grad"]

kernel = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def _dot(a, b):
    total = 0.0
    for e in range(a.size):
        total += a[e] * b[e]
    return total


@kernel
def _score(q, k, mask, n, h, i, j, scale, causal):
    if causal and j > i:
        return -math.inf
    added = mask[n % mask.shape[0], h % mask.shape[1], i % mask.shape[2], j % mask.shape[3]]
    return added if added == -math.inf else scale * _dot(q[n, h, i], k[n, h, j]) + added


@kernel
def _attention(q, k, v, mask, out, lse, scale, causal):
    N, H, L, _ = q.shape
    S, V = v.shape[2:]
    sums = np.empty(V)
    for n in range(N):
        for h in range(H):
            for i in range(L):
                top, total = -math.inf, 0.0
                sums[:] = 0
                for j in range(S):
                    s = _score(q, k, mask, n, h, i, j, scale, causal)
                    if s == -math.inf:
                        continue
                    if s > top:
                        shrink = math.exp(top - s)
                        top = s
                        total *= shrink
                        for e in range(V):
                            sums[e] *= shrink
                    p = math.exp(s - top)
                    total += p
                    for e in range(V):
                        sums[e] += p * v[n, h, j, e]
                lse[n, h, i] = 0.0 if total == 0 else top + math.log(total)
                for e in range(V):
                    out[n, h, i, e] = 0.0 if total == 0 else sums[e] / total


@kernel
def _attention_grad(g, g_lse, q, k, v, mask, out, lse, dq, dk, dv, scale, causal):
    N, H, L, E = q.shape
    S, V = v.shape[2:]
    of_q, of_k, of_v = np.empty(E), np.empty((S, E)), np.empty((S, V))
    for n in range(N):
        for h in range(H):
            of_k[:] = 0
            of_v[:] = 0
            for i in range(L):
                delta = _dot(g[n, h, i], out[n, h, i]) - g_lse[n, h, i]
                of_q[:] = 0
                for j in range(S):
                    s = _score(q, k, mask, n, h, i, j, scale, causal)
                    if s == -math.inf:
                        continue
                    p = math.exp(s - lse[n, h, i])
                    ds = scale * p * (_dot(g[n, h, i], v[n, h, j]) - delta)
                    for e in range(E):
                        of_q[e] += ds * k[n, h, j, e]
                        of_k[j, e] += ds * q[n, h, i, e]
                    for e in range(V):
                        of_v[j, e] += p * g[n, h, i, e]
                for e in range(E):
                    dq[n, h, i, e] = of_q[e]
            for j in range(S):
                for e in range(E):
                    dk[n, h, j, e] = of_k[j, e]
                for e in range(V):
                    dv[n, h, j, e] = of_v[j, e]


def _heads(x, heads_first):
    return x if heads_first else x.transpose(0, 2, 1, 3)


def _added(mask, dtype):
    """Return what a mask adds to the scores; one array of its kind, so that Numba compiles once."""
    if mask is None:
        return np.zeros((1, 1, 1, 1), dtype)
    return np.where(mask, 0, -np.inf).astype(dtype) if mask.dtype == bool else mask


def attention(q, k, v, mask, out, lse, scale, causal, heads_first):
    q, k, v, out = (_heads(x, heads_first) for x in (q, k, v, out))
    _attention(q, k, v, _added(mask, q.dtype), out, lse, scale, causal)


def attention_grad(g, g_lse, q, k, v, mask, out, lse, dq, dk, dv, scale, causal, heads_first):
    g, q, k, v, out, dq, dk, dv = (_heads(x, heads_first) for x in (g, q, k, v, out, dq, dk, dv))
    _attention_grad(g, g_lse, q, k, v, _added(mask, q.dtype), out, lse, dq, dk, dv, scale, causal)
