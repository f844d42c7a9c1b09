"""What one small op costs here and in PyTorch, in one process, in turn.

    python -m benchmarks.eager

Nanoseconds a call, the median over rounds of the mean of many calls; the ratio is the median of
the rounds' ratios (2.0: PyTorch takes twice as long). Results are compared first.
"""

from __future__ import annotations

import argparse
import json
import timeit
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

import medai_engine as me

from .peers import machine

CASES = {
    "multiply, 1 element": "a * b",
    "multiply, 1 element, with gradient": "p * b",
    "add a number": "a + 1.0",
    "tanh, 1 element": "tanh(a)",
    "add 4x4": "m + m",
    "add a row to 32x16": "x16 + row",
    "sum of 4x4": "m.sum()",
    "reshape": "m.reshape((2, 8))",
    "slice": "m[1:3]",
    "matmul 4x4": "m @ m",
    "matmul 4x4, with gradient": "q @ m",
    "linear 32x30 to 16": "linear(x30, weight, row)",
    "cross-entropy of 32x2": "cross_entropy(scores, labels)",
    "forward and backward of 10 products": "chain(p)",
}


def names(library: str) -> dict[str, Any]:
    """Return the same arrays and functions of one library."""
    rng = np.random.default_rng(0)
    arrays = {"a": [1.5], "b": [0.5], "m": rng.normal(size=(4, 4)), "row": rng.normal(size=16),
              "x16": rng.normal(size=(32, 16)), "x30": rng.normal(size=(32, 30)),
              "weight": rng.normal(size=(16, 30)), "scores": rng.normal(size=(32, 2))}
    arrays = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
    labels = rng.integers(0, 2, 32)
    if library == "torch":
        import torch
        from torch.nn import functional as F

        make, tanh = torch.from_numpy, torch.tanh
    else:
        from medai_engine import functional as F

        make, tanh = me.asarray, me.tanh
    found: dict[str, Any] = {name: make(value.copy()) for name, value in arrays.items()}
    found |= {"p": make(arrays["a"].copy()).requires_grad_(),
              "q": make(arrays["m"].copy()).requires_grad_(), "labels": make(labels),
              "tanh": tanh, "linear": F.linear, "cross_entropy": F.cross_entropy}

    def chain(p: Any) -> Any:
        y = p
        for _ in range(10):
            y = y * p
        p.grad = None
        y.backward()
        return p.grad

    return found | {"chain": chain}


def main() -> None:
    """Time every case in both libraries, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/eager.json"))
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    me.set_num_threads(1)
    ours, theirs = names("medai"), names("torch")
    results = []
    print(f"{'case':38} {'ns here':>8} {'PyTorch':>8} {'ratio':>6}")
    for case, code in CASES.items():
        mine, other = eval(code, ours), eval(code, theirs)
        mine, other = mine.detach().numpy(), other.detach().numpy()
        if not np.allclose(mine, other, rtol=1e-5, atol=1e-6):
            raise SystemExit(f"{case}: {mine} is not PyTorch's {other}")
        timers = [timeit.Timer(code, globals=scope) for scope in (ours, theirs)]
        count = max(200, int(0.02 / (timers[0].timeit(200) / 200)))
        rounds = [[timer.timeit(count) / count for timer in timers] for _ in range(options.rounds)]
        own, peer = (1e9 * median(r[i] for r in rounds) for i in (0, 1))
        ratio = median(r[1] / r[0] for r in rounds)
        results.append({"case": case, "nanoseconds": own, "torch": peer, "ratio": ratio})
        print(f"{case:38} {own:8.0f} {peer:8.0f} {ratio:6.2f}", flush=True)
    print(f"geometric mean of the ratios: {geometric_mean(r['ratio'] for r in results):.2f}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "command": "python -m benchmarks.eager", **machine(), "results": results}, indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
