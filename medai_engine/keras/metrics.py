"""Metrics by Keras's names: what is gathered over the batches of an epoch, and its value.

Means are kept as sums. The area under the ROC curve is the exact one of all predictions; Keras's is
a sum over 200 thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import MedaiError, ParameterError, say
from ..tensor import Tensor
from ..training import metrics as own
from . import losses

__all__ = ["AUC", "Accuracy", "BinaryAccuracy", "BinaryCrossentropy", "CategoricalAccuracy",
           "CategoricalCrossentropy", "F1Score", "FalseNegatives", "FalsePositives", "Mean",
           "MeanAbsoluteError", "MeanMetricWrapper", "MeanSquaredError", "Metric", "Precision",
           "Recall", "RootMeanSquaredError", "SparseCategoricalAccuracy",
           "SparseCategoricalCrossentropy", "SparseTopKCategoricalAccuracy", "Sum",
           "TopKCategoricalAccuracy", "TrueNegatives", "TruePositives", "get"]


def array(x: Any) -> np.ndarray:
    """Return a tensor, array or list as an array."""
    return np.asarray(x.data if isinstance(x, Tensor) else x)


def plain(value: Any) -> Any:
    """Return a result of one number as a float."""
    value = array(value)
    return float(value.reshape(-1)[0]) if value.size == 1 else value


def classes_of(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return class numbers for one-hot rows, columns or class numbers."""
    if y.shape == p.shape and p.shape[-1] > 1:
        return y.argmax(axis=-1)
    return y[..., 0] if y.ndim == p.ndim else y


# ---- one value per sample -----------------------------------------------------------------------


