"""Calls of ops as the tape has them: what a node says of itself, and where it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograd import locate, ordered
from ..jit.recompute import Again
from ..nn import Module
from ..op import Op
from ..tensor import Leaf, Parameter, Tensor

__all__ = ["ROOT", "Call", "Tip", "forward", "label", "leaf", "locate_in", "memory", "named",
           "read", "sizes"]

ROOT = "model"  # what a scene calls the outermost module


@dataclass(eq=False)
class Tip:
    """A leaf: a parameter, or another tensor that takes a gradient."""

    name: str
    shape: tuple[int, ...]
    tensor: Tensor | None  # None: it is gone
    node: Leaf
    uses: int = 0


@dataclass(eq=False)
class Call:
    """One call of an op on the tape.

    Attributes
    ----------
    number : int
        Its place on the way forward.
    name : str
        Of the op, or what else the node stands for.
    op : Op
    node : Node
    names, results : list of str
        Of the inputs and of the outputs.
    shapes : list of tuple
        Of the inputs.
    sources : list of Call, Tip or None
        Where each input comes from; None: no gradient goes there.
    outputs : dict of int to tuple
        Shapes of those outputs that something on the tape reads, by number.
    kept : list of (str, int, Call, Tip, str or None)
        Name and bytes of what is kept for the way back, and who holds it anyway: a leaf, an
        earlier call, or this one under another name.
    state : str
        "" or why nothing can be said of what is kept.
    parts : tuple of str
        The module's dotted name, in parts; () outside of modules, or not known.
    kinds : tuple of str
        The classes of the module and of those around it, "" where not known.
    site : str
        The user's source line.
    phase : str
        "backward" for ops of a gradient that has a graph itself.
    """

    number: int
    name: str
    op: Op
    node: Any
    names: list[str]
    results: list[str]
    shapes: list[tuple[int, ...]]
    sources: list[Any]
    outputs: dict[int, tuple[int, ...]] = field(default_factory=dict)
    kept: list[tuple[str, int, Any]] = field(default_factory=list)
    state: str = ""
    parts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    site: str = ""
    phase: str = "forward"

    @property
    def module(self) -> str:
        """Dotted name and class of the module; "" where none is known."""
        return label(self.parts, self.kinds)

    @property
    def keeps(self) -> int:
        """Bytes that are kept for this call and that nothing before it holds anyway."""
        return sum(size for _, size, holder in self.kept if holder is None)


def label(parts: Sequence[str], kinds: Sequence[str]) -> str:
    """Return a module's dotted name and class."""
    return f"{'.'.join(parts)} {kinds[-1] if kinds else ''}".strip()


def sizes(shape: Sequence[int]) -> str:
    """Return a shape in brief: (32, 10)."""
    return f"({', '.join(map(str, shape))})"


def memory(array: np.ndarray) -> np.ndarray:
    """Return the array that owns the memory: a view keeps all of it."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def leaf(node: Leaf, names: dict[int, str], number: int) -> Tip:
    """Return what is known of a leaf."""
    t = node.tensor()
    name = names.get(id(t), f"leaf {number}")
    return Tip(name, () if t is None else t.shape, t, node)


def forward(last: Any) -> list[Any]:
    """Return the nodes and leaves behind one, each behind its inputs, long ways first."""
    depth: dict[Any, int] = {}
    sources: dict[Any, list[Any]] = {}
    for node in reversed(ordered([last])):
        found = () if type(node) is Leaf else [locate(e)[0] for e in node.edges if e is not None]
        sources[node] = sorted(dict.fromkeys(found), key=lambda below: -depth[below])
        depth[node] = 1 + max((depth[below] for below in found), default=0)
    order: dict[Any, None] = {}
    stack = [(last, iter(sources[last]))]
    while stack:
        node, ways = stack[-1]
        below = next((b for b in ways if b not in order), None)
        if below is None:
            order[node] = None
            stack.pop()
        else:
            stack.append((below, iter(sources[below])))
    return list(order)


def read(node: Any, number: int, known: dict[Any, Any], holders: dict[int, Any]) -> Call:
    """Return what a node says of itself.

    ``known`` are the calls and leaves before it, ``holders`` who keeps an array, by its id.
    """
    op, many, count = node.op, len(node.op.inputs) - 1, len(node.edges)
    if isinstance(node, Again):  # it stands for a whole function
        call = Call(number, "jitted function", op, node, [f"x{i}" for i in range(count)],
                    [f"y{i}" for i in range(len(node.specs))], list(node.shapes), [])
    else:
        names = [f"{op.inputs[many]}[{i - many}]" if op.variadic and i >= many else op.inputs[i]
                 for i in range(count)]
        call = Call(number, op.name, op, node, names, list(op.outputs), list(node.shapes), [])
    for edge, shape in zip(node.edges, node.shapes, strict=True):
        below, index = (None, 0) if edge is None else locate(edge)
        source = known.get(below)
        call.sources.append(source)
        if isinstance(source, Tip):
            source.uses += 1
            source.shape = shape
        elif source is not None:
            source.outputs[index] = shape
    if type(node.saved) is not tuple:
        call.state = "freed" if node.saved is None else "computed again"
        return call
    mine: dict[int, str] = {}
    for name, value in zip([*call.names, *call.results], node.saved, strict=False):
        if value is not None:
            whole = memory(value.data if isinstance(value, Tensor) else value)
            holder = mine.get(id(whole), holders.get(id(whole)))
            call.kept.append((name, whole.nbytes, holder))
            if holder is None:
                holders[id(whole)], mine[id(whole)] = call, name
    return call


Owner = tuple[tuple[str, ...], tuple[str, ...]]  # parts of a dotted name, with their classes


def named(model: Module | None, order: Sequence[Any],
          ) -> tuple[dict[int, str], dict[int, list[Owner]]]:
    """Return names of leaves by id, and who owns a parameter, or is a module, by id.

    Without a model, the modules that ops were recorded in name their own parameters.
    """
    found = {f"{ROOT}.{path}".rstrip("."): module
             for path, module in (() if model is None else model.named_modules())}
    if model is None:
        for where in (getattr(node, "place", None) for node in order):
            if where is not None and where.module is not None:
                found[where.path.partition(" ")[0]] = where.module
    names: dict[int, str] = {}
    owners: dict[int, list[Owner]] = {}
    for path, module in found.items():
        parts = path.split(".")
        around = [found.get(".".join(parts[:k + 1])) for k in range(len(parts))]
        owner = tuple(parts), tuple("" if m is None else type(m).__name__ for m in around)
        owners[id(module)] = [owner]
        for name, value in vars(module).items():
            if isinstance(value, Parameter):
                names.setdefault(id(value), f"{path}.{name}")
                owners.setdefault(id(value), []).append(owner)
    return names, owners


def locate_in(call: Call, owners: dict[int, list[Owner]]) -> None:
    """Say where a call belongs: by its place, else by the one owner of the parameters it reads."""
    where = getattr(call.node, "place", None)
    found: set[Owner] = set()
    if where is None:
        found.update(owner for source in call.sources if isinstance(source, Tip)
                     for owner in owners.get(id(source.tensor), ()))
    else:
        call.site, call.phase = where.site, where.phase
        if where.module is not None:
            path, _, kind = where.path.partition(" ")
            parts = (f"other {path}").split(".")
            found.update(owners.get(id(where.module), [
                (tuple(parts), ("",) * (len(parts) - 1) + (kind[1:-1],))]))
    if len(found) == 1:
        call.parts, call.kinds = found.pop()
