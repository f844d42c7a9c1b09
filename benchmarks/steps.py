"""Eager training steps of convolutional networks next to PyTorch's, with peak resident memory.

    python -m benchmarks.steps                       # cnn64, cnn224, cnn256, dcgan; two threads
    python -m benchmarks.steps cnn224 --batch 8 --threads 1 --peers torch channels_last

Every peer runs in its own process and nobody's memory counts twice; rounds go through the peers in
turn, ratios are taken round by round (2.0: the peer takes twice as long). The losses of the first
and of the third step must agree, or the run fails; later Adam has amplified what rounding made.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .jit import Worker, agree, serve, summary, turns
from .networks import GROUPS, NETWORKS, Network, chosen
from .peers import machine

MODELS = ("cnn64", "cnn224", "cnn256", "dcgan")
OTHERS = ("torch", "channels_last", "compile")


class Steps(Worker):
    """A peer's process."""

    module = "benchmarks.steps"


def compare(network: Network, peers: list[str], threads: int, rounds: int) -> dict[str, Any]:
    """Run one model in all peers; "medai" stands for its eager steps."""
    batch = "--batch", str(network.batch)
    workers = {peer: Steps("eager" if peer == "medai" else peer, network, threads, *batch)
               for peer in ("medai", *peers)}
    if not network.random:
        agree(f"{network.name}, first loss", {
            p: {"result": [w.start["loss"]]} for p, w in workers.items()}, 1e-4)
    # no later loss: Adam's first step takes the sign of every gradient, of noise as well
    times, answers = turns(workers, "train", rounds)
    for worker in workers.values():
        worker.close()
    memory = {peer: answer["peak_mb"] for peer, answer in answers.items()}
    return {"model": network.name, "batch": network.batch, "threads": threads, "rounds": rounds,
            **summary(times), "peak_mb": memory}


def main() -> None:
    """Compare, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("models", nargs="*", default=list(MODELS),
                        help=", ".join([*GROUPS, *NETWORKS]))
    parser.add_argument("--peers", nargs="*", default=list(OTHERS))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", metavar="PEER", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/steps.json"))
    options = parser.parse_args()
    networks = [replace(NETWORKS[name], batch=options.batch) for name in chosen(options.models)]
    if options.serve:
        serve(options.serve, networks[0], options.threads)
        return
    peers = options.peers if find_spec("torch") else []
    results = []
    print(f"{'model':8} {'ms here':>9}" + "".join(f" {p:>14} {'x':>6}" for p in peers)
          + f" {'best peer x':>12} {'MB here':>8} {'of the least peer':>18}")
    for network in networks:
        r = compare(network, peers, options.threads, options.rounds)
        results.append(r)
        ms, ratio, memory = r["milliseconds"], r["ratio"], r["peak_mb"]
        least = min((memory[p] for p in peers), default=float("nan"))
        print(f"{r['model']:8} {ms['medai']:9.2f}" + "".join(
            f" {ms[p]:14.2f} {ratio[p]:6.2f}" for p in peers)
            + f" {min(ratio.values(), default=float('nan')):12.2f} {memory['medai']:8.0f}"
            f" {memory['medai'] / least:18.2f}", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "command": "python -m benchmarks.steps " + " ".join(sys.argv[1:]), **machine(),
        "results": results}, indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
