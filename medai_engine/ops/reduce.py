"""Reductions and scans along one or several axes.

The kernels see (outer, n, inner) with the reduced axes folded into the middle one (``axes.py``),
without a copy where the reduced axes stand together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ParameterError, ShapeError, say
from ..op import Op, apply, define
from ..tensor import Tensor
from .axes import Axis, folded, normalized, reduced
from .elementwise import F
from .shape import BROADCAST, astype, concat, flip, permute_dims, reshape, where


def restore(t: Tensor, x_shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Tensor:
    """Put reduced axes back with size 1, so that the tensor broadcasts against x."""
    axes = normalized("reduce", axis, len(x_shape))
    if keepdims:
        return t
    return t.reshape(reduced(x_shape, axes, True))


def spread(g: Tensor, x_shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Tensor:
    """Return the gradient of a sum: g repeated along the reduced axes."""
    if g.data.ndim:  # one number broadcasts as it is
        g = restore(g, x_shape, axis, keepdims)
    return apply(BROADCAST, g, shape=x_shape)


def reduction(name: str, equation: str, vjp: dict[str, Any] | None, *, dtype: Any = None,
              operations: Callable[[int, int], int] = lambda size, out: size,
              empty: bool = True, floating: bool = False, extra: Callable[[int], tuple[Any, ...]]
              = lambda n: (), linear: Sequence[Sequence[str]] = (), single: bool = False,
              onnx: str = "") -> Op:
    """Define a reduction.

    ``empty`` tells whether a reduction over no element has a value, ``extra`` gives further
    kernel arguments for a reduction over n elements, ``single`` allows one axis (or all) only.
    """

    def infer(x: np.ndarray, *, axis: Axis, keepdims: bool) -> tuple[tuple[int, ...], Any]:
        axes = normalized(name, axis, x.ndim)
        if single and axis is not None and len(axes) != 1:
            raise ParameterError(say(name, "one axis, or None for all", str(axis),
                                     "Flatten the axes with reshape first"))
        if floating and x.dtype.kind != "f":
            raise DTypeError(say(name, "floating values", x.dtype,
                                 "Convert with .astype(me.float32) first", {"x": x.shape}))
        if x.size == 0 and not empty and 0 in (x.shape[a] for a in axes):
            raise ShapeError(say(name, "at least one element along the reduced axes", "none",
                                 "Check for an empty selection before reducing", {"x": x.shape}))
        kind = dtype if dtype is not None else (
            np.int64 if x.dtype.kind in "bui" and name in ("sum", "prod") else x.dtype)
        return reduced(x.shape, axes, keepdims), kind

    def prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                params: dict[str, Any]) -> tuple[Any, ...]:
        x = arrays[0]
        if params["axis"] is None:
            return (x.reshape(1, x.size, 1), outs[0].reshape(1, 1), *extra(x.size))
        x = folded(x, normalized(name, params["axis"], x.ndim))
        return (x, outs[0].reshape(x.shape[0], x.shape[2]), *extra(x.shape[1]))

    def work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
        return 0, operations(arrays[0].size, math.prod(outs[0][0]))

    return define(name, infer=infer, kernel="sum" if name == "mean" else name, vjp=vjp,
                  prepare=prepare, work=work, linear=linear, doc=equation, onnx=onnx)


def _share(g: Tensor, x: Tensor, y: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """Return g split equally among the elements that reach the extreme."""
    hits = astype(F["equal"](x, restore(y, x.shape, axis, keepdims)), x.dtype)
    count = apply(SUM, hits, axis=axis, keepdims=True)
    return restore(g, x.shape, axis, keepdims) * (hits / count)


def _prod_vjp(g: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """Return g times the product of all other elements, exact also where elements are 0.

    Two exclusive scans, from the left and from the right; their product leaves out one element.
    """
    if x.size == 0:
        return Tensor(np.zeros(x.shape, x.dtype))
    axes = normalized("prod", axis, x.ndim)
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    order = kept + axes
    moved = permute_dims(x, order)
    flat = reshape(moved, (*(x.shape[i] for i in kept), -1))
    one = Tensor(np.ones((*flat.shape[:-1], 1), flat.dtype))
    left = apply(CUMULATIVE_PROD, concat([one, flat[..., :-1]], axis=-1), axis=-1)
    right = flip(apply(CUMULATIVE_PROD, concat([one, flip(flat[..., 1:], axis=-1)], axis=-1),
                       axis=-1), axis=-1)
    inverse = tuple(np.argsort(order))
    others = permute_dims(reshape(left * right, moved.shape), inverse)
    return restore(g, x.shape, axis, keepdims) * others


SUM = reduction("sum", "y = the sum of x along the axes", {"x": lambda g, x_shape, axis, keepdims:
                spread(g, x_shape, axis, keepdims)}, linear=[("x",)], extra=lambda n: (1.0,),
                operations=lambda size, out: size - out if size else 0, onnx="ReduceSum")
MEAN = reduction("mean", "y = the sum of x along the axes, divided by their number of elements",
                 {"x": lambda g, x_shape, axis, keepdims: spread(
                     g * (max(1, g.data.size) / max(1, math.prod(x_shape))), x_shape, axis,
                     keepdims)},
                 linear=[("x",)], floating=True, empty=False, extra=lambda n: (1.0 / n,),
                 operations=lambda size, out: size if size != out else 0, onnx="ReduceMean")
PROD = reduction("prod", "y = the product of x along the axes", {"x": _prod_vjp},
                 operations=lambda size, out: size - out if size else 0, onnx="ReduceProd")
MAX = reduction("max", "y = the largest element along the axes; NaN wins; ties share the gradient",
                {"x": _share}, empty=False, operations=lambda size, out: size - out,
                onnx="ReduceMax")
MIN = reduction("min", "y = the smallest element along the axes; NaN wins; ties share the gradient",
                {"x": _share}, empty=False, operations=lambda size, out: size - out,
                onnx="ReduceMin")
ARGMAX = reduction("argmax", "y = the index of the first largest element along the axis", None,
                   dtype=np.int64, empty=False, single=True, onnx="ArgMax",
                   operations=lambda size, out: size - out)
ARGMIN = reduction("argmin", "y = the index of the first smallest element along the axis", None,
                   dtype=np.int64, empty=False, single=True, onnx="ArgMin",
                   operations=lambda size, out: size - out)
LOGSUMEXP = reduction(
    "logsumexp", "y = log of the sum of e^x along the axes, without overflow",
    {"x": lambda g, x, y, axis, keepdims: restore(g, x.shape, axis, keepdims)
     * (x - restore(y, x.shape, axis, keepdims)).exp()},
    floating=True, empty=False, operations=lambda size, out: 4 * size + out,
    onnx="ReduceLogSumExp")


def scan(name: str, equation: str, vjp: dict[str, Any], linear: Sequence[Sequence[str]] = ()) -> Op:
    """Define a running sum or product along one axis."""

    def infer(x: np.ndarray, *, axis: int) -> tuple[tuple[int, ...], Any]:
        normalized(name, (axis,), x.ndim)
        return x.shape, np.int64 if x.dtype.kind in "bui" else x.dtype

    def prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                params: dict[str, Any]) -> tuple[Any, ...]:
        x = folded(arrays[0], normalized(name, (params["axis"],), arrays[0].ndim))
        return x, outs[0].reshape(x.shape)

    return define(name, infer=infer, kernel=name, vjp=vjp, prepare=prepare, linear=linear,
                  work=lambda arrays, outs, params: (0, arrays[0].size - (
                      arrays[0].size // max(1, arrays[0].shape[params["axis"]]))),
                  doc=equation)


def _reverse_sum(g: Tensor, axis: int) -> Tensor:
    return flip(apply(CUMULATIVE_SUM, flip(g, axis=axis), axis=axis), axis=axis)


def _cumulative_prod_vjp(g: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return sum_k g_k dy_k/dx_j through the lower-triangular matrix of partial products.

    Quadratic in the length, exact also where elements are 0.
    """
    last = permute_dims(x, (*(i for i in range(x.ndim) if i != axis % x.ndim), axis % x.ndim))
    n = last.shape[-1]
    # rows j: products x_{j+1} .. x_k, for k >= j
    k, j = np.arange(n)[None, :], np.arange(n)[:, None]
    block = where(Tensor(k > j), last.reshape((*last.shape[:-1], 1, n)), 1.0)
    after = where(Tensor(k >= j), apply(CUMULATIVE_PROD, block, axis=-1), 0.0)
    ones = Tensor(np.ones((*last.shape[:-1], 1), x.dtype))
    before = apply(CUMULATIVE_PROD, concat([ones, last[..., :-1]], axis=-1), axis=-1)
    moved = permute_dims(g, (*(i for i in range(x.ndim) if i != axis % x.ndim), axis % x.ndim))
    total = before * apply(SUM, after * moved.reshape((*last.shape[:-1], 1, n)),
                           axis=-1, keepdims=False)
    order = list(range(x.ndim - 1))
    order.insert(axis % x.ndim, x.ndim - 1)
    return permute_dims(total, tuple(order))


CUMULATIVE_SUM = scan("cumulative_sum", "y_i = x_0 + ... + x_i along the axis",
                      {"x": _reverse_sum}, linear=[("x",)])
CUMULATIVE_PROD = scan("cumulative_prod", "y_i = x_0 ... x_i along the axis",
                       {"x": _cumulative_prod_vjp})
