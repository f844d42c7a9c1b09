"""The steps of a chunk of sequences, forwards and backwards, and the gradients of the weights.

A chunk's sequences are sorted by length: its active ones are its first, and the set shrinks as they
end. What a step computes stays in the caches that the next one, or the next product, reads from:

    forwards   z = h W_hh^T, and a = x_t W_ih^T where it has not been made before, in register
               tiles; then the units, whose gates are fused
    backwards  the units; d_h (+)= d W_hh and, if wanted, g_x = d W_ih, in tiles. d is kept by
               vectors of units, x_t and h by panels of columns, as the last product reads them:
    weights    g_W = sum over all steps of d^T (x_t | h): a tile adds one vector of units times one
               panel of columns over a piece of the steps, which stays in L1 for all columns

The blocks of d are the gates, except for gru: the gradient of a_n, those of r and z, that of m_n.
So a (n, r, z) and m (r, z, n) are both three blocks in a row.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport scratch

cdef extern from "recurrent.h":
    const recurrent_kernels *const recurrent_kernels_table[3][2]

ctypedef void (*tile_fn)(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t kc, const void *l, Py_ssize_t lis, Py_ssize_t lks,
    const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc, int accumulate, const void *bias,
    const void *ahead, Py_ssize_t ahead_step) noexcept nogil

cdef enum:
    PIECE = 256     # steps: a vector of units for each fills half of L1


cdef const recurrent_kernels *kernels_for(bint is_double) noexcept nogil:
    return recurrent_kernels_table[isa.level][is_double]


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef void product(const Job *job, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t k, const char *l,
                  Py_ssize_t l_step, const char *r, const char *bias, char *out,
                  bint accumulate, bint back) noexcept nogil:
    """out (rows, n) (+)= l (rows, k) times a packed weight r, plus the bias; l_step in elements.

    With ``back`` one row runs through the weight from its end, where the step before has stopped.
    """
    cdef Py_ssize_t nr = job.kernels.nr, size = job.size, i, j, panel, tile
    cdef Py_ssize_t tiles = ceil_div(rows, job.kernels.mr), height = ceil_div(rows, tiles)
    if rows == 1:
        job.kernels.row(n, k, l, r, out, accumulate, bias, back)
        return
    for panel in range(ceil_div(n, nr)):
        j = panel * nr
        for tile in range(ceil_div(rows, height)):
            i = tile * height
            (<tile_fn>job.kernels.tile)(
                min(height, rows - i), min(nr, n - j), k, l + i * l_step * size, l_step, 1, r, nr,
                out + (i * n + j) * size, n, accumulate, bias + j * size if bias else NULL,
                r + 8 * nr * size, nr)
        r += k * nr * size


cdef inline Py_ssize_t place(const Job *job, Py_ssize_t n, Py_ssize_t s) noexcept nogil:
    """Row of (N T, ...) where step s of sequence n stands."""
    return n * job.T + (job.lengths[n] - 1 - s if job.reverse else s)


cdef void forward_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>ctx
    cdef Py_ssize_t H = job.H, T = job.T, G = job.G, D = job.D, width = H * job.size, r, n, s, at
    cdef const int64_t *order = job.order + chunk * job.rows
    cdef const int64_t *first = job.first + chunk * job.rows
    cdef Py_ssize_t rows = min(job.rows, job.N - chunk * job.rows), active = rows, rest
    cdef bint project = job.a == NULL
    cdef char *h = <char *>scratch(0, rows * ((2 + 2 * G) * width + D * job.size))
    cdef char *c = h + rows * width
    cdef char *z = c + rows * width
    cdef char *made = z + rows * G * width      # a of this step
    cdef char *x = made + rows * G * width
    cdef const char *a
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
        for r in range(active):
            n = order[r]
            at = place(job, n, s)
            if project:
                memcpy(x + r * D * job.size, job.x + at * D * job.size, D * job.size)
            if job.cells:
                recurrent_fetch(job.cells + at * width, width)
            recurrent_fetch(job.output + at * width, width)
            recurrent_fetch(job.gates + at * G * width, G * width)
        if project:
            product(job, active, G * H, D, x, D, job.weight_x, job.bias_x, made, False, False)
        product(job, active, G * H, H, h, H, job.weight, job.bias, z, False, s & 1)
        for r in range(active):
            n = order[r]
            at = place(job, n, s)
            if project:
                a = made + r * G * width
            else:
                a = job.a + (first[r] + at - n * T) * G * width
            job.step(H, job.relu, a, z + r * G * width, c + r * width, h + r * width,
                     job.output + at * width, job.cells + at * width, job.gates + at * G * width)
    for r in range(rows):
        memcpy(job.h + order[r] * width, h + r * width, width)
        if job.c:
            memcpy(job.c + order[r] * width, c + r * width, width)


cdef void backward_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>ctx
    cdef const recurrent_kernels *kernels = job.kernels
    cdef Py_ssize_t H = job.H, T = job.T, G = job.G, D = job.D, size = job.size, r, n, s, at, back
    cdef Py_ssize_t width = H * size, D_width = D * size, nr = kernels.nr, vw = nr // 2
    cdef const int64_t *order = job.order + chunk * job.rows
    cdef Py_ssize_t rows = min(job.rows, job.N - chunk * job.rows), active = 0
    # rows of d in different sets of the cache; of gru, m starts one block behind a
    cdef Py_ssize_t d_step = job.blocks * H + 16, of_m = (job.blocks - G) * H
    cdef Py_ssize_t row = job.first[chunk * job.rows + rows]    # of panels; steps come in order
    cdef char *d_h = <char *>scratch(0, rows * (2 * width + d_step * size + D_width))
    cdef char *d_c = d_h + rows * width
    cdef char *d = d_c + rows * width
    cdef char *g_x = d + rows * d_step * size
    cdef const char *last
    cdef const char *met
    for r in range(rows):
        n = order[r]
        memcpy(d_h + r * width, job.g_h + n * width, width)
        if job.g_c:
            memcpy(d_c + r * width, job.g_c + n * width, width)
        if job.g_x:
            memset(job.g_x + (n * T + job.lengths[n]) * D_width, 0,
                   (T - job.lengths[n]) * D_width)
    for s in range(job.lengths[order[0]] - 1, -1, -1):
        while active < rows and job.lengths[order[active]] > s:
            active += 1
        row -= active
        for r in range(active):
            n = order[r]
            at = place(job, n, s)
            if s:
                back = place(job, n, s - 1)
                last = job.last + back * width
                met = job.output + back * width
            else:
                last = job.last0 + n * width
                met = job.h0 + n * width
            job.step_grad(
                H, job.relu, job.g_output + at * width,
                job.g_gates + at * G * width if job.g_gates else NULL,
                job.g_cells + at * width if job.g_cells else NULL,
                job.gates + at * G * width, job.cells + at * width, last,
                d_h + r * width, d_c + r * width, d + r * d_step * size,
                job.panels + (row + r) * vw * size, job.room * vw)
            kernels.keep(H, met, job.met_h + (row + r) * nr * size, job.room * nr)
            kernels.keep(D, job.x + at * D_width, job.met_x + (row + r) * nr * size, job.room * nr)
            if s:
                recurrent_fetch(job.g_output + back * width, width)
                recurrent_fetch(job.gates + back * G * width, G * width)
                recurrent_fetch(job.x + back * D_width, D_width)
                if s > 1:
                    back = place(job, n, s - 2)
                    recurrent_fetch(job.last + back * width, width)
                    recurrent_fetch(job.output + back * width, width)
        product(job, active, H, G * H, d + of_m * size, d_step, job.weight, NULL, d_h,
                job.blocks > G, s & 1)
        if job.g_x:
            product(job, active, D, G * H, d, d_step, job.weight_x, NULL, g_x, False, s & 1)
            for r in range(active):
                memcpy(job.g_x + place(job, order[r], s) * D_width, g_x + r * D_width, D_width)
    for r in range(rows):
        memcpy(job.g_h0 + order[r] * width, d_h + r * width, width)
        if job.g_c0:
            memcpy(job.g_c0 + order[r] * width, d_c + r * width, width)


cdef void add_up(const Job *job, Py_ssize_t units, Py_ssize_t width, Py_ssize_t k, Py_ssize_t kc,
                 const char *d, const char *met, char *out) noexcept nogil:
    """out (units, width) (+)= d^T met over steps k to k + kc, of one vector of units."""
    cdef Py_ssize_t nr = job.kernels.nr, vw = nr // 2, size = job.size, i, j, panel, tile
    cdef Py_ssize_t height = ceil_div(vw, ceil_div(vw, job.kernels.mr))
    cdef const char *r = met + k * nr * size
    for panel in range(ceil_div(width, nr)):
        j = panel * nr
        for tile in range(ceil_div(units, height)):
            i = tile * height
            (<tile_fn>job.kernels.tile)(
                min(height, units - i), min(nr, width - j), kc, d + i * size, 1, vw, r, nr,
                out + (i * width + j) * size, width, k > 0, NULL, r + 8 * nr * size, nr)
        r += job.room * nr * size


cdef void weights_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>ctx
    cdef Py_ssize_t H = job.H, D = job.D, size = job.size, vw = job.kernels.nr // 2
    cdef Py_ssize_t across = ceil_div(H, vw), total = job.blocks * across, piece, k, kc, v, j
    cdef Py_ssize_t units
    cdef Py_ssize_t of_a, of_m     # the gates that a block belongs to, or -1
    cdef const char *d
    cdef char *bias = NULL
    for piece in range(ceil_div(job.valid, PIECE)):
        k = piece * PIECE
        kc = min(PIECE, job.valid - k)
        for v in range(chunk * job.vectors, min(total, (chunk + 1) * job.vectors)):
            of_a = of_m = v // across
            if job.blocks > job.G:
                of_a = (of_m + 2) % 3 if of_m < 3 else -1
                of_m -= 1
            j = v % across * vw
            units = min(vw, H - j)
            d = job.panels + (v * job.room + k) * vw * size
            if of_a >= 0:
                j += of_a * H
                add_up(job, units, D, k, kc, d, job.met_x, job.g_weight_ih + j * D * size)
                job.kernels.sum_rows(kc, d, units, k > 0, job.g_bias_ih + j * size)
                j -= of_a * H
            if of_m >= 0:
                j += of_m * H
                add_up(job, units, H, k, kc, d, job.met_h, job.g_weight_hh + j * H * size)
                if job.g_bias_hh:
                    job.kernels.sum_rows(kc, d, units, k > 0, job.g_bias_hh + j * size)
