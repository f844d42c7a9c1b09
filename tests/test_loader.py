"""The loader's further promises: workers, augmentation, buckets, padding, its price."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from medai_engine import data
from medai_engine.data import transforms as t
from medai_engine.errors import DataError, ParameterError, ShapeError

X = np.arange(37 * 5 * 4, dtype=np.float32).reshape(37, 5, 4, 1)
Y = np.arange(37)
AUGMENT = t.Augment(t.RandomCrop((3, 3), 1), t.Flip(), t.Noise(1.0), seed=5)


class Samples:
    """A dataset without gather that notes which threads ask."""

    def __init__(self, fails_at: int | None = None):
        self.threads: set[str] = set()
        self.fails_at = fails_at

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        self.threads.add(threading.current_thread().name)
        if i == self.fails_at:
            raise DataError("sample 20 is damaged")
        return X[i], Y[i]


def epochs(loader: data.DataLoader, count: int = 2) -> list[np.ndarray]:
    return [part.numpy() for _ in range(count) for batch in loader for part in batch]


@pytest.mark.parametrize("dataset", [Samples, lambda: data.ArrayDataset(X, Y)])
@pytest.mark.parametrize("transform", [None, AUGMENT])
def test_workers_change_nothing(dataset, transform):
    def loader(workers: int) -> data.DataLoader:
        return data.DataLoader(dataset(), 4, shuffle=True, seed=3, workers=workers,
                               transform=transform)

    wanted = epochs(loader(0))
    for workers in (1, 3):
        for a, b in zip(wanted, epochs(loader(workers)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert loader(2).dataset is not None


def test_workers_work():
    dataset = Samples()
    list(data.DataLoader(dataset, 4, workers=2))
    assert all(name.startswith("medai-loader") for name in dataset.threads)


def test_augmentation_differs_by_epoch_and_sample():
    loader = data.DataLoader(data.ArrayDataset(np.zeros((6, 4, 4, 1), np.float32)), 6,
                             transform=t.Augment(t.Noise(1.0), seed=1))
    first, second = next(iter(loader)), None
    for batch in loader:
        np.testing.assert_array_equal(batch.numpy(), first.numpy())  # the same epoch again
    second = next(iter(loader))
    seen = [tuple(x.ravel()) for batch in (first, second) for x in batch.numpy()]
    assert len(set(seen)) == 12


def test_goes_on_in_mid_epoch_with_workers():
    def loader() -> data.DataLoader:
        return data.DataLoader(data.ArrayDataset(X, Y), 4, shuffle=True, workers=2,
                               transform=AUGMENT)

    whole = epochs(loader(), 1)
    first = loader()
    for position, _ in enumerate(first):
        if position == 3:
            break
    rest = loader()
    rest.load_state_dict(first.state_dict())
    for a, b in zip(whole[8:], epochs(rest, 1), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_error_reaches_the_loop_and_threads_end():
    before = threading.active_count()
    with pytest.raises(DataError, match="sample 20"):
        list(data.DataLoader(Samples(fails_at=20), 4, workers=2))
    for _ in data.DataLoader(Samples(), 4, workers=2):
        break
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_buckets_hold_similar_lengths():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 200, 640)
    dataset = data.ArrayDataset(np.arange(640))
    loader = data.DataLoader(dataset, 16, shuffle=True, lengths=lengths)

    def wasted(batches) -> float:
        padded = sum(lengths[b].max() * len(b) for b in batches)
        return padded / lengths.sum() - 1

    first = loader.indices()
    assert wasted(first) < 0.1 < wasted(data.DataLoader(dataset, 16, shuffle=True).indices())
    assert sorted(np.concatenate(first)) == list(range(640))
    loader.epoch = 1
    second = loader.indices()
    # other company, and no order of lengths among the batches
    assert {frozenset(b.tolist()) for b in first}.isdisjoint(frozenset(b.tolist()) for b in second)
    means = [lengths[b].mean() for b in first]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4


def test_pad_sequences():
    parts = [np.ones((3, 2), np.float32), np.zeros((0, 2), np.float32), np.full((1, 2), 7.0)]
    padded, lengths = data.pad_sequences(parts, value=-1)
    assert padded.shape == (3, 3, 2) and lengths.tolist() == [3, 0, 1]
    assert padded[1].tolist() == [[-1, -1]] * 3 and padded[2, 0, 0] == 7
    assert data.pad_sequences([[1, 2], [3]])[0].tolist() == [[1, 2], [3, 0]]
    with pytest.raises(ShapeError, match="alike but for their length"):
        data.pad_sequences([np.ones((3, 2)), np.ones((3, 1))])
    with pytest.raises(DataError, match="one sequence or more"):
        data.pad_sequences([])


def test_pad_collate_in_a_loader():
    samples = [(np.ones((n, 2), np.float32), n % 2) for n in (3, 1, 4, 1, 5)]
    loader = data.DataLoader(samples, 5, collate=data.pad_collate)
    (x, lengths, y), = loader
    assert x.shape == (5, 5, 2) and lengths.numpy().tolist() == [3, 1, 4, 1, 5]
    assert y.numpy().tolist() == [1, 1, 0, 1, 1]


@pytest.mark.parametrize(("options", "error", "match"), [
    ({"workers": -1}, ParameterError, "workers of 0 or more"),
    ({"lengths": [1, 2]}, ShapeError, r"lengths of shape \(37,\), got \(2,\)"),
])
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        data.DataLoader(data.ArrayDataset(X), **options)
