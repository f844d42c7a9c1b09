"""Decision trees: a question about one feature at each node, an answer at each leaf."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from ..errors import extra
from .base import Classifier, Estimator, Regressor
from .checks import balanced, seed_of
from .grow import Codes, bins_of, grow, rules_of
from .nodes import Tree, Trees
from .options import choice, number

__all__ = ["DecisionTreeClassifier", "DecisionTreeRegressor", "PruningPath"]


class PruningPath(NamedTuple):
    """The steps of pruning: alpha at which each comes, and the leaves' impurity behind it."""

    ccp_alphas: np.ndarray
    impurities: np.ndarray


class Rooted(Estimator):
    """What trees and forests share: they read float32 tables, with NaN, by walking their nodes."""

    allow_nan = True
    trees_: Trees

    def summed(self, X: Any, method: str) -> np.ndarray:
        """Return the sum of the trees' answers for each row of X (N, D), (N, K)."""
        X = self.table(X, method, np.float32)
        return self.trees_.predict(X)

    def apply(self, X: Any) -> np.ndarray:
        """Return the leaf of each row of X (N, D)."""
        X = self.table(X, "apply", np.float32)
        return self.trees_.apply(X)

    def visited(self, X: Any) -> Any:
        """Return which nodes (all trees') each row goes through, a sparse matrix (N, M)."""
        sparse = extra("scipy.sparse", "estimators", "decision_path")
        X = self.table(X, "decision_path", np.float32)
        trees = self.trees_
        at = trees.apply(X) + trees.starts[:-1]
        parent = np.full(len(trees.walk), -1)
        inner = np.flatnonzero(~trees.leaf)
        parent[trees.walk[inner, 2:]] = inner[:, None]
        rows = np.broadcast_to(np.arange(len(at))[:, None], at.shape)
        found = [np.zeros((2, 0), np.int64)]
        while at.size:  # from the leaves up
            found.append(np.stack([rows.reshape(-1), at.reshape(-1)]))
            on = parent[at] >= 0
            rows, at = rows[on], parent[at][on]
        row, node = np.concatenate(found, axis=1)
        shape = int(row.max()) + 1, len(parent)
        return sparse.csr_matrix((np.ones(len(row), np.int64), (row, node)), shape=shape)


