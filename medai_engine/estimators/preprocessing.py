"""What tables need before an estimator: one scale, no holes, numbers for names.

As scikit-learn's of the same names with their most used options, without needing it.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..errors import DataError, ShapeError, say
from .base import Estimator
from .checks import as_matrix, as_weight, compare_names, feature_names
from .options import choice

__all__ = ["OneHotEncoder", "SimpleImputer", "StandardScaler"]


class Transformer(Estimator):
    """Something that changes a table: ``fit``, then ``transform``."""

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import TransformerTags

        tags = super().__sklearn_tags__()
        tags.transformer_tags = TransformerTags()
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from X (N, D)."""
        raise NotImplementedError

    def transform(self, X: Any) -> np.ndarray:
        """Return the changed table."""
        raise NotImplementedError

    def fit_transform(self, X: Any, y: Any = None, **options: Any) -> np.ndarray:
        """Fit, then transform the same table."""
        return self.fit(X, y, **options).transform(X)

    def names_in(self, given: Any = None) -> list[str]:
        """Return the input columns' names: those given, of the data frame, or x0, x1, ..."""
        self.require_fitted("get_feature_names_out")
        known = getattr(self, "feature_names_in_", None)
        count = self.n_features_in_  # type: ignore[attr-defined]
        names = known if given is None else given
        if names is None:
            return [f"x{i}" for i in range(count)]
        if len(names) != count or (known is not None and list(names) != list(known)):
            raise ShapeError(f"input_features is not equal to feature_names_in_, or should have "
                             f"length equal to number of features ({count}), got {len(names)}")
        return [str(name) for name in names]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that ``transform`` gives."""
        return np.array(self.names_in(input_features), object)


class StandardScaler(Transformer):
    """``(x - mean) / deviation`` of each column; missing values count nowhere and stay.

    Parameters
    ----------
    with_mean, with_std : bool
        Whether to subtract, and to divide.

    Attributes
    ----------
    mean_, var_, scale_ : array or None
        (D,); the scale of a constant column is 1.
    """

    allow_nan = True

    def __init__(self, *, with_mean: bool = True, with_std: bool = True):
        self.with_mean = with_mean
        self.with_std = with_std

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn mean and deviation of each column of X (N, D), weighted."""
        X = as_matrix(self, X, fitting=True, allow_nan=True)
        weight = as_weight(self, sample_weight, len(X))
        share = np.where(np.isnan(X), 0.0, 1.0 if weight is None else weight[:, None])
        total = np.maximum(share.sum(axis=0), 1e-300)
        self.mean_ = np.nansum(share * X, axis=0) / total
        self.var_ = np.nansum(share * (X - self.mean_) ** 2, axis=0) / total
        # rounding alone makes up to this of a column of equal numbers
        noise = len(X) * np.finfo(X.dtype).eps * (self.var_ + np.abs(self.mean_)
                                                  * np.sqrt(self.var_)) + (
            len(X) * self.mean_ * np.finfo(X.dtype).eps) ** 2
        self.scale_ = np.where(self.var_ > noise, np.sqrt(self.var_), 1.0)
        self.n_samples_seen_ = len(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the standardised columns."""
        X = self.table(X, "transform")
        return (X - self.mean_ * bool(self.with_mean)) / (self.scale_ if self.with_std else 1.0)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return columns in their own units."""
        X = self.table(X, "inverse_transform")
        return X * (self.scale_ if self.with_std else 1.0) + self.mean_ * bool(self.with_mean)


class SimpleImputer(Transformer):
    """Replace missing values (NaN) by a statistic of their column.

    Parameters
    ----------
    strategy : str
        "mean", "median", "most_frequent" (the least of equals) or "constant".
    fill_value : float, optional
        Of "constant", 0 by default.

    Attributes
    ----------
    statistics_ : array
        (D,); NaN for a column without values, which ``transform`` leaves out.
    """

    allow_nan = True

    def __init__(self, *, strategy: str = "mean", fill_value: float | None = None):
        self.strategy = strategy
        self.fill_value = fill_value

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the statistics of X (N, D)."""
        choice(self, "strategy", ["mean", "median", "most_frequent", "constant"])
        X = as_matrix(self, X, fitting=True, allow_nan=True)
        self.statistics_ = np.full(X.shape[1], np.nan)
        for i, column in enumerate(X.T):
            known = column[~np.isnan(column)]
            if self.strategy == "constant":
                self.statistics_[i] = self.fill_value or 0.0
            elif not len(known):
                continue
            elif self.strategy == "most_frequent":
                values, counts = np.unique(known, return_counts=True)
                self.statistics_[i] = values[counts.argmax()]
            else:
                self.statistics_[i] = (np.mean if self.strategy == "mean" else np.median)(known)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the table without holes."""
        X = self.table(X, "transform")
        kept = ~np.isnan(self.statistics_)
        X = X[:, kept]
        return np.where(np.isnan(X), self.statistics_[kept], X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that are kept."""
        return super().get_feature_names_out(input_features)[~np.isnan(self.statistics_)]


class OneHotEncoder(Transformer):
    """A column of 0 and 1 per category of each column.

    Parameters
    ----------
    handle_unknown : str
        "error", or "ignore": a category that ``fit`` has not seen is 0 everywhere.

    Attributes
    ----------
    categories_ : list of array
        The sorted categories of each column.
    """

    categories_: list[np.ndarray]

    def __init__(self, *, handle_unknown: str = "error"):
        self.handle_unknown = handle_unknown

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def columns(self, X: Any, fitting: bool) -> list[np.ndarray]:
        """Return the columns of a table of any kind, checked."""
        name = type(self).__name__
        if hasattr(X, "tocsr") or np.asarray(X).dtype.kind in "fciub":
            return list(as_matrix(self, X, fitting=fitting).T)
        names, array = feature_names(X), np.asarray(X)
        if array.ndim != 2 or 0 in array.shape:
            raise ShapeError(say(name, "a table X (samples, features) with a minimum of 1 of each "
                                 "is required", f"shape {array.shape}: {array.ndim} dimensions, "
                                 "Found array with 0 sample(s) or feature(s), or 1D",
                                 "Reshape your data with X.reshape(-1, 1)"))
        if fitting:
            self.n_features_in_ = array.shape[1]
            vars(self).pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = names
        else:
            if array.shape[1] != self.n_features_in_:
                raise ShapeError(f"X has {array.shape[1]} features, but {name} is expecting "
                                 f"{self.n_features_in_} features as input.")
            compare_names(self, names)
        return list(array.T)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the categories of X (N, D), numbers or names."""
        choice(self, "handle_unknown", ["error", "ignore"])
        try:
            self.categories_ = [np.unique(column) for column in self.columns(X, True)]
        except TypeError as error:
            raise DataError(say(type(self).__name__, "categories of one kind in a column",
                                f"a mixture (argument must be a string or a number: {error})",
                                "Turn them into strings")) from error
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return (N, categories of all columns) float64."""
        self.require_fitted("transform")
        blocks = []
        for i, (column, known) in enumerate(zip(self.columns(X, False), self.categories_,
                                                strict=True)):
            equal = np.asarray(column[:, None] == known, bool)
            strange = ~equal.any(axis=1)
            if self.handle_unknown == "error" and strange.any():
                raise DataError(say(type(self).__name__, f"the categories of column {i} in fit",
                                    f"unknown {column[strange.argmax()]!r} in row "
                                    f"{int(strange.argmax())}", 'Use handle_unknown="ignore"'))
            blocks.append(equal)
        return np.concatenate(blocks, axis=1).astype(np.float64)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return ``<column>_<category>`` of each column of the result."""
        names = self.names_in(input_features)
        return np.array([f"{name}_{value}" for name, known in zip(names, self.categories_,
                                                                  strict=True)
                         for value in known.tolist()], object)
