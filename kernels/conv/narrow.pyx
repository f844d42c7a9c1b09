"""Convolution to few channels, and the input gradient of first layers; equations in reference.py.

Where an output pixel has fewer channels than half a vector, the channels that are summed over are
the vector instead: the lanes add up once per output. Loops, outside in: images and pieces of output
rows, of columns as well where rows are few (chunks over threads) > rows of outputs > blocks of
pixels along the row > phases of the stride (see lines.pxd) > blocks of output channels > rows of
the kernel > its columns > vectors of channels.

Every sum runs in an order that depends on its place alone.
Bytes: x and out once; the rows that a kernel shares come from L2, weights from L1.
Source: see narrow.inc; for the sum of lanes Hacker's Delight, Warren 2012, section 7-3.
"""

cimport numpy as cnp
from libc.string cimport memset
from medai_engine.kernels.conv.cuts cimport ALONE, CHUNKS, ceil_div, cut, spread
from medai_engine.kernels.conv.lines cimport (
    Lines, Phase, conv_ahead, conv_line, conv_row, fill_lines, list_rows)
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport scratch

cnp.import_array()

__all__ = ["is_narrow", "narrow"]

cdef extern from "narrow.h":
    struct narrow_kernels:
        void *outputs
        void *pack
        Py_ssize_t width
        const Py_ssize_t *pixels
    const narrow_kernels *const narrow_kernels_table[3][2]

ctypedef void (*outputs_fn)(
    Py_ssize_t m, Py_ssize_t q, Py_ssize_t channels, const conv_row *rows, Py_ssize_t count,
    const conv_line *line, Py_ssize_t first, const void *x, const void *w, Py_ssize_t next_q,
    void *c, Py_ssize_t ldc, const void *bias, const conv_ahead *ahead) noexcept nogil
ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil


cdef struct Narrow:
    const narrow_kernels *kernels
    Lines lines
    Py_ssize_t size, ci, co             # of an element; channels of x, of out
    Py_ssize_t tap, next_q              # elements of weight between positions, output channels
    Py_ssize_t parts, pieces, segments  # of all rows; blocks of a row, and ranges of them
    const char *x
    const char *weight
    const char *bias
    char *c


cdef void rows_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some rows of outputs."""
    cdef Narrow *p = <Narrow *>ctx
    cdef Lines *lines = &p.lines
    cdef Py_ssize_t row, count, piece, phase, start, m, column, at, q, j, size = p.size
    cdef Py_ssize_t rows = lines.N * lines.out[0] * lines.out[1]
    cdef Py_ssize_t blocks = ceil_div(p.co, 4), block
    cdef Py_ssize_t part = chunk // p.segments, segment = chunk % p.segments
    cdef conv_row *list = <conv_row *>scratch(0, lines.T * sizeof(conv_row))
    cdef conv_line line
    cdef conv_ahead ahead
    cdef const Phase *f
    line.columns, line.pixel = lines.source[2], p.ci
    ahead.row = lines.source[2] * p.ci
    for row in range(cut(rows, p.parts, part), cut(rows, p.parts, part + 1)):
        count = list_rows(lines, row, p.ci, p.tap, list)
        for piece in range(cut(p.pieces, p.segments, segment),
                           cut(p.pieces, p.segments, segment + 1)):
            for phase in range(lines.phases[2]):
                f = lines.phase[2] + phase
                start = cut(f.count, p.pieces, piece)
                m = cut(f.count, p.pieces, piece + 1) - start
                if not m:
                    continue
                line.taps, line.reach, line.step = f.taps, f.reach, f.source_step
                line.tap = f.tap_step * p.tap
                column = f.source + start * f.source_step
                ahead.rows = lines.phase[1].source_step if count and not phase else 0
                ahead.columns = m * f.source_step
                if count:
                    ahead.x = p.x + (list[count - 1].x + ahead.row + column * p.ci) * size
                at = (row * lines.out[2] + f.first + start * f.step) * p.co
                for block in range(blocks):
                    j = cut(p.co, blocks, block)
                    q = cut(p.co, blocks, block + 1) - j
                    (<outputs_fn>p.kernels.outputs)(
                        m, q, p.ci, list, count, &line, column, p.x,
                        p.weight + (f.tap * p.tap + j * p.next_q) * size, p.next_q,
                        p.c + (at + j) * size, f.step * p.co, p.bias + j * size if p.bias else NULL,
                        &ahead)
                    ahead.rows = 0


cdef void run(Narrow *p) noexcept nogil:
    cdef Py_ssize_t rows = p.lines.N * p.lines.out[0] * p.lines.out[1]
    cdef double work = <double>rows * p.lines.out[2] * p.lines.T * p.ci * p.co
    cdef Py_ssize_t chunks = max(1, min(<Py_ssize_t>(work / ALONE), 4 * CHUNKS))
    cdef Py_ssize_t longest = p.kernels.pixels[ceil_div(p.co, ceil_div(p.co, 4))]
    p.pieces = ceil_div(p.lines.phase[2].count, longest)
    p.parts = min(rows, chunks)
    p.segments = min(p.pieces, ceil_div(chunks, p.parts))
    spread(rows_chunk, p, p.parts * p.segments, work < ALONE)


cdef inline const narrow_kernels *kernels_of(cnp.ndarray x) noexcept:
    return narrow_kernels_table[isa.level][cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE]


def is_narrow(cnp.ndarray x, cnp.ndarray out):
    """Tell whether few enough channels are written, and enough summed over."""
    cdef Py_ssize_t width = kernels_of(x).width
    return 2 * cnp.PyArray_DIM(out, 4) <= width and cnp.PyArray_DIM(x, 4) >= width


def narrow(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride, tuple padding,
           tuple dilation, bint gradient):
    """Write the convolution of x, or the gradient of the input from x as that of the output."""
    cdef Narrow p
    cdef Py_ssize_t lanes, row
    cdef char *packed
    memset(&p, 0, sizeof(Narrow))
    p.kernels = kernels_of(x)
    p.size = 8 if cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE else 4
    p.ci, p.co = cnp.PyArray_DIM(x, 4), cnp.PyArray_DIM(out, 4)
    fill_lines(&p.lines, x, out, weight, stride, padding, dilation, gradient)
    p.x, p.c = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(out)
    p.weight, p.bias = cnp.PyArray_BYTES(weight), NULL if bias is None else cnp.PyArray_BYTES(bias)
    with nogil:
        if gradient:        # packed[kernel position][channel written][channel summed over]
            lanes, row = ceil_div(p.ci, p.kernels.width) * p.kernels.width, p.lines.T * p.co
            packed = <char *>scratch(2, row * lanes * p.size)
            (<pack_fn>p.kernels.pack)(p.weight, row, row, p.ci, lanes, packed)
            p.weight, p.tap, p.next_q = packed, p.co * lanes, lanes
        else:
            p.tap, p.next_q = p.ci, p.lines.T * p.ci
        run(&p)
