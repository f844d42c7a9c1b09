"""Functions of layers: linear, dropout, embedding."""

from __future__ import annotations

from typing import Any

from ..coerce import FLOATS
from ..errors import DTypeError, ParameterError, ShapeError, say
from ..op import apply
from ..ops.dropout import dropout
from ..ops.elementwise import FUNCTIONS
from ..ops.indexing import GATHER, bounded
from ..ops.linalg import linear
from ..ops.shape import reshape
from ..tensor import Tensor
from .common import labels_of, tensor

__all__ = ["dropout", "embedding", "linear"]


def embedding(indices: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """Look up rows of a table, ``y[..., :] = weight[indices[...], :]``.

    Parameters
    ----------
    indices : Tensor
        Any shape, integers from 0 to V - 1.
    weight : Tensor
        (V, D), float32 or float64.
    padding_idx : int, optional
        A row that gets no gradient; negative numbers count from the end.

    Returns
    -------
    Tensor
        (*indices.shape, D).

    Raises
    ------
    DTypeError
        For floating indices.
    ShapeError
        For an index outside the table, or a weight that is none.

    References
    ----------
    Bengio et al. 2003, A neural probabilistic language model.

    Examples
    --------
    >>> from medai_engine import functional as F
    >>> F.embedding([1, 0], [[1.0, 2.0], [3.0, 4.0]])
    tensor([[3., 4.],
            [1., 2.]])
    """
    indices, weight = labels_of(indices), tensor(weight)
    shapes = {"indices": indices.shape, "weight": (weight.shape, "V, D")}
    if weight.ndim != 2 or weight.dtype not in FLOATS:
        raise ShapeError(say("embedding", "a floating table (V, D) as weight",
                             f"{weight.dtype} of shape {weight.shape}",
                             "Pass the indices first, the table second", shapes))
    if indices.dtype.kind not in "iu":
        raise DTypeError(say("embedding", "indices of an integer dtype", str(indices.dtype),
                             "Convert with indices.astype(me.int64), one-hot rows with "
                             ".argmax(axis=-1)", shapes))
    try:
        y = apply(GATHER, weight, indices)
    except ShapeError:  # the op speaks of itself
        bounded("embedding", indices.data, 0, weight.shape[0], "a table")
        raise
    if padding_idx is None:
        return y
    rows = weight.shape[0]
    if not -rows <= padding_idx < rows:
        raise ParameterError(say("embedding", f"padding_idx between {-rows} and {rows - 1}",
                                 repr(padding_idx), "It is a row of the table"))
    real = FUNCTIONS["not_equal"](indices, padding_idx % rows)
    return FUNCTIONS["where"](reshape(real, (*real.shape, 1)), y, y.detach())
