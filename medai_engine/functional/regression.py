"""Losses of numbers, distributions and distances."""

from __future__ import annotations

from typing import Any

from ..errors import ParameterError, say
from ..op import apply
from ..ops.elementwise import FUNCTIONS
from ..ops.reduce import SUM
from ..tensor import Tensor
from .common import last_sum, pair, reduced, summed, tensor

__all__ = ["cosine_similarity", "huber_loss", "kl_div", "l1_loss", "mse_loss", "smooth_l1_loss",
           "triplet_margin_loss"]


def mse_loss(x: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """Squared error, ``(x - t)^2``.

    Parameters
    ----------
    x, target : Tensor
        One shape.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Raises
    ------
    ShapeError
        When the shapes differ (they are not broadcast).
    """
    x, t = pair("mse_loss", x, target)
    return reduced(FUNCTIONS["square"](x - t), reduction)


def l1_loss(x: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """Absolute error, ``|x - t|``; arguments as in ``mse_loss``."""
    x, t = pair("l1_loss", x, target)
    return reduced(FUNCTIONS["abs"](x - t), reduction)


def huber_loss(x: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean") -> Tensor:
    """``(x - t)^2 / 2`` up to an error of delta, ``delta (|x - t| - delta / 2)`` beyond.

    Arguments as in ``mse_loss``.

    Raises
    ------
    ParameterError
        For delta <= 0.

    References
    ----------
    Huber 1964, Robust estimation of a location parameter.
    """
    if not delta > 0:
        raise ParameterError(say("huber_loss", "delta above 0", repr(delta), "Use delta=1.0"))
    x, t = pair("huber_loss", x, target)
    return reduced(_huber(x - t, delta), reduction)


def _huber(d: Tensor, delta: float) -> Tensor:
    """Return c (d - c / 2) for c = d clipped to [-delta, delta]: both branches at once."""
    c = FUNCTIONS["clip"](d, low=-float(delta), high=float(delta))
    return c * (d - c * 0.5)


def smooth_l1_loss(x: Any, target: Any, *, beta: float = 1.0, reduction: str = "mean") -> Tensor:
    """``(x - t)^2 / (2 beta)`` up to an error of beta, ``|x - t| - beta / 2`` beyond.

    beta = 0 gives the absolute error. Other arguments as in ``mse_loss``.

    Raises
    ------
    ParameterError
        For beta < 0.

    References
    ----------
    Girshick 2015, Fast R-CNN.
    """
    if beta < 0:
        raise ParameterError(say("smooth_l1_loss", "beta >= 0", repr(beta), "Use beta=1.0"))
    x, t = pair("smooth_l1_loss", x, target)
    if beta == 0:
        return reduced(FUNCTIONS["abs"](x - t), reduction)
    return reduced(_huber(x - t, beta) * (1.0 / beta), reduction)


def kl_div(log_probabilities: Any, target: Any, *, log_target: bool = False,
           reduction: str = "mean") -> Tensor:
    """Kullback-Leibler divergence, ``t (log t - log p)``, 0 where t = 0.

    Parameters
    ----------
    log_probabilities : Tensor
        log p, any shape.
    target : Tensor
        t, or log t with ``log_target``.
    log_target : bool
        Whether the target holds logarithms.
    reduction : str
        ``"batchmean"`` (the divergence: the sum over the size of the first axis), ``"mean"`` (over
        all elements), ``"sum"`` or ``"none"``.

    Raises
    ------
    ShapeError
        When the shapes differ.

    References
    ----------
    Kullback & Leibler 1951, On information and sufficiency.
    """
    x, t = pair("kl_div", log_probabilities, target)
    if log_target:
        loss = FUNCTIONS["exp"](t) * (t - x)
    else:
        present = FUNCTIONS["not_equal"](t, 0.0)
        logs = FUNCTIONS["log"](FUNCTIONS["where"](present, t, 1.0))
        loss = FUNCTIONS["where"](present, t * logs, 0.0) - t * x
    if reduction == "batchmean":
        return summed(loss) / x.shape[0]
    return reduced(loss, reduction)


def cosine_similarity(a: Any, b: Any, axis: int = -1, eps: float = 1e-8) -> Tensor:
    """Cosine of the angle between vectors, ``a b / (max(|a|, eps) max(|b|, eps))``.

    Parameters
    ----------
    a, b : Tensor
        Shapes that broadcast.
    axis : int
        The axis of the vectors' entries.
    eps : float
        Smallest length to divide by.

    Returns
    -------
    Tensor
        The broadcast shape without the axis.

    Raises
    ------
    ShapeError
        When the shapes do not broadcast.
    """
    a, b = tensor(a), tensor(b)
    product = apply(SUM, a * b, axis=axis, keepdims=False)
    return product / (_length(a, axis, eps) * _length(b, axis, eps))


def _length(a: Tensor, axis: int, eps: float) -> Tensor:
    """Return max(|a|, eps); the slope of the root is taken at eps^2 or more, so it is finite."""
    squares = apply(SUM, FUNCTIONS["square"](a), axis=axis, keepdims=False)
    return FUNCTIONS["sqrt"](FUNCTIONS["clip"](squares, low=eps * eps, high=float("inf")))


def triplet_margin_loss(anchor: Any, positive: Any, negative: Any, *, margin: float = 1.0,
                        p: float = 2.0, eps: float = 1e-6, swap: bool = False,
                        reduction: str = "mean") -> Tensor:
    """``max(0, |a - p| - |a - n| + margin)`` with the p-norm along the last axis.

    Parameters
    ----------
    anchor, positive, negative : Tensor
        (..., D), one shape.
    margin : float
        How much farther the negative has to be.
    p : float
        The norm's exponent.
    eps : float
        Added to the differences, so that the slope at distance 0 is finite.
    swap : bool
        Take the distance of positive and negative where it is the smaller one.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"`` ((...)).

    Raises
    ------
    ShapeError
        When the shapes differ.

    References
    ----------
    Balntas et al. 2016, Learning local feature descriptors with triplets.
    """
    anchor, positive = pair("triplet_margin_loss", anchor, positive)
    anchor, negative = pair("triplet_margin_loss", anchor, negative)
    far = _distance(anchor, negative, p, eps)
    if swap:
        far = FUNCTIONS["minimum"](far, _distance(positive, negative, p, eps))
    return reduced(FUNCTIONS["relu"](_distance(anchor, positive, p, eps) - far + margin), reduction)


def _distance(a: Tensor, b: Tensor, p: float, eps: float) -> Tensor:
    d = a - b + eps
    if p == 2:
        return FUNCTIONS["sqrt"](last_sum(FUNCTIONS["square"](d)))
    d = FUNCTIONS["abs"](d)
    return last_sum(d) if p == 1 else FUNCTIONS["power"](last_sum(FUNCTIONS["power"](d, p)), 1 / p)
