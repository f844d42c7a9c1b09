"""Rows of the recurrent layers and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from medai_engine.errors import DataError, DTypeError, ParameterError, ShapeError
from medai_engine.kernels.recurrent import reference

from . import Draw, Sample, bad, r0, row, sample, torch

Arrays = tuple[np.ndarray, ...]

# N, T, D, H, lengths (None: all steps), reverse, activation
CASES: list[tuple[int, int, int, int, Any, bool, str]] = [
    (2, 3, 4, 1, [1, 3], False, "tanh"), (3, 2, 5, 2, [2, 0, 1], True, "tanh"),
    (1, 2, 4, 3, None, False, "relu"), (2, 2, 1, 2, [2, 1], True, "relu"),
    (2, 0, 3, 2, None, False, "tanh"), (0, 3, 2, 1, None, False, "tanh"),
    (1, 1, 1, 1, [1], False, "tanh")]


def layer(r: Draw, N: int, T: int, D: int, H: int, lengths: Any, gates: int = 4,
          states: int = 2) -> Arrays:
    """Draw the inputs of a layer, its states different from each other."""
    return (r.normal(N, T, D), r.normal(gates * H, D), r.normal(gates * H, H),
            r.normal(gates * H), *(r.normal(N, H) for _ in range(states)),
            np.full(N, T) if lengths is None else np.array(lengths))


def drive(x: np.ndarray, weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray) -> float:
    """Return a bound of the magnitudes summed up by a gate: |h| may grow where it is not tanh."""
    sums = np.abs(weight_hh).sum(1) * (1 + np.abs(weight_hh).max()) + np.abs(bias)
    if x.size:
        sums = sums + np.abs(x).max() * np.abs(weight_ih).sum(1)
    return float(sums.max())


def _terms(x: np.ndarray, weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray,
           h0: np.ndarray, c0: np.ndarray, lengths: np.ndarray, reverse: bool,
           activation: str) -> tuple[int, Any]:
    """Return the length of a gate's sum, and its magnitude once a step: errors are carried on."""
    states = 1 + max(np.abs(h0).max(initial=0), np.abs(c0).max(initial=0))
    return (x.shape[2] + weight_hh.shape[1] + 1,
            states * drive(x, weight_ih, weight_hh, bias) * (1 + x.shape[1]))


def torch_lstm(x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h0: Any, c0: Any, lengths: Any,
               reverse: bool, activation: str) -> Any:
    """Run PyTorch's own layer, packed sequences included, or its formula where act is relu."""
    t = torch()
    N, T, D = x.shape
    H = h0.shape[1]
    output, cells = t.zeros(N, T, H, dtype=x.dtype), t.zeros(N, T, H, dtype=x.dtype)
    gates, h, c = t.zeros(N, T, 4 * H, dtype=x.dtype), h0.clone(), c0.clone()
    act = getattr(t, activation)
    for n, length in enumerate(lengths.tolist()):
        times = range(length - 1, -1, -1) if reverse else range(length)
        for time in times:
            a = weight_ih @ x[n, time] + weight_hh @ h[n] + bias
            i, f, g, o = a.chunk(4)
            i, f, g, o = i.sigmoid(), f.sigmoid(), act(g), o.sigmoid()
            c[n] = f * c[n] + i * g
            h[n] = o * act(c[n])
            output[n, time], cells[n, time] = h[n].clone(), c[n].clone()
            gates[n, time] = t.cat([i, f, g, o])
    rows = (lengths > 0).nonzero().flatten()
    if activation == "tanh" and rows.numel():
        net = t.nn.LSTM(D, H, batch_first=True).to(x.dtype)
        for parameter, value in zip(net.parameters(), (weight_ih, weight_hh, bias, 0 * bias),
                                    strict=True):
            parameter.data.copy_(value)
        chosen = x[rows]
        if reverse:
            for r, n in enumerate(rows.tolist()):
                chosen[r, : lengths[n]] = x[n, : lengths[n]].flip(0)
        packed = t.nn.utils.rnn.pack_padded_sequence(chosen, lengths[rows], batch_first=True,
                                                     enforce_sorted=False)
        y, (h_n, c_n) = net(packed, (h0[rows][None], c0[rows][None]))
        y, _ = t.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=T)
        for r, n in enumerate(rows.tolist()):
            length = int(lengths[n])
            output[n, :length] = y[r, :length].flip(0) if reverse else y[r, :length]
            h[n], c[n] = h_n[0, r], c_n[0, r]
    return [v.detach() for v in (output, h, c, gates, cells)]


