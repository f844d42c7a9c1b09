"""The shell of all pages: what is text is escaped, what comes from outside is shut out."""

from __future__ import annotations

import re
from html import unescape
from textwrap import dedent

import pytest
from pages import checked

from medai_engine.inspect import page as p

NASTY = "<script>alert(1)</script>&\"'"
HUES = {f"{kind}{k}" for kind in "fe" for k in range(8)}


def whole() -> str:
    return p.page(
        NASTY, NASTY, p.section(NASTY, NASTY, p.note(NASTY)), p.details(NASTY, NASTY, open=True),
        p.table([NASTY], [[NASTY], [p.bar(0.5, NASTY)]], right=(0,)), p.code(NASTY),
        p.code(f"x = 1  # {NASTY}"), p.figure(p.Html("<svg></svg>"), NASTY), lead=NASTY,
        links=[("#top", NASTY)], here="#top")


def test_text_is_escaped_everywhere():
    text = whole()
    assert "<script" not in text and NASTY in unescape(text)
    found = "".join(part for part in re.split(r"<[^>]*>", text))
    assert unescape(found).count(NASTY) == 16  # title, link, heading, lead, and 12 in the parts
    assert p.html(p.Html("<b>")) == "<b>" and p.html("<b>") == "&lt;b&gt;" and p.html(3) == "3"


def test_a_page_is_whole_and_the_same_each_time():
    text = whole()
    assert checked(text.replace("#top", "#t").replace("<h1>", "<h1 id='t'>"))
    assert text == whole() and text.count("aria-current") == 2  # the style's, and this page's


def test_nothing_is_loaded():
    text = whole()
    assert "default-src 'none'" in text and "http:" not in text and "https:" not in text
    assert not re.search(r"url\(|@import|@font-face|\bsrc=(?!'data:)", text)


def test_colours_are_there_in_light_and_dark():
    light, dark = p.PALETTE.split("@media")
    for part in (light, dark):
        named = set(re.findall(r"--(\w+):", part))
        assert named >= HUES | {"ink", "dim", "paper", "soft", "line", "link", "warm", "warn"}
    used = set(re.findall(r"var\(--(\w+)\)", p.STYLE))
    assert used <= set(re.findall(r"--(\w+):", light))


@pytest.mark.parametrize("text", [
    "def f(x):\n    return \"a'b\" + x  # why & how\n",
    "cdef inline int f(double* x) nogil:\n    pass",
    "lambda g, b: g * b", "    an indented piece:\n      of a program", "x = '''never closed",
    "class A:\n\x0c    b = 1\n", "(", "", "ä = 'ü'\n\nö = f'{ä}'"])
def test_code_keeps_its_text(text):
    shown = p.code(text)
    assert unescape(re.sub(r"<[^>]*>", "", shown)) == dedent(text).strip("\n")
    assert "<span" not in p.code(text, python=False)


def test_code_has_colours():
    shown = p.code("def f(x):\n    return 'a'  # b")
    assert "<span class=k>def</span> <span class=d>f</span>" in shown
    assert "<span class=s>&#x27;a&#x27;</span>" in shown and "<span class=c># b</span>" in shown


def test_prose_marks_code():
    assert p.prose("a `b` ``c`` <d>") == "<p>a <code>b</code> <code>c</code> &lt;d&gt;</p>"
    assert p.prose(p.Html("<p>x</p>")) == "<p>x</p>"


def test_a_page_opens_with_its_script(tmp_path, browser):
    text = p.page("A page", p.Html("<p id=x></p>"), script="x.textContent = 'it runs'")
    assert "<p id=\"x\">it runs</p>" in browser(p.save(tmp_path / "a.html", text))


def test_what_a_page_may_not_load_is_heard(tmp_path, browser):
    text = p.page("A page", p.Html("<img alt='' src='file:///none.png'>"))
    with pytest.raises(AssertionError):
        browser(p.save(tmp_path / "a.html", text))
