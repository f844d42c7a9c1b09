"""Losses of classes: indices, probabilities, and masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ParameterError, ShapeError, say
from ..kernels import within
from ..mode import look
from ..op import apply
from ..ops.elementwise import FUNCTIONS
from ..ops.indexing import GATHER
from ..ops.loss import (
    BINARY_CROSS_ENTROPY,
    SOFTMAX_CROSS_ENTROPY,
    check_indices,
    chosen,
    log_softmax,
)
from ..ops.reduce import SUM
from ..ops.shape import astype
from ..tensor import Tensor
from .common import labels_of, last_sum, like, pair, reduced, summed, tensor

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy",
           "dice_loss", "focal_loss", "hinge_loss", "nll_loss", "tversky_loss"]

where, exp, power = FUNCTIONS["where"], FUNCTIONS["exp"], FUNCTIONS["power"]
IGNORED = -100  # PyTorch's default


def cross_entropy(logits: Any, labels: Any, weight: Any = None, *, ignore_index: int = IGNORED,
                  label_smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    """Cross-entropy of softmax(logits): ``-sum_c t_c log softmax(logits)_c`` for each row.

    Parameters
    ----------
    logits : Tensor
        (N, C) or (N, ..., C), scores before any softmax.
    labels : Tensor
        Class indices: integers (N, ...); or probabilities: floating, of the logits' shape.
    weight : Tensor, optional
        (C,), the weight of each class. The mean over indices divides by the sum of the weights
        of the rows' classes.
    ignore_index : int
        Rows with this label count nowhere. The mean of no row is NaN.
    label_smoothing : float
        Share eps of the target that is spread over all classes: ``(1 - eps) t + eps / C``.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"`` (one loss per row).

    Returns
    -------
    Tensor
        A number, or (N, ...).

    Raises
    ------
    ShapeError, DTypeError, DataError
        For labels that are floats (indices), one-hot integers, or not a class.

    References
    ----------
    Szegedy et al. 2016, Rethinking the inception architecture (label smoothing).

    Examples
    --------
    >>> from medai_engine import functional as F
    >>> F.cross_entropy([[0.0, 0.0]], [1])
    tensor(0.6931472)
    """
    logits, labels = tensor(logits), labels_of(labels)
    if labels.data.dtype.kind == "f" and labels.data.shape == logits.data.shape:
        return _of_probabilities(logits, labels, weight, label_smoothing, reduction)
    # Two ops where no label is ignored; a replayed plan then refuses one that is (ignore=None),
    # while an ignore_index of one's own always takes the general way.
    if weight is None and label_smoothing == 0 and ignore_index == IGNORED and (
            (logits.data.ndim and within(labels.data, 0, logits.data.shape[-1]))
            or not (labels.data == IGNORED).any()):
        return reduced(apply(SOFTMAX_CROSS_ENTROPY, logits, labels, ignore=None)[0], reduction)
    if labels.data.dtype.kind == "f":
        apply(SOFTMAX_CROSS_ENTROPY, logits, labels, ignore=None)  # its shape rule says why not
    known, kept = _known(labels, ignore_index)
    rows = apply(SOFTMAX_CROSS_ENTROPY, logits, kept, ignore=-1)[0]
    factors = _row_weights(known, kept, weight, logits)
    rows = rows * factors
    if label_smoothing:
        smoothing = _share(label_smoothing)
        spread = log_softmax(logits)
        if weight is not None:
            spread = spread * like(weight, logits)
        even = where(known, last_sum(spread), 0.0) * (-smoothing / logits.shape[-1])
        rows = rows * (1.0 - smoothing) + even
    return _weighted(rows, factors, reduction)


def _of_probabilities(logits: Tensor, labels: Tensor, weight: Any, smoothing: float,
                      reduction: str) -> Tensor:
    """Return the cross-entropy against probabilities (N, ..., C)."""
    classes = logits.shape[-1]
    labels = like(labels, logits)
    if smoothing:
        labels = labels * (1.0 - _share(smoothing)) + smoothing / classes
    if weight is not None:
        labels = labels * _class_weights(weight, logits)
    return reduced(-last_sum(labels * log_softmax(logits)), reduction)


def _share(smoothing: float) -> float:
    if not 0.0 <= smoothing <= 1.0:
        raise ParameterError(say("cross_entropy", "label_smoothing between 0 and 1",
                                 repr(smoothing), "It is a share; 0.1 is usual"))
    return float(smoothing)


def _known(labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return which labels count, and the labels with -1 in place of the others."""
    known = FUNCTIONS["not_equal"](labels, ignore_index)
    return known, where(known, astype(labels, np.int64, copy=False), -1)


