"""The page of a jitted step: kernels in time, the arena as a map, what the rules made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from ..errors import GraphError, say
from ..jit import Jitted, Plan
from ..jit.history import Stage, Text
from ..jit.memory import is_view
from ..jit.record import Line, Value
from ..jit.show import Profile, Timed, amount, profile, took, values, work
from .drawing import hue, legend
from .page import Html, bar, details, figure, html, page, save, section, table

__all__ = ["PlanPage", "plan"]

WIDTH, LANE, TALL, LEFT = 1160, 30, 340, 84  # pixels
PHASES = ("forward", "recomputed", "backward", "optimizer")
ARGUMENT = 5  # hue of what the caller gave
FEW = 40  # lines of a difference that is open from the start
STYLE = """svg.plan text{font:11px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}\
svg.plan .dim{fill:var(--dim)}svg.plan line{stroke:var(--line)}svg.plan .peak{stroke:var(--warn);\
stroke-dasharray:4 3}svg.plan rect{stroke-width:.7}svg.plan a:hover rect{stroke-width:2.5}"""


def plan(step: Jitted | Plan, repeats: int = 10) -> PlanPage:
    """Return a jitted function's plan as a page: ``plan(step).save("plan.html")``.

    Parameters
    ----------
    step : Jitted or Plan
        A function of ``me.jit`` that has been called, or one of its plans. That of ``fit`` is
        ``run.moved`` in a callback: ``on_train_end(self, run)``.
    repeats : int
        Passes over the lines that are timed; 0: no times.

    Returns
    -------
    PlanPage
        ``print`` lists the lines, ``save(path)`` writes the page.

    Raises
    ------
    GraphError
        For a function without a plan.
    """
    found = step.plan if isinstance(step, Jitted) else step
    if not isinstance(found, Plan):
        raise GraphError(say("plan", "a function of me.jit that has a plan", repr(step),
                             "Call it first: the first call records"))
    return PlanPage(found, profile(found, repeats) if repeats else None)


class PlanPage:
    """The page of a plan.

    Attributes
    ----------
    plan : Plan
    times : Profile or None
        What was measured, None without a kernel. The same times give the same page.
    """

    def __init__(self, found: Plan, times: Profile | None):
        if found.layout is None:
            found.prepare()
        assert found.layout is not None
        self.plan, self.times, self.layout = found, times or None, found.layout
        self.lines = [line for line in found.program.lines if not is_view(line)]
        self.timed: dict[int, Timed] = {id(row.line): row for row in times or ()}
        self.total = sum(row.seconds for row in times or ())

    def __str__(self) -> str:
        return str(self.plan if self.times is None else self.times)

    __repr__ = __str__

    def save(self, path: Any) -> Any:
        """Write the page; return the path."""
        return save(path, self.html())

    def html(self) -> str:
        """Return the page."""
        found = self.layout
        flops = sum(sum(work(line)[:2]) for line in self.lines)
        head = [f"{len(self.lines)} lines, {sum(bool(x.by) for x in self.lines)} of them rewritten",
                f"{amount(flops)} operations", f"arena {amount(found.arena, 'B')}, of which "
                f"{amount(found.peak, 'B')} live at the peak; eager held "
                f"{amount(self.plan.eager, 'B')}"]
        if self.times is not None:
            head.append(f"{took(self.total)}, {amount(flops / self.total, 'FLOP/s')}")
        key = legend(line.op for line in self.lines if line.op is not None)
        when = [] if self.times is None else [section(
            "In time", figure(self.timeline(), "Kernels one after the other, by phase; the width "
                              "is the time of the fastest of several passes."), self.phases())]
        return page(
            "The plan of a step", key, *when,
            section("In memory", figure(
                self.arena(), "The arena: every intermediate result at its offset (down), from "
                "the line that makes it to the last one that reads it (across). What fits beside "
                "or below another shares its memory in turn. Dashed: where most is live.")),
            section("Lines", self.rows(), *(() if self.times is None else (
                "The ceiling is this machine's rate of multiply-adds, or of a copy through main "
                "memory, whichever is nearer. Above 100: from cache, or with work left out that "
                "the count of operations holds (a convolution behind a pooled gradient).",))),
            section("What the rules made of it", *map(changed, self.plan.history())),
            lead="; ".join(head))

    # in time

    def timeline(self) -> Html:
        """Draw the kernels as blocks, a lane for each phase."""
        lanes = [p for p in PHASES if any(x.place.phase == p for x in self.lines if x.op)]
        scale = (WIDTH - LEFT) / self.total
        shapes, x = [], float(LEFT)
        for number, line in enumerate(self.lines):
            row = self.timed.get(id(line))
            if row is None or line.op is None:
                continue
            width = row.seconds * scale
            y = LANE * lanes.index(line.place.phase)
            shapes.append(block(x, y + 2, width, LANE - 4, hue(line.op), line.op.name,
                                f"{number} {line.op.name}: {took(row.seconds)}, "
                                f"{100 * row.share:.0f} % of the ceiling\n{where(line)}", number))
            x += width
        names = [f"<text class='dim' x='0' y='{LANE * i + 19}'>{p}</text>"
                 for i, p in enumerate(lanes)]
        height = LANE * len(lanes)
        ticks = axis(self.total, lambda s: LEFT + s * scale, height, took)
        return svg("kernels in time", height + 22, [*ticks, *names, *shapes])

    def phases(self) -> Html:
        """Return what each phase takes."""
        rows = []
        for phase in PHASES:
            mine = [row for row in self.times or () if row.line.place.phase == phase]
            if mine:
                seconds = sum(row.seconds for row in mine)
                done = sum(sum(work(row.line)[:2]) for row in mine)
                moved = sum(work(row.line)[2] for row in mine)
                ceiling = sum(row.share * row.seconds for row in mine) / seconds
                rows.append((phase, str(len(mine)), took(seconds),
                             bar(seconds / self.total, f"{100 * seconds / self.total:.0f} %"),
                             amount(done), amount(moved, "B"), f"{1e-9 * done / seconds:.1f}",
                             f"{1e-9 * moved / seconds:.1f}", f"{100 * ceiling:.0f}"))
        return table(("phase", "lines", "time", "share", "operations", "moved", "GFLOP/s", "GB/s",
                      "% of ceiling"), rows, (1, 2, 4, 5, 6, 7, 8))

    # in memory

    def arena(self) -> Html:
        """Draw offsets against lines, lifetimes as rectangles."""
        program, found = self.plan.program, self.layout
        column, k = [], 0  # of each program line, views as the line behind them
        for line in program.lines:
            column.append(k)
            k += not is_view(line)
        makers = {v: i for i, line in enumerate(program.lines) for v in line.outputs}
        across = (WIDTH - LEFT) / (k + 2)
        down = TALL / max(found.arena, 1)
        shares: dict[int, list[Value]] = {}
        for root in found.blocks:
            shares.setdefault(id(found.blocks[root]), []).append(root)
        shapes = []
        for roots in shares.values():
            b = found.blocks[roots[0]]
            roots.sort(key=lambda v: makers.get(v, -1))
            starts = [column[makers[v]] + 1 if v in makers else 0 for v in roots]
            end = column[b.last] + 1 if 0 <= b.last < len(column) else k + 1 if b.last >= 0 else 0
            for root, start, stop in zip(roots, starts, [*starts[1:], end + 1], strict=True):
                op = program.lines[makers[root]].op if root in makers else None
                shapes.append(block(
                    LEFT + start * across, b.offset * down, (stop - start) * across,
                    b.size * down, ARGUMENT if op is None else hue(op), f"{root!r}",
                    f"{root!r}, {amount(root.nbytes, 'B')} at {b.offset}\n"
                    + (f"made by {op.name}, {where(program.lines[makers[root]])}" if op else
                       "copied in"), start - 1 if root in makers else None))
        peak = self.peak(column)
        marks = [f"<line class='peak' x1='{LEFT + (peak + 1.5) * across:.1f}' "
                 f"x2='{LEFT + (peak + 1.5) * across:.1f}' y1='0' y2='{TALL}'/>"]
        ticks = axis(k, lambda n: LEFT + (n + 1) * across, TALL, lambda n: f"{n:.0f}")
        sides = [f"<text class='dim' x='0' y='{y:.0f}'>{amount(size, 'B')}</text>"
                 for size, y in ((0, 10), (found.arena, TALL))]
        return svg("the arena", TALL + 22, [*ticks, *sides, *shapes, *marks])

    def peak(self, column: Sequence[int]) -> int:
        """Return the first line at which most is live."""
        found = self.layout
        live = [0] * (len(column) + 1)
        for b in {id(b): b for b in found.blocks.values()}.values():
            for i in range(max(b.first, 0), min(b.last, len(column)) + 1):
                live[i] += b.size
        return [*column, 0][min(live.index(max(live)), max(len(column) - 1, 0))]

    # as a table

    def rows(self) -> Html:
        """Return the table of lines."""
        rows = []
        for number, line in enumerate(self.lines):
            flops, other, moved = work(line)
            made = f" → {values(line.outputs)}" if line.outputs else ""
            below = [values(line.inputs) + made, "; ".join(line.by)]
            cells = [
                Html(f"<span id='k{number}'>{number}</span>"),
                Html(f"<b>{html(line.op.name if line.op is not None else 'host')}</b>" + "".join(
                    f"<br><small class=dim>{html(text)}</small>" for text in below if text)),
                Html("<br>".join(str(html(part)).replace(" ", "&nbsp;") for part in (
                    line.site, line.place.path) if part)), amount(flops + other), amount(moved)]
            row = self.timed.get(id(line))
            if row is not None:
                cells += [f"{1e6 * row.seconds:.1f}",
                          bar(row.seconds / self.total, f"{100 * row.seconds / self.total:.1f}"),
                          f"{1e-9 * row.flops:.1f}", f"{1e-9 * row.bandwidth:.1f}",
                          bar(min(row.share, 1) / 2, f"{100 * row.share:.0f}")]
            rows.append(cells)
        head = ["#", "kernel", "source", "ops", "bytes"]
        if self.times is not None:
            head += ["µs", "% of time", "GFLOP/s", "GB/s", "% of ceiling"]
        return table(head, rows, (0, 3, 4, 5, 7, 8))


def where(line: Line) -> str:
    """Return source line and module."""
    return f"{line.site} {line.place.path}".strip()


def block(x: float, y: float, width: float, height: float, colour: int, text: str, title: str,
          row: int | None) -> str:
    """Return a rectangle with its text where that fits, a link to a row of the table."""
    label = ""
    if width > 6.7 * len(text) + 6 and height > 14:
        label = (f"<text x='{x + 4:.1f}' y='{y + min(height / 2, 12) + 4:.1f}'>"
                 f"{escape(text)}</text>")
    inner = (f"<rect x='{x:.2f}' y='{y:.2f}' width='{max(width, 0.4):.2f}' "
             f"height='{max(height, 0.4):.2f}' fill='var(--f{colour})' "
             f"stroke='var(--e{colour})'><title>{escape(title)}</title></rect>{label}")
    return inner if row is None else f"<a href='#k{row}'>{inner}</a>"


def axis(end: float, to: Callable[[float], float], y: float,
         text: Callable[[float], str]) -> list[str]:
    """Return ticks from 0 to the end at round numbers, fewer than ten."""
    step = next((m * 10.0**e for e in range(-9, 9) for m in (1, 2, 5)
                 if end / (m * 10.0**e) < 10), end)
    found = []
    for k in range(int(end / step) + 1):
        x = to(k * step)
        label = "" if x > WIDTH - 40 else text(k * step)
        found.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='0' y2='{y + 4}'/>"
                     f"<text class='dim' x='{x + 3:.1f}' y='{y + 16}'>{label}</text>")
    return found


def svg(label: str, height: float, parts: Sequence[str]) -> Html:
    """Return a drawing of the page's width."""
    return Html(f"<svg class='plan' role='img' aria-label='{label}' width='{WIDTH}' "
                f"height='{height:.0f}' viewBox='0 0 {WIDTH} {height:.0f}' "
                f"style='max-width:none'><style>{STYLE}</style>\n" + "\n".join(parts) + "</svg>")


def changed(stage: Stage) -> Html:
    """Return what a rule did: the lines that went beside those that came."""
    if not stage.difference:
        return Html(f"<p><b>{html(stage.rule)}</b> <span class=dim>{html(stage.says)} "
                    "Nothing here.</span></p>")

    def column(found: list[Text], sign: str) -> Html:
        return Html("".join(
            f"<div><code class={'gone' if sign == '−' else 'come'}>{sign} {html(t.line)}</code>"
            f" <span class=dim>{html(t.place)}</span></div>" for t in found))

    rows = [(column(gone, "−"), column(come, "+")) for gone, come in stage.difference]
    count = sum(len(gone) + len(come) for gone, come in stage.difference)
    return details(
        Html(f"<b>{html(stage.rule)}</b> <span class=dim>{html(stage.says)}</span> "
             f"{len(stage.before)} → {len(stage.after)} lines"),
        table(("before", "after"), rows), open=count <= FEW)
