"""A model at a glance: layers, shapes, parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ParameterError, say
from ..mode import no_grad
from ..nn import Module
from ..tensor import Parameter, Tensor

__all__ = ["Row", "Summary", "summary"]


class Row(NamedTuple):
    """One module of a summary."""

    name: str
    kind: str
    depth: int
    shape: str  # of its output; N is the batch; empty when it was not called
    parameters: int  # its own, not those of its children
    frozen: int


class Summary:
    """The rows of a model, and what they add up to; prints as a table.

    Attributes
    ----------
    rows : list of Row
    parameters, frozen, buffers : int
        Numbers in all; a parameter with two places counts once.
    nbytes : int
        Of all of them.
    """

    def __init__(self, model: Module, rows: list[Row]):
        self.rows = rows
        tensors = list(model.parameters())
        self.parameters = sum(p.size for p in tensors)
        self.frozen = sum(p.size for p in tensors if not p.requires_grad)
        buffers = list(model.buffers())
        self.buffers = sum(b.size for b in buffers)
        self.nbytes = sum(t.nbytes for t in [*tensors, *buffers])

    def __str__(self) -> str:
        head = ("layer", "kind", "output shape", "parameters")
        body = [("  " * row.depth + row.name, row.kind, row.shape, f"{row.parameters:,}")
                for row in self.rows]
        widths = [max(len(line[i]) for line in [head, *body]) for i in range(4)]

        def line(cells: Sequence[str]) -> str:
            left = [cell.ljust(width) for cell, width in zip(cells[:3], widths, strict=False)]
            return "  ".join([*left, cells[3].rjust(widths[3])])

        rule = "-" * (sum(widths) + 6)
        notes = [f"{self.parameters:,} parameters ({self.parameters - self.frozen:,} trained)"]
        if self.buffers:
            notes.append(f"{self.buffers:,} numbers of state")
        notes.append(f"{self.nbytes / 1024:,.1f} KiB")
        return "\n".join([line(head), rule, *map(line, body), rule, ", ".join(notes)])

    __repr__ = __str__


def summary(self: Module, input_shape: Sequence[int], dtype: Any = None) -> Summary:
    """Send one sample of zeros through the module; return its layers, shapes and parameters.

    Parameters
    ----------
    input_shape : sequence of int
        The shape of one sample, without the batch: ``(30,)``, ``(64, 64, 1)``.
    dtype : dtype, optional
        Of the sample; the parameters' by default, an integer one for a model that starts with an
        embedding.

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
    shapes: dict[int, str] = {}
    flags = [(module, module.training) for module in self.modules()]

    def watched(module: Module) -> Any:
        inner = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            output = inner(*args, **kwargs)
            shapes[id(module)] = _shapes(output)
            return output
        return forward

    try:
        for module in self.eval().modules():
            module.forward = watched(module)  # type: ignore[method-assign]
        with no_grad():
            self(Tensor(np.zeros((1, *input_shape), dtype)))
    finally:
        for module, flag in flags:
            vars(module).pop("forward", None)
            module.training = flag
    rows = []
    for name, module in self.named_modules():
        mine = [value for value in vars(module).values() if isinstance(value, Parameter)]
        rows.append(Row(name.rpartition(".")[2] or "model", type(module).__name__,
                        name.count(".") + 1 if name else 0, shapes.get(id(module), ""),
                        sum(p.size for p in mine),
                        sum(p.size for p in mine if not p.requires_grad)))
    return Summary(self, rows)


def _shapes(output: Any) -> str:
    """Return the output's shape with N for the batch; of several outputs each."""
    if isinstance(output, Tensor):
        return f"({', '.join(['N', *map(str, output.shape[1:])])})" if output.ndim else "()"
    if isinstance(output, (tuple, list)):
        return ", ".join(_shapes(item) for item in output)
    return type(output).__name__


Module.summary = summary  # type: ignore[attr-defined]
