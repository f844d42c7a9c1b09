"""The tape as a page: modules as boxes that open, every op, and the leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..jit.show import amount
from .calls import Call, Tip, sizes
from .drawing import Box, drawing, hue, legend
from .groups import Group, grouped, keeping, reads
from .page import Html, details, figure, html, note, page, section, table

if TYPE_CHECKING:
    from .recording import Graph

__all__ = ["picture", "tape_page"]

LEAF, OUTSIDE = 5, 7  # hues
CUT = 34  # characters of a line in a box
SCRIPT = """addEventListener('hashchange',()=>{const e=document.getElementById(
location.hash.slice(1));for(let d=e;d;d=d.parentElement)if(d.tagName=='DETAILS')d.open=true;
if(e)e.scrollIntoView()})"""


def cut(text: str) -> str:
    """Return text that fits a box, its middle left out if need be."""
    half = CUT // 2 - 1
    return text if len(text) <= CUT else f"{text[:half]} … {text[-half:]}"


def value(tip: Tip) -> list[str]:
    """Return the numbers of a small leaf."""
    if tip.tensor is None or tip.tensor.size > 4:
        return []
    return [", ".join(f"{v:.4g}" for v in tip.tensor.data.ravel().tolist())]


def box(group: Group, link: str, inside: str) -> Box:
    """Return the box of a group; names of modules go on from ``inside``."""
    call = group.calls[0]
    ops = [c.name for c in group.calls]
    title = "\n".join(dict.fromkeys(c.site for c in group.calls if c.site))
    if group.parts:
        names = ", ".join(dict.fromkeys(ops)) if len(set(ops)) < 4 else f"{len(ops)} calls"
        lines = [group.name.removeprefix(inside), names, group.outputs]
    else:
        lines = [call.name, *([call.module] if call.module and not inside else []),
                 group.outputs]
    main = max(group.calls, key=lambda c: -hue(c.op))  # a sum of products, if there is one
    return Box(tuple(cut(line) for line in lines if line), hue(main.op), link=link, title=title)


def picture(groups: Sequence[Group], links: dict[Group, str] | None = None,
            whole: Graph | None = None, inside: str = "") -> Html:
    """Return the drawing of groups with their leaves, and of where the rest joins them.

    A leaf that one module alone reads is part of its box. Names of what is in the module
    ``inside`` go on from there.
    """
    home = {call: group for group in groups for call in group.calls}
    boxes: list[Box] = []
    number: dict[Any, int] = {}
    edges: dict[tuple[int, int], int] = {}

    def add(key: Any, made: Box) -> int:
        if key not in number:
            number[key] = len(boxes)
            boxes.append(made)
        return number[key]

    for group in groups:
        into = []
        for call in group.calls:
            for source in call.sources:
                if isinstance(source, Tip):
                    if not group.parts or source.uses > sum(
                            s is source for c in group.calls for s in c.sources):
                        lines = (source.name.removeprefix(inside), *value(source),
                                 sizes(source.shape))
                        into.append(add(source, Box(tuple(map(cut, lines)), LEAF, True)))
                elif source in home:
                    if home[source] is not group:
                        into.append(number[home[source]])
                elif source is not None:
                    into.append(add(source, Box((cut(source.module or source.name),), OUTSIDE,
                                                True, title="computed before")))
        here = add(group, box(group, (links or {}).get(group, ""), inside))
        for k in into:
            edges[k, here] = edges.get((k, here), 0) + 1
    single = {number[g] for g in groups if not g.parts}
    return drawing(boxes, [(a, b, f"×{n}" if n > 1 and b in single else "")
                           for (a, b), n in edges.items()],
                   whole.title if whole is not None else "a part of the tape")


def described(call: Call, number: dict[Call, int]) -> tuple[Any, ...]:
    """Return the table's row of a call."""
    group = Group([call], ())
    return (Html(f"<span id='n{call.number}'>{call.number}</span>"), call.name,
            together(reads(group, number)), together(group.outputs),
            together(keeping(group, number)), call.module, call.site)


def together(text: str) -> Html:
    """Return text that breaks at commas between things, not inside a shape or an amount."""
    return Html(re.sub(r"(?<=\d),? (?=[\dkMG]|B\b)", lambda m: m[0].replace(" ", "&nbsp;"),
                       html(text)))


def opened(calls: Sequence[Call], depth: int, whole: Graph, name: str,
           inside: str = "") -> Iterator[Html]:
    """Yield the drawing of some calls by module, then each module that has an inside."""
    groups = grouped(calls, depth)
    links: dict[Group, str] = {}
    inner: list[tuple[Group, str, int]] = []
    for k, group in enumerate(groups):
        below = next((d for d in range(depth + 1, depth + 9)
                      if any(len(c.parts) >= d for c in group.calls)), None)
        if len(group.calls) > 1:
            links[group] = f"#{name}{k}"
            inner.append((group, f"{name}{k}", below or depth + 1))
        else:
            links[group] = f"#n{group.calls[0].number}"
    yield figure(picture(groups, links, whole, inside))
    for group, key, below in inner:
        ops = ", ".join(dict.fromkeys(c.name for c in group.calls))
        yield details(
            Html(f"<b>{html(group.name)}</b>: {len(group.calls)} calls ({html(ops)}), keeps "
                 f"{html(amount(group.keeps, 'B'))}"),
            Html(f"<div id='{key}'>"), *opened(
                group.calls, below, whole, f"{key}-", f"{'.'.join(group.parts)}."), Html("</div>"))


def tape_page(whole: Graph) -> str:
    """Return the page of a tape."""
    calls = whole.calls
    number = {call: call.number for call in calls}
    depth = whole.depth or 1
    modules = any(len(call.parts) >= depth for call in calls)
    groups = [Group([call], ()) for call in calls]
    every = figure(picture(groups, {g: f"#n{g.calls[0].number}" for g in groups}, whole))
    parts: list[Html | str] = [Html(
        "<p class=dim>Inputs without a gradient (data, labels) are not drawn; the table names "
        "them."  + " A click on a module opens it below; on an op, finds its row." * modules
        + "</p>")]
    if modules:
        parts += [*opened(calls, depth, whole, "m"),
                  details(f"Every op: {len(calls)} calls in one drawing", every)]
    elif calls:
        parts.append(every)
    if any(call.state == "freed" for call in calls):
        parts.append(note("A backward has freed what this tape had kept."))
    head = ["#", "op", "inputs", "output", "kept for the way back", "module", "line"]
    rows = [described(call, number) for call in calls]
    full = [i for i, _ in enumerate(head) if i < 5 or any(row[i] for row in rows)]
    return page(
        "The tape", *parts, legend(call.op for call in calls),
        section("Calls, on the way forward",
                table([head[i] for i in full], [[row[i] for i in full] for row in rows], (0,)),
                *(() if any(call.site for call in calls) else (
                    "Recorded inside `with me.inspect.tape():` the calls would know their modules "
                    "and source lines.",))),
        section("Leaves, where gradients end", table(
            ("leaf", "shape", "bytes", "times read"),
            [(tip.name, together(sizes(tip.shape)), "gone" if tip.tensor is None else
              amount(tip.tensor.nbytes, "B"), str(tip.uses)) for tip in whole.tips],
            right=(2, 3))), lead=whole.title, script=SCRIPT)
