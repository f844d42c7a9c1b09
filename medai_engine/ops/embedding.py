"""Rows of a table by index, and the adjoint: sums of rows by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, say
from ..op import FLOATS, apply, define
from ..tensor import Tensor
from .loss import as_indices, check_indices

__all__ = ["embedding"]


def _integers(indices: np.ndarray) -> None:
    if indices.dtype.kind not in "iu":
        raise DTypeError(say("embedding", "indices of an integer dtype", str(indices.dtype),
                             "Convert with indices.astype(me.int64); one-hot rows with "
                             ".argmax(axis=-1)", {"indices": indices.shape}))


def _embedding_infer(weight: np.ndarray, indices: np.ndarray) -> tuple[tuple[int, ...], Any]:
    if weight.ndim != 2 or weight.dtype not in FLOATS:
        raise ShapeError(say("embedding", "a floating table (rows, features)",
                             f"{weight.dtype} of shape {weight.shape}",
                             "Pass the table first, the indices second"))
    _integers(indices)
    return (*indices.shape, weight.shape[1]), weight.dtype


def _grad_infer(g: np.ndarray, indices: np.ndarray, *, rows: int) -> tuple[tuple[int, ...], Any]:
    _integers(indices)
    if g.ndim == 0 or g.shape[:-1] != indices.shape:
        raise ShapeError(say("embedding_grad", f"g of shape {(*indices.shape, 'D')}", str(g.shape),
                             "One row per index"))
    return (rows, g.shape[-1]), g.dtype


def _embedding_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                       params: dict[str, Any]) -> tuple[Any, ...]:
    weight, indices = arrays
    return weight, as_indices(indices).reshape(-1), outs[0].reshape(-1, weight.shape[1])


def _grad_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> tuple[Any, ...]:
    g, indices = arrays
    return g.reshape(-1, g.shape[-1]), as_indices(indices).reshape(-1), outs[0]


EMBEDDING = define(
    "embedding", infer=_embedding_infer, kernel="embedding", prepare=_embedding_prepare,
    check=lambda weight, indices: check_indices("embedding", "indices", indices, len(weight)),
    vjp={"weight": lambda g, indices, weight_shape: apply(
        EMBEDDING_GRAD, g, indices, rows=weight_shape[0])},
    linear=[("weight",)], onnx="Gather", doc="y_m = weight[indices_m]")
EMBEDDING_GRAD = define(
    "embedding_grad", infer=_grad_infer, kernel="embedding_grad", prepare=_grad_prepare,
    check=lambda g, indices, rows: check_indices("embedding_grad", "indices", indices, rows),
    vjp={"g": lambda u, indices: apply(EMBEDDING, u, indices)}, linear=[("g",)],
    work=lambda arrays, outs, params: (0, arrays[0].size), onnx="none: a gradient",
    doc="y_v = the sum of g_m over the m with indices_m = v")


def embedding(indices: Any, weight: Any) -> Tensor:
    """Look up rows of a table, ``y[..., :] = weight[indices[...], :]``.

    Parameters
    ----------
    indices : Tensor
        Any shape, integers from 0 to V - 1.
    weight : Tensor
        (V, D), float32 or float64.

    Returns
    -------
    Tensor
        (*indices.shape, D).

    Raises
    ------
    DTypeError
        For floating indices.
    ParameterError
        For an index outside the table.

    References
    ----------
    Bengio et al. 2003, A neural probabilistic language model.
    """
    return apply(EMBEDDING, weight, indices)
