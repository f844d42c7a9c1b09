"""Metrics by Keras's names, computed on all predictions of an epoch at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import MedaiError, ParameterError, say
from ..tensor import Tensor
from ..training import metrics as own
from . import losses

__all__ = ["AUC", "Accuracy", "BinaryAccuracy", "CategoricalAccuracy", "F1Score",
           "MeanAbsoluteError", "MeanSquaredError", "Metric", "Precision", "Recall",
           "RootMeanSquaredError", "SparseCategoricalAccuracy", "get"]


def classes_of(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return class numbers for one-hot rows, columns or class numbers."""
    if y.shape == p.shape and p.shape[-1] > 1:
        return y.argmax(axis=-1)
    return y[..., 0] if y.ndim == p.ndim else y


def binary_accuracy(y: np.ndarray, p: np.ndarray, threshold: float = 0.5) -> float:
    """Return the share of entries on the right side of the threshold."""
    return float(np.mean((p > threshold) == (y.reshape(p.shape) > 0.5)))


def categorical_accuracy(y: np.ndarray, p: np.ndarray) -> float:
    """Return the share of rows whose largest entry is the right one."""
    return float(np.mean(p.argmax(axis=-1) == classes_of(y, p)))


def accuracy(y: np.ndarray, p: np.ndarray) -> float:
    """Return the binary or the categorical accuracy, by the shape of the predictions."""
    return categorical_accuracy(y, p) if p.ndim > 1 and p.shape[-1] > 1 else binary_accuracy(y, p)


def of_class_1(function: Callable[..., float]) -> Callable[..., float]:
    """Return a metric of labels and risks that takes Keras's shapes."""
    def score(y: np.ndarray, p: np.ndarray) -> float:
        labels = classes_of(y, p).reshape(-1)
        flat = p.reshape(-1, p.shape[-1]) if p.ndim > 1 and p.shape[-1] > 1 else p.reshape(-1)
        try:
            return function(labels, flat)
        except MedaiError:  # one class only, so far
            return float("nan")

    score.__name__ = function.__name__
    return score


def of_loss(function: Callable[..., Tensor]) -> Callable[..., float]:
    """Return a loss function as a metric."""
    def score(y: np.ndarray, p: np.ndarray) -> float:
        return float(np.mean(function(y, p).data))

    score.__name__ = function.__name__
    return score


def root_mean_squared_error(y: np.ndarray, p: np.ndarray) -> float:
    """Return the root of the mean of (p - y)^2."""
    return float(np.sqrt(np.mean((p - y.reshape(p.shape)) ** 2)))


class Metric:
    """A metric as an object, with Keras's default name."""

    function: Callable[..., float] = staticmethod(accuracy)
    label = "metric"

    def __init__(self, name: str | None = None, dtype: Any = None, **options: Any):
        self.name = name or self.label
        self.options = {k: v for k, v in options.items() if k in ("threshold",)}

    def __call__(self, y: Any, p: Any) -> float:
        """Return the score."""
        return self.function(np.asarray(y), np.asarray(p), **self.options)


def _of(function: Callable[..., float], kind: str, label: str) -> type[Metric]:
    doc = function.__doc__ or f"``{label}`` of all predictions."
    return type(kind, (Metric,), {"function": staticmethod(function), "label": label,
                                  "__doc__": doc})


Accuracy = _of(accuracy, "Accuracy", "accuracy")
BinaryAccuracy = _of(binary_accuracy, "BinaryAccuracy", "binary_accuracy")
CategoricalAccuracy = _of(categorical_accuracy, "CategoricalAccuracy", "categorical_accuracy")
SparseCategoricalAccuracy = _of(categorical_accuracy, "SparseCategoricalAccuracy",
                                "sparse_categorical_accuracy")
AUC = _of(of_class_1(own.roc_auc), "AUC", "auc")
Precision = _of(of_class_1(own.precision), "Precision", "precision")
Recall = _of(of_class_1(own.recall), "Recall", "recall")
F1Score = _of(of_class_1(own.f1), "F1Score", "f1_score")
MeanSquaredError = _of(of_loss(losses.mean_squared_error), "MeanSquaredError",
                       "mean_squared_error")
MeanAbsoluteError = _of(of_loss(losses.mean_absolute_error), "MeanAbsoluteError",
                        "mean_absolute_error")
RootMeanSquaredError = _of(root_mean_squared_error, "RootMeanSquaredError",
                           "root_mean_squared_error")

NAMES: dict[str, Callable[..., float]] = {
    "accuracy": accuracy, "acc": accuracy, "binary_accuracy": binary_accuracy,
    "categorical_accuracy": categorical_accuracy,
    "sparse_categorical_accuracy": categorical_accuracy, "auc": of_class_1(own.roc_auc),
    "precision": of_class_1(own.precision), "recall": of_class_1(own.recall),
    "f1_score": of_class_1(own.f1), "root_mean_squared_error": root_mean_squared_error,
    **{name: of_loss(function) for name, function in losses.NAMES.items()},
}


def get(given: Any) -> tuple[str, Callable[..., float]]:
    """Return (name, function) for a name, a metric object or class, or a function f(y, p)."""
    if isinstance(given, type) and issubclass(given, Metric):
        given = given()
    if isinstance(given, Metric):
        return given.name, given
    if isinstance(given, str) and given.lower() in NAMES:
        return given, NAMES[given.lower()]
    if callable(given):
        def score(y: np.ndarray, p: np.ndarray) -> float:
            value = given(y, p)
            return float(np.mean(value.data if isinstance(value, Tensor) else value))

        return getattr(given, "__name__", "metric"), score
    raise ParameterError(say("compile", f"a metric of {', '.join(NAMES)}", repr(given),
                             "Use one of these names, or a function f(y_true, y_pred)"))
