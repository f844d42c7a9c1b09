"""Recurrent layers over whole sequences; equations in reference.py.

Loops, outside in: chunks of sequences for their whole length (over threads, no barrier a step) >
steps > the recurrent product in register tiles > units, whose gates are fused. Sequences are sorted
by length first, so that a chunk's active ones are its first, and the set shrinks as they end. The
recurrent weight is packed once a call into the tile's panels and stays in L2.

What is not recurrent is done for all steps at once by the kernels of gemm and reduce: the
projection of the inputs before the steps, the gradients of inputs and weights after them. Where
sequences end early, these see the valid steps only, copied one sequence after the other: work
follows the valid steps, and padding is never read.

A row of a tile adds up as it would alone, so a sequence's bits depend neither on its neighbours nor
on threads. Bytes: inputs and outputs once, the recurrent weight once a step and chunk (from L2).
Source: see reference.py; Appleyard et al., "Optimizing performance of recurrent neural networks on
GPUs" (2016).
"""

cimport numpy as cnp
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for, scratch

import numpy as np

from ..gemm.fast import linear, matmul
from ..memory.allocator import empty
from ..reduce.fast import sum as column_sum

cnp.import_array()

__all__ = ["gru", "gru_grad", "lstm", "lstm_grad", "rnn", "rnn_grad"]

cdef extern from "recurrent.h":
    ctypedef void (*recurrent_step)(
        Py_ssize_t H, int relu, const void *a, const void *z, void *c, void *h, void *output,
        void *cells, void *gates) noexcept nogil
    ctypedef void (*recurrent_step_grad)(
        Py_ssize_t H, int relu, const void *g_output, const void *g_gates, const void *g_cells,
        const void *gates, const void *cells, const void *last, void *d_h, void *d_c, void *da,
        void *row) noexcept nogil
    struct recurrent_kernels:
        void *tile
        void *pack
        void *pack_transposed
        recurrent_step lstm, gru, rnn
        recurrent_step_grad lstm_grad, gru_grad, rnn_grad
        Py_ssize_t mr, nr
    const recurrent_kernels *const recurrent_kernels_table[3][2]

ctypedef void (*tile_fn)(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t kc, const void *l, Py_ssize_t lis, Py_ssize_t lks,
    const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc, int accumulate, const void *bias,
    const void *ahead, Py_ssize_t ahead_step) noexcept nogil
ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil

cdef enum:
    CHUNK_ROWS = 8              # sequences: enough for a tile to hide the loads of the weight,
    CHUNK_ROWS_LARGE = 24       # ... and where the weight does not stay in L2
    L2_BYTES = 768 << 10
    ALONE = 1 << 17             # multiply-adds under which all runs on the calling thread


cdef struct Job:
    const recurrent_kernels *kernels
    recurrent_step step
    recurrent_step_grad step_grad
    Py_ssize_t size, N, T, H, G         # bytes of an element; G gates
    int reverse, relu
    Py_ssize_t rows                     # of a chunk
    const int64_t *order                # sequences, longest first
    const int64_t *lengths              # between 0 and T
    const int64_t *first                # row of each sequence's time 0 in what is compact
    const char *weight                  # the recurrent one, in panels
    const char *bias                    # of the recurrent product, or NULL
    const char *h0
    const char *c0                      # or NULL, as c, gates, cells where a layer has none
    char *output
    char *gates                         # what the activations gave: of rnn the outputs
    char *cells
    char *h
    char *c
    const char *a                       # compact: projected inputs
    const char *last                    # states that step_grad asks for, with their first ones
    const char *last0
    const char *g_output
    const char *g_h
    const char *g_c
    const char *g_gates
    const char *g_cells
    char *da                            # compact: gradient of a
    char *dm                            # compact: gradient of the product where it is another one
    char *met                           # compact: what the recurrent weight met, after x if given
    Py_ssize_t met_step, x_step         # bytes of a row
    const char *x
    char *g_h0
    char *g_c0


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef void product(const Job *job, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t k, const char *l,
                  char *out, bint accumulate) noexcept nogil:
    """out (rows, n) (+)= l (rows, k) times the packed weight, plus the bias."""
    cdef Py_ssize_t nr = job.kernels.nr, size = job.size, i, j, panel, tile
    cdef Py_ssize_t tiles = ceil_div(rows, job.kernels.mr), height = ceil_div(rows, tiles)
    cdef const char *r = job.weight
    for panel in range(ceil_div(n, nr)):
        j = panel * nr
        for tile in range(ceil_div(rows, height)):
            i = tile * height
            (<tile_fn>job.kernels.tile)(
                min(height, rows - i), min(nr, n - j), k, l + i * k * size, k, 1, r, nr,
                out + (i * n + j) * size, n, accumulate,
                job.bias + j * size if job.bias else NULL, r + 8 * nr * size, nr)
        r += k * nr * size


