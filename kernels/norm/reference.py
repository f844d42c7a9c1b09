"""Normalisation: the definition, one for batch, layer, group and instance norm.

x is (outer, n, C), its channels stand in G groups of W = C / G, and what is normalised together is
a group's m = n W values:

    mean_og = 1/m sum_nw x,   var_og = 1/m sum_nw (x - mean)^2,   r = 1 / sqrt(var + eps)
    y       = (x - mean) r weight_c + bias_c

    batch norm    (1, N S, C)    G = C        instance norm  (N, S, C)    G = C
    layer norm    (N, 1, C)      G = 1        group norm     (N, S, C)    any G

Gradient, with A = sum_nw g weight and B = sum_nw g weight (x - mean):

    dx      = r weight g - r A / m - r^3 (x - mean) B / m + g_mean / m + 2 g_var (x - mean) / m
    dweight = sum_on g (x - mean) r,   dbias = sum_on g

channel_affine, y = (x - center_c) scale_c + shift_c, is normalisation with known statistics; its
gradient is dx = g scale, dscale = sum g (x - center), dshift = sum g.

Bytes: norm reads x twice and writes it once, norm_grad reads g and x twice and writes dx once
(a line of a layer norm, and what fits the cache, once); channel_affine and its gradient read their
inputs and write their results once.

Source: Ioffe, Szegedy, "Batch normalization" (2015); Ba, Kiros, Hinton, "Layer normalization"
(2016); Wu, He, "Group normalization" (2018).
"""

import numpy as np

__all__ = ["channel_affine", "channel_affine_grad", "norm", "norm_grad"]


def norm(x, weight, bias, y, mean, var, eps):
    outer, n, C = x.shape
    x = x.reshape(outer, n, mean.shape[1], C // mean.shape[1])
    weight, bias = weight.reshape(x.shape[2:]), bias.reshape(x.shape[2:])
    m = x.shape[1] * x.shape[3]
    mean[...] = x.sum(axis=(1, 3)) / m
    centred = x - mean[:, None, :, None]
    var[...] = (centred * centred).sum(axis=(1, 3)) / m
    r = 1 / np.sqrt(var + eps)
    y[...] = (centred * r[:, None, :, None] * weight + bias).reshape(y.shape)


def norm_grad(g, g_mean, g_var, x, mean, var, weight, dx, dweight, dbias, eps):
    outer, n, C = x.shape
    x = x.reshape(outer, n, mean.shape[1], C // mean.shape[1])
    g, weight = g.reshape(x.shape), weight.reshape(x.shape[2:])
    m = x.shape[1] * x.shape[3]
    r = 1 / np.sqrt(var + eps)
    centred = x - mean[:, None, :, None]
    dbias[...] = g.sum(axis=(0, 1)).reshape(C)
    dweight[...] = (g * centred * r[:, None, :, None]).sum(axis=(0, 1)).reshape(C)
    g = g * weight
    A, B = g.sum(axis=(1, 3)), (g * centred).sum(axis=(1, 3))
    constant = (g_mean - r * A) / m
    slope = (2 * g_var - r * r * r * B) / m
    dx[...] = (r[:, None, :, None] * g + slope[:, None, :, None] * centred
               + constant[:, None, :, None]).reshape(dx.shape)


def channel_affine(x, center, scale, shift, y):
    y[...] = (x - center) * scale + shift


def channel_affine_grad(g, x, center, scale, dx, dscale, dshift):
    dx[...] = g * scale
    dscale[...] = (g * (x - center)).sum(axis=0)
    dshift[...] = g.sum(axis=0)
