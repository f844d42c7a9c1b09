"""Recurrent layers as loops; equations in reference.py.

Order: sequence after sequence, step after step; a step goes over the units, and a unit's gates
over the inputs, so that a row of a weight is read contiguously. What ends a sequence is its own
length: nothing is computed for padding. Sums are carried in float64 whatever the dtype.
Bytes: both weights once a step; inputs and outputs once. Source: see reference.py.
"""

import math

import numpy as np
from numba import njit

__all__ = ["gru", "gru_grad", "lstm", "lstm_grad", "rnn", "rnn_grad"]

kernel = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def _sigmoid(x):
    e = math.exp(-abs(x))
    return (e if x < 0 else 1.0) / (1.0 + e)


@kernel
def _activate(x, relu):
    if relu:
        return x if x > 0 or x != x else 0.0
    return math.tanh(x)


@kernel
def _slope(y, relu):
    if relu:
        return 1.0 if y > 0 else 0.0
    return 1.0 - y * y


@kernel
def _dot(a, b):
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@kernel
def lstm(x, weight_ih, weight_hh, bias, h0, c0, lengths, output, h, c, gates, cells, reverse,
         relu):
    N, T, _ = x.shape
    H = h0.shape[1]
    for n in range(N):
        length = min(max(lengths[n], 0), T)
        output[n, length:] = 0
        cells[n, length:] = 0
        gates[n, length:] = 0
        h[n], c[n] = h0[n], c0[n]
        for s in range(length):
            t = length - 1 - s if reverse else s
            a = gates[n, t]
            for j in range(4 * H):
                z = bias[j] + _dot(x[n, t], weight_ih[j]) + _dot(h[n], weight_hh[j])
                a[j] = _activate(z, relu) if 2 * H <= j < 3 * H else _sigmoid(z)
            for j in range(H):
                c[n, j] = a[H + j] * c[n, j] + a[j] * a[2 * H + j]
                h[n, j] = a[3 * H + j] * _activate(c[n, j], relu)
            output[n, t], cells[n, t] = h[n], c[n]


@kernel
def lstm_grad(g_output, g_h, g_c, g_gates, g_cells, x, weight_ih, weight_hh, h0, c0, lengths,
              output, gates, cells, g_x, g_weight_ih, g_weight_hh, g_bias, g_h0, g_c0, reverse,
              relu):
    N, T, D = x.shape
    H = h0.shape[1]
    w_ih, w_hh, b = np.zeros((4 * H, D)), np.zeros((4 * H, H)), np.zeros(4 * H)
    d = np.empty(4 * H)
    for n in range(N):
        length = min(max(lengths[n], 0), T)
        g_x[n, length:] = 0
        g_h0[n], g_c0[n] = g_h[n], g_c[n]
        for s in range(length - 1, -1, -1):
            t = length - 1 - s if reverse else s
            back = t + 1 if reverse else t - 1
            h_last = output[n, back] if s else h0[n]
            c_last = cells[n, back] if s else c0[n]
            a = gates[n, t]
            for j in range(H):
                i, f, g, o = a[j], a[H + j], a[2 * H + j], a[3 * H + j]
                y = _activate(cells[n, t, j], relu)
                d_h = g_h0[n, j] + g_output[n, t, j]
                d_c = g_c0[n, j] + d_h * o * _slope(y, relu)
                if g_cells is not None:
                    d_c += g_cells[n, t, j]
                d[j], d[H + j] = d_c * g, d_c * c_last[j]
                d[2 * H + j], d[3 * H + j] = d_c * i, d_h * y
                if g_gates is not None:
                    for k in range(j, 4 * H, H):
                        d[k] += g_gates[n, t, k]
                d[j] *= i * (1 - i)
                d[H + j] *= f * (1 - f)
                d[2 * H + j] *= _slope(g, relu)
                d[3 * H + j] *= o * (1 - o)
                g_c0[n, j] = d_c * f
            for j in range(H):
                g_h0[n, j] = _dot(d, weight_hh[:, j])
            for j in range(g_x.shape[2]):
                g_x[n, t, j] = _dot(d, weight_ih[:, j])
            for j in range(4 * H):
                b[j] += d[j]
                for k in range(D):
                    w_ih[j, k] += d[j] * x[n, t, k]
                for k in range(H):
                    w_hh[j, k] += d[j] * h_last[k]
    g_weight_ih[...] = w_ih
    g_weight_hh[...] = w_hh
    g_bias[...] = b


