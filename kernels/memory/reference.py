"""Aligned arrays in NumPy alone: what runs where nothing is compiled."""

import numpy as np

__all__ = ["empty"]

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
