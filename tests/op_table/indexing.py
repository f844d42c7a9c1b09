"""Rows of the ops that read and write by data."""

from __future__ import annotations

import numpy as np

import medai_engine as me
from medai_engine.errors import DTypeError, GraphError, ShapeError

from . import bad, pin, r0, row, sample, torch


def i0(*entries: int) -> np.ndarray:
    return np.array(entries, np.int64)


row("flat_index", lambda r: [
        sample(r.integers(-3, 3, 2, 4), sizes=(3,), where="indexing", axes=(0,)),
        sample(r.integers(-7, 7, 5).astype(np.int8), r.integers(0, 2, 3, 1), sizes=(7, 2),
               where="take", axes=(2, 1)),
        sample(r.integers(-2, 2, 4), r.integers(-3, 3), r.integers(0, 5, 2, 1), sizes=(2, 3, 5),
               where="indexing", axes=(0, 1, 3)),
        sample(np.zeros((0, 2), np.uint8), sizes=(1,), where="take", axes=(1,))],
    pins=[pin(i0(0, 3, 0, 3), i0(0, -1, -4, 3), sizes=(4,), where="take", axes=(0,)),
          pin(i0(5, 11, 0), i0(1, -1, 0), i0(1, 3, -4), sizes=(3, 4), where="take", axes=(0, 1))],
    bad=[bad(ShapeError, "axis 1 of size 3, got 3 at entry \\(2,\\)", i0(0, 1, 3), sizes=(3,),
             where="take", axes=(1,)),
         bad(ShapeError, "from -3 to 2 into axis 4 .* got -4", i0(0), i0(-4), sizes=(2, 3),
             where="take", axes=(0, 4)),
         bad(ShapeError, "index arrays that broadcast", i0(0, 1), i0(0, 1, 2), sizes=(2, 3),
             where="take", axes=(0, 1)),
         bad(DTypeError, "integers, got float32", r0(2), sizes=(3,), where="take", axes=(0,))])

row("gather", lambda r: [
        sample(r.normal(4, 3), r.integers(0, 4, 2)),
        sample(r.normal(3, 4, 5), r.integers(0, 3, 2, 6)),
        sample(r.normal(5), r.integers(0, 5, 7).astype(np.int32)),
        sample(r.normal(3, 2), np.array(2)),
        sample(r.integers(0, 9, 3, 2), r.integers(0, 3, 4)),
        sample(r.normal(3, 4), np.zeros((0,), np.int64)),
        sample(r.normal(3, 0), r.integers(0, 3, 4))],
    large=lambda r: sample(r.normal(501, 67), r.integers(0, 501, 1501)),
    bad=[bad(ShapeError, "from 0 to 3 into axis 0 of size 4, got 4", r0(4, 3), i0(0, 4)),
         bad(ShapeError, "got -1 at entry \\(0,\\)", r0(4, 3), i0(-1, 0)),
         bad(ShapeError, "of size 0, got 0", r0(0, 3), i0(0)),
         bad(ShapeError, "at least one axis", r0(), i0(0)),
         bad(DTypeError, "integers, got float32", r0(4, 3), r0(2))],
    oracles={"torch": lambda x, i: x[i.long()]})

row("scatter_add", lambda r: [
        sample(r.normal(5, 3), r.integers(0, 4, 5), shape=(4, 3)),
        sample(r.normal(2, 6, 4), r.integers(0, 3, 2, 6), shape=(3, 4)),
        sample(r.normal(7), r.integers(0, 2, 7).astype(np.int32), shape=(2,)),
        sample(r.normal(3), np.array(1), shape=(2, 3)),
        sample(r.normal(0, 3), np.zeros((0,), np.int64), shape=(2, 3)),
        sample(r.normal(4, 0), r.integers(0, 2, 4), shape=(2, 0))],
    large=lambda r: sample(r.normal(1501, 67), r.integers(0, 501, 1501), shape=(501, 67)),
    terms=lambda g, indices, shape: (indices.size, total(abs(g), indices, shape)),
    pins=[pin([1.0, 6.0, 0.0], np.array([1.0, 2.0, 4.0]), i0(0, 1, 1), shape=(3,))],
    bad=[bad(ShapeError, "got 4 at entry", r0(2, 3), i0(0, 4), shape=(4, 3)),
         bad(ShapeError, r"a gradient of shape \(2, 3\)", r0(2, 2), i0(0, 1), shape=(4, 3)),
         bad(DTypeError, "integers, got float32", r0(2, 3), r0(2), shape=(4, 3))],
    oracles={"torch": lambda g, i, shape: torch().zeros(shape, dtype=g.dtype).index_put(
        (i.long(),), g, accumulate=True)})


