"""Recurrent layers over whole sequences: one direction of one layer is one op.

What the gradient needs of the steps (activated gates, cells) are further outputs. First derivatives
are one call of the gradient kernel. Where a derivative has to be differentiable itself, it is that
of the composition of steps: the same equations written with ops.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..mode import MODE
from ..op import Op, apply, define
from ..tensor import Tensor
from ..transforms import vjp
from .loss import as_indices
from .recurrence import (
    absent,
    check_activation,
    check_layer,
    check_lengths,
    check_saved,
    grads,
    gru_steps,
    lstm_steps,
    rnn_steps,
    work,
    workspace,
)

__all__ = ["gru", "lstm", "rnn"]


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


def _lstm_vjp(g_output: Tensor, g_h: Tensor, g_c: Tensor, g_gates: Tensor, g_cells: Tensor,
              x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, h0: Tensor,
              c0: Tensor, lengths: Tensor, output: Tensor, gates: Tensor, cells: Tensor,
              needs: Any, reverse: bool, activation: str) -> list[Tensor | None]:
    if MODE.get().grad:
        given = as_indices(lengths.data)
        _, pull = vjp(partial(lstm_steps, lengths=given, reverse=reverse, activation=activation),
                      x, weight_ih, weight_hh, bias, h0, c0)
        found = pull((g_output, g_h, g_c, g_gates, g_cells))
    else:
        unused = absent(g_gates) and absent(g_cells)
        found = apply(LSTM_GRAD, g_output, g_h, g_c, x, weight_ih, weight_hh, h0, c0, lengths,
                      output, gates, cells, *(() if unused else (g_gates, g_cells)),
                      reverse=reverse, activation=activation, needs_x=needs[0])
    return [g if need else None for g, need in zip((*found, None), needs, strict=True)]


def _lstm_grad_infer(g_output: np.ndarray, g_h: np.ndarray, g_c: np.ndarray, x: np.ndarray,
                     weight_ih: np.ndarray, weight_hh: np.ndarray, h0: np.ndarray,
                     c0: np.ndarray, lengths: np.ndarray, output: np.ndarray, gates: np.ndarray,
                     cells: np.ndarray, *residuals: np.ndarray, reverse: bool, activation: str,
                     needs_x: bool) -> list[tuple[tuple[int, ...], Any]]:
    bias = np.empty(weight_hh.shape[:1], x.dtype)
    specs = _lstm_infer(x, weight_ih, weight_hh, bias, h0, c0, lengths, reverse=reverse,
                        activation=activation)
    check_saved("lstm", [output, g_output, g_h, g_c, gates, cells, *residuals],
                [specs[i][0] for i in (0, 0, 1, 2, 3, 4, *((3, 4) if residuals else ()))])
    return grads(needs_x, x, weight_ih, weight_hh, bias, h0, c0)


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
    work=work(3, 2), workspace=workspace(3, 4), onnx="none: a gradient",
    doc="g_x, g_weight_ih, g_weight_hh, g_bias, g_h0, g_c0: backwards through the steps of lstm; "
        "g_x has no columns unless needs_x")


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


def _gru_vjp(g_output: Tensor, g_h: Tensor, g_gates: Tensor, g_inner: Tensor, x: Tensor,
             weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor, h0: Tensor,
             lengths: Tensor, output: Tensor, gates: Tensor, inner: Tensor, needs: Any,
             reverse: bool) -> list[Tensor | None]:
    if MODE.get().grad:
        _, pull = vjp(partial(gru_steps, lengths=as_indices(lengths.data), reverse=reverse),
                      x, weight_ih, weight_hh, bias_ih, bias_hh, h0)
        found = pull((g_output, g_h, g_gates, g_inner))
    else:
        unused = absent(g_gates) and absent(g_inner)
        found = apply(GRU_GRAD, g_output, g_h, x, weight_ih, weight_hh, h0, lengths, output, gates,
                      inner, *(() if unused else (g_gates, g_inner)), reverse=reverse,
                      needs_x=needs[0])
    return [g if need else None for g, need in zip((*found, None), needs, strict=True)]


def _gru_grad_infer(g_output: np.ndarray, g_h: np.ndarray, x: np.ndarray, weight_ih: np.ndarray,
                    weight_hh: np.ndarray, h0: np.ndarray, lengths: np.ndarray,
                    output: np.ndarray, gates: np.ndarray, inner: np.ndarray,
                    *residuals: np.ndarray, reverse: bool,
                    needs_x: bool) -> list[tuple[tuple[int, ...], Any]]:
    bias = np.empty(weight_hh.shape[:1], x.dtype)
    specs = _gru_infer(x, weight_ih, weight_hh, bias, bias, h0, lengths, reverse=reverse)
    check_saved("gru", [output, g_output, g_h, gates, inner, *residuals],
                [specs[i][0] for i in (0, 0, 1, 2, 3, *((2, 3) if residuals else ()))])
    return grads(needs_x, x, weight_ih, weight_hh, bias, bias, h0)


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
    work=work(2, 2), workspace=workspace(2, 4), onnx="none: a gradient",
    doc="g_x, g_weight_ih, g_weight_hh, g_bias_ih, g_bias_hh, g_h0: backwards through the steps "
        "of gru; g_x has no columns unless needs_x")


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


def _rnn_vjp(g_output: Tensor, g_h: Tensor, x: Tensor, weight_ih: Tensor, weight_hh: Tensor,
             bias: Tensor, h0: Tensor, lengths: Tensor, output: Tensor, needs: Any, reverse: bool,
             activation: str) -> list[Tensor | None]:
    if MODE.get().grad:
        _, pull = vjp(partial(rnn_steps, lengths=as_indices(lengths.data), reverse=reverse,
                              activation=activation), x, weight_ih, weight_hh, bias, h0)
        found = pull((g_output, g_h))
    else:
        found = apply(RNN_GRAD, g_output, g_h, x, weight_ih, weight_hh, h0, lengths, output,
                      reverse=reverse, activation=activation, needs_x=needs[0])
    return [g if need else None for g, need in zip((*found, None), needs, strict=True)]


def _rnn_grad_infer(g_output: np.ndarray, g_h: np.ndarray, x: np.ndarray, weight_ih: np.ndarray,
                    weight_hh: np.ndarray, h0: np.ndarray, lengths: np.ndarray,
                    output: np.ndarray, *, reverse: bool, activation: str,
                    needs_x: bool) -> list[tuple[tuple[int, ...], Any]]:
    bias = np.empty(weight_hh.shape[:1], x.dtype)
    specs = _rnn_infer(x, weight_ih, weight_hh, bias, h0, lengths, reverse=reverse,
                       activation=activation)
    check_saved("rnn", [output, g_output, g_h], [specs[i][0] for i in (0, 0, 1)])
    return grads(needs_x, x, weight_ih, weight_hh, bias, h0)


RNN: Op = define(
    "rnn", infer=_rnn_infer, kernel="rnn", prepare=_rnn_prepare, vjp=_rnn_vjp,
    outputs=("output", "h"), work=work(0, 1), analytic=True, onnx="RNN",
    check=lambda x, *others, **_: check_lengths("rnn", others[-1], x.shape[1]),
    doc="output, h: h = act(W_ih x + W_hh h + b) over the valid steps of each sequence")
RNN_GRAD: Op = define(
    "rnn_grad", infer=_rnn_grad_infer, kernel="rnn_grad", prepare=_rnn_prepare,
    outputs=("g_x", "g_weight_ih", "g_weight_hh", "g_bias", "g_h0"), work=work(2, 2),
    workspace=workspace(2, 1), onnx="none: a gradient",
    doc="g_x, g_weight_ih, g_weight_hh, g_bias, g_h0: backwards through the steps of rnn; g_x has "
        "no columns unless needs_x")


def rnn(x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h0: Any, lengths: Any,
        reverse: bool = False, activation: str = "tanh") -> tuple[Tensor, Tensor]:
    """Return all outputs and the last h; see ``functional.rnn``."""
    return apply(RNN, x, weight_ih, weight_hh, bias, h0, lengths, reverse=reverse,
                 activation=activation)
