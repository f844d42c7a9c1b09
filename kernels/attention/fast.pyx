"""Scaled dot-product attention in tiles of scores; equations in reference.py.

Forward: chunks of queries (BLOCK of one head) over the threads. A chunk goes over the keys, KEYS at
a time: k^T is packed into panels and v copied once for all its queries; then, a tile of MR queries
after the other, scores = q k^T, softmax so far, out += p v, so that a tile's scores stay in L1. The
running maxima and sums are put right at every step (the online softmax).

Gradient: chunks of keys (a part of a head) over the threads. For each KEYS of them all queries pass
by, BLOCK at a time: scores and g v^T again, then dv += p^T g, dk += ds^T q, dq += ds k: five
products, each tile of weights computed once. Where there are few heads, a head's keys are cut into
parts; each has sums of dq of its own, added in order.

Blocks and parts depend on the shapes alone, so threads leave no trace in the bits.

Bytes: q, k, v, out once while a head fits the cache; the tiles never leave it. Memory: L + S lines
of scratch a chunk, and at most PARTS dq of one head. Source: see reference.py.
"""

cimport numpy as cnp
from libc.math cimport INFINITY
from libc.string cimport memset
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for, scratch

cnp.import_array()

__all__ = ["attention", "attention_grad"]

cdef extern from "attention.h" nogil:
    enum:
        NO_MASK
        BOOLEAN_MASK
        ADDED_MASK
    struct scores:
        void *s
        Py_ssize_t step, rows, n
        const void *mask
        Py_ssize_t mask_step
        int kind
        Py_ssize_t seen
    struct attention_kernels:
        void (*tile)(Py_ssize_t m, Py_ssize_t n, Py_ssize_t kc, const void *l, Py_ssize_t lis,
                     Py_ssize_t lks, const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc,
                     int accumulate, const void *bias, const void *ahead,
                     Py_ssize_t ahead_step) noexcept nogil
        void (*pack_transposed)(const void *r, Py_ssize_t rjs, Py_ssize_t kc, Py_ssize_t n,
                                Py_ssize_t width, void *out) noexcept nogil
        void (*dots)(const void *rows, Py_ssize_t step, Py_ssize_t n, Py_ssize_t width,
                     const void *q, void *s) noexcept nogil
        void (*copy)(const void *, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t n,
                     Py_ssize_t width, double scale, void *to) noexcept nogil
        void (*soften)(const scores *, int first, void *top, void *total, void *out,
                       Py_ssize_t out_step, Py_ssize_t width) noexcept nogil
        void (*finish)(void *out, Py_ssize_t out_step, Py_ssize_t rows, Py_ssize_t width,
                       const void *top, const void *total, void *lse) noexcept nogil
        void (*deltas)(const void *g, const void *out, Py_ssize_t step, Py_ssize_t rows,
                       Py_ssize_t width, const void *g_lse, void *delta) noexcept nogil
        void (*weigh)(const scores *, void *dp, const void *lse,
                      const void *delta) noexcept nogil
        void (*gather)(const void *parts, Py_ssize_t count, Py_ssize_t part_step,
                       Py_ssize_t width, Py_ssize_t rows, Py_ssize_t n, double scale, void *to,
                       Py_ssize_t to_step) noexcept nogil
        Py_ssize_t mr, nr
    const attention_kernels *const attention_kernels_table[3][2]

cdef enum:
    BLOCK = 192         # queries of a forward chunk: packing k is a fiftieth of their products
    GRAD_BLOCK = 96     # queries whose weights and slopes, against KEYS, stay in L2
    KEYS = 128          # keys at a time: the scores of a tile of queries are a quarter of L1
    PAD = 16            # elements between rows of scores, so that they differ in cache set
    PARTS = 16          # chunks aimed at where there are few heads
    ALONE = 1 << 19     # multiply-adds that are worth a thread
    WITH_GIL = 1 << 14  # ... and under which the GIL is not worth releasing
    FEW = 4             # queries for which k and v are read where they lie: copies cost more

