"""Pooling, upsampling, borders and normalisation; channels last, as Keras has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import functional as F
from ...functional.conv import pads
from ...nn import Buffer, Parameter
from ..backend import me
from ..engine import Layer, Weight, unlike
from .conv import channels_last, sizes

__all__ = ["AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "BatchNormalization",
           "Cropping2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
           "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
           "GlobalMaxPooling3D", "LayerNormalization", "MaxPooling1D", "MaxPooling2D",
           "MaxPooling3D", "Normalization", "SpatialDropout2D", "UpSampling1D", "UpSampling2D",
           "UpSampling3D", "ZeroPadding2D"]


class _Pool(Layer):
    """What pooling shares."""

    axes = 2
    mean = False

    def __init__(self, pool_size: Any = 2, strides: Any = None, padding: str = "valid",
                 data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        where = type(self).__name__
        channels_last(where, data_format)
        self.pool_size = sizes(where, pool_size, self.axes)
        self.strides = self.pool_size if strides is None else sizes(where, strides, self.axes)
        if padding not in ("valid", "same"):
            raise unlike(where, 'padding "valid" or "same"', padding, 'Use padding="valid"')
        self.padding = padding

    def call(self, inputs: Any) -> Any:
        """Return the pooled input."""
        function = getattr(F, f"{'avg' if self.mean else 'max'}_pool{self.axes}d")
        if self.padding == "valid":
            return function(inputs, self.pool_size, self.strides)
        around = ((0, 0), *pads(self.name, "same", inputs.shape[1:-1], self.pool_size,
                                self.strides, (1,) * self.axes), (0, 0))
        if not self.mean:
            # below every number, and no -inf that a gradient could meet
            low = float(np.finfo(inputs.dtype).min)
            inside = me.pad(inputs, around, constant_values=low)
            return function(inside, self.pool_size, self.strides)
        inside = me.pad(np.ones((1, *inputs.shape[1:-1], 1), inputs.dtype), around)
        share = function(inside, self.pool_size, self.strides)  # of each window that is no padding
        return function(me.pad(inputs, around), self.pool_size, self.strides) / share


class MaxPooling1D(_Pool):
    """The largest entry of each window of a signal."""

    axes = 1


class MaxPooling2D(_Pool):
    """The largest entry of each window of an image."""


class MaxPooling3D(_Pool):
    """The largest entry of each window of a volume."""

    axes = 3


class AveragePooling1D(_Pool):
    """The mean of each window of a signal."""

    axes, mean = 1, True


class AveragePooling2D(_Pool):
    """The mean of each window of an image."""

    mean = True


class AveragePooling3D(_Pool):
    """The mean of each window of a volume."""

    axes, mean = 3, True


class _Global(Layer):
    """What pooling over all places shares."""

    axes = 2
    mask_aware = False

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        channels_last(type(self).__name__, data_format)
        self.keepdims = keepdims


class GlobalAveragePooling1D(_Global):
    """The mean over all steps; of the steps that count, where there is a mask."""

    axes = 1
    mask_aware = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return (N, C)."""
        over = tuple(range(1, 1 + self.axes))
        if mask is None:
            return me.mean(inputs, axis=over, keepdims=self.keepdims)
        weight = me.astype(me.expand_dims(mask, axis=-1), inputs.dtype)
        total = me.sum(inputs * weight, axis=1, keepdims=self.keepdims)
        return total / me.sum(weight, axis=1, keepdims=self.keepdims)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return None: the steps are gone."""
        return None


class GlobalAveragePooling2D(GlobalAveragePooling1D):
    """The mean over all places of an image."""

    axes = 2
    mask_aware = False


class GlobalAveragePooling3D(GlobalAveragePooling2D):
    """The mean over all places of a volume."""

    axes = 3


class GlobalMaxPooling1D(_Global):
    """The largest entry over all steps."""

    axes = 1

    def call(self, inputs: Any) -> Any:
        """Return (N, C)."""
        return me.max(inputs, axis=tuple(range(1, 1 + self.axes)), keepdims=self.keepdims)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return None: the steps are gone."""
        return None


class GlobalMaxPooling2D(GlobalMaxPooling1D):
    """The largest entry over all places of an image."""

    axes = 2


class GlobalMaxPooling3D(GlobalMaxPooling1D):
    """The largest entry over all places of a volume."""

    axes = 3


class UpSampling2D(Layer):
    """Every row and column several times, or bilinear in between."""

    axes = 2

    def __init__(self, size: Any = 2, data_format: str | None = None,
                 interpolation: str = "nearest", **kwargs: Any):
        super().__init__(**kwargs)
        channels_last(type(self).__name__, data_format)
        if interpolation not in ("nearest", "bilinear"):
            raise unlike(type(self).__name__, 'interpolation "nearest" or "bilinear"',
                         interpolation, 'Use interpolation="nearest"')
        self.size, self.interpolation = sizes(type(self).__name__, size, self.axes), interpolation

    def call(self, inputs: Any) -> Any:
        """Return the enlarged input."""
        return F.upsample(inputs, self.size, self.interpolation)


