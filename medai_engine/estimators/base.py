"""Scikit-learn's estimator contract, without needing scikit-learn.

An estimator's constructor stores its parameters and nothing else; ``fit`` learns attributes that
end with an underscore and returns the estimator. Cloning, grid searches and pipelines need no
common base class, only ``get_params``, ``set_params`` and ``__sklearn_tags__``, so this room
inherits nothing: scikit-learn is imported when scikit-learn itself asks for its tags.

Source: scikit-learn, "Developing scikit-learn estimators".
"""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np

from ..errors import NotFittedError, ParameterError, say
from .checks import as_labels, as_matrix, as_target, as_weight, kin

__all__ = ["Classifier", "Estimator", "Regressor"]


class Estimator:
    """What every estimator has: parameters by name, a state that can be saved, tags.

    ``allow_nan`` says whether missing values (NaN) in X are understood.
    """

    allow_nan = False
    kind: str | None = None

    @classmethod
    def parameter_names(cls) -> list[str]:
        """Return the names of the constructor's parameters, sorted."""
        if cls.__init__ is object.__init__:
            return []
        return sorted(name for name in inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; with ``deep`` also those of estimators among them."""
        found: dict[str, Any] = {}
        for name in self.parameter_names():
            value = found[name] = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                inner = value.get_params()
                found |= {f"{name}__{key}": inner[key] for key in inner}
        return found

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, ``<name>__<inner>`` for those of an estimator among them.

        Raises
        ------
        ParameterError
            For a name that the constructor does not have.
        """
        names = self.parameter_names()
        inner: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, nested, rest = key.partition("__")
            if name not in names:
                raise ParameterError(say(f"{type(self).__name__}.set_params",
                                         f"a name of {', '.join(names)}", repr(name),
                                         "Correct the name"))
            if nested:
                inner.setdefault(name, {})[rest] = value
            else:
                setattr(self, name, value)
        for name, chosen in inner.items():
            getattr(self, name).set_params(**chosen)
        return self

    def __repr__(self) -> str:
        defaults = {p.name: p.default for p in inspect.signature(type(self)).parameters.values()}
        changed = [f"{name}={value!r}" for name, value in self.get_params(deep=False).items()
                   if repr(value) != repr(defaults[name])]
        return f"{type(self).__name__}({', '.join(changed)})"

    # fitted or not

    def __sklearn_is_fitted__(self) -> bool:
        return "n_features_in_" in vars(self)

    def require_fitted(self, method: str) -> None:
        """Raise ``NotFittedError`` unless ``fit`` has run."""
        if not self.__sklearn_is_fitted__():
            name = type(self).__name__
            raise kin(NotFittedError)(say(f"{name}.{method}", "a fitted estimator",
                                          "one that is not fitted yet",
                                          f"Call fit before {method}"))

    def table(self, X: Any, method: str, dtype: Any = np.float64) -> np.ndarray:
        """Return what a fitted estimator is to predict: X (N, D), checked against ``fit``."""
        self.require_fitted(method)
        return as_matrix(self, X, dtype, allow_nan=self.allow_nan)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type=self.kind,
            target_tags=TargetTags(required=self.kind is not None),
            classifier_tags=ClassifierTags() if self.kind == "classifier" else None,
            regressor_tags=RegressorTags() if self.kind == "regressor" else None,
            input_tags=InputTags(allow_nan=self.allow_nan))

    def save(self, path: Any) -> None:
        """Write parameters and fitted state as ``<path>.safetensors`` and ``<path>.json``.

        ``me.load(path)`` reads them. No pickle: loading runs no code of the file.

        Raises
        ------
        ParameterError
            For a parameter that is no plain value, such as a function or a ``RandomState``.
        """
        from .storage import save

        save(self, path)


class Classifier(Estimator):
    """An estimator of classes: ``classes_`` (K,) sorted, ``score`` is the accuracy."""

    kind = "classifier"
    classes_: np.ndarray

    def training_data(self, X: Any, y: Any, sample_weight: Any = None, dtype: Any = np.float64
                      ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Check what ``fit`` was given; return X (N, D), codes (N,) int64, weight (N,) or None.

        Sets ``n_features_in_``, ``feature_names_in_`` (where X has column names) and ``classes_``.
        A code is the index of a label in ``classes_``.
        """
        X = as_matrix(self, X, dtype, fitting=True, allow_nan=self.allow_nan)
        self.classes_, codes = as_labels(self, y, len(X))
        return X, codes, as_weight(self, sample_weight, len(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return a label per row of X (N, D)."""
        raise NotImplementedError

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows whose label is predicted, weighted."""
        right = self.predict(X) == np.asarray(y).reshape(-1)
        return float(np.average(right, weights=sample_weight))


class Regressor(Estimator):
    """An estimator of a number: ``score`` is R², the share of the variance that is explained."""

    kind = "regressor"

    def training_data(self, X: Any, y: Any, sample_weight: Any = None, dtype: Any = np.float64
                      ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Check what ``fit`` was given; return X (N, D), y (N,) float64, weight (N,) or None.

        Sets ``n_features_in_`` and, where X has column names, ``feature_names_in_``.
        """
        X = as_matrix(self, X, dtype, fitting=True, allow_nan=self.allow_nan)
        return X, as_target(self, y, len(X)), as_weight(self, sample_weight, len(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return a number per row of X (N, D)."""
        raise NotImplementedError

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return 1 - sum w (y - f(x))² / sum w (y - mean y)²."""
        y = np.asarray(y, np.float64).reshape(-1)
        left = np.average((y - self.predict(X)) ** 2, weights=sample_weight)
        total = np.average((y - np.average(y, weights=sample_weight)) ** 2, weights=sample_weight)
        if total == 0:  # as scikit-learn: nothing to explain
            return 1.0 if left == 0 else 0.0
        return float(1 - left / total)
