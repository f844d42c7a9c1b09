"""SimpleRNN, GRU, LSTM, and what runs them in both directions.

Masked steps are left out, wherever they lie: the valid steps are moved to the front, the sequences
run with their lengths, and the outputs go back to their places (a masked step repeats the output
before it, as in Keras).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import functional as F
from ...nn import Parameter
from ...tensor import Tensor
from .. import initializers, regularizers
from ..backend import me
from ..engine import Layer, Weight, unlike

__all__ = ["GRU", "LSTM", "Bidirectional", "SimpleRNN"]


def front(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return x with the valid steps of every sequence first, and how many there are."""
    order = me.argsort(me.logical_not(mask), axis=1, stable=True)
    index = me.broadcast_to(me.expand_dims(order, axis=-1), x.shape)
    return me.take_along_axis(x, index, axis=1), me.sum(me.astype(mask, np.int64), axis=1)


def back(y: Tensor, mask: Tensor) -> Tensor:
    """Return outputs at their places; a masked step has those of the valid step before it."""
    place = me.cumulative_sum(me.astype(mask, np.int64), axis=1) - 1
    index = me.broadcast_to(me.expand_dims(me.maximum(place, 0), axis=-1), y.shape)
    known = me.astype(me.expand_dims(me.greater_equal(place, 0), axis=-1), y.dtype)
    return me.take_along_axis(y, index, axis=1) * known


