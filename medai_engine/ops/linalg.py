"""Matrix products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, ParameterError, ShapeError, say
from ..op import OPS, apply, define
from ..tensor import Tensor
from .elementwise import F
from .shape import SUM_TO, broadcast_to, reshape


def same_float(where: str, names: str, *arrays: np.ndarray) -> None:
    """Raise unless the arrays share one floating dtype."""
    dtype = arrays[0].dtype
    if dtype.kind == "f":
        for array in arrays:
            if array.dtype is not dtype and array.dtype != dtype:
                break
        else:
            return
    pairs = list(zip(names.split(), arrays, strict=True))
    raise DTypeError(say(where, "float32 or float64, the same for all",
                         ", ".join(f"{n} {a.dtype}" for n, a in pairs),
                         "Convert with .astype(me.float32)", {n: a.shape for n, a in pairs}))


# ---- matmul -----------------------------------------------------------------------------------


def _matmul_infer(a: np.ndarray, b: np.ndarray, *, transpose_a: bool,
                  transpose_b: bool) -> tuple[tuple[int, ...], Any]:
    same_float("matmul", "a b", a, b)
    *batch, m, k = a.shape
    *others, k2, n = b.shape
    if transpose_a:
        m, k = k, m
    if transpose_b:
        k2, n = n, k2
    if k != k2:
        raise ShapeError(say("matmul", f"inner sizes to be equal, {k} columns meet {k} rows",
                             f"{k} columns and {k2} rows", "Transpose or reshape one of them",
                             {"a": a.shape, "b": b.shape}))
    return (*(batch or others), m, n), a.dtype


def _matmul_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    return 2 * math.prod(outs[0][0]) * arrays[0].shape[-2 if params["transpose_a"] else -1], 0


def _product(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool,
             shape: tuple[int, ...]) -> Tensor:
    """Return a b as the gradient of an operand of this shape (batches summed where it had none)."""
    if len(shape) == 2 and a.ndim > 2 and b.ndim > 2 and transpose_a and not transpose_b:
        # sum over the batch inside one product: (B M, K)^T (B M, N)
        a, b = _rows(a), _rows(b)
    y = apply(MATMUL, a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    return y if y.shape == shape else apply(SUM_TO, y, shape=shape)


MATMUL = define(
    "matmul", infer=_matmul_infer, kernel="matmul", work=_matmul_work,
    vjp={"a": lambda g, b, a_shape, transpose_a, transpose_b: (
            _product(b, g, transpose_b, True, a_shape) if transpose_a
            else _product(g, b, False, not transpose_b, a_shape)),
         "b": lambda g, a, b_shape, transpose_a, transpose_b: (
            _product(g, a, True, transpose_a, b_shape) if transpose_b
            else _product(a, g, not transpose_a, False, b_shape))},
    linear=[("a",), ("b",)], analytic=True, onnx="MatMul",
    doc="y = a b for matrices (..., M, K) and (..., K, N), transposed first where asked")


def _added_infer(c: np.ndarray, a: np.ndarray, b: np.ndarray, *, transpose_a: bool,
                 transpose_b: bool) -> tuple[tuple[int, ...], Any]:
    same_float("matmul_add", "c a b", c, a, b)
    shape, dtype = _matmul_infer(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    if c.shape != shape:
        raise ShapeError(say("matmul_add", f"c of shape {shape}, as the product", str(c.shape),
                             "Broadcast it first", {"a": a.shape, "b": b.shape}))
    return shape, dtype


MATMUL_ADD = define(
    "matmul_add", infer=_added_infer, kernel="matmul_add", inplace=("c",),
    work=lambda arrays, outs, params: (
        _matmul_work(arrays[1:], outs, params)[0], math.prod(outs[0][0])),
    vjp={"c": lambda g: g, **{name: (f"{other} {name}_shape transpose_a transpose_b", rule)
                              for name, other, rule in (
         ("a", "b", MATMUL.rules[0].function), ("b", "a", MATMUL.rules[1].function))}},
    linear=[("c", "a"), ("c", "b")], analytic=True, onnx="Gemm",
    doc="y = c + a b, with a b as in matmul")


def matmul(a: Any, b: Any) -> Tensor:
    """Matrix product, ``y[..., i, j] = sum_k a[..., i, k] b[..., k, j]``.

    Parameters
    ----------
    a, b : Tensor
        (..., M, K) and (..., K, N), float32 or float64; leading axes broadcast. A vector counts
        as a row on the left and as a column on the right, and its axis is dropped.

    Returns
    -------
    Tensor
        (..., M, N).

    Raises
    ------
    ShapeError
        When the inner sizes differ or leading axes do not broadcast.
    DTypeError
        For integers, or float32 with float64.
    """
    a = a if isinstance(a, Tensor) else Tensor(np.asarray(a))
    b = b if isinstance(b, Tensor) else Tensor(np.asarray(b))
    if a.data.ndim == 2 and b.data.ndim == 2:
        return apply(MATMUL, a, b, transpose_a=False, transpose_b=False)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(say("matmul", "vectors or matrices", "a 0-d array",
                             "Use * to multiply by a number", {"a": a.shape, "b": b.shape}))
    row, column = a.ndim == 1, b.ndim == 1
    left = reshape(a, 1, a.shape[0]) if row else a
    right = reshape(b, b.shape[0], 1) if column else b
    if left.ndim > 2 and right.ndim == 2:
        y = apply(MATMUL, _rows(left), right, transpose_a=False, transpose_b=False)
        y = reshape(y, *left.shape[:-1], y.shape[-1])
    else:
        if left.ndim > 2 and left.shape[:-2] != right.shape[:-2]:
            try:
                batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
            except ValueError:
                raise ShapeError(say("matmul", "leading axes that broadcast",
                                     f"{left.shape[:-2]} and {right.shape[:-2]}",
                                     "Sizes must be equal or 1",
                                     {"a": a.shape, "b": b.shape})) from None
            left = broadcast_to(left, (*batch, *left.shape[-2:]))
            right = broadcast_to(right, (*batch, *right.shape[-2:]))
        y = apply(MATMUL, left, right, transpose_a=False, transpose_b=False)
    if row:
        y = reshape(y, *y.shape[:-2], y.shape[-1])
    return reshape(y, *y.shape[:-1]) if column else y


# ---- linear -----------------------------------------------------------------------------------


def _linear_infer(x: np.ndarray, weight: np.ndarray,
                  bias: np.ndarray) -> tuple[tuple[int, ...], Any]:
    same_float("linear", "x weight bias", x, weight, bias)
    rows, sizes = x.shape, weight.shape
    if not rows or len(sizes) != 2 or rows[-1] != sizes[1]:
        wanted = sizes[1] if len(sizes) == 2 else "a matrix as weight"
        raise ShapeError(say(
            "linear", f"{wanted} input features", str(rows[-1] if rows else "a number"),
            f"Use Linear({rows[-1] if rows else 1}, {sizes[0] if sizes else 1}), "
            "or Linear(None, ...) to infer it",
            {"x": (rows, "..., in"), "weight": (sizes, "out, in")}))
    if bias.shape != sizes[:1]:
        raise ShapeError(say("linear", f"a bias of shape {sizes[:1]}", str(bias.shape),
                             "One entry per output feature"))
    return (*rows[:-1], sizes[0]), x.dtype


def _rows(t: Tensor) -> Tensor:
    shape = t.data.shape
    return t if len(shape) == 2 else reshape(t, math.prod(shape[:-1]), shape[-1])


def _unrow(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    return t if len(shape) == 2 else reshape(t, shape)


LINEAR = define(
    "linear", infer=_linear_infer, kernel="linear",
    work=lambda arrays, outs, params: (
        2 * math.prod(outs[0][0]) * arrays[0].shape[-1], math.prod(outs[0][0])),
    vjp={"x": lambda g, weight, x_shape: _unrow(
            apply(MATMUL, _rows(g), weight, transpose_a=False, transpose_b=False), x_shape),
         "weight": lambda g, x: apply(
             MATMUL, _rows(g), _rows(x), transpose_a=True, transpose_b=False),
         "bias": lambda g: apply(SUM_TO, _rows(g), shape=g.data.shape[-1:])},
    linear=[("x", "bias"), ("weight", "bias")], analytic=True, onnx="Gemm",
    doc="y = x W^T + b")


# Activations whose derivative can be told from their result, with the name of their parameter.
ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "relu": (), "sigmoid": (), "tanh": (), "selu": (), "elu": ("alpha",), "leaky_relu": ("slope",)}


def _activated_infer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, activation: str,
                     parameter: float) -> tuple[tuple[int, ...], Any]:
    if activation not in ACTIVATIONS or (activation == "leaky_relu" and parameter < 0):
        raise ParameterError(say(
            "linear_activation", f"one of {', '.join(ACTIVATIONS)}, and a slope from 0 on",
            f"{activation!r} with {parameter}", "Call linear and the activation one by one"))
    return _linear_infer(x, weight, bias)


def _activated_vjp(g: Tensor, x: Tensor, weight: Tensor, y: Tensor, activation: str,
                   parameter: float, needs: Any) -> list[Tensor | None]:
    values = dict.fromkeys(ACTIVATIONS[activation], parameter)
    h = F[f"{activation}_grad"](g, y, **values)
    arguments = (weight, x.data.shape), (x,), ()
    return [LINEAR.rules[i].function(h, *arguments[i]) if needs[i] else None for i in range(3)]


LINEAR_ACTIVATION = define(
    "linear_activation", infer=_activated_infer, kernel="linear_activation", vjp=_activated_vjp,
    work=lambda arrays, outs, params: tuple(
        a + b for a, b in zip(LINEAR.work(arrays, outs, {}),
                              OPS[params["activation"]].work(arrays, outs, {}), strict=True)),
    onnx="none: Gemm and the activation", doc="y = f(x W^T + b), f an activation")


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """Affine map of the last axis, ``y = x W^T + b``.

    Parameters
    ----------
    x : Tensor
        (..., in), float32 or float64.
    weight : Tensor
        (out, in).
    bias : Tensor, optional
        (out,).

    Returns
    -------
    Tensor
        (..., out).

    Raises
    ------
    ShapeError
        When x has another number of features than the weight.
    """
    if bias is not None:
        return apply(LINEAR, x, weight, bias)
    weight = weight if isinstance(weight, Tensor) else Tensor(np.asarray(weight))
    zero = Tensor(np.zeros(weight.shape[:1], weight.dtype))
    return apply(LINEAR, x, weight, zero)


setattr(Tensor, "__matmul__", matmul)  # noqa: B010 (type checkers see Attached)
setattr(Tensor, "__rmatmul__", lambda self, other: matmul(other, self))  # noqa: B010
