"""What SVC and SVR share: the kernel, the dual problem of two classes or one target, its sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ParameterError, ShapeError, say
from .base import Estimator
from .checks import check_finite
from .options import choice, iterations, not_converged, number, run_kernel
from .products import product

__all__ = ["KernelMachine", "Solution"]

KINDS = {"linear": 0, "poly": 1, "rbf": 2, "sigmoid": 3, "precomputed": 4}


class Solution(NamedTuple):
    """The optimum of one dual problem."""

    beta: np.ndarray
    intercept: float
    steps: int


class KernelMachine(Estimator):
    """The kernel's parameters, its solver and its sums.

    The dual problem and its solver are in ``kernels/svm/reference.py``.
    """

    kernel: str | Callable[..., Any]
    degree: int
    gamma: str | float
    coef0: float
    tol: float
    cache_size: float
    max_iter: int
    shrinking: bool
    support_vectors_: np.ndarray
    support_: np.ndarray
    gamma_: float

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    def check(self) -> None:
        """Refuse parameters that no machine can have."""
        if not callable(self.kernel):
            choice(self, "kernel", ["rbf", "linear", "poly", "sigmoid", "precomputed"])
        if self.gamma not in ("scale", "auto"):
            number(self, "gamma")
        number(self, "C", above=True)
        number(self, "tol", above=True)
        number(self, "cache_size", above=True)
        number(self, "coef0", -math.inf)
        iterations(self, "degree")
        iterations(self, low=-1)

    def prepared(self, X: np.ndarray) -> np.ndarray:
        """Set ``gamma_``; return what the solver reads: X, or the Gram matrix (N, N)."""
        if self.gamma == "scale":
            spread = X.var()
            self.gamma_ = float(1 / (X.shape[1] * spread)) if spread > 0 else 1.0
        else:
            self.gamma_ = 1 / X.shape[1] if self.gamma == "auto" else float(self.gamma)
        if callable(self.kernel):
            return self.called(X, X)
        if self.kernel == "precomputed" and X.shape[0] != X.shape[1]:
            raise ShapeError(say(type(self).__name__, "a square matrix of kernel values: "
                                 "Precomputed matrix must be a square matrix", str(X.shape),
                                 "Pass k(x_i, x_j) of all training samples", {"X": X.shape}))
        return X

    def called(self, X: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return the user's kernel function of two sets of points."""
        values = np.ascontiguousarray(self.kernel(X, points), np.float64)  # type: ignore[operator]
        if values.shape != (len(X), len(points)):
            raise ShapeError(say(type(self).__name__, f"kernel(X, Y) of shape "
                                 f"{(len(X), len(points))}", str(values.shape),
                                 "Return one value per pair"))
        check_finite(type(self).__name__, values, False, "kernel(X, Y)")
        return values

    def spec(self, kind: int) -> tuple[int, int, float, float]:
        """Return what names a kernel function to the compiled text."""
        return kind, int(self.degree), self.gamma_, float(self.coef0)

    def solve(self, data: np.ndarray, target: np.ndarray, lower: np.ndarray, upper: np.ndarray,
              epsilon: float = 0.0) -> Solution:
        """Return the optimum of one problem over the rows of ``data``."""
        kind = KINDS["precomputed"] if callable(self.kernel) else KINDS[self.kernel]
        n = len(data)
        wanted = int(self.cache_size * 2**20 / 8)
        room = np.empty(max(16 * (n + 64), min(wanted, n * (n + 64))))
        beta, result = np.zeros(n), np.empty(4)
        limit = math.inf if self.max_iter == -1 else self.max_iter
        run_kernel("smo", data, target, lower, upper, beta, room, result, *self.spec(kind),
                   epsilon, float(self.tol), float(limit), bool(self.shrinking))
        if result[3] > self.tol and result[2] >= limit:
            not_converged(self, "Scale the features, or raise max_iter")
        return Solution(beta, float(result[0]), int(result[2]))

    def sums(self, X: np.ndarray, coef: np.ndarray) -> np.ndarray:
        """Return sum_j coef[c, j] k(X[i], support vector j), (N, K), for coef (K, supports)."""
        if self.kernel == "linear":
            weight = product(coef, self.support_vectors_)
            return product(X, weight.T)
        if callable(self.kernel):
            return product(self.called(X, self.support_vectors_), coef.T)
        if self.kernel == "precomputed":
            return product(X[:, self.support_], coef.T)
        out = np.zeros((len(X), len(coef)))
        if coef.shape[1]:
            run_kernel("kernel_sums", X, self.support_vectors_, np.ascontiguousarray(coef), out,
                       *self.spec(KINDS[self.kernel]))
        return out

    def keep_support(self, X: np.ndarray, support: np.ndarray) -> None:
        """Set ``support_`` and ``support_vectors_`` (none for a precomputed kernel)."""
        self.support_ = support.astype(np.int32)
        given = self.kernel == "precomputed"
        self.support_vectors_ = np.empty((0, 0)) if given else np.ascontiguousarray(X[support])

    def require_linear(self) -> None:
        """Raise where there is no weight per feature."""
        self.require_fitted("coef_")
        if self.kernel != "linear":
            raise AttributeError(str(ParameterError(say(
                type(self).__name__, 'kernel="linear" for coef_', repr(self.kernel),
                "Read dual_coef_ and support_vectors_"))))
