"""Linear support vector machines: dual coordinate descent, and Newton where squares are smooth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from ..errors import DataError, ParameterError, say
from .base import Classifier, Estimator, Regressor
from .checks import balanced, seed_of
from .options import choice, iterations, not_converged, number, run_kernel
from .products import product, turned_product
from .solvers import newton

__all__ = ["LinearSVC", "LinearSVR"]


class LinearMachine(Estimator):
    """What LinearSVC and LinearSVR share: their problem, primal and dual.

    ``min |w|^2 / 2 + sum C_i loss(x_i w)`` over w (D,), or (D + 1,) with a last feature
    ``intercept_scaling`` whose weight is the intercept's (and is penalised, as LIBLINEAR's).
    """

    loss: str
    dual: Any
    coef_: np.ndarray
    intercept_: Any

    def check(self, losses: list[str]) -> bool:
        """Refuse parameters that no machine can have; say whether the loss is squared."""
        choice(self, "loss", losses)
        choice(self, "dual", ["auto", True, False])
        number(self, "C", above=True)
        number(self, "tol", above=True)
        number(self, "intercept_scaling", above=True)
        iterations(self, low=1)
        squared = self.loss.startswith("squared")
        if self.dual is False and not squared:
            raise ParameterError(say(type(self).__name__, f"dual=True with loss={self.loss!r}",
                                     "dual=False", 'Use dual="auto"'))
        return squared

    @property
    def bias(self) -> float:
        """The last feature, 0 for none."""
        options = vars(self)
        return float(options["intercept_scaling"]) if options["fit_intercept"] else 0.0

    def solve(self, X: np.ndarray, target: np.ndarray, cost: np.ndarray, epsilon: float | None,
              squared: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return weights (K, D + 1) and iterations of K machines with targets (K, N).

        ``epsilon`` is the tube's half width, or None for classes +-1.
        """
        dual = len(X) < X.shape[1] or not squared if self.dual == "auto" else self.dual
        return (self.descend if dual else self.step)(X, target, cost, epsilon, squared)

    def descend(self, X: np.ndarray, target: np.ndarray, cost: np.ndarray,
                epsilon: float | None, squared: bool) -> tuple[np.ndarray, np.ndarray]:
        """Solve the duals by coordinate descent."""
        options = vars(self)
        K, n = target.shape
        price = np.broadcast_to(np.inf if squared else cost, target.shape)
        price = np.where(cost > 0, price, 0)
        with np.errstate(divide="ignore"):
            ridge = np.where(cost > 0, 1 / (2 * cost), 1) * squared
        ridge = np.ascontiguousarray(np.broadcast_to(ridge, target.shape))
        lower, upper = -price, price.copy()
        tol = float(options["tol"])
        if epsilon is None:
            lower[target > 0], upper[target < 0] = 0, 0
        else:  # relative to the targets, whose unit is anyone's
            tol *= float(np.abs(target).max())
        beta, weight = np.zeros((K, n)), np.zeros((K, X.shape[1] + 1))
        result = np.empty((K, 2))
        run_kernel("dual_descent", X, np.ascontiguousarray(target), lower, upper, ridge, beta,
                   weight, result, self.bias, epsilon or 0.0, tol, int(options["max_iter"]),
                   seed_of(options["random_state"]))
        if (result[:, 1] > tol).any():
            not_converged(self, "Scale the features, or raise max_iter")
        return weight, result[:, 0].astype(np.int64)

    def step(self, X: np.ndarray, target: np.ndarray, cost: np.ndarray, epsilon: float | None,
             squared: bool) -> tuple[np.ndarray, np.ndarray]:
        """Solve the primal problems of a squared loss by Newton's method.

        Its second derivative is that of the samples with a loss: finitely many steps lead to the
        optimum (Mangasarian, "A finite Newton method for classification", 2002).
        """
        options = vars(self)
        wide = np.c_[X, np.full(len(X), self.bias)] if self.bias else X
        weights, steps = np.zeros((len(target), X.shape[1] + 1)), []
        for k, y in enumerate(target):
            function, hessian = squared_excess(wide, y, cost, epsilon)
            start = np.zeros(wide.shape[1])
            tol = float(options["tol"]) * float(np.abs(function(start)[1]).max())
            if epsilon is None:  # of a rare class, LIBLINEAR's rule
                tol *= max(min((y > 0).sum(), (y < 0).sum()), 1) / len(y)
            found = newton(function, hessian, start, tol, int(options["max_iter"]))
            if not found.converged:
                not_converged(self, "Scale the features, or raise max_iter")
            weights[k, :len(start)] = found.x
            steps.append(found.iterations)
        return weights, np.array(steps)


def squared_excess(x: np.ndarray, y: np.ndarray, cost: np.ndarray, epsilon: float | None
                   ) -> tuple[Callable[[np.ndarray], Any], Callable[[np.ndarray], np.ndarray]]:
    """Return value with gradient, and second derivative, of |w|^2 / 2 + sum cost r(x w)^2.

    r is what of the error lies outside the tube, or what is missing to the margin.
    """
    def excess(w: np.ndarray) -> np.ndarray:
        z = product(x, w[:, None])[:, 0]
        if epsilon is None:
            return y * np.maximum(1 - y * z, 0)
        return np.sign(y - z) * np.maximum(np.abs(y - z) - epsilon, 0)

    def function(w: np.ndarray) -> tuple[float, np.ndarray]:
        r = excess(w)
        g = product((cost * r)[None], x)[0]
        return float(w @ w / 2 + cost @ r**2), w - 2 * g

    def hessian(w: np.ndarray) -> np.ndarray:
        rows = np.flatnonzero(excess(w) * cost)
        part = x[rows] * np.sqrt(2 * cost[rows])[:, None]
        H = turned_product(part, part)
        H[np.diag_indices_from(H)] += 1
        return H

    return function, hessian


