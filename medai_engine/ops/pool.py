"""Pooling: max pooling with its places, and resampling, which all averaging is.

An axis of the result is described by a window: which inputs an output reads, and with what
weights. The kernels see three spatial axes and one table of windows for each; sliding and adaptive
windows, averages, interpolation (``upsample.py``) and their adjoints differ in the tables only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from ..coerce import FLOATS
from ..errors import DTypeError, ParameterError, ShapeError, say
from ..op import Op, apply, define
from ..tensor import Tensor

__all__ = ["Adaptive", "Sliding", "max_pool", "resample"]


class Window(Protocol):
    """How the outputs of an axis come from its inputs."""

    step: int

    def out(self, where: str, size: int) -> int:
        """Return the number of outputs for `size` inputs; raise where there can be none."""

    def table(self, size: int) -> np.ndarray:
        """Return (start, stop) of every output, (outputs, 2) int64."""

    def weights(self, size: int) -> np.ndarray:
        """Return the weights of every output from its start on, (outputs, width)."""


@dataclass(frozen=True)
class Sliding:
    """A window of `kernel` inputs, `step` apart, that moves by `stride`."""

    kernel: int
    stride: int
    padding: int = 0
    step: int = 1
    ceil: bool = False
    include_pad: bool = True  # whether an average divides by the padding as well

    def out(self, where: str, size: int) -> int:
        """Return how often the window fits; with `ceil` it may end beyond the padding."""
        reach = self.step * (self.kernel - 1) + 1
        if size + 2 * self.padding < reach:
            raise ShapeError(say(where, f"at least {reach - 2 * self.padding} entries along each "
                                 f"pooled axis for a window of {reach} with padding "
                                 f"{self.padding}", str(size), "Use a smaller kernel_size"))
        table = self.table(size)
        if size == 0 or (table[:, 0] >= table[:, 1]).any():
            raise ShapeError(say(where, "an entry in every window", f"a window in the padding of "
                                 f"{size} entries", "Use a smaller dilation or padding"))
        return len(table)

    def bounds(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where windows start and stop, padding included."""
        reach = self.step * (self.kernel - 1) + 1
        n = (size + 2 * self.padding - reach + (self.stride - 1 if self.ceil else 0)
             ) // self.stride + 1
        if self.ceil and (n - 1) * self.stride >= size + self.padding:
            n -= 1  # a window has to start inside
        start = np.arange(n, dtype=np.int64) * self.stride - self.padding
        return start, start + reach

    def table(self, size: int) -> np.ndarray:
        """Return windows cut to the inputs; with a step, to the first that it meets."""
        start, stop = self.bounds(size)
        first = np.where(start < 0, start + -(start // self.step) * self.step, start)
        return np.stack([first, np.minimum(stop, size)], axis=1)

    def weights(self, size: int) -> np.ndarray:
        """Return one over the number of entries of each window."""
        start, stop = self.bounds(size)
        if self.include_pad:
            count = np.minimum(stop, size + self.padding) - start
        else:
            count = np.minimum(stop, size) - np.maximum(start, 0)
        return np.repeat(1.0 / count[:, None], self.kernel, axis=1)


@dataclass(frozen=True)
class Adaptive:
    """As many windows as asked for, output o from floor(o size / n) to ceil((o + 1) size / n)."""

    n: int
    step: int = 1

    def out(self, where: str, size: int) -> int:
        """Return the number that was asked for."""
        if size == 0:
            raise ShapeError(say(where, "at least one entry along each pooled axis", "none",
                                 "Check for an empty image"))
        return self.n

    def table(self, size: int) -> np.ndarray:
        """Return windows that cover all inputs."""
        o = np.arange(self.n, dtype=np.int64)
        return np.stack([o * size // self.n, -(-(o + 1) * size // self.n)], axis=1)

    def weights(self, size: int) -> np.ndarray:
        """Return one over the number of entries of each window."""
        count = np.diff(self.table(size), axis=1)
        return np.repeat(1.0 / count, count.max(), axis=1)


@dataclass(frozen=True)
class Adjoint:
    """The transposed of a window on `size` inputs: outputs become inputs."""

    window: Any
    size: int
    step: int = 1

    def out(self, where: str, size: int) -> int:
        """Return the inputs of the window; their outputs come in."""
        n = self.window.out(where, self.size)
        if n != size:
            raise ShapeError(say(where, f"{n} entries along an axis of the gradient", str(size),
                                 "Pass what the pooling gave"))
        return self.size

    def _taps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return output, input and weight of every tap, and per input its first output."""
        table, weights = self.window.table(self.size), self.window.weights(self.size)
        counts = table[:, 1] - table[:, 0]
        outputs = np.repeat(np.arange(len(table)), counts)
        within = np.arange(len(outputs)) - np.repeat(np.cumsum(counts) - counts, counts)
        inputs = table[outputs, 0] + within
        first = np.full(self.size, len(table))
        np.minimum.at(first, inputs, outputs)
        return outputs, inputs, weights[outputs, within], first

    def table(self, size: int) -> np.ndarray:
        """Return the range of outputs that read each input."""
        outputs, inputs, _, first = self._taps()
        last = np.zeros(self.size, np.int64)
        np.maximum.at(last, inputs, outputs + 1)
        return np.stack([np.minimum(first, last), last], axis=1).astype(np.int64)

    def weights(self, size: int) -> np.ndarray:
        """Return the weights with which they read it."""
        outputs, inputs, values, first = self._taps()
        found = np.zeros((self.size, int(np.diff(self.table(size), axis=1).max(initial=1))))
        found[inputs, outputs - first[inputs]] = values
        return found


WHOLE = Adaptive(1)  # an axis that is not there


@lru_cache(maxsize=1024)
def _tables(windows: tuple[Any, ...], sizes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return tuple(w.table(n) for w, n in zip(_three(windows), _sizes(sizes), strict=True))


@lru_cache(maxsize=1024)
def _weights(windows: tuple[Any, ...], sizes: tuple[int, ...],
             dtype: np.dtype[Any]) -> tuple[np.ndarray, ...]:
    return tuple(np.ascontiguousarray(w.weights(n), dtype)
                 for w, n in zip(_three(windows), _sizes(sizes), strict=True))


@lru_cache(maxsize=1024)
def _outputs(where: str, windows: tuple[Any, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(w.out(where, n) for w, n in zip(windows, sizes, strict=True))


def _three(windows: tuple[Any, ...]) -> tuple[Any, ...]:
    return (WHOLE,) * (3 - len(windows)) + windows


def _sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (3 - len(shape)) + shape


def _volume(x: np.ndarray) -> np.ndarray:
    """Return (N, *S, C) as (N, D, H, W, C)."""
    return x.reshape(x.shape[0], *_sizes(x.shape[1:-1]), x.shape[-1])


def _spatial(where: str, x: np.ndarray, windows: tuple[Any, ...]) -> tuple[int, ...]:
    """Validate x; return the shape behind the windows."""
    if x.dtype not in FLOATS:
        raise DTypeError(say(where, "floating values", str(x.dtype),
                             "Convert with .astype(me.float32) first", {"x": x.shape}))
    if not 1 <= len(windows) <= 3 or x.ndim != len(windows) + 2:
        axes = ("N", "D", "H", "W", "C") if len(windows) == 3 else (
            ("N", "H", "W", "C") if len(windows) == 2 else ("N", "L", "C"))
        raise ShapeError(say(where, f"x of shape ({', '.join(axes)})", str(x.shape),
                             "Channels are the last axis"))
    return (x.shape[0], *_outputs(where, windows, x.shape[1:-1]), x.shape[-1])


# ---- max pooling ------------------------------------------------------------------------------


def _max_infer(x: np.ndarray, *, windows: tuple[Any, ...]) -> list[Any]:
    shape = _spatial("max_pool", x, windows)
    return [(shape, x.dtype), (shape, np.int32)]


def _max_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                 params: dict[str, Any]) -> tuple[Any, ...]:
    x, windows = arrays[0], params["windows"]
    return (_volume(x), *[_volume(y) for y in outs], *_tables(windows, x.shape[1:-1]),
            tuple([w.step for w in _three(windows)]))


def _compared(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    """Count one comparison per entry of a window but the first."""
    x, total = arrays[0], 1
    for (start, stop), step in zip(
            [table.T for table in _tables(params["windows"], x.shape[1:-1])],
            [w.step for w in _three(params["windows"])], strict=True):
        total *= int(((stop - start + step - 1) // step).sum())
    outputs = int(np.prod(outs[0][0][1:-1]))
    return 0, x.shape[0] * x.shape[-1] * (total - outputs)


def _grad_infer(g: np.ndarray, index: np.ndarray, *, shape: tuple[int, ...],
                windows: tuple[Any, ...]) -> tuple[tuple[int, ...], Any]:
    if g.shape != index.shape or index.dtype != np.int32:
        raise ShapeError(say("max_pool_grad", f"places (int32) of shape {g.shape}",
                             f"{index.dtype} of {index.shape}", "Pass what max_pool gave"))
    return shape, g.dtype


def _grad_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> tuple[Any, ...]:
    windows = params["windows"]
    return (*[_volume(a) for a in (*arrays, *outs)], *_tables(windows, params["shape"][1:-1]),
            tuple([w.step for w in _three(windows)]))


def _take_infer(x: np.ndarray, index: np.ndarray, *,
                windows: tuple[Any, ...]) -> tuple[tuple[int, ...], Any]:
    if x.ndim != index.ndim or x.shape[0] != index.shape[0] or x.shape[-1] != index.shape[-1] or (
            index.dtype != np.int32):
        raise ShapeError(say("max_pool_take", "places (int32) of as many samples and channels",
                             f"{index.dtype} of {index.shape}", "Pass what max_pool gave",
                             {"x": x.shape}))
    return index.shape, x.dtype


def _take_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> list[np.ndarray]:
    return [a.reshape(a.shape[0], int(np.prod(a.shape[1:-1])), a.shape[-1])
            for a in (*arrays, *outs)]


MAX_POOL: Op = define(
    "max_pool", infer=_max_infer, kernel="max_pool", outputs=("y", "index"), prepare=_max_prepare,
    vjp={"x": lambda g, g_index, index, x_shape, windows: apply(
        MAX_POOL_GRAD, g, index, shape=x_shape, windows=windows)},
    work=_compared, onnx="MaxPool",
    doc="y = the largest entry of each window, index = its first place among an image's positions")
MAX_POOL_GRAD: Op = define(
    "max_pool_grad", infer=_grad_infer, kernel="max_pool_grad", prepare=_grad_prepare,
    vjp={"g": lambda u, index, windows: apply(MAX_POOL_TAKE, u, index, windows=windows)},
    work=lambda arrays, outs, params: (0, arrays[0].size), linear=[("g",)], analytic=True,
    onnx="none: a gradient", doc="y = sum of g over the outputs whose maximum stood at a place")
MAX_POOL_TAKE: Op = define(
    "max_pool_take", infer=_take_infer, kernel="max_pool_take", prepare=_take_prepare,
    vjp={"x": lambda u, index, x_shape, windows: apply(
        MAX_POOL_GRAD, u, index, shape=x_shape, windows=windows)},
    work=lambda arrays, outs, params: (0, arrays[1].size),  # is the place inside
    linear=[("x",)], analytic=True, onnx="none: a derivative of a gradient",
    doc="y = x at the places of the maxima: the adjoint of max_pool_grad")


def max_pool(x: Any, windows: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """Return the maxima of windows, and their places (int32, row-major within an image)."""
    return apply(MAX_POOL, x, windows=windows)


# ---- resample ---------------------------------------------------------------------------------


def _resample_infer(x: np.ndarray, *, windows: tuple[Any, ...]) -> tuple[tuple[int, ...], Any]:
    if any(w.step != 1 for w in windows):
        raise ParameterError(say("resample", "windows without gaps", "a dilation",
                                 "Only max pooling has one"))
    return _spatial("resample", x, windows), x.dtype


def _resample_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                      params: dict[str, Any]) -> tuple[Any, ...]:
    x, windows = arrays[0], params["windows"]
    # complex numbers of a gradient check take float64 weights
    dtype = x.dtype if x.dtype in FLOATS else FLOATS[1]
    return (_volume(x), _volume(outs[0]), *_tables(windows, x.shape[1:-1]),
            *_weights(windows, x.shape[1:-1], dtype))


def _resample_vjp(g: Tensor, x_shape: tuple[int, ...], windows: tuple[Any, ...]) -> Tensor:
    return apply(RESAMPLE, g, windows=tuple([
        w.window if isinstance(w, Adjoint) else Adjoint(w, n)
        for w, n in zip(windows, x_shape[1:-1], strict=True)]))


RESAMPLE: Op = define(
    "resample", infer=_resample_infer, kernel="resample", prepare=_resample_prepare,
    vjp={"x": _resample_vjp}, linear=[("x",)],
    work=lambda arrays, outs, params: (2 * arrays[0].shape[0] * arrays[0].shape[-1] * int(np.prod(
        [np.diff(table, axis=1).sum()
         for table in _tables(params["windows"], arrays[0].shape[1:-1])])), 0),
    onnx="AveragePool, GlobalAveragePool or Resize, by its windows",
    doc="y = sum over each window of weights times x, the product of one weight per axis")


def resample(x: Any, windows: tuple[Any, ...]) -> Tensor:
    """Return weighted sums of windows, one window per spatial axis of x (N, ..., C)."""
    return apply(RESAMPLE, x, windows=windows)
