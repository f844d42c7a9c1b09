"""Depthwise convolution and narrow groups, and the gradients; equations in reference.py.

Where each channel meets its own filter, channels are the vector, and an output costs as many
multiply-adds as the kernel has positions: what counts is memory. Groups of a few channels, as many
written as read, are the same with a sum over the channels of the group, which one instruction
spreads over its lanes. Loops, outside in: images and pieces of output rows, of columns as well
where rows are few (chunks over threads) > rows of outputs > blocks of outputs along the row >
vectors of channels > rows of the kernel > its columns, where a column of x in a register serves the
outputs of all taps that meet it. What the next row of outputs will touch is fetched meanwhile.

For the input gradient of stride s the outputs of an axis fall into s phases that meet different
taps; each phase is a convolution of stride 1, so no zeros are multiplied. The weight gradient keeps
a block of g in registers and adds to the sums of all taps, which stay in L1; chunks have their own
sums, added in order.

Every sum runs in an order that depends on its place alone (or, for the weight, on the shape).
Bytes: x and out once; the rows that a kernel shares come from L2. Source: Zhang, Lo & Lu,
"High performance depthwise and pointwise convolutions on mobile devices", AAAI 2020.
"""

cimport numpy as cnp
from libc.string cimport memset
from medai_engine.kernels.conv.cuts cimport ALONE, CHUNKS, ceil_div, cut, spread
from medai_engine.kernels.conv.lines cimport (
    Lines, Phase, conv_ahead, conv_line, conv_row, fill_lines, list_rows)
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport scratch

cnp.import_array()

__all__ = ["depthwise", "depthwise_grad_weight", "is_depthwise"]

cdef extern from "depthwise.h":
    struct depthwise_kernels:
        void *outputs
        void *weights
        void *add_parts
        void *pack
        void *pack_groups
        Py_ssize_t width, longest, quick
    const depthwise_kernels *const depthwise_kernels_table[3][2]

ctypedef void (*outputs_fn)(
    Py_ssize_t m, Py_ssize_t n, const conv_row *rows, Py_ssize_t count, const conv_line *line,
    Py_ssize_t first, const void *x, const void *w, void *c, Py_ssize_t ldc, const void *bias,
    const conv_ahead *ahead) noexcept nogil
ctypedef void (*weights_fn)(
    Py_ssize_t m, Py_ssize_t n, const conv_row *rows, Py_ssize_t count, const conv_line *line,
    Py_ssize_t first, const void *x, void *w, const void *g, Py_ssize_t ldg,
    const conv_ahead *ahead) noexcept nogil
ctypedef void (*groups_fn)(
    const void *weight, Py_ssize_t taps, Py_ssize_t depth, Py_ssize_t n, Py_ssize_t lanes,
    void *out) noexcept nogil
ctypedef void (*add_fn)(
    const void *sums, Py_ssize_t parts, Py_ssize_t taps, Py_ssize_t n, Py_ssize_t lanes,
    void *out) noexcept nogil
ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil


cdef struct Depth:
    const depthwise_kernels *kernels
    Lines lines
    Py_ssize_t size, C, lanes           # of an element; channels; the same in whole vectors
    Py_ssize_t depth, filter            # channels of a group; values that a channel's filter has
    bint gradient
    const char *x
    const char *g                       # for the weight gradient
    const char *bias
    char *c
    char *packed                        # [kernel position][depth][lanes]
    char *sums                          # [chunk][kernel position][depth][lanes]
    Py_ssize_t parts, pieces, segments  # of all rows; blocks of a row, and ranges of them


