"""Rows of linear systems and factorisations.

That a matrix is singular turns out while it is factorised, when the result has its memory: those
errors are in test_linalg_functions.py.
"""

from __future__ import annotations

import numpy as np

from medai_engine.errors import DTypeError, ShapeError

from . import Draw, bad, pin, r0, row, sample, torch

LAPACK = {"cost": "LAPACK takes no counting numbers; the count is of LU and Cholesky's terms"}


SQUARE = {"sizes": "matrices are square, their sides cannot differ"}


def regular(r: Draw, *shape: int) -> np.ndarray:
    """Return matrices that are far from singular."""
    return r.normal(*shape) + 2 * shape[-1] * np.eye(shape[-1])


def positive(r: Draw, *shape: int) -> np.ndarray:
    """Return symmetric positive definite matrices."""
    a = r.normal(*shape)
    return a @ a.swapaxes(-1, -2) + shape[-1] * np.eye(shape[-1])


def inverse(a: np.ndarray) -> np.ndarray:
    return np.linalg.inv(a.astype(np.float64))


row("solve", lambda r: [
        sample(regular(r, 3, 3), r.normal(3, 2)), sample(regular(r, 2, 4, 4), r.normal(2, 4, 3)),
        sample(regular(r, 1, 1), r.normal(1, 5)), sample(r.normal(0, 3, 3), r.normal(0, 3, 2))],
    terms=lambda a, b: (a.shape[-1], abs(inverse(a)) @ (
        abs(a) @ abs(inverse(a) @ b) + abs(b))),
    bad=[bad(ShapeError, "square matrices", r0(2, 3), r0(2, 1)),
         bad(ShapeError, "a right-hand side of 2 rows", np.eye(2, dtype=np.float32), r0(3, 1)),
         bad(DTypeError, "float32 or float64", r0(2, 2), np.zeros((2, 1)))],
    exempt={**LAPACK, "layouts": "a matrix with equal rows is singular"},
    oracles={"torch": lambda a, b: torch().linalg.solve(a, b)})

row("inv", lambda r: [
        sample(regular(r, 3, 3)), sample(regular(r, 2, 4, 4)), sample(regular(r, 1, 1)),
        sample(r.normal(0, 3, 3))],
    terms=lambda a: (a.shape[-1], abs(inverse(a)) @ abs(a) @ abs(inverse(a))),
    bad=[bad(ShapeError, "square matrices", r0(2, 3)),
         bad(DTypeError, "float32 or float64", np.eye(2, dtype=np.int64))],
    exempt={**LAPACK, **SQUARE, "layouts": "a matrix with equal rows is singular"},
    oracles={"torch": lambda a: torch().linalg.inv(a)})

row("cholesky", lambda r: [
        sample(positive(r, 3, 3)), sample(positive(r, 2, 4, 4)), sample(positive(r, 1, 1)),
        sample(r.normal(0, 3, 3))],
    derivative="stencil",
    terms=lambda a: (a.shape[-1], np.sqrt(abs(a).max(initial=0)) * np.linalg.cond(
        a.astype(np.float64)).max(initial=1)),
    pins=[pin([[2.0, 0.0], [1.0, 3.0]], np.array([[4.0, 99.0], [2.0, 10.0]]))],  # lower half only
    bad=[bad(ShapeError, "square matrices", r0(2, 3))],
    exempt={**LAPACK, **SQUARE, "layouts": "equal rows make it singular"},
    oracles={"torch": lambda a: torch().linalg.cholesky(a)})
