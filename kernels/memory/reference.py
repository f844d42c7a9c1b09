"""Aligned arrays in NumPy alone: what runs where nothing is compiled."""

from sys import getrefcount

import numpy as np

__all__ = ["bound", "clear_cache", "copy_in", "empty", "matching", "ready", "references", "unheld",
           "within"]

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


def clear_cache():
    """Do nothing: NumPy keeps no memory."""


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


def matching(args, specs):
    """Return the arrays of a call, or None when it is not one of these specs.

    A spec is (type, dtype, shape) of a tensor or array, or (None, value) of anything else. A
    tensor with a graph never matches.
    """
    if len(args) != len(specs):
        return None
    found = []
    for x, (kind, *spec) in zip(args, specs, strict=True):
        if kind is None:
            if x is not spec[0] and (type(x) is not type(spec[0]) or x != spec[0]):
                return None
            continue
        if type(x) is not kind or (kind is not np.ndarray and x.node is not None):
            return None
        array = x if kind is np.ndarray else x.data
        if array.dtype is not spec[0] or array.shape != spec[1]:
            return None
        found.append(array)
    return found


def bound(tensors, arrays):
    """Tell whether the tensors still have these arrays."""
    return all(t.data is array for t, array in zip(tensors, arrays, strict=True))


def copy_in(buffers, arrays):
    """Copy arrays into buffers of their shapes; a buffer of None takes nothing."""
    for buffer, array in zip(buffers, arrays, strict=True):
        if buffer is not None:
            np.copyto(buffer, array)


def references(objects):
    """Return how often each object is referred to."""
    return [getrefcount(x) - 2 for x in objects]


def unheld(leaves, tensors, arrays, counts):
    """Tell whether nobody but its leaf holds a gradient; counts are those before it was given."""
    given = [leaf.grad is g for leaf, g in zip(leaves, tensors, strict=True)]
    now = [n - g for n, g in zip(references(tensors), given, strict=True)] + references(arrays)
    return all(n <= count for n, count in zip(now, counts, strict=True))
