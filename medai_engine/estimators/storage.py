"""Estimators on disk: ``<name>.safetensors`` with all values, ``<name>.json`` names the class.

The fitted state is every attribute that ``fit`` made: numbers, arrays, text, lists, dicts, and
modules or estimators inside. ``me.load`` builds the estimators of this room (and those that the
caller names) and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, say
from ..io import models, read_state, write_json, write_state
from ..nn import Module
from .base import Estimator

__all__ = ["Stored", "save"]

FORMAT = 1


class Stored:
    """A dataclass that may stand in a fitted state; ``__post_init__`` checks what a file gave."""

    known: dict[str, type[Stored]] = {}  # noqa: RUF012 (one table for all)

    def __init_subclass__(cls) -> None:
        Stored.known[cls.__name__] = cls


def save(estimator: Estimator, path: str | Path) -> None:
    """Write an estimator; see ``Estimator.save``."""
    if Path(path).is_dir():
        raise ParameterError(say("save", "a name for the files", f"the folder {path}",
                                 f"Use {Path(path) / 'model'}"))
    values, description = models.paths(path)
    write_state(values, packed(estimator, type(estimator).__name__))
    write_json(description, {"format": FORMAT, "weights": values.name,
                             "estimator": type(estimator).__name__})


def read(told: dict[str, Any], path: Path, classes: Iterable[type[Any]]) -> Estimator:
    """Build the estimator whose description ``me.load`` found."""
    if told.get("format") != FORMAT:
        raise DataError(say(str(path), f"an estimator of format {FORMAT}", told.get("format"),
                            "Load it with the version of medai_engine that wrote it"))
    room = vars(sys.modules[__package__])
    known = {kind.__name__: kind for kind in (*room.values(), *classes)
             if isinstance(kind, type) and issubclass(kind, Estimator)}
    try:
        return unpacked(read_state(path), known, str(path))
    except (KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ParameterError):
            raise
        raise DataError(say(str(path), "an estimator", f"something else ({error!r})",
                            "Copy both files again")) from error


def packed(value: Any, where: str) -> Any:
    """Return a value as what ``write_state`` takes."""
    if isinstance(value, Estimator):
        params = value.get_params(deep=False)
        fitted = {key: item for key, item in vars(value).items() if key not in params}
        return {"estimator": type(value).__name__, "params": packed(params, where),
                "fitted": packed(fitted, where)}
    if isinstance(value, Stored):
        held = {f.name: getattr(value, f.name) for f in fields(value)}  # type: ignore[arg-type]
        return {"stored": type(value).__name__, "fields": packed(held, where)}
    if isinstance(value, Module):
        return {"module": models.describe(value), "weights": dict(value.state_dict())}
    if isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
        return {"text": value.tolist(), "dtype": value.dtype.str}
    if isinstance(value, dict):
        return {key: packed(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(packed(item, where) for item in value)
    if value is None or isinstance(value, (bool, int, float, str, np.generic, np.ndarray)):
        return value
    raise ParameterError(say(f"save {where}", "numbers, strings, arrays, lists and dicts",
                             f"a {type(value).__name__}", "Set a plain value with set_params"))


def unpacked(value: Any, known: dict[str, type[Estimator]], where: str) -> Any:
    """Return the value that ``packed`` described."""
    if isinstance(value, (list, tuple)):
        return type(value)(unpacked(item, known, where) for item in value)
    if not isinstance(value, dict):
        return value
    if set(value) == {"estimator", "params", "fitted"}:
        name = value["estimator"]
        if name not in known:
            raise ParameterError(say(where, f"estimators of {', '.join(sorted(known))}",
                                     repr(name), f"Pass classes=[{name}]"))
        made = known[name](**unpacked(value["params"], known, where))
        vars(made).update(unpacked(value["fitted"], known, where))
        return made
    if set(value) == {"stored", "fields"}:
        return Stored.known[value["stored"]](**unpacked(value["fields"], known, where))
    if set(value) == {"module", "weights"}:
        module = models.build(value["module"], source=where)
        module.load_state_dict(value["weights"])
        return module
    if set(value) == {"text", "dtype"}:
        return np.array(value["text"], np.dtype(value["dtype"]))
    return {key: unpacked(item, known, where) for key, item in value.items()}


models.READERS["estimator"] = read
