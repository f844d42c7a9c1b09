"""Reverse mode: nodes, and the pass that walks them backwards.

A node remembers the op, where gradients go (``edges``), and what the op's rule asked to keep. The
pass visits nodes in reverse topological order and calls each rule once; rules are written with
ops, so with ``create_graph`` the gradients have gradients.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import GraphError, ShapeError, say
from .mode import MODE, switched
from .tensor import CLOCK, Constant, Gradient, Leaf, Tensor, last_written

if TYPE_CHECKING:
    from .op import Op

__all__ = ["Node", "Slot", "backward", "drop", "gradients", "reverse"]

NOTHING = b"\0" * 8  # the one element of any dtype that ``zeros`` shows


class Node:
    """One recorded call of an op.

    Attributes
    ----------
    op : Op
        The record.
    edges : tuple
        Per input a Node, Slot or Leaf, or None where no gradient is wanted.
    saved : tuple
        Inputs as tensors, then outputs as arrays (never the output tensor: that would be a
        reference cycle); None where the rules do not ask.
    shapes : tuple
        Shapes of the inputs.
    params : dict
        The op's keyword parameters.
    specs : list or None
        Shapes and dtypes of the outputs of an op with several.
    stamp : int
        When it was recorded, to notice later writes to what it keeps.
    place : Place
        Where the call belongs (``watch``); only there if somebody watched.
    """

    __slots__ = ("edges", "op", "params", "place", "saved", "shapes", "specs", "stamp")

    def __init__(self, op: Op, edges: tuple[Any, ...], saved: Any, shapes: tuple[Any, ...],
                 params: dict[str, Any] | None = None, specs: Any = None):
        self.op = op
        self.edges = edges
        self.saved = saved
        self.shapes = shapes
        self.params = params
        self.specs = specs
        self.stamp = CLOCK[0]

    def __repr__(self) -> str:
        return f"<node {self.op.name}>"

    def pull(self, cotangents: Sequence[Tensor | None], needs: Sequence[bool],
             connected: bool) -> Sequence[Tensor | None]:
        """Return the gradients of the inputs, given those of the outputs."""
        op = self.op
        saved = self.unpack()
        if self.specs is not None:
            # zeros without memory: a rule can tell by the strides that an output was not used
            cotangents = [Constant(zeros(shape, dtype)) if g is None else g
                          for g, (shape, dtype) in zip(cotangents, self.specs, strict=True)]
        if op.joint:
            found = self.call(op.rules[None], cotangents, saved, needs, connected)
        else:
            found = [self.call(op.rules[i], cotangents, saved, needs, connected) if need else None
                     for i, need in enumerate(needs)]
        if op.elementwise:
            found = [g if g is None or g.data.shape == shape else sum_to(g, shape)
                     for g, shape in zip(found, self.shapes, strict=True)]
        return found

    def call(self, rule: Any, cotangents: Sequence[Any], saved: Any, needs: Sequence[bool],
             connected: bool) -> Any:
        """Call one gradient rule with what its parameters name."""
        count = len(self.edges)
        values = list(cotangents)
        for kind, key in rule.arguments:
            if kind == "input":
                values.append(saved[:count] if self.op.variadic else saved[key])
            elif kind == "output":
                node = None if not connected else self if self.specs is None else Slot(self, key)
                values.append(Tensor(saved[count + key], node))
            elif kind == "param":
                values.append(self.params[key])  # type: ignore[index]
            elif kind == "shape":
                values.append(self.shapes[key])
            else:
                values.append(needs if kind == "needs" else self.shapes)
        return rule.function(*values)

    def unpack(self) -> Any:
        """Return what was kept, recomputed where checkpointed; refuse when it has changed."""
        saved = self.saved
        if saved is None:
            raise GraphError(say(
                f"backward of {self.op.name}", "a graph that is still there",
                "one whose saved values were freed by an earlier backward",
                "Call the first backward with retain_graph=True, or compute the loss again"))
        if type(saved) is not tuple:
            saved = saved.values()
        if CLOCK[0] != self.stamp:
            for i, kept in enumerate(saved):
                if isinstance(kept, Tensor) and last_written(kept) > self.stamp:
                    name = self.op.inputs[min(i, len(self.op.inputs) - 1)]
                    raise GraphError(say(
                        f"backward of {self.op.name}", f"input {name!r} as it was in the forward "
                        "pass", "values written since", "Call backward before the update, or "
                        "compute the loss again after it"))
        return saved

    def free(self) -> None:
        """Let go of what was kept."""
        if self.saved is not None and type(self.saved) is not tuple:
            self.saved.free()
        self.saved = None


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return a read-only array that is one zero, seen everywhere (np.broadcast_to: 5 us)."""
    return np.ndarray(shape, dtype, NOTHING, 0, (0,) * len(shape))


