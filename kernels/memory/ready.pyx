"""One look at the inputs of an op: may a kernel take them as they are?"""

cimport cython
cimport numpy as cnp

cnp.import_array()

__all__ = ["ready", "within"]

CONTIGUOUS, FILLED, FLOATING = 1, 2, 4


@cython.binding(False)
def ready(list arrays):
    """Return a sum of flags.

    1 when all arrays are C-contiguous and aligned, 2 when none is empty, 4 when one is float32 or
    float64. No array at all is ready for everything.
    """
    cdef int flags = 3
    cdef int kind
    cdef cnp.ndarray array
    if not arrays:
        return 7
    for item in arrays:
        array = item  # a NumPy scalar is refused: TypeError
        if not cnp.PyArray_ISCARRAY_RO(array):
            flags &= ~1
        if cnp.PyArray_SIZE(array) == 0:
            flags &= ~2
        kind = cnp.PyArray_TYPE(array)
        if kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE:
            flags |= 4
    return flags


@cython.binding(False)
def within(cnp.ndarray indices, Py_ssize_t low, Py_ssize_t high):
    """Tell whether all indices lie in [low, high); False as well when they are not plain int64."""
    cdef Py_ssize_t i, n = cnp.PyArray_SIZE(indices)
    cdef const cnp.int64_t *values = <const cnp.int64_t *>cnp.PyArray_BYTES(indices)
    cdef cnp.uint64_t span = high - low
    cdef bint outside = False
    if cnp.PyArray_TYPE(indices) != cnp.NPY_INT64 or not cnp.PyArray_ISCARRAY_RO(indices):
        return False
    if high < low:
        return n == 0
    for i in range(n):  # as unsigned, what lies below `low` lies beyond every span
        outside |= <cnp.uint64_t>(values[i] - low) >= span
    return not outside
