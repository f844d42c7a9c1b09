"""What follows a product or convolution moves into it, where the sums are in cache.

An activation becomes part of ``linear`` or ``conv``. A max pooling behind that takes over the
backward pass too: the gradients of the convolution then read the pooled gradient and the place of
each maximum, and nothing of full resolution is ever written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.gemm.reference import one_chain
from ..op import OPS, Op
from ..ops import conv_fused
from ..ops.linalg import ACTIVATIONS
from .record import Line, Program, Value, joined, packed
from .writer import Writer, settle

__all__ = ["epilogues", "pooling", "results", "sums"]

GEOMETRY = ("stride", "padding", "dilation", "groups")


def uses(program: Program) -> dict[Value, list[Line | None]]:
    """Return the lines that read memory, by its root; None stands for the end of the call."""
    found: dict[Value, list[Line | None]] = {}
    for line in program.lines:
        for root in dict.fromkeys(value.root for value in line.inputs):
            found.setdefault(root, []).append(line)
    for value in program.kept():
        found.setdefault(value.root, []).append(None)
    return found


def own(line: Line, name: str) -> bool:
    """Tell whether a line is a call of the engine's op of this name."""
    return line.op is not None and line.op.name == name and OPS.get(name) is line.op


def activation(line: Line, after: Line) -> tuple[Op, dict[str, Any]] | None:
    """Return the op and params that do the work of a product and its activation, if any do."""
    if after.op is None or not own(after, after.op.name) or not all(v.nbytes for v in line.inputs):
        return None
    name = after.op.name
    if name not in conv_fused.ACTIVATIONS:
        return None
    numbers = tuple(float(after.params[key]) for key in after.op.params)
    if own(line, "linear") and name in ACTIVATIONS and conv_fused.fusible(name, numbers):
        return OPS["linear_activation"], {"activation": name, "parameter": (*numbers, 0.0)[0]}
    if own(line, "conv") and conv_fused.fusible(name, numbers):
        return OPS["conv_activation"], {**line.params, "activation": name, "parameters": numbers}
    return None


def results(program: Program) -> int:
    """Let derivatives that can be told from the result read it: then x need not be kept."""
    stable = {value.root for line in program.lines for value in line.writes}
    made: dict[Any, Value] = {}
    changes = 0
    for line in program.lines:
        if line.op is None or not own(line, line.op.name):
            continue
        name = line.op.name.removesuffix("_grad")
        numbers = tuple(line.params.values())
        if name not in ("leaky_relu", "relu6") or not conv_fused.fusible(name, numbers):
            continue
        key = name, numbers, line.inputs[-1]
        if name == line.op.name:
            if not stable & {line.inputs[0].root, line.outputs[0].root}:
                made[key] = line.outputs[0]
        elif key in made:
            line.inputs[1] = made[key]
            changes += 1
    return changes


def epilogues(program: Program) -> int:
    """Join an activation with the product or convolution that it alone reads."""
    readers = uses(program)
    makers: dict[Value, Line] = {}
    lines = []
    for line in program.lines:
        maker = makers.get(line.inputs[0]) if len(line.inputs) == 1 else None
        found = None
        if maker is not None and maker.frame == line.frame and readers[line.inputs[0]] == [line]:
            found = activation(maker, line)
        if maker is None or found is None:
            lines.append(line)
        else:
            assert line.op is not None
            maker.by.append(joined(f"epilogue {line.op.name}", (maker, line)))
            maker.op, maker.params = found
            maker.outputs = line.outputs
        if line.op is not None and len(line.outputs) == 1 and line.outputs[0].root is (
                line.outputs[0]):
            makers[line.outputs[0]] = line
    changes = len(program.lines) - len(lines)
    program.lines = lines
    return changes


def sums(program: Program) -> int:
    """Add a product to what it alone is added to: gradients that meet, recurrent projections.

    Only where the sum inside the product has the bits of the sum behind it.
    """
    readers = uses(program)
    written = {value.root for line in program.lines for value in line.writes}
    makers = {v: line for line in program.lines for v in line.outputs}
    instead: dict[int, list[Line]] = {}
    for line in program.lines:
        if not own(line, "add") or line.inputs[0] is line.inputs[1]:
            continue
        for number in (1, 0):
            value, other = line.inputs[number], line.inputs[1 - number]
            product = makers.get(value)
            between = [line]
            if product is not None and own(product, "reshape"):
                between = [product, line]  # rows of a batch of sequences
                product = makers.get(product.inputs[0])
            if (product is None or not own(product, "matmul") or id(product) in instead
                    or product.frame != line.frame or readers[value.root] != between
                    or not other.shape == value.shape == line.outputs[0].shape
                    or any(v.root in written for v in (*product.inputs, line.outputs[0]))
                    or any(v.strides != packed(v.shape, v.dtype.itemsize) or not v.nbytes
                           for v in (other, value, *product.inputs))):
                continue
            M, N = product.outputs[0].shape[-2:]
            K = product.inputs[0].shape[-2 if product.params["transpose_a"] else -1]
            if one_chain(M, N, K, other.dtype.itemsize):
                write = Writer(program, line, joined("sum into matmul", (product, line)))
                if len(between) > 1:
                    other = write("reshape", other, shape=product.outputs[0].shape)
                made = write("matmul_add", other, *product.inputs, **product.params)
                if len(between) > 1:
                    made = write("reshape", made, shape=value.shape)
                write.give(made, line.outputs[0])
                instead |= {id(gone): [] for gone in (product, *between)}
                instead[id(line)] = write.lines
                break
    program.lines = [new for line in program.lines for new in instead.get(id(line), [line])]
    settle(program)
    return sum(bool(lines) for lines in instead.values())


