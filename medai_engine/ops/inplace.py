"""Writing in place, where engine rule 1 allows it: on a leaf, under ``no_grad``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, GraphError, ShapeError, say
from ..mode import MODE
from ..op import apply, define
from ..tensor import Tensor, is_scalar
from .elementwise import F
from .shape import as_tensor

__all__ = ["assign"]


def _infer(x: np.ndarray, value: np.ndarray, *, index: Any) -> list[Any]:
    try:
        shape = np.broadcast_to(np.int8(0), x.shape)[index].shape
    except IndexError as error:
        raise ShapeError(say("write in place", f"an index into shape {x.shape}", str(index),
                             str(error))) from None
    try:
        # as NumPy, leading axes of size 1 of the value may go
        fits = np.broadcast_shapes(value.shape[max(0, value.ndim - len(shape)):], shape) == shape
    except ValueError:
        fits = False
    if not fits or (value.size > 1 and any(
            n != 1 for n in value.shape[: max(0, value.ndim - len(shape))])):
        raise ShapeError(say("write in place", f"a value that broadcasts to {shape}",
                             str(value.shape), "Reshape it first", {"t": x.shape}))
    if not np.can_cast(value.dtype, x.dtype, "same_kind"):
        raise DTypeError(say("write in place", f"a value that {x.dtype} can hold",
                             str(value.dtype), f"Convert it with .astype(me.{x.dtype})"))
    return []


def _assign(x: np.ndarray, value: np.ndarray, index: Any) -> None:
    x[index] = value


ASSIGN = define("assign", infer=_infer, definition=_assign, strided=True,
                outputs=(), writes=lambda count, index: (0,), onnx="none: writes",
                doc="x[index] = value in place; values are converted to the dtype of x")


def assign(where: str, t: Tensor, value: Any, index: Any = ...) -> Tensor:
    """Write a value into (a part of) a leaf, and return the leaf."""
    if not t.is_leaf or MODE.get().grad:
        got = "gradients being recorded" if t.is_leaf else "a result of an op"
        raise GraphError(say(where, "a leaf under no_grad", got,
                             "Write inside `with me.no_grad():`, or make a new tensor: t = t + x "
                             "instead of t += x, me.where or me.put_along_axis instead of t[i] = x",
                             {"t": t.shape}))
    if t.base is not None and not t.base.is_leaf:
        # its node may have kept the array, and would not notice
        raise GraphError(say(where, "memory of a leaf", "the memory of a result of an op",
                             "Write to t.copy()", {"t": t.shape}))
    if not t.data.flags.writeable:
        raise GraphError(say(where, "memory that may be written", "a read-only array",
                             "Write to t.copy()", {"t": t.shape}))
    if is_scalar(value):
        array = np.asarray(value)
        fits = np.can_cast(array.dtype, t.dtype, "same_kind")
        value = Tensor(array.astype(t.dtype) if fits else array)
    apply(ASSIGN, t, as_tensor(value), index=index)
    return t


def copy_(t: Tensor, source: Any) -> Tensor:
    """Write the values of ``source`` into this leaf (under ``no_grad``); returns the leaf."""
    return assign("copy_", t, source)


def setitem(t: Tensor, index: Any, value: Any) -> None:
    """Write ``t[index] = value`` on a leaf under ``no_grad``."""
    items = index if isinstance(index, tuple) else (index,)
    assign("t[index] = value", t, value,
           tuple(i.numpy() if isinstance(i, Tensor) else i for i in items))


def _updated(symbol: str, function: Callable[[Any, Any], Tensor]) -> Callable[..., Tensor]:
    def update(t: Tensor, other: Any) -> Tensor:
        if not t.is_leaf or MODE.get().grad:
            return assign(symbol, t, other)  # raises before anything is computed
        return assign(symbol, t, function(t, other))

    update.__doc__ = f"Write ``t {symbol} other`` into this leaf (under ``no_grad``)."
    return update


def _refused(symbol: str) -> Callable[..., Tensor]:
    """Return a method that raises: without it Python would make ``t`` another tensor."""

    def refuse(t: Tensor, other: Any) -> Tensor:
        raise GraphError(say(symbol, "one of += -= *= /=", symbol,
                             f"Write t = t {symbol[:-1]} x for a new tensor, or t.copy_(t "
                             f"{symbol[:-1]} x) under no_grad"))

    return refuse


WRITERS = {"copy_": copy_, "__setitem__": setitem, "__iadd__": _updated("+=", F["add"]),
           "__isub__": _updated("-=", F["subtract"]), "__imul__": _updated("*=", F["multiply"]),
           "__itruediv__": _updated("/=", F["divide"]),
           **{f"__i{name}__": _refused(symbol) for name, symbol in (
               ("pow", "**="), ("floordiv", "//="), ("mod", "%="), ("matmul", "@="),
               ("and", "&="), ("or", "|="), ("xor", "^="))}}
for _name, _writer in WRITERS.items():
    setattr(Tensor, _name, _writer)
