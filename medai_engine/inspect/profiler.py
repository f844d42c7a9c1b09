"""Where the time and the memory of a computation go: ``with me.profile() as p:``.

A watcher (``watch``) that notes of every op, eager or a line of a plan, when its kernel ran; all
else is done when somebody asks. What lies between the kernels (shapes, memory, graph, Python, and
the notes themselves) is shown as engine and Python time, so the rows add up to the wall time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import groupby, pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple
from weakref import ref

from .. import kernels
from ..errors import ParameterError, say
from ..jit.plan import Plan
from ..jit.record import Line
from ..jit.show import amount, ceilings, table, work
from ..op import Op
from ..tensor import Tensor
from ..watch import Place, Scene, Watcher, watching

__all__ = ["Call", "Kind", "Profiler", "Row", "profile"]

SHOWN = 14  # rows of a printed table
SMALL = 1 << 12  # bytes of results whose life is not followed


class Kind(NamedTuple):
    """What equal calls have in common.

    Attributes
    ----------
    name : str
        The op; ``chain of exp, add`` where a plan computes several in one pass.
    place : Place
        Source line, module and phase.
    flops, other, moved : int
        Contraction operations, other operations, bytes read and written.
    allocated : int
        Bytes of its results; those of plans lie in an arena.
    dtype : str
        Of the arithmetic.
    shapes : str
        Of inputs and results.
    """

    name: str
    place: Place
    flops: int = 0
    other: int = 0
    moved: int = 0
    allocated: int = 0
    dtype: str = "float32"
    shapes: str = ""

    @property
    def least(self) -> float:
        """The seconds that this machine needs at its measured ceilings.

        For its multiply-adds, or for its bytes to go through main memory once: the longer one.
        """
        if not kernels.COMPILED:
            return 0.0
        peak, bandwidth = ceilings(self.dtype, kernels.get_num_threads())
        return max(self.flops / peak, self.moved / bandwidth)


class Call(NamedTuple):
    """One call of a kernel.

    Attributes
    ----------
    kind : Kind
    began, ended : float
        Seconds of ``time.perf_counter``.
    seconds : float
        Between the two, without ops that ran inside (of a user's op that calls others).
    live : int
        Bytes of all eager results that lived when it ended.
    """

    kind: Kind
    began: float
    ended: float
    seconds: float
    live: int


class Row(NamedTuple):
    """What the calls with one name add up to (see ``Kind``)."""

    name: str
    calls: int
    seconds: float
    flops: int
    other: int
    moved: int
    allocated: int
    least: float


KEYS: dict[str, Callable[[Call], str]] = {
    "phase": lambda call: call.kind.place.phase,
    "op": lambda call: call.kind.name,
    "module": lambda call: call.kind.place.path or "outside of modules",
    "source": lambda call: call.kind.place.site or "inside the engine",
}


class Profiler(Watcher):
    """What a block of code did; a context manager, see ``profile``.

    Attributes
    ----------
    wall : float
        Seconds inside the block (or blocks, if it was entered again).
    peak : int
        The most bytes of results of eager ops that were alive at once, those of 4 KiB and less
        left out.
    arena : int
        Bytes of the largest arena, where plans keep their intermediate results.
    """

    def __init__(self) -> None:
        self.wall = 0.0
        self.live = self.peak = self.arena = 0
        self.alive: dict[int, tuple[Any, int]] = {}  # results and their bytes
        self.kinds: dict[Any, Kind] = {}
        self.notes: list[tuple[Any, Any, Any, int]] = []  # that nobody has asked for yet
        self.known: list[Call] = []
        self.note, self.find = self.notes.append, self.kinds.get  # looked up once
        self.entered: list[tuple[AbstractContextManager[Scene], float]] = []

    def __enter__(self) -> Profiler:
        watched = watching(self)
        watched.__enter__()
        self.entered.append((watched, perf_counter()))
        return self

    def __exit__(self, *error: Any) -> None:
        now = perf_counter()
        watched, began = self.entered.pop()
        if not self.entered:
            self.wall += now - began
        watched.__exit__(*error)

    # listening, in as little time as possible

    def op(self, scene: Scene, op: Op, inputs: Sequence[Tensor], results: Sequence[Tensor],
           params: dict[str, Any]) -> None:
        """Note a call, and count the memory of its results as long as they live."""
        for result in results:
            array = result.data
            if array.nbytes > SMALL and array.base is None:
                seen = ref(array, self.gone)
                self.alive[id(seen)] = seen, array.nbytes
                self.live += array.nbytes
                if self.live > self.peak:
                    self.peak = self.live
        # calls of one op at one place whose first shapes are equal are alike
        key = (op, scene.place, inputs[0].data.shape if inputs else None,
               results[0].data.shape if results else None)
        kind = self.find(key)
        if kind is None:
            kind = self.kinds[key] = kind_of(op, inputs, results, params, scene.place)
        self.note((kind, scene.began, scene.ended, self.live))

    def gone(self, seen: Any) -> None:
        """Count a result no more."""
        self.live -= self.alive.pop(id(seen))[1]

    def replay(self, scene: Scene, plan: Plan) -> None:
        """Note the memory of a plan."""
        self.arena = max(self.arena, plan.layout.arena)  # type: ignore[union-attr]

    def replayed(self, scene: Scene, plan: Plan, times: Sequence[float]) -> None:
        """Note the lines of a plan."""
        self.notes.append((plan.origins, times, None, self.live))

    # what it was

    @property
    def calls(self) -> list[Call]:
        """Every call of a kernel, in the order in which they ended."""
        known = self.known
        for kind, began, ended, live in self.notes:
            if type(kind) is Kind:
                seconds, i = ended - began, len(known)
                while i and known[i - 1].began >= began:
                    i -= 1
                    seconds -= known[i].seconds
                known.append(Call(kind, began, ended, seconds, live))
                continue
            for line, (start, end) in zip(kind, pairwise(began), strict=True):  # those of a plan
                if line not in self.kinds:
                    self.kinds[line] = kind_of_line(line)
                known.append(Call(self.kinds[line], start, end, end - start, live))
        self.notes.clear()
        return known

    @property
    def kernel_seconds(self) -> float:
        """Seconds inside kernels."""
        return sum(call.seconds for call in self.calls)

    @property
    def engine_seconds(self) -> float:
        """Seconds outside of kernels: the engine's Python, the user's, and these notes."""
        return self.wall - self.kernel_seconds

    def by(self, key: str) -> list[Row]:
        """Return what the calls add up to by ``"op"``, ``"module"``, ``"source"`` or ``"phase"``.

        Rows are in the order of their time, the longest first.
        """
        if key not in KEYS:
            raise ParameterError(say("profile", f"one of {', '.join(KEYS)}", repr(key),
                                     'Use p.by("op")'))
        found: dict[str, list[Call]] = {}
        for call in self.calls:
            found.setdefault(KEYS[key](call), []).append(call)
        rows = []
        for name, calls in found.items():
            kinds = [call.kind for call in calls]
            rows.append(Row(
                name, len(calls), sum(call.seconds for call in calls),
                sum(kind.flops for kind in kinds), sum(kind.other for kind in kinds),
                sum(kind.moved for kind in kinds), sum(kind.allocated for kind in kinds),
                sum(kind.least for kind in kinds)))
        return sorted(rows, key=lambda row: -row.seconds)

    def __str__(self) -> str:
        if self.entered:
            return "profile: still inside the block"
        inside, outside = self.kernel_seconds, self.engine_seconds
        arena = f", {amount(self.arena, 'B')} arena of plans" if self.arena else ""
        blocks = [f"{1e3 * self.wall:.3f} ms: {1e3 * inside:.3f} in {len(self.calls)} calls of "
                  f"kernels, {1e3 * outside:.3f} engine and Python; memory: "
                  f"{amount(self.peak, 'B')} peak of eager results{arena}"]
        for key in KEYS:
            rows = [cells(row, self.wall) for row in self.by(key)]
            if len(rows) > SHOWN + 1:
                rest = sum(row.seconds for row in self.by(key)[SHOWN:])
                rows[SHOWN:] = [part(f"and {len(rows) - SHOWN} more", rest, self.wall)]
            rows.append(part("engine and Python", outside, self.wall))
            blocks.append("\n".join(table((f"by {key}", *HEAD), rows, range(1, 8))))
        return "\n\n".join([*blocks, FOOT])

    __repr__ = __str__

    def chrome_trace(self, path: str | Path) -> None:
        """Write the calls as trace events: open the file in chrome://tracing or ui.perfetto.dev.

        Three tracks (the phases, the modules, the kernels) and the live memory of eager results.
        """
        calls = sorted(self.calls, key=lambda call: call.began)
        start = calls[0].began if calls else 0.0

        def span(name: str, track: int, began: float, ended: float, **more: Any) -> dict[str, Any]:
            return {"name": name, "ph": "X", "pid": 1, "tid": track, "ts": 1e6 * (began - start),
                    "dur": 1e6 * (ended - began), **more}

        events: list[dict[str, Any]] = [
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": track, "args": {"name": name}}
            for track, name in enumerate(("phases", "modules", "kernels"))]
        for track, key in enumerate(("phase", "module")):
            for name, group in groupby(calls, KEYS[key]):
                members = list(group)
                events.append(span(name, track, members[0].began, members[-1].ended))
        for kind, began, ended, _, live in calls:
            events.append(span(kind.name, 2, began, ended, cat=kind.place.phase, args={
                "source": kind.place.site, "module": kind.place.path, "shapes": kind.shapes,
                "flops": kind.flops, "other operations": kind.other, "bytes": kind.moved}))
            events.append({"name": "live memory", "ph": "C", "pid": 1, "ts": 1e6 * (ended - start),
                           "args": {"bytes": live}})
        Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}))


def profile() -> Profiler:
    """Measure what a block of code does: ``with me.profile() as p:``, then ``print(p)``.

    Every op that the block computes on this thread is timed, eager ones and those in plans, with
    the source line and module of its forward pass. ``print(p)`` shows tables by phase (forward,
    backward, optimizer), op, module and source line: calls, time, share of the wall time, GFLOP/s,
    GB/s, per cent of the machine's ceiling, memory that was allocated. ``p.by("op")`` gives the
    rows, ``p.calls`` every call, ``p.chrome_trace("step.json")`` a file for chrome://tracing.

    Notes
    -----
    Measuring costs a few microseconds an op, which are in the row of engine and Python time. The
    ceilings are measured once, when the first table is made.

    Examples
    --------
    >>> import medai_engine as me
    >>> with me.profile() as p:
    ...     y = me.ones((64, 64)) @ me.ones((64, 64))
    >>> [(row.name, row.calls, row.flops) for row in p.by("op")]
    [('matmul', 1, 524288)]
    """
    return Profiler()


# ---- kinds ------------------------------------------------------------------------------------


def kind_of(op: Op, inputs: Sequence[Tensor], results: Sequence[Tensor], params: dict[str, Any],
            place: Place) -> Kind:
    """Return what is worth knowing of an eager call."""
    arrays, outs = [x.data for x in inputs], [y.data for y in results]
    flops, other = op.work(arrays, [(y.shape, y.dtype) for y in outs], params)
    moved = 0
    if not (op.view and op.kernel is None):
        moved = sum(a.nbytes for a in (*arrays, *outs))
    if op.writes is not None:
        moved += sum(arrays[i].nbytes for i in op.writes(len(arrays), **params))
    return Kind(op.name, place, flops, other, moved, sum(y.nbytes for y in outs if y.base is None),
                floating(arrays), shapes(arrays, outs))


def kind_of_line(line: Line | None) -> Kind:
    """Return what is worth knowing of a plan's line; None: the draw of random offsets."""
    if line is None or line.op is None:
        return Kind("host", Place() if line is None else line.place)
    flops, other, moved = work(line)
    name = line.by[-1] if line.op.name == "program" and line.by else line.op.name
    return Kind(name, line.place, flops, other, moved, 0, floating(line.inputs),
                shapes(line.inputs, line.outputs))


def floating(inputs: Sequence[Any]) -> str:
    """Return the dtype of an op's arithmetic."""
    return next((str(x.dtype) for x in inputs if x.dtype.kind == "f"), "float32")


def shapes(inputs: Sequence[Any], results: Sequence[Any]) -> str:
    """Return shapes as text, the first ones of many."""
    taken = ", ".join([*(str(x.shape) for x in inputs[:4]), *["..."] * (len(inputs) > 4)])
    return " -> ".join([taken, *([", ".join(str(y.shape) for y in results)] if results else [])])


# ---- printing ---------------------------------------------------------------------------------

HEAD = ("calls", "ms", "% wall", "GFLOP/s", "GB/s", "% ceiling", "allocated")
FOOT = ("% ceiling: of the multiply-adds or of a copy through main memory, whichever is nearer "
        "(above 100: from cache)")


def part(name: str, seconds: float, wall: float) -> tuple[str, ...]:
    """Return a row of a printed table that has a time only."""
    return name, "", f"{1e3 * seconds:.3f}", f"{100 * seconds / wall:.1f}", "", "", "", ""


def cells(row: Row, wall: float) -> tuple[str, ...]:
    """Return what a printed table says of a row."""
    seconds = max(row.seconds, 1e-9)
    return (row.name, str(row.calls), *part("", row.seconds, wall)[2:4],
            f"{1e-9 * (row.flops + row.other) / seconds:.2f}", f"{1e-9 * row.moved / seconds:.2f}",
            f"{100 * row.least / seconds:.1f}", amount(row.allocated, "B"))
