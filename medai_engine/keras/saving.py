"""Models as plain values and arrays, in one file, and back; nothing is pickled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, say
from ..io.files import read_state, write_state
from ..nn import ModuleList
from . import (
    activations,
    constraints,
    initializers,
    losses,
    metrics,
    ops,
    optimizers,
    regularizers,
)
from . import (
    layers as all_layers,
)
from .engine import Layer, Place, flatten, unlike
from .graph import key
from .models import Model, Sequential, load_model

__all__ = ["described", "load_model", "load_weights", "read_model", "rebuilt",
           "register_keras_serializable", "save_model", "save_weights"]

FORMAT = 1
REGISTERED: dict[str, Any] = {}  # classes and functions of users
ROOMS = {"constraints": constraints, "initializers": initializers, "losses": losses,
         "metrics": metrics, "regularizers": regularizers, "schedules": optimizers.schedules}


def register_keras_serializable(package: str = "Custom", name: str | None = None
                                ) -> Callable[[Any], Any]:
    """Return a decorator that lets ``load_model`` find a class or function by its name."""
    def register(thing: Any) -> Any:
        REGISTERED[name or thing.__name__] = thing
        return thing

    return register


# ---- to plain values ----------------------------------------------------------------------------


def described(model: Model) -> dict[str, Any]:
    """Return the architecture as plain values."""
    where = f"{model.name}.save"
    if type(model) not in (Model, Sequential):
        raise unlike(where, "a Sequential or functional model", type(model).__name__,
                     "Use save_weights, and make the model by its class before load_weights")
    graph = model.drawn()
    places = {id(layer): i for i, layer in enumerate(graph.layers)}
    numbers: dict[Any, Any] = {key(s): ["in", i] for i, s in enumerate(graph.inputs)}
    steps: list[Any] = []
    for layer, sources, (symbol,) in graph.steps:
        numbers |= {(id(layer), symbol.call, i): [len(steps), i] for i in range(16)}
        steps.append([places[id(layer)], [numbers[k] for k in sources], symbol.training])
    inputs = [{"shape": list(s.shape[1:]), "dtype": s.dtype, "name": s.layer.name}
              for s in graph.inputs]
    return {"class": type(model).__name__, "config": {
        "name": model.name, "trainable": model.trainable, "inputs": inputs, "steps": steps,
        "single": graph.single, "outputs": [numbers[key(s)] for s in graph.outputs],
        "names": graph.names if graph.keyed else None,
        "layers": [plain(layer, where) for layer in graph.layers]}}


def plain(value: Any, where: str) -> Any:
    """Return a layer or an option as what JSON takes."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return float(value) if isinstance(value, float) else value
    if isinstance(value, Model):
        return {"model": described(value)}
    if isinstance(value, Layer):
        kind = type(value)
        return {"layer": kind.__name__, "config": {
            k: plain(v, where) for k, v in value.get_config().items()}}
    if isinstance(value, Place):
        return {"place": value.number}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [plain(v, where) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[plain(k, where), plain(v, where)] for k, v in value.items()]}
    if isinstance(value, np.generic):
        return value.item()
    module = type(value).__module__.rpartition(".")[2]
    if module in ROOMS:
        found = {"options": value.options} | {"name": value.name} if isinstance(
            value, metrics.MeanMetricWrapper) else vars(value)
        return {"object": [module, type(value).__name__,
                           {k: plain(v, where) for k, v in found.items()}]}
    name = getattr(value, "__name__", "<lambda>")
    if callable(value) and name != "<lambda>":
        builtin = next((n for n, f in activations.NAMES.items() if f is value), None)
        return builtin or {"own": name}
    raise unlike(where, "options that can be written down", f"{value!r}",
                 "Use names (activation='relu') in place of functions")


# ---- and back -----------------------------------------------------------------------------------


