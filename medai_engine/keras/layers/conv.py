"""Convolutions, with channels last and kernels in Keras's layout outside."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import functional as F
from ...errors import ParameterError, say
from ...nn import Parameter
from ...op import apply
from ...ops.conv import CONV_GRAD_INPUT
from .. import activations, initializers, regularizers
from ..backend import me
from ..engine import Layer, Weight, unlike

__all__ = ["Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose",
           "DepthwiseConv2D", "SeparableConv2D"]


def sizes(where: str, value: Any, axes: int) -> tuple[int, ...]:
    """Return one number per axis."""
    found = (value,) * axes if isinstance(value, (int, np.integer)) else tuple(value)
    if len(found) != axes or min(found) < 1:
        raise unlike(where, f"{axes} numbers of 1 or more, or one", value, "Use 2")
    return tuple(int(v) for v in found)


def last_first(w: np.ndarray) -> np.ndarray:
    """Return (F, *K, C) as Keras's (*K, C, F)."""
    return np.moveaxis(w, 0, -1)


def first_last(w: np.ndarray) -> np.ndarray:
    """Return Keras's (*K, C, F) as (F, *K, C)."""
    return np.moveaxis(w, -1, 0)


def out_in(w: np.ndarray) -> np.ndarray:
    """Return (C, *K, F) as Keras's (*K, F, C), of a transposed convolution, or the reverse."""
    return np.moveaxis(w, 0, -1)


def channels_last(where: str, data_format: str | None) -> None:
    """Refuse the other layout."""
    if data_format not in (None, "channels_last"):
        raise unlike(where, 'data_format "channels_last"', data_format,
                     "Move the channels to the last axis with numpy.moveaxis")


