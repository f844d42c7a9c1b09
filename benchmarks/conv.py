"""Convolution layers of well-known networks: forward, input gradient, weight gradient.

Where ReLU and max pooling of 2 x 2 follow, the same again with both of them in one kernel.

    python -m benchmarks.conv                        # all cases, one thread
    python -m benchmarks.conv depthwise volume --threads 2

Each round takes the ceiling (a loop of fused multiply-adds), the kernel, and PyTorch in its default
and in its channels-last layout, in turn. The ratio is that of the faster layout to the kernel and,
as the share of the ceiling, the median over the rounds. Results are compared first.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

import medai_engine as me
from medai_engine.kernels.simd.ceilings import peak_flops
from medai_engine.ops.conv import output_sizes

from .peers import machine


@dataclass
class Case:
    """One layer; kernel, stride and padding are the same along all axes."""

    name: str
    N: int
    sizes: tuple[int, ...]
    C: int
    F: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    pools: bool = False


CASES = [
    Case("cnn64 conv1", 32, (64, 64), 1, 32, 3, pools=True),
    Case("cnn64 conv2", 32, (31, 31), 32, 64, 3, pools=True),
    Case("cnn64 conv3", 32, (14, 14), 64, 128, 3, pools=True),
    Case("cnn224 conv1", 2, (224, 224), 3, 32, 3, pools=True),
    Case("cnn224 conv2", 2, (111, 111), 32, 64, 3, pools=True),
    Case("cnn224 conv3", 2, (54, 54), 64, 128, 3, pools=True),
    Case("cnn256 conv1", 2, (256, 256), 3, 32, 3),
    Case("cnn256 conv2", 2, (127, 127), 32, 64, 3),
    Case("cnn256 conv3", 2, (62, 62), 64, 64, 3, pools=True),
    Case("system 8 conv1", 32, (16, 16), 3, 32, 3, 1, 1),
    Case("system 8 conv2", 32, (8, 8), 32, 64, 3, 1, 1),
    Case("system 8 conv3", 32, (4, 4), 64, 128, 3, 1, 1),
    # a transposed layer's forward pass is the input gradient here
    Case("dcgan transposed 14x14", 8, (14, 14), 128, 256, 5, 1, 2),
    Case("dcgan transposed 28x28", 8, (28, 28), 64, 128, 5, 1, 2),
    Case("dcgan transposed, 3 channels", 8, (28, 28), 3, 64, 5, 1, 2),
    Case("system 17 transposed 4x4", 32, (8, 8), 32, 64, 4, 2, 1),
    Case("system 17 transposed, 1 channel", 32, (17, 17), 1, 32, 3, 2),
    Case("dcgan conv of the critic", 32, (14, 14), 64, 128, 5, 2, 2),
    Case("ResNet-18 stem", 2, (224, 224), 3, 64, 7, 2, 3),
    Case("ResNet-18 56x56", 4, (56, 56), 64, 64, 3, 1, 1),
    Case("ResNet-18 stride 2", 4, (56, 56), 64, 128, 3, 2, 1),
    Case("ResNet-18 14x14", 8, (14, 14), 256, 256, 3, 1, 1),
    Case("ResNet-18 7x7", 8, (7, 7), 512, 512, 3, 1, 1),
    Case("ResNet-18 14x14, one image", 1, (14, 14), 256, 256, 3, 1, 1),
    Case("ResNet-18 shortcut", 4, (56, 56), 64, 128, 1, 2),
    Case("ResNeXt-50 groups of 4", 4, (56, 56), 128, 128, 3, 1, 1, 32),
    Case("RegNet groups of 16", 4, (28, 28), 192, 192, 3, 1, 1, 12),
    Case("ResNet-50 1x1 wider", 4, (56, 56), 64, 256, 1),
    Case("ResNet-50 1x1 narrower", 4, (56, 56), 256, 64, 1),
    Case("MobileNet depthwise 56x56", 4, (56, 56), 144, 144, 3, 1, 1, 144),
    Case("MobileNet depthwise stride 2", 4, (56, 56), 144, 144, 3, 2, 1, 144),
    Case("MobileNet depthwise 14x14", 8, (14, 14), 384, 384, 3, 1, 1, 384),
    Case("MobileNet depthwise 5x5", 4, (28, 28), 240, 240, 5, 1, 2, 240),
    Case("MobileNet depthwise 7x7", 8, (7, 7), 960, 960, 3, 1, 1, 960),
    Case("MobileNet 1x1 14x14", 8, (14, 14), 384, 96, 1),
    Case("MobileNet 1x1 56x56", 2, (56, 56), 24, 144, 1),
    Case("segmentation, 2 classes", 2, (112, 112), 64, 2, 1),
    Case("volume 32^3", 1, (32, 32, 32), 16, 32, 3, 1, 1),
    Case("volume 16^3", 1, (16, 16, 16), 32, 64, 3, 1, 1),
    Case("volume, 1 channel", 1, (32, 32, 32), 1, 16, 3, 1, 1),
    Case("volume stride 2", 1, (32, 32, 32), 32, 64, 3, 2, 1),
    Case("signal, 1 channel", 8, (5000,), 1, 32, 16, 2, 7),
    Case("signal, 32 channels", 4, (5000,), 32, 64, 9, 1, 4),
    Case("signal stride 2", 4, (5000,), 64, 64, 5, 2, 2),
    Case("signal depthwise", 4, (5000,), 64, 64, 9, 1, 4, 64),
]
Run = Callable[[], Any]


def ours(case: Case, x: np.ndarray, weight: np.ndarray, g: np.ndarray) -> dict[str, Run]:
    """Return the three kernels as calls; each returns its result."""
    axes = len(case.sizes)

    def wide(a: np.ndarray) -> np.ndarray:
        return a.reshape(a.shape[0], *(1,) * (3 - axes), *a.shape[1:])

    x, weight, g = map(wide, (x, weight, g))
    ones, zeros = (1,) * (3 - axes), (0,) * (3 - axes)
    geometry = (ones + (case.stride,) * axes, zeros + (case.padding,) * axes, (1, 1, 1),
                case.groups)
    names = ("conv", "conv_grad_input", "conv_grad_weight")
    kernels = [me.kernels.lookup(name, "fast") for name in names]
    y, of_x, of_weight = np.empty_like(g), np.empty_like(x), np.empty_like(weight)
    runs = {"forward": lambda: (kernels[0](x, weight, None, y, *geometry), y)[1],
            "input": lambda: (kernels[1](g, weight, of_x, *geometry), of_x)[1],
            "weight": lambda: (kernels[2](x, g, of_weight, *geometry), of_weight)[1]}
    return {**runs, **(ours_pooled(x, weight, g, geometry) if case.pools else {})}


def ours_pooled(x: np.ndarray, weight: np.ndarray, g: np.ndarray, geometry: Any) -> dict[str, Run]:
    """Return the kernels with ReLU and pooling; the gradient is the one of the pooled output."""
    names = ("conv_pool", "conv_pool_grad_input", "conv_pool_grad_weight", "relu_grad")
    pool, of_input, of_weights, relu_grad = [me.kernels.lookup(n, "fast") for n in names]
    windows, sizes = (1, 2, 2), g.shape[1:4]
    g = halved(g)
    y, before, index = np.empty_like(g), np.empty_like(g), np.empty(g.shape, np.uint8)
    of_x, of_weight = np.empty_like(x), np.empty_like(weight)

    def forward() -> np.ndarray:
        pool(x, weight, None, y, index, *geometry, "relu", (), windows, sizes)
        return y

    def pull(kernel: Any, inputs: tuple[Any, ...], out: np.ndarray) -> np.ndarray:
        relu_grad(g, y, before)
        kernel(*inputs, out, *geometry, windows, sizes)
        return out

    return {"pooled": forward,
            "p. input": lambda: pull(of_input, (before, index, weight), of_x),
            "p. weight": lambda: pull(of_weights, (x, before, index), of_weight)}


def halved(g: np.ndarray) -> np.ndarray:
    """Return a gradient behind windows of 2 x 2: one entry of each."""
    rows, columns = (n // 2 * 2 for n in g.shape[-3:-1])
    return np.ascontiguousarray(g[..., :rows:2, :columns:2, :])


def theirs(case: Case, x: np.ndarray, weight: np.ndarray, g: np.ndarray,
           channels_last: bool) -> dict[str, Run]:
    """Return PyTorch's calls; each returns its result with the channels first."""
    import torch

    axes = len(case.sizes)
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    layout = formats[axes] if channels_last else torch.contiguous_format
    tx, tw, tg = (torch.from_numpy(a).movedim(-1, 1).contiguous(memory_format=layout)
                  for a in (x, weight, g))
    stride, padding = [case.stride] * axes, [case.padding] * axes
    forward = getattr(torch.nn.functional, f"conv{axes}d")

    def pull(wanted: int) -> Any:
        return torch.ops.aten.convolution_backward(
            tg, tx, tw, None, stride, padding, [1] * axes, False, [0] * axes, case.groups,
            [wanted == 0, wanted == 1, False])[wanted]

    runs = {"forward": lambda: forward(tx, tw, None, stride, padding, 1, case.groups),
            "input": lambda: pull(0), "weight": lambda: pull(1)}
    if not case.pools:
        return runs
    functional = torch.nn.functional
    small = torch.from_numpy(halved(g)).movedim(-1, 1).contiguous(memory_format=layout)

    def pooled(x: Any, weight: Any) -> Any:
        y = functional.relu(forward(x, weight, None, stride, padding, 1, case.groups))
        return functional.max_pool2d(y, 2)

    leaves = [t.detach().requires_grad_() for t in (tx, tw)]
    graphs = [pooled(leaves[0], tw), pooled(tx, leaves[1])]

    def back(i: int) -> Any:
        return torch.autograd.grad(graphs[i], leaves[i], small, retain_graph=True)[0]

    return {**runs, "pooled": lambda: pooled(tx, tw), "p. input": lambda: back(0),
            "p. weight": lambda: back(1)}