class DecisionTree(Rooted):
    """What both kinds of decision tree share."""

    random_state: Any
    ccp_alpha: float

    def grown(self, X: np.ndarray, target: np.ndarray, K: int, weight: np.ndarray | None,
              alpha: float) -> Self:
        """Grow the tree and prune it."""
        full = np.ones(len(X)) if weight is None else weight
        rules = rules_of(self, len(X), X.shape[1], float(full.sum()))
        choice(self, "splitter", ["best"])
        seeds = np.array([seed_of(self.random_state)], np.uint64)
        codes = Codes(X, bins_of(self))
        trees = grow(codes, target, K, rules, seeds, lambda t, out: np.copyto(out, full))
        self.trees_ = trees.pruned(alpha) if alpha > 0 else trees
        self.max_features_ = rules.max_features
        self.n_outputs_ = 1
        return self

    @property
    def tree_(self) -> Tree:
        """The nodes, with the names of scikit-learn's ``tree_``."""
        return Tree(self.trees_)

    @property
    def feature_importances_(self) -> np.ndarray:
        """Share of each feature in the decrease of impurity, (D,)."""
        self.require_fitted("feature_importances_")
        return self.trees_.importances()[0]

    def get_depth(self) -> int:
        """Return the depth of the deepest leaf."""
        self.require_fitted("get_depth")
        return self.tree_.max_depth

    def get_n_leaves(self) -> int:
        """Return the number of leaves."""
        self.require_fitted("get_n_leaves")
        return self.tree_.n_leaves

    def apply(self, X: Any) -> np.ndarray:
        """Return the leaf of each row of X (N, D), (N,)."""
        return super().apply(X)[:, 0]

    def decision_path(self, X: Any) -> Any:
        """Return which nodes each row goes through, a sparse matrix (N, nodes)."""
        return self.visited(X)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the tree."""
        raise NotImplementedError

    def cost_complexity_pruning_path(self, X: Any, y: Any, sample_weight: Any = None
                                     ) -> PruningPath:
        """Return the values of ``ccp_alpha`` at which a tree of these data loses branches."""
        whole = type(self)(**{**self.get_params(deep=False), "ccp_alpha": 0.0})
        path = whole.fit(X, y, sample_weight).trees_.pruning(0, np.inf)[1]
        return PruningPath(*path.T)


class DecisionTreeClassifier(DecisionTree, Classifier):
    """A tree of thresholds that parts the classes.

        x_feature <= threshold ? left : right;  p(k | x) = share of class k in the leaf

    Splits are those of greatest decrease of impurity (kernels/tree/reference.py has the
    equations). NaN is a value of its own and goes to the better side.

    Parameters
    ----------
    criterion : str
        "gini", "entropy" or "log_loss" (the same).
    splitter : str
        "best".
    max_depth, max_leaf_nodes : int or None
        None has no limit; with a limit of leaves the greatest decrease is split first.
    min_samples_split, min_samples_leaf : int or float
        Numbers of samples, or fractions.
    min_weight_fraction_leaf : float
    max_features : int, float, "sqrt", "log2" or None
        Features that a node looks at; None takes all.
    random_state : int, NumPy generator or None
        Draws the order in which a node looks at features: which ones, and who wins a tie.
    min_impurity_decrease : float
    class_weight : dict, "balanced" or None
    ccp_alpha : float
        Branches not worth this much per leaf are pruned.
    max_bins : int or None
        None looks at every threshold; 2 to 255 at that many stretches of equal counts.

    Attributes
    ----------
    classes_, n_classes_, n_features_in_, feature_importances_, max_features_, tree_
    """

    def __init__(self, *, criterion: str = "gini", splitter: str = "best",
                 max_depth: int | None = None, min_samples_split: float = 2,
                 min_samples_leaf: float = 1, min_weight_fraction_leaf: float = 0.0,
                 max_features: Any = None, random_state: Any = None,
                 max_leaf_nodes: int | None = None, min_impurity_decrease: float = 0.0,
                 class_weight: Any = None, ccp_alpha: float = 0.0,
                 max_bins: int | None = None) -> None:
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.max_bins = max_bins

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the tree on X (N, D), labels y (N,) and weights (N,)."""
        alpha = number(self, "ccp_alpha")
        X, codes, weight = self.training_data(X, y, sample_weight, np.float32)
        self.n_classes_ = len(self.classes_)
        if self.class_weight is not None:
            factor = balanced(self, self.class_weight, self.classes_, codes)[codes]
            weight = factor if weight is None else weight * factor
        return self.grown(X, codes, self.n_classes_, weight, alpha)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the share of each class in the leaf of each row of X (N, D), (N, K)."""
        return self.summed(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of ``predict_proba``."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most frequent class of the leaf of each row of X (N, D)."""
        found = self.summed(X, "predict")
        return self.classes_[found.argmax(axis=1)]


class DecisionTreeRegressor(DecisionTree, Regressor):
    """A tree of thresholds with a mean at each leaf.

        x_feature <= threshold ? left : right;  f(x) = mean of y in the leaf

    Parameters are those of :class:`DecisionTreeClassifier`, with the criterion "squared_error" and
    without class weights.
    """

    def __init__(self, *, criterion: str = "squared_error", splitter: str = "best",
                 max_depth: int | None = None, min_samples_split: float = 2,
                 min_samples_leaf: float = 1, min_weight_fraction_leaf: float = 0.0,
                 max_features: Any = None, random_state: Any = None,
                 max_leaf_nodes: int | None = None, min_impurity_decrease: float = 0.0,
                 ccp_alpha: float = 0.0, max_bins: int | None = None) -> None:
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.ccp_alpha = ccp_alpha
        self.max_bins = max_bins

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the tree on X (N, D), numbers y (N,) and weights (N,)."""
        alpha = number(self, "ccp_alpha")
        X, y, weight = self.training_data(X, y, sample_weight, np.float32)
        return self.grown(X, y, 1, weight, alpha)

    def predict(self, X: Any) -> np.ndarray:
        """Return the mean of the leaf of each row of X (N, D)."""
        return self.summed(X, "predict")[:, 0]