cdef struct Job:
    const attention_kernels *kernels
    Py_ssize_t size                     # bytes of an element; all other numbers count elements
    Py_ssize_t N, H, L, S, E, V
    bint heads_first
    const char *q
    const char *k
    const char *v
    const char *g
    const char *g_lse
    char *out
    char *lse
    char *dq
    char *dk
    char *dv
    const char *mask
    int kind
    Py_ssize_t mask_size, mask_n, mask_h, mask_l    # bytes of an element; strides, 0 where size 1
    double scale
    bint causal
    Py_ssize_t blocks                   # of queries
    Py_ssize_t units_a_chunk, units     # forward: blocks of all heads
    Py_ssize_t key_blocks, parts        # gradient: of a head
    char *partial                       # dq (heads, parts, L, wide E) where there are parts


cdef inline Py_ssize_t cut(Py_ssize_t length, Py_ssize_t pieces, Py_ssize_t i) noexcept nogil:
    """Start of piece i when `length` is cut into `pieces` that differ by one at most."""
    return i * length // pieces


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t whole(const Job *p, Py_ssize_t n) noexcept nogil:
    """n rounded up to whole vectors."""
    return ceil_div(n, p.kernels.nr // 2) * (p.kernels.nr // 2)


cdef inline Py_ssize_t at(const Job *p, Py_ssize_t head, Py_ssize_t i, Py_ssize_t length,
                          Py_ssize_t width) noexcept nogil:
    """Byte offset of row i of a head of an array of this length and width."""
    if p.heads_first:
        return (head * length + i) * width * p.size
    return ((head // p.H * length + i) * p.H + head % p.H) * width * p.size


cdef inline Py_ssize_t step(const Job *p, Py_ssize_t width) noexcept nogil:
    return width if p.heads_first else p.H * width


cdef void product(const Job *p, Py_ssize_t m, Py_ssize_t n, Py_ssize_t kc, const char *l,
                  Py_ssize_t lis, Py_ssize_t lks, const char *r, Py_ssize_t panel, Py_ssize_t rks,
                  char *c, Py_ssize_t ldc, bint accumulate) noexcept nogil:
    """c (m, n) (+)= l r in register tiles; the columns of r lie in panels `panel` apart."""
    cdef Py_ssize_t tiles = ceil_div(m, p.kernels.mr), height = ceil_div(m, tiles)
    cdef Py_ssize_t nr = p.kernels.nr, i, j, t
    cdef Py_ssize_t ahead = 8 * p.kernels.mr // height  # a step of few rows takes less time
    cdef const char *right
    for j in range(ceil_div(n, nr)):
        right = r + j * panel * p.size
        for t in range(ceil_div(m, height)):
            i = t * height
            p.kernels.tile(min(height, m - i), min(nr, n - j * nr), kc, l + i * lis * p.size, lis,
                           lks, right, rks, c + (i * ldc + j * nr) * p.size, ldc, accumulate, NULL,
                           right + ahead * rks * p.size, rks)


cdef void pack(const Job *p, const char *rows, Py_ssize_t row_step, Py_ssize_t n,
               Py_ssize_t width, char *to) noexcept nogil:
    """The transpose of `rows` (n, width) as panels of NR columns."""
    cdef Py_ssize_t nr = p.kernels.nr, j, panel
    for panel in range(ceil_div(n, nr)):
        j = panel * nr
        p.kernels.pack_transposed(rows + j * row_step * p.size, row_step, width, min(nr, n - j),
                                  nr, to + j * width * p.size)


cdef void tile_of(const Job *p, Py_ssize_t head, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t j,
                  Py_ssize_t n, char *s, scores *tile) noexcept nogil:
    """The scores of queries i .. i + rows and keys j .. j + n: their place and their mask."""
    tile.s, tile.step, tile.rows, tile.n = s, KEYS + PAD, rows, n
    tile.kind, tile.mask_step = p.kind, p.mask_l
    if p.kind != NO_MASK:
        tile.mask = p.mask + p.mask_size * (
            head // p.H * p.mask_n + head % p.H * p.mask_h + i * p.mask_l + j)
    tile.seen = i + 1 - j if p.causal else n


cdef void forward_block(const Job *p, Py_ssize_t head, Py_ssize_t block) noexcept nogil:
    cdef const attention_kernels *kernels = p.kernels
    cdef Py_ssize_t size = p.size, nr = kernels.nr, E = p.E, V = p.V
    cdef Py_ssize_t first = cut(p.L, p.blocks, block)
    cdef Py_ssize_t m = cut(p.L, p.blocks, block + 1) - first
    cdef Py_ssize_t wide_e = whole(p, E), wide_v = whole(p, V), height, key_block, i, j, n, t
    cdef Py_ssize_t rows, row, here, v_step
    cdef const char *v
    cdef Py_ssize_t out_step = step(p, V), k_step = step(p, E)
    cdef bint few = m <= FEW
    cdef scores tile
    cdef char *queries = <char *>scratch(0, size * (
        m * wide_e + KEYS * E + KEYS * wide_v + (kernels.mr + 1) * (KEYS + PAD)
        + (m + 2 * nr) * (1 + nr) + nr))
    cdef char *packed = queries + m * wide_e * size
    cdef char *values = packed + KEYS * E * size
    cdef char *s = values + KEYS * wide_v * size
    cdef char *top = s + (kernels.mr + 1) * (KEYS + PAD) * size
    cdef char *total = top + (m + 2 * nr) * size
    cdef char *out = p.out + at(p, head, first, p.L, V)
    height = ceil_div(m, ceil_div(m, kernels.mr))
    kernels.copy(p.q + at(p, head, first, p.L, E), k_step, m, E, wide_e, p.scale, queries)
    fill_lowest(top, m + 2 * nr, size)
    for key_block in range(ceil_div(min(p.S, first + m) if p.causal else p.S, KEYS)):
        j = key_block * KEYS
        n = min(KEYS, p.S - j)
        if not few:
            pack(p, p.k + at(p, head, j, p.S, E), k_step, n, E, packed)
        v = p.v + at(p, head, j, p.S, V)
        v_step = out_step
        if not few or V < wide_v:
            kernels.copy(v, out_step, n, V, wide_v, 1, values)
            v, v_step = values, wide_v
        for t in range(ceil_div(m, height)):
            i = t * height
            rows = min(height, m - i)
            here = min(n, first + i + rows - j) if p.causal else n
            if here <= 0:   # all these keys come later
                continue
            tile_of(p, head, first + i, rows, j, here, s, &tile)
            if few:
                for row in range(rows):
                    kernels.dots(p.k + at(p, head, j, p.S, E), k_step, here, E,
                                 queries + (i + row) * wide_e * size, s + row * tile.step * size)
            else:
                product(p, rows, here, E, queries + i * wide_e * size, wide_e, 1, packed, nr * E,
                        nr, s, tile.step, False)
            kernels.soften(&tile, j == 0, top + i * size, total + i * (nr // 2) * size,
                           out + i * out_step * size, out_step, V)
            product(p, rows, V, here, s, tile.step, 1, v, nr, v_step,
                    out + i * out_step * size, out_step, j > 0)
    kernels.finish(out, out_step, m, V, top, total, p.lse + (head * p.L + first) * size)


cdef void fill_lowest(char *to, Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if size == 8:
            (<double *>to)[i] = -INFINITY
        else:
            (<float *>to)[i] = -INFINITY


cdef void forward_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *p = <Job *>ctx
    cdef Py_ssize_t unit, first = chunk * p.units_a_chunk
    for unit in range(first, min(p.units, first + p.units_a_chunk)):
        forward_block(p, unit // p.blocks, unit % p.blocks)


cdef void grad_part(const Job *p, Py_ssize_t head, Py_ssize_t part) noexcept nogil:
    """dk and dv of a part of a head's keys, and what these keys give to dq."""
    cdef const attention_kernels *kernels = p.kernels
    cdef Py_ssize_t size = p.size, nr = kernels.nr, E = p.E, V = p.V, L = p.L, S = p.S
    cdef Py_ssize_t wide_e = whole(p, E), wide_v = whole(p, V), width = KEYS + PAD
    cdef Py_ssize_t e_step = step(p, E), v_step = step(p, V), most = min(L, GRAD_BLOCK)
    cdef Py_ssize_t key_block, j, n, block, first, m, height, i, t, rows, row, here
    cdef bint begun
    cdef scores tile
    cdef char *keys = <char *>scratch(0, size * (
        KEYS * (wide_e + E + V) + most * (wide_e + wide_v + 2 * width) + L))
    cdef char *keys_packed = keys + KEYS * wide_e * size
    cdef char *values_packed = keys_packed + KEYS * E * size
    cdef char *queries = values_packed + KEYS * V * size
    cdef char *cotangents = queries + most * wide_e * size
    cdef char *s = cotangents + most * wide_v * size
    cdef char *ds = s + most * width * size
    cdef char *delta = ds + most * width * size
    cdef char *dq = p.partial + (head * p.parts + part) * L * wide_e * size
    cdef char *dk
    cdef char *dv
    if p.parts == 1:
        dq = <char *>scratch(1, L * wide_e * size)
    memset(dq, 0, L * wide_e * size)
    kernels.deltas(p.g + at(p, head, 0, L, V), p.out + at(p, head, 0, L, V), v_step, L, V,
                   p.g_lse + head * L * size, delta)
    for key_block in range(cut(p.key_blocks, p.parts, part), cut(p.key_blocks, p.parts, part + 1)):
        j = key_block * KEYS
        n = min(KEYS, S - j)
        dk = p.dk + at(p, head, j, S, E)
        dv = p.dv + at(p, head, j, S, V)
        kernels.copy(p.k + at(p, head, j, S, E), e_step, n, E, wide_e, 1, keys)
        pack(p, keys, wide_e, n, E, keys_packed)
        pack(p, p.v + at(p, head, j, S, V), v_step, n, V, values_packed)
        begun = False
        for block in range(p.blocks):
            first = cut(L, p.blocks, block)
            m = cut(L, p.blocks, block + 1) - first
            if p.causal and first + m <= j:
                continue
            kernels.copy(p.q + at(p, head, first, L, E), e_step, m, E, wide_e, p.scale, queries)
            kernels.copy(p.g + at(p, head, first, L, V), v_step, m, V, wide_v, 1, cotangents)
            height = ceil_div(m, ceil_div(m, kernels.mr))
            for t in range(ceil_div(m, height)):
                i = t * height
                rows = min(height, m - i)
                here = max(0, min(n, first + i + rows - j)) if p.causal else n
                if here:
                    tile_of(p, head, first + i, rows, j, here, s + i * width * size, &tile)
                    product(p, rows, here, E, queries + i * wide_e * size, wide_e, 1, keys_packed,
                            nr * E, nr, s + i * width * size, width, False)
                    product(p, rows, here, V, cotangents + i * wide_v * size, wide_v, 1,
                            values_packed, nr * V, nr, ds + i * width * size, width, False)
                    kernels.weigh(&tile, ds + i * width * size,
                                  p.lse + (head * L + first + i) * size,
                                  delta + (first + i) * size)
                if here < n:    # these keys come later
                    for row in range(i, i + rows):
                        memset(s + (row * width + here) * size, 0, (n - here) * size)
                        memset(ds + (row * width + here) * size, 0, (n - here) * size)
            product(p, n, V, m, s, 1, width, cotangents, nr, wide_v, dv, v_step, begun)
            product(p, n, E, m, ds, 1, width, queries, nr, wide_e, dk, e_step, begun)
            product(p, m, E, n, ds, width, 1, keys, nr, wide_e, dq + first * wide_e * size, wide_e,
                    True)
            begun = True
        if not begun:
            for i in range(n):
                memset(dk + i * e_step * size, 0, E * size)
                memset(dv + i * v_step * size, 0, V * size)
    if p.parts == 1:
        kernels.gather(dq, 1, 0, wide_e, L, E, p.scale, p.dq + at(p, head, 0, L, E), e_step)


cdef void grad_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *p = <Job *>ctx
    cdef Py_ssize_t unit, first = chunk * p.units_a_chunk
    for unit in range(first, min(p.units, first + p.units_a_chunk)):
        grad_part(p, unit // p.parts, unit % p.parts)


cdef void gather_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """dq of a block of queries from the parts of its head."""
    cdef Job *p = <Job *>ctx
    cdef Py_ssize_t head = chunk // p.blocks, block = chunk % p.blocks
    cdef Py_ssize_t first = cut(p.L, p.blocks, block), wide_e = whole(p, p.E)
    p.kernels.gather(p.partial + (head * p.parts * p.L + first) * wide_e * p.size, p.parts,
                     p.L * wide_e, wide_e, cut(p.L, p.blocks, block + 1) - first, p.E, p.scale,
                     p.dq + at(p, head, first, p.L, p.E), step(p, p.E))


cdef void run(Job *p) noexcept nogil:
    cdef double work = <double>p.L / p.blocks * p.S * (p.E + p.V)
    p.units = p.N * p.H * p.blocks
    p.units_a_chunk = <Py_ssize_t>(ALONE / work) + 1
    parallel_for(forward_chunk, p, ceil_div(p.units, p.units_a_chunk))


cdef void run_grad(Job *p) noexcept nogil:
    cdef double work = <double>p.L * p.S * (3 * p.E + 2 * p.V)
    p.key_blocks = ceil_div(p.S, KEYS)
    p.parts = min(p.key_blocks, ceil_div(PARTS, p.N * p.H))
    p.units = p.N * p.H * p.parts
    p.units_a_chunk = <Py_ssize_t>(ALONE * p.parts / work) + 1
    if p.parts > 1:
        p.partial = <char *>scratch(2, p.units * p.L * whole(p, p.E) * p.size)
    parallel_for(grad_chunk, p, ceil_div(p.units, p.units_a_chunk))
    if p.parts > 1:
        parallel_for(gather_chunk, p, p.N * p.H * p.blocks)


cdef Job prepared(cnp.ndarray q, cnp.ndarray k, cnp.ndarray v, mask, cnp.ndarray out,
                  cnp.ndarray lse, double scale, bint causal, bint heads_first,
                  Py_ssize_t block) except *:
    cdef Job p
    cdef cnp.ndarray given
    cdef Py_ssize_t L
    memset(&p, 0, sizeof(Job))
    p.kernels = attention_kernels_table[isa.level][cnp.PyArray_TYPE(q) == cnp.NPY_DOUBLE]
    p.size = cnp.PyArray_ITEMSIZE(q)
    p.N, p.H, p.L = cnp.PyArray_DIM(lse, 0), cnp.PyArray_DIM(lse, 1), cnp.PyArray_DIM(lse, 2)
    p.S = cnp.PyArray_DIM(k, 2 if heads_first else 1)
    p.E, p.V = cnp.PyArray_DIM(q, 3), cnp.PyArray_DIM(v, 3)
    p.q, p.k, p.v = cnp.PyArray_BYTES(q), cnp.PyArray_BYTES(k), cnp.PyArray_BYTES(v)
    p.out, p.lse = cnp.PyArray_BYTES(out), cnp.PyArray_BYTES(lse)
    p.scale, p.causal, p.heads_first = scale, causal, heads_first
    p.blocks = ceil_div(p.L, block)
    p.kind = NO_MASK
    if mask is not None:
        given = mask
        p.kind = BOOLEAN_MASK if cnp.PyArray_TYPE(given) == cnp.NPY_BOOL else ADDED_MASK
        p.mask, p.mask_size = cnp.PyArray_BYTES(given), cnp.PyArray_ITEMSIZE(given)
        L = cnp.PyArray_DIM(given, 2)
        p.mask_l = p.S if L > 1 else 0
        p.mask_h = L * p.S if cnp.PyArray_DIM(given, 1) > 1 else 0
        p.mask_n = (cnp.PyArray_DIM(given, 1) * L * p.S if cnp.PyArray_DIM(given, 0) > 1 else 0)
    return p


def attention(cnp.ndarray q, cnp.ndarray k, cnp.ndarray v, mask, cnp.ndarray out, cnp.ndarray lse,
              double scale, bint causal, bint heads_first):
    """Write ``out = softmax(scale q k^T + mask) v`` and the log-sum-exp of every row of scores."""
    cdef Job p = prepared(q, k, v, mask, out, lse, scale, causal, heads_first, BLOCK)
    if <double>cnp.PyArray_SIZE(lse) * p.S * (p.E + p.V) < WITH_GIL:
        run(&p)
    else:
        with nogil:
            run(&p)


def attention_grad(cnp.ndarray g, cnp.ndarray g_lse, cnp.ndarray q, cnp.ndarray k, cnp.ndarray v,
                   mask, cnp.ndarray out, cnp.ndarray lse, cnp.ndarray dq, cnp.ndarray dk,
                   cnp.ndarray dv, double scale, bint causal, bint heads_first):
    """Write the gradients of <g, out> + <g_lse, lse>."""
    cdef Job p = prepared(q, k, v, mask, out, lse, scale, causal, heads_first, GRAD_BLOCK)
    p.g, p.g_lse = cnp.PyArray_BYTES(g), cnp.PyArray_BYTES(g_lse)
    p.dq, p.dk, p.dv = cnp.PyArray_BYTES(dq), cnp.PyArray_BYTES(dk), cnp.PyArray_BYTES(dv)
    if <double>cnp.PyArray_SIZE(lse) * p.S * (p.E + p.V) < WITH_GIL:
        run_grad(&p)
    else:
        with nogil:
            run_grad(&p)