REST = 0.2  # seconds: the peer's threads keep the cores busy for a while after their work


def seconds(run: Run, threads: int) -> float:
    """Return the time of one call after an untimed one, so that each peer finds in cache what its
    own last call left there; of one thread the time that it had a processor."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    if threads > 1:
        time.sleep(REST)
    run()
    start = clock()
    run()
    return clock() - start


def differs(a: np.ndarray, b: np.ndarray, direction: str) -> bool:
    """Compare entry by entry; gradients of maxima, of which rounding may move one to another
    place, as a whole."""
    if direction.startswith("p."):
        return bool(np.linalg.norm(a - b) > 1e-2 * np.linalg.norm(b))
    return bool(np.abs(a - b).max() > 1e-4 * np.abs(b).max())


def measure(case: Case, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Compare and time the three directions of a case."""
    rng = np.random.default_rng(0)
    axes = len(case.sizes)
    out = output_sizes(case.sizes, (case.kernel,) * axes, (case.stride,) * axes,
                       ((case.padding, case.padding),) * axes, (1,) * axes)
    x, weight, g = (rng.standard_normal(shape).astype(np.float32) for shape in (
        (case.N, *case.sizes, case.C), (case.F, *(case.kernel,) * axes, case.C // case.groups),
        (case.N, *out, case.F)))
    mine = ours(case, x, weight, g)
    layouts = (False, True) if axes > 1 else (False,)
    others = [theirs(case, x, weight, g, channels_last) for channels_last in layouts]
    flops = 2 * g.size * weight[0].size
    results = []
    for direction, run in mine.items():
        a = run()
        for other in others:
            b = other[direction]().movedim(1, -1).numpy().reshape(a.shape)
            if differs(a, b, direction):
                raise SystemExit(f"{case.name} {direction}: results differ from PyTorch's")
        times = []
        for _ in range(rounds):
            peak = peak_flops("float32", threads, repeats=3)
            times.append((peak, seconds(run, threads),
                          min(seconds(o[direction], threads) for o in others)))
        own = median(t[1] for t in times)
        results.append({
            "case": case.name, "direction": direction, "threads": threads,
            "gflops": flops / own / 1e9, "share_of_peak": median(
                flops / t[1] / t[0] for t in times),
            "times_torch": median(t[2] / t[1] for t in times)})
    return results


def main() -> None:
    """Measure the chosen cases, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("words", nargs="*", help="cases whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/out/conv.json"))
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
        "command": f"python -m benchmarks.conv --threads {options.threads}", **machine(),
        "results": results}, indent=2) + "\n")
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
