"""Convolution over 1 to 3 spatial axes, and its two gradients: each the others' gradient rule.

Channels last: x (N, *S, C), weight (F, *K, C / groups), y (N, *O, F). The three ops are the three
partial maps of one trilinear form, <conv(x, w), g> = <x, conv_grad_input(g, w)>
= <w, conv_grad_weight(x, g)>, so gradients of any order stay among them. The kernels see three
spatial axes, the first ones of size 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError, say
from ..op import Op, apply, define
from ..tensor import Tensor
from .linalg import same_float
from .shape import SUM_TO, reshape

__all__ = ["CONV", "CONV_GRAD_INPUT", "CONV_GRAD_WEIGHT"]

Shape = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def output_sizes(sizes: Shape, kernel: Shape, stride: Shape, padding: Pairs,
                 dilation: Shape) -> Shape:
    """Return the sizes of the output; below 1 where the kernel does not fit."""
    return tuple([(s + low + high - d * (k - 1) - 1) // t + 1 for s, k, t, (low, high), d
                  in zip(sizes, kernel, stride, padding, dilation, strict=True)])


def checked(x: Shape, weight: Shape, stride: Shape, padding: Pairs, dilation: Shape,
            groups: int) -> Shape:
    """Raise unless x and weight fit the geometry; return the shape of y."""
    axes = len(stride)
    where, letters = f"conv{axes}d", "DHW"[3 - axes:]
    shapes = {"x": (x, ", ".join(f"N{letters}C")),
              "weight": (weight, ", ".join(["F", *(f"K{s}" for s in letters), "C/groups"]))}
    if len(x) != axes + 2:
        raise ShapeError(say(
            where, f"x with {axes + 2} axes ({shapes['x'][1]}), channels last",
            f"{len(x)} axes {x}",
            f"Use conv{len(x) - 2}d" if 3 <= len(x) <= 5 else "Add an axis for the batch of one"))
    if len(weight) != axes + 2 or 0 in weight:
        raise ShapeError(say(where, f"a weight ({shapes['weight'][1]}) without an empty axis",
                             str(weight), "The output channels come first", shapes))
    for name, values, least in (("stride", stride, 1), ("dilation", dilation, 1),
                                ("groups", (groups,), 1)):
        if min(values) < least:
            raise ParameterError(say(where, f"{name} of at least {least}", repr(values),
                                     f"{name}=1 is the usual choice", shapes))
    channels, features = x[-1], weight[0]
    if channels % groups or features % groups:
        raise ShapeError(say(where, f"channels and features that {groups} groups divide",
                             f"{channels} and {features}",
                             "Choose groups among their common divisors", shapes))
    if channels != groups * weight[-1]:
        raise ShapeError(say(
            where, f"{groups * weight[-1]} input channels, the last axis of x", str(channels),
            "Channels come last: move them with x.permute_dims" if groups * weight[-1] in x[1:-1]
            else f"Use Conv{axes}d({channels}, {features}, ...), or Conv{axes}d(None, ...) to "
            "infer it", shapes))
    out = output_sizes(x[1:-1], weight[1:-1], stride, padding, dilation)
    if min(out) < 1 or 0 in x[1:-1]:
        padded = tuple(s + sum(p) for s, p in zip(x[1:-1], padding, strict=True))
        extent = tuple(d * (k - 1) + 1 for d, k in zip(dilation, weight[1:-1], strict=True))
        raise ShapeError(say(where, f"a padded input of at least the kernel's extent {extent}",
                             str(padded), "Pad more, or use a smaller kernel or dilation", shapes))
    return x[0], *out, features


def products(x: Shape, weight: Shape, out: Shape, stride: Shape, padding: Pairs,
             dilation: Shape) -> int:
    """Count multiply-adds; padding has none."""
    pixels = x[0]
    for s, k, o, t, (low, _), d in zip(x[1:-1], weight[1:-1], out[1:-1], stride, padding, dilation,
                                       strict=True):
        pixels *= sum(max(0, min(o, (s - 1 + low - i * d) // t + 1) - max(0, -((i * d - low) // t)))
                      for i in range(k))
    return pixels * weight[0] * weight[-1]


def wide(arrays: list[np.ndarray], params: dict[str, Any]) -> list[Any]:
    """Return arrays (a, *S, b) with three axes in the middle, and the kernels' geometry."""
    missing = 3 - len(params["stride"])
    ones, zeros = (1,) * missing, (0,) * missing
    if missing:
        arrays = [a if a.ndim == 1 else a.reshape(a.shape[0], *ones, *a.shape[1:]) for a in arrays]
    return [*arrays, ones + params["stride"], zeros + tuple([p[0] for p in params["padding"]]),
            ones + params["dilation"], params["groups"]]


def _prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
             params: dict[str, Any]) -> list[Any]:
    return wide([*arrays, *outs], params)


# ---- y = conv(x, weight) + bias ---------------------------------------------------------------


def conv_infer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, stride: Shape,
               padding: Pairs, dilation: Shape, groups: int) -> tuple[Shape, Any]:
    same_float(f"conv{len(stride)}d", "x weight bias", x, weight, bias)
    shape = checked(x.shape, weight.shape, stride, padding, dilation, groups)
    if bias.shape != weight.shape[:1]:
        raise ShapeError(say(f"conv{len(stride)}d", f"a bias of shape {weight.shape[:1]}",
                             str(bias.shape), "One entry per output channel",
                             {"x": x.shape, "weight": weight.shape}))
    return shape, x.dtype


