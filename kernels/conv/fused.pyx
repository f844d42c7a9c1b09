"""Convolution with activation and pooling, and the gradients; equations in reference.py.

Where the tile of direct.pyx computes the convolution, chunks are pieces of the rows of windows: for
one block of NR output channels after the other, WAITING outputs are computed into L1, activated and
pooled. The gradients expand the rows of the pooled gradient as they read them.

Where another file computes it (see dispatch.pyx) some images at a time go through a workspace, so
that the bits are those of the separate kernels. Only the weight gradient there, a sum over all
images, expands all of them.
Bytes: x, weight and the pooled arrays once; the workspace stays in L2 unless an image is larger.
"""

cimport numpy as cnp
from libc.stdint cimport uint8_t
from medai_engine.kernels.conv.cuts cimport ALONE, Run, ceil_div, cut, spread
from medai_engine.kernels.conv.direct cimport (
    Conv, View, activate, block_of_runs, conv_tap, convolve, fill, prepare, run)
from medai_engine.kernels.conv.pooled cimport fill_pooled, pool_row
from medai_engine.kernels.conv.runs cimport clip_run
from medai_engine.kernels.elementwise.fast cimport loop_of, row_of
from medai_engine.kernels.threads.pool cimport scratch

import numpy as np

from medai_engine.kernels.elementwise import fast as elementwise

from . import grad_weight
from .depthwise import is_depthwise
from .dispatch import conv, conv_grad_input, conv_grad_weight
from .narrow import is_narrow
from .pooled import pool_images, unpool_images

cnp.import_array()

__all__ = ["conv_activation", "conv_pool", "conv_pool_grad_input", "conv_pool_grad_weight"]

cdef enum:
    WAITING = 4096              # outputs that wait for pooling, in L1
    WORKSPACE = 512 << 10       # bytes of some images


cdef struct Job:
    Conv conv
    Py_ssize_t segments, bands          # of the pooled columns and rows


