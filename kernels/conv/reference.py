"""Convolution and its gradients in NumPy, one kernel position at a time.

    out[n, o, f] = bias[f] + sum_k,c weight[f, k, c] x[n, o * stride - padding + k * dilation, c]

over three spatial axes, channels last: x (N, D, H, W, C), weight (F, KD, KH, KW, C / groups),
out (N, OD, OH, OW, F). The f-th output channel reads the channels of group f // (F / groups);
positions outside x count as 0. `padding` is what lies before the first entry of each axis; what
lies behind the last follows from the sizes.
Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

__all__ = ["conv", "conv_grad_input", "conv_grad_weight"]

Triple = tuple[int, int, int]
Index = tuple[Any, ...]

EVERY = slice(None)


def positions(x_sizes: tuple[int, ...], out_sizes: tuple[int, ...], kernel: tuple[int, ...],
              stride: Triple, padding: Triple, dilation: Triple) -> Iterator[
                  tuple[Index, Index, Index]]:
    """Yield each kernel position as indices of weight (G, F / G, ...), x and out."""
    for k in product(*map(range, kernel)):
        of_x, of_out = [], []
        for axis in range(3):
            shift = k[axis] * dilation[axis] - padding[axis]
            first = max(0, -(shift // stride[axis]))
            count = min(out_sizes[axis], (x_sizes[axis] - 1 - shift) // stride[axis] + 1) - first
            start = first * stride[axis] + shift
            of_x.append(slice(start, start + max(0, count) * stride[axis], stride[axis]))
            of_out.append(slice(first, first + max(0, count)))
        if all(s.stop > s.start for s in of_out):
            yield (EVERY, EVERY, *k), (EVERY, *of_x), (EVERY, *of_out)


def contract(subscripts: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products summed; plain, as y is: more additions count to the contraction."""
    return np.asarray(np.einsum(subscripts, a, b))


def grouped(a: np.ndarray, groups: int) -> np.ndarray:
    """Split the last axis into (groups, channels of a group)."""
    return a.reshape(*a.shape[:-1], groups, a.shape[-1] // groups)


def conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, out: np.ndarray,
         stride: Triple, padding: Triple, dilation: Triple, groups: int) -> None:
    w = weight.reshape(groups, -1, *weight.shape[1:])  # (G, F / G, KD, KH, KW, C / G)
    xs, y = grouped(x, groups), np.asarray(grouped(out, groups))
    out[...] = 0
    for k, i, o in positions(x.shape[1:4], out.shape[1:4], weight.shape[1:4],
                             stride, padding, dilation):
        y[o] += contract("ndhwgc,gfc->ndhwgf", xs[i], w[k])
    if bias is not None:
        out += bias


def conv_grad_input(g: np.ndarray, weight: np.ndarray, out: np.ndarray, stride: Triple,
                    padding: Triple, dilation: Triple, groups: int) -> None:
    w = weight.reshape(groups, -1, *weight.shape[1:])
    gs, y = grouped(g, groups), np.asarray(grouped(out, groups))
    out[...] = 0
    for k, i, o in positions(out.shape[1:4], g.shape[1:4], weight.shape[1:4],
                             stride, padding, dilation):
        y[i] += contract("ndhwgf,gfc->ndhwgc", gs[o], w[k])


def conv_grad_weight(x: np.ndarray, g: np.ndarray, out: np.ndarray, stride: Triple,
                     padding: Triple, dilation: Triple, groups: int) -> None:
    y = out.reshape(groups, -1, *out.shape[1:])
    xs, gs = grouped(x, groups), grouped(g, groups)
    out[...] = 0
    for k, i, o in positions(x.shape[1:4], g.shape[1:4], out.shape[1:4],
                             stride, padding, dilation):
        y[k] = contract("ndhwgc,ndhwgf->gfc", xs[i], gs[o])