cdef void forward_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>ctx
    cdef Py_ssize_t H = job.H, T = job.T, G = job.G, width = H * job.size
    cdef const int64_t *order = job.order + chunk * job.rows
    cdef Py_ssize_t rows = min(job.rows, job.N - chunk * job.rows), active = rows
    cdef Py_ssize_t r, n, t, s, at, rest
    cdef char *h = <char *>scratch(0, (2 + G) * rows * width)
    cdef char *c = h + rows * width
    cdef char *z = c + rows * width
    for r in range(rows):
        n = order[r]
        memcpy(h + r * width, job.h0 + n * width, width)
        if job.c0:
            memcpy(c + r * width, job.c0 + n * width, width)
        at = n * T + job.lengths[n]
        rest = T - job.lengths[n]
        memset(job.output + at * width, 0, rest * width)
        if job.cells:
            memset(job.cells + at * width, 0, rest * width)
            memset(job.gates + at * G * width, 0, rest * G * width)
    for s in range(job.lengths[order[0]]):
        while job.lengths[order[active - 1]] <= s:
            active -= 1
        product(job, active, G * H, H, h, z, False)
        for r in range(active):
            n = order[r]
            t = job.lengths[n] - 1 - s if job.reverse else s
            at = n * T + t
            job.step(H, job.relu, job.a + (job.first[n] + t) * G * width, z + r * G * width,
                     c + r * width, h + r * width, job.output + at * width,
                     job.cells + at * width, job.gates + at * G * width)
    for r in range(rows):
        memcpy(job.h + order[r] * width, h + r * width, width)
        if job.c:
            memcpy(job.c + order[r] * width, c + r * width, width)


cdef void keep_met(const Job *job, Py_ssize_t n) noexcept nogil:
    """Copy what the weights met in each step of a sequence: its input, the h before it."""
    cdef Py_ssize_t length = job.lengths[n], width = job.H * job.size, t, last
    cdef char *to = job.met + job.first[n] * job.met_step
    for t in range(length):
        if job.x:
            memcpy(to, job.x + (n * job.T + t) * job.x_step, job.x_step)
            to += job.x_step
        last = t + 1 if job.reverse else t - 1
        if 0 <= last < length:
            memcpy(to, job.output + (n * job.T + last) * width, width)
        else:
            memcpy(to, job.h0 + n * width, width)
        to += width


