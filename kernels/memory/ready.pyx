"""One look at the inputs of an op: may a kernel take them as they are?"""

cimport cython
cimport numpy as cnp

cnp.import_array()

__all__ = ["ready"]

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
