"""Normalising layers; channels are the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional as F
from ..errors import ParameterError, ShapeError, say
from ..functional.common import tensor
from ..mode import no_grad
from ..ops.shape import ints
from ..tensor import Buffer, Parameter, Tensor, mark_written
from .linear import positive
from .module import Module, as_input

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d",
           "InstanceNorm2d", "InstanceNorm3d", "LayerNorm"]


class Channels(Module):
    """What batch and instance norm share: per-channel arrays, made when C is known."""

    weight: Parameter | None
    bias: Parameter | None
    axes: tuple[str, ...]  # the shapes that are taken

    def __init__(self, num_features: int | None, eps: float, affine: bool, dtype: Any):
        name = type(self).__name__
        C = 0 if num_features is None else positive(name, "num_features", num_features)
        self.eps = eps
        self.weight = Parameter(np.ones(C, dtype)) if affine else None
        self.bias = Parameter(np.zeros(C, dtype)) if affine else None

    @property
    def affine(self) -> bool:
        """Whether weight and bias are learned."""
        return self.weight is not None

    def _input(self, x: Any, like: Tensor | None) -> Tensor:
        """Return x in the layer's dtype; raise unless it has the axes of this layer."""
        x = tensor(x) if like is None else as_input(x, like)
        if x.ndim not in [len(axes.split(", ")) for axes in self.axes]:
            wanted = " or ".join(f"({axes})" for axes in self.axes)
            raise ShapeError(say(type(self).__name__, f"x of shape {wanted}", str(x.shape),
                                 "Channels are the last axis"))
        return x

    def _infer(self, C: int) -> None:
        """Give arrays without channels their size."""
        for array, fill in self._arrays():
            if array is not None and array.data.shape == (0,):
                array.data = np.full(C, fill, array.dtype)
                mark_written(array)

    def _arrays(self) -> list[tuple[Tensor | None, float]]:
        return [(self.weight, 1.0), (self.bias, 0.0)]


class Tracked(Channels):
    """What has running statistics, or may have them."""

    running_mean: Buffer | None
    running_var: Buffer | None
    _seen: int | None  # channels, where no array tells

    def __init__(self, num_features: int | None, eps: float, momentum: float | None, affine: bool,
                 track_running_stats: bool, dtype: Any):
        super().__init__(num_features, eps, affine, dtype)
        if momentum is not None and not 0.0 <= momentum <= 1.0:
            raise ParameterError(say(type(self).__name__, "momentum between 0 and 1, or None",
                                     repr(momentum), "It is the weight of the new batch"))
        self.momentum = momentum
        self._seen = num_features
        C = num_features or 0
        self.running_mean = Buffer(np.zeros(C, dtype)) if track_running_stats else None
        self.running_var = Buffer(np.ones(C, dtype)) if track_running_stats else None
        self.num_batches_tracked = (Buffer(np.zeros((), np.int64)) if track_running_stats
                                    else None)

    def _arrays(self) -> list[tuple[Tensor | None, float]]:
        return [*super()._arrays(), (self.running_mean, 0.0), (self.running_var, 1.0)]

    def _step(self) -> Any:
        """Return the weight of this batch in the running statistics."""
        if self.momentum is not None:
            return self.momentum
        # the plain mean over all batches
        seen, mean = self.num_batches_tracked, self.running_mean
        return 0.0 if seen is None or mean is None else 1.0 / (seen.astype(mean.dtype) + 1.0)

    def _count(self) -> None:
        """Note that a batch went into the running statistics, if it did."""
        if self.training and self.num_batches_tracked is not None:
            with no_grad():
                self.num_batches_tracked.copy_(self.num_batches_tracked + 1)

    @property
    def num_features(self) -> int | None:
        """Channels C, None as long as they are unknown."""
        held = next((a for a, _ in self._arrays() if a is not None), None)
        return self._seen if held is None else held.shape[0] or None

    @property
    def track_running_stats(self) -> bool:
        """Whether there are running statistics."""
        return self.running_mean is not None

    def extra_repr(self) -> str:
        """Return the sizes and options."""
        return (f"num_features={self.num_features}, eps={self.eps}, momentum={self.momentum}, "
                f"affine={self.affine}, track_running_stats={self.track_running_stats}")


class BatchNorm(Tracked):
    """What the layers of every rank share."""

    def __init__(self, num_features: int | None, eps: float = 1e-5,
                 momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, *, dtype: Any = np.float32):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype)

    def forward(self, x: Any) -> Tensor:
        """Return x normalised; while training, move the running statistics."""
        x = self._input(x, self.running_mean if self.weight is None else self.weight)
        self._infer(x.shape[-1])
        y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                         self.training, self._step(), self.eps)
        self._count()
        return y

class BatchNorm1d(BatchNorm):
    """Batch norm of (N, C) or (N, L, C); see ``functional.batch_norm``.

    Parameters
    ----------
    num_features : int or None
        Channels C; None takes them from the first input.
    eps : float
        Added to the variance.
    momentum : float or None
        The weight of the new batch in the running statistics; None keeps their plain mean.
    affine : bool
        Whether to learn weight and bias.
    track_running_stats : bool
        Whether evaluation uses running statistics, not those of the batch.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter or None
        (C,), 1 and 0 at first.
    running_mean, running_var : Buffer or None
        (C,), 0 and 1 at first; the variance is unbiased.
    num_batches_tracked : Buffer or None
        How many batches went into them.
    """

    axes = ("N, C", "N, L, C")


