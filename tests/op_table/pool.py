"""Rows of max pooling and of resampling: averages, adaptive windows, interpolation, adjoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ParameterError, ShapeError
from medai_engine.ops.pool import Adaptive, Adjoint, Sliding
from medai_engine.ops.upsample import Linear, Nearest

from . import Draw, Sample, bad, pin, r0, row, sample, torch

# x, windows: plain, overlapping, padded, ceil, dilated, adaptive, 1 to 3 axes, one entry, no row
MAX = [((1, 4, 2), (Sliding(2, 2),)),
       ((2, 5, 3), (Sliding(3, 1, 1),)),
       ((1, 5, 4, 3), (Sliding(2, 2, 0, 1, True), Sliding(3, 2, 1, 1, True))),
       ((1, 7, 5, 1), (Sliding(3, 2, 1, 2), Sliding(2, 1, 1, 2))),
       ((2, 5, 3, 2), (Adaptive(3), Adaptive(2))),
       ((1, 3, 4, 2, 2), (Sliding(2, 1), Sliding(2, 2), Sliding(1, 1))),
       ((1, 1, 1, 1), (Sliding(1, 1), Adaptive(1))),
       ((0, 3, 2), (Sliding(2, 1),))]
MEAN = [*[(shape, windows) for shape, windows in MAX if all(w.step == 1 for w in windows)],
        ((1, 5, 3), (Sliding(3, 2, 1, 1, True, False),)),
        ((1, 7, 2), (Sliding(2, 3),)),
        ((1, 3, 2, 2), (Nearest(6, 0.5), Nearest(3, 1 / 1.8))),
        ((1, 4, 3, 1), (Linear(8, 0.5), Linear(2, 1.5))),
        ((1, 2, 3, 2, 1), (Linear(3, 2 / 3), Linear(2, 1.5), Linear(3, 2 / 3)))]


def outputs(shape: tuple[int, ...], windows: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape behind windows."""
    return (shape[0], *(w.out("test", n) for w, n in zip(windows, shape[1:-1], strict=True)),
            shape[-1])


def _torch_max(x: Any, windows: tuple[Any, ...]) -> Any:
    F, rank = torch().nn.functional, len(windows)
    if x.numel() == 0:
        shape = outputs(tuple(x.shape), windows)
        return x.new_zeros(shape), torch().zeros(shape, dtype=torch().int32)
    x = x.movedim(-1, 1)
    if all(isinstance(w, Adaptive) for w in windows):
        found = getattr(F, f"adaptive_max_pool{rank}d")(
            x, [w.n for w in windows], return_indices=True)
    else:  # an adaptive axis of one window is a sliding one over everything
        windows = tuple(w if isinstance(w, Sliding) else Sliding(n, n)
                        for w, n in zip(windows, x.shape[2:], strict=True))
        k, s, p, d = (list(v) for v in zip(*[
            (w.kernel, w.stride, w.padding, w.step) for w in windows], strict=True))
        ceil = any(w.ceil for w in windows)
        found = getattr(F, f"max_pool{rank}d")(x, k, s, p, d, ceil, return_indices=True)
    return tuple(t.movedim(1, -1) for t in found)


def places(x: np.ndarray, windows: tuple[Any, ...]) -> np.ndarray:
    """Return where the maxima stand, by PyTorch's count or (without it) by a search."""
    from medai_engine.ops.pool import max_pool

    return np.asarray(max_pool(x, windows)[1].data)


def drawn(inputs: Callable[[Draw, tuple[int, ...], tuple[Any, ...]], Sample],
          cases: list[Any]) -> Callable[[Draw], list[Sample]]:
    """Return samples, one per case."""
    return lambda r: [inputs(r, shape, windows) for shape, windows in cases]


LARGE = ((3, 70, 40, 9), (Sliding(3, 2, 1), Sliding(2, 1)))


def _max_sample(r: Draw, shape: tuple[int, ...], windows: tuple[Any, ...]) -> Sample:
    return sample(r.distinct(*shape), windows=windows)


row("max_pool", drawn(_max_sample, MAX), large=lambda r: _max_sample(r, *LARGE),
    derivative="stencil", oracles={"torch": _torch_max},
    bad=[bad(ShapeError, "at least 3 entries.*got 2", r0(1, 2, 2), windows=(Sliding(3, 1),)),
         bad(ShapeError, r"\(N, H, W, C\), got", r0(1, 2, 2), windows=(Sliding(1, 1),) * 2),
         bad(ShapeError, "in the padding", r0(1, 1, 2), windows=(Sliding(2, 1, 1, 2),)),
         bad(ShapeError, "at least one entry", r0(1, 0, 2), windows=(Adaptive(1),)),
         bad(DTypeError, "floating", np.zeros((1, 2, 2), int), windows=(Sliding(1, 1),))],
    pins=[pin([[[[2.0], [5.0]]], np.array([[[1], [2]]])], [[[1.0], [2.0], [5.0], [5.0]]],
              windows=(Sliding(2, 2),)),  # the first of equal ones
          pin([[[[np.nan]]], np.array([[[1]]])], [[[3.0], [np.nan], [9.0]]],
              windows=(Adaptive(1),)),
          pin([[[[-np.inf]]], np.array([[[0]]])], [[[-np.inf], [-np.inf]]],
              windows=(Adaptive(1),))])


def _max_grad_sample(r: Draw, shape: tuple[int, ...], windows: tuple[Any, ...]) -> Sample:
    return sample(r.normal(*outputs(shape, windows)), places(r.distinct(*shape), windows),
                  shape=shape, windows=windows)