def _conv_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    out = outs[0][0]
    flops = 2 * products(arrays[0].shape, arrays[1].shape, out, params["stride"],
                         params["padding"], params["dilation"])
    return flops, math.prod(out)


def no_bias(weight: Tensor) -> Tensor:
    """Return zeros, one per output channel."""
    return Tensor(np.zeros(weight.data.shape[0], weight.data.dtype))


def without_bias(x: Tensor, weight: Tensor, **geometry: Any) -> Tensor:
    """Return the convolution of x with weight."""
    return apply(CONV, x, weight, no_bias(weight), **geometry)


def bias_gradient(g: Tensor) -> Tensor:
    """Return the sum over all places."""
    return apply(SUM_TO, reshape(g, (-1, g.data.shape[-1])) if g.data.size else g,
                 shape=g.data.shape[-1:])


CONV: Op = define(
    "conv", infer=conv_infer, kernel="conv", prepare=_prepare, work=_conv_work,
    vjp={"x": lambda g, weight, x_shape, stride, padding, dilation, groups: apply(
            CONV_GRAD_INPUT, g, weight, sizes=x_shape[1:-1], stride=stride, padding=padding,
            dilation=dilation, groups=groups),
         "weight": lambda g, x, weight_shape, stride, padding, dilation, groups: apply(
            CONV_GRAD_WEIGHT, x, g, kernel=weight_shape[1:-1], stride=stride, padding=padding,
            dilation=dilation, groups=groups),
         "bias": lambda g: bias_gradient(g)},
    linear=[("x", "bias"), ("weight", "bias")], analytic=True, onnx="Conv",
    doc="y = b_f + sum_kc w_fkc x_(o stride - padding + k dilation)c for each output place o")


# ---- the gradient of x, a transposed convolution ----------------------------------------------


def _input_infer(g: np.ndarray, weight: np.ndarray, *, sizes: Shape, stride: Shape,
                 padding: Pairs, dilation: Shape, groups: int) -> tuple[Shape, Any]:
    same_float("conv_grad_input", "g weight", g, weight)
    x = (*g.shape[:1], *sizes, weight.shape[-1] * groups if weight.ndim else 0)
    same_shape("conv_grad_input", "g", g.shape,
               checked(x, weight.shape, stride, padding, dilation, groups))
    return x, g.dtype


def same_shape(where: str, name: str, shape: Shape, wanted: Shape) -> None:
    if shape != wanted:
        raise ShapeError(say(where, f"{name} of shape {wanted}", str(shape),
                             "It has the shape of the convolution's output"))


CONV_GRAD_INPUT: Op = define(
    "conv_grad_input", infer=_input_infer, kernel="conv_grad_input", prepare=_prepare,
    work=lambda arrays, outs, params: (2 * products(
        outs[0][0], arrays[1].shape, arrays[0].shape, params["stride"], params["padding"],
        params["dilation"]), 0),
    vjp={"g": lambda u, weight, stride, padding, dilation, groups: without_bias(
            u, weight, stride=stride, padding=padding, dilation=dilation, groups=groups),
         "weight": lambda u, g, weight_shape, stride, padding, dilation, groups: apply(
            CONV_GRAD_WEIGHT, u, g, kernel=weight_shape[1:-1], stride=stride, padding=padding,
            dilation=dilation, groups=groups)},
    linear=[("g",), ("weight",)], analytic=True, onnx="ConvTranspose",
    doc="y = sum_of w_fkc g_of over the output places o and kernel positions k that read the entry")


# ---- the gradient of the weight ---------------------------------------------------------------


def _weight_infer(x: np.ndarray, g: np.ndarray, *, kernel: Shape, stride: Shape, padding: Pairs,
                  dilation: Shape, groups: int) -> tuple[Shape, Any]:
    same_float("conv_grad_weight", "x g", x, g)
    channels = x.shape[-1] if x.ndim else 0
    weight = (*g.shape[-1:], *kernel, max(1, channels // max(1, groups)))
    same_shape("conv_grad_weight", "g", g.shape,
               checked(x.shape, weight, stride, padding, dilation, groups))
    return weight, x.dtype


CONV_GRAD_WEIGHT: Op = define(
    "conv_grad_weight", infer=_weight_infer, kernel="conv_grad_weight", prepare=_prepare,
    work=lambda arrays, outs, params: (2 * products(
        arrays[0].shape, outs[0][0], arrays[1].shape, params["stride"], params["padding"],
        params["dilation"]), 0),
    vjp={"x": lambda u, g, x_shape, stride, padding, dilation, groups: apply(
            CONV_GRAD_INPUT, g, u, sizes=x_shape[1:-1], stride=stride, padding=padding,
            dilation=dilation, groups=groups),
         "g": lambda u, x, stride, padding, dilation, groups: without_bias(
            x, u, stride=stride, padding=padding, dilation=dilation, groups=groups)},
    linear=[("x",), ("g",)], analytic=True, onnx="none: a gradient",
    doc="y = sum_o g_of x_(o stride - padding + k dilation)c, the sum over images included")
