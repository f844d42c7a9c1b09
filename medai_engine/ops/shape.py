"""Movement: the same elements in another shape, order, place or dtype.

``reshape``, ``permute_dims``, ``broadcast_to`` and basic indexing are views where memory allows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..autograd import Node
from ..coerce import FLOATS, as_array
from ..errors import DTypeError, ParameterError, ShapeError, say
from ..mode import MODE
from ..op import Op, apply, define, share
from ..tensor import Tensor
from .axes import folded, normalized
from .elementwise import F

__all__ = ["astype", "broadcast_to", "concat", "copy", "flip", "permute_dims", "reshape"]

where = F["where"]


def ints(where: str, name: str, value: Any) -> tuple[int, ...]:
    """Return an int or a sequence of ints as a tuple."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    for v in values:
        if type(v) is not int:
            break
    else:
        return tuple(values)
    if any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) for v in values):
        raise ParameterError(say(where, f"{name} of integers", repr(value),
                                 f"Pass {name}=(2, 3), for example"))
    return tuple(int(v) for v in values)


def real_dtype(where: str, dtype: Any) -> np.dtype[Any]:
    """Return a dtype of the engine: float32 (for None), float64, an integer or bool."""
    if dtype is None:
        return FLOATS[0]
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        wanted = None
    if wanted is None or (wanted.kind not in "biu" and wanted not in FLOATS):
        raise DTypeError(say(where, "float32, float64, an integer dtype or bool", repr(dtype),
                             "Pass the shape as one tuple, (2, 3)" if type(dtype) is int else
                             "Use me.float32, me.float64, me.int64 or me.bool"))
    return wanted


def as_tensor(x: Any) -> Tensor:
    """Return x itself if it is a Tensor, else a Tensor of it (numbers and lists: float32)."""
    return x if isinstance(x, Tensor) else Tensor(as_array(x))


def viewed(op: Op, x: Any, **params: Any) -> Tensor:
    """Apply an op that gives a view; where nothing watches, on the short path.

    NumPy refuses the same parameters as the op's shape rule, which then words the error.
    """
    mode = MODE.get()
    if not (mode.short and isinstance(x, Tensor)):
        if mode.lean and isinstance(x, Tensor):
            return mode.scene.short(  # type: ignore[union-attr]
                mode, op, partial(viewed, op), (x,), params)
        return apply(op, x, **params)
    data = x.data
    try:
        view = op.definition(data, **params)
    except (ValueError, IndexError):
        return apply(op, x, **params)
    edge = x.node
    y = Tensor(view, None if edge is None or not mode.grad else
               Node(op, (edge,), (None, None), (data.shape,), params))
    share(y, x)
    return y


# ---- copy, astype -----------------------------------------------------------------------------


def _move(x: np.ndarray, y: np.ndarray, *_: Any) -> None:
    np.copyto(y, x, casting="unsafe")


COPY = define("copy", infer=lambda x: (x.shape, x.dtype), definition=_move, strided=True,
              vjp={"x": lambda g: g}, linear=[("x",)], analytic=True, onnx="Identity",
              doc="y = x in new, contiguous memory")


def _astype_infer(x: np.ndarray, *, dtype: Any, source: Any) -> tuple[tuple[int, ...], Any]:
    return x.shape, dtype


ASTYPE: Op = define("astype", infer=_astype_infer, definition=_move, strided=True, linear=[("x",)],
                vjp={"x": lambda g, dtype, source: apply(
                    ASTYPE, g, dtype=source, source=dtype)}, onnx="Cast",
                doc="y = x converted to dtype; gradients are converted back")


def copy(x: Any) -> Tensor:
    """Return the values in new memory; gradients flow through."""
    return apply(COPY, x)


def astype(x: Any, dtype: Any, *, copy: bool = True) -> Tensor:
    """Return the values converted to a dtype (float32, float64, integers, bool).

    Parameters
    ----------
    x : Tensor or array
        Any shape.
    dtype : dtype
        The wanted type.
    copy : bool
        With False, x itself is returned when it has the dtype already.

    Raises
    ------
    DTypeError
        For a dtype that the engine does not have.
    """
    wanted = real_dtype("astype", dtype)
    x = as_tensor(x)
    if not copy and x.dtype == wanted:
        return x
    return apply(ASTYPE, x, dtype=wanted, source=x.dtype)


ALIAS = define("alias", infer=lambda x: (x.shape, x.dtype), definition=lambda x: x.view(),
               view=True, vjp={"x": lambda g: g}, linear=[("x",)], analytic=True,
               onnx="Identity", doc="y = x as another tensor over the same memory")


