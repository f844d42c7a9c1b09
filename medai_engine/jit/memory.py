"""Where intermediate results live: offsets in one arena, from the lifetimes of the values.

A block is the memory of a root and of all its views, from the line that makes it to the last line
that reads it. A result takes over the memory of an input where the record allows it (``inplace``)
and nothing reads that input later. Blocks are placed largest first, each into the smallest gap
that is free during its whole life.
"""

from __future__ import annotations

import numpy as np

from ..kernels import clear_cache, empty
from .record import Line, Program, Value, packed

__all__ = ["ARENA", "Layout", "layout"]

ALIGN = 64


class Arena:
    """The memory that all plans share; it grows to the largest and is used by one at a time."""

    def __init__(self) -> None:
        self.memory = empty((0,), np.dtype(np.uint8))

    def hold(self, size: int) -> np.ndarray:
        """Return the memory, at least ``size`` bytes of it."""
        if self.memory.size < size:
            self.memory = empty((0,), np.dtype(np.uint8))  # the old one goes first
            clear_cache()  # with what the recorded run has left
            self.memory = empty((size,), np.dtype(np.uint8))
        return self.memory


ARENA = Arena()


class Block:
    """Memory of one size during one span of lines."""

    __slots__ = ("first", "last", "offset", "size")

    def __init__(self, size: int, first: int, last: int):
        self.size = -(-size // ALIGN) * ALIGN
        self.first = first
        self.last = last
        self.offset = 0


class Layout:
    """Where each root lies.

    Attributes
    ----------
    blocks : dict of Value to Block
        By root; several roots may share a block, one after the other.
    arena : int
        Bytes of the arena.
    peak : int
        The largest number of bytes in use at one line: no layout can be smaller.
    """

    def __init__(self, blocks: dict[Value, Block], length: int):
        self.blocks = blocks
        found = list({id(b): b for b in blocks.values()}.values())
        place(found)
        self.arena = max((b.offset + b.size for b in found), default=0)
        change = np.zeros(length + 3, np.int64)
        for b in found:
            change[b.first + 1] += b.size
            change[b.last + 2] -= b.size
        self.peak = int(np.cumsum(change).max())


def layout(program: Program, outside: set[Value]) -> Layout:
    """Return the layout of all roots but those that have memory of their own outside."""
    end = len(program.lines)
    last: dict[Value, int] = {}
    for i, line in enumerate(program.lines):
        if not is_view(line):
            for value in line.inputs:
                last[value.root] = i
    for value in program.kept():
        last[value.root] = end
    blocks: dict[Value, Block] = {}
    for value in program.arguments:
        blocks[value] = Block(value.nbytes, -1, last.get(value, -1))
    for i, line in enumerate(program.lines):
        for value in line.inputs:
            if value.root.kind == "grad" and value.root not in blocks:
                blocks[value.root] = Block(value.root.nbytes, -1, last[value.root])
        if is_view(line):
            continue
        for value in line.outputs:
            if value.root not in outside:
                heir = inherited(line, value, i, last, blocks)
                if heir is None:
                    blocks[value] = Block(value.nbytes, i, last.get(value, i))
                else:
                    heir.last = last.get(value, i)
                    blocks[value] = heir
    return Layout(blocks, end)


def is_view(line: Line) -> bool:
    """Tell whether a line only gives memory another shape."""
    return line.op is not None and line.op.view and all(
        value.root is not value for value in line.outputs)


def inherited(line: Line, value: Value, i: int, last: dict[Value, int],
              blocks: dict[Value, Block]) -> Block | None:
    """Return the block of an input that ends here and whose memory the result may take."""
    assert line.op is not None
    for name, x in zip(line.op.inputs, line.inputs, strict=False):
        block = blocks.get(x.root)
        if (name in line.op.inplace and block is not None and last[x.root] == i == block.last
                and x.shape == value.shape and x.dtype == value.dtype and whole(x)
                and all(y is x or y.root is not x.root for y in line.inputs)):
            return block
    return None


def whole(x: Value) -> bool:
    """Tell whether a value fills its root's memory in order."""
    return x.root is x or (
        x.nbytes == x.root.nbytes and x.strides == packed(x.shape, x.dtype.itemsize))


def place(blocks: list[Block]) -> None:
    """Choose the offsets, largest block first, each in the smallest gap that fits."""
    order = sorted(blocks, key=lambda b: (-b.size, b.first))
    table = np.array([(b.first, b.last, 0, b.size) for b in order], np.int64).reshape(-1, 4)
    for n, b in enumerate(order):
        placed = table[:n]
        near = placed[(placed[:, 0] <= b.last) & (placed[:, 1] >= b.first)]
        near = near[np.argsort(near[:, 2], kind="stable")]
        stops = np.maximum.accumulate(np.concatenate([[0], near[:, 2] + near[:, 3]]))
        gaps = near[:, 2] - stops[:-1]
        fits = np.flatnonzero(gaps >= b.size)
        b.offset = int(stops[fits[np.argmin(gaps[fits])]] if len(fits) else stops[-1])
        table[n, 2] = b.offset
