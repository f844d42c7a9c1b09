"""Axes: which ones a user means, and arrays folded so that they stand in the middle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import ParameterError, ShapeError, say

__all__ = ["Axis", "folded", "normalized", "reduced"]

Axis = int | Sequence[int] | None


def normalized(where: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the axes as sorted non-negative numbers; None means all."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    out = []
    for a in axes:
        if isinstance(a, bool) or not isinstance(a, (int, np.integer)):
            raise ParameterError(say(where, "axis to be an integer, several, or None", repr(axis),
                                     "Pass axis=0, axis=(0, 1) or axis=None"))
        if not -ndim <= a < ndim:
            raise ShapeError(say(where, f"an axis between {-ndim} and {ndim - 1}", str(a),
                                 f"The array has {ndim} dimensions"))
        out.append(int(a) % ndim)
    if len(set(out)) != len(out):
        raise ParameterError(say(where, "different axes", str(axis), "Name each axis once"))
    return tuple(sorted(out))


def reduced(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """Return the shape behind a reduction."""
    if len(axes) == len(shape):
        return (1,) * len(shape) if keepdims else ()
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def folded(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return x as (outer, n, inner) with the reduced axes in the middle."""
    if not axes:
        return x.reshape(-1, 1, 1)
    if len(axes) == x.ndim:
        return x.reshape(1, -1, 1) if x.size else x.reshape(1, 0, 1)
    if axes != tuple(range(axes[0], axes[-1] + 1)):
        kept = [i for i in range(x.ndim) if i not in axes]
        x = x.transpose(*kept, *axes).copy()
        axes = tuple(range(len(kept), x.ndim))
    outer, n = math.prod(x.shape[: axes[0]]), math.prod(x.shape[axes[0]: axes[-1] + 1])
    return x.reshape(outer, n, math.prod(x.shape[axes[-1] + 1:]))
