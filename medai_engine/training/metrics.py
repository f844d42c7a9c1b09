"""Scores of predictions: what a clinic asks for, computed on all collected predictions at once.

Labels come first: ``metric(y, p)``. ``y`` holds class numbers, shape (N,) or (N, 1). ``p`` holds
probabilities: (N,) or (N, 1) of class 1, or (N, C) of each class. Weighted where ``sample_weight``
is given. Sums are taken in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError, DTypeError, ParameterError, ShapeError, say
from ..tensor import Tensor

__all__ = ["METRICS", "accuracy", "average_precision", "brier", "calibration",
           "calibration_error", "confusion_matrix", "f1", "log_loss", "metric",
           "mean_absolute_error", "mean_squared_error", "npv", "ppv", "precision", "r2", "recall",
           "roc_auc", "roc_curve", "sensitivity", "specificity", "threshold_for"]


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


ppv = precision


def npv(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return TN / (TN + FN), the share of all-clears that are right; 0 without one."""
    tn, _, fn, _ = _four("npv", y, p, sample_weight)
    return tn / (tn + fn) if tn + fn else 0.0


def f1(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall."""
    _, fp, fn, tp = _four("f1", y, p, sample_weight)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def _found(where: str, y: Any, p: Any, weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weights of true and false alarms at every distinct score, falling, and these."""
    y, p = _pair(where, y, p)
    score = _positive(where, p)
    weight = _weights(where, weight, len(y))
    falling = np.argsort(-score, kind="stable")
    y, score, weight = y[falling], score[falling], weight[falling]
    last = np.append(np.flatnonzero(np.diff(score)), len(y) - 1)  # of each run of equal scores
    tp, fp = np.cumsum(weight * y)[last], np.cumsum(weight * (1 - y))[last]
    for name, total in (("1", tp[-1]), ("0", fp[-1])):
        if total <= 0:
            raise DataError(say(where, "samples of both classes", f"none of class {name}",
                                "Score more samples at once"))
    return tp, fp, score[last]


def roc_curve(y: Any, p: Any, *, sample_weight: Any = None
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (1 - specificity, sensitivity, threshold) at every distinct score, from (0, 0)."""
    tp, fp, score = _found("roc_curve", y, p, sample_weight)
    return (np.append(0.0, fp / fp[-1]), np.append(0.0, tp / tp[-1]), np.append(np.inf, score))


def average_precision(y: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return sum_n (R_n - R_(n-1)) P_n over the distinct scores: the area under precision-recall.

    R is recall and P precision when everything at or above a score is called positive (no
    interpolation, which would flatter). A coin has the share of the positive.
    """
    tp, fp, _ = _found("average_precision", y, p, sample_weight)
    share = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=tp + fp > 0)  # weights may be 0
    return float((np.diff(tp, prepend=0.0) / tp[-1] * share).sum())


def threshold_for(y: Any, p: Any, sensitivity: float = 0.9, *, sample_weight: Any = None) -> float:
    """Return the highest threshold t at which ``p >= t`` finds at least this share of the sick."""
    if not 0 < sensitivity <= 1:
        raise ParameterError(say("threshold_for", "a sensitivity over 0 and up to 1",
                                 repr(sensitivity), "Use sensitivity=0.9"))
    tp, _, score = _found("threshold_for", y, p, sample_weight)
    # a rounding error of the running sum is no missed patient
    enough = tp >= sensitivity * tp[-1] * (1 - len(tp) * np.finfo(np.float64).eps)
    return float(score[enough.argmax()])


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


def calibration_error(y: Any, p: Any, *, bins: int = 10, sample_weight: Any = None) -> float:
    """Return sum_b w_b |mean p - share of the sick| over bins of equal width: 0 is perfect.

    References
    ----------
    Naeini, Cooper & Hauskrecht 2015, Obtaining well calibrated probabilities using Bayesian
    binning.
    """
    y, p = _pair("calibration_error", y, p)
    p = _positive("calibration_error", p)
    weight = _weights("calibration_error", sample_weight, len(y))
    place = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(place, weight * (p - y), bins)
    return float(np.abs(gaps).sum() / weight.sum())


def calibration(y: Any, p: Any, *, sample_weight: Any = None) -> tuple[float, float]:
    """Return slope b and intercept a of logit P(sick) = a + b logit p: (1, 0) is perfect.

    A slope under 1 says that the risks are too extreme, as of a model that has overfitted.
    Maximum likelihood by Newton's method; p is kept 1e-12 away from 0 and 1.

    Raises
    ------
    DataError
        Where no such line exists: one outcome only, one risk only, or risks that separate the
        outcomes.

    References
    ----------
    Cox 1958, Two further applications of a model for binary regression.
    """
    y, p = _pair("calibration", y, p)
    p = np.clip(_positive("calibration", p), 1e-12, 1 - 1e-12)
    weight = _weights("calibration", sample_weight, len(y))
    x = np.stack([np.log(p / (1 - p)), np.ones(len(p))], axis=1)
    line = np.array([1.0, 0.0])
    sick, healthy = p[(y == 1) & (weight > 0)], p[(y == 0) & (weight > 0)]
    steps = 100 if len(sick) and len(healthy) and (
        sick.min() < healthy.max() and healthy.min() < sick.max()) else 0  # else no line exists

    def loss(line: np.ndarray) -> float:
        z = x @ line
        return float((weight * (np.logaddexp(0.0, z) - y * z)).sum())

    for _ in range(steps):
        q = sigmoid(x @ line)
        slope = x.T @ (weight * (q - y))
        bend = (x * (weight * q * (1 - q))[:, None]).T @ x
        if np.linalg.cond(bend) > 1e14:
            break
        step = np.linalg.solve(bend, slope)
        now, share = loss(line), 1.0
        rounding = 4 * np.finfo(np.float64).eps * len(y) * max(1.0, now)
        while loss(line - share * step) > now + rounding and share > 1e-10:
            share /= 2
        line = line - share * step
        if np.abs(step).max() <= 1e-12 * max(1.0, np.abs(line).max()):
            return float(line[0]), float(line[1])
    raise DataError(say("calibration", "risks that overlap between the outcomes",
                        "risks that separate them, or no spread",
                        "Score more samples; a perfect separation has no slope"))


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
    "recall": recall, "specificity": specificity, "precision": precision, "ppv": ppv, "npv": npv,
    "f1": f1, "auprc": average_precision, "average_precision": average_precision,
    "calibration_error": calibration_error,
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
