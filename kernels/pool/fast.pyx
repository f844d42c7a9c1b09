"""Pooling and resampling; equations in reference.py, windows in pool.inc.

Order: chunks of about CHUNK elements of x or the result, whichever is larger, in pieces of one row
(sample, depth, height) of the result; those of weighted sums are so short that the rows of x which
they read, and the sum of these, stay in L1.
Bytes: inputs and outputs once. Source: see reference.py.
"""

from libc.stdint cimport int32_t, int64_t
from numpy cimport (
    NPY_DOUBLE,
    PyArray_BYTES,
    PyArray_DATA,
    PyArray_DIM,
    PyArray_ITEMSIZE,
    PyArray_NBYTES,
    PyArray_NDIM,
    PyArray_SIZE,
    PyArray_TYPE,
    import_array,
    ndarray,
)

from ..simd cimport isa
from ..threads.pool cimport parallel_for, scratch

import_array()

__all__ = ["max_pool", "max_pool_grad", "max_pool_take", "resample"]

cdef extern from "pool.h" nogil:
    struct pool_axis:
        Py_ssize_t inputs, outputs, step, width
        int apart
        const int64_t *table
        const void *weights
    ctypedef void (*pool_row)(const void *x, int32_t *index, void *y, const pool_axis *axes,
                              Py_ssize_t C, Py_ssize_t row, Py_ssize_t first,
                              Py_ssize_t last, void *sums, int far) noexcept nogil
    struct pool_kernels:
        pool_row max_pool, max_pool_grad, resample
        void (*take)(const void *x, const int32_t *index, void *y, Py_ssize_t places,
                     Py_ssize_t C, Py_ssize_t rows) noexcept nogil
        void (*finish)() noexcept nogil
    const pool_kernels *pool_kernels_table[][2]

cdef enum:
    CHUNK = 16384   # elements that are worth another thread
    FAR = 1 << 25   # bytes of a result that no cache holds
    WIDEST = 2      # the instruction set with vectors of 64 bytes
    NARROW = 32     # bytes of a position that its half holds
    BAND = 1024     # elements of x in a row of a piece of sums, which stay in L1 with their sum

cdef struct Job:
    const pool_kernels *kernels
    pool_row row
    const char *x
    int32_t *index
    char *y
    pool_axis axes[3]
    Py_ssize_t C, columns           # of one row of the result
    Py_ssize_t width, pieces        # columns of a piece, pieces of a row
    Py_ssize_t items, grain         # pieces of the result, and of a chunk
    Py_ssize_t places, outputs, item
    Py_ssize_t sums                 # bytes of a row of x, where there are sums of rows
    int results, far                # arrays written, whether they go past the caches


cdef const pool_kernels *kernels_of(ndarray x) noexcept:
    """Return the widest text, or where the channels are half a vector of it the one below."""
    cdef Py_ssize_t line = PyArray_DIM(x, PyArray_NDIM(x) - 1) * PyArray_ITEMSIZE(x)
    return pool_kernels_table[isa.level - (isa.level == WIDEST and line <= NARROW)][
        PyArray_TYPE(x) == NPY_DOUBLE]


cdef void fill_axes(Job *job, ndarray x, tuple tables, tuple weights, tuple steps):
    """Take the axes of x (N, D, H, W, C) with their tables."""
    cdef int i
    cdef Py_ssize_t o
    cdef ndarray table, values
    job.results = 1
    job.kernels = kernels_of(x)
    for i in range(3):
        table = tables[i]
        job.axes[i].inputs = PyArray_DIM(x, i + 1)
        job.axes[i].outputs = PyArray_DIM(table, 0)
        job.axes[i].table = <const int64_t *>PyArray_DATA(table)
        job.axes[i].step = steps[i]
        job.axes[i].apart = job.axes[i].step == 1
        for o in range(1, job.axes[i].outputs):
            if job.axes[i].table[2 * o] < job.axes[i].table[2 * o - 1]:
                job.axes[i].apart = False
        if weights is not None:
            values = weights[i]
            job.axes[i].weights = PyArray_DATA(values)
            job.axes[i].width = PyArray_DIM(values, 1)


