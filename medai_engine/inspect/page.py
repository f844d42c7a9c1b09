"""The shell of every page of this project: one HTML file, no network, light and dark.

What is text is escaped; what is already HTML is ``Html``. A page is a pure function of its parts,
so the same input gives the same file.
"""

from __future__ import annotations

import base64
import io
import keyword
import re
import tokenize
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from textwrap import dedent
from typing import Any

from ..io.files import write_atomically

__all__ = ["PALETTE", "Html", "bar", "code", "details", "figure", "html", "image", "note", "page",
           "prose", "save", "section", "table"]


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


# Ink, paper, lines, and eight hues by number: a fill that text can be read on, and its edge.
PALETTE = """
:root{color-scheme:light dark;--ink:#1f2328;--dim:#5d6670;--paper:#fff;--soft:#f4f6f8;
--line:#d5dae0;--link:#0b5cad;--warm:#fff5e0;--warn:#c8641b;
--f0:#e3eefb;--e0:#2f6db5;--f1:#e2f4e6;--e1:#2e8046;--f2:#fcebd9;--e2:#b8651b;--f3:#f3e6f8;--e3:#8a4aa3;
--f4:#fde4e6;--e4:#b8404c;--f5:#dff3f3;--e5:#20797b;--f6:#f5f0d3;--e6:#85741a;--f7:#e9ebee;--e7:#5d6670}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--dim:#9aa4ae;--paper:#15181c;--soft:#1f242a;
--line:#39414a;--link:#79b4f0;--warm:#33291a;--warn:#e08a45;
--f0:#1b3350;--e0:#6ea5e0;--f1:#1c3a26;--e1:#62b57c;--f2:#42301d;--e2:#dd9a58;--f3:#3a2643;--e3:#c08ad6;
--f4:#46252a;--e4:#e2808b;--f5:#153a3b;--e5:#58b3b5;--f6:#3a3517;--e6:#c2b04e;--f7:#2a3037;--e7:#9aa4ae}}
"""
STYLE = PALETTE + """
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0}
main,nav{max-width:76rem;margin:0 auto;padding:0 1.25rem}main{padding-bottom:3rem}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding-top:.7rem;padding-bottom:.6rem;
font-size:.92rem}nav [aria-current]{color:var(--ink);font-weight:600}
header{border-bottom:1px solid var(--line);background:var(--soft)}
h1{font-size:1.7rem;line-height:1.25;margin:1.5rem 0 .3rem}
h2{font-size:1.2rem;margin:2.2rem 0 .5rem}
h3{font-size:1rem;margin:1.4rem 0 .3rem}p,li{max-width:48rem}a{color:var(--link)}
.lead,.dim,figcaption{color:var(--dim)}
table{border-collapse:collapse;font-size:.92rem;margin:.5rem 0}
th,td{text-align:left;padding:.28rem .7rem;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--dim);white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.wide{overflow-x:auto}small{font-size:.84em}
code,pre,kbd{font:.86rem/1.5 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;
overflow-x:auto;margin:.5rem 0}
.k{color:var(--e3)}.s{color:var(--e1)}.c{color:var(--dim);font-style:italic}.d{color:var(--e0)}
.note{background:var(--warm);padding:.5rem .8rem;border-left:4px solid var(--warn);margin:.5rem 0}
figure{margin:.8rem 0}figure svg,img{max-width:100%;height:auto}
img{border:1px solid var(--line);background:#fff}figcaption{font-size:.92rem;max-width:48rem}
details{margin:.3rem 0}summary{cursor:pointer}
details>div[id]{border-left:3px solid var(--line);padding-left:1rem}svg text{fill:var(--ink)}
.meter{white-space:nowrap}.meter i{display:inline-block;height:.62rem;background:var(--e0);
border-radius:2px;min-width:1px}
code.gone{background:var(--f4)}code.come{background:var(--f1)}
.key{white-space:nowrap;margin-right:.8em}.key i{display:inline-block;width:.9em;height:.9em;
border:1px solid;border-radius:3px;vertical-align:-.1em}
"""
# A page cannot ask the network for anything, whatever is in it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def html(x: Any) -> Html:
    """Return anything as HTML: text is escaped."""
    return x if isinstance(x, Html) else Html(escape(str(x)))


def prose(text: Any) -> Html:
    """Return text as a paragraph, what stands between backticks as code; leave HTML as it is."""
    return text if isinstance(text, Html) else Html(
        "<p>" + re.sub(r"``?([^`]+)``?", r"<code>\1</code>", escape(str(text))) + "</p>")