class Slot:
    """One output of a node with several."""

    __slots__ = ("index", "node")

    def __init__(self, node: Node, index: int):
        self.node = node
        self.index = index


def sum_to(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum a gradient over the axes that broadcasting added or stretched."""
    from .op import OPS, apply

    return apply(OPS["sum_to"], g, shape=shape)


def locate(edge: Any) -> tuple[Any, int]:
    """Return (node or leaf, output number) of an edge."""
    return (edge.node, edge.index) if type(edge) is Slot else (edge, 0)


def ordered(roots: Iterable[Any]) -> list[Any]:
    """Return the nodes and leaves reachable from the roots, every node before its inputs."""
    uses = dict.fromkeys(roots, 0)
    stack = list(uses)
    starts = list(uses)
    while stack:
        node = stack.pop()
        if type(node) is not Leaf:
            for edge in node.edges:
                if edge is not None:
                    below = edge.node if type(edge) is Slot else edge
                    if below in uses:
                        uses[below] += 1
                    else:
                        uses[below] = 1
                        stack.append(below)
    order = []
    ready = [node for node in starts if uses[node] == 0]
    while ready:
        node = ready.pop()
        order.append(node)
        if type(node) is not Leaf:
            for edge in node.edges:
                if edge is not None:
                    below = edge.node if type(edge) is Slot else edge
                    uses[below] -= 1
                    if uses[below] == 0:
                        ready.append(below)
    return order


def leading_to(order: list[Any], targets: set[tuple[Any, int]]) -> set[Any]:
    """Return the nodes of the order from which a target is reached."""
    useful = {node for node, _ in targets}
    for node in reversed(order):
        if type(node) is not Leaf and any(
                edge is not None and locate(edge)[0] in useful for edge in node.edges):
            useful.add(node)
    return useful


def reverse(roots: Sequence[tuple[Any, Tensor]], wanted: Sequence[Any] | None = None, *,
            create_graph: bool = False, retain_graph: bool = False,
            ) -> dict[tuple[Any, int], Tensor]:
    """Walk the graph backwards; return the gradient at every wanted edge (default: all leaves).

    Parameters
    ----------
    roots : list of (edge, cotangent)
        Where to start, and with what.
    wanted : list of edges, optional
        Parts of the graph that lead to none of them are not visited.
    create_graph : bool
        Record the gradients' own computation.
    retain_graph : bool
        Keep saved values for another pass.
    """
    found: dict[tuple[Any, int], Tensor] = {}
    with switched(grad=create_graph) as mode:
        visits = walk(roots, wanted, create_graph, retain_graph, found)
        if mode.scene is None:
            deque(visits, 0)  # keeps no stop
        else:
            mode.scene.reverse(visits, found)
    return found


def walk(roots: Sequence[tuple[Any, Tensor]], wanted: Sequence[Any] | None, create_graph: bool,
         retain_graph: bool, found: dict[tuple[Any, int], Tensor]) -> Iterator[tuple[Any, ...]]:
    """Walk as ``reverse`` does; put the gradients at wanted edges in ``found``.

    Yields every node right after its rule has run, with its outputs' cotangents (the sums over all
    ways that lead to it), the mask of wanted gradients, and the gradients of its inputs.
    """
    order = ordered(locate(edge)[0] for edge, _ in roots)
    targets = None if wanted is None else {locate(edge) for edge in wanted}
    useful = None if targets is None else leading_to(order, targets)
    pending: dict[Any, list[Tensor | None]] = {}

    def give(edge: Any, g: Tensor) -> None:
        node, index = (edge.node, edge.index) if type(edge) is Slot else (edge, 0)
        slots = pending.get(node)
        if slots is None:
            if type(node) is Leaf or node.specs is None:
                pending[node] = [g]
                return
            slots = pending[node] = [None] * len(node.specs)
        held = slots[index]
        slots[index] = g if held is None else held + g

    for edge, g in roots:
        give(edge, g)
    scene = MODE.get().scene
    for node in order:
        here = pending.pop(node, None)
        if here is None or (useful is not None and node not in useful):
            continue
        if targets is None:
            if type(node) is Leaf:
                found[node, 0] = here[0]  # type: ignore[assignment]
                continue
            needs = [edge is not None for edge in node.edges]
        else:
            for index, total in enumerate(here):
                if total is not None and (node, index) in targets:
                    found[node, index] = total
            if type(node) is Leaf:
                continue
            needs = [edge is not None and locate(edge)[0] in useful  # type: ignore[operator]
                     for edge in node.edges]
            if True not in needs:
                continue
        if scene is not None:
            scene.enter(node)
        grads = node.pull(here, needs, create_graph)
        for edge, need, grad in zip(node.edges, needs, grads, strict=True):
            if need and grad is not None:
                give(edge, grad)
        if not retain_graph:
            node.free()
        yield node, here, needs, grads


def start(outputs: Sequence[Tensor], cotangents: Sequence[Any]) -> list[tuple[Any, Tensor]]:
    """Pair outputs with their cotangents (ones for a scalar); check both."""
    roots = []
    for y, g in zip(outputs, cotangents, strict=True):
        if y.node is None:
            raise GraphError(say(
                "backward", "a tensor that depends on one with requires_grad",
                f"a tensor of shape {y.shape} without a graph",
                "Create an input with requires_grad=True, and compute outside no_grad"))
        if g is None:
            if y.data.size != 1:
                raise GraphError(say(
                    "backward", "a scalar, or a gradient to start from",
                    f"a tensor of shape {y.shape}",
                    "Reduce it with .sum() or .mean(), or pass gradient="))
            g = Constant(np.ones(y.data.shape, y.data.dtype))
        elif not isinstance(g, Tensor):
            g = Tensor(np.asarray(g, y.data.dtype))
        if g.data.shape != y.data.shape:
            raise ShapeError(say("backward", f"a gradient of shape {y.shape}", g.shape,
                                 "Pass one of the output's shape"))
        roots.append((y.node, g))
    scene = MODE.get().scene
    if scene is not None:
        for watcher in scene.watchers:
            watcher.differentiate(scene, outputs)
    return roots


def gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Any],
              *, create_graph: bool = False, retain_graph: bool = False) -> list[Tensor]:
    """Return the gradients of the inputs (zeros where an output does not depend on one)."""
    connected = [(y, g) for y, g in zip(outputs, cotangents, strict=True) if y.node is not None]
    roots = start([y for y, _ in connected], [g for _, g in connected])
    edges = [x.node for x in inputs]
    found = reverse(roots, [e for e in edges if e is not None], create_graph=create_graph,
                    retain_graph=retain_graph or create_graph)
    result = []
    taken = {storage(g.data) for _, g in roots}
    for x, edge in zip(inputs, edges, strict=True):
        g = found.get(locate(edge)) if edge is not None else None
        if g is None:
            g = Tensor(np.zeros(x.data.shape, x.data.dtype))
        elif g.node is None:
            g = own(g, taken)
        result.append(g)
    return result


def backward(output: Tensor, gradient: Any = None, *, retain_graph: bool = False,
             create_graph: bool = False) -> None:
    """Add the gradients of ``output`` to the ``grad`` of all leaves that it depends on."""
    roots = start([output], [gradient])
    found = reverse(roots, create_graph=create_graph, retain_graph=retain_graph or create_graph)
    taken = {storage(g.data) for _, g in roots}
    mode = MODE.get()
    recorder, scene = mode.recorder, mode.scene
    if scene is not None:
        scene.enter(roots[0][0])
    for (leaf, _), g in found.items():
        tensor = leaf.tensor()
        if tensor is None:
            continue
        if recorder is not None:
            recorder.touch(tensor)
        if tensor.grad is not None:
            with switched(grad=create_graph):
                g = tensor.grad + g
        elif g.node is None:
            g = own(g, taken)
        tensor.grad = g if g.node is not None else Gradient(g.data, leaf)
    if scene is not None:
        scene.enter(None)


def drop(leaves: Iterable[Tensor]) -> None:
    """Set the gradients of leaves to None."""
    recorder = MODE.get().recorder
    for leaf in leaves:
        if recorder is not None:
            recorder.touch(leaf, overwritten=True)
        leaf.grad = None


def storage(array: np.ndarray) -> int:
    """Return an identity of the memory that an array uses."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


def own(g: Tensor, taken: set[int]) -> Tensor:
    """Return a tensor of the values: a copy unless they are contiguous and nobody's yet."""
    root = storage(g.data)
    if root in taken or not g.data.flags.c_contiguous:
        from .op import OPS, apply

        return apply(OPS["copy"], g)
    taken.add(root)
    return Tensor(g.data)


Tensor.backward = backward  # type: ignore[attr-defined]
