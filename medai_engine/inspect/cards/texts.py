"""Where a text stands: the source of kernels, definitions and gradient rules, as it is shipped.

Nothing is written twice: what a card shows is read from the files that run. Python is found by its
syntax tree, Cython and C by the first line of a function and the end of its block.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ... import kernels

__all__ = ["BACKENDS", "Piece", "function_text", "kernel_texts", "rule_text"]

KERNELS = Path(kernels.__file__).parent
PACKAGE = Path(__file__).parents[2]
BACKENDS = ("reference", "loops", "fast")

# The vector loop behind a compiled kernel, where it has another name than the kernel: a file below
# kernels/ and the name of its function. Elsewhere NAME(<kernel>) or MACRO(<kernel>, ...) is found.
INNER = {
    **dict.fromkeys(("conv", "conv_grad_input", "conv_activation", "conv_pool",
                     "conv_pool_grad_input"), ("conv/taps.inc", "taps_of")),
    **dict.fromkeys(("matmul", "matmul_add", "linear", "linear_activation", "conv_grad_weight",
                     "conv_pool_grad_weight"), ("simd/tile.inc", "tile_of")),
    "conv_pool_grad_bias": ("conv/pooled.inc", "unpool"),
    "lstm": ("recurrent/recurrent.inc", "lstm_units"),
    "gru": ("recurrent/recurrent.inc", "gru_units"),
    "rnn": ("recurrent/recurrent.inc", "rnn_units"),
    "lstm_grad": ("recurrent/recurrent.inc", "lstm_grad_units"),
    "gru_grad": ("recurrent/recurrent.inc", "gru_grad_units"),
    "rnn_grad": ("recurrent/recurrent.inc", "rnn_grad_units"),
    "attention": ("attention/attention.inc", "soften"),
    "attention_grad": ("attention/attention.inc", "weigh"),
    "softmax_cross_entropy": ("loss/loss.inc", "cross_entropy"),
    "softmax_cross_entropy_grad": ("loss/loss.inc", "cross_entropy_grad"),
    "norm": ("norm/norm.inc", "block_moments"),
    "norm_grad": ("norm/norm.inc", "row_combine"),
    "channel_affine": ("norm/norm.inc", "row_affine"),
    "channel_affine_grad": ("norm/norm.inc", "row_dots"),
    "embedding": ("embedding/fast.pyx", "gather_chunk"),
    "embedding_grad": ("embedding/embedding.inc", "sum_rows"),
    "program": ("program/fast.pyx", "run_chunk"),
    "max_pool_take": ("pool/pool.inc", "take"),
    "random_uniform": ("random/random.inc", "uniform"),
    "random_normal": ("random/random.inc", "normal"),
    "random_integers": ("random/random.inc", "integers"),
    "random_bits": ("random/random.inc", "raw"),
}


class Piece(NamedTuple):
    """A stretch of a file."""

    file: str  # from the top of the source tree
    first: int  # line, from 1
    last: int
    source: str

    @property
    def place(self) -> str:
        """Return ``file:first-last``."""
        return f"{self.file}:{self.first}" + (f"-{self.last}" if self.last > self.first else "")


def shown(path: Path) -> str:
    """Return a path as the source tree has it."""
    for top, name in ((KERNELS, "kernels"), (PACKAGE, PACKAGE.name)):
        if path.is_relative_to(top):
            return str(Path(name, path.relative_to(top)))
    return path.name


@cache
def lines_of(path: Path) -> list[str]:
    """Return the lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def piece(path: Path, first: int, last: int) -> Piece:
    """Return lines of a file, from 1, both included."""
    return Piece(shown(path), first, last, "\n".join(lines_of(path)[first - 1: last]))


# ---- Python -----------------------------------------------------------------------------------


