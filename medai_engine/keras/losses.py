"""Losses with Keras's names: ``f(y_true, y_pred)`` gives one value per sample, classes reduce.

Probabilities are kept 1e-7 away from 0 and 1, as Keras does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional as F
from ..coerce import as_array
from ..errors import ParameterError, ShapeError, say
from ..tensor import Tensor
from .backend import me

__all__ = ["BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy",
           "CosineSimilarity", "Hinge", "Huber", "KLDivergence", "Loss", "MeanAbsoluteError",
           "MeanSquaredError", "Poisson", "SparseCategoricalCrossentropy", "SquaredHinge",
           "binary_crossentropy", "categorical_crossentropy", "get", "mean_absolute_error",
           "mean_squared_error", "sparse_categorical_crossentropy"]

EPSILON = 1e-7


def tensor(x: Any) -> Tensor:
    """Return an array, number or tensor as a tensor."""
    return x if isinstance(x, Tensor) else Tensor(as_array(x))


def paired(y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Return targets in the dtype and shape of the predictions."""
    y, p = tensor(y_true), tensor(y_pred)
    if y.ndim == p.ndim - 1 and p.shape[-1] == 1:
        y = me.expand_dims(y, axis=-1)
    elif y.ndim == p.ndim + 1 and y.shape[-1] == 1:
        y = me.squeeze(y, axis=-1)
    if y.shape != p.shape:
        raise ShapeError(say("loss", "targets of the predictions' shape", y.shape,
                             "Use sparse_categorical_crossentropy for class numbers, or "
                             "utils.to_categorical", {"y_true": y.shape, "y_pred": p.shape}))
    return (y if y.dtype == p.dtype else me.astype(y, p.dtype)), p


def clipped(p: Tensor) -> Tensor:
    """Return probabilities away from 0 and 1."""
    return me.clip(p, EPSILON, 1 - EPSILON)


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """Return the mean of (p - y)^2 over the last axis."""
    y, p = paired(y_true, y_pred)
    return me.mean(me.square(p - y), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """Return the mean of |p - y| over the last axis."""
    y, p = paired(y_true, y_pred)
    return me.mean(me.abs(p - y), axis=-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """Return 100 times the mean of |p - y| / |y| over the last axis."""
    y, p = paired(y_true, y_pred)
    return 100 * me.mean(me.abs((y - p) / me.maximum(me.abs(y), EPSILON)), axis=-1)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """Return the mean of (log(1 + p) - log(1 + y))^2 over the last axis."""
    y, p = paired(y_true, y_pred)
    gap = me.log1p(me.maximum(p, EPSILON)) - me.log1p(me.maximum(y, EPSILON))
    return me.mean(me.square(gap), axis=-1)


def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False,
                        label_smoothing: float = 0.0) -> Tensor:
    """Return the mean of -y log p - (1 - y) log(1 - p) over the last axis."""
    y, p = paired(y_true, y_pred)
    if label_smoothing:
        y = y * (1 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        loss = F.binary_cross_entropy_with_logits(p, y, reduction="none")
    else:
        p = clipped(p)
        loss = -(y * me.log(p) + (1 - y) * me.log(1 - p))
    return me.mean(loss, axis=-1)


def categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False,
                             label_smoothing: float = 0.0, axis: int = -1) -> Tensor:
    """Return -sum y log p over the classes; y one-hot or probabilities."""
    y, p = paired(y_true, y_pred)
    if label_smoothing:
        y = y * (1 - label_smoothing) + label_smoothing / y.shape[-1]
    if from_logits:
        return -me.sum(y * F.log_softmax(p), axis=-1)
    p = clipped(p / me.sum(p, axis=-1, keepdims=True))
    return -me.sum(y * me.log(p), axis=-1)


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False,
                                    ignore_class: int | None = None, axis: int = -1) -> Tensor:
    """Return -log p of the right class; y of class numbers."""
    y, p = tensor(y_true), tensor(y_pred)
    if y.ndim == p.ndim and y.shape[-1] == 1:
        y = me.squeeze(y, axis=-1)
    if y.shape != p.shape[:-1]:
        raise ShapeError(say("sparse_categorical_crossentropy", f"class numbers {p.shape[:-1]}",
                             y.shape, "Use categorical_crossentropy for one-hot rows",
                             {"y_true": y.shape, "y_pred": p.shape}))
    if y.dtype.kind != "i":
        y = me.astype(y, np.int64)
    ignored = -100 if ignore_class is None else ignore_class
    if from_logits:
        return F.cross_entropy(p, y, ignore_index=ignored, reduction="none")
    logs = me.log(clipped(p / me.sum(p, axis=-1, keepdims=True)))
    return F.nll_loss(logs, y, ignore_index=ignored, reduction="none")


