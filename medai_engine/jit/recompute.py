"""Results of a plan whose graph was alive: a node that runs the function again, as a checkpoint.

A plan keeps no intermediate values between calls. Where a result could still be differentiated
when the recording ended, the results of a replay get one node; the reverse pass that reaches it
runs the function once more, eagerly, on the same arguments with the same random numbers, and goes
on through the graph that this gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import Leaf, Node, Slot, locate, reverse
from ..errors import CaptureError, say
from ..mode import MODE, switched
from ..op import OPS
from ..tensor import Tensor

__all__ = ["Again", "Gate", "connected"]


class Gate(Node):
    """Where the graph of an argument begins: a plan cannot hold what lies behind it."""

    __slots__ = ()

    def pull(self, cotangents: Sequence[Tensor | None], needs: Sequence[bool],
             connected: bool) -> Sequence[Tensor | None]:
        """Hand the gradient on to the outer graph, when the recording is over."""
        if MODE.get().recorder is not None:
            raise CaptureError(say(
                "backward inside me.jit", "a graph that begins inside, or at leaves",
                "an argument that was computed outside with gradients", "Pass x.detach(), or "
                "return the loss and call backward outside"))
        return cotangents


def connected(returned: list[Any], recorder: Any) -> tuple[list[int], list[Tensor | int]]:
    """Return which results have a living graph, and its leaves: tensors, or argument positions."""
    alive = [i for i, y in enumerate(returned) if isinstance(y, Tensor) and not y.is_leaf
             and locate(y.node)[0].saved is not None]
    seen = dict.fromkeys(locate(returned[i].node)[0] for i in alive)
    stack, leaves = list(seen), []
    while stack:
        node = stack.pop()
        if node in recorder.ends:
            leaves.append(recorder.ends[node])
        elif type(node) is Leaf:
            leaves.append(node.tensor())
        else:
            below = dict.fromkeys(locate(edge)[0] for edge in node.edges if edge is not None)
            stack += [edge for edge in below if edge not in seen]
            seen |= below
    return alive, [leaf for leaf in leaves if leaf is not None]


class Repeat:
    """Stands in the mode while a function runs again: the same random numbers, no writes."""

    replaying = True

    def __init__(self, draws: list[int]):
        self.draws = iter(draws)

    def draw(self, generator: Any, count: int) -> int:
        """Hand out the offset of the first run."""
        return next(self.draws)

    def take(self, node: Any, inputs: Any) -> None:
        """Let the node keep what it keeps."""


class Again(Node):
    """The node of all living results of one replay.

    Parameters
    ----------
    run : callable
        Calls the function with the same arguments, and returns the leaves of its result.
    alive : list of int
        Which of them belong to the node.
    draws : list of int
        The random offsets of the replay.
    leaves : list of Tensor
        Where the gradients go.
    found : list of Tensor
        The living results.
    stamp : int
        When the replay began.
    """

    __slots__ = ("alive", "draws", "run")

    def __init__(self, run: Callable[[], list[Any]], alive: list[int], draws: list[int],
                 leaves: list[Tensor], found: list[Tensor], stamp: int):
        super().__init__(OPS["alias"], tuple(x.node for x in leaves), tuple(leaves),
                         tuple(x.shape for x in leaves), {}, [(y.shape, y.dtype) for y in found])
        self.run = run
        self.alive = alive
        self.draws = draws
        self.stamp = stamp
        for slot, y in enumerate(found):
            y.node = Slot(self, slot)

    def pull(self, cotangents: Sequence[Tensor | None], needs: Sequence[bool],
             connected: bool) -> Sequence[Tensor | None]:
        """Run the function again, and return the gradients of the leaves."""
        self.unpack()
        frame: Any = Repeat(self.draws)
        with switched(grad=True, frame=frame):
            returned = self.run()
        roots = [(returned[i].node, g) for i, g in zip(self.alive, cotangents, strict=True)
                 if g is not None]
        wanted = [edge for edge, need in zip(self.edges, needs, strict=True) if need]
        found = reverse(roots, wanted, create_graph=connected, retain_graph=connected)
        return [found.get(locate(edge)) if need else None
                for edge, need in zip(self.edges, needs, strict=True)]
