"""Rows of a table by index, and the gradient: the definition.

embedding        out[m, :] = weight[indices[m], :]
embedding_grad   out[v, :] = sum over the m with indices[m] = v, in rising m, of g[m, :]

An index outside [0, V) never leaves the table: reading takes the nearest row, the gradient ignores
it. (The engine refuses such indices before a kernel sees them.)

Bytes: read and write M x D; the gradient reads M x D and writes V x D.
Source: Bengio et al., "A neural probabilistic language model" (2003), the look-up table.
"""

import numpy as np

__all__ = ["embedding", "embedding_grad"]


def embedding(weight, indices, out):
    np.take(weight, indices, axis=0, mode="clip", out=out)


def embedding_grad(g, indices, out):
    out[...] = 0
    known = (indices >= 0) & (indices < len(out))
    np.add.at(out, indices[known], g[known])