cdef void backward_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>ctx
    cdef Py_ssize_t H = job.H, T = job.T, G = job.G, width = H * job.size
    cdef const int64_t *order = job.order + chunk * job.rows
    cdef Py_ssize_t rows = min(job.rows, job.N - chunk * job.rows), active = 0
    cdef Py_ssize_t r, n, t, s, at, row
    cdef char *d_h = <char *>scratch(0, (2 + G) * rows * width)
    cdef char *d_c = d_h + rows * width
    cdef char *d = d_c + rows * width
    cdef const char *last
    for r in range(rows):
        n = order[r]
        memcpy(d_h + r * width, job.g_h + n * width, width)
        if job.g_c:
            memcpy(d_c + r * width, job.g_c + n * width, width)
        keep_met(job, n)
    for s in range(job.lengths[order[0]] - 1, -1, -1):
        while active < rows and job.lengths[order[active]] > s:
            active += 1
        for r in range(active):
            n = order[r]
            t = job.lengths[n] - 1 - s if job.reverse else s
            at = n * T + t
            row = (job.first[n] + t) * G * width
            last = job.last0 + n * width
            if s:
                last = job.last + (at + (1 if job.reverse else -1)) * width
            job.step_grad(
                H, job.relu, job.g_output + at * width,
                job.g_gates + at * G * width if job.g_gates else NULL,
                job.g_cells + at * width if job.g_cells else NULL,
                job.gates + at * G * width, job.cells + at * width, last,
                d_h + r * width, d_c + r * width, job.da + row, d + r * G * width)
            if job.dm:
                memcpy(job.dm + row, d + r * G * width, G * width)
        product(job, active, H, G * H, d, d_h, job.dm != NULL)
    for r in range(rows):
        memcpy(job.g_h0 + order[r] * width, d_h + r * width, width)
        if job.g_c0:
            memcpy(job.g_c0 + order[r] * width, d_c + r * width, width)


cdef inline char *bytes_of(object array):
    return NULL if array is None else cnp.PyArray_BYTES(array)


cdef object plan(Job *job, Py_ssize_t gates, cnp.ndarray lengths, cnp.ndarray output,
                 bint reverse, bint relu):
    """Fill in the geometry; return (lengths, first, order), which must outlive the job."""
    cdef Py_ssize_t n, work
    cdef bint is_double = cnp.PyArray_TYPE(output) == cnp.NPY_DOUBLE, sorted_ = True
    cdef cnp.ndarray table
    cdef int64_t *rows
    job.kernels = recurrent_kernels_table[isa.level][is_double]
    job.size = 8 if is_double else 4
    job.N, job.T, job.H = output.shape[0], output.shape[1], output.shape[2]
    job.G, job.reverse, job.relu = gates, reverse, relu
    job.output = cnp.PyArray_BYTES(output)
    table = np.empty((3, job.N + 1), np.int64)
    rows = <int64_t *>cnp.PyArray_DATA(table)
    job.lengths, job.first, job.order = rows, rows + job.N + 1, rows + 2 * (job.N + 1)
    cdef const int64_t *given = <const int64_t *>cnp.PyArray_DATA(lengths)
    rows[job.N + 1] = 0
    for n in range(job.N):
        rows[n] = max(0, min(given[n], job.T))
        rows[job.N + 2 + n] = rows[job.N + 1 + n] + rows[n]
        rows[2 * (job.N + 1) + n] = n
        sorted_ = sorted_ and (n == 0 or rows[n] <= rows[n - 1])
    if not sorted_:
        table[2, :job.N] = np.argsort(-table[0, :job.N], kind="stable")
    work = gates * job.N * job.T * job.H * job.H
    job.rows = CHUNK_ROWS if gates * job.H * job.H * job.size <= L2_BYTES else CHUNK_ROWS_LARGE
    if work < ALONE:
        job.rows = job.N
    return table


cdef object compact(const Job *job, cnp.ndarray x):
    """Return the valid rows of x (N, T, D), one sequence after the other, as a matrix."""
    cdef Py_ssize_t n, D = x.shape[2], width = D * job.size, total = job.first[job.N]
    if total == job.N * job.T:
        return x.reshape(total, D)
    cdef cnp.ndarray out = empty((total, D), x.dtype)
    for n in range(job.N):
        memcpy(cnp.PyArray_BYTES(out) + job.first[n] * width,
               cnp.PyArray_BYTES(x) + n * job.T * width, job.lengths[n] * width)
    return out


