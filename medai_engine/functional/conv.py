"""Convolutions and transposed convolutions over 1, 2 and 3 spatial axes, channels last."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError, say
from ..op import OPS, apply
from ..ops.conv import CONV, CONV_GRAD_INPUT, no_bias
from ..ops.conv_fused import ACTIVATIONS, CONV_ACTIVATION, CONV_POOL, LARGEST_POOL
from ..ops.pool import Sliding, max_pool
from ..tensor import Tensor
from . import activations
from .common import tensor

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
           "conv_transpose3d"]


def each_axis(where: str, name: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """Return one integer per spatial axis."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) == axes and all(
            isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v >= least
            for v in values):
        return tuple([int(v) for v in values])
    wanted = f"{axes} of them" if axes > 1 else "a tuple of one"
    raise ParameterError(say(where, f"{name} as an integer of at least {least}, or {wanted}",
                             repr(value), "One number serves all spatial axes"))


def pads(where: str, padding: Any, sizes: tuple[int, ...], kernel: tuple[int, ...],
         stride: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return what padding lies before and behind each axis."""
    if padding == "valid":
        return ((0, 0),) * len(stride)
    if padding == "same":  # ceil(size / stride) outputs; an odd rest goes behind
        totals = [max(0, (-(-s // t) - 1) * t + d * (k - 1) + 1 - s)
                  for s, k, t, d in zip(sizes, kernel, stride, dilation, strict=True)]
        return tuple([(n // 2, n - n // 2) for n in totals])
    if isinstance(padding, str):
        raise ParameterError(say(where, 'padding as numbers, "same" or "valid"', repr(padding),
                                 'padding="same" keeps the size at stride 1'))
    return tuple([(p, p) for p in each_axis(where, "padding", padding, len(stride), 0)])


def activation_named(where: str, name: Any) -> tuple[str, tuple[float, ...]]:
    """Return the op of an activation with its usual parameters; those of None are none."""
    if name is None:
        return "", ()
    if not isinstance(name, str) or name not in NAMED:
        raise ParameterError(say(where, f"activation as one of {', '.join(NAMED)}", repr(name),
                                 "Apply others behind the convolution"))
    return name, NAMED[name]


# of the functions that take no further argument
NAMED: dict[str, tuple[float, ...]] = {
    **{name: () for name in activations.SOURCES}, "gelu": (), "leaky_relu": (0.01,), "elu": (1.0,)}


def conv_with(axes: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
              groups: int, activation: str = "", parameters: tuple[float, ...] = (),
              pool: tuple[int, ...] | None = None) -> Tensor:
    """Convolve, apply an activation (an op with its parameters) and take maxima of windows."""
    x, weight, where = tensor(x), tensor(weight), f"conv{axes}d"
    strides = each_axis(where, "stride", stride, axes, 1)
    dilations = each_axis(where, "dilation", dilation, axes, 1)
    sizes, kernel = x.data.shape[1:-1], weight.data.shape[1:-1]
    if len(sizes) != axes or len(kernel) != axes:  # the op says what is wrong
        sizes = kernel = (1,) * axes
    geometry = {"stride": strides, "dilation": dilations,
                "groups": each_axis(where, "groups", groups, 1, 1)[0],
                "padding": pads(where, padding, sizes, kernel, strides, dilations)}
    if bias is None and weight.data.ndim:
        bias = no_bias(weight)
    known = not activation or activation in ACTIVATIONS
    if pool is not None and known and math.prod(pool) <= LARGEST_POOL:
        return apply(CONV_POOL, x, weight, bias, activation=activation, parameters=parameters,
                     pool=pool, **geometry)[0]
    if activation and known:
        y = apply(CONV_ACTIVATION, x, weight, bias, activation=activation, parameters=parameters,
                  **geometry)
    else:
        y = apply(CONV, x, weight, bias, **geometry)
        if activation:
            y = apply(OPS[activation], y)
    return y if pool is None else max_pool(y, tuple([Sliding(p, p) for p in pool]))[0]


def _conv(axes: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
          groups: int, activation: Any, pool: Any) -> Tensor:
    where = f"conv{axes}d"
    name, parameters = activation_named(where, activation)
    return conv_with(axes, x, weight, bias, stride, padding, dilation, groups, name, parameters,
                     None if pool is None else each_axis(where, "pool", pool, axes, 1))


def conv1d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1, *, activation: str | None = None,
           pool: Any = None) -> Tensor:
    """Convolution of signals; ``conv2d`` with one spatial axis.

    Parameters
    ----------
    x : Tensor
        (N, L, C), float32 or float64.
    weight : Tensor
        (F, K, C / groups).
    bias : Tensor, optional
        (F,).
    stride, dilation, groups : int
        See ``conv2d``.
    padding : int, "same" or "valid"
        See ``conv2d``.
    activation : str, optional
        See ``conv2d``.
    pool : int, optional
        See ``conv2d``.

    Returns
    -------
    Tensor
        (N, O, F).

    Raises
    ------
    ShapeError, ParameterError
        As ``conv2d``.
    """
    return _conv(1, x, weight, bias, stride, padding, dilation, groups, activation, pool)


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1, *, activation: str | None = None,
           pool: Any = None) -> Tensor:
    """Convolution of images, ``y = bias + weight * x``: a correlation with learned filters.

    ``y[n, i, j, f] = bias[f] + sum_k,l,c weight[f, k, l, c] x[n, i s - p + k d, j s - p + l d, c]``
    with stride s, padding p (places outside x count as 0) and dilation d.

    Parameters
    ----------
    x : Tensor
        (N, H, W, C), float32 or float64.
    weight : Tensor
        (F, KH, KW, C / groups).
    bias : Tensor, optional
        (F,).
    stride : int or pair
        Steps between outputs.
    padding : int, pair, "same" or "valid"
        Zeros on both sides of each axis; "same" gives ceil(H / stride) rows, with an odd zero
        behind, "valid" none.
    dilation : int or pair
        Steps between the places that one output reads.
    groups : int
        Output channels of group i see input channels of group i only; C for depthwise.
    activation : str, optional
        Name of a function to apply, with its usual parameters: "relu", "leaky_relu", "tanh", ...
    pool : int or pair, optional
        Windows, side by side, of which only the largest entries are returned. With "relu",
        "relu6", "leaky_relu", "elu", "selu", "sigmoid", "tanh" or no activation neither the
        outputs before the pooling nor their gradient are ever in memory.

    Returns
    -------
    Tensor
        (N, OH, OW, F), OH = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1, and OH // pool
        with pooling: what does not fill a window is dropped.

    Raises
    ------
    ShapeError
        When the kernel is larger than the padded image, groups do not divide the channels, or
        the weight has other channels than x.
    ParameterError
        For a stride, dilation, pool or number of groups below 1, or an unknown activation.

    References
    ----------
    LeCun et al. 1998, Gradient-based learning applied to document recognition; Dumoulin & Visin
    2016, A guide to convolution arithmetic for deep learning.

    Examples
    --------
    >>> import medai_engine as me
    >>> from medai_engine import functional as F
    >>> F.conv2d(me.ones((1, 4, 4, 3)), me.ones((8, 3, 3, 3)), padding="same").shape
    (1, 4, 4, 8)
    """
    return _conv(2, x, weight, bias, stride, padding, dilation, groups, activation, pool)


def conv3d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1, *, activation: str | None = None,
           pool: Any = None) -> Tensor:
    """Convolution of volumes; ``conv2d`` with three spatial axes.

    Parameters
    ----------
    x : Tensor
        (N, D, H, W, C), float32 or float64.
    weight : Tensor
        (F, KD, KH, KW, C / groups).
    bias : Tensor, optional
        (F,).
    stride, dilation : int or triple
        See ``conv2d``.
    padding : int, triple, "same" or "valid"
        See ``conv2d``.
    groups : int
        See ``conv2d``.
    activation : str, optional
        See ``conv2d``.
    pool : int or triple, optional
        See ``conv2d``.

    Returns
    -------
    Tensor
        (N, OD, OH, OW, F).

    Raises
    ------
    ShapeError, ParameterError
        As ``conv2d``.
    """
    return _conv(3, x, weight, bias, stride, padding, dilation, groups, activation, pool)


def _transpose(axes: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any,
               output_padding: Any, groups: int, dilation: Any) -> Tensor:
    x, weight, where = tensor(x), tensor(weight), f"conv_transpose{axes}d"
    shapes = {"x": x.shape, "weight": (weight.shape, "in, *K, out/groups")}
    strides = each_axis(where, "stride", stride, axes, 1)
    dilations = each_axis(where, "dilation", dilation, axes, 1)
    low = each_axis(where, "padding", padding, axes, 0)
    more = each_axis(where, "output_padding", output_padding, axes, 0)
    groups = each_axis(where, "groups", groups, 1, 1)[0]
    if x.ndim != axes + 2 or weight.ndim != axes + 2:
        raise ShapeError(say(where, f"x and weight with {axes + 2} axes, channels last",
                             f"{x.ndim} and {weight.ndim}", "Add an axis for a batch of one",
                             shapes))
    if x.shape[-1] != weight.shape[0]:
        raise ShapeError(say(where, f"{weight.shape[0]} input channels", str(x.shape[-1]),
                             f"Use ConvTranspose{axes}d({x.shape[-1]}, ...), or "
                             f"ConvTranspose{axes}d(None, ...) to infer it", shapes))
    if any(m >= max(s, d) for m, s, d in zip(more, strides, dilations, strict=True)):
        raise ParameterError(say(where, "output_padding below the stride or the dilation",
                                 repr(output_padding), "It only settles which of the input sizes "
                                 "that the stride rounds to one is meant", shapes))
    sizes = tuple([(i - 1) * s - 2 * p + d * (k - 1) + m + 1 for i, s, p, d, k, m in zip(
        x.shape[1:-1], strides, low, dilations, weight.shape[1:-1], more, strict=True)])
    if min(sizes) < 1:
        raise ShapeError(say(where, "an output of at least one entry along each axis", str(sizes),
                             "Use a smaller padding", shapes))
    y = apply(CONV_GRAD_INPUT, x, weight, sizes=sizes, stride=strides, dilation=dilations,
              padding=tuple([(p, p - m) for p, m in zip(low, more, strict=True)]), groups=groups)
    if bias is None:
        return y
    bias = tensor(bias)
    if bias.shape != y.shape[-1:]:
        raise ShapeError(say(where, f"a bias of shape {y.shape[-1:]}", str(bias.shape),
                             "One entry per output channel", shapes))
    return y + bias


def conv_transpose1d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Tensor:
    """Transposed convolution of signals; ``conv_transpose2d`` with one spatial axis.

    Parameters
    ----------
    x : Tensor
        (N, L, in), float32 or float64.
    weight : Tensor
        (in, K, out / groups).
    bias : Tensor, optional
        (out,).
    stride, padding, output_padding, groups, dilation : int
        See ``conv_transpose2d``.

    Returns
    -------
    Tensor
        (N, O, out).

    Raises
    ------
    ShapeError, ParameterError
        As ``conv_transpose2d``.
    """
    return _transpose(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Tensor:
    """Transposed convolution of images: the adjoint of ``conv2d`` with the same weight.

    ``y[n, i s - p + k d, j s - p + l d, f] += weight[c, k, l, f] x[n, i, j, c]``, plus the bias.

    Parameters
    ----------
    x : Tensor
        (N, H, W, in), float32 or float64.
    weight : Tensor
        (in, KH, KW, out / groups): PyTorch's order with the channels moved last, and the weight
        of the convolution from out to in channels whose adjoint this is.
    bias : Tensor, optional
        (out,).
    stride : int or pair
        Steps between the places that neighbouring inputs write to.
    padding : int or pair
        What is cut off on both sides of each axis.
    output_padding : int or pair
        Rows and columns added behind; below the stride or the dilation.
    groups : int
        Input channels of group i write to output channels of group i only.
    dilation : int or pair
        Steps between the places that one input writes to.

    Returns
    -------
    Tensor
        (N, OH, OW, out), OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1.

    Raises
    ------
    ShapeError
        When the weight has other input channels than x, or nothing would be left.
    ParameterError
        For an output_padding that is too large, or a stride, dilation or groups below 1.

    References
    ----------
    Zeiler et al. 2010, Deconvolutional networks; Dumoulin & Visin 2016, A guide to convolution
    arithmetic for deep learning.

    Examples
    --------
    >>> import medai_engine as me
    >>> from medai_engine import functional as F
    >>> F.conv_transpose2d(me.ones((1, 7, 7, 4)), me.ones((4, 5, 5, 2)), stride=2, padding=2,
    ...                    output_padding=1).shape
    (1, 14, 14, 2)
    """
    return _transpose(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Tensor:
    """Transposed convolution of volumes; ``conv_transpose2d`` with three spatial axes.

    Parameters
    ----------
    x : Tensor
        (N, D, H, W, in), float32 or float64.
    weight : Tensor
        (in, KD, KH, KW, out / groups).
    bias : Tensor, optional
        (out,).
    stride, padding, output_padding, dilation : int or triple
        See ``conv_transpose2d``.
    groups : int
        See ``conv_transpose2d``.

    Returns
    -------
    Tensor
        (N, OD, OH, OW, out).

    Raises
    ------
    ShapeError, ParameterError
        As ``conv_transpose2d``.
    """
    return _transpose(3, x, weight, bias, stride, padding, output_padding, groups, dilation)
