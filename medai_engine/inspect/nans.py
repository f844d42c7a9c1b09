"""Where a NaN was born: ``with me.debug_nans():``, around a loop, a jitted step or ``fit``.

A watcher (``watch``) that looks at every result of an eager op with one pass of the sum kernel: a
sum is finite where all elements are. Plans are looked at where it matters, before an optimiser
moves and at the end, and where something is wrong there, the call is put back and runs again op by
op, to find the first one.

A NaN is a fault as soon as an op makes it. An infinity may be meant (a score of -inf before a
softmax): it is followed, and is a fault when NaN is made of it, or when it reaches a loss, a
gradient or a parameter, or when the block ends and nothing was computed of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ContextDecorator
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import numpy as np

from ..errors import NonFiniteError
from ..jit.plan import Plan
from ..jit.record import Value
from ..kernels.optimizer.reference import COLUMNS
from ..mode import MODE
from ..op import OPS, Op
from ..tensor import Tensor
from ..watch import Place, RunEagerly, Scene, Watcher, watching
from .faults import CLIP, Fault, describe, from_outside, report

__all__ = ["NaNTracer", "debug_nans", "finite"]

# ops that only move elements: they may carry a NaN of the data to where it is dealt with
MOVING = {"alias", "astype", "broadcast_to", "concat", "copy", "gather", "permute_dims", "reshape",
          "slice", "unslice", "where", "put_along_axis", "resample", "sort", "assign"}
SUM = OPS["sum"].compiled


def finite(array: np.ndarray) -> bool:
    """Tell whether all elements are finite: by one pass of the sum kernel, where it can.

    A sum of finite elements may overflow: then they are looked at one by one.
    """
    if array.dtype in (np.float32, np.float64) and array.flags.c_contiguous and array.size:
        total = np.empty((1, 1), array.dtype)
        SUM(array.reshape(1, -1, 1), total, 1.0)
        if np.isfinite(total[0, 0]):
            return True
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


class Tainted(ref):
    """An array with bad values that is followed as long as it lives."""

    __slots__ = ("fault", "key", "used")
    fault: Fault
    key: int
    used: bool


class NaNTracer(Watcher, ContextDecorator):
    """What looks for NaN; a context manager and a decorator, see ``debug_nans``.

    Attributes
    ----------
    kept : int
        Bytes that the last replay of a plan kept, to run the call again.
    """

    stepwise = True

    def __init__(self) -> None:
        self.tainted: dict[int, Tainted] = {}
        self.looks: WeakKeyDictionary[Plan, Looks] = WeakKeyDictionary()
        self.entered: list[AbstractContextManager[Scene]] = []
        self.switched = False  # on by ``debug_nans(True)``
        self.kept = 0
        self.final: Fault | None = None  # of the first result that was not used
        self.steps: dict[int, Step] = {}  # by the table of their options
        self.saved: Saved | None = None
        self.doubted: Looks | None = None

    def __enter__(self) -> NaNTracer:
        watched = watching(self)
        watched.__enter__()
        self.entered.append(watched)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.entered.pop().__exit__(kind, error, trace)
        if not self.entered:
            try:
                if kind is None:
                    self.leave()
            finally:
                self.tainted.clear()
                self.steps.clear()
                self.final = None

    def leave(self) -> None:
        """Raise where a moved parameter is not finite, or a result of which nothing was made."""
        for step in self.steps.values():
            for p in (known() for known in step.parameters):
                if p is not None and not finite(p.data):
                    raise self.fault(step.fault(from_outside(Scene(), step.op, 0, p)))
        for seen in list(self.tainted.values()):
            self.gone(seen)
        fault, self.final = self.final, None
        if fault is not None:
            raise self.fault(fault, reached="a result of which nothing was computed")

    def fault(self, fault: Fault, became: Fault | None = None, **more: Any) -> NonFiniteError:
        """Return the error for a fault, once; a call that runs eagerly was rightly doubted."""
        self.doubted = self.final = None
        self.tainted.clear()
        return report(fault, became, **more)

    # eager ops

    def op(self, scene: Scene, op: Op, inputs: Sequence[Tensor], results: Sequence[Tensor],
           params: dict[str, Any]) -> None:
        """Look at the results of an op, or at what it has written."""
        known = None
        if self.tainted:
            for x in inputs:
                seen = self.seen(x.data)
                if seen is not None:
                    seen.used, known = True, seen
        if op.writes is not None:
            self.written(scene, op, inputs, params)
        elif op.view and OPS.get(op.name) is op:
            if known is not None:
                self.taint(results, known.fault)
        else:
            for result in results:
                if not finite(result.data):
                    self.bad(scene, op, inputs, result)

    def bad(self, scene: Scene, op: Op, inputs: Sequence[Tensor], result: Tensor) -> None:
        """Decide what bad values in a result mean."""
        carriers = [i for i, x in enumerate(inputs) if not finite(x.data)]
        nan = bool(np.isnan(result.data).any())
        if not carriers:
            fault = describe(scene, op, inputs, result.data)
            if nan:
                raise self.fault(fault)
            self.taint([result], fault)
            return
        faults = [self.origin(scene, op, i, inputs[i]) for i in carriers]
        first = next((fault for fault in faults if fault.kind == "born"), faults[0])
        brought = any(np.isnan(inputs[i].data).any() for i in carriers)
        if not nan or (brought and op.name in MOVING):
            self.taint([result], first)
        elif brought:  # data or weights: nothing has dealt with it
            raise self.fault(first)
        else:
            became = describe(scene, op, inputs, result.data, "infinity")
            raise (self.fault(first, became) if first.kind == "born" else
                   self.fault(became, source=first))

    def written(self, scene: Scene, op: Op, inputs: Sequence[Tensor],
                params: dict[str, Any]) -> None:
        """Remember what a step moves; follow what is written elsewhere."""
        if "hyper" in params:
            if id(params["hyper"]) not in self.steps:
                self.steps[id(params["hyper"])] = Step(op, scene.place, [
                    ref(p) for p in inputs[:len(params["hyper"])]])
        elif self.tainted:
            faults = [seen.fault for x in inputs if (seen := self.seen(x.data)) is not None]
            for i in op.writes(len(inputs), **params) if faults else ():  # type: ignore[misc]
                if not finite(inputs[i].data):
                    self.taint([inputs[i]], faults[0])

    def mover(self, parameter: Tensor) -> Step | None:
        """Return the optimiser's step that moves a parameter."""
        return next((step for step in self.steps.values()
                     if any(p() is parameter for p in step.parameters)), None)

    def seen(self, array: np.ndarray) -> Tainted | None:
        """Return what is known of the bad values of an array."""
        found = self.tainted.get(id(array))
        return found if found is not None and found() is array else None

    def origin(self, scene: Scene, op: Op, i: int, x: Tensor) -> Fault:
        """Return where the bad values of an input were born."""
        seen = self.seen(x.data)
        if seen is None:
            fault = from_outside(scene, op, i, x)
            step = self.mover(x)
            if step is not None:
                fault = step.fault(fault)
            self.taint([x], fault)
            seen = self.tainted[id(x.data)]
            seen.used = True
        return seen.fault

    def taint(self, tensors: Sequence[Tensor], fault: Fault) -> None:
        """Follow the bad values of tensors."""
        for t in tensors:
            seen = self.tainted[id(t.data)] = Tainted(t.data, self.gone)
            seen.fault, seen.key, seen.used = fault, id(t.data), False

    def gone(self, seen: Tainted) -> None:
        """Forget an array that has died, unless it was a last result."""
        if self.tainted.get(seen.key) is seen:
            del self.tainted[seen.key]
        if self.final is None and not seen.used and seen.fault.kind == "born":
            self.final = seen.fault

    def differentiate(self, scene: Scene, outputs: Sequence[Tensor]) -> None:
        """Raise for a loss that is not finite."""
        self.arrived(outputs, "the loss")

    def differentiated(self, scene: Scene, found: Mapping[tuple[Any, int], Tensor]) -> None:
        """Raise for a gradient that is not finite."""
        self.arrived(list(found.values()), "a gradient")

    def arrived(self, tensors: Sequence[Tensor], where: str) -> None:
        """Raise if one of these is infinite."""
        if self.tainted:
            for t in tensors:
                seen = self.seen(t.data)
                if seen is not None:
                    raise self.fault(seen.fault, reached=where)

    # plans

    def replay(self, scene: Scene, plan: Plan) -> None:
        """Keep what the plan will write before its last look."""
        if self.doubted is not None:  # its call ran eagerly, and nothing was wrong
            self.doubted.calm = True
            self.doubted = None
        looks = self.looks.get(plan)
        if looks is None:
            looks = self.looks[plan] = Looks(plan)
            for line in looks.steps:
                self.steps[id(line.params["hyper"])] = Step(line.op, line.place, [  # type: ignore[arg-type]
                    ref(v.source) for v in line.inputs[:len(line.params["hyper"])]])
        self.saved = Saved(plan, looks)
        self.kept = self.saved.nbytes
        self.look(plan, looks, -1)

    def line(self, scene: Scene, plan: Plan, number: int) -> None:
        """Look at gradients before an optimiser moves, and at results."""
        looks = self.looks[plan]
        if number in looks.at:
            self.look(plan, looks, number)

    def look(self, plan: Plan, looks: Looks, number: int) -> None:
        """Put a call back and let it run eagerly if something is wrong after this line."""
        gradients, results = looks.at.get(number, ((), ()))
        if not all(finite(plan.arrays[v]) for v in (*gradients, *(() if looks.calm else results))):
            self.saved.put_back()  # type: ignore[union-attr]
            self.doubted = looks
            raise RunEagerly


