"""The plan: prebound kernel calls over one arena, and the loop that replays them.

Everything that can be decided once is decided when the plan is bound: where each value lies, which
views exist, the arguments of every kernel. A call copies the arguments in, runs
``for f, a in calls: f(*a)`` and hands copies of the results out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import kernels
from ..kernels import copy_in, empty, ready, references, unheld
from ..op import OPS, Op
from ..tensor import CLOCK, Gradient, Tensor
from ..watch import Scene
from .history import Recorded, Stage, history
from .memory import ARENA, Layout, is_view, layout, whole
from .record import Line, Offset, Program, Recorder, Value, uncollected
from .rewrite import rewrite
from .show import Profile, listing, profile

__all__ = ["Plan"]

LARGE = 1 << 24  # bytes of gradients that are not kept for a plan that may not come again
Call = tuple[Callable[..., Any], Sequence[Any]]


class Plan:
    """A program bound to memory.

    Attributes
    ----------
    program : Program
        The lines, after rewriting.
    layout : Layout
        Offsets, arena size and peak (bytes); made at the first replay.
    eager : int
        The most bytes of intermediate results that were alive at once in the eager run.
    calls : list of (function, arguments)
        What a replay runs.
    origins : list of Line or None
        The line of each call.
    arrays : dict
        Where each value lies (for those who look on).
    """

    def __init__(self, recorder: Recorder, backend: str, exact: bool):
        self.recorder = recorder
        self.program = recorder.program
        self.backend = backend
        self.exact = exact
        self.eager = recorder.peak
        self.layout: Layout | None = None
        self.memory: np.ndarray | None = None
        self.calls: list[Call] = []
        self.results: list[Any] = []
        self.arrays: dict[Value, np.ndarray] = {}
        self.own: list[Value] = []
        self.grads: list[tuple[Any, Any]] = []
        self.watched: tuple[list[Any], ...] = ()

    def __repr__(self) -> str:
        return listing(self)

    def profile(self, repeats: int = 10) -> Profile:
        """Time each line: seconds, GFLOP/s, GB/s and the share of the machine's ceiling."""
        return profile(self, repeats)

    def history(self) -> list[Stage]:
        """Rewrite the recorded program once more; return what each rule did."""
        if self.layout is None:
            self.prepare()
        return history(self.recorded, self.exact)

    # binding

    def prepare(self) -> None:
        """Rewrite the program and lay out the memory, once."""
        program = self.program
        keep_own_gradients(program)
        self.recorded = Recorded(program)
        rewrite(program, self.exact)
        # gradients of leaves outside lie in memory of their own, which is used again and again
        self.own = [value for leaf, value in program.grads
                    if isinstance(value, Value) and isinstance(leaf, Tensor)]
        self.layout = layout(program, {value.root for value in self.own})

    @uncollected()
    def bind(self) -> None:
        """Bind everything to the present memory, and to new memory for gradients."""
        if self.layout is None:
            self.prepare()
        self.memory = None
        self.grads, self.calls, self.watched = [], [], ()  # lets go of the gradients before
        self.arrays = {}
        for leaf, was_there in self.recorder.leaves():
            if was_there is None:
                leaf.grad = None  # to be overwritten in any case: its memory is free
        self.bind_lines()
        given = [(leaf, g) for leaf, g in self.grads if isinstance(g, Tensor)]
        leaves, grads = [leaf for leaf, _ in given], [g for _, g in given]
        arrays = [g.data for g in grads]
        del given
        # how often each is referred to while nobody else has it
        self.watched = (leaves, grads, arrays, references(grads) + references(arrays))
        self.memory = ARENA.memory  # now, and not before, it can run

    def release(self) -> None:
        """Give back the memory of gradients, if it is large: another plan is used now."""
        if sum(value.nbytes for value in self.own) > LARGE:
            self.memory, self.calls, self.grads, self.watched = None, [], [], ()
            self.arrays = {}

    def bind_lines(self) -> None:
        """Make every view and every argument list."""
        program, blocks = self.program, self.layout.blocks  # type: ignore[union-attr]
        buffers = [empty(value.shape, value.dtype) for value in self.own]
        memory = ARENA.hold(self.layout.arena)  # type: ignore[union-attr]
        arrays = self.arrays
        for value in (*program.values(), *program.kept()):
            if value.kind in ("state", "constant"):
                arrays[value] = value.source.data
        for root, block in blocks.items():
            stop = block.offset + root.nbytes
            arrays[root] = memory[block.offset: stop].view(root.dtype).reshape(root.shape)
        for value, array in zip(self.own, buffers, strict=True):
            arrays[value.root] = array.reshape(value.root.shape)
            arrays[value] = array
        self.checks: list[Call] = []
        self.draws: dict[Any, list[tuple[Any, Any, Any, int]]] = {
            generator: [] for generator in self.recorder.draws}
        self.origins: list[Line | None] = []
        for line in program.lines:
            self.bind_line(line, arrays)
            self.origins += [line] * (len(self.calls) - len(self.origins))
        self.calls = [(advance, [generator, self.recorder.draws[generator][1], places])
                      for generator, places in self.draws.items()] + self.calls
        self.origins[:0] = [None] * len(self.draws)
        read = {value.root for value in (*program.values(), *program.kept())}
        self.arguments = [arrays[value] if value in read else None for value in program.arguments]
        self.reads = [(value.source, arrays[value]) for value in blocks if value.kind == "grad"]
        self.results = [arrays[v] if isinstance(v, Value) else None for v in program.outputs]
        self.fixed = [(i, v) for i, v in enumerate(program.outputs) if not isinstance(v, Value)]
        self.written = written_tensors(program)
        self.marked = written_tensors(program, states=False)  # those are in nobody's graph
        for leaf, kept in program.grads:
            array = arrays[kept] if kept is not None else None
            self.grads.append((leaf, Gradient(array, leaf.node)
                               if array is not None and isinstance(leaf, Tensor) else array))

    def bind_line(self, line: Line, arrays: dict[Value, np.ndarray]) -> None:
        """Append the call of a line, or make its views."""
        op = line.op
        inputs = [arrays[value] for value in line.inputs]
        if op is None:
            self.bind_check(line.host, inputs, line.inputs)
            return
        if is_view(line):
            views = op.definition(*inputs, **line.params)
            arrays.update(zip(line.outputs, views if type(views) is list else [views],
                              strict=True))
            return
        outputs = [arrays[value] for value in line.outputs]
        if op.check is not None:
            self.bind_check(partial(op.check, **line.params), inputs, [
                v for v in line.inputs if v.dtype.kind != "f"] or line.inputs)
        if OPS.get(op.name) is not op and op.kernel is None:
            self.calls.append((run_users, [op, inputs, outputs, line.params]))
            return
        function = chosen(op, inputs, self.backend)
        params = line.params
        offset = params.get("offset")
        if isinstance(offset, Offset):
            params = {**params, "seed": Offset(params["seed"], None, 0)}
        arguments = list(op.prepare(inputs, outputs, params) if op.prepare is not None else
                         [*inputs, *outputs, *[params[name] for name in op.params]])
        if op.prepare is not None and copied(
                [a for a in arguments if all(a is not p for p in params.values())],
                inputs, outputs):
            self.calls.append((run_prepared, [op, function, inputs, outputs, params]))
            if isinstance(offset, Offset):
                self.draws[offset.generator].append((params, "seed", "offset", offset.relative))
            return
        if isinstance(offset, Offset):
            seed, place = (next(i for i, a in enumerate(arguments) if a is wanted)
                           for wanted in (params["seed"], offset))
            self.draws[offset.generator].append((arguments, seed, place, offset.relative))
        self.calls.append((function, arguments if isinstance(offset, Offset) else tuple(arguments)))

    def bind_check(self, function: Any, arrays: list[np.ndarray], seen: list[Value]) -> None:
        """Let a check run before anything is written, if it sees arguments; else in its place."""
        early = seen and all(value.root.kind != "temporary" for value in seen)
        (self.checks if early else self.calls).append((function, tuple(arrays)))

    # replay

    def __call__(self, leaves: list[np.ndarray], tensors: Sequence[Any],
                 scene: Scene | None = None) -> list[Any]:
        """Run on the arrays of the arguments; return the leaves of the result."""
        if self.memory is not ARENA.memory:
            self.bind()
        if not unheld(*self.watched):
            self.bind()  # somebody holds a gradient of the last call: it stays as it is
        copy_in(self.arguments, leaves)
        for check, inputs in self.checks:
            check(*inputs)
        for source, buffer in self.reads:
            np.copyto(buffer, (tensors[source] if type(source) is int else source).grad.data)
        if scene is None:
            for function, arguments in self.calls:
                function(*arguments)
        else:
            scene.replay(self)
        for leaf, g in self.grads:
            if type(leaf) is int:
                t = tensors[leaf]
                t.grad = None if g is None else Gradient(g.copy(), t.node)
            else:
                leaf.grad = g
        CLOCK[0] = now = CLOCK[0] + 1
        for t in self.marked:
            t.written = now
        found = [None if a is None else Tensor(a.copy()) for a in self.results]
        for i, x in self.fixed:
            found[i] = x
        return found

    def positions(self) -> list[int]:
        """Return the random offsets of the last replay, in the order of the draws."""
        taken = self.recorder.draws
        return [generator.offset - taken[generator][1] + relative
                for generator, relative in self.recorder.drawn]


