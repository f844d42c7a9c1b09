"""Recurrent layers as functions: one direction of one layer over whole sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ParameterError, ShapeError, say
from ..ops import recurrent
from ..ops.elementwise import FUNCTIONS
from ..ops.shape import reshape
from ..tensor import Tensor
from .common import labels_of, tensor

__all__ = ["gru", "lstm", "rnn", "sequence_mask"]


def offset(weight_hh: Tensor, bias_ih: Any, bias_hh: Any) -> Tensor:
    """Return the sum of the biases that there are."""
    given = [tensor(b) for b in (bias_ih, bias_hh) if b is not None]
    if not given:
        return Tensor(np.zeros(weight_hh.shape[:1], weight_hh.dtype))
    return given[0] if len(given) == 1 else given[0] + given[1]


def counts(x: Tensor, lengths: Any) -> Tensor:
    """Return the lengths as a tensor, that of x for all where none are given."""
    if lengths is not None:
        return labels_of(lengths)
    N, T, *_ = (*x.data.shape, 0, 0)
    steps = np.empty(N, np.int64)
    steps.fill(T)
    return Tensor(steps)


def start(x: Tensor, weight_hh: Tensor) -> Tensor:
    """Return the state of zeros that a sequence starts from."""
    x_data = x.data
    return Tensor(np.zeros(x_data.shape[:1] + weight_hh.data.shape[1:], x_data.dtype))


def lstm(x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None,
         state: Any = None, lengths: Any = None, *, reverse: bool = False,
         activation: str = "tanh") -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Long short-term memory over sequences of any length, ``c = f c + i g``, ``h = o act(c)``.

    ``i, f, g, o = W_ih x_t + W_hh h + b`` through sigmoid (g: the activation).

    Parameters
    ----------
    x : Tensor
        (N, T, D), float32 or float64. What lies behind a sequence's length is never read.
    weight_ih, weight_hh : Tensor
        (4 H, D) and (4 H, H), gates i, f, g, o.
    bias_ih, bias_hh : Tensor, optional
        (4 H,) each; they are added.
    state : pair of Tensor, optional
        h and c before the first step, (N, H) each; zeros by default.
    lengths : Tensor of integers, optional
        (N,), in any order, between 0 and T; all T by default.
    reverse : bool
        Whether to go from each sequence's last valid step to its first.
    activation : str
        "tanh" or "relu", of g and of the cell.

    Returns
    -------
    output : Tensor
        (N, T, H), zeros behind each length.
    state : pair of Tensor
        h and c after each sequence's last step, (N, H) each.

    Raises
    ------
    ShapeError, DTypeError, DataError
        For weights, states or lengths that do not fit x.

    References
    ----------
    Hochreiter & Schmidhuber 1997, Long short-term memory.

    Examples
    --------
    >>> import numpy as np
    >>> from medai_engine import functional as F
    >>> x, w = np.ones((2, 3, 1)), np.ones((4, 1))
    >>> output, (h, c) = F.lstm(x, w, w, lengths=[3, 1])
    >>> output[1, :, 0] == h[1]
    tensor([ True, False, False], dtype=bool)
    """
    x, weight_ih, weight_hh = tensor(x), tensor(weight_ih), tensor(weight_hh)
    if state is None:
        state = (start(x, weight_hh),) * 2
    elif not isinstance(state, (tuple, list)) or len(state) != 2:
        raise ParameterError(say("lstm", "a state of two tensors (h, c)", type(state).__name__,
                                 "Pass state=(h, c), as the layer returned it"))
    h0, c0 = map(tensor, state)
    output, h, c = recurrent.lstm(
        x, weight_ih, weight_hh, offset(weight_hh, bias_ih, bias_hh), h0, c0, counts(x, lengths),
        reverse, activation)
    return output, (h, c)


