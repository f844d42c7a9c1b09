"""Linear systems, Cholesky factors, inverses and norms; leading axes are batches.

The factorisations are LAPACK's, through NumPy; gradients are products and solves again, so they
have gradients of any order.

References
----------
Giles 2008, Collected matrix derivative results for forward and reverse mode AD.
Murray 2016, Differentiation of the Cholesky decomposition.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, ShapeError, say
from ..op import apply, define
from ..tensor import Tensor
from .arrange import matrix_transpose
from .axes import Axis, normalized, reduced
from .elementwise import F
from .linalg import matmul, same_float
from .shape import as_tensor, broadcast_to, reshape
from .statistics import count_nonzero, max, min, sum

__all__ = ["cholesky", "inv", "norm", "solve"]


def _square(where: str, a: np.ndarray) -> None:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(say(where, "square matrices (..., N, N)", str(a.shape),
                             "Solve a least-squares problem with a.mT @ a" if where == "solve"
                             else "Check the axes", {"a": a.shape}))


def _first_bad(function: Any, a: np.ndarray) -> str:
    """Return which matrix of a batch LAPACK refuses, for a message."""
    for place in np.ndindex(a.shape[:-2]):
        try:
            function(a[place])
        except np.linalg.LinAlgError:
            return f"matrix {place}" if place else "the matrix"
    return "a matrix"


def _singular(where: str, a: np.ndarray) -> DataError:
    return DataError(say(where, "matrices of full rank", f"{_first_bad(np.linalg.inv, a)} singular",
                         "Remove dependent columns, or add a small multiple of the identity",
                         {"a": a.shape}))


# ---- solve ------------------------------------------------------------------------------------


def _solve_infer(a: np.ndarray, b: np.ndarray) -> tuple[tuple[int, ...], Any]:
    same_float("solve", "a b", a, b)
    _square("solve", a)
    if b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(say("solve", f"a right-hand side of {a.shape[-1]} rows",
                             str(b.shape), "One row per row of a", {"a": a.shape, "b": b.shape}))
    return b.shape, b.dtype


def _solve(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> None:
    try:
        x[...] = np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        raise _singular("solve", a) from None


def _cubic(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    """Return the leading terms of LU's operations: 2/3 n^3, and 2 n^2 per right-hand side."""
    n = arrays[0].shape[-1]
    matrices = math.prod(arrays[0].shape[:-2])
    return 0, 2 * matrices * n**3 // 3 + 2 * n * math.prod(outs[0][0])


SOLVE = define(
    "solve", infer=_solve_infer, definition=_solve, outputs=("x",), strided=True, work=_cubic,
    vjp={"a": lambda g, a, x: F["negative"](
            matmul(solve(matrix_transpose(a), g), matrix_transpose(x))),
         "b": lambda g, a: solve(matrix_transpose(a), g)},
    linear=[("b",)], analytic=True, onnx="none: no such operator",
    doc="x = a^-1 b, the solution of a x = b")


def solve(a: Any, b: Any) -> Tensor:
    """Return the solution x of ``a x = b``.

    Parameters
    ----------
    a : Tensor
        (..., N, N), float32 or float64, of full rank.
    b : Tensor
        (N,), or (..., N, K); leading axes broadcast.

    Returns
    -------
    Tensor
        Shaped like b with the common leading axes.

    Raises
    ------
    DataError
        When a matrix is singular.
    ShapeError
        When a is not square or b has another number of rows.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.linalg.solve(me.tensor([[2.0, 0.0], [0.0, 4.0]]), me.tensor([2.0, 2.0]))
    tensor([1. , 0.5])
    """
    a, b = as_tensor(a), as_tensor(b)
    if b.ndim == 1:
        return reshape(solve(a, reshape(b, -1, 1)), (*a.shape[:-2], -1))
    if a.ndim >= 2 and a.shape[:-2] != b.shape[:-2]:
        try:
            batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise ShapeError(say("solve", "leading axes that broadcast",
                                 f"{a.shape[:-2]} and {b.shape[:-2]}", "Sizes must be equal or 1",
                                 {"a": a.shape, "b": b.shape})) from None
        a = broadcast_to(a, (*batch, *a.shape[-2:]))
        b = broadcast_to(b, (*batch, *b.shape[-2:]))
    return apply(SOLVE, a, b)


# ---- inv --------------------------------------------------------------------------------------


def _matrix_infer(name: str) -> Any:
    def infer(a: np.ndarray) -> tuple[tuple[int, ...], Any]:
        same_float(name, "a", a)
        _square(name, a)
        return a.shape, a.dtype

    return infer


def _inv(a: np.ndarray, y: np.ndarray) -> None:
    try:
        y[...] = np.linalg.inv(a)
    except np.linalg.LinAlgError:
        raise _singular("inv", a) from None


INV = define(
    "inv", infer=_matrix_infer("inv"), definition=_inv, strided=True, analytic=True,
    vjp={"a": lambda g, y: F["negative"](
        matmul(matmul(matrix_transpose(y), g), matrix_transpose(y)))},
    work=lambda arrays, outs, params: (0, 2 * arrays[0].size * arrays[0].shape[-1]),
    onnx="none: no such operator", doc="y = a^-1")


