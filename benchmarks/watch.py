"""What looking on costs: ``me.profile`` and ``me.debug_nans`` around training steps.

Processor time of blocks of steps on one thread: off, profiled, traced, in turn; the fifth
percentile of each, in per cent above off. Eager steps and plans.

    python -m benchmarks.watch [tiny mlp ae lstm64 cnn64 ...] [--seconds S] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import quantiles
from time import process_time
from typing import Any

import medai_engine as me

from .networks import NETWORKS
from .networks_medai import medai
from .peers import machine

LOOKS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "off": nullcontext, "profile": me.profile, "debug_nans": me.debug_nans}
BLOCK = 0.005  # seconds of steps between two looks at the clock


def cost(step: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Return the microseconds of a step with each way of looking on."""
    for _ in range(4):
        step()
    start = process_time()
    step()
    count = max(1, int(BLOCK / max(process_time() - start, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in LOOKS}
    end = process_time() + seconds
    while process_time() < end or len(times["off"]) < 8:
        for name, look in LOOKS.items():
            with look():
                step()  # the first looks more closely
                start = process_time()
                for _ in range(count):
                    step()
                times[name].append((process_time() - start) / count)
    return {name: 1e6 * quantiles(found, n=20)[0] for name, found in times.items()}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("networks", nargs="*", default=["tiny", "mlp", "ae", "lstm64", "cnn64"])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/watch.json"))
    options = parser.parse_args()
    results = []
    print(f"{'step':20} {'us off':>10} {'profile':>8} {'debug_nans':>10}")
    for name in options.networks:
        for kind in ("eager", "plan"):
            step, _ = medai(NETWORKS[name], 1, jitted=kind == "plan")
            found = cost(step, options.seconds)
            more = {look: 100 * (found[look] / found["off"] - 1) for look in LOOKS}
            results.append({"network": name, "kind": kind, "microseconds": found["off"],
                            "profile": more["profile"], "debug_nans": more["debug_nans"]})
            print(f"{name + ', ' + kind:20} {found['off']:10.1f} {more['profile']:7.1f}% "
                  f"{more['debug_nans']:9.1f}%", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "command": "python -m benchmarks.watch", **machine(), "results": results}, indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
