"""Convolution and its gradients in NumPy, one kernel position at a time.

    out[n, o, f] = bias[f] + sum_k,c weight[f, k, c] x[n, o * stride - padding + k * dilation, c]

over three spatial axes, channels last: x (N, D, H, W, C), weight (F, KD, KH, KW, C / groups),
out (N, OD, OH, OW, F). The f-th output channel reads the channels of group f // (F / groups);
positions outside x count as 0. `padding` is what lies before the first entry of each axis; what
lies behind the last follows from the sizes.

    conv_activation  out = f(conv), f an elementwise kernel with its parameters
    conv_pool        out = max over windows of f(conv), index = the first place of the maximum,
                     row-major within its window, a byte; windows (PD, PH, PW) do not overlap, and
                     places behind the last whole window are dropped; a NaN wins
    conv_pool_grad_* the gradients of x, weight and bias, g being that of f(conv) at the maxima and
                     0 elsewhere; `sizes` are those of conv. A place beyond the window takes no g

Bytes: the fused kernels neither read nor write anything of conv's size.
Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ..elementwise import reference as elementwise

__all__ = ["conv", "conv_activation", "conv_grad_input", "conv_grad_weight", "conv_pool",
           "conv_pool_grad_bias", "conv_pool_grad_input", "conv_pool_grad_weight"]

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


def conv_activation(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, out: np.ndarray,
                    stride: Triple, padding: Triple, dilation: Triple, groups: int,
                    activation: str, parameters: tuple[float, ...]) -> None:
    conv(x, weight, bias, out, stride, padding, dilation, groups)
    if activation:
        getattr(elementwise, activation)(out.copy(), out, *parameters)


def windowed(a: np.ndarray, pool: Triple) -> np.ndarray:
    """View (N, OD PD, OH PH, OW PW, F) as (N, OD, OH, OW, F, PD PH PW)."""
    N, D, H, W, F = a.shape
    d, h, w = pool
    split = a.reshape(N, D // d, d, H // h, h, W // w, w, F)
    return split.transpose(0, 1, 3, 5, 7, 2, 4, 6).reshape(N, D // d, H // h, W // w, F, d * h * w)


def conv_pool(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, out: np.ndarray,
              index: np.ndarray, stride: Triple, padding: Triple, dilation: Triple, groups: int,
              activation: str, parameters: tuple[float, ...], pool: Triple, sizes: Triple) -> None:
    N, *outputs, F = out.shape
    full = np.empty_like(out, shape=(N, *sizes, F))
    conv_activation(x, weight, bias, full, stride, padding, dilation, groups, activation,
                    parameters)
    d, h, w = map(math.prod, zip(outputs, pool, strict=True))
    windows = windowed(full[:, :d, :h, :w], pool)
    index[...] = np.argmax(windows, axis=-1)
    out[...] = np.take_along_axis(windows, index[..., None].astype(np.intp), axis=-1)[..., 0]


def expanded(g: np.ndarray, index: np.ndarray, pool: Triple, sizes: Triple) -> np.ndarray:
    """Return the gradient before the pooling, (N, *sizes, F)."""
    N, OD, OH, OW, F = g.shape
    d, h, w = pool
    hits = np.where(index[..., None] == np.arange(d * h * w), g[..., None], 0)
    hits = hits.reshape(N, OD, OH, OW, F, d, h, w).transpose(0, 1, 5, 2, 6, 3, 7, 4)
    full = np.zeros_like(g, shape=(N, *sizes, F))
    full[:, :OD * d, :OH * h, :OW * w] = hits.reshape(N, OD * d, OH * h, OW * w, F)
    return full


def conv_pool_grad_input(g: np.ndarray, index: np.ndarray, weight: np.ndarray, out: np.ndarray,
                         stride: Triple, padding: Triple, dilation: Triple, groups: int,
                         pool: Triple, sizes: Triple) -> None:
    conv_grad_input(expanded(g, index, pool, sizes), weight, out, stride, padding, dilation, groups)


def conv_pool_grad_weight(x: np.ndarray, g: np.ndarray, index: np.ndarray, out: np.ndarray,
                          stride: Triple, padding: Triple, dilation: Triple, groups: int,
                          pool: Triple, sizes: Triple) -> None:
    conv_grad_weight(x, expanded(g, index, pool, sizes), out, stride, padding, dilation, groups)


def conv_pool_grad_bias(g: np.ndarray, index: np.ndarray, out: np.ndarray, pool: Triple,
                        sizes: Triple) -> None:
    out[...] = expanded(g, index, pool, sizes).sum(axis=(0, 1, 2, 3))
