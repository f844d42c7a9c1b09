"""What is added to a loss so that weights stay small: ``kernel_regularizer=l2(0.01)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ParameterError, say
from ..tensor import Tensor

__all__ = ["L1", "L1L2", "L2", "Regularizer", "get", "l1", "l1_l2", "l2"]


class Regularizer:
    """Adds ``l1 sum |w| + l2 sum w^2`` to the loss."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1, self.l2 = float(l1), float(l2)

    def __call__(self, w: Tensor) -> Tensor:
        """Return the penalty of some weights."""
        total: Any = 0.0
        if self.l1:
            total = total + self.l1 * abs(w).sum()
        if self.l2:
            total = total + self.l2 * (w * w).sum()
        return total


class L1L2(Regularizer):
    """Both penalties."""


class L1(Regularizer):
    """The sum of absolute values."""

    def __init__(self, l1: float = 0.01):
        super().__init__(l1=l1)


class L2(Regularizer):
    """The sum of squares."""

    def __init__(self, l2: float = 0.01):
        super().__init__(l2=l2)


def l1(l1: float = 0.01) -> Regularizer:
    """Return ``L1(l1)``."""
    return L1(l1)


def l2(l2: float = 0.01) -> Regularizer:
    """Return ``L2(l2)``."""
    return L2(l2)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> Regularizer:
    """Return ``L1L2(l1, l2)``."""
    return L1L2(l1, l2)


def get(given: Any) -> Regularizer | None:
    """Return a regularizer for a name ("l1", "l2", "l1_l2"), or an object as it is."""
    if given is None or isinstance(given, Regularizer):
        return given
    names: dict[str, Callable[[], Regularizer]] = {"l1": L1, "l2": L2, "l1_l2": l1_l2}
    if given in names:
        return names[given]()
    raise ParameterError(say("regularizer", "l1, l2, l1_l2 or an object", repr(given),
                             "Use regularizers.l2(0.01)"))