@kernel
def gru(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, lengths, output, h, gates, inner, reverse):
    N, T, _ = x.shape
    H = h0.shape[1]
    for n in range(N):
        length = min(max(lengths[n], 0), T)
        output[n, length:] = 0
        inner[n, length:] = 0
        gates[n, length:] = 0
        h[n] = h0[n]
        for s in range(length):
            t = length - 1 - s if reverse else s
            a = gates[n, t]
            for j in range(3 * H):
                pre = bias_ih[j] + _dot(x[n, t], weight_ih[j])
                m = bias_hh[j] + _dot(h[n], weight_hh[j])
                if j < 2 * H:
                    a[j] = _sigmoid(pre + m)
                else:
                    inner[n, t, j - 2 * H] = m
                    a[j] = math.tanh(pre + a[j - 2 * H] * m)
            for j in range(H):
                h[n, j] = (1 - a[H + j]) * a[2 * H + j] + a[H + j] * h[n, j]
            output[n, t] = h[n]


@kernel
def gru_grad(g_output, g_h, g_gates, g_inner, x, weight_ih, weight_hh, h0, lengths, output, gates,
             inner, g_x, g_weight_ih, g_weight_hh, g_bias_ih, g_bias_hh, g_h0, reverse):
    N, T, D = x.shape
    H = h0.shape[1]
    w_ih, w_hh = np.zeros((3 * H, D)), np.zeros((3 * H, H))
    b_ih, b_hh = np.zeros(3 * H), np.zeros(3 * H)
    da, dm = np.empty(3 * H), np.empty(3 * H)
    for n in range(N):
        length = min(max(lengths[n], 0), T)
        g_x[n, length:] = 0
        g_h0[n] = g_h[n]
        for s in range(length - 1, -1, -1):
            t = length - 1 - s if reverse else s
            h_last = output[n, t + 1 if reverse else t - 1] if s else h0[n]
            a = gates[n, t]
            for j in range(H):
                r, z, new = a[j], a[H + j], a[2 * H + j]
                d_h = g_h0[n, j] + g_output[n, t, j]
                d_n, d_z, d_r = d_h * (1 - z), d_h * (h_last[j] - new), 0.0
                if g_gates is not None:
                    d_r += g_gates[n, t, j]
                    d_z += g_gates[n, t, H + j]
                    d_n += g_gates[n, t, 2 * H + j]
                da[2 * H + j] = d_n * (1 - new * new)
                dm[2 * H + j] = da[2 * H + j] * r
                if g_inner is not None:
                    dm[2 * H + j] += g_inner[n, t, j]
                da[j] = dm[j] = (da[2 * H + j] * inner[n, t, j] + d_r) * r * (1 - r)
                da[H + j] = dm[H + j] = d_z * z * (1 - z)
                g_h0[n, j] = d_h * z
            for j in range(H):
                g_h0[n, j] += _dot(dm, weight_hh[:, j])
            for j in range(g_x.shape[2]):
                g_x[n, t, j] = _dot(da, weight_ih[:, j])
            for j in range(3 * H):
                b_ih[j] += da[j]
                b_hh[j] += dm[j]
                for k in range(D):
                    w_ih[j, k] += da[j] * x[n, t, k]
                for k in range(H):
                    w_hh[j, k] += dm[j] * h_last[k]
    g_weight_ih[...], g_weight_hh[...] = w_ih, w_hh
    g_bias_ih[...], g_bias_hh[...] = b_ih, b_hh


@kernel
def rnn(x, weight_ih, weight_hh, bias, h0, lengths, output, h, reverse, relu):
    N, T, _ = x.shape
    for n in range(N):
        length = min(max(lengths[n], 0), T)
        output[n, length:] = 0
        h[n] = h0[n]
        for s in range(length):
            t = length - 1 - s if reverse else s
            for j in range(bias.size):
                z = bias[j] + _dot(x[n, t], weight_ih[j]) + _dot(h[n], weight_hh[j])
                output[n, t, j] = _activate(z, relu)
            h[n] = output[n, t]


@kernel
def rnn_grad(g_output, g_h, x, weight_ih, weight_hh, h0, lengths, output, g_x, g_weight_ih,
             g_weight_hh, g_bias, g_h0, reverse, relu):
    N, T, D = x.shape
    H = h0.shape[1]
    w_ih, w_hh, b, d = np.zeros((H, D)), np.zeros((H, H)), np.zeros(H), np.empty(H)
    for n in range(N):
        length = min(max(lengths[n], 0), T)
        g_x[n, length:] = 0
        g_h0[n] = g_h[n]
        for s in range(length - 1, -1, -1):
            t = length - 1 - s if reverse else s
            h_last = output[n, t + 1 if reverse else t - 1] if s else h0[n]
            for j in range(H):
                d[j] = (g_h0[n, j] + g_output[n, t, j]) * _slope(output[n, t, j], relu)
            for j in range(H):
                g_h0[n, j] = _dot(d, weight_hh[:, j])
            for j in range(g_x.shape[2]):
                g_x[n, t, j] = _dot(d, weight_ih[:, j])
            for j in range(H):
                b[j] += d[j]
                for k in range(D):
                    w_ih[j, k] += d[j] * x[n, t, k]
                for k in range(H):
                    w_hh[j, k] += d[j] * h_last[k]
    g_weight_ih[...], g_weight_hh[...], g_bias[...] = w_ih, w_hh, b
