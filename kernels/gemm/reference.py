"""Matrix products in NumPy: the definition."""

from __future__ import annotations

import numpy as np

from ..elementwise import reference as elementwise
from ..program.reference import PARAMETERS

__all__ = ["linear", "linear_activation", "matmul"]


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray, transpose_a: bool,
           transpose_b: bool) -> None:
    """Write ``out[i] = a[i] b[i]`` for each batch i; a batch of one, or none, serves all."""
    left = a.swapaxes(-1, -2) if transpose_a else a
    right = b.swapaxes(-1, -2) if transpose_b else b
    np.matmul(left, right, out=out)


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
