"""Real data that ship with a package, for first runs and tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import extra
from .tables import Table

__all__ = ["breast_cancer"]


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
    columns: dict[str, Any] = {str(name): column for name, column
                               in zip(bunch.feature_names, bunch.data.T, strict=True)}
    columns["diagnosis"] = bunch.target_names[bunch.target].astype(object)
    return Table({name: np.ascontiguousarray(column) for name, column in columns.items()},
                 "breast_cancer (569 patients, scikit-learn's copy)")


def _bundled(loader: str) -> Any:
    return getattr(extra("sklearn.datasets", "data", "data.datasets"), loader)()
