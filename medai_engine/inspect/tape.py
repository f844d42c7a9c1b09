"""The tape behind a tensor: which ops made it, from what, and what is kept for the way back.

``graph(loss)`` reads the nodes that the reverse pass would walk, and changes nothing. A node knows
its op, its shapes and what it keeps; where it belongs in the model, and the source line, it knows
if it was recorded inside ``with tape():``. Without that, an op that reads a parameter belongs to
the module that owns it (``model=`` tells which), and of the others nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograd import locate, ordered
from ..errors import GraphError, say
from ..jit.show import amount, table
from ..nn import Module
from ..op import Op
from ..tensor import Leaf, Parameter, Tensor
from ..watch import Place, Scene, Watcher, watching

ROOT = "model"  # what a scene calls the outermost module

__all__ = ["Call", "Graph", "Group", "Tip", "graph", "grouped", "sizes", "tape"]


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
    op : Op
    node : Node
    names : list of str
        Of the inputs.
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
    op: Op
    node: Any
    names: list[str]
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


@dataclass(eq=False)
class Group:
    """Calls that are shown as one: those of a module, one behind the other."""

    calls: list[Call]
    parts: tuple[str, ...]  # () for a single op

    @property
    def name(self) -> str:
        """Dotted name and class of the module, or the op's name."""
        if not self.parts:
            return self.calls[0].op.name
        behind = "gradient of " if self.calls[0].phase == "backward" else ""
        kinds = max((c.kinds[:len(self.parts)] for c in self.calls), key=lambda k: k[-1:])
        return behind + label(self.parts, kinds)

    @property
    def outputs(self) -> str:
        """Shapes that the last call gives."""
        return ", ".join(sizes(shape) for _, shape in sorted(self.calls[-1].outputs.items()))

    @property
    def keeps(self) -> int:
        """Bytes kept."""
        return sum(call.keeps for call in self.calls)


def label(parts: Sequence[str], kinds: Sequence[str]) -> str:
    """Return a module's dotted name and class."""
    return f"{'.'.join(parts)} {kinds[-1] if kinds else ''}".strip()


class Names(Watcher):
    """Notes the names of modules in a tape's nodes, a second model's apart from the first's."""

    def __init__(self) -> None:
        self.roots: list[Any] = []

    def op(self, scene: Scene, op: Op, inputs: Sequence[Tensor], results: Sequence[Tensor],
           params: dict[str, Any]) -> None:
        """Give the ops of a second model's modules another first name."""
        here = scene.place
        if not scene.modules or here.phase != "forward":
            return
        if scene.modules[0] not in self.roots:
            self.roots.append(scene.modules[0])
        number = self.roots.index(scene.modules[0])
        if number:
            path = f"{ROOT}{number + 1}{here.path[len(ROOT):]}"
            for node in {locate(r.node)[0] for r in results if r.node is not None}:
                node.place = Place(here.site, here.module, path)


def tape() -> AbstractContextManager[Scene]:
    """Let the ops inside the block note their modules and source lines, for ``graph``.

    Examples
    --------
    >>> import medai_engine as me
    >>> from medai_engine import nn
    >>> model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    >>> with me.inspect.tape():
    ...     loss = model(me.ones((3, 4))).sum()
    >>> [call.module for call in me.inspect.graph(loss).calls]
    ['0 Linear', '1 ReLU', '']
    """
    return watching(Names())


