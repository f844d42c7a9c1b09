"""An activation moves into the product or convolution before it, where the sums are in cache."""

from __future__ import annotations

from ..op import OPS, Op
from ..ops.linalg import ACTIVATIONS
from .record import Line, Program, Value

__all__ = ["epilogues"]

# What takes an activation, and the op that it becomes.
TAKES = {"linear": "linear_activation"}


def fused(line: Line, after: Line) -> tuple[Op, dict[str, object]] | None:
    """Return the op and params that do the work of two lines, if there is one."""
    if line.op is None or after.op is None or OPS.get(line.op.name) is not line.op:
        return None
    name = after.op.name
    if line.op.name not in TAKES or name not in ACTIVATIONS or OPS[name] is not after.op:
        return None
    parameter = next((float(after.params[key]) for key in ACTIVATIONS[name]), 0.0)
    if (name == "leaky_relu" and parameter < 0) or not all(v.nbytes for v in line.inputs):
        return None
    return OPS[TAKES[line.op.name]], {**line.params, "activation": name, "parameter": parameter}


def epilogues(program: Program) -> int:
    """Join an activation with what it alone reads."""
    uses: dict[Value, int] = {}
    for line in program.lines:
        for value in line.inputs:
            uses[value.root] = uses.get(value.root, 0) + 1
    for value in program.kept():
        uses[value.root] = uses.get(value.root, 0) + 1
    makers: dict[Value, Line] = {}
    lines = []
    for line in program.lines:
        maker = makers.get(line.inputs[0]) if len(line.inputs) == 1 else None
        found = None if maker is None or uses[line.inputs[0].root] > 1 or (
            maker.frame != line.frame) else fused(maker, line)
        if maker is None or found is None:
            lines.append(line)
        else:
            maker.by.append(f"epilogue {line.op.name}")  # type: ignore[union-attr]
            maker.op, maker.params = found
            maker.outputs = line.outputs
        if line.op is not None and len(line.outputs) == 1 and line.outputs[0].root is (
                line.outputs[0]):
            makers[line.outputs[0]] = line
    changes = len(program.lines) - len(lines)
    program.lines = lines
    return changes