def keep_own_gradients(program: Program) -> None:
    """Copy gradients that would be left in memory that is not theirs alone."""
    for i, (leaf, value) in enumerate(program.grads):
        if isinstance(value, Value) and not (value.root.kind == "temporary" and whole(value)):
            own = program.packed(value)
            program.lines.append(Line(OPS["copy"], {}, [value], [own]))
            program.grads[i] = (leaf, own)


def written_tensors(program: Program, states: bool = True) -> list[Tensor]:
    """Return the tensors whose storage the program writes, with or without optimisers' states."""
    found = {}
    for line in program.lines:
        parameters = len(line.params["hyper"]) if "hyper" in line.params else len(line.writes)
        for value in line.writes if states else line.writes[:parameters]:
            t = value.root.source
            if isinstance(t, Tensor):
                for each in (t, t.base):
                    if each is not None:
                        found[id(each)] = each
    return list(found.values())


def copied(arguments: Sequence[Any], inputs: list[np.ndarray], outputs: list[np.ndarray]) -> bool:
    """Tell whether a kernel's arguments hold a copy of an input, to be made at every call.

    Other integers are converted to int64, and axes are brought together for a reduction.
    """
    return any(
        isinstance(a, np.ndarray) and any(a.size == x.size > 0 for x in inputs)
        and not any(np.may_share_memory(a, x) for x in (*inputs, *outputs)) for a in arguments)


