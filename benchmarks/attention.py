"""Attention next to PyTorch's scaled_dot_product_attention: forward and backward.

    python -m benchmarks.attention                     # all cases, one thread
    python -m benchmarks.attention causal --threads 2

Each round takes the ceiling (a loop of fused multiply-adds), the function here and PyTorch's, in
turn. The ratio is PyTorch's time to ours and, as the share of the ceiling, the median over the
rounds. Causality halves the arithmetic that counts. Results and gradients are compared first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

import medai_engine as me
from medai_engine import functional as F
from medai_engine.autograd import gradients
from medai_engine.kernels.simd.ceilings import peak_flops

from .conv import seconds
from .peers import machine


@dataclass
class Case:
    """N samples of H heads; L queries, S keys of width E."""

    name: str
    N: int
    H: int
    L: int
    S: int
    E: int
    causal: bool = False
    padded: bool = False  # a boolean mask of the keys of every sample


CASES = [
    *(Case(f"self {L}", max(1, 512 // L), 8, L, L, 64) for L in (64, 128, 256, 512, 1024, 2048)),
    Case("self 4096", 1, 4, 4096, 4096, 64),
    Case("self 512, width 32", 2, 8, 512, 512, 32),
    Case("self 512, width 128", 1, 8, 512, 512, 128),
    Case("self 200, width 16", 8, 4, 200, 200, 16),
    Case("causal 256", 2, 8, 256, 256, 64, causal=True),
    Case("causal 1024", 1, 8, 1024, 1024, 64, causal=True),
    Case("padded 256", 4, 8, 256, 256, 64, padded=True),
    Case("cross 64 to 1024", 4, 8, 64, 1024, 64),
    Case("one query, 2048 keys", 8, 8, 1, 2048, 64),
]
Run = Callable[[], Any]


def ours(case: Case, arrays: list[np.ndarray], g: np.ndarray, mask: Any) -> dict[str, Run]:
    """Return forward and backward as calls."""
    q, k, v = (me.Tensor(x).requires_grad_() for x in arrays)

    def attend() -> me.Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=case.causal)

    def forward() -> list[np.ndarray]:
        with me.no_grad():
            return [attend().data]

    y, cotangent = attend(), me.Tensor(g)
    return {"forward": forward, "backward": lambda: [
        t.data for t in gradients([y], [q, k, v], [cotangent], retain_graph=True)]}


def theirs(case: Case, arrays: list[np.ndarray], g: np.ndarray, mask: Any) -> dict[str, Run]:
    """Return PyTorch's calls."""
    import torch

    leaves = [torch.from_numpy(x).requires_grad_() for x in arrays]
    given = None if mask is None else torch.from_numpy(mask)

    def attend() -> Any:
        return torch.nn.functional.scaled_dot_product_attention(*leaves, given,
                                                                is_causal=case.causal)

    def forward() -> list[Any]:
        with torch.no_grad():
            return [attend().numpy()]

    y, cotangent = attend(), torch.from_numpy(g)
    return {"forward": forward, "backward": lambda: [
        t.numpy() for t in torch.autograd.grad(y, leaves, cotangent, retain_graph=True)]}


def measure(case: Case, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Compare and time both directions of a case."""
    rng = np.random.default_rng(0)
    shapes = [(case.N, case.H, n, case.E) for n in (case.L, case.S, case.S, case.L)]
    *arrays, g = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    mask = None
    if case.padded:
        lengths = rng.integers(case.S // 2, case.S, case.N)
        mask = (np.arange(case.S) < lengths[:, None])[:, None, None]
    mine, other = (make(case, arrays, g, mask) for make in (ours, theirs))
    products = case.N * case.H * case.L * case.S * case.E * (1 if case.causal else 2)
    results = []
    for direction, count in (("forward", 2), ("backward", 5)):
        for a, b in zip(mine[direction](), other[direction](), strict=True):
            if np.abs(a - b).max() > 1e-4 * np.abs(b).max():
                raise SystemExit(f"{case.name} {direction}: results differ from PyTorch's")
        times = [(peak_flops("float32", threads, repeats=3), seconds(mine[direction], threads),
                  seconds(other[direction], threads)) for _ in range(rounds)]
        own = median(t[1] for t in times)
        results.append({
            "case": case.name, "direction": direction, "threads": threads,
            "gflops": count * products / own / 1e9, "share_of_peak": median(
                count * products / t[1] / t[0] for t in times),
            "times_torch": median(t[2] / t[1] for t in times)})
    return results


def main() -> None:
    """Measure the chosen cases, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("words", nargs="*", help="cases whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/attention.json"))
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    me.set_num_threads(options.threads)
    chosen = [c for c in CASES if not options.words or any(w in c.name for w in options.words)]
    results = []
    print(f"{'case':30} {'direction':9} {'GFLOP/s':>8} {'of peak':>8} {'x PyTorch':>10}")
    for case in chosen:
        for r in measure(case, options.rounds, options.threads):
            results.append(r)
            print(f"{r['case']:30} {r['direction']:9} {r['gflops']:8.1f} "
                  f"{r['share_of_peak']:8.0%} {r['times_torch']:10.2f}", flush=True)
    print(f"geometric mean: {geometric_mean(r['times_torch'] for r in results):.2f} times PyTorch")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "command": f"python -m benchmarks.attention --threads {options.threads}", **machine(),
        "results": results}, indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