class _Conv(Layer):
    """What all convolutions share."""

    axes = 2

    def __init__(self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
                 data_format: str | None = None, dilation_rate: Any = 1, groups: int = 1,
                 activation: Any = None, use_bias: bool = True,
                 kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
                 kernel_regularizer: Any = None, bias_regularizer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        where = type(self).__name__
        channels_last(where, data_format)
        if padding not in ("valid", "same", "causal") or (padding == "causal" and self.axes != 1):
            raise unlike(where, 'padding "valid" or "same"', padding, 'Use padding="same"')
        self.filters, self.padding, self.groups = filters, padding, groups
        self.kernel_size = sizes(where, kernel_size, self.axes)
        self.strides = sizes(where, strides, self.axes)
        self.dilation_rate = sizes(where, dilation_rate, self.axes)
        self.activation, self.use_bias = activations.get(activation), use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        channels = input_shape[-1]
        if len(input_shape) != self.axes + 2 or channels is None:
            raise ParameterError(say(self.name, f"an input with {self.axes} spatial axes and known "
                                     "channels, channels last", tuple(input_shape),
                                     "Add an axis for the channels: x[..., None]"))
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = Parameter(np.ascontiguousarray(
            first_last(self.kernel_initializer(shape, np.float32))))
        self.bias = Parameter(self.bias_initializer((self.filters,), np.float32)) if (
            self.use_bias) else None

    def call(self, inputs: Any) -> Any:
        """Return the activated convolution."""
        padding = self.padding
        if padding == "causal":
            left = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            inputs, padding = me.pad(inputs, ((0, 0), (left, 0), (0, 0))), "valid"
        function = (F.conv1d, F.conv2d, F.conv3d)[self.axes - 1]
        return self.activation(function(inputs, self.kernel, self.bias, self.strides, padding,
                                        self.dilation_rate, self.groups))

    def slots(self) -> list[Weight]:
        """Return kernel and bias."""
        if not self.built:
            return []
        bias = [Weight("bias", self.bias)] if self.bias is not None else []
        return [Weight("kernel", self.kernel, last_first, first_last), *bias]


class Conv1D(_Conv):
    """Convolution of signals (N, L, C)."""

    axes = 1


class Conv2D(_Conv):
    """Convolution of images (N, H, W, C)."""


class Conv3D(_Conv):
    """Convolution of volumes (N, D, H, W, C)."""

    axes = 3


class Conv2DTranspose(_Conv):
    """Transposed convolution of images: ``same`` gives the input's size times the stride."""

    def __init__(self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
                 output_padding: Any = None, **kwargs: Any):
        if output_padding is not None:
            raise unlike(type(self).__name__, "no output_padding", output_padding,
                         'Use padding="same"')
        super().__init__(filters, kernel_size, strides, padding, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        shape = (*self.kernel_size, self.filters, input_shape[-1])
        self.kernel = Parameter(np.ascontiguousarray(
            np.moveaxis(self.kernel_initializer(shape, np.float32), -1, 0)))
        self.bias = Parameter(self.bias_initializer((self.filters,), np.float32)) if (
            self.use_bias) else None

    def call(self, inputs: Any) -> Any:
        """Return the adjoint of the convolution that would give the input, activated."""
        sizes, pads = [], []
        for n, k, s, d in zip(inputs.shape[1:-1], self.kernel_size, self.strides,
                              self.dilation_rate, strict=True):
            extent = d * (k - 1) + 1
            size = n * s if self.padding == "same" else n * s + max(extent - s, 0)
            total = max((n - 1) * s + extent - size, 0)  # as the convolution would pad
            sizes.append(size)
            pads.append((total // 2, total - total // 2))
        y = apply(CONV_GRAD_INPUT, inputs, self.kernel, sizes=tuple(sizes), stride=self.strides,
                  padding=tuple(pads), dilation=self.dilation_rate, groups=self.groups)
        return self.activation(y if self.bias is None else y + self.bias)

    def slots(self) -> list[Weight]:
        """Return kernel and bias."""
        if not self.built:
            return []
        bias = [Weight("bias", self.bias)] if self.bias is not None else []
        return [Weight("kernel", self.kernel, out_in, lambda w: np.moveaxis(w, -1, 0)), *bias]


class Conv1DTranspose(Conv2DTranspose):
    """Transposed convolution of signals."""

    axes = 1


class Conv3DTranspose(Conv2DTranspose):
    """Transposed convolution of volumes."""

    axes = 3


class DepthwiseConv2D(_Conv):
    """Convolution of each channel by itself, with ``depth_multiplier`` filters."""

    def __init__(self, kernel_size: Any, strides: Any = 1, padding: str = "valid",
                 depth_multiplier: int = 1, depthwise_initializer: Any = "glorot_uniform",
                 **kwargs: Any):
        super().__init__(1, kernel_size, strides, padding, **kwargs)
        self.depth_multiplier = depth_multiplier
        self.depthwise_initializer = initializers.get(depthwise_initializer)

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        self.groups, many = input_shape[-1], self.depth_multiplier
        kernel = self.depthwise_initializer((*self.kernel_size, self.groups, many), np.float32)
        self.filters = self.groups * many
        self.kernel = Parameter(self._back(kernel))
        self.bias = Parameter(self.bias_initializer((self.filters,), np.float32)) if (
            self.use_bias) else None

    def _back(self, kernel: np.ndarray) -> np.ndarray:
        """Return Keras's (*K, C, many) as (C many, *K, 1)."""
        flat = kernel.reshape(*self.kernel_size, -1)
        return np.ascontiguousarray(np.moveaxis(flat, -1, 0)[..., None])

    def slots(self) -> list[Weight]:
        """Return kernel and bias."""
        if not self.built:
            return []
        bias = [Weight("bias", self.bias)] if self.bias is not None else []
        return [Weight("kernel", self.kernel, lambda w: np.moveaxis(w[..., 0], 0, -1).reshape(
            *self.kernel_size, self.groups, self.depth_multiplier), self._back), *bias]


class SeparableConv2D(Layer):
    """A depthwise convolution and a 1 x 1 convolution behind it."""

    def __init__(self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
                 depth_multiplier: int = 1, activation: Any = None, use_bias: bool = True,
                 depthwise_initializer: Any = "glorot_uniform",
                 pointwise_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.depthwise = DepthwiseConv2D(
            kernel_size, strides, padding, depth_multiplier, depthwise_initializer,
            use_bias=False, name=f"{self.name}_depthwise")
        self.pointwise = Conv2D(
            filters, 1, activation=activation, use_bias=use_bias, name=f"{self.name}_pointwise",
            kernel_initializer=pointwise_initializer, bias_initializer=bias_initializer)

    def call(self, inputs: Any) -> Any:
        """Return the activated convolution."""
        return self.pointwise(self.depthwise(inputs))
