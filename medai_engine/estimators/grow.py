"""From a table to grown trees: codes of its columns, options, groups of trees, thresholds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ParameterError, say
from .base import Estimator
from .nodes import Trees
from .options import choice, iterations, number, run_kernel

__all__ = ["Codes", "Rules", "grow", "rules_of"]

CRITERIA = {"gini": 0, "entropy": 1, "log_loss": 1, "squared_error": 2}
BOUNDLESS = 2**31 - 1
GROUP = 1 << 24  # bytes of weights that a group of trees may take


class Codes:
    """The columns of X as numbers of their values in rising order, (D, N).

    One byte each where no column has more than 255 values, or is cut into ``bins``; else two or
    four. ``thresholds`` leads back.
    """

    def __init__(self, X: np.ndarray, bins: int | None) -> None:
        N, D = X.shape
        kind = np.uint8 if bins else np.uint16 if N < 2**16 else np.uint32
        self.X, self.codes, self.counts = X, np.empty((D, N), kind), np.empty(D, np.int64)
        self.low, self.high = np.empty((2, D, bins or 0), np.float32)
        run_kernel("tree_codes", X, self.codes, self.low, self.high, self.counts)
        if self.counts.max() <= 255:
            self.codes = self.codes.astype(np.uint8, copy=False)

    def thresholds(self, feature: np.ndarray, low: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return the float32 threshold between two codes of each node; infinity after the last."""
        found = np.full(len(feature), np.inf, np.float32)
        order = np.argsort(feature, kind="stable")
        bounds = np.searchsorted(feature[order], np.arange(len(self.codes) + 1))
        for f, (start, stop) in enumerate(pairwise(bounds)):
            here = order[start:stop]
            here = here[after[here] >= 0]
            if len(here):
                a, b = self.sides(f)
                a, b = a[low[here]], b[after[here]]
                middle = (a / np.float64(2) + b / np.float64(2)).astype(np.float32)
                above = a / np.float64(2) + b / np.float64(2) < middle
                middle = np.where(above, np.nextafter(middle, np.float32(-np.inf)), middle)
                found[here] = np.where((middle >= a) & (middle < b), middle, a)
        return found

    def sides(self, f: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the largest and the smallest value of each code of a feature."""
        if self.low.shape[1]:
            return self.high[f], self.low[f]
        known = self.codes[f] != np.iinfo(self.codes.dtype).max
        values = np.empty(self.counts[f], np.float32)
        values[self.codes[f, known]] = self.X[known, f]
        return values, values


@dataclass
class Rules:
    """When and how nodes are split, as the kernel takes it."""

    criterion: int
    max_depth: int
    min_split: int
    min_leaf: int
    min_weight: float
    max_features: int
    max_leaves: int
    min_decrease: float

    def capacity(self, N: int) -> int:
        """Return the number of nodes that no tree of N samples exceeds."""
        leaves = max(1, N // self.min_leaf)
        if self.max_leaves > 0:
            leaves = min(leaves, self.max_leaves)
        if self.max_depth < 31:
            leaves = min(leaves, 2**self.max_depth)
        return 2 * leaves - 1


def rules_of(estimator: Any, N: int, D: int, total: float) -> Rules:
    """Check the parameters of a tree or forest for N samples of D features and ``total`` weight."""
    criteria = [name for name in CRITERIA
                if (name == "squared_error") == (estimator.kind == "regressor")]
    depth = estimator.max_depth
    leaves = estimator.max_leaf_nodes
    min_leaf = samples(estimator, "min_samples_leaf", 1, N)
    return Rules(
        criterion=CRITERIA[choice(estimator, "criterion", criteria)],
        max_depth=BOUNDLESS if depth is None else min(iterations(estimator, "max_depth", 1),
                                                      BOUNDLESS),
        min_split=max(2 * min_leaf, samples(estimator, "min_samples_split", 2, N)),
        min_leaf=min_leaf,
        min_weight=number(estimator, "min_weight_fraction_leaf", 0, 0.5) * total,
        max_features=features(estimator, D),
        max_leaves=-1 if leaves is None else iterations(estimator, "max_leaf_nodes", 2),
        min_decrease=number(estimator, "min_impurity_decrease"))


def samples(estimator: Estimator, name: str, least: int, N: int) -> int:
    """Return a number of samples that was given as such or as a fraction of N."""
    if isinstance(getattr(estimator, name), (float, np.floating)):
        return max(least, math.ceil(number(estimator, name, 0, 1, above=True) * N))
    return iterations(estimator, name, least)


def features(estimator: Any, D: int) -> int:
    """Return how many of D features a node looks at."""
    value = estimator.max_features
    if value is None:
        return D
    if isinstance(value, str):
        kind = choice(estimator, "max_features", ["sqrt", "log2"])
        return max(1, int(math.sqrt(D) if kind == "sqrt" else math.log2(D)))
    if isinstance(value, (float, np.floating)):
        return max(1, int(number(estimator, "max_features", 0, 1, above=True) * D))
    return min(D, iterations(estimator, "max_features", 1))


def bins_of(estimator: Any) -> int | None:
    """Return max_bins: None for exact splits, or 2 to 255."""
    if estimator.max_bins is None:
        return None
    bins = iterations(estimator, "max_bins", 2)
    if bins > 255:
        raise ParameterError(say(type(estimator).__name__, "max_bins of 2 to 255, or None", bins,
                                 "Use max_bins=None for exact splits"))
    return bins


def grow(codes: Codes, target: np.ndarray, K: int, rules: Rules, seeds: np.ndarray,
         weights: Callable[[int, np.ndarray], None]) -> Trees:
    """Grow a tree per seed.

    Parameters
    ----------
    target : ndarray (N,)
        int64 labels below K, or float64 numbers (K = 1).
    seeds : ndarray (T,) uint64
    weights : callable
        ``weights(t, out)`` writes the weights (N,) of tree t.
    """
    N, T = codes.codes.shape[1], len(seeds)
    capacity = rules.capacity(N)
    # what a group holds decides no bits: a tree depends on its own weights and seed
    group = min(T, max(kernels.get_num_threads(), GROUP // (8 * N)))
    weight, sizes = np.empty((group, N)), np.empty(group, np.int64)
    nodes, stats = np.empty((group, capacity, 8), np.int32), np.empty((group, capacity, 2 + K))
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for first in range(0, T, group):
        n = min(group, T - first)
        for t in range(n):
            weights(first + t, weight[t])
        run_kernel("tree_grow", codes.codes, target, weight[:n], seeds[first:first + n], nodes[:n],
                   stats[:n], sizes[:n], rules.criterion, rules.max_depth, rules.min_split,
                   rules.min_leaf, rules.min_weight, min(rules.max_features, len(codes.codes)),
                   rules.max_leaves, rules.min_decrease)
        parts += [(nodes[t, :m].copy(), stats[t, :m].copy()) for t, m in enumerate(sizes[:n])]
    del weight, nodes, stats
    return assembled(parts, codes, K)


def assembled(parts: list[tuple[np.ndarray, np.ndarray]], codes: Codes, K: int) -> Trees:
    """Return the trees whose node rows are given; takes the list apart, so that memory is freed."""
    starts = np.cumsum([0, *[len(ints) for ints, _ in parts]])
    M = int(starts[-1])
    walk, samples, after = np.empty((M, 4), np.int32), np.empty(M, np.int32), np.empty(M, np.int32)
    impurity, weight, values = np.empty(M), np.empty(M), np.empty((M, K))
    depth = 0
    for start, stop in pairwise(starts):
        ints, numbers = parts.pop(0)
        here = np.arange(start, stop, dtype=np.int32)
        leaf = ints[:, 0] < 0
        rows = walk[start:stop]
        rows[:, 0] = ints[:, 1]  # the code below the threshold stands in for it
        rows[:, 1] = np.where(leaf, 0, 2 * ints[:, 0] + ints[:, 6])
        for side in (0, 1):
            rows[:, 2 + side] = np.where(leaf, here, ints[:, 3 + side] + start)
        after[start:stop], samples[start:stop] = ints[:, 2], ints[:, 5]
        impurity[start:stop], weight[start:stop] = numbers[:, 0], numbers[:, 1]
        values[start:stop] = numbers[:, 2:]
        depth = max(depth, int(ints[:, 7].max()))
    inner = np.flatnonzero(walk[:, 2] != np.arange(M))
    threshold = np.zeros(M, np.float32)
    threshold[inner] = codes.thresholds(walk[inner, 1] >> 1, walk[inner, 0], after[inner])
    walk[:, 0] = threshold.view(np.int32)
    return Trees(walk, starts, samples, impurity, weight, values, depth, len(codes.codes))
