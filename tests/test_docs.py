"""Docstrings: their examples run, their parameters exist, public names have one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import medai_engine as me
from medai_engine.cli import parser
from medai_engine.op import OPS

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(me.__path__, "medai_engine.")
    if not m.name.endswith((".loops", ".fast", "__main__")))


def functions():
    """Return the public functions and classes of the public rooms, by name."""
    found = {}
    for room in (me, me.functional, me.nn, me.optim, me.testing, me.random, me.data, me.training,
                 me.estimators):
        for name in getattr(room, "__all__", dir(room)):
            thing = getattr(room, name)
            if not name.startswith("_") and callable(thing) and getattr(
                    thing, "__module__", "").startswith("medai_engine"):
                found[f"{room.__name__}.{name}"] = thing
    return found


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    count = sum(len(case.examples) for name in MODULES
                for case in finder.find(importlib.import_module(name)))
    assert count > 60


def test_public_names_are_documented():
    missing = [name for name, thing in functions().items() if not (thing.__doc__ or "").strip()]
    assert not missing
    assert all(op.doc for op in OPS.values())


def test_tour_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "instruction set" in capsys.readouterr().out


def test_commands_of_the_readme_are_understood():
    """Each ``medai`` line parses, and each ``python -m`` line names a module that is there."""
    text = (Path(__file__).parents[1] / "README.md").read_text()
    medai, modules = (re.findall(rf"(?:^|&& ){command} (.+)", text, re.MULTILINE)
                      for command in ("medai", "python -m"))
    assert len(medai) >= 4 and modules
    for options in medai:
        assert parser().parse_args(shlex.split(options, comments=True)).run
    for module in modules:
        name = module.split()[0].replace(".", "/")
        assert (Path(__file__).parents[1] / f"{name}.py").is_file()


def test_picture_of_the_house_shows_what_is_there():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    picture = text.partition("## The house")[2].partition("**How a step flows.**")[0]
    package = Path(me.__file__).parent
    rooms = {p.name for p in package.iterdir() if (p / "__init__.py").is_file()} - {"testing"}
    assert not [name for name in rooms | set(me.kernels.FAMILIES)
                if not re.search(rf"\b{name}\b", picture)]
    files = re.findall(r"`?([\w/]+\.py)\b", picture)
    assert files and not [name for name in files if name not in ("reference.py", "loops.py")
                          and not (package / name).is_file()
                          and not (package.parent / name).is_file()]


def documented(text: str) -> list[str]:
    """Return the names in the Parameters section of a numpydoc docstring."""
    found = re.search(r"\n *Parameters\n *-+\n(.*?)(\n *\n *[A-Z]\w+\n *-+\n|\Z)", text, re.DOTALL)
    if not found:
        return []
    lines = found[1].expandtabs().split("\n")
    margin = min(len(x) - len(x.lstrip()) for x in lines if x.strip())
    names = [x.strip().split(" : ")[0] for x in lines if x.strip() and x[margin] != " "]
    return [n.strip(" *") for line in names for n in line.split(",")]


def test_documented_parameters_exist():
    """A Parameters section names every parameter of the signature, and no other."""
    wrong = {}
    for name, thing in functions().items():
        names = documented(inspect.getdoc(thing) or "")
        if not names:
            continue
        try:
            signature = inspect.signature(thing)
        except ValueError:
            continue
        kinds = signature.parameters.values()
        real = {p.name for p in kinds}
        if any(p.kind is p.VAR_KEYWORD for p in kinds):
            continue
        if set(names) != real:
            wrong[name] = sorted(set(names) ^ real)
    assert not wrong


def test_parser_of_parameters():
    text = ("f.\n\nParameters\n----------\na, b : int\n    Text.\n*xs : int\n    More.\n\n"
            "Returns\n-------\nint\n")
    assert documented(text) == ["a", "b", "xs"]
