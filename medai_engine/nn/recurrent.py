"""Recurrent layers and cells; parameters have PyTorch's names: its weights can be copied.

A layer takes (N, T, D) and returns ``output, state``. Carrying the state, detached, to the next
call is truncated backpropagation through time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import functional as F
from ..errors import ParameterError, ShapeError, say
from ..functional.common import labels_of
from ..generator import Generator
from ..ops.shape import concat, reshape
from ..tensor import Parameter, Tensor
from . import init
from .linear import positive
from .module import Module, as_input

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell"]


class Weights(Module):
    """The parameters of a recurrent layer: ``weight_ih``, ``weight_hh`` and biases by suffix."""

    GATES: int
    STATES: int
    FIRST: str  # suffix of the weights that see the input
    hidden_size: int
    _rng: Generator | None
    # x, suffix, states or None, lengths or None, reverse -> outputs, states
    _run: Callable[..., tuple[Tensor, tuple[Tensor, ...]]]

    def _make(self, suffix: str, width: int, hidden: int, bias: bool, recurrent_bias: bool,
              dtype: Any) -> None:
        rows = self.GATES * hidden
        setattr(self, f"weight_ih{suffix}", Parameter(np.empty((rows, width), dtype)))
        setattr(self, f"weight_hh{suffix}", Parameter(np.empty((rows, hidden), dtype)))
        setattr(self, f"bias_ih{suffix}", Parameter(np.empty(rows, dtype)) if bias else None)
        setattr(self, f"bias_hh{suffix}",
                Parameter(np.empty(rows, dtype)) if bias and recurrent_bias else None)

    def _weights(self, suffix: str) -> tuple[Any, Any, Any, Any]:
        return (getattr(self, f"weight_ih{suffix}"), getattr(self, f"weight_hh{suffix}"),
                getattr(self, f"bias_ih{suffix}"), getattr(self, f"bias_hh{suffix}"))

    @property
    def input_size(self) -> int | None:
        """Features of the input, None as long as they are unknown."""
        return self._weights(self.FIRST)[0].shape[1] or None

    @property
    def bias(self) -> bool:
        """Whether there are biases."""
        return self._weights(self.FIRST)[2] is not None

    @property
    def recurrent_bias(self) -> bool:
        """Whether there is a second bias beside the recurrent product."""
        return self._weights(self.FIRST)[3] is not None

    def reset_parameters(self) -> None:
        """Draw all parameters anew, uniform within 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound, rng=self._rng)

    def _infer(self, x: Tensor, first: list[str]) -> None:
        """Give the weights of the input the width of x, where it is not known yet."""
        name = type(self).__name__
        if x.ndim == 0 or x.shape[-1] == 0:
            raise ShapeError(say(f"{name}(None, ...)", "an input with features", str(x.shape),
                                 "Pass (N, T, D)"))
        for suffix in first:
            weight = getattr(self, f"weight_ih{suffix}")
            weight.data = np.empty((weight.shape[0], x.shape[-1]), weight.dtype)
        self.reset_parameters()

    def _states(self, state: Any, like: Tensor) -> tuple[Tensor, ...]:
        """Return a given state as tensors."""
        if self.STATES == 1:
            return (as_input(state, like),)
        if not isinstance(state, (tuple, list)) or len(state) != self.STATES:
            raise ParameterError(say(type(self).__name__, "a state of two tensors (h, c)",
                                     type(state).__name__,
                                     "Pass state=(h, c), as the layer returned it"))
        return tuple(as_input(s, like) for s in state)


