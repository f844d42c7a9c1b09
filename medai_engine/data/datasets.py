"""Data for first runs and tests: real ones that ship with a package, and generated ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import extra
from .synthetic import histories, phases, slices
from .tables import Table

__all__ = ["breast_cancer", "diabetes", "digits", "histories", "phases", "slices", "wine"]


def breast_cancer() -> Table:
    """Return the Wisconsin diagnostic breast-cancer measurements: 569 patients, 30 columns.

    Measurements of cell nuclei in fine-needle aspirates, by scikit-learn's copy; the last column,
    ``diagnosis``, is ``malignant`` (212 patients) or ``benign`` (357).

    Raises
    ------
    MissingExtraError
        When scikit-learn is not installed (extra ``data``).

    References
    ----------
    Street, Wolberg, Mangasarian 1993, Nuclear feature extraction for breast tumor diagnosis.
    """
    bunch = _bundled("load_breast_cancer")
    return _table(bunch, "diagnosis", bunch.target_names[bunch.target],
                  "breast_cancer (569 patients, scikit-learn's copy)")


def diabetes() -> Table:
    """Return 442 diabetes patients: age, sex, body mass index, blood pressure, six blood values.

    In their own units (scikit-learn's unscaled copy); the last column, ``progression``, is a
    measure of the disease a year later, 25 to 346.

    Raises
    ------
    MissingExtraError
        When scikit-learn is not installed (extra ``data``).

    References
    ----------
    Efron, Hastie, Johnstone & Tibshirani 2004, Least angle regression.
    """
    bunch = _bundled("load_diabetes", scaled=False)
    return _table(bunch, "progression", bunch.target,
                  "diabetes (442 patients, scikit-learn's copy)")


def wine() -> Table:
    """Return chemical analyses of 178 wines: 13 columns, and ``cultivar``, one of three.

    Raises
    ------
    MissingExtraError
        When scikit-learn is not installed (extra ``data``).
    """
    bunch = _bundled("load_wine")
    return _table(bunch, "cultivar", bunch.target_names[bunch.target],
                  "wine (178 wines, scikit-learn's copy)")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1,797 handwritten digits: images (N, 8, 8, 1), float32 0 to 1, and labels (N,).

    Raises
    ------
    MissingExtraError
        When scikit-learn is not installed (extra ``data``).

    References
    ----------
    Alpaydin & Kaynak 1998, Optical recognition of handwritten digits, UCI.
    """
    bunch = _bundled("load_digits")
    return bunch.images[..., None].astype(np.float32) / 16, bunch.target.astype(np.int64)


def _table(bunch: Any, target: str, outcome: np.ndarray, source: str) -> Table:
    columns = {str(name): np.ascontiguousarray(column) for name, column
               in zip(bunch.feature_names, bunch.data.T, strict=True)}
    columns[target] = outcome.astype(float if outcome.dtype.kind == "f" else object)
    return Table(columns, source)


def _bundled(loader: str, **options: Any) -> Any:
    return getattr(extra("sklearn.datasets", "data", "data.datasets"), loader)(**options)