cdef void pool_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some rows of windows, one block of output channels after the other."""
    cdef Job *job = <Job *>ctx
    cdef Conv *p = &job.conv
    cdef conv_tap *taps = <conv_tap *>scratch(0, p.room * sizeof(conv_tap))
    cdef const Py_ssize_t *window = p.pooled.window
    cdef const Py_ssize_t *outputs = p.pooled.outputs
    cdef Py_ssize_t segment = chunk % job.segments, rest = chunk // job.segments
    cdef Py_ssize_t o0 = cut(outputs[2], job.segments, segment)
    cdef Py_ssize_t o1 = cut(outputs[2], job.segments, segment + 1)
    cdef Py_ssize_t b0 = cut(outputs[1], job.bands, rest % job.bands)
    cdef Py_ssize_t b1 = cut(outputs[1], job.bands, rest % job.bands + 1)
    rest //= job.bands
    cdef Py_ssize_t a = rest % outputs[0], image = rest // outputs[0] % p.N
    cdef Py_ssize_t part = rest // outputs[0] // p.N, block, channel, n, i, j, k, at
    cdef Py_ssize_t first = cut(p.groups * p.blocks, p.parts, part)
    cdef Py_ssize_t last = cut(p.groups * p.blocks, p.parts, part + 1)
    cdef Py_ssize_t columns = (o1 - o0) * window[2], rows = (b1 - b0) * window[1]
    cdef char *waiting = <char *>scratch(
        1, window[0] * rows * columns * p.nr * p.size)
    cdef View v
    cdef Run d, h, w
    v.images = 1
    v.x_row = p.axis[2].source * p.ci
    v.x_plane = p.axis[1].source * v.x_row
    v.x = p.x + image * p.axis[0].source * v.x_plane * p.size
    for block in range(first, last):
        channel = block // p.blocks * p.fg + block % p.blocks * p.nr
        n = min(p.nr, p.fg - block % p.blocks * p.nr)
        v.out_pixel, v.out_row, v.out_plane = n, columns * n, rows * columns * n
        v.out = waiting - (a * window[0] * v.out_plane + b0 * window[1] * v.out_row
                           + o0 * window[2] * n + channel) * p.size
        for k in range(a * window[0], (a + 1) * window[0]):
            for i in range(p.axis[0].pieces):
                if clip_run(p.axis[0].runs + i, k, k + 1, &d):
                    break
            for i in range(p.axis[1].pieces):
                if clip_run(p.axis[1].runs + i, b0 * window[1], b1 * window[1], &h):
                    for j in range(p.axis[2].pieces):
                        if clip_run(p.axis[2].runs + j, o0 * window[2], o1 * window[2], &w):
                            block_of_runs(p, &v, &d, &h, &w, block, block + 1, taps)
        if p.activate:
            activate(p, waiting, 1, window[0] * rows * columns * n, 0)
        for i in range(b1 - b0):
            at = (((image * outputs[0] + a) * outputs[1] + b0 + i) * outputs[2] + o0) * p.co
            at += channel
            pool_row(p.size == 8, waiting + i * window[1] * v.out_row * p.size, v.out_plane,
                     v.out_row, n, window, o1 - o0, n, p.out + at * p.size,
                     <uint8_t *>p.pooled.index + at, p.co)


cdef void run_pooled(Job *job) noexcept nogil:
    cdef Conv *p = &job.conv
    cdef double work = prepare(p)
    cdef const Py_ssize_t *window = p.pooled.window
    cdef Py_ssize_t windows = WAITING // p.nr // (window[0] * window[1] * window[2])
    cdef Py_ssize_t columns = max(1, min(p.pooled.outputs[2], windows))
    job.segments = ceil_div(p.pooled.outputs[2], columns)
    job.bands = ceil_div(p.pooled.outputs[1], max(1, windows // columns))
    spread(pool_chunk, job, p.parts * p.N * p.pooled.outputs[0] * job.bands * job.segments,
           work < ALONE)


cdef void fill_activation(Conv *p, str activation, tuple parameters):
    cdef int i
    if activation:
        p.activate = loop_of(row_of(activation), p.size == 8)
    for i in range(len(parameters)):
        p.parameters[i] = parameters[i]


cdef bint has_own_file(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, Py_ssize_t groups):
    """Tell whether it is depthwise, or maybe a product of matrices."""
    cdef bint pointwise = True
    cdef int a
    for a in range(1, 4):
        pointwise = pointwise and cnp.PyArray_DIM(weight, a) == 1
    return pointwise or is_depthwise(x, y, groups)


cdef bint is_tiled(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, Py_ssize_t groups):
    """Tell whether direct.pyx computes y from x."""
    return not has_own_file(x, weight, y, groups) and (groups > 1 or not is_narrow(x, y))


cdef list some_images(Py_ssize_t N, Py_ssize_t image_bytes):
    """Cut a batch into slices of about a workspace."""
    cdef Py_ssize_t count = max(1, WORKSPACE // image_bytes), i
    return [slice(i, min(i + count, N)) for i from 0 <= i < N by count]


def conv_activation(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride,
                    tuple padding, tuple dilation, Py_ssize_t groups, str activation,
                    tuple parameters):
    """Write the activation of the convolution."""
    cdef Conv p
    if is_tiled(x, weight, out, groups):
        fill(&p, x, weight, bias, out, stride, padding, dilation, groups, False)
        fill_activation(&p, activation, parameters)
        convolve(&p)
        return
    for some in some_images(len(x), out[0].nbytes):
        conv(x[some], weight, bias, out[some], stride, padding, dilation, groups)
        if activation:
            getattr(elementwise, activation)(out[some], out[some], *parameters)


def conv_pool(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, cnp.ndarray index,
              tuple stride, tuple padding, tuple dilation, Py_ssize_t groups, str activation,
              tuple parameters, tuple pool, tuple sizes):
    """Write the maxima of windows of the activated convolution, and their places."""
    cdef Job job
    cdef int i
    if is_tiled(x, weight, out, groups):
        fill(&job.conv, x, weight, bias, out, stride, padding, dilation, groups, False)
        fill_activation(&job.conv, activation, parameters)
        fill_pooled(&job.conv.pooled, out, index, pool, sizes)
        job.conv.waits = True
        for i in range(3):
            job.conv.axis[i].out *= job.conv.pooled.window[i]
        with nogil:
            run_pooled(&job)
        return
    shape = (*sizes, out.shape[4])
    slices = some_images(len(x), np.prod(shape) * out.itemsize)
    full = np.empty((slices[0].stop, *shape), out.dtype)
    for some in slices:
        part = full[:some.stop - some.start]
        conv_activation(x[some], weight, bias, part, stride, padding, dilation, groups, activation,
                        parameters)
        pool_images(part, out[some], index[some], pool)


def conv_pool_grad_input(cnp.ndarray g, cnp.ndarray index, cnp.ndarray weight, cnp.ndarray out,
                         tuple stride, tuple padding, tuple dilation, Py_ssize_t groups,
                         tuple pool, tuple sizes):
    """Write the gradient of x; `sizes` are those before the pooling."""
    cdef Conv p
    cdef int i
    if is_tiled(g, weight, out, groups):
        fill(&p, g, weight, None, out, stride, padding, dilation, groups, True)
        fill_pooled(&p.pooled, g, index, pool, sizes)
        for i in range(3):
            p.axis[i].source = p.pooled.sizes[i]
        with nogil:
            run(&p)
        return
    shape = (*sizes, g.shape[4])
    slices = some_images(len(g), np.prod(shape) * g.itemsize)
    full = np.empty((slices[0].stop, *shape), g.dtype)
    for some in slices:
        part = full[:some.stop - some.start]
        unpool_images(g[some], index[some], part, pool)
        conv_grad_input(part, weight, out[some], stride, padding, dilation, groups)


def conv_pool_grad_weight(cnp.ndarray x, cnp.ndarray g, cnp.ndarray index, cnp.ndarray out,
                          tuple stride, tuple padding, tuple dilation, Py_ssize_t groups,
                          tuple pool, tuple sizes):
    """Write the gradient of the weight; `sizes` are those before the pooling."""
    if not has_own_file(x, out, g, groups):
        grad_weight.conv_pool_grad_weight(x, g, index, out, stride, padding, dilation, groups,
                                          pool, sizes)
        return
    full = np.empty((len(g), *sizes, g.shape[4]), g.dtype)
    unpool_images(g, index, full, pool)
    conv_grad_weight(x, full, out, stride, padding, dilation, groups)
