"""Runs a chapter cell by cell: what it says, its code, what came out; as text and as a page."""

from __future__ import annotations

import ast
import io
import linecache
import re
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...errors import ParameterError, say
from ...inspect import page
from .desk import COLLECT, Block

__all__ = ["CHAPTERS", "Chapter", "Result", "parse", "run", "write"]

CHAPTERS = ("autodiff", "op", "kernel", "convolution", "sequence", "plan")
WIDTH = 96


class Cell(NamedTuple):
    """Some lines of a chapter: ``"prose"``, ``"code"``, or ``"quiet"`` code that is not shown."""

    kind: str
    text: str
    nodes: list[ast.stmt]


class Chapter(NamedTuple):
    """A program: its title and lead, and its cells."""

    name: str
    title: str
    lead: str
    cells: list[Cell]
    source: str


class Result(NamedTuple):
    """A chapter that was run."""

    chapter: Chapter
    blocks: list[Block]

    def claims(self, kind: str = "check") -> list[str]:
        """Return the claims that held (``"check"``) or did not (``"false"``)."""
        return [block.content for block in self.blocks if block.kind == kind]

    def text(self) -> str:
        """Return the chapter for a terminal."""
        return "\n\n".join([headline(self.chapter), *map(in_terminal, self.blocks)])

    def html(self, names: Sequence[str] = CHAPTERS) -> str:
        """Return the chapter's page, with links to the pages of ``names``."""
        links = [(address(n), f"{CHAPTERS.index(n) + 1} {find(n).title}") for n in CHAPTERS
                 if n in names]
        here = address(self.chapter.name) if self.chapter.name in CHAPTERS else ""
        return page.page(self.chapter.title, *map(on_page, self.blocks), around(self.chapter.name,
                         names), lead=self.chapter.lead, links=links, here=here)


