"""Order: sorting, the largest k, places in a sorted array, distinct values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import DTypeError, ParameterError, ShapeError, say
from ..op import apply, define
from ..tensor import Tensor
from .axes import normalized
from .indexing import put_along_axis, take_along_axis
from .shape import as_tensor, reshape

__all__ = ["TopK", "argsort", "nonzero", "searchsorted", "sort", "topk", "unique"]


# ---- sort, argsort ----------------------------------------------------------------------------


def _sort_infer(x: np.ndarray, *, axis: int, descending: bool) -> tuple[tuple[int, ...], Any]:
    normalized("sort", (axis,), x.ndim)
    return x.shape, x.dtype


def _sort(x: np.ndarray, y: np.ndarray, axis: int, descending: bool) -> None:
    found = np.sort(x, axis)
    y[...] = np.flip(found, axis) if descending else found


def _argsort_infer(x: np.ndarray, *, axis: int,
                   descending: bool) -> tuple[tuple[int, ...], Any]:
    normalized("argsort", (axis,), x.ndim)
    return x.shape, np.int64


def _order(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    if not descending:
        return np.argsort(x, axis, stable=True)
    # equal elements keep their order: sort the reversed array upwards, and reverse the result
    return np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, stable=True), axis)


def _argsort(x: np.ndarray, y: np.ndarray, axis: int, descending: bool) -> None:
    y[...] = _order(x, axis, descending)


SORT = define("sort", infer=_sort_infer, definition=_sort, strided=True, onnx="TopK",
              vjp={"x": lambda g, x, axis, descending: put_along_axis(
                  Tensor(np.zeros(g.shape, g.dtype)),
                  argsort(x, axis, descending=descending), g, axis)},
              doc="y = x sorted along an axis; NaN is largest")
ARGSORT = define("argsort", infer=_argsort_infer, definition=_argsort, strided=True, onnx="TopK",
                 doc="y = the indices that sort x along an axis, stable; NaN is largest")


def argsort(x: Any, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the indices that sort x along an axis, equal elements in their order, NaN as largest.

    ``stable=False`` is accepted, and gives the same.
    """
    return apply(ARGSORT, x, axis=axis, descending=bool(descending))


