"""New arrays: from data, and from nothing.

dtypes (engine rule 9): Python numbers and lists become float32, booleans stay booleans, arrays
keep their dtype, ranges of integers are int64 as everywhere; ``dtype=`` overrides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..coerce import FLOATS
from ..errors import DTypeError, ParameterError, ShapeError, say
from ..tensor import Tensor
from .shape import as_tensor, astype, broadcast_to, ints, real_dtype, reshape
from .shape import copy as copied

__all__ = ["arange", "asarray", "eye", "from_dlpack", "full", "full_like", "linspace", "meshgrid",
           "ones", "ones_like", "tensor", "zeros", "zeros_like"]


def _array(where: str, data: Any, dtype: Any, copy: bool | None) -> np.ndarray:
    """Return the data as a native array of a real dtype; shares memory where ``copy`` allows."""
    wanted = None if dtype is None else real_dtype(where, dtype)
    try:
        if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
            array = np.from_dlpack(data)
        else:
            array = np.asarray(data)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        kind = ShapeError if "inhomogeneous" in str(error) else DTypeError
        raise kind(say(where, "an array, or lists of equal lengths", type(data).__name__,
                       "Pad or split rows of other lengths" if kind is ShapeError
                       else f"{error}. Pass numbers")) from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(say(where, "real numbers or booleans",
                             f"{type(data).__name__} of dtype {array.dtype}",
                             "Encode text and objects as numbers first"))
    if wanted is None:
        from_python = not (hasattr(data, "__array__") or hasattr(data, "__dlpack__"))
        if from_python and array.dtype.kind != "b":
            wanted = FLOATS[0]
        elif array.dtype.kind == "f" and array.dtype.newbyteorder("=") not in FLOATS:
            raise DTypeError(say(where, "float32 or float64", str(array.dtype),
                                 "Pass dtype=me.float32 to convert"))
        else:
            wanted = np.dtype(array.dtype.type)  # NumPy's own instance: fast paths compare by `is`
    if copy is False and wanted != array.dtype:
        raise ParameterError(say(where, f"dtype {wanted} for copy=False", str(array.dtype),
                                 "Leave copy away to convert"))
    return np.array(array, dtype=wanted, copy=None if not copy else True)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a new leaf with a copy of the data.

    Parameters
    ----------
    data : number, nested lists, array or Tensor
        Numbers and lists become float32 (booleans stay booleans), arrays keep their dtype.
    dtype : dtype, optional
        Another dtype.
    requires_grad : bool
        Whether ``backward`` fills its ``grad``; needs a floating dtype.

    Raises
    ------
    ShapeError
        For nested lists of unequal lengths.
    DTypeError
        For text, objects and complex numbers, or integers with ``requires_grad``.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.tensor([[1, 2], [3, 4]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    if isinstance(data, Tensor):
        data = data.data
    return Tensor(_array("tensor", data, dtype, True)).requires_grad_(requires_grad)


def asarray(data: Any, dtype: Any = None, *, copy: bool | None = None) -> Tensor:
    """Return the data as a Tensor that shares their memory where it can.

    Parameters
    ----------
    data : Tensor, array, object with ``__array__`` or ``__dlpack__``, number or nested lists
        NumPy arrays, PyTorch tensors on the CPU, ... are shared: writing to one changes the
        other. A Tensor is returned as it is, with its gradient.
    dtype : dtype, optional
        Another dtype; converting copies.
    copy : bool, optional
        True always copies, False raises where a copy would be needed.

    Raises
    ------
    ShapeError, DTypeError, ParameterError
        As ``tensor``, and where ``copy=False`` is impossible.

    Examples
    --------
    >>> import numpy as np, medai_engine as me
    >>> a = np.zeros(3)
    >>> t = me.asarray(a)
    >>> a[0] = 1
    >>> t
    tensor([1., 0., 0.], dtype=float64)
    """
    if not isinstance(data, Tensor):
        return Tensor(_array("asarray", data, dtype, copy))
    out = data if dtype is None else astype(data, dtype, copy=False)
    return copied(out) if copy and out is data else out


def from_dlpack(data: Any) -> Tensor:
    """Return a Tensor over the memory of any object that speaks DLPack."""
    if not hasattr(data, "__dlpack__"):
        raise ParameterError(say("from_dlpack", "an object with __dlpack__", type(data).__name__,
                                 "Use me.asarray for lists and other data"))
    return Tensor(_array("from_dlpack", np.from_dlpack(data), None, False))


# ---- constants and ranges ---------------------------------------------------------------------


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """Return an array of this shape with one value everywhere (float32, or bool for a bool)."""
    if dtype is None:
        dtype = np.bool_ if isinstance(fill_value, (bool, np.bool_)) else np.float32
    return Tensor(np.full(ints("full", "shape", shape), fill_value, real_dtype("full", dtype)))


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """Return an array of zeros (float32 unless said otherwise)."""
    return Tensor(np.zeros(ints("zeros", "shape", shape), real_dtype("zeros", dtype)))


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """Return an array of ones (float32 unless said otherwise)."""
    return Tensor(np.ones(ints("ones", "shape", shape), real_dtype("ones", dtype)))


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """Return an array with one value everywhere, of the shape and dtype of x."""
    x = as_tensor(x)
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype)


def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """Return zeros of the shape and dtype of x."""
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """Return ones of the shape and dtype of x."""
    return full_like(x, 1, dtype)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> Tensor:
    """Return start, start + step, ... below ``stop``; one argument counts from 0.

    int64 when all arguments are integers, else float32.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.arange(2, 8, 2)
    tensor([2, 4, 6], dtype=int64)
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ParameterError(say("arange", "a step other than 0", "0", "Pass step=1"))
    if dtype is None:
        whole = all(isinstance(v, (int, np.integer)) for v in (start, stop, step))
        dtype = np.int64 if whole else np.float32
    limits: Any = (start, stop, step)
    return Tensor(np.arange(*limits, dtype=real_dtype("arange", dtype)))


