"""``me.jit``: run a function once while recording, then replay its plan for equal signatures."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from threading import Lock
from typing import Any

import numpy as np

from ..autograd import Leaf, Node
from ..coerce import as_array
from ..kernels import bound, matching
from ..mode import MODE, Mode, switched
from ..op import OPS, apply
from ..tensor import CLOCK, EPOCH, Tensor
from ..tree import flatten, unflatten
from ..watch import RunEagerly, Scene
from .plan import Plan
from .recompute import Again, Gate, connected
from .record import Recorder, Value, uncollected

__all__ = ["Jitted", "jit"]

KEPT = 16  # plans of a function
MANY = 8  # plans that differ in one number, before a warning
PATIENCE = 4  # recordings of a function that changes its own surroundings every time
BUSY = Lock()  # the arena is used by one plan at a time


def jit(fn: Callable[..., Any], *, exact: bool = True) -> Jitted:
    """Return ``fn`` as a list of kernel calls: recorded once, simplified, planned, replayed.

    The first call with arguments of some shapes and dtypes runs ``fn`` and writes down every op:
    forward, backward, optimiser. Later calls replay the list in one arena of memory, without the
    Python in between, to the same bits. Parameters, buffers, optimiser states, random generators
    and learning rates are state: read and updated at every call, as ``fn`` would.

    Parameters
    ----------
    fn : callable
        Takes tensors, arrays, and nested lists, tuples and dicts of them. Anything else among its
        arguments (numbers, strings, None, modules) is part of the signature: another value,
        another plan. Other Python inside (prints, counters, lists that are appended to) runs only
        while recording.
    exact : bool
        With False, rewriting may round differently (as stated by each rule).

    Returns
    -------
    Jitted
        A callable with ``plans`` (at most 16, the least recently used goes first) and ``plan``
        (the last one used; ``print`` it).

    Raises
    ------
    GraphError
        In a call, where ``fn`` reads a value into Python (``.item()``, ``float()``, ``if x > 0``,
        ``.numpy()``) or writes to an argument. The message names the line.

    Examples
    --------
    >>> import medai_engine as me
    >>> @me.jit
    ... def f(x):
    ...     return (x * x).sum()
    >>> f(me.tensor([1.0, 2.0])), f(me.tensor([3.0, 4.0]))
    (tensor(5.), tensor(25.))
    """
    return Jitted(fn, exact)


class Jitted:
    """A function with its plans; see ``jit``."""

    def __init__(self, fn: Callable[..., Any], exact: bool = True):
        update_wrapper(self, fn, updated=())
        self.fn = fn
        self.exact = exact
        self.found: OrderedDict[Any, list[Entry]] = OrderedDict()
        self.tried: dict[Any, tuple[Guards, int]] = {}  # recordings that were not kept, how many
        self.last: Entry | None = None
        self.numbers: dict[Any, int] = {}

    def __reduce__(self) -> Any:
        """Leave plans out of copies: they are bound to memory."""
        return type(self), (self.fn, self.exact)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Be a method where a class holds it."""
        return self if instance is None else partial(self, instance)

    @property
    def name(self) -> str:
        """What the function is called."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    @property
    def plans(self) -> list[Plan]:
        """The plans that exist, the last one made or used last."""
        return [entry.plan for entries in self.found.values() for entry in entries]

    @property
    def plan(self) -> Plan | None:
        """The plan that was used last."""
        return None if self.last is None else self.last.plan

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay the plan that fits, or record one."""
        mode = MODE.get()
        entry: Any = self.last
        arrays: Any = None
        tensors: Any = ()
        if entry is not None and not kwargs and (
                mode is entry.mode or alike(mode, entry.mode)) and entry.specs is not None:
            arrays = matching(args, entry.specs)
        if arrays is None or not (
                entry.guards.hold() and (not entry.begin or entry.begins(tensors))):
            if mode.recorder is not None or mode.frame is not None:
                return self.eager(args, kwargs)  # part of another recording
            leaves, rebuild = flatten((args, kwargs))
            key, tensors, static = signature((args, kwargs), leaves, mode)
            entry = self.entry(key, tensors)
            if entry is None:
                self.count(key, static)
                return self.record(key, leaves, rebuild, mode)
            arrays = [x.data if isinstance(x, Tensor) else x for x in tensors]
        if not BUSY.acquire(False):
            return self.eager(args, kwargs)
        try:
            if entry is not self.last:
                self.switch(entry)
            return entry.replay(arrays, tensors, args, kwargs, mode.scene)
        except RunEagerly:
            pass
        finally:
            BUSY.release()
        return self.eager(args, kwargs)

    def eager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the function as it is; arrays arrive as tensors all the same."""
        leaves, rebuild = flatten((args, kwargs))
        args, kwargs = rebuild([Tensor(as_array(x)) if isinstance(x, np.ndarray) else x
                                for x in leaves])
        return self.fn(*args, **kwargs)

    def switch(self, entry: Entry | None) -> None:
        """Use another plan from now on."""
        if self.last is not None:
            self.last.plan.release()
        self.last = entry

    def entry(self, key: Any, tensors: Sequence[Any]) -> Entry | None:
        """Return the plan of a signature whose guards hold."""
        for entry in self.found.get(key, ()):
            if entry.guards.hold() and entry.begins(tensors):
                self.found.move_to_end(key)
                return entry
        return None

    def count(self, key: Any, static: tuple[Any, ...]) -> None:
        """Warn once when many plans differ in one number."""
        for i, value in enumerate(static):
            if type(value) in (int, float):
                rest = (key[:2], static[:i], static[i + 1:])
                self.numbers[rest] = self.numbers.get(rest, 0) + 1
                if self.numbers[rest] == MANY + 1:
                    warnings.warn(
                        f"me.jit({self.name}): {MANY} plans differ in one number only (now "
                        f"{value!r}); numbers are part of the signature. Pass "
                        "me.asarray(number) to make it an argument.", RuntimeWarning, stacklevel=3)

    def record(self, key: Any, leaves: list[Any], rebuild: Callable[[list[Any]], Any],
               mode: Mode) -> Any:
        """Run the function while recording; keep a plan unless it changes its surroundings."""
        before, times = self.tried.pop(key, (None, 0))
        settled = before is not None and before.hold()
        if times == PATIENCE:
            self.tried[key] = before, times  # type: ignore[assignment]
            return self.eager(*rebuild(leaves))
        if BUSY.acquire(False):
            self.switch(None)
            BUSY.release()
        holders = [leaf for plan in self.plans for leaf, _ in plan.recorder.leaves()
                   if leaf.grad is not None]
        recorder = Recorder(holders)
        epoch = EPOCH[0]
        with switched(recorder=recorder), uncollected():
            args, kwargs = rebuild(entered(leaves, recorder, mode))
            result = self.fn(*args, **kwargs)
        returned, _ = flatten(result)
        flat = key[0] == (tuple, (tuple, *[None] * len(leaves)), (dict,))
        entry = Entry(recorder, result, returned, leaves, flat, mode, self)
        if EPOCH[0] == epoch or (settled and before.hold()):  # type: ignore[union-attr]
            self.found.setdefault(key, []).append(entry)
            self.found.move_to_end(key)
            self.last = entry
            while len(self.plans) > KEPT:
                oldest = next(iter(self.found))
                self.found[oldest].pop(0)
                if not self.found[oldest]:
                    del self.found[oldest]
        else:
            # it inferred sizes or switched flags: once more, from where it left them
            self.tried[key] = entry.guards, times + 1
            if times + 1 == PATIENCE and before is not None:
                warnings.warn(
                    f"me.jit({self.name}) runs without a plan: {before.changed() or 'something'} "
                    "is another one after every call. Keep what changes in buffers, or outside of "
                    "modules.", RuntimeWarning, stacklevel=3)
        return result


def signature(tree: Any, leaves: list[Any], mode: Mode) -> tuple[Any, list[Any], tuple[Any, ...]]:
    """Return the key of a call, its tensors and arrays, and its other leaves."""
    tensors: list[Any] = []
    specs: list[Any] = []
    static: list[Any] = []
    for x in leaves:
        if isinstance(x, Tensor):
            # which argument with a gradient is which: gradients go to tensors, not to values
            same = next(i for i, y in enumerate([*tensors, x]) if y is x)
            specs.append((x.data.shape, x.data.dtype,
                          same if mode.grad and x.node is not None else None))
            tensors.append(x)
        elif isinstance(x, np.ndarray):
            specs.append((x.shape, x.dtype, None))
            tensors.append(x)
        else:
            specs.append(type(x))
            static.append(x if getattr(x, "__hash__", None) is not None else Same(x))
    key = (structure(tree), (tuple(specs), mode.grad, mode.backend, mode.depth > 0), tuple(static))
    return key, tensors, tuple(static)


class Same:
    """An object that cannot be hashed, as part of a signature: equal to itself only."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


