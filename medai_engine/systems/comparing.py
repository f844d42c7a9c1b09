"""Two runs on the cases that both held out, or on new ones: what ``medai compare`` prints."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import DataError, ParameterError, say
from ..io import read_json
from ..training import metrics
from ..training.comparison import (
    Difference,
    accuracy_difference,
    auc_difference,
    score_difference,
)
from .cohort import IGNORED, Cohort
from .judging import Judged, held_out, judge, predicting

__all__ = ["compare", "differences"]

SURE = 0.05  # a smaller p is called a difference
LESS = {"brier", "log_loss", "mae", "rmse", "mse"}  # is better


def compare(first: str, second: str, data: str | None = None, patients: str | None = None) -> int:
    """Print the scores of two runs of one system on the same cases, with paired tests."""
    kinds = predicting(first), predicting(second)
    if kinds[0] != kinds[1]:
        raise ParameterError(say("compare", "two runs of one system", f"{kinds[0]} and {kinds[1]}",
                                 "Compare runs that answer the same question"))
    if data is None:
        one, two = held_out(first), held_out(second)
        own = [read_json(Path(f) / "config.json")["options"]["data"] for f in (first, second)]
        if None in own and one.cohort.source != two.cohort.source:
            raise _nothing(one.cohort.source, two.cohort.source)
        what = "held-out cases that both runs kept from training"
    else:
        one, two = judge(first, data, patients), judge(second, data, patients)
        what = f"cases of {data}"
    sources = {Path(side.cohort.source).name for side in (one, two)}
    if len(sources) > 1:
        print(f"note: the runs call their data differently ({', '.join(sorted(sources))}); cases "
              "are matched by name and outcome", file=sys.stderr)
    counts = len(one.found), len(two.found)
    one, two = common(one, two)
    print(f"A: {first}\nB: {second}\n{len(one.found)} {what} (A has {counts[0]}, B {counts[1]}); "
          f"predicted: {one.cohort.target}")
    found = differences(one, two)
    wide = max(map(len, found))
    print(f"  {'':{wide}}  {'A':>8}  {'B':>8}  {'B - A':>9}  {'95 % interval':>20}  {'p':>7}  test")
    for name, d in found.items():
        interval = f"{d.low:.4f} to {d.high:.4f}"
        better = "B" if (d.value > 0) != (name in LESS) else "A"
        verdict = f"; {better} is better" if d.p < SURE and d.value else ""
        print(f"  {name.replace('_', ' '):{wide}}  {d.first:8.4f}  {d.second:8.4f}  {d.value:+9.4f}"
              f"  {interval:>20}  {d.p:7.3g}  {d.method}{verdict}")
    if all(d.p >= SURE for d in found.values()):
        print("no difference is shown; with few cases a real one may hide within the interval")
    else:
        print("one small p among several scores is weak evidence; decide beforehand which counts")
    return 0


def common(one: Judged, two: Judged) -> tuple[Judged, Judged]:
    """Return the cases that both have, in one order; refuse cases that are only called alike."""
    places = {name: i for i, name in enumerate(two.cohort.names)}
    rows = np.array([i for i, name in enumerate(one.cohort.names) if name in places], np.int64)
    if not len(rows):
        raise _nothing(f"{len(one.found)} of {one.cohort.source}",
                       f"{len(two.found)} of {two.cohort.source}")
    others = np.array([places[one.cohort.names[i]] for i in rows])
    a, b = one.cohort.take(rows), two.cohort.take(others)
    if a.target != b.target or a.classes != b.classes:
        raise DataError(say("compare", "runs that predict the same",
                            f"{a.target} ({', '.join(a.classes) or 'a number'}) and {b.target} "
                            f"({', '.join(b.classes) or 'a number'})",
                            "Compare runs that answer the same question"))
    if not np.array_equal(a.y, b.y):
        raise _nothing(f"{a.source}", f"{b.source}, with other outcomes for the same names")
    return one._replace(cohort=a, found=one.found[rows]), two._replace(cohort=b,
                                                                       found=two.found[others])


def _nothing(one: str, two: str) -> DataError:
    return DataError(say("compare", "cases that both runs held out", f"none in common: {one}; "
                         f"{two}", "Train both with the same data and seed, or pass --data PATH "
                         "with cases that neither saw"))


def differences(one: Judged, two: Judged) -> dict[str, Difference]:
    """Return how the scores of two runs differ on the same cases."""
    part, p, q = one.cohort, one.found, two.found
    groups = part.groups
    if part.groups is not None and len(np.unique(part.groups)) == len(part.groups):
        groups = None
    y = part.y
    if not part.classes:
        return _values(part, p, q, groups)
    if y.ndim > 1:  # new sequences: one row a step
        known = y != IGNORED
        groups = part.of_steps()[known]
        y, p, q = y[known], p[known], q[known]
    found: dict[str, Difference] = {}
    several = len(part.classes) > 2
    repeats = 1000 if len(y) < 5000 else 200
    if len(np.unique(y)) > 1 and (not several or len(np.unique(y)) == len(part.classes)):
        found["auc"] = score_difference(
            metrics.roc_auc, y, p, q, patients=groups, repeats=repeats) if (
            several or groups is not None) else auc_difference(y, p, q)
    found["accuracy"] = accuracy_difference(y, p.argmax(axis=1), q.argmax(axis=1)) if (
        groups is None) else score_difference(metrics.accuracy, y, p, q, patients=groups,
                                              repeats=repeats)
    more = {"log_loss": metrics.log_loss} if several else {"brier": metrics.brier,
                                                           "log_loss": metrics.log_loss}
    for name, function in more.items():
        found[name] = score_difference(function, y, p, q, patients=groups, repeats=repeats)
    return found


def _values(part: Cohort, p: np.ndarray, q: np.ndarray, groups: np.ndarray | None
            ) -> dict[str, Difference]:
    """Return the differences of predicted numbers, or of squared errors."""
    if p.ndim > 1:  # an autoencoder: the error of each image
        p, q = (((v - part.y) ** 2).mean(axis=1) for v in (p, q))
        return {"mse": score_difference(lambda _, e: float(e.mean()), np.zeros(len(p)), p, q,
                                        patients=groups)}
    scores: dict[str, Callable[..., float]] = {
        "mae": metrics.mean_absolute_error,
        "rmse": lambda y, p: math.sqrt(metrics.mean_squared_error(y, p)), "r2": metrics.r2}
    return {name: score_difference(function, part.y, p, q, patients=groups)
            for name, function in scores.items()}
