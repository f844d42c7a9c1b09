"""Scores of predictions: what a clinic asks for, computed on all collected predictions at once.

Labels come first: ``metric(y, p)``. ``y`` holds class numbers, shape (N,) or (N, 1). ``p`` holds
probabilities: (N,) or (N, 1) of class 1, or (N, C) of each class. Weighted where ``sample_weight``
is given. Sums are taken in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError, DTypeError, ParameterError, ShapeError, say
from ..tensor import Tensor

__all__ = ["METRICS", "accuracy", "brier", "confusion_matrix", "f1", "log_loss", "metric",
           "mean_absolute_error", "mean_squared_error", "precision", "r2", "recall", "roc_auc",
           "roc_curve", "sensitivity", "specificity", "wilson_interval"]


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e^-z) in float64, without overflow."""
    small = np.exp(-np.abs(z.astype(np.float64)))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def _array(value: Any) -> np.ndarray:
    return value.data if isinstance(value, Tensor) else np.asarray(value)


def _weights(where: str, weight: Any, n: int) -> np.ndarray:
    if weight is None:
        return np.ones(n)
    weight = _array(weight).astype(np.float64)
    if weight.shape != (n,):
        raise ShapeError(say(where, f"sample_weight of shape ({n},)", weight.shape,
                             "Give one weight per sample"))
    return weight


