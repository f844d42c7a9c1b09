"""The error types and the one message builder.

Every message reads ``<layer path>: <op>: expected <what>, got <value>. <shapes>. <one fix>``.
Errors are raised before anything is computed or changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "CaptureError",
    "DTypeError",
    "DataError",
    "GraphError",
    "MedaiError",
    "MissingExtraError",
    "NonFiniteError",
    "NotFittedError",
    "ParameterError",
    "ShapeError",
    "extra",
    "say",
]


class MedaiError(Exception):
    """Base of all errors of the engine.

    ``trail`` holds the modules that the error passed through, innermost first; ``Module.__call__``
    fills it, and the message starts with the dotted path of the innermost one. ``origin`` holds a
    value of the message, its factors, and the module next to the innermost one that made it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.trail: list[Any] = []
        self.origin: tuple[str, str, str] | None = None

    def __str__(self) -> str:
        message = super().__str__()
        if not self.trail:
            return message
        names = ["model"]
        for outer, inner in zip(reversed(self.trail), list(reversed(self.trail))[1:], strict=False):
            names += [name for name, child in outer.named_children() if child is inner][:1]
        if self.origin is not None:
            value, factors, maker = self.origin
            made = f"got {value} (= {factors} from {'.'.join([*names[:-1], maker])})"
            message = message.replace(f"got {value}", made, 1)
        return f"{'.'.join(names)} ({type(self.trail[0]).__name__}): {message}"


class ShapeError(MedaiError, ValueError, IndexError):
    """An array has the wrong shape, or an index is out of bounds."""


class DTypeError(MedaiError, TypeError):
    """An array has the wrong dtype."""


class ParameterError(MedaiError, ValueError, TypeError):
    """An option has a wrong value or type."""


class GraphError(MedaiError, RuntimeError):
    """A gradient or a write was asked for that the graph cannot give."""


class CaptureError(GraphError):
    """A function cannot be recorded by ``me.jit``; the message names the line and the way out."""


class NonFiniteError(GraphError, FloatingPointError):
    """A NaN or an infinity came up where it does harm (``me.debug_nans``).

    ``fault`` tells where it was born (``inspect.faults.Fault``: op, phase, source line, layer,
    index, ...); ``became``, if it was an infinity first, the op that made NaN of it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.fault: Any = None
        self.became: Any = None

    def __str__(self) -> str:
        return Exception.__str__(self)  # which names the layer: no trail


class DataError(MedaiError, ValueError):
    """The user's data cannot be used as they are."""


class NotFittedError(MedaiError, ValueError, AttributeError):
    """An estimator was asked for what only ``fit`` can give it."""


class MissingExtraError(MedaiError, ImportError):
    """An optional dependency is not installed."""


def say(where: str, expected: str, got: Any, fix: str,
        shapes: Mapping[str, Any] | None = None) -> str:
    """Build ``<where>: expected <expected>, got <got>. <shapes>. <fix>``.

    ``shapes`` maps an array's name to its shape, or to (shape, axis names):
    ``{"x": ((32, 5408), "N, in")}`` prints ``x (N, in) = (32, 5408)``.
    """
    parts = [f"{where}: expected {expected}, got {got}"]
    if shapes:
        parts.append(", ".join(_shape(name, value) for name, value in shapes.items()))
    return " ".join(part if part[-1] in ".?!" else f"{part}." for part in [*parts, fix] if part)


def _shape(name: str, value: Any) -> str:
    if len(value) == 2 and isinstance(value[1], str):
        return f"{name} ({value[1]}) = {tuple(value[0])}"
    return f"{name} {tuple(value)}"


def extra(module: str, name: str, purpose: str) -> Any:
    """Import an optional dependency, or raise an error that names the extra to install.

    Parameters
    ----------
    module : str
        The module to import, such as ``"matplotlib.pyplot"``.
    name : str
        The extra of this package that brings it, such as ``"plot"``.
    purpose : str
        What it is needed for, for the message.

    Raises
    ------
    MissingExtraError
        When the module is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            say(purpose, f"{package} to be installed", "no such module",
                f'Run: pip install "medai-engine[{name}]"')
        ) from error
