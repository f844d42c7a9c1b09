"""What a capture writes down: values, lines, and the program that they make.

The recorder hangs in the mode; ``apply`` tells it every call of an op. It keeps serial numbers
and shapes, never the arrays of intermediate results, so a capture peaks no higher than an eager
step (engine-rules 15). Arrays are recognised by identity while they live.

A value is a place in memory: a line that writes changes what later lines read from it, and no
rule may move a read of ``value.root`` across a line whose ``writes`` have that root.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import ref

import numpy as np

from ..errors import CaptureError, say
from ..mode import MODE
from ..op import OPS, Op
from ..tensor import Constant, Gradient, Tensor
from ..watch import Place, Scene, user_line

__all__ = ["Line", "Offset", "Program", "Recorder", "Value", "joined", "uncollected"]

class Value:
    """An array of the program.

    Attributes
    ----------
    serial : int
        Its number, in the order of appearance.
    shape, dtype, strides, nbytes
        As at the capture; a temporary that is no view is C-contiguous.
    kind : str
        ``"argument"``, ``"state"`` (lives outside: parameters, buffers, optimiser states, any
        tensor of the surroundings), ``"constant"`` (a number in the program's text), ``"grad"``
        (a gradient that was there when the call began), ``"temporary"``.
    source : Tensor, int or None
        The tensor that holds a state or constant, or whose gradient it is; an argument's position.
    root : Value
        Whose memory it shares; itself where it has memory of its own.
    """

    __slots__ = ("dtype", "kind", "nbytes", "root", "serial", "shape", "source", "strides")

    def __init__(self, serial: int, array: np.ndarray, kind: str, source: Any = None,
                 root: Value | None = None):
        self.serial = serial
        self.shape = array.shape
        self.dtype = array.dtype
        self.strides = array.strides
        self.nbytes = array.nbytes
        self.kind = kind
        self.source = source
        self.root = self if root is None else root

    def __repr__(self) -> str:
        sizes = "x".join(str(n) for n in self.shape)
        return f"{'%' if self.kind == 'temporary' else self.kind + ' '}{self.serial}({sizes})"


NOWHERE = Place()


class Line:
    """One call of an op, or of the host.

    Attributes
    ----------
    op : Op or None
        None for a host line.
    params : dict
        The op's keyword parameters; random offsets are ``Offset``.
    inputs, outputs : list of Value
        An op that updates inputs has no outputs.
    writes : list of Value
        The inputs that it updates in place.
    host : callable or None
        What a host line calls, on the arrays of its inputs.
    place : Place
        The user's source line (``site``), the innermost ``module`` and its path, the phase.
    frame : int
        The number of the checkpoint that computes again, 0 outside: a line with a frame is never
        the same as one without, or sharing would undo the checkpoint.
    by : list of str
        The rules that made it.
    """

    __slots__ = ("by", "frame", "host", "inputs", "op", "outputs", "params", "place", "writes")

    def __init__(self, op: Op | None, params: dict[str, Any] | None = None,
                 inputs: Sequence[Value] = (), outputs: Sequence[Value] = (),
                 writes: Sequence[Value] = (), host: Callable[[], Any] | None = None,
                 place: Place = NOWHERE, frame: int = 0):
        self.op = op
        self.params = params or {}
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.writes = list(writes)
        self.host = host
        self.place = place
        self.frame = frame
        self.by: list[str] = []

    @property
    def site(self) -> str:
        """The user's source line, ``file.py:12``."""
        return self.place.site

    @property
    def module(self) -> Any:
        """The innermost module that was running, or None."""
        return self.place.module

    def __repr__(self) -> str:
        if self.op is None:
            return f"host {getattr(self.host, '__qualname__', self.host)}"
        made = ", ".join(map(repr, self.outputs or self.writes))
        return f"{made} = {self.op.name}({', '.join(map(repr, self.inputs))})"


def joined(rule: str, lines: Sequence[Line]) -> str:
    """Return a rule's note on a line, with the source lines that it joined if they are several."""
    sites = dict.fromkeys(line.site for line in lines if line.site)
    return rule if len(sites) < 2 else f"{rule} from {', '.join(sites)}"


class Program:
    """The lines of a step, with what goes in and what stays.

    Attributes
    ----------
    lines : list of Line
    arguments : list of Value
        By position; one that no line reads is in the list all the same.
    outputs : list of Value or other objects
        The leaves of the function's result.
    grads : list of (Tensor or int, Value or None)
        The gradients left on leaves (arguments by position) when the call ends.
    count : int
        How many serial numbers were given.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.arguments: list[Value] = []
        self.outputs: list[Any] = []
        self.grads: list[tuple[Tensor | int, Value | None]] = []
        self.count = 0

    def value(self, array: np.ndarray, kind: str = "temporary", source: Any = None,
              root: Value | None = None) -> Value:
        """Return a new value like an array (for rules: ``np.broadcast_to(np.empty(...), ...)``)."""
        self.count += 1
        return Value(self.count, array, kind, source, root)

    def packed(self, like: Value) -> Value:
        """Return a new value of the same shape and dtype, C-contiguous."""
        made = self.value(np.broadcast_to(np.empty((), like.dtype), like.shape))
        made.strides = packed(like.shape, like.dtype.itemsize)
        return made

    def kept(self) -> Iterator[Value]:
        """Yield what has to be there when the call ends: outputs and gradients."""
        yield from (value for value in self.outputs if isinstance(value, Value))
        yield from (value for _, value in self.grads if value is not None)

    def values(self) -> Iterator[Value]:
        """Yield every value that the lines name, in order, possibly more than once."""
        for line in self.lines:
            yield from line.inputs
            yield from line.outputs

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.lines))


class Offset(int):
    """A random offset handed out in a capture: the generator's position at replay + relative."""

    generator: Any
    relative: int

    def __new__(cls, start: int, generator: Any, relative: int) -> Offset:
        """Return the offset with where it came from."""
        made = super().__new__(cls, start)
        made.generator = generator
        made.relative = relative
        return made


@contextmanager
def uncollected() -> Iterator[None]:
    """Let no garbage be looked for: thousands of new lines would be walked again and again."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


class Seen(ref):
    """A weak reference to an array, with the value that it stands for."""

    __slots__ = ("value",)
    value: Value


class Recorder:
    """Takes down what runs, while it hangs in the mode."""

    def __init__(self, holders: Sequence[Tensor] = ()) -> None:
        self.program = Program()
        self.holders = {id(leaf) for leaf in holders}  # of a gradient, when the call began
        self.positions: dict[int, int] = {}  # of the arguments, by their tensor outside
        self.known: dict[int, Seen] = {}
        self.owners: dict[int, Value] = {}  # of states, by the array that owns the memory
        # what leaves held at the start: a gradient, none, or one that was overwritten (None)
        self.grads: dict[int, tuple[ref[Tensor], bool | None]] = {}
        self.outside: list[tuple[Value, ref[Tensor], np.ndarray]] = []
        self.guards: list[Callable[[], bool]] = []  # of the host: does what it recorded still hold?
        self.ends: dict[Any, int] = {}  # nodes where the graphs of arguments begin
        self.called: list[Any] = []  # modules
        self.scene = Scene()  # where nobody watches
        self.frames: dict[Any, int] = {}  # checkpoints that compute again, by number
        self.draws: dict[Any, list[int]] = {}  # per generator: position at the start, taken
        self.drawn: list[tuple[Any, int]] = []  # every draw: generator, relative offset
        self.live = self.peak = 0  # bytes of intermediate results

    # values

    def name(self, array: np.ndarray, value: Value) -> Value:
        """Let an array stand for a value as long as it lives."""
        seen = self.known[id(array)] = Seen(array)
        seen.value = value
        return value

    def made(self, array: np.ndarray) -> Value:
        """Return the value of a new result, and count its memory as long as it lives."""
        program = self.program
        program.count += 1
        value = Value(program.count, array, "temporary")
        seen = self.known[id(array)] = Seen(array, self.gone)
        seen.value = value
        self.live += value.nbytes
        if self.live > self.peak:
            self.peak = self.live
        return value

    def gone(self, seen: Seen) -> None:
        """Note that a result has died."""
        self.live -= seen.value.nbytes

    def find(self, array: np.ndarray) -> Value | None:
        """Return the value of an array, None where it was never seen."""
        found = self.known.get(id(array))
        return found.value if found is not None and found() is array else None

    def argument(self, array: np.ndarray, position: int) -> None:
        """Let an array stand for an argument."""
        self.program.arguments.append(
            self.name(array, self.program.value(array, "argument", position)))

    def value(self, t: Tensor) -> Value:
        """Return the value of a tensor; one that was never seen comes from outside."""
        array = t.data
        seen = self.known.get(id(array))
        if seen is not None and seen() is array:
            return seen.value
        leaf = t.leaf.tensor() if type(t) is Gradient and t.leaf is not None else None
        if leaf is not None and leaf.grad is t:
            self.touch(leaf)
            return self.known[id(array)].value
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
            inside = self.find(owner)
            if inside is not None and inside.root.kind in ("argument", "temporary"):
                raise CaptureError(say(
                    "me.jit", "tensors and their ops only", "an array taken out of a tensor at "
                    f"{user_line()}", "Inside a captured function compute with ops on the tensor, "
                    "not on its .data"))
        if type(t) is Constant:
            return self.name(array, self.program.value(array, "constant", t))
        value = self.program.value(array, "state", None, self.owners.get(id(owner)))
        self.owners.setdefault(id(owner), value.root)
        self.outside.append((value, ref(t), array))
        return self.name(array, value)

    def finish(self) -> None:
        """Tell the surroundings from what was made inside, which has died with the function."""
        written = {value.root for line in self.program.lines for value in line.writes}
        for value, source, array in self.outside:
            t = source()
            value.source = t if t is not None and t.data is array else Constant(array)
            if type(value.source) is Constant and value.root not in written:
                value.kind = "constant"
        self.outside.clear()
        self.known.clear()

    def gradients(self) -> None:
        """Note the gradients that were given to leaves by hand."""
        for _, source, _ in self.outside:
            t = source()
            if t is not None and t.grad is not None and self.find(t.grad.data) is not None:
                self.touch(t)

    def leaves(self) -> list[tuple[Tensor, bool | None]]:
        """Return the leaves outside whose gradients the function looks at or leaves."""
        return [(leaf, flag) for source, flag in self.grads.values()
                if (leaf := source()) is not None]

    user_line = staticmethod(user_line)

    # gradients that leaves hold

    def touch(self, leaf: Tensor, overwritten: bool = False) -> None:
        """Note what a leaf's gradient is, before it is looked at or overwritten.

        Whether it is None at the start decides what the function does: the plan looks again.
        """
        if id(leaf) in self.grads and self.grads[id(leaf)][0]() is leaf:
            return
        g = leaf.grad
        # made or dropped inside the function: what was there before is gone
        gone = overwritten or (g is None and id(leaf) in self.holders) or (
            g is not None and self.find(g.data) is not None)
        self.grads[id(leaf)] = ref(leaf), None if gone else g is not None
        if gone:
            return
        if g is not None:
            position = self.positions.get(id(leaf), leaf)
            self.name(g.data, self.program.value(g.data, "grad", position))

    # lines

    def record(self, op: Op, tensors: Sequence[Tensor], results: Sequence[Tensor],
               params: dict[str, Any]) -> None:
        """Take down one call of an op."""
        inputs = [self.value(t) for t in tensors]
        new = self.program.value
        if not op.view or OPS.get(op.name) is not op:  # a user's op may return what it likes
            self.line(op, params, inputs, [self.made(t.data) for t in results])
            return
        if not all(np.may_share_memory(t.data, tensors[0].data) for t in results):
            # a view that had to copy: NumPy reshapes strided memory so
            middle = self.program.packed(inputs[0])
            self.line(OPS["copy"], {}, inputs, [middle])
            inputs = [middle]
        self.line(op, params, inputs, [self.name(t.data, new(t.data, root=inputs[0].root))
                                       for t in results])

    def record_write(self, op: Op, given: Sequence[Tensor], tensors: Sequence[Tensor],
                     params: dict[str, Any]) -> None:
        """Take down an op that updates inputs, some of them through contiguous copies."""
        inputs = [self.value(t) for t in tensors]
        numbers = op.writes(len(tensors), **params)  # type: ignore[misc]
        for i in numbers:
            if inputs[i].root.kind == "argument":
                raise CaptureError(say("me.jit", "arguments that stay as they are",
                                     f"one written in place at {user_line()}", "Return the new "
                                     "values, or let the function reach the tensor from outside"))
        self.line(op, params, inputs, (), [inputs[i] for i in numbers])
        for i in numbers:
            if tensors[i] is not given[i]:
                target = self.value(given[i])
                self.line(OPS["assign"], {"index": ...}, [target, inputs[i]], (), [target])

    def line(self, op: Op | None, params: dict[str, Any], inputs: Sequence[Value],
             outputs: Sequence[Value], writes: Sequence[Value] = (),
             host: Callable[[], Any] | None = None) -> None:
        """Append a line, with where it comes from."""
        mode = MODE.get()
        frame, scene = mode.frame, mode.scene
        number = 0
        if frame is not None and frame.replaying:
            number = self.frames.setdefault(frame, len(self.frames) + 1)
        self.program.lines.append(Line(
            op, params, inputs, outputs, writes, host,
            scene.here(mode) if op is None else scene.place, number))  # type: ignore[union-attr]

    def host(self, function: Callable[..., Any], tensors: Sequence[Tensor] = ()) -> None:
        """Take down a call that changes numbers outside (step counts, rates), or a check."""
        self.line(None, {}, [self.value(t) for t in tensors], (), host=function)

    def draw(self, generator: Any, start: int, count: int) -> Offset:
        """Take down that a generator handed out an offset."""
        taken = self.draws.setdefault(generator, [start, 0])
        taken[1] = start - taken[0] + count
        self.drawn.append((generator, start - taken[0]))
        return Offset(start, generator, start - taken[0])


def packed(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the strides of a C-contiguous array."""
    strides = []
    for n in reversed(shape):
        strides.append(itemsize)
        itemsize *= max(n, 1)
    return tuple(reversed(strides))
