"""Scikit-learn's estimator checks as a decorator, for every file that has an estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks


def checked(estimators: list[Any],
            exceptions: Callable[[Any], dict[str, str]] | None = None) -> Any:
    """Parametrise ``test(estimator, check)``; ``exceptions`` gives reasons by a check's name."""
    with warnings.catch_warnings():
        # the contract is kept without the base class: scikit-learn is an extra
        warnings.filterwarnings("ignore", ".* does not inherit from `sklearn.base.BaseEstimator`")
        return parametrize_with_checks(estimators, expected_failed_checks=exceptions)