cdef void rows_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some rows of outputs, or of g."""
    cdef Depth *p = <Depth *>ctx
    cdef Lines *lines = &p.lines
    cdef Py_ssize_t row, count, piece, phase, start, m, column, at, size = p.size
    cdef Py_ssize_t rows = lines.N * lines.out[0] * lines.out[1], row_step = lines.out[2] * p.C
    cdef Py_ssize_t tap = p.depth * p.lanes
    cdef Py_ssize_t part = chunk // p.segments, segment = chunk % p.segments
    cdef conv_row *list = <conv_row *>scratch(0, lines.T * sizeof(conv_row))
    cdef conv_line line
    cdef conv_ahead ahead
    cdef const Phase *f
    cdef const char *to = p.g if p.g else p.c
    cdef char *sums = NULL
    if p.g:
        sums = p.sums + chunk * p.filter * p.lanes * size
        memset(sums, 0, p.filter * p.lanes * size)
    line.columns, line.pixel = lines.source[2], p.C
    line.depth, line.lanes = p.depth, p.lanes
    ahead.row = lines.source[2] * p.C
    for row in range(cut(rows, p.parts, part), cut(rows, p.parts, part + 1)):
        count = list_rows(lines, row, p.C, tap, list)
        ahead.rows = lines.phase[1].source_step if count else 0
        for piece in range(cut(p.pieces, p.segments, segment),
                           cut(p.pieces, p.segments, segment + 1)):
            for phase in range(lines.phases[2]):
                f = lines.phase[2] + phase
                start = cut(f.count, p.pieces, piece)
                m = cut(f.count, p.pieces, piece + 1) - start
                if not m:
                    continue
                line.taps, line.reach, line.step = f.taps, f.reach, f.source_step
                line.tap = f.tap_step * tap
                column = f.source + start * f.source_step
                ahead.columns = m * f.source_step
                if count:
                    ahead.x = p.x + (list[count - 1].x + ahead.row + column * p.C) * size
                ahead.outputs = to + ((row + 1) * row_step
                                      + (start * f.step + phase * m) * p.C) * size
                at = row * row_step + (f.first + start * f.step) * p.C
                if p.g:
                    (<weights_fn>p.kernels.weights)(
                        m, p.C, list, count, &line, column, p.x, sums + f.tap * tap * size,
                        p.g + at * size, f.step * p.C, &ahead)
                else:
                    (<outputs_fn>p.kernels.outputs)(
                        m, p.C, list, count, &line, column, p.x,
                        p.packed + f.tap * tap * size, p.c + at * size, f.step * p.C, p.bias,
                        &ahead)


cdef void run(Depth *p, const char *weight) noexcept nogil:
    cdef Py_ssize_t T = p.lines.T, rows = p.lines.N * p.lines.out[0] * p.lines.out[1]
    cdef double work = <double>rows * p.lines.out[2] * p.filter * p.lanes
    # of the weight, each chunk has its own sums
    cdef Py_ssize_t chunks = max(1, min(<Py_ssize_t>(work / ALONE), CHUNKS if p.g else 4 * CHUNKS))
    p.pieces = ceil_div(p.lines.phase[2].count, p.kernels.longest)
    p.parts = min(rows, chunks)
    p.segments = min(p.pieces, ceil_div(chunks, p.parts))
    chunks = p.parts * p.segments
    if p.g:
        p.sums = <char *>scratch(2, chunks * p.filter * p.lanes * p.size)
    else:
        p.packed = <char *>scratch(2, p.filter * p.lanes * p.size)
        if p.gradient and p.depth > 1:
            (<groups_fn>p.kernels.pack_groups)(weight, T, p.depth, p.C, p.lanes, p.packed)
        else:
            (<pack_fn>p.kernels.pack)(weight, p.filter, p.filter, p.C, p.lanes, p.packed)
    spread(rows_chunk, p, chunks, work < ALONE)
    if p.g:
        (<add_fn>p.kernels.add_parts)(p.sums, chunks, p.filter, p.C, p.lanes, p.c)


cdef inline const depthwise_kernels *kernels_of(cnp.ndarray x) noexcept:
    return depthwise_kernels_table[isa.level][cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE]


def is_depthwise(cnp.ndarray x, cnp.ndarray y, Py_ssize_t groups):
    """Tell whether a group has one channel, or as few as a vector has lanes, of x and y alike."""
    cdef Py_ssize_t C = cnp.PyArray_DIM(x, 4), depth = C // groups
    cdef const depthwise_kernels *kernels = kernels_of(x)
    if groups == 1 or cnp.PyArray_DIM(y, 4) != C:
        return False
    return depth == 1 or bool(kernels.quick and C >= kernels.width
                              and depth < kernels.width and kernels.width % depth == 0)


cdef void fill(Depth *p, cnp.ndarray x, cnp.ndarray y, cnp.ndarray weight, tuple stride,
               tuple padding, tuple dilation, bint gradient):
    memset(p, 0, sizeof(Depth))
    p.kernels = kernels_of(x)
    p.size = 8 if cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE else 4
    p.C = cnp.PyArray_DIM(x, 4)
    p.lanes = ceil_div(p.C, p.kernels.width) * p.kernels.width
    p.x = cnp.PyArray_BYTES(x)
    fill_lines(&p.lines, x, y, weight, stride, padding, dilation, gradient)
    p.depth, p.gradient = cnp.PyArray_DIM(weight, 4), gradient
    p.filter = p.lines.T * p.depth


def depthwise(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride,
              tuple padding, tuple dilation, bint gradient):
    """Write the convolution of x, or the gradient of the input from x as that of the output."""
    cdef Depth p
    fill(&p, x, out, weight, stride, padding, dilation, gradient)
    p.c, p.bias = cnp.PyArray_BYTES(out), NULL if bias is None else cnp.PyArray_BYTES(bias)
    with nogil:
        run(&p, cnp.PyArray_BYTES(weight))


def depthwise_grad_weight(cnp.ndarray x, cnp.ndarray g, cnp.ndarray out, tuple stride,
                          tuple padding, tuple dilation):
    """Write the gradient of the weight."""
    cdef Depth p
    fill(&p, x, g, out, stride, padding, dilation, False)
    p.g, p.c = cnp.PyArray_BYTES(g), cnp.PyArray_BYTES(out)
    with nogil:
        run(&p, NULL)
