"""One step of every optimiser in one pass over all segments; equations in reference.py.

Order: the segments stand in one row, each rounded up to whole cache lines, and the row is cut into
chunks of CHUNK elements: one large matrix and a hundred small vectors share the work evenly. A
rule reads and writes an element's parameter, gradient and states in one sweep (optimizer.inc).
A gradient given by its factors is computed in blocks of ROWS rows and about COLUMNS columns, which
the rule takes from the cache: it is never written to memory. Its sums are one chain each, as in
gemm (fast.pyx there): the bits are those of the product and the step one after the other.
A row of `hyper` becomes scalars once per segment, or once in all where the rows are equal.
Nothing is allocated and no Python object made: at the size of a small network the call is the cost.
Bytes: every array once in, every written one once out. Source: see reference.py.
"""

from cpython.object cimport PyObject
from libc.string cimport memcmp, memcpy, memset
from numpy cimport (
    NPY_DOUBLE,
    PyArray_DATA,
    PyArray_DIM,
    PyArray_SIZE,
    PyArray_TYPE,
    import_array,
    ndarray,
)

from ..simd cimport isa
from ..threads.pool cimport parallel_for, scratch
from .scalars cimport (
    adadelta_scalars,
    adagrad_scalars,
    adam_scalars,
    adamax_scalars,
    average,
    lion_scalars,
    nadam_scalars,
    radam_scalars,
    rmsprop_scalars,
    sgd_scalars,
)

import_array()

__all__ = [
    "adadelta_step",
    "adagrad_step",
    "adam_step",
    "adamax_step",
    "ema_step",
    "lion_step",
    "nadam_step",
    "radam_step",
    "rmsprop_step",
    "segments_clip",
    "segments_scale",
    "segments_sum_squares",
    "sgd_step",
]

cdef extern from "Python.h":
    Py_ssize_t PySequence_Fast_GET_SIZE(object items)
    PyObject **PySequence_Fast_ITEMS(object items)

cdef extern from "optimizer.h" nogil:
    enum: RATE, LOW, HIGH, SCALARS
    enum: SGD, ADAM, NADAM, RADAM, RMSPROP, ADAGRAD, ADADELTA, ADAMAX, LION, EMA, SCALE, CLIP
    struct segment:
        void **array
        Py_ssize_t size
        Py_ssize_t first
        const void *left
        const void *right
        Py_ssize_t K, M, N
        double *scalar
    ctypedef void (*rule_fn)(const segment *, Py_ssize_t, Py_ssize_t)
    ctypedef double (*sum_fn)(const segment *, Py_ssize_t, Py_ssize_t)
    struct optimizer_kernels:
        rule_fn *rule
        sum_fn sum_squares
        void *tile
        Py_ssize_t mr, nr
    const optimizer_kernels *optimizer_kernels_table[][2]

ctypedef void (*tile_fn)(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t kc, const void *l, Py_ssize_t lis, Py_ssize_t lks,
    const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc, int accumulate, const void *bias,
    const void *ahead, Py_ssize_t ahead_step) noexcept nogil
ctypedef void (*scalars_fn)(const double *row, double *s) noexcept nogil

cdef enum:
    CHUNK = 16384
    LINE = 16  # elements that a segment's place in the row is rounded up to: a cache line or two
    ROWS = 96  # of a block of a product: with its columns it fits into L2
    COLUMNS = 1024

cdef struct Table:
    segment *segments
    Py_ssize_t count
    Py_ssize_t total  # elements of the row
    Py_ssize_t blocks  # of products
    Py_ssize_t size   # bytes of an element
    const optimizer_kernels *kernels
    rule_fn rule
    double *partial   # a sum per chunk


cdef void gather(Table *table, object arrays, int slot):
    """Put the data pointers of one list into the table; the first list also brings the sizes."""
    cdef Py_ssize_t i, n = PySequence_Fast_GET_SIZE(arrays)
    cdef PyObject **items = PySequence_Fast_ITEMS(arrays)
    cdef bint is_double
    cdef segment *s
    if slot == 0:
        table.count = n
        table.segments = <segment *>scratch(2, n * sizeof(segment))
        if n:
            is_double = PyArray_TYPE(<ndarray>items[0]) == NPY_DOUBLE
            table.size = 8 if is_double else 4
            table.kernels = optimizer_kernels_table[isa.level][is_double]
        for i in range(n):
            table.segments[i].size = PyArray_SIZE(<ndarray>items[i])
            table.segments[i].left = NULL
    for i in range(table.count):
        s = &table.segments[i]
        if n == 0 or <object>items[i] is None:
            s.array[slot] = NULL
        elif type(<object>items[i]) is tuple:
            factors(s, <tuple>items[i])
        else:
            s.array[slot] = PyArray_DATA(<ndarray>items[i])


