"""The instruction set in use: the best one of this processor, or a lower one by ``MEDAI_ISA``.

Every vector text is compiled for all instruction sets; `level` picks the table. It may be changed
between two kernel calls (the tests do), never during one.
"""

import os

__all__ = ["available_isas", "get_isa", "set_isa"]

cdef extern from "isa.h":
    int medai_best_isa()

cdef tuple NAMES = ("baseline", "avx2", "avx512")
cdef int best = medai_best_isa()
level = best


def available_isas():
    """Return the names of the instruction sets that this processor has, lowest first."""
    return NAMES[:best + 1]


def get_isa():
    """Return the name of the instruction set in use."""
    return NAMES[level]


def set_isa(str name):
    """Use the instruction set `name`, one of `available_isas`."""
    global level
    if name not in available_isas():
        raise ValueError(
            f"instruction set: expected one of {', '.join(available_isas())}, got {name!r}. "
            "Unset MEDAI_ISA to use the best one of this processor.")
    level = NAMES.index(name)


if os.environ.get("MEDAI_ISA"):
    set_isa(os.environ["MEDAI_ISA"])