class Reader:
    """What reads plain values again; ``own`` are the users' classes and functions by name."""

    def __init__(self, own: Any = None):
        self.own = {**REGISTERED, **(own or {})}

    def find(self, name: str) -> Any:
        """Return a class or function of the user."""
        if name not in self.own:
            raise DataError(say("load_model", f"{name} among custom_objects",
                                ", ".join(self.own) or "none",
                                f'Pass custom_objects={{"{name}": {name}}}'))
        return self.own[name]

    def value(self, given: Any) -> Any:
        """Return what ``plain`` wrote down."""
        if not isinstance(given, dict):
            return given
        (kind, content), *_ = given.items()
        if kind == "layer":
            found = getattr(all_layers, content, None) or (
                ops.Operation if content == "Operation" else self.find(content))
            return found.from_config({k: self.value(v) for k, v in given["config"].items()})
        if kind == "object":
            module, name, state = content
            made = object.__new__(getattr(ROOMS[module], name, None) or self.find(name))
            if isinstance(made, metrics.Metric):
                made.__init__(name=state["name"], **{  # type: ignore[misc]
                    k: v for k, v in self.value(state["options"]).items()})
            else:
                made.__dict__.update({k: self.value(v) for k, v in state.items()})
            return made
        return {"model": lambda: self.model(content), "place": lambda: Place(content),
                "slice": lambda: slice(*content), "own": lambda: self.find(content),
                "list": lambda: [self.value(v) for v in content],
                "tuple": lambda: tuple(self.value(v) for v in content),
                "dict": lambda: {self.value(k): self.value(v) for k, v in content}}[kind]()

    def model(self, description: dict[str, Any]) -> Model:
        """Return the model that ``described`` wrote down, with new weights."""
        config = description["config"]
        made = [self.value(layer) for layer in config["layers"]]
        symbols: dict[Any, Any] = {}
        for i, given in enumerate(config["inputs"]):
            symbols["in", i] = all_layers.Input(tuple(given["shape"]), dtype=given["dtype"],
                                                name=given["name"])
        for number, (place, sources, training) in enumerate(config["steps"]):
            inputs = [symbols[tuple(s)] for s in sources]
            found = made[place].describe(inputs if len(inputs) > 1 else inputs[0], training)
            for i, symbol in enumerate(flatten(found)):
                symbols[number, i] = symbol
        outputs: Any = [symbols[tuple(s)] for s in config["outputs"]]
        model: Model
        entrances: Any
        if description["class"] == "Sequential":
            model = Sequential(name=config["name"])
            model.start, model.tail = symbols["in", 0], outputs[0]
            model.stack = ModuleList(made)
            model.connect()
        else:
            entrances = inputs = [symbols["in", i] for i in range(len(config["inputs"]))]
            if config["names"]:
                entrances = dict(zip(config["names"][0], inputs, strict=True))
                outputs = dict(zip(config["names"][1], outputs, strict=True))
            elif config["single"]:
                outputs = outputs[0]
            model = Model(entrances, outputs, name=config["name"])
        model.__dict__["trainable"] = config["trainable"]  # each layer has its own
        return model


def rebuilt(description: dict[str, Any], custom_objects: Any = None) -> Model:
    """Return the model that ``described`` wrote down, with new weights."""
    return Reader(custom_objects).model(description)


# ---- on disk ------------------------------------------------------------------------------------


def compiled(model: Model) -> dict[str, Any] | None:
    """Return how a model was compiled, and what its optimiser keeps."""
    optimizer = model.optimizer
    if optimizer is None:
        return None
    where = f"{model.name}.save"
    inner = optimizer.inner
    return {"optimizer": type(optimizer).__name__.lower(),
            "options": plain(optimizer.get_config(), where), "iterations": optimizer.iterations,
            "kept": None if inner is None else inner.state_dict(),
            "given": plain(model.given, where)}


def save_model(model: Model, filepath: str | Path, overwrite: bool = True) -> None:
    """Write architecture, weights and how the model was compiled."""
    if not overwrite and Path(filepath).exists():
        raise ParameterError(say(f"{model.name}.save", "a new file", str(filepath),
                                 "Pass overwrite=True"))
    write_state(filepath, {"keras": FORMAT, "model": described(model),
                           "weights": [s.tensor.data for s in model.slots()],
                           "compiled": compiled(model)})


def save_weights(model: Model, filepath: str | Path, overwrite: bool = True) -> None:
    """Write the weights alone."""
    if not overwrite and Path(filepath).exists():
        raise ParameterError(say(f"{model.name}.save_weights", "a new file", str(filepath),
                                 "Pass overwrite=True"))
    write_state(filepath, {"keras": FORMAT, "weights": [s.tensor.data for s in model.slots()]})


def load_weights(model: Model, filepath: str | Path) -> None:
    """Read weights of ``save_weights`` or ``save`` into a model."""
    state = checked(filepath)
    for slot, value in zip(model.slots(), fitting(model, state["weights"], filepath), strict=True):
        np.copyto(slot.tensor.data, value)
    model.touch()


def read_model(filepath: str | Path, custom_objects: Any = None, compile: bool = True) -> Model:
    """Read a model that ``save_model`` wrote."""
    state = checked(filepath)
    if "model" not in state:
        raise DataError(say(str(filepath), "a whole model", "weights alone",
                            "Make the model, then use load_weights"))
    reader = Reader(custom_objects)
    model = reader.model(state["model"])
    for slot, value in zip(model.slots(), fitting(model, state["weights"], filepath),
                           strict=True):
        np.copyto(slot.tensor.data, value)
    model.touch()
    how = state["compiled"]
    if compile and how:
        kind = optimizers.NAMES[how["optimizer"]]
        model.compile(kind.from_config(reader.value(how["options"])), **reader.value(how["given"]))
        model.optimizer.iterations = how["iterations"]
        if how["kept"] is not None and model.optimizer.inner is not None:
            model.optimizer.inner.load_state_dict(how["kept"])
    return model


def checked(filepath: str | Path) -> dict[str, Any]:
    """Read a file of a model, or say that it is none."""
    state = read_state(filepath)
    if not isinstance(state, dict) or state.get("keras") != FORMAT:
        raise DataError(say(str(filepath), "a model that keras's save wrote", "something else",
                            "Use me.load for models of medai_engine.nn"))
    return state


def fitting(model: Model, weights: Sequence[np.ndarray], filepath: Any) -> Sequence[np.ndarray]:
    """Return weights if they have the shapes of a model's."""
    wanted = [s.tensor.shape for s in model.slots()]
    if wanted != [w.shape for w in weights]:
        raise DataError(say(str(filepath), f"the weights of {model.name}, {len(wanted)} arrays",
                            f"{len(weights)} arrays of other shapes",
                            "Build the model as it was when saved"))
    return weights