@cache
def definitions(path: Path) -> dict[str, ast.stmt]:
    """Return what a module defines at its top: functions, assignments, and calls that register."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse("\n".join(lines_of(path))).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        found[name.id] = node
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.value.args:
            first = node.value.args[0]  # _unary("exp", math.exp)
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.setdefault(first.value, node)
    return found


def python_text(path: Path, name: str) -> list[Piece]:
    """Return the definition of a name, and after it the functions of the file that it calls."""
    known = definitions(path)
    if name not in known:
        return []
    order, waiting = [name], [known[name]]
    while waiting:
        for node in ast.walk(waiting.pop(0)):
            called = node.id if isinstance(node, ast.Name) else ""
            if called in known and called not in order and isinstance(
                    known[called], ast.FunctionDef):
                order.append(called)
                waiting.append(known[called])
    return [stretch(path, known[called]) for called in order]


def stretch(path: Path, node: ast.stmt) -> Piece:
    """Return the lines of a statement, decorators included."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    return piece(path, first, node.end_lineno or node.lineno)


def source_of(function: Callable[..., Any]) -> Piece | None:
    """Return the source of a function, of a lambda without the statement around it.

    None where there is no file: code that was typed in, or built in.
    """
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    path = Path(code.co_filename)
    if not path.is_file():
        try:  # a notebook's cells are no files, but their lines are known
            rows, first = inspect.getsourcelines(function)
        except (OSError, TypeError):
            return None
        return Piece(path.name, first, first + len(rows) - 1, textwrap.dedent("".join(rows)))
    if code.co_name != "<lambda>":
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef) and node.name == code.co_name and (
                    code.co_firstlineno in (node.lineno, *(d.lineno for d in node.decorator_list))):
                part = stretch(path, node)
                return part._replace(source=textwrap.dedent(part.source))
        return None
    places = [(row, column) for row, _, column, _ in code.co_positions()
              if row is not None and column]
    text = "\n".join(lines_of(path))
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Lambda) and places and all(
                (node.lineno, node.col_offset) <= place
                <= (node.end_lineno, node.end_col_offset) for place in places) and (
                node.lineno == code.co_firstlineno):
            source = ast.get_source_segment(text, node) or ""
            return Piece(shown(path), node.lineno, node.end_lineno or node.lineno,
                         even(source, node.col_offset))
    return None


def function_text(function: Callable[..., Any]) -> list[Piece]:
    """Return the source of a function, and after it the functions of its file that it calls."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is not None and Path(code.co_filename).is_relative_to(PACKAGE):
        found = python_text(Path(code.co_filename), code.co_name)
        if found:
            return found
    whole = source_of(function)
    return [] if whole is None else [whole]


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse("\n".join(lines_of(path)))


def even(source: str, column: int) -> str:
    """Take from the second line on the indentation that the first line's place gave it."""
    first, *rest = source.split("\n")
    if not rest:
        return source
    margin = min((len(r) - len(r.lstrip()) for r in rest if r.strip()), default=0)
    return "\n".join([first, *("    " + r[margin:] for r in rest)])


def rule_text(function: Callable[..., Any]) -> tuple[list[Piece], dict[str, str]]:
    """Return the source of a rule and of functions handed to it, and the values of free names."""
    function = inspect.unwrap(function)
    found = source_of(function)
    pieces = [found] if found is not None else []
    values: dict[str, str] = {}
    names = function.__code__.co_freevars if hasattr(function, "__code__") else ()
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        value = cell.cell_contents
        if callable(value):
            inner = source_of(value)
            pieces += [inner] if inner is not None else []
        elif isinstance(value, (str, int, float)) and len(repr(value)) < 40:
            values[name] = repr(value)
    return pieces, values


# ---- the three texts of a kernel --------------------------------------------------------------


def kernel_texts(name: str) -> dict[str, list[Piece]]:
    """Return the pieces of every text of a kernel; first the function that is called."""
    folder = KERNELS / kernels.families()[name]
    return {"reference": python_text(folder / "reference.py", name),
            "loops": python_text(folder / "loops.py", name), "fast": list(fast_text(folder, name))}