def good() -> list[np.ndarray]:
    """Return inputs of the right shapes."""
    return [r0(2, 5, 3), r0(16, 3), r0(16, 4), r0(16), r0(2, 4), r0(2, 4), np.array([5, 2])]


def wrong(error: type[Exception], match: str, place: int, value: np.ndarray,
          **params: Any) -> Any:
    """Return a call with one input replaced."""
    inputs = good()
    inputs[place] = value
    return bad(error, match, *inputs, **{"reverse": False, "activation": "tanh", **params})


row("lstm", lambda r: [sample(*layer(r, *case[:5]), reverse=case[5], activation=case[6])
                       for case in CASES],
    large=lambda r: sample(*layer(r, 21, 9, 33, 34, r.integers(0, 10, 21)), reverse=True,
                           activation="tanh"),
    terms=_terms, oracles={"torch": torch_lstm},
    exempt={"cost": "the record counts padded steps, the work follows the lengths"},
    bad=[wrong(DataError, r"lengths from 0 to 5.*got 6 at lengths\[1\]", 6, np.array([5, 6])),
         wrong(DataError, r"got -1 at lengths\[0\]", 6, np.array([-1, 6])),
         wrong(DTypeError, "integer dtype, got float32.*astype", 6, r0(2)),
         wrong(ShapeError, r"lengths of shape \(2,\), got \(3,\)", 6, np.array([1, 2, 3])),
         wrong(ShapeError, "3 input features, got 7", 0, r0(2, 5, 7)),
         wrong(ShapeError, r"sequences \(N, T, D\), got 2 axes", 0, r0(5, 3)),
         wrong(ShapeError, "weights of 4 gates", 2, r0(4, 16)),
         wrong(ShapeError, r"bias of shape \(16,\)", 3, r0(4)),
         wrong(ShapeError, r"c0 of shape \(2, 4\), got \(3, 4\)", 5, r0(3, 4)),
         wrong(DTypeError, "float32 or float64, the same for all", 5, np.zeros((2, 4))),
         wrong(ParameterError, "one of tanh, relu, got 'gelu'", 0, r0(2, 5, 3),
               activation="gelu")])


# which cotangents there are, and whether g_x is wanted, for one case after the other
GIVEN = [(True, True), (False, True), (True, False), (False, False)] * 2


def backward(r: Draw, case: Any, residuals: bool, needs_x: bool) -> Sample:
    """Draw cotangents for what the definition of the layer gives."""
    N, T, D, H, lengths, reverse, activation = case
    x, weight_ih, weight_hh, bias, h0, c0, lengths = layer(r, N, T, D, H, lengths)
    outs = [np.empty(shape) for shape in ((N, T, H), (N, H), (N, H), (N, T, 4 * H), (N, T, H))]
    reference.lstm(x, weight_ih, weight_hh, bias, h0, c0, lengths, *outs, reverse,
                   activation == "relu")
    cotangents = [r.normal(*y.shape) for y in outs]
    return sample(*cotangents[:3], x, weight_ih, weight_hh, h0, c0, lengths, outs[0], *outs[3:],
                  *(cotangents[3:] if residuals else []), reverse=reverse, activation=activation,
                  needs_x=needs_x)


def _grad_terms(*arrays: np.ndarray, **_: Any) -> tuple[int, Any]:
    """Bound the error by the cotangents, multiplied by the recurrent weight in every step."""
    x, weight_ih, weight_hh, h0, c0 = arrays[3:8]
    T = x.shape[1]
    top = max(np.abs(a).max(initial=0) for a in (*arrays[:3], *arrays[12:]))
    growth = sum((1 + np.abs(weight_hh).sum(0).max(initial=0)) ** s for s in range(T + 1))
    inputs = 1 + max(np.abs(a).max(initial=0)
                     for a in (x, weight_ih, weight_hh, h0, c0, arrays[11]))
    return x.shape[0] * (T + 1) * weight_ih.shape[0], float(top * growth * inputs**2)


