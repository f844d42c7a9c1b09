"""What a plan does with its arguments and gradients at every call, at the price of a few pointers.

``matching`` looks whether a call fits, ``bound`` whether parameters are where they were,
``copy_in`` takes the arrays, ``references`` and ``unheld`` tell whether somebody still holds the
gradients of the call before.
"""

cimport cython
cimport numpy as cnp
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from libc.string cimport memcpy

cnp.import_array()

__all__ = ["bound", "copy_in", "matching", "references", "unheld"]

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *o) nogil

cdef enum:
    LARGE = 1 << 16  # bytes from which a copy lets other threads run


@cython.binding(False)
def matching(tuple args, list specs):
    """Return the arrays of a call, or None when it is not one of these specs.

    A spec is (type, dtype, shape) of a tensor or array, or (None, value) of anything else. A
    tensor with a graph never matches.
    """
    cdef Py_ssize_t i, k, n = len(specs)
    cdef tuple spec, shape
    cdef cnp.ndarray array
    if len(args) != n:
        return None
    cdef list found = []
    for i in range(n):
        x, spec = args[i], specs[i]
        kind = spec[0]
        if kind is None:
            value = spec[1]
            if x is not value and (type(x) is not type(value) or x != value):
                return None
            continue
        if type(x) is not kind:
            return None
        if kind is cnp.ndarray:
            array = x
        else:
            if x.node is not None:
                return None
            array = x.data
        shape = spec[2]
        if <object>cnp.PyArray_DESCR(array) is not spec[1] or (
                cnp.PyArray_NDIM(array) != len(shape)):
            return None
        for k in range(cnp.PyArray_NDIM(array)):
            if cnp.PyArray_DIM(array, k) != <Py_ssize_t>shape[k]:
                return None
        found.append(array)
    return found


@cython.binding(False)
def bound(list tensors, list arrays):
    """Tell whether the tensors still have these arrays."""
    cdef Py_ssize_t i
    for i in range(len(tensors)):
        if tensors[i].data is not arrays[i]:
            return False
    return True


@cython.binding(False)
def copy_in(list buffers, list arrays):
    """Copy arrays into buffers of their shapes; a buffer of None takes nothing."""
    cdef Py_ssize_t i, size
    cdef cnp.ndarray source, target
    cdef char *to
    cdef const char *start
    for i in range(len(buffers)):
        if buffers[i] is None:
            continue
        target, source = buffers[i], arrays[i]
        size = cnp.PyArray_NBYTES(target)
        if not cnp.PyArray_ISCARRAY_RO(source) or (
                cnp.PyArray_TYPE(source) != cnp.PyArray_TYPE(target)):
            target[...] = source
            continue
        to, start = <char *>cnp.PyArray_DATA(target), <const char *>cnp.PyArray_DATA(source)
        if size < LARGE:
            memcpy(to, start, size)
        else:
            with nogil:
                memcpy(to, start, size)


@cython.binding(False)
def references(list objects):
    """Return how often each object is referred to."""
    cdef Py_ssize_t i
    return [Py_REFCNT(<PyObject *>PyList_GET_ITEM(objects, i)) for i in range(len(objects))]


@cython.binding(False)
def unheld(list leaves, list tensors, list arrays, list counts):
    """Tell whether nobody but its leaf holds a gradient; counts are those before it was given."""
    cdef Py_ssize_t i, count, n = len(leaves)
    for i in range(n):
        given = leaves[i].grad is tensors[i]
        count = Py_REFCNT(<PyObject *>PyList_GET_ITEM(tensors, i)) - given
        if count > <Py_ssize_t>counts[i] or (
                Py_REFCNT(<PyObject *>PyList_GET_ITEM(arrays, i)) > <Py_ssize_t>counts[n + i]):
            return False
    return True
