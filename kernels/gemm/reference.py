"""Matrix products in NumPy: the definition."""

from __future__ import annotations

import numpy as np

from ..elementwise import reference as elementwise
from ..program.reference import PARAMETERS

__all__ = ["linear", "linear_activation", "matmul", "matmul_add"]


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray, transpose_a: bool,
           transpose_b: bool) -> None:
    """Write ``out[i] = a[i] b[i]`` for each batch i; a batch of one, or none, serves all."""
    left = a.swapaxes(-1, -2) if transpose_a else a
    right = b.swapaxes(-1, -2) if transpose_b else b
    np.matmul(left, right, out=out)


def matmul_add(c: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray, transpose_a: bool,
               transpose_b: bool) -> None:
    """Write ``out[i] = c[i] + a[i] b[i]``; out may be c."""
    product = np.empty_like(out)
    matmul(a, b, product, transpose_a, transpose_b)
    np.add(c, product, out=out)


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, out: np.ndarray) -> None:
    """Write ``out = x weight^T + bias``."""
    np.matmul(x, weight.T, out=out)
    if bias is not None:
        np.add(out, bias, out=out)


def linear_activation(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, out: np.ndarray,
                      activation: str, parameter: float) -> None:
    """Write ``out = f(x weight^T + bias)``, f an elementwise kernel of one parameter or none."""
    linear(x, weight, bias, out)
    getattr(elementwise, activation)(out.copy(), out, *[parameter][:PARAMETERS.get(activation, 0)])


def one_chain(M: int, N: int, K: int, itemsize: int) -> bool:
    """Tell whether ``matmul_add`` has the bits of ``matmul`` and a sum: is K one piece of a chain?

    Longer sums are cut into pieces of 2 KiB, and products with few rows or columns into lanes
    (fast.pyx); with c in front their partial sums are others.
    """
    few = min(M, N)
    return K * itemsize <= 2048 and (few > 4 or K * itemsize < 128 * few)