def _class_weights(weight: Any, logits: Tensor) -> Tensor:
    weight = like(weight, logits)
    if weight.shape != logits.shape[-1:]:
        raise ShapeError(say("cross_entropy", f"a weight of shape {logits.shape[-1:]}",
                             str(weight.shape), "Pass one number per class"))
    return weight


def _row_weights(known: Tensor, kept: Tensor, weight: Any, logits: Tensor) -> Tensor:
    """Return the weight of each row: its class's, and 0 where it is ignored."""
    counted = astype(known, logits.dtype)
    if weight is None:
        return counted
    table = _class_weights(weight, logits).detach()
    return counted * apply(GATHER, table, where(known, kept, 0))


def _weighted(rows: Tensor, factors: Tensor, reduction: str) -> Tensor:
    """Return sum(rows) / sum(factors), where rows carry their factors already."""
    if reduction == "mean":
        return summed(rows) / summed(factors)
    return reduced(rows, reduction)


def nll_loss(log_probabilities: Any, labels: Any, weight: Any = None, *,
             ignore_index: int = IGNORED, reduction: str = "mean") -> Tensor:
    """Negative log-likelihood, ``-w_label log_probabilities_label`` for each row.

    Parameters
    ----------
    log_probabilities : Tensor
        (N, ..., C), what ``log_softmax`` gives.
    labels : Tensor
        (N, ...), integers from 0 to C - 1, or ``ignore_index``.
    weight, ignore_index, reduction
        As in ``cross_entropy``.

    Returns
    -------
    Tensor
        A number, or (N, ...).

    Raises
    ------
    ShapeError, DTypeError, DataError
        For labels that are floats, one-hot, or not a class.
    """
    logs, labels = tensor(log_probabilities), labels_of(labels)
    if labels.data.dtype.kind not in "iu":
        raise DTypeError(say("nll_loss", "labels as class indices of an integer dtype",
                             str(labels.dtype), "Convert with labels.astype(me.int64)"))
    if labels.shape != logs.shape[:-1]:
        raise ShapeError(say("nll_loss", f"labels of shape {logs.shape[:-1]}", str(labels.shape),
                             "Pass one class index per row; one-hot rows with .argmax(axis=-1)",
                             {"log_probabilities": (logs.shape, "N, ..., C")}))
    classes = logs.shape[-1]
    look(lambda given: check_indices("nll_loss", "labels", given, classes, ignore_index), labels)
    known, kept = _known(labels, ignore_index)
    factors = _row_weights(known, kept, weight, logs)
    return _weighted(-(chosen(logs, kept) * factors), factors, reduction)


def binary_cross_entropy(probabilities: Any, target: Any, weight: Any = None, *,
                         reduction: str = "mean") -> Tensor:
    """Cross-entropy of probabilities, ``-t log p - (1 - t) log(1 - p)``, logarithms >= -100.

    Parameters
    ----------
    probabilities : Tensor
        Any shape, between 0 and 1 (behind a sigmoid).
    target : Tensor
        The same shape, between 0 and 1.
    weight : Tensor, optional
        Factors that broadcast to it.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Returns
    -------
    Tensor
        A number, or the shape of the target.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DataError
        For values outside 0 .. 1 (scores belong into ``binary_cross_entropy_with_logits``).
    """
    p, t = pair("binary_cross_entropy", probabilities, target)
    loss = apply(BINARY_CROSS_ENTROPY, p, t)
    return reduced(loss if weight is None else loss * like(weight, p), reduction)


