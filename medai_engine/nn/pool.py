"""Pooling and upsampling layers; channels are the last axis."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import Module

__all__ = ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
           "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d",
           "GlobalAvgPool1d", "GlobalAvgPool2d", "GlobalAvgPool3d", "GlobalMaxPool1d",
           "GlobalMaxPool2d", "GlobalMaxPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "Upsample"]


class MaxPool(Module):
    """What max pooling of every rank shares."""

    rank: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                 return_indices: bool = False, ceil_mode: bool = False):
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, x: Any) -> Any:
        """Return the largest entry of every window."""
        return getattr(F, f"max_pool{self.rank}d")(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices)


class MaxPool1d(MaxPool):
    """Max pooling of signals (N, L, C); see ``functional.max_pool2d`` for the parameters."""

    rank = 1


class MaxPool2d(MaxPool):
    """Max pooling of images (N, H, W, C); see ``functional.max_pool2d`` for the parameters."""

    rank = 2


class MaxPool3d(MaxPool):
    """Max pooling of volumes (N, D, H, W, C); see ``functional.max_pool2d`` for the parameters."""

    rank = 3


class AvgPool(Module):
    """What average pooling of every rank shares."""

    rank: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True):
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Tensor:
        """Return the mean of every window."""
        return getattr(F, f"avg_pool{self.rank}d")(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad)


class AvgPool1d(AvgPool):
    """Average pooling of signals (N, L, C); see ``functional.avg_pool2d`` for the parameters."""

    rank = 1


class AvgPool2d(AvgPool):
    """Average pooling of images (N, H, W, C); see ``functional.avg_pool2d`` for the parameters."""

    rank = 2


class AvgPool3d(AvgPool):
    """Average pooling of volumes (N, D, H, W, C); see ``functional.avg_pool2d``."""

    rank = 3


class AdaptiveAvgPool(Module):
    """What adaptive average pooling of every rank shares."""

    rank: int

    def __init__(self, output_size: Any):
        self.output_size = output_size

    def forward(self, x: Any) -> Tensor:
        """Return the means of as many windows as asked for."""
        return getattr(F, f"adaptive_avg_pool{self.rank}d")(x, self.output_size)


class AdaptiveAvgPool1d(AdaptiveAvgPool):
    """Adaptive means of signals (N, L, C); see ``functional.adaptive_avg_pool2d``."""

    rank = 1


class AdaptiveAvgPool2d(AdaptiveAvgPool):
    """Adaptive means of images (N, H, W, C); see ``functional.adaptive_avg_pool2d``."""

    rank = 2


class AdaptiveAvgPool3d(AdaptiveAvgPool):
    """Adaptive means of volumes (N, D, H, W, C); see ``functional.adaptive_avg_pool2d``."""

    rank = 3


class AdaptiveMaxPool(Module):
    """What adaptive max pooling of every rank shares."""

    rank: int

    def __init__(self, output_size: Any, return_indices: bool = False):
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        """Return the maxima of as many windows as asked for."""
        return getattr(F, f"adaptive_max_pool{self.rank}d")(
            x, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(AdaptiveMaxPool):
    """Adaptive maxima of signals (N, L, C); see ``functional.adaptive_max_pool2d``."""

    rank = 1


class AdaptiveMaxPool2d(AdaptiveMaxPool):
    """Adaptive maxima of images (N, H, W, C); see ``functional.adaptive_max_pool2d``."""

    rank = 2


class AdaptiveMaxPool3d(AdaptiveMaxPool):
    """Adaptive maxima of volumes (N, D, H, W, C); see ``functional.adaptive_max_pool2d``."""

    rank = 3


class GlobalPool(Module):
    """What pooling over all positions shares: (N, ..., C) becomes (N, C)."""

    rank: int
    function: str

    def forward(self, x: Any) -> Tensor:
        """Return one number per sample and channel."""
        y = getattr(F, f"{self.function}{self.rank}d")(x, 1)
        return y.reshape(y.shape[0], y.shape[-1])


class GlobalAvgPool1d(GlobalPool):
    """Mean over the positions of signals: (N, L, C) becomes (N, C)."""

    rank, function = 1, "adaptive_avg_pool"


class GlobalAvgPool2d(GlobalPool):
    """Mean over the positions of images: (N, H, W, C) becomes (N, C)."""

    rank, function = 2, "adaptive_avg_pool"


class GlobalAvgPool3d(GlobalPool):
    """Mean over the positions of volumes: (N, D, H, W, C) becomes (N, C)."""

    rank, function = 3, "adaptive_avg_pool"


class GlobalMaxPool1d(GlobalPool):
    """Maximum over the positions of signals: (N, L, C) becomes (N, C)."""

    rank, function = 1, "adaptive_max_pool"


class GlobalMaxPool2d(GlobalPool):
    """Maximum over the positions of images: (N, H, W, C) becomes (N, C)."""

    rank, function = 2, "adaptive_max_pool"


class GlobalMaxPool3d(GlobalPool):
    """Maximum over the positions of volumes: (N, D, H, W, C) becomes (N, C)."""

    rank, function = 3, "adaptive_max_pool"


class Upsample(Module):
    """Enlarges every spatial axis; see ``functional.upsample``.

    Parameters
    ----------
    scale_factor : float, or one per axis, optional
        An axis of n entries gets floor(n scale_factor).
    mode : str
        "nearest", or "linear", "bilinear", "trilinear" for signals, images, volumes.
    size : int, or one per axis, optional
        The sizes of the result instead of a scale_factor.
    """

    def __init__(self, scale_factor: Any = None, mode: str = "nearest", size: Any = None):
        self.scale_factor = scale_factor
        self.mode = mode
        self.size = size

    def forward(self, x: Any) -> Tensor:
        """Return x in its new size."""
        return F.upsample(x, self.scale_factor, self.mode, self.size)