class Step(NamedTuple):
    """An optimiser's step and the parameters that it moves."""

    op: Op
    place: Place
    parameters: Sequence[ref[Tensor]]

    def fault(self, found: Fault) -> Fault:
        """Return a fault found in a parameter as this step's."""
        return replace(
            found, op=self.op.name, phase="optimizer", site=self.place.site, layer=self.place.path,
            inputs=f"a step of {found.inputs}", kind="born", hint=CLIP)


class Looks:
    """Where to look at a plan, and at what.

    Attributes
    ----------
    at : dict
        By the number of a call (-1: before the first): gradients and results to look at after it.
    steps : list of Line
        The optimisers' steps.
    last : int
        The number of the last look.
    calm : bool
        Whether results that are not finite were found to be meant.
    """

    def __init__(self, plan: Plan):
        self.calm = False
        self.at: dict[int, tuple[list[Value], list[Value]]] = {}
        lines = [(i, line) for i, line in enumerate(plan.origins)
                 if line is not None and line.op is not None]
        moves = [i for i, line in lines if "hyper" in line.params]
        self.steps = [line for _, line in lines if "hyper" in line.params]
        for i, line in zip(moves, self.steps, strict=True):
            n = len(line.params["hyper"])
            # where a product went into the step (jit/updates.py), its factors are looked at
            products = len(line.inputs) - n * (2 + len(line.params["states"]))
            self.at.setdefault(i - 1, ([], []))[0].extend(
                [*line.inputs[n: 2 * n - products], *line.inputs[len(line.inputs) - 2 * products:]])
        made = {value.root: i for i, line in lines for value in line.outputs}
        end = len(plan.calls) - 1
        for value in dict.fromkeys(plan.program.kept()):
            if value.dtype.kind == "f" and value.root in made:
                early = moves and made[value.root] < moves[-1]
                self.at.setdefault(moves[-1] - 1 if early else end, ([], []))[1].append(value)
        self.last = max(self.at, default=-1)


