"""How the rows and columns of outputs meet those of the input: for kernels that walk whole rows."""

cimport numpy as cnp
from medai_engine.kernels.conv.cuts cimport ceil_div, floor_div
from medai_engine.kernels.threads.pool cimport scratch


cdef extern from "lines.h":
    struct conv_row:
        Py_ssize_t x, weight
    struct conv_line:
        Py_ssize_t columns, pixel, taps, reach, step, tap, depth, lanes
    struct conv_ahead:
        const void *x
        const void *outputs
        Py_ssize_t rows, row, columns


cdef struct Phase:
    # output first + i * step (i < count) reads source + i * source_step + t * reach with kernel
    # position tap + t * tap_step, t < taps
    Py_ssize_t first, step, count, source, source_step, reach, tap, tap_step, taps


cdef struct Lines:
    Py_ssize_t N, T                     # images, kernel positions
    Py_ssize_t[3] source, out, kernel, phases
    Phase *phase[3]                     # of an axis: one, or those of the stride of a gradient


cdef inline void find_phases(Lines *p, int a, Py_ssize_t stride, Py_ssize_t padding,
                             Py_ssize_t dilation, bint gradient) noexcept nogil:
    """Fill the phases of an axis; those of a gradient count their taps from the last position."""
    cdef Py_ssize_t period = 1, i, k, t, last
    cdef Phase *f = p.phase[a]
    if not gradient:
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


cdef inline void fill_lines(Lines *p, cnp.ndarray x, cnp.ndarray out, cnp.ndarray weight,
                            tuple stride, tuple padding, tuple dilation, bint gradient):
    """Fill p for outputs from x; its phases stand in slot 3 of the scratch memory."""
    cdef Py_ssize_t room = 0
    cdef int a
    cdef Phase *phases
    p.N, p.T = cnp.PyArray_DIM(x, 0), 1
    for a in range(3):
        p.source[a], p.out[a] = cnp.PyArray_DIM(x, a + 1), cnp.PyArray_DIM(out, a + 1)
        p.kernel[a] = cnp.PyArray_DIM(weight, a + 1)
        p.phases[a] = min(<Py_ssize_t>stride[a], p.out[a]) if gradient else 1
        p.T *= p.kernel[a]
        room += p.phases[a]
    phases = <Phase *>scratch(3, room * sizeof(Phase))
    for a in range(3):
        p.phase[a] = phases
        phases += p.phases[a]
        find_phases(p, a, stride[a], padding[a], dilation[a], gradient)


cdef inline Py_ssize_t list_rows(const Lines *p, Py_ssize_t row, Py_ssize_t pixel, Py_ssize_t tap,
                                 conv_row *rows) noexcept nogil:
    """List the rows of x, of pixels of `pixel` elements, that a row of outputs meets, and where the
    weights, `tap` elements a position, of their columns stand."""
    cdef Py_ssize_t oh = row % p.out[1], od = row // p.out[1] % p.out[0], i, j, h, count = 0
    cdef Py_ssize_t image = row // p.out[1] // p.out[0]
    cdef const Phase *D = p.phase[0] + od % p.phases[0]
    cdef const Phase *H = p.phase[1] + oh % p.phases[1]
    cdef Py_ssize_t d = D.source + od // p.phases[0] * D.source_step
    for i in range(D.taps):
        h = H.source + oh // p.phases[1] * H.source_step
        for j in range(H.taps):
            if 0 <= d < p.source[0] and 0 <= h < p.source[1]:
                rows[count].x = (((image * p.source[0] + d) * p.source[1] + h) * p.source[2]
                                 * pixel)
                rows[count].weight = ((D.tap + i * D.tap_step) * p.kernel[1]
                                      + H.tap + j * H.tap_step) * p.kernel[2] * tap
                count += 1
            h += H.reach
        d += D.reach
    return count
