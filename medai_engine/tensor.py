"""The Tensor: an array, and the node through which its gradient flows.

Tensors are values: ops return new ones. What may be written in place (engine-rules 1) is a leaf
under ``no_grad``, and what optimiser ops update. Operators and methods are attached by the ops
(``ops/methods.py``) from a table; this file holds no op.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from .errors import CaptureError, DTypeError, GraphError, ShapeError, say
from .mode import MODE

__all__ = ["CLOCK", "EPOCH", "Buffer", "Constant", "Gradient", "Leaf", "Parameter", "Tensor",
           "as_leaf", "is_scalar", "last_written", "mark_written"]

EPOCH = [0]  # ticks when something changes that plans were made for: flags, bindings, options
CLOCK = [0]  # ticks at every write in place; nodes remember the time, written storage too


class Leaf:
    """The end of a gradient's way: the tensor into whose ``grad`` it is stored.

    It refers to its tensor weakly, because the tensor refers to it.
    """

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor):
        self.tensor = ref(tensor)


if TYPE_CHECKING:

    class Attached:
        """What the ops attach to Tensor, as type checkers need to see it."""

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

else:
    Attached = object


class Tensor(Attached):
    """An n-dimensional array with a gradient.

    Attributes
    ----------
    data : numpy.ndarray
        The values. Treat as read-only; ``numpy()`` gives it to users.
    node : Node, Slot, Leaf or None
        Where a gradient goes; None when none is wanted.
    grad : Tensor or None
        The accumulated gradient of a leaf.
    base : Tensor or None
        The tensor whose storage a view shares.
    written : int
        When the storage was last written in place (``CLOCK``).
    """

    __slots__ = ("__weakref__", "base", "data", "grad", "node", "written")
    __array_priority__ = 1000.0

    def __init__(self, data: np.ndarray, node: Any = None):
        self.data = data
        self.node = node
        self.grad: Tensor | None = None
        self.base: Tensor | None = None
        self.written = 0

    # what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its dimensions."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def nbytes(self) -> int:
        """The number of bytes of its elements."""
        return self.data.nbytes

    @property
    def device(self) -> str:
        """Where it lives: always ``"cpu"`` (array API standard)."""
        return "cpu"

    @property
    def is_leaf(self) -> bool:
        """Whether no op made it out of tensors with a gradient."""
        return self.node is None or type(self.node) is Leaf

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to it."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Ask for gradients of this leaf, or stop asking; returns the tensor itself."""
        if not self.is_leaf:
            raise GraphError(say("requires_grad_", "a leaf", "a result of an op",
                                 "Use .detach() to get a leaf with the same values"))
        EPOCH[0] += 1
        if value:
            return as_leaf(self)
        self.node = None
        return self

    # values out

    def numpy(self) -> np.ndarray:
        """Return the values as an array that shares memory (read-only while gradients flow)."""
        visible("numpy")
        if self.node is None:
            return self.data
        view = self.data.view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """Return the only element as a Python number."""
        return self._only("item")

    def _only(self, where: str) -> Any:
        """Return the only element, or say that there are others."""
        visible(where)
        if self.data.size != 1:
            raise ShapeError(say(where, "one element", f"{self.data.size}",
                                 "Reduce it with .mean() or .sum(), or use .tolist()",
                                 {"x": self.data.shape}))
        return self.data.item()

    def tolist(self) -> Any:
        """Return the values as nested Python lists."""
        visible("tolist")
        return self.data.tolist()

    def detach(self) -> Tensor:
        """Return the same values (shared memory) without a gradient."""
        out = Tensor(self.data)
        out.base = self if self.base is None else self.base
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        visible("__dlpack__")
        if self.node is not None:
            raise GraphError(say("__dlpack__", "a tensor without gradient", "one that requires it",
                                 "Export x.detach()"))
        data = self.data
        if min(data.strides, default=0) < 0:
            # PyTorch 2.13 ends the process when it meets a negative stride
            if options.get("copy") is False:
                raise BufferError(say("__dlpack__", "strides >= 0 for copy=False",
                                      str(data.strides), "Export x.copy()", {"x": data.shape}))
            data = data.copy()
        return data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def __float__(self) -> float:
        return float(self._only("float"))

    def __int__(self) -> int:
        return int(self._only("int"))

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ShapeError(say("bool", "one element", f"{self.data.size}",
                                 "Say which is meant: x.any(), x.all() or x.size > 0",
                                 {"x": self.data.shape}))
        visible("bool")
        return bool(self.data)

    def __index__(self) -> int:
        visible("index")
        return self.data.__index__()

    def __len__(self) -> int:
        return len(self.data)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="tensor(")
        dtype = "" if self.data.dtype == np.float32 else f", dtype={self.data.dtype}"
        return f"tensor({body}{dtype}{', requires_grad=True' if self.requires_grad else ''})"

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.data, self.requires_grad)


