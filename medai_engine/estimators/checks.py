"""What ``fit`` and ``predict`` are given: checked, and made arrays.

Errors are the package's own types; where scikit-learn is in use they are its types as well, so
that code written for it catches them.
"""

from __future__ import annotations

import sys
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, DTypeError, ParameterError, ShapeError, say
from ..generator import DEFAULT

if TYPE_CHECKING:
    from .base import Estimator

__all__ = ["DataConversionWarning", "as_labels", "as_matrix", "as_target", "as_weight",
           "balanced", "kin", "seed_of"]

BLOCK = 1 << 20  # entries that one look for NaN takes: its mask stays in the cache


class DataConversionWarning(UserWarning):
    """The data were usable, but not as they came."""


def kin(own: type[Any]) -> type[Any]:
    """Return an error or warning type that is also scikit-learn's of the same name, if loaded."""
    theirs = getattr(sys.modules.get("sklearn.exceptions"), own.__name__, None)
    return own if theirs is None else _joined((own, theirs))


@cache
def _joined(kinds: tuple[type[Any], ...]) -> type[Any]:
    own = kinds[0]
    return type(own.__name__, kinds, {"__module__": own.__module__, "__doc__": own.__doc__})


def as_matrix(estimator: Estimator, X: Any, dtype: Any = np.float64, *, fitting: bool = False,
              allow_nan: bool = False) -> np.ndarray:
    """Return X (N, D) as a C-contiguous array of a float dtype; no copy where it is one.

    With ``fitting``, ``n_features_in_`` and ``feature_names_in_`` are learned, else compared.

    Raises
    ------
    ShapeError
        When X is not two-dimensional, is empty, or has other features than in ``fit``.
    DTypeError
        For sparse matrices and for entries that are no numbers.
    DataError
        For complex or infinite numbers, and NaN unless ``allow_nan``.
    """
    name = type(estimator).__name__
    if hasattr(X, "tocsr"):
        raise DTypeError(say(name, "a dense array X", f"a sparse {type(X).__name__}",
                             "Pass X.toarray()"))
    columns = feature_names(X)
    array = np.asarray(X)
    if array.dtype.kind == "c":
        raise DataError(say(name, "real numbers in X", f"{array.dtype}. Complex data not supported",
                            "Pass X.real, or modulus and phase as two columns"))
    if array.ndim != 2:
        raise ShapeError(say(name, "a table X (samples, features)", f"{array.ndim} dimensions",
                             "Reshape your data: X.reshape(-1, 1) if it is one feature, "
                             "X.reshape(1, -1) if it is one sample", {"X": array.shape}))
    for axis, what in enumerate(("sample", "feature")):
        if array.shape[axis] == 0:
            raise ShapeError(f"{name}: Found array with 0 {what}(s) (shape={array.shape}) while a "
                             f"minimum of 1 is required. Pass at least one {what}.")
    if not fitting and array.shape[1] != estimator.n_features_in_:  # type: ignore[attr-defined]
        raise ShapeError(f"X has {array.shape[1]} features, but {name} is expecting "
                         f"{estimator.n_features_in_} features as input. "  # type: ignore[attr-defined]
                         "Pass the columns that fit was given.")
    try:
        with np.errstate(over="ignore"):  # what is infinite as float32 is found below
            array = np.ascontiguousarray(array, dtype)
    except (TypeError, ValueError) as error:
        kind = DTypeError if isinstance(error, TypeError) else DataError
        raise kind(say(name, "numbers in X", f"an entry that is none ({error})",
                       "Turn text into numbers, one 0/1 column per category")) from error
    check_finite(name, array, allow_nan)
    if fitting:
        estimator.n_features_in_ = array.shape[1]  # type: ignore[attr-defined]
        vars(estimator).pop("feature_names_in_", None)
        if columns is not None:
            estimator.feature_names_in_ = columns  # type: ignore[attr-defined]
    else:
        compare_names(estimator, columns)
    return array


