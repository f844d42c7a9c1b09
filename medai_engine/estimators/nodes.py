"""Grown trees as flat arrays: the nodes of all trees of a forest one behind the other.

Thresholds are float32, rounded down from the midpoint of the two values beside them: a float32
value is on the same side of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import kernels
from ..errors import DataError, say
from .options import run_kernel
from .storage import Stored

__all__ = ["Tree", "Trees"]

LEAF = -1  # child of a leaf
UNDEFINED = -2  # feature and threshold of a leaf, as in scikit-learn


@dataclass(eq=False)
class Trees(Stored):
    """The nodes (M) of T trees.

    Attributes
    ----------
    walk : ndarray (M, 4) int32
        Bits of the float32 threshold; 2 feature + (NaN goes left); left and right child, which of
        a leaf are itself. Children stand behind their parents.
    starts : ndarray (T + 1,) int64
        Where each tree begins, and M.
    samples : ndarray (M,) int32
    impurity, weight : ndarray (M,) float64
    values : ndarray (M, K) float64
        Share of each class, or the mean.
    depth, features : int
        Of the deepest tree; columns of X.
    """

    walk: np.ndarray
    starts: np.ndarray
    samples: np.ndarray
    impurity: np.ndarray
    weight: np.ndarray
    values: np.ndarray
    depth: int
    features: int

    def __post_init__(self) -> None:
        """Refuse what a damaged file could hold: links that leave their tree or turn back."""
        here = np.arange(len(self.walk))
        ends = np.repeat(self.starts[1:], np.diff(self.starts))
        left, right = self.walk[:, 2], self.walk[:, 3]
        good = len(ends) == len(here) and ((self.leaf | ((left > here) & (right > here)))
                                           & (left < ends) & (right < ends)).all()
        if not good or (self.walk[:, 1] >> 1 >= self.features).any():
            raise DataError(say("trees", "nodes whose children stand behind them", "other links",
                                "Copy the file again"))

    @property
    def leaf(self) -> np.ndarray:
        """Which nodes are leaves, (M,) bool."""
        here = np.arange(len(self.walk))
        return (self.walk[:, 2] == here) & (self.walk[:, 3] == here)

    @property
    def feature(self) -> np.ndarray:
        """The feature that an inner node looks at, (M,)."""
        return self.walk[:, 1] >> 1

    def __len__(self) -> int:
        return len(self.starts) - 1

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the sum over trees of the leaf's values, (N, K)."""
        out = kernels.empty((len(X), self.values.shape[1]), self.values.dtype)
        run_kernel("tree_predict", X, self.walk, self.starts[:-1], self.values, out, self.depth)
        return out

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Return the number of each row's leaf within its tree, (N, T) int64."""
        out = np.empty((len(X), len(self)), np.int32)
        run_kernel("tree_apply", X, self.walk, self.starts[:-1], out, self.depth)
        return out - self.starts[:-1]

    def importances(self) -> np.ndarray:
        """Return each tree's total decrease of impurity by feature, shares of 1, (T, D)."""
        inner = np.flatnonzero(~self.leaf)
        mass = self.weight * self.impurity
        gain = mass[inner] - mass[self.walk[inner, 2]] - mass[self.walk[inner, 3]]
        tree = np.searchsorted(self.starts, inner, side="right") - 1
        found = np.bincount(tree * self.features + self.feature[inner], gain,
                            len(self) * self.features).reshape(len(self), -1)
        total = found.sum(axis=1, keepdims=True)
        return np.divide(found, total, out=np.zeros_like(found), where=total > 0)

    def one(self, t: int) -> Trees:
        """Return a tree on its own."""
        here = slice(int(self.starts[t]), int(self.starts[t + 1]))
        walk = self.walk[here].copy()
        walk[:, 2:] -= np.int32(here.start)
        return Trees(walk, np.array([0, len(walk)]), self.samples[here], self.impurity[here],
                     self.weight[here], self.values[here], self.depth, self.features)

    def steps(self, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return left, right (M,) int32, and risk (M,) of tree t, and its first node."""
        here = slice(int(self.starts[t]), int(self.starts[t + 1]))
        risk = self.impurity[here] * self.weight[here] / self.weight[here.start]
        children = self.walk[here, 2:] - np.int32(here.start)
        return children[:, 0].copy(), children[:, 1].copy(), risk, np.array(here.start)

    def pruning(self, t: int, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """Return which nodes of tree t become (or stay) leaves, and the path (steps, 2)."""
        left, right, risk, _ = self.steps(t)
        leaf, path = np.empty(len(risk), np.uint8), np.empty((len(risk), 2))
        count = np.empty(1, np.int64)
        run_kernel("tree_prune", left, right, risk, leaf, path, count, alpha)
        return leaf.astype(bool), path[: int(count[0])]

    def pruned(self, alpha: float) -> Trees:
        """Return the trees without branches that are not worth alpha a leaf."""
        leaf = np.concatenate([self.pruning(t, alpha)[0] for t in range(len(self))])
        children = self.walk[:, 2:].copy()
        inside = np.zeros(len(leaf), bool)
        at, depth = self.starts[:-1], -1
        while len(at):  # level by level
            inside[at] = True
            at = children[at[~leaf[at]]].reshape(-1)
            depth += 1
        children[leaf] = np.arange(len(leaf))[leaf, None]
        place = np.cumsum(inside) - 1
        walk = np.c_[self.walk[:, :2], place[children]].astype(np.int32)[inside]
        walk[leaf[inside], :2] = 0
        starts = np.r_[0, np.cumsum(np.add.reduceat(inside, self.starts[:-1]))]
        return Trees(walk, starts, self.samples[inside], self.impurity[inside],
                     self.weight[inside], self.values[inside], depth, self.features)


class Tree:
    """One tree with the attribute names of scikit-learn's ``tree_``; arrays are made on demand."""

    def __init__(self, trees: Trees) -> None:
        self.trees = trees

    @property
    def node_count(self) -> int:
        """Number of nodes."""
        return len(self.trees.walk)

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return int(self.trees.leaf.sum())

    @property
    def n_features(self) -> int:
        """Columns of X."""
        return self.trees.features

    @property
    def max_depth(self) -> int:
        """Depth of the deepest leaf; the root has 0."""
        depth = np.zeros(self.node_count, np.int64)
        at, found = np.array([0]), 0
        while len(at):
            depth[at] = found
            at = self.trees.walk[at[~self.trees.leaf[at]], 2:].reshape(-1)
            found += 1
        return int(depth.max())

    @property
    def children_left(self) -> np.ndarray:
        """Left child of each node, -1 of a leaf."""
        return np.where(self.trees.leaf, LEAF, self.trees.walk[:, 2]).astype(np.int64)

    @property
    def children_right(self) -> np.ndarray:
        """Right child of each node, -1 of a leaf."""
        return np.where(self.trees.leaf, LEAF, self.trees.walk[:, 3]).astype(np.int64)

    @property
    def feature(self) -> np.ndarray:
        """Feature of each node, -2 of a leaf."""
        return np.where(self.trees.leaf, UNDEFINED, self.trees.feature).astype(np.int64)

    @property
    def threshold(self) -> np.ndarray:
        """Threshold of each node, -2 of a leaf: smaller and equal values go left."""
        threshold = self.trees.walk[:, 0].copy().view(np.float32).astype(np.float64)
        return np.where(self.trees.leaf, UNDEFINED, threshold)

    @property
    def missing_go_to_left(self) -> np.ndarray:
        """Whether NaN goes left."""
        return (self.trees.walk[:, 1] & 1).astype(np.uint8)

    @property
    def impurity(self) -> np.ndarray:
        """Impurity of each node."""
        return self.trees.impurity

    @property
    def n_node_samples(self) -> np.ndarray:
        """Samples of each node in training."""
        return self.trees.samples.astype(np.int64)

    @property
    def weighted_n_node_samples(self) -> np.ndarray:
        """Their weight."""
        return self.trees.weight

    @property
    def value(self) -> np.ndarray:
        """Share of each class, or the mean, (M, 1, K)."""
        return self.trees.values[:, None, :]

    def apply(self, X: Any) -> np.ndarray:
        """Return the leaf of each row, (N,)."""
        return self.trees.apply(np.ascontiguousarray(X, np.float32))[:, 0]

    def predict(self, X: Any) -> np.ndarray:
        """Return the value of each row's leaf, (N, 1, K)."""
        return self.trees.predict(np.ascontiguousarray(X, np.float32))[:, None, :]

    def compute_feature_importances(self, normalize: bool = True) -> np.ndarray:
        """Return the decrease of impurity by feature, (D,)."""
        found = self.trees.importances()[0]
        if normalize:
            return found
        mass = self.trees.weight * self.trees.impurity
        leaves = mass[self.trees.leaf].sum()
        return found * (mass[0] - leaves) / self.trees.weight[0]

