"""Recurrent layers here and in PyTorch, in one process, in turn.

    python -m benchmarks.recurrent                       # all parts, one thread
    python -m benchmarks.recurrent models mixed --threads 2

    models   training steps (forward, backward, Adam) of networks: lstm64 is a layer of 64 units and
             a dense layer on its last output, lstm128x2 two layers of 128 and a dense layer on
             every output; the same with gru and rnn
    hidden, batch, length   forward and backward of one layer of LSTM over padded sequences
    mixed    the same with lengths uniform between a tenth of the longest and the longest; PyTorch
             packs the sequences. "share" is the own time over what the padded batch takes times
             valid steps over padded steps (1.0: the work follows the valid steps)
    latency  one step of one patient without gradients

PyTorch is the faster of eager and torch.compile where that works. A round measures everybody in
turn; times and ratios are medians of the rounds. On one thread a time is that of the processor,
else the clock's. Results are compared first.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import medai_engine as me
from medai_engine import functional, nn, optim
from medai_engine.kernels.simd.ceilings import peak_flops

from .peers import machine

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass
class Case:
    """One measurement."""

    part: str
    name: str
    kind: str
    N: int
    T: int
    D: int
    H: int
    layers: int = 1
    classes: int = 0  # of a network; 0: the layer alone
    mixed: bool = False

    @property
    def lengths(self) -> np.ndarray:
        """Valid steps of each sequence."""
        rng = np.random.default_rng(0)
        return (rng.integers(self.T // 10, self.T + 1, self.N) if self.mixed
                else np.full(self.N, self.T))

    @property
    def flops(self) -> int:
        """Contraction operations of forward and backward; nobody asks for the inputs' gradient."""
        H = self.H
        sums = 3 * self.D + 3 * H - self.D + (self.layers - 1) * 6 * H
        return 2 * int(self.lengths.sum()) * GATES[self.kind] * H * sums


def networks(kind: str) -> list[Case]:
    """Return the two networks of a kind."""
    low = kind.lower()
    return [Case("models", f"{low}64", kind, 32, 48, 32, 64, 1, 2),
            Case("models", f"{low}128x2", kind, 32, 100, 64, 128, 2, 10)]


CASES = [case for kind in GATES for case in networks(kind)]
CASES += [Case("hidden", f"hidden {H}", "LSTM", 32, 50, H, H) for H in (32, 64, 128, 256, 512)]
CASES += [Case("hidden", "hidden 1024", "LSTM", 32, 10, 1024, 1024)]
CASES += [Case("batch", f"batch {N}", "LSTM", N, 50, 64, 128) for N in (1, 4, 16, 64, 256)]
CASES += [Case("length", f"length {T}", "LSTM", 32, T, 64, 64) for T in (10, 100, 500, 2000)]
CASES += [Case("mixed", f"{kind.lower()} mixed {T}", kind, 32, T, 64, 128, mixed=True)
          for kind, T in (("LSTM", 100), ("LSTM", 500), ("GRU", 500), ("RNN", 500))]


def built(case: Case, nn: Any, **options: Any) -> Any:
    """Return the layer or the network of a case in one library; both have the same names."""
    layer = getattr(nn, case.kind)

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = layer(case.D, case.H, case.layers, **options)
            self.head = nn.Linear(case.H, case.classes)

        def forward(self, x: Any) -> Any:
            output, _ = self.recurrent(x)
            y = self.head(output[:, -1] if case.layers == 1 else output)
            return y.reshape((-1, case.classes))

    return Network() if case.classes else layer(case.D, case.H, **options)


class Peer:
    """A library's step on the same numbers; ``step()`` returns the loss."""

    def __init__(self, case: Case, compiled: bool = False, packed: bool | None = None):
        import torch

        rng = np.random.default_rng(1)
        x = rng.normal(size=(case.N, case.T, case.D)).astype(np.float32)
        labels = rng.integers(0, case.classes or 1, case.N * (case.T if case.layers > 1 else 1))
        theirs = built(case, torch.nn, batch_first=True)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in theirs.parameters():
                p.uniform_(-0.1, 0.1, generator=generator)
        self.case = case
        self.ours = packed is None
        if self.ours:
            self.module = built(case, nn)
            self.module.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
            self.F, self.x, self.labels = functional, me.asarray(x), me.asarray(labels)
            self.lengths: Any = case.lengths if case.mixed else None
            adam: Any = optim.Adam
        else:
            self.module = torch.compile(theirs) if compiled else theirs
            self.F, self.x = torch.nn.functional, torch.from_numpy(x)
            self.labels = torch.from_numpy(labels)
            self.lengths = torch.from_numpy(case.lengths) if packed else None
            adam = torch.optim.Adam
        self.optimizer = adam(theirs.parameters() if not self.ours else self.module.parameters(),
                              lr=1e-3)

    def output(self) -> Any:
        """Return all outputs of the layer."""
        if self.ours:
            return self.module(self.x, None, self.lengths)[0]
        if self.lengths is None:
            return self.module(self.x)[0]
        from torch.nn.utils import rnn

        packed = rnn.pack_padded_sequence(self.x, self.lengths, True, enforce_sorted=False)
        return rnn.pad_packed_sequence(self.module(packed)[0], True,
                                       total_length=self.case.T)[0]

    def loss(self) -> Any:
        """Return what gradients are taken of."""
        if self.case.classes:
            return self.F.cross_entropy(self.module(self.x), self.labels)
        return self.output().sum()

    def step(self, train: bool = True) -> Any:
        """Go forward and backward, of a network to new weights; return the loss."""
        loss = self.loss()
        loss.backward()
        if self.case.classes and train:
            self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


