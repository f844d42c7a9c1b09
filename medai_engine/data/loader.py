"""Batches: which samples come together, in which order, and how they are put together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, ShapeError, say
from ..tensor import Tensor

__all__ = ["ArrayDataset", "DataLoader", "collate", "order", "pad_collate", "pad_sequences"]

BUCKET = 16  # batches whose samples are sorted by length together


def order(n: int, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray:
    """Return the order of ``n`` samples in an epoch: a function of (seed, epoch) alone.

    Ranks of raw Philox words, whose stream NumPy guarantees for all versions (NEP 19), as it does
    not for ``Generator.permutation``.
    """
    if not shuffle:
        return np.arange(n)
    words = np.random.Philox(key=np.array([seed & (2**64 - 1), epoch], np.uint64)).random_raw(n)
    return np.argsort(words, kind="stable")


class ArrayDataset:
    """Arrays of equal length, sample by sample: ``dataset[i] = (x[i], y[i], ...)``.

    Parameters
    ----------
    *arrays : array of shape (N, ...)
        Anything that NumPy takes, or tensors.
    """

    def __init__(self, *arrays: Any):
        if not arrays:
            raise ParameterError(say("ArrayDataset", "one array or more", "none",
                                     "Pass ArrayDataset(x, y)"))
        self.arrays = tuple(a.data if isinstance(a, Tensor) else np.asarray(a) for a in arrays)
        lengths = [a.shape[0] if a.ndim else 0 for a in self.arrays]
        if len(set(lengths)) > 1 or any(a.ndim == 0 for a in self.arrays):
            raise ShapeError(say(
                "ArrayDataset", "arrays of one length along axis 0", lengths,
                "Give every sample one row in each array",
                {f"array {i}": a.shape for i, a in enumerate(self.arrays)}))

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(a[index] for a in self.arrays)

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the rows of a batch from each array, in one copy."""
        return tuple([a.take(indices, axis=0) for a in self.arrays])


def collate(samples: Sequence[Any]) -> Any:
    """Stack samples (arrays, numbers, or tuples of them) along a new first axis."""
    first = samples[0]
    if isinstance(first, (tuple, list)):
        return tuple(collate(column) for column in zip(*samples, strict=True))
    parts = [s.data if isinstance(s, Tensor) else np.asarray(s) for s in samples]
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise ShapeError(say("DataLoader", "samples of one shape in a batch", sorted(shapes),
                             "Resize or pad them, or pass collate="))
    stacked = np.stack(parts)
    # Python numbers: whole ones are labels, the others single precision
    if isinstance(first, float):
        return stacked.astype(np.float32)
    return stacked


