"""Whole models on disk: weights in ``<name>.safetensors``, what they belong to in ``<name>.json``.

A description names classes and plain options; loading builds those of ``nn`` (and those that the
caller names) and nothing else, so a file from elsewhere can run no code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..errors import DataError, MedaiError, ParameterError, say
from ..nn import Module
from ..tensor import Buffer, Parameter, Tensor
from .files import read_arrays, read_json, write_arrays, write_json

__all__ = ["build", "buildable", "describe", "load", "save"]

FORMAT = 1
BUILDABLE: dict[str, type[Module]] = {
    name: value for name, value in vars(nn).items()
    if isinstance(value, type) and issubclass(value, Module)}
READERS: dict[str, Callable[[dict[str, Any], Path, Iterable[type[Any]]], Any]] = {}
"""Who reads what a higher room wrote, by the key that names it in the description."""


def buildable(kind: type[Module]) -> type[Module]:
    """Allow ``load`` to build a class of a higher room (a class decorator)."""
    BUILDABLE[kind.__name__] = kind
    return kind


def paths(path: str | Path) -> tuple[Path, Path]:
    """Return the files of weights and description for ``name``, with or without a suffix."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def save(self: Module, path: str | Path) -> None:
    """Write this module: weights as safetensors, architecture and compile settings as JSON.

    Parameters
    ----------
    path : str
        ``model`` or ``model.safetensors`` writes ``model.safetensors`` and ``model.json``.

    Raises
    ------
    ParameterError
        For a folder.
    """
    if Path(path).is_dir():
        raise ParameterError(say("save", "a name for the files", f"the folder {path}",
                                 f"Use {Path(path) / 'model'}"))
    weights, description = paths(path)
    compiled = getattr(self, "compiled", None)
    write_arrays(weights, self.state_dict())
    write_json(description, {
        "format": FORMAT,
        "weights": weights.name,
        "model": describe(self),
        "frozen": [name for name, p in self.named_parameters() if not p.requires_grad],
        "compile": compiled.settings() if compiled is not None else None,
    })


def load(path: str | Path, into: Module | None = None,
         classes: Iterable[type[Any]] = ()) -> Any:
    """Read a module or an estimator that ``save`` wrote.

    Parameters
    ----------
    path : str
        As given to ``save``.
    into : Module, optional
        Load the weights into this module; needed where a class of one's own takes options that
        are not readable as attributes of the same name.
    classes : list of Module classes, optional
        Classes of one's own that may be built.

    Returns
    -------
    Module
        With its compile settings, if it had any that have names.

    Raises
    ------
    DataError
        When a file is missing, damaged, or no safetensors file.
    ParameterError
        For a class that is not known here, or weights of another architecture.
    """
    if Path(path).is_dir():
        raise DataError(say(str(path), "the name of a model's files", "a folder",
                            f"Pass {Path(path) / 'model'}, or what save was given"))
    weights, description = paths(path)
    told = read_json(description) if into is None and description.is_file() else None
    for key in READERS.keys() & told if isinstance(told, dict) else ():
        return READERS[key](told, weights, classes)  # type: ignore[arg-type]
    arrays, _ = read_arrays(weights)
    if into is not None:
        into.load_state_dict(arrays)
        return into
    if not description.is_file():
        raise DataError(say(str(weights), f"its description {description.name} beside it",
                            "no such file", "Copy it too, or pass into=MyModel(...)"))
    if not isinstance(told, dict) or told.get("format") != FORMAT or "model" not in told:
        raise DataError(say(str(description), f"the description of a model, format {FORMAT}",
                            "something else", "Pass what model.save(path) wrote"))
    try:
        module = build(told["model"], {c.__name__: c for c in classes}, str(description))
    except (KeyError, TypeError, AttributeError) as error:
        if isinstance(error, MedaiError):
            raise
        raise DataError(say(str(description), "the description of a model", f"one that cannot be "
                            f"followed ({error!r})", "Copy both files again")) from error
    frozen = set(told.get("frozen", ()))
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name in arrays and tensor.dtype != arrays[name].dtype:
            tensor.data = tensor.data.astype(arrays[name].dtype)
        if name in frozen:
            tensor.requires_grad_(False)
    module.load_state_dict(arrays)
    settings = told.get("compile")
    if settings and all(value is not None for value in settings.values()):
        module.compile(**settings)  # type: ignore[attr-defined]
    return module