class Layer(Weights):
    """Layers and directions stacked; what all recurrent layers share."""

    FIRST = "_l0"

    def __init__(self, input_size: int | None, hidden_size: int, num_layers: int = 1,
                 bias: bool = True, recurrent_bias: bool = True, bidirectional: bool = False,
                 dropout: float = 0.0, *, dtype: Any = np.float32,
                 rng: Generator | None = None):
        name = type(self).__name__
        width = 0 if input_size is None else positive(name, "input_size", input_size)
        self.hidden_size = positive(name, "hidden_size", hidden_size)
        self.num_layers = positive(name, "num_layers", num_layers)
        if not 0 <= dropout < 1:
            raise ParameterError(say(name, "dropout from 0 to below 1", repr(dropout),
                                     "It is the share of entries set to 0 between layers"))
        self.bidirectional = bidirectional
        self.dropout = dropout
        self._rng = rng
        for layer in range(self.num_layers):
            for suffix, _ in self._directions(layer):
                self._make(suffix, width if layer == 0 else hidden_size * (1 + bidirectional),
                           hidden_size, bias, recurrent_bias, dtype)
        if width:
            self.reset_parameters()

    def _directions(self, layer: int) -> Iterator[tuple[str, bool]]:
        yield f"_l{layer}", False
        if self.bidirectional:
            yield f"_l{layer}_reverse", True

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """Return all outputs, and the state after each sequence's last step."""
        weight = self._weights("_l0")[0]
        x = as_input(x, weight)
        if weight.size == 0:
            self._infer(x, [suffix for suffix, _ in self._directions(0)])
        states = None if state is None else self._states(state, weight)
        count = self.num_layers * (1 + self.bidirectional)
        for s in states or ():
            if s.ndim != 3 or s.shape[0] != count:
                raise ShapeError(say(
                    type(self).__name__, f"a state of shape ({count}, N, {self.hidden_size})",
                    s.shape, "It has one entry per layer and direction"))
        if lengths is not None:
            lengths = labels_of(lengths)
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training, rng=self._rng)
            outputs = []
            for suffix, reverse in self._directions(layer):
                given = None if states is None else tuple([s[len(last)] for s in states])
                output, after = self._run(x, suffix, given, lengths, reverse)
                outputs.append(output)
                last.append(tuple([reshape(s, (1, *s.data.shape)) for s in after]))
            x = outputs[0] if len(outputs) == 1 else concat(outputs, axis=-1)
        ended = last[0] if count == 1 else tuple([concat(each, axis=0)
                                                  for each in zip(*last, strict=True)])
        return x, ended if self.STATES > 1 else ended[0]

    def extra_repr(self) -> str:
        """Return the sizes, and what is not the default."""
        text = f"{self.input_size}, {self.hidden_size}"
        for name, value, default in (
                ("num_layers", self.num_layers, 1), ("bias", self.bias, True),
                ("recurrent_bias", self.recurrent_bias, self.bias),
                ("bidirectional", self.bidirectional, False), ("dropout", self.dropout, 0.0)):
            if value != default:
                text += f", {name}={value}"
        return text


class Cell(Weights):
    """One step of a recurrent layer; what all cells share."""

    FIRST = ""

    def __init__(self, input_size: int | None, hidden_size: int, bias: bool = True,
                 recurrent_bias: bool = True, *, dtype: Any = np.float32,
                 rng: Generator | None = None):
        name = type(self).__name__
        width = 0 if input_size is None else positive(name, "input_size", input_size)
        self.hidden_size = positive(name, "hidden_size", hidden_size)
        self._rng = rng
        self._make("", width, hidden_size, bias, recurrent_bias, dtype)
        if width:
            self.reset_parameters()

    def forward(self, x: Any, state: Any = None) -> Any:
        """Return the state after one step of x (N, D)."""
        weight = self._weights("")[0]
        x = as_input(x, weight)
        if x.ndim != 2:
            raise ShapeError(say(type(self).__name__, "one step (N, D)", x.shape,
                                 "Use the layer for whole sequences"))
        if weight.size == 0:
            self._infer(x, [""])
        states = None if state is None else self._states(state, weight)
        _, after = self._run(reshape(x, (x.shape[0], 1, x.shape[1])), "", states, None, False)
        return after if self.STATES > 1 else after[0]

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.input_size}, {self.hidden_size}"


