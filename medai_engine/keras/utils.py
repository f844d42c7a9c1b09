"""Small helpers with Keras's names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..data import pad_sequences as pad_behind
from ..errors import DataError, ParameterError, say
from ..generator import manual_seed
from ..tensor import Tensor
from .backend import clear_session
from .batches import PyDataset
from .saving import register_keras_serializable

__all__ = ["PyDataset", "Sequence", "clear_session", "normalize", "pad_sequences",
           "register_keras_serializable", "set_random_seed", "to_categorical"]

Sequence = PyDataset  # its old name


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Return one-hot rows (..., num_classes), float32, for class numbers."""
    y = x.data if isinstance(x, Tensor) else np.asarray(x)
    numbers = y.astype(np.int64)
    if not np.array_equal(numbers, y) or (numbers.size and numbers.min() < 0):
        raise DataError(say("to_categorical", "class numbers from 0", "others",
                            "Number the classes first"))
    if numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    count = int(numbers.max()) + 1 if num_classes is None else num_classes
    if numbers.size and numbers.max() >= count:
        raise ParameterError(say("to_categorical", f"num_classes over {numbers.max()}", count,
                                 f"Use num_classes={numbers.max() + 1}"))
    return np.eye(count, dtype=np.float32)[numbers]


def normalize(x: Any, axis: int = -1, order: int = 2) -> np.ndarray:
    """Return x divided by its norm along an axis."""
    x = np.asarray(x)
    length = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(length == 0, 1, length)


def set_random_seed(seed: int) -> None:
    """Start weights, dropout and shuffling from a seed."""
    manual_seed(seed)


def pad_sequences(sequences: Iterable[Any], maxlen: int | None = None, dtype: Any = "int32",
                  padding: str = "pre", truncating: str = "pre", value: float = 0.0) -> np.ndarray:
    """Return sequences of one length, padded and cut in front or behind."""
    if padding not in ("pre", "post") or truncating not in ("pre", "post"):
        raise ParameterError(say("pad_sequences", "padding and truncating pre or post",
                                 f"{padding!r}, {truncating!r}", "Leave them out"))
    arrays = [np.asarray(s) for s in sequences]
    if maxlen is not None:
        arrays = [a[max(0, len(a) - maxlen):] if truncating == "pre" else a[:maxlen]
                  for a in arrays]
        arrays.append(np.zeros((maxlen, *arrays[0].shape[1:])))  # as long as asked for
    padded, lengths = pad_behind(arrays, value)
    if padding == "pre":
        for row, n in zip(padded, lengths, strict=True):
            row[:] = np.roll(row, len(row) - int(n), axis=0)
    return (padded if maxlen is None else padded[:-1]).astype(dtype)