def at(value: Any, pre: Any) -> Any:
    """Return a value that an expression has had, linked to it."""
    return pre - pre.detach() + value


def wanted(g_x: Any, *others: Any, needs_x: bool) -> list[Any]:
    """Return gradients, that of x without columns where it is not wanted."""
    return [g_x if needs_x else g_x[..., :0], *others]


def _torch_grad(*inputs: Any, reverse: bool, activation: str, needs_x: bool) -> Any:
    """Differentiate PyTorch's composition of the steps, written backwards from the gates."""
    t = torch()
    g_output, g_h, g_c, x, weight_ih, weight_hh, h0, c0, lengths = inputs[:9]
    gates, cells = inputs[10:12]
    g_gates, g_cells = inputs[12:] or (t.zeros_like(gates), t.zeros_like(cells))
    leaves = [v.clone().requires_grad_() for v in (
        x, weight_ih, weight_hh, weight_hh.new_zeros(weight_hh.shape[0]), h0, c0)]
    wx, wi, wh, b, h, c = leaves
    hs, cs = list(h), list(c)
    total = sum((v * 0).sum() for v in leaves)
    act = getattr(t, activation)
    for n, length in enumerate(lengths.tolist()):
        for s in range(length):
            time = length - 1 - s if reverse else s
            pre = wi @ wx[n, time] + wh @ hs[n] + b
            i, f, g, o = gates[n, time].chunk(4)
            pi, pf, pg, po = pre.chunk(4)
            i, f, o = (at(t.logit(v), p).sigmoid() for v, p in ((i, pi), (f, pf), (o, po)))
            g = act(at(t.atanh(g) if activation == "tanh" else g, pg))
            cs[n] = f * cs[n] + i * g
            hs[n] = o * act(cs[n])
            total = total + (t.cat([i, f, g, o]) * g_gates[n, time]).sum() + (
                cs[n] * g_cells[n, time] + hs[n] * g_output[n, time]).sum()
    for n in range(len(hs)):
        total = total + (hs[n] * g_h[n] + cs[n] * g_c[n]).sum()
    return wanted(*t.autograd.grad(total, leaves), needs_x=needs_x)


row("lstm_grad", lambda r: [backward(r, case, *given)
                            for case, given in zip(CASES, GIVEN, strict=False)],
    large=lambda r: backward(r, (21, 9, 33, 34, r.integers(0, 10, 21), False, "tanh"), True, True),
    terms=_grad_terms, oracles={"torch": _torch_grad},
    exempt={"cost": "the record counts padded steps, the work follows the lengths"},
    bad=[bad(ShapeError, "what lstm gave", r0(2, 5, 4), r0(2, 4), r0(3, 4), *good()[:3],
             *good()[4:], r0(2, 5, 4), r0(2, 5, 16), r0(2, 5, 4), reverse=False,
             activation="tanh", needs_x=True)])


# ---- gru and rnn ------------------------------------------------------------------------------


def stepped(act: str) -> Any:
    """Return the outputs of a layer by PyTorch's cell, sequence after sequence."""

    def run(x: Any, weight_ih: Any, weight_hh: Any, *rest: Any, reverse: bool,
            activation: str = "tanh") -> list[Any]:
        t = torch()
        *biases, h0, lengths = rest
        N, T, _ = x.shape
        H = h0.shape[1]
        bias_ih, bias_hh = (*biases, 0 * biases[0])[:2]
        kind = "gru_cell" if act == "gru" else f"rnn_{activation}_cell"
        output, h = t.zeros(N, T, H, dtype=x.dtype), h0.clone()
        gates, inner = t.zeros(N, T, 3 * H, dtype=x.dtype), t.zeros(N, T, H, dtype=x.dtype)
        for n, length in enumerate(lengths.tolist()):
            for time in (range(length - 1, -1, -1) if reverse else range(length)):
                if act == "gru":
                    a, m = weight_ih @ x[n, time] + bias_ih, weight_hh @ h[n] + bias_hh
                    r, z = (a + m)[: 2 * H].sigmoid().chunk(2)
                    inner[n, time] = m[2 * H:]
                    gates[n, time] = t.cat([r, z, (a[2 * H:] + r * m[2 * H:]).tanh()])
                h[n] = getattr(t, kind)(x[n: n + 1, time], h[n: n + 1].clone(), weight_ih,
                                        weight_hh, bias_ih, bias_hh)[0]
                output[n, time] = h[n]
        return [output, h, gates, inner] if act == "gru" else [output, h]

    return run


