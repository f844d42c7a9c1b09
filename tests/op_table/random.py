"""Rows of the random draws; their numbers are pinned by the tests of the kernels."""

from __future__ import annotations

import numpy as np

from medai_engine.errors import DTypeError, ParameterError

from . import bad, row, sample

WORDS = {"cost": "made of integer words, and arithmetic of integers does not count"}
KIND = {**WORDS, "precision": "float32 and float64 come from other words of the counters",
        "param dtype": "the dtype of the run, which the checks vary"}


def kind(dtype: np.dtype) -> np.dtype:
    """Return the dtype of the run: a parameter of the draws."""
    return dtype


def draws(low: str, high: str) -> object:
    return lambda r: [
        sample(shape=(2, 3), dtype=kind, seed=1, offset=0, **{low: 0.0, high: 1.0}),
        sample(shape=(5,), dtype=kind, seed=2**63 + 5, offset=2**40, **{low: -2.5, high: 0.5}),
        sample(shape=(), dtype=kind, seed=0, offset=7, **{low: 3.0, high: 4.0}),
        sample(shape=(0, 3), dtype=kind, seed=1, offset=0, **{low: 0.0, high: 1.0})]


row("random_uniform", draws("low", "high"), exempt=KIND,
    large=lambda r: sample(shape=(100_003,), dtype=kind, seed=3, offset=5, low=-1.0, high=2.0),
    bad=[bad(ParameterError, "low <= high", shape=(2,), dtype=np.dtype(np.float32), seed=0,
             offset=0, low=1.0, high=0.0),
         bad(DTypeError, "float32 or float64", shape=(2,), dtype=np.dtype(np.int64), seed=0,
             offset=0, low=0.0, high=1.0),
         bad(ParameterError, "sizes >= 0", shape=(-2,), dtype=np.dtype(np.float32), seed=0,
             offset=0, low=0.0, high=1.0)])
row("random_normal", draws("loc", "scale"), exempt=KIND,
    large=lambda r: sample(shape=(100_003,), dtype=kind, seed=3, offset=5, loc=-1.0, scale=2.0),
    # mean and scaled deviate cancel: each is exact to a few units of its own
    terms=lambda shape, dtype, seed, offset, loc, scale: (4, abs(loc) + 8 * abs(scale)),
    bad=[bad(ParameterError, "scale >= 0", shape=(2,), dtype=np.dtype(np.float32), seed=0,
             offset=0, loc=0.0, scale=-1.0)])
row("random_integers", lambda r: [
        sample(shape=(2, 3), seed=1, offset=0, low=0, high=7),
        sample(shape=(5,), seed=2**63 + 5, offset=2**40, low=-(2**63), high=2**63 - 1),
        sample(shape=(), seed=0, offset=7, low=-3, high=-2),
        sample(shape=(0, 3), seed=1, offset=0, low=0, high=7)],
    large=lambda r: sample(shape=(100_003,), seed=3, offset=5, low=-10, high=1000),
    bad=[bad(ParameterError, "low < high", shape=(2,), seed=0, offset=0, low=3, high=3)],
    exempt=WORDS)