class Recurrent(Layer):
    """What the three layers share."""

    mask_aware = True
    gates = 1
    states = 1
    kept: tuple[str, ...] = ("tanh", "relu")  # activations that the kernels have

    def __init__(self, units: int, activation: Any = "tanh", use_bias: bool = True,
                 kernel_initializer: Any = "glorot_uniform",
                 recurrent_initializer: Any = "orthogonal", bias_initializer: Any = "zeros",
                 kernel_regularizer: Any = None, recurrent_regularizer: Any = None,
                 bias_regularizer: Any = None, dropout: float = 0.0,
                 recurrent_dropout: float = 0.0, return_sequences: bool = False,
                 return_state: bool = False, go_backwards: bool = False, stateful: bool = False,
                 unroll: bool = False, recurrent_activation: Any = "sigmoid",
                 unit_forget_bias: bool = True, reset_after: bool = True,
                 implementation: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        where = type(self).__name__
        if not isinstance(units, (int, np.integer)) or units < 1:
            raise unlike(where, "units of 1 or more", units, f"Use {where}(64)")
        for name, given, only in (("activation", activation, self.kept),
                                  ("recurrent_activation", recurrent_activation, ("sigmoid",)),
                                  ("recurrent_dropout", recurrent_dropout, (0, 0.0)),
                                  ("stateful", stateful, (False,)),
                                  ("reset_after", reset_after, (True,))):
            if given not in only:
                raise unlike(where, f"{name} of {', '.join(map(repr, only))}", given,
                             f"Use {name}={only[0]!r}")
        self.units, self.use_bias, self.activation = int(units), use_bias, activation
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_kernel_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.dropout, self.unit_forget_bias = dropout, unit_forget_bias
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards = go_backwards

    def build(self, input_shape: Any) -> None:
        """Make both kernels and the bias."""
        if isinstance(input_shape, list):  # with an initial state
            input_shape = input_shape[0]
        width, u = input_shape[-1], self.units
        if len(input_shape) != 3 or width is None:
            raise unlike(self.name, "sequences (N, T, D) with known D", tuple(input_shape),
                         "Use Input(shape=(None, 32)); x[..., None] for one feature")
        self.kernel = Parameter(np.ascontiguousarray(self.back(
            self.kernel_initializer((width, self.gates * u), np.float32))))
        self.recurrent_kernel = Parameter(np.ascontiguousarray(self.back(
            self.recurrent_initializer((u, self.gates * u), np.float32))))
        self.bias = Parameter(self.first_bias()) if self.use_bias else None

    def first_bias(self) -> np.ndarray:
        """Return the bias's first values."""
        return self.bias_initializer((self.gates * self.units,), np.float32)

    def back(self, w: np.ndarray) -> np.ndarray:
        """Return a kernel of Keras's layout (in, gates) in this engine's (gates, in)."""
        return w.T

    def out(self, w: np.ndarray) -> np.ndarray:
        """Return a kernel in Keras's layout."""
        return w.T

    def run(self, x: Tensor, state: Any, lengths: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return all outputs and the last states."""
        raise unlike(type(self).__name__, "a method run", "none", "Define it")

    def call(self, inputs: Any, mask: Any = None, initial_state: Any = None) -> Any:
        """Return the last output, all, or these and the states."""
        if isinstance(inputs, list):
            inputs, *initial_state = inputs
            mask = mask[0] if isinstance(mask, list) else mask
        if initial_state is not None:
            initial_state = tuple(initial_state) if self.states == 2 else initial_state[0]
        x, lengths = inputs, None
        if self.dropout and self.training:  # one mask for all steps
            x = x * F.dropout(me.ones((x.shape[0], 1, x.shape[2]), dtype=x.dtype), self.dropout)
        if self.go_backwards:
            x = me.flip(x, axis=1)
            mask = None if mask is None else me.flip(mask, axis=1)
        if mask is not None:
            x, lengths = front(x, mask)
        y, states = self.run(x, initial_state, lengths)
        if mask is not None and self.return_sequences:
            y = back(y, mask)
        last = y if self.return_sequences else states[0]
        return [last, *states] if self.return_state else last

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return the mask of the steps, where there are steps."""
        if not self.return_sequences:
            return None
        return mask[0] if isinstance(mask, list) else mask

    def slots(self) -> list[Weight]:
        """Return kernels and bias."""
        if not self.built:
            return []
        bias = [Weight("bias", self.bias)] if self.bias is not None else []
        return [Weight("kernel", self.kernel, self.out, self.back),
                Weight("recurrent_kernel", self.recurrent_kernel, self.out, self.back), *bias]


class SimpleRNN(Recurrent):
    """h = activation(x W + h U + b)."""

    def run(self, x: Tensor, state: Any, lengths: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return all outputs and the last one."""
        y, h = F.rnn(x, self.kernel, self.recurrent_kernel, self.bias, None, state, lengths,
                     activation=self.activation)
        return y, (h,)


class LSTM(Recurrent):
    """Long short-term memory; gates i, f, c, o; one bias, 1 at the forget gate."""

    gates = 4
    states = 2

    def first_bias(self) -> np.ndarray:
        """Return the bias's first values."""
        bias = super().first_bias()
        if self.unit_forget_bias:
            bias[self.units: 2 * self.units] = 1
        return bias

    def run(self, x: Tensor, state: Any, lengths: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return all outputs, and the last output and cell."""
        return F.lstm(x, self.kernel, self.recurrent_kernel, self.bias, None, state, lengths,
                      activation=self.activation)


class GRU(Recurrent):
    """Gated recurrent unit; gates z, r, h in Keras's order; two biases (``reset_after``)."""

    gates = 3
    kept = ("tanh",)

    def first_bias(self) -> np.ndarray:
        """Return the first values of both biases."""
        return self.bias_initializer((2, 3 * self.units), np.float32)

    def _turn(self, w: np.ndarray) -> np.ndarray:
        """Exchange the first two gates: z, r, h is r, z, n here."""
        z, r, h = np.split(w, 3, axis=0)
        return np.concatenate([r, z, h])

    def back(self, w: np.ndarray) -> np.ndarray:
        """Return a kernel of Keras's layout in this engine's."""
        return self._turn(w.T)

    def out(self, w: np.ndarray) -> np.ndarray:
        """Return a kernel in Keras's layout."""
        return self._turn(w).T

    def run(self, x: Tensor, state: Any, lengths: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return all outputs and the last one."""
        one, two = (None, None) if self.bias is None else (self.bias[0], self.bias[1])
        y, h = F.gru(x, self.kernel, self.recurrent_kernel, one, two, state, lengths)
        return y, (h,)

    def slots(self) -> list[Weight]:
        """Return kernels and bias."""
        slots = super().slots()
        if slots and self.bias is not None:
            def turn(b: np.ndarray) -> np.ndarray:
                return self._turn(b.T).T
            slots[-1] = Weight("bias", self.bias, turn, turn)
        return slots


class Bidirectional(Layer):
    """A recurrent layer and its mirror image, put together."""

    mask_aware = True

    def __init__(self, layer: Recurrent, merge_mode: str | None = "concat", **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(layer, Recurrent) or layer.return_state:
            raise unlike("Bidirectional", "an LSTM, GRU or SimpleRNN without return_state",
                         type(layer).__name__, "Use Bidirectional(LSTM(64))")
        if merge_mode not in ("concat", "sum", "mul", "ave"):
            raise unlike("Bidirectional", "merge_mode concat, sum, mul or ave", merge_mode,
                         'Use merge_mode="concat"')
        self.merge_mode = merge_mode
        self.forward_layer = layer
        self.backward_layer = type(layer)(**{
            **layer.config.values, "name": f"backward_{layer.name}",
            "go_backwards": not layer.go_backwards})

    def build(self, input_shape: Any) -> None:
        """Build both."""
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.make(input_shape)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return both directions' outputs, step by step."""
        there = self.forward_layer(inputs, mask=mask)
        again = self.backward_layer(inputs, mask=mask)
        if self.forward_layer.return_sequences:
            again = me.flip(again, axis=1)
        if self.merge_mode == "concat":
            return me.concat([there, again], axis=-1)
        if self.merge_mode == "mul":
            return there * again
        return (there + again) / (2 if self.merge_mode == "ave" else 1)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return the mask of the steps, where there are steps."""
        return self.forward_layer.compute_mask(inputs, mask)

    def slots(self) -> list[Weight]:
        """Return those of both directions."""
        return self.forward_layer.slots() + self.backward_layer.slots()


