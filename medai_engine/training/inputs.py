"""What ``fit``, ``evaluate`` and ``predict`` take: checked before anything is changed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..data.loader import ArrayDataset, order
from ..data.split import split_by_group, split_stratified
from ..errors import DataError, DTypeError, ParameterError, ShapeError, say
from ..nn import Module
from ..tensor import Tensor

__all__ = ["Samples", "as_array", "check_finite", "floating", "samples_of", "split_samples",
           "weights_of"]


class Samples(NamedTuple):
    """Arrays of one length: inputs, targets, and weights or None."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Samples:
        """Return some of the samples."""
        weight = None if self.weight is None else self.weight[rows]
        return Samples(self.x[rows], self.y[rows], weight)

    def dataset(self) -> ArrayDataset:
        """Return them as a dataset."""
        return ArrayDataset(*(a for a in self if a is not None))


def floating(module: Module) -> np.dtype[Any]:
    """Return the dtype of the module's floating parameters (float32 if it has none)."""
    for parameter in module.parameters():
        if parameter.dtype.kind == "f":
            return parameter.dtype
    return np.dtype(np.float32)


def as_array(where: str, name: str, value: Any, dtype: Any = None) -> np.ndarray:
    """Return numbers as an array; floating ones (and Python's) in the dtype of the module."""
    if isinstance(value, Tensor):
        value = value.data
    listed = isinstance(value, (list, tuple))
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(say(where, f"{name} with rows of equal length", "a ragged list",
                             "Pad the rows, or pass one array")) from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(say(where, f"{name} of numbers", f"dtype {array.dtype}",
                             "Encode text as numbers first (data.Columns does for tables)"))
    if array.dtype.kind == "f" or (listed and name == "x" and array.dtype.kind in "iu"):
        array = array.astype(dtype or array.dtype, copy=False)
    return array


def check_finite(where: str, name: str, array: np.ndarray) -> None:
    """Refuse NaN and infinity, naming row and column."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    bad = np.argwhere(~np.isfinite(array))
    first = tuple(int(i) for i in bad[0])
    place = f"row {first[0]}"
    if len(first) > 1:
        place += f", column {first[1]}" if len(first) == 2 else f", position {first[1:]}"
    raise DataError(say(where, f"finite numbers in {name}",
                        f"{array[first]} at {place} ({len(bad)} such values)",
                        "Impute or remove them before training",
                        {name: array.shape}))


def weights_of(where: str, y: np.ndarray, sample_weight: Any, class_weight: Any
               ) -> np.ndarray | None:
    """Return one weight per sample, or None when all are 1."""
    weight = None
    if sample_weight is not None:
        weight = as_array(where, "sample_weight", sample_weight).astype(np.float64)
        if weight.shape != (len(y),):
            raise ShapeError(say(where, f"sample_weight of shape ({len(y)},)", weight.shape,
                                 "Give one weight per sample"))
        if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
            raise DataError(say(where, "weights that are finite, not negative, and not all 0",
                                f"{weight.min()} to {weight.max()}", "Correct sample_weight"))
    if class_weight is not None:
        by_class = class_weights(where, y, class_weight)
        weight = by_class if weight is None else weight * by_class
    return weight


def class_weights(where: str, y: np.ndarray, given: Any) -> np.ndarray:
    """Return the weight of each sample's class: from {class: weight}, or "balanced"."""
    labels = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if labels.ndim != 1 or (labels.dtype.kind == "f" and (labels != labels.round()).any()):
        raise ShapeError(say(where, "class numbers of shape (N,) for class_weight", y.shape,
                             "Use sample_weight instead", {"y": y.shape}))
    classes, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if isinstance(given, str) and given == "balanced":
        return (len(labels) / (len(classes) * counts))[which]
    if not isinstance(given, dict):
        raise ParameterError(say(where, "class_weight as {class: weight} or 'balanced'",
                                 repr(given), "Use class_weight={0: 1.0, 1: 5.0}"))
    absent = [int(c) for c in classes if c not in given]
    if absent:
        raise ParameterError(say(where, f"a weight for each class {classes.tolist()}",
                                 f"none for {absent}", "Add them to class_weight"))
    return np.array([float(given[c]) for c in classes])[which]


def samples_of(where: str, module: Module, x: Any, y: Any, sample_weight: Any = None,
               class_weight: Any = None) -> Samples:
    """Return checked arrays: finite, of one length, floats in the module's dtype."""
    dtype = floating(module)
    x, y = as_array(where, "x", x, dtype), as_array(where, "y", y, dtype)
    for name, array in (("x", x), ("y", y)):
        if array.ndim == 0 or not len(array):
            raise DataError(say(where, f"one sample or more in {name}", f"shape {array.shape}",
                                "Check the file or the filter that made it"))
    if len(x) != len(y):
        raise ShapeError(say(where, "one target per sample", f"{len(y)} for {len(x)}",
                             "Take the same rows of both", {"x": x.shape, "y": y.shape}))
    check_finite(where, "x", x)
    check_finite(where, "y", y)
    return Samples(x, y, weights_of(where, y, sample_weight, class_weight))


def split_samples(samples: Samples, fraction: float, groups: Any, seed: int
                  ) -> tuple[Samples, Samples]:
    """Split into (training, validation): whole groups, else classes in proportion, else rows."""
    n = len(samples.x)
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (n,):
            raise ShapeError(say("fit", f"groups of shape ({n},)", groups.shape,
                                 "Give the group (patient) of each sample"))
        train, held = split_by_group(groups, fraction, seed)
    elif samples.y.ndim == 1 and samples.y.dtype.kind in "iub":
        train, held = split_stratified(samples.y, fraction, seed)
    else:
        count = round(n * fraction)
        if not 0 < count < n:
            raise ParameterError(say("fit", f"validation_split that leaves samples of {n} on both "
                                     "sides", repr(fraction), "Use validation_split=0.2"))
        drawn = order(n, seed, 0)
        train, held = np.sort(drawn[count:]), np.sort(drawn[:count])
    return samples.take(train), samples.take(held)
