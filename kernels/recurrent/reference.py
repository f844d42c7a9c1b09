"""Recurrent layers over whole sequences, one direction of one layer: the definition.

Weights hold the gates one after the other, H rows each: i, f, g, o of lstm, r, z, n of gru. With
s = 0, 1, ... the steps of a sequence of `length` steps (forwards its times 0, 1, ...; in reverse
length - 1, length - 2, ...), and act = tanh or relu:

  rnn   h_s = act(W_ih x_s + W_hh h_(s-1) + b)
  gru   a = W_ih x_s + b_ih,   m = W_hh h_(s-1) + b_hh,   r, z = sigmoid(a + m),
        n = tanh(a_n + r m_n),   h_s = (1 - z) n + z h_(s-1);   `inner` is m_n
  lstm  a = W_ih x_s + W_hh h_(s-1) + b,   i, f, o = sigmoid(a_i, a_f, a_o),   g = act(a_g),
        c_s = f c_(s-1) + i g,   h_s = o act(c_s)

Padding (times from `length` on) is never read, its results are 0. `h`, `c` are the state after the
last step, the initial one where there is none. The gradients (`gates`, `cells`, `inner` have
cotangents like any output; None stands for zeros) go from the last step to the first, with d_h and
d_c starting at g_h and g_c, and add g_output to d_h first:

  rnn   da = d_h act'(h),   d_h <- W_hh^T da
  gru   da_n = (d_h (1 - z) + g_n) (1 - n^2),   dm_n = da_n r + g_inner,
        da_r = dm_r = (da_n m_n + g_r) r (1 - r),
        da_z = dm_z = (d_h (h_(s-1) - n) + g_z) z (1 - z),   d_h <- d_h z + W_hh^T dm
  lstm  d_c += d_h o act'(c) + g_cells,
        da_o = (d_h act(c) + g_o) o (1 - o),   da_g = (d_c i + g_g) act'(a_g),
        da_i = (d_c g + g_i) i (1 - i),        da_f = (d_c c_(s-1) + g_f) f (1 - f),
        d_c <- d_c f,   d_h <- W_hh^T da
  all   g_x = W_ih^T da,   g_weight_ih = sum da x^T,   g_weight_hh = sum dm h_(s-1)^T,
        g_bias = sum da or dm;   dm is da where nothing else is said.
        Where nobody asks for g_x it comes without columns, (N, T, 0)

Bytes: inputs and outputs once, the recurrent weight once a step (from cache where it fits).

Source: Hochreiter & Schmidhuber, "Long short-term memory" (1997); Gers, Schmidhuber, Cummins,
"Learning to forget" (2000); Elman, "Finding structure in time" (1990); Cho et al., "Learning phrase
representations" (2014), with the reset after the product as in cuDNN and PyTorch.
"""

import numpy as np

__all__ = ["gru", "gru_grad", "lstm", "lstm_grad", "rnn", "rnn_grad"]


def _activate(x, relu):
    return np.where(x.real <= 0, 0, x) if relu else np.tanh(x)


def _slope(y, relu):
    """The derivative of act, by its result."""
    return np.where(y.real > 0, 1, 0) if relu else 1 - y * y


@np.errstate(over="ignore")
def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _times(lengths, T, s, reverse):
    """Return the sequences that have a step s, and its time in each."""
    lengths = np.minimum(lengths, T)
    rows = np.flatnonzero(lengths > s)
    return rows, lengths[rows] - 1 - s if reverse else np.full(rows.size, s)


def lstm(x, weight_ih, weight_hh, bias, h0, c0, lengths, output, h, c, gates, cells, reverse,
         relu):
    for out in (output, gates, cells):
        out[...] = 0
    h[...], c[...] = h0, c0
    for s in range(x.shape[1]):
        n, t = _times(lengths, x.shape[1], s, reverse)
        a = x[n, t] @ weight_ih.T + h[n] @ weight_hh.T + bias
        i, f, g, o = np.split(a, 4, axis=1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), _activate(g, relu), _sigmoid(o)
        c[n] = f * c[n] + i * g
        h[n] = o * _activate(c[n], relu)
        output[n, t], cells[n, t] = h[n], c[n]
        gates[n, t] = np.concatenate((i, f, g, o), axis=1)