def structure(tree: Any) -> Any:
    """Return the shape of a nested structure, hashable."""
    if isinstance(tree, dict):
        return (dict, *((key, structure(item)) for key, item in tree.items()))
    if isinstance(tree, (list, tuple)):
        return (type(tree), *(structure(item) for item in tree))
    return None


def entered(leaves: list[Any], recorder: Recorder, mode: Mode) -> list[Any]:
    """Return fresh tensors for the tensors and arrays among the arguments, known by position."""
    out = []
    for x in leaves:
        if not isinstance(x, (Tensor, np.ndarray)):
            out.append(x)
            continue
        array = x.data if isinstance(x, Tensor) else as_array(x)
        array = array[...] if array.flags.carray or (
            array.flags.c_contiguous and array.flags.aligned) else array.copy()
        t = Tensor(array)
        position = len(recorder.program.arguments)
        recorder.argument(array, position)
        if isinstance(x, Tensor) and x.node is not None and mode.grad:
            recorder.positions.setdefault(id(x), position)
            t.node = x.node if type(x.node) is Leaf else Gate(
                OPS["alias"], (x.node,), (None, None), (array.shape,), {})
            recorder.ends.setdefault(t.node, position)
            t = apply(OPS["alias"], t)
        out.append(t)
    return out


class Guards:
    """What a function found around it: a plan holds as long as it is still so."""

    def __init__(self, recorder: Recorder, states: list[Tensor]):
        self.bindings = [(t, t.data, t.node is None) for t in states]
        # who writes t.data = x tells nobody; an optimiser's own states are out of reach
        own = {id(t) for line in recorder.program.lines if "hyper" in line.params
               for t in (v.source for v in line.inputs[len(line.params["hyper"]):])}
        self.tensors = [t for t in states if id(t) not in own]
        self.arrays = [t.data for t in self.tensors]
        self.modules = [(m, list(vars(m).items())) for m in dict.fromkeys(recorder.called)]
        self.others = recorder.guards
        self.epoch = EPOCH[0]

    def hold(self) -> bool:
        """Look at bindings, and at all else if anything was changed since the last look."""
        epoch = EPOCH[0]
        if epoch == self.epoch and bound(self.tensors, self.arrays):
            return True
        if self.changed():
            return False
        self.epoch = epoch
        return True

    def changed(self) -> str:
        """Return what is not as it was, or ""."""
        for t, data, free in self.bindings:
            if t.data is not data or (t.node is None) != free:
                return f"the memory or requires_grad of a {type(t).__name__} of shape {t.shape}"
        for module, kept in self.modules:
            now = vars(module)
            names = [name for name, value in kept if not (name in now and (
                now[name] is value or (isinstance(value, (int, float, str, tuple))
                                       and now[name] == value)))]
            names += now.keys() - dict(kept).keys()
            if names:
                return f"{type(module).__name__}.{names[0]}"
        return "" if all(check() for check in self.others) else "an optimiser's table"


