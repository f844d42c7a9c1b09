"""Recurrent layers over whole sequences: one direction of one layer is one op.

What the gradient needs of the steps (activated gates, cells) are further outputs. First derivatives
are one call of the gradient kernel. Where a derivative has to be differentiable itself, it is that
of the composition of steps: the same equations written with ops.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ..errors import DataError, DTypeError, ParameterError, ShapeError, say
from ..kernels import within
from ..mode import MODE
from ..op import Op, apply, define
from ..tensor import Tensor
from ..transforms import vjp
from .elementwise import F
from .linalg import linear, same_float
from .loss import as_indices
from .shape import concat, reshape

__all__ = ["gru", "lstm", "rnn"]

ACTIVATIONS = ("tanh", "relu")


# ---- what the ops of this file share ----------------------------------------------------------


def check_layer(where: str, gates: int, x: np.ndarray, weight_ih: np.ndarray,
                weight_hh: np.ndarray, lengths: np.ndarray, biases: dict[str, np.ndarray],
                states: dict[str, np.ndarray]) -> tuple[int, int, int]:
    """Validate a layer of so many gates; return N, T and H."""
    same_float(where, " ".join(("x weight_ih weight_hh", *biases, *states)), x, weight_ih,
               weight_hh, *biases.values(), *states.values())
    shapes = {"x": (x.shape, "N, T, D"), "weight_ih": (weight_ih.shape, f"{gates} H, D"),
              "weight_hh": (weight_hh.shape, f"{gates} H, H")}
    if x.ndim != 3:
        raise ShapeError(say(where, "sequences (N, T, D)", f"{x.ndim} axes",
                             "Add the missing axes with expand_dims, batch first", shapes))
    N, T, D = x.shape
    H = weight_hh.shape[-1] if weight_hh.ndim == 2 else 0
    if H == 0 or weight_hh.shape[0] != gates * H or weight_ih.shape[:1] != (gates * H,) or (
            weight_ih.ndim != 2):
        raise ShapeError(say(where, f"weights of {gates} gates", f"{weight_ih.shape} and "
                             f"{weight_hh.shape}", "Pass weight_ih first, weight_hh second",
                             shapes))
    if weight_ih.shape[1] != D:
        raise ShapeError(say(where, f"{weight_ih.shape[1]} input features", D,
                             f"Make the layer for {D} features", shapes))
    for name, array, shape in (*((name, bias, (gates * H,)) for name, bias in biases.items()),
                               *((name, state, (N, H)) for name, state in states.items())):
        if array.shape != shape:
            raise ShapeError(say(where, f"{name} of shape {shape}", array.shape,
                                 "States have one row per sequence", shapes))
    if lengths.dtype.kind not in "iu":
        raise DTypeError(say(where, "lengths of an integer dtype", lengths.dtype,
                             "Convert with lengths.astype(me.int64)", shapes))
    if lengths.shape != (N,):
        raise ShapeError(say(where, f"lengths of shape ({N},)", lengths.shape,
                             "Pass one length per sequence", shapes))
    return N, T, H


def check_activation(where: str, activation: str) -> None:
    """Raise unless the kernels have this activation."""
    if activation not in ACTIVATIONS:
        raise ParameterError(say(where, f"activation to be one of {', '.join(ACTIVATIONS)}",
                                 repr(activation), 'Use "tanh", the usual one'))


def check_lengths(where: str, lengths: np.ndarray, T: int) -> None:
    """Raise unless all lengths are between 0 and T."""
    lengths = as_indices(lengths)
    if not within(lengths, 0, T + 1):
        wrong = (lengths < 0) | (lengths > T)
        if wrong.any():
            n = int(np.argmax(wrong))
            raise DataError(say(where, f"lengths from 0 to {T}, the steps of x",
                                f"{lengths[n]} at lengths[{n}]",
                                "Count the valid steps of each sequence"))


def ordered(x: Tensor, lengths: np.ndarray, reverse: bool) -> Tensor:
    """Return x (N, T, ...) with zeros for padding, valid steps turned round where `reverse`.

    Doing so twice gives the order of before.
    """
    steps = np.arange(x.shape[1])
    valid = steps < lengths[:, None]
    x = F["where"](valid[..., None], x, 0.0)
    if not reverse:
        return x
    return x[np.arange(x.shape[0])[:, None], np.where(valid, lengths[:, None] - 1 - steps, steps)]


def joined(steps: list[Tensor], like: Tensor, width: int) -> Tensor:
    """Return steps (N, width) as (N, T, width)."""
    N = like.shape[0]
    if not steps:
        return Tensor(np.zeros((N, 0, width), like.dtype))
    return concat([reshape(s, (N, 1, width)) for s in steps], axis=1)


def absent(g: Tensor) -> bool:
    """Tell whether a cotangent is the constant zero of an output that nobody used."""
    return not any(g.data.strides) and g.data.size > 0 and not g.data.flat[0]


def work(first: int, scale: int) -> Any:
    """Count the padded steps (lengths are values): about 6 operations a gate beside the products.

    ``first`` is the number of x among the inputs; a gradient costs the double.
    """

    def count(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
        x, _, weight_hh = arrays[first: first + 3]
        width, H = weight_hh.shape
        steps = math.prod(x.shape[:2])
        return scale * 2 * steps * width * (x.shape[2] + H), scale * 6 * steps * width

    return count


def check_saved(where: str, got: list[np.ndarray], wanted: list[tuple[int, ...]]) -> None:
    """Raise unless cotangents and outputs have the shapes of the outputs."""
    if [a.shape for a in got] != wanted:
        raise ShapeError(say(f"{where}_grad", f"what {where} gave, of shapes {wanted}",
                             [a.shape for a in got], "Pass its outputs and their cotangents"))


# ---- lstm -------------------------------------------------------------------------------------


def _lstm_infer(x: np.ndarray, weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray,
                h0: np.ndarray, c0: np.ndarray, lengths: np.ndarray, *, reverse: bool,
                activation: str) -> list[tuple[tuple[int, ...], Any]]:
    N, T, H = check_layer("lstm", 4, x, weight_ih, weight_hh, lengths, {"bias": bias},
                          {"h0": h0, "c0": c0})
    check_activation("lstm", activation)
    return [(shape, x.dtype) for shape in ((N, T, H), (N, H), (N, H), (N, T, 4 * H), (N, T, H))]


def _lstm_check(x: np.ndarray, *others: np.ndarray, **_: Any) -> None:
    check_lengths("lstm", others[-1], x.shape[1])


def _lstm_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> list[Any]:
    return [*arrays[:6], as_indices(arrays[6]), *outs, bool(params["reverse"]),
            params["activation"] == "relu"]


def _lstm_steps(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, h0: Tensor,
                c0: Tensor, lengths: np.ndarray, reverse: bool,
                activation: str) -> tuple[Tensor, ...]:
    """Return the outputs of the op as a composition of steps."""
    act, sigmoid, where = F[activation], F["sigmoid"], F["where"]
    H = weight_hh.shape[1]
    h, c = h0, c0
    inputs = ordered(x, lengths, reverse)
    kept: tuple[list[Tensor], ...] = ([], [], [])
    for s in range(x.shape[1]):
        a = linear(inputs[:, s], weight_ih, bias) + linear(h, weight_hh)
        i, f, g, o = (a[:, k * H: (k + 1) * H] for k in range(4))
        i, f, g, o = sigmoid(i), sigmoid(f), act(g), sigmoid(o)
        valid = (lengths > s)[:, None]
        c = where(valid, f * c + i * g, c)
        h = where(valid, o * act(c), h)
        for steps, value in zip(kept, (h, concat([i, f, g, o], axis=1), c), strict=True):
            steps.append(value)
    output, gates, cells = (ordered(joined(steps, x, width), lengths, reverse)
                            for steps, width in zip(kept, (H, 4 * H, H), strict=True))
    return output, h, c, gates, cells


def _lstm_vjp(g_output: Tensor, g_h: Tensor, g_c: Tensor, g_gates: Tensor, g_cells: Tensor,
              x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, h0: Tensor,
              c0: Tensor, lengths: Tensor, output: Tensor, gates: Tensor, cells: Tensor,
              needs: Any, reverse: bool, activation: str) -> list[Tensor | None]:
    if MODE.get().grad:
        given = as_indices(lengths.data)
        _, pull = vjp(partial(_lstm_steps, lengths=given, reverse=reverse, activation=activation),
                      x, weight_ih, weight_hh, bias, h0, c0)
        found = pull((g_output, g_h, g_c, g_gates, g_cells))
    else:
        unused = absent(g_gates) and absent(g_cells)
        found = apply(LSTM_GRAD, g_output, g_h, g_c, x, weight_ih, weight_hh, h0, c0, lengths,
                      output, gates, cells, *(() if unused else (g_gates, g_cells)),
                      reverse=reverse, activation=activation)
    return [g if need else None for g, need in zip((*found, None), needs, strict=True)]


def _lstm_grad_infer(g_output: np.ndarray, g_h: np.ndarray, g_c: np.ndarray, x: np.ndarray,
                     weight_ih: np.ndarray, weight_hh: np.ndarray, h0: np.ndarray,
                     c0: np.ndarray, lengths: np.ndarray, output: np.ndarray, gates: np.ndarray,
                     cells: np.ndarray, *residuals: np.ndarray, reverse: bool,
                     activation: str) -> list[tuple[tuple[int, ...], Any]]:
    bias = np.empty(weight_hh.shape[:1], x.dtype)
    specs = _lstm_infer(x, weight_ih, weight_hh, bias, h0, c0, lengths, reverse=reverse,
                        activation=activation)
    check_saved("lstm", [output, g_output, g_h, g_c, gates, cells, *residuals],
                [specs[i][0] for i in (0, 0, 1, 2, 3, 4, *((3, 4) if residuals else ()))])
    return [(a.shape, x.dtype) for a in (x, weight_ih, weight_hh, bias, h0, c0)]


def _lstm_grad_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                       params: dict[str, Any]) -> list[Any]:
    residuals: list[Any] = list(arrays[12:]) or [None, None]
    return [*arrays[:3], *residuals, *arrays[3:8], as_indices(arrays[8]), *arrays[9:12], *outs,
            bool(params["reverse"]), params["activation"] == "relu"]


LSTM: Op = define(
    "lstm", infer=_lstm_infer, kernel="lstm", prepare=_lstm_prepare, vjp=_lstm_vjp,
    outputs=("output", "h", "c", "gates", "cells"), work=work(0, 1), analytic=True,
    check=_lstm_check, onnx="LSTM",
    doc="output, h, c, gates, cells: i, f, g, o = gates of W_ih x + W_hh h + b, c = f c + i g, "
        "h = o act(c) over the valid steps of each sequence")
LSTM_GRAD: Op = define(
    "lstm_grad", infer=_lstm_grad_infer, kernel="lstm_grad", prepare=_lstm_grad_prepare,
    outputs=("g_x", "g_weight_ih", "g_weight_hh", "g_bias", "g_h0", "g_c0"),
    work=work(3, 2),
    onnx="none: a gradient",
    doc="g_x, g_weight_ih, g_weight_hh, g_bias, g_h0, g_c0: backwards through the steps of lstm")


def lstm(x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h0: Any, c0: Any, lengths: Any,
         reverse: bool = False, activation: str = "tanh") -> tuple[Tensor, Tensor, Tensor]:
    """Return all outputs, the last h and the last c; see ``functional.lstm``."""
    return apply(LSTM, x, weight_ih, weight_hh, bias, h0, c0, lengths, reverse=reverse,
                 activation=activation)[:3]


# ---- gru --------------------------------------------------------------------------------------


def _gru_infer(x: np.ndarray, weight_ih: np.ndarray, weight_hh: np.ndarray, bias_ih: np.ndarray,
               bias_hh: np.ndarray, h0: np.ndarray, lengths: np.ndarray, *,
               reverse: bool) -> list[tuple[tuple[int, ...], Any]]:
    N, T, H = check_layer("gru", 3, x, weight_ih, weight_hh, lengths,
                          {"bias_ih": bias_ih, "bias_hh": bias_hh}, {"h0": h0})
    return [(shape, x.dtype) for shape in ((N, T, H), (N, H), (N, T, 3 * H), (N, T, H))]


def _gru_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                 params: dict[str, Any]) -> list[Any]:
    return [*arrays[:6], as_indices(arrays[6]), *outs, bool(params["reverse"])]


def _gru_steps(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor,
               h0: Tensor, lengths: np.ndarray, reverse: bool) -> tuple[Tensor, ...]:
    """Return the outputs of the op as a composition of steps."""
    H = weight_hh.shape[1]
    h, inputs = h0, ordered(x, lengths, reverse)
    kept: tuple[list[Tensor], ...] = ([], [], [])
    for s in range(x.shape[1]):
        a, m = linear(inputs[:, s], weight_ih, bias_ih), linear(h, weight_hh, bias_hh)
        both = F["sigmoid"](a[:, :2 * H] + m[:, :2 * H])
        r, z, inner = both[:, :H], both[:, H:], m[:, 2 * H:]
        n = F["tanh"](a[:, 2 * H:] + r * inner)
        h = F["where"]((lengths > s)[:, None], n + z * (h - n), h)
        for steps, value in zip(kept, (h, concat([both, n], axis=1), inner), strict=True):
            steps.append(value)
    output, gates, products = (ordered(joined(steps, x, width), lengths, reverse)
                               for steps, width in zip(kept, (H, 3 * H, H), strict=True))
    return output, h, gates, products


def _gru_vjp(g_output: Tensor, g_h: Tensor, g_gates: Tensor, g_inner: Tensor, x: Tensor,
             weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor, h0: Tensor,
             lengths: Tensor, output: Tensor, gates: Tensor, inner: Tensor, needs: Any,
             reverse: bool) -> list[Tensor | None]:
    if MODE.get().grad:
        _, pull = vjp(partial(_gru_steps, lengths=as_indices(lengths.data), reverse=reverse),
                      x, weight_ih, weight_hh, bias_ih, bias_hh, h0)
        found = pull((g_output, g_h, g_gates, g_inner))
    else:
        unused = absent(g_gates) and absent(g_inner)
        found = apply(GRU_GRAD, g_output, g_h, x, weight_ih, weight_hh, h0, lengths, output, gates,
                      inner, *(() if unused else (g_gates, g_inner)), reverse=reverse)
    return [g if need else None for g, need in zip((*found, None), needs, strict=True)]


def _gru_grad_infer(g_output: np.ndarray, g_h: np.ndarray, x: np.ndarray, weight_ih: np.ndarray,
                    weight_hh: np.ndarray, h0: np.ndarray, lengths: np.ndarray,
                    output: np.ndarray, gates: np.ndarray, inner: np.ndarray,
                    *residuals: np.ndarray, reverse: bool) -> list[tuple[tuple[int, ...], Any]]:
    bias = np.empty(weight_hh.shape[:1], x.dtype)
    specs = _gru_infer(x, weight_ih, weight_hh, bias, bias, h0, lengths, reverse=reverse)
    check_saved("gru", [output, g_output, g_h, gates, inner, *residuals],
                [specs[i][0] for i in (0, 0, 1, 2, 3, *((2, 3) if residuals else ()))])
    return [(a.shape, x.dtype) for a in (x, weight_ih, weight_hh, bias, bias, h0)]


def _gru_grad_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                      params: dict[str, Any]) -> list[Any]:
    residuals: list[Any] = list(arrays[10:]) or [None, None]
    return [*arrays[:2], *residuals, *arrays[2:6], as_indices(arrays[6]), *arrays[7:10], *outs,
            bool(params["reverse"])]


GRU: Op = define(
    "gru", infer=_gru_infer, kernel="gru", prepare=_gru_prepare, vjp=_gru_vjp,
    outputs=("output", "h", "gates", "inner"), work=work(0, 1), analytic=True, onnx="GRU",
    check=lambda x, *others, **_: check_lengths("gru", others[-1], x.shape[1]),
    doc="output, h, gates, inner: r, z = sigmoid(a + m), n = tanh(a + r m), h = (1 - z) n + z h "
        "with a = W_ih x + b_ih, m = W_hh h + b_hh over the valid steps of each sequence")
GRU_GRAD: Op = define(
    "gru_grad", infer=_gru_grad_infer, kernel="gru_grad", prepare=_gru_grad_prepare,
    outputs=("g_x", "g_weight_ih", "g_weight_hh", "g_bias_ih", "g_bias_hh", "g_h0"),
    work=work(2, 2), onnx="none: a gradient",
    doc="g_x, g_weight_ih, g_weight_hh, g_bias_ih, g_bias_hh, g_h0: backwards through the steps")


def gru(x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, h0: Any, lengths: Any,
        reverse: bool = False) -> tuple[Tensor, Tensor]:
    """Return all outputs and the last h; see ``functional.gru``."""
    return apply(GRU, x, weight_ih, weight_hh, bias_ih, bias_hh, h0, lengths,
                 reverse=reverse)[:2]


# ---- rnn --------------------------------------------------------------------------------------


def _rnn_infer(x: np.ndarray, weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray,
               h0: np.ndarray, lengths: np.ndarray, *, reverse: bool,
               activation: str) -> list[tuple[tuple[int, ...], Any]]:
    N, T, H = check_layer("rnn", 1, x, weight_ih, weight_hh, lengths, {"bias": bias}, {"h0": h0})
    check_activation("rnn", activation)
    return [((N, T, H), x.dtype), ((N, H), x.dtype)]


def _rnn_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                 params: dict[str, Any]) -> list[Any]:
    return [*[as_indices(a) if a.dtype.kind in "iu" else a for a in (*arrays, *outs)],
            bool(params["reverse"]), params["activation"] == "relu"]


def _rnn_steps(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, h0: Tensor,
               lengths: np.ndarray, reverse: bool, activation: str) -> tuple[Tensor, Tensor]:
    """Return the outputs of the op as a composition of steps."""
    h, inputs, kept = h0, ordered(x, lengths, reverse), []
    for s in range(x.shape[1]):
        y = F[activation](linear(inputs[:, s], weight_ih, bias) + linear(h, weight_hh))
        h = F["where"]((lengths > s)[:, None], y, h)
        kept.append(h)
    return ordered(joined(kept, x, weight_hh.shape[1]), lengths, reverse), h


def _rnn_vjp(g_output: Tensor, g_h: Tensor, x: Tensor, weight_ih: Tensor, weight_hh: Tensor,
             bias: Tensor, h0: Tensor, lengths: Tensor, output: Tensor, needs: Any, reverse: bool,
             activation: str) -> list[Tensor | None]:
    if MODE.get().grad:
        _, pull = vjp(partial(_rnn_steps, lengths=as_indices(lengths.data), reverse=reverse,
                              activation=activation), x, weight_ih, weight_hh, bias, h0)
        found = pull((g_output, g_h))
    else:
        found = apply(RNN_GRAD, g_output, g_h, x, weight_ih, weight_hh, h0, lengths, output,
                      reverse=reverse, activation=activation)
    return [g if need else None for g, need in zip((*found, None), needs, strict=True)]


def _rnn_grad_infer(g_output: np.ndarray, g_h: np.ndarray, x: np.ndarray, weight_ih: np.ndarray,
                    weight_hh: np.ndarray, h0: np.ndarray, lengths: np.ndarray,
                    output: np.ndarray, *, reverse: bool,
                    activation: str) -> list[tuple[tuple[int, ...], Any]]:
    bias = np.empty(weight_hh.shape[:1], x.dtype)
    specs = _rnn_infer(x, weight_ih, weight_hh, bias, h0, lengths, reverse=reverse,
                       activation=activation)
    check_saved("rnn", [output, g_output, g_h], [specs[i][0] for i in (0, 0, 1)])
    return [(a.shape, x.dtype) for a in (x, weight_ih, weight_hh, bias, h0)]


RNN: Op = define(
    "rnn", infer=_rnn_infer, kernel="rnn", prepare=_rnn_prepare, vjp=_rnn_vjp,
    outputs=("output", "h"), work=work(0, 1), analytic=True, onnx="RNN",
    check=lambda x, *others, **_: check_lengths("rnn", others[-1], x.shape[1]),
    doc="output, h: h = act(W_ih x + W_hh h + b) over the valid steps of each sequence")
RNN_GRAD: Op = define(
    "rnn_grad", infer=_rnn_grad_infer, kernel="rnn_grad", prepare=_rnn_prepare,
    outputs=("g_x", "g_weight_ih", "g_weight_hh", "g_bias", "g_h0"), work=work(2, 2),
    onnx="none: a gradient",
    doc="g_x, g_weight_ih, g_weight_hh, g_bias, g_h0: backwards through the steps of rnn")


def rnn(x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h0: Any, lengths: Any,
        reverse: bool = False, activation: str = "tanh") -> tuple[Tensor, Tensor]:
    """Return all outputs and the last h; see ``functional.rnn``."""
    return apply(RNN, x, weight_ih, weight_hh, bias, h0, lengths, reverse=reverse,
                 activation=activation)
