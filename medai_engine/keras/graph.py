"""The graph of a functional model: which layer is called on what, in the order of computation."""

from __future__ import annotations

from typing import Any

from ..coerce import as_array
from ..tensor import Tensor
from . import layers as all_layers
from .engine import Layer, Symbol, flatten, unlike

__all__ = ["Graph", "key"]


class Graph:
    """The calls of layers between symbols, in the order of computation."""

    def __init__(self, inputs: Any, outputs: Any):
        self.inputs, self.outputs = flatten(inputs), flatten(outputs)
        self.single = not isinstance(outputs, (list, tuple, dict))
        self.names = [list(ends) if isinstance(ends, dict) else [
            getattr(s.layer, "name", "?") for s in flat] for ends, flat in (
                (inputs, self.inputs), (outputs, self.outputs))]
        self.keyed = isinstance(outputs, dict)
        if not all(isinstance(s, Symbol) for s in self.inputs + self.outputs):
            raise unlike("Model", "symbols from Input and layers", "something else",
                         "Use Model(inputs=x, outputs=y)")
        self.steps: list[tuple[Layer, list[Any], list[Any]]] = []
        self.listed: list[bool] = []
        done = {key(s) for s in self.inputs}
        stack = list(reversed(self.outputs))
        while stack:  # depth first, without recursion: networks are deep
            symbol = stack[-1]
            if key(symbol) in done:
                stack.pop()
                continue
            if not symbol.inputs:
                raise unlike("Model", "outputs that follow from the inputs",
                             f"another input of shape {symbol.shape}", "Add it to inputs=")
            waiting = [s for s in symbol.inputs if key(s) not in done]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            layer: Any = symbol.layer
            self.steps.append((layer, [key(s) for s in symbol.inputs], [symbol]))
            done |= {(id(layer), symbol.call, i) for i in range(16)}
            stack.pop()
        self.layers: list[Layer] = []
        for layer, _, _ in self.steps:
            if not any(layer is other for other in self.layers):
                self.layers.append(layer)

    def run(self, values: list[Any]) -> tuple[Any, Any]:
        """Return the outputs for arrays of the inputs, and the mask of the (first) output."""
        if len(values) != len(self.inputs):
            raise unlike("Model", f"{len(self.inputs)} inputs", len(values),
                         "Pass a list with one array per input")
        known = {key(s): (v if isinstance(v, Tensor) else Tensor(as_array(v)))
                 for s, v in zip(self.inputs, values, strict=True)}
        masks: dict[Any, Any] = {}
        for layer, sources, (symbol,) in self.steps:
            inputs = [known[k] for k in sources]
            mask = [masks.get(k) for k in sources]
            x: Any = inputs
            m: Any = mask if any(v is not None for v in mask) else None
            if len(inputs) == 1:
                x, m = inputs[0], mask[0]
            options = {"mask": m} if layer.mask_aware and m is not None else {}
            y = layer(x, training=symbol.training, **options)
            after = layer.compute_mask(x, m) if m is not None or _masks(layer) else None
            for i, value in enumerate(y if isinstance(y, (list, tuple)) else [y]):
                known[(id(layer), symbol.call, i)] = value
                masks[(id(layer), symbol.call, i)] = after if i == 0 else None
        found = [known[key(s)] for s in self.outputs]
        return (found[0] if self.single else found), masks.get(key(self.outputs[0]))

    def shaped(self, found: list[Any]) -> Any:
        """Return outputs as the model was given them: one, a list, or a dict."""
        if self.keyed:
            return dict(zip(self.names[1], found, strict=True))
        return found[0] if self.single else found


def _masks(layer: Layer) -> bool:
    """Tell whether a layer makes masks."""
    return isinstance(layer, (all_layers.Masking, all_layers.Embedding))


def key(symbol: Symbol) -> Any:
    """Return what tells symbols apart: the call of a layer and the place, or the input itself."""
    return (id(symbol.layer), symbol.call, symbol.place) if symbol.inputs else id(symbol)