def graph(loss: Tensor, model: Module | None = None, depth: int | None = None) -> Graph:
    """Return the tape behind a tensor, to be printed, drawn or saved as a page.

    Parameters
    ----------
    loss : Tensor
        Any tensor with a graph, before a backward has freed it (``retain_graph=True``).
    model : Module, optional
        Names parameters, and the modules of the ops that read them. Ops recorded under
        ``me.inspect.tape()`` know their modules without it.
    depth : int, optional
        Show each module of this depth as one: 1 for the members of a Sequential. By default
        text and drawing show every op, and the page opens with the outermost modules.

    Returns
    -------
    Graph
        ``print(g)``, ``g.svg()``, ``g.html()``, ``g.save("tape.html")``.

    Raises
    ------
    GraphError
        For a tensor without a graph.

    Examples
    --------
    >>> import medai_engine as me
    >>> w = me.tensor([2.0], requires_grad=True)
    >>> print(me.inspect.graph((w * w).sum()))
    2 calls, 1 leaf; 0 B kept for the way back, apart from the leaves
    #  op        inputs -> output           kept      module  line
    0  multiply  leaf 1 (1), leaf 1 -> (1)  a, b
    1  sum       %0 (1) -> ()
    """
    if loss.node is None:
        raise GraphError(say(
            "graph", "a tensor that depends on one with requires_grad",
            f"a tensor of shape {loss.shape} without a graph",
            "Create an input with requires_grad=True, and compute outside no_grad"))
    return Graph(loss, model, depth)


class Graph:
    """The calls and leaves behind a tensor; see ``graph``.

    Attributes
    ----------
    calls : list of Call
        Each behind those that it depends on.
    tips : list of Tip
        The leaves, in the order of their first use.
    depth : int or None
    """

    def __init__(self, loss: Tensor, model: Module | None, depth: int | None):
        self.depth = depth
        self.calls: list[Call] = []
        self.tips: list[Tip] = []
        last, index = locate(loss.node)
        order = forward(last)
        names, owners = named(model, order)
        known: dict[Any, Any] = {}
        holders: dict[int, Any] = {}
        for node in order:
            if type(node) is Leaf:
                known[node] = tip = leaf(node, names, len(self.tips) + 1)
                self.tips.append(tip)
                if tip.tensor is not None:
                    holders[id(memory(tip.tensor.data))] = tip
            else:
                known[node] = call = self.read(node, known, holders)
                locate_in(call, owners)
                self.calls.append(call)
        if type(last) is not Leaf:
            known[last].outputs[index] = loss.shape
        self.strip()

    def read(self, node: Any, known: dict[Any, Any], holders: dict[int, Any]) -> Call:
        """Return what a node says of itself."""
        op, many = node.op, len(node.op.inputs) - 1
        names = [f"{op.inputs[many]}[{i - many}]" if op.variadic and i >= many else op.inputs[i]
                 for i in range(len(node.edges))]
        call = Call(len(self.calls), op, node, names, list(node.shapes), [])
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
        for name, value in zip([*names, *op.outputs], node.saved, strict=True):
            if value is not None:
                whole = memory(value.data if isinstance(value, Tensor) else value)
                holder = mine.get(id(whole), holders.get(id(whole)))
                call.kept.append((name, whole.nbytes, holder))
                if holder is None:
                    holders[id(whole)], mine[id(whole)] = call, name
        return call

    def strip(self) -> None:
        """Leave the model's own name out where there is one model."""
        if {call.parts[0] for call in self.calls if call.parts} == {ROOT}:
            for call in self.calls:
                call.parts, call.kinds = call.parts[1:], call.kinds[1:]
            for tip in self.tips:
                tip.name = tip.name.removeprefix(f"{ROOT}.")

    @property
    def keeps(self) -> int:
        """Bytes kept for the way back, each memory once, leaves apart."""
        return sum(call.keeps for call in self.calls)

    @property
    def title(self) -> str:
        """What it is, in a line."""
        leaves = "leaf" if len(self.tips) == 1 else "leaves"
        return (f"{len(self.calls)} calls, {len(self.tips)} {leaves}; {amount(self.keeps, 'B')} "
                "kept for the way back, apart from the leaves")

    def __str__(self) -> str:
        groups = grouped(self.calls, self.depth)
        number = {call: i for i, group in enumerate(groups) for call in group.calls}
        rows = [(str(i), group.name if group.parts else group.calls[0].op.name,
                 f"{reads(group, number)} -> {group.outputs}",
                 keeping(group, number), "" if group.parts else group.calls[0].module,
                 group.calls[0].site) for i, group in enumerate(groups)]
        return "\n".join([self.title, *table(
            ("#", "op", "inputs -> output", "kept", "module", "line"), rows, (0,))])

    __repr__ = __str__

    def svg(self) -> str:
        """Return the drawing, as a file of its own."""
        from .tape_page import picture, standalone

        return standalone(picture(grouped(self.calls, self.depth), whole=self))

    def _repr_html_(self) -> str:
        return self.svg()

    def html(self) -> str:
        """Return the page."""
        from .tape_page import tape_page

        return tape_page(self)

    def save(self, path: Any) -> Any:
        """Write the page, or the drawing where the name ends in .svg; return the path."""
        from .page import save

        return save(path, self.svg() if str(path).endswith(".svg") else self.html())


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


