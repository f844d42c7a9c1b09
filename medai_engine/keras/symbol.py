"""Tensors that are not there yet: what layers are called on to describe a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..errors import ParameterError, say

__all__ = ["Place", "Shape", "Symbol", "flatten", "unlike"]

Shape = tuple[int | None, ...]


class Symbol:
    """A tensor that is not there yet: what layers are called on to describe a model.

    Attributes
    ----------
    shape : tuple
        With None for the batch and for what is not known.
    layer, inputs, place
        Which layer makes it, from which symbols, as which of its outputs; no layer for an input.
    """

    def __init__(self, shape: Shape, layer: Any = None, inputs: Sequence[Symbol] = (),
                 place: int = 0, call: int = 0, dtype: str = "float32",
                 training: bool | None = None):
        self.shape = shape
        self.layer = layer
        self.inputs = tuple(inputs)
        self.place = place
        self.call = call  # which of the layer's calls
        self.dtype = dtype
        self.training = training  # as the call says, if it does

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}>"

    @property
    def name(self) -> str:
        """The name of the layer that makes it."""
        return self.layer.name

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)


def _operator(name: str, turned: bool) -> Callable[..., Any]:
    def method(self: Symbol, *others: Any) -> Any:
        from . import ops

        return getattr(ops, name)(*others[::-1], self) if turned else getattr(ops, name)(
            self, *others)

    return method


for _sign, _name in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("pow", "power"),
                     ("truediv", "divide"), ("matmul", "matmul")):
    setattr(Symbol, f"__{_sign}__", _operator(_name, False))
    setattr(Symbol, f"__r{_sign}__", _operator(_name, True))
for _sign, _name in (("neg", "negative"), ("abs", "abs"), ("getitem", "getitem"),
                     ("gt", "greater"), ("lt", "less"), ("ge", "greater_equal"),
                     ("le", "less_equal")):
    setattr(Symbol, f"__{_sign}__", _operator(_name, False))


class Place(NamedTuple):
    """Where an operation's input stands among its arguments."""

    number: int


def flatten(value: Any) -> list[Any]:
    """Return a value, or the members of a list, tuple or dict, as a list."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def unlike(where: str, what: str, given: Any, fix: str) -> ParameterError:
    """Return the error for something of Keras that is not here."""
    return ParameterError(say(where, what, repr(given), fix))
