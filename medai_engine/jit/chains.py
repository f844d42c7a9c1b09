"""Chains of elementwise lines become one line that makes one pass over memory.

Lines of one result shape that feed each other, or read the same array, are gathered and run where
the last of them stood, by the kernel ``program``: a tile of each intermediate stays in cache, and
results that only the chain reads are never written. The bits are those of the single kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..coerce import FLOATS
from ..kernels.program.reference import MAX_DIMS, MAX_INPUTS, MAX_STEPS, OPCODES, TESTS
from ..op import OPS, Op
from .record import Line, Program, Value, joined

__all__ = ["chains"]

FEW, LARGE = 4, 4096  # steps, or elements, from which one call is faster than several


class Chain:
    """Lines that will run together, at the place of the last one."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], frame: int):
        self.key = shape, dtype, frame
        self.members: list[int] = []
        self.made: dict[Value, None] = {}
        self.reads: dict[Value, None] = {}  # from outside
        self.open = True

    def sees(self, line: Line) -> bool:
        """Tell whether a line reads memory of a result that is not the result itself: a view."""
        return any(v.root in self.made and v not in self.made for v in line.inputs)

    def take(self, i: int, line: Line) -> None:
        """Append a line."""
        self.members.append(i)
        self.reads.update(dict.fromkeys(v for v in line.inputs if v not in self.made))
        self.made[line.outputs[0]] = None

    def fits(self, others: Iterable[Chain], line: Line) -> bool:
        """Tell whether the kernel has room for these chains and the line together."""
        chains = [self, *others]
        made = {v for c in chains for v in c.made}
        reads = {v for c in chains for v in c.reads} | set(line.inputs)
        return (len(reads - made) <= MAX_INPUTS
                and sum(len(c.members) for c in chains) < MAX_STEPS)

    def absorb(self, other: Chain) -> None:
        """Take over the members of another chain."""
        self.members = sorted(self.members + other.members)
        self.made.update(other.made)
        self.reads.update(other.reads)
        other.open = False
        other.members = []


def key_of(line: Line, stable: set[Value]) -> tuple[Any, ...] | None:
    """Return shape, dtype and checkpoint of an elementwise line; None for any other."""
    op = line.op
    if op is None or op is not OPS.get(op.name) or opcode(op) not in OPCODES:
        return None
    y = line.outputs[0]
    floats = [v.dtype for v in line.inputs if v.dtype != np.bool_]
    conditions = [v.dtype == np.bool_ for v in line.inputs]
    if (not floats or floats[0] not in FLOATS or len(set(floats)) > 1
            or any(c != (op.name == "where" and i == 0) for i, c in enumerate(conditions))
            or y.dtype != (np.bool_ if op.name in TESTS else floats[0])
            or y.root in stable or not y.nbytes or len(y.shape) > MAX_DIMS):
        return None
    return y.shape, floats[0], line.frame


def opcode(op: Op) -> str:
    """Return the kernel's name of an elementwise op; a copy is the kernel ``positive``."""
    return "positive" if op is OPS["copy"] else op.name if op.elementwise else ""


class Gathering:
    """The chains that can still grow, found by what they make and read."""

    def __init__(self, program: Program):
        self.stable = {value.root for line in program.lines for value in line.writes}
        self.makers: dict[Value, Chain] = {}
        self.readers: dict[Value, Chain] = {}  # the last chain that reads a large array
        self.found: list[Chain] = []

    def close(self, chain: Chain) -> None:
        """Let a chain end where it is."""
        chain.open = False
        for value in chain.made:
            self.makers.pop(value, None)

    def join(self, i: int, line: Line, key: tuple[Any, ...]) -> Chain:
        """Put an elementwise line into the chains that feed it, or into a new one."""
        made = [self.makers[v] for v in line.inputs if v in self.makers]
        near = made or [c for c in (self.readers.get(v) for v in line.inputs
                                    if v.nbytes >= LARGE) if c is not None and c.open]
        near = list(dict.fromkeys(c for c in near if c.key == key and not c.sees(line)))
        if not made:
            near = near[-1:]
        if near and near[0].fits(near[1:], line):
            chain = near[0]
            for other in near[1:]:
                chain.absorb(other)
        else:
            chain = Chain(*key)
            self.found.append(chain)
        chain.take(i, line)
        self.makers.update(dict.fromkeys(chain.made, chain))
        self.readers.update((v, chain) for v in chain.reads)
        return chain

    def leave(self, line: Line, chain: Chain | None) -> None:
        """End the chains whose results a line outside reads, or whose inputs it writes."""
        for value in line.inputs:
            maker = self.makers.get(value.root)
            if maker is not None and maker is not chain:
                self.close(maker)
        if line.writes:
            roots = {value.root for value in line.writes}
            for other in set(self.makers.values()):
                if any(v.root in roots for v in other.reads):
                    self.close(other)


