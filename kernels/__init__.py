"""The hot loops and the one door to them: ``lookup(name, backend)``.

See README.md in this folder for the contract. A kernel's name is unique over the families, and
the three texts (``reference``, ``loops``, ``fast``) are interchangeable.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module

from ..errors import MissingExtraError, extra, say

__all__ = ["COMPILED", "FAMILIES", "bound", "clear_cache", "copy_in", "empty", "families",
           "get_isa", "get_num_threads", "lookup", "matching", "ready", "references", "report",
           "require", "set_isa", "set_num_threads", "unheld", "within"]

FAMILIES = ("elementwise", "program", "reduce", "gemm", "conv", "recurrent", "attention", "pool",
            "norm", "loss", "embedding", "random", "optimizer", "svm", "tree")

try:
    from .memory.allocator import clear_cache, empty
    from .memory.handover import bound, copy_in, matching, references, unheld
    from .memory.ready import ready, within
    from .simd.isa import available_isas, get_isa, set_isa
    from .threads.pool import get_num_threads, set_num_threads

    COMPILED = True
except ImportError:
    from .memory.reference import (
        bound,
        clear_cache,
        copy_in,
        empty,
        matching,
        ready,
        references,
        unheld,
        within,
    )
    from .simd.reference import available_isas, get_isa, set_isa
    from .threads.reference import get_num_threads, set_num_threads

    COMPILED = False
    warnings.warn(
        "medai_engine runs on its NumPy reference kernels, many times slower: this installation "
        "found no C compiler. Install one (gcc or clang) and reinstall the package.",
        RuntimeWarning, stacklevel=2)


@cache
def families() -> dict[str, str]:
    """Return the family of every kernel by name."""
    found: dict[str, str] = {}
    for family in FAMILIES:
        for name in import_module(f".{family}.reference", __name__).__all__:
            found[name] = family
    return found


@cache
def lookup(name: str, backend: str) -> Callable[..., None]:
    """Return one text of a kernel.

    Raises
    ------
    KeyError
        When no family has a kernel of this name.
    MissingExtraError
        When the text cannot run here (no Numba, nothing compiled).
    """
    family = families()[name]
    require(backend)
    return getattr(import_module(f".{family}.{backend}", __name__), name)


def require(backend: str) -> None:
    """Raise unless the texts of this backend can run here."""
    if backend == "loops":
        extra("numba", "numba", 'backend("loops")')
    if backend == "fast" and not COMPILED:
        raise MissingExtraError(say('backend("fast")', "compiled kernels", "none",
                                    "Install a C compiler and reinstall the package"))


def report() -> str:
    """Say which text of which kernel runs, on which instruction set, with how many threads."""
    text = "fast" if COMPILED else "reference"
    lines = [f"instruction set {get_isa()} (available: {', '.join(available_isas())}), "
             f"{get_num_threads()} threads"]
    for family in FAMILIES:
        names = [name for name, home in families().items() if home == family]
        lines.append(f"{family:12} {text:9} {len(names):3} kernels: {', '.join(names)}")
    return "\n".join(lines)