def _gru_inputs(r: Draw, case: Any) -> Arrays:
    x, weight_ih, weight_hh, bias, h0, lengths = layer(r, *case[:5], gates=3, states=1)
    return x, weight_ih, weight_hh, bias, r.normal(*bias.shape), h0, lengths


def _gru_terms(x: np.ndarray, weight_ih: np.ndarray, weight_hh: np.ndarray, bias_ih: np.ndarray,
               bias_hh: np.ndarray, h0: np.ndarray, lengths: np.ndarray,
               reverse: bool) -> tuple[int, Any]:
    return _terms(x, weight_ih, weight_hh, abs(bias_ih) + abs(bias_hh), h0, h0, lengths, reverse,
                  "tanh")


GRU_CASES = [case[:6] for case in CASES if case[6] == "tanh"]
row("gru", lambda r: [sample(*_gru_inputs(r, case), reverse=case[5]) for case in GRU_CASES],
    large=lambda r: sample(*_gru_inputs(r, (21, 9, 33, 34, r.integers(0, 10, 21))), reverse=True),
    terms=_gru_terms, oracles={"torch": stepped("gru")},
    exempt={"cost": "the record counts padded steps, the work follows the lengths"},
    bad=[bad(DataError, r"lengths from 0 to 5.*got 6 at lengths\[1\]", r0(2, 5, 3), r0(12, 3),
             r0(12, 4), r0(12), r0(12), r0(2, 4), np.array([5, 6]), reverse=False),
         bad(ShapeError, r"bias_hh of shape \(12,\), got \(4,\)", r0(2, 5, 3), r0(12, 3),
             r0(12, 4), r0(12), r0(4), r0(2, 4), np.array([5, 2]), reverse=False),
         bad(ShapeError, "weights of 3 gates", r0(2, 5, 3), r0(16, 3), r0(16, 4), r0(16), r0(16),
             r0(2, 4), np.array([5, 2]), reverse=False)])


def packed_grad(kind: str, leaves: list[Any], lengths: Any, reverse: bool, g_output: Any,
                g_h: Any) -> list[Any]:
    """Differentiate PyTorch's own layer, over packed sequences, by (x, weights, biases, h0)."""
    t = torch()
    x, weight_ih, weight_hh, bias_ih, bias_hh, h0 = leaves
    rows = (lengths > 0).nonzero().flatten()
    back = t.arange(x.shape[1]).repeat(len(x), 1)
    if reverse:  # valid steps turned round
        back = t.where(back < lengths[:, None], lengths[:, None] - 1 - back, back)

    def turned(y: Any) -> Any:
        return t.gather(y, 1, back[..., None].expand(y.shape))

    net = getattr(t.nn, kind)(x.shape[2], h0.shape[1], batch_first=True).to(x.dtype)
    packed = t.nn.utils.rnn.pack_padded_sequence(turned(x)[rows], lengths[rows], batch_first=True,
                                                 enforce_sorted=False)
    y, h = t.func.functional_call(net, {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh,
                                        "bias_ih_l0": bias_ih, "bias_hh_l0": bias_hh},
                                  (packed, h0[rows][None]))
    y, _ = t.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    empty = lengths == 0  # whose state stays as it was
    total = (y * turned(g_output)[rows]).sum() + (h[0] * g_h[rows]).sum() + (
        h0[empty] * g_h[empty]).sum()
    return list(t.autograd.grad(total, leaves))


