"""Gradients kept within bounds, by their joint norm or element by element."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np

from ..errors import GraphError, ParameterError, say
from ..mode import MODE, no_grad
from ..op import apply
from ..ops.elementwise import FUNCTIONS as F
from ..ops.optimizer import SEGMENTS_CLIP, SEGMENTS_LIMIT, SEGMENTS_SUM_SQUARES
from ..tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def by_dtype(where: str, parameters: Any) -> list[list[Tensor]]:
    """Return the gradients of the parameters that have one, a list per dtype."""
    found: dict[Any, list[Tensor]] = {}
    recorder = MODE.get().recorder
    for p in [parameters] if isinstance(parameters, Tensor) else parameters:
        if isinstance(p, tuple):  # of named_parameters
            p = p[1]
        if not isinstance(p, Tensor):
            raise ParameterError(say(where, "tensors", type(p).__name__,
                                     "Pass model.parameters()"))
        if recorder is not None:
            recorder.touch(p)
        if p.grad is not None and p.grad.data.size:
            found.setdefault(p.grad.data.dtype, []).append(p.grad)
    return list(found.values())


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float,
                    norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """Scale all gradients together so that their norm is at most ``max_norm``.

    ``norm = (sum |g|^k)^(1/k)`` over all elements of all gradients, k the norm type;
    ``g <- min(1, max_norm / (norm + 1e-6)) g``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
        The largest norm to allow.
    norm_type : float
        2, or another order; ``inf`` is the largest absolute value.
    error_if_nonfinite : bool
        Whether a norm that is infinite or NaN is an error; the gradients stay as they are then.

    Returns
    -------
    Tensor
        The norm before clipping, a single number of the gradients' dtype (float64 where they
        differ). Squares are added in float64, in an order that no number of threads changes.

    Raises
    ------
    GraphError
        For a norm that is not finite, where asked.
    ParameterError
        For a negative ``max_norm`` or an order that is not positive.
    """
    where = "clip_grad_norm_"
    max_norm, norm_type = float(max_norm), float(norm_type)
    if not max_norm >= 0 or not norm_type > 0:
        raise ParameterError(say(where, "max_norm >= 0 and norm_type > 0",
                                 f"{max_norm} and {norm_type}", "Try max_norm=1.0"))
    tables = by_dtype(where, parameters)
    if not tables:
        return Tensor(np.zeros((), np.float32))
    with no_grad():
        parts = [part for grads in tables for part in powers(grads, norm_type)]
        if norm_type == math.inf:
            norm = reduce(F["maximum"], parts)  # NaN wins
        else:
            total = reduce(F["add"], parts)
            norm = F["sqrt"](total) if norm_type == 2 else total ** (1 / norm_type)
        if error_if_nonfinite and not math.isfinite(norm.item()):
            raise GraphError(say(where, "a finite norm", str(norm.item()), "Lower the learning "
                                 "rate, or look for the first layer whose output is not finite"))
        for grads in tables:
            apply(SEGMENTS_LIMIT, *grads, norm, max_norm=max_norm)
        return norm if len(tables) > 1 else norm.astype(tables[0][0].data.dtype)


def powers(grads: list[Tensor], order: float) -> list[Tensor]:
    """Return sums of |g|^order over gradients of one dtype, or their largest |g|, in float64."""
    if order == 2:
        return [apply(SEGMENTS_SUM_SQUARES, *grads)]
    sizes = [abs(g.detach()) for g in grads]
    return [(x.max() if order == math.inf else (x ** order).sum()).astype(np.float64)
            for x in sizes]


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clip every element of every gradient: ``g <- min(max(g, -clip_value), clip_value)``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float
        The largest absolute value to allow.

    Raises
    ------
    ParameterError
        For a negative value.
    """
    clip_value = float(clip_value)
    if not clip_value >= 0:
        raise ParameterError(say("clip_grad_value_", "clip_value >= 0", str(clip_value),
                                 "Try 1.0"))
    for grads in by_dtype("clip_grad_value_", parameters):
        apply(SEGMENTS_CLIP, *grads, low=-clip_value, high=clip_value)
