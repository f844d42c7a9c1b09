"""Depthwise convolution and its gradients; equations in reference.py.

Each channel meets its own filter, so channels are the vector, and an output costs as many
multiply-adds as the kernel has positions: what counts is memory. Loops, outside in: images and
pieces of output rows (chunks over threads) > rows of outputs > blocks of outputs along the row >
vectors of channels > rows of the kernel > its columns, where a column of x in a register serves
the outputs of all taps that meet it. What the next row of outputs will touch is fetched meanwhile.

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
from medai_engine.kernels.conv.cuts cimport ALONE, CHUNKS, ceil_div, cut, floor_div, spread
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport scratch

cnp.import_array()

__all__ = ["depthwise", "depthwise_grad_weight"]

cdef extern from "depthwise.h":
    struct depth_row:
        Py_ssize_t x, weight
    struct depth_line:
        Py_ssize_t columns, pixel, taps, reach, step, tap
    struct depth_ahead:
        const void *x
        const void *outputs
        Py_ssize_t rows, row, columns
    struct depthwise_kernels:
        void *outputs
        void *weights
        void *add_parts
        void *pack
        Py_ssize_t width, longest
    const depthwise_kernels *const depthwise_kernels_table[3][2]

ctypedef void (*outputs_fn)(
    Py_ssize_t m, Py_ssize_t n, const depth_row *rows, Py_ssize_t count, const depth_line *line,
    Py_ssize_t first, const void *x, const void *w, void *c, Py_ssize_t ldc, const void *bias,
    const depth_ahead *ahead) noexcept nogil
ctypedef void (*weights_fn)(
    Py_ssize_t m, Py_ssize_t n, const depth_row *rows, Py_ssize_t count, const depth_line *line,
    Py_ssize_t first, const void *x, void *w, const void *g, Py_ssize_t ldg,
    const depth_ahead *ahead) noexcept nogil
ctypedef void (*add_fn)(
    const void *sums, Py_ssize_t parts, Py_ssize_t taps, Py_ssize_t n, Py_ssize_t lanes,
    void *out) noexcept nogil
ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil


cdef struct Phase:
    # output first + i * step (i < count) reads source + i * source_step + t * reach with kernel
    # position tap + t * tap_step, t < taps
    Py_ssize_t first, step, count, source, source_step, reach, tap, tap_step, taps


cdef struct Depth:
    const depthwise_kernels *kernels
    Py_ssize_t size, C, lanes           # of an element; channels; the same in whole vectors
    Py_ssize_t N
    Py_ssize_t[3] source, out, kernel, stride
    Py_ssize_t[3] phases                # of an axis
    Phase *phase[3]
    const char *x
    const char *g                       # for the weight gradient
    const char *bias
    char *c
    char *packed                        # [kernel position][lanes]
    char *sums                          # [part][kernel position][lanes]
    Py_ssize_t T, parts                 # kernel positions; chunks of rows of outputs


cdef void find_phases(Depth *p, int a, Py_ssize_t padding, Py_ssize_t dilation,
                      bint gradient) noexcept nogil:
    cdef Py_ssize_t stride = p.stride[a], period = 1, i, k, t, last
    cdef Phase *f
    if not gradient:
        f = p.phase[a]
        f.first, f.step, f.count, f.source, f.source_step = 0, 1, p.out[a], -padding, stride
        f.reach, f.tap, f.tap_step, f.taps = dilation, 0, 1, p.kernel[a]
        return
    while period * dilation % stride:
        period += 1
    for i in range(p.phases[a]):
        f = p.phase[a] + i
        f.first, f.step, f.count = i, stride, ceil_div(p.out[a] - i, stride)
        t, k = i + padding, 0
        while k < period and floor_div(t - k * dilation, stride) * stride != t - k * dilation:
            k += 1
        f.taps = ceil_div(p.kernel[a] - k, period) if k < period and k < p.kernel[a] else 0
        last = k + (f.taps - 1) * period
        f.source, f.source_step = floor_div(t - last * dilation, stride), 1
        f.reach, f.tap, f.tap_step = period * dilation // stride, last, -period


cdef Py_ssize_t list_rows(const Depth *p, Py_ssize_t image, Py_ssize_t od, Py_ssize_t oh,
                          depth_row *rows) noexcept nogil:
    """List the rows of x that a row of outputs meets, with the weights of their first column."""
    cdef const Phase *D = p.phase[0] + od % p.phases[0]
    cdef const Phase *H = p.phase[1] + oh % p.phases[1]
    cdef Py_ssize_t i, j, h, count = 0
    cdef Py_ssize_t d = D.source + od // p.phases[0] * D.source_step
    for i in range(D.taps):
        h = H.source + oh // p.phases[1] * H.source_step
        for j in range(H.taps):
            if 0 <= d < p.source[0] and 0 <= h < p.source[1]:
                rows[count].x = ((image * p.source[0] + d) * p.source[1] + h) * p.source[2] * p.C
                rows[count].weight = ((D.tap + i * D.tap_step) * p.kernel[1]
                                      + H.tap + j * H.tap_step) * p.kernel[2] * p.lanes
                count += 1
            h += H.reach
        d += D.reach
    return count


cdef void rows_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some rows of outputs, or of g."""
    cdef Depth *p = <Depth *>ctx
    cdef Py_ssize_t row, count, piece, phase, start, m, column, at, size = p.size
    cdef Py_ssize_t rows = p.N * p.out[0] * p.out[1], row_step = p.out[2] * p.C
    cdef Py_ssize_t pieces = ceil_div(p.phase[2].count, p.kernels.longest)
    cdef depth_row *list = <depth_row *>scratch(0, p.T * sizeof(depth_row))
    cdef depth_line line
    cdef depth_ahead ahead
    cdef const Phase *f
    cdef const char *to = p.g if p.g else p.c
    cdef char *sums = NULL
    if p.g:
        sums = p.sums + chunk * p.T * p.lanes * size
        memset(sums, 0, p.T * p.lanes * size)
    line.columns, line.pixel = p.source[2], p.C
    ahead.row = p.source[2] * p.C
    for row in range(cut(rows, p.parts, chunk), cut(rows, p.parts, chunk + 1)):
        count = list_rows(p, row // p.out[1] // p.out[0], row // p.out[1] % p.out[0],
                          row % p.out[1], list)
        ahead.rows = p.phase[1].source_step if count else 0
        for piece in range(pieces):
            for phase in range(p.phases[2]):
                f = p.phase[2] + phase
                start = cut(f.count, pieces, piece)
                m = cut(f.count, pieces, piece + 1) - start
                if not m:
                    continue
                line.taps, line.reach, line.step = f.taps, f.reach, f.source_step
                line.tap = f.tap_step * p.lanes
                column = f.source + start * f.source_step
                ahead.columns = m * f.source_step
                if count:
                    ahead.x = p.x + (list[count - 1].x + ahead.row + column * p.C) * size
                ahead.outputs = to + ((row + 1) * row_step
                                      + (start * f.step + phase * m) * p.C) * size
                at = row * row_step + (f.first + start * f.step) * p.C
                if p.g:
                    (<weights_fn>p.kernels.weights)(
                        m, p.C, list, count, &line, column, p.x, sums + f.tap * p.lanes * size,
                        p.g + at * size, f.step * p.C, &ahead)
                else:
                    (<outputs_fn>p.kernels.outputs)(
                        m, p.C, list, count, &line, column, p.x,
                        p.packed + f.tap * p.lanes * size, p.c + at * size, f.step * p.C, p.bias,
                        &ahead)


