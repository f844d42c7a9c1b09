"""The published memory tasks: generators as the paper says, criteria met from most seeds."""

from __future__ import annotations

import numpy as np
import pytest

from medai_engine.examples import long_memory
from medai_engine.examples.long_memory import TASKS, TESTED, adding, order, solve


@pytest.mark.parametrize("name, spans", [("6a", [(10, 20), (50, 60)]),
                                         ("6b", [(10, 20), (33, 43), (66, 76)])])
def test_temporal_order(name, spans):
    """Start and end symbol, signals within their spans, the class is their order."""
    x, lengths, labels = order(len(spans))(np.random.default_rng(0), 400)
    assert x.shape == (400, 110, 8) and (x.sum(axis=2) == 1).all()
    assert set(lengths) == set(range(100, 111)) and set(labels) == set(range(2 ** len(spans)))
    places = []
    for one, length, label in zip(x.argmax(axis=2), lengths, labels, strict=True):
        one = one[:length]
        assert list(np.flatnonzero(one == 6)) == [0]
        assert list(np.flatnonzero(one == 7)) == [length - 1]
        found = np.flatnonzero((one == 4) | (one == 5))
        places.append(found)
        assert label == int("".join(str(s - 4) for s in one[found]), 2)
    for column, (first, last) in zip(np.array(places).T, spans, strict=True):
        assert column.min() == first and column.max() == last


def test_adding():
    x, lengths, targets = adding(np.random.default_rng(0), 2000)
    assert x.shape == (2000, 110, 2) and set(lengths) == set(range(100, 111))
    assert -1 <= x[..., 0].min() < -0.99 and 0.99 < x[..., 0].max() <= 1
    places, first = [], 0
    for one, length, target in zip(x.astype(np.float64), lengths, targets, strict=True):
        marked = np.flatnonzero(one[:length, 1] == 1)
        assert one[length - 1, 1] == -1 and len(marked) == 2 and marked[0] < 10
        assert set(np.flatnonzero(one[:length, 1] == -1)) == {0, length - 1} - set(marked)
        first += marked[0] == 0
        numbers = one[marked[marked > 0], 0]
        np.testing.assert_allclose(target, 0.5 + numbers.sum() / 4, atol=1e-6)
        places.append(marked[1])
    assert 0 < first < 400 and max(places) == 48


def test_solve_counts_every_sequence(monkeypatch):
    """Short of its limit a task is not learnt; with a milder aim it is, once enough were met."""
    monkeypatch.setitem(TASKS, "6a", TASKS["6a"]._replace(limit=100))
    found = solve("6a")
    assert not found.learnt and found.sequences == 96 and found.wrong > TESTED / 2
    monkeypatch.setitem(TASKS, "adding",
                        TASKS["adding"]._replace(within=9.0, recent=32, misses=0))
    lines = []
    found = solve("adding", report=lines.append)
    assert found.learnt and found.sequences == 32 and found.wrong == 0 and not lines


def test_program(monkeypatch, capsys):
    monkeypatch.setitem(TASKS, "6b", TASKS["6b"]._replace(limit=1100))
    monkeypatch.setattr("sys.argv", ["long_memory", "6b", "--seed", "3"])
    long_memory.main()
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("   1,024 sequences: loss 2.")
    assert last.startswith("6b: not learnt after 1,088 sequences (limit 1,100) in ")


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_learnt_from_most_seeds(name):
    """At least 4 of 5 seeds, within the published counts."""
    allowed = {"6a": (3, 1.0), "6b": (3, 1.0), "adding": (26, 2.5e-4)}[name]
    found = [solve(name, seed) for seed in range(5)]
    good = [r for r in found if r.learnt and r.sequences <= TASKS[name].limit
            and r.wrong <= allowed[0] and r.squared_error < allowed[1]]
    assert len(good) >= 4, found
