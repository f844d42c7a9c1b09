"""Reductions of x (outer, n, inner) over n, and scans along it.

    out[o, j] = join over r of map(x[o, r, j])

The array is cut into blocks: `rows` of n by a tile of at most MAX_WIDTH of inner, sizes that depend
on the shape only. A block is read once, in the order of memory, and gives one row of partial
results; where n has several blocks, their rows are an array (outer, blocks, inner) that is reduced
in the same way. So the sum is a tree with leaves of a few thousand elements, and its bits do not
depend on the number of threads. inner = 1 sums along vectors, inner > 1 across them.
Bytes moved: x once.

The tree is that of pairwise summation (Higham, Accuracy and Stability of Numerical Algorithms,
section 4.2) with wide leaves. logsumexp's blocks keep (max, sum of exp(x - max)) and are joined by rescaling,
argmax's and argmin's (value, index) by the first that nothing beats.
"""

cimport numpy as cnp
from libc.stdint cimport int64_t

from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for, scratch

cnp.import_array()

__all__ = ["argmax", "argmin", "cumulative_prod", "cumulative_sum", "logsumexp", "max", "min",
           "prod", "sum", "sum_squares"]

cdef extern from "reduce.h":
    ctypedef void (*reduce_block)(const void *x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                                  void *out, void *second, double scale) noexcept nogil
    ctypedef void (*reduce_join)(const void *values, const void *seconds, Py_ssize_t blocks,
                                 Py_ssize_t width, Py_ssize_t block_rows, void *out) noexcept nogil
    struct reduce_kernels:
        reduce_block sum, sum_squares, prod, max, min, argmax, argmin, logsumexp
        reduce_block cumulative_sum, cumulative_prod
        reduce_join join_argmax, join_argmin, join_logsumexp
    const reduce_kernels *reduce_kernels_table[3][2]
    enum:
        MAX_WIDTH

cdef enum:
    RUN = 4096          # elements of a contiguous block
    ROWS = 64           # rows of a wide block; narrow ones take more, 2 RUN elements
    CHUNK = 16384       # elements that are worth another thread

cdef struct Job:
    reduce_block block
    const char *x
    char *out
    char *second            # the second result of a block, if it has one
    Py_ssize_t item
    Py_ssize_t second_item
    Py_ssize_t n
    Py_ssize_t inner
    Py_ssize_t rows
    Py_ssize_t blocks
    Py_ssize_t tiles
    Py_ssize_t items        # outer * blocks * tiles
    Py_ssize_t grain        # items of a chunk
    bint scans
    double scale


cdef inline const reduce_kernels *kernels(cnp.ndarray x) noexcept:
    return reduce_kernels_table[isa.level][cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE]