cdef void factors(segment *s, tuple pair) noexcept:
    """Note a gradient that is given as (left, right): left^T right."""
    cdef ndarray left = pair[0], right = pair[1]
    s.left, s.right = PyArray_DATA(left), PyArray_DATA(right)
    s.K, s.M, s.N = PyArray_DIM(left, 0), PyArray_DIM(left, 1), PyArray_DIM(right, 1)


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t width(const Table *table, const segment *s) noexcept nogil:
    """Return the columns of a block of a product: all, or near equal parts, in whole panels."""
    if s.N <= COLUMNS:
        return s.N
    return ceil_div(ceil_div(s.N, ceil_div(s.N, COLUMNS)), table.kernels.nr) * table.kernels.nr


cdef void lay_out(Table *table) noexcept:
    """Give the segments their places in the row, and count the blocks of products."""
    cdef Py_ssize_t i
    cdef segment *s
    table.total = table.blocks = 0
    for i in range(table.count):
        s = &table.segments[i]
        s.first = table.total
        if s.left:
            table.blocks += ceil_div(s.M, ROWS) * ceil_div(s.N, width(table, s))
        else:
            table.total += ceil_div(s.size, LINE) * LINE


cdef void fill_scalars(Table *table, object hyper, scalars_fn scalars) noexcept:
    cdef Py_ssize_t i, k = PyArray_DIM(<ndarray>hyper, 1)
    cdef const double *rows = <const double *>PyArray_DATA(<ndarray>hyper)
    for i in range(table.count):
        if i and memcmp(rows + i * k, rows + (i - 1) * k, k * sizeof(double)) == 0:
            memcpy(table.segments[i].scalar, table.segments[i - 1].scalar,
                   SCALARS * sizeof(double))
        else:
            scalars(rows + i * k, table.segments[i].scalar)


cdef Py_ssize_t segment_at(const Table *table, Py_ssize_t place) noexcept nogil:
    """Return the last segment that starts at or before `place` of the row."""
    cdef Py_ssize_t low = 0, high = table.count, middle
    while high - low > 1:
        middle = (low + high) // 2
        if table.segments[middle].first <= place:
            low = middle
        else:
            high = middle
    return low


cdef void rule_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Table *table = <const Table *>ctx
    cdef Py_ssize_t begin = chunk * CHUNK, end = min(begin + CHUNK, table.total)
    cdef Py_ssize_t i = segment_at(table, begin)
    cdef const segment *s
    while i < table.count and table.segments[i].first < end:
        s = &table.segments[i]
        if not s.left:
            table.rule(s, max(begin - s.first, 0), min(end - s.first, s.size))
        i += 1


cdef void block_chunk(const Table *table, Py_ssize_t chunk) noexcept nogil:
    """Compute a block of a product, and take the rule over it."""
    cdef Py_ssize_t i, j, k, m, n, w, across, height, i0, j0, nr = table.kernels.nr
    cdef Py_ssize_t size = table.size, number = 0
    cdef segment s
    while True:
        s = table.segments[number]
        if s.left:
            w = width(table, &s)
            across = ceil_div(s.N, w)
            if chunk < ceil_div(s.M, ROWS) * across:
                break
            chunk -= ceil_div(s.M, ROWS) * across
        number += 1
    i0, j0 = chunk // across * ROWS, chunk % across * w
    m, n = min(ROWS, s.M - i0), min(w, s.N - j0)
    height = ceil_div(m, ceil_div(m, table.kernels.mr))
    cdef char *block = <char *>scratch(1, (m * w + s.K * (ROWS + nr)) * size)
    cdef char *left = block + m * w * size  # K x ROWS
    cdef char *panel = left + s.K * ROWS * size  # K x NR
    for k in range(s.K):
        memcpy(left + k * ROWS * size, <const char *>s.left + (k * s.M + i0) * size, m * size)
    if n % nr:
        memset(panel, 0, s.K * nr * size)  # a tile reads whole vectors
    for j from 0 <= j < n by nr:
        for k in range(s.K):
            memcpy(panel + k * nr * size, <const char *>s.right + (k * s.N + j0 + j) * size,
                   min(nr, n - j) * size)
        for i from 0 <= i < m by height:
            (<tile_fn>table.kernels.tile)(
                min(height, m - i), min(nr, n - j), s.K, left + i * size, 1, ROWS, panel, nr,
                block + (i * w + j) * size, w, False, NULL, panel, 0)
    if w == s.N:  # its rows follow each other
        m, n = 1, m * n
    for i in range(m):
        k = (i0 + i) * s.N + j0
        s.array[1] = block + (i * w - k) * size  # so that element k is the block's
        table.rule(&s, k, k + n)


cdef void step_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Table *table = <const Table *>ctx
    if chunk < table.blocks:
        block_chunk(table, chunk)
    else:
        rule_chunk(ctx, chunk - table.blocks, worker)


