"""The tape behind a tensor: which ops made it, from what, and what is kept for the way back.

``graph(loss)`` reads the nodes that the reverse pass would walk, and changes nothing. A node knows
its op, its shapes and what it keeps; where it belongs in the model, and the source line, it knows
if it was recorded inside ``with tape():``. Without that, an op that reads a parameter belongs to
the module that owns it (``model=`` tells which), and of the others nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..autograd import locate
from ..errors import GraphError, say
from ..jit.show import amount, table
from ..nn import Module
from ..op import Op
from ..tensor import Leaf, Tensor
from ..watch import Place, Scene, Watcher, watching
from .calls import ROOT, Call, Tip, forward, leaf, locate_in, memory, named, read
from .drawing import standalone
from .groups import grouped, keeping, reads
from .page import save
from .tape_page import picture, tape_page

__all__ = ["Graph", "graph", "tape"]


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
    #  op        inputs -> output           kept                module  line
    0  multiply  leaf 1 (1), leaf 1 -> (1)  a (leaf), b (leaf)
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
                known[node] = call = read(node, len(self.calls), known, holders)
                locate_in(call, owners)
                self.calls.append(call)
        if type(last) is not Leaf:
            known[last].outputs[index] = loss.shape
        self.strip()

    def strip(self) -> None:
        """Leave the model's own name out where there is one model."""
        if {call.parts[0] for call in self.calls if call.parts} <= {ROOT}:
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
        rows = [(str(i), group.name,
                 f"{reads(group, number)} -> {group.outputs}",
                 keeping(group, number), "" if group.parts else group.calls[0].module,
                 group.calls[0].site) for i, group in enumerate(groups)]
        return "\n".join([self.title, *table(
            ("#", "op", "inputs -> output", "kept", "module", "line"), rows, (0,))])

    __repr__ = __str__

    def svg(self) -> str:
        """Return the drawing, as a file of its own."""
        return standalone(picture(grouped(self.calls, self.depth), whole=self))

    def _repr_html_(self) -> str:
        return self.svg()

    def html(self) -> str:
        """Return the page."""
        return tape_page(self)

    def save(self, path: Any) -> Any:
        """Write the page, or the drawing where the name ends in .svg; return the path."""
        return save(path, self.svg() if str(path).endswith(".svg") else self.html())
