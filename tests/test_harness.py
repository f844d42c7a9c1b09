"""The checks are checked: every wrong gradient rule has to be caught.

Wrong rules are made from the right ones of every op, by changing what comes out of ``Node.pull``.
A wrong rule that passes all checks is a hole in the op's row. Where it cannot be told from the
right one (both gradients of a sum are the same), the row lists it as equivalent with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np
import op_checks as check
import pytest
from op_table import ROWS, Row, Sample

from medai_engine import kernels
from medai_engine.autograd import Node
from medai_engine.op import OPS, Op
from medai_engine.tensor import Tensor
from medai_engine.testing.gradients import weighted

Found = list[Tensor | None]
Change = Callable[[Node, list[Any], Found], Found]  # node, cotangents, right gradients -> wrong

CHECKS = (check.check_gradient, check.check_second, check.check_adjoint, check.check_pins,
          check.check_subsets, check.check_ownership)
LIMIT = 0.05  # the share of wrong rules that may be equivalent
RIGHT = Node.pull


@contextmanager
def replaced(pull: Callable[..., Any]) -> Iterator[None]:
    """Let another function compute the gradients of all nodes."""
    Node.pull = pull
    try:
        yield
    finally:
        Node.pull = RIGHT


def at(i: int, function: Callable[[Tensor], Tensor]) -> Change:
    """Change the gradient of input i."""
    return lambda node, us, found: [
        function(g) if n == i and g is not None and g.size else g for n, g in enumerate(found)]


def mask(g: Tensor, index: Any) -> Tensor:
    """Return zeros with a one, or several, at an index."""
    zeros = np.zeros(g.shape, g.dtype)
    zeros[index] = 1
    return Tensor(zeros)


def dropped(g: Tensor) -> Tensor:
    """Set the last entry along the last axis to 0: the last time step, class or column."""
    return g * (1.0 - mask(g, (..., -1) if g.ndim else ...))


def flipped(g: Tensor) -> Tensor:
    """Reverse all axes."""
    return g[(slice(None, None, -1),) * g.ndim] if g.ndim else g


def swapped(i: int, j: int) -> Change:
    """Exchange the gradients of two inputs."""

    def change(node: Node, us: list[Any], found: Found) -> Found:
        out = list(found)
        if out[i] is not None and out[j] is not None and out[i].shape == out[j].shape:
            out[i], out[j] = out[j], out[i]
        return out

    return change


def aliased(i: int) -> Change:
    """Hand out the same memory for every gradient of a shape."""
    memory: dict[Any, np.ndarray] = {}

    def buffered(g: Tensor) -> Tensor:
        if g.node is not None:
            return g
        buffer = memory.setdefault((g.shape, g.dtype), np.empty(g.shape, g.dtype))
        buffer[...] = g.data
        return Tensor(buffer)

    return at(i, buffered)


def written(node: Node, us: list[Any], found: Found) -> Found:
    """Write into the cotangents after use."""
    out = [g if g is None or g.node is not None else Tensor(g.data.copy()) for g in found]
    for u in us:
        if u is not None and u.node is None and u.data.flags.writeable:
            u.data *= 2
    return out


def label(op: Op, i: int) -> str:
    """Return the name of input i."""
    return f"{op.inputs[0]}{i}" if op.variadic else op.inputs[i]


def rules(row: Row) -> dict[str, Change]:
    """Return the wrong rules of an op by name; numbers are those of inputs."""
    op = OPS[row.op]
    inputs = sorted({i for s in row.draw() for i in check.wanted(op, s)})
    if check.method(row) == "none" or not inputs:
        return {}
    found: dict[str, Change] = {"cotangent written": written}
    for i in inputs:
        name = label(op, i)
        found |= {
            f"{name} times 1.001": at(i, lambda g: g * 1.001),
            f"{name} entry + 0.001": at(i, lambda g: g + mask(g, (-1,) * g.ndim) * 1e-3),
            f"{name} flipped": at(i, flipped),
            f"{name} last dropped": at(i, dropped),
            f"{name} zeros": at(i, lambda g: g * 0.0),
            f"{name} aliased": aliased(i),
            f"{name} float64": at(i, lambda g: g.astype(np.float64)),
        }
    for m, n in combinations(inputs, 2):
        pairs = [(s.inputs[m].shape, s.inputs[n].shape) for s in row.draw() if len(s.inputs) > n]
        if any(x == y and x and 0 not in x for x, y in pairs):
            found[f"{label(op, m)} and {label(op, n)} swapped"] = swapped(m, n)
    return found


def wrong(name: str, change: Change) -> Any:
    """Let the gradients of an op come out changed."""
    op = OPS[name]
    inside = []

    def pull(self: Node, cotangents: Any, needs: Any, connected: bool) -> Any:
        found = RIGHT(self, cotangents, needs, connected)
        if self.op is not op or inside:
            return found
        inside.append(True)  # the change may use the op itself
        try:
            return change(self, cotangents, list(found))
        finally:
            inside.pop()

    return replaced(pull)


def shortened(name: str, used: list[bool]) -> Any:
    """Let the rules of an op lose a term: a + b and a - b give a."""
    op = OPS[name]
    operators = ("__add__", "__radd__", "__sub__", "__rsub__")
    originals = {key: getattr(Tensor, key) for key in operators}

    def first(a: Tensor, b: Any) -> Tensor:
        used.append(True)
        shape = np.broadcast_shapes(a.shape, getattr(b, "shape", ()))
        return a if a.shape == shape else a * Tensor(np.ones(shape, a.dtype))

    def pull(self: Node, *arguments: Any) -> Any:
        if self.op is op:
            for key in operators:
                setattr(Tensor, key, first)
        try:
            return RIGHT(self, *arguments)
        finally:
            for key, original in originals.items():
                setattr(Tensor, key, original)

    return replaced(pull)


def constants(name: str, used: list[bool]) -> Any:
    """Let the rules of an op take what they keep as constants: second derivatives get lost."""
    op = OPS[name]

    def pull(self: Node, cotangents: Any, needs: Any, connected: bool) -> Any:
        if self.op is not op or not connected or all(x is None for x in self.saved):
            return RIGHT(self, cotangents, needs, connected)
        used.append(True)
        kept = self.saved
        self.saved = tuple(Tensor(x.data) if isinstance(x, Tensor) else x for x in kept)
        try:
            return RIGHT(self, cotangents, needs, False)
        finally:
            self.saved = kept

    return replaced(pull)


def ignored(k: int, name: str, used: list[bool]) -> Any:
    """Let the rule of an op with several outputs forget the cotangent of one."""
    op = OPS[name]

    def pull(self: Node, cotangents: Any, needs: Any, connected: bool) -> Any:
        if self.op is op and cotangents[k] is not None:
            used.append(True)
            cotangents = [None if i == k else u for i, u in enumerate(cotangents)]
        return RIGHT(self, cotangents, needs, connected)

    return replaced(pull)


def curved(row: Row) -> bool:
    """Tell whether the gradient changes with the inputs: else constants are right."""
    op = OPS[row.op]
    rng = np.random.default_rng(5)
    for drawn in row.draw():
        sample = drawn.cast(np.float64)
        which = check.wanted(op, sample)
        moved = tuple(np.asarray(x + 1e-3 * weighted(rng, x.shape)) if i in which else x
                      for i, x in enumerate(sample.inputs))
        here, there = (check.reverse(op, s, which)[2] for s in (
            sample, Sample(moved, sample.params)))
        if any(not np.array_equal(g.data, h.data) for g, h in zip(here, there, strict=True)):
            return True
    return False


def caught(row: Row) -> bool:
    """Tell whether any check fails now."""
    for run in CHECKS:
        try:
            with np.errstate(all="ignore"):
                run(row)
        except Exception:
            return True
    return False


@cache
def examined(name: str) -> tuple[int, tuple[str, ...]]:
    """Return how many wrong rules an op has, and the names of those that no check catches."""
    row = ROWS[name]
    survivors = []
    changes = rules(row)
    for key, change in changes.items():
        with wrong(name, change):
            if not caught(row):
                survivors.append(key)
    count = len(changes)
    contexts = {"missing term": shortened, "constants": constants}
    if len(OPS[name].outputs) > 1:
        contexts |= {f"{output} ignored": partial(ignored, k)
                     for k, output in enumerate(OPS[name].outputs)}
    for key, context in contexts.items():
        used: list[bool] = []
        if changes and (key != "constants" or curved(row)):
            with context(name, used):
                found = caught(row)
            if used:
                count += 1
                if not found:
                    survivors.append(key)
    return count, tuple(survivors)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_wrong_rules_are_caught(name):
    _, survivors = examined(name)
    listed = ROWS[name].equivalent
    assert set(survivors) == set(listed), (
        f"{name}: no check catches {sorted(set(survivors) - set(listed))}; "
        f"caught although listed as equivalent: {sorted(set(listed) - set(survivors))}")


def test_few_are_equivalent():
    """Rows cannot excuse themselves: equivalents are at most 5 % of all wrong rules."""
    total = sum(examined(name)[0] for name in ROWS)
    listed = sum(len(row.equivalent) for row in ROWS.values())
    assert total > 800
    assert listed <= LIMIT * total, f"{listed} of {total}"


def test_wrong_forward_is_caught(monkeypatch):
    """The forward check notices an error of some roundings."""
    row = ROWS["exp"]
    with check.engine("reference"):
        check.check_forward(row, row.draw(), "reference")
        monkeypatch.setattr(check.values, "forward", lambda op, sample: [
            y * (1 + 8 * np.finfo(y.dtype).eps) for y in check.reference(op, sample)])
        with pytest.raises(AssertionError, match="entries are wrong"):
            check.check_forward(row, row.draw(), "reference")


def test_wrong_cost_is_caught(monkeypatch):
    """The cost check notices one operation too many."""
    op = OPS["sigmoid"]
    check.check_cost(ROWS["sigmoid"])
    monkeypatch.setattr(op, "work", lambda arrays, outs, params: (0, 7 * arrays[0].size))
    with pytest.raises(AssertionError, match="record says"):
        check.check_cost(ROWS["sigmoid"])


def test_unwritten_result_is_caught(monkeypatch):
    """The forward check notices a kernel that leaves an element unwritten."""
    if not kernels.COMPILED:
        pytest.skip("NumPy's memory is not poisoned")
    row, op = ROWS["negative"], OPS["negative"]

    def lazy(x: np.ndarray, out: np.ndarray) -> None:
        out.ravel()[:-1] = -x.ravel()[:-1]

    monkeypatch.setattr(op, "compiled", lazy)
    with check.engine(check.engines()[-1]), pytest.raises(AssertionError, match="are wrong"):
        check.check_forward(row, row.draw()[:2], "lazy")
