"""Random forests: trees on bootstrap samples and drawn features, averaged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from ..errors import NotFittedError, ParameterError, say
from .base import Classifier, Regressor
from .checks import balanced, kin, seed_of
from .grow import Codes, bins_of, grow, rules_of
from .options import choice, iterations, number, run_kernel
from .tree_models import DecisionTreeClassifier, DecisionTreeRegressor, Rooted

__all__ = ["RandomForestClassifier", "RandomForestRegressor"]

DRAWS = 1 << 127  # counters of a tree's bootstrap sample: beyond those of its nodes' features


class Forest(Rooted):
    """What both kinds of forest share."""

    n_estimators: int
    bootstrap: bool
    oob_score: Any
    max_samples: Any
    random_state: Any
    seeds_: np.ndarray

    def grown(self, X: np.ndarray, target: np.ndarray, K: int, weight: np.ndarray | None,
              per_tree: Callable[[np.ndarray], np.ndarray] | None = None) -> Self:
        """Grow the trees; ``per_tree`` gives factors (N,) from a tree's counts (N,)."""
        alpha, N = number(self, "ccp_alpha"), len(X)
        total = float(N if weight is None else weight.sum())
        count = iterations(self, "n_estimators", 1)
        choice(self, "bootstrap", [True, False])
        if self.oob_score and not self.bootstrap:
            raise ParameterError(say(type(self).__name__, "oob_score with bootstrap=True",
                                     "bootstrap=False", "Out-of-bag samples need a bootstrap"))
        rules = rules_of(self, N, X.shape[1], total)
        self.n_samples_ = self.draws(N, total)
        words = np.empty(2 * count, np.uint32)
        run_kernel("random_bits", words, seed_of(self.random_state), 0)
        self.seeds_ = words.view(np.uint64)
        cumulative = None if weight is None else np.cumsum(weight)

        def weights(t: int, out: np.ndarray) -> None:
            if not self.bootstrap:
                out[...] = 1.0 if weight is None else weight
                return
            out[...] = bag(int(self.seeds_[t]), self.n_samples_, N, cumulative)
            if per_tree is not None:
                out *= per_tree(out)

        codes = Codes(X, bins_of(self))
        trees = grow(codes, target, K, rules, self.seeds_, weights)
        self.trees_ = trees.pruned(alpha) if alpha > 0 else trees
        self.n_outputs_ = 1
        if self.oob_score:
            self.judge(X, target, cumulative)
        return self

    def draws(self, N: int, total: float) -> int:
        """Return the size of a bootstrap sample."""
        if self.max_samples is None:
            return N
        if isinstance(self.max_samples, (float, np.floating)):
            return max(1, int(number(self, "max_samples", 0, above=True) * total))
        return iterations(self, "max_samples", 1)

    def out_of_bag(self, X: np.ndarray, cumulative: np.ndarray | None) -> np.ndarray:
        """Return the mean over the trees that did not see a sample, (N, K); NaN if all did."""
        found, seen = np.zeros((len(X), self.trees_.values.shape[1])), np.zeros(len(X))
        for t in range(len(self.trees_)):
            rows = bag(int(self.seeds_[t]), self.n_samples_, len(X), cumulative) == 0
            if rows.any():
                found[rows] += self.trees_.one(t).predict(X[rows])
                seen += rows
        if not seen.all():
            warnings.warn("Some inputs do not have OOB scores. This probably means too few trees "
                          "were used to compute any reliable OOB estimates.", stacklevel=6)
        with np.errstate(invalid="ignore"):
            return found / seen[:, None]

    def judge(self, X: np.ndarray, target: np.ndarray, cumulative: np.ndarray | None) -> None:
        """Set the out-of-bag score."""
        raise NotImplementedError

    @property
    def estimators_(self) -> list[Any]:
        """The trees as fitted estimators."""
        if not self.__sklearn_is_fitted__():
            raise kin(NotFittedError)(say(f"{type(self).__name__}.estimators_", "a fitted forest",
                                          "one that is not fitted yet", "Call fit first"))
        own = self.get_params(deep=False)
        kind: Any = (DecisionTreeClassifier if self.kind == "classifier"
                     else DecisionTreeRegressor)
        shared = {name: own[name] for name in kind.parameter_names()
                  if name in own and name not in ("random_state", "class_weight")}
        found = []
        for t in range(len(self.trees_)):
            tree = kind(**shared, random_state=int(self.seeds_[t]))
            tree.trees_ = self.trees_.one(t)
            tree.n_features_in_, tree.n_outputs_ = self.trees_.features, 1
            if self.kind == "classifier":
                tree.n_classes_ = self.trees_.values.shape[1]
                tree.classes_ = np.arange(tree.n_classes_)
            found.append(tree)
        return found

    def __len__(self) -> int:
        return len(self.trees_)

    @property
    def feature_importances_(self) -> np.ndarray:
        """Mean over trees of each feature's share in the decrease of impurity, (D,)."""
        self.require_fitted("feature_importances_")
        found = self.trees_.importances().mean(axis=0)
        return found / found.sum() if found.any() else found

    def decision_path(self, X: Any) -> tuple[Any, np.ndarray]:
        """Return which nodes each row goes through, sparse (N, M), and where trees begin."""
        return self.visited(X), self.trees_.starts


def bag(seed: int, count: int, N: int, cumulative: np.ndarray | None) -> np.ndarray:
    """Return how often a tree's bootstrap drew each of N samples, (N,) int64.

    With weights (as cumulative sums), draws are in proportion to them.
    """
    if cumulative is None:
        drawn = np.empty(count, np.int64)
        run_kernel("random_integers", drawn, seed, DRAWS, 0, N)
    else:
        uniform = np.empty(count)
        run_kernel("random_uniform", uniform, seed, DRAWS, 0.0, 1.0)
        drawn = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
        np.minimum(drawn, np.searchsorted(cumulative, cumulative[-1]), out=drawn)
    return np.bincount(drawn, minlength=N)


