"""The same training step here, in PyTorch and in JAX: ratios from one interleaved run.

    python -m benchmarks.peers                      # all models, two threads
    python -m benchmarks.peers tiny mlp --rounds 9 --threads 1 --json benchmarks/out/peers.json

Every peer runs in its own process. Rounds go through the peers in turn, so a slow moment of the
machine hits all of them; the ratio is taken round by round and its median printed. The losses
after the same number of steps must agree, or the run fails. A peer that is not installed is left
out and said so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

from .models import MODELS, Model
from .worker import PEERS

TOLERANCE = 2e-3  # of the loss after all steps: float32 sums in other orders, amplified by Adam


class Worker:
    """A peer's process."""

    def __init__(self, peer: str, model: Model, threads: int):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "XLA_FLAGS":
                       f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer, model.name, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.read()

    def read(self) -> dict[str, Any]:
        """Return the next answer."""
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise SystemExit(f"a peer's process ended: {self.process.args}")
        return json.loads(line)

    def run(self, steps: int) -> dict[str, Any]:
        """Run some steps; return the time of one and the loss."""
        self.process.stdin.write(f"{steps}\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return self.read()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(timeout=30)


def compare(model: Model, peers: list[str], threads: int, rounds: int) -> dict[str, Any]:
    """Run one model in all peers, interleaved; return times, ratios and agreement."""
    workers = {peer: Worker(peer, model, threads) for peer in peers}
    steps = 1000 if model.parameters < 10_000 else 150  # a fifth of a second: caches are warm
    for worker in workers.values():
        worker.run(10)  # warm up, compile
    times: dict[str, list[float]] = {peer: [] for peer in peers}
    answers: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for peer, worker in workers.items():
            answers[peer] = worker.run(steps)
            times[peer].append(answers[peer]["seconds"])
            time.sleep(0.3)  # let its threads fall asleep
    for worker in workers.values():
        worker.close()
    losses = {peer: answer["loss"] for peer, answer in answers.items()}
    own = losses["medai"]
    for loss in losses.values():
        if abs(loss - own) > TOLERANCE * max(abs(own), 1e-3):
            raise SystemExit(f"{model.name}: losses differ after the same steps: {losses}")
    return {
        "model": model.name, "threads": threads, "rounds": rounds, "steps": steps,
        "flops": model.flops, "loss": losses,
        "milliseconds": {peer: 1e3 * median(t) for peer, t in times.items()},
        "ratio": {peer: median(t / own for t, own in zip(ts, times["medai"], strict=True))
                  for peer, ts in times.items() if peer != "medai"},
        "peak_mb": {peer: answer["peak_mb"] for peer, answer in answers.items()},
    }


def machine() -> dict[str, Any]:
    """Say on what the numbers were taken."""
    import medai_engine as me

    processor = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        processor = next(line.split(":")[1].strip() for line in info.read_text().splitlines()
                         if line.startswith("model name"))
    versions = {}
    for package in ("medai-engine", "numpy", "torch", "jax"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"processor": processor, "cores": len(os.sched_getaffinity(0)),
            "instruction_set": me.kernels.get_isa(), "python": platform.python_version(),
            "versions": versions}


def main() -> None:
    """Compare, print a table, write JSON."""
    from medai_engine.kernels.simd.ceilings import peak_flops

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("models", nargs="*", default=list(MODELS), help=", ".join(MODELS))
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/peers.json"))
    options = parser.parse_args()
    peers = ["medai"]
    for peer in options.peers:
        if peer != "medai" and find_spec(peer.partition(".")[0]) is None:
            print(f"{peer}: not installed, left out")
        elif peer != "medai":
            peers.append(peer)
    peak = peak_flops("float32", options.threads)
    print(f"measured ceiling: {peak / 1e9:.0f} GFLOP/s on {options.threads} threads")
    head = f"{'model':8} {'ms here':>9} {'GFLOP/s':>9} {'% ceiling':>9}"
    print(head + "".join(f" {p + ' ms':>18} {'ratio':>6}" for p in peers[1:]))
    results = []
    for name in options.models:
        result = compare(MODELS[name], peers, options.threads, options.rounds)
        results.append(result)
        ms = result["milliseconds"]
        rate = result["flops"] / ms["medai"] / 1e6
        row = f"{name:8} {ms['medai']:9.3f} {rate:9.1f} {100e9 * rate / peak:9.1f}"
        print(row + "".join(f" {ms[p]:18.3f} {result['ratio'][p]:6.2f}" for p in peers[1:]),
              flush=True)
    for peer in peers[1:]:
        ratios = [r["ratio"][peer] for r in results]
        print(f"geometric mean, times as fast as {peer}: {geometric_mean(ratios):.2f}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "command": "python -m benchmarks.peers " + " ".join(sys.argv[1:]), **machine(),
        "ceiling_flops": peak, "results": results}, indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
