"""What weights are held to after every step: ``kernel_constraint=constraints.MaxNorm(3)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ParameterError, say

__all__ = ["Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "get"]


class Constraint:
    """Called on weights in Keras's layout; returns those that are allowed."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """Return the weights unchanged."""
        return w


class NonNeg(Constraint):
    """Negative weights become 0."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """Return max(w, 0)."""
        return np.maximum(w, 0)


class MinMaxNorm(Constraint):
    """The norm along an axis lies between two values; ``rate`` says how strictly."""

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0,
                 axis: Any = 0):
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """Return the weights scaled."""
        axis = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        norm = np.sqrt(np.square(w).sum(axis=axis, keepdims=True))
        wanted = self.rate * np.clip(norm, self.min_value, self.max_value) + (
            1 - self.rate) * norm
        return w * (wanted / (1e-7 + norm))


class MaxNorm(MinMaxNorm):
    """The norm along an axis is at most ``max_value``."""

    def __init__(self, max_value: float = 2.0, axis: Any = 0):
        super().__init__(0.0, max_value, 1.0, axis)


class UnitNorm(MinMaxNorm):
    """The norm along an axis is 1."""

    def __init__(self, axis: Any = 0):
        super().__init__(1.0, 1.0, 1.0, axis)


def get(given: Any) -> Any:
    """Return a constraint for a name, or an object as it is."""
    if given is None or callable(given):
        return given
    names = {"max_norm": MaxNorm, "non_neg": NonNeg, "unit_norm": UnitNorm,
             "min_max_norm": MinMaxNorm}
    if given in names:
        return names[given]()
    raise ParameterError(say("constraint", f"one of {', '.join(names)}, or an object",
                             repr(given), "Use constraints.MaxNorm(2.0)"))
