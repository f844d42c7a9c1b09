"""Normalisation; equations in reference.py, blocks and sums in norm.inc.

Order: where the rows of an outer index stand in memory behind each other (n > 1), they are cut into
pieces of about PIECE elements: one pass gives the statistics of every piece, the pieces are joined
in order, a second pass writes the result. An outer index of one piece (instance norm, group norm,
small images) takes both passes while it is in the cache of one core; of several outer indices that
each fit the cache of all cores (SHARED), one takes all its passes before the next. Where n is 1
(layer norm) every line is read, normalised and written on its own.
The gradient goes the same way: a pass for sum g and sum g (x - mean), a pass for dx.
Bytes: batch norm 3 arrays, its gradient 5; what fits a piece, and lines: 2 and 3.
Source: see reference.py; Chan, Golub, LeVeque (1983) for the joining of variances.
"""

from numpy cimport (
    NPY_DOUBLE,
    PyArray_BYTES,
    PyArray_DIM,
    PyArray_ITEMSIZE,
    PyArray_NBYTES,
    PyArray_TYPE,
    import_array,
    ndarray,
)

from ..simd cimport isa
from ..threads.pool cimport parallel_for, scratch

import_array()

__all__ = ["channel_affine", "channel_affine_grad", "norm", "norm_grad"]

cdef extern from "norm.h" nogil:
    struct norm_kernels:
        void (*moments)(const void *x, Py_ssize_t rows, Py_ssize_t C, void *mean, void *m2,
                        void *block) noexcept nogil
        void (*join_moments)(void *parts, Py_ssize_t pieces, Py_ssize_t piece, Py_ssize_t n,
                             Py_ssize_t C, Py_ssize_t groups, void *mean, void *var, void *center,
                             const void *weight, void *scale, double eps) noexcept nogil
        void (*affine)(const void *x, Py_ssize_t rows, Py_ssize_t C, const void *center,
                       const void *scale, const void *shift, void *y, int far) noexcept nogil
        void (*affine_grad)(const void *g, const void *x, Py_ssize_t rows, Py_ssize_t C,
                            const void *center, const void *scale, void *dx, void *sums,
                            void *block, int far) noexcept nogil
        void (*dots)(const void *g, const void *x, Py_ssize_t rows, Py_ssize_t C,
                     const void *mean, Py_ssize_t W, void *sums, void *block) noexcept nogil
        void (*join_dots)(void *parts, Py_ssize_t pieces, Py_ssize_t n, Py_ssize_t C,
                          Py_ssize_t groups, const void *g_mean, const void *g_var,
                          const void *mean, const void *var, const void *weight,
                          void *coefficients, double eps) noexcept nogil
        void (*combine)(const void *g, const void *x, Py_ssize_t rows, Py_ssize_t C,
                        const void *coefficients, void *dx, int far) noexcept nogil
        void (*add_up)(const void *parts, Py_ssize_t count, Py_ssize_t step, Py_ssize_t C,
                       void *dweight, void *dbias) noexcept nogil
        void (*rows)(const void *x, const void *weight, const void *bias, void *y, void *mean,
                     void *var, Py_ssize_t rows, Py_ssize_t groups, Py_ssize_t W,
                     double eps, int far) noexcept nogil
        void (*rows_grad)(const void *g, const void *g_mean, const void *g_var, const void *x,
                          const void *mean, const void *var, const void *weight, void *dx,
                          void *sums, Py_ssize_t rows, Py_ssize_t groups, Py_ssize_t W,
                          double eps, int far) noexcept nogil
    const norm_kernels *norm_kernels_table[][2]

cdef enum:
    PIECE = 65536   # elements: what two passes find in a core's own cache
    SHARED = 1 << 21  # elements of an outer index that stay in the cache of all cores
    CHUNK = 16384   # elements that are worth another thread
    FAR = 1 << 25   # bytes of a result that no cache holds
    ROWS = 32       # least rows of a piece and of a chunk of lines, whose sums cost as much as one

cdef struct Job
ctypedef void (*step_fn)(Job *job, Py_ssize_t k) noexcept nogil

cdef struct Job:
    const norm_kernels *kernels
    const char *x
    const char *g
    const char *g_mean
    const char *g_var
    const char *weight
    const char *bias
    char *out           # y or dx
    char *mean
    char *var
    char *parts         # (outer, pieces, 2, C): sums of every piece
    char *channels      # (outer, 4, C): what the second pass needs of each channel
    Py_ssize_t item, outer, n, C, groups, piece, pieces, grain, begin, count
    double eps
    int far             # whether results go past the caches
    step_fn steps[3]
    int first, last     # which steps this pass takes