def inv(a: Any) -> Tensor:
    """Return the inverse matrices of a (..., N, N); ``solve`` is faster and more accurate.

    Raises
    ------
    DataError
        When a matrix is singular.
    """
    return apply(INV, a)


# ---- cholesky ---------------------------------------------------------------------------------


def _cholesky(a: np.ndarray, y: np.ndarray) -> None:
    try:
        y[...] = np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        raise DataError(say(
            "cholesky", "positive definite matrices",
            f"{_first_bad(np.linalg.cholesky, a)} not positive definite",
            "Check symmetry, or add a small multiple of the identity", {"a": a.shape})) from None


def _cholesky_vjp(g: Tensor, y: Tensor) -> Tensor:
    """Return the lower half of S + S^T, S = y^-T P y^-1, P the lower half of y^T g.

    Both halves have half a diagonal.
    """
    n = y.shape[-1]
    half = Tensor(np.tril(np.ones((n, n), y.dtype)) - 0.5 * np.eye(n, dtype=y.dtype))
    y_t = matrix_transpose(y)
    left = solve(y_t, F["multiply"](matmul(y_t, g), half))
    s = matrix_transpose(solve(y_t, matrix_transpose(left)))
    return F["multiply"](F["add"](s, matrix_transpose(s)), half)


CHOLESKY = define(
    "cholesky", infer=_matrix_infer("cholesky"), definition=_cholesky, strided=True,
    vjp={"a": _cholesky_vjp}, onnx="none: no such operator",
    work=lambda arrays, outs, params: (0, arrays[0].size * arrays[0].shape[-1] // 3),
    doc="y = the lower triangular matrix with a = y y^T; reads the lower half of a")


def cholesky(a: Any) -> Tensor:
    """Return the lower triangular L with ``L L^T = (a + a^T) / 2``, a of shape (..., N, N).

    Taking the symmetric part makes the gradient symmetric, as a step on a covariance needs it.

    Raises
    ------
    DataError
        When a matrix is not positive definite.
    """
    a = as_tensor(a)
    _matrix_infer("cholesky")(a.data)
    return apply(CHOLESKY, F["multiply"](F["add"](a, matrix_transpose(a)), 0.5))


# ---- norm -------------------------------------------------------------------------------------


def _root(s: Tensor, power: float) -> Tensor:
    """Return s^power for s >= 0, with gradient 0 (not NaN) at 0."""
    zero = F["equal"](s, 0.0)
    safe = F["where"](zero, 1.0, s)
    return F["where"](zero, 0.0, F["sqrt"](safe) if power == 0.5 else F["power"](safe, power))


def _vector_norm(x: Tensor, order: float, axis: Axis, keepdims: bool) -> Tensor:
    if order == 2:
        return _root(sum(F["square"](x), axis, keepdims=keepdims), 0.5)
    size = F["abs"](x)
    if math.isinf(order):
        return (max if order > 0 else min)(size, axis, keepdims)
    if order == 1:
        return sum(size, axis, keepdims=keepdims)
    if order == 0:
        return count_nonzero(x, axis, keepdims).astype(x.dtype)
    return _root(sum(_root(size, order) if order > 0 else F["power"](size, order), axis,
                     keepdims=keepdims), 1.0 / order)


def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the norm of vectors or matrices.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    ord : number, "fro" or None
        For vectors the p of ``sum(|x|^p)^(1/p)``, also inf, -inf and 0 (the number of entries
        that are not zero). For matrices "fro" (root of the sum of squares), 1 and -1 (largest and
        smallest column sum), inf and -inf (row sums). None: the root of the sum of squares.
    axis : int, pair of int or None
        One axis of vectors, two axes of matrices; None takes all axes (a vector, unless ``ord`` is
        given for a matrix).
    keepdims : bool
        Keep the reduced axes with size 1.

    Raises
    ------
    ParameterError
        For another ``ord``; singular values (2 and "nuc" of matrices) are not at hand.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.linalg.norm(me.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = as_tensor(x)
    same_float("norm", "x", x.data)
    if axis is None and ord is not None and x.ndim not in (1, 2):
        raise ShapeError(say("norm", "a vector or a matrix where axis is None", str(x.shape),
                             "Pass axis=-1 for vectors or axis=(-2, -1) for matrices"))
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(range(x.ndim)) if axis is None else axes
    normalized("norm", axes, x.ndim)
    if ord is None or (ord == "fro" and len(axes) == 2):
        return _vector_norm(x, 2, axes, keepdims)
    number = isinstance(ord, (int, float)) and not isinstance(ord, bool) and not math.isnan(ord)
    if len(axes) == 1 and number:
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) == 2 and number and (abs(ord) == 1 or math.isinf(ord)):
        row, column = (a % x.ndim for a in axes)
        first, second = (row, column) if abs(ord) == 1 else (column, row)
        sums = sum(F["abs"](x), first, keepdims=True)
        y = (max if ord > 0 else min)(sums, second, keepdims=True)
        return y if keepdims else reshape(y, reduced(x.shape, (row, column), False))
    raise ParameterError(say(
        "norm", 'a number for one axis; "fro", 1, -1, inf or -inf for two',
        f"ord={ord!r} for {len(axes)} axes", "Leave ord away for the root of the sum of squares",
        {"x": x.shape}))
