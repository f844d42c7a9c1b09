"""Results come from here: aligned to 64 bytes, reused when the array before them has died.

A fresh large result costs page faults, about twice the time of writing a reused one. The cache is
bounded by an eighth of the memory at hand (`set_cache_limit` changes it, `clear_cache` empties
it). With `set_poison(True)` every new array starts as NaN, so that a kernel that leaves an element
of `out` unwritten is caught.
"""

cimport cython
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_New

import os
from pathlib import Path

cnp.import_array()

__all__ = ["cached_bytes", "clear_cache", "empty", "set_cache_limit", "set_poison"]

cdef extern from "allocator.h":
    struct pool "memory":
        size_t cached
        size_t limit
        int poison
    pool memory
    void *memory_handler_address "&memory_handler"
    void memory_clear()
    object memory_array(object handler, int ndim, const cnp.npy_intp *shape, cnp.dtype descr)

# NumPy frees an array's data through this capsule, so it must outlive every array: never deleted.
cdef object handler = PyCapsule_New(memory_handler_address, "mem_handler", NULL)
cdef object float32 = cnp.PyArray_DescrFromType(cnp.NPY_FLOAT)
cdef object float64 = cnp.PyArray_DescrFromType(cnp.NPY_DOUBLE)


cdef object empty_array(int ndim, const cnp.npy_intp *shape, int typenum):
    if typenum == cnp.NPY_FLOAT:
        return memory_array(handler, ndim, shape, <cnp.dtype>float32)
    if typenum == cnp.NPY_DOUBLE:
        return memory_array(handler, ndim, shape, <cnp.dtype>float64)
    return memory_array(handler, ndim, shape, cnp.PyArray_DescrFromType(typenum))


@cython.binding(False)
def empty(shape, dtype):
    """Return an uninitialised C-contiguous array whose data starts on a cache line."""
    cdef cnp.npy_intp lengths[64]
    cdef Py_ssize_t i, ndim
    if type(dtype) is not cnp.dtype:
        dtype = cnp.dtype(dtype)
    if (<cnp.dtype>dtype).hasobject:
        raise TypeError("empty: expected a dtype without Python objects")
    if type(shape) is not tuple:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
    ndim = len(<tuple>shape)
    if ndim > 64:
        raise ValueError(f"empty: expected at most 64 axes, got {ndim}")
    for i in range(ndim):
        lengths[i] = (<tuple>shape)[i]
        if lengths[i] < 0:
            raise ValueError(f"empty: expected lengths of 0 or more, got shape {shape}")
    return memory_array(handler, <int>ndim, lengths, <cnp.dtype>dtype)


def cached_bytes():
    """Return how many bytes wait for reuse."""
    return memory.cached


def clear_cache():
    """Give all cached memory back to the system."""
    memory_clear()


def set_cache_limit(size_t n_bytes):
    """Keep at most `n_bytes` for reuse; return the limit before."""
    before = memory.limit
    memory.limit = n_bytes
    if memory.cached > n_bytes:
        memory_clear()
    return before


def set_poison(bint on):
    """Fill every new array with NaN (integers with -1): finds kernels that do not write `out`."""
    memory.poison = on


def _memory():
    """Return the bytes that this process may use: of the machine, or of its control group."""
    limits = [1 << 33]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2, version 1
        try:
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            pass
    return min(limits)


set_cache_limit(_memory() // 8)
