"""Pooling and upsampling of signals (N, L, C), images (N, H, W, C) and volumes (N, D, H, W, C)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError, say
from ..ops import pool as ops
from ..ops.upsample import Linear, Nearest
from ..tensor import Tensor
from .common import tensor

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
           "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "avg_pool1d",
           "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "upsample"]

Sizes = int | Sequence[int]


def each(where: str, name: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """Return one integer of at least `least` per axis; one alone serves all axes."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank or any(isinstance(v, bool) or not isinstance(v, (int, np.integer))
                                  or v < least for v in values):
        raise ParameterError(say(where, f"{name} to be an integer of at least {least}, or {rank}",
                                 repr(value), f"Pass {name}={max(2, least)}, for example"))
    return tuple(int(v) for v in values)


def _sliding(where: str, rank: int, kernel: Any, stride: Any, padding: Any, dilation: Any,
             ceil_mode: bool, include_pad: bool = True) -> tuple[ops.Sliding, ...]:
    kernels = each(where, "kernel_size", kernel, rank, 1)
    strides = kernels if stride is None else each(where, "stride", stride, rank, 1)
    paddings = each(where, "padding", padding, rank, 0)
    if any(2 * p > k for p, k in zip(paddings, kernels, strict=True)):
        raise ParameterError(say(where, "padding of at most half the kernel_size",
                                 f"{paddings} for {kernels}", "Pad with me.pad to go further"))
    steps = each(where, "dilation", dilation, rank, 1)
    return tuple(ops.Sliding(k, s, p, d, bool(ceil_mode), bool(include_pad))
                 for k, s, p, d in zip(kernels, strides, paddings, steps, strict=True))


def _adaptive(where: str, x: Tensor, rank: int, size: Any) -> tuple[ops.Adaptive, ...]:
    if x.ndim != rank + 2:
        raise ShapeError(say(where, f"x with {rank} axes between N and C", str(x.shape),
                             "Channels are the last axis"))
    values = size if isinstance(size, (tuple, list)) else (size,) * rank
    if len(values) == rank:
        values = [n if v is None else v for v, n in zip(values, x.shape[1:-1], strict=True)]
    return tuple(map(ops.Adaptive, each(where, "output_size", values, rank, 1)))


def _max(where: str, x: Any, windows: tuple[Any, ...], return_indices: bool) -> Any:
    found = ops.max_pool(tensor(x), windows)
    return found if return_indices else found[0]


def max_pool1d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """Largest entries of windows of a signal (N, L, C); arguments as in ``max_pool2d``."""
    return _max("max_pool1d", x, _sliding("max_pool1d", 1, kernel_size, stride, padding, dilation,
                                          ceil_mode), return_indices)


def max_pool2d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """Largest entry of every window, ``y[n, o, c] = max_i x[n, o stride + i - padding, c]``.

    Parameters
    ----------
    x : Tensor
        (N, H, W, C), float32 or float64.
    kernel_size : int or pair
        Entries of a window.
    stride : int or pair, optional
        How far windows are apart; as large as they are by default.
    padding : int or pair
        Positions around the image that never win; at most half the kernel.
    dilation : int or pair
        How far the entries of a window are apart.
    ceil_mode : bool
        Whether a last window may reach over the end.
    return_indices : bool
        Whether to return the places of the maxima as well, row-major within an image.

    Returns
    -------
    Tensor, or Tensor and Tensor
        (N, OH, OW, C). The gradient goes to the first of equal maxima; NaN wins.

    Raises
    ------
    ShapeError
        When a window is larger than the padded image.

    References
    ----------
    Scherer, Muller, Behnke 2010, Evaluation of pooling operations.
    """
    return _max("max_pool2d", x, _sliding("max_pool2d", 2, kernel_size, stride, padding, dilation,
                                          ceil_mode), return_indices)


def max_pool3d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """Largest entries of windows of a volume (N, D, H, W, C); arguments as in ``max_pool2d``."""
    return _max("max_pool3d", x, _sliding("max_pool3d", 3, kernel_size, stride, padding, dilation,
                                          ceil_mode), return_indices)


def avg_pool1d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """Means of windows of a signal (N, L, C); arguments as in ``avg_pool2d``."""
    return ops.resample(tensor(x), _sliding("avg_pool1d", 1, kernel_size, stride, padding, 1,
                                            ceil_mode, count_include_pad))


def avg_pool2d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """Mean of every window, ``y[n, o, c] = mean over i of x[n, o stride + i - padding, c]``.

    Parameters
    ----------
    x : Tensor
        (N, H, W, C), float32 or float64.
    kernel_size : int or pair
        Entries of a window.
    stride : int or pair, optional
        How far windows are apart; as large as they are by default.
    padding : int or pair
        Zeros around the image; at most half the kernel.
    ceil_mode : bool
        Whether a last window may reach over the end.
    count_include_pad : bool
        Whether the zeros of the padding count in the mean.

    Returns
    -------
    Tensor
        (N, OH, OW, C).

    Raises
    ------
    ShapeError
        When a window is larger than the padded image.

    Examples
    --------
    >>> from medai_engine import functional as F
    >>> F.avg_pool1d([[[1.0], [3.0], [5.0], [9.0]]], 2)
    tensor([[[2.],
             [7.]]])
    """
    return ops.resample(tensor(x), _sliding("avg_pool2d", 2, kernel_size, stride, padding, 1,
                                            ceil_mode, count_include_pad))