def _added(g: Any, index: Any, shape: tuple[int, ...], windows: tuple[Any, ...]) -> Any:
    """Return the sum of g by place, by scatter_add."""
    flat = torch().zeros(shape[0], int(np.prod(shape[1:-1])), shape[-1], dtype=g.dtype)
    return flat.scatter_add(1, index.long().flatten(1, -2), g.flatten(1, -2)).reshape(shape)


def _magnitude(g: np.ndarray, index: np.ndarray, shape: tuple[int, ...],
               windows: tuple[Any, ...]) -> tuple[int, Any]:
    """Return the number of terms in a sum, and their sizes."""
    found = np.zeros((shape[0], int(np.prod(shape[1:-1])), shape[-1]))
    for n, o, c in np.ndindex(g.shape[0], int(np.prod(g.shape[1:-1])), g.shape[-1]):
        found[n, index.reshape(len(g), -1, g.shape[-1])[n, o, c], c] += abs(
            g.reshape(len(g), -1, g.shape[-1])[n, o, c])
    return 9, found.reshape(shape)


row("max_pool_grad", drawn(_max_grad_sample, MAX), large=lambda r: _max_grad_sample(r, *LARGE),
    terms=_magnitude, oracles={"torch": _added},
    bad=[bad(ShapeError, r"places \(int32\) of shape", r0(1, 2, 2), np.zeros((1, 3, 2), np.int32),
             shape=(1, 4, 2), windows=(Sliding(2, 2),))],
    pins=[pin([[[1.0], [0.0], [5.0]]], [[[1.0], [2.0], [3.0]]],
              np.array([[[0], [2], [2]]], np.int32), shape=(1, 3, 1),
              windows=(Sliding(3, 1, 1),), gradients=[[[[1.0], [1.0], [1.0]]]])])

row("max_pool_take", drawn(lambda r, shape, windows: sample(
        r.normal(*shape), places(r.distinct(*shape), windows), windows=windows), MAX),
    large=lambda r: sample(r.normal(*LARGE[0]), places(r.distinct(*LARGE[0]), LARGE[1]),
                           windows=LARGE[1]),
    oracles={"torch": lambda x, index, windows: x.flatten(1, -2).gather(
        1, index.long().flatten(1, -2)).reshape(index.shape)},
    bad=[bad(ShapeError, "as many samples", r0(2, 4, 2), np.zeros((1, 2, 2), np.int32),
             windows=(Sliding(2, 2),))])


def _resample_sample(r: Draw, shape: tuple[int, ...], windows: tuple[Any, ...]) -> Sample:
    return sample(r.normal(*shape), windows=windows)


def _back(shape: tuple[int, ...], windows: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return a case for the adjoint."""
    return outputs(shape, windows), tuple(
        Adjoint(w, n) for w, n in zip(windows, shape[1:-1], strict=True))


def _matrix(w: Any, size: int) -> np.ndarray:
    """Return an axis as a matrix by PyTorch's one-dimensional function of the identity."""
    if isinstance(w, Adjoint):
        return _matrix(w.window, w.size).T
    F = torch().nn.functional
    eye = torch().eye(size, dtype=torch().float64)[:, None]
    if isinstance(w, Sliding):
        y = F.avg_pool1d(eye, w.kernel, w.stride, w.padding, w.ceil, w.include_pad)
    elif isinstance(w, Adaptive):
        y = F.adaptive_avg_pool1d(eye, w.n)
    else:
        mode = "nearest" if isinstance(w, Nearest) else "linear"
        y = F.interpolate(eye, scale_factor=1 / w.scale, mode=mode)
    return y[:, 0].T.numpy()


def _applied(x: Any, windows: tuple[Any, ...]) -> Any:
    """Apply PyTorch's windows axis by axis."""
    for axis, w in enumerate(windows, 1):
        matrix = torch().from_numpy(np.ascontiguousarray(_matrix(w, x.shape[axis])))
        x = torch().tensordot(x, matrix.to(x.dtype), dims=([axis], [1])).movedim(-1, axis)
    return x


def _resample_terms(x: np.ndarray, windows: tuple[Any, ...]) -> tuple[int, Any]:
    y = abs(x)
    for axis, w in enumerate(windows, 1):
        table, weights = w.table(x.shape[axis]), w.weights(x.shape[axis])
        matrix = np.zeros((len(table), x.shape[axis]))
        for o, (start, stop) in enumerate(table):
            matrix[o, start:stop] = weights[o, :stop - start]
        y = np.moveaxis(np.tensordot(y, matrix, ([axis], [1])), -1, axis)
    return 27, y


row("resample", drawn(_resample_sample, [*MEAN, *[_back(*case) for case in MEAN]]),
    large=lambda r: _resample_sample(r, *LARGE), terms=_resample_terms,
    oracles={"torch": _applied},
    exempt={"cost": "the definition multiplies by whole matrices, windows have few entries"},
    bad=[bad(ShapeError, "at least 3 entries.*got 2", r0(1, 2, 2), windows=(Sliding(3, 1),)),
         bad(ParameterError, "a dilation", r0(1, 5, 2), windows=(Sliding(2, 1, 0, 2),)),
         bad(ShapeError, "2 entries along an axis of the gradient, got 3", r0(1, 3, 2),
             windows=(Adjoint(Sliding(2, 2), 4),)),
         bad(ShapeError, "before and after, got 0", r0(1, 0, 2), windows=(Nearest(2, 0.5),)),
         bad(DTypeError, "floating", np.zeros((1, 2, 2), int), windows=(Sliding(1, 1),))],
    pins=[pin([[[1.0], [3.0], [1.0]]], [[[2.0], [4.0], [2.0], [2.0]]],
              windows=(Sliding(2, 2, 1),), gradients=[[[[0.5], [0.5], [0.5], [0.5]]]])])
