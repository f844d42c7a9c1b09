"""How much a score falls when a feature's values change places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .checks import seed_of

__all__ = ["Importances", "permutation_importance"]


class Importances(NamedTuple):
    """By feature: mean (D,), standard deviation (D,), and every fall (D, repeats)."""

    importances_mean: np.ndarray
    importances_std: np.ndarray
    importances: np.ndarray


def permutation_importance(estimator: Any, X: Any, y: Any, *,
                           scoring: Callable[[Any, Any, Any], float] | None = None,
                           n_repeats: int = 5, random_state: Any = None) -> Importances:
    """Measure importance_d = score(X, y) - score(X with column d permuted, y).

    Parameters
    ----------
    estimator : fitted estimator
    X, y : arrays (N, D), (N,)
        Best data that training did not see.
    scoring : callable, optional
        ``scoring(estimator, X, y)``; ``estimator.score`` by default.
    n_repeats : int
        Permutations per feature.
    random_state : int, NumPy generator or None

    Returns
    -------
    Importances

    References
    ----------
    Breiman, "Random forests" (2001), section 10.
    """
    score = scoring or (lambda model, a, b: model.score(a, b))
    rng = np.random.Generator(np.random.Philox(seed_of(random_state)))
    shuffled: Any = X.copy() if hasattr(X, "iloc") else np.array(X)
    column = shuffled.iloc if hasattr(X, "iloc") else shuffled
    base, found = score(estimator, X, y), np.empty((shuffled.shape[1], n_repeats))
    for d in range(shuffled.shape[1]):
        kept = np.array(column[:, d])
        for r in range(n_repeats):
            column[:, d] = rng.permutation(kept)
            found[d, r] = base - score(estimator, shuffled, y)
        column[:, d] = kept
    return Importances(found.mean(axis=1), found.std(axis=1), found)
