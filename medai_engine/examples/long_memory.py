"""Three tasks that need a memory of a hundred steps, as published with the LSTM.

    python -m medai_engine.examples.long_memory [6a|6b|adding] [--seed 0]

    6a      E b X a ... Y c ... B: which of the four orders did the two signals X, Y have?
    6b      three signals, eight orders
    adding  the sum of the two marked numbers of a hundred or more

All else in a sequence distracts. The network sees each sequence once, is asked at its end, and
has learnt the task when it was right about the 2,000 sequences just met (of 6b, whose eight
classes leave more room for rare ones: 10,000), before it learnt from them; it is then tested on
fresh ones. Every training sequence counts. An LSTM of 32 units, its gate biases drawn for memories
of up to the length of a sequence, and a dense layer are trained by Adam.

Sources: Hochreiter & Schmidhuber, "Long short-term memory" (1997), experiments 4 and 6; Tallec &
Ollivier, "Can recurrent neural networks warp time?" (2018) for the biases.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim

__all__ = ["TASKS", "Result", "Task", "adding", "order", "solve"]

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # x (N, T, D), lengths (N,), targets (N,)
TESTED = 2560
BATCH, RATE, NORM = 16, 5e-3, 1.0  # of Adam, and the norm that gradients are clipped to


def order(signals: int) -> Callable[[np.random.Generator, int], Batch]:
    """Return a generator of task 6a (two signals) or 6b (three)."""
    spans = {2: [(10, 20), (50, 60)], 3: [(10, 20), (33, 43), (66, 76)]}[signals]

    def draw(rng: np.random.Generator, count: int) -> Batch:
        lengths = rng.integers(100, 111, count)
        symbols = rng.integers(0, 4, (count, 110))  # a, b, c, d; then X, Y = 4, 5; E, B = 6, 7
        rows, label = np.arange(count), np.zeros(count, np.int64)
        symbols[:, 0], symbols[rows, lengths - 1] = 6, 7
        for first, last in spans:
            signal = rng.integers(0, 2, count)
            symbols[rows, rng.integers(first, last + 1, count)] = 4 + signal
            label = 2 * label + signal
        return np.eye(8, dtype=np.float32)[symbols], lengths, label

    return draw


def adding(rng: np.random.Generator, count: int, steps: int = 100) -> Batch:
    """Return sequences of (number, marker): the target is 0.5 + (first + second) / 4.

    One of the first ten numbers is marked by 1, and another of the first steps / 2 - 1; the first
    and the last marker are -1; a marked first number counts 0.
    """
    lengths = rng.integers(steps, steps + steps // 10 + 1, count)
    x = np.zeros((count, steps + steps // 10, 2), np.float32)
    x[:, :, 0] = rng.uniform(-1, 1, x.shape[:2])
    rows, first = np.arange(count), rng.integers(0, 10, count)
    second = rng.integers(0, steps // 2 - 2, count)
    second += second >= first  # another one than the first
    x[rows, 0, 1] = x[rows, lengths - 1, 1] = -1
    total = np.zeros(count)
    for place in (first, second):
        total += np.where(place > 0, x[rows, place, 0], 0)
        x[rows, place, 1] = 1
    return x, lengths, (0.5 + total / 4).astype(np.float32)


class Task(NamedTuple):
    """A task, and what counts as right."""

    draw: Callable[[np.random.Generator, int], Batch]
    inputs: int
    outputs: int  # classes, or 1 for a number
    within: float  # the error of an output that counts as right
    recent: int  # sequences just met that have to be right
    misses: int  # allowed among them
    limit: int  # training sequences: what the paper's own network took for 6a and 6b


TASKS = {"6a": Task(order(2), 8, 4, within=0.3, recent=2_000, misses=0, limit=31_390),
         "6b": Task(order(3), 8, 8, within=0.3, recent=10_000, misses=0, limit=571_100),
         "adding": Task(adding, 2, 1, within=0.04, recent=2_000, misses=3, limit=200_000)}


class Result(NamedTuple):
    """What training a task from a seed gave."""

    learnt: bool  # the recent sequences were right before the limit
    sequences: int  # used for training
    wrong: int  # of 2,560 test sequences
    squared_error: float  # their mean, of all outputs
    seconds: float


class Memory(nn.Module):
    """An LSTM, and a dense layer that reads its last output."""

    def __init__(self, task: Task, units: int = 32, longest: int = 100):
        self.lstm = nn.LSTM(task.inputs, units)
        self.read = nn.Linear(units, task.outputs)
        weights = dict(self.lstm.named_parameters())
        nn.init.chrono_(weights["bias_ih_l0"], longest)
        nn.init.zeros_(weights["bias_hh_l0"])

    def forward(self, x: np.ndarray, lengths: np.ndarray) -> me.Tensor:
        """Return logits (N, classes), or numbers (N,)."""
        _, (h, _) = self.lstm(x, lengths=lengths)
        y = self.read(h[0])
        return y if y.shape[1] > 1 else y[:, 0]


def errors(y: me.Tensor, target: np.ndarray) -> np.ndarray:
    """Return |output - target|, of classes by their probabilities: (N, outputs)."""
    if y.ndim == 1:
        return np.abs(y.data - target)[:, None]
    return np.abs(F.softmax(y, axis=-1).data - np.eye(y.shape[1])[target])


def solve(name: str, seed: int = 0, report: Callable[[str], object] | None = None) -> Result:
    """Train on a task until it is learnt or its limit is used up, then test.

    Parameters
    ----------
    name : str
        "6a", "6b" or "adding".
    seed : int
        Of the weights and the sequences.
    report : callable, optional
        Gets a line now and then.
    """
    task, start = TASKS[name], time.perf_counter()
    me.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Memory(task)
    opt = optim.Adam(net.parameters(), lr=RATE)
    recent, used, learnt = np.ones(task.recent, bool), 0, False  # True: wrong
    while not learnt and used + BATCH <= task.limit:
        x, lengths, target = task.draw(rng, BATCH)
        y = net(x, lengths)
        loss = F.cross_entropy(y, target) if y.ndim > 1 else F.mse_loss(y, target)
        loss.backward()
        optim.clip_grad_norm_(net.parameters(), NORM)
        opt.step()
        opt.zero_grad()
        recent[np.arange(used, used + BATCH) % task.recent] = (
            errors(y, target) >= task.within).any(axis=1)
        used += BATCH
        learnt = bool(recent.sum() <= task.misses)
        if report and used % (64 * BATCH) == 0:
            report(f"{used:8,} sequences: loss {loss.item():.5f}, {recent.sum():6,} of the last "
                   f"{task.recent:,} not yet right")
    x, lengths, target = task.draw(rng, TESTED)
    with me.no_grad():
        error = errors(net(x, lengths), target)
    return Result(learnt, used, int((error >= task.within).any(axis=1).sum()),
                  float((error**2).mean()), time.perf_counter() - start)


def main() -> None:
    """Run one task, or all of them."""
    parser = argparse.ArgumentParser(description="Tasks that need a memory of a hundred steps.")
    parser.add_argument("task", nargs="?", choices=TASKS, help="one of them (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in [options.task] if options.task else TASKS:
        found = solve(name, options.seed, print)
        print(f"{name}: {'learnt' if found.learnt else 'not learnt'} after {found.sequences:,} "
              f"sequences (limit {TASKS[name].limit:,}) in {found.seconds:.0f} s; {found.wrong} "
              f"of {TESTED:,} new ones wrong, mean squared error {found.squared_error:.1e}")


if __name__ == "__main__":
    main()