def as_leaf(t: Tensor) -> Tensor:
    """Let gradients flow to a tensor that no op made; returns it."""
    if t.data.dtype.kind != "f":
        raise DTypeError(say("requires_grad_", "floating values", t.data.dtype,
                             "Convert with .astype(me.float32) first"))
    if t.node is None:
        t.node = Leaf(t)
    return t


def values(data: Any) -> np.ndarray:
    """Return an array of a tensor, an array, or numbers, which become float32."""
    if isinstance(data, Tensor):
        return data.data
    array = np.asarray(data)
    return array if hasattr(data, "__array__") or array.dtype.kind not in "iuf" else array.astype(
        np.float32)


class Parameter(Tensor):
    """A tensor that a module learns: a leaf that requires its gradient, of permanent identity."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(values(data))
        if requires_grad:
            as_leaf(self)


class Constant(Tensor):
    """A number of the program's text as a tensor: the 2 of ``x * 2``. Nobody writes to it."""

    __slots__ = ()


class Gradient(Tensor):
    """What ``backward`` leaves in a leaf's ``grad``; it knows whose it is.

    Attributes
    ----------
    leaf : Leaf or None
        The end of the graph that it arrived at.
    """

    __slots__ = ("leaf",)

    def __init__(self, data: np.ndarray, leaf: Leaf | None = None):
        super().__init__(data)
        self.leaf = leaf


class Buffer(Tensor):
    """State of a module that is saved but not learned, such as running statistics."""

    __slots__ = ()

    def __init__(self, data: Any):
        super().__init__(values(data))


def _rebuild(kind: type[Tensor], data: np.ndarray, requires_grad: bool) -> Tensor:
    tensor = kind(data)
    return tensor.requires_grad_(requires_grad)


def visible(where: str) -> None:
    """Raise where Python would look at a value while ``me.jit`` records (engine-rules 10)."""
    recorder = MODE.get().recorder
    if recorder is not None:
        raise CaptureError(say(
            f"me.jit: {where} at {recorder.user_line()}", "a function of tensors all through",
            "a value read by Python, which a plan would not read again",
            "Return the tensor and read it outside; for a choice write me.where(condition, a, b); "
            "for an option pass a Python number"))


def is_scalar(x: Any) -> bool:
    """Tell whether x is a Python or NumPy number, whose dtype is weak."""
    return isinstance(x, (int, float, np.generic))


def last_written(tensor: Tensor) -> int:
    """Return when a tensor's storage was last written, through whichever view."""
    base = tensor.base
    return tensor.written if base is None else max(tensor.written, base.written)


def mark_written(tensor: Tensor) -> None:
    """Note that a tensor's storage changes, so that nodes which kept it will refuse."""
    CLOCK[0] += 1
    tensor.written = CLOCK[0]
    if tensor.base is not None:
        tensor.base.written = CLOCK[0]
