"""Axes and arrangements: compositions of the movement ops in ``shape.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError, say
from ..op import apply
from ..tensor import Tensor, is_scalar
from .axes import normalized, reduced
from .elementwise import F
from .indexing import getitem, index_tensor, take
from .shape import (
    UNSLICE,
    as_tensor,
    broadcast_to,
    concat,
    ints,
    permute_dims,
    reshape,
)

__all__ = ["broadcast_arrays", "diagonal", "expand_dims", "matrix_transpose", "pad", "repeat",
           "roll", "split", "squeeze", "stack", "swapaxes", "tile", "tril", "triu", "unstack"]


# ---- axes -------------------------------------------------------------------------------------


def matrix_transpose(x: Any) -> Tensor:
    """Return x (..., M, N) as (..., N, M)."""
    return swapaxes(x, -1, -2)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Return x with two axes exchanged."""
    x = as_tensor(x)
    (first,), (second,) = (normalized("swapaxes", (a,), x.ndim) for a in (axis1, axis2))
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    return permute_dims(x, order)


def expand_dims(x: Any, axis: int | Sequence[int] = 0) -> Tensor:
    """Return x with new axes of size 1 at these places of the result."""
    x = as_tensor(x)
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    places = normalized("expand_dims", axis, x.ndim + count)
    sizes = iter(x.shape)
    return reshape(x, tuple(1 if i in places else next(sizes) for i in range(x.ndim + count)))


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Return x without these axes of size 1 (None: all of them).

    Raises
    ------
    ShapeError
        When a named axis has another size.
    """
    x = as_tensor(x)
    if axis is None:
        axis = tuple(i for i, n in enumerate(x.shape) if n == 1)
    axes = normalized("squeeze", axis, x.ndim)
    if any(x.shape[a] != 1 for a in axes):
        raise ShapeError(say("squeeze", f"size 1 along axis {axis}", str(x.shape),
                             "Name only axes of size 1"))
    return reshape(x, reduced(x.shape, axes, False))


# ---- joining and splitting --------------------------------------------------------------------


def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Join arrays of one shape along a new axis at this place of the result.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.stack([me.zeros(2), me.ones(2)], axis=1)
    tensor([[0., 1.],
            [0., 1.]])
    """
    parts = [as_tensor(x) for x in arrays]
    if len({x.shape for x in parts}) > 1:
        raise ShapeError(say("stack", "arrays of one shape",
                             " and ".join(str(x.shape) for x in parts),
                             "Pad or reshape the odd one, or use concat"))
    return concat([expand_dims(x, axis) for x in parts],
                  *[normalized("stack", (axis,), x.ndim + 1)[0] for x in parts[:1]])


