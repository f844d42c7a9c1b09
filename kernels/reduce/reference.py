"""Reductions of x (outer, n, inner) over the middle axis, in NumPy: the definition."""

from __future__ import annotations

import numpy as np

__all__ = ["argmax", "argmin", "cumulative_prod", "cumulative_sum", "logsumexp", "max", "min",
           "prod", "sum", "sum_squares"]


def sum(x: np.ndarray, out: np.ndarray, scale: float) -> None:
    """Write ``out = scale * sum_j x[:, j]``; a scale of 1 keeps integers exact."""
    np.sum(x, axis=1, out=out, dtype=out.dtype)
    if scale != 1.0:
        np.multiply(out, out.dtype.type(scale), out=out)


def prod(x: np.ndarray, out: np.ndarray) -> None:
    """Write ``out = prod_j x[:, j]``."""
    np.prod(x, axis=1, out=out, dtype=out.dtype)


def max(x: np.ndarray, out: np.ndarray) -> None:
    """Write the largest ``x[:, j]``; NaN wins."""
    np.max(x, axis=1, out=out)


def min(x: np.ndarray, out: np.ndarray) -> None:
    """Write the smallest ``x[:, j]``; NaN wins."""
    np.min(x, axis=1, out=out)


def argmax(x: np.ndarray, out: np.ndarray) -> None:
    """Write the first j of the largest ``x[:, j]``; a NaN counts as the largest."""
    np.argmax(x, axis=1, out=out)


def argmin(x: np.ndarray, out: np.ndarray) -> None:
    """Write the first j of the smallest ``x[:, j]``; a NaN counts as the smallest."""
    np.argmin(x, axis=1, out=out)


def logsumexp(x: np.ndarray, out: np.ndarray) -> None:
    """Write ``log sum_j exp(x[:, j])``; infinite maxima pass through."""
    top = np.max(x, axis=1, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):
        np.log(np.sum(np.exp(x - shift), axis=1), out=out)
    np.add(out, shift[:, 0], out=out)


def sum_squares(x: np.ndarray, out: np.ndarray) -> None:
    """Write ``sum_j x[:, j]^2``."""
    np.einsum("oni,oni->oi", x, x, out=out)


def cumulative_sum(x: np.ndarray, out: np.ndarray) -> None:
    """Write the running sums ``out[:, j] = x[:, 0] + ... + x[:, j]``."""
    np.cumsum(x, axis=1, out=out, dtype=out.dtype)


def cumulative_prod(x: np.ndarray, out: np.ndarray) -> None:
    """Write the running products ``out[:, j] = x[:, 0] ... x[:, j]``."""
    np.cumprod(x, axis=1, out=out, dtype=out.dtype)
