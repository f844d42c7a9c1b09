"""Row of dropout. Its mask is a function of (seed, offset, index), so it is like any other op."""

from __future__ import annotations

from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ParameterError
from medai_engine.kernels.random.reference import words
from medai_engine.ops.dropout import dropout

from . import bad, r0, row, sample


def _by_hand(x: np.ndarray, seed: int, offset: int, p: float) -> Any:
    """Return x / (1 - p) where the upper 24 bits of a word, as a fraction, reach p."""
    share = (words(x.size, seed, offset) >> 8).astype(float).reshape(x.shape) / 2**24
    return np.where(share >= p, x / (1 - p), 0.0)


row("dropout", lambda r: [
        sample(r.normal(2, 3), seed=1, offset=0, p=0.5),
        sample(r.normal(3, 4, 5), seed=2, offset=0, p=0.2),
        sample(r.normal(7), seed=2**63, offset=5, p=0.9),
        sample(r.normal(), seed=2, offset=2**40, p=0.1),
        sample(r.normal(0, 3), seed=2, offset=5, p=0.2),
        sample(r.normal(1), seed=3, offset=5, p=1e-9)],
    large=lambda r: sample(r.normal(301, 67), seed=4, offset=3, p=0.3),
    oracles={"numpy": _by_hand},
    bad=[bad(DTypeError, "floating", np.arange(3), seed=1, offset=0, p=0.5),
         bad(ParameterError, "between 0 and 1, got 1.5", r0(2), 1.5, function=dropout)])
