"""Linear and ridge regression in closed form, of one or several targets."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from ..errors import DataError, ShapeError, say
from ..linalg import cholesky
from ..tensor import Tensor
from .base import Regressor
from .checks import as_matrix, as_target, as_weight
from .options import choice
from .products import product, turned_product

__all__ = ["LinearRegression", "Ridge"]


class Centred(NamedTuple):
    """Rows times the root of their weights, around the weighted means."""

    x: np.ndarray
    y: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray


class LinearModel(Regressor):
    """What both have: targets of one or two dimensions, centring, prediction, score."""

    fit_intercept: bool
    coef_: np.ndarray
    intercept_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def centred(self, X: Any, y: Any, sample_weight: Any) -> tuple[Centred, bool]:
        """Check the data; return them centred, y always (N, K), and whether y was (N,)."""
        choice(self, "fit_intercept", [True, False])
        X = as_matrix(self, X, fitting=True)
        if y is None:
            raise DataError(f"{type(self).__name__} requires y to be passed, but the target y is "
                            "None.")
        single = np.asarray(y).ndim != 2
        y = as_target(self, y, len(X))[:, None] if single else np.stack(
            [as_target(self, column, len(X)) for column in np.asarray(y).T], axis=1)
        weight = as_weight(self, sample_weight, len(X))
        x_mean, y_mean = np.zeros(X.shape[1]), np.zeros(y.shape[1])
        if self.fit_intercept:
            x_mean = np.average(X, axis=0, weights=weight)
            y_mean = np.average(y, axis=0, weights=weight)
            X, y = X - x_mean, y - y_mean
        if weight is not None:
            root = np.sqrt(weight)[:, None]
            X, y = X * root, y * root
        return Centred(X, y, x_mean, y_mean), single

    def keep(self, coef: np.ndarray, data: Centred, single: bool) -> Self:
        """Set coefficients from (D, K) and the intercept that goes with them."""
        self.coef_ = np.ascontiguousarray(coef[:, 0] if single else coef.T)
        intercept = data.y_mean - data.x_mean @ coef
        self.intercept_ = float(intercept[0]) if single else intercept
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return X coef + intercept: (N,), or (N, K) for several targets."""
        X = self.table(X, "predict")
        if self.coef_.ndim == 1:
            return product(X, self.coef_[:, None])[:, 0] + self.intercept_
        return product(X, self.coef_.T) + self.intercept_

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R², of several targets the mean of theirs."""
        y = np.asarray(y, np.float64)
        if y.ndim == 1 or self.coef_.ndim == 1:
            return super().score(X, y, sample_weight)
        left = np.average((y - self.predict(X)) ** 2, axis=0, weights=sample_weight)
        total = np.average((y - np.average(y, 0, sample_weight)) ** 2, 0, sample_weight)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(total > 0, 1 - left / total, np.where(left > 0, 0.0, 1.0))
        return float(found.mean())


class LinearRegression(LinearModel):
    """Least squares, ``min sum_i s_i |y_i - x_i W - b|^2``; of several optima the smallest W.

    Parameters
    ----------
    fit_intercept : bool
        Whether to learn b.

    Attributes
    ----------
    coef_, intercept_ : array
        (D,) and a number, or (K, D) and (K,) for targets (N, K).
    rank_, singular_ : int, array
        Of the centred X.

    Examples
    --------
    >>> from medai_engine.estimators import LinearRegression
    >>> LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).predict([[3.0]])
    array([7.])
    """

    def __init__(self, *, fit_intercept: bool = True):
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the coefficients for X (N, D), y (N,) or (N, K), by singular values (LAPACK)."""
        data, single = self.centred(X, y, sample_weight)
        coef, _, rank, self.singular_ = np.linalg.lstsq(data.x, data.y)
        self.rank_ = int(rank)
        return self.keep(coef, data, single)


class Ridge(LinearModel):
    """Ridge regression, ``min sum_i s_i |y_i - x_i W - b|^2 + alpha |W|^2``.

    Parameters
    ----------
    alpha : float or array
        The penalty, or one per target.
    fit_intercept : bool
        Whether to learn b, which is not penalised.
    solver : str
        "cholesky" of X'X + alpha I (for fewer samples than features, of X X' + alpha I); "svd" by
        singular values, exact where X'X would lose half the digits; "auto" is "cholesky" unless an
        alpha is 0 or the matrix is not positive definite to rounding.

    Attributes
    ----------
    coef_, intercept_ : array
        (D,) and a number, or (K, D) and (K,) for targets (N, K).
    """

    def __init__(self, alpha: Any = 1.0, *, fit_intercept: bool = True, solver: str = "auto"):
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the coefficients for X (N, D), y (N,) or (N, K)."""
        choice(self, "solver", ["auto", "cholesky", "svd"])
        data, single = self.centred(X, y, sample_weight)
        alphas = np.asarray(self.alpha, np.float64)
        if alphas.ndim and alphas.shape != (data.y.shape[1],):
            raise ShapeError(say("Ridge", f"alpha a number or {data.y.shape[1]}, one per target",
                                 str(alphas.shape), "Correct alpha"))
        if not ((alphas >= 0) & np.isfinite(alphas)).all():
            raise DataError(say("Ridge", "alpha of at least 0", repr(self.alpha),
                                "Correct alpha"))
        alphas = np.broadcast_to(alphas, data.y.shape[1])
        coef = None
        if self.solver == "cholesky" or (self.solver == "auto" and (alphas > 0).all()):
            coef = self.by_cholesky(data, alphas)
        return self.keep(by_singular_values(data, alphas) if coef is None else coef, data, single)

    def by_cholesky(self, data: Centred, alphas: np.ndarray) -> np.ndarray | None:
        """Return (D, K), or None where the matrix is not positive definite to rounding."""
        wide = data.x.shape[0] < data.x.shape[1]
        x = data.x
        gram = product(x, x.T) if wide else turned_product(x, x)
        right = data.y if wide else turned_product(x, data.y)
        coef = np.empty((x.shape[1], len(alphas)))
        for alpha in np.unique(alphas):
            columns = np.flatnonzero(alphas == alpha)
            try:
                root = cholesky(Tensor(gram + alpha * np.eye(len(gram)))).data
            except DataError:
                if self.solver == "cholesky":
                    raise
                return None
            half = np.linalg.solve(root, right[:, columns])
            found = np.linalg.solve(root.T, half)
            coef[:, columns] = turned_product(x, found) if wide else found
        return coef


def by_singular_values(data: Centred, alphas: np.ndarray) -> np.ndarray:
    """Return V diag(s / (s^2 + alpha)) U' y, (D, K), without singular values that are noise."""
    u, s, v = np.linalg.svd(data.x, full_matrices=False)
    s = np.where(s > s.max(initial=0) * max(data.x.shape) * np.finfo(s.dtype).eps, s, 0)
    bottom = s[:, None] ** 2 + alphas
    shrink = np.divide(s[:, None], bottom, out=np.zeros_like(bottom), where=bottom > 0)
    return v.T @ (shrink * (u.T @ data.y))