def unstack(x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Return the entries of x along an axis, each without that axis (views)."""
    x = as_tensor(x)
    axis, = normalized("unstack", (axis,), x.ndim)
    lead = (slice(None),) * axis
    return tuple(getitem(x, (*lead, i)) for i in range(x.shape[axis]))


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut x along an axis (views): into equal sections, or before each of some indices.

    Examples
    --------
    >>> import medai_engine as me
    >>> [part.shape for part in me.split(me.zeros((6, 2)), [1, 4])]
    [(1, 2), (3, 2), (2, 2)]
    """
    x = as_tensor(x)
    axis, = normalized("split", (axis,), x.ndim)
    size = x.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        sections = int(indices_or_sections)
        if sections < 1 or size % sections:
            raise ShapeError(say("split", f"a number of sections that divides {size}",
                                 str(sections), "Pass a list of indices to cut anywhere",
                                 {"x": x.shape}))
        cuts = [size // sections * i for i in range(1, sections)]
    else:
        cuts = list(ints("split", "indices", tuple(indices_or_sections)))
    lead = (slice(None),) * axis
    return [getitem(x, (*lead, slice(start, stop)))
            for start, stop in zip([0, *cuts], [*cuts, None], strict=True)]


# ---- repeating and shifting -------------------------------------------------------------------


def roll(x: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
    """Shift x along axes; what leaves at the end comes back in front (None: flattened)."""
    x = as_tensor(x)
    if axis is None:
        total, = ints("roll", "shift", shift)
        return reshape(roll(reshape(x, -1), total, 0), x.shape)
    axes, shifts = ints("roll", "axis", axis), ints("roll", "shift", shift)
    if len(shifts) == 1:
        shifts *= len(axes)
    if len(shifts) != len(axes):
        raise ParameterError(say("roll", f"{len(axes)} shifts, one per axis", str(len(shifts)),
                                 "Pass one shift, or as many as axes"))
    for a, s in zip(axes, shifts, strict=True):
        a, = normalized("roll", (a,), x.ndim)
        cut = -s % x.shape[a] if x.shape[a] else 0
        if cut:
            head, tail = split(x, [cut], a)
            x = concat([tail, head], a)
    return x


def tile(x: Any, repetitions: int | Sequence[int]) -> Tensor:
    """Repeat the whole array, ``repetitions[i]`` times along axis i (aligned at the last axis)."""
    x = as_tensor(x)
    times = ints("tile", "repetitions", repetitions)
    count = max(x.ndim, len(times))
    times = (1,) * (count - len(times)) + times
    shape = (1,) * (count - x.ndim) + x.shape
    pairs = reshape(x, tuple(n for size in shape for n in (1, size)))
    wide = broadcast_to(pairs, tuple(n for pair in zip(times, shape, strict=True) for n in pair))
    return reshape(wide, tuple(t * n for t, n in zip(times, shape, strict=True)))


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Repeat each element along an axis (None: flattened), by one number or one per element."""
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis, = normalized("repeat", (axis,), x.ndim)
    counts = index_tensor(repeats).numpy()
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or (counts < 0).any() or (
            counts.size not in (1, x.shape[axis])):
        raise ParameterError(say("repeat", f"one count >= 0, or {x.shape[axis]}", repr(repeats),
                                 "Pass repeats=2, or one count per element of the axis"))
    return take(x, np.repeat(np.arange(x.shape[axis]), counts), axis)


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Tensor:
    """Return x with elements added before and after it along its axes.

    Parameters
    ----------
    x : Tensor
        Any shape.
    pad_width : int, pair, or one pair per axis
        How many elements (before, after).
    mode : str
        ``"constant"``, or NumPy's ``"edge"``, ``"reflect"``, ``"symmetric"``, ``"wrap"``, which
        repeat elements of x.
    constant_values : number
        The value for ``"constant"``.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.pad(me.ones(2), (1, 2))
    tensor([0., 1., 1., 0., 0.])
    """
    x = as_tensor(x)
    try:
        widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))
    except ValueError:
        widths = np.asarray(-1)
    if widths.dtype.kind not in "iu" or (widths < 0).any():
        raise ParameterError(say("pad", f"one width >= 0, a pair, or {x.ndim} pairs",
                                 repr(pad_width), "Pass ((before, after), ...), one per axis",
                                 {"x": x.shape}))
    pairs = [(int(before), int(after)) for before, after in widths]
    if mode == "constant":
        if not is_scalar(constant_values):
            raise ParameterError(say("pad", "a number as constant_values", repr(constant_values),
                                     "Concatenate arrays for other contents"))
        shape = tuple(before + n + after for n, (before, after) in zip(x.shape, pairs, strict=True))
        inside = tuple(slice(before, before + n)
                       for n, (before, _) in zip(x.shape, pairs, strict=True))
        y = apply(UNSLICE, x, shape=shape, index=inside)
        if constant_values == 0:
            return y
        mask = np.zeros(shape, np.bool_)
        mask[inside] = True
        return F["where"](Tensor(mask), y, Tensor(np.asarray(constant_values, x.dtype)))
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ParameterError(say("pad", '"constant", "edge", "reflect", "symmetric" or "wrap"',
                                 repr(mode), 'Pass mode="constant"'))
    for axis, pair in enumerate(pairs):
        if pair != (0, 0):
            if x.shape[axis] == 0:
                raise ShapeError(say("pad", f"elements along axis {axis} to repeat", "none",
                                     'Use mode="constant"', {"x": x.shape}))
            x = take(x, np.pad(np.arange(x.shape[axis]), pair, mode=mode), axis)  # type: ignore[call-overload]
    return x


# ---- triangles and diagonals ------------------------------------------------------------------


def _masked(where: str, x: Any, mask: Any) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(say(where, "matrices (..., M, N)", str(x.shape),
                             "Insert axes with expand_dims"))
    inside = Tensor(mask(np.ones(x.shape[-2:], np.bool_)))
    return F["where"](inside, x, Tensor(np.zeros((), x.dtype)))


def tril(x: Any, k: int = 0) -> Tensor:
    """Return matrices (..., M, N) with zeros above the k-th diagonal."""
    return _masked("tril", x, lambda ones: np.tril(ones, k))


def triu(x: Any, k: int = 0) -> Tensor:
    """Return matrices (..., M, N) with zeros below the k-th diagonal."""
    return _masked("triu", x, lambda ones: np.triu(ones, k))


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return the elements ``x[i, i + offset]`` of two axes as a new last axis."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(say("diagonal", "at least two axes", str(x.shape),
                             "Insert axes with expand_dims"))
    (a,), (b,) = (normalized("diagonal", (axis,), x.ndim) for axis in (axis1, axis2))
    if a == b:
        raise ParameterError(say("diagonal", "two different axes", f"{axis1} and {axis2}",
                                 "Pass axis1=-2, axis2=-1"))
    rest = [i for i in range(x.ndim) if i not in (a, b)]
    first = max(0, -offset)
    rows = np.arange(first, max(first, min(x.shape[a], x.shape[b] - offset)))
    y = getitem(permute_dims(x, (a, b, *rest)), (rows, rows + offset))
    return permute_dims(y, (*range(1, y.ndim), 0))


def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """Return the arrays repeated to their common shape (views)."""
    parts = [as_tensor(x) for x in arrays]
    try:
        shape = np.broadcast_shapes(*(x.shape for x in parts))
    except ValueError:
        raise ShapeError(say("broadcast_arrays", "shapes that broadcast",
                             " and ".join(str(x.shape) for x in parts),
                             "Sizes must be equal or 1, aligned at the last axis")) from None
    return [broadcast_to(x, shape) for x in parts]
