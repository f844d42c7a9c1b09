"""Parameters that estimators share: checked when ``fit`` starts; how their kernels are called."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from .. import kernels
from ..errors import ParameterError, say
from ..mode import MODE
from .base import Estimator
from .checks import kin

__all__ = ["ConvergenceWarning", "choice", "iterations", "not_converged", "number", "run_kernel"]


class ConvergenceWarning(UserWarning):
    """A solver reached its limit before its tolerance."""


def run_kernel(name: str, *arguments: Any) -> None:
    """Run the current backend's text of a kernel."""
    kernels.lookup(name, MODE.get().backend)(*arguments)


def number(estimator: Estimator, name: str, low: float = 0.0, high: float = math.inf, *,
           above: bool = False) -> float:
    """Return a parameter as a float within [low, high], or (low, high] with ``above``."""
    value = getattr(estimator, name)
    if (isinstance(value, (bool, str)) or not hasattr(value, "__float__")
            or not low <= value <= high or (above and value == low) or value == math.inf):
        bound = f"{'above' if above else 'of at least'} {low:g}"
        bound += f" and at most {high:g}" if high < math.inf else ""
        raise ParameterError(say(type(estimator).__name__, f"{name} {bound}", repr(value),
                                 "Correct it with set_params"))
    return float(value)


def choice(estimator: Estimator, name: str, options: Sequence[Any]) -> Any:
    """Return a parameter that is one of some values."""
    value = getattr(estimator, name)
    if not any(type(value) is type(option) and value == option for option in options):
        raise ParameterError(say(type(estimator).__name__,
                                 f"{name} of {', '.join(map(repr, options))}", repr(value),
                                 f"Use {name}={options[0]!r}"))
    return value


def iterations(estimator: Estimator, name: str = "max_iter", low: int = 0) -> int:
    """Return a limit of iterations, a whole number."""
    value = getattr(estimator, name)
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < low:
        raise ParameterError(say(type(estimator).__name__, f"{name} a whole number of at least "
                                 f"{low}", repr(value), "Correct it with set_params"))
    return int(value)


def not_converged(estimator: Estimator, fix: str) -> None:
    """Warn that a solver has stopped at its limit."""
    warnings.warn(kin(ConvergenceWarning)(say(
        type(estimator).__name__, "to converge", "the limit of max_iter iterations", fix)),
        stacklevel=3)