cdef void spread(const Job *job, cnp.ndarray rows, cnp.ndarray x):
    """Write compact rows to where they belong in x (N, T, D), zeros to padding."""
    cdef Py_ssize_t n, length, width = x.shape[2] * job.size
    cdef char *to = cnp.PyArray_BYTES(x)
    for n in range(job.N):
        length = job.lengths[n] * width
        memcpy(to, cnp.PyArray_BYTES(rows) + job.first[n] * width, length)
        memset(to + length, 0, job.T * width - length)
        to += job.T * width


cdef void run(Job *job, cnp.ndarray weight_hh, bint transposed) noexcept:
    """Pack the recurrent weight and go through the steps."""
    cdef Py_ssize_t H = job.H, nr = job.kernels.nr, panel
    cdef Py_ssize_t k = H if transposed else job.G * H, n = job.G * H if transposed else H
    cdef const char *w = cnp.PyArray_BYTES(weight_hh)
    cdef char *to = <char *>scratch(2, ceil_div(n, nr) * nr * k * job.size)
    job.weight = to
    with nogil:
        if transposed:
            for panel in range(ceil_div(n, nr)):
                (<pack_fn>job.kernels.pack_transposed)(
                    w + panel * nr * k * job.size, k, k, min(nr, n - panel * nr), nr,
                    to + panel * nr * k * job.size)
            parallel_for(forward_chunk, job, ceil_div(job.N, job.rows))
        else:
            (<pack_fn>job.kernels.pack)(w, n, k, n, nr, to)
            parallel_for(backward_chunk, job, ceil_div(job.N, job.rows))


cdef void forward(Job *job, cnp.ndarray x, cnp.ndarray weight_ih, cnp.ndarray weight_hh,
                  cnp.ndarray bias, h0, c0, h, c, cnp.ndarray gates, cells):
    cdef cnp.ndarray a = gates      # the projection lies where the gates will
    cdef Py_ssize_t total = job.first[job.N]
    if total:
        if total < job.N * job.T:
            a = empty((total, job.G * job.H), x.dtype)
        linear(compact(job, x), weight_ih, bias, a)
    job.a, job.gates, job.cells = bytes_of(a), bytes_of(gates), bytes_of(cells)
    job.h0, job.c0, job.h, job.c = bytes_of(h0), bytes_of(c0), bytes_of(h), bytes_of(c)
    run(job, weight_hh, True)


cdef void backward(Job *job, g_output, g_h, g_c, g_gates, g_cells, cnp.ndarray x,
                   cnp.ndarray weight_ih, cnp.ndarray weight_hh, h0, gates, cells,
                   cnp.ndarray g_x, cnp.ndarray g_weight_ih, cnp.ndarray g_weight_hh,
                   cnp.ndarray g_bias, g_bias_hh, g_h0, g_c0):
    cdef Py_ssize_t total = job.first[job.N], width = job.G * job.H, D = x.shape[2]
    cdef cnp.ndarray da = empty((total, width), x.dtype)
    cdef bint joint = g_bias_hh is None     # one product gives the gradients of both weights
    cdef cnp.ndarray met = empty((total, D + job.H if joint else job.H), x.dtype)
    dm = da if joint else empty((total, width), x.dtype)
    job.x, job.x_step = bytes_of(x) if joint else NULL, D * job.size
    job.met, job.met_step = bytes_of(met), met.shape[1] * job.size
    job.g_output, job.g_h, job.g_c = bytes_of(g_output), bytes_of(g_h), bytes_of(g_c)
    job.g_gates, job.g_cells = bytes_of(g_gates), bytes_of(g_cells)
    job.h0, job.gates, job.cells = bytes_of(h0), bytes_of(gates), bytes_of(cells)
    job.da, job.dm, job.bias = bytes_of(da), NULL if dm is da else bytes_of(dm), NULL
    job.g_h0, job.g_c0 = bytes_of(g_h0), bytes_of(g_c0)
    run(job, weight_hh, False)
    if total == 0:
        for out in (g_x, g_weight_ih, g_weight_hh, g_bias, g_bias_hh):
            if out is not None:
                out.fill(0)
        return
    column_sum(da.reshape(1, total, width), g_bias.reshape(1, width), 1.0)
    if joint:
        both = empty((width, D + job.H), x.dtype)
        matmul(da, met, both, True, False)
        g_weight_ih[...], g_weight_hh[...] = both[:, :D], both[:, D:]
    else:
        matmul(da, compact(job, x), g_weight_ih, True, False)
        matmul(dm, met, g_weight_hh, True, False)
        column_sum(dm.reshape(1, total, width), g_bias_hh.reshape(1, width), 1.0)
    if total == job.N * job.T:
        matmul(da, weight_ih, g_x.reshape(total, D), False, False)
    else:
        rows = empty((total, D), x.dtype)
        matmul(da, weight_ih, rows, False, False)
        spread(job, rows, g_x)


