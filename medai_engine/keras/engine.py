"""What a Keras layer is: built at its first input, called on arrays or on symbols.

A layer holds its parameters in this engine's layouts; ``get_weights`` and ``set_weights`` speak
Keras's (kernels with the input first, gates in Keras's order), so that weights can be exchanged.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from ..coerce import as_array
from ..errors import ParameterError, ShapeError, say
from ..mode import no_grad
from ..nn import Buffer, Module, ModuleList, Parameter
from ..tensor import Tensor, mark_written
from . import constraints, initializers, regularizers
from .backend import numbered
from .symbol import Place, Shape, Symbol, flatten, unlike
from .variable import Variable, Weight

__all__ = ["Config", "Input", "InputLayer", "Layer", "Place", "Symbol", "Weight", "flatten",
           "unlike"]

STAND_INS = (6, 11)  # sizes that unknown axes take while shapes are found


class Config:
    """The arguments that a layer was made with; no dict, in which modules would be looked for."""

    def __init__(self, values: dict[str, Any]):
        self.values = values


class Layer(Module):
    """Base of all layers: define ``build(input_shape)`` and ``call(inputs)``.

    Attributes
    ----------
    name : str
    trainable : bool
        Read when a model is compiled; a frozen BatchNormalization also uses its moving averages.
    built : bool
        Whether the parameters are made.
    """

    mask_aware = False  # whether ``call`` takes ``mask=``
    built = False
    config: Config

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Note the arguments, so that a saved model can make the layer again."""
        self = object.__new__(cls)
        taken = inspect.signature(cls.__init__).bind(self, *args, **kwargs).arguments
        taken.pop("self", None)
        extra = taken.pop("kwargs", {})
        self.__dict__["config"] = Config({**taken, **extra})
        return self

    def __init__(self, name: str | None = None, trainable: bool = True,
                 input_shape: Sequence[int | None] | None = None, input_dim: int | None = None,
                 dtype: str | None = None, **kwargs: Any):
        self.activity_regularizer = regularizers.get(kwargs.pop("activity_regularizer", None))
        held = [key for key in kwargs if key.endswith("_constraint")]
        self.constraints = {key.removesuffix("_constraint"): constraints.get(kwargs.pop(key))
                            for key in held}
        unknown = set(kwargs) - {"weights", "autocast", "batch_input_shape", "input_length"}
        if unknown:
            raise ParameterError(say(type(self).__name__, "the options that its docstring names",
                                     ", ".join(sorted(unknown)), "Leave them out"))
        if dtype not in (None, "float32", "float64"):
            raise ParameterError(say(type(self).__name__, "dtype float32 or float64", repr(dtype),
                                     "Leave it out"))
        self.name = name or numbered(_snake(type(self).__name__))
        self.trainable = trainable
        self.training = False  # until a model trains
        self.built = False
        self.calls = 0
        first = kwargs.get("batch_input_shape")
        self.first_shape: Shape | None = None
        if input_shape is not None or input_dim is not None or first is not None:
            shape = tuple(first[1:]) if first is not None else (
                (input_dim,) if input_shape is None else tuple(input_shape))
            self.first_shape = (None, *shape)
        self.output_shape: Any = None
        self.input_shape: Any = None
        self.ends: tuple[Any, Any] | None = None  # symbols of the first call
        self.kinds: list[str] = []  # dtypes of the outputs
        self.added: list[Any] = []  # by add_loss, in the present step

    # what a layer defines

    def build(self, input_shape: Any) -> None:
        """Make the parameters for inputs of a shape."""

    def call(self, inputs: Any) -> Any:
        """Compute the output; every layer defines its own."""
        raise unlike(type(self).__name__, "a method call(self, inputs)", "none",
                     "Define it in the class")

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return the mask of the output: that of the input, of a layer that keeps the steps."""
        return mask if self.mask_aware or not isinstance(mask, list) else None

    def slots(self) -> list[Weight]:
        """Return parameters and buffers in Keras's order and layouts, of layers inside as well."""
        own = {id(value): Weight(name, value) for name, value in vars(self).items()
               if isinstance(value, (Parameter, Buffer))}
        return [*own.values(), *(slot for layer in self.inside() for slot in layer.slots())]

    def inside(self) -> list[Layer]:
        """Return the layers that this one holds in its attributes, or in lists there."""
        if not self.built:
            self.adopt()
        return [layer for child in self.children() for layer in (
            child if isinstance(child, ModuleList) else [child]) if isinstance(layer, Layer)]

    def adopt(self) -> None:
        """Make lists of layers, here and below, what the engine trains and saves."""
        for name, value in list(vars(self).items()):
            if isinstance(value, (list, tuple)) and any(isinstance(v, Layer) for v in value):
                setattr(self, name, ModuleList(value))
        for child in self.children():
            if isinstance(child, Layer):
                child.adopt()

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield (dotted name, module) for this layer and all below, each once."""
        if not self.built:
            self.adopt()
        yield from super().named_modules(prefix)

    def add_loss(self, loss: Any) -> None:
        """Add a number, computed in ``call``, to the loss of the step."""
        self.added.append(loss)

    def penalties(self) -> Iterator[Tensor]:
        """Yield what regularizers and ``add_loss`` add to the loss."""
        yield from self.added
        self.added.clear()
        for name, value in list(vars(self).items()):
            if isinstance(value, regularizers.Regularizer):
                slot = next((s for s in self.slots()
                             if s.name == name.removesuffix("_regularizer")), None)
                if slot is not None:
                    yield value(slot.tensor)
        for layer in self.inside():
            yield from layer.penalties()

    def constrain(self) -> None:
        """Hold the weights to their constraints, after a step."""
        for slot in self.slots() if self.constraints else ():
            if self.constraints.get(slot.name) is not None:
                value = self.constraints[slot.name](slot.out(slot.tensor.data))
                np.copyto(slot.tensor.data, slot.back(value))
                mark_written(slot.tensor)
        for layer in self.inside():
            layer.constrain()

    # calls

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute on arrays and tensors, or describe on symbols.

        ``training`` (True or False) switches this layer, and all below, for the call.
        """
        training = kwargs.pop("training", None)
        if any(isinstance(x, Symbol) for x in flatten(inputs)):
            state = kwargs.pop("initial_state", None)  # further inputs of a recurrent layer
            if args or kwargs:
                raise unlike(self.name, "nothing beside the inputs", sorted(kwargs) or args,
                             "Leave it out")
            return self.describe(inputs if state is None else [inputs, *flatten(state)], training)
        if isinstance(inputs, (list, tuple)):
            inputs = [x if isinstance(x, Tensor) else Tensor(as_array(x)) for x in inputs]
        elif isinstance(inputs, dict):
            inputs = {k: x if isinstance(x, Tensor) else Tensor(as_array(x))
                      for k, x in inputs.items()}
        elif not isinstance(inputs, Tensor):
            inputs = Tensor(as_array(inputs))
        if training is None or training == self.training:
            return super().__call__(inputs, *args, **kwargs)
        with self.switched(training):
            return super().__call__(inputs, *args, **kwargs)

    @contextmanager
    def switched(self, training: bool) -> Iterator[None]:
        """Train or evaluate, this layer and all below, for a while."""
        was = [(m, m.training) for m in self.modules()]
        self.train(training)
        try:
            yield
        finally:
            for module, flag in was:
                module.training = flag

    def forward(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Build at the first call, then compute."""
        if not self.built:
            shapes = [x.shape for x in flatten(inputs)]
            self.make(shapes if isinstance(inputs, (list, dict)) else shapes[0])
        if kwargs.get("mask", 0) is None or not self.mask_aware:
            kwargs.pop("mask", None)
        y = self.call(inputs, *args, **kwargs, **self.told())
        if self.activity_regularizer is not None:  # of the batch's mean sample
            self.add_loss(self.activity_regularizer(y) / y.shape[0])
        return y

    def told(self) -> dict[str, bool]:
        """Return ``training`` for a ``call`` that asks for it."""
        return {"training": self.training} if asks(type(self).call) else {}

    def make(self, shape: Any) -> None:
        """Build once, for inputs of a shape (the batch axis included)."""
        self.build(shape)
        self.built = True
        self.input_shape = shape

    def describe(self, inputs: Any, training: bool | None = None) -> Any:
        """Return symbols of the output for symbols of the input."""
        symbols = flatten(inputs)
        if not all(isinstance(s, Symbol) for s in symbols):
            raise unlike(self.name, "symbols only, or arrays only", "both",
                         "Wrap constants in the layer itself")
        listed = isinstance(inputs, (list, tuple, dict))
        out = self.compute_output_shape([s.shape for s in symbols] if listed else symbols[0].shape,
                                        [s.dtype for s in symbols])
        self.calls += 1
        made = [Symbol(shape, self, symbols, i, self.calls, self.kinds[i], training)
                for i, shape in enumerate(out if isinstance(out, list) else [out])]
        found = made if isinstance(out, list) else made[0]
        self.ends = self.ends or (inputs, found)
        return found

    def compute_output_shape(self, input_shape: Any, dtypes: Sequence[str] = ()) -> Any:
        """Return the shape of the output, found by running the layer on zeros.

        Axes that are not known take two different sizes in turn: where the result differs, its
        size is not known either.
        """
        listed = isinstance(input_shape, list)
        shapes = input_shape if listed else [input_shape]
        kinds = list(dtypes) or ["float32"] * len(shapes)
        if not self.built:
            self.make([tuple(s) for s in shapes] if listed else tuple(shapes[0]))
        found = []
        with self.switched(False), no_grad():
            for size in STAND_INS if any(None in s[1:] for s in shapes) else (1,):
                zeros = [Tensor(np.zeros([1, *(size if n is None else n for n in s[1:])], kind))
                         for s, kind in zip(shapes, kinds, strict=True)]
                y = self.forward(zeros if listed else zeros[0])
                found.append([t.shape for t in flatten(y)])
        self.kinds = [str(t.dtype) for t in flatten(y)]
        self.added.clear()
        merged: list[Shape] = [(None, *(a if a == b else None
                                        for a, b in zip(first[1:], last[1:], strict=True)))
                               for first, last in zip(found[0], found[-1], strict=True)]
        self.output_shape = merged if isinstance(y, (list, tuple)) else merged[0]
        self.input_shape = input_shape
        return self.output_shape

    # weights

    def add_weight(self, shape: Sequence[int] | None = None, initializer: Any = "glorot_uniform",
                   trainable: bool = True, name: str | None = None, regularizer: Any = None,
                   constraint: Any = None, dtype: Any = np.float32, **_: Any) -> Tensor:
        """Make a parameter (or a buffer) of this layer; ``name`` is an attribute for it."""
        value = initializers.get(initializer)(tuple(shape or ()), dtype)
        tensor = Parameter(value) if trainable else Buffer(value)
        name = name or f"weight_{len(self.slots())}"
        setattr(self, name, tensor)
        if regularizer is not None:
            setattr(self, f"{name}_regularizer", regularizers.get(regularizer))
        if constraint is not None:
            self.constraints[name] = constraints.get(constraint)
        return tensor

    @property
    def weights(self) -> list[Variable]:
        """All parameters and buffers, those that are learned first."""
        return self.trainable_weights + self.non_trainable_weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """The parameters, unless the layer is frozen."""
        return [Variable(s) for s in self.learned() if isinstance(s.tensor, Parameter)]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The buffers, and frozen parameters."""
        chosen = {id(v.slot.tensor) for v in self.trainable_weights}
        return [Variable(s) for s in self.slots() if id(s.tensor) not in chosen]

    trainable_variables = property(lambda self: self.trainable_weights)
    non_trainable_variables = property(lambda self: self.non_trainable_weights)
    variables = property(lambda self: self.weights)

    def learned(self) -> list[Weight]:
        """Return the slots of this layer, and of layers inside, that training moves."""
        if not self.trainable:
            return []
        frozen = {id(s.tensor) for layer in self.inside() for s in layer.slots()} - {
            id(s.tensor) for layer in self.inside() for s in layer.learned()}
        return [slot for slot in self.slots() if id(slot.tensor) not in frozen]

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all weights in Keras's layouts."""
        return [Variable(s).numpy() for s in self.slots()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy weights in Keras's layouts into this layer."""
        slots = self.slots()
        if len(weights) != len(slots):
            raise ParameterError(say(f"{self.name}.set_weights", f"{len(slots)} arrays",
                                     len(weights), "Build the layer first, and pass what "
                                     "get_weights of the same layer gave"))
        for slot, given in zip(slots, weights, strict=True):
            wanted = Variable(slot).shape
            if np.shape(given) != wanted:
                raise ShapeError(say(f"{self.name}.set_weights", f"{slot.name} of shape {wanted}",
                                     np.shape(given), "Pass what get_weights of the same layer "
                                     "gave"))
        for slot, given in zip(slots, weights, strict=True):
            Variable(slot).assign(given)

    def count_params(self) -> int:
        """Return the number of weights."""
        return sum(s.tensor.size for s in self.slots())

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        return {**self.config.values, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a layer from what ``get_config`` gave."""
        return cls(**config)

    @property
    def output(self) -> Any:
        """The symbol of the layer's output, in a model."""
        return self.end(1)

    @property
    def input(self) -> Any:
        """The symbol of the layer's input, in a model."""
        return self.end(0)

    def end(self, which: int) -> Any:
        """Return the symbols before or behind the layer."""
        if self.ends is None:
            raise unlike(self.name, "a layer inside a model", "one alone",
                         "Call it on an Input, or add it to a Sequential that begins with one")
        return self.ends[which]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class InputLayer(Layer):
    """The place where a model takes an array."""

    def __init__(self, shape: Sequence[int | None] | None = None, dtype: str = "float32",
                 name: str | None = None, input_shape: Sequence[int | None] | None = None,
                 batch_size: int | None = None, **_: Any):
        super().__init__(name)
        shape = input_shape if shape is None else shape
        if shape is None:
            raise unlike("InputLayer", "the shape of a sample", None,
                         "Use Input(shape=(64, 64, 1))")
        self.first_shape = (None, *shape)
        self.kind = dtype
        self.built = True
        self.symbol = Symbol(self.first_shape, dtype=dtype)
        self.symbol.layer = self
        self.ends = self.symbol, self.symbol

    def call(self, inputs: Any) -> Any:
        """Return the input."""
        return inputs


def Input(shape: Sequence[int | None] | int | None = None, batch_size: int | None = None,
          dtype: str = "float32", name: str | None = None, **_: Any) -> Symbol:
    """Return the symbol of an input: ``Input(shape=(64, 64, 1))``, None where a size varies."""
    if shape is None:
        raise unlike("Input", "the shape of a sample", None, "Use Input(shape=(64, 64, 1))")
    return InputLayer((shape,) if isinstance(shape, int) else tuple(shape), dtype, name).symbol


def _snake(name: str) -> str:
    """Return ``conv2d`` for ``Conv2D``, ``max_pooling2d`` for ``MaxPooling2D``."""
    out = ""
    for i, c in enumerate(name):
        new = c.isupper() and i and (name[i - 1].islower() or (
            i + 1 < len(name) and name[i + 1].islower() and not name[i - 1].isdigit()))
        out += ("_" if new else "") + c.lower()
    return out


@cache
def asks(call: Callable[..., Any]) -> bool:
    """Tell whether a layer's ``call`` takes ``training``."""
    return "training" in inspect.signature(call).parameters
