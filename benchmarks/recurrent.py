"""Recurrent layers here and in PyTorch, in one process, in turn: padded, of mixed length, one step.

    python -m benchmarks.recurrent [--threads 1]

A training step is forward and backward of a layer (without the optimizer). "mixed" has lengths
uniform between a tenth of the longest and the longest: PyTorch packs the sequences. "share" is its
own time over what the padded batch takes times valid steps over padded steps (1.0: the work follows
the valid steps). Medians of rounds; on one thread its processor time, else the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import medai_engine as me
from medai_engine import nn

# name, kind, N, T, D, H
CASES = [("lstm64", "LSTM", 32, 48, 32, 64), ("lstm128", "LSTM", 32, 100, 64, 128),
         ("gru128", "GRU", 32, 100, 64, 128), ("rnn128", "RNN", 32, 100, 64, 128),
         ("lstm128 long", "LSTM", 32, 500, 64, 128), ("lstm32 alone", "LSTM", 1, 200, 32, 32),
         ("lstm512", "LSTM", 32, 20, 256, 512)]


def timed(functions: list[Callable[[], Any]], rounds: int,
          clock: Callable[[], float]) -> list[float]:
    """Return the median milliseconds of each function, called in turn."""
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, found in zip(functions, times, strict=True):
            start = clock()
            function()
            found.append(clock() - start)
    return [1e3 * median(found) for found in times]


def main() -> None:
    import torch
    from torch.nn.utils import rnn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    me.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    clock = time.thread_time if options.threads == 1 else time.perf_counter

    for name, kind, N, T, D, H in CASES:
        ours, theirs = getattr(nn, kind)(D, H), getattr(torch.nn, kind)(D, H, batch_first=True)
        ours.load_state_dict({key: p.detach().numpy() for key, p in theirs.named_parameters()})
        rng = np.random.default_rng(0)
        lengths = rng.integers(T // 10, T + 1, N)
        x = rng.normal(size=(N, T, D)).astype(np.float32)
        a, b, counts = me.asarray(x), torch.from_numpy(x), torch.from_numpy(lengths)

        def train(module: Any, *arguments: Any) -> None:
            output = module(*arguments)[0]
            if isinstance(output, rnn.PackedSequence):
                output, _ = rnn.pad_packed_sequence(output, batch_first=True)
            output.sum().backward()
            module.zero_grad()

        def packed(theirs: Any = theirs, b: Any = b, counts: Any = counts) -> None:
            train(theirs, rnn.pack_padded_sequence(b, counts, True, enforce_sorted=False))

        assert np.allclose(ours(a)[0].data, theirs(b)[0].detach().numpy(), atol=1e-5)
        padded, mixed, other, pack = timed(
            [lambda: train(ours, a), lambda: train(ours, a, None, lengths),  # noqa: B023
             lambda: train(theirs, b), packed], options.rounds, clock)  # noqa: B023
        share = mixed / padded / (lengths.sum() / (N * T))
        print(f"{name:14} padded {padded:8.2f} ms, PyTorch {other:8.2f} ({other / padded:5.2f} x); "
              f"mixed {mixed:8.2f} ms (share {share:.2f}), packed {pack:8.2f} "
              f"({pack / mixed:5.1f} x)")

    ours, theirs = nn.LSTM(32, 64), torch.nn.LSTM(32, 64, batch_first=True)
    a, b = me.zeros((1, 1, 32)), torch.zeros((1, 1, 32))
    with me.no_grad(), torch.no_grad():
        mine, other = timed([lambda: ours(a), lambda: theirs(b)], 500, clock)
    print(f"one patient, one step: {1e3 * mine:.0f} us, PyTorch {1e3 * other:.0f} us "
          f"({other / mine:.2f} x)")


if __name__ == "__main__":
    main()