# ---- max pooling ------------------------------------------------------------------------------


def plain(windows: Any) -> tuple[int, ...] | None:
    """Return the sizes of windows that lie side by side, None for others."""
    sizes = tuple(w.kernel for w in windows)
    simple = all(w.stride == w.kernel and not w.padding and w.step == 1 and not w.ceil
                 for w in windows)
    return sizes if simple and np.prod(sizes) <= conv_fused.LARGEST_POOL else None


def backwards(conv: Line, pool: Line, readers: dict[Value, list[Line | None]]) -> (
        tuple[list[Line], list[Line], list[Line]] | None):
    """Find what reads the output of a convolution and the places of its maxima.

    Returns the lines that spread the pooled gradient, those that take it through the activation,
    and the gradients of the convolution behind them; None where anything else reads along.
    """
    spread = readers.get(pool.outputs[1], [])
    through = [line for line in readers.get(pool.inputs[0], []) if line is not pool]
    act = conv.params.get("activation", "")
    wide: list[Line] = []
    for line in spread:
        if line is None or not own(line, "max_pool_grad") or (
                line.params["windows"] != pool.params["windows"]
                or line.inputs[1] is not pool.outputs[1]):
            return None
        after = readers.get(line.outputs[0], [])
        if act and not all(a in through for a in after):
            return None
        wide += [line] if not act else []
    for line in through:
        if line is None or not act or not own(line, f"{act}_grad") or (
                line.inputs[1] is not pool.inputs[0]
                or line.outputs[0].shape != pool.inputs[0].shape
                or not any(s is not None and line.inputs[0] is s.outputs[0] for s in spread)
                or tuple(line.params.values()) != conv.params["parameters"]):
            return None
        wide.append(line)
    ends: list[Line] = []
    for made in wide:
        for line in readers.get(made.outputs[0], []):
            if line is None or not (own(line, "reshape") or gradient(line, conv, made)):
                return None
            if not own(line, "reshape"):
                ends.append(line)
    return [s for s in spread if s is not None], wide if act else [], ends


def gradient(line: Line, conv: Line, g: Line) -> bool:
    """Tell whether a line is a gradient of the convolution that reads g."""
    x, weight = conv.inputs[:2]
    alike = all(line.params.get(key) == conv.params[key] for key in GEOMETRY)
    if own(line, "conv_grad_input"):
        return alike and line.inputs[0] is g.outputs[0] and line.inputs[1] is weight
    if own(line, "conv_grad_weight"):
        return alike and line.inputs[1] is g.outputs[0] and line.inputs[0] is x
    return own(line, "sum_to") and line.params["shape"] == weight.shape[:1] and (
        len(line.inputs[0].shape) == 2 and line.inputs[0].shape[1] == weight.shape[0])


def pooling(program: Program) -> int:
    """Join a convolution, its activation and the max pooling behind it, there and back."""
    readers = uses(program)
    makers = {v: line for line in program.lines for v in line.outputs}
    changes = 0
    for pool in program.lines:
        conv = makers.get(pool.inputs[0]) if own(pool, "max_pool") else None
        sizes = plain(pool.params["windows"]) if conv is not None else None
        if (conv is None or sizes is None or conv.frame != pool.frame
                or not (own(conv, "conv") or own(conv, "conv_activation"))
                or pool.outputs[0].root is not pool.outputs[0]):
            continue
        found = backwards(conv, pool, readers)
        if found is None:
            continue
        join(program, conv, pool, sizes, *found)
        changes += 1
    return changes


def join(program: Program, conv: Line, pool: Line, sizes: tuple[int, ...], spread: list[Line],
         through: list[Line], ends: list[Line]) -> None:
    """Rewrite the lines that ``backwards`` found."""
    full, y = pool.inputs[0].shape, pool.outputs[0]
    index = program.value(np.broadcast_to(np.empty((), np.uint8), y.shape))
    index.strides = tuple(n // y.dtype.itemsize for n in y.strides)
    narrow = {line.outputs[0]: line.inputs[0] for line in spread}  # the gradient before pooling
    for line in through:
        g = line.inputs[0]
        line.inputs = [narrow[g], y]
        h = program.value(np.broadcast_to(np.empty((), y.dtype), y.shape))
        h.strides = y.strides
        narrow[line.outputs[0]] = h
        line.outputs = [h]
    for line in ends:
        assert line.op is not None
        kept = {key: line.params[key] for key in (*GEOMETRY, "sizes", "kernel")
                if key in line.params}
        if own(line, "conv_grad_input"):
            line.inputs = [narrow[line.inputs[0]], index, line.inputs[1]]
        elif own(line, "conv_grad_weight"):
            line.inputs = [line.inputs[0], narrow[line.inputs[1]], index]
        else:
            line.inputs = [narrow[line.inputs[0].root], index]
            kept = {"sizes": full[1:-1]}
        line.op = OPS[{"sum_to": "conv_pool_grad_bias"}.get(
            line.op.name, line.op.name.replace("conv_", "conv_pool_"))]
        line.params = {**kept, "pool": sizes}
        line.by.append("pooling")
    conv.params = {"activation": "", "parameters": (), **conv.params, "pool": sizes}
    conv.op = OPS["conv_pool"]
    conv.outputs = [y, index]
    conv.by.append(joined("pooling", (conv, pool)))
    gone = {id(pool), *map(id, spread)}
    gone |= {id(line) for line in program.lines if own(line, "reshape")
             and line.inputs[0] in narrow}
    program.lines = [line for line in program.lines if id(line) not in gone]