def describe(module: Module) -> dict[str, Any]:
    """Return class and options of a module and all below, as JSON.

    An option is read from the attribute of the same name. A module that appears twice is described
    once.
    """
    return _describe(module, {})


def build(description: Any, classes: dict[str, type[Module]] | None = None,
          source: str = "build") -> Module:
    """Make the module that ``describe`` described."""
    return _build(description, {**BUILDABLE, **(classes or {})}, [], source)


def _describe(module: Module, seen: dict[int, int]) -> dict[str, Any]:
    if id(module) in seen:
        return {"again": seen[id(module)]}
    options: dict[str, Any] = {}
    members: list[Any] = []
    readable = True
    try:
        for parameter in _options(type(module)):
            if parameter.kind == parameter.VAR_POSITIONAL:
                members = [_plain(m, seen) for m in _members(module, parameter.name)]
            else:
                options[parameter.name] = _plain(_option(module, parameter), seen)
    except (AttributeError, TypeError):  # an option that cannot be read or said: not buildable
        readable = False
    seen[id(module)] = len(seen)
    found = {"class": type(module).__name__, "options": options if readable else None}
    return {**found, "members": members} if members else found


def _options(kind: type[Module]) -> list[inspect.Parameter]:
    """Return what the constructor takes, without what only sets the first weights.

    One that hands ``**options`` on takes those of the next constructor, too.
    """
    found: dict[str, inspect.Parameter] = {}
    for owner in kind.__mro__:
        if owner is object or "__init__" not in vars(owner):
            continue
        given = list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]
        handed_on = any(p.kind is p.VAR_KEYWORD for p in given)
        for p in given:
            if not handed_on or p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                found.setdefault(p.name, p)
        if not handed_on:
            break
    return [p for p in found.values() if p.name not in ("dtype", "init", "rng")]


def _option(module: Module, parameter: inspect.Parameter) -> Any:
    """Return the value that the constructor was given."""
    if isinstance(module, (nn.ModuleList, nn.ParameterList)):
        return list(module)
    if isinstance(module, nn.ModuleDict):
        return dict(module.items())
    value = getattr(module, parameter.name)
    if isinstance(parameter.default, bool) and (value is None or isinstance(value, Tensor)):
        return value is not None  # bias=True is kept as the bias itself
    return value


def _members(module: Module, name: str) -> list[Any]:
    """Return what a constructor's ``*name`` was given."""
    value = vars(module).get(name)
    if value is not None:
        return list(value) if isinstance(value, (list, tuple)) else [value]
    children = dict(module.named_children())
    numbered = list(children) == [str(i) for i in range(len(children))]
    return list(children.values()) if numbered else [children]


def _plain(value: Any, seen: dict[int, int]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Module):
        return {"module": _describe(value, seen)}
    if isinstance(value, (Buffer, Parameter)):
        return {"zeros": list(value.shape)}  # its values are among the weights
    if isinstance(value, (list, tuple)):
        items = [_plain(item, seen) for item in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {"dict": {key: _plain(item, seen) for key, item in value.items()}}
    raise TypeError(type(value).__name__)


def _build(told: Any, classes: dict[str, type[Module]], made: list[Module], source: str) -> Module:
    if "again" in told:
        return made[told["again"]]
    name, options = told["class"], told["options"]
    if name not in classes or options is None:
        raise ParameterError(say(
            source, "classes of medai_engine.nn, or given ones", repr(name),
            f"Pass classes=[{name}]" if options is not None else f"Pass into={name}(...)"))

    def value(plain: Any) -> Any:
        if isinstance(plain, list):
            return [value(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        kind, content = next(iter(plain.items()))
        if kind == "module":
            return _build(content, classes, made, source)
        if kind == "zeros":
            return nn.Parameter(np.zeros(content, np.float32))
        if kind == "tuple":
            return tuple(value(item) for item in content)
        return {key: value(item) for key, item in content.items()}

    # in the order in which they were described, for "again"
    arguments = {key: value(item) for key, item in options.items()}
    module = classes[name](*[value(m) for m in told.get("members", ())], **arguments)
    made.append(module)
    return module


Module.save = save  # type: ignore[attr-defined]
