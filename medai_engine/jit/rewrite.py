"""Simplifying a program: a table of small rules, each exact to the bit.

A rule takes the program, changes its lines and returns how many changes it made; what it made of
lines stands in ``line.by``. A value is a place in memory, so a rule asks before it moves or shares
anything whether some line writes there (``written``), and never removes what can be seen from
outside: kept values, writes, host calls, and the checks of index-like inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..mode import switched
from ..op import OPS, apply
from ..tensor import Constant
from .chains import chains
from .epilogues import epilogues, pooling, results, sums
from .record import Line, Offset, Program, Value, packed
from .updates import updates
from .upsampling import upsampling

__all__ = ["RULES", "rewrite"]

SMALL = 1 << 16  # bytes of a constant that is worth keeping


def written(program: Program) -> set[Value]:
    """Return the roots that some line updates in place."""
    return {value.root for line in program.lines for value in line.writes}


def pure(line: Line) -> bool:
    """Tell whether a line is a call of the engine's that gives the same at any time.

    Random numbers are not, nor is a user's op, whose text is unknown.
    """
    op = line.op
    return (op is not None and OPS.get(op.name) is op and op.check is None and not line.writes
            and not any(isinstance(p, Offset) for p in line.params.values()))


def follow(line: Line, instead: dict[Value, Value]) -> None:
    """Let a line read what has taken the place of its inputs."""
    if instead:
        line.inputs = [instead.get(value, value) for value in line.inputs]
        for value in line.outputs:
            if value.root in instead:
                value.root = instead[value.root].root


def array_of(value: Value) -> np.ndarray | None:
    """Return the numbers of a small constant."""
    if value.kind != "constant" or value.root is not value or value.nbytes > SMALL:
        return None
    return value.source.data


# ---- constants --------------------------------------------------------------------------------


def fold(program: Program) -> int:
    """Compute what depends on constants alone, once: the 1/N of a mean's gradient."""
    kept, stable = set(program.kept()), written(program)
    known: dict[Value, np.ndarray] = {}
    lines = []
    for line in program.lines:
        arrays = [a for a in (known.get(v, array_of(v)) for v in line.inputs) if a is not None]
        if (line.op is None or not pure(line) or not arrays or len(arrays) < len(line.inputs)
                or any(v in kept or v.root in stable for v in line.outputs)
                or (sum(v.nbytes for v in line.outputs) > SMALL and not line.op.view)):
            lines.append(line)
            continue
        with switched(grad=False, recorder=None, scene=None):
            found = apply(line.op, *map(Constant, arrays), **line.params)
        for value, t in zip(line.outputs, found if isinstance(found, tuple) else (found,),
                            strict=True):
            known[value] = t.data
            if value.root is value:
                value.kind, value.source = "constant", Constant(t.data)
        if any(value.root is not value for value in line.outputs):
            lines.append(line)  # views are made when the plan is; a later line may read them
    changes = len(program.lines) - len(lines)
    program.lines = lines
    return changes


def merge_constants(program: Program) -> int:
    """Let equal constants be one value."""
    first: dict[Any, Value] = {}
    instead: dict[Value, Value] = {}
    for value in dict.fromkeys(v for line in program.lines for v in line.inputs):
        array = array_of(value)
        if array is not None:
            key = (array.dtype, array.shape, array.strides, array.tobytes())
            if first.setdefault(key, value) is not value:
                instead[value] = first[key]
    for line in program.lines:
        follow(line, instead)
    return len(instead)


# ---- the same again ---------------------------------------------------------------------------


def neutral(line: Line) -> bool:
    """Tell whether a line returns its first input to the bit: times 1, by 1, a copy."""
    if line.op is OPS["copy"]:
        return True
    if line.op not in (OPS["multiply"], OPS["divide"]):
        return False
    number = array_of(line.inputs[1])
    return number is not None and bool((number == 1).all())


def identities(program: Program) -> int:
    """Drop lines that change nothing."""
    kept, stable = set(program.kept()), written(program)
    instead: dict[Value, Value] = {}
    lines = []
    for line in program.lines:
        follow(line, instead)
        if line.op is not None and not line.writes and neutral(line):
            x, y = line.inputs[0], line.outputs[0]
            if (y not in kept and x.root not in stable and y.root not in stable
                    and (x.shape, x.dtype) == (y.shape, y.dtype)
                    and x.strides == packed(x.shape, x.dtype.itemsize)):
                instead[y] = x
                continue
        lines.append(line)
    changes = len(program.lines) - len(lines)
    program.lines = lines
    return changes


def frozen(x: Any) -> Any:
    """Return a hashable key of a parameter; what has none is like nothing else."""
    if isinstance(x, (tuple, list)):
        return type(x), tuple(map(frozen, x))
    if isinstance(x, slice):
        return slice, x.start, x.stop, x.step
    if x is None or isinstance(x, (bool, int, str, np.dtype, type)) or x is Ellipsis:
        return type(x), x
    if isinstance(x, float):
        return float, x.hex()  # 0.0 is not -0.0
    return object, id(x)


def common(program: Program) -> int:
    """Compute a thing once: the same op on the same values, nothing written in between."""
    kept, stable = set(program.kept()), written(program)
    version: dict[Value, int] = {}
    first: dict[Any, Line] = {}
    instead: dict[Value, Value] = {}
    lines = []
    for line in program.lines:
        follow(line, instead)
        for value in line.writes:
            version[value.root] = version.get(value.root, 0) + 1
        if line.op is not None and pure(line) and not any(
                v.root in stable for v in line.outputs if v.root is v):
            key = (line.op.name, line.frame,
                   tuple((v.serial, version.get(v.root, 0)) for v in line.inputs),
                   tuple((name, frozen(p)) for name, p in sorted(line.params.items())))
            same = first.setdefault(key, line)
            if same is not line and not any(v in kept for v in line.outputs):
                instead.update(zip(line.outputs, same.outputs, strict=True))
                if "common" not in same.by:
                    same.by.append("common")
                continue
        lines.append(line)
    changes = len(program.lines) - len(lines)
    program.lines = lines
    return changes


def dead(program: Program) -> int:
    """Drop lines whose results nobody reads."""
    live = {v for value in program.kept() for v in (value, value.root)}
    lines = []
    for line in reversed(program.lines):
        needed = (line.op is None or line.op.check is not None
                  or any(v.root.kind != "temporary" or v.root in live for v in line.writes)
                  or any(v.root in live for v in line.outputs if v.root is v)
                  or any(v in live for v in line.outputs))
        if needed:
            live.update(line.inputs, (v.root for v in line.inputs))
            lines.append(line)
    changes = len(program.lines) - len(lines)
    program.lines = lines[::-1]
    return changes


RULES: Sequence[Callable[[Program], int]] = (
    fold, merge_constants, identities, common, dead, results, epilogues, pooling,
    sums, chains, updates, dead)
# Rules that round differently: for me.jit(fn, exact=False).
ROUNDING: Sequence[Callable[[Program], int]] = (upsampling,)


def rewrite(program: Program, exact: bool = True,
            heard: Callable[[str, str, int], None] | None = None) -> dict[str, int]:
    """Apply the rules in order; return how many changes each has made.

    ``heard`` is told of every rule that has run: its name, what it does, its changes.
    """
    made: dict[str, int] = {}
    for rule in RULES if exact else (*ROUNDING, *RULES):
        changes = rule(program)
        made[rule.__name__] = made.get(rule.__name__, 0) + changes
        if heard is not None:
            heard(rule.__name__, (rule.__doc__ or "").partition("\n")[0], changes)
    return made
