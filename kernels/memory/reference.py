"""Aligned arrays in NumPy alone: what runs where nothing is compiled."""

import numpy as np

__all__ = ["empty", "ready", "within"]

ALIGNMENT = 64  # a cache line, and the widest vector


def empty(shape, dtype):
    """Return an uninitialised C-contiguous array whose data starts on a cache line."""
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    n_bytes = dtype.itemsize
    for length in shape:
        n_bytes *= length
    memory = np.empty(n_bytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


def ready(arrays):
    """Return a sum of flags.

    1 when all arrays are C-contiguous and aligned, 2 when none is empty, 4 when one is float32 or
    float64. No array at all is ready for everything.
    """
    if not arrays:
        return 7
    return (
        1 * all(a.flags.c_contiguous and a.flags.aligned for a in arrays)
        + 2 * all(a.size for a in arrays)
        + 4 * any(a.dtype == np.float32 or a.dtype == np.float64 for a in arrays)
    )


def within(indices, low, high):
    """Tell whether all indices lie in [low, high); False as well when they are not plain int64."""
    return indices.dtype == np.int64 and bool(np.all((indices >= low) & (indices < high)))
