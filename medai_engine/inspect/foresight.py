"""What a step will cost and keep, told from shapes: it runs, but none of its kernels does.

An op's result has its shape, its node and its place in memory before a kernel has written a number,
and costs are functions of shapes. So a step runs here on memory that nobody touches: views are
made, nodes are tied, the reverse pass is walked, and every op says what it would cost. It takes
the time of the engine's Python, whatever the size of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from time import perf_counter
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from .. import kernels
from ..autograd import gradients, zeros
from ..generator import DEFAULT, Generator
from ..mode import switched
from ..nn import Module
from ..op import Op
from ..optim import Adam
from ..tensor import Buffer, Constant, Parameter, Tensor
from ..tree import flatten
from ..watch import Scene, Watcher

__all__ = ["Call", "Foresight", "foresee", "unchanged"]

SMALL = 64  # results of so few numbers are zeros, not what the memory held: Python may read them


class Call(NamedTuple):
    """One call of an op: whose, when, and what it costs."""

    module: Any  # the innermost, None outside
    phase: str  # "forward", "backward", "recomputed" or "optimizer"
    flops: int  # of contractions, 2 per multiply-add
    moved: int  # bytes, read and written
    dtype: str


class Ceilings(NamedTuple):
    """What this machine was measured to reach at most."""

    flops: float  # multiply-adds, two operations each, per second
    bandwidth: float  # bytes per second, read and written, of a copy among so much memory
    call: float  # seconds of a call of a kernel that has nothing to do


@cache
def ceilings(dtype: str, threads: int, bits: int) -> Ceilings:
    """Measure the ceilings for work among about 2^bits bytes: what fits the caches is faster."""
    from ..kernels.simd.ceilings import copy_bandwidth, peak_flops

    one = np.ones(1, np.float32)
    add = kernels.lookup("add", "fast")
    calls = []
    for _ in range(5):
        start = perf_counter()
        for _ in range(200):
            add(one, one, one)
        calls.append((perf_counter() - start) / 200)
    # a copy has two arrays, half the memory each
    return Ceilings(peak_flops(dtype, threads),
                    copy_bandwidth(threads, 1 << min(max(bits - 1, 20), 27)), min(calls))


class Foresight(Watcher):
    """What a step costs, and what it holds in memory.

    Attributes
    ----------
    calls : list of Call
        Without views, which cost nothing.
    kept : dict of module to int
        Bytes of the results that are alive between the forward and the backward pass, by the
        module that made them.
    live, peak : int
        Bytes of results that are alive now, and that were at most. Weights and the batch itself
        are not among them; gradients of parameters are.
    outside : int
        Bytes of weights, batch and Adam's states.
    """

    def __init__(self, given: Sequence[np.ndarray], learned: int) -> None:
        self.given = {id(owner(array)) for array in given}
        self.outside = sum(array.nbytes for array in given) + 2 * learned
        self.calls: list[Call] = []
        self.kept: dict[Any, int] = {}
        self.live = self.peak = 0
        self.held: dict[int, tuple[ref[np.ndarray], Any, int]] = {}  # by identity, while alive

    def op(self, scene: Scene, op: Op, inputs: Sequence[Tensor], results: Sequence[Tensor],
           params: dict[str, Any]) -> None:
        """Note the costs of a call, and hold the memory of its results."""
        arrays, outs = [t.data for t in inputs], [t.data for t in results]
        for out in outs:
            self.hold(out, scene.place.module)
        if op.view:
            return
        for out in outs:
            if out.dtype.kind != "f" or out.size <= SMALL:
                out[...] = 0  # an index that is none would be refused
        flops, _ = op.work(arrays, [(out.shape, out.dtype) for out in outs], params)
        if op.workspace is not None:
            self.peak = max(self.peak, self.live + op.workspace(arrays, outs, params))
        written = [arrays[i] for i in op.writes(len(arrays), **params)] if op.writes else outs
        floats = [a.dtype for a in (*arrays, *outs) if a.dtype.kind == "f"]
        self.calls.append(Call(scene.place.module, scene.place.phase, flops,
                               sum(a.nbytes for a in (*arrays, *written)),
                               str(floats[0]) if floats else "float32"))

    @property
    def working(self) -> int:
        """The bytes that the step as a whole works on."""
        return self.peak + self.outside

    def seconds(self, call: Call) -> float:
        """Predict the time of a call: the slower of arithmetic and memory, and Python's part."""
        reach = ceilings(call.dtype, kernels.get_num_threads(), self.working.bit_length())
        return max(call.flops / reach.flops, call.moved / reach.bandwidth) + reach.call

    def hold(self, array: np.ndarray, module: Any) -> None:
        """Count the memory behind an array as long as it is there."""
        array = owner(array)
        key, size = id(array), array.nbytes
        if key in self.held or key in self.given:
            return

        def gone(_: Any) -> None:
            del self.held[key]
            self.live -= size

        self.held[key] = ref(array, gone), module, size
        self.live += size
        self.peak = max(self.peak, self.live)

    def keep(self) -> None:
        """Note what is alive now as what the forward pass keeps."""
        for _, module, size in self.held.values():
            self.kept[module] = self.kept.get(module, 0) + size


def owner(array: np.ndarray) -> np.ndarray:
    """Return the array whose memory a view shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


@contextmanager
def unchanged(model: Module) -> Iterator[None]:
    """Put a model's attributes, buffers and random generators back to what they were."""
    attributes = [(module, dict(vars(module))) for module in model.modules()]
    tensors = [(t, t.data, t.written, t.data.copy() if isinstance(t, Buffer) else None)
               for t in (*model.parameters(), *model.buffers())]
    generators = {DEFAULT, *(v for _, found in attributes for v in found.values()
                             if isinstance(v, Generator))}
    states = [(generator, generator.get_state()) for generator in generators]
    try:
        yield
    finally:
        for module, found in attributes:
            vars(module).clear()
            vars(module).update(found)
        for t, data, written, values in tensors:
            t.data, t.written = data, written
            if values is not None:
                np.copyto(data, values)
        for generator, state in states:
            generator.set_state(state)


def foresee(model: Module, x: np.ndarray) -> Foresight:
    """Return what a training step of a model with Adam will cost on a batch like x.

    In place of the loss stands an elementwise op on each of the model's outputs. All sizes that the
    model infers have to be known, so it must have run before.
    """
    learned = [p for p in model.parameters() if p.requires_grad]
    found = Foresight([x, *(t.data for t in (*model.parameters(), *model.buffers()))],
                      sum(p.nbytes for p in learned))
    with unchanged(model), np.errstate(all="ignore"), switched(
            scene=Scene([found]), backend="none", grad=True):
        model.train()
        # a loss makes the outputs' gradients: here a product with 1 does
        outputs = [y * Constant(np.ones((), y.dtype)) for y in flatten(model(Tensor(x)))[0]
                   if isinstance(y, Tensor) and y.node is not None]
        found.keep()
        if outputs and learned:
            grads = gradients(outputs, learned, [Constant(zeros(y.shape, y.dtype))
                                                 for y in outputs])
            optimizer = Adam([Parameter(np.empty_like(p.data)) for p in learned])
            for p, g in zip(optimizer.param_groups[0]["params"], grads, strict=True):
                p.grad = g
            optimizer.step()
    return found