class UpSampling1D(UpSampling2D):
    """Every step several times."""

    axes = 1

    def __init__(self, size: Any = 2, **kwargs: Any):
        super().__init__(size, **kwargs)


class UpSampling3D(UpSampling2D):
    """Every place of a volume several times along each axis."""

    axes = 3


def _borders(value: Any) -> tuple[tuple[int, int], ...]:
    """Return what is added or cut before and behind each of two axes."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    return tuple((v, v) if isinstance(v, int) else (int(v[0]), int(v[1])) for v in pair)


class ZeroPadding2D(Layer):
    """Zeros around an image."""

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        channels_last("ZeroPadding2D", data_format)
        self.padding = _borders(padding)

    def call(self, inputs: Any) -> Any:
        """Return the padded input."""
        return me.pad(inputs, ((0, 0), *self.padding, (0, 0)))


class Cropping2D(Layer):
    """An image without its borders."""

    def __init__(self, cropping: Any = 0, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        channels_last("Cropping2D", data_format)
        self.cropping = _borders(cropping)

    def call(self, inputs: Any) -> Any:
        """Return the inner part."""
        (top, bottom), (left, right) = self.cropping
        return inputs[:, top: inputs.shape[1] - bottom, left: inputs.shape[2] - right]


class SpatialDropout2D(Layer):
    """Whole channels set to 0 while training."""

    def __init__(self, rate: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, inputs: Any) -> Any:
        """Return x, thinned while training."""
        n, c = inputs.shape[0], inputs.shape[-1]
        return inputs * F.dropout(np.ones((n, 1, 1, c), inputs.dtype), self.rate, self.training)


# ---- normalisation ------------------------------------------------------------------------------


class BatchNormalization(Layer):
    """Every channel to mean 0 and variance 1 over the batch, then scaled and shifted.

    ``momentum`` is the weight of the old moving average, as Keras counts it. A frozen layer uses
    the moving averages in training, too.
    """

    def __init__(self, axis: int = -1, momentum: float = 0.99, epsilon: float = 1e-3,
                 center: bool = True, scale: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis, self.momentum, self.epsilon = axis, momentum, epsilon
        self.center, self.scale = center, scale

    def build(self, input_shape: Any) -> None:
        """Make scale, shift and the moving averages."""
        if self.axis not in (-1, len(input_shape) - 1):
            raise unlike(self.name, "axis=-1, the channels", self.axis, "Move them last")
        c = input_shape[-1]
        self.gamma = Parameter(np.ones(c, np.float32)) if self.scale else None
        self.beta = Parameter(np.zeros(c, np.float32)) if self.center else None
        self.moving_mean = Buffer(np.zeros(c, np.float32))
        self.moving_variance = Buffer(np.ones(c, np.float32))

    def call(self, inputs: Any) -> Any:
        """Return the normalised input."""
        return F.batch_norm(inputs, self.moving_mean, self.moving_variance, self.gamma, self.beta,
                            training=self.training and self.trainable,
                            momentum=1 - self.momentum, eps=self.epsilon)


class LayerNormalization(Layer):
    """The last axis of every sample to mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, axis: int = -1, epsilon: float = 1e-3, center: bool = True,
                 scale: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis, self.epsilon, self.center, self.scale = axis, epsilon, center, scale

    def build(self, input_shape: Any) -> None:
        """Make scale and shift."""
        if self.axis not in (-1, len(input_shape) - 1):
            raise unlike(self.name, "axis=-1", self.axis, "Move that axis last")
        c = input_shape[-1]
        self.gamma = Parameter(np.ones(c, np.float32)) if self.scale else None
        self.beta = Parameter(np.zeros(c, np.float32)) if self.center else None

    def call(self, inputs: Any) -> Any:
        """Return the normalised input."""
        return F.layer_norm(inputs, inputs.shape[-1], self.gamma, self.beta, self.epsilon)


class Normalization(Layer):
    """(x - mean) / standard deviation of each feature, given or found by ``adapt(data)``."""

    def __init__(self, axis: int = -1, mean: Any = None, variance: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        if axis != -1:
            raise unlike(type(self).__name__, "axis=-1, the features", axis, "Move them last")
        self.given = mean, variance

    def build(self, input_shape: Any) -> None:
        """Make mean and variance."""
        mean, variance = self.given
        width = input_shape[-1]
        self.mean = Buffer(np.full(width, 0 if mean is None else mean, np.float32))
        self.variance = Buffer(np.full(width, 1 if variance is None else variance, np.float32))

    def slots(self) -> list[Weight]:
        """Return mean and variance, unless they were given."""
        return super().slots() if self.given == (None, None) else []

    def adapt(self, data: Any) -> None:
        """Learn mean and variance of every feature from samples."""
        x = np.asarray(data, np.float64)
        if not self.built:
            self.make((None, *x.shape[1:]))
        over = tuple(range(x.ndim - 1))
        self.mean.data[...] = x.mean(axis=over)
        self.variance.data[...] = x.var(axis=over)

    def call(self, inputs: Any) -> Any:
        """Return the standardised input."""
        return (inputs - self.mean) / me.maximum(me.sqrt(self.variance), 1e-7)
