"""The house: which room may import which, and how long a file may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medai_engine"

# from the ground up; a room may import those of its own level and below
LEVELS = [
    ["errors"],
    ["kernels"],
    ["mode", "tensor", "op", "autograd", "transforms", "generator", "tree", "dtypes", "coerce",
     "custom", "watch"],
    ["ops"],
    ["functional", "linalg", "random"],
    ["jit"],
    ["nn", "optim", "testing"],
    ["io"],
    ["data", "inspect"],
    ["training"],
    ["estimators"],
    ["systems"],
    ["cli", "__main__"],
    ["__init__"],
    ["keras", "examples"],  # written as users write
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
ALLOWED = {("ops/methods.py", "__init__"): "__array_namespace__ returns the package itself",
           ("cli/learn.py", "examples"): "medai learn runs the lesson, one of the examples"}
LINES = 450

# kernels is a link in the source tree, which rglob does not follow
SOURCES = {p for top in (PACKAGE, PACKAGE / "kernels") for p in top.rglob("*.py*")
           if p.suffix in (".py", ".pyx")}
NAMES = sorted(str(p.relative_to(PACKAGE)) for p in SOURCES)


def room(parts: tuple[str, ...]) -> str:
    """Return the room of a module, given its path inside the package."""
    return parts[0] if parts else "__init__"


def imported(path: Path) -> set[str]:
    """Return the rooms that a file imports, those for type checkers aside."""
    tree = ast.parse(path.read_text())
    skipped = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If)
               and getattr(node.test, "id", "") == "TYPE_CHECKING" for inner in ast.walk(node)}
    package = path.relative_to(PACKAGE).with_suffix("").parts[:-1]
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {room(tuple(name[1:])) for name in names if name[0] == "medai_engine"}
        elif isinstance(node, ast.ImportFrom):
            module = tuple((node.module or "").split(".")) if node.module else ()
            if node.level:
                target = package[: len(package) - node.level + 1] + module
            elif module[:1] == ("medai_engine",):
                target = module[1:]
            else:
                continue
            # "from . import a, b" at the top of the package names rooms
            found |= {target[0]} if target else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".py")])
def test_imports_point_downwards(name):
    path = PACKAGE / name
    home = room(path.relative_to(PACKAGE).with_suffix("").parts)
    assert home in LEVEL, f"{home} has no place in the house: add it to LEVELS"
    above = {other for other in imported(path)
             if LEVEL.get(other, -1 if home == "__init__" else 99) > LEVEL[home]}
    above -= {other for file, other in ALLOWED if file == name}
    assert not above, f"{name} is in {home} and imports {sorted(above)}"


def test_rule_sees_every_way_of_importing(tmp_path, monkeypatch):
    """The parser above resolves relative, absolute and lazy imports."""
    (tmp_path / "ops").mkdir()
    source = tmp_path / "ops" / "bad.py"
    source.write_text("from ..nn import Linear\nimport medai_engine.training.fit\n"
                      "def f():\n    from medai_engine.io import save\n"
                      "from .. import keras\nfrom .reduce import SUM\nimport numpy\n"
                      "if TYPE_CHECKING:\n    from ..cli import main\n")
    monkeypatch.setattr("test_imports.PACKAGE", tmp_path)
    assert imported(source) == {"nn", "training", "io", "keras", "ops"}


def test_files_are_short():
    lengths = {name: len((PACKAGE / name).read_text().splitlines()) for name in NAMES}
    long = {name: count for name, count in lengths.items() if count > LINES}
    assert not long, f"split by subject: {long}"
