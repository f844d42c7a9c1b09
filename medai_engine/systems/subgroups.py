"""Scores by subgroup (sex, age band, site, scanner): who is served worse shows here."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, say
from ..training.evaluation import Score, subgroups
from .cohort import IGNORED, Cohort

__all__ = ["bands", "by_subgroup", "require_columns", "subgroup_lines", "subgroup_rows"]

FEW, FEW_OF_CLASS = 30, 5  # fewer samples, or of one outcome, say little about a group
MOST = 8  # more different numbers than this are put into bands
UNKNOWN = "unknown"
# those that stand in a table, by kind of outcome; metrics.json has all
SHOWN = ("auc", "accuracy", "sensitivity", "specificity", "mae", "rmse", "r2", "mse", "explained")


def bands(column: np.ndarray) -> np.ndarray:
    """Return the group of each entry as text: numbers in bands of round width, else the entry.

    Bands are as wide as 1, 2 or 5 times a power of ten, so that three to nine cover the numbers;
    ``MOST`` or fewer different numbers stand for themselves.
    """
    entries = ["" if v is None else str(v).strip() for v in column.tolist()]
    known = np.array([bool(e) and e.lower() != "nan" for e in entries], bool)
    try:
        numbers = np.array([float(e) if k else np.nan for e, k in zip(entries, known, strict=True)])
    except ValueError:
        numbers = None
    out = np.full(len(entries), UNKNOWN, object)
    if numbers is None:
        out[known] = np.array(entries, object)[known]
    elif len(np.unique(numbers[known])) <= MOST:
        out[known] = [f"{v:g}" for v in numbers[known]]
    else:
        width = (numbers[known].max() - numbers[known].min()) / 3
        power = 10.0 ** math.floor(math.log10(width))
        width = max(m * power for m in (1, 2, 5) if m * power <= width)
        low = np.floor(numbers[known] / width + 1e-9) * width
        out[known] = [f"{v:g} to {v + width:g}" for v in low]
    return out


def require_columns(known: Collection[str], names: Sequence[str] | None) -> None:
    """Refuse columns that nothing is known of, before anything is trained or scored."""
    for name in names or ():
        if name not in known:
            there = ", ".join(known) or "none"
            raise ParameterError(say("--by", f"a column that is known of each sample ({there})",
                                     repr(name), "Name one of these, or add it to the table"))


def by_subgroup(scores: Callable[[Cohort, np.ndarray], dict[str, Score]], part: Cohort,
                found: np.ndarray, names: Sequence[str] | None) -> dict[str, Any]:
    """Return the scores of the samples in each group of each column, as JSON.

    Parameters
    ----------
    scores : callable
        ``scores(cohort, outputs)`` of a system.
    part : Cohort
        Samples with known outcomes.
    found : array of shape (N, ...)
        What the model says of them.
    names : list of str
        Columns of ``part.about``.

    Returns
    -------
    dict
        By column and group ``{"samples", "few", "scores"}``; ``few`` is why the group is too small
        to judge, or "".
    """
    def of_rows(rows: np.ndarray, _: np.ndarray) -> dict[str, Score]:
        try:
            return scores(part.take(rows), found[rows])
        except DataError:  # such as one value only
            return {}

    require_columns(part.about, names)
    told: dict[str, Any] = {}
    everyone = np.arange(len(found))
    for name in names or ():
        group = bands(part.about[name])
        scored = subgroups(of_rows, everyone, everyone, group)
        told[name] = {value: {"samples": int((group == value).sum()),
                              "few": few(part, group == value),
                              "scores": {k: s._asdict() for k, s in scored[value].items()}}
                      for value in sorted(scored, key=_place)}
    return told


def _place(group: str) -> tuple[float, str]:
    """Return where a group stands among the others: by its number, then by its name."""
    try:
        return float(group.partition(" to ")[0]), group
    except ValueError:
        return math.inf, group


def few(part: Cohort, inside: np.ndarray) -> str:
    """Return why a group is too small to judge, or ""."""
    if inside.sum() < FEW:
        return f"n < {FEW}"
    if part.classes:
        y = part.y[inside]
        counts = np.bincount(y[y != IGNORED], minlength=len(part.classes))
        if counts.min() < FEW_OF_CLASS:
            return f"{part.classes[int(counts.argmin())]} < {FEW_OF_CLASS}"
    return ""


def subgroup_rows(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of one column's groups for a table."""
    names = [n for n in SHOWN if any(n in group["scores"] for group in found.values())]
    rows = [[value, str(group["samples"]), *(_cell(group["scores"].get(n)) for n in names),
             group["few"] and f"too few: {group['few']}"]
            for value, group in found.items()]
    return ["group", "samples", *(n.replace("_", " ") for n in names), ""], rows


def _cell(score: dict[str, Any] | None) -> str:
    if score is None:
        return "-"
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def subgroup_lines(found: dict[str, Any]) -> list[str]:
    """Return the scores by subgroup as lines for a terminal."""
    lines = []
    for name, groups in found.items():
        header, rows = subgroup_rows(groups)
        wide = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines.append(f"by {name} (95 % intervals):")
        lines += ["  " + "  ".join(c.ljust(w) for c, w in zip(row, wide, strict=True)).rstrip()
                  for row in (header, *rows)]
    return lines
