"""Recurrent layers over whole sequences; equations in reference.py.

Loops, outside in: chunks of sequences for their whole length (over threads, no barrier a step) >
steps > products in register tiles > units, whose gates are fused (steps.pyx). Sequences are sorted
by length first, so that a chunk's active ones are its first, and the set shrinks as they end: work
follows the valid steps, and padding is never read. Weights are packed once a call into the tile's
panels and stay in L2.

The inputs are projected in the step that needs them, from one cache line to the next, where tiles
have rows enough and both weights fit into L2 together; else for all steps at once by the kernel of
gemm, before the steps. The gradients of the weights are one sum over all steps, after them.

A row of a tile adds up as it would alone, so a sequence's bits depend neither on its neighbours nor
on threads. Bytes: inputs and outputs once, the weights once a step and chunk (from L2).
Source: see reference.py; Appleyard et al., "Optimizing performance of recurrent neural networks on
GPUs" (2016).
"""

cimport numpy as cnp
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from medai_engine.kernels.recurrent.steps cimport (
    Job,
    backward_chunk,
    forward_chunk,
    kernels_for,
    weights_chunk,
)
from medai_engine.kernels.threads.pool cimport parallel_for, scratch

import numpy as np

from ..gemm.fast import linear
from ..memory.allocator import empty

cnp.import_array()

__all__ = ["gru", "gru_grad", "lstm", "lstm_grad", "rnn", "rnn_grad"]

ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil

cdef enum:
    CHUNK_ROWS = 8              # sequences: enough for a tile to hide the loads of the weight,
    CHUNK_ROWS_LARGE = 24       # ... and where the weight does not stay in L2
    FEW = 4                     # sequences under which a tile of one step is too low
    L2_BYTES = 768 << 10
    ALONE = 1 << 17             # multiply-adds under which all runs on the calling thread
    CHUNKS = 8                  # of the units whose weights' gradients are added up


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline char *bytes_of(object array):
    return NULL if array is None else cnp.PyArray_BYTES(array)


cdef object plan(Job *job, Py_ssize_t gates, cnp.ndarray x, cnp.ndarray lengths,
                 cnp.ndarray output, bint reverse, bint relu):
    """Fill in the geometry; return (lengths, first, order), which must outlive the job."""
    cdef Py_ssize_t n, most
    cdef bint sorted_ = True
    cdef cnp.npy_intp shape[2]
    cdef cnp.ndarray table
    cdef int64_t *rows
    cdef const int64_t *given = <const int64_t *>cnp.PyArray_DATA(lengths)
    job.kernels = kernels_for(cnp.PyArray_TYPE(output) == cnp.NPY_DOUBLE)
    job.size = 8 if cnp.PyArray_TYPE(output) == cnp.NPY_DOUBLE else 4
    job.N, job.T, job.H = output.shape[0], output.shape[1], output.shape[2]
    job.D, job.G, job.blocks = x.shape[2], gates, 4 if gates == 3 else gates
    job.reverse, job.relu = reverse, relu
    job.x, job.output = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(output)
    shape[0], shape[1] = 3, job.N + 1
    table = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
    rows = <int64_t *>cnp.PyArray_DATA(table)
    job.lengths, job.first, job.order = rows, rows + job.N + 1, rows + 2 * (job.N + 1)
    for n in range(job.N):
        rows[n] = max(0, min(given[n], job.T))
        rows[2 * (job.N + 1) + n] = n
        sorted_ = sorted_ and (n == 0 or rows[n] <= rows[n - 1])
    if not sorted_:
        table[2, :job.N] = np.argsort(-table[0, :job.N], kind="stable")
    rows[job.N + 1] = 0
    for n in range(job.N):
        rows[job.N + 2 + n] = rows[job.N + 1 + n] + rows[job.order[n]]
    job.valid = job.first[job.N]
    job.room = job.valid | 1    # an odd number of lines: panels differ in cache set
    most = CHUNK_ROWS if gates * job.H * job.H * job.size <= L2_BYTES else CHUNK_ROWS_LARGE
    job.rows = ceil_div(job.N, ceil_div(job.N, most))
    if gates * job.valid * job.H * job.H < ALONE:
        job.rows = job.N
    return table


cdef object projected(const Job *job, cnp.ndarray x, weight_ih, bias, cnp.ndarray gates):
    """Return the projection of all valid steps, one sequence after the other as in the order."""
    cdef Py_ssize_t i, n, width = job.D * job.size
    if job.valid == job.N * job.T:
        linear(x, weight_ih, bias, gates)   # lies where the gates will
        return gates
    cdef cnp.ndarray rows = empty((job.valid, job.D), x.dtype)
    out = empty((job.valid, job.G * job.H), x.dtype)
    for i in range(job.N):
        n = job.order[i]
        memcpy(cnp.PyArray_BYTES(rows) + job.first[i] * width, job.x + n * job.T * width,
               job.lengths[n] * width)
    if job.valid:
        linear(rows, weight_ih, bias, out)
    return out


