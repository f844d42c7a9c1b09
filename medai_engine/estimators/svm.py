"""Support vector machines with kernels: classification and regression."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..errors import DataError, say
from .base import Classifier, Regressor
from .checks import balanced, seed_of
from .kernel_machine import KernelMachine, Solution
from .options import choice, number
from .platt import coupled, sigmoid_fit, stratified_folds
from .products import product

__all__ = ["SVC", "SVR"]

FOLDS = 5  # of Platt scaling, as LIBSVM


class SVC(KernelMachine, Classifier):
    """Support vector classification, one machine per pair of classes.

    ``min |w|^2 / 2 + sum C_i max(0, 1 - y_i (w phi(x_i) + b))`` with y = +-1; the decision is
    ``f(x) = sum_i dual_coef_i k(x_i, x) + b``.

    Parameters
    ----------
    C : float
        The price of a violated margin, times a sample's weight.
    kernel : str or callable
        "rbf" ``exp(-gamma |x - z|^2)``, "linear" ``x z``, "poly" ``(gamma x z + coef0)^degree``,
        "sigmoid" ``tanh(gamma x z + coef0)``, "precomputed" (X is the Gram matrix), or a function
        of two arrays of points that returns the values of all pairs.
    degree : int
        Of "poly".
    gamma : float or str
        "scale" is ``1 / (D var(X))``, "auto" ``1 / D``.
    coef0 : float
        Of "poly" and "sigmoid".
    shrinking : bool
        Leave points that stay at a bound out for a while.
    probability : bool
        Also fit Platt's sigmoids on the decisions of a 5-fold cross-validation.
    tol : float
        How far the optimality conditions may be violated.
    cache_size : float
        Megabytes of kernel values that are kept.
    class_weight : dict or "balanced", optional
        Factors of C by class.
    verbose : bool
        Without effect, for programs that set it.
    max_iter : int
        Steps of each machine; -1 for no limit.
    decision_function_shape : str
        "ovr": a column per class, from the pairs' votes and decisions; "ovo": per pair.
    break_ties : bool
        Let the decisions decide between classes with equal votes (with "ovr").
    random_state : int, optional
        Seed of the cross-validation's folds.

    Attributes
    ----------
    support_, support_vectors_, n_support_ : array
        Indices of the support vectors, ordered by class, the vectors, and how many per class.
    dual_coef_ : array
        (K - 1, supports), as LIBSVM and scikit-learn order it.
    intercept_ : array
        (K (K - 1) / 2,), of the pairs (0, 1), (0, 2), ... (1, 2), ...
    coef_ : array
        Of a linear kernel: the weights of each pair.
    n_iter_ : array
        Steps of each pair.
    probA_, probB_ : array
        With ``probability``: ``P(first of the pair) = 1 / (1 + exp(A f + B))``.

    References
    ----------
    Chang & Lin, "LIBSVM: a library for support vector machines", ACM TIST 2, 2011.

    Examples
    --------
    >>> from medai_engine.estimators import SVC
    >>> SVC(kernel="linear").fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1]).predict([[1.4], [2.6]])
    array([0, 1])
    """

    def __init__(self, *, C: float = 1.0, kernel: Any = "rbf", degree: int = 3,
                 gamma: Any = "scale", coef0: float = 0.0, shrinking: bool = True,
                 probability: bool = False, tol: float = 1e-3, cache_size: float = 200,
                 class_weight: Any = None, verbose: bool = False, max_iter: int = -1,
                 decision_function_shape: str = "ovr", break_ties: bool = False,
                 random_state: Any = None):
        self.C = C
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.shrinking = shrinking
        self.probability = probability
        self.tol = tol
        self.cache_size = cache_size
        self.class_weight = class_weight
        self.verbose = verbose
        self.max_iter = max_iter
        self.decision_function_shape = decision_function_shape
        self.break_ties = break_ties
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the support vectors of X (N, D), y (N,); weights are factors of C."""
        self.check()
        choice(self, "decision_function_shape", ["ovr", "ovo"])
        X, codes, weight = self.training_data(X, y, sample_weight)
        cost = self.C * balanced(self, self.class_weight, self.classes_, codes, weight)[codes]
        if weight is not None:
            cost = cost * weight
        members = [np.flatnonzero((codes == k) & (cost > 0)) for k in range(len(self.classes_))]
        if len(members) < 2 or not all(map(len, members)):
            raise DataError(say("SVC", "two classes or more with samples of positive weight in y",
                                f"{sum(map(bool, map(len, members)))} class", "Add samples"))
        data = self.prepared(X)
        solutions: dict[tuple[int, int], Solution] = {}
        probabilities: list[tuple[float, float]] = []
        for pair in self.pairs():
            rows = np.concatenate([members[k] for k in pair])
            target = np.repeat([1.0, -1.0], [len(members[k]) for k in pair])
            solutions[pair] = self.machine(data, rows, target, cost)
            if self.probability:
                probabilities.append(self.sigmoid(data, rows, target, cost, len(probabilities)))
        self.collect(X, members, solutions)
        if self.probability:
            self.probA_, self.probB_ = np.array(probabilities).T
        return self

    def pairs(self) -> list[tuple[int, int]]:
        """Return the pairs of classes in the order of their machines."""
        K = len(self.classes_)
        return [(i, j) for i in range(K) for j in range(i + 1, K)]

    def machine(self, data: np.ndarray, rows: np.ndarray, target: np.ndarray, cost: np.ndarray
                ) -> Solution:
        """Return the optimum of one pair's problem on some rows."""
        part = data[rows]
        if callable(self.kernel) or self.kernel == "precomputed":
            part = np.ascontiguousarray(part[:, rows])
        signed = target * cost[rows]
        return self.solve(part, target, np.minimum(signed, 0), np.maximum(signed, 0))

    def sigmoid(self, data: np.ndarray, rows: np.ndarray, target: np.ndarray, cost: np.ndarray,
                number: int) -> tuple[float, float]:
        """Fit Platt's sigmoid to decisions on samples that a machine has not seen."""
        fold = stratified_folds(target, FOLDS, seed_of(self.random_state) + number)
        decision = np.empty(len(rows))
        for k in np.unique(fold):
            learn, held = fold != k, fold == k
            if len(np.unique(target[learn])) < 2:  # a class of one sample
                learn = np.ones_like(held)
            found = self.machine(data, rows[learn], target[learn], cost)
            support = rows[learn][found.beta != 0]
            self.keep_support(data, support)
            if callable(self.kernel):
                values = product(data[np.ix_(rows[held], support)],
                                 found.beta[found.beta != 0][:, None])
            else:
                values = self.sums(data[rows[held]], found.beta[found.beta != 0][None])
            decision[held] = values[:, 0] + found.intercept
        return sigmoid_fit(decision, target)

    def collect(self, X: np.ndarray, members: list[np.ndarray],
                solutions: dict[tuple[int, int], Solution]) -> None:
        """Merge the pairs' machines: support vectors by class, coefficients by opponent."""
        K = len(self.classes_)
        share: list[Any] = [np.zeros((K - 1, len(rows))) for rows in members]
        for (i, j), found in solutions.items():
            share[i][j - 1], share[j][i] = np.split(found.beta, [len(members[i])])
        used = [np.any(s != 0, axis=0) for s in share]
        self.keep_support(X, np.concatenate([rows[u] for rows, u in zip(members, used,
                                                                        strict=True)]))
        self.n_support_ = np.array([u.sum() for u in used], np.int32)
        sign = -1 if K == 2 else 1  # of two classes, the second one is the positive
        self.dual_coef_ = sign * np.concatenate([s[:, u] for s, u in zip(share, used, strict=True)],
                                                axis=1)
        self.intercept_ = sign * np.array([found.intercept for found in solutions.values()])
        self.n_iter_ = np.array([found.steps for found in solutions.values()], np.int32)

    def pair_coef(self) -> np.ndarray:
        """Return (pairs, supports): the coefficients by machine, zero for other classes."""
        ends = np.cumsum(self.n_support_)
        coef = np.zeros((len(self.intercept_), ends[-1]))
        for machine, (i, j) in enumerate(self.pairs()):
            for k, row in ((i, j - 1), (j, i)):
                part = slice(ends[k] - self.n_support_[k], ends[k])
                coef[machine, part] = self.dual_coef_[row, part]
        return coef

    @property
    def coef_(self) -> np.ndarray:
        """The weights of each pair's machine, (pairs, D); for a linear kernel."""
        self.require_linear()
        return product(self.pair_coef(), self.support_vectors_)

    def pair_decisions(self, X: Any, method: str) -> np.ndarray:
        """Return (N, pairs): positive for the first of the pair; of two classes, for the second."""
        return self.sums(self.table(X, method), self.pair_coef()) + self.intercept_

    def decision_function(self, X: Any) -> np.ndarray:
        """Return (N,) of two classes, (N, K), or (N, K (K - 1) / 2) with "ovo"."""
        decisions = self.pair_decisions(X, "decision_function")
        if len(self.classes_) == 2:
            return decisions[:, 0]
        return decisions if self.decision_function_shape == "ovo" else self.votes(decisions)[1]

    def votes(self, decisions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the votes per class, and votes plus summed decisions within (-1/3, 1/3)."""
        votes = np.zeros((len(decisions), len(self.classes_)))
        sums = np.zeros_like(votes)
        for p, (i, j) in enumerate(self.pairs()):
            first = decisions[:, p] > 0
            votes[:, i] += first
            votes[:, j] += ~first
            sums[:, i] += decisions[:, p]
            sums[:, j] -= decisions[:, p]
        return votes, votes + sums / (3 * (np.abs(sums) + 1))

    def predict(self, X: Any) -> np.ndarray:
        """Return the class that most pairs choose, (N,)."""
        decisions = self.pair_decisions(X, "predict")
        if len(self.classes_) == 2:
            return self.classes_[(decisions[:, 0] > 0).astype(int)]
        votes, values = self.votes(decisions)
        ties = self.break_ties and self.decision_function_shape == "ovr"
        return self.classes_[(values if ties else votes).argmax(axis=1)]

    def probabilities(self, X: Any) -> np.ndarray:
        """Return the probability of each class, (N, K): Platt's sigmoids, coupled."""
        decisions = self.pair_decisions(X, "predict_proba")
        sign = -1 if len(self.classes_) == 2 else 1
        with np.errstate(over="ignore"):
            pairwise = 1 / (1 + np.exp(sign * decisions * self.probA_ + self.probB_))
        return coupled(pairwise, len(self.classes_))

    @property
    def predict_proba(self) -> Any:
        """Class probabilities (N, K) of X; there with ``probability=True``."""
        if not self.probability:
            raise AttributeError(say("SVC.predict_proba", "probability=True when fit is called",
                                     "False", "Use SVC(probability=True)"))
        return self.probabilities

    @property
    def predict_log_proba(self) -> Any:
        """Logarithms of ``predict_proba``."""
        probabilities = self.predict_proba
        return lambda X: np.log(probabilities(X))


class SVR(KernelMachine, Regressor):
    """Support vector regression: a tube around the targets.

    ``min |w|^2 / 2 + sum C_i max(0, |y_i - w phi(x_i) - b| - epsilon)``; the prediction is
    ``f(x) = sum_i dual_coef_i k(x_i, x) + b``.

    Parameters
    ----------
    kernel, degree, gamma, coef0, tol, C, shrinking, cache_size, verbose, max_iter
        As for ``SVC``.
    epsilon : float
        Half the width of the tube in which errors cost nothing.

    Attributes
    ----------
    support_, support_vectors_, n_support_, dual_coef_, intercept_, coef_, n_iter_
        As for ``SVC``, of one machine.
    """

    def __init__(self, *, kernel: Any = "rbf", degree: int = 3, gamma: Any = "scale",
                 coef0: float = 0.0, tol: float = 1e-3, C: float = 1.0, epsilon: float = 0.1,
                 shrinking: bool = True, cache_size: float = 200, verbose: bool = False,
                 max_iter: int = -1):
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.tol = tol
        self.C = C
        self.epsilon = epsilon
        self.shrinking = shrinking
        self.cache_size = cache_size
        self.verbose = verbose
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the support vectors of X (N, D), y (N,); weights are factors of C."""
        self.check()
        number(self, "epsilon")
        X, y, weight = self.training_data(X, y, sample_weight)
        cost = np.full(len(y), float(self.C)) if weight is None else self.C * weight
        found = self.solve(self.prepared(X), y, -cost, cost, float(self.epsilon))
        support = np.flatnonzero(found.beta)
        self.keep_support(X, support)
        self.n_support_ = np.array([len(support)], np.int32)
        self.dual_coef_ = found.beta[support][None]
        self.intercept_ = np.array([found.intercept])
        self.n_iter_ = found.steps
        return self

    @property
    def coef_(self) -> np.ndarray:
        """The weights (1, D); for a linear kernel."""
        self.require_linear()
        return product(self.dual_coef_, self.support_vectors_)

    def predict(self, X: Any) -> np.ndarray:
        """Return f(x) per row, (N,)."""
        return self.sums(self.table(X, "predict"), self.dual_coef_)[:, 0] + self.intercept_