def chosen(op: Op, inputs: list[np.ndarray], backend: str) -> Callable[..., Any]:
    """Return the text that computes an op on these inputs, as ``apply`` chooses it."""
    if op.kernel is None or ready(inputs) & 6 != 6 or backend == "reference":
        return op.definition
    return op.compiled if backend == "fast" else kernels.lookup(op.kernel, backend)


def run_prepared(op: Op, function: Callable[..., Any], inputs: list[np.ndarray],
                 outputs: list[np.ndarray], params: dict[str, Any]) -> None:
    """Run a kernel whose arguments depend on values."""
    function(*op.prepare(inputs, outputs, params))  # type: ignore[misc]


def run_users(op: Op, inputs: list[np.ndarray], outputs: list[np.ndarray],
              params: dict[str, Any]) -> None:
    """Run an op of a user's, which returns new arrays."""
    for out, y in zip(outputs, op.definition(*inputs, **params), strict=True):
        np.copyto(out, y)


def advance(generator: Any, count: int, places: list[tuple[Any, Any, Any, int]]) -> None:
    """Take a generator's next numbers, and write seed and offsets into the argument lists."""
    start = generator.offset
    generator.offset = start + count
    for arguments, seed, offset, relative in places:
        arguments[seed] = generator.seed
        arguments[offset] = start + relative
