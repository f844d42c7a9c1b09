"""Sums, means, extremes and tests along axes: the public functions over the reductions.

``axis`` is an integer, several, or None for all; ``keepdims`` keeps reduced axes with size 1.
Integers and booleans are summed exactly (int64) and averaged as float32.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import ParameterError, say
from ..op import apply
from ..tensor import Tensor
from . import reduce as records
from .axes import Axis, normalized
from .creation import full
from .elementwise import F
from .shape import as_tensor, astype, concat, real_dtype, reshape

__all__ = ["all", "any", "argmax", "argmin", "count_nonzero", "cumulative_prod", "cumulative_sum",
           "logsumexp", "max", "mean", "min", "prod", "std", "sum", "var"]


def _cast(where: str, x: Any, dtype: Any) -> Tensor:
    x = as_tensor(x)
    return x if dtype is None else astype(x, real_dtype(where, dtype), copy=False)


def _floating(x: Any) -> Tensor:
    x = as_tensor(x)
    return x if x.dtype.kind == "f" else astype(x, None)


def sum(x: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """Sum along the axes; integers and booleans give int64.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.sum(me.ones((2, 3)), axis=-1)
    tensor([3., 3.])
    """
    return apply(records.SUM, _cast("sum", x, dtype), axis=axis, keepdims=keepdims)


def prod(x: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """Product along the axes; integers and booleans give int64."""
    return apply(records.PROD, _cast("prod", x, dtype), axis=axis, keepdims=keepdims)


def mean(x: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """Mean along the axes; ShapeError where there is nothing to average."""
    return apply(records.MEAN, _floating(_cast("mean", x, dtype)), axis=axis, keepdims=keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element along the axes; NaN wins, ties share the gradient equally."""
    return apply(records.MAX, x, axis=axis, keepdims=keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element along the axes; NaN wins, ties share the gradient equally."""
    return apply(records.MIN, x, axis=axis, keepdims=keepdims)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first largest element along one axis (None: of the flattened array)."""
    return apply(records.ARGMAX, x, axis=axis, keepdims=keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first smallest element along one axis (None: of the flattened array)."""
    return apply(records.ARGMIN, x, axis=axis, keepdims=keepdims)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` along the axes, without overflow."""
    return apply(records.LOGSUMEXP, _floating(x), axis=axis, keepdims=keepdims)


def var(x: Any, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Variance along the axes, ``sum((x - mean)^2) / (n - correction)``.

    ``correction=1`` gives the unbiased estimate; NaN where n <= correction.
    """
    if isinstance(correction, bool) or not isinstance(correction, (int, float)):
        raise ParameterError(say("var", "a number as correction", repr(correction),
                                 "Pass correction=1 for the unbiased estimate"))
    x = _floating(x)
    n = math.prod(x.shape[a] for a in normalized("var", axis, x.ndim))
    squares = F["square"](x - mean(x, axis, keepdims=True))
    total = apply(records.SUM, squares, axis=axis, keepdims=keepdims)
    return total * (1.0 / (n - correction) if n > correction else math.nan)


def std(x: Any, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Return the standard deviation along the axes, the square root of ``var``."""
    return F["sqrt"](var(x, axis, correction, keepdims))


def count_nonzero(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Count elements that are not zero along the axes (int64)."""
    return sum(F["not_equal"](x, 0), axis, keepdims=keepdims)


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Tell whether some element along the axes is not zero; False for none."""
    return F["greater"](count_nonzero(x, axis, keepdims), 0)


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Tell whether no element along the axes is zero; True for none."""
    return F["equal"](sum(F["equal"](x, 0), axis, keepdims=keepdims), 0)


def _scanned(op: Any, x: Any, axis: int | None, dtype: Any, include_initial: bool,
             initial: int) -> Tensor:
    x = _cast(op.name, x, dtype)
    if axis is None:
        x, axis = reshape(x, -1), 0
    y = apply(op, x, axis=axis)
    if not include_initial:
        return y
    axis %= y.ndim
    first = full((*y.shape[:axis], 1, *y.shape[axis + 1:]), initial, y.dtype)
    return concat([first, y], axis)


def cumulative_sum(x: Any, axis: int | None = None, dtype: Any = None,
                   include_initial: bool = False) -> Tensor:
    """Return the running sum along an axis (None: flattened first).

    ``include_initial`` puts a 0 in front, so that the result is one longer.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.cumulative_sum(me.arange(1, 4), include_initial=True)
    tensor([0, 1, 3, 6], dtype=int64)
    """
    return _scanned(records.CUMULATIVE_SUM, x, axis, dtype, include_initial, 0)


def cumulative_prod(x: Any, axis: int | None = None, dtype: Any = None,
                    include_initial: bool = False) -> Tensor:
    """Return the running product along an axis; see ``cumulative_sum`` (initial: 1)."""
    return _scanned(records.CUMULATIVE_PROD, x, axis, dtype, include_initial, 1)