def check_finite(name: str, array: np.ndarray, allow_nan: bool, what: str = "X") -> None:
    """Raise for infinite entries, and for NaN unless allowed; name the first one's place."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return
    rows = max(1, BLOCK // max(1, array[0].size))
    for start in range(0, len(array), rows):
        block = array[start:start + rows]
        wrong = np.isinf(block) if allow_nan else ~np.isfinite(block)
        if wrong.any():
            place = np.unravel_index(int(wrong.argmax()), wrong.shape)
            value = "NaN" if np.isnan(block[place]) else f"inf (or too large for {array.dtype})"
            where = f"row {start + int(place[0])}"
            where += f", column {int(place[1])}" if len(place) > 1 else ""
            raise DataError(say(name, f"finite numbers in {what}", f"{value} at {where}",
                                "Remove or impute these rows"))


def feature_names(X: Any) -> np.ndarray | None:
    """Return the column names of a data frame as objects, if all are strings."""
    columns = getattr(X, "columns", None)
    if columns is None or not all(isinstance(name, str) for name in columns):
        return None
    return np.array(list(columns), object)


def compare_names(estimator: Estimator, columns: np.ndarray | None) -> None:
    """Refuse other column names than in ``fit``; warn where only one of the two had names."""
    learned = getattr(estimator, "feature_names_in_", None)
    name = type(estimator).__name__
    if (learned is None) != (columns is None):
        has, lacks = ("X has", "was fitted without") if learned is None else (
            "X does not have valid", "was fitted with")
        warnings.warn(f"{has} feature names, but {name} {lacks} feature names", stacklevel=4)
    elif learned is not None and list(learned) != list(columns):  # type: ignore[arg-type]
        new = sorted(set(columns) - set(learned))  # type: ignore[arg-type]
        gone = sorted(set(learned) - set(columns))  # type: ignore[arg-type]
        lines = ["The feature names should match those that were passed during fit."]
        lines += ["Feature names unseen at fit time:", *[f"- {n}" for n in new]] if new else []
        lines += ["Feature names seen at fit time, yet now missing:",
                  *[f"- {n}" for n in gone]] if gone else []
        if not new and not gone:
            lines.append("Feature names must be in the same order as they were in fit.")
        raise ShapeError("\n".join(lines) + "\n")


def flat(estimator: Estimator, y: Any, n: int) -> np.ndarray:
    """Return y (n,); a single column is taken with a warning."""
    name = type(estimator).__name__
    if y is None:
        raise DataError(f"{name} requires y to be passed, but the target y is None.")
    if hasattr(y, "tocsr"):
        raise DTypeError(say(name, "a dense y", f"a sparse {type(y).__name__}", "Pass an array"))
    y = np.asarray(y)
    if y.dtype.kind == "c":
        raise DataError(say(name, "real numbers in y", f"{y.dtype}. Complex data not supported",
                            "Pass y.real"))
    if y.ndim == 2 and y.shape[1] == 1:
        warnings.warn(kin(DataConversionWarning)(
            "A column-vector y was passed when a 1d array was expected. Please change the shape "
            "of y to (n_samples,), for example using ravel()."), stacklevel=5)
        y = y.reshape(-1)
    if y.ndim != 1:
        raise ShapeError(say(name, "one target per sample: y should be a 1d array",
                             f"{y.ndim} dimensions", "Fit one estimator per column of y",
                             {"y": y.shape}))
    if len(y) != n:
        raise ShapeError(say(name, f"{n} targets, one per row of X",
                             f"inconsistent numbers of samples: {len(y)}",
                             "Pass X and y of the same samples", {"y": y.shape}))
    return y


def as_target(estimator: Estimator, y: Any, n: int) -> np.ndarray:
    """Return the targets of a regression as (n,) float64."""
    name = type(estimator).__name__
    y = flat(estimator, y, n)
    try:
        y = np.ascontiguousarray(y, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(say(name, "numbers in y. Unknown label type: text", f"({error})",
                            "Use a classifier for names")) from error
    check_finite(name, y, False, "y")
    return y


def as_labels(estimator: Estimator, y: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted labels (K,), and each sample's as an index into them, (n,) int64."""
    name = type(estimator).__name__
    y = flat(estimator, y, n)
    if y.dtype.kind == "f":
        check_finite(name, y, False, "y")
        if (y != np.floor(y)).any():
            raise DataError(say(name, "classes in y", "fractions. Unknown label type: continuous",
                                "Use a regressor, or cut y into classes"))
    try:
        classes, codes = np.unique(y, return_inverse=True)
    except TypeError as error:
        raise DataError(say(name, "labels of one kind in y", f"a mixture ({error}). Unknown label "
                            "type: unknown", "Make all of them strings")) from error
    return classes, codes.reshape(-1).astype(np.int64, copy=False)


