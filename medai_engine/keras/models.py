"""Sequential and functional models with Keras's calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, say
from ..io.files import read_state, write_state
from ..nn import ModuleList
from . import layers as all_layers
from .engine import InputLayer, Layer, Symbol, Weight, flatten, unlike
from .graph import Graph, key
from .training import Trainer

__all__ = ["Model", "Sequential", "load_model"]

FORMAT = 1


class Model(Trainer, Layer):
    """Layers between inputs and outputs; or derive from it and define ``call(inputs)``.

    Parameters
    ----------
    inputs, outputs : symbol or list of symbols
        What ``Input`` returned, and what layers returned for it.
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None,
                 trainable: bool = True, **_: Any):
        self.stack = ModuleList()
        super().__init__(name=name)
        self.trainable = trainable
        self.graph: Graph | None = None
        if inputs is not None:
            self.draw(inputs, outputs)

    def draw(self, inputs: Any, outputs: Any) -> None:
        """Take the layers between two sets of symbols."""
        self.graph = Graph(inputs, outputs)
        self.stack = ModuleList(self.graph.layers)
        self.built = True
        self.input_shape = _one([s.shape for s in self.graph.inputs])
        self.output_shape = _one([s.shape for s in self.graph.outputs])

    @property
    def layers(self) -> list[Layer]:
        """The layers, in the order of computation."""
        return list(self.stack) if len(self.stack) else [
            child for child in self.children() if isinstance(child, Layer)]

    @property
    def inputs(self) -> list[Symbol]:
        """The symbols of the inputs."""
        return self.drawn().inputs

    @property
    def outputs(self) -> list[Symbol]:
        """The symbols of the outputs."""
        return self.drawn().outputs

    input = property(lambda self: _one(self.inputs))
    output = property(lambda self: _one(self.outputs))

    def drawn(self) -> Graph:
        """Return the graph, or say that there is none."""
        if self.graph is None:
            raise unlike(self.name, "a model with a known input shape", "none yet",
                         "Add Input(shape=...) as the first layer")
        return self.graph

    def make(self, shape: Any) -> None:
        """Note that the parameters are there after the first call of a model of one's own."""
        self.built = True
        self.input_shape = shape

    def build(self, input_shape: Any) -> None:
        """Make all parameters by running a batch of zeros of this shape."""
        if self.graph is None and not self.stack:
            self.compute_output_shape(tuple(input_shape))

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Send inputs through the layers."""
        return self.drawn().run(flatten(inputs))[0]

    def forward(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        kwargs.pop("mask", None)
        if not self.built:
            self.make([x.shape for x in inputs] if isinstance(inputs, list) else inputs.shape)
        return self.call(inputs, *args, **kwargs)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return no mask: a model inside a model ends it."""
        return None

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by name or number."""
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise unlike(self.name, f"a layer of {', '.join(v.name for v in self.layers)}", name,
                     "Use one of these names")

    # weights

    def slots(self) -> list[Weight]:
        """Return those of all layers."""
        return [slot for layer in self.layers for slot in layer.slots()]

    def learned(self) -> list[Weight]:
        """Return those of all layers that are not frozen."""
        return [slot for layer in self.layers for slot in layer.learned()] if (
            self.trainable) else []

    def penalties(self) -> Any:
        """Yield what regularizers add to the loss."""
        for layer in self.layers:
            yield from layer.penalties()

    def __setattr__(self, name: str, value: Any) -> None:
        """Freeze or thaw all layers with the model."""
        super().__setattr__(name, value)
        if name == "trainable":
            for layer in self.layers:
                layer.trainable = value

    # in print

    def summary(self, line_length: int | None = None, print_fn: Any = print, **_: Any) -> None:
        """Print layers, output shapes and numbers of parameters."""
        if not self.built and self.graph is None:
            self.drawn()
        rows = [(f"{layer.name} ({type(layer).__name__})", str(_clean(layer.output_shape)),
                 f"{layer.count_params():,}") for layer in self.shown()]
        widths = [max([len(row[i]) for row in rows] + [len(head)]) + 2
                  for i, head in enumerate(("Layer (type)", "Output Shape", "Param #"))]
        bar = "=" * sum(widths)
        lines = [f'Model: "{self.name}"', bar,
                 "".join(h.ljust(w) for h, w in zip(("Layer (type)", "Output Shape", "Param #"),
                                                    widths, strict=True)), bar]
        lines += ["".join(v.ljust(w) for v, w in zip(row, widths, strict=True)) for row in rows]
        learned = sum(t.size for t in self.trainable_weights)
        total = self.count_params()
        size = sum(s.tensor.nbytes for s in self.slots())
        lines += [bar, f"Total params: {total:,} ({size / 1024:.2f} KB)",
                  f"Trainable params: {learned:,}", f"Non-trainable params: {total - learned:,}"]
        print_fn("\n".join(lines))

    def shown(self) -> list[Layer]:
        """Return the layers of the summary."""
        return self.layers

    # on disk

    def save(self, filepath: str | Path, overwrite: bool = True, **_: Any) -> None:
        """Write architecture, weights and how it was compiled as one file, without pickle."""
        if not overwrite and Path(filepath).exists():
            raise ParameterError(say(f"{self.name}.save", "a new file", str(filepath),
                                     "Pass overwrite=True"))
        write_state(filepath, {"keras": FORMAT, "model": described(self),
                               "weights": [s.tensor.data for s in self.slots()],
                               "compiled": self.compiled_config()})

    def save_weights(self, filepath: str | Path, overwrite: bool = True) -> None:
        """Write the weights alone."""
        write_state(filepath, {"keras": FORMAT, "weights": [s.tensor.data for s in self.slots()]})

    def load_weights(self, filepath: str | Path) -> None:
        """Read weights that ``save_weights`` or ``save`` wrote."""
        state = checked(filepath)
        for slot, value in zip(self.slots(), fitting(self, state["weights"], filepath),
                               strict=True):
            np.copyto(slot.tensor.data, value)
        self.touch()

    def get_config(self) -> dict[str, Any]:
        """Return what makes the model again."""
        return described(self)["config"]


class Sequential(Model):
    """Layers one behind the other; ``add`` them, or pass a list.

    Examples
    --------
    >>> from medai_engine import keras
    >>> model = keras.Sequential([keras.Input((30,)), keras.layers.Dense(2)])
    >>> model.output_shape
    (None, 2)
    """

    def __init__(self, layers: Sequence[Any] | None = None, name: str | None = None,
                 trainable: bool = True):
        super().__init__(name=name)
        self.start: Symbol | None = None
        for layer in layers or ():
            self.add(layer)
        self.trainable = trainable

    def add(self, layer: Any) -> None:
        """Put a layer at the end."""
        if isinstance(layer, Symbol) and layer.layer is not None:
            layer = layer.layer
        if not isinstance(layer, Layer):
            raise unlike("Sequential.add", "a layer", type(layer).__name__,
                         "Use keras.layers, such as Dense(64)")
        if self.start is None and layer.first_shape is not None:
            kind = layer.kind if isinstance(layer, InputLayer) else (
                "int64" if isinstance(layer, all_layers.Embedding) else "float32")
            self.start = Symbol(layer.first_shape, dtype=kind)
            self.start.layer = InputLayer(layer.first_shape[1:], kind)
        if not isinstance(layer, InputLayer):
            if any(layer is other for other in self.stack):
                raise unlike("Sequential.add", "every layer once", layer.name, "Make another one")
            self.stack.append(layer)
        self.redraw()

    def pop(self) -> Layer:
        """Take the last layer away and return it."""
        layer = self.stack[len(self.stack) - 1]
        del self.stack[len(self.stack) - 1]
        self.redraw()
        return layer

    def redraw(self) -> None:
        """Connect the layers, when the shape of the input is known."""
        if self.start is None:
            return
        y = self.start
        for layer in self.stack:
            y = layer.describe(y)
        self.graph = Graph(self.start, y)
        self.built = True
        self.input_shape, self.output_shape = self.start.shape, y.shape

    @property
    def layers(self) -> list[Layer]:
        """The layers in order."""
        return list(self.stack)

    def build(self, input_shape: Any = None) -> None:
        """Make all parameters for inputs of this shape, the batch axis included."""
        if self.start is None:
            self.start = Symbol(tuple(input_shape))
            self.start.layer = InputLayer(tuple(input_shape)[1:])
            self.redraw()

    def forward(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; the first input says the shape, where nothing else did."""
        if self.start is None and len(self.stack):
            x = flatten(inputs)[0]
            self.start = Symbol((None, *x.shape[1:]), dtype=str(x.dtype))
            self.start.layer = InputLayer(x.shape[1:])
            self.redraw()
        return super().forward(inputs, *args, **kwargs)

    def compute_output_shape(self, input_shape: Any, dtypes: Sequence[str] = ()) -> Any:
        """Return the shape of the output."""
        self.build(input_shape)
        return super().compute_output_shape(input_shape, dtypes)


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _clean(shape: Any) -> Any:
    return shape if shape is not None else "?"


