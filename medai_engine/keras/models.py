"""Sequential and functional models with Keras's calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..nn import ModuleList, Parameter
from . import layers as all_layers
from .engine import InputLayer, Layer, Symbol, Weight, flatten, unlike
from .graph import Graph
from .training import Trainer

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json"]


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
        self.graph: Graph | None = None
        super().__init__(name=name)
        self.trainable = trainable
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
        if self.graph is None:
            return self.inside()
        return [*(s.layer for s in self.graph.inputs), *self.stack]

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
    input_names = property(lambda self: self.drawn().names[0])
    output_names = property(lambda self: self.drawn().names[1])

    def drawn(self) -> Graph:
        """Return the graph, or say that there is none."""
        if self.graph is None:
            raise unlike(self.name, "a model with a known input shape", "none yet",
                         "Add Input(shape=...) as the first layer")
        return self.graph

    def make(self, shape: Any) -> None:
        """Note that the parameters are there after the first call of a model of one's own."""
        self.adopt()
        self.built = True
        self.input_shape = shape

    def build(self, input_shape: Any) -> None:
        """Make all parameters by running a batch of zeros of this shape."""
        if self.graph is None and not self.stack:
            self.compute_output_shape(tuple(input_shape))

    def call(self, inputs: Any) -> Any:
        """Send inputs through the layers."""
        graph = self.drawn()
        given = [inputs[name] for name in graph.names[0]] if isinstance(
            inputs, dict) else flatten(inputs)
        return graph.run(given)[0]

    def forward(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        kwargs.pop("mask", None)
        if not self.built:
            self.make([x.shape for x in inputs] if isinstance(inputs, list) else None if isinstance(
                inputs, dict) else inputs.shape)
        return self.call(inputs, *args, **kwargs, **self.told())

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
        total = self.count_params()
        learned = sum(s.tensor.size for s in self.learned() if isinstance(s.tensor, Parameter))
        lines.append(bar)
        lines += [f"{what} params: {count:,} ({_memory(4 * count)})" for what, count in (
            ("Total", total), ("Trainable", learned), ("Non-trainable", total - learned))]
        print_fn("\n".join(lines))

    def shown(self) -> list[Layer]:
        """Return the layers of the summary."""
        return self.layers

    # on disk

    def save(self, filepath: str | Path, overwrite: bool = True, **_: Any) -> None:
        """Write architecture, weights and how it was compiled as one file, without pickle."""
        from .saving import save_model

        save_model(self, filepath, overwrite)

    def save_weights(self, filepath: str | Path, overwrite: bool = True) -> None:
        """Write the weights alone."""
        from .saving import save_weights

        save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: str | Path) -> None:
        """Read weights that ``save_weights`` or ``save`` wrote."""
        from .saving import load_weights

        load_weights(self, filepath)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the model again."""
        from .saving import described

        return described(self)["config"]

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Make a model from what ``get_config`` gave, with new weights."""
        from .saving import rebuilt

        return rebuilt({"class": cls.__name__, "config": config}, custom_objects)

    def to_json(self, **_: Any) -> str:
        """Return the architecture as text."""
        from .saving import described

        return json.dumps(described(self))


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
        self.tail: Any = None
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
        if self.start is None:
            self.start = _entrance(layer)
            self.tail = self.start
        if not isinstance(layer, InputLayer):
            if any(layer is other for other in self.stack):
                raise unlike("Sequential.add", "every layer once", layer.name, "Make another one")
            self.stack.append(layer)
            if self.start is not None:
                self.tail = layer.describe(self.tail)
        self.connect()

    def pop(self) -> Layer:
        """Take the last layer away and return it."""
        layer = self.stack[len(self.stack) - 1]
        del self.stack[len(self.stack) - 1]
        self.redraw()
        return layer

    def redraw(self) -> None:
        """Describe all layers anew, when the shape of the input is known."""
        if self.start is not None:
            self.tail = self.start
            for layer in self.stack:
                layer.ends = None
                self.tail = layer.describe(self.tail)
            self.connect()

    def connect(self) -> None:
        """Take the layers from the input to the last one as the model's graph."""
        if self.start is not None:
            self.graph = Graph(self.start, self.tail)
            self.built = True
            self.input_shape, self.output_shape = self.start.shape, self.tail.shape

    @property
    def layers(self) -> list[Layer]:
        """The layers in order."""
        return list(self.stack)

    def build(self, input_shape: Any = None) -> None:
        """Make all parameters for inputs of this shape, the batch axis included."""
        if self.start is None:
            self.start = InputLayer(tuple(input_shape)[1:]).symbol
            self.redraw()

    def forward(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; the first input says the shape, where nothing else did."""
        if self.start is None and len(self.stack):
            x = flatten(inputs)[0]
            self.start = InputLayer(x.shape[1:], str(x.dtype)).symbol
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


def _entrance(layer: Layer) -> Symbol | None:
    """Return the symbol before a Sequential's first layer, where that says its input's shape."""
    if isinstance(layer, Model) and layer.graph is not None:
        shape, kind = layer.inputs[0].shape, layer.inputs[0].dtype
    elif layer.first_shape is not None:
        shape = layer.first_shape
        kind = layer.kind if isinstance(layer, InputLayer) else (
            "int64" if isinstance(layer, all_layers.Embedding) else "float32")
    else:
        return None
    return (layer if isinstance(layer, InputLayer) else InputLayer(shape[1:], kind)).symbol


def _memory(size: float) -> str:
    """Return bytes as text: 3.38 KB."""
    unit = next((i for i, limit in enumerate((2**10, 2**20, 2**30)) if size < limit), 3)
    return f"{size / 1024**unit:.2f} {('B', 'KB', 'MB', 'GB')[unit]}"


def load_model(filepath: str | Path, custom_objects: Any = None, compile: bool = True,
               **_: Any) -> Model:
    """Read a model that ``save`` wrote: architecture, weights, and how it was compiled.

    ``custom_objects`` maps names to layers and functions of one's own.
    """
    from .saving import read_model

    return read_model(filepath, custom_objects, compile)


def model_from_json(json_string: str, custom_objects: Any = None) -> Model:
    """Make a model from what ``to_json`` gave, with new weights."""
    from .saving import rebuilt

    return rebuilt(json.loads(json_string), custom_objects)


def clone_model(model: Model, **_: Any) -> Model:
    """Return a model of the same layers, with new weights."""
    return model_from_json(model.to_json(), {type(v).__name__: type(v) for v in model.modules()})