class BatchNorm2d(BatchNorm):
    """Batch norm of images (N, H, W, C); parameters and attributes as in ``BatchNorm1d``."""

    axes = ("N, H, W, C",)


class BatchNorm3d(BatchNorm):
    """Batch norm of volumes (N, D, H, W, C); parameters and attributes as in ``BatchNorm1d``."""

    axes = ("N, D, H, W, C",)


class InstanceNorm(Tracked):
    """What the layers of every rank share."""

    def __init__(self, num_features: int | None, eps: float = 1e-5,
                 momentum: float | None = 0.1, affine: bool = False,
                 track_running_stats: bool = False, *, dtype: Any = np.float32):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype)

    def forward(self, x: Any) -> Tensor:
        """Return x with every channel of every sample normalised."""
        x = self._input(x, self.running_mean if self.weight is None else self.weight)
        if self.num_features is None:
            self._seen = x.shape[-1]
            self._infer(x.shape[-1])
        if self.num_features != x.shape[-1]:
            raise ShapeError(say("instance_norm", f"{self.num_features} channels",
                                 str(x.shape[-1]), f"Use {type(self).__name__}({x.shape[-1]}), or "
                                 "None to infer them", {"x": (x.shape, "N, ..., C")}))
        y = F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                            self.training or not self.track_running_stats, self._step(), self.eps)
        self._count()
        return y


class InstanceNorm1d(InstanceNorm):
    """Instance norm of signals (N, L, C); see ``functional.instance_norm``.

    Parameters
    ----------
    num_features : int or None
        Channels C; None takes them from the first input.
    eps : float
        Added to the variance.
    momentum : float or None
        The weight of the new samples in the running statistics; None keeps their plain mean.
    affine : bool
        Whether to learn weight and bias.
    track_running_stats : bool
        Whether evaluation uses running statistics, not those of each sample.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter or None
        (C,), 1 and 0 at first.
    running_mean, running_var : Buffer or None
        (C,), 0 and 1 at first: means over samples, the variance unbiased.
    num_batches_tracked : Buffer or None
        How many batches went into them.
    """

    axes = ("N, L, C",)


class InstanceNorm2d(InstanceNorm):
    """Instance norm of images (N, H, W, C); all else as in ``InstanceNorm1d``."""

    axes = ("N, H, W, C",)


class InstanceNorm3d(InstanceNorm):
    """Instance norm of volumes (N, D, H, W, C); all else as in ``InstanceNorm1d``."""

    axes = ("N, D, H, W, C",)


class GroupNorm(Channels):
    """Group norm of (N, ..., C); see ``functional.group_norm``.

    Parameters
    ----------
    num_groups : int
        In how many groups of neighbours the channels are divided.
    num_channels : int or None
        Channels C; None takes them from the first input.
    eps : float
        Added to the variance.
    affine : bool
        Whether to learn weight and bias.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter or None
        (C,), 1 and 0 at first.
    """

    def __init__(self, num_groups: int, num_channels: int | None, eps: float = 1e-5,
                 affine: bool = True, *, dtype: Any = np.float32):
        self.num_groups = positive("GroupNorm", "num_groups", num_groups)
        self.num_channels = num_channels
        if num_channels is not None and positive(
                "GroupNorm", "num_channels", num_channels) % self.num_groups:
            raise ParameterError(say("GroupNorm", f"num_groups that divides {num_channels} "
                                     "channels", repr(num_groups),
                                     "Take 1, 2, 4 or 8, for example"))
        super().__init__(num_channels, eps, affine, dtype)

    def forward(self, x: Any) -> Tensor:
        """Return x with every sample's groups of channels normalised."""
        x = tensor(x) if self.weight is None else as_input(x, self.weight)
        C = x.shape[-1] if x.ndim else 0
        if C and self.num_channels is None and C % self.num_groups == 0:
            self.num_channels = C
            self._infer(C)
        if self.num_channels is not None and self.num_channels != C:
            raise ShapeError(say("group_norm", f"{self.num_channels} channels", str(C),
                                 f"Use GroupNorm({self.num_groups}, {C}), or None to infer them",
                                 {"x": (x.shape, "N, ..., C")}))
        known = self.num_channels is not None
        return F.group_norm(x, self.num_groups, self.weight if known else None,
                            self.bias if known else None, self.eps)

    def extra_repr(self) -> str:
        """Return the sizes and options."""
        return (f"num_groups={self.num_groups}, num_channels={self.num_channels}, "
                f"eps={self.eps}, affine={self.affine}")


class LayerNorm(Module):
    """Layer norm of the last axes; see ``functional.layer_norm``.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes, which are normalised together.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether to learn weight and bias.
    bias : bool
        Whether to learn a bias beside the weight.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter or None
        Of normalized_shape, 1 and 0 at first.
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5,
                 elementwise_affine: bool = True, bias: bool = True, *,
                 dtype: Any = np.float32):
        sizes = ints("LayerNorm", "normalized_shape", normalized_shape)
        self.normalized_shape = tuple(positive("LayerNorm", "a size", n) for n in sizes)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(np.ones(sizes, dtype)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(sizes, dtype)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Tensor:
        """Return x with its last axes normalised."""
        x = tensor(x) if self.weight is None else as_input(x, self.weight)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
