"""What ``fit`` takes, into batches: arrays, lists and dicts of them, generators, Sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ..data.loader import order
from ..errors import DataError, ParameterError, ShapeError, say
from ..tensor import Tensor
from ..training.inputs import check_finite

__all__ = ["Arrays", "Batches", "PyDataset", "arrays_of", "weights_of"]

Arrays = list[np.ndarray]


class PyDataset:
    """Batches by number: derive from it, define ``__len__`` and ``__getitem__(i)``: (x, y)."""

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False,
                 max_queue_size: int = 10):
        self.workers = workers  # taken for Keras's sake: batches are made one after the other

    def on_epoch_end(self) -> None:
        """After an epoch."""

    def __len__(self) -> int:
        """Return how many batches there are."""
        raise ParameterError(say(type(self).__name__, "a method __len__(self)", "none",
                                 "Return the number of batches from it"))

    def __getitem__(self, index: int) -> Any:
        """Return batch ``index``, (x, y) or (x, y, weight)."""
        raise ParameterError(say(type(self).__name__, "a method __getitem__(self, index)", "none",
                                 "Return a batch (x, y) from it"))


def arrays_of(where: str, name: str, value: Any, names: Sequence[str] = ()) -> Arrays:
    """Return inputs or targets as arrays, floats in float32, all of one length.

    ``names`` are those of the model's inputs or outputs, for a dict.
    """
    if isinstance(value, dict):
        missing = [key for key in names if key not in value]
        if missing or not names:
            raise DataError(say(where, f"{name} with the keys {', '.join(names) or '(none)'}",
                                ", ".join(map(str, value)), "Use the names of the layers"))
        value = [value[key] for key in names]
    parts = value if isinstance(value, (list, tuple)) and len(value) and not np.isscalar(
        value[0]) and hasattr(value[0], "shape") else [value]
    found = []
    for part in parts:
        array = part.data if isinstance(part, Tensor) else np.asarray(part)
        if array.dtype.kind not in "biuf":
            raise DataError(say(where, f"{name} of numbers", f"dtype {array.dtype}",
                                "Encode text as numbers first"))
        if array.dtype.kind == "f":
            array = array.astype(np.float32, copy=False)
        found.append(array)
    lengths = {len(a) if a.ndim else 0 for a in found}
    if len(lengths) > 1:
        raise ShapeError(say(where, f"{name} of one length", sorted(lengths),
                             "Give every sample one row in each array"))
    return found


def weights_of(where: str, ys: Arrays, sample_weight: Any, class_weight: Any) -> Any:
    """Return the weight of every sample, or None."""
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float32)
    if weight is not None and weight.shape[:1] != ys[0].shape[:1]:
        raise ShapeError(say(where, f"sample_weight of {len(ys[0])} samples", weight.shape,
                             "Give one weight per sample"))
    if class_weight is None:
        return weight
    y = ys[0]
    labels = y.argmax(axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y))
    own = np.array([class_weight.get(int(k), 1.0) for k in labels], np.float32)
    return own if weight is None else own * weight


class Batches:
    """The samples of ``fit`` or ``evaluate``, epoch after epoch.

    Parameters
    ----------
    where : str
        Whose they are, for messages.
    x, y, weight
        Arrays; or x alone, which gives batches (x, y) or (x, y, weight).
    size : int
        Of a batch of arrays.
    names : two sequences of str
        Of the model's inputs and outputs.
    steps : int, optional
        How many batches an epoch has at most.
    """

    def __init__(self, where: str, x: Any, y: Any, weight: Any, class_weight: Any, size: int,
                 names: Any, steps: int | None = None):
        self.where, self.names, self.size, self.steps = where, names, size, steps
        self.class_weight = class_weight
        self.arrays: tuple[Arrays, Arrays, Any] | None = None
        self.source = x
        if y is not None:
            xs, ys = arrays_of(where, "x", x, names[0]), arrays_of(where, "y", y, names[1])
            if len(xs[0]) != len(ys[0]):
                raise ShapeError(say(where, f"{len(xs[0])} targets for {len(xs[0])} inputs",
                                     len(ys[0]), "Give every sample a target"))
            for array in xs if where == "fit" else ():
                check_finite("fit", "x", array)
            self.arrays = xs, ys, weights_of(where, ys, weight, class_weight)
        elif x is None or isinstance(x, (np.ndarray, Tensor)):
            raise ParameterError(say(where, "targets y, or batches of (x, y)", type(x).__name__,
                                     f"Pass {where}(x, y)"))

    def cut(self, share: float) -> Batches:
        """Take the last share of the samples away, and return it as other batches."""
        if not 0 < share < 1 or self.arrays is None:
            raise ParameterError(say("fit", "validation_split between 0 and 1, of arrays",
                                     repr(share), "Use 0.2"))
        xs, ys, weight = self.arrays
        at = int(len(xs[0]) * (1 - share))
        rest = Batches("evaluate", [a[at:] for a in xs], [a[at:] for a in ys],
                       None if weight is None else weight[at:], None, self.size, self.names)
        self.arrays = ([a[:at] for a in xs], [a[:at] for a in ys],
                       None if weight is None else weight[:at])
        return rest

    def __len__(self) -> int:
        """Return the number of batches, 0 where it is not known before."""
        if self.arrays is not None:
            return -(-len(self.arrays[0][0]) // self.size)
        known = len(self.source) if hasattr(self.source, "__len__") else 0
        return min(known, self.steps) if known and self.steps else self.steps or known

    def epoch(self, shuffle: bool = False, seed: int = 0, number: int = 0
              ) -> Iterator[tuple[Arrays, Arrays, Any]]:
        """Give the batches of an epoch."""
        return islice(self._all(shuffle, seed, number), self.steps)

    def _all(self, shuffle: bool, seed: int, number: int
             ) -> Iterator[tuple[Arrays, Arrays, Any]]:
        if self.arrays is not None:
            xs, ys, weight = self.arrays
            rows = order(len(xs[0]), seed, number, shuffle)
            for start in range(0, len(rows), self.size):
                part = rows[start: start + self.size]
                yield ([a.take(part, axis=0) for a in xs], [a.take(part, axis=0) for a in ys],
                       None if weight is None else weight[part])
            return
        source: Any = self.source
        if isinstance(source, PyDataset):
            made = (self.source[int(i)] for i in order(len(source), seed, number, shuffle))
        else:
            made = iter(source)
        for found in made:
            x, y, weight = triple("batches", found)
            ys = arrays_of(self.where, "y", y, self.names[1])
            yield (arrays_of(self.where, "x", x, self.names[0]), ys,
                   weights_of(self.where, ys, weight, self.class_weight))
        if isinstance(source, PyDataset):
            source.on_epoch_end()


def triple(where: str, given: Any) -> Any:
    """Return (x, y, weight) of (x, y) or (x, y, weight)."""
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        raise ParameterError(say("fit", f"{where} as (x, y)", type(given).__name__,
                                 f"Pass {where}=(x, y)"))
    return (*given, None) if len(given) == 2 else tuple(given)
