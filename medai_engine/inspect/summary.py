"""A model at a glance: layers, shapes, parameters, and what a training step costs."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np

from .. import kernels
from ..errors import MedaiError, ParameterError, say
from ..jit.show import amount, took
from ..mode import no_grad
from ..nn import Module
from ..tensor import Parameter, Tensor
from ..tree import flatten
from .foresight import Call, Foresight, foresee

__all__ = ["Row", "Summary", "summary"]

WIDTH = 100


class Row(NamedTuple):
    """One module of a summary."""

    name: str
    kind: str
    depth: int
    shape: str  # of its output; N is the batch; empty when it was not called
    parameters: int  # its own, not those of its children
    frozen: int
    flops: int = 0  # of its contractions on the way forward, 2 per multiply-add, for the batch
    backward: int = 0  # of those of its gradients
    kept: int = 0  # bytes of its results that live until the backward pass
    calls: tuple[Call, ...] = ()  # of its own ops, in a training step


class Summary:
    """The rows of a model, and what they add up to; prints as a table.

    Attributes
    ----------
    rows : list of Row
    parameters, frozen, buffers : int
        Numbers in all; a parameter with two places counts once.
    nbytes : int
        Of all of them.
    batch_size : int
        What the costs are those of.
    flops, backward : int
        Of the contractions of a forward pass, and of its gradients. Products with padding are not
        computed and do not count.
    kept, peak : int
        Bytes of results (activations) that a training step holds between its forward and its
        backward pass, and at most; the gradients of the parameters are in ``peak``, weights, batch
        and optimiser states are not. The process takes more: what the allocator keeps of dead
        results for the next ones, and the scratch of threads.
    unknown : str
        Why costs and memory are not known, or "".
    """

    def __init__(self, model: Module, rows: list[Row], batch_size: int,
                 foreseen: Foresight | None, unknown: str = ""):
        self.rows = rows
        self.batch_size = batch_size
        self.foreseen = foreseen
        self.unknown = unknown
        tensors = list(model.parameters())
        self.parameters = sum(p.size for p in tensors)
        self.frozen = sum(p.size for p in tensors if not p.requires_grad)
        buffers = list(model.buffers())
        self.buffers = sum(b.size for b in buffers)
        self.nbytes = sum(t.nbytes for t in [*tensors, *buffers])
        self.flops = sum(row.flops for row in rows)
        self.backward = sum(row.backward for row in rows)
        self.kept = sum(row.kept for row in rows)
        self.peak = foreseen.peak if foreseen else 0

    def seconds(self, *phases: str) -> float:
        """Predict the time of a training step with Adam, or of ``"forward"`` ... of it.

        A prediction, not a measurement: every op is taken to reach the multiply-adds, or the bytes
        among as much memory as the step works on, that this machine was measured to reach on the
        present number of threads, whichever is slower, and a call of a kernel that has nothing to
        do is added. Ops that are far from these peaks, and eager execution's Python, take longer.
        0 where costs are not known, or nothing is compiled that could be measured.
        """
        if not self.foreseen or not kernels.COMPILED:
            return 0.0
        return sum(map(self.foreseen.seconds, (call for call in self.foreseen.calls
                                               if not phases or call.phase in phases)))

    def __str__(self) -> str:
        total = self.seconds()
        head = ("layer", "kind", "output shape", "parameters", "flops", "backward", "kept", "time")
        body = [("  " * row.depth + row.name, row.kind, row.shape, f"{row.parameters:,}",
                 *(amount(n) if n else "" for n in (row.flops, row.backward)),
                 amount(row.kept, "B") if row.kept else "",
                 f"{100 * sum(map(self.foreseen.seconds, row.calls)) / total:.1f} %"
                 if self.foreseen and total else "") for row in self.rows]
        columns = 8 if total else 7 if self.foreseen else 4
        lines = fitted([head[:columns], *(cells[:columns] for cells in body)])
        rule = "-" * max(map(len, lines))
        notes = [f"{self.parameters:,} parameters ({self.parameters - self.frozen:,} trained)"]
        if self.buffers:
            notes.append(f"{self.buffers:,} numbers of state")
        notes.append(f"{self.nbytes / 1024:,.1f} KiB")
        text = [lines[0], rule, *lines[1:], rule, ", ".join(notes)]
        if self.foreseen:
            text += [f"training on batches of {self.batch_size}: {amount(self.flops)} flops "
                     f"forward, {amount(self.backward)} backward a step;",
                     f"{amount(self.kept, 'B')} of results kept for the gradient, "
                     f"{amount(self.peak, 'B')} at the peak, gradients included"]
        else:
            text += wrap(f"costs are not known: {self.unknown}", WIDTH)
        if total:
            threads = kernels.get_num_threads()
            text += [f"prediction, at this machine's measured peaks on {threads} thread"
                     f"{'s' * (threads > 1)}: {took(total)} a step with Adam,",
                     f"of which {took(self.seconds('forward'))} forward; time is each layer's "
                     "share of the step, the rest the optimiser's"]
        return "\n".join(text)

    __repr__ = __str__


def fitted(table: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of cells in columns, the first three shortened until all fit the width."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    while sum(widths) + 2 * len(widths) - 2 > WIDTH and max(widths[:3]) > 8:
        widths[widths.index(max(widths[:3]))] -= 1
    return ["  ".join(
        (cell if len(cell) <= width else cell[:width - 2] + "..").ljust(width) if i < 3
        else cell.rjust(width) for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ).rstrip() for cells in table]


def summary(self: Module, input_shape: Sequence[int], dtype: Any = None, *,
            batch_size: int = 32) -> Summary:
    """Return a module's layers, shapes and parameters, and what a training step will cost.

    One sample of zeros, and then two, go through the module for the shapes. Costs and memory are
    those of a training step on a batch; they are told from shapes, without computing it.

    Parameters
    ----------
    input_shape : sequence of int
        The shape of one sample, without the batch: ``(30,)``, ``(64, 64, 1)``.
    dtype : dtype, optional
        Of the sample; the parameters' by default, an integer one for a model that starts with an
        embedding.
    batch_size : int
        Samples of the batch that costs and memory are foreseen for.

    Returns
    -------
    Summary
        ``print(model.summary((30,)))`` shows the table.

    Raises
    ------
    ShapeError
        When the sample does not fit, with the layer's path.
    """
    if isinstance(input_shape, (int, np.integer)):
        input_shape = (int(input_shape),)
    if not all(isinstance(n, (int, np.integer)) and n > 0 for n in input_shape):
        raise ParameterError(say("summary", "the shape of one sample, sizes of at least 1",
                                 repr(input_shape), "Use summary((30,))"))
    if dtype is None:
        dtype = next((p.dtype for p in self.parameters() if p.dtype.kind == "f"), np.float32)
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or (
            batch_size < 1):
        raise ParameterError(say("summary", "batch_size of at least 1", repr(batch_size),
                                 "Use summary((30,), batch_size=32)"))
    one, two = (outputs(self, Tensor(np.zeros((n, *input_shape), dtype))) for n in (1, 2))
    foreseen, unknown = None, ""
    try:
        foreseen = foresee(self, np.zeros((batch_size, *input_shape), dtype))
    except MedaiError as error:  # such as batch statistics of a batch of one
        unknown = str(error)
    calls: dict[Any, list[Call]] = {}
    for call in foreseen.calls if foreseen else ():
        if call.phase != "optimizer":
            calls.setdefault(self if call.module is None else call.module, []).append(call)
    rows = []
    for name, module in self.named_modules():
        mine = [value for value in vars(module).values() if isinstance(value, Parameter)]
        here = calls.get(module, [])
        rows.append(Row(name.rpartition(".")[2] or "model", type(module).__name__,
                        name.count(".") + 1 if name else 0,
                        sizes(one[module], two[module]) if module in one else "",
                        sum(p.size for p in mine),
                        sum(p.size for p in mine if not p.requires_grad),
                        sum(call.flops for call in here if call.phase == "forward"),
                        sum(call.flops for call in here if call.phase != "forward"),
                        foreseen.kept.get(module, 0) if foreseen else 0, tuple(here)))
    return Summary(self, rows, batch_size, foreseen, unknown)


def outputs(model: Module, x: Tensor) -> dict[Module, Any]:
    """Run in evaluation, layer by layer; return what each module returned, shapes for tensors."""
    found: dict[Module, Any] = {}
    flags = [(module, vars(module).get("training")) for module in model.modules()]

    def watched(module: Module) -> Any:
        inner = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            output = inner(*args, **kwargs)
            leaves, build = flatten(output)
            found[module] = build([y.shape if isinstance(y, Tensor) else y for y in leaves])
            return output
        return forward

    try:
        for module in model.eval().modules():
            module.forward = watched(module)  # type: ignore[method-assign]
        with no_grad():
            model(x)
    finally:
        for module, flag in flags:
            for name in ("forward", *(["training"] if flag is None else [])):
                vars(module).pop(name, None)
            if flag is not None:
                module.training = flag
    return found


def sizes(one: Any, two: Any) -> str:
    """Return shapes as text, N for what was 1 with one sample and 2 with two; of several each."""
    if isinstance(one, dict):
        one, two = list(one.values()), list(two.values())
    if isinstance(one, list) or (isinstance(one, tuple) and not all(
            isinstance(n, int) for n in one)):
        return ", ".join(map(sizes, one, two))
    if not isinstance(one, tuple):
        return type(one).__name__
    text = [str(m) if m == n else f"{m}N" if m > 1 else "N" for m, n in zip(one, two, strict=True)]
    return f"({', '.join(text)})"


Module.summary = summary  # type: ignore[attr-defined]