class RandomForestClassifier(Forest, Classifier):
    """The mean of decision trees.

        p(k | x) = 1/T sum_t p_t(k | x)

    Each tree is grown on a bootstrap sample (drawn in proportion to the weights), each node looks
    at ``max_features`` drawn features. A tree depends on its seed only, so every number of threads
    gives the same bits.

    Parameters
    ----------
    n_estimators : int
        Number of trees T.
    criterion, max_depth, min_samples_split, min_samples_leaf, min_weight_fraction_leaf, \
max_features, max_leaf_nodes, min_impurity_decrease, ccp_alpha, max_bins
        As :class:`DecisionTreeClassifier`.
    bootstrap : bool
        False gives every tree all samples.
    oob_score : bool or callable
        Judge each sample by the trees that did not see it: accuracy, or ``oob_score(y, y_oob)``.
    n_jobs : None or int
        Accepted for scikit-learn's sake; ``me.set_num_threads`` decides.
    random_state : int, NumPy generator or None
        None draws from the engine's generator (``me.manual_seed``).
    class_weight : dict, "balanced", "balanced_subsample" or None
    max_samples : int, float or None
        Size of a bootstrap sample: a number, a fraction, or N.

    Attributes
    ----------
    classes_, n_classes_, n_features_in_, feature_importances_, estimators_, oob_score_, \
oob_decision_function_ (N, K)

    References
    ----------
    Breiman, "Random forests", Machine Learning 45 (2001).
    """

    def __init__(self, n_estimators: int = 100, *, criterion: str = "gini",
                 max_depth: int | None = None, min_samples_split: float = 2,
                 min_samples_leaf: float = 1, min_weight_fraction_leaf: float = 0.0,
                 max_features: Any = "sqrt", max_leaf_nodes: int | None = None,
                 min_impurity_decrease: float = 0.0, bootstrap: bool = True,
                 oob_score: Any = False, n_jobs: int | None = None, random_state: Any = None,
                 class_weight: Any = None, ccp_alpha: float = 0.0, max_samples: Any = None,
                 max_bins: int | None = None) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.max_bins = max_bins

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the forest on X (N, D), labels y (N,) and weights (N,)."""
        X, codes, weight = self.training_data(X, y, sample_weight, np.float32)
        self.n_classes_ = K = len(self.classes_)
        per_tree = None
        if self.class_weight == "balanced_subsample" and self.bootstrap:
            def per_tree(counts: np.ndarray) -> np.ndarray:
                return balanced(self, "balanced", self.classes_, codes, counts)[codes]
        elif self.class_weight is not None:
            kind = "balanced" if self.class_weight == "balanced_subsample" else self.class_weight
            factor = balanced(self, kind, self.classes_, codes)[codes]
            weight = factor if weight is None else weight * factor
        return self.grown(X, codes, K, weight, per_tree)

    def judge(self, X: np.ndarray, target: np.ndarray, cumulative: np.ndarray | None) -> None:
        """Set ``oob_decision_function_`` and ``oob_score_``."""
        self.oob_decision_function_ = found = self.out_of_bag(X, cumulative)
        best = np.nan_to_num(found).argmax(axis=1)
        self.oob_score_ = (self.oob_score(self.classes_[target], self.classes_[best])
                           if callable(self.oob_score) else float((best == target).mean()))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the mean probabilities of each row of X (N, D), (N, K)."""
        return self.summed(X, "predict_proba") / len(self.trees_)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of ``predict_proba``."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of greatest mean probability of each row of X (N, D)."""
        found = self.summed(X, "predict")
        return self.classes_[found.argmax(axis=1)]


class RandomForestRegressor(Forest, Regressor):
    """The mean of regression trees.

        f(x) = 1/T sum_t f_t(x)

    Parameters are those of :class:`RandomForestClassifier`, with the criterion "squared_error",
    all features at each node, and without class weights; ``oob_score_`` is R², and
    ``oob_prediction_`` (N,) the out-of-bag means.
    """

    def __init__(self, n_estimators: int = 100, *, criterion: str = "squared_error",
                 max_depth: int | None = None, min_samples_split: float = 2,
                 min_samples_leaf: float = 1, min_weight_fraction_leaf: float = 0.0,
                 max_features: Any = 1.0, max_leaf_nodes: int | None = None,
                 min_impurity_decrease: float = 0.0, bootstrap: bool = True,
                 oob_score: Any = False, n_jobs: int | None = None, random_state: Any = None,
                 ccp_alpha: float = 0.0, max_samples: Any = None,
                 max_bins: int | None = None) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.max_bins = max_bins

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the forest on X (N, D), numbers y (N,) and weights (N,)."""
        X, y, weight = self.training_data(X, y, sample_weight, np.float32)
        return self.grown(X, y, 1, weight)

    def judge(self, X: np.ndarray, target: np.ndarray, cumulative: np.ndarray | None) -> None:
        """Set ``oob_prediction_`` and ``oob_score_``."""
        self.oob_prediction_ = found = self.out_of_bag(X, cumulative)[:, 0]
        seen = np.isfinite(found)
        left = ((target[seen] - found[seen]) ** 2).sum()
        total = ((target[seen] - target[seen].mean()) ** 2).sum() if seen.any() else 0.0
        self.oob_score_ = (self.oob_score(target, found) if callable(self.oob_score)
                           else float(1 - left / total) if total else 0.0)

    def predict(self, X: Any) -> np.ndarray:
        """Return the mean of the trees' answers for each row of X (N, D)."""
        return self.summed(X, "predict")[:, 0] / len(self.trees_)
