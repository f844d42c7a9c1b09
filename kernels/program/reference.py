"""Tile programs in NumPy: the definition.

    for each instruction (kernel; sources; target; parameters):
        register[target] = kernel(register[sources]; parameters)

Registers are numbered: the inputs, then the outputs, then temporaries. Inputs broadcast to the
shape of the outputs, which they all share. Each instruction is a kernel of the elementwise family
and gives the bits of that kernel, so that a program equals its kernels called one by one. All
floating arrays have one dtype; conditions and the results of comparisons are booleans.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..elementwise import reference as elementwise

__all__ = ["program"]

OPCODES = {name: code for code, name in enumerate(elementwise.__all__)}
KERNELS = [getattr(elementwise, name) for name in elementwise.__all__]
TESTS = frozenset((  # results are booleans
    "isnan", "isinf", "isfinite", "logical_not", "equal", "not_equal", "less", "less_equal",
    "greater", "greater_equal", "logical_and", "logical_or", "logical_xor"))
BOOLEAN = frozenset(OPCODES[name] for name in TESTS)
PARAMETERS = {name: 1 for name in ("leaky_relu", "elu", "celu")}
PARAMETERS |= {name: 2 for name in ("clip", "hardtanh", "softplus")}
PARAMETERS |= {f"{name}_grad": count for name, count in PARAMETERS.items()}
COUNTS = [PARAMETERS.get(name, 0) for name in elementwise.__all__]
# what the compiled text has room for: inputs, instructions, dimensions
MAX_INPUTS, MAX_STEPS, MAX_DIMS = 24, 64, 12
# columns of the code: opcode, number of sources, three sources, target
COLUMNS = 6


def floating(arrays: Sequence[np.ndarray]) -> np.dtype:
    """Return the dtype of the arrays that are no booleans."""
    return next(a.dtype for a in arrays if a.dtype != np.bool_)


def program(inputs: Sequence[np.ndarray], outs: Sequence[np.ndarray], code: np.ndarray,
            parameters: np.ndarray) -> None:
    """Run the rows of ``code`` (int64: opcode, sources, 3 registers, target) in order.

    ``parameters`` (rows, 2) are float64; kernels without parameters ignore theirs.
    """
    register = dict(enumerate([*inputs, *outs]))
    dtype, shape = floating([*inputs, *outs]), outs[0].shape
    for (opcode, count, *sources, target), values in zip(code.tolist(), parameters.tolist(),
                                                         strict=True):
        if target not in register or register[target].dtype != (
                np.bool_ if opcode in BOOLEAN else dtype):
            register[target] = np.empty(shape, np.bool_ if opcode in BOOLEAN else dtype)
        KERNELS[opcode](*[register[s] for s in sources[:count]], register[target],
                        *values[:COUNTS[opcode]])