def avg_pool3d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """Means of windows of a volume (N, D, H, W, C); arguments as in ``avg_pool2d``."""
    return ops.resample(tensor(x), _sliding("avg_pool3d", 3, kernel_size, stride, padding, 1,
                                            ceil_mode, count_include_pad))


def _mean(where: str, x: Any, rank: int, size: Any) -> Tensor:
    x = tensor(x)
    return ops.resample(x, _adaptive(where, x, rank, size))


def _top(where: str, x: Any, rank: int, size: Any, return_indices: bool) -> Any:
    x = tensor(x)
    return _max(where, x, _adaptive(where, x, rank, size), return_indices)


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Tensor:
    """Means of windows that cover a signal; arguments as in ``adaptive_avg_pool2d``."""
    return _mean("adaptive_avg_pool1d", x, 1, output_size)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Tensor:
    """Means of windows that cover the image, ``floor(o H / OH)`` to ``ceil((o + 1) H / OH)``.

    Parameters
    ----------
    x : Tensor
        (N, H, W, C), float32 or float64.
    output_size : int, or pair of int or None
        (OH, OW); None keeps the size of the image.

    Returns
    -------
    Tensor
        (N, OH, OW, C).
    """
    return _mean("adaptive_avg_pool2d", x, 2, output_size)


def adaptive_avg_pool3d(x: Any, output_size: Any) -> Tensor:
    """Means of windows that cover a volume; arguments as in ``adaptive_avg_pool2d``."""
    return _mean("adaptive_avg_pool3d", x, 3, output_size)


def adaptive_max_pool1d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of windows that cover a signal; arguments as in ``adaptive_avg_pool2d``."""
    return _top("adaptive_max_pool1d", x, 1, output_size, return_indices)


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of windows that cover an image; arguments as in ``adaptive_avg_pool2d``."""
    return _top("adaptive_max_pool2d", x, 2, output_size, return_indices)


def adaptive_max_pool3d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of windows that cover a volume; arguments as in ``adaptive_avg_pool2d``."""
    return _top("adaptive_max_pool3d", x, 3, output_size, return_indices)


RANKS = {"linear": 1, "bilinear": 2, "trilinear": 3}


def upsample(x: Any, scale_factor: Any = None, mode: str = "nearest", size: Any = None) -> Tensor:
    """Enlarge (or shrink) every spatial axis, ``y[o] = x[(o + 1/2) / scale - 1/2]`` or nearest.

    Parameters
    ----------
    x : Tensor
        (N, L, C), (N, H, W, C) or (N, D, H, W, C), float32 or float64.
    scale_factor : float, or one per axis, optional
        An axis of n entries gets floor(n scale_factor).
    mode : str
        "nearest" copies the entry at floor(o / scale); "linear", "bilinear", "trilinear"
        (signals, images, volumes) interpolate between the centres of pixels, with the first and
        last entry repeated beyond.
    size : int, or one per axis, optional
        The sizes of the result instead of a scale_factor.

    Returns
    -------
    Tensor
        (N, *sizes, C).

    Raises
    ------
    ParameterError
        For an unknown mode, or one of another number of axes.

    Examples
    --------
    >>> from medai_engine import functional as F
    >>> F.upsample([[[1.0], [3.0]]], 2, "linear")
    tensor([[[1. ],
             [1.5],
             [2.5],
             [3. ]]])
    """
    x = tensor(x)
    rank = x.ndim - 2
    if not 1 <= rank <= 3:
        raise ShapeError(say("upsample", "x of shape (N, ..., C) with 1 to 3 axes between",
                             str(x.shape), "Channels are the last axis"))
    if mode != "nearest" and RANKS.get(mode) != rank:
        fits = next(name for name, n in RANKS.items() if n == rank)
        raise ParameterError(say("upsample", f'mode "nearest" or "{fits}" for {rank} axes',
                                 repr(mode), f'Pass mode="{fits}"'))
    if (scale_factor is None) == (size is None):
        raise ParameterError(say("upsample", "scale_factor or size", "both or none",
                                 "Pass scale_factor=2, for example"))
    kind: Any = Nearest if mode == "nearest" else Linear
    if size is not None:
        sizes = each("upsample", "size", size, rank, 1)
        scales = [n / m for n, m in zip(x.shape[1:-1], sizes, strict=True)]
    else:
        factors = list(scale_factor) if isinstance(scale_factor, (tuple, list)) else [
            scale_factor] * rank
        if len(factors) != rank or any(isinstance(f, bool) or not isinstance(
                f, (int, float, np.integer, np.floating)) or not 0 < f < np.inf for f in factors):
            raise ParameterError(say("upsample", f"a positive scale_factor, or {rank}",
                                     repr(scale_factor), "Pass scale_factor=2, for example"))
        sizes = tuple(int(n * f) for n, f in zip(x.shape[1:-1], factors, strict=True))
        scales = [1.0 / float(f) for f in factors]
    return ops.resample(x, tuple(map(kind, sizes, scales)))
