"""Pooling, normalisation and activations beyond the cache: share of a copy, ratio to PyTorch.

    python -m benchmarks.pool_norm                       # all cases, one thread
    python -m benchmarks.pool_norm max norm --threads 2

Each round takes the ceiling (a copy of 64 MB), the function here and PyTorch's, in its default and
in its channels-last layout, in turn; results are compared first. The share is that
of the bytes that have to move: inputs and outputs once, and for batch norm, whose statistics need
all of x before the first result, its inputs twice. Places of maxima do not count. The ratio is that
of the faster layout to ours. Both are medians over the rounds.
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
from medai_engine.kernels.simd.ceilings import copy_bandwidth

from .conv import seconds
from .peers import machine

Run = Callable[[], list[Any]]


@dataclass
class Case:
    """One function of x (N, ..., C), of weight and bias (C,) where it is affine."""

    name: str
    shape: tuple[int, ...]
    ours: Callable[..., Any]
    theirs: Callable[..., Any]  # (torch.nn.functional, x with its channels first, ...)
    affine: bool = False
    twice: bool = False  # whether inputs have to be read twice
    last: bool = False  # whether PyTorch, too, has what is normalised as the last axis


def pooled(name: str, shape: tuple[int, ...], function: str, **options: Any) -> Case:
    """Return a case whose function has one name and the same options in both."""
    return Case(name, shape, lambda x: getattr(F, function)(x, **options),
                lambda f, x: getattr(f, function)(x, **options))


def upsampled(name: str, shape: tuple[int, ...], mode: str) -> Case:
    """Return a case that doubles the axes."""
    return Case(name, shape, lambda x: F.upsample(x, 2, mode),
                lambda f, x: f.interpolate(x, scale_factor=2, mode=mode))


def grouped(name: str, shape: tuple[int, ...], groups: int) -> Case:
    """Return a case of group norm."""
    return Case(name, shape, lambda x, w, b: F.group_norm(x, groups, w, b),
                lambda f, x, w, b: f.group_norm(x, groups, w, b), affine=True)


def batched(name: str, shape: tuple[int, ...]) -> Case:
    """Return a case of batch norm while training."""
    return Case(name, shape, lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
                lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True), affine=True, twice=True)


def lined(name: str, shape: tuple[int, ...]) -> Case:
    """Return a case of layer norm."""
    return Case(name, shape, lambda x, w, b: F.layer_norm(x, x.shape[-1], w, b),
                lambda f, x, w, b: f.layer_norm(x, (x.shape[-1],), w, b), affine=True, last=True)


def activated(name: str, shape: tuple[int, ...] = (256, 65536)) -> Case:
    """Return a case of an activation, or of softmax along the last axis."""
    if "softmax" in name:
        return Case(f"{name} of {shape[-1]}", shape, lambda x: getattr(F, name)(x),
                    lambda f, x: getattr(f, name)(x, dim=-1), last=True)
    return Case(name, shape, getattr(F, name), lambda f, x: getattr(f, name)(x), last=True)


IMAGE = (16, 112, 112, 64)
CASES = [
    pooled("max 2x2", IMAGE, "max_pool2d", kernel_size=2),
    pooled("max 3x3, stride 2", IMAGE, "max_pool2d", kernel_size=3, stride=2, padding=1),
    pooled("max 3x3, stride 1", (16, 56, 56, 256), "max_pool2d", kernel_size=3, stride=1,
           padding=1),
    pooled("max 2x2, 8 channels", (16, 256, 256, 8), "max_pool2d", kernel_size=2),
    pooled("max 2x2x2", (2, 64, 64, 64, 32), "max_pool3d", kernel_size=2),
    pooled("max 2, signal", (64, 16000, 16), "max_pool1d", kernel_size=2),
    pooled("avg 2x2", IMAGE, "avg_pool2d", kernel_size=2),
    pooled("avg 3x3, stride 1", (16, 56, 56, 256), "avg_pool2d", kernel_size=3, stride=1,
           padding=1),
    pooled("avg 2x2, 8 channels", (16, 256, 256, 8), "avg_pool2d", kernel_size=2),
    pooled("avg global", (16, 56, 56, 256), "adaptive_avg_pool2d", output_size=1),
    pooled("avg adaptive 7x7", (16, 56, 56, 256), "adaptive_avg_pool2d", output_size=7),
    upsampled("nearest x2", (16, 56, 56, 64), "nearest"),
    upsampled("bilinear x2", (16, 56, 56, 64), "bilinear"),
    batched("batch norm", IMAGE),
    batched("batch norm, 8 channels", (16, 256, 256, 8)),
    Case("batch norm, evaluation", IMAGE,
         lambda x, w, b: F.batch_norm(x, b.detach(), (w * w + 1).detach(), w, b),
         lambda f, x, w, b: f.batch_norm(x, b.detach(), (w * w + 1).detach(), w, b), affine=True),
    lined("layer norm of 768", (16384, 768)),
    lined("layer norm of 64", (200_000, 64)),
    lined("layer norm of 20", (600_000, 20)),
    grouped("group norm 32", (16, 56, 56, 256), 32),
    grouped("group norm 8, large samples", (2, 320, 320, 64), 8),
    Case("instance norm", (16, 112, 112, 64), lambda x, w, b: F.instance_norm(x, None, None, w, b),
         lambda f, x, w, b: f.instance_norm(x, None, None, w, b), affine=True),
    Case("instance norm, large samples", (2, 320, 320, 64), lambda x, w, b: F.instance_norm(
        x, None, None, w, b), lambda f, x, w, b: f.instance_norm(x, None, None, w, b), affine=True),
    *map(activated, ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "elu", "softplus")),
    activated("softmax", (16384, 1000)), activated("log_softmax", (1_600_000, 10)),
]


def ours(case: Case, arrays: list[np.ndarray], g: np.ndarray | None) -> dict[str, Run]:
    """Return forward and backward as calls; the first output is the result."""
    leaves = [me.Tensor(a).requires_grad_() for a in arrays]

    def forward() -> list[Any]:
        with me.no_grad():
            return [case.ours(*leaves).data]

    if g is None:
        return {"forward": forward}
    y, cotangent = case.ours(*leaves), me.Tensor(g)
    return {"forward": forward, "backward": lambda: [
        t.data for t in gradients([y], leaves, [cotangent], retain_graph=True)]}


def theirs(case: Case, arrays: list[np.ndarray], g: np.ndarray,
           channels_last: bool) -> dict[str, Run]:
    """Return PyTorch's calls; results have their channels last."""
    import torch

    def move(a: Any, source: int, target: int) -> Any:
        return a if case.last or a.ndim < 3 else a.movedim(source, target)

    layout = {4: torch.channels_last, 5: torch.channels_last_3d}[len(case.shape)] if (
        channels_last) else torch.contiguous_format
    leaves = [move(torch.from_numpy(a), -1, 1).contiguous(memory_format=layout if a.ndim > 3
                                                          else torch.contiguous_format)
              .requires_grad_() for a in arrays]

    def forward() -> list[Any]:
        with torch.no_grad():
            return [case.theirs(torch.nn.functional, *leaves)]

    y = case.theirs(torch.nn.functional, *leaves)
    cotangent = move(torch.from_numpy(g), -1, 1).contiguous(
        memory_format=layout if g.ndim > 3 else torch.contiguous_format)
    calls: dict[str, Run] = {"forward": forward, "backward": lambda: list(
        torch.autograd.grad(y, leaves, cotangent, retain_graph=True))}
    return {name: lambda call=call: [move(t, 1, -1) for t in call()]  # type: ignore[misc]
            for name, call in calls.items()}


