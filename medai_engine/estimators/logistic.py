"""Logistic regression: binary and multinomial, with penalties."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Self

import numpy as np

from .. import functional as F
from ..errors import DataError, ParameterError, say
from ..tensor import Tensor
from .base import Classifier
from .checks import balanced
from .options import choice, iterations, not_converged, number, run_kernel
from .products import product, turned_product
from .solvers import Minimum, lbfgs, newton

__all__ = ["LogisticRegression"]


class LogisticRegression(Classifier):
    """Logistic regression, ``p(k | x) = softmax(W x + b)_k``, of two classes ``sigmoid(w x + b)``.

    ``min C sum s_i loss_i + (1 - l1_ratio) |W|^2 / 2 + l1_ratio |W|_1`` with the cross-entropy as
    loss and the samples' weights s (times those of their classes); the intercept is not penalised.

    Parameters
    ----------
    penalty : str or None
        "l2" and "elasticnet" take ``l1_ratio``, "l1" is a ratio of 1, None penalises nothing.
    C : float
        The inverse of the penalty's strength.
    l1_ratio : float
        The share of the absolute values in the penalty.
    tol : float
        Largest absolute entry of the gradient (where there is an absolute value: of the
        subgradient nearest to zero) of the objective divided by ``C sum s``, at which to stop.
    fit_intercept : bool
        Whether to learn b.
    class_weight : dict or "balanced", optional
        Factors of the samples' weights by class.
    random_state : int, optional
        Without effect: nothing is random. For programs that set it.
    solver : str
        "lbfgs"; "newton-cholesky", with the matrix of second derivatives, for few features; "saga"
        is scikit-learn's name for absolute values and runs "lbfgs", which has them.
    max_iter : int
        Iterations.
    verbose : int
        Without effect, for programs that set it.
    warm_start : bool
        Begin at the last fit's weights.
    n_jobs : int, optional
        Without effect; see ``me.set_num_threads``.

    Attributes
    ----------
    coef_, intercept_ : array
        (1, D) and (1,) of two classes, for the second one; else (K, D) and (K,).
    n_iter_ : array
        (1,), the iterations.
    """

    coef_: np.ndarray
    intercept_: np.ndarray

    def __init__(self, penalty: str | None = "l2", *, C: float = 1.0, l1_ratio: float = 0.0,
                 tol: float = 1e-4, fit_intercept: bool = True, class_weight: Any = None,
                 random_state: Any = None, solver: str = "lbfgs", max_iter: int = 100,
                 verbose: int = 0, warm_start: bool = False, n_jobs: Any = None):
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs

    def strength(self) -> tuple[float, float]:
        """Return the factors of |W|^2 / 2 and |W|_1, before the division by ``sum s``."""
        choice(self, "penalty", ["l2", "l1", "elasticnet", None])
        choice(self, "solver", ["lbfgs", "newton-cholesky", "saga"])
        ratio = 1.0 if self.penalty == "l1" else number(self, "l1_ratio", 0, 1)
        if self.penalty is None or not math.inf > self.C:
            return 0.0, 0.0
        strength = 1 / number(self, "C", above=True)
        if ratio and self.solver == "newton-cholesky":
            raise ParameterError(say("LogisticRegression", 'solver="lbfgs" for absolute values in '
                                     "the penalty", "'newton-cholesky'", 'Use solver="lbfgs"'))
        return strength * (1 - ratio), strength * ratio

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the weights for X (N, D), y (N,)."""
        squares, absolutes = self.strength()
        tol, limit = number(self, "tol", above=True), iterations(self)
        X, codes, weight = self.training_data(X, y, sample_weight)
        K = len(self.classes_)
        if K < 2:
            raise DataError(say("LogisticRegression", "two classes or more in y", "one class",
                                "Add samples of another class"))
        share = balanced(self, self.class_weight, self.classes_, codes, weight)[codes]
        if weight is not None:
            share = share * weight
        total = share.sum()
        if not total > 0:
            raise DataError(say("LogisticRegression", "samples of positive weight", "none",
                                "Correct class_weight or sample_weight"))
        objective = Objective(X, codes, share / total, K, squares / total, self.fit_intercept)
        start = np.zeros(objective.size)
        if self.warm_start and getattr(self, "coef_", np.empty(0)).shape == objective.shape:
            start = objective.flat(self.coef_,
                                   self.intercept_ + self.coef_ @ objective.mean)
        found = self.minimum(objective, start, absolutes / total, tol, limit)
        if not found.converged and found.iterations >= limit:
            not_converged(self, "Scale the features, or raise max_iter")
        self.coef_, self.intercept_ = objective.parts(found.x)
        self.intercept_ = self.intercept_ - self.coef_ @ objective.mean
        if objective.rows > 1:  # a common shift changes no probability
            self.intercept_ -= self.intercept_.mean()
        self.n_iter_ = np.array([found.iterations], np.int32)
        return self

    def minimum(self, objective: Objective, start: np.ndarray, absolutes: float, tol: float,
                limit: int) -> Minimum:
        """Run the solver."""
        if self.solver == "newton-cholesky":
            return newton(objective, objective.hessian, start, tol, limit)
        l1 = None
        if absolutes:
            l1 = objective.flat(np.full(objective.shape, absolutes), np.zeros(objective.shape[0]))
        return lbfgs(objective, start, tol, limit, l1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits: (N,) of two classes, else (N, K)."""
        X = self.table(X, "decision_function")
        values = product(X, self.coef_.T) + self.intercept_
        return values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class, (N,)."""
        values = self.decision_function(X)
        return self.classes_[(values > 0).astype(int) if values.ndim == 1 else values.argmax(1)]

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of the probability of each class, (N, K)."""
        z = self.decision_function(X)
        if z.ndim == 1:
            z = np.stack([np.zeros_like(z), z], axis=1)
        return F.log_softmax(Tensor(z), -1).data

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, (N, K)."""
        return np.exp(self.predict_log_proba(X))


class Objective:
    """Mean loss plus the smooth part of the penalty, a function of all weights as one vector.

    ``sum share_i loss_i + squares |W|^2 / 2``; of the vector (rows (D + 1),) the first part is W
    (rows, D), the last b (rows,), with one row for two classes. With an intercept, features count
    from their means and b is that of an average sample: the same problem, far better conditioned
    where features lie far from 0.
    """

    def __init__(self, X: np.ndarray, codes: np.ndarray, share: np.ndarray, K: int,
                 squares: float, intercept: bool):
        self.x, self.codes, self.share, self.squares = X, codes, share, squares
        self.rows = K if K > 2 else 1
        self.shape = (self.rows, X.shape[1])
        self.size = self.rows * (X.shape[1] + intercept)
        self.intercept = intercept
        self.mean = product(share[None], X)[0] if intercept else np.zeros(X.shape[1])

    def __call__(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value and gradient."""
        weight, bias = self.parts(flat)
        value, gradient = np.empty(1), np.empty((self.rows, self.shape[1] + 1))
        run_kernel("logistic_loss", self.x, weight, bias - weight @ self.mean, self.codes,
                   self.share, value, gradient)
        db = gradient[:, -1]
        dw = gradient[:, :-1] - db[:, None] * self.mean + self.squares * weight
        return float(value[0] + self.squares / 2 * np.vdot(weight, weight)), self.flat(dw, db)

    def parts(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return W and b."""
        size = self.shape[0] * self.shape[1]
        bias = flat[size:] if self.intercept else np.zeros(self.rows)
        return flat[:size].reshape(self.shape).copy(), bias.copy()

    def flat(self, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return W and b as one vector."""
        return np.concatenate([weight.ravel(), bias]) if self.intercept else weight.ravel().copy()

    @cached_property
    def wide(self) -> np.ndarray:
        """The features as the weights see them, and a 1 for the intercept."""
        if not self.intercept:
            return self.x
        return np.c_[self.x - self.mean, np.ones(len(self.x))]

    def hessian(self, flat: np.ndarray) -> np.ndarray:
        """Return the second derivative: blocks X' diag(share p_k (delta_kl - p_l)) X."""
        weight, bias = self.parts(flat)
        z = Tensor(product(self.x, weight.T) + (bias - weight @ self.mean))
        p = (F.softmax(z, -1) if self.rows > 1 else F.sigmoid(z)).data
        d, wide = self.shape[1], self.wide
        scaled = np.empty_like(wide)
        blocks = np.empty((self.rows, wide.shape[1], self.rows, wide.shape[1]))
        for k in range(self.rows):
            for m in range(k, self.rows):
                curve = self.share * p[:, k] * ((k == m) - p[:, m])
                np.multiply(wide, curve[:, None], out=scaled)
                block = turned_product(scaled, wide)
                blocks[k, :, m], blocks[m, :, k] = block, block.T
        # all of W first, then the intercepts
        order = np.arange(self.rows * wide.shape[1]).reshape(self.rows, -1)
        order = np.concatenate([order[:, :d].ravel(), order[:, d:].ravel()])
        H = blocks.reshape(len(order), -1)[np.ix_(order, order)]
        H[np.arange(self.rows * d), np.arange(self.rows * d)] += self.squares
        return H