cdef void row_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *job = <Job *>ctx
    cdef Py_ssize_t k, first
    cdef void *sums = scratch(0, job.sums)
    for k in range(chunk * job.grain, min((chunk + 1) * job.grain, job.items)):
        first = k % job.pieces * job.width
        job.row(job.x, job.index, job.y, job.axes, job.C, k // job.pieces, first,
                min(first + job.width, job.columns), sums, job.far)
    if job.far:
        job.kernels.finish()


cdef void run(Job *job, ndarray x, ndarray y, ndarray result) noexcept nogil:
    """Compute the rows of the result, which is y or the gradient of x (N, D, H, W, C)."""
    cdef Py_ssize_t rows = PyArray_DIM(result, 0) * PyArray_DIM(result, 1) * PyArray_DIM(result, 2)
    cdef Py_ssize_t size = max(PyArray_SIZE(x), PyArray_SIZE(y)), wide
    job.far = PyArray_NBYTES(result) * job.results >= FAR
    job.columns, job.C = PyArray_DIM(result, 3), PyArray_DIM(result, 4)
    wide = job.C
    if job.sums:
        wide *= 1 + (PyArray_DIM(x, 3) - 1) // job.columns     # of x, for a column of y
    job.width = min(job.columns, max(1, (BAND if job.sums else CHUNK) // wide))
    job.pieces = (job.columns + job.width - 1) // job.width
    job.items = rows * job.pieces
    job.grain = max(1, <Py_ssize_t>(<double>CHUNK * job.items / size))
    parallel_for(row_chunk, job, (job.items + job.grain - 1) // job.grain)


def max_pool(ndarray x, ndarray y, ndarray index, ndarray d, ndarray h, ndarray w, tuple steps):
    cdef Job job
    fill_axes(&job, x, (d, h, w), None, steps)
    job.row = job.kernels.max_pool
    job.x = PyArray_BYTES(x)
    job.index = <int32_t *>PyArray_DATA(index)
    job.y = PyArray_BYTES(y)
    job.results = 2
    job.sums = 0
    with nogil:
        run(&job, x, y, y)


def max_pool_grad(ndarray g, ndarray index, ndarray dx, ndarray d, ndarray h, ndarray w,
                  tuple steps):
    cdef Job job
    fill_axes(&job, dx, (d, h, w), None, steps)
    job.row = job.kernels.max_pool_grad
    job.x = PyArray_BYTES(g)
    job.index = <int32_t *>PyArray_DATA(index)
    job.y = PyArray_BYTES(dx)
    job.sums = 0
    with nogil:
        run(&job, dx, g, dx)


def resample(ndarray x, ndarray y, ndarray d, ndarray h, ndarray w, ndarray weight_d,
             ndarray weight_h, ndarray weight_w):
    cdef Job job
    fill_axes(&job, x, (d, h, w), (weight_d, weight_h, weight_w), (1, 1, 1))
    job.row = job.kernels.resample
    job.x = PyArray_BYTES(x)
    job.index = NULL
    job.y = PyArray_BYTES(y)
    job.sums = PyArray_DIM(x, 3) * PyArray_DIM(x, 4) * PyArray_ITEMSIZE(x)
    with nogil:
        run(&job, x, y, y)


cdef void take_chunk(void *ctx, Py_ssize_t n, int worker) noexcept nogil:
    cdef Job *job = <Job *>ctx
    job.kernels.take(job.x + n * job.places * job.C * job.item,
                     job.index + n * job.outputs * job.C,
                     job.y + n * job.outputs * job.C * job.item, job.places, job.C, job.outputs)


def max_pool_take(ndarray x, ndarray index, ndarray y):
    cdef Job job
    job.kernels = kernels_of(x)
    job.x = PyArray_BYTES(x)
    job.index = <int32_t *>PyArray_DATA(index)
    job.y = PyArray_BYTES(y)
    job.item = PyArray_ITEMSIZE(x)
    job.places, job.C, job.outputs = PyArray_DIM(x, 1), PyArray_DIM(x, 2), PyArray_DIM(index, 1)
    with nogil:
        parallel_for(take_chunk, &job, PyArray_DIM(x, 0))
