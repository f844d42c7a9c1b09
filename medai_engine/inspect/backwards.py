"""The way back, one node at a time: which rule runs, what comes in, what goes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import locate, start, walk
from ..jit.recompute import Again
from ..mode import switched
from ..nn import Module
from ..tensor import Tensor
from .calls import Call, Tip, sizes
from .cards.texts import rule_text
from .groups import Group
from .page import Html, code, figure, page, save, section, table
from .recording import Graph
from .tape_page import picture

__all__ = ["Stepper", "Stop", "step"]

SHOWN = 8  # values of a small tensor


def step(loss: Tensor, gradient: Any = None, model: Module | None = None) -> Stepper:
    """Go backwards from a tensor one node at a time: the walk of ``loss.backward()``, with stops.

    Leaves the graph and the ``grad`` of all leaves as they are.

    Parameters
    ----------
    loss : Tensor
        With a graph.
    gradient : Tensor or array, optional
        To start from; one for a scalar.
    model : Module, optional
        Names parameters, as for ``me.inspect.graph``.

    Returns
    -------
    Stepper
        An iterator over ``Stop``; print each. Behind the last one ``gradients`` holds those of
        the leaves by name, the same bits as ``backward`` gives; ``save(path)`` writes all stops
        as a page.

    Raises
    ------
    GraphError
        For a tensor without a graph, or with one that a backward has freed.

    Examples
    --------
    >>> import medai_engine as me
    >>> w = me.tensor([2.0, 3.0], requires_grad=True)
    >>> walk = me.inspect.step((w * w).sum())
    >>> print(next(walk).went[0].values)
    1, 1
    >>> [stop.call.name for stop in walk], walk.gradients
    (['multiply'], {'leaf 1': tensor([4., 6.])})
    """
    return Stepper(loss, gradient, model)


@dataclass
class Message:
    """A gradient on its way between two nodes.

    Attributes
    ----------
    name : str
        The output, or the input, whose gradient it is.
    g : Tensor or None
        None where the op's output is not used, or the rule gives nothing.
    other : str
        Where it comes from (every way, if several meet), or goes to.
    """

    name: str
    g: Tensor | None
    other: str

    @property
    def norm(self) -> float:
        """The root of the sum of squares."""
        return 0.0 if self.g is None else float(np.linalg.norm(self.g.data.ravel()))

    @property
    def values(self) -> str:
        """The values, of a large tensor the first ones."""
        if self.g is None:
            return ""
        flat = self.g.data.ravel()
        return ", ".join(f"{v:.4g}" for v in flat[:SHOWN].tolist()) + ", ..." * (len(flat) > SHOWN)

    def __str__(self) -> str:
        return f"{self.name} {self.amount}; {self.other}"

    @property
    def amount(self) -> str:
        """Shape, norm and values."""
        if self.g is None:
            return "zeros"
        return f"{sizes(self.g.shape)}: {self.values}   norm {self.norm:.4g}"


@dataclass
class Stop:
    """One node on the way back.

    Attributes
    ----------
    number : int
        From 1.
    count : int
        How many stops there are at most.
    call : Call
        The op, on the way forward.
    came : list of Message
        Per output the gradient that came in: the sum where several ways meet.
    went : list of Message
        Per wanted input the gradient that went out.
    rules : list of (str, str, str)
        The gradient rules that ran: of which inputs, their source, and where it stands.
    """

    number: int
    count: int
    call: Call
    came: list[Message]
    went: list[Message]
    rules: list[tuple[str, str, str]]

    def __str__(self) -> str:
        head = f"stop {self.number} of {self.count}: back through {self.call.name}"
        lines = ["   ".join(text for text in (head, self.call.module, self.call.site) if text)]
        for title, messages in (("came in", self.came), ("went out", self.went)):
            lines += [f"  {title if i == 0 else '':8}  {m}" for i, m in enumerate(messages)]
            if title == "came in":
                for names, source, where in self.rules:
                    lines.append(f"  rule      of {names}, {where}")
                    lines += [f"            {row}" for row in source.splitlines()]
        return "\n".join(lines)


class Stepper(Iterator[Stop]):
    """An iterator over the stops of a reverse pass; see ``step``.

    Attributes
    ----------
    graph : Graph
        What is walked.
    stops : list of Stop
        Those made so far.
    """

    def __init__(self, loss: Tensor, gradient: Any, model: Module | None):
        roots = start([loss], [gradient])
        self.graph = Graph(loss, model, None)
        self.known: dict[Any, Call | Tip] = {call.node: call for call in self.graph.calls}
        self.known |= {tip.node: tip for tip in self.graph.tips}
        self.arrived: dict[tuple[Any, int], list[str]] = {locate(loss.node): ["the start"]}
        self.found: dict[tuple[Any, int], Tensor] = {}
        self.stops: list[Stop] = []
        self.walk = walk(roots, None, False, True, self.found)

    def __next__(self) -> Stop:
        with switched(grad=False):
            node, cotangents, needs, gradients = next(self.walk)
        call: Any = self.known[node]
        number = len(self.stops) + 1
        came = [Message(name, g, self.ways(node, i))
                for i, (name, g) in enumerate(zip(call.results, cotangents, strict=True))]
        went = []
        for name, edge, need, g in zip(call.names, node.edges, needs, gradients, strict=True):
            if need:
                target = locate(edge)
                to = f"to {self.name(edge)}"
                if call.op.elementwise and g is not None and g.shape != cotangents[0].shape:
                    to = f"summed to its shape; {to}"
                went.append(Message(name, g, to))
                if g is not None:
                    self.arrived.setdefault(target, []).append(
                        f"{call.name} of stop {number} (norm {went[-1].norm:.4g})")
        stop = Stop(number, len(self.graph.calls), call, came, went, sources(call, needs))
        self.stops.append(stop)
        return stop

    def ways(self, node: Any, index: int) -> str:
        """Return where the gradient of an output came from."""
        found = self.arrived.get((node, index), [])
        if not found:
            return "nothing uses it"
        return f"from {found[0]}" if len(found) == 1 else f"the sum of {' and '.join(found)}"

    def name(self, edge: Any) -> str:
        """Return what an edge leads to."""
        node, index = locate(edge)
        below = self.known[node]
        if isinstance(below, Tip):
            return below.name
        return below.name + (f" {below.results[index]}" if node.specs is not None else "")

    @property
    def gradients(self) -> dict[str, Tensor]:
        """The gradients of the leaves that were reached, by name."""
        return {self.known[leaf].name: g
                for (leaf, _), g in self.found.items()}

    def leaves(self) -> list[tuple[str, str, str]]:
        """Return of each leaf that was reached the name, the gradient, and where it came from."""
        return [(self.name(leaf), Message("", g, "").amount, self.ways(leaf, 0))
                for (leaf, _), g in self.found.items()]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.stops), *(
            f"leaf      {name} {amount}; {ways}" for name, amount, ways in self.leaves())])

    def html(self) -> str:
        """Go to the end and return the page of all stops."""
        for _ in self:
            pass
        groups = [Group([call], ()) for call in self.graph.calls]
        links = {stop.call: f"#s{stop.number}" for stop in self.stops}
        return page(
            "The way back", figure(picture(groups, {
                g: links[g.calls[0]] for g in groups if g.calls[0] in links}, self.graph)),
            *map(described, self.stops),
            section("Gradients of the leaves", table(("leaf", "gradient", "from"), self.leaves())),
            lead=f"{len(self.stops)} stops; a click on an op of the drawing finds its stop")

    def save(self, path: Any) -> Any:
        """Write the page; return the path."""
        return save(path, self.html())


def sources(call: Call, needs: Any) -> list[tuple[str, str, str]]:
    """Return the rules that a node runs: of which inputs, source, place."""
    op = call.op
    if isinstance(call.node, Again):
        return [(", ".join(call.names), "", "the function runs again, op by op, and its own graph "
                 "is walked")]
    rules = [(", ".join(n for n, need in zip(call.names, needs, strict=True) if need),
              op.rules[None])] if op.joint else [
        (call.names[i], rule) for i, rule in op.rules.items() if needs[i]]
    found = []
    for names, rule in rules:
        pieces, values = rule_text(rule.function)
        text = "\n".join(piece.source for piece in pieces)
        free = ", ".join(f"{name} = {value}" for name, value in values.items())
        found.append((names, f"{text}\n# {free}" if free else text or repr(rule.function),
                      pieces[0].place if pieces else "a function without a file"))
    return found


def described(stop: Stop) -> Html:
    """Return a stop as a part of a page."""
    where = " · ".join(text for text in (stop.call.module, stop.call.site) if text)
    rows = [(Html(title) if i == 0 else "", m.name, "" if m.g is None else sizes(m.g.shape),
             m.values or m.amount,
             f"{m.norm:.4g}", m.other)
            for title, messages in (("came&nbsp;in", stop.came), ("went&nbsp;out", stop.went))
            for i, m in enumerate(messages)]
    parts: list[Any] = [Html(f"<div id='s{stop.number}'></div>")]
    if where:
        parts.append(where)
    for names, source, place in stop.rules:
        parts += [f"The rule for {names}, {place}:", code(source)]
    return section(f"{stop.number}. Back through {stop.call.name}", *parts,
                   table(("", "of", "shape", "values", "norm", "from or to"), rows, right=(4,)))