class Entry:
    """A plan with what it takes to use it: guards, argument checks, how results are built."""

    def __init__(self, recorder: Recorder, result: Any, returned: list[Any], leaves: list[Any],
                 flat: bool, mode: Mode, owner: Jitted):
        program = recorder.program
        self.begin: list[tuple[Any, bool]] = []
        recorder.gradients()
        for leaf, was_there in recorder.leaves():
            position: Any = recorder.positions.get(id(leaf), leaf)
            value = None if leaf.grad is None else recorder.value(leaf.grad)
            if was_there is None or value is None or value.kind != "grad":
                program.grads.append((position, value))
            if was_there is not None:
                self.begin.append((position, was_there))
        self.owner = owner
        self.alive, self.edges = connected(returned, recorder)
        program.outputs = [
            recorder.value(y) if isinstance(y, Tensor) and not self.outside(y, recorder) else y
            for y in returned]
        self.dead = [i for i, y in enumerate(returned) if isinstance(y, Tensor)
                     and y.node is not None and i not in self.alive
                     and isinstance(program.outputs[i], Value)]
        self.single = isinstance(result, Tensor)
        self.tree = unflatten(result, iter([None] * len(returned)))
        recorder.finish()
        states = {id(v.source): v.source for v in (*program.values(), *program.kept())
                  if v.kind == "state"}
        self.guards = Guards(recorder, list(states.values()))
        self.plan = Plan(recorder, mode.backend, owner.exact)
        self.mode = mode
        # for the common call: positional arguments, none of them nested or with a graph
        plain = flat and not recorder.ends and not any(
            isinstance(x, (Tensor, np.ndarray)) and type(x) not in (Tensor, np.ndarray)
            for x in leaves)
        self.specs = [(type(x), x.dtype, x.shape) if type(x) in (Tensor, np.ndarray)
                      else (None, x) for x in leaves] if plain else None

    @staticmethod
    def outside(y: Tensor, recorder: Recorder) -> bool:
        """Tell whether a result is a tensor of the surroundings itself, such as a parameter."""
        found = recorder.find(y.data)
        return found is None or (found.kind == "state" and any(
            value is found and source() is y for value, source, _ in recorder.outside))

    def begins(self, tensors: Sequence[Any]) -> bool:
        """Tell whether gradients are there, or are not, as they were when it was recorded."""
        for leaf, was_there in self.begin:
            if type(leaf) is int:
                leaf = tensors[leaf]
            if (leaf.grad is not None) is not was_there:
                return False
        return True

    def replay(self, arrays: list[np.ndarray], tensors: Sequence[Any], args: tuple[Any, ...],
               kwargs: dict[str, Any], scene: Scene | None = None) -> Any:
        """Run the plan and build the result."""
        stamp = CLOCK[0]
        found = self.plan(arrays, tensors, scene)
        if self.alive:
            leaves: Any = [tensors[x] if type(x) is int else x for x in self.edges]
            Again(lambda: flatten(self.owner.eager(args, kwargs))[0], self.alive,
                  self.plan.positions(), leaves, [found[i] for i in self.alive], stamp)
        for i in self.dead:
            found[i].node = FREED
        return found[0] if self.single else unflatten(self.tree, iter(found))


def alike(a: Mode, b: Mode) -> bool:
    """Tell whether two modes are the same to a plan."""
    return (a.recorder is None and a.frame is None and a.grad == b.grad
            and a.backend == b.backend and (a.depth > 0) == (b.depth > 0))


FREED = Node(OPS["alias"], (), (), ())  # of results whose graph was used up inside
FREED.free()
