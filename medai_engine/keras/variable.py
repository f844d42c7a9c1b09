"""Parameters and buffers as Keras shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeError, say
from ..nn import Parameter
from ..tensor import Tensor, mark_written

__all__ = ["Variable", "Weight"]


class Weight(NamedTuple):
    """A parameter or buffer as Keras shows it."""

    name: str
    tensor: Tensor
    out: Callable[[np.ndarray], np.ndarray] = np.asarray  # to Keras's layout
    back: Callable[[np.ndarray], np.ndarray] = np.asarray


class Variable:
    """A parameter or buffer as Keras's users see it: in Keras's layout, by name."""

    def __init__(self, slot: Weight):
        self.slot = slot
        self.name = slot.name
        self.trainable = isinstance(slot.tensor, Parameter)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in Keras's layout."""
        return self.numpy().shape

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return str(self.slot.tensor.dtype)

    def numpy(self) -> np.ndarray:
        """Return a copy of the values."""
        return np.ascontiguousarray(self.slot.out(self.slot.tensor.data)).copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.numpy(), dtype)

    def assign(self, value: Any) -> None:
        """Take other values."""
        given = np.asarray(value)
        if given.shape != self.shape:
            raise ShapeError(say(self.name, f"values of shape {self.shape}", given.shape,
                                 "Pass what numpy() gave"))
        np.copyto(self.slot.tensor.data, self.slot.back(given), casting="same_kind")
        mark_written(self.slot.tensor)

    def __repr__(self) -> str:
        return f"<Variable {self.name} {self.shape}>"