def sort(x: Any, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Tensor:
    """Return x sorted along an axis; gradients go back to where the elements came from.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.sort(me.tensor([2.0, 3.0, 1.0]), descending=True)
    tensor([3., 2., 1.])
    """
    return apply(SORT, x, axis=axis, descending=bool(descending))


# ---- topk -------------------------------------------------------------------------------------


def _topk_infer(x: np.ndarray, *, k: int, axis: int,
                largest: bool) -> tuple[tuple[int, ...], Any]:
    axis, = normalized("topk", (axis,), x.ndim)
    n = x.shape[axis]
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 0 <= k <= n:
        raise ParameterError(say("topk", f"k from 0 to {n}, the size of axis {axis}", repr(k),
                                 "Pass a smaller k", {"x": x.shape}))
    return (*x.shape[:axis], int(k), *x.shape[axis + 1:]), np.int64


def _topk(x: np.ndarray, y: np.ndarray, k: int, axis: int, largest: bool) -> None:
    if y.size == 0:
        return
    lines = np.moveaxis(x, axis, -1)
    place = lines.shape[-1] - k if largest else k - 1
    bound = np.partition(lines, place, -1)[..., place: place + 1]  # the last one to take
    if x.dtype.kind == "f" and np.isnan(bound).any():
        chosen = _order(lines, -1, largest)[..., :k]
    else:
        better = ~(lines <= bound) if largest else lines < bound  # NaN is largest
        ties = lines == bound
        left = k - better.sum(-1, keepdims=True)
        ties &= np.cumsum(ties, -1, dtype=np.int32) <= left  # the first ones (int32: faster)
        chosen = np.flatnonzero(better | ties).reshape(*lines.shape[:-1], k) % lines.shape[-1]
    order = _order(np.take_along_axis(lines, chosen, -1), -1, largest)
    y[...] = np.moveaxis(np.take_along_axis(chosen, order, -1), -1, axis)


TOPK = define("topk", infer=_topk_infer, definition=_topk, strided=True, onnx="TopK",
              doc="y = the indices of the k largest or smallest elements along an axis, best "
                  "first, of equal ones the first; NaN is largest")


class TopK(NamedTuple):
    """The largest elements and where they stood."""

    values: Tensor
    indices: Tensor


def topk(x: Any, k: int, axis: int = -1, *, largest: bool = True) -> TopK:
    """Return the k largest (or smallest) elements along an axis, best first, and their indices.

    Of equal elements the first ones are taken, in their order.

    Raises
    ------
    ParameterError
        Unless 0 <= k <= the size of the axis.
    """
    x = as_tensor(x)
    indices = apply(TOPK, x, k=k, axis=axis, largest=bool(largest))
    return TopK(take_along_axis(x, indices, axis), indices)


# ---- places and distinct values ---------------------------------------------------------------


def _search_infer(x: np.ndarray, v: np.ndarray, *, side: str) -> tuple[tuple[int, ...], Any]:
    if side not in ("left", "right"):
        raise ParameterError(say("searchsorted", '"left" or "right"', repr(side),
                                 'Pass side="left"'))
    if x.ndim != 1:
        raise ShapeError(say("searchsorted", "a sorted vector", str(x.shape),
                             "Flatten it with reshape(-1)"))
    if x.dtype.kind == "f" and v.dtype.kind == "f" and x.dtype != v.dtype:
        raise DTypeError(say("searchsorted", "one floating dtype", f"{x.dtype} and {v.dtype}",
                             "Convert one of them with .astype(me.float32)"))
    return v.shape, np.int64


def _search(x: np.ndarray, v: np.ndarray, y: np.ndarray, side: str) -> None:
    y[...] = np.searchsorted(x, v, side)  # type: ignore[call-overload]


SEARCHSORTED = define("searchsorted", infer=_search_infer, definition=_search, strided=True,
                      onnx="none: no such operator",
                      doc="y = the number of elements of a sorted vector below v "
                          "(side left) or not above v (side right)")


def searchsorted(x: Any, v: Any, side: str = "left") -> Tensor:
    """Return where v would be inserted into the sorted vector x to keep it sorted.

    ``side="left"`` stands before equal elements, ``"right"`` behind them.
    """
    return apply(SEARCHSORTED, x, v, side=side)


def nonzero(x: Any) -> tuple[Tensor, ...]:
    """Return the indices of the elements that are not zero, one vector per axis.

    Raises
    ------
    ShapeError
        For a 0-d array.
    """
    array = as_tensor(x).numpy()
    if array.ndim == 0:
        raise ShapeError(say("nonzero", "at least one axis", "a number", "Use reshape(1)"))
    return tuple(Tensor(rows) for rows in np.nonzero(array))


def unique(x: Any, *, return_index: bool = False, return_inverse: bool = False,
           return_counts: bool = False) -> Any:
    """Return the distinct values, sorted, without gradients (NumPy's options).

    Returns
    -------
    Tensor or tuple of Tensor
        The values; then, where asked for, the index of each one's first occurrence, the number of
        each element's value (the shape of x), and how often each occurs.
    """
    array = as_tensor(x).numpy()
    options: dict[str, Any] = {"return_index": return_index, "return_inverse": return_inverse,
                               "return_counts": return_counts}
    found = np.unique(array, **options)
    if not isinstance(found, tuple):
        return Tensor(found)
    shapes: list[tuple[int, ...]] = [(-1,)] * len(found)
    if return_inverse:
        shapes[1 + return_index] = array.shape
    return tuple(reshape(Tensor(part), shape)
                 for part, shape in zip(found, shapes, strict=True))
