"""Jitted training steps next to PyTorch (eager, channels-last, compiled) and JAX, interleaved.

    python -m benchmarks.jit                          # nine models, two threads
    python -m benchmarks.jit tiny ae --threads 1 --rounds 5
    python -m benchmarks.jit cnn224 --peers torch channels_last
    python -m benchmarks.jit systems --peers eager torch channels_last compile jax

Every peer runs in its own process; rounds go through the peers in turn and ratios are taken round
by round (2.0: the peer takes twice as long). The losses of the first steps must agree, or the run
fails, and so must the predictions of one sample. Reported besides: the first call, prediction of a
single sample, and peak resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from .networks import GROUPS, NETWORKS, Network, chosen
from .peers import machine
from .runners import PEERS

STEPS, TOLERANCE = 4, 2e-3  # then losses agree; later, rounding is amplified by Adam
# Adam's first step takes the sign of every gradient, of rounding noise as well: where a peer rounds
# otherwise (its second loss is 174, that of all others 164) later losses say nothing.
OTHERWISE = {("cnn224", "compile")}
SECONDS = 0.4  # of one peer in one round
ALONE = ("tiny", "lstm64", "cnn64")  # models whose prediction of one sample is timed
OWN = ("medai", "inexact", "eager")  # this package, in three ways
PACKAGES = {"torch": "torch", "channels_last": "torch", "compile": "torch", "jax": "jax"}


def serve(peer: str, network: Network, threads: int) -> None:
    """Answer commands ``kind count`` from standard input with JSON lines."""
    start = time.perf_counter()
    training, predict = PEERS[peer](network, threads)
    built = time.perf_counter() - start
    start = time.perf_counter()
    loss = float(training())
    print(json.dumps({"first": time.perf_counter() - start, "built": built, "loss": loss}),
          flush=True)
    for command in sys.stdin:
        kind, count = command.split()
        function = {"train": training, "one": predict}[kind]
        times: list[float] = []
        result: Any = None
        for _ in range(int(count)):
            start = time.perf_counter()
            result = function()
            times.append(time.perf_counter() - start)
        print(json.dumps({
            "seconds": median(times), "best": min(times),
            "result": np.asarray(result).astype(float).ravel()[:16].tolist(),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)


class Worker:
    """A peer's process."""

    module = "benchmarks.jit"

    def __init__(self, peer: str, network: Network, threads: int, *options: str):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "XLA_FLAGS":
                       f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, "--serve", peer, network.name,
             "--threads", str(threads), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.start = self.read()

    def read(self) -> dict[str, Any]:
        """Return the next answer."""
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise SystemExit(f"a peer's process ended: {self.process.args}")
        return json.loads(line)

    def ask(self, kind: str, count: int) -> dict[str, Any]:
        """Run some steps; return their time and the last result."""
        self.process.stdin.write(f"{kind} {count}\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return self.read()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(timeout=30)


def turns(workers: dict[str, Worker], kind: str, rounds: int) -> tuple[dict[str, Any], Any]:
    """Ask all peers in turn; return seconds per peer and round, and the last answers."""
    least = max(worker.ask(kind, 2)["best"] for worker in workers.values())
    # few enough steps on the one batch that no moment of a dead unit decays to a subnormal number
    count = max(2, min(200, int(SECONDS / least)))
    times: dict[str, list[float]] = {peer: [] for peer in workers}
    answers: dict[str, Any] = {}
    for _ in range(rounds):
        for peer, worker in workers.items():
            answers[peer] = worker.ask(kind, count)
            times[peer].append(answers[peer]["seconds"])
            time.sleep(0.3)  # let its threads fall asleep
    return times, answers


def agree(what: str, answers: dict[str, Any], tolerance: float) -> None:
    """Stop unless all peers give the same numbers."""
    own = np.array(answers["medai"]["result"])
    for peer, answer in answers.items():
        other = np.array(answer["result"])
        if np.abs(other - own).max() > tolerance * max(np.abs(own).max(), 1e-2):
            raise SystemExit(f"{what}: {peer} gives {other}, this package {own}")


def summary(times: dict[str, list[float]]) -> dict[str, Any]:
    """Return milliseconds, and the ratios to this package round by round."""
    return {"milliseconds": {peer: 1e3 * median(t) for peer, t in times.items()},
            "ratio": {peer: median(t / own for t, own in zip(ts, times["medai"], strict=True))
                      for peer, ts in times.items() if peer != "medai"}}


def compare(network: Network, peers: list[str], threads: int, rounds: int) -> dict[str, Any]:
    """Run one model in all peers."""
    workers = {peer: Worker(peer, network, threads) for peer in peers
               if peer != "jax" or network.jax}
    found: dict[str, Any] = {"model": network.name, "threads": threads, "rounds": rounds,
                             "first_call": {p: w.start["first"] for p, w in workers.items()}}
    if not network.random:
        agree(f"{network.name}, first loss", {
            p: {"result": [w.start["loss"]]} for p, w in workers.items()}, 1e-4)
    if network.name in ALONE or network.random:
        times, answers = turns(workers, "one", rounds)
        agree(f"{network.name}, prediction", answers, 1e-2)
        found["one_sample"] = summary(times)
    after = {p: w.ask("train", STEPS - 1) for p, w in workers.items()}
    if not network.random:
        agree(f"{network.name}, loss after {STEPS} steps", {
            p: answer for p, answer in after.items() if (network.name, p) not in OTHERWISE},
            TOLERANCE)
    times, answers = turns(workers, "train", rounds)
    found |= summary(times)
    found["last_loss"] = {peer: answer["result"][0] for peer, answer in answers.items()}
    found["peak_mb"] = {peer: answer["peak_mb"] for peer, answer in answers.items()}
    for worker in workers.values():
        worker.close()
    return found


def report(results: list[dict[str, Any]], peers: list[str]) -> None:
    """Print tables: training steps, predictions, memory."""
    others = [peer for peer in peers if peer not in OWN]
    print(f"{'model':10} {'ms here':>9}" + "".join(f" {p:>14} {'x':>6}" for p in peers[1:])
          + f" {'best peer x':>12} {'first call ms':>14} {'peak MB':>8}")
    for r in results:
        ms, ratio = r["milliseconds"], r["ratio"]
        best = min((ratio[p] for p in others if p in ratio), default=float("nan"))
        print(f"{r['model']:10} {ms['medai']:9.3f}" + "".join(
            f" {ms[p]:14.3f} {ratio[p]:6.2f}" if p in ms else f" {'':>14} {'':>6}"
            for p in peers[1:]) + f" {best:12.2f} {1e3 * r['first_call']['medai']:14.2f} "
            f"{r['peak_mb']['medai']:8.0f}")
    if others:
        nearest = [min(r["ratio"][p] for p in others if p in r["ratio"]) for r in results]
        print(f"geometric mean of the ratios to the best peer: {geometric_mean(nearest):.2f}, "
              f"least {min(nearest):.2f}")
    for r in results:
        if "one_sample" in r:
            ms, ratio = r["one_sample"]["milliseconds"], r["one_sample"]["ratio"]
            print(f"one sample, {r['model']}: {1e3 * ms['medai']:.1f} us; " + ", ".join(
                f"{p} {ratio[p]:.1f} x" for p in ratio))
        if others and "torch" in r["peak_mb"]:
            print(f"peak memory, {r['model']}: "
                  f"{r['peak_mb']['medai'] / r['peak_mb']['torch']:.2f} of PyTorch's")


def main() -> None:
    """Compare, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("models", nargs="*", default=["nine"],
                        help=", ".join([*GROUPS, *NETWORKS]))
    parser.add_argument("--peers", nargs="*", default=["medai", *PACKAGES])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", metavar="PEER", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/jit.json"))
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, NETWORKS[options.models[0]], options.threads)
        return
    peers = ["medai"]
    for peer in options.peers:
        if peer in PACKAGES and find_spec(PACKAGES[peer]) is None:
            print(f"{peer}: not installed, left out")
        elif peer != "medai":
            peers.append(peer)
    results = []
    for name in chosen(options.models):
        results.append(compare(NETWORKS[name], peers, options.threads, options.rounds))
        print(f"{name}: done", file=sys.stderr, flush=True)
    report(results, peers)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "command": "python -m benchmarks.jit " + " ".join(sys.argv[1:]), **machine(),
        "results": results}, indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
