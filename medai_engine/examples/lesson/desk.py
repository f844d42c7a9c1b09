"""What a chapter writes with: ``check`` a claim, ``show`` shipped source, ``draw`` a picture.

Each prints when a chapter runs as a plain program; the runner collects them for the page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import medai_engine

from ...inspect.page import Html

__all__ = ["Block", "Figure", "Source", "Untrue", "best_time", "check", "draw", "show"]

PACKAGE = Path(medai_engine.__file__).parent


class Untrue(AssertionError):
    """A chapter says what is not so."""


class Source(NamedTuple):
    """A piece of the shipped source: where it stands, and its text."""

    place: str
    text: str


class Figure(NamedTuple):
    """A picture and what it shows."""

    svg: Html
    caption: str


class Block(NamedTuple):
    """One thing on a page.

    Its kind is ``"prose"``, ``"code"``, ``"output"``, ``"source"``, ``"figure"``, ``"check"`` (a
    claim that holds) or ``"false"`` (one that does not).
    """

    kind: str
    content: Any


COLLECT: ContextVar[Callable[[Block], None] | None] = ContextVar("lesson", default=None)


def put(kind: str, content: Any, text: str) -> None:
    """Hand a block to the runner, or print it."""
    collect = COLLECT.get()
    if collect is None:
        print(text)
    else:
        collect(Block(kind, content))


def check(claim: str, holds: Any) -> None:
    """Say a claim, if it holds.

    Raises
    ------
    Untrue
        Where it does not, in a chapter that runs as a plain program; the runner marks it, goes on,
        and fails at the end.
    """
    if holds:
        put("check", claim, f"[true] {claim}")
    elif COLLECT.get() is None:
        raise Untrue(claim)
    else:
        put("false", claim, "")


def show(thing: Any, part: str = "", until: str = "") -> None:
    """Show the source of a function, class or file of the package as it is shipped.

    Parameters
    ----------
    thing : function, class or str
        A string names a file, from the package on.
    part, until : str
        Of a file: from the line that starts with ``part`` to before the next that starts with
        ``until`` (by default to the next line that starts in the first column).
    """
    if isinstance(thing, str):
        path, (lines, first) = PACKAGE / thing, cut(PACKAGE / thing, part, until)
    else:
        thing = inspect.unwrap(thing)
        path = Path(inspect.getsourcefile(thing) or "")
        lines, first = inspect.getsourcelines(thing)
        thing = path.relative_to(PACKAGE).as_posix()
    text = inspect.cleandoc("\n" + "".join(lines)).rstrip()
    put("source", Source(f"medai_engine/{thing}, line {max(first, 1)}", text), text)


def cut(path: Path, part: str, until: str) -> tuple[list[str], int]:
    """Return the lines of a part of a file, and the number of its first."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    first = next((i for i, line in enumerate(lines) if line.startswith(part)), None)
    if first is None:
        raise Untrue(f"{path.name} has a line that starts with {part!r}")
    last = first + 1
    while last < len(lines) and not (lines[last].startswith(until) if until else
                                     lines[last].strip() and lines[last][0] not in " )#"):
        last += 1
    return lines[first:last], first + 1


def draw(svg: str, caption: str) -> None:
    """Show a picture; its links, to parts of a page that is not here, are left out."""
    svg = Html(re.sub(r"</?a\b[^>]*>", "", svg))
    put("figure", Figure(svg, caption), f"(picture: {caption})")


def best_time(function: Callable[[], Any], repeats: int = 7) -> float:
    """Return the seconds of the fastest of some calls, after one that is not counted."""
    function()
    best = float("inf")
    for _ in range(repeats):
        start = perf_counter()
        function()
        best = min(best, perf_counter() - start)
    return best
