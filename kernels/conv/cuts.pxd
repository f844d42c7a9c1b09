"""How convolution and its gradients cut lengths, and the record of an axis."""

cimport numpy as cnp
from medai_engine.kernels.threads.pool cimport chunk_fn, parallel_for


cdef enum:
    ALONE = 1 << 19             # multiply-adds under which a call stays on its thread
    BLOCK_BYTES = 400 << 10     # of weights: under half of 1 MiB of L2
    CHUNKS = 16                 # aimed at, at least


cdef struct Run:
    # outputs first, first + step, ... (count of them) use kernel positions tap, tap + tap_step, ...
    # (taps of them); output i, kernel position j reads source + i * source_step + j * source_tap
    Py_ssize_t first, step, count, source, source_step, tap, tap_step, taps, source_tap


cdef struct Axis:
    Py_ssize_t source, out, kernel, stride, padding, dilation
    Run *runs
    Py_ssize_t pieces           # of runs


cdef inline Py_ssize_t cut(Py_ssize_t length, Py_ssize_t pieces, Py_ssize_t i) noexcept nogil:
    """Start of piece i when `length` is cut into `pieces` that differ by one at most."""
    return i * length // pieces


cdef inline Py_ssize_t floor_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a // b if a >= 0 else -((b - 1 - a) // b)


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return -floor_div(-a, b)


cdef inline void spread(chunk_fn chunk, void *ctx, Py_ssize_t chunks, bint alone) noexcept nogil:
    """Run chunks over the pool, or one after the other where together they are not worth it."""
    cdef Py_ssize_t i
    if not alone:
        parallel_for(chunk, ctx, chunks)
        return
    for i in range(chunks):
        chunk(ctx, i, 0)


cdef inline void fill_axes(Axis *axis, cnp.ndarray source, cnp.ndarray out, cnp.ndarray weight,
                           tuple stride, tuple padding, tuple dilation):
    cdef int i
    for i in range(3):
        axis[i].source = cnp.PyArray_DIM(source, i + 1)
        axis[i].out = cnp.PyArray_DIM(out, i + 1)
        axis[i].kernel = cnp.PyArray_DIM(weight, i + 1)
        axis[i].stride, axis[i].padding, axis[i].dilation = stride[i], padding[i], dilation[i]


cdef inline void fold_pixels(Axis *axis, Py_ssize_t *N) noexcept:
    """Make one long row of all pixels where the kernel is a single one that moves by one."""
    cdef int i
    for i in range(3):
        if axis[i].kernel != 1 or axis[i].stride != 1 or axis[i].padding:
            return
        if axis[i].source != axis[i].out:
            return
    axis[2].out *= N[0] * axis[0].out * axis[1].out
    axis[2].source = axis[2].out
    axis[0].source = axis[0].out = axis[1].source = axis[1].out = N[0] = 1