def grouped(calls: Sequence[Call], depth: int | None) -> list[Group]:
    """Return the calls, those of one module of that depth together.

    A call joins its module's group unless another group lies in between: a module that is called
    twice makes two groups, and the groups have no cycle.
    """
    groups: list[Group] = []
    home: dict[Call, int] = {}
    latest: dict[Any, int] = {}
    after: list[set[int]] = []
    for call in calls:
        key = (call.phase, call.parts[:depth]) if depth and len(call.parts) >= depth else None
        before = {home[s] for s in call.sources if isinstance(s, Call) and s in home}
        k = latest.get(key, -1) if key else -1
        if k < 0 or reaches(k, before - {k}, after):
            k = len(groups)
            groups.append(Group([], key[1] if key else ()))
            after.append(set())
            if key:
                latest[key] = k
        groups[k].calls.append(call)
        home[call] = k
        for b in before - {k}:
            after[b].add(k)
    return [groups[k] for k in sorting(after)]


def reaches(start: int, goals: set[int], after: Sequence[set[int]]) -> bool:
    """Tell whether a way leads from a group to one of the goals."""
    seen, stack = {start}, [start]
    while stack and goals:
        for k in after[stack.pop()] - seen:
            if k in goals:
                return True
            seen.add(k)
            stack.append(k)
    return False


def sorting(after: Sequence[set[int]]) -> Iterator[int]:
    """Yield groups, each behind those that lead to it, else in their order."""
    left = [0] * len(after)
    for ways in after:
        for k in ways:
            left[k] += 1
    ready = [k for k, n in enumerate(left) if n == 0][::-1]
    while ready:
        k = ready.pop()
        yield k
        for b in sorted(after[k], reverse=True):
            left[b] -= 1
            if not left[b]:
                ready.append(b)


def sizes(shape: Sequence[int]) -> str:
    """Return a shape in brief: (32, 10)."""
    return f"({', '.join(map(str, shape))})"


def reads(group: Group, number: dict[Call, int]) -> str:
    """Return the inputs of a group: calls by number, leaves by name, others by their shapes."""
    inside = set(group.calls)
    texts = {}
    for call in group.calls:
        for name, shape, source in zip(call.names, call.shapes, call.sources, strict=True):
            if source in inside:
                continue
            text = (f"%{number[source]}" if source in number else
                    source.name if isinstance(source, Tip) else name)
            texts.setdefault((text, source, shape), None)
    seen: set[str] = set()
    out = []
    for text, _, shape in texts:
        out.append(text if text in seen else f"{text} {sizes(shape)}")
        seen.add(text)
    return ", ".join(out)


def keeping(group: Group, number: dict[Call, int]) -> str:
    """Return what a group keeps, in a few words."""
    states = sorted({call.state for call in group.calls if call.state})
    if group.parts:
        return ", ".join([*states, *([amount(group.keeps, "B")] * (group.keeps > 0))])
    return ", ".join([*states, *(
        f"{name} {amount(size, 'B')}" if holder is None else
        f"{name} (leaf)" if isinstance(holder, Tip) else
        f"{name} ({f'%{number[holder]}' if holder in number else holder})"
        for name, size, holder in group.calls[0].kept)])
