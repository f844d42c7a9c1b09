"""Convolution and its gradients as loops; equations in reference.py.

Order: every entry of out once, its sum over kernel positions (pixels, for the weight) and channels
in rising order. The fused kernels have a full resolution here: what they save is a matter of
blocking. Bytes: each input once per entry of out that it joins.
Source: see reference.py.
"""

import numpy as np
from numba import njit

from ..elementwise import loops as elementwise

__all__ = ["conv", "conv_activation", "conv_grad_input", "conv_grad_weight", "conv_pool",
           "conv_pool_grad_bias", "conv_pool_grad_input", "conv_pool_grad_weight"]

kernel = njit(nogil=True, cache=True)


@kernel
def convolve(x, weight, out, stride, padding, dilation, groups):
    N, D, H, W, _ = x.shape
    F, KD, KH, KW, c_group = weight.shape
    for n in range(N):
        for od in range(out.shape[1]):
            for oh in range(out.shape[2]):
                for ow in range(out.shape[3]):
                    for f in range(F):
                        first = f // (F // groups) * c_group
                        total = 0.0
                        for kd in range(KD):
                            d = od * stride[0] - padding[0] + kd * dilation[0]
                            for kh in range(KH):
                                h = oh * stride[1] - padding[1] + kh * dilation[1]
                                for kw in range(KW):
                                    w = ow * stride[2] - padding[2] + kw * dilation[2]
                                    if 0 <= d < D and 0 <= h < H and 0 <= w < W:
                                        for c in range(c_group):
                                            total += (x[n, d, h, w, first + c]
                                                      * weight[f, kd, kh, kw, c])
                        out[n, od, oh, ow, f] = total


@kernel
def add_bias(bias, out):
    for n in range(out.shape[0]):
        for d in range(out.shape[1]):
            for h in range(out.shape[2]):
                for w in range(out.shape[3]):
                    for f in range(out.shape[4]):
                        out[n, d, h, w, f] += bias[f]


def conv(x, weight, bias, out, stride, padding, dilation, groups):
    convolve(x, weight, out, stride, padding, dilation, groups)
    if bias is not None:
        add_bias(bias, out)


@kernel
def conv_grad_input(g, weight, out, stride, padding, dilation, groups):
    N, D, H, W, C = out.shape
    F, KD, KH, KW, c_group = weight.shape
    f_group = F // groups
    for n in range(N):
        for d in range(D):
            for h in range(H):
                for w in range(W):
                    for c in range(C):
                        first = c // c_group * f_group
                        total = 0.0
                        for kd in range(KD):
                            od, rd = divmod(d + padding[0] - kd * dilation[0], stride[0])
                            for kh in range(KH):
                                oh, rh = divmod(h + padding[1] - kh * dilation[1], stride[1])
                                for kw in range(KW):
                                    ow, rw = divmod(w + padding[2] - kw * dilation[2], stride[2])
                                    if (rd == 0 and rh == 0 and rw == 0 and 0 <= od < g.shape[1]
                                            and 0 <= oh < g.shape[2] and 0 <= ow < g.shape[3]):
                                        for f in range(f_group):
                                            total += (g[n, od, oh, ow, first + f]
                                                      * weight[first + f, kd, kh, kw, c % c_group])
                        out[n, d, h, w, c] = total


@kernel
def conv_grad_weight(x, g, out, stride, padding, dilation, groups):
    N, D, H, W, _ = x.shape
    F, KD, KH, KW, c_group = out.shape
    for f in range(F):
        first = f // (F // groups) * c_group
        for kd in range(KD):
            for kh in range(KH):
                for kw in range(KW):
                    for c in range(c_group):
                        total = 0.0
                        for n in range(N):
                            for od in range(g.shape[1]):
                                d = od * stride[0] - padding[0] + kd * dilation[0]
                                for oh in range(g.shape[2]):
                                    h = oh * stride[1] - padding[1] + kh * dilation[1]
                                    for ow in range(g.shape[3]):
                                        w = ow * stride[2] - padding[2] + kw * dilation[2]
                                        if 0 <= d < D and 0 <= h < H and 0 <= w < W:
                                            total += (x[n, d, h, w, first + c]
                                                      * g[n, od, oh, ow, f])
                        out[f, kd, kh, kw, c] = total


def conv_activation(x, weight, bias, out, stride, padding, dilation, groups, activation,
                    parameters):
    conv(x, weight, bias, out, stride, padding, dilation, groups)
    if activation:
        getattr(elementwise, activation)(out, out, *parameters)


@kernel
def max_of_windows(full, out, index, pool):
    N, OD, OH, OW, F = out.shape
    for n in range(N):
        for a in range(OD):
            for b in range(OH):
                for o in range(OW):
                    for f in range(F):
                        best = full[n, a * pool[0], b * pool[1], o * pool[2], f]
                        first, place = 0, 0
                        for i in range(pool[0]):
                            for j in range(pool[1]):
                                for k in range(pool[2]):
                                    v = full[n, a * pool[0] + i, b * pool[1] + j,
                                             o * pool[2] + k, f]
                                    if v > best or (v != v and best == best):
                                        best, first = v, place
                                    place += 1
                        out[n, a, b, o, f], index[n, a, b, o, f] = best, first


def conv_pool(x, weight, bias, out, index, stride, padding, dilation, groups, activation,
              parameters, pool, sizes):
    full = np.empty((len(out), *sizes, out.shape[4]), out.dtype)
    conv_activation(x, weight, bias, full, stride, padding, dilation, groups, activation,
                    parameters)
    max_of_windows(full, out, index, pool)


@kernel
def put_at_places(g, index, pool, full):
    N, OD, OH, OW, F = g.shape
    for n in range(N):
        for a in range(OD):
            for b in range(OH):
                for o in range(OW):
                    for f in range(F):
                        place = index[n, a, b, o, f]
                        i, j = place // (pool[1] * pool[2]), place // pool[2] % pool[1]
                        if i < pool[0]:
                            full[n, a * pool[0] + i, b * pool[1] + j, o * pool[2] + place % pool[2],
                                 f] = g[n, a, b, o, f]


def expanded(g, index, pool, sizes):
    full = np.zeros((len(g), *sizes, g.shape[4]), g.dtype)
    put_at_places(g, index, pool, full)
    return full


def conv_pool_grad_input(g, index, weight, out, stride, padding, dilation, groups, pool, sizes):
    conv_grad_input(expanded(g, index, pool, sizes), weight, out, stride, padding, dilation, groups)


def conv_pool_grad_weight(x, g, index, out, stride, padding, dilation, groups, pool, sizes):
    conv_grad_weight(x, expanded(g, index, pool, sizes), out, stride, padding, dilation, groups)


@kernel
def sum_of_places(g, index, places, out):
    for f in range(g.shape[4]):
        total = 0.0
        for n in range(g.shape[0]):
            for a in range(g.shape[1]):
                for b in range(g.shape[2]):
                    for o in range(g.shape[3]):
                        if index[n, a, b, o, f] < places:
                            total += g[n, a, b, o, f]
        out[f] = total


def conv_pool_grad_bias(g, index, out, pool, sizes):
    sum_of_places(g, index, pool[0] * pool[1] * pool[2], out)