def lstm_grad(g_output, g_h, g_c, g_gates, g_cells, x, weight_ih, weight_hh, h0, c0, lengths,
              output, gates, cells, g_x, g_weight_ih, g_weight_hh, g_bias, g_h0, g_c0, reverse,
              relu):
    for out in (g_x, g_weight_ih, g_weight_hh, g_bias):
        out[...] = 0
    g_h0[...], g_c0[...] = g_h, g_c
    for s in reversed(range(x.shape[1])):
        n, t = _times(lengths, x.shape[1], s, reverse)
        back = t + 1 if reverse else t - 1
        h_last, c_last = (output[n, back], cells[n, back]) if s else (h0[n], c0[n])
        i, f, g, o = np.split(gates[n, t], 4, axis=1)
        y = _activate(cells[n, t], relu)
        d_h = g_h0[n] + g_output[n, t]
        d_c = g_c0[n] + d_h * o * _slope(y, relu)
        if g_cells is not None:
            d_c = d_c + g_cells[n, t]
        d = np.concatenate((d_c * g, d_c * c_last, d_c * i, d_h * y), axis=1)
        if g_gates is not None:
            d = d + g_gates[n, t]
        da = d * np.concatenate((i * (1 - i), f * (1 - f), _slope(g, relu), o * (1 - o)), axis=1)
        g_c0[n], g_h0[n] = d_c * f, da @ weight_hh
        g_x[n, t] = da @ weight_ih[:, :g_x.shape[2]]
        g_weight_ih += da.T @ x[n, t]
        g_weight_hh += da.T @ h_last
        g_bias += da.sum(axis=0)


def gru(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, lengths, output, h, gates, inner, reverse):
    for out in (output, gates, inner):
        out[...] = 0
    h[...] = h0
    for s in range(x.shape[1]):
        n, t = _times(lengths, x.shape[1], s, reverse)
        a_r, a_z, a_n = np.split(x[n, t] @ weight_ih.T + bias_ih, 3, axis=1)
        m_r, m_z, m_n = np.split(h[n] @ weight_hh.T + bias_hh, 3, axis=1)
        r, z = _sigmoid(a_r + m_r), _sigmoid(a_z + m_z)
        new = np.tanh(a_n + r * m_n)
        h[n] = (1 - z) * new + z * h[n]
        output[n, t], inner[n, t] = h[n], m_n
        gates[n, t] = np.concatenate((r, z, new), axis=1)


def gru_grad(g_output, g_h, g_gates, g_inner, x, weight_ih, weight_hh, h0, lengths, output, gates,
             inner, g_x, g_weight_ih, g_weight_hh, g_bias_ih, g_bias_hh, g_h0, reverse):
    for out in (g_x, g_weight_ih, g_weight_hh, g_bias_ih, g_bias_hh):
        out[...] = 0
    g_h0[...] = g_h
    for s in reversed(range(x.shape[1])):
        n, t = _times(lengths, x.shape[1], s, reverse)
        h_last = output[n, t + 1 if reverse else t - 1] if s else h0[n]
        r, z, new = np.split(gates[n, t], 3, axis=1)
        g_r, g_z, g_n = (0, 0, 0) if g_gates is None else np.split(g_gates[n, t], 3, axis=1)
        d_h = g_h0[n] + g_output[n, t]
        da_n = (d_h * (1 - z) + g_n) * (1 - new * new)
        dm_n = da_n * r if g_inner is None else da_n * r + g_inner[n, t]
        da_r = (da_n * inner[n, t] + g_r) * r * (1 - r)
        da_z = (d_h * (h_last - new) + g_z) * z * (1 - z)
        da, dm = (np.concatenate((da_r, da_z, last), axis=1) for last in (da_n, dm_n))
        g_h0[n] = d_h * z + dm @ weight_hh
        g_x[n, t] = da @ weight_ih[:, :g_x.shape[2]]
        g_weight_ih += da.T @ x[n, t]
        g_weight_hh += dm.T @ h_last
        g_bias_ih += da.sum(axis=0)
        g_bias_hh += dm.sum(axis=0)


def rnn(x, weight_ih, weight_hh, bias, h0, lengths, output, h, reverse, relu):
    output[...] = 0
    h[...] = h0
    for s in range(x.shape[1]):
        n, t = _times(lengths, x.shape[1], s, reverse)
        h[n] = _activate(x[n, t] @ weight_ih.T + h[n] @ weight_hh.T + bias, relu)
        output[n, t] = h[n]


def rnn_grad(g_output, g_h, x, weight_ih, weight_hh, h0, lengths, output, g_x, g_weight_ih,
             g_weight_hh, g_bias, g_h0, reverse, relu):
    for out in (g_x, g_weight_ih, g_weight_hh, g_bias):
        out[...] = 0
    g_h0[...] = g_h
    for s in reversed(range(x.shape[1])):
        n, t = _times(lengths, x.shape[1], s, reverse)
        h_last = output[n, t + 1 if reverse else t - 1] if s else h0[n]
        da = (g_h0[n] + g_output[n, t]) * _slope(output[n, t], relu)
        g_h0[n] = da @ weight_hh
        g_x[n, t] = da @ weight_ih[:, :g_x.shape[2]]
        g_weight_ih += da.T @ x[n, t]
        g_weight_hh += da.T @ h_last
        g_bias += da.sum(axis=0)
