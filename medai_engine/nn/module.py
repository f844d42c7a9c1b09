"""Module: a piece of a model that owns parameters, buffers and other modules.

No attribute hooks: what a module owns is found by looking at its attributes when somebody asks.
A call therefore costs nothing more than its ``forward``. Names follow the attributes
(``layers.0.weight``). ``fit``, ``save``, ``summary`` and ``compile`` are attached by higher rooms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ..autograd import drop
from ..coerce import FLOATS, as_array
from ..errors import DTypeError, MedaiError, ParameterError, ShapeError, say
from ..mode import MODE
from ..ops.shape import astype
from ..tensor import EPOCH, Buffer, Parameter, Tensor, mark_written

__all__ = ["Loaded", "Module", "as_input"]

Self = TypeVar("Self", bound="Module")


class Loaded(NamedTuple):
    """What ``load_state_dict(strict=False)`` did not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def as_input(x: Any, like: Tensor) -> Tensor:
    """Return what a user passed as a tensor; floating values in the other's dtype (rule 9)."""
    if not isinstance(x, Tensor):
        x = Tensor(as_array(x))
    if x.data.dtype != like.data.dtype and x.data.dtype.kind == "f":
        return astype(x, like.data.dtype)
    return x


class Module:
    """Base class of layers and models: assign parameters and modules, define ``forward``.

    Attributes
    ----------
    training : bool
        Whether dropout and the like are active; set by ``train()`` and ``eval()``.

    Examples
    --------
    >>> import medai_engine as me
    >>> from medai_engine import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter(me.tensor([2.0]))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(me.tensor([1.0, 3.0]))
    tensor([2., 6.], requires_grad=True)
    """

    training = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute ``forward``; an error leaves with the path of this module."""
        scene = MODE.get().scene
        if scene is not None:
            return scene.inside(self, self.forward, args, kwargs)
        try:
            return self.forward(*args, **kwargs)
        except MedaiError as error:
            error.trail.append(self)
            raise

    if not TYPE_CHECKING:  # type checkers would let any attribute be set

        def __setattr__(self, name: str, value: Any) -> None:
            """Set an attribute, and let plans look again at what they were made for."""
            EPOCH[0] += 1
            object.__setattr__(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every module defines its own."""
        raise ParameterError(say(type(self).__name__, "a method forward(self, x)", "none",
                                 "Define it in the class"))

    # what it owns

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (attribute name, module) for the modules right below this one."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """Yield the modules right below this one."""
        for _, child in self.named_children():
            yield child

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield (dotted name, module) for this module and all below, each once."""
        yield from _modules(self, prefix, set())

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below, each once."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter), a parameter with several names once."""
        yield from _tensors(self, prefix, Parameter)

    def parameters(self) -> Iterator[Parameter]:
        """Yield all parameters, each once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Buffer]]:
        """Yield (dotted name, buffer), each buffer once."""
        yield from _tensors(self, prefix, Buffer)

    def buffers(self) -> Iterator[Buffer]:
        """Yield all buffers, each once."""
        for _, buffer in self.named_buffers():
            yield buffer

    def register_buffer(self, name: str, value: Any) -> Buffer:
        """Keep an array as state that is saved but not learned; returns the buffer."""
        buffer = Buffer(value)
        setattr(self, name, buffer)
        return buffer

    # state in and out

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Return all parameters and buffers by name, as tensors that share their storage.

        A parameter with several names appears under each. Use ``copy.deepcopy`` to keep a state
        while training goes on.
        """
        return {name: value.detach() for name, value in _named_state(self, prefix)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Loaded:
        """Copy values into the parameters and buffers of the same names.

        Parameters
        ----------
        state : mapping of str to Tensor or array
            As from ``state_dict``. Floating values are converted to the parameters' dtype; a
            size that is not inferred yet takes the one that is loaded.
        strict : bool
            Whether missing and unexpected names are errors.

        Returns
        -------
        Loaded
            ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        ParameterError
            For missing or unexpected names. Nothing has changed then.
        ShapeError, DTypeError
            For values that do not fit. Nothing has changed then.
        """
        own = dict(_named_state(self, ""))
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        if strict and (missing or unexpected):
            got = "; ".join(f"{what} {', '.join(names)}" for what, names in
                            (("missing", missing), ("unexpected", unexpected)) if names)
            raise ParameterError(say(
                "load_state_dict", f"the {len(own)} names of this {type(self).__name__}", got,
                "Build the model as it was when saved, or pass strict=False"))
        values = {}
        for name, tensor in own.items():
            if name in state:
                given = state[name]
                values[name] = given.data if isinstance(given, Tensor) else np.asarray(given)
                _check_fit(name, tensor, values[name])
        for name, value in values.items():
            tensor = own[name]
            if tensor.data.shape != value.shape:
                tensor.data = np.empty(value.shape, tensor.data.dtype)
                EPOCH[0] += 1
            np.copyto(tensor.data, value, casting="same_kind")
            mark_written(tensor)
        return Loaded(missing, unexpected)

    # what changes all of it

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        drop(self.parameters())

    def train(self: Self, mode: bool = True) -> Self:
        """Switch this module and all below to training (dropout on); returns itself."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Switch this module and all below to evaluation (dropout off); returns itself."""
        return self.train(False)

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call a function on every module below and then on this one; returns itself."""
        for module in reversed(list(self.modules())):
            fn(module)
        return self

    def astype(self: Self, dtype: Any) -> Self:
        """Convert all floating parameters and buffers; gradients are dropped; returns itself."""
        wanted = np.dtype(dtype)
        if wanted not in FLOATS:
            raise DTypeError(say("astype", "float32 or float64", str(wanted),
                                 "Parameters are floating"))
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.data.dtype.kind == "f":
                tensor.data = tensor.data.astype(wanted)
                tensor.grad = None
                mark_written(tensor)
        EPOCH[0] += 1
        return self

    def requires_grad_(self: Self, value: bool = True) -> Self:
        """Learn all parameters, or freeze them; returns itself."""
        for parameter in self.parameters():
            parameter.requires_grad_(value)
        return self

    # in print

    def extra_repr(self) -> str:
        """Return what stands in the parentheses: the module's plain options."""
        return ", ".join(f"{name}={value!r}" for name, value in vars(self).items()
                         if isinstance(value, (bool, int, float, str, tuple))
                         and name != "training" and not name.startswith("_"))

    def __repr__(self) -> str:
        name, options = type(self).__name__, self.extra_repr()
        lines = [f"({key}): " + repr(child).replace("\n", "\n  ")
                 for key, child in self.named_children()]
        if not lines:
            return f"{name}({options})"
        return "\n  ".join([f"{name}(", *([options] if options else []), *lines]) + "\n)"


def _members(module: Module) -> Iterator[tuple[str, Any]]:
    """Yield the parameters, buffers and modules among the attributes; refuse hidden ones."""
    for name, value in vars(module).items():
        if isinstance(value, (Module, Parameter, Buffer)):
            yield name, value
        elif isinstance(value, (list, tuple, dict)):
            items = value.values() if isinstance(value, dict) else value
            for item in items:
                if isinstance(item, (Module, Parameter)):
                    kind = type(value).__name__
                    fix = ("ParameterList" if isinstance(item, Parameter) else
                           "ModuleDict" if kind == "dict" else "ModuleList")
                    raise ParameterError(say(
                        f"{type(module).__name__}.{name}", "modules and parameters in attributes",
                        f"a {kind} that holds a {type(item).__name__}",
                        f"Write self.{name} = nn.{fix}(...), so that it is trained and saved"))


def _modules(module: Module, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    yield prefix, module
    for name, child in _members(module):
        if isinstance(child, Module):
            yield from _modules(child, f"{prefix}.{name}" if prefix else name, seen)


def _tensors(module: Module, prefix: str, kind: type) -> Iterator[tuple[str, Any]]:
    seen: set[int] = set()
    for path, owner in module.named_modules(prefix):
        for name, value in vars(owner).items():
            if isinstance(value, kind) and id(value) not in seen:
                seen.add(id(value))
                yield f"{path}.{name}" if path else name, value


def _named_state(module: Module, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in _members(module):
        if isinstance(value, Module):
            yield from _named_state(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _check_fit(name: str, tensor: Tensor, value: np.ndarray) -> None:
    """Raise unless a loaded value can be copied; a size 0 of a parameter is not inferred yet."""
    fits = len(tensor.shape) == value.ndim and all(
        m in (n, 0) for m, n in zip(tensor.shape, value.shape, strict=True))
    if not fits:
        raise ShapeError(say("load_state_dict", f"{name} of shape {tensor.shape}",
                             str(value.shape), "Build the model with the sizes it was saved with"))
    if not np.can_cast(value.dtype, tensor.dtype, "same_kind"):
        raise DTypeError(say("load_state_dict", f"{name} of {tensor.dtype}", str(value.dtype),
                             "Convert it with .astype first"))