def as_weight(estimator: Estimator, weight: Any, n: int) -> np.ndarray | None:
    """Return sample weights as (n,) float64, or None where there are none.

    Raises
    ------
    ShapeError
        Unless there is one weight per sample.
    DataError
        For NaN, infinite or negative weights, or when all are zero.
    """
    if weight is None:
        return None
    name = type(estimator).__name__
    weight = np.asarray(weight, np.float64)
    if weight.ndim == 0:
        weight = np.full(n, weight)
    if weight.shape != (n,):
        raise ShapeError(say(name, f"sample_weight of shape ({n},)", str(weight.shape),
                             "Pass one weight per sample"))
    weight = np.ascontiguousarray(weight)
    check_finite(name, weight, False, "sample_weight")
    if (weight < 0).any():
        raise DataError(say(name, "sample_weight of at least 0", f"{weight.min()}",
                            "Remove the samples with negative weights"))
    if not weight.any():
        raise DataError(say(name, "a positive entry in sample_weight",
                            "zero for every sample: all weights are zero", "Pass other weights"))
    return weight


def balanced(estimator: Estimator, class_weight: Any, classes: np.ndarray, codes: np.ndarray,
             weight: np.ndarray | None = None) -> np.ndarray:
    """Return the weight of each class, (K,) float64.

    "balanced" is N / (K n_k), with n_k the (weighted) number of samples of class k; a dict gives
    some classes theirs, the rest 1; None is 1 for all.
    """
    name = type(estimator).__name__
    if class_weight is None:
        return np.ones(len(classes))
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(codes, weight, len(classes))
        with np.errstate(divide="ignore"):
            found = counts.sum() / (len(classes) * counts)
        return np.where(counts > 0, found, 0.0)
    if not isinstance(class_weight, dict):
        raise ParameterError(say(name, 'class_weight None, "balanced" or a dict',
                                 repr(class_weight), 'Use class_weight="balanced"'))
    known = classes.tolist()
    if strange := [label for label in class_weight if label not in known]:
        raise ParameterError(say(name, f"class_weight for classes of {known}",
                                 f"one for {strange}", "Correct the labels"))
    return np.array([float(class_weight.get(label, 1.0)) for label in known])


def seed_of(random_state: Any) -> int:
    """Return a 64-bit seed from an int, a NumPy generator, or None (the engine's generator).

    A NumPy generator moves on, as it does for scikit-learn: two fits differ.
    """
    if random_state is None:
        return (DEFAULT.seed + 0x9E3779B97F4A7C15 * (DEFAULT.advance(1) + 1)) % 2**64
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**63 - 1, dtype=np.int64))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 2**63))
    if isinstance(random_state, bool) or not hasattr(random_state, "__index__"):
        raise ParameterError(say("random_state", "an integer, a NumPy generator or None",
                                 repr(random_state), "Use random_state=0"))
    return int(random_state) % 2**64
