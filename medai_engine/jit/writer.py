"""Writing lines from rules, as the recorder does from calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..op import OPS
from .record import Line, Program, Value, packed

__all__ = ["Writer", "settle"]


class Writer:
    """Appends lines that stand for another one."""

    def __init__(self, program: Program, like: Line, by: str):
        self.program = program
        self.like = like
        self.by = by
        self.lines: list[Line] = []

    def __call__(self, name: str, *inputs: Value, **params: Any) -> Value:
        """Write a call of an op; return its result."""
        op = OPS[name]
        # stand-ins without memory: only shapes and strides are looked at
        arrays = [as_strided(np.empty(1, v.dtype), v.shape, v.strides) for v in inputs]
        if op.view:
            value = self.program.value(op.definition(*arrays, **params), root=inputs[0].root)
        else:
            shape, dtype = op.infer(*arrays, **params)
            value = self.program.value(as_strided(
                np.empty(1, dtype), shape, packed(shape, np.dtype(dtype).itemsize)))
        line = Line(op, params, inputs, [value], place=self.like.place,
                    frame=self.like.frame)
        line.by = [*self.like.by, self.by]
        self.lines.append(line)
        return value

    def turned(self, x: Value, split: tuple[int, ...], axes: tuple[int, ...],
               shape: tuple[int, ...]) -> Value:
        """Write: split axes, change their order, join them again."""
        parts = self("permute_dims", self("reshape", x, shape=split), axes=axes)
        return self("reshape", self("copy", parts), shape=shape)

    def give(self, value: Value, old: Value) -> None:
        """Let the value that was written last take the place of an old one; then ``settle``."""
        old.root = old if value.root is value else value.root
        self.lines[-1].outputs = [old]


def settle(program: Program) -> None:
    """Let views of values that have become views themselves say whose memory it is now."""
    for line in program.lines:
        for v in line.outputs:
            while v.root.root is not v.root:
                v.root = v.root.root
