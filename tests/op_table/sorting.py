"""Rows of the ops about order."""

from __future__ import annotations

import numpy as np

from medai_engine.errors import DTypeError, ParameterError, ShapeError

from . import bad, pin, r0, row, sample, torch

nan = np.nan
WORK = {"cost": "comparisons inside NumPy's sort do not count; their number depends on the data"}

row("sort", lambda r: [
        sample(r.distinct(3, 2), axis=0, descending=False),
        sample(r.distinct(2, 4, 5), axis=-1, descending=True),
        sample(r.distinct(3, 7, 2), axis=1, descending=False),
        sample(r.integers(0, 3, 4, 5), axis=1, descending=True),
        sample(r.normal(1), axis=0, descending=True), sample(r.normal(2, 0), axis=0,
                                                             descending=False)],
    derivative="stencil",
    pins=[pin([1.0, 2.0, nan], np.array([nan, 2.0, 1.0]), axis=0, descending=False),
          pin([nan, 2.0, 1.0], np.array([1.0, 2.0, nan]), axis=0, descending=True)],
    bad=[bad(ShapeError, "an axis between -2 and 1, got 2", r0(2, 3), axis=2, descending=False)],
    exempt=WORK,
    oracles={"torch": lambda x, axis, descending: torch().sort(
        x, dim=axis, descending=descending).values})

row("topk", lambda r: [
        sample(r.distinct(3, 5), k=2, axis=1, largest=True),
        sample(r.distinct(4, 3, 2), k=4, axis=0, largest=False),
        sample(r.distinct(2, 7, 3), k=3, axis=-2, largest=True),
        sample(r.integers(0, 99, 6), k=1, axis=0, largest=False),
        sample(r.normal(1), k=1, axis=0, largest=True),
        sample(r.normal(2, 5), k=0, axis=1, largest=True),
        sample(r.normal(0, 3), k=2, axis=1, largest=False)],
    pins=[pin(np.array([1, 3, 0]), np.array([2.0, 3.0, 2.0, 3.0, 1.0, 2.0]), k=3, axis=0,
              largest=True),
          pin(np.array([4, 0]), np.array([2.0, 3.0, 2.0, 3.0, 1.0, 2.0]), k=2, axis=0,
              largest=False),
          pin(np.array([1, 2]), np.array([1.0, nan, 3.0, 2.0]), k=2, axis=0, largest=True),
          pin(np.array([1, 3]), np.array([1.0, nan, 3.0, nan]), k=2, axis=0, largest=True),
          pin(np.array([0, 1]), np.array([1.0, nan, nan]), k=2, axis=0, largest=False)],
    bad=[bad(ParameterError, "k from 0 to 3, the size of axis 1, got 4", r0(2, 3), k=4, axis=-1,
             largest=True),
         bad(ParameterError, "got True", r0(2, 3), k=True, axis=1, largest=True),
         bad(ShapeError, "an axis between", r0(2, 3), k=1, axis=2, largest=True)],
    exempt=WORK,
    oracles={"torch": lambda x, k, axis, largest: torch().topk(x, k, axis, largest).indices})
row("argsort", lambda r: [
        sample(r.normal(3), axis=0, descending=False),
        sample(r.integers(0, 3, 4, 5), axis=1, descending=True),  # ties
        sample(r.integers(0, 2, 2, 7, 3), axis=-2, descending=False),
        sample(r.normal(1), axis=0, descending=True),
        sample(r.normal(2, 0), axis=0, descending=True)],
    pins=[pin(np.array([1, 3, 0, 2]), np.array([nan, 1.0, nan, 2.0]), axis=0, descending=False),
          pin(np.array([0, 2, 3, 1]), np.array([nan, 1.0, nan, 2.0]), axis=0, descending=True),
          pin(np.array([1, 2, 0]), np.array([1.0, 2.0, 2.0]), axis=-1, descending=True)],
    bad=[bad(ShapeError, "an axis between -2 and 1, got 2", r0(2, 3), axis=2, descending=False)],
    oracles={"torch": lambda x, axis, descending: torch().argsort(
        x, dim=axis, descending=descending, stable=True)})

row("searchsorted", lambda r: [
        sample(np.sort(r.normal(5)), r.normal(2, 3), side="left"),
        sample(np.sort(r.integers(0, 4, 6)), r.integers(0, 4, 7), side="right"),
        sample(np.sort(r.integers(0, 4, 6)), r.integers(0, 4, 3), side="left"),
        sample(r.normal(1), r.normal(1), side="left"),
        sample(r.normal(0), r.normal(2), side="right")],
    pins=[pin(np.array([0, 1, 3]), np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]),
              side="left"),
          pin(np.array([1, 3, 3]), np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]),
              side="right")],
    bad=[bad(ParameterError, '"left" or "right"', r0(3), r0(2), side="middle"),
         bad(ShapeError, "a sorted vector", r0(3, 2), r0(2), side="left"),
         bad(DTypeError, "one floating dtype", r0(3), np.zeros(2), side="left")],
    exempt={"layouts": "the reversed layout of the vector is the same vector, sorted"},
    oracles={"torch": lambda x, v, side: torch().searchsorted(x, v, side=side)})