def gather(program: Program) -> list[Chain]:
    """Find chains in one walk; a chain ends where another line reads its results."""
    gathering = Gathering(program)
    for i, line in enumerate(program.lines):
        if line.op is not None and line.op.view and line.outputs[0].root is not line.outputs[0]:
            continue  # no work: only another look at memory
        key = key_of(line, gathering.stable)
        chain = None if key is None else gathering.join(i, line, key)
        gathering.leave(line, chain)
    return [c for c in gathering.found if len(c.members) >= FEW or (
        len(c.members) > 1 and math.prod(c.key[0]) >= LARGE)]


def assemble(lines: list[Line], wanted: set[Value]) -> Line:
    """Return the one line that does the work of an ordered chain."""
    made = [line.outputs[0] for line in lines]
    inputs = list(dict.fromkeys(v for line in lines for v in line.inputs if v not in set(made)))
    outputs = [v for v in made if v in wanted]
    last = {v: k for k, line in enumerate(lines) for v in line.inputs}
    register = {v: r for r, v in enumerate([*inputs, *outputs])}
    free: dict[np.dtype[Any], list[int]] = {v.dtype: [] for v in made}  # bytes and numbers apart
    top = first = len(register)
    code = np.zeros((len(lines), 6), np.int64)
    numbers = np.zeros((len(lines), 2))
    for k, line in enumerate(lines):
        y = line.outputs[0]
        sources = [register[v] for v in line.inputs]
        for v in set(line.inputs):
            if last[v] == k and register[v] >= first:
                free[v.dtype].append(register[v])
        if y not in register:
            if not free[y.dtype]:
                free[y.dtype].append(top)
                top += 1
            register[y] = free[y.dtype].pop()
        assert line.op is not None
        values = [line.params[name] for name in line.op.params] if line.op.elementwise else []
        code[k] = (OPCODES[opcode(line.op)], len(sources), *sources, *[0] * (3 - len(sources)),
                   register[y])
        numbers[k, :len(values)] = values
    begins = min(made.index(v) for v in outputs)  # the first step that writes outside
    names = [f"x{i}" for i in range(len(inputs))]
    specs = [(v.shape, v.dtype) for v in outputs]
    work = sum(line.op.work((), [(y.shape, y.dtype)], line.params)[1]
               for line, y in zip(lines, made, strict=True) if line.op is not None)
    op = Op("program", kernel="program", infer=lambda *_, **__: specs,
            names=(tuple(names), ("code", "numbers")), outputs=[f"y{i}" for i in outputs],
            prepare=lambda arrays, outs, params: (
                list(arrays), list(outs), params["code"], params["numbers"]),
            inplace=[name for name, v in zip(names, inputs, strict=True) if last[v] <= begins],
            work=lambda arrays, outs, params: (0, work), strided=True,
            doc="; ".join(line.op.doc for line in lines if line.op is not None))
    result = Line(op, {"code": code, "numbers": numbers}, inputs, outputs, place=lines[-1].place,
                  frame=lines[-1].frame)
    result.by = [*dict.fromkeys(by for line in lines for by in line.by),
                 joined("chain of " + ", ".join(
                     line.op.name for line in lines if line.op is not None), lines)]
    return result


def chains(program: Program) -> int:
    """Let chains of elementwise lines be one line each."""
    found = gather(program)
    place = {c.members[-1]: c for c in found}
    member = {i: c for c in found for i in c.members}
    wanted = set(program.kept())
    readers: dict[Value, set[Any]] = {}
    for i, line in enumerate(program.lines):
        for v in line.inputs:
            readers.setdefault(v, set()).add(member.get(i))
    lines: list[Line] = []
    later: set[Value] = set()  # results of chains still to come, and views of them
    waiting: list[Line] = []
    for i, line in enumerate(program.lines):
        if i in member and i not in place:
            later.update(line.outputs)
        elif i in place:
            chain = place[i]
            outside = {v for v in chain.made
                       if v in wanted or readers.get(v, set()) - {chain}}
            lines.append(assemble([program.lines[k] for k in chain.members], outside))
            later.difference_update(chain.made)
            for view in waiting[:]:
                if not later.intersection(view.inputs):
                    later.difference_update(view.outputs)
                    waiting.remove(view)
                    lines.append(view)
        elif later.intersection(line.inputs):
            later.update(line.outputs)
            waiting.append(line)
        else:
            lines.append(line)
    changes = len(program.lines) - len(lines)
    program.lines = lines
    return changes
