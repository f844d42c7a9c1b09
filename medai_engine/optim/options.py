"""What the options of optimisers may be: one declaration validates them and writes the message."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import EPOCH, Tensor

__all__ = ["OPTIONS", "Options"]


def at_least(low: float) -> Callable[[Any], Any]:
    """Return a check for a finite number of at least ``low``."""
    def check(value: Any) -> Any:
        if isinstance(value, Tensor):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not (
                low <= value < math.inf):
            raise ValueError(f"a finite number of at least {low}")
        return value.item() if isinstance(value, np.generic) else value
    return check


def fraction(value: Any) -> Any:
    """Check a decay in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not (
            0 <= value < 1):
        raise ValueError("a number in [0, 1)")
    return value.item() if isinstance(value, np.generic) else value


def fractions(value: Any) -> tuple[float, float]:
    """Check a pair of decays in [0, 1)."""
    try:
        first, second = value
        return fraction(first), fraction(second)
    except (TypeError, ValueError):
        raise ValueError("two numbers in [0, 1)") from None


def flag(value: Any) -> bool:
    """Check a switch."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError("True or False")
    return bool(value)


def count(value: Any) -> int:
    """Check a number of things, at least one."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError("an integer of at least 1")
    return int(value)


def line_search(value: Any) -> str | None:
    """Check the name of a line search."""
    if value not in (None, "strong_wolfe"):
        raise ValueError('None or "strong_wolfe"')
    return value


POSITIVE = at_least(0)
# What each option may be; every name that an optimiser uses stands here once.
OPTIONS: dict[str, Callable[[Any], Any]] = {
    "alpha": fraction, "amsgrad": flag, "betas": fractions, "centered": flag,
    "dampening": at_least(-math.inf), "decoupled_weight_decay": flag, "eps": POSITIVE,
    "history_size": count, "initial_accumulator_value": POSITIVE, "line_search_fn": line_search,
    "lr": POSITIVE, "lr_decay": POSITIVE, "max_eval": count, "max_iter": count,
    "maximize": flag, "momentum": POSITIVE, "momentum_decay": POSITIVE, "nesterov": flag,
    "rho": fraction, "tolerance_change": POSITIVE, "tolerance_grad": POSITIVE,
    "weight_decay": POSITIVE,
}


class Options(dict[str, Any]):
    """A group of parameters with its options; plans look again when one but the rate is set."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "lr":
            EPOCH[0] += 1
        super().__setitem__(key, value)
