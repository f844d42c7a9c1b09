"""Evaluation as a clinic would ask for it: every score with an interval, overall and by subgroup.

Shares of patients (accuracy, sensitivity, ...) have Wilson's interval, the area under the ROC curve
DeLong's, everything else the percentiles of a bootstrap over patients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, ParameterError, ShapeError, say
from . import metrics

__all__ = ["Score", "auc_interval", "bootstrap_interval", "evaluate_classes", "evaluate_risk",
           "evaluate_values", "subgroups", "wilson_interval"]


class Score(NamedTuple):
    """A value with the ends of its confidence interval."""

    value: float
    low: float
    high: float
    method: str  # of the interval: "Wilson", "DeLong", "bootstrap"


def normal_quantile(confidence: float) -> float:
    """Return how many standard deviations a two-sided interval reaches."""
    if not 0 < confidence < 1:
        raise ParameterError(say("evaluation", "a confidence between 0 and 1", repr(confidence),
                                 "Use confidence=0.95"))
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson_interval(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of a share of n.

    References
    ----------
    Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    z2 = normal_quantile(confidence) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def auc_interval(y: np.ndarray, p: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the area under the ROC curve.

    On the logit scale, so that it stays within 0 and 1, with DeLong's variance.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson 1988, Comparing the areas under two or more correlated
    receiver operating characteristic curves.
    """
    above, below = placements(y, p)
    auc = float(above.mean())
    fewer = min(len(above), len(below))
    if fewer < 2 or not 0 < auc < 1:  # no variance to be had: as a share of the smaller group
        return wilson_interval(auc, fewer, confidence)
    deviation = math.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    middle = math.log(auc / (1 - auc))
    half = normal_quantile(confidence) * deviation / (auc * (1 - auc))
    return 1 / (1 + math.exp(half - middle)), 1 / (1 + math.exp(-half - middle))


