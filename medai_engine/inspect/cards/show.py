"""Cards as text and as HTML, from the same parts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import page
from .texts import Piece

__all__ = ["Code", "Facts", "Part", "Table", "as_html", "as_text"]

Part = tuple[str, list[Any]]  # a heading; strings (paragraphs), Facts, Code, Table


class Facts(NamedTuple):
    """Labels with a line each."""

    rows: list[tuple[str, str]]


class Code(NamedTuple):
    """A stretch of source with its place."""

    piece: Piece
    python: bool
    title: str = ""


class Table(NamedTuple):
    """Rows under a head; the columns ``right`` hold numbers."""

    head: Sequence[str]
    rows: list[list[str]]
    right: Sequence[int]


def as_text(title: str, parts: list[Part], width: int) -> str:
    """Return the parts as lines of at most ``width`` columns; source lines stay as they are."""
    lines = [title, "=" * len(title)]
    for heading, blocks in parts:
        lines.append("")
        if heading:
            lines += [heading, "-" * len(heading)]
        before: Any = None
        for block in blocks:
            if isinstance(before, Code) and not isinstance(block, Code):
                lines.append("")
            lines += text_of(block, width)
            before = block
    return "\n".join(lines)


def text_of(block: Any, width: int) -> list[str]:
    """Return one block as lines."""
    if isinstance(block, Facts):
        wide = max(9, *(len(label) for label, _ in block.rows))
        return [line for label, text in block.rows for line in textwrap.wrap(
            text, width, initial_indent=f"{label:{wide}}  ", subsequent_indent=" " * (wide + 2),
            break_on_hyphens=False)]
    if isinstance(block, Code):
        head = f"{block.title}{block.piece.place}"
        return ["", head, *(f"| {line}".rstrip() for line in block.piece.source.split("\n"))]
    if isinstance(block, Table):
        columns = list(zip(block.head, *block.rows, strict=True))
        wide_by = [max(map(len, column)) for column in columns]
        return ["  " + "  ".join(cell.rjust(w) if i in block.right else cell.ljust(w)
                                 for i, (cell, w) in enumerate(zip(row, wide_by, strict=True)))
                .rstrip() for row in [block.head, *block.rows]]
    return [line for paragraph in str(block).split("\n")
            for line in textwrap.wrap(paragraph, width, break_on_hyphens=False) or [""]]


def as_html(parts: list[Part]) -> list[page.Html]:
    """Return the parts as HTML."""
    found = []
    for heading, blocks in parts:
        inner = [html_of(block) for block in blocks]
        found.append(page.section(heading, *inner) if heading else page.Html("\n".join(inner)))
    return found


def html_of(block: Any) -> page.Html:
    """Return one block."""
    if isinstance(block, Facts):
        return page.table(("", ""), block.rows)
    if isinstance(block, Code):
        place = page.Html(f"<p class=dim>{page.html(block.title + block.piece.place)}</p>")
        return page.Html(place + page.code(block.piece.source, block.python))
    if isinstance(block, Table):
        return page.table(block.head, block.rows, block.right)
    return page.Html(f"<p>{page.html(block)}</p>")