# ---- reshape, permute_dims, broadcast_to ------------------------------------------------------


def _reshape_infer(x: np.ndarray, *, shape: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
    if -1 not in shape and math.prod(shape) == x.size and min(shape, default=0) >= 0:
        return shape, x.dtype
    sizes = list(shape)
    free = [i for i, n in enumerate(sizes) if n == -1]
    known = math.prod(n for n in sizes if n != -1)
    fix = "Pass sizes whose product is the number of elements, one of them may be -1"
    if len(free) > 1 or any(n < -1 for n in sizes):
        raise ShapeError(say("reshape", "sizes >= 0 and at most one -1", str(shape), fix))
    if free and known and x.size % known == 0:
        sizes[free[0]] = x.size // known
    elif free or known != x.size:
        raise ShapeError(say("reshape", f"a shape of {x.size} elements", str(shape), fix,
                             {"x": x.shape}))
    return tuple(sizes), x.dtype


RESHAPE = define("reshape", infer=_reshape_infer, view=True,
                 definition=lambda x, shape: x.reshape(shape),
                 vjp={"x": lambda g, x_shape: reshape(g, x_shape)}, linear=[("x",)],
                 analytic=True, onnx="Reshape",
                 doc="y = the elements of x in row-major order, in another shape")


def reshape(x: Any, *shape: Any) -> Tensor:
    """Return the elements in another shape (one size may be -1); a view where possible."""
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    return viewed(RESHAPE, x, shape=ints("reshape", "shape", sizes))


def _permute_infer(x: np.ndarray, *, axes: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
    if sorted(a % x.ndim if x.ndim else a for a in axes) != list(range(x.ndim)) or any(
            not -x.ndim <= a < x.ndim for a in axes):
        raise ShapeError(say("permute_dims", f"each of the {x.ndim} axes once", str(axes),
                             f"Pass axes={tuple(reversed(range(x.ndim)))} to reverse them",
                             {"x": x.shape}))
    return tuple(x.shape[a] for a in axes), x.dtype


PERMUTE = define("permute_dims", infer=_permute_infer, view=True,
                 definition=lambda x, axes: x.transpose(axes),
                 vjp={"x": lambda g, axes: permute_dims(
                     g, tuple(int(i) for i in np.argsort([a % len(axes) for a in axes])))},
                 linear=[("x",)], analytic=True, onnx="Transpose",
                 doc="y = x with its axes in another order")


def permute_dims(x: Any, axes: Sequence[int]) -> Tensor:
    """Return x with its axes in another order: axis i of the result is axis ``axes[i]`` of x."""
    return viewed(PERMUTE, x, axes=ints("permute_dims", "axes", axes))


def broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Tell whether an array of one shape can be repeated to the other."""
    lead = len(large) - len(small)
    return lead >= 0 and all(m in (1, n) for m, n in zip(small, large[lead:], strict=True))


def _broadcast_infer(x: np.ndarray, *, shape: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
    if not broadcasts(x.shape, shape):
        raise ShapeError(say("broadcast_to", f"a shape that {x.shape} broadcasts to", str(shape),
                             "Sizes must be equal or 1, aligned at the last axis"))
    return shape, x.dtype


BROADCAST = define("broadcast_to", infer=_broadcast_infer, view=True,
                   definition=lambda x, shape: np.broadcast_to(x, shape),
                   vjp={"x": lambda g, x_shape: apply(SUM_TO, g, shape=x_shape)},
                   linear=[("x",)], analytic=True, onnx="Expand",
                   doc="y = x repeated along new axes and axes of size 1, without a copy")


def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """Return x repeated to a shape, as a view."""
    return viewed(BROADCAST, x, shape=ints("broadcast_to", "shape", shape))


def _sum_to_axes(x: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    lead = x.ndim - len(shape)
    return tuple(range(lead)) + tuple(
        lead + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + i] != 1)


def _sum_to_infer(x: np.ndarray, *, shape: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
    if not broadcasts(shape, x.shape):
        raise ShapeError(say("sum_to", f"a shape that broadcasts to {x.shape}", str(shape),
                             "Sizes must be equal or 1, aligned at the last axis"))
    return shape, x.dtype


def _sum_to_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                    params: dict[str, Any]) -> tuple[Any, ...]:
    x = folded(arrays[0], _sum_to_axes(arrays[0], params["shape"]))
    return x, outs[0].reshape(x.shape[0], x.shape[2]), 1.0


SUM_TO: Op = define("sum_to", infer=_sum_to_infer, kernel="sum", prepare=_sum_to_prepare,
                vjp={"x": lambda g, x_shape: broadcast_to(g, x_shape)}, linear=[("x",)],
                work=lambda arrays, outs, params: (
                    0, max(0, arrays[0].size - math.prod(outs[0][0]))),
                onnx="ReduceSum",
                doc="y = x summed to a shape that broadcasts to x's: the adjoint of broadcast_to")


# ---- concat, basic indexing, flip -------------------------------------------------------------


def _concat_infer(*xs: np.ndarray, axis: int) -> tuple[tuple[int, ...], Any]:
    if not xs:
        raise ParameterError(say("concat", "at least one array", "none", "Pass a list of arrays"))
    first = xs[0]
    axis = normalized("concat", (axis,), first.ndim)[0]
    for x in xs:
        if x.ndim != first.ndim or any(
                m != n for i, (m, n) in enumerate(zip(x.shape, first.shape, strict=True))
                if i != axis):
            raise ShapeError(say("concat", f"equal sizes outside axis {axis}",
                                 " and ".join(str(x.shape) for x in xs),
                                 "Reshape or pad the odd one first"))
        if x.dtype != first.dtype:
            raise DTypeError(say("concat", "one dtype", f"{first.dtype} and {x.dtype}",
                                 "Convert with .astype first"))
    total = sum(x.shape[axis] for x in xs)
    return (*first.shape[:axis], total, *first.shape[axis + 1:]), first.dtype


def _concat_vjp(g: Tensor, shapes: Any, axis: int, needs: Any) -> list[Tensor | None]:
    axis %= g.ndim
    out: list[Tensor | None] = []
    start = 0
    for shape, need in zip(shapes, needs, strict=True):
        stop = start + shape[axis]
        index = (slice(None),) * axis + (slice(start, stop),)
        out.append(apply(SLICE, g, index=index) if need else None)
        start = stop
    return out


def _concat(*arguments: Any) -> None:
    *xs, y, axis = arguments
    np.concatenate(xs, axis=axis, out=y)


CONCAT = define("concat", infer=_concat_infer, definition=_concat, vjp=_concat_vjp, strided=True,
                linear=[("xs",)], analytic=True, onnx="Concat",
                doc="y = the arrays one behind the other along an axis")


def concat(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    """Join arrays along an existing axis (None: flatten them first)."""
    if axis is None:
        return apply(CONCAT, *[reshape(x, -1) for x in arrays], axis=0)
    return apply(CONCAT, *arrays, axis=axis)


def _slice_infer(x: np.ndarray, *, index: tuple[Any, ...]) -> tuple[tuple[int, ...], Any]:
    try:
        return x[index].shape, x.dtype
    except IndexError as error:
        raise ShapeError(say("indexing", f"an index into shape {x.shape}", str(index),
                             str(error))) from None


def _unslice_infer(g: np.ndarray, *, shape: tuple[int, ...],
                   index: tuple[Any, ...]) -> tuple[tuple[int, ...], Any]:
    return shape, g.dtype


def _unslice(g: np.ndarray, y: np.ndarray, shape: tuple[int, ...], index: tuple[Any, ...]) -> None:
    y.fill(0)
    y[index] = g


def _slice(x: np.ndarray, index: tuple[Any, ...]) -> np.ndarray:
    return x[index] if Ellipsis in index else x[(*index, ...)]  # always an array, never a scalar


SLICE = define("slice", infer=_slice_infer, view=True, definition=_slice,
               vjp={"x": lambda g, x_shape, index: apply(UNSLICE, g, shape=x_shape, index=index)},
               linear=[("x",)], analytic=True, onnx="Slice",
               doc="y = x[index] for slices, integers, None and ...: a view")
UNSLICE: Op = define("unslice", infer=_unslice_infer, definition=_unslice, strided=True,
                 vjp={"g": lambda u, index: apply(SLICE, u, index=index)}, linear=[("g",)],
                 analytic=True, onnx="none: a gradient",
                 doc="y = zeros of a shape with y[index] = g: the adjoint of slice")


def flip(x: Any, axis: Any = None) -> Tensor:
    """Return x with the order of its elements reversed along the axes (None: all); a view."""
    x = as_tensor(x)
    axes = normalized("flip", axis, x.ndim)
    return viewed(SLICE, x, index=tuple(
        slice(None, None, -1) if i in axes else slice(None) for i in range(x.ndim)))


for _name, _function in (("reshape", reshape), ("astype", astype)):
    setattr(Tensor, _name, _function)