def linspace(start: float, stop: float, num: int, dtype: Any = None, *,
             endpoint: bool = True) -> Tensor:
    """Return ``num`` equally spaced values from ``start`` to ``stop`` (float32)."""
    count, = ints("linspace", "num", num)
    if count < 0:
        raise ParameterError(say("linspace", "num >= 0", str(num), "Pass num=50"))
    return Tensor(np.linspace(start, stop, count, endpoint=endpoint).astype(
        real_dtype("linspace", dtype)))


def eye(n_rows: int, n_cols: int | None = None, *, k: int = 0, dtype: Any = None) -> Tensor:
    """Return ones on the k-th diagonal of a matrix of zeros (float32, square by default)."""
    rows, cols = ints("eye", "sizes", (n_rows, n_rows if n_cols is None else n_cols))
    return Tensor(np.eye(rows, cols, k, real_dtype("eye", dtype)))


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """Return coordinate grids (views) of vectors.

    With ``indexing="ij"`` the i-th vector runs along axis i; ``"xy"`` swaps the first two axes.
    """
    if indexing not in ("xy", "ij"):
        raise ParameterError(say("meshgrid", '"xy" or "ij"', repr(indexing), 'Pass indexing="ij"'))
    vectors: Sequence[Tensor] = [as_tensor(x) for x in arrays]
    count = len(vectors)
    if any(v.ndim != 1 for v in vectors):
        raise ShapeError(say("meshgrid", "vectors", " and ".join(str(v.shape) for v in vectors),
                             "Flatten them with reshape(-1)"))
    place = [1, 0, *range(2, count)] if indexing == "xy" and count > 1 else list(range(count))
    shape = [0] * count
    for vector, axis in zip(vectors, place, strict=True):
        shape[axis] = vector.size
    return [broadcast_to(reshape(v, (1,) * axis + (-1,) + (1,) * (count - 1 - axis)), shape)
            for v, axis in zip(vectors, place, strict=True)]
