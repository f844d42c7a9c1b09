"""Kernels as a share of what the machine can do, and against NumPy.

    python -m benchmarks.ceilings                    # all cases, one and two threads
    python -m benchmarks.ceilings gemm --threads 1

Each repeat takes the ceiling (a loop of fused multiply-adds, or a copy), the kernel, the ceiling
again and NumPy in turn; the shares are medians over the repeats. Results are compared with NumPy's
in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import medai_engine as me
from medai_engine.kernels.simd.ceilings import copy_bandwidth, peak_flops

from .peers import machine


@dataclass
class Case:
    """One kernel call: what it does, how much, and NumPy's way."""

    name: str
    unit: str  # "flops" or "bytes"
    amount: int
    ours: Callable[[], Any]
    numpy: Callable[[], Any]
    agree: Callable[[], bool]
    dtype: str = "float32"


def gemm(m: int, k: int, n: int, dtype: str = "float32") -> Case:
    """A matrix product, M x K times K x N."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(1, m, k)).astype(dtype), rng.normal(size=(1, k, n)).astype(dtype)
    out, other = np.empty((1, m, n), dtype), np.empty((1, m, n), dtype)
    kernel = me.kernels.lookup("matmul", "fast")

    def agree() -> bool:
        bound = 4 * k**0.5 * np.finfo(dtype).eps * np.matmul(abs(a), abs(b))
        return bool(np.all(abs(out - other) <= bound))

    return Case(f"gemm {m}x{k}x{n} {dtype}", "flops", 2 * m * k * n,
                lambda: kernel(a, b, out, False, False), lambda: np.matmul(a, b, out=other),
                agree, dtype)


def linear(m: int, k: int, n: int) -> Case:
    """A dense layer, x (M, K) times the transpose of a weight (N, K), plus a bias."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(m, k)).astype("f4"), rng.normal(size=(n, k)).astype("f4")
    bias, out, other = np.ones(n, "f4"), np.empty((m, n), "f4"), np.empty((m, n), "f4")
    kernel = me.kernels.lookup("linear", "fast")

    def reference() -> None:
        np.matmul(x, w.T, out=other)
        np.add(other, bias, out=other)

    def agree() -> bool:
        bound = 4 * k**0.5 * np.finfo("f4").eps * (abs(x) @ abs(w).T + 1)
        return bool(np.all(abs(out - other) <= bound))

    return Case(f"linear {m}x{k}x{n}", "flops", 2 * m * k * n,
                lambda: kernel(x, w, bias, out), reference, agree)


def elementwise(name: str, n: int = 1 << 25) -> Case:
    """A large elementwise pass of one or two inputs."""
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=n).astype("f4")] * (1 if name in ("exp", "tanh") else 2)
    out, other = np.empty(n, "f4"), np.empty(n, "f4")
    kernel = me.kernels.lookup(name, "fast")
    ufunc = getattr(np, name)
    return Case(f"{name} of 32 M", "bytes", (len(inputs) + 1) * 4 * n,
                lambda: kernel(*inputs, out), lambda: ufunc(*inputs, out=other),
                lambda: np.allclose(out, other, rtol=1e-6, atol=1e-7))


def summation(n: int = 1 << 26) -> Case:
    """A full sum of a large array."""
    x = np.random.default_rng(0).normal(size=(1, n, 1)).astype("f4") + 1
    out, other = np.empty((1, 1), "f4"), np.empty((1, 1), "f4")
    kernel = me.kernels.lookup("sum", "fast")
    return Case("sum of 64 M", "bytes", 4 * n, lambda: kernel(x, out, 1.0),
                lambda: np.sum(x, axis=1, out=other),
                lambda: bool(np.allclose(out, other, rtol=1e-4)))


