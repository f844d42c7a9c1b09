"""Held-out patients: splits that keep classes in proportion, or a patient's rows together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, ShapeError, say
from .loader import order

__all__ = ["require_apart", "split_by_group", "split_stratified"]


def split_stratified(labels: Any, fraction: float = 0.25, seed: int = 0
                     ) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into (training, held out), every class in the same proportion.

    Parameters
    ----------
    labels : array of shape (N,)
        The class of each row.
    fraction : float
        The share of each class that is held out (rounded; at least one row on each side).
    seed : int
        Which rows.

    Returns
    -------
    train, held_out : arrays of row numbers, ascending

    Raises
    ------
    DataError
        When a class has a single row.
    """
    _check_fraction("split_stratified", fraction)
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ShapeError(say("split_stratified", "one label per row, shape (N,)", labels.shape,
                             "Pass class labels, not one-hot rows"))
    held: list[np.ndarray] = []
    for value in np.unique(labels):
        rows = np.flatnonzero(labels == value)
        if len(rows) < 2:
            raise DataError(say("split_stratified", "two rows or more of every class",
                                f"{len(rows)} of class {value}",
                                "Add rows of this class or leave it out"))
        count = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
        held.append(rows[order(len(rows), seed, len(held))[:count]])
    return _sides(len(labels), held)


def split_by_group(groups: Any, fraction: float = 0.25, seed: int = 0
                   ) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into (training, held out) so that no group is on both sides.

    Groups are patients (or clinics): rows of one patient resemble each other, and a split through
    them would flatter the held-out score. Whole groups are drawn until ``fraction`` of the rows
    is held out.

    Parameters
    ----------
    groups : array of shape (N,)
        Each row's group.
    fraction : float
        The share of rows that is held out, at least.
    seed : int
        Which groups.
    """
    _check_fraction("split_by_group", fraction)
    groups = np.asarray(groups)
    if groups.ndim != 1:
        raise ShapeError(say("split_by_group", "one group per row, shape (N,)", groups.shape,
                             "Pass the column that names the patient"))
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise DataError(say("split_by_group", "two groups or more", len(counts),
                            "Pass the column that names the patient"))
    drawn = order(len(counts), seed, 0)
    before = np.cumsum(counts[drawn]) - counts[drawn]  # rows held out before each drawn group
    taken = drawn[before < fraction * len(groups)][:len(counts) - 1]
    return _sides(len(groups), [np.flatnonzero(np.isin(number, taken))])


def require_apart(training: Any, held: Any, what: str = "validation") -> None:
    """Refuse two sets of rows that share a patient, with the names.

    Parameters
    ----------
    training, held : array of shape (N,), (M,)
        The patient of each row.
    what : str
        What the second set is called in the message.

    Raises
    ------
    DataError
        When a patient is in both: what is measured on the second would flatter.
    """
    shared = np.intersect1d(np.asarray(training), np.asarray(held))
    if len(shared):
        names = ", ".join(repr(v) for v in shared[:5].tolist())
        more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
        raise DataError(say(f"{what} data", "no patient of the training data",
                            f"{names}{more} in both", "Split by patient: data.split_by_group"))


def _check_fraction(where: str, fraction: float) -> None:
    if not 0 < fraction < 1:
        raise ParameterError(say(where, "a fraction between 0 and 1", repr(fraction),
                                 "Use fraction=0.25"))


def _sides(n: int, held: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    inside = np.zeros(n, bool)
    inside[np.concatenate(held)] = True
    return np.flatnonzero(~inside), np.flatnonzero(inside)