cdef void run(Depth *p, const char *weight) noexcept nogil:
    cdef Py_ssize_t rows = p.N * p.out[0] * p.out[1]
    cdef double work = <double>rows * p.out[2] * p.T * p.lanes
    cdef bint alone = work < ALONE
    p.parts = max(1, min(rows, min(<Py_ssize_t>(work / ALONE), 4 * CHUNKS)))
    if p.g:
        p.parts = min(p.parts, CHUNKS)     # a copy of the sums each
        p.sums = <char *>scratch(2, p.parts * p.T * p.lanes * p.size)
    else:
        p.packed = <char *>scratch(2, p.T * p.lanes * p.size)
        (<pack_fn>p.kernels.pack)(weight, p.T, p.T, p.C, p.lanes, p.packed)
    spread(rows_chunk, p, p.parts, alone)
    if p.g:
        (<add_fn>p.kernels.add_parts)(p.sums, p.parts, p.T, p.C, p.lanes, p.c)


cdef void convolve(cnp.ndarray x, cnp.ndarray out, cnp.ndarray weight, bias, g, tuple stride,
                   tuple padding, tuple dilation, bint gradient):
    """Write the outputs or, if there is a g of their shape, the gradient of the weight."""
    cdef Depth p
    cdef bint is_double = cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE
    cdef Py_ssize_t room = 0
    cdef int a
    cdef Phase *phases
    memset(&p, 0, sizeof(Depth))
    p.kernels = depthwise_kernels_table[isa.level][is_double]
    p.size = 8 if is_double else 4
    p.N, p.C = cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 4)
    p.lanes = ceil_div(p.C, p.kernels.width) * p.kernels.width
    p.T = 1
    for a in range(3):
        p.source[a], p.out[a] = cnp.PyArray_DIM(x, a + 1), cnp.PyArray_DIM(out, a + 1)
        p.kernel[a], p.stride[a] = cnp.PyArray_DIM(weight, a + 1), stride[a]
        p.phases[a] = min(p.stride[a], p.out[a]) if gradient else 1
        p.T *= p.kernel[a]
        room += p.phases[a]
    phases = <Phase *>scratch(3, room * sizeof(Phase))
    for a in range(3):
        p.phase[a] = phases
        phases += p.phases[a]
        find_phases(&p, a, padding[a], dilation[a], gradient)
    p.x, p.bias = cnp.PyArray_BYTES(x), NULL if bias is None else cnp.PyArray_BYTES(bias)
    if g is None:
        p.c = cnp.PyArray_BYTES(out)
    else:
        p.g, p.c = cnp.PyArray_BYTES(out), cnp.PyArray_BYTES(weight)
    with nogil:
        run(&p, cnp.PyArray_BYTES(weight))


def depthwise(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride,
              tuple padding, tuple dilation, bint gradient):
    """Write the convolution of x, or the gradient of the input from x as that of the output."""
    convolve(x, out, weight, bias, None, stride, padding, dilation, gradient)


def depthwise_grad_weight(cnp.ndarray x, cnp.ndarray g, cnp.ndarray out, tuple stride,
                          tuple padding, tuple dilation):
    """Write the gradient of the weight."""
    convolve(x, g, out, None, g, stride, padding, dilation, False)
