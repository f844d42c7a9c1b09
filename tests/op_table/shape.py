"""Rows of the movement ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ParameterError, ShapeError
from medai_engine.ops import shape as shape_ops

from . import Draw, bad, pin, r0, row, sample, torch

SHAPES = [(2, 3), (3, 4, 5), (7,), (), (1,), (0, 3)]


def plain(r: Draw) -> list[Any]:
    """Return samples of an op without parameters."""
    return [sample(r.normal(*s)) for s in SHAPES]


row("copy", plain, pins=[pin(np.array([1, 2]), np.array([1, 2]))],
    bad=[bad(DTypeError, "copy: expected numbers", ["a"])],
    oracles={"torch": lambda x: x.clone()})
row("alias", plain, oracles={"torch": lambda x: x},
    exempt={"bad": "takes every tensor; only the engine calls it"})


def _astype_samples(r: Draw) -> list[Any]:
    # to the same dtype (then differences can check the gradient), to integers and to booleans
    kinds = [lambda d: d, np.dtype(np.int64), np.dtype(bool)]
    return [sample(3 * r.normal(*s), dtype=kinds[i % 3], source=lambda d: d)
            for i, s in enumerate([*SHAPES, (4, 5)])]


F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
row("astype", _astype_samples,
    bad=[bad(DTypeError, "float32", r0(3), function=lambda x: shape_ops.astype(x, "complex64"))],
    pins=[pin(np.array([1, -1, 0]), [1.9, -1.9, 0.0], dtype=np.dtype(np.int64), source=lambda d: d),
          pin([0.5, -2.0], [0.5, -2.0], dtype=lambda d: F32 if d == F64 else F64,
              source=lambda d: d, gradients=[[1.0, 1.0]])],
    exempt={"param source": "the dtype of the input, which the checks vary"})

row("reshape", lambda r: [
        sample(r.normal(2, 3), shape=(3, 2)), sample(r.normal(3, 4, 5), shape=(5, -1)),
        sample(r.normal(7), shape=(1, 7)), sample(r.normal(), shape=(1,)),
        sample(r.normal(1, 1), shape=()), sample(r.normal(0, 3), shape=(3, 0))],
    bad=[bad(ShapeError, r"shape of 6 elements, got \(4, 2\).*x \(2, 3\)", r0(2, 3), shape=(4, 2)),
         bad(ShapeError, "at most one -1", r0(2, 3), shape=(-1, -1)),
         bad(ParameterError, "integers", r0(2, 3),
             function=lambda x: shape_ops.reshape(x, 2.0, 3))],
    oracles={"torch": lambda x, shape: x.reshape(shape)})

row("permute_dims", lambda r: [
        sample(r.normal(2, 3), axes=(1, 0)), sample(r.normal(3, 4, 5), axes=(2, 0, 1)),
        sample(r.normal(3, 4, 5), axes=(-1, 1, 0)), sample(r.normal(7), axes=(0,)),
        sample(r.normal(), axes=()), sample(r.normal(1, 3), axes=(1, 0)),
        sample(r.normal(0, 3), axes=(1, 0))],
    bad=[bad(ShapeError, r"each of the 2 axes once.*x \(2, 3\)", r0(2, 3), axes=(0, 0)),
         bad(ShapeError, "axes once", r0(2, 3), axes=(0, 2))],
    oracles={"torch": lambda x, axes: x.permute(axes)})

BROADCASTS = [((2, 1), (2, 3)), ((3, 1, 5), (3, 4, 5)), ((5,), (4, 5)), ((), (7,)), ((1,), (1,)),
              ((1, 3), (0, 3)), ((0, 1), (0, 3))]
row("broadcast_to", lambda r: [sample(r.normal(*s), shape=t) for s, t in BROADCASTS],
    bad=[bad(ShapeError, r"\(2, 3\) broadcasts to, got \(2, 4\)", r0(2, 3), shape=(2, 4))],
    oracles={"torch": lambda x, shape: x.broadcast_to(shape)})
row("sum_to", lambda r: [sample(r.normal(*t), shape=s) for s, t in BROADCASTS],
    large=lambda r: sample(r.normal(3001, 7, 5), shape=(7, 1)),
    terms=lambda x, shape: (x.size, np.abs(x).sum()),
    bad=[bad(ShapeError, r"\(2, 3\)", r0(2, 3), shape=(2, 2))],
    oracles={"torch": lambda x, shape: x.sum_to_size(shape)})

row("concat", lambda r: [
        sample(r.normal(2, 3), r.normal(1, 3), axis=0),
        sample(r.normal(3, 4), r.normal(3, 2), r.normal(3, 5), axis=1),
        sample(r.normal(2, 3, 4), r.normal(2, 3, 1), axis=-1), sample(r.normal(7), axis=0),
        sample(r.normal(0, 3), r.normal(2, 3), axis=0)],
    bad=[bad(ShapeError, r"\(2, 3\) and \(2, 4\)", r0(2, 3), r0(2, 4), axis=0),
         bad(ShapeError, "axis between", r0(2, 3), r0(2, 3), axis=2),
         bad(DTypeError, "one dtype", r0(2), r0(2).astype(np.float64), axis=0),
         bad(ParameterError, "at least one", axis=0)],
    oracles={"torch": lambda *xs, axis: torch().cat(xs, axis)})

INDICES = [((2, 3), (1,)), ((3, 4, 5), (slice(None), slice(1, None, 2), None, -1)),
           ((7,), (slice(None, None, -1),)), ((7,), (3,)), ((4, 5), (Ellipsis, slice(1, 4))),
           ((), ()), ((1,), (0,)), ((0, 3), (slice(None), 1)), ((4, 5), (slice(2, 2),))]
row("slice", lambda r: [sample(r.normal(*s), index=i) for s, i in INDICES],
    bad=[bad(ShapeError, r"index into shape \(2, 3\), got \(2,\)", r0(2, 3), index=(2,)),
         bad(ShapeError, r"shape \(2, 3\)", r0(2, 3), index=(0, 0, 0))],
    oracles={"numpy": lambda x, index: x[index]})
row("unslice", lambda r: [sample(r.normal(*np.zeros(s)[i].shape), shape=s, index=i)
                          for s, i in INDICES],
    oracles={"numpy": lambda g, shape, index: _unslice(g, shape, index)},
    exempt={"bad": "only the gradient of slice calls it, with the index that slice has checked"})


def _unslice(g: np.ndarray, shape: tuple[int, ...], index: tuple[Any, ...]) -> np.ndarray:
    """Place g by flat numbers."""
    y = np.zeros(shape)
    y.ravel()[np.arange(y.size).reshape(shape)[index].ravel()] = g.ravel()
    return y
