"""What users pass, as tensors of one dtype (engine-rules 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DTypeError, say
from .tensor import Constant, Tensor, is_scalar

if TYPE_CHECKING:
    from .op import Op

__all__ = ["FLOATS", "as_array", "promote", "weak"]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def as_array(x: Any, where: str = "tensor") -> np.ndarray:
    """Turn what a user passes into an array: numbers and lists become float32 (see rule 9)."""
    if isinstance(x, np.ndarray):
        return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
    if isinstance(x, np.generic):
        return np.asarray(x)
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return np.from_dlpack(x)
    array = np.asarray(x)
    if hasattr(x, "__array__") or array.dtype == np.bool_:
        return array
    if array.dtype.kind in "iuf":
        return array.astype(np.float32)
    raise DTypeError(say(where, "numbers", f"{type(x).__name__} of dtype {array.dtype}",
                         "Encode text and objects as numbers first"))


def promote(op: Op, inputs: Sequence[Any]) -> list[Tensor]:
    """Bring the inputs of an elementwise op to one dtype.

    Python and NumPy scalars take the dtype of the arrays; integers and booleans follow floats;
    float32 next to float64 is an error, never a silent conversion.
    """
    first = inputs[0]
    if isinstance(first, Tensor) and first.data.dtype.kind == "f":
        dtype = first.data.dtype
        if all(isinstance(x, Tensor) and x.data.dtype is dtype for x in inputs):
            return list(inputs)
    strong = [x for x in inputs if not is_scalar(x)]
    tensors = {id(x): x if isinstance(x, Tensor) else Tensor(as_array(x, op.name))
               for x in strong}
    dtypes = {t.data.dtype for t in tensors.values()}
    floats = [d for d in dtypes if d.kind == "f"]
    if len(floats) > 1:
        names = dict(zip(op.inputs, inputs, strict=False))
        got = ", ".join(f"{name} {tensors[id(x)].data.dtype}" for name, x in names.items()
                        if id(x) in tensors)
        raise DTypeError(say(op.name, "one floating dtype", got,
                             "Convert one of them with .astype(me.float32)"))
    if floats:
        dtype = floats[0]
    elif op.elementwise == "float" or not dtypes or any(
            isinstance(x, (float, np.floating)) for x in inputs if is_scalar(x)):
        dtype = np.dtype(np.float32)
    else:
        weak = [x for x in inputs if is_scalar(x)]
        dtype = np.result_type(*dtypes, *(x.item() if isinstance(x, np.generic) else x
                                          for x in weak))
    out: list[Tensor] = []
    for name, x in zip(op.inputs, inputs, strict=True):
        if is_scalar(x):
            # where's condition stays boolean; all other inputs share the dtype
            out.append(Constant(np.asarray(x, np.bool_ if name == "condition" else dtype)))
            continue
        t = tensors[id(x)]
        if t.data.dtype != dtype and name != "condition":
            t = cast(t, dtype)
        out.append(t)
    return out


def weak(number: Any, beside: Any) -> Any:
    """Return a Python number as a tensor of the dtype of the float tensor beside it."""
    if type(number) in (float, int) and isinstance(beside, Tensor):
        dtype = beside.data.dtype
        if dtype.kind == "f":
            return Constant(np.array(number, dtype))
    return number


def cast(t: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """Return the tensor in another dtype; gradients are converted back."""
    from .op import OPS, apply

    return apply(OPS["astype"], t, dtype=dtype, source=t.data.dtype)
