"""What the functions share: turning arguments into tensors, and the reductions of losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ParameterError, ShapeError, say
from ..op import apply
from ..ops.reduce import MEAN, SUM
from ..ops.shape import as_tensor as tensor
from ..ops.shape import astype
from ..tensor import Tensor

REDUCTIONS = ("mean", "sum", "none")


def labels_of(x: Any) -> Tensor:
    """Return labels as a tensor; lists of integers stay integers."""
    return x if isinstance(x, Tensor) else Tensor(np.asarray(x))


def like(x: Any, other: Tensor) -> Tensor:
    """Return x as a tensor of the other's dtype."""
    x = labels_of(x)
    return x if x.data.dtype == other.data.dtype else astype(x, other.data.dtype)


def pair(where: str, x: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Return predictions and targets of one shape, the targets in the predictions' dtype.

    Broadcasting (N, 1) against (N,) gives (N, N) and a loss that learns nothing: it is refused.
    """
    x = tensor(x)
    if x.data.dtype.kind != "f":
        raise DTypeError(say(where, "floating predictions", str(x.data.dtype),
                             "Pass the predictions first, the targets second"))
    target = like(target, x)
    if x.data.shape != target.data.shape:
        fix = (f"Use target.reshape({x.shape})" if x.size == target.size
               else "Check the width of the last layer")
        raise ShapeError(say(where, "predictions and targets of one shape",
                             f"{x.shape} and {target.shape}", fix))
    return x, target


def summed(x: Tensor) -> Tensor:
    """Return the sum of all elements."""
    return apply(SUM, x, axis=None, keepdims=False)


def last_sum(x: Tensor) -> Tensor:
    """Return the sum along the last axis."""
    return apply(SUM, x, axis=-1, keepdims=False)


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """Return the mean or the sum of a loss, or the loss itself."""
    if reduction == "mean":
        return apply(MEAN, loss, axis=None, keepdims=False)
    if reduction == "sum":
        return summed(loss)
    if reduction != "none":
        raise ParameterError(say("loss", f"reduction to be one of {', '.join(REDUCTIONS)}",
                                 repr(reduction), 'Use reduction="mean", the default'))
    return loss