def total(g: np.ndarray, indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return what scatter_add defines, one entry at a time."""
    y = np.zeros(shape, g.dtype)
    for place in np.ndindex(indices.shape):
        y[indices[place]] += g[place]
    return y


row("put_along_axis", lambda r: [
        sample(r.normal(2, 3), r.integers(0, 3, 2, 2), r.normal(2, 2), axis=1),
        sample(r.normal(3, 4, 2), r.integers(0, 4, 3, 5, 2), r.normal(3, 5, 2), axis=-2),
        sample(r.normal(4), r.integers(0, 4, 6).astype(np.int32), r.normal(6), axis=0),
        sample(r.integers(0, 9, 3), r.integers(0, 3, 2), r.integers(0, 9, 2), axis=0),
        sample(r.normal(1, 3), r.integers(0, 3, 1, 1), r.normal(1, 1), axis=-1),
        sample(r.normal(0, 3), np.zeros((0, 2), np.int64), r.normal(0, 2), axis=1)],
    pins=[pin([5.0, 2.0, 7.0], np.array([1.0, 2.0, 3.0]), i0(2, 0, 2), np.array([4.0, 5.0, 7.0]),
              axis=0, gradients=[[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])],
    bad=[bad(ShapeError, "axis 1 of size 3, got 3", r0(2, 3), np.full((2, 1), 3), r0(2, 1), axis=1),
         bad(ShapeError, "values of shape", r0(2, 3), np.zeros((2, 1), int), r0(2, 2), axis=1),
         bad(DTypeError, "values of dtype float32", r0(2), i0(0), np.zeros(1), axis=0),
         bad(DTypeError, "integers", r0(2), r0(1), r0(1), axis=0)])

row("one_hot", lambda r: [
        sample(r.integers(0, 3, 2), classes=3, dtype=np.float32),
        sample(r.integers(0, 4, 2, 3), classes=4, dtype=np.float64),
        sample(r.integers(0, 2, 5).astype(np.uint8), classes=2, dtype=np.bool_),
        sample(np.array(1), classes=3, dtype=np.int64),
        sample(np.zeros((0,), np.int64), classes=3, dtype=np.float32)],
    pins=[pin([[0, 1], [1, 0]], i0(1, 0), classes=2, dtype=np.float64)],
    bad=[bad(ShapeError, "from 0 to 2 .* got 3", i0(1, 3), classes=3, dtype=np.float32),
         bad(ShapeError, "got -1", i0(-1), classes=3, dtype=np.float32),
         bad(DTypeError, "integers, got float32", r0(2), classes=3, dtype=np.float32)],
    oracles={"torch": lambda labels, classes, dtype: torch().nn.functional.one_hot(
        labels.long(), classes)})

row("assign", lambda r: [
        sample(r.normal(4, 3), r.normal(3), index=(1,)),
        sample(r.normal(2, 5, 3), r.normal(2, 1, 3), index=(slice(None), slice(1, 4))),
        sample(r.normal(5), r.normal(), index=(np.array([0, 3]),)),
        sample(r.normal(3, 2), r.normal(1, 3, 2), index=...),
        sample(r.integers(0, 9, 4), np.array(5), index=(np.array([True, False, True, False]),)),
        sample(r.normal(0, 3), r.normal(3), index=...)],
    pins=[pin([7.0, 2.0, 7.0], np.array([1.0, 2.0, 3.0]), np.array(7.0),
              index=(slice(None, None, 2),))],
    bad=[bad(ShapeError, r"broadcasts to \(3,\)", r0(2, 3), r0(4), index=(0,)),
         bad(ShapeError, "out of bounds", r0(2, 3), r0(3), index=(2,)),
         bad(DTypeError, "int64 can hold, got float32", i0(1, 2), r0(2), index=...),
         bad(GraphError, "a leaf under no_grad", r0(2), r0(2),
             function=lambda t, x: me.asarray(t).copy_(x))])