def fast_text(folder: Path, name: str) -> Iterator[Piece]:
    """Find the Cython function that takes the call, and the vector loop that does the work."""
    fast = "\n".join(lines_of(folder / "fast.pyx"))  # a family of many files imports its kernels
    home = re.search(rf"^from \.(\w+) import [^\n]*\b{name}\b", fast, re.MULTILINE)
    for path in [folder / f"{home[1]}.pyx"] if home else sorted(folder.glob("*.pyx")):
        found = block(path, rf"(?:def|cpdef\b.*) {name}\(")
        if found is not None:
            yield found
            break
    if name in INNER:
        file, function = INNER[name]
        paths, names = [KERNELS / file], [function]
    else:
        short = name.removesuffix("_step").removeprefix("segments_")
        paths, names = sorted(folder.glob("*.inc")), [name, f"{name}_block", f"{name}_loop", short]
    for path in paths:
        for candidate in names:
            inner = (block(path, rf"cdef .*\b{candidate}\(") if path.suffix == ".pyx"
                     else c_block(path, candidate))
            if inner is not None:
                yield inner
                if path.suffix != ".pyx":
                    yield from callees(path, inner)
                return


def block(path: Path, head: str) -> Piece | None:
    """Return a Cython function: its first line and what is indented below."""
    lines = lines_of(path)
    for i, line in enumerate(lines):
        if re.match(head, line):
            end = i + 1
            while end < len(lines) and (not lines[end] or lines[end][0] in " )"):
                end += 1
            while not lines[end - 1].strip():
                end -= 1
            return piece(path, i + 1, end)
    return None


def c_block(path: Path, name: str) -> Piece | None:
    """Return a C function NAME(name), or the macros that make it: MACRO(name, ...)."""
    lines = lines_of(path)
    heads = (rf"(?:static|INLINE)\b.*NAME\({name}\)\(", rf"[A-Z][A-Z_0-9]*\({name}\b",
             rf"#define \w+\(x\) PASTE\({name}, x\)")
    for head in heads:
        for i, line in enumerate(lines):
            if re.match(head, line):
                end = i
                while not ended(lines[i: end + 1]):
                    end += 1
                while i and re.match(r"(/\*| \*)", lines[i - 1]):  # its comment
                    i -= 1
                return piece(path, i + 1, end + 1)
    return None


def ended(lines: list[str]) -> bool:
    """Tell whether brackets are closed and a function, or a list of macros, has its end."""
    text = re.sub(r"/\*.*?\*/", "", "\n".join(lines), flags=re.DOTALL)
    if text.startswith("#define"):
        return lines[-1].startswith("#include")
    if text.count("(") != text.count(")") or text.count("{") != text.count("}"):
        return False
    return "{" in text or not text.startswith(("static", "INLINE", "LINE", "RULE"))


def callees(path: Path, inner: Piece) -> Iterator[Piece]:
    """Return what a C text stands on in its file: a file included, functions, macros."""
    included = re.search(r'#include "(\w+\.inc)"', inner.source)
    if included is not None:
        other = path.parent / included[1]
        yield piece(other, 1, len(lines_of(other)))
    seen, waiting = {inner.first}, [inner]
    while waiting:
        source = waiting.pop(0).source
        for name in re.findall(r"NAME\((\w+)\)|\b([A-Z][A-Z_0-9]+)\b", source):
            found = c_block(path, name[0]) if name[0] else macro(path, name[1])
            if found is not None and found.first not in seen and (
                    name[1] or found.source.startswith(("INLINE", "static", "/*"))):
                seen.add(found.first)
                waiting.append(found)
                yield found


def macro(path: Path, name: str) -> Piece | None:
    """Return the definition of a macro that takes arguments or more than a line."""
    lines = lines_of(path)
    for i, line in enumerate(lines):
        if re.match(rf"#define {name}(\(|\b.*\\$)", line):
            end = i
            while lines[end].endswith("\\"):
                end += 1
            return piece(path, i + 1, end + 1)
    return None
