"""Rows of a table by index, and the gradient, as loops; equations in reference.py.

Order: rising m, so that rows of equal index are added in the order in which they stand.
Bytes: M x D twice; the gradient also writes V x D zeros first. Source: see reference.py.
"""

from numba import njit

__all__ = ["embedding", "embedding_grad"]

kernel = njit(nogil=True, cache=True)


@kernel
def embedding(weight, indices, out):
    V, D = weight.shape
    for m in range(len(indices)):
        v = min(max(indices[m], 0), V - 1)
        for d in range(D):
            out[m, d] = weight[v, d]


@kernel
def embedding_grad(g, indices, out):
    V, D = out.shape
    out[:] = 0
    for m in range(len(indices)):
        v = indices[m]
        if 0 <= v < V:
            for d in range(D):
                out[v, d] += g[m, d]