def adam(n: int = 10_000_000) -> Case:
    """One Adam step through the optimiser's public class: reads p, g, m, v; writes p, m, v."""
    rng = np.random.default_rng(0)
    start, g = rng.normal(size=n).astype("f4"), rng.normal(size=n).astype("f4")
    p = me.Parameter(start.copy())
    p.grad = me.asarray(g)
    optimizer = me.optim.Adam([p], lr=1e-3)
    first, second, q, count = np.zeros_like(g), np.zeros_like(g), start.copy(), 0

    def reference() -> None:
        nonlocal count
        count += 1
        np.add(np.float32(0.9) * first, np.float32(0.1) * g, out=first)
        np.add(np.float32(0.999) * second, np.float32(0.001) * g * g, out=second)
        rate = np.float32(1e-3 / (1 - 0.9**count))
        root = np.sqrt(second / np.float32(1 - 0.999**count)) + np.float32(1e-8)
        np.subtract(q, rate * first / root, out=q)

    return Case("Adam on 10 M", "bytes", 7 * 4 * n, optimizer.step, reference,
                lambda: bool(np.allclose(p.numpy(), q, rtol=1e-4, atol=1e-5)))


CASES: dict[str, list[Callable[[], Case]]] = {
    "gemm": [*(lambda n=n: gemm(n, n, n) for n in (512, 768, 1024, 2048)),
             lambda: gemm(1024, 1024, 1024, "float64"), lambda: gemm(32, 784, 1024),
             lambda: gemm(784, 32, 1024), lambda: gemm(32, 1024, 784)],
    "linear": [lambda: linear(32, 784, 1024), lambda: linear(32, 1024, 10),
               lambda: linear(32, 30, 16), lambda: linear(4096, 256, 256)],
    "elementwise": [*(lambda name=name: elementwise(name)
                      for name in ("add", "multiply", "exp", "tanh"))],
    "reduce": [summation],
    "adam": [adam],
}


def seconds(call: Callable[[], Any], least: float = 0.02, runs: int = 7) -> float:
    """Return the time of one call: the best of a few short runs, as the ceilings are taken."""
    count, best = 1, float("inf")
    while runs:
        start = time.perf_counter()
        for _ in range(count):
            call()
        taken = time.perf_counter() - start
        if taken < least:
            count = max(count * 2, int(count * least / max(taken, 1e-9)))
            continue
        best = min(best, taken / count)
        runs -= 1
    return best


REST = 0.3  # seconds: the threads of NumPy's BLAS keep a core busy for a while after their work


def measure(case: Case, threads: int, repeats: int) -> dict[str, Any]:
    """Take ceiling, kernel and NumPy in turn; return rates and shares."""
    me.set_num_threads(threads)
    limited = threadpool_limits(threads)  # NumPy's BLAS on as many threads
    case.ours()
    case.numpy()
    if not case.agree():
        raise SystemExit(f"{case.name}: the result differs from NumPy's")
    time.sleep(REST)
    shares, ratios, times = [], [], []

    def ceiling() -> float:
        return (peak_flops(case.dtype, threads) if case.unit == "flops"
                else copy_bandwidth(threads))

    for _ in range(repeats):
        before = ceiling()
        own = seconds(case.ours)
        after = ceiling()
        times.append(own)
        shares.append(case.amount / own / ((before + after) / 2))
        ratios.append(seconds(case.numpy) / own)
        time.sleep(REST)
    limited.restore_original_limits()
    return {"case": case.name, "threads": threads, "seconds": median(times),
            "rate": case.amount / median(times), "unit": case.unit,
            "share_of_ceiling": median(shares), "times_numpy": median(ratios)}


def main() -> None:
    """Measure the chosen families, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("families", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--threads", type=int, nargs="*", default=[1, len(os.sched_getaffinity(0))])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/ceilings.json"))
    options = parser.parse_args()
    results = []
    print(f"{'case':28} {'threads':>7} {'time':>10} {'rate':>14} {'% ceiling':>9} {'x NumPy':>8}")
    for family in options.families:
        for make in CASES[family]:
            for threads in options.threads:
                r = measure(make(), threads, options.repeats)
                results.append(r)
                unit = "GFLOP/s" if r["unit"] == "flops" else "GB/s"
                print(f"{r['case']:28} {threads:7} {1e6 * r['seconds']:7.1f} us "
                      f"{r['rate'] / 1e9:6.1f} {unit:7} {100 * r['share_of_ceiling']:9.1f} "
                      f"{r['times_numpy']:8.2f}", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "command": "python -m benchmarks.ceilings", **machine(), "results": results},
        indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