cdef inline Py_ssize_t least(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a < b else b        # min and max are kernels here


cdef void run_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *job = <Job *>context
    cdef Py_ssize_t k, o, b, column, at, width, n, target
    for k in range(chunk * job.grain, least((chunk + 1) * job.grain, job.items)):
        b, column = k, 0
        if job.tiles > 1:
            b, column = k // job.tiles, k % job.tiles * MAX_WIDTH
        o = b
        if job.blocks > 1:
            o, b = b // job.blocks, b % job.blocks
        else:
            b = 0
        width = least(job.inner - column, MAX_WIDTH)
        n = least(job.n - b * job.rows, job.rows)
        at = (o * job.n + b * job.rows) * job.inner + column
        target = at if job.scans else (o * job.blocks + b) * job.inner + column
        job.block(job.x + at * job.item, n, job.inner, width, job.out + target * job.item,
                  job.second + target * job.second_item, job.scale)


cdef void run(Job *job, Py_ssize_t outer) noexcept nogil:
    cdef Py_ssize_t size
    job.tiles = (job.inner + MAX_WIDTH - 1) // MAX_WIDTH
    job.items = outer * job.blocks * job.tiles
    size = least(job.n, job.rows) * least(job.inner, MAX_WIDTH)
    job.grain = CHUNK // size + (size > CHUNK)
    if job.items <= job.grain:
        job.grain = job.items
        run_chunk(job, 0, 0)
    else:
        parallel_for(run_chunk, job, (job.items + job.grain - 1) // job.grain)


cdef Py_ssize_t block_rows(Py_ssize_t inner) noexcept nogil:
    if inner == 1:
        return RUN
    return ROWS if inner > 2 * RUN // ROWS else 2 * RUN // inner


cdef void arrange(Job *job, const char *x, Py_ssize_t item, Py_ssize_t n, Py_ssize_t inner,
                  reduce_block block) noexcept nogil:
    job.block = block
    job.x = x
    job.second = NULL
    job.item = item
    job.second_item = 0
    job.n = n
    job.inner = inner
    job.rows = block_rows(inner)
    job.blocks = (job.n + job.rows - 1) // job.rows
    job.scans = False
    job.scale = 1.0


cdef void prepare(Job *job, cnp.ndarray x, reduce_block block) noexcept:
    arrange(job, cnp.PyArray_BYTES(x), cnp.PyArray_ITEMSIZE(x), cnp.PyArray_DIM(x, 1),
            cnp.PyArray_DIM(x, 2), block)


cdef void fold_levels(Job *job, Py_ssize_t outer, char *out, reduce_block join,
                      double scale) noexcept nogil:
    """Blocks to partial results, and those again, until one block is left."""
    cdef char *partial
    if job.blocks > 1:      # all later levels together are smaller than the first
        partial = <char *>scratch(2, 2 * outer * job.blocks * job.inner * job.item)
    while job.blocks > 1:
        job.out = partial
        run(job, outer)
        partial += outer * job.blocks * job.inner * job.item
        job.x = job.out
        job.n = job.blocks
        job.blocks = (job.n + job.rows - 1) // job.rows
        job.block = join
    job.out = out
    job.scale = scale
    run(job, outer)


cdef void sum_rows(bint is_double, const char *x, Py_ssize_t n, Py_ssize_t inner,
                   char *out) noexcept nogil:
    cdef Job job
    cdef reduce_block block = reduce_kernels_table[isa.level][is_double].sum
    arrange(&job, x, 8 if is_double else 4, n, inner, block)
    fold_levels(&job, 1, out, block, 1.0)


cdef void fold_pairs_levels(Job *job, Py_ssize_t outer, char *out, Py_ssize_t out_item,
                            reduce_join join) noexcept nogil:
    """Blocks to pairs of partial results, and those to the result."""
    cdef Py_ssize_t o, count = outer * job.blocks * job.inner
    job.second = <char *>scratch(2, count * (job.second_item + job.item))
    job.out = job.second + count * job.second_item
    run(job, outer)
    if job.blocks == 1:
        join(job.out, job.second, 1, count, 0, out)
        return
    for o in range(outer):
        count = o * job.blocks * job.inner
        join(job.out + count * job.item, job.second + count * job.second_item, job.blocks,
             job.inner, job.rows, out + o * job.inner * out_item)


# Small problems keep the GIL: giving it back costs as much as they do.

cdef void fold(cnp.ndarray x, cnp.ndarray out, reduce_block block, reduce_block join,
               double scale):
    cdef Job job
    cdef Py_ssize_t outer = cnp.PyArray_DIM(x, 0)
    cdef char *target = cnp.PyArray_BYTES(out)
    prepare(&job, x, block)
    if outer * job.n * job.inner <= CHUNK:
        fold_levels(&job, outer, target, join, scale)
    else:
        with nogil:
            fold_levels(&job, outer, target, join, scale)


cdef void fold_pairs(cnp.ndarray x, cnp.ndarray out, reduce_block block, reduce_join join,
                     Py_ssize_t second_item):
    cdef Job job
    cdef Py_ssize_t outer = cnp.PyArray_DIM(x, 0), out_item = cnp.PyArray_ITEMSIZE(out)
    cdef char *target = cnp.PyArray_BYTES(out)
    prepare(&job, x, block)
    job.second_item = second_item
    if outer * job.n * job.inner <= CHUNK:
        fold_pairs_levels(&job, outer, target, out_item, join)
    else:
        with nogil:
            fold_pairs_levels(&job, outer, target, out_item, join)


cdef void scan(cnp.ndarray x, cnp.ndarray out, reduce_block block):
    cdef Job job
    prepare(&job, x, block)
    job.out = cnp.PyArray_BYTES(out)
    job.rows = job.n
    job.blocks = 1
    job.scans = True
    with nogil:
        run(&job, cnp.PyArray_DIM(x, 0))


def sum(cnp.ndarray x, cnp.ndarray out, double scale):
    """Write ``scale * sum_r x[:, r]``."""
    fold(x, out, kernels(x).sum, kernels(x).sum, scale)


def sum_squares(cnp.ndarray x, cnp.ndarray out):
    """Write ``sum_r x[:, r]^2``."""
    fold(x, out, kernels(x).sum_squares, kernels(x).sum, 1.0)


def prod(cnp.ndarray x, cnp.ndarray out):
    """Write ``prod_r x[:, r]``."""
    fold(x, out, kernels(x).prod, kernels(x).prod, 1.0)


def max(cnp.ndarray x, cnp.ndarray out):
    """Write the largest ``x[:, r]``; NaN wins."""
    fold(x, out, kernels(x).max, kernels(x).max, 1.0)


def min(cnp.ndarray x, cnp.ndarray out):
    """Write the smallest ``x[:, r]``; NaN wins."""
    fold(x, out, kernels(x).min, kernels(x).min, 1.0)


def argmax(cnp.ndarray x, cnp.ndarray out):
    """Write the first r of the largest ``x[:, r]``; a NaN counts as the largest."""
    fold_pairs(x, out, kernels(x).argmax, kernels(x).join_argmax, sizeof(int64_t))


def argmin(cnp.ndarray x, cnp.ndarray out):
    """Write the first r of the smallest ``x[:, r]``; a NaN counts as the smallest."""
    fold_pairs(x, out, kernels(x).argmin, kernels(x).join_argmin, sizeof(int64_t))


def logsumexp(cnp.ndarray x, cnp.ndarray out):
    """Write ``log sum_r exp(x[:, r])``; infinite maxima pass through."""
    fold_pairs(x, out, kernels(x).logsumexp, kernels(x).join_logsumexp, cnp.PyArray_ITEMSIZE(x))


def cumulative_sum(cnp.ndarray x, cnp.ndarray out):
    """Write the running sums ``out[:, r] = x[:, 0] + ... + x[:, r]``."""
    scan(x, out, kernels(x).cumulative_sum)


def cumulative_prod(cnp.ndarray x, cnp.ndarray out):
    """Write the running products ``out[:, r] = x[:, 0] ... x[:, r]``."""
    scan(x, out, kernels(x).cumulative_prod)
