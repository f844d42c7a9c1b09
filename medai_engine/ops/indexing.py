"""Reading and writing by data: rows by index, NumPy's advanced indexing, one-hot, put.

Everything is one op, ``gather`` (entries of the first axis by index; its gradient adds up rows):
advanced indexing folds the indexed axes into one, and its indices into one array of row numbers.
Indices are checked against their axis before anything is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ParameterError, ShapeError, say
from ..kernels import within
from ..op import Op, apply, define
from ..tensor import Tensor, is_scalar
from .axes import normalized
from .elementwise import F
from .shape import SLICE, as_tensor, broadcast_to, permute_dims, real_dtype, reshape, viewed

__all__ = ["one_hot", "put_along_axis", "take", "take_along_axis"]


def integers(where: str, indices: np.ndarray) -> None:
    """Raise unless these are integers."""
    if indices.dtype.kind not in "iu":
        raise DTypeError(say(where, "integers", str(indices.dtype),
                             "Convert with .astype(me.int64)", {"indices": indices.shape}))


def bounded(where: str, indices: np.ndarray, low: int, size: int, what: str) -> None:
    """Raise unless all indices lie in [low, size)."""
    if not within(indices, low, size) and indices.size and (
            np.minimum.reduce(indices, None) < low
            or np.maximum.reduce(indices, None) >= size):
        place = tuple(int(i) for i in np.argwhere((indices < low) | (indices >= size))[0])
        raise ShapeError(say(
            where, (f"indices from {low} to {size - 1}" if size else "no index")
            + f" into {what} of size {size}",
            f"{indices[place]} at entry {place} of the indices" if place else f"{indices[place]}",
            "Check what made them, or clip them", {"indices": indices.shape}))


# ---- flat_index, gather, scatter_add ----------------------------------------------------------


def _flat_infer(*indices: np.ndarray, where: str, sizes: tuple[int, ...],
                axes: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
    shapes = [index.shape for index in indices]
    for index in indices:
        integers(where, index)
    try:
        return (shapes[0] if len(shapes) == 1 else np.broadcast_shapes(*shapes)), np.int64
    except ValueError:
        raise ShapeError(say(where, "index arrays that broadcast", " and ".join(map(str, shapes)),
                             "Give them one length")) from None


def _flat_check(*indices: np.ndarray, where: str, sizes: tuple[int, ...],
                axes: tuple[int, ...]) -> None:
    for index, size, axis in zip(indices, sizes, axes, strict=True):
        bounded(where, index, -size, size, f"axis {axis}")


def _flat(*arguments: Any) -> None:
    *indices, y, _, sizes, _ = arguments
    for k, (index, size) in enumerate(zip(indices, sizes, strict=True)):
        step = math.prod(sizes[k + 1:])
        index = index.astype(np.int64, copy=False)
        places = np.where(index < 0, index + size, index) * step
        if k == 0:
            y[...] = places
        else:
            y += places


FLAT = define("flat_index", infer=_flat_infer, definition=_flat, check=_flat_check, strided=True,
              onnx="none: part of GatherND",
              doc="y = the row-major place of entries by one index array per axis of these sizes, "
                  "those below 0 counted from the end")


def _rows_infer(x: np.ndarray, indices: np.ndarray) -> tuple[tuple[int, ...], Any]:
    integers("gather", indices)
    if x.ndim == 0:
        raise ShapeError(say("gather", "at least one axis", "a number", "Use reshape(1)"))
    return indices.shape + x.shape[1:], x.dtype


def _rows_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> tuple[Any, ...]:
    x, indices = arrays
    width = math.prod(x.shape[1:])
    rows = indices.reshape(-1).astype(np.int64, copy=False)
    return x.reshape(len(x), width), rows, outs[0].reshape(rows.size, width)


def _rows_grad_infer(g: np.ndarray, indices: np.ndarray, *,
                     shape: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
    integers("scatter_add", indices)
    if g.shape != indices.shape + shape[1:]:
        raise ShapeError(say("scatter_add", f"a gradient of shape {indices.shape + shape[1:]}",
                             str(g.shape), "One row per index",
                             {"g": g.shape, "indices": indices.shape}))
    return shape, g.dtype


def _rows_grad_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                       params: dict[str, Any]) -> tuple[Any, ...]:
    g, indices = arrays
    width = math.prod(params["shape"][1:])
    rows = indices.reshape(-1).astype(np.int64, copy=False)
    return g.reshape(rows.size, width), rows, outs[0].reshape(params["shape"][0], width)


GATHER = define(
    "gather", infer=_rows_infer, kernel="embedding", prepare=_rows_prepare,
    check=lambda x, indices: bounded("gather", indices, 0, len(x), "axis 0"),
    vjp={"x": lambda g, indices, x_shape: apply(SCATTER_ADD, g, indices, shape=x_shape)},
    linear=[("x",)], analytic=True, onnx="Gather",
    doc="y[i] = x[indices[i]]: entries of the first axis by indices of any shape")
SCATTER_ADD: Op = define(
    "scatter_add", infer=_rows_grad_infer, kernel="embedding_grad", prepare=_rows_grad_prepare,
    check=lambda g, indices, shape: bounded("scatter_add", indices, 0, shape[0], "axis 0"),
    vjp={"g": lambda u, indices: apply(GATHER, u, indices)},
    work=lambda arrays, outs, params: (0, arrays[0].size + arrays[1].size),
    linear=[("g",)], analytic=True, onnx="none: a gradient",
    doc="y[v] = sum of g[i] over the i with indices[i] = v: the adjoint of gather")


# ---- advanced indexing ------------------------------------------------------------------------


def _parts(x: Tensor, items: Sequence[Any]) -> list[Any]:
    """Return the items with every array as a Tensor and exactly one Ellipsis, as free slices."""
    parts: list[Any] = []
    used = 0  # axes of x
    for item in items:
        if item is None or item is Ellipsis or isinstance(item, slice):
            used += isinstance(item, slice)
        elif not isinstance(item, Tensor):
            array = np.asarray(item)
            empty_list = array.size == 0 and isinstance(item, list)
            item = Tensor(array.astype(np.int64) if empty_list else array)
        if isinstance(item, Tensor):
            if item.dtype != np.bool_:
                integers("indexing", item.data)
            used += item.ndim if item.dtype == np.bool_ else 1
        parts.append(item)
    ellipses = sum(part is Ellipsis for part in parts)
    if used > x.ndim or ellipses > 1:
        raise ShapeError(say("indexing", f"at most {x.ndim} indices and one ...",
                             f"{used} and {ellipses}", "Leave some out", {"x": x.shape}))
    if not ellipses:
        parts.append(Ellipsis)
    place = next(i for i, part in enumerate(parts) if part is Ellipsis)
    parts[place] = [slice(None)] * (x.ndim - used)
    return parts


def advanced(x: Tensor, items: Sequence[Any]) -> Tensor:
    """Return ``x[items]`` where some items are arrays of integers or booleans (NumPy's rules).

    The axes of the indices' common shape stand where the indexed axes stood if those are
    neighbours, else in front.
    """
    basic: list[Any] = []  # the index of a first, basic step that leaves indexed axes whole
    axes: list[int] = []  # the indexed axes behind that step
    indices: list[Tensor] = []  # one per indexed axis
    names: list[int] = []  # its number in x, for messages
    numbers: list[int] = []  # of the items that are arrays
    for number, part in enumerate(_parts(x, items)):
        axis = sum(isinstance(i, slice) for i in basic)
        if not isinstance(part, Tensor):
            basic += part if isinstance(part, list) else [part]
            continue
        numbers.append(number)
        found: list[Tensor] = [part]
        place: Any = slice(None)
        if part.dtype == np.bool_:
            if x.shape[axis: axis + part.ndim] != part.shape:
                raise ShapeError(say(
                    "indexing", f"a mask of shape {x.shape[axis: axis + part.ndim]}",
                    str(part.shape), "A mask covers whole axes", {"x": x.shape}))
            if part.ndim == 0:  # True and False index a new axis of size 1
                found, place = [Tensor(np.zeros(int(part.numpy()), np.int64))], None
            else:
                found = [Tensor(rows) for rows in np.nonzero(part.numpy())]
        for k, index in enumerate(found, axis):
            axes.append(len(basic))
            basic.append(place)
            indices.append(index)
            names.append(k)
    if any(i is None or i != slice(None) for i in basic):
        x = apply(SLICE, x, index=tuple(basic))
    start, stop, ndim = axes[0], axes[-1] + 1, max(index.ndim for index in indices)
    if numbers != list(range(numbers[0], numbers[-1] + 1)):  # not neighbours: to the front
        x = permute_dims(x, (*axes, *(i for i in range(x.ndim) if i not in axes)))
        start, stop = 0, len(axes)
    outer, sizes = x.shape[:start], x.shape[start:stop]
    if outer:  # every place of the axes before them, as one more index
        lead = np.arange(math.prod(outer)).reshape((-1,) + (1,) * ndim)
        indices, names = [Tensor(lead), *indices], [0, *names]
        sizes = (lead.size, *sizes)
    flat = apply(FLAT, *indices, where="indexing", sizes=sizes, axes=tuple(names))
    if stop > 1:
        x = reshape(x, (math.prod(sizes), *x.shape[stop:]))
    y = apply(GATHER, x, flat)
    return reshape(y, outer + y.shape[1:]) if len(outer) > 1 else y


def getitem(x: Tensor, index: Any) -> Tensor:
    """Return ``x[index]``: a view for slices and integers, a copy for arrays."""
    if type(index) is int or type(index) is slice:
        return viewed(SLICE, x, index=(index,))
    items = index if isinstance(index, tuple) else (index,)
    for i in items:
        if not (i is None or i is Ellipsis or isinstance(i, (slice, int, np.integer))) or (
                isinstance(i, bool)):
            return advanced(x, items)
    return viewed(SLICE, x, index=items)


setattr(Tensor, "__getitem__", getitem)  # noqa: B010

# ---- the functions ----------------------------------------------------------------------------


def index_tensor(indices: Any) -> Tensor:
    """Return indices as a Tensor; numbers and lists stay integers."""
    if isinstance(indices, Tensor):
        return indices
    array = np.asarray(indices)
    return Tensor(array.astype(np.int64) if array.size == 0 else array)


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Return the entries of x at some places along an axis (None: of the flattened array).

    Parameters
    ----------
    x : Tensor
        Any shape and dtype.
    indices : int or array of integers
        Any shape; negative ones count from the end.
    axis : int, optional
        The axis, replaced in the result by the axes of ``indices``.

    Raises
    ------
    ShapeError
        For an index out of bounds; the message names it.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.take(me.tensor([10.0, 20.0, 30.0]), [2, 0, 0], axis=0)
    tensor([30., 10., 10.])
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis, = normalized("take", (axis,), x.ndim)
    return advanced(x, (*[slice(None)] * axis, index_tensor(indices)))


def _along(where: str, x: Tensor, indices: Any, axis: int) -> tuple[Tensor, int]:
    """Return indices with as many axes as x, and the axis from the front."""
    axis, = normalized(where, (axis,), x.ndim)
    indices = index_tensor(indices)
    if indices.ndim != x.ndim:
        raise ShapeError(say(where, f"indices with {x.ndim} axes", str(indices.ndim),
                             "Insert the axis with expand_dims",
                             {"x": x.shape, "indices": indices.shape}))
    return indices, axis


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Tensor:
    """Return ``y[.., j, ..] = x[.., indices[.., j, ..], ..]`` along an axis.

    ``indices`` has the shape of x except along ``axis`` (other axes may be 1); so
    ``take_along_axis(x, argsort(x, axis), axis)`` sorts.
    """
    x = as_tensor(x)
    indices, axis = _along("take_along_axis", x, indices, axis)
    grid: list[Any] = [Tensor(np.arange(n).reshape((-1,) + (1,) * (x.ndim - 1 - i)))
                       for i, n in enumerate(x.shape)]
    grid[axis] = indices
    flat = apply(FLAT, *grid, where="take_along_axis", sizes=x.shape, axes=tuple(range(x.ndim)))
    return apply(GATHER, reshape(x, -1), flat)


def _put_infer(x: np.ndarray, indices: np.ndarray, values: np.ndarray, *,
               axis: int) -> tuple[tuple[int, ...], Any]:
    integers("put_along_axis", indices)
    if values.shape != indices.shape:
        raise ShapeError(say("put_along_axis", f"values of shape {indices.shape}",
                             str(values.shape), "One value per index"))
    if values.dtype != x.dtype:
        raise DTypeError(say("put_along_axis", f"values of dtype {x.dtype}", str(values.dtype),
                             "Convert them with .astype"))
    return x.shape, x.dtype


def _put(x: np.ndarray, indices: np.ndarray, values: np.ndarray, y: np.ndarray, axis: int) -> None:
    y[...] = x
    grid = list(np.ogrid[tuple(slice(n) for n in x.shape)])
    grid[axis] = indices
    places = np.empty(indices.shape, np.int64)
    _flat(*grid, places, "", x.shape, ())
    # one vector of places: NumPy keeps the last value for each, which it does not for more axes
    y.reshape(-1)[places.reshape(-1)] = values.reshape(-1)


def _put_values(g: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Return the gradient of the values: of several with one index, the last one was kept."""
    order = Tensor(np.arange(indices.size).reshape(indices.shape))
    last = apply(PUT, Tensor(np.full(g.shape, -1)), indices, order, axis=axis)
    kept = F["equal"](take_along_axis(last, indices, axis), order)
    return F["where"](kept, take_along_axis(g, indices, axis), 0.0)


PUT: Op = define(
    "put_along_axis", infer=_put_infer, definition=_put, strided=True,
    check=lambda x, indices, values, axis: bounded(
        "put_along_axis", indices, 0, x.shape[axis], f"axis {axis}"),
    vjp={"x": lambda g, indices, axis: apply(
            PUT, g, indices, Tensor(np.zeros(indices.shape, g.dtype)), axis=axis),
         "values": lambda g, indices, axis: _put_values(g, indices, axis)},
    linear=[("x", "values")], onnx="ScatterElements",
    doc="y = x with y[.., indices[.., j, ..], ..] = values[.., j, ..] along an axis")


def put_along_axis(x: Any, indices: Any, values: Any, axis: int = -1) -> Tensor:
    """Return a copy of x with ``y[.., indices[.., j, ..], ..] = values[.., j, ..]``.

    ``values`` broadcast to ``indices``; of several values for one place the last one stays.
    """
    x = as_tensor(x)
    indices, axis = _along("put_along_axis", x, indices, axis)
    indices = apply(FLAT, indices, where="put_along_axis", sizes=(x.shape[axis],), axes=(axis,))
    shape = tuple(indices.shape[i] if i == axis else n for i, n in enumerate(x.shape))
    indices = broadcast_to(indices, shape)
    values = Tensor(np.asarray(values, x.dtype)) if is_scalar(values) else as_tensor(values)
    return apply(PUT, x, indices, broadcast_to(values, indices.shape), axis=axis)


def _one_hot_infer(labels: np.ndarray, *, classes: int,
                   dtype: Any) -> tuple[tuple[int, ...], Any]:
    integers("one_hot", labels)
    return (*labels.shape, classes), dtype


def _one_hot(labels: np.ndarray, y: np.ndarray, classes: int, dtype: Any) -> None:
    np.equal(labels[..., None], np.arange(classes), out=y, casting="unsafe")


ONE_HOT = define("one_hot", infer=_one_hot_infer, definition=_one_hot, strided=True,
                 check=lambda labels, classes, dtype: bounded(
                     "one_hot", labels, 0, classes, "a row"), onnx="OneHot",
                 doc="y[..., c] = 1 where labels[...] = c, else 0")


def one_hot(labels: Any, num_classes: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return ``y[..., c] = 1`` where ``labels[...] = c``, else 0.

    Parameters
    ----------
    labels : Tensor of integers
        Any shape, values from 0 to num_classes - 1.
    num_classes : int, optional
        Their number; by default the largest label plus one.
    dtype : dtype, optional
        float32 by default.

    Returns
    -------
    Tensor
        (..., num_classes).
    """
    labels = index_tensor(labels)
    if num_classes is None:
        num_classes = int(labels.numpy().max()) + 1 if labels.size else 0
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 0:
        raise ParameterError(say("one_hot", "num_classes >= 0", repr(num_classes),
                                 "Pass the number of classes"))
    return apply(ONE_HOT, labels, classes=num_classes, dtype=real_dtype("one_hot", dtype))