def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """Return the mean of max(1 - y p, 0), y of -1 and 1 (0 is taken as -1)."""
    y, p = paired(y_true, y_pred)
    y = me.where(me.equal(y, 0), -me.ones_like(y), y)
    return me.mean(F.relu(1 - y * p), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """Return the mean of max(1 - y p, 0)^2."""
    y, p = paired(y_true, y_pred)
    y = me.where(me.equal(y, 0), -me.ones_like(y), y)
    return me.mean(me.square(F.relu(1 - y * p)), axis=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """Return the mean of d^2 / 2, beyond delta of delta (|d| - delta / 2)."""
    y, p = paired(y_true, y_pred)
    return me.mean(F.huber_loss(p, y, delta=delta, reduction="none"), axis=-1)


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """Return sum y log(y / p) over the classes."""
    y, p = paired(y_true, y_pred)
    y, p = me.clip(y, EPSILON, 1.0), me.clip(p, EPSILON, 1.0)
    return me.sum(y * me.log(y / p), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """Return the mean of p - y log p."""
    y, p = paired(y_true, y_pred)
    return me.mean(p - y * me.log(p + EPSILON), axis=-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Return minus the cosine of the angle between y and p."""
    y, p = paired(y_true, y_pred)
    return -F.cosine_similarity(y, p, axis=axis)


def binary_focal_crossentropy(y_true: Any, y_pred: Any, gamma: float = 2.0,
                              from_logits: bool = False) -> Tensor:
    """Return the mean of (1 - p_right)^gamma times the cross-entropy."""
    y, p = paired(y_true, y_pred)
    p = clipped(F.sigmoid(p) if from_logits else p)
    right = y * p + (1 - y) * (1 - p)
    entropy = -(y * me.log(p) + (1 - y) * me.log(1 - p))
    return me.mean((1 - right) ** gamma * entropy, axis=-1)


class Loss:
    """A loss as an object: derive from it and define ``call(y_true, y_pred)``."""

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size",
                 **options: Any):
        if reduction not in ("sum_over_batch_size", "mean", "sum", "none", None):
            raise ParameterError(say(type(self).__name__, "reduction sum_over_batch_size, sum or "
                                     "none", repr(reduction), "Leave it out"))
        self.name = name or type(self).__name__
        self.reduction, self.options = reduction, options

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Return one value per sample."""
        raise ParameterError(say(type(self).__name__, "a method call(self, y_true, y_pred)",
                                 "none", "Define it in the class"))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """Return the loss of a batch."""
        return reduced(self.call(y_true, y_pred), sample_weight, self.reduction)


def reduced(values: Tensor, weight: Any = None, reduction: str | None = "mean",
            mask: Any = None) -> Tensor:
    """Return the mean over all values, weighted: the sum of w l over their number.

    Of masked steps neither the value nor the place counts.
    """
    if weight is not None:
        w = me.astype(tensor(weight), values.dtype)
        values = values * me.reshape(w, (*w.shape, *[1] * (values.ndim - w.ndim)))
    if mask is not None and mask.shape == values.shape:
        m = me.astype(mask, values.dtype)
        return me.sum(values * m) / me.maximum(me.sum(m), 1.0)
    if reduction in ("none", None):
        return values
    return me.sum(values) if reduction == "sum" else me.mean(values)


def _of(function: Callable[..., Tensor], name: str) -> type[Loss]:
    """Return the class of a loss function."""
    class Made(Loss):
        def call(self, y_true: Any, y_pred: Any) -> Tensor:
            """Return one value per sample."""
            return function(y_true, y_pred, **self.options)

    def __init__(self: Any, *positional: Any, reduction: str | None = "sum_over_batch_size",
                 name: str | None = None, **options: Any) -> None:
        if positional:  # from_logits, or delta, comes first in Keras, too
            options[function.__code__.co_varnames[2]] = positional[0]
        unknown = set(options) - set(function.__code__.co_varnames[: function.__code__.co_argcount])
        if unknown:
            raise ParameterError(say(type(self).__name__, "the options of its function",
                                     ", ".join(sorted(unknown)), "Leave them out"))
        Loss.__init__(self, name, reduction, **options)

    Made.__init__ = __init__  # type: ignore[method-assign]
    Made.__name__ = Made.__qualname__ = name
    Made.__doc__ = function.__doc__
    return Made


BinaryCrossentropy = _of(binary_crossentropy, "BinaryCrossentropy")
BinaryFocalCrossentropy = _of(binary_focal_crossentropy, "BinaryFocalCrossentropy")
CategoricalCrossentropy = _of(categorical_crossentropy, "CategoricalCrossentropy")
SparseCategoricalCrossentropy = _of(sparse_categorical_crossentropy,
                                    "SparseCategoricalCrossentropy")
MeanSquaredError = _of(mean_squared_error, "MeanSquaredError")
MeanAbsoluteError = _of(mean_absolute_error, "MeanAbsoluteError")
Hinge = _of(hinge, "Hinge")
SquaredHinge = _of(squared_hinge, "SquaredHinge")
Huber = _of(huber, "Huber")
KLDivergence = _of(kl_divergence, "KLDivergence")
Poisson = _of(poisson, "Poisson")
CosineSimilarity = _of(cosine_similarity, "CosineSimilarity")

NAMES: dict[str, Callable[..., Tensor]] = {
    "binary_crossentropy": binary_crossentropy, "bce": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "mean_squared_error": mean_squared_error, "mse": mean_squared_error,
    "mean_absolute_error": mean_absolute_error, "mae": mean_absolute_error,
    "mean_absolute_percentage_error": mean_absolute_percentage_error,
    "mape": mean_absolute_percentage_error,
    "mean_squared_logarithmic_error": mean_squared_logarithmic_error,
    "msle": mean_squared_logarithmic_error, "hinge": hinge, "squared_hinge": squared_hinge,
    "huber": huber, "huber_loss": huber, "kl_divergence": kl_divergence, "kld": kl_divergence,
    "poisson": poisson, "cosine_similarity": cosine_similarity,
    "binary_focal_crossentropy": binary_focal_crossentropy,
}


def get(given: Any) -> Callable[..., Tensor]:
    """Return a loss function or object for a name, or what was given."""
    if isinstance(given, str) and given.lower() in NAMES:
        return NAMES[given.lower()]
    if isinstance(given, type) and issubclass(given, Loss):
        return given()
    if callable(given) and not isinstance(given, str):
        return given
    raise ParameterError(say("compile", f"a loss of {', '.join(NAMES)}", repr(given),
                             "Use one of these names, or a function f(y_true, y_pred)"))