def _labels(where: str, y: Any) -> np.ndarray:
    y = _array(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or not len(y):
        raise ShapeError(say(where, "class labels of shape (N,), N of 1 or more", y.shape,
                             "Use y.argmax(axis=1) for one-hot labels"))
    if y.dtype.kind == "f":
        whole = y.astype(np.int64)
        if not np.array_equal(whole, y):
            raise DTypeError(say(where, "whole class numbers", f"{y.dtype} values such as "
                                 f"{y[whole != y][0]}", "Convert probabilities to classes first"))
        y = whole
    return y.astype(np.int64)


def _pair(where: str, y: Any, p: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N,) and probabilities in float64: (N,) of class 1, or (N, C)."""
    y, p = _labels(where, y), _array(p).astype(np.float64)
    if p.ndim == 2 and p.shape[1] == 1:
        p = p[:, 0]
    if p.ndim not in (1, 2) or len(p) != len(y):
        raise ShapeError(say(where, "one prediction per label", f"{len(p)} for {len(y)}"
                             if p.ndim in (1, 2) else f"{p.ndim} dimensions",
                             "Predict the same samples", {"y": y.shape, "p": p.shape}))
    count = 2 if p.ndim == 1 else p.shape[1]
    if y.min() < 0 or y.max() >= count:
        wrong = int(y.min() if y.min() < 0 else y.max())
        raise DataError(say(where, f"labels from 0 to {count - 1}", wrong,
                            "Number the classes from 0", {"y": y.shape, "p": p.shape}))
    if np.isnan(p).any():
        raise DataError(say(where, "predictions that are numbers",
                            f"NaN at sample {int(np.isnan(p).reshape(len(p), -1).any(1).argmax())}",
                            "Lower the learning rate, or check the data"))
    return y, p


def _positive(where: str, p: np.ndarray) -> np.ndarray:
    """Return the probability of class 1 of two."""
    if p.ndim == 2:
        if p.shape[1] != 2:
            raise ShapeError(say(where, "two classes", p.shape[1],
                                 "Score one class against the rest: metric(y == k, p[:, k])"))
        return p[:, 1]
    return p


def classes(p: Any) -> np.ndarray:
    """Return the predicted class: the likeliest of C, or 1 where one probability is over 1/2."""
    p = _array(p)
    if p.ndim == 2 and p.shape[1] > 1:
        return p.argmax(axis=1)
    return (p.reshape(len(p)) > 0.5).astype(np.int64)


def confusion_matrix(y: Any, p: Any, *, sample_weight: Any = None) -> np.ndarray:
    """Count samples by class (rows) and predicted class (columns), shape (C, C)."""
    y, p = _pair("confusion_matrix", y, p)
    count = 2 if p.ndim == 1 else p.shape[1]
    weight = _weights("confusion_matrix", sample_weight, len(y))
    counts = np.bincount(y * count + classes(p), weight, count * count).reshape(count, count)
    return counts.astype(np.int64) if sample_weight is None else counts


def _four(where: str, y: Any, p: Any, weight: Any) -> tuple[float, float, float, float]:
    """Return the counts (true negative, false positive, false negative, true positive)."""
    y, p = _pair(where, y, p)
    (tn, fp), (fn, tp) = confusion_matrix(y, _positive(where, p), sample_weight=weight)
    return float(tn), float(fp), float(fn), float(tp)


def _ratio(where: str, part: float, rest: float, what: str) -> float:
    if part + rest == 0:
        raise DataError(say(where, f"one {what} or more", "none", "Score more samples at once"))
    return part / (part + rest)


def accuracy(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return the share of samples whose predicted class is right."""
    y, p = _pair("accuracy", y, p)
    weight = _weights("accuracy", sample_weight, len(y))
    return float((weight * (classes(p) == y)).sum() / weight.sum())


def sensitivity(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return TP / (TP + FN), the true positive rate: the share of the sick that are found."""
    _, _, fn, tp = _four("sensitivity", y, p, sample_weight)
    return _ratio("sensitivity", tp, fn, "sample of class 1")


def specificity(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return TN / (TN + FP), the true negative rate: the share of the healthy that are cleared."""
    tn, fp, _, _ = _four("specificity", y, p, sample_weight)
    return _ratio("specificity", tn, fp, "sample of class 0")


recall = sensitivity


def precision(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return TP / (TP + FP), the share of alarms that are right; 0 without an alarm."""
    _, fp, _, tp = _four("precision", y, p, sample_weight)
    return tp / (tp + fp) if tp + fp else 0.0


def f1(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall."""
    _, fp, fn, tp = _four("f1", y, p, sample_weight)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def roc_curve(y: Any, p: Any, *, sample_weight: Any = None
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (1 - specificity, sensitivity, threshold) at every distinct score, from (0, 0)."""
    y, p = _pair("roc_curve", y, p)
    score = _positive("roc_curve", p)
    weight = _weights("roc_curve", sample_weight, len(y))
    falling = np.argsort(-score, kind="stable")
    y, score, weight = y[falling], score[falling], weight[falling]
    last = np.append(np.flatnonzero(np.diff(score)), len(y) - 1)  # of each run of equal scores
    tp = np.append(0.0, np.cumsum(weight * y)[last])
    fp = np.append(0.0, np.cumsum(weight * (1 - y))[last])
    for name, total in (("1", tp[-1]), ("0", fp[-1])):
        if total <= 0:
            raise DataError(say("roc_curve", "samples of both classes", f"none of class {name}",
                                "Score more samples at once"))
    return fp / fp[-1], tp / tp[-1], np.append(np.inf, score[last])


def roc_auc(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return P(score of a sick sample > score of a healthy one), ties counted half.

    The exact area under the ROC curve. With more than two classes the mean over classes, each
    against the rest.
    """
    y, p = _pair("roc_auc", y, p)
    if p.ndim == 2 and p.shape[1] > 2:
        return float(np.mean([roc_auc(y == k, p[:, k], sample_weight=sample_weight)
                              for k in range(p.shape[1])]))
    fpr, tpr, _ = roc_curve(y, p, sample_weight=sample_weight)
    return float(np.trapezoid(tpr, fpr))


def log_loss(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return the mean of -log p(right class); probabilities kept eps away from 0 and 1."""
    y, p = _pair("log_loss", y, p)
    p = np.stack([1 - p, p], axis=1) if p.ndim == 1 else p
    eps = np.finfo(np.float64).eps
    weight = _weights("log_loss", sample_weight, len(y))
    right = np.clip(p, eps, 1 - eps)[np.arange(len(y)), y]
    return float((weight * -np.log(right)).sum() / weight.sum())


def brier(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return the mean of (p(class 1) - y)^2: 0 is perfect, 0.25 a coin."""
    y, p = _pair("brier", y, p)
    weight = _weights("brier", sample_weight, len(y))
    return float((weight * (_positive("brier", p) - y) ** 2).sum() / weight.sum())


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share of n.

    References
    ----------
    Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    z2 = 1.959963984540054**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def _values(where: str, y: Any, p: Any, weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, p = _array(y).astype(np.float64), _array(p).astype(np.float64)
    if y.size != p.size or len(y) != len(p) or not y.size:
        raise ShapeError(say(where, "predictions of the targets' shape, one sample or more",
                             p.shape, "Give the model one output per target",
                             {"y": y.shape, "p": p.shape}))
    w = _weights(where, weight, len(y))
    return y.reshape(len(y), -1), p.reshape(len(p), -1), w[:, None]


def mean_squared_error(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return the mean of (p - y)^2."""
    y, p, w = _values("mean_squared_error", y, p, sample_weight)
    return float((w * (p - y) ** 2).sum() / (w.sum() * y.shape[1]))


def mean_absolute_error(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return the mean of |p - y|."""
    y, p, w = _values("mean_absolute_error", y, p, sample_weight)
    return float((w * np.abs(p - y)).sum() / (w.sum() * y.shape[1]))


def r2(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return 1 - sum (p - y)^2 / sum (y - mean y)^2, the mean over outputs."""
    y, p, w = _values("r2", y, p, sample_weight)
    spread = (w * (y - (w * y).sum(0) / w.sum()) ** 2).sum(0)
    if not (spread > 0).all():
        raise DataError(say("r2", "targets that differ", "one value only", "Score more samples"))
    return float((1 - (w * (p - y) ** 2).sum(0) / spread).mean())


METRICS: dict[str, Callable[..., float]] = {
    "accuracy": accuracy, "auc": roc_auc, "roc_auc": roc_auc, "sensitivity": sensitivity,
    "recall": recall, "specificity": specificity, "precision": precision, "f1": f1,
    "log_loss": log_loss, "brier": brier, "mse": mean_squared_error,
    "mae": mean_absolute_error, "r2": r2,
}


def metric(given: Any) -> tuple[str, Callable[..., float]]:
    """Return (name, function) of a metric given by name or as a function ``f(y, p)``."""
    if callable(given):
        return getattr(given, "__name__", type(given).__name__), given
    if given in METRICS:
        return given, METRICS[given]
    raise ParameterError(say("compile", f"a metric of {', '.join(METRICS)}", repr(given),
                             "Use one of these names, or a function f(y, p)"))