def placements(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of healthy cases below each sick one, and of sick ones above each healthy.

    Ties count half. Both have the area under the ROC curve as their mean.
    """
    sick, healthy = p[y == 1], p[y == 0]

    def below(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        ranks = np.sort(b)
        return (np.searchsorted(ranks, a, "left") + np.searchsorted(ranks, a, "right")) / (
            2 * len(b))

    return below(sick, healthy), 1 - below(healthy, sick)


def bootstrap_interval(score: Callable[..., float], y: Any, p: Any, *, patients: Any = None,
                       confidence: float = 0.95, repeats: int = 1000, seed: int = 0
                       ) -> tuple[float, float]:
    """Return the percentiles of ``score(y, p)`` over samples drawn again with replacement.

    Parameters
    ----------
    score : callable
        ``score(y, p)`` gives a number; draws on which it raises DataError (one outcome only) are
        drawn again.
    patients : array of shape (N,), optional
        Names the patient of each row. Whole patients are drawn then, since rows of one resemble
        each other and would make the interval too narrow.
    repeats : int
        How many draws; the same seed gives the same interval.

    References
    ----------
    Efron & Tibshirani 1993, An introduction to the bootstrap, chapter 13.
    """
    normal_quantile(confidence)  # checks it
    y, p = np.asarray(y), np.asarray(p)
    rng = np.random.Generator(np.random.Philox(seed))
    rows: list[np.ndarray] = []  # of each patient that has several
    if patients is not None:
        number = np.unique(_rows("patients", patients, len(y)), return_inverse=True)[1]
        rows = [np.flatnonzero(number == k) for k in range(number.max() + 1)]
    count = len(rows) or len(y)
    values: list[float] = []
    tries = 0
    while len(values) < repeats:
        drawn = rng.integers(0, count, count)
        if rows:
            drawn = np.concatenate([rows[i] for i in drawn])
        try:
            values.append(score(y[drawn], p[drawn]))
        except DataError:
            tries += 1
            if tries > 10 * repeats:
                raise
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def evaluate_risk(y: Any, p: Any, *, threshold: float = 0.5, patients: Any = None,
                  confidence: float = 0.95, repeats: int = 1000, seed: int = 0
                  ) -> dict[str, Score]:
    """Return every score of risks p of outcomes y (0 or 1), decided at ``p > threshold``.

    Parameters
    ----------
    y : array of shape (N,)
        Outcomes.
    p : array of shape (N,)
        Predicted probabilities of 1.
    threshold : float
        From where on a risk counts as an alarm (see ``metrics.threshold_for``).
    patients : array of shape (N,), optional
        Whose row it is; intervals are bootstrapped over whole patients then, all of them but
        those of shares that are 0 or 1.
    confidence, repeats, seed
        Of the intervals (see ``bootstrap_interval``).

    Returns
    -------
    dict of str to Score
        accuracy, sensitivity, specificity, ppv, npv, f1, auc, auprc, brier, log_loss,
        calibration_error, calibration_slope; those left out have no value here (one outcome only,
        no alarm, separated outcomes).
    """
    y, p = metrics._pair("evaluate_risk", y, p)
    p = metrics._positive("evaluate_risk", p)
    alarm = p > threshold
    shares = {"accuracy": (alarm == y, y == y), "sensitivity": (alarm, y == 1),
              "specificity": (~alarm, y == 0), "ppv": (y == 1, alarm), "npv": (y == 0, ~alarm)}

    def drawn(score: Callable[..., float], values: np.ndarray) -> tuple[float, float]:
        return bootstrap_interval(score, y, values, patients=patients, confidence=confidence,
                                  repeats=repeats, seed=seed)

    found = _shares(shares, patients, confidence, repeats, seed)
    curves: dict[str, tuple[Callable[..., float], np.ndarray]] = {
        "f1": (metrics.f1, alarm.astype(np.float64)), "auc": (metrics.roc_auc, p),
        "auprc": (metrics.average_precision, p), "brier": (metrics.brier, p),
        "log_loss": (metrics.log_loss, p), "calibration_error": (metrics.calibration_error, p),
        "calibration_slope": (lambda y, p: metrics.calibration(y, p)[0], p)}
    for name, (function, values) in curves.items():
        try:
            value = function(y, values)
            if name == "auc" and patients is None:
                found[name] = Score(value, *auc_interval(y, p, confidence), "DeLong")
            else:
                found[name] = Score(value, *drawn(function, values), "bootstrap")
        except DataError:
            continue
    return found


def evaluate_classes(y: Any, p: Any, names: Sequence[str] | None = None, *,
                     patients: Any = None, confidence: float = 0.95, repeats: int = 1000,
                     seed: int = 0) -> dict[str, Score]:
    """Return the scores of class probabilities p (N, C) of class numbers y.

    accuracy; auc, the mean of one class against the rest; log_loss; and per class its sensitivity
    and ppv as ``sensitivity[name]``, ``ppv[name]``. With ``patients`` all intervals are
    bootstrapped over whole patients (see ``bootstrap_interval``).
    """
    y, p = metrics._pair("evaluate_classes", y, p)
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    names = [str(k) for k in range(p.shape[1])] if names is None else list(names)
    if len(names) != p.shape[1]:
        raise ShapeError(say("evaluate_classes", f"{p.shape[1]} names", len(names),
                             "Name every class"))
    guess = p.argmax(axis=1)
    shares = {"accuracy": (guess == y, y == y)}
    for k, name in enumerate(names):
        shares |= {f"sensitivity[{name}]": (guess == k, y == k),
                   f"ppv[{name}]": (y == k, guess == k)}
    found = _shares(shares, patients, confidence, repeats, seed)
    for name, function in (("auc", metrics.roc_auc), ("log_loss", metrics.log_loss)):
        try:
            found[name] = Score(function(y, p), *bootstrap_interval(
                function, y, p, patients=patients, confidence=confidence, repeats=repeats,
                seed=seed), "bootstrap")
        except DataError:
            continue
    return found


def _shares(shares: dict[str, tuple[np.ndarray, np.ndarray]], patients: Any, confidence: float,
            repeats: int, seed: int) -> dict[str, Score]:
    """Return the share of rows that are right among those that count, by name.

    Where patients have several rows the interval is a bootstrap over patients; where all rows are
    right or all wrong no draw would differ, and Wilson's for that number of patients stands.
    """
    def mean(right: np.ndarray, among: np.ndarray) -> float:
        if not among.any():
            raise DataError(say("evaluation", "one row or more", "none", "Score more at once"))
        return float(right[among].mean())

    found = {}
    for name, (right, among) in shares.items():
        if not among.any():
            continue
        value = mean(right, among)
        if patients is None or value in (0, 1):
            n = among.sum() if patients is None else len(np.unique(np.asarray(patients)[among]))
            found[name] = Score(value, *wilson_interval(value, int(n), confidence), "Wilson")
        else:
            found[name] = Score(value, *bootstrap_interval(
                mean, right, among, patients=patients, confidence=confidence, repeats=repeats,
                seed=seed), "bootstrap")
    return found


def evaluate_values(y: Any, p: Any, *, patients: Any = None, confidence: float = 0.95,
                    repeats: int = 1000, seed: int = 0) -> dict[str, Score]:
    """Return mae, rmse and r2 of predicted numbers p for targets y, both of shape (N,)."""
    scores: dict[str, Callable[..., float]] = {
        "mae": metrics.mean_absolute_error,
        "rmse": lambda y, p: math.sqrt(metrics.mean_squared_error(y, p)), "r2": metrics.r2}
    return {name: Score(function(y, p), *bootstrap_interval(
        function, y, p, patients=patients, confidence=confidence, repeats=repeats, seed=seed),
        "bootstrap") for name, function in scores.items()}


def subgroups(evaluate: Callable[..., dict[str, Score]], y: Any, p: Any, group: Any,
              **options: Any) -> dict[str, dict[str, Score]]:
    """Return ``evaluate(y, p)`` of the rows of each subgroup (sex, site, age band, ...).

    A model that serves one group worse than another shows here, not in the overall score.
    """
    y, p = np.asarray(y), np.asarray(p)
    group = _rows("group", group, len(y))
    patients = options.pop("patients", None)
    found = {}
    for value in np.unique(group):
        rows = group == value
        own = options if patients is None else {**options, "patients": np.asarray(patients)[rows]}
        found[str(value)] = evaluate(y[rows], p[rows], **own)
    return found


def _rows(what: str, values: Any, n: int) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (n,):
        raise ShapeError(say("evaluation", f"{what} of shape ({n},)", values.shape,
                             "Give one entry per row"))
    return values
