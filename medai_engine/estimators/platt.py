"""Probabilities from decision values: Platt's sigmoid, and coupling of pairs of classes.

References
----------
Lin, Lin & Weng, "A note on Platt's probabilistic outputs for support vector machines", Machine
Learning 68, 2007. Wu, Lin & Weng, "Probability estimates for multi-class classification by
pairwise coupling", JMLR 5, 2004, second approach.
"""

from __future__ import annotations

import numpy as np

__all__ = ["coupled", "sigmoid_fit", "stratified_folds"]

EXTREME = 1e-7  # pairwise probabilities stay this far from 0 and 1, as LIBSVM


def stratified_folds(y: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return a fold's number per sample, each class spread evenly over the folds."""
    rng = np.random.default_rng(seed)
    found = np.empty(len(y), np.int64)
    for value in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == value))
        found[rows] = np.arange(len(rows)) % folds
    return found


def sigmoid_fit(decision: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Return A, B of ``P(target > 0) = 1 / (1 + exp(A f + B))`` of greatest likelihood.

    Targets are (n + 1) / (n + 2) for the n positive samples and 1 / (n + 2) for the others. Newton
    steps with backtracking; both forms of the logarithm avoid overflow.
    """
    positive = target > 0
    above, below = positive.sum(), (~positive).sum()
    t = np.where(positive, (above + 1) / (above + 2), 1 / (below + 2))
    features = np.stack([decision, np.ones_like(decision)])
    point = np.array([0.0, np.log((below + 1) / (above + 1))])

    def loss(point: np.ndarray) -> float:
        z = point @ features
        return float(((t - (z < 0)) * z + np.log1p(np.exp(-np.abs(z)))).sum())

    value = loss(point)
    for _ in range(100):
        z = point @ features
        e = np.exp(-np.abs(z))
        p = np.where(z >= 0, e, 1) / (1 + e)
        g = features @ (t - p)
        if np.abs(g).max() < 1e-5:
            break
        hessian = (features * (p * (1 - p))) @ features.T + 1e-12 * np.eye(2)
        step = -np.linalg.solve(hessian, g)
        size = 1.0
        while size >= 1e-10:
            new = loss(point + size * step)
            if new < value + 1e-4 * size * (g @ step):
                point, value = point + size * step, new
                break
            size /= 2
        else:
            break
    return float(point[0]), float(point[1])


def coupled(pairwise: np.ndarray, K: int) -> np.ndarray:
    """Return p (N, K) that fits r_ij = p_i / (p_i + p_j), given (N, pairs) for i < j.

    ``min sum_i sum_(j != i) (r_ji p_i - r_ij p_j)^2, sum p = 1``: a linear system per sample.
    """
    i, j = np.triu_indices(K, 1)
    r = np.zeros((len(pairwise), K, K))
    r[:, i, j] = np.clip(pairwise, EXTREME, 1 - EXTREME)
    r[:, j, i] = 1 - r[:, i, j]
    if K == 2:
        return np.stack([r[:, 0, 1], r[:, 1, 0]], axis=1)
    system = np.zeros((len(r), K + 1, K + 1))
    system[:, :K, :K] = -r.transpose(0, 2, 1) * r
    diagonal = np.arange(K)
    system[:, diagonal, diagonal] = (r ** 2).sum(axis=1)  # sum over j of r_ji^2
    system[:, :K, K] = system[:, K, :K] = 1
    right = np.zeros((len(r), K + 1, 1))
    right[:, K] = 1
    p = np.maximum(np.linalg.solve(system, right)[:, :K, 0], 0)
    return p / p.sum(axis=1, keepdims=True)
