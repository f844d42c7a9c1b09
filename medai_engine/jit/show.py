"""Plans as pages: what each line does, where its result lies, how long it takes.

``print(step.plan)`` lists kernels, values with shapes, operations, bytes moved, arena offsets, the
user's source lines and the rules that made them. ``step.plan.profile()`` adds times, and each as a
share of what the machine can do: of its multiply-adds, or of its memory, whichever is nearer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import kernels
from ..errors import GraphError, say
from ..tensor import Tensor
from .memory import ARENA, is_view
from .record import Line, Value

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["Profile", "listing", "profile", "work"]

NAMED = 3  # values listed of a long row


def work(line: Line) -> tuple[int, int, int]:
    """Return contraction flops, other operations, and bytes moved of a line."""
    if line.op is None:
        return 0, 0, 0
    arrays = [np.broadcast_to(np.empty((), v.dtype), v.shape) for v in line.inputs]
    specs = [(v.shape, v.dtype) for v in line.outputs]
    flops, other = line.op.work(arrays, specs, line.params)
    return flops, other, sum(v.nbytes for v in (*line.inputs, *line.outputs, *line.writes))


def amount(n: float, unit: str = "") -> str:
    """Return a number with three digits and a prefix: 12.3 k."""
    for prefix in ("", "k", "M", "G", "T"):
        if abs(n) < 999.5:
            return f"{n:.3g} {prefix}{unit}".rstrip()
        n /= 1000
    return f"{n:.3g} P{unit}"


def took(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    for unit, scale in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3)):
        if seconds * scale < 999.5:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def values(found: Sequence[Value]) -> str:
    """Return values with their shapes, the first ones of many."""
    shown = ", ".join(map(repr, found[:NAMED if len(found) > NAMED + 1 else None]))
    return f"{shown} and {len(found) - NAMED} more" if len(found) > NAMED + 1 else shown


def place(line: Line, plan: Plan) -> str:
    """Return where the results of a line lie."""
    if line.writes:
        return "in place"
    if plan.layout is None:
        return "?"
    blocks = plan.layout.blocks
    return ", ".join(str(blocks[v.root].offset) if v.root in blocks else "own"
                     for v in line.outputs[:NAMED])


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int]) -> list[str]:
    """Return lines of a table, columns aligned."""
    cells = [tuple(head), *map(tuple, rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    return ["  ".join(cell.rjust(width) if k in right else cell.ljust(width) for k, (cell, width)
                      in enumerate(zip(row, widths, strict=True))).rstrip() for row in cells]


def cells(number: int, line: Line, plan: Plan) -> tuple[str, ...]:
    """Return what the table says of a line."""
    if line.op is None:
        return str(number), "host", "", "", "", "", line.site, ""
    flops, other, moved = work(line)
    made = f" -> {values(line.outputs)}" if line.outputs else ""
    where = f"{line.site} {line.place.path}".strip()
    return (str(number), line.op.name, values(line.inputs) + made, amount(flops + other),
            amount(moved), place(line, plan), where, "; ".join(line.by))


HEAD = ("#", "kernel", "inputs -> outputs", "ops", "bytes", "offset", "source", "rule")


def listing(plan: Plan) -> str:
    """Return the plan as a table, one row per kernel call; views cost nothing and are left out."""
    lines = [line for line in plan.program.lines if not is_view(line)]
    found = plan.layout
    sizes = "not laid out before the first replay" if found is None else (
        f"arena {amount(found.arena, 'B')}, of which {amount(found.peak, 'B')} live at the peak")
    return "\n".join([
        f"plan of {len(lines)} lines, {sum(bool(line.by) for line in lines)} of them rewritten; "
        f"{sizes}; eager held {amount(plan.eager, 'B')}",
        *table(HEAD, (cells(i, line, plan) for i, line in enumerate(lines)), (0, 3, 4, 5))])


# ---- profile ----------------------------------------------------------------------------------


class Timed(NamedTuple):
    """What a line took: seconds, rates, and the share of the machine's ceiling."""

    line: Line
    seconds: float
    flops: float
    bandwidth: float
    share: float


class Profile(list[Timed]):
    """The lines of a plan with their times; prints as a table."""

    def __str__(self) -> str:
        total = sum(row.seconds for row in self)
        rows = [(str(i), "host" if row.line.op is None else row.line.op.name,
                 f"{1e6 * row.seconds:.2f}", f"{100 * row.seconds / total:.1f}",
                 f"{1e-9 * row.flops:.2f}", f"{1e-9 * row.bandwidth:.2f}",
                 f"{100 * row.share:.1f}", row.line.site, "; ".join(row.line.by))
                for i, row in enumerate(self)]
        return "\n".join([
            f"{1e6 * total:.2f} us in {len(self)} lines; % ceiling: of the multiply-adds or of a "
            "copy through main memory, whichever is nearer (above 100: from cache)",
            *table(("#", "kernel", "us", "%", "GFLOP/s", "GB/s", "% ceiling", "source", "rule"),
                   rows, (0, 2, 3, 4, 5, 6))])

    __repr__ = __str__


@cache
def ceilings(dtype: str, threads: int) -> tuple[float, float]:
    """Return operations and bytes per second that this machine reaches."""
    if not kernels.COMPILED:
        raise GraphError(say("profile", "compiled kernels", "none", "Install a C compiler"))
    from ..kernels.simd.ceilings import copy_bandwidth, peak_flops

    return peak_flops(dtype, threads), copy_bandwidth(threads)


def elapsed(start: float) -> float:
    """Return the seconds since then."""
    return perf_counter() - start


def profile(plan: Plan, repeats: int = 10) -> Profile:
    """Time each line of a plan: the fastest of ``repeats`` passes over all of them.

    Arguments are random numbers (zeros where they are integers); what the lines write outside is
    put back, and host calls are left out, so that the step's state stays as it was.
    """
    if plan.memory is not ARENA.memory:
        plan.bind()
    outside = [*plan.written, *(g for _, g in plan.grads if isinstance(g, Tensor))]
    kept = [(array, array.copy()) for array in {id(t.data): t.data for t in outside}.values()]
    rng = np.random.default_rng(0)
    inputs = [(a, rng.normal(size=a.shape).astype(a.dtype) if a.dtype.kind == "f" else
               np.zeros(a.shape, a.dtype)) for a in plan.arguments if a is not None]
    best = [float("inf")] * len(plan.calls)
    idle = min(elapsed(perf_counter()) for _ in range(100))
    try:
        for _ in range(repeats):
            for array, numbers in (*kept, *inputs):
                np.copyto(array, numbers)
            for i, (line, (function, arguments)) in enumerate(
                    zip(plan.origins, plan.calls, strict=True)):
                if line is not None and line.op is not None:
                    start = perf_counter()
                    function(*arguments)
                    best[i] = min(best[i], elapsed(start) - idle)
    finally:
        for array, numbers in kept:
            np.copyto(array, numbers)
    threads = kernels.get_num_threads()
    found = Profile()
    for line, seconds in zip(plan.origins, best, strict=True):
        if line is None or line.op is None:
            continue
        seconds = max(seconds, 1e-9)
        flops, other, moved = work(line)
        floats: Any = [v.dtype for v in line.inputs if v.dtype.kind == "f"]
        peak, bandwidth = ceilings(str(floats[0]) if floats else "float32", threads)
        found.append(Timed(line, seconds, (flops + other) / seconds, moved / seconds,
                           max(flops / peak, moved / bandwidth) / seconds))
    return found