class LinearSVC(LinearMachine, Classifier):
    """Linear support vector classification, one machine per class against the others.

    ``min |w|^2 / 2 + sum C_i max(0, 1 - y_i (x_i w + b))^p`` with y = +-1 and p = 1 or 2.

    Parameters
    ----------
    penalty : str
        "l2".
    loss : str
        "hinge" (p = 1) or "squared_hinge" (p = 2).
    dual : bool or "auto"
        Coordinate descent in the dual, or Newton in the primal (squared loss); "auto" takes the
        primal for a squared loss and no fewer samples than features.
    tol : float
        Of the dual: spread of the violations; of the primal: gradient relative to the first one.
    C : float
        The price of a violated margin, times a sample's weight.
    multi_class : str
        "ovr".
    fit_intercept : bool
        Whether to learn an intercept, the weight of a feature ``intercept_scaling``.
    intercept_scaling : float
        The larger, the less the intercept is penalised.
    class_weight : dict or "balanced", optional
        Factors of C by class.
    verbose : bool
        Without effect, for programs that set it.
    random_state : int, optional
        Seed of the order in which the dual's samples are taken.
    max_iter : int
        Epochs of the dual, steps of the primal.

    Attributes
    ----------
    coef_, intercept_ : array
        (1, D) and (1,) of two classes, positive for the second one; else (K, D) and (K,).
    n_iter_ : int
        The most of any machine.

    References
    ----------
    Fan et al., "LIBLINEAR: a library for large linear classification", JMLR 9, 2008.
    """

    def __init__(self, penalty: str = "l2", loss: str = "squared_hinge", *, dual: Any = "auto",
                 tol: float = 1e-4, C: float = 1.0, multi_class: str = "ovr",
                 fit_intercept: bool = True, intercept_scaling: float = 1,
                 class_weight: Any = None, verbose: int = 0, random_state: Any = None,
                 max_iter: int = 1000):
        self.penalty = penalty
        self.loss = loss
        self.dual = dual
        self.tol = tol
        self.C = C
        self.multi_class = multi_class
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.verbose = verbose
        self.random_state = random_state
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the weights for X (N, D), y (N,); sample weights are factors of C."""
        squared = self.check(["squared_hinge", "hinge"])
        if self.penalty == "l1":
            raise ParameterError(say("LinearSVC", 'penalty="l2"', "'l1'",
                                     'Use LogisticRegression(penalty="l1") for sparse weights'))
        choice(self, "penalty", ["l2"])
        choice(self, "multi_class", ["ovr"])
        X, codes, weight = self.training_data(X, y, sample_weight)
        K = len(self.classes_)
        if K < 2:
            raise DataError(say("LinearSVC", "two classes or more in y", "one class",
                                "Add samples of another class"))
        cost = self.C * balanced(self, self.class_weight, self.classes_, codes, weight)[codes]
        if weight is not None:
            cost = cost * weight
        positive = range(K) if K > 2 else [1]
        target = np.stack([np.where(codes == k, 1.0, -1.0) for k in positive])
        weights, steps = self.solve(X, target, cost, None, squared)
        self.coef_, self.intercept_ = weights[:, :-1].copy(), weights[:, -1] * self.bias
        self.n_iter_ = int(steps.max())
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Return x w + b, (N,) of two classes, else (N, K)."""
        X = self.table(X, "decision_function")
        values = product(X, self.coef_.T) + self.intercept_
        return values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of the greatest decision, (N,)."""
        values = self.decision_function(X)
        return self.classes_[(values > 0).astype(int) if values.ndim == 1 else values.argmax(1)]


class LinearSVR(LinearMachine, Regressor):
    """Linear support vector regression.

    ``min |w|^2 / 2 + sum C_i max(0, |y_i - x_i w - b| - epsilon)^p`` with p = 1 or 2.

    Parameters
    ----------
    epsilon : float
        Half the width of the tube in which errors cost nothing.
    tol : float
        Of the dual: spread of the violations relative to the greatest absolute target; of the
        primal: gradient relative to the first one.
    C, fit_intercept, intercept_scaling, dual, verbose, random_state, max_iter
        As for ``LinearSVC``.
    loss : str
        "epsilon_insensitive" (p = 1) or "squared_epsilon_insensitive" (p = 2).

    Attributes
    ----------
    coef_, intercept_ : array
        (D,) and (1,).
    n_iter_ : int
        Epochs or steps.
    """

    def __init__(self, *, epsilon: float = 0.0, tol: float = 1e-4, C: float = 1.0,
                 loss: str = "epsilon_insensitive", fit_intercept: bool = True,
                 intercept_scaling: float = 1.0, dual: Any = "auto", verbose: int = 0,
                 random_state: Any = None, max_iter: int = 1000):
        self.epsilon = epsilon
        self.tol = tol
        self.C = C
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.dual = dual
        self.verbose = verbose
        self.random_state = random_state
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the weights for X (N, D), y (N,); sample weights are factors of C."""
        squared = self.check(["epsilon_insensitive", "squared_epsilon_insensitive"])
        epsilon = number(self, "epsilon")
        X, y, weight = self.training_data(X, y, sample_weight)
        cost = np.full(len(y), float(self.C)) if weight is None else self.C * weight
        weights, steps = self.solve(X, y[None], cost, epsilon, squared)
        self.coef_, self.intercept_ = weights[0, :-1].copy(), weights[0, -1:] * self.bias
        self.n_iter_ = int(steps[0])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return x w + b per row, (N,)."""
        return product(self.table(X, "predict"), self.coef_[:, None])[:, 0] + self.intercept_
