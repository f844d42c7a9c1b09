"""Minimisers of smooth convex functions of few parameters: Newton, and L-BFGS with an L1 term."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..optim.lbfgs import Point, strong_wolfe

__all__ = ["Minimum", "lbfgs", "newton"]

HISTORY = 10
FLAT = 64 * np.finfo(np.float64).eps  # relative change of the value below which nothing improves
Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Minimum(NamedTuple):
    """Where a solver has stopped."""

    x: np.ndarray
    iterations: int
    converged: bool


def newton(function: Function, hessian: Callable[[np.ndarray], np.ndarray], x: np.ndarray,
           tol: float, max_iter: int) -> Minimum:
    """Minimise by steps ``-H^-1 g``, halved until the value decreases as the slope promises.

    Converged where the largest absolute entry of the gradient is at most ``tol``. A direction
    without curvature (the common shift of all classes) has no gradient either, and is not moved.

    Source: Nocedal & Wright, Numerical optimization, 2006, section 3.3.
    """
    value, g = function(x)
    for iteration in range(max_iter):
        if np.abs(g).max() <= tol:
            return Minimum(x, iteration, True)
        H = hessian(x)
        H[np.diag_indices_from(H)] += 1e-10 * max(np.trace(H) / len(H), 1e-300)
        step = -np.linalg.solve(H, g)
        slope, size = float(g @ step), 1.0
        while True:
            new, new_g = function(x + size * step)
            if new <= value + 1e-4 * size * slope:
                break
            size /= 2
            if size * np.abs(step).max() <= FLAT * max(1.0, np.abs(x).max()):
                return Minimum(x, iteration, np.abs(slope) <= FLAT * max(1.0, abs(value)))
        x, value, g = x + size * step, new, new_g
    return Minimum(x, max_iter, bool(np.abs(g).max() <= tol))


def lbfgs(function: Function, x: np.ndarray, tol: float, max_iter: int,
          l1: np.ndarray | None = None) -> Minimum:
    """Minimise ``function(x) + sum l1 |x|`` by limited-memory BFGS.

    Without ``l1`` steps satisfy the strong Wolfe conditions. With it, steps stay in the orthant
    that the pseudo-gradient (the subgradient nearest to zero) points into, and stop at its border.
    Converged where the largest absolute entry of the pseudo-gradient is at most ``tol``.

    Sources: Nocedal & Wright, Numerical optimization, 2006, algorithm 7.5; Andrew & Gao, "Scalable
    training of L1-regularized log-linear models", ICML 2007.
    """
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=HISTORY)
    value, g = function(x)
    for iteration in range(max_iter):
        slope_at = g if l1 is None else pseudo_gradient(x, g, l1)
        if np.abs(slope_at).max() <= tol:
            return Minimum(x, iteration, True)
        d = direction(slope_at, pairs)
        if l1 is not None:
            d[d * slope_at >= 0] = 0  # into the orthant of steepest descent
        first = min(1.0, 1 / np.abs(slope_at).sum()) if not pairs else 1.0
        if l1 is None:
            new, new_value, new_g = along_wolfe(function, x, value, g, d, first)
        else:
            new, new_value, new_g = along_orthant(function, x, value, g, slope_at, d, first, l1)
        s, y = new - x, new_g - g
        curvature = float(s @ y)
        if curvature > FLAT * float(y @ y):  # H stays positive definite
            pairs.append((s, y, curvature))
        if not s.any():  # as low as numbers of this size can tell
            return Minimum(x, iteration, False)
        x, value, g = new, new_value, new_g
    return Minimum(x, max_iter, False)


def direction(g: np.ndarray, pairs: deque[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    """Return -H g by the two-loop recursion over (step, change of gradient, their product)."""
    q = -g
    weights = []
    for s, y, curvature in reversed(pairs):
        weights.append(float(s @ q) / curvature)
        q -= weights[-1] * y
    if pairs:
        _, y, curvature = pairs[-1]
        q *= curvature / float(y @ y)
    for s, y, curvature in pairs:
        q += (weights.pop() - float(y @ q) / curvature) * s
    return q


def pseudo_gradient(x: np.ndarray, g: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """Return the entry nearest to zero of the subdifferential of function + sum l1 |x|."""
    at_zero = np.sign(g) * np.maximum(np.abs(g) - l1, 0)
    return np.where(x == 0, at_zero, g + l1 * np.sign(x))


def along_wolfe(function: Function, x: np.ndarray, value: float, g: np.ndarray, d: np.ndarray,
                first: float) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the point, value and gradient of a step along d."""
    def at(t: float) -> Point:
        value, g = function(x + t * d)
        return Point(t, value, float(g @ d), g)  # type: ignore[arg-type]

    best = strong_wolfe(at, Point(0.0, value, float(g @ d), g),  # type: ignore[arg-type]
                        first, float(np.abs(d).max()), 25, 1e-15)
    if not best.loss < value:  # too near for values to tell: what does the gradient say?
        best = at(first)
        if best.loss > value + FLAT * abs(value) or np.abs(best.g).max() > np.abs(g).max() / 2:
            return x, value, g
    return x + best.t * d, best.loss, best.g  # type: ignore[return-value]


def along_orthant(function: Function, x: np.ndarray, value: float, g: np.ndarray,
                  slope_at: np.ndarray, d: np.ndarray, size: float, l1: np.ndarray
                  ) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the point, smooth value and gradient of a halved step that stays in the orthant."""
    orthant = np.where(x == 0, -np.sign(slope_at), np.sign(x))
    total = value + float(l1 @ np.abs(x))
    for _ in range(60):
        new = x + size * d
        new[new * orthant < 0] = 0
        new_value, new_g = function(new)
        new_total = new_value + float(l1 @ np.abs(new))
        decrease = -float(slope_at @ (new - x))
        if new_total <= total - 1e-4 * decrease:
            return new, new_value, new_g
        if decrease <= FLAT * abs(total) and new_total <= total + FLAT * abs(total) and 2 * np.abs(
                pseudo_gradient(new, new_g, l1)).max() <= np.abs(slope_at).max():
            return new, new_value, new_g  # too near for values to tell, but not for gradients
        size /= 2
    return x, value, g