cdef void fill(Job *job, ndarray x, ndarray weight, ndarray mean, ndarray var, ndarray out,
               double eps) noexcept:
    job.kernels = norm_kernels_table[isa.level][PyArray_TYPE(x) == NPY_DOUBLE]
    job.x = PyArray_BYTES(x)
    job.weight = PyArray_BYTES(weight)
    job.mean = PyArray_BYTES(mean)
    job.var = PyArray_BYTES(var)
    job.out = PyArray_BYTES(out)
    job.far = PyArray_NBYTES(out) >= FAR
    job.item = PyArray_ITEMSIZE(x)
    job.outer = PyArray_DIM(x, 0)
    job.n = PyArray_DIM(x, 1)
    job.C = PyArray_DIM(x, 2)
    job.groups = PyArray_DIM(mean, 1)
    job.eps = eps
    job.piece = max(ROWS, PIECE // job.C)
    job.pieces = (job.n + job.piece - 1) // job.piece


# ---- steps on one piece, or on the pieces of one outer index ----

cdef inline Py_ssize_t start(const Job *job, Py_ssize_t k) noexcept nogil:
    """Return the first row of piece k."""
    return k // job.pieces * job.n + k % job.pieces * job.piece


cdef inline Py_ssize_t length(const Job *job, Py_ssize_t k) noexcept nogil:
    return min(job.piece, job.n - k % job.pieces * job.piece)


cdef inline char *part(const Job *job, Py_ssize_t k) noexcept nogil:
    return job.parts + 2 * k * job.C * job.item


cdef inline char *channels(const Job *job, Py_ssize_t o) noexcept nogil:
    return job.channels + 4 * o * job.C * job.item


cdef void measure(Job *job, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t line = job.C * job.item
    job.kernels.moments(job.x + start(job, k) * line, length(job, k), job.C, part(job, k),
                        part(job, k) + line, scratch(0, 2 * line))


cdef void join(Job *job, Py_ssize_t o) noexcept nogil:
    cdef Py_ssize_t at = o * job.groups * job.item
    job.kernels.join_moments(part(job, o * job.pieces), job.pieces, job.piece, job.n, job.C,
                             job.groups, job.mean + at, job.var + at, channels(job, o),
                             job.weight, channels(job, o) + job.C * job.item, job.eps)


cdef void write(Job *job, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t line = job.C * job.item, at = start(job, k) * line
    cdef char *values = channels(job, k // job.pieces)
    job.kernels.affine(job.x + at, length(job, k), job.C, values, values + line, job.bias,
                       job.out + at, job.far)


cdef void measure_grad(Job *job, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t line = job.C * job.item, at = start(job, k) * line
    job.kernels.dots(job.g + at, job.x + at, length(job, k), job.C,
                     job.mean + k // job.pieces * job.groups * job.item, job.C // job.groups,
                     part(job, k), scratch(0, 3 * line))


cdef void join_grad(Job *job, Py_ssize_t o) noexcept nogil:
    cdef Py_ssize_t at = o * job.groups * job.item
    job.kernels.join_dots(part(job, o * job.pieces), job.pieces, job.n, job.C, job.groups,
                          job.g_mean + at, job.g_var + at, job.mean + at, job.var + at,
                          job.weight, channels(job, o), job.eps)


cdef void write_grad(Job *job, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t at = start(job, k) * job.C * job.item
    job.kernels.combine(job.g + at, job.x + at, length(job, k), job.C,
                        channels(job, k // job.pieces), job.out + at, job.far)


# ---- passes ----

cdef void chunk_of_steps(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *job = <Job *>ctx
    cdef Py_ssize_t k
    cdef int step
    for k in range(chunk * job.grain, min((chunk + 1) * job.grain, job.count)):
        for step in range(job.first, job.last):
            job.steps[step](job, job.begin + k)


cdef void take(Job *job, int first, int last, Py_ssize_t begin, Py_ssize_t count,
               Py_ssize_t size) noexcept nogil:
    """Take some of the steps for `count` pieces or outer indices of `size` elements."""
    job.first, job.last, job.begin, job.count = first, last, begin, count
    job.grain = max(1, CHUNK // size)
    parallel_for(chunk_of_steps, job, (count + job.grain - 1) // job.grain)


cdef void passes(Job *job) noexcept nogil:
    cdef Py_ssize_t items = job.outer * job.pieces, line = job.C * job.item
    cdef Py_ssize_t size = min(job.n, job.piece) * job.C, o
    job.parts = <char *>scratch(2, 2 * items * line)
    job.channels = <char *>scratch(3, 4 * job.outer * line)
    if job.pieces == 1:
        take(job, 0, 3, 0, items, size)
    elif job.outer > 1 and job.n * job.C <= SHARED:
        for o in range(job.outer):
            take(job, 0, 1, o * job.pieces, job.pieces, size)
            job.steps[1](job, o)
            take(job, 2, 3, o * job.pieces, job.pieces, size)
    else:
        take(job, 0, 1, 0, items, size)
        take(job, 1, 2, 0, job.outer, 2 * job.pieces * job.C)
        take(job, 2, 3, 0, items, size)


# ---- lines ----

cdef void chunk_of_lines(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *job = <Job *>ctx
    cdef Py_ssize_t first = chunk * job.grain, line = job.C * job.item
    cdef Py_ssize_t group = first * job.groups * job.item
    job.kernels.rows(job.x + first * line, job.weight, job.bias, job.out + first * line,
                     job.mean + group, job.var + group, min(job.grain, job.outer - first),
                     job.groups, job.C // job.groups, job.eps, job.far)


cdef void chunk_of_lines_grad(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *job = <Job *>ctx
    cdef Py_ssize_t first = chunk * job.grain, line = job.C * job.item
    cdef Py_ssize_t group = first * job.groups * job.item
    job.kernels.rows_grad(
        job.g + first * line, job.g_mean + group, job.g_var + group, job.x + first * line,
        job.mean + group, job.var + group, job.weight, job.out + first * line, part(job, chunk),
        min(job.grain, job.outer - first), job.groups, job.C // job.groups, job.eps,
        job.far)


def norm(ndarray x, ndarray weight, ndarray bias, ndarray y, ndarray mean, ndarray var,
         double eps):
    cdef Job job
    fill(&job, x, weight, mean, var, y, eps)
    job.bias = PyArray_BYTES(bias)
    with nogil:
        if job.n == 1:
            job.grain = max(1, CHUNK // job.C)
            parallel_for(chunk_of_lines, &job, (job.outer + job.grain - 1) // job.grain)
        else:
            job.steps[0], job.steps[1], job.steps[2] = measure, join, write
            passes(&job)


def norm_grad(ndarray g, ndarray g_mean, ndarray g_var, ndarray x, ndarray mean, ndarray var,
              ndarray weight, ndarray dx, ndarray dweight, ndarray dbias, double eps):
    cdef Job job
    cdef Py_ssize_t count, step
    fill(&job, x, weight, mean, var, dx, eps)
    job.g = PyArray_BYTES(g)
    job.g_mean = PyArray_BYTES(g_mean)
    job.g_var = PyArray_BYTES(g_var)
    with nogil:
        if job.n == 1:
            job.grain = max(ROWS, CHUNK // job.C)
            count = (job.outer + job.grain - 1) // job.grain
            job.parts = <char *>scratch(2, 2 * count * job.C * job.item)
            parallel_for(chunk_of_lines_grad, &job, count)
            step = 2 * job.C
        else:
            job.steps[0], job.steps[1], job.steps[2] = measure_grad, join_grad, write_grad
            passes(&job)
            count, step = job.outer, 2 * job.pieces * job.C
        job.kernels.add_up(job.parts, count, step, job.C, PyArray_BYTES(dweight),
                           PyArray_BYTES(dbias))


# ---- known statistics ----

cdef void affine_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *job = <Job *>ctx
    cdef Py_ssize_t first = chunk * job.grain, at = first * job.C * job.item
    job.kernels.affine(job.x + at, min(job.grain, job.outer - first), job.C, job.mean,
                       job.weight, job.bias, job.out + at, job.far)


cdef void affine_grad_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *job = <Job *>ctx
    cdef Py_ssize_t line = job.C * job.item, first = chunk * job.grain, at = first * line
    job.kernels.affine_grad(job.g + at, job.x + at, min(job.grain, job.outer - first), job.C,
                            job.mean, job.weight, job.out + at, job.parts + 2 * chunk * line,
                            scratch(0, 2 * line), job.far)


cdef void fill_rows(Job *job, ndarray x, ndarray center, ndarray scale, ndarray out) noexcept:
    job.kernels = norm_kernels_table[isa.level][PyArray_TYPE(x) == NPY_DOUBLE]
    job.x = PyArray_BYTES(x)
    job.mean = PyArray_BYTES(center)
    job.weight = PyArray_BYTES(scale)
    job.out = PyArray_BYTES(out)
    job.far = PyArray_NBYTES(out) >= FAR
    job.item = PyArray_ITEMSIZE(x)
    job.outer = PyArray_DIM(x, 0)
    job.C = PyArray_DIM(x, 1)


def channel_affine(ndarray x, ndarray center, ndarray scale, ndarray shift, ndarray y):
    cdef Job job
    fill_rows(&job, x, center, scale, y)
    job.bias = PyArray_BYTES(shift)
    job.grain = max(1, CHUNK // job.C)
    with nogil:
        parallel_for(affine_chunk, &job, (job.outer + job.grain - 1) // job.grain)


def channel_affine_grad(ndarray g, ndarray x, ndarray center, ndarray scale, ndarray dx,
                        ndarray dscale, ndarray dshift):
    cdef Job job
    cdef Py_ssize_t count
    fill_rows(&job, x, center, scale, dx)
    job.g = PyArray_BYTES(g)
    job.grain = max(ROWS, CHUNK // job.C)
    count = max(1, (job.outer + job.grain - 1) // job.grain)
    with nogil:
        job.parts = <char *>scratch(2, 2 * count * job.C * job.item)
        parallel_for(affine_grad_chunk, &job, count)
        job.kernels.add_up(job.parts, count, 2 * job.C, job.C, PyArray_BYTES(dscale),
                           PyArray_BYTES(dshift))