def equal_values(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return where y and p are the same numbers."""
    return y.reshape(p.shape) == p


def binary_accuracy(y: np.ndarray, p: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Return the share of each sample's entries on the right side of the threshold."""
    right = (p > threshold) == (y.reshape(p.shape) > 0.5)
    return right.mean(axis=-1) if right.ndim > 1 else right


def categorical_accuracy(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return where the largest entry is the right one."""
    return p.argmax(axis=-1) == classes_of(y, p)


def accuracy(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return the binary or the categorical accuracy, by the shape of the predictions."""
    return categorical_accuracy(y, p) if p.ndim > 1 and p.shape[-1] > 1 else binary_accuracy(y, p)


def top_k_accuracy(y: np.ndarray, p: np.ndarray, k: int = 5) -> np.ndarray:
    """Return where the right class is among the k largest entries."""
    right = np.take_along_axis(p, classes_of(y, p).astype(np.int64)[..., None], axis=-1)
    return (p > right).sum(axis=-1) < k


def of_loss(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Return a loss, or any function of tensors, as a metric."""
    def score(y: np.ndarray, p: np.ndarray, **options: Any) -> np.ndarray:
        return array(function(Tensor(y), Tensor(p), **options))

    score.__name__ = getattr(function, "__name__", "metric")
    return score


# ---- metrics ------------------------------------------------------------------------------------


class Metric:
    """Something gathered batch by batch: ``update_state``, ``result``, ``reset_state``.

    Derive from it for a metric of one's own; ``add_weight`` makes what it keeps.
    """

    label = "metric"

    def __init__(self, name: str | None = None, dtype: Any = None):
        self.name = name or self.label
        self.kept: list[Tensor] = []
        self.reset_state()

    def add_weight(self, shape: Sequence[int] = (), initializer: Any = "zeros",
                   name: str | None = None, dtype: Any = np.float32, **_: Any) -> Tensor:
        """Return a tensor of zeros with a method ``assign``."""
        self.kept.append(Kept(np.zeros(tuple(shape), dtype)))
        return self.kept[-1]

    add_variable = add_weight

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch."""
        raise ParameterError(say(type(self).__name__, "a method update_state(self, y_true, "
                                 "y_pred, sample_weight=None)", "none", "Define it in the class"))

    def result(self) -> Any:
        """Return the value of all batches so far."""
        raise ParameterError(say(type(self).__name__, "a method result(self)", "none",
                                 "Define it in the class"))

    def reset_state(self) -> None:
        """Forget the batches."""
        for value in self.kept:
            value.data[...] = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take a batch and return the value so far."""
        self.update_state(*args, **kwargs)
        return self.result()


class Kept(Tensor):
    """What a metric keeps."""

    def assign(self, value: Any) -> None:
        """Take another value."""
        self.data[...] = array(value)

    def assign_add(self, value: Any) -> None:
        """Add to the value."""
        self.data[...] += array(value)


class Mean(Metric):
    """The mean of the values given to ``update_state``."""

    label = "mean"

    def reset_state(self) -> None:
        """Forget the values."""
        self.total, self.count = 0.0, 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore
        """Take values, each with its weight."""
        values = np.asarray(array(values), np.float64)
        if sample_weight is None:
            self.total, self.count = self.total + values.sum(), self.count + values.size
            return
        w = np.asarray(array(sample_weight), np.float64)
        w = np.broadcast_to(w.reshape(*w.shape, *[1] * (values.ndim - w.ndim)), values.shape)
        self.total, self.count = self.total + (values * w).sum(), self.count + w.sum()

    def result(self) -> float:
        """Return the weighted mean; 0 without values."""
        return float(self.total / self.count) if self.count else 0.0


class Sum(Mean):
    """The sum of the values given to ``update_state``."""

    label = "sum"

    def result(self) -> float:
        """Return the sum."""
        return float(self.total)


class MeanMetricWrapper(Mean):
    """The mean of a function ``f(y_true, y_pred)`` of each batch."""

    function: Callable[..., Any] = staticmethod(accuracy)

    def __init__(self, fn: Callable[..., Any] | None = None, name: str | None = None,
                 dtype: Any = None, **options: Any):
        super().__init__(name or (getattr(fn, "__name__", None) if fn else None), dtype)
        self.fn, self.options = fn or self.function, options

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore
        """Take a batch."""
        super().update_state(self.fn(array(y_true), array(y_pred), **self.options),
                             sample_weight)


def _of(function: Callable[..., Any], kind: str, label: str, **defaults: Any) -> type[Metric]:
    def __init__(self: Any, *args: Any, name: str | None = None, dtype: Any = None,
                 **options: Any) -> None:
        allowed = function.__code__.co_varnames[2: function.__code__.co_argcount] or (
            "from_logits", "label_smoothing")
        options = {**defaults, **dict(zip(allowed, args, strict=False)), **options}
        unknown = set(options) - set(allowed)
        if unknown:
            raise ParameterError(say(kind, f"options of {', '.join(allowed)}",
                                     ", ".join(sorted(unknown)), "Leave them out"))
        MeanMetricWrapper.__init__(self, name=name, dtype=dtype, **options)

    return type(kind, (MeanMetricWrapper,), {
        "function": staticmethod(function), "label": label, "__init__": __init__,
        "__doc__": function.__doc__ or f"The mean of ``{label}``."})


Accuracy = _of(equal_values, "Accuracy", "accuracy")
BinaryAccuracy = _of(binary_accuracy, "BinaryAccuracy", "binary_accuracy")
CategoricalAccuracy = _of(categorical_accuracy, "CategoricalAccuracy", "categorical_accuracy")
SparseCategoricalAccuracy = _of(categorical_accuracy, "SparseCategoricalAccuracy",
                                "sparse_categorical_accuracy")
TopKCategoricalAccuracy = _of(top_k_accuracy, "TopKCategoricalAccuracy",
                              "top_k_categorical_accuracy")
SparseTopKCategoricalAccuracy = _of(top_k_accuracy, "SparseTopKCategoricalAccuracy",
                                    "sparse_top_k_categorical_accuracy")
MeanSquaredError = _of(of_loss(losses.mean_squared_error), "MeanSquaredError",
                       "mean_squared_error")
MeanAbsoluteError = _of(of_loss(losses.mean_absolute_error), "MeanAbsoluteError",
                        "mean_absolute_error")
BinaryCrossentropy = _of(of_loss(losses.binary_crossentropy), "BinaryCrossentropy",
                         "binary_crossentropy")
CategoricalCrossentropy = _of(of_loss(losses.categorical_crossentropy),
                              "CategoricalCrossentropy", "categorical_crossentropy")
SparseCategoricalCrossentropy = _of(of_loss(losses.sparse_categorical_crossentropy),
                                    "SparseCategoricalCrossentropy",
                                    "sparse_categorical_crossentropy")


class RootMeanSquaredError(Mean):
    """The root of the mean of (p - y)^2."""

    label = "root_mean_squared_error"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore
        """Take a batch."""
        p = array(y_pred)
        super().update_state((p - array(y_true).reshape(p.shape)) ** 2, sample_weight)

    def result(self) -> float:
        """Return the root."""
        return float(np.sqrt(super().result()))


class Counts(Metric):
    """What is counted of entries above and below a threshold: right and wrong, found and missed."""

    def __init__(self, thresholds: float | None = None, name: str | None = None,
                 dtype: Any = None, class_id: int | None = None):
        super().__init__(name, dtype)
        if isinstance(thresholds, (list, tuple)) and len(thresholds) == 1:
            thresholds = thresholds[0]
        if isinstance(thresholds, (list, tuple)):
            raise ParameterError(say(type(self).__name__, "one threshold", repr(thresholds),
                                     "Make a metric for each"))
        self.threshold = 0.5 if thresholds is None else float(thresholds)
        self.class_id = class_id

    def reset_state(self) -> None:
        """Forget the batches."""
        self.tp = self.fp = self.fn = self.tn = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch."""
        p = array(y_pred)
        y = array(y_true).reshape(p.shape) > 0.5
        found = p > self.threshold
        if self.class_id is not None:
            y, found = y[..., self.class_id], found[..., self.class_id]
        w = np.ones(y.shape) if sample_weight is None else np.broadcast_to(
            array(sample_weight).reshape(-1, *[1] * (y.ndim - 1)), y.shape)
        self.tp += float(w[y & found].sum())
        self.fp += float(w[~y & found].sum())
        self.fn += float(w[y & ~found].sum())
        self.tn += float(w[~y & ~found].sum())


def _counting(kind: str, label: str, doc: str, value: Callable[[Any], float]) -> type[Counts]:
    def result(self: Any) -> float:
        return value(self)

    result.__doc__ = doc
    return type(kind, (Counts,), {"label": label, "result": result, "__doc__": doc})


def share(part: float, rest: float) -> float:
    """Return part / (part + rest), 0 where both are 0."""
    return part / (part + rest) if part + rest else 0.0


TruePositives = _counting("TruePositives", "true_positives", "Entries rightly found.",
                          lambda m: m.tp)
FalsePositives = _counting("FalsePositives", "false_positives", "Entries wrongly found.",
                           lambda m: m.fp)
FalseNegatives = _counting("FalseNegatives", "false_negatives", "Entries missed.", lambda m: m.fn)
TrueNegatives = _counting("TrueNegatives", "true_negatives", "Entries rightly left.",
                          lambda m: m.tn)
Precision = _counting("Precision", "precision", "The share of what is found that is right.",
                      lambda m: share(m.tp, m.fp))
Recall = _counting("Recall", "recall", "The share of what is there that is found.",
                   lambda m: share(m.tp, m.fn))


class Gathering(Metric):
    """What needs all predictions at once."""

    def reset_state(self) -> None:
        """Forget the batches."""
        self.found: list[tuple[np.ndarray, np.ndarray]] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch."""
        if sample_weight is not None:
            raise ParameterError(say(type(self).__name__, "no sample weights", "some",
                                     "Pass it as metrics=, not weighted_metrics="))
        self.found.append((array(y_true), array(y_pred)))

    def gathered(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all targets and predictions."""
        y, p = (np.concatenate(part) for part in zip(*self.found, strict=True))
        return y, p


class AUC(Gathering):
    """The exact area under the ROC curve, or under precision and recall (``curve="PR"``)."""

    label = "auc"

    def __init__(self, num_thresholds: int = 200, curve: str = "ROC", name: str | None = None,
                 dtype: Any = None, **options: Any):
        super().__init__(name, dtype)
        if curve not in ("ROC", "PR") or any(options.values()):
            raise ParameterError(say("AUC", "curve ROC or PR, and no further options",
                                     f"{curve!r}, {', '.join(options)}", "Leave them out"))
        self.curve = curve

    def result(self) -> float:
        """Return the area; NaN while there is one class only."""
        y, p = self.gathered()
        if y.shape != p.shape and y.ndim == 1 and p.ndim == 2 and p.shape[1] == 2:
            p = p[:, 1]
        try:
            return float((own.roc_auc if self.curve == "ROC" else own.average_precision)(
                (y > 0.5).astype(np.int64).reshape(-1), p.reshape(-1)))
        except MedaiError:
            return float("nan")


class F1Score(Gathering):
    """The harmonic mean of precision and recall, of each class (``average`` None) or averaged."""

    label = "f1_score"

    def __init__(self, average: str | None = None, threshold: float | None = None,
                 name: str | None = None, dtype: Any = None):
        super().__init__(name, dtype)
        if average not in (None, "micro", "macro", "weighted"):
            raise ParameterError(say("F1Score", "average None, micro, macro or weighted",
                                     repr(average), 'Use average="macro"'))
        self.average, self.threshold = average, threshold

    def result(self) -> Any:
        """Return the score of each class, or their mean."""
        y, p = self.gathered()
        if y.shape != p.shape:
            y = y.reshape(p.shape) if y.size == p.size else np.eye(p.shape[-1])[y.reshape(-1)]
        found = p > self.threshold if self.threshold is not None else (
            p == p.max(axis=-1, keepdims=True))
        right, there = (y > 0.5) & found, y > 0.5
        axis = None if self.average == "micro" else 0
        tp, total = right.sum(axis=axis), found.sum(axis=axis) + there.sum(axis=axis)
        f1 = 2 * tp / np.maximum(total, 1)
        if self.average == "weighted":
            return float((f1 * there.sum(axis=0)).sum() / max(there.sum(), 1))
        return f1 if self.average is None else float(np.mean(f1))


NAMES: dict[str, type[Metric]] = {kind.label: kind for kind in (
    BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy, AUC, Precision, Recall,
    F1Score, RootMeanSquaredError, TruePositives, TrueNegatives, FalsePositives, FalseNegatives,
    TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy)}
CAMEL: dict[str, type[Metric]] = {kind.__name__: kind for kind in NAMES.values()}


def get(given: Any) -> Metric:
    """Return a metric for a name, a class, an object, or a function f(y_true, y_pred)."""
    if isinstance(given, Metric):
        return given
    if isinstance(given, type) and issubclass(given, Metric):
        return given()
    if isinstance(given, str):
        if given.lower() in ("accuracy", "acc"):
            return MeanMetricWrapper(accuracy, given)
        if given in CAMEL or given.lower() in NAMES:
            return (CAMEL.get(given) or NAMES[given.lower()])(name=given)
        if given.lower() in losses.NAMES:
            return MeanMetricWrapper(of_loss(losses.NAMES[given.lower()]), given)
    elif callable(given):
        return MeanMetricWrapper(of_loss(given), getattr(given, "name", None))
    raise ParameterError(say("compile", f"a metric of {', '.join([*NAMES, *losses.NAMES])}",
                             repr(given), "Use one of these names, or a function f(y_true, "
                             "y_pred)"))
