"""Convolution layers over 1, 2 and 3 spatial axes, channels last."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from ..errors import MedaiError, ShapeError, say
from ..functional.conv import activation_named, conv_with, each_axis, pads
from ..generator import Generator
from ..mode import MODE
from ..ops.conv_fused import LARGEST_POOL, fusible
from ..tensor import Parameter, Tensor
from . import activations, init, pool
from .linear import positive
from .module import Module, as_input

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


# activations that can join a convolution, with the op and the attributes that are its parameters
ACTIVATIONS: dict[type, tuple[str, ...]] = {
    activations.ReLU: ("relu",), activations.ReLU6: ("relu6",), activations.SELU: ("selu",),
    activations.Sigmoid: ("sigmoid",), activations.Tanh: ("tanh",),
    activations.LeakyReLU: ("leaky_relu", "negative_slope"), activations.ELU: ("elu", "alpha")}
POOLS = (pool.MaxPool1d, pool.MaxPool2d, pool.MaxPool3d)


def plain(layer: Module) -> bool:
    """Tell whether nothing watches the calls of a layer."""
    return "forward" not in vars(layer)


def side_by_side(layer: Module, axes: int) -> tuple[int, ...] | None:
    """Return the windows of a max pooling layer where they neither overlap nor pad."""
    if type(layer) is not POOLS[axes - 1] or not plain(layer) or layer.return_indices or (
            layer.ceil_mode):
        return None
    sizes, *others = [tuple(v) if isinstance(v, (tuple, list)) else (v,) * axes for v in (
        layer.kernel_size, layer.stride, layer.padding, layer.dilation)]
    usual = others == [sizes, (0,) * axes, (1,) * axes] and all(type(n) is int for n in sizes)
    return sizes if usual and min(sizes) > 0 and math.prod(sizes) <= LARGEST_POOL else None


class _Conv(Module):
    """What all convolution layers share: geometry, weights and their first values."""

    axes: ClassVar[int]
    transposed: ClassVar[bool] = False

    def _set(self, in_channels: int | None, out_channels: int, kernel_size: Any, stride: Any,
             padding: Any, dilation: Any, groups: int, bias: bool, dtype: Any,
             rng: Generator | None) -> None:
        where = type(self).__name__
        self.out_channels = positive(where, "out_channels", out_channels)
        self.kernel_size = each_axis(where, "kernel_size", kernel_size, self.axes, 1)
        self.stride = each_axis(where, "stride", stride, self.axes, 1)
        self.dilation = each_axis(where, "dilation", dilation, self.axes, 1)
        self.groups = positive(where, "groups", groups)
        self.padding: str | tuple[int, ...]
        if isinstance(padding, str) and not self.transposed:
            pads(where, padding, self.kernel_size, self.kernel_size, self.stride, self.dilation)
            self.padding = padding
        else:
            self.padding = each_axis(where, "padding", padding, self.axes, 0)
        if out_channels % self.groups:
            self._refuse("out_channels", out_channels)
        self.in_channels = in_channels
        self.weight = Parameter(np.empty(self._shape(0), dtype))
        self.bias = Parameter(np.zeros(out_channels, dtype)) if bias else None
        self._rng = rng
        if in_channels is not None:
            self._allocate(positive(where, "in_channels", in_channels))

    def _shape(self, channels: int) -> tuple[int, ...]:
        if self.transposed:
            return (channels, *self.kernel_size, self.out_channels // self.groups)
        return (self.out_channels, *self.kernel_size, channels // self.groups)

    def _refuse(self, name: str, channels: int) -> None:
        raise ShapeError(say(type(self).__name__, f"{name} that {self.groups} groups divide",
                             str(channels), "Choose another number of groups"))

    def _allocate(self, channels: int) -> None:
        if channels % self.groups:
            self._refuse("in_channels", channels)
        self.in_channels = channels
        self.weight.data = np.empty(self._shape(channels), self.weight.dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew (PyTorch's kaiming_uniform with a = sqrt(5))."""
        bound = 1.0 / math.sqrt(self.weight.shape[-1] * math.prod(self.kernel_size))
        init.uniform_(self.weight, -bound, bound, rng=self._rng)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, rng=self._rng)

    def _input(self, x: Any) -> Tensor:
        """Return x in the weight's dtype; take the number of channels from it if unknown."""
        x = as_input(x, self.weight)
        if self.weight.data.size == 0:
            if x.ndim != self.axes + 2 or x.shape[-1] == 0:
                raise ShapeError(say(f"{type(self).__name__}(None, ...)",
                                     f"an input with {self.axes + 2} axes, channels last",
                                     str(x.shape), "Add an axis for the batch or the channels"))
            self._allocate(x.shape[-1])
        return x

    def extra_repr(self) -> str:
        """Return the sizes, and what differs from the defaults."""
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}",
                 f"stride={self.stride}"]
        for name, usual in (("padding", 0), ("output_padding", 0), ("dilation", 1),
                            ("activation", None), ("pool", None)):
            value = getattr(self, name, usual)
            if value not in (usual, (usual,) * self.axes):
                parts.append(f"{name}={value!r}")
        parts += [f"groups={self.groups}"] * (self.groups != 1)
        return ", ".join(parts + ["bias=False"] * (self.bias is None))