def binary_cross_entropy_with_logits(logits: Any, target: Any, weight: Any = None, *,
                                     pos_weight: Any = None, reduction: str = "mean") -> Tensor:
    """Cross-entropy of p = sigmoid(logits), ``-w (v t log p + (1 - t) log(1 - p))``.

    Parameters
    ----------
    logits : Tensor
        Any shape, scores before the sigmoid.
    target : Tensor
        The same shape, between 0 and 1.
    weight : Tensor, optional
        Factors w that broadcast to it.
    pos_weight : Tensor, optional
        Factors v of the positive class that broadcast to it: above 1 they raise the sensitivity.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Returns
    -------
    Tensor
        A number, or the shape of the target.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    x, t = pair("binary_cross_entropy_with_logits", logits, target)
    if pos_weight is None:
        loss = FUNCTIONS["bce_with_logits"](x, t)
    else:
        factor = t * (like(pos_weight, x) - 1.0) + 1.0
        loss = (1.0 - t) * x - factor * FUNCTIONS["log_sigmoid"](x)
    return reduced(loss if weight is None else loss * like(weight, x), reduction)


def hinge_loss(scores: Any, target: Any, *, margin: float = 1.0,
               reduction: str = "mean") -> Tensor:
    """Hinge loss, ``max(0, margin - t x)`` for targets t of -1 and 1.

    Raises
    ------
    ShapeError
        When the shapes differ.
    ParameterError
        For targets other than -1 and 1.

    References
    ----------
    Cortes & Vapnik 1995, Support-vector networks.
    """
    x, t = pair("hinge_loss", scores, target)
    look(_signs, t)
    return reduced(FUNCTIONS["relu"](margin - t * x), reduction)


def _signs(targets: np.ndarray) -> None:
    if np.any(np.abs(targets) != 1):
        raise ParameterError(say("hinge_loss", "targets of -1 and 1", "others",
                                 "Recode classes 0 and 1 with 2 * target - 1"))


def focal_loss(logits: Any, target: Any, *, alpha: float | None = 0.25, gamma: float = 2.0,
               reduction: str = "mean") -> Tensor:
    """Cross-entropy that fades for easy cases, ``-a_t (1 - p_t)^gamma log p_t``.

    p_t is the probability given to the truth, p = sigmoid(logits); a_t is alpha for t = 1 and
    1 - alpha for t = 0.

    Parameters
    ----------
    logits : Tensor
        Any shape, scores before the sigmoid.
    target : Tensor
        The same shape, 0 and 1.
    alpha : float, optional
        Weight of the positive class; None for no weights.
    gamma : float
        How fast easy cases fade; 0 gives the cross-entropy.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Raises
    ------
    ShapeError
        When the shapes differ.

    References
    ----------
    Lin et al. 2017, Focal loss for dense object detection.
    """
    x, t = pair("focal_loss", logits, target)
    p = FUNCTIONS["sigmoid"](x)
    miss = p + t - p * t * 2.0  # 1 - p_t
    loss = FUNCTIONS["bce_with_logits"](x, t) * power(miss, float(gamma))
    if alpha is not None:
        loss = loss * (t * (2.0 * alpha - 1.0) + (1.0 - alpha))
    return reduced(loss, reduction)


def dice_loss(probabilities: Any, target: Any, *, smooth: float = 1.0,
              reduction: str = "mean") -> Tensor:
    """One minus the Dice overlap, ``1 - (2 sum p t + s) / (sum p + sum t + s)``.

    Sums run over the places of one image and channel.

    Parameters
    ----------
    probabilities : Tensor
        (N, ..., C) between 0 and 1, channels last.
    target : Tensor
        The same shape, 0 and 1.
    smooth : float
        s; keeps the loss of two empty masks at 0.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"`` ((N, C)).

    Raises
    ------
    ShapeError
        When the shapes differ, or without an axis of places.

    References
    ----------
    Milletari et al. 2016, V-Net.
    """
    return tversky_loss(probabilities, target, alpha=0.5, beta=0.5, smooth=smooth / 2,
                        reduction=reduction)


def tversky_loss(probabilities: Any, target: Any, *, alpha: float = 0.5, beta: float = 0.5,
                 smooth: float = 1.0, reduction: str = "mean") -> Tensor:
    """One minus the Tversky index, ``1 - (TP + s) / (TP + alpha FP + beta FN + s)``.

    TP = sum p t, FP = sum p (1 - t), FN = sum (1 - p) t over the places of one image and channel.

    Parameters
    ----------
    probabilities : Tensor
        (N, ..., C) between 0 and 1, channels last.
    target : Tensor
        The same shape, 0 and 1.
    alpha, beta : float
        Weights of false positives and false negatives: beta above alpha raises the sensitivity.
    smooth : float
        s; keeps the loss of two empty masks at 0.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"`` ((N, C)).

    Raises
    ------
    ShapeError
        When the shapes differ, or without an axis of places.

    References
    ----------
    Salehi et al. 2017, Tversky loss function for image segmentation.
    """
    p, t = pair("tversky_loss", probabilities, target)
    if p.ndim < 3:
        raise ShapeError(say("tversky_loss", "masks of shape (N, ..., C)", str(p.shape),
                             "Add an axis of channels with reshape(..., 1)"))
    places = tuple(range(1, p.ndim - 1))
    hits, predicted, present = (apply(SUM, m, axis=places, keepdims=False) for m in (p * t, p, t))
    whole = hits * (1.0 - alpha - beta) + predicted * alpha + present * beta
    return reduced(1.0 - (hits + smooth) / (whole + smooth), reduction)
