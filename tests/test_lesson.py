"""The lesson: its chapters hold, a falsehood is found, its pages open, it names what exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import webbrowser

import pytest

import medai_engine as me
from medai_engine import cli
from medai_engine.errors import ParameterError
from medai_engine.examples import lesson
from medai_engine.examples.lesson import desk, runner
from medai_engine.op import OPS

CLAIMS = {"autodiff": 12, "op": 16, "kernel": 8, "convolution": 13, "sequence": 14, "plan": 14}
WRONG = {  # text of a chapter -> one that makes a claim false
    "autodiff": ("((self, 1 - y * y),)", "((self, 1 - y),)"),
    "op": ("(1 - y) * 1.001}", "(1 - y)}"),
    "kernel": ("for n in sizes:\n    part", "for n in sizes[:3]:\n    part"),
    "convolution": ("w[:, ::-1, ::-1, :]", "w[:, ::-1, :, :]"),
    "sequence": ("sigmoid(i) * np.tanh(g)", "sigmoid(i) * g"),
    "plan": ("me.jit(step_of(planned_model))", "me.jit(step_of(network()))"),
}


@pytest.fixture(scope="module")
def results():
    """Return every chapter, run once."""
    return {name: lesson.run(name) for name in lesson.CHAPTERS}


@pytest.fixture
def folder(results, tmp_path):
    lesson.write(tmp_path, list(results.values()))
    return tmp_path


@pytest.mark.parametrize("name", lesson.CHAPTERS)
def test_a_chapter_holds(name, results):
    assert results[name].claims("false") == []
    assert len(results[name].claims()) >= CLAIMS[name]
    kinds = {block.kind for block in results[name].blocks}
    assert kinds >= {"prose", "code", "source", "figure", "check"}


@pytest.mark.parametrize("name", lesson.CHAPTERS)
def test_a_falsehood_is_found(name):
    true, false = WRONG[name]
    text = runner.find(name).source
    assert text.count(true) == 1
    found = lesson.run(runner.parse(name, text.replace(true, false)))
    assert found.claims("false")
    assert "[FALSE]" in found.text() and "Not so:" in found.html()


def test_a_program_that_fails_is_no_lesson(capsys, monkeypatch):
    broken = runner.parse("autodiff", '"""Title.\n\nLead."""\n\nx = 1\n"""\nProse.\n"""\n1 / 0\n')
    assert [cell.kind for cell in broken.cells] == ["code", "prose", "code"]
    assert "ZeroDivisionError" in lesson.run(broken).claims("false")[0]
    monkeypatch.setattr(runner, "find", lambda name: broken)
    assert cli.main(["learn", "autodiff"]) == 1
    assert "not so" in capsys.readouterr().err


def test_a_chapter_is_a_program():
    for name, code in (("autodiff", 0), ("nothing", 1)):
        module = f"medai_engine.examples.lesson.chapters.{name}"
        found = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True,
                               env=os.environ, check=False)
        assert found.returncode == code
        assert ("[true] dy/da" in found.stdout) is (code == 0)
    with pytest.raises(desk.Untrue, match="two is three"):
        desk.check("two is three", 2 == 3)


def test_pages_open_and_lead_to_one_another(folder, browser):
    names = sorted(path.name for path in folder.iterdir())
    assert names == [runner.address(name) for name in lesson.CHAPTERS]
    for i, name in enumerate(names):
        text = browser(folder / name)
        assert "<svg" in text and text.count("\N{CHECK MARK}") >= 10 and "Not so" not in text
        links = set(re.findall(r'href="([^"#]+\.html)"', text))
        assert links == set(names)
        assert ("Next:" in text) is (i < 5) and ("Before:" in text) is (i > 0)


def test_the_command(results, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["learn", "2", "--out", "pages"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("An op\n=====") and "[true]" in out and "(picture on the page" in out
    assert max(map(len, re.findall(r"^[A-Z\[].*$", out, re.MULTILINE))) <= 100
    page = (tmp_path / "pages" / "2-op.html").read_text()
    assert "1-autodiff.html" not in page  # it is not there
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert cli.main(["learn", "op", "--open"]) == 0
    assert opened == [(tmp_path / "lesson" / "2-op.html").as_uri()]
    capsys.readouterr()
    monkeypatch.setattr(lesson, "CHAPTERS", lesson.CHAPTERS[:2])
    assert cli.main(["learn", "--out", "two"]) == 0
    assert re.findall(r"(\d+) claims hold", capsys.readouterr().out) == [
        str(len(results[name].claims())) for name in ("autodiff", "op")]
    assert len(list((tmp_path / "two").iterdir())) == 2
    assert cli.main(["learn", "alchemy"]) == 2
    assert "a chapter of autodiff" in capsys.readouterr().err
    with pytest.raises(ParameterError, match="a chapter of"):
        lesson.run("7")


@pytest.mark.parametrize("name", lesson.CHAPTERS)
def test_prose_names_what_exists(name, results):
    """What stands in backticks is the engine's, or in the chapter's code or what it shows."""
    blocks = results[name].blocks
    code = "\n".join(block.content if block.kind == "code" else block.content.text
                     for block in blocks if block.kind in ("code", "source"))
    words = {word for block in blocks if block.kind in ("prose", "check")
             for word in re.findall(r"`([^`\n]+)`", block.content)}
    for word in words:
        if word.startswith("me."):
            thing = me
            for part in word.split(".")[1:]:
                thing = getattr(thing, part)
        elif word.startswith("medai "):
            cli.parser().parse_args(word.split()[1:])
        else:
            assert word in OPS or re.search(rf"(?<!\w){re.escape(word)}(?!\w)", code), word
    titles = [block.content for block in blocks if block.kind == "prose"]
    assert any(text.startswith("# ") for text in titles)
