"""Normalisations: batch, layer, group, instance. Channels are the last axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..coerce import FLOATS
from ..errors import DTypeError, ParameterError, ShapeError, say
from ..mode import no_grad
from ..ops import norm as ops
from ..ops.elementwise import FUNCTIONS
from ..ops.shape import ints, reshape
from ..tensor import Tensor
from .common import like, tensor

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm"]


def _input(where: str, x: Any, axes: str, least: int, eps: float) -> Tensor:
    """Return x as a floating tensor with enough axes."""
    x = tensor(x)
    if x.dtype not in FLOATS:
        raise DTypeError(say(where, "floating values", str(x.dtype),
                             "Convert with .astype(me.float32) first", {"x": x.shape}))
    if x.ndim < least:
        raise ShapeError(say(where, f"x of shape ({axes})", str(x.shape), "Channels are last"))
    if not eps >= 0:
        raise ParameterError(say(where, "eps of at least 0", repr(eps), "Pass eps=1e-5"))
    return x


def _channels(where: str, x: Tensor, value: Any, fill: float, name: str) -> Tensor:
    """Return a per-channel argument, all `fill` where it is None."""
    C = x.shape[-1]
    if value is None:
        return Tensor(np.full(C, fill, x.dtype))
    value = like(value, x)
    if value.shape != (C,):
        wanted = value.shape[0] if value.ndim == 1 else f"{name} (C,) and as many"
        raise ShapeError(say(where, f"{wanted} channels", str(C),
                             f"Channels are the last axis; make the layer with {C}, or with None "
                             "to infer them", {"x": (x.shape, "N, ..., C"), name: value.shape}))
    return value


def _both(where: str, x: Tensor, mean: Tensor | None, var: Tensor | None) -> None:
    """Raise unless there are both running statistics, one entry per channel, or none."""
    if (mean is None) != (var is None):
        raise ParameterError(say(where, "running_mean and running_var", "one of them",
                                 "Pass both or none"))
    _channels(where, x, mean, 0, "running_mean")
    _channels(where, x, var, 1, "running_var")


def _known(where: str, x: Tensor, mean: Any, var: Any, weight: Tensor, bias: Tensor,
           eps: float) -> Tensor:
    """Return x normalised with the running statistics."""
    _both(where, x, mean, var)
    scale = weight / FUNCTIONS["sqrt"](like(var, x) + eps)
    return ops.channel_affine(x, like(mean, x), scale, bias)


def _track(running_mean: Tensor | None, running_var: Tensor | None, mean: Tensor, var: Tensor,
           n: int, momentum: Any) -> None:
    """Move the running statistics towards the mean of (outer, C), the variance unbiased."""
    if running_mean is None or running_var is None:
        return
    with no_grad():
        for running, new, unbias in ((running_mean, mean, 1.0), (running_var, var, n / (n - 1))):
            found = like(new.detach().mean(axis=0), running)
            running.copy_(running * (1.0 - momentum) + found * (momentum * unbias))


def batch_norm(x: Any, running_mean: Tensor | None = None, running_var: Tensor | None = None,
               weight: Any = None, bias: Any = None, training: bool = False,
               momentum: Any = 0.1, eps: float = 1e-5) -> Tensor:
    """Normalise each channel over the batch, ``y = (x - mean) / sqrt(var + eps) weight + bias``.

    Mean and biased variance are those of the batch while training (or without running
    statistics), the running ones otherwise.

    Parameters
    ----------
    x : Tensor
        (N, ..., C), float32 or float64.
    running_mean, running_var : Tensor, optional
        (C,). While training they are moved towards those of the batch, in place; the variance that
        goes in there is the unbiased one.
    weight, bias : Tensor, optional
        (C,), 1 and 0 without them.
    training : bool
        Whether the batch is normalised with its own statistics.
    momentum : float
        The weight of the new batch in the running statistics.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError
        When the number of channels differs, or a batch to learn from has one value per channel.

    References
    ----------
    Ioffe, Szegedy 2015, Batch normalization.

    Examples
    --------
    >>> from medai_engine import functional as F
    >>> F.batch_norm([[1.0, 5.0], [3.0, 5.0]], training=True, eps=0.0001).round()
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """
    x = _input("batch_norm", x, "N, ..., C", 2, eps)
    C = x.shape[-1]
    weight = _channels("batch_norm", x, weight, 1, "weight")
    bias = _channels("batch_norm", x, bias, 0, "bias")
    if not training and running_mean is not None:
        return _known("batch_norm", x, running_mean, running_var, weight, bias, eps)
    _both("batch_norm", x, running_mean, running_var)
    n = x.size // C if C else 0
    if n < 2:
        raise ShapeError(say("batch_norm", "more than one value per channel while training",
                             str(n), "Use a larger batch (DataLoader(drop_last=True)), or eval()",
                             {"x": (x.shape, "N, ..., C")}))
    y, mean, var = ops.norm(reshape(x, (1, n, C)), weight, bias, C, eps)
    _track(running_mean, running_var, mean, var, n, momentum)
    return reshape(y, x.shape)


def layer_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None,
               bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Normalise the last axes of every entry, ``y = (x - mean) / sqrt(var + eps) weight + bias``.

    Parameters
    ----------
    x : Tensor
        (..., *normalized_shape), float32 or float64.
    normalized_shape : int or sequence of int
        The sizes of the axes that are normalised together.
    weight, bias : Tensor, optional
        Of normalized_shape, 1 and 0 without them.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError
        When x does not end in normalized_shape.

    References
    ----------
    Ba, Kiros, Hinton 2016, Layer normalization.
    """
    sizes = ints("layer_norm", "normalized_shape", normalized_shape)
    x = _input("layer_norm", x, "..., *normalized_shape", len(sizes), eps)
    if not sizes or x.shape[-len(sizes):] != sizes or 0 in sizes:
        raise ShapeError(say("layer_norm", f"x whose last axes are {sizes}", str(x.shape),
                             f"Use LayerNorm({x.shape[-1] if x.ndim else 1}) for the last axis"))
    C = math.prod(sizes)
    both = []
    for name, value, fill in (("weight", weight, 1.0), ("bias", bias, 0.0)):
        value = Tensor(np.full(sizes, fill, x.dtype)) if value is None else like(value, x)
        if value.shape != sizes:
            raise ShapeError(say("layer_norm", f"{name} of shape {sizes}", str(value.shape),
                                 "It has one entry per normalised element"))
        both.append(reshape(value, C))
    return reshape(ops.norm(reshape(x, (x.size // C, 1, C)), both[0], both[1], 1, eps)[0],
                   x.shape)


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Tensor:
    """Normalise groups of channels, ``y = (x - mean) / sqrt(var + eps) weight + bias``.

    Mean and biased variance are those of a group over all positions of one sample.

    Parameters
    ----------
    x : Tensor
        (N, ..., C), float32 or float64.
    num_groups : int
        In how many groups of neighbours the channels are divided.
    weight, bias : Tensor, optional
        (C,), 1 and 0 without them.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ParameterError
        When num_groups does not divide the channels.

    References
    ----------
    Wu, He 2018, Group normalization.
    """
    return _per_sample("group_norm", x, num_groups, weight, bias, eps)[0]


def instance_norm(x: Any, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Any = None, bias: Any = None, use_input_stats: bool = True,
                  momentum: Any = 0.1, eps: float = 1e-5) -> Tensor:
    """Normalise channels of every sample, ``y = (x - mean) / sqrt(var + eps) weight + bias``.

    Mean and biased variance are those of a channel over all positions of one sample, or the
    running ones.

    Parameters
    ----------
    x : Tensor
        (N, ..., C) with at least one axis of positions, float32 or float64.
    running_mean, running_var : Tensor, optional
        (C,). With the input's statistics they are moved towards their mean over the samples, in
        place; the variance that goes in there is the unbiased one.
    weight, bias : Tensor, optional
        (C,), 1 and 0 without them.
    use_input_stats : bool
        Whether samples are normalised with their own statistics; False needs the running ones.
    momentum : float
        The weight of the new samples in the running statistics.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError
        When a channel has one value only.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky 2016, Instance normalization.
    """
    x = _input("instance_norm", x, "N, ..., C", 3, eps)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ParameterError(say("instance_norm", "running_mean and running_var with "
                                     "use_input_stats=False", "none", "Pass both"))
        return _known("instance_norm", x, running_mean, running_var,
                      _channels("instance_norm", x, weight, 1, "weight"),
                      _channels("instance_norm", x, bias, 0, "bias"), eps)
    _both("instance_norm", x, running_mean, running_var)
    n = math.prod(x.shape[1:-1])
    if x.size and n < 2:
        raise ShapeError(say("instance_norm", "more than one position per channel", "1",
                             "Use LayerNorm for single positions", {"x": (x.shape, "N, ..., C")}))
    y, mean, var = _per_sample("instance_norm", x, x.shape[-1], weight, bias, eps)
    if x.size:
        _track(running_mean, running_var, mean, var, n, momentum)
    return y


def _per_sample(where: str, x: Any, groups: int, weight: Any, bias: Any,
                eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, and mean and variance (N, groups)."""
    x = _input(where, x, "N, ..., C", 2, eps)
    N, C, n = x.shape[0], x.shape[-1], math.prod(x.shape[1:-1])
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1 or (
            C % groups or C == 0):
        raise ParameterError(say(where, f"a number of groups that divides {C} channels",
                                 repr(groups), "Channels are the last axis",
                                 {"x": (x.shape, "N, ..., C")}))
    weight = _channels(where, x, weight, 1, "weight")
    bias = _channels(where, x, bias, 0, "bias")
    y, mean, var = ops.norm(reshape(x, (N, n, C)), weight, bias, int(groups), eps)
    return reshape(y, x.shape), mean, var