class Activated(Weights):
    """What layers and cells with a choice of activation share."""

    def __init__(self, *args: Any, activation: str = "tanh", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.activation = activation

    def extra_repr(self) -> str:
        """Return the sizes, and what is not the default."""
        text = super().extra_repr()
        return text if self.activation == "tanh" else f"{text}, activation={self.activation!r}"


class LongShort(Activated):
    """What LSTM and LSTMCell share."""

    GATES = 4
    STATES = 2

    def _run(self, x: Tensor, suffix: str, states: tuple[Tensor, ...] | None, lengths: Any,
             reverse: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        return F.lstm(x, *self._weights(suffix), states, lengths, reverse=reverse,
                      activation=self.activation)


class Gated(Weights):
    """What GRU and GRUCell share."""

    GATES = 3
    STATES = 1

    def _run(self, x: Tensor, suffix: str, states: tuple[Tensor, ...] | None, lengths: Any,
             reverse: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        output, h = F.gru(x, *self._weights(suffix), states[0] if states else None, lengths,
                          reverse=reverse)
        return output, (h,)


class Plain(Activated):
    """What RNN and RNNCell share."""

    GATES = 1
    STATES = 1

    def _run(self, x: Tensor, suffix: str, states: tuple[Tensor, ...] | None, lengths: Any,
             reverse: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        output, h = F.rnn(x, *self._weights(suffix), states[0] if states else None, lengths,
                          reverse=reverse, activation=self.activation)
        return output, (h,)


class LSTM(LongShort, Layer):
    """Long short-term memory over sequences of any length; see ``functional.lstm``.

    ``output, (h, c) = layer(x, state=None, lengths=None)``: output (N, T, H), twice H when
    bidirectional, zeros behind each length; h and c (layers x directions, N, H).

    Parameters
    ----------
    input_size : int or None
        Features of a step; None takes them from the first input.
    hidden_size : int
        Units of each layer and direction, H.
    num_layers : int
        Layers, each over the outputs of the one before.
    bias : bool
        Whether to learn offsets.
    recurrent_bias : bool
        Whether there are two of them, as in PyTorch, or one, as in Keras.
    bidirectional : bool
        Whether to run each layer in both directions.
    dropout : float
        Share of a layer's outputs set to 0 on the way to the next one, while training.
    activation : str
        "tanh" or "relu", of the cell and of what enters it.
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights, and the masks of dropout, come from.

    Examples
    --------
    >>> import numpy as np
    >>> from medai_engine import nn
    >>> output, (h, c) = nn.LSTM(3, 8)(np.zeros((2, 5, 3)), lengths=[5, 2])
    >>> output.shape, h.shape
    ((2, 5, 8), (1, 2, 8))
    """


class LSTMCell(LongShort, Cell):
    """One step of an LSTM: ``h, c = cell(x, (h, c))`` with x (N, D), h and c (N, H).

    Parameters
    ----------
    input_size : int or None
        Features of a step; None takes them from the first input.
    hidden_size : int
        Units.
    bias : bool
        Whether to learn offsets.
    recurrent_bias : bool
        Whether there are two of them.
    activation : str
        "tanh" or "relu", of the cell and of what enters it.
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights come from.
    """


class GRU(Gated, Layer):
    """Gated recurrent units over sequences of any length; see ``functional.gru``.

    ``output, h = layer(x, state=None, lengths=None)``, shapes as those of ``LSTM``.

    Parameters
    ----------
    input_size : int or None
        Features of a step; None takes them from the first input.
    hidden_size : int
        Units of each layer and direction, H.
    num_layers : int
        Layers, each over the outputs of the one before.
    bias : bool
        Whether to learn offsets.
    recurrent_bias : bool
        Whether there are two of them, as in PyTorch, or one, as in Keras.
    bidirectional : bool
        Whether to run each layer in both directions.
    dropout : float
        Share of a layer's outputs set to 0 on the way to the next one, while training.
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights, and the masks of dropout, come from.
    """


class GRUCell(Gated, Cell):
    """One step of a GRU: ``h = cell(x, h)`` with x (N, D), h (N, H).

    Parameters are those of ``LSTMCell`` without the activation.
    """


class RNN(Plain, Layer):
    """Plain recurrent units over sequences of any length; see ``functional.rnn``.

    ``output, h = layer(x, state=None, lengths=None)``, shapes as those of ``LSTM``.

    Parameters
    ----------
    input_size : int or None
        Features of a step; None takes them from the first input.
    hidden_size : int
        Units of each layer and direction, H.
    num_layers : int
        Layers, each over the outputs of the one before.
    bias : bool
        Whether to learn offsets.
    recurrent_bias : bool
        Whether there are two of them, as in PyTorch, or one, as in Keras.
    bidirectional : bool
        Whether to run each layer in both directions.
    dropout : float
        Share of a layer's outputs set to 0 on the way to the next one, while training.
    activation : str
        "tanh" or "relu".
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights, and the masks of dropout, come from.
    """


class RNNCell(Plain, Cell):
    """One step of an RNN: ``h = cell(x, h)`` with x (N, D), h (N, H).

    Parameters
    ----------
    input_size : int or None
        Features of a step; None takes them from the first input.
    hidden_size : int
        Units.
    bias : bool
        Whether to learn offsets.
    recurrent_bias : bool
        Whether there are two of them.
    activation : str
        "tanh" or "relu".
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights come from.
    """