REST = 0.3  # seconds: the peer's threads keep the cores busy for a while after their work


def alternate(functions: list[Callable[[], Any]], rounds: int,
              threads: int) -> list[list[float]]:
    """Return the milliseconds of each function in each round, some 20 of them measured at once."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    repeats = []
    for function in functions:
        function()
        start = time.perf_counter()
        function()
        repeats.append(max(1, int(0.02 / (time.perf_counter() - start))))
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, count, found in zip(functions, repeats, times, strict=True):
            if threads > 1:
                time.sleep(REST)
                function()  # awake again
            start = clock()
            for _ in range(count):
                function()
            found.append(1e3 * (clock() - start) / count)
    return times


def agree(case: Case, *peers: Peer) -> None:
    """Stop unless three steps give the same losses."""
    for _ in range(3):
        first, *others = [float(peer.step().item()) for peer in peers]
        if any(abs(other - first) > 1e-3 * max(1.0, abs(first)) for other in others):
            raise SystemExit(f"{case.name}: results differ from PyTorch's: {first}, {others}")


def compiles(case: Case) -> Peer | None:
    """Return the step of torch.compile, or None where it cannot."""
    try:
        peer = Peer(case, compiled=True, packed=False)
        peer.step(train=False)
    except Exception as error:  # of any kind: no compiler, an unsupported layer
        print(f"torch.compile: {type(error).__name__} for {case.name}", file=sys.stderr)
        return None
    return peer


def measure(case: Case, rounds: int, threads: int, compiled: bool) -> dict[str, Any]:
    """Compare and time one case."""
    own = Peer(case)
    other = compiles(case) if compiled and not case.mixed else None
    peers = [own, Peer(case, packed=case.mixed), *([other] if other else [])]
    agree(case, *peers)
    if case.mixed:
        peers.append(Peer(Case(**{**vars(case), "mixed": False})))
    times = alternate([peer.step for peer in peers], rounds, threads)
    theirs = times[1: 2 + (other is not None)]
    peak = peak_flops("float32", threads)
    result = {
        "part": case.part, "case": case.name, "threads": threads, "rounds": rounds,
        "milliseconds": median(times[0]), "torch_milliseconds": [median(t) for t in theirs],
        "times_torch": median(min(ts) / t for t, *ts in zip(times[0], *theirs, strict=True)),
        "share_of_peak": case.flops / (1e-3 * median(times[0])) / peak}
    if case.mixed:
        valid = case.lengths.sum() / (case.N * case.T)
        result["share"] = median(a / b for a, b in zip(times[0], times[2], strict=True)) / valid
    return result


def latency(rounds: int, threads: int) -> list[dict[str, Any]]:
    """Time one step of one patient through each layer, without gradients."""
    import torch

    results = []
    for kind in GATES:
        ours, theirs = getattr(nn, kind)(32, 64), getattr(torch.nn, kind)(32, 64,
                                                                          batch_first=True)
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
        a, b = me.ones((1, 1, 32)), torch.ones((1, 1, 32))
        with me.no_grad(), torch.no_grad():
            if not np.allclose(ours(a)[0].data, theirs(b)[0].numpy(), atol=1e-6):
                raise SystemExit(f"{kind}: one step differs from PyTorch's")
            own, other = alternate([lambda: ours(a), lambda: theirs(b)],  # noqa: B023
                                   10 * rounds, threads)
        results.append({
            "part": "latency", "case": f"one step of {kind} 64", "threads": threads,
            "milliseconds": median(own), "torch_milliseconds": [median(other)],
            "times_torch": median(y / x for x, y in zip(own, other, strict=True))})
    return results


def main() -> None:
    """Measure the chosen parts, print a table, write JSON."""
    import torch

    parts = [*dict.fromkeys(case.part for case in CASES), "latency"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("parts", nargs="*", help=", ".join(parts))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/recurrent.json"))
    options = parser.parse_args()
    me.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    chosen = options.parts or parts
    results = []
    print(f"{'case':20} {'ms here':>9} {'PyTorch':>9} {'ratio':>6} {'of peak':>8} {'share':>6}")

    def show(result: dict[str, Any]) -> None:
        results.append(result)
        print(f"{result['case']:20} {result['milliseconds']:9.3f} "
              f"{min(result['torch_milliseconds']):9.3f} {result['times_torch']:6.2f} "
              f"{result.get('share_of_peak', 0):8.0%} {result.get('share', 0):6.2f}", flush=True)

    for case in CASES:
        if case.part in chosen:
            show(measure(case, options.rounds, options.threads, not options.no_compile))
    for result in latency(options.rounds, options.threads) if "latency" in chosen else ():
        show(result)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "command": "python -m benchmarks.recurrent " + " ".join(sys.argv[1:]), **machine(),
        "ceiling_flops": peak_flops("float32", options.threads), "results": results},
        indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
