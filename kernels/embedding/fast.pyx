"""Rows of a table by index, and the gradient; equations in reference.py.

embedding: chunks of output rows, each row one copy.
embedding_grad: the table is cut into ranges of 2^k rows, one chunk each. A counting sort lists the
places of each range in rising order, so that a chunk reads only its own rows of g and every output
row sums its contributions in the order in which they stand: the same bits for any number of
threads, no atomic additions and no copies of the table.
Bytes: M x D read and written; the gradient reads M x D, writes V x D zeros and M x D sums, and
moves 24 M for the sort. Source: see reference.py; Knuth, vol. 3, 5.2 (distribution counting).
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset
from numpy cimport (
    NPY_DOUBLE,
    PyArray_DATA,
    PyArray_DIM,
    PyArray_ITEMSIZE,
    PyArray_TYPE,
    import_array,
    ndarray,
)

from ..simd cimport isa
from ..threads.pool cimport parallel_for, scratch

import_array()

__all__ = ["embedding", "embedding_grad"]

cdef extern from "embedding.h" nogil:
    enum: AHEAD
    void prefetch_row(const char *row, size_t n_bytes)
    struct embedding_kernels:
        void *sum_rows
    const embedding_kernels *embedding_kernels_table[][2]

ctypedef void (*sum_rows_fn)(
    const void *g, const int64_t *indices, const int64_t *places, Py_ssize_t count, Py_ssize_t D,
    Py_ssize_t first, Py_ssize_t last, void *out) noexcept nogil

cdef enum:
    CHUNK = 16384
    MAX_RANGES = 256

cdef struct Gather:
    const char *weight
    const int64_t *indices
    char *out
    Py_ssize_t V, M
    size_t row  # bytes
    Py_ssize_t rows  # of a chunk


cdef inline const char *row_of(const Gather *job, Py_ssize_t m) noexcept nogil:
    return job.weight + min(max(job.indices[m], 0), job.V - 1) * job.row


cdef void gather_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Gather *job = <const Gather *>ctx
    cdef Py_ssize_t m, end = min((chunk + 1) * job.rows, job.M)
    for m in range(chunk * job.rows, end):
        if m + AHEAD < end:
            prefetch_row(row_of(job, m + AHEAD), job.row)
        memcpy(job.out + m * job.row, row_of(job, m), job.row)


def embedding(ndarray weight, ndarray indices, ndarray out):
    cdef Gather job
    cdef Py_ssize_t D = PyArray_DIM(weight, 1)
    job.weight = <const char *>PyArray_DATA(weight)
    job.indices = <const int64_t *>PyArray_DATA(indices)
    job.out = <char *>PyArray_DATA(out)
    job.V = PyArray_DIM(weight, 0)
    job.M = PyArray_DIM(indices, 0)
    job.row = D * PyArray_ITEMSIZE(weight)
    job.rows = max(1, CHUNK // D)
    if job.M <= job.rows:
        gather_chunk(&job, 0, 0)
    else:
        with nogil:
            parallel_for(gather_chunk, &job, (job.M + job.rows - 1) // job.rows)


cdef struct Scatter:
    const void *g
    const int64_t *indices
    void *out
    Py_ssize_t V, M, D
    int shift  # a range is 2^shift rows
    int64_t *places  # sorted by range
    Py_ssize_t *starts  # of each range in `places`, and the end
    sum_rows_fn sum_rows


cdef void sort_places(Scatter *job, Py_ssize_t ranges) noexcept nogil:
    cdef Py_ssize_t *next = job.starts + ranges + 1
    cdef Py_ssize_t m, r
    cdef int64_t v
    memset(next, 0, ranges * sizeof(Py_ssize_t))
    for m in range(job.M):
        v = job.indices[m]
        if 0 <= v < job.V:
            next[v >> job.shift] += 1
    job.starts[0] = 0
    for r in range(ranges):
        job.starts[r + 1] = job.starts[r] + next[r]
        next[r] = job.starts[r]
    for m in range(job.M):
        v = job.indices[m]
        if 0 <= v < job.V:
            r = v >> job.shift
            job.places[next[r]] = m
            next[r] += 1


cdef void scatter_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Scatter *job = <const Scatter *>ctx
    cdef Py_ssize_t begin = job.starts[chunk], first = chunk << job.shift
    job.sum_rows(job.g, job.indices, job.places + begin, job.starts[chunk + 1] - begin, job.D,
                 first, min(first + (<Py_ssize_t>1 << job.shift), job.V), job.out)


def embedding_grad(ndarray g, ndarray indices, ndarray out):
    cdef Scatter job
    cdef Py_ssize_t ranges, wanted
    job.g = PyArray_DATA(g)
    job.indices = <const int64_t *>PyArray_DATA(indices)
    job.out = PyArray_DATA(out)
    job.V = PyArray_DIM(out, 0)
    job.D = PyArray_DIM(out, 1)
    job.M = PyArray_DIM(indices, 0)
    job.sum_rows = <sum_rows_fn>embedding_kernels_table[isa.level][
        PyArray_TYPE(g) == NPY_DOUBLE].sum_rows
    wanted = min((job.V + job.M) * job.D // CHUNK, MAX_RANGES)
    if wanted <= 1 or job.V == 1:
        job.sum_rows(job.g, job.indices, NULL, job.M, job.D, 0, job.V, job.out)
        return
    job.shift = 0
    while (job.V - 1) >> job.shift >= wanted:
        job.shift += 1
    ranges = ((job.V - 1) >> job.shift) + 1
    job.places = <int64_t *>scratch(2, job.M * sizeof(int64_t))
    job.starts = <Py_ssize_t *>scratch(3, (2 * ranges + 1) * sizeof(Py_ssize_t))
    with nogil:
        sort_places(&job, ranges)
        parallel_for(scatter_chunk, &job, ranges)