# ---- architecture as data -----------------------------------------------------------------------


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
        steps.append([places[id(layer)], [numbers[k] for k in sources]])
    inputs = [{"shape": list(s.shape[1:]), "dtype": s.dtype} for s in graph.inputs]
    return {"class": type(model).__name__, "config": {
        "name": model.name, "trainable": model.trainable, "inputs": inputs, "steps": steps,
        "single": graph.single, "outputs": [numbers[key(s)] for s in graph.outputs],
        "layers": [plain(layer, where) for layer in graph.layers]}}


def plain(value: Any, where: str) -> Any:
    """Return a layer or an option as what JSON takes."""
    if isinstance(value, Model):
        return {"model": described(value)}
    if isinstance(value, Layer):
        kind = type(value)
        if getattr(all_layers, kind.__name__, None) is not kind:
            raise unlike(where, "layers of keras.layers", kind.__name__,
                         "Use save_weights for layers of your own")
        return {"layer": kind.__name__, "config": {
            k: plain(v, where) for k, v in value.get_config().items()}}
    if isinstance(value, (list, tuple)):
        return {"tuple": [plain(v, where) for v in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    module = type(value).__module__.rpartition(".")[2]
    if module in ("initializers", "regularizers"):
        return {"object": [module, type(value).__name__,
                           {k: plain(v, where) for k, v in vars(value).items()}]}
    raise unlike(where, "options that can be written down", f"{value!r}",
                 "Use names (activation='relu') in place of functions")


def revived(value: Any) -> Any:
    """Return what ``plain`` wrote down."""
    from . import initializers, regularizers

    if not isinstance(value, dict):
        return value
    if "model" in value:
        return rebuilt(value["model"])
    if "layer" in value:
        kind = getattr(all_layers, value["layer"])
        return kind(**{k: revived(v) for k, v in value["config"].items()})
    if "tuple" in value:
        return tuple(revived(v) for v in value["tuple"])
    module, name, state = value["object"]
    found = object.__new__(getattr({"initializers": initializers,
                                    "regularizers": regularizers}[module], name))
    found.__dict__.update({k: revived(v) for k, v in state.items()})
    return found


def rebuilt(description: dict[str, Any]) -> Model:
    """Return the model that ``described`` wrote down, with new weights."""
    config = description["config"]
    made = [revived(layer) for layer in config["layers"]]
    symbols: dict[Any, Any] = {}
    for i, given in enumerate(config["inputs"]):
        symbols["in", i] = all_layers.Input(tuple(given["shape"]), dtype=given["dtype"])
    for number, (place, sources) in enumerate(config["steps"]):
        inputs = [symbols[tuple(s)] for s in sources]
        found = made[place].describe(inputs if len(inputs) > 1 else inputs[0])
        for i, symbol in enumerate(flatten(found)):
            symbols[number, i] = symbol
    model: Model
    if description["class"] == "Sequential":
        model = Sequential(name=config["name"])
        model.start = symbols["in", 0]
        model.stack = ModuleList(made)
        model.redraw()
    else:
        outputs = [symbols[tuple(s)] for s in config["outputs"]]
        model = Model([symbols["in", i] for i in range(len(config["inputs"]))],
                      outputs[0] if config["single"] else outputs, name=config["name"])
    model.__dict__["trainable"] = config["trainable"]  # each layer has its own
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


def load_model(filepath: str | Path, compile: bool = True, **_: Any) -> Model:
    """Read a model that ``save`` wrote: architecture, weights, and how it was compiled."""
    state = checked(filepath)
    if "model" not in state:
        raise DataError(say(str(filepath), "a whole model", "weights alone",
                            "Make the model, then use load_weights"))
    model = rebuilt(state["model"])
    for slot, value in zip(model.slots(), fitting(model, state["weights"], filepath),
                           strict=True):
        np.copyto(slot.tensor.data, value)
    model.touch()
    if compile and state["compiled"]:
        model.compile(**state["compiled"])
    return model
