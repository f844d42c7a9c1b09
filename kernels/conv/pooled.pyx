"""Max pooling beside convolution: rows in cache are pooled, and pooled gradients expanded to rows.

    conv_pool_grad_bias: out[f] = sum of g[., f], in the order of the sum over full resolution

The convolution's full resolution is never in memory: direct.pyx pools what it has just computed,
and its gradients (grad_weight.pyx as well) read rows that unpool_row has just written. Of the
gradient of the bias the reduce kernel's blocks are expanded one by one, so that its bits are those
of a sum over the expanded array.
Bytes: g and its places once. Source: see reference.py.
"""

cimport numpy as cnp
from libc.stdint cimport uint8_t
from libc.string cimport memset
from medai_engine.kernels.conv.cuts cimport ALONE, spread
from medai_engine.kernels.reduce.fast cimport block_rows, sum_rows
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport scratch

cnp.import_array()

__all__ = ["conv_pool_grad_bias", "pool_images", "unpool_images"]

cdef extern from "pooled.h":
    struct pooled_kernels:
        void *pool
        void *unpool
    const pooled_kernels *const pooled_kernels_table[3][2]

ctypedef void (*pool_fn)(
    const void *x, Py_ssize_t plane, Py_ssize_t row, Py_ssize_t pixel, const Py_ssize_t *window,
    Py_ssize_t outputs, Py_ssize_t n, void *y, uint8_t *index, Py_ssize_t ldy) noexcept nogil
