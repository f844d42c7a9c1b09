"""Softmax and the cross-entropy of class indices; equations in reference.py.

Order: chunks of about CHUNK elements, whole lines each. Along a contiguous axis a row is swept
three times in cache (maximum, sum of exponentials, result); along a strided one (`inner` > 1) a
vector holds a column per lane, so that every load is contiguous and nothing is folded; rows of a
few classes are turned into such columns. The cross-entropy never writes probabilities: loss and
log-sum-exp are all that its gradient needs.
Bytes: one read and one write of each element (cross-entropy: one read). Source: see reference.py.
"""

from libc.stdint cimport int64_t
from numpy cimport NPY_DOUBLE, PyArray_DATA, PyArray_DIM, PyArray_TYPE, import_array, ndarray

from ..simd cimport isa
from ..threads.pool cimport parallel_for

import_array()

__all__ = [
    "log_softmax",
    "log_softmax_grad",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
    "softmax_grad",
]

cdef extern from "loss.h" nogil:
    enum: COLUMNS
    ctypedef void (*axis_fn)(const void *a, const void *b, void *out, Py_ssize_t n,
                             Py_ssize_t inner, Py_ssize_t first, Py_ssize_t last) noexcept nogil
    struct loss_kernels:
        axis_fn softmax, log_softmax, softmax_grad, log_softmax_grad
        void (*cross_entropy)(
            const void *logits, const int64_t *labels, void *loss, void *lse, Py_ssize_t C,
            Py_ssize_t first, Py_ssize_t last) noexcept nogil
        void (*cross_entropy_grad)(
            const void *g_loss, const void *g_lse, const void *logits, const int64_t *labels,
            const void *lse, void *out, Py_ssize_t C,
            Py_ssize_t first, Py_ssize_t last) noexcept nogil
    const loss_kernels *loss_kernels_table[][2]

cdef enum:
    CHUNK = 8192  # elements: an exponential is worth several loads and stores

cdef struct Job:
    const loss_kernels *kernels
    axis_fn axis
    const void *a
    const void *b
    const void *logits
    const int64_t *labels
    void *loss
    void *lse
    void *out
    Py_ssize_t n, inner
    Py_ssize_t units, per_chunk  # lines, or blocks of COLUMNS of them


cdef const loss_kernels *kernels_of(ndarray x):
    return loss_kernels_table[isa.level][PyArray_TYPE(x) == NPY_DOUBLE]


cdef void axis_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>ctx
    cdef Py_ssize_t first = chunk * job.per_chunk
    job.axis(job.a, job.b, job.out, job.n, job.inner,
             first, min(first + job.per_chunk, job.units))


cdef void loss_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>ctx
    cdef Py_ssize_t first = chunk * job.per_chunk
    job.kernels.cross_entropy(job.logits, job.labels, job.loss, job.lse, job.n,
                              first, min(first + job.per_chunk, job.units))


cdef void loss_grad_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>ctx
    cdef Py_ssize_t first = chunk * job.per_chunk
    job.kernels.cross_entropy_grad(job.a, job.b, job.logits, job.labels, job.lse, job.out, job.n,
                                   first, min(first + job.per_chunk, job.units))


ctypedef void (*chunk_fn)(void *, Py_ssize_t, int) noexcept nogil


cdef void run(Job *job, chunk_fn fn, Py_ssize_t unit) noexcept:
    """Run the job's units, of `unit` elements each, in chunks."""
    job.per_chunk = max(1, CHUNK // unit)
    if job.units <= job.per_chunk:
        fn(job, 0, 0)
    else:
        with nogil:
            parallel_for(fn, job, (job.units + job.per_chunk - 1) // job.per_chunk)


cdef void run_axis(axis_fn axis, ndarray a, ndarray b, ndarray out) noexcept:
    cdef Job job
    job.axis = axis
    job.a = PyArray_DATA(a)
    job.b = PyArray_DATA(b)
    job.out = PyArray_DATA(out)
    job.n = PyArray_DIM(a, 1)
    job.inner = PyArray_DIM(a, 2)
    job.units = PyArray_DIM(a, 0) * ((job.inner + COLUMNS - 1) // COLUMNS)
    run(&job, axis_chunk, job.n * min(job.inner, COLUMNS))


def softmax(ndarray x, ndarray out):
    run_axis(kernels_of(x).softmax, x, x, out)


def log_softmax(ndarray x, ndarray out):
    run_axis(kernels_of(x).log_softmax, x, x, out)


def softmax_grad(ndarray g, ndarray y, ndarray out):
    run_axis(kernels_of(g).softmax_grad, g, y, out)


def log_softmax_grad(ndarray g, ndarray y, ndarray out):
    run_axis(kernels_of(g).log_softmax_grad, g, y, out)


def softmax_cross_entropy(ndarray logits, ndarray labels, ndarray loss, ndarray lse):
    cdef Job job
    job.kernels = kernels_of(logits)
    job.logits = PyArray_DATA(logits)
    job.labels = <const int64_t *>PyArray_DATA(labels)
    job.loss = PyArray_DATA(loss)
    job.lse = PyArray_DATA(lse)
    job.units = PyArray_DIM(logits, 0)
    job.n = PyArray_DIM(logits, 1)
    run(&job, loss_chunk, job.n)


def softmax_cross_entropy_grad(ndarray g_loss, ndarray g_lse, ndarray logits, ndarray labels,
                               ndarray lse, ndarray out):
    cdef Job job
    job.kernels = kernels_of(logits)
    job.a = PyArray_DATA(g_loss)
    job.b = PyArray_DATA(g_lse)
    job.logits = PyArray_DATA(logits)
    job.labels = <const int64_t *>PyArray_DATA(labels)
    job.lse = PyArray_DATA(lse)
    job.out = PyArray_DATA(out)
    job.units = PyArray_DIM(logits, 0)
    job.n = PyArray_DIM(logits, 1)
    run(&job, loss_grad_chunk, job.n)