def lstm(x, weight_ih, weight_hh, bias, h0, c0, lengths, output, h, c, gates, cells, bint reverse,
         bint relu):
    cdef Job job
    table = plan(&job, 4, lengths, output, reverse, relu)
    job.step, job.bias = job.kernels.lstm, NULL
    forward(&job, x, weight_ih, weight_hh, bias, h0, c0, h, c, gates, cells)


def gru(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, lengths, output, h, gates, inner,
        bint reverse):
    cdef Job job
    table = plan(&job, 3, lengths, output, reverse, False)
    job.step, job.bias = job.kernels.gru, bytes_of(bias_hh)
    forward(&job, x, weight_ih, weight_hh, bias_ih, h0, None, h, None, gates, inner)


def rnn(x, weight_ih, weight_hh, bias, h0, lengths, output, h, bint reverse, bint relu):
    cdef Job job
    table = plan(&job, 1, lengths, output, reverse, relu)
    job.step, job.bias = job.kernels.rnn, NULL
    forward(&job, x, weight_ih, weight_hh, bias, h0, None, h, None, output, None)


def lstm_grad(g_output, g_h, g_c, g_gates, g_cells, x, weight_ih, weight_hh, h0, c0, lengths,
              output, gates, cells, g_x, g_weight_ih, g_weight_hh, g_bias, g_h0, g_c0,
              bint reverse, bint relu):
    cdef Job job
    table = plan(&job, 4, lengths, output, reverse, relu)
    job.step_grad = job.kernels.lstm_grad
    job.last, job.last0 = bytes_of(cells), bytes_of(c0)
    backward(&job, g_output, g_h, g_c, g_gates, g_cells, x, weight_ih, weight_hh, h0, gates, cells,
             g_x, g_weight_ih, g_weight_hh, g_bias, None, g_h0, g_c0)


def gru_grad(g_output, g_h, g_gates, g_inner, x, weight_ih, weight_hh, h0, lengths, output, gates,
             inner, g_x, g_weight_ih, g_weight_hh, g_bias_ih, g_bias_hh, g_h0, bint reverse):
    cdef Job job
    table = plan(&job, 3, lengths, output, reverse, False)
    job.step_grad = job.kernels.gru_grad
    job.last, job.last0 = bytes_of(output), bytes_of(h0)
    backward(&job, g_output, g_h, None, g_gates, g_inner, x, weight_ih, weight_hh, h0, gates,
             inner, g_x, g_weight_ih, g_weight_hh, g_bias_ih, g_bias_hh, g_h0, None)


def rnn_grad(g_output, g_h, x, weight_ih, weight_hh, h0, lengths, output, g_x, g_weight_ih,
             g_weight_hh, g_bias, g_h0, bint reverse, bint relu):
    cdef Job job
    table = plan(&job, 1, lengths, output, reverse, relu)
    job.step_grad = job.kernels.rnn_grad
    job.last, job.last0 = bytes_of(output), bytes_of(h0)
    backward(&job, g_output, g_h, None, None, None, x, weight_ih, weight_hh, h0, output, None,
             g_x, g_weight_ih, g_weight_hh, g_bias, None, g_h0, None)