class Conv2d(_Conv):
    """Convolution of images (N, H, W, C); see ``functional.conv2d``.

    Parameters
    ----------
    in_channels : int or None
        Channels of the input; None takes them from the first input.
    out_channels : int
        Channels of the output.
    kernel_size : int or pair
        Rows and columns of the kernel.
    stride, dilation : int or pair
        Steps between outputs, and between the places that one output reads.
    padding : int, pair, "same" or "valid"
        Zeros on both sides of each axis.
    groups : int
        Groups of channels that do not see each other.
    bias : bool
        Whether to learn an offset.
    activation : str, optional
        Name of a function to apply, as "relu"; see ``functional.conv2d``.
    pool : int or pair, optional
        Windows, side by side, of which only the largest entries are returned.
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights come from.

    Attributes
    ----------
    weight : Parameter
        (out, KH, KW, in / groups), uniform within 1 / sqrt(KH KW in / groups) at first; of size 0
        until ``in`` is known.
    bias : Parameter or None
        (out,), as the weight at first.
    """

    axes = 2

    def __init__(self, in_channels: int | None, out_channels: int, kernel_size: Any,
                 stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
                 bias: bool = True, *, activation: str | None = None, pool: Any = None,
                 dtype: Any = np.float32, rng: Generator | None = None):
        activation_named(type(self).__name__, activation)
        self.activation = activation
        self.pool = None if pool is None else each_axis(type(self).__name__, "pool", pool,
                                                        self.axes, 1)
        self._set(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                  dtype, rng)

    def forward(self, x: Any) -> Tensor:
        """Return the convolution of x, activated and pooled."""
        name, parameters = activation_named("", self.activation)
        return self._computed(x, name, parameters, self.pool)

    def _computed(self, x: Any, *then: Any) -> Tensor:
        x = self._input(x)
        return conv_with(self.axes, x, self.weight, self.bias, self.stride, self.padding,
                         self.dilation, self.groups, *then)

    def with_next(self, x: Any, layers: list[Module]) -> tuple[Tensor | None, int]:
        """Compute this layer together with those behind it, as far as that changes no bit.

        Returns
        -------
        Tensor or None, and int
            The output, and how many layers it includes; None and 0 where each is to be called.
        """
        count, name, mode = 0, "", MODE.get()
        parameters: tuple[float, ...] = ()
        if self.activation or self.pool or mode.backend not in ("fast", "none") or not plain(
                self) or type(self).forward is not Conv2d.forward:
            return None, 0
        if layers and type(layers[0]) in ACTIVATIONS and plain(layers[0]):
            name, *options = ACTIVATIONS[type(layers[0])]
            parameters = tuple([float(getattr(layers[0], option)) for option in options])
            if not fusible(name, parameters):
                return None, 0
            count = 1
        windows = None if len(layers) == count else side_by_side(layers[count], self.axes)
        count += windows is not None
        if not count:
            return None, 0
        given = (x, name, parameters, windows)
        try:
            if mode.scene is not None:
                return mode.scene.inside(self, self._computed, given, {}, layers[:count]), count
            return self._computed(*given), count
        except MedaiError:
            return None, 0  # one layer after the other finds whose error it is


class Conv1d(Conv2d):
    """Convolution of signals (N, L, C); see ``functional.conv1d`` and ``Conv2d``."""

    axes = 1


class Conv3d(Conv2d):
    """Convolution of volumes (N, D, H, W, C); see ``functional.conv3d`` and ``Conv2d``."""

    axes = 3


class ConvTranspose2d(_Conv):
    """Transposed convolution of images (N, H, W, C); see ``functional.conv_transpose2d``.

    Parameters
    ----------
    in_channels : int or None
        Channels of the input; None takes them from the first input.
    out_channels : int
        Channels of the output.
    kernel_size : int or pair
        Rows and columns of the kernel.
    stride, dilation : int or pair
        Steps between the places that neighbouring inputs, and one input, write to.
    padding : int or pair
        What is cut off on both sides of each axis.
    output_padding : int or pair
        Rows and columns added behind.
    groups : int
        Groups of channels that do not see each other.
    bias : bool
        Whether to learn an offset.
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights come from.

    Attributes
    ----------
    weight : Parameter
        (in, KH, KW, out / groups), uniform within 1 / sqrt(KH KW out / groups) at first; of size 0
        until ``in`` is known.
    bias : Parameter or None
        (out,), as the weight at first.
    """

    axes = 2
    transposed = True
    _function: ClassVar[Callable[..., Tensor]] = staticmethod(F.conv_transpose2d)

    def __init__(self, in_channels: int | None, out_channels: int, kernel_size: Any,
                 stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
                 bias: bool = True, dilation: Any = 1, *, dtype: Any = np.float32,
                 rng: Generator | None = None):
        self.output_padding = each_axis(type(self).__name__, "output_padding", output_padding,
                                        self.axes, 0)
        self._set(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                  dtype, rng)

    def forward(self, x: Any) -> Tensor:
        """Return the transposed convolution of x."""
        x = self._input(x)
        return type(self)._function(x, self.weight, self.bias, self.stride, self.padding,
                                    self.output_padding, self.groups, self.dilation)


class ConvTranspose1d(ConvTranspose2d):
    """Transposed convolution of signals (N, L, C); see ``ConvTranspose2d``."""

    axes = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose3d(ConvTranspose2d):
    """Transposed convolution of volumes (N, D, H, W, C); see ``ConvTranspose2d``."""

    axes = 3
    _function = staticmethod(F.conv_transpose3d)