class Saved:
    """What a plan writes before its last look, as it was before the call.

    Running statistics and gradients that it adds to; the parameters and states of all optimisers'
    steps but the last; the positions of random generators and the counts of steps.
    """

    def __init__(self, plan: Plan, looks: Looks):
        lines = [line for line in plan.origins[: looks.last + 1] if line is not None]
        arrays = {id(v.root): v.root.source.data for line in lines for v in line.writes
                  if isinstance(v.root.source, Tensor)}
        arrays |= {id(buffer): source.grad.data for source, buffer in plan.reads
                   if isinstance(source, Tensor) and source.grad is not None}
        for line in looks.steps:
            names = COLUMNS[line.op.name]  # type: ignore[union-attr]
            if "step" in names:
                hyper = line.params["hyper"]
                arrays[id(hyper)] = hyper[:, names.index("step")]
        self.arrays = [(array, array.copy()) for array in arrays.values()]
        self.offsets = [(generator, generator.offset) for generator in plan.draws]

    @property
    def nbytes(self) -> int:
        """The memory of the copies."""
        return sum(copy.nbytes for _, copy in self.arrays)

    def put_back(self) -> None:
        """Make everything as it was."""
        for array, copy in self.arrays:
            np.copyto(array, copy)
        for generator, offset in self.offsets:
            generator.offset = offset


def debug_nans(on: bool | None = None) -> NaNTracer:
    """Find the op that makes the first NaN: ``with me.debug_nans():`` around training.

    A context manager, a decorator (``@me.debug_nans()``, outside of ``me.jit``), or with True and
    False a switch for this thread. The error names the op, whether it was forward or in whose
    gradient, source line, layer path, index and inputs, and says what helps. NaN in data and
    weights is told from NaN that is born of finite values. An infinity is followed, and is a fault
    when NaN is made of it, when it reaches a loss, a gradient or a parameter, or when the block
    ends and nothing was computed of it: a mask of -inf that a softmax takes in is none.

    Off, it costs nothing. On, each result is read once more; a jitted step is looked at before the
    optimiser moves and runs again eagerly if need be. For that it keeps copies of what it writes
    until then (running statistics; parameters and optimiser states only if it makes several
    steps): ``kept`` says how many bytes. Gradients and weights are as before the failing step.

    Parameters
    ----------
    on : bool, optional
        Switch it on or off, instead of for a block.

    Raises
    ------
    NonFiniteError
        In the block. Its ``fault`` has everything by name.

    Examples
    --------
    >>> import medai_engine as me
    >>> try:
    ...     with me.debug_nans():
    ...         y = me.log(me.tensor([1.0, 0.0])) * 0
    ... except me.NonFiniteError as error:
    ...     print(error.fault.op, error.fault.value, error.fault.index, error.fault.inputs)
    log -inf (1,) x[1] = 0
    """
    tracer = NaNTracer()
    if on is None:
        return tracer
    mode = MODE.get()
    watchers = [] if mode.scene is None else mode.scene.watchers
    before = [w for w in watchers if isinstance(w, NaNTracer) and w.switched]
    if on and not before:
        tracer.switched = True
        if mode.scene is None:
            MODE.set(mode.but(scene=Scene([tracer])))
        else:
            watchers.append(tracer)
    elif not on and before:
        watchers.remove(before[0])
        if not watchers:
            MODE.set(mode.but(scene=None))
        before[0].leave()
    return before[0] if before else tracer
