"""A weight's gradient goes straight into the optimiser's step, where nobody else reads it.

The gradient of a large weight is a product that is written to memory, read once and forgotten. The
kernels of the steps take its factors instead, and work on a block of it while it is in cache: a
quarter less traffic for Adam, and as much less memory as the weight is large. Gradients that are
left on parameters when the call ends stay: end a step with ``optimizer.zero_grad()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.gemm.reference import one_chain
from ..op import Op
from .epilogues import own, uses
from .record import Line, Program, Value, packed

__all__ = ["updates"]

LARGE = 1 << 20  # bytes of a gradient: smaller ones stay in cache anyway
DEEP = 512  # bytes of a row of the reduction: longer products are faster by themselves


def updates(program: Program) -> int:
    """Let steps read the factors of gradients that they alone read."""
    readers = uses(program)
    written = {value.root for line in program.lines for value in line.writes}
    makers = {v: line for line in program.lines for v in line.outputs}
    changes = 0
    for line in program.lines:
        if line.op is None or "hyper" not in line.params or not own(line, line.op.name):
            continue
        n = len(line.params["hyper"])
        found = {i: makers[g] for i, g in enumerate(line.inputs[n: 2 * n])
                 if g in makers and readers[g.root] == [line] and factored(makers[g], written)}
        if found:
            join(line, found)
            changes += len(found)
    return changes


def factored(product: Line, written: set[Value]) -> bool:
    """Tell whether a line is a product that the kernels of the steps compute to the same bits."""
    if not own(product, "matmul") or not product.params["transpose_a"] or (
            product.params["transpose_b"]):
        return False
    left, right = product.inputs
    y, size = product.outputs[0], product.outputs[0].dtype.itemsize
    return (len(left.shape) == len(right.shape) == 2 and y.nbytes >= LARGE
            and left.shape[0] * size <= DEEP
            and one_chain(y.shape[0], y.shape[1], left.shape[0], size)
            and all(v.root not in written and v.dtype == y.dtype
                    and v.strides == packed(v.shape, size) for v in (left, right)))


def join(line: Line, found: dict[int, Line]) -> None:
    """Let a step read factors: behind its other inputs, instead of the gradients ``found``."""
    base: Any = line.op
    n, places = len(line.params["hyper"]), sorted(found)
    factors = [v for i in places for v in found[i].inputs]

    def prepare(arrays: list[np.ndarray], outs: list[np.ndarray], params: dict[str, Any]) -> Any:
        pairs = arrays[len(arrays) - len(factors):]
        arrays = arrays[:len(arrays) - len(factors)]
        for i in places:
            arrays.insert(n + i, arrays[i])  # the parameter holds the place
        arguments = base.prepare(arrays, outs, params)
        for k, i in enumerate(places):
            arguments[1][i] = pairs[2 * k], pairs[2 * k + 1]
        return arguments

    def work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
        flops = sum(2 * left.shape[0] * left.shape[1] * right.shape[1]
                    for left, right in zip(factors[::2], factors[1::2], strict=True))
        return flops, base.work(arrays, outs, params)[1]

    line.op = Op(base.name, kernel=base.kernel, infer=base.infer, prepare=prepare, work=work,
                 writes=base.writes, outputs=(), doc=base.doc)
    line.inputs = [v for k, v in enumerate(line.inputs) if k - n not in found] + factors
    line.by += dict.fromkeys(by for i in places for by in found[i].by)
    line.by.append("product of " + ", ".join(found[i].site or "?" for i in places))