def page(title: str, *parts: Any, lead: Any = "", links: Sequence[tuple[str, str]] = (),
         here: str = "", script: str = "") -> str:
    """Return a page of its parts.

    Parameters
    ----------
    title : str
    *parts : Html or str
        One after the other; plain text becomes a paragraph.
    lead : Html or str
        A line under the title.
    links : sequence of (address, label)
        The other pages of the set, in order; addresses are relative.
    here : str
        The address of this page among them.
    script : str
        JavaScript that runs when the page is there; most pages need none.
    """
    body = "\n".join(map(prose, parts))
    ways = "".join(f"<a href='{escape(to)}'{' aria-current=page' * (to == here)}>{html(label)}</a>"
                   for to, label in links)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>
{f"<header><nav>{ways}</nav></header>" if ways else ""}<main>
<h1>{escape(title)}</h1>
{f"<p class=lead>{html(lead)}</p>" if lead else ""}
{body}
</main>{f"<script>{script}</script>" if script else ""}</body></html>
"""


def save(path: str | Path, text: str) -> Path:
    """Write a page, whole or not at all; return where it is."""
    path = Path(path)
    write_atomically(path, text.encode())
    return path


def section(title: str, *parts: Any) -> Html:
    """Return a heading and what stands under it."""
    return Html("\n".join([f"<h2>{escape(title)}</h2>", *map(prose, parts)]))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], right: Iterable[int] = ()) -> Html:
    """Return a table; the columns ``right`` hold numbers."""
    numbers = set(right)

    def line(cells: Sequence[Any], tag: str) -> str:
        return "".join(f"<{tag}{' class=n' * (i in numbers)}>{html(cell)}</{tag}>"
                       for i, cell in enumerate(cells))

    body = "".join(f"<tr>{line(row, 'td')}</tr>\n" for row in rows)
    return Html(f"<div class=wide><table><thead><tr>{line(head, 'th')}</tr></thead>\n"
                f"<tbody>{body}</tbody></table></div>")


def bar(share: float, label: str = "") -> Html:
    """Return a bar of that share (0 to 1) of eight ems, with a label."""
    return Html(f"<span class=meter><i style='width:{8 * min(max(share, 0.0), 1.0):.2f}em'></i> "
                f"{escape(label)}</span>")


def note(text: Any) -> Html:
    """Return a paragraph that stands out."""
    return Html(f"<p class=note>{html(text)}</p>")


def details(summary: Any, *parts: Any, open: bool = False) -> Html:
    """Return parts that a click on the summary shows."""
    return Html(f"<details{' open' * open}><summary>{html(summary)}</summary>\n"
                + "\n".join(map(html, parts)) + "</details>")


def figure(content: Html, caption: Any = "") -> Html:
    """Return an SVG or an image with its caption; a wide one scrolls."""
    under = f"<figcaption>{html(caption)}</figcaption>" if caption else ""
    return Html(f"<figure><div class=wide>{content}</div>{under}</figure>")


def image(path: str | Path, text: str) -> Html:
    """Return a PNG as part of the page, with a text for those who cannot see it."""
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return Html(f"<img alt='{escape(text)}' src='data:image/png;base64,{data}'>")


def code(text: str, python: bool = True) -> Html:
    """Return a block of code; Python (and Cython) with its words in colours."""
    text = dedent(text).strip("\n")
    return Html(f"<pre>{_coloured(text) if python else escape(text)}</pre>")


WORDS = {*keyword.kwlist, "cdef", "cpdef", "cimport", "ctypedef", "nogil", "inline"}


def _coloured(text: str) -> str:
    """Return Python text with spans around keywords, strings and comments."""
    starts = [0]  # of the lines, as the tokenizer counts them
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    out, at, defines = [], 0, False
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            word = token.type == tokenize.NAME
            kind = ("k" if word and token.string in WORDS else "d" if word and defines else
                    {tokenize.STRING: "s", tokenize.COMMENT: "c"}.get(token.type))
            defines = token.string in ("def", "class")
            if kind:
                first, last = (starts[row - 1] + column for row, column in (token.start, token.end))
                out += [escape(text[at:first]), f"<span class={kind}>",
                        escape(text[first:last]), "</span>"]
                at = last
    except (tokenize.TokenError, SyntaxError):
        pass  # a part of a program: the rest stays without colours
    return "".join([*out, escape(text[at:])])