def _torch_gru_grad(g_output: Any, g_h: Any, x: Any, weight_ih: Any, weight_hh: Any, h0: Any,
                    lengths: Any, output: Any, gates: Any, inner: Any, *residuals: Any,
                    reverse: bool, needs_x: bool) -> Any:
    """Find the biases that gave the gates; PyTorch's layer, or its formula for all cotangents."""
    t = torch()
    H, found = h0.shape[1], None
    starts = [(n, int(length) - 1 if reverse else 0) for n, length in enumerate(lengths.tolist())
              if length]
    biases = [weight_hh.new_zeros(3 * H) for _ in range(2)]
    for n, time in starts[:1]:
        a, m = weight_ih @ x[n, time], weight_hh @ h0[n]
        biases[1][2 * H:] = inner[n, time] - m[2 * H:]
        biases[0][: 2 * H] = t.logit(gates[n, time, : 2 * H]) - (a + m)[: 2 * H]
        r, new = gates[n, time, :H], gates[n, time, 2 * H:]
        biases[0][2 * H:] = t.atanh(new) - r * inner[n, time] - a[2 * H:]
    leaves = [v.clone().requires_grad_() for v in (x, weight_ih, weight_hh, *biases, h0)]
    if not residuals and starts:
        found = packed_grad("GRU", leaves, lengths, reverse, g_output, g_h)
    else:
        wx, wi, wh, bi, bh, h = leaves
        hs, total = list(h), sum((v * 0).sum() for v in leaves)
        for n, length in enumerate(lengths.tolist()):
            for s in range(length):
                time = length - 1 - s if reverse else s
                a, m = wi @ wx[n, time] + bi, wh @ hs[n] + bh
                r, z = (a + m)[: 2 * H].sigmoid().chunk(2)
                new = (a[2 * H:] + r * m[2 * H:]).tanh()
                hs[n] = (1 - z) * new + z * hs[n]
                total = total + (hs[n] * g_output[n, time]).sum()
                if residuals:
                    total = total + (t.cat([r, z, new]) * residuals[0][n, time]).sum() + (
                        m[2 * H:] * residuals[1][n, time]).sum()
            total = total + (hs[n] * g_h[n]).sum()
        found = t.autograd.grad(total, leaves)
    return wanted(*found, needs_x=needs_x)


def _gru_backward(r: Draw, case: Any, residuals: bool, needs_x: bool) -> Sample:
    x, weight_ih, weight_hh, bias_ih, bias_hh, h0, lengths = _gru_inputs(r, case)
    N, T, _, H = case[:4]
    outs = [np.empty(shape) for shape in ((N, T, H), (N, H), (N, T, 3 * H), (N, T, H))]
    reference.gru(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, lengths, *outs, case[5])
    cotangents = [r.normal(*y.shape) for y in outs]
    return sample(*cotangents[:2], x, weight_ih, weight_hh, h0, lengths, outs[0], *outs[2:],
                  *(cotangents[2:] if residuals else []), reverse=case[5], needs_x=needs_x)


def _simple_grad_terms(*arrays: np.ndarray, **_: Any) -> tuple[int, Any]:
    g_output, g_h, x, weight_ih, weight_hh, h0, lengths, output, *more = arrays
    inner = more[1] if more else output
    cotangents = (g_output, g_h, h0 * 0, *[np.zeros(0)] * 9, *more[2:])
    return _grad_terms(*cotangents[:3], x, weight_ih, weight_hh, h0, h0, lengths, output, output,
                       inner, *cotangents[12:])


row("gru_grad", lambda r: [_gru_backward(r, case, *given) for case, given in
                           zip(GRU_CASES, GIVEN[::-1], strict=False)],
    large=lambda r: _gru_backward(r, (21, 9, 33, 34, r.integers(0, 10, 21), False), True, True),
    terms=_simple_grad_terms, oracles={"torch": _torch_gru_grad},
    exempt={"cost": "the record counts padded steps, the work follows the lengths"},
    bad=[bad(ShapeError, "what gru gave", r0(2, 5, 4), r0(3, 4), r0(2, 5, 3), r0(12, 3),
             r0(12, 4), r0(2, 4), np.array([5, 2]), r0(2, 5, 4), r0(2, 5, 12), r0(2, 5, 4),
             reverse=False, needs_x=True)])


def _rnn_inputs(r: Draw, case: Any) -> Arrays:
    *floats, lengths = layer(r, *case[:5], gates=1, states=1)
    return *[x / 2 for x in floats], lengths


def _rnn_terms(x: np.ndarray, weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray,
               h0: np.ndarray, lengths: np.ndarray, reverse: bool,
               activation: str) -> tuple[int, Any]:
    """Bound the error: with relu the state, and its error, grow by the weight in every step."""
    k, magnitude = _terms(x, weight_ih, weight_hh, bias, h0, h0, lengths, reverse, activation)
    return k, magnitude * (1 + np.abs(weight_hh).sum(1).max(initial=0)) ** x.shape[1]