def find(name: str) -> Chapter:
    """Return a chapter by name or number."""
    if name.isdecimal() and 1 <= int(name) <= len(CHAPTERS):
        name = CHAPTERS[int(name) - 1]
    if name not in CHAPTERS:
        raise ParameterError(say("learn", f"a chapter of {', '.join(CHAPTERS)}", name,
                                 f"Begin with {CHAPTERS[0]}, or say a number"))
    spec = find_spec(f"{__package__}.chapters.{name}")
    assert spec is not None and spec.origin is not None
    return parse(name, Path(spec.origin).read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Chapter:
    """Cut a program into cells; strings that stand alone are its prose.

    Imports and calls of ``show`` and ``draw`` are quiet: what they bring is seen.
    """
    tree = ast.parse(text)
    lines = text.splitlines()
    title, _, lead = (ast.get_docstring(tree) or name).partition("\n\n")
    cells: list[Cell] = []
    end = tree.body[0].end_lineno or 1
    for node in tree.body[1:]:
        kind, first, end = kind_of(node), end, node.end_lineno or end
        between = "\n".join(lines[first:end])  # with the comments before it
        if kind == "prose":
            cells.append(Cell(kind, ast.literal_eval(node.value).strip(), []))  # type: ignore[attr-defined]
        elif cells and cells[-1].kind == kind:
            cells[-1] = Cell(kind, f"{cells[-1].text}\n{between}", [*cells[-1].nodes, node])
        else:
            cells.append(Cell(kind, between.strip("\n"), [node]))
    return Chapter(name, title.rstrip("."), " ".join(lead.split()), cells, text)


def kind_of(node: ast.stmt) -> str:
    """Return the kind of the cell that a statement belongs to."""
    value = node.value if isinstance(node, ast.Expr) else None
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return "prose"
    called = value.func if isinstance(value, ast.Call) else None
    quiet = isinstance(called, ast.Name) and called.id in ("show", "draw")
    return "quiet" if quiet or isinstance(node, (ast.Import, ast.ImportFrom)) else "code"


def run(chapter: Chapter | str) -> Result:
    """Run a chapter; its claims stand in the result, true and false ones."""
    if isinstance(chapter, str):
        chapter = find(chapter)
    blocks: list[Block] = []
    space = {"__name__": f"{__package__}.chapters.{chapter.name}"}
    printed = io.StringIO()
    # not the path inside the package: to the engine a chapter is a user's program
    path = f"<lesson>/{chapter.name}.py"
    linecache.cache[path] = len(chapter.source), None, chapter.source.splitlines(True), path

    def flush() -> None:
        if printed.getvalue():
            blocks.append(Block("output", printed.getvalue().rstrip("\n")))
            printed.seek(0)
            printed.truncate()

    def collect(block: Block) -> None:
        flush()
        blocks.append(block)

    token = COLLECT.set(collect)
    try:
        for cell in chapter.cells:
            if cell.kind != "quiet":
                collect(Block(cell.kind, cell.text))
            if cell.nodes:
                code = compile(ast.Module(cell.nodes, []), path, "exec")
                try:
                    with redirect_stdout(printed):
                        exec(code, space)
                except Exception:
                    collect(Block("false", f"This code runs.\n{traceback.format_exc(limit=-3)}"))
                    break
                flush()
    finally:
        COLLECT.reset(token)
    return Result(chapter, blocks)


def write(folder: str | Path, results: Sequence[Result]) -> list[Path]:
    """Write the pages of chapters into a folder; they link to those that are there."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    new = [result.chapter.name for result in results]
    names = [n for n in CHAPTERS if n in new or (folder / address(n)).is_file()]
    return [page.save(folder / address(result.chapter.name), result.html(names))
            for result in results]


def address(name: str) -> str:
    """Return the file name of a chapter's page."""
    return f"{CHAPTERS.index(name) + 1}-{name}.html"


# ---- in a terminal ----------------------------------------------------------------------------


def headline(chapter: Chapter) -> str:
    """Return title and lead."""
    return "\n".join([chapter.title, "=" * len(chapter.title), "",
                      textwrap.fill(chapter.lead, WIDTH)])


def in_terminal(block: Block) -> str:
    """Return one block as text."""
    kind, content = block
    if kind == "prose":
        return "\n\n".join(
            f"{part[2:]}\n{'-' * len(part[2:])}" if part.startswith("# ") else
            part if part.startswith(" ") else textwrap.fill(part, WIDTH, break_long_words=False)
            for part in paragraphs(content))
    if kind == "code":
        return textwrap.indent(content, "    ")
    if kind == "output":
        return textwrap.indent(content, "  > ", lambda line: True)
    if kind == "source":
        return f"  {content.place}\n" + textwrap.indent(content.text, "  | ", lambda line: True)
    if kind == "figure":
        return f"  (picture on the page: {content.caption})"
    return textwrap.fill(f"{'[true] ' if kind == 'check' else '[FALSE]'} {content}", WIDTH,
                         subsequent_indent=" " * 8, initial_indent="")


def paragraphs(text: str) -> Iterator[str]:
    """Yield headings ("# "), paragraphs on one line, and indented equations as they stand."""
    for part in re.split(r"\n\s*\n", text):
        yield part if part.startswith("  ") else " ".join(part.split())


# ---- on a page --------------------------------------------------------------------------------


def on_page(block: Block) -> page.Html:
    """Return one block as HTML."""
    kind, content = block
    if kind == "prose":
        return page.Html("\n".join(
            f"<h2>{marked(part[2:])}</h2>" if part.startswith("# ") else
            page.code(textwrap.dedent(part), python=False) if part.startswith("  ") else
            f"<p>{marked(part)}</p>" for part in paragraphs(content)))
    if kind == "code":
        return page.code(content)
    if kind == "output":
        return page.Html(f"<pre style='border-style:dashed;background:none'>{escape(content)}"
                         "</pre>")
    if kind == "source":
        return page.details(page.Html(f"<code>{escape(content.place)}</code>"),
                            page.code(content.text), open=content.text.count("\n") < 60)
    if kind == "figure":
        return page.figure(content.svg, page.Html(marked(content.caption)))
    if kind == "check":
        return page.Html("<p style='color:var(--e1);margin:.4rem 0'>&#10003; "
                         f"{marked(content)}</p>")
    return page.note(page.Html(f"<b>Not so:</b> {marked(content)}"))


def marked(text: str) -> str:
    """Return prose with `code` and *emphasis* as HTML."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<em>\1</em>", text)


def around(name: str, names: Sequence[str]) -> page.Html:
    """Return the ways to the chapters before and behind."""
    if name not in CHAPTERS:
        return page.Html("")
    at = CHAPTERS.index(name)
    ways = [f"<a href='{address(CHAPTERS[i])}'>{label}: {escape(find(CHAPTERS[i]).title)}</a>"
            for i, label in ((at - 1, "Before"), (at + 1, "Next"))
            if 0 <= i < len(CHAPTERS) and CHAPTERS[i] in names]
    return page.Html(f"<p style='margin-top:2rem'>{' &nbsp;&middot;&nbsp; '.join(ways)}</p>")