def gru(x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None,
        state: Any = None, lengths: Any = None, *, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """Gated recurrent units over sequences of any length, ``h = (1 - z) n + z h``.

    ``r, z = sigmoid(W_ih x_t + b_ih + W_hh h + b_hh)``,
    ``n = tanh(W_in x_t + b_in + r (W_hn h + b_hn))``.

    Parameters
    ----------
    x : Tensor
        (N, T, D), float32 or float64. What lies behind a sequence's length is never read.
    weight_ih, weight_hh : Tensor
        (3 H, D) and (3 H, H), gates r, z, n.
    bias_ih, bias_hh : Tensor, optional
        (3 H,) each.
    state : Tensor, optional
        h before the first step, (N, H); zeros by default.
    lengths : Tensor of integers, optional
        (N,), in any order, between 0 and T; all T by default.
    reverse : bool
        Whether to go from each sequence's last valid step to its first.

    Returns
    -------
    output : Tensor
        (N, T, H), zeros behind each length.
    state : Tensor
        h after each sequence's last step, (N, H).

    Raises
    ------
    ShapeError, DTypeError, DataError
        For weights, states or lengths that do not fit x.

    References
    ----------
    Cho et al. 2014, Learning phrase representations using RNN encoder-decoder for statistical
    machine translation; the reset is applied after the recurrent product.
    """
    x, weight_ih, weight_hh = tensor(x), tensor(weight_ih), tensor(weight_hh)
    return recurrent.gru(x, weight_ih, weight_hh, offset(weight_hh, bias_ih, None),
                         offset(weight_hh, None, bias_hh),
                         start(x, weight_hh) if state is None else tensor(state),
                         counts(x, lengths), reverse)


def rnn(x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None,
        state: Any = None, lengths: Any = None, *, reverse: bool = False,
        activation: str = "tanh") -> tuple[Tensor, Tensor]:
    """Plain recurrent units over sequences of any length, ``h = act(W_ih x_t + W_hh h + b)``.

    Parameters
    ----------
    x : Tensor
        (N, T, D), float32 or float64. What lies behind a sequence's length is never read.
    weight_ih, weight_hh : Tensor
        (H, D) and (H, H).
    bias_ih, bias_hh : Tensor, optional
        (H,) each; they are added.
    state : Tensor, optional
        h before the first step, (N, H); zeros by default.
    lengths : Tensor of integers, optional
        (N,), in any order, between 0 and T; all T by default.
    reverse : bool
        Whether to go from each sequence's last valid step to its first.
    activation : str
        "tanh" or "relu".

    Returns
    -------
    output : Tensor
        (N, T, H), zeros behind each length.
    state : Tensor
        h after each sequence's last step, (N, H).

    Raises
    ------
    ShapeError, DTypeError, DataError
        For weights, states or lengths that do not fit x.

    References
    ----------
    Elman 1990, Finding structure in time.
    """
    x, weight_ih, weight_hh = tensor(x), tensor(weight_ih), tensor(weight_hh)
    return recurrent.rnn(x, weight_ih, weight_hh, offset(weight_hh, bias_ih, bias_hh),
                         start(x, weight_hh) if state is None else tensor(state),
                         counts(x, lengths), reverse, activation)


def sequence_mask(lengths: Any, steps: int) -> Tensor:
    """Tell which steps are valid, ``t < lengths[n]``, for pooling over time and for losses.

    Parameters
    ----------
    lengths : Tensor of integers
        (N,).
    steps : int
        T, the steps of the padded batch.

    Returns
    -------
    Tensor
        (N, T), True where ``t < lengths[n]``.

    Raises
    ------
    DTypeError, ShapeError
        For lengths that are not one integer per sequence.

    Examples
    --------
    >>> from medai_engine import functional as F
    >>> F.sequence_mask([2, 0], 3)
    tensor([[ True,  True, False],
            [False, False, False]], dtype=bool)
    """
    lengths = labels_of(lengths)
    if lengths.dtype.kind not in "iu":
        raise DTypeError(say("sequence_mask", "lengths of an integer dtype", lengths.dtype,
                             "Convert with lengths.astype(me.int64)"))
    if lengths.ndim != 1:
        raise ShapeError(say("sequence_mask", "lengths of shape (N,)", lengths.shape,
                             "Pass one length per sequence"))
    return FUNCTIONS["less"](Tensor(np.arange(steps)), reshape(lengths, (-1, 1)))