SOURCE, TARGET = np.ones((2, 1 << 24), np.float32)


def copied(threads: int) -> float:
    """Return the bytes per second, read plus written, of a pass beyond the caches.

    Of one thread by the time that it had a processor, as everything here, and with plain stores, as
    all kernels: NumPy's negation, since its copy goes past the caches.
    """
    if threads > 1:
        return copy_bandwidth(threads, repeats=3)
    return 2 * SOURCE.nbytes / min(
        seconds(lambda: np.negative(SOURCE, TARGET), threads) for _ in range(3))


def measure(case: Case, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Compare and time both directions of a case."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(case.shape).astype(np.float32)]
    if case.affine:
        arrays += [rng.standard_normal(case.shape[-1]).astype(np.float32) for _ in range(2)]
    g = rng.standard_normal(ours(case, arrays, None)["forward"]()[0].shape).astype(np.float32)
    mine = ours(case, arrays, g)
    layouts = (False, True) if len(case.shape) > 3 else (False,)
    others = [theirs(case, arrays, g, channels_last) for channels_last in layouts]
    x, y = arrays[0].nbytes, g.nbytes
    needs_x = case.affine or case.last  # of the gradient: x, or the result
    moved = {"forward": x * (1 + case.twice) + y,
             "backward": (y + x * needs_x) * (1 + case.twice) + x}
    results = []
    for direction, run in mine.items():
        found = run()
        for other in others:
            for a, b in zip(found, other[direction](), strict=True):
                expected = b.detach().numpy()
                # sums of millions of terms, and PyTorch's in float32
                if np.abs(a - expected).max() > 2e-3 * max(1, np.abs(expected).max()):
                    raise SystemExit(f"{case.name} {direction}: results differ from PyTorch's")
        times = []
        for _ in range(rounds):
            times.append((copied(threads), seconds(run, threads),
                          min(seconds(o[direction], threads) for o in others)))
        results.append({
            "case": case.name, "direction": direction, "threads": threads,
            "milliseconds": median(t[1] for t in times) * 1e3,
            "share_of_copy": median(moved[direction] / t[1] / t[0] for t in times),
            "times_torch": median(t[2] / t[1] for t in times)})
    return results


def main() -> None:
    """Measure the chosen cases, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("words", nargs="*", help="cases whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/pool_norm.json"))
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    me.set_num_threads(options.threads)
    chosen = [c for c in CASES if not options.words or any(w in c.name for w in options.words)]
    results = []
    print(f"{'case':30} {'direction':9} {'ms':>8} {'of copy':>8} {'x PyTorch':>10}")
    for case in chosen:
        for r in measure(case, options.rounds, options.threads):
            results.append(r)
            print(f"{r['case']:30} {r['direction']:9} {r['milliseconds']:8.2f} "
                  f"{r['share_of_copy']:8.0%} {r['times_torch']:10.2f}", flush=True)
    print(f"geometric mean: {geometric_mean(r['times_torch'] for r in results):.2f} times PyTorch")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "command": f"python -m benchmarks.pool_norm --threads {options.threads}", **machine(),
        "results": results}, indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
