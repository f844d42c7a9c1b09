"""Tile programs as loops; equations in reference.py.

Order: tiles of the outputs outside, instructions inside, so that what one instruction writes is
still in the first cache when the next one reads it. Each instruction is the elementwise family's
own compiled loop over the tile.
Bytes: every input and output once, whatever the number of instructions.
Source: strip-mining, Wolfe, "High Performance Compilers for Parallel Computing" (1996), 9.
"""

import numpy as np

from ..elementwise import loops as elementwise
from ..elementwise import reference as names
from .reference import BOOLEAN, COUNTS, floating

__all__ = ["program"]

TILE = 1024
KERNELS = [getattr(elementwise, name) for name in names.__all__]


def program(inputs, outs, code, parameters):
    """Write ``outs`` tile by tile."""
    shape, size = outs[0].shape, outs[0].size
    dtype = floating([*inputs, *outs])
    spread = [np.broadcast_to(x, shape).flat for x in inputs]
    flat = [out.reshape(-1) for out in outs]
    steps = list(zip(code.tolist(), parameters.tolist(), strict=True))
    for start in range(0, size, TILE):
        tile = slice(start, min(start + TILE, size))
        register = dict(enumerate([*(x[tile] for x in spread), *(out[tile] for out in flat)]))
        for (opcode, count, *sources, target), values in steps:
            if target >= len(inputs) + len(outs):
                register[target] = np.empty(tile.stop - start,
                                            np.bool_ if opcode in BOOLEAN else dtype)
            KERNELS[opcode](*[register[s] for s in sources[:count]], register[target],
                            *values[:COUNTS[opcode]])
