"""Matrix products of arrays on the engine's kernels."""

from __future__ import annotations

import numpy as np

from .options import run_kernel

__all__ = ["product", "turned_product"]


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a b, float64; zero where they share no axis."""
    out = np.zeros((a.shape[0], b.shape[1]))
    if out.size and a.shape[1]:
        run_kernel("matmul", np.ascontiguousarray(a), np.ascontiguousarray(b), out, False, False)
    return out


def turned_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a' b, float64; a is read as it lies."""
    out = np.zeros((a.shape[1], b.shape[1]))
    if out.size and a.shape[0]:
        run_kernel("matmul", np.ascontiguousarray(a), np.ascontiguousarray(b), out, True, False)
    return out