row("rnn", lambda r: [sample(*_rnn_inputs(r, case), reverse=case[5], activation=case[6])
                      for case in CASES],
    large=lambda r: sample(*_rnn_inputs(r, (21, 9, 33, 64, r.integers(0, 10, 21))), reverse=True,
                           activation="tanh"),
    terms=_rnn_terms, oracles={"torch": stepped("rnn")},
    exempt={"cost": "the record counts padded steps, the work follows the lengths"},
    bad=[bad(DataError, r"lengths from 0 to 5.*got -2 at lengths\[0\]", r0(2, 5, 3), r0(4, 3),
             r0(4, 4), r0(4), r0(2, 4), np.array([-2, 3]), reverse=False, activation="tanh"),
         bad(ShapeError, r"h0 of shape \(2, 4\), got \(1, 4\)", r0(2, 5, 3), r0(4, 3), r0(4, 4),
             r0(4), r0(1, 4), np.array([5, 2]), reverse=False, activation="tanh"),
         bad(ParameterError, "one of tanh, relu, got 'elu'", r0(2, 5, 3), r0(4, 3), r0(4, 4),
             r0(4), r0(2, 4), np.array([5, 2]), reverse=False, activation="elu")])


def _torch_rnn_grad(g_output: Any, g_h: Any, x: Any, weight_ih: Any, weight_hh: Any, h0: Any,
                    lengths: Any, output: Any, reverse: bool, activation: str,
                    needs_x: bool) -> Any:
    """Find the bias that gave the outputs, for PyTorch's layer; its formula where act is relu."""
    t = torch()
    bias = weight_hh.new_zeros(h0.shape[1])
    starts = [(n, int(length) - 1 if reverse else 0) for n, length in enumerate(lengths.tolist())
              if length]
    if activation == "tanh":
        for n, time in starts[:1]:
            bias = t.atanh(output[n, time]) - weight_ih @ x[n, time] - weight_hh @ h0[n]
    leaves = [v.clone().requires_grad_() for v in (x, weight_ih, weight_hh, bias, 0 * bias, h0)]
    if activation == "tanh" and starts:
        found = packed_grad("RNN", leaves, lengths, reverse, g_output, g_h)
    else:
        wx, wi, wh, b, _, h = leaves
        hs, total = list(h), sum((v * 0).sum() for v in leaves)
        for n, length in enumerate(lengths.tolist()):
            for s in range(length):
                time = length - 1 - s if reverse else s
                hs[n] = at(output[n, time], wi @ wx[n, time] + wh @ hs[n] + b).relu()
                total = total + (hs[n] * g_output[n, time]).sum()
            total = total + (hs[n] * g_h[n]).sum()
        found = t.autograd.grad(total, leaves)
    return wanted(*found[:4], found[5], needs_x=needs_x)


def _rnn_backward(r: Draw, case: Any, needs_x: bool) -> Sample:
    x, weight_ih, weight_hh, bias, h0, lengths = _rnn_inputs(r, case)
    output, h = np.empty((*x.shape[:2], h0.shape[1])), np.empty(h0.shape)
    reference.rnn(x, weight_ih, weight_hh, bias, h0, lengths, output, h, case[5],
                  case[6] == "relu")
    return sample(r.normal(*output.shape), r.normal(*h.shape), x, weight_ih, weight_hh, h0,
                  lengths, output, reverse=case[5], activation=case[6], needs_x=needs_x)


row("rnn_grad", lambda r: [_rnn_backward(r, case, needs_x)
                           for case, (_, needs_x) in zip(CASES, GIVEN, strict=False)],
    large=lambda r: _rnn_backward(r, (21, 9, 33, 64, r.integers(0, 10, 21), False, "tanh"), True),
    terms=_simple_grad_terms, oracles={"torch": _torch_rnn_grad},
    exempt={"cost": "the record counts padded steps, the work follows the lengths"},
    bad=[bad(ShapeError, "what rnn gave", r0(2, 5, 4), r0(3, 4), r0(2, 5, 3), r0(4, 3), r0(4, 4),
             r0(2, 4), np.array([5, 2]), r0(2, 5, 4), reverse=False, activation="tanh",
             needs_x=True)])