def pad_sequences(sequences: Sequence[Any], value: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Put sequences of different lengths into one array, and say how long each is.

    Parameters
    ----------
    sequences : list of array
        Shapes (T_i, ...), alike but for T_i, which may be 0.
    value : float
        What follows a sequence's end.

    Returns
    -------
    padded : array of shape (N, max T, ...)
    lengths : array of int64, shape (N,)
        For ``lengths=`` of recurrent layers, which neither read nor pay for the padding.

    Examples
    --------
    >>> from medai_engine.data import pad_sequences
    >>> x, lengths = pad_sequences([[[1.0], [2.0]], [[3.0]]])
    >>> x[..., 0].tolist(), lengths.tolist()
    ([[1.0, 2.0], [3.0, 0.0]], [2, 1])
    """
    arrays = [s.data if isinstance(s, Tensor) else np.asarray(s) for s in sequences]
    if not arrays:
        raise DataError(say("pad_sequences", "one sequence or more", "none", "Check the data"))
    rests = {a.shape[1:] for a in arrays if a.ndim}
    if len(rests) != 1 or any(a.ndim == 0 for a in arrays):
        raise ShapeError(say("pad_sequences", "sequences (T, ...) alike but for their length",
                             sorted({a.shape for a in arrays}), "Give every step the same features"
                             ))
    lengths = np.array([len(a) for a in arrays], np.int64)
    dtype = np.result_type(*arrays)
    if isinstance(sequences[0], (list, tuple)) and dtype.kind == "f":
        dtype = np.dtype(np.float32)  # Python numbers
    padded = np.full((len(arrays), int(lengths.max()), *rests.pop()), value, dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded, lengths


def pad_collate(samples: Sequence[Any]) -> tuple[Any, ...]:
    """Collate samples (sequence, ...) into (padded, lengths, ...)."""
    sequences, *others = zip(*samples, strict=True)
    return (*pad_sequences(sequences), *map(collate, others))


class DataLoader:
    """Batches of a dataset as tensors, in an order given by a seed.

    The order of epoch ``e`` is a function of (seed, e) alone; ``state_dict`` holds the place in
    it, so that a loop can go on in the middle of an epoch.

    Parameters
    ----------
    dataset : sequence
        Anything with ``len`` and ``[i]``. If it has ``gather(indices)`` (as ``ArrayDataset``), a
        batch is taken by one call.
    batch_size : int
        Samples a batch; the last one may be smaller.
    shuffle : bool
        Another order in every epoch.
    seed : int
        Where the orders start.
    collate : callable, optional
        Turns a list of samples into the arrays of a batch. The default stacks.
    drop_last : bool
        Leave out a last batch that is not full.
    transform : callable, optional
        ``transform(x, epoch=, sample=)`` on the first array of every sample, such as
        ``transforms.Augment``: what it draws depends on epoch and sample, not on the workers.
    workers : int
        Threads that make batches ahead of the loop (decoding and resampling leave the
        interpreter's lock); 0 makes each batch when it is asked for. The batches are the same.
    lengths : array of shape (N,), optional
        Lengths of the samples' sequences: batches are made of samples of similar length, so that
        little is padded. Which ones come together still changes with the epoch.

    Examples
    --------
    >>> from medai_engine import data
    >>> loader = data.DataLoader(data.ArrayDataset([[1.0], [2.0], [3.0]], [0, 1, 1]), batch_size=2)
    >>> [x.shape for x, y in loader]
    [(2, 1), (1, 1)]
    """

    def __init__(self, dataset: Any, batch_size: int = 32, shuffle: bool = False, seed: int = 0,
                 collate: Callable[[list[Any]], Any] | None = None, drop_last: bool = False,
                 transform: Callable[..., Any] | None = None, workers: int = 0,
                 lengths: Any = None):
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ParameterError(say("DataLoader", "batch_size of at least 1", repr(batch_size),
                                     "Use batch_size=32"))
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise ParameterError(say("DataLoader", "a dataset with len() and [i]",
                                     type(dataset).__name__, "Wrap arrays in ArrayDataset(x, y)"))
        if len(dataset) == 0:
            raise DataError(say("DataLoader", "one sample or more", "an empty dataset",
                                "Check the file or the filter that made it"))
        if not isinstance(workers, (int, np.integer)) or workers < 0:
            raise ParameterError(say("DataLoader", "workers of 0 or more", repr(workers),
                                     "Use workers=2"))
        self.lengths = None if lengths is None else np.asarray(lengths)
        if self.lengths is not None and self.lengths.shape != (len(dataset),):
            raise ShapeError(say("DataLoader", f"lengths of shape ({len(dataset)},)",
                                 self.lengths.shape, "Give one length per sample"))
        self.transform = transform
        self.workers = int(workers)
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.seed = seed
        self.collate = collate
        self.drop_last = drop_last
        self.epoch = 0
        self.position = 0  # batches of the epoch that were handed out
        self._start = 0  # where the next loop begins: 0, or where a loaded state says
        if len(self) == 0:
            raise DataError(say("DataLoader", f"{batch_size} samples for a full batch",
                                len(dataset), "Use a smaller batch_size or drop_last=False"))

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def indices(self) -> list[np.ndarray]:
        """Return the samples' numbers in each batch of the current epoch."""
        numbers = order(len(self.dataset), self.seed, self.epoch, self.shuffle)
        size = self.batch_size
        if self.lengths is None:
            return [numbers[i * size:(i + 1) * size] for i in range(len(self))]
        # sorted within pools of many batches: similar lengths, but not the same company each time
        pool = BUCKET * size
        for start in range(0, len(numbers), pool):
            part = numbers[start: start + pool]
            numbers[start: start + pool] = part[np.argsort(self.lengths[part], kind="stable")]
        batches = [numbers[i * size:(i + 1) * size] for i in range(len(self))]
        # another stream than the samples' own: else long batches would follow their order
        return [batches[i] for i in order(len(batches), ~self.seed, self.epoch, self.shuffle)]

    def batch(self, indices: np.ndarray, epoch: int | None = None) -> tuple[np.ndarray, ...]:
        """Return the arrays of a batch, as it looks in an epoch (the current one)."""
        epoch = self.epoch if epoch is None else epoch
        if self.collate is None and hasattr(self.dataset, "gather"):
            batch = self.dataset.gather(indices)
            if self.transform is None:
                return batch
            first = [self.transform(x, epoch=epoch, sample=int(i))
                     for x, i in zip(batch[0], indices, strict=True)]
            return (collate(first), *batch[1:])
        samples = [self.sample(int(i), epoch) for i in indices]
        batch = (self.collate or collate)(samples)
        return batch if isinstance(batch, tuple) else (batch,)

    def sample(self, index: int, epoch: int) -> Any:
        """Return one sample as it looks in an epoch."""
        sample = self.dataset[index]
        if self.transform is None:
            return sample
        if not isinstance(sample, (tuple, list)):
            return self.transform(sample, epoch=epoch, sample=index)
        return (self.transform(sample[0], epoch=epoch, sample=index), *sample[1:])

    def batches(self, start: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Make the batches of the current epoch from a place on, ahead of time with workers."""
        todo = iter(self.indices()[start:])
        if not self.workers:
            for indices in todo:
                yield self.batch(indices)
            return
        ahead: deque[Future[tuple[np.ndarray, ...]]] = deque()
        with ThreadPoolExecutor(self.workers, "medai-loader") as pool:
            try:
                for indices in todo:
                    ahead.append(pool.submit(self.batch, indices, self.epoch))
                    if len(ahead) > 2 * self.workers:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:  # the loop was left, or a sample could not be read
                for future in ahead:
                    future.cancel()

    def __iter__(self) -> Iterator[Any]:
        """Go through the current epoch; when it is over, the next one is current.

        A loop that was left begins its epoch again, except after ``load_state_dict``.
        """
        self.position, self._start = self._start, 0
        for batch in self.batches(self.position):
            self.position += 1
            tensors = tuple(b if isinstance(b, Tensor) else Tensor(np.asarray(b)) for b in batch)
            yield tensors if len(tensors) > 1 else tensors[0]
        self.epoch += 1
        self.position = 0

    def state_dict(self) -> dict[str, int]:
        """Return the place: the epoch, and how many of its batches were handed out."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place that ``state_dict`` gave."""
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self._start = self.position