cdef void sum_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Table *table = <const Table *>ctx
    cdef Py_ssize_t begin = chunk * CHUNK, end = min(begin + CHUNK, table.total)
    cdef Py_ssize_t i = segment_at(table, begin)
    cdef const segment *s
    cdef double total = 0
    while i < table.count and table.segments[i].first < end:
        s = &table.segments[i]
        total += table.kernels.sum_squares(s, max(begin - s.first, 0), min(end - s.first, s.size))
        i += 1
    table.partial[chunk] = total


cdef void run(Table *table, int rule) noexcept:
    if table.count == 0:
        return
    lay_out(table)
    table.rule = table.kernels.rule[rule]
    if not table.blocks and table.total <= CHUNK:
        rule_chunk(table, 0, 0)
    else:
        with nogil:
            parallel_for(step_chunk, table, table.blocks + ceil_div(table.total, CHUNK))


# The kernels ------------------------------------------------------------------------------------

def sgd_step(params, grads, buffers, hyper):
    cdef Table table
    gather(&table, params, 0)
    gather(&table, grads, 1)
    gather(&table, buffers, 2)
    fill_scalars(&table, hyper, sgd_scalars)
    run(&table, SGD)


def adam_step(params, grads, means, squares, tops, hyper):
    cdef Table table
    gather(&table, params, 0)
    gather(&table, grads, 1)
    gather(&table, means, 2)
    gather(&table, squares, 3)
    gather(&table, tops, 4)
    fill_scalars(&table, hyper, adam_scalars)
    run(&table, ADAM)


def nadam_step(params, grads, means, squares, hyper):
    cdef Table table
    gather(&table, params, 0)
    gather(&table, grads, 1)
    gather(&table, means, 2)
    gather(&table, squares, 3)
    fill_scalars(&table, hyper, nadam_scalars)
    run(&table, NADAM)


def radam_step(params, grads, means, squares, hyper):
    cdef Table table
    gather(&table, params, 0)
    gather(&table, grads, 1)
    gather(&table, means, 2)
    gather(&table, squares, 3)
    fill_scalars(&table, hyper, radam_scalars)
    run(&table, RADAM)


def rmsprop_step(params, grads, squares, centres, buffers, hyper):
    cdef Table table
    gather(&table, params, 0)
    gather(&table, grads, 1)
    gather(&table, squares, 2)
    gather(&table, centres, 3)
    gather(&table, buffers, 4)
    fill_scalars(&table, hyper, rmsprop_scalars)
    run(&table, RMSPROP)


def adagrad_step(params, grads, sums, hyper):
    cdef Table table
    gather(&table, params, 0)
    gather(&table, grads, 1)
    gather(&table, sums, 2)
    fill_scalars(&table, hyper, adagrad_scalars)
    run(&table, ADAGRAD)


def adadelta_step(params, grads, squares, deltas, hyper):
    cdef Table table
    gather(&table, params, 0)
    gather(&table, grads, 1)
    gather(&table, squares, 2)
    gather(&table, deltas, 3)
    fill_scalars(&table, hyper, adadelta_scalars)
    run(&table, ADADELTA)


def adamax_step(params, grads, means, norms, hyper):
    cdef Table table
    gather(&table, params, 0)
    gather(&table, grads, 1)
    gather(&table, means, 2)
    gather(&table, norms, 3)
    fill_scalars(&table, hyper, adamax_scalars)
    run(&table, ADAMAX)


def lion_step(params, grads, means, hyper):
    cdef Table table
    gather(&table, params, 0)
    gather(&table, grads, 1)
    gather(&table, means, 2)
    fill_scalars(&table, hyper, lion_scalars)
    run(&table, LION)


def ema_step(averages, params, double decay):
    cdef Table table
    cdef Py_ssize_t i
    gather(&table, averages, 0)
    gather(&table, params, 1)
    for i in range(table.count):
        average(table.segments[i].scalar, decay, decay)
    run(&table, EMA)


def segments_scale(arrays, double factor):
    cdef Table table
    cdef Py_ssize_t i
    gather(&table, arrays, 0)
    for i in range(table.count):
        table.segments[i].scalar[RATE] = factor
    run(&table, SCALE)


def segments_clip(arrays, double low, double high):
    cdef Table table
    cdef Py_ssize_t i
    gather(&table, arrays, 0)
    for i in range(table.count):
        table.segments[i].scalar[LOW] = low
        table.segments[i].scalar[HIGH] = high
    run(&table, CLIP)


def segments_sum_squares(arrays, out):
    cdef Table table
    cdef Py_ssize_t i, chunks
    cdef double total = 0
    gather(&table, arrays, 0)
    lay_out(&table)
    chunks = ceil_div(table.total, CHUNK)
    table.partial = <double *>scratch(3, chunks * sizeof(double))
    if chunks == 1:
        sum_chunk(&table, 0, 0)
    else:
        with nogil:
            parallel_for(sum_chunk, &table, chunks)
    for i in range(chunks):
        total += table.partial[i]
    (<double *>PyArray_DATA(<ndarray>out))[0] = total
