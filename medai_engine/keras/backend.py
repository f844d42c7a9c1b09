"""The package as its users see it, and what ``keras.backend`` tells and resets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import medai_engine

__all__ = ["clear_session", "epsilon", "floatx", "image_data_format", "me"]

me: Any = medai_engine  # half of its names are made from a table, which type checkers cannot see
COUNTS: Counter[str] = Counter()  # layers without a name so far: dense, dense_1, ...


def clear_session(free_memory: bool = True) -> None:
    """Begin again to number the layers that are given no name."""
    COUNTS.clear()


def numbered(kind: str) -> str:
    """Return the next name of a kind: dense, dense_1, ..."""
    COUNTS[kind] += 1
    return kind if COUNTS[kind] == 1 else f"{kind}_{COUNTS[kind] - 1}"


def epsilon() -> float:
    """Return 1e-7, what keeps denominators and logarithms away from 0."""
    return 1e-7


def floatx() -> str:
    """Return the dtype of parameters."""
    return "float32"


def image_data_format() -> str:
    """Return where the channels stand."""
    return "channels_last"
