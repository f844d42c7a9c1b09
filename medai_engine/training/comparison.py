"""Two models on the same cases: whether the difference of their scores is more than chance.

The cases are the same, so what one model finds hard the other mostly does, too: only tests that
pair the cases see a small difference. Areas under the ROC curve have DeLong's test, shares of right
answers McNemar's exact one, all other scores, and rows of which a patient has several, a paired
bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, say
from . import metrics
from .evaluation import bootstrap_interval, normal_quantile, placements

__all__ = ["Difference", "accuracy_difference", "auc_difference", "score_difference"]


class Difference(NamedTuple):
    """How much greater a score of the second model is than that of the first.

    ``p`` is the probability of a difference at least as large were the models equally good;
    ``method`` is the test: "DeLong", "McNemar" or "bootstrap".
    """

    first: float
    second: float
    low: float
    high: float
    p: float
    method: str

    @property
    def value(self) -> float:
        """The difference."""
        return self.second - self.first


def auc_difference(y: Any, p: Any, q: Any, confidence: float = 0.95) -> Difference:
    """Compare the areas under the ROC curves of risks p and q of the same outcomes y, all (N,).

    References
    ----------
    DeLong, DeLong & Clarke-Pearson 1988, Comparing the areas under two or more correlated
    receiver operating characteristic curves.
    """
    (y, p), (_, q) = (metrics._pair("auc_difference", y, v) for v in (p, q))
    p, q = (metrics._positive("auc_difference", v) for v in (p, q))
    if len(np.unique(y)) < 2:
        raise DataError(say("auc_difference", "cases of both classes", "one",
                            "Compare on more cases"))
    (above, below), (over, under) = placements(y, p), placements(y, q)
    first, second = float(above.mean()), float(over.mean())
    sick, healthy = over - above, under - below
    variance = sum(float(d.var(ddof=1)) / len(d) if len(d) > 1 else math.inf
                   for d in (sick, healthy))
    half = normal_quantile(confidence) * math.sqrt(variance)
    gap = second - first
    if variance == 0:  # the same order of every pair
        return Difference(first, second, gap, gap, float(gap == 0), "DeLong")
    chance = 2 * NormalDist().cdf(-abs(gap) / math.sqrt(variance))
    return Difference(first, second, max(-1.0, gap - half), min(1.0, gap + half), chance, "DeLong")


def accuracy_difference(y: Any, guess: Any, other: Any, confidence: float = 0.95) -> Difference:
    """Compare the shares of right answers of two models, ``guess`` and ``other``, all (N,).

    Only cases that one model calls rightly and the other wrongly speak; were the models equally
    good, each of them would be a coin's throw (exact, two-sided).

    References
    ----------
    McNemar 1947, Note on the sampling error of the difference between correlated proportions or
    percentages.
    """
    one, two = np.asarray(guess) == np.asarray(y), np.asarray(other) == np.asarray(y)
    n, lost, won = len(one), int((one & ~two).sum()), int((two & ~one).sum())
    apart, gap = lost + won, (won - lost) / n
    tail = sum(math.comb(apart, k) for k in range(min(lost, won) + 1))
    chance = min(1.0, 2 * tail / 2**apart)
    half = normal_quantile(confidence) * math.sqrt(max(apart - n * gap**2, 0)) / n
    return Difference(float(one.mean()), float(two.mean()), max(-1.0, gap - half),
                      min(1.0, gap + half), chance, "McNemar")


def score_difference(score: Callable[..., float], y: Any, p: Any, q: Any, *, patients: Any = None,
                     confidence: float = 0.95, repeats: int = 1000, seed: int = 0) -> Difference:
    """Compare ``score(y, p)`` with ``score(y, q)``: both on each draw of the same cases.

    Parameters
    ----------
    score : callable
        Gives a number; may raise DataError on a draw of one outcome only.
    patients : array of shape (N,), optional
        Whose row it is; whole patients are drawn then.
    confidence, repeats, seed
        See ``bootstrap_interval``.

    References
    ----------
    Efron & Tibshirani 1993, An introduction to the bootstrap, chapters 13 and 16.
    """
    values: list[float] = []

    def gap(y: np.ndarray, rows: np.ndarray) -> float:
        found = score(y, q[rows]) - score(y, p[rows])
        values.append(found)
        return found

    y, p, q = np.asarray(y), np.asarray(p), np.asarray(q)
    low, high = bootstrap_interval(gap, y, np.arange(len(y)), patients=patients,
                                   confidence=confidence, repeats=repeats, seed=seed)
    below, above = (sum(sign * v >= 0 for v in values) for sign in (-1, 1))
    chance = min(1.0, 2 * (min(below, above) + 1) / (len(values) + 1))
    return Difference(score(y, p), score(y, q), low, high, chance, "bootstrap")