ctypedef void (*unpool_fn)(
    const void *g, const uint8_t *index, Py_ssize_t ldg, Py_ssize_t outputs, Py_ssize_t window,
    Py_ssize_t place, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil


cdef void fill_pooled(Pooled *p, cnp.ndarray g, cnp.ndarray index, tuple window, tuple sizes):
    cdef int i
    p.is_double = cnp.PyArray_TYPE(g) == cnp.NPY_DOUBLE
    p.size = 8 if p.is_double else 4
    p.g, p.index = cnp.PyArray_BYTES(g), <const uint8_t *>cnp.PyArray_DATA(index)
    for i in range(3):
        p.window[i], p.sizes[i] = window[i], sizes[i]
        p.outputs[i] = cnp.PyArray_DIM(g, i + 1)
    p.channels = cnp.PyArray_DIM(g, 4)


cdef void unpool_row(const Pooled *p, Py_ssize_t image, Py_ssize_t d, Py_ssize_t h,
                     Py_ssize_t start, Py_ssize_t stop, Py_ssize_t channel, Py_ssize_t n,
                     Py_ssize_t width, char *out) noexcept nogil:
    cdef Py_ssize_t a = d // p.window[0], b = h // p.window[1], at
    if a >= p.outputs[0] or b >= p.outputs[1]:
        memset(out, 0, (stop - start) * width * p.size)
        return
    at = ((image * p.outputs[0] + a) * p.outputs[1] + b) * p.outputs[2] * p.channels + channel
    (<unpool_fn>pooled_kernels_table[isa.level][p.is_double].unpool)(
        p.g + at * p.size, p.index + at, p.channels, p.outputs[2], p.window[2],
        (d % p.window[0] * p.window[1] + h % p.window[1]) * p.window[2], start, stop, n, width, out)


cdef void unpool_pixels(const Pooled *p, Py_ssize_t pixel, Py_ssize_t count, Py_ssize_t channel,
                        Py_ssize_t n, Py_ssize_t width, char *out) noexcept nogil:
    cdef Py_ssize_t D = p.sizes[0], H = p.sizes[1], W = p.sizes[2], row, column, here
    while count > 0:
        row, column = pixel // W, pixel % W
        here = min(W - column, count)
        unpool_row(p, row // H // D, row // H % D, row % H, column, column + here, channel, n,
                   width, out)
        out += here * width * p.size
        pixel += here
        count -= here


cdef void pool_row(bint is_double, const char *x, Py_ssize_t plane, Py_ssize_t row,
                   Py_ssize_t pixel, const Py_ssize_t *window, Py_ssize_t outputs, Py_ssize_t n,
                   char *y, uint8_t *index, Py_ssize_t ldy) noexcept nogil:
    (<pool_fn>pooled_kernels_table[isa.level][is_double].pool)(
        x, plane, row, pixel, window, outputs, n, y, index, ldy)


cdef struct Images:
    Pooled pooled
    char *full                  # (N, sizes, channels)


cdef void pool_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """A row of outputs."""
    cdef Images *s = <Images *>ctx
    cdef Pooled *p = &s.pooled
    cdef Py_ssize_t b = chunk % p.outputs[1], rest = chunk // p.outputs[1]
    cdef Py_ssize_t a = rest % p.outputs[0], image = rest // p.outputs[0]
    cdef Py_ssize_t row = p.sizes[2] * p.channels, plane = p.sizes[1] * row
    cdef Py_ssize_t at = chunk * p.outputs[2] * p.channels
    pool_row(p.is_double, s.full + ((image * p.sizes[0] + a * p.window[0]) * plane
                                    + b * p.window[1] * row) * p.size,
             plane, row, p.channels, p.window, p.outputs[2], p.channels, <char *>p.g + at * p.size,
             <uint8_t *>p.index + at, p.channels)


cdef void unpool_chunk(void *ctx, Py_ssize_t row, int worker) noexcept nogil:
    """A row of full resolution."""
    cdef Images *s = <Images *>ctx
    cdef Pooled *p = &s.pooled
    unpool_pixels(p, row * p.sizes[2], p.sizes[2], 0, p.channels, p.channels,
                  s.full + row * p.sizes[2] * p.channels * p.size)


cdef tuple sizes_of(cnp.ndarray full):
    return cnp.PyArray_DIM(full, 1), cnp.PyArray_DIM(full, 2), cnp.PyArray_DIM(full, 3)


def pool_images(cnp.ndarray full, cnp.ndarray y, cnp.ndarray index, tuple pool):
    """Write the maxima of windows, and their places."""
    cdef Images s
    fill_pooled(&s.pooled, y, index, pool, sizes_of(full))
    s.full = cnp.PyArray_BYTES(full)
    with nogil:
        spread(pool_chunk, &s, cnp.PyArray_DIM(y, 0) * s.pooled.outputs[0] * s.pooled.outputs[1],
               cnp.PyArray_SIZE(full) < ALONE // 16)


def unpool_images(cnp.ndarray g, cnp.ndarray index, cnp.ndarray full, tuple pool):
    """Write the gradient before the pooling."""
    cdef Images s
    fill_pooled(&s.pooled, g, index, pool, sizes_of(full))
    s.full = cnp.PyArray_BYTES(full)
    with nogil:
        spread(unpool_chunk, &s, cnp.PyArray_DIM(g, 0) * s.pooled.sizes[0] * s.pooled.sizes[1],
               cnp.PyArray_SIZE(full) < ALONE // 16)


cdef struct Sum:
    Pooled pooled
    Py_ssize_t pixels, rows     # of the batch, of a block of the sum
    char *blocks


cdef void sum_chunk(void *ctx, Py_ssize_t block, int worker) noexcept nogil:
    """Add some pixels, which may start and end within a row."""
    cdef Sum *s = <Sum *>ctx
    cdef Py_ssize_t first = block * s.rows, n = min(s.rows, s.pixels - first)
    cdef Py_ssize_t channels = s.pooled.channels, step = channels * s.pooled.size
    cdef char *pixels = <char *>scratch(0, n * step)
    unpool_pixels(&s.pooled, first, n, 0, channels, channels, pixels)
    sum_rows(s.pooled.is_double, pixels, n, channels, s.blocks + block * step)


def conv_pool_grad_bias(cnp.ndarray g, cnp.ndarray index, cnp.ndarray out, tuple pool,
                        tuple sizes):
    """Write the gradient of the bias."""
    cdef Sum s
    cdef Py_ssize_t blocks
    cdef int i
    cdef char *target = cnp.PyArray_BYTES(out)
    fill_pooled(&s.pooled, g, index, pool, sizes)
    s.pixels = cnp.PyArray_DIM(g, 0)
    for i in range(3):
        s.pixels *= s.pooled.sizes[i]
    s.rows = block_rows(s.pooled.channels)
    blocks = (s.pixels + s.rows - 1) // s.rows
    with nogil:
        s.blocks = target
        if blocks > 1:
            s.blocks = <char *>scratch(3, blocks * s.pooled.channels * s.pooled.size)
        spread(sum_chunk, &s, blocks, s.pixels * s.pooled.channels < ALONE // 16)
        if blocks > 1:
            sum_rows(s.pooled.is_double, s.blocks, blocks, s.pooled.channels, target)