cdef Py_ssize_t panels_size(const Job *job, Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    return ceil_div(n, job.kernels.nr) * job.kernels.nr * k * job.size


cdef void pack_transposed(const Job *job, const char *w, Py_ssize_t n, Py_ssize_t k,
                          char *to) noexcept nogil:
    """Pack w (n, k), whose rows are columns of the product."""
    cdef Py_ssize_t nr = job.kernels.nr, j, panel
    for panel in range(ceil_div(n, nr)):
        j = panel * nr
        (<pack_fn>job.kernels.pack_transposed)(w + j * k * job.size, k, k, min(nr, n - j), nr,
                                               to + j * k * job.size)


cdef void pack_turned(const Job *job, const char *w, Py_ssize_t n, Py_ssize_t k, Py_ssize_t lead,
                      char *to) noexcept nogil:
    """Pack w (k, n) with its first `lead` rows behind the others."""
    cdef Py_ssize_t nr = job.kernels.nr, j, panel, size = job.size
    for panel in range(ceil_div(n, nr)):
        j = panel * nr
        (<pack_fn>job.kernels.pack)(w + (lead * n + j) * size, n, k - lead, min(nr, n - j), nr,
                                    to + j * k * size)
        if lead:
            (<pack_fn>job.kernels.pack)(w + j * size, n, lead, min(nr, n - j), nr,
                                        to + (j * k + (k - lead) * nr) * size)


cdef void forward(Job *job, cnp.ndarray x, cnp.ndarray weight_ih, cnp.ndarray weight_hh,
                  cnp.ndarray bias, h0, c0, h, c, cnp.ndarray gates, cells):
    cdef Py_ssize_t width = job.G * job.H, of_h = panels_size(job, width, job.H)
    cdef Py_ssize_t of_x = panels_size(job, width, job.D)
    cdef char *packed
    made = None
    job.gates, job.cells = bytes_of(gates), bytes_of(cells)
    job.h0, job.c0, job.h, job.c = bytes_of(h0), bytes_of(c0), bytes_of(h), bytes_of(c)
    if job.N < FEW or of_h + of_x > L2_BYTES:
        made = projected(job, x, weight_ih, bias, gates)
        of_x = 0
    job.a, job.bias_x = bytes_of(made), bytes_of(bias)
    packed = <char *>scratch(2, of_h + of_x)
    job.weight, job.weight_x = packed, packed + of_h
    with nogil:
        pack_transposed(job, cnp.PyArray_BYTES(weight_hh), width, job.H, packed)
        if of_x:
            pack_transposed(job, cnp.PyArray_BYTES(weight_ih), width, job.D, packed + of_h)
        parallel_for(forward_chunk, job, ceil_div(job.N, job.rows))


cdef void backward(Job *job, g_output, g_h, g_c, g_gates, g_cells, cnp.ndarray x,
                   cnp.ndarray weight_ih, cnp.ndarray weight_hh, h0, gates, cells,
                   cnp.ndarray g_x, cnp.ndarray g_weight_ih, cnp.ndarray g_weight_hh,
                   cnp.ndarray g_bias, g_bias_hh, g_h0, g_c0):
    cdef Py_ssize_t H = job.H, D = job.D, k = job.G * H, nr = job.kernels.nr, lead = 0
    cdef Py_ssize_t across = ceil_div(H, nr // 2), vectors = job.blocks * across
    cdef Py_ssize_t of_h = panels_size(job, H, k), of_x = panels_size(job, D, k)
    cdef const char *w = cnp.PyArray_BYTES(weight_ih)
    cdef char *packed
    panels = empty((vectors * job.room, nr // 2), x.dtype)
    met_x = empty((ceil_div(D, nr) * job.room, nr), x.dtype)
    met_h = empty((ceil_div(H, nr) * job.room, nr), x.dtype)
    job.panels, job.met_x, job.met_h = bytes_of(panels), bytes_of(met_x), bytes_of(met_h)
    job.g_output, job.g_h, job.g_c = bytes_of(g_output), bytes_of(g_h), bytes_of(g_c)
    job.g_gates, job.g_cells = bytes_of(g_gates), bytes_of(g_cells)
    job.h0, job.gates, job.cells = bytes_of(h0), bytes_of(gates), bytes_of(cells)
    job.g_h0, job.g_c0 = bytes_of(g_h0), bytes_of(g_c0)
    job.g_x = bytes_of(g_x) if cnp.PyArray_SIZE(g_x) else NULL
    job.g_weight_ih, job.g_weight_hh = bytes_of(g_weight_ih), bytes_of(g_weight_hh)
    job.g_bias_ih, job.g_bias_hh = bytes_of(g_bias), bytes_of(g_bias_hh)
    if job.valid == 0:
        for out in (g_weight_ih, g_weight_hh, g_bias, g_bias_hh):
            if out is not None:
                out.fill(0)
    # so many vectors of units a chunk that it is worth a thread
    job.vectors = max(ceil_div(vectors, CHUNKS),
                      ALONE // max(1, job.valid * (D + H) * (nr // 2)))
    packed = <char *>scratch(2, of_h + of_x)
    job.weight, job.weight_x = packed, packed + of_h
    if job.blocks > job.G:
        lead = 2 * H    # rows r, z of weight_ih; n stands first in a row of d
    with nogil:
        (<pack_fn>job.kernels.pack)(cnp.PyArray_BYTES(weight_hh), H, k, H, nr, packed)
        if job.g_x:
            pack_turned(job, w, D, k, lead, packed + of_h)
        parallel_for(backward_chunk, job, ceil_div(job.N, job.rows))
        parallel_for(weights_chunk, job, ceil_div(vectors, job.vectors))


def lstm(x, weight_ih, weight_hh, bias, h0, c0, lengths, output, h, c, gates, cells, bint reverse,
         bint relu):
    cdef Job job
    table = plan(&job, 4, x, lengths, output, reverse, relu)
    job.step, job.bias = job.kernels.lstm, NULL
    forward(&job, x, weight_ih, weight_hh, bias, h0, c0, h, c, gates, cells)


def gru(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, lengths, output, h, gates, inner,
        bint reverse):
    cdef Job job
    table = plan(&job, 3, x, lengths, output, reverse, False)
    job.step, job.bias = job.kernels.gru, bytes_of(bias_hh)
    forward(&job, x, weight_ih, weight_hh, bias_ih, h0, None, h, None, gates, inner)


def rnn(x, weight_ih, weight_hh, bias, h0, lengths, output, h, bint reverse, bint relu):
    cdef Job job
    table = plan(&job, 1, x, lengths, output, reverse, relu)
    job.step, job.bias = job.kernels.rnn, NULL
    forward(&job, x, weight_ih, weight_hh, bias, h0, None, h, None, output, None)


def lstm_grad(g_output, g_h, g_c, g_gates, g_cells, x, weight_ih, weight_hh, h0, c0, lengths,
              output, gates, cells, g_x, g_weight_ih, g_weight_hh, g_bias, g_h0, g_c0,
              bint reverse, bint relu):
    cdef Job job
    table = plan(&job, 4, x, lengths, output, reverse, relu)
    job.step_grad = job.kernels.lstm_grad
    job.last, job.last0 = bytes_of(cells), bytes_of(c0)
    backward(&job, g_output, g_h, g_c, g_gates, g_cells, x, weight_ih, weight_hh, h0, gates, cells,
             g_x, g_weight_ih, g_weight_hh, g_bias, None, g_h0, g_c0)


def gru_grad(g_output, g_h, g_gates, g_inner, x, weight_ih, weight_hh, h0, lengths, output, gates,
             inner, g_x, g_weight_ih, g_weight_hh, g_bias_ih, g_bias_hh, g_h0, bint reverse):
    cdef Job job
    table = plan(&job, 3, x, lengths, output, reverse, False)
    job.step_grad = job.kernels.gru_grad
    job.last, job.last0 = bytes_of(output), bytes_of(h0)
    backward(&job, g_output, g_h, None, g_gates, g_inner, x, weight_ih, weight_hh, h0, gates,
             inner, g_x, g_weight_ih, g_weight_hh, g_bias_ih, g_bias_hh, g_h0, None)


def rnn_grad(g_output, g_h, x, weight_ih, weight_hh, h0, lengths, output, g_x, g_weight_ih,
             g_weight_hh, g_bias, g_h0, bint reverse, bint relu):
    cdef Job job
    table = plan(&job, 1, x, lengths, output, reverse, relu)
    job.step_grad = job.kernels.rnn_grad
    job.last, job.last0 = bytes_of(output), bytes_of(h0)
    backward(&job, g_output, g_h, None, None, None, x, weight_ih, weight_hh, h0, output, None,
             g_x, g_weight_ih, g_weight_hh, g_bias, None, g_h0, None)
