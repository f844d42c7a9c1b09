"""Matrix products: packed panels, register tiles, chunks over the pool.

    C = A B (each possibly transposed in memory), and y = x W^T + b

Which operand is broadcast and which is loaded in vectors (simd/tile.inc: L and R) is chosen by
cost. Normally L = A, R = B. With L = B^T, R = A^T the tile is C transposed: then few rows (a batch
of 32) are the vector axis and a large weight is broadcast from where it lies, never packed.

Loops, outside in: chunks of the output (over threads) > pieces of K, so that a block of R stays in
L2 > tiles of rows, whose part of L stays in L1 > panels of columns > the tile. R is packed once a
call into panels of NR columns, by all threads, unless its rows are contiguous and used by few tiles
of rows only. L is copied a tile at a time when enough columns use the copy, or when its rows lie a
multiple of 4096 bytes apart and would push each other out of the cache.

Each element of C is the sum over pieces of K in order, each piece a chain of fused multiply-adds in
order; pieces depend on K alone. So tiles, chunks, threads and the choice of L leave no trace in the
bits. Only products with at most four rows or columns and both operands contiguous along K run as
dot products, whose lanes add up in another fixed order.

Bytes: A and B once each, C written once (and read and written again for each further piece of K).
Source: see simd/tile.inc.
"""

cimport numpy as cnp
from libc.string cimport memcpy
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for, scratch

cnp.import_array()

__all__ = ["linear", "matmul"]

cdef extern from "gemm.h":
    struct gemm_kernels:
        void *tile
        void *pack
        void *pack_transposed
        void *store_transposed
        void *dot
        Py_ssize_t mr, nr
    const gemm_kernels *const gemm_kernels_table[3][2]

ctypedef void (*tile_fn)(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t kc, const void *l, Py_ssize_t lis, Py_ssize_t lks,
    const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc, int accumulate,
    const void *bias) noexcept nogil
ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil
ctypedef void (*store_fn)(
    const void *tile, Py_ssize_t m, Py_ssize_t n, void *c, Py_ssize_t ldc, int accumulate,
    const void *bias) noexcept nogil
ctypedef void (*dot_fn)(
    Py_ssize_t m, Py_ssize_t kc, const void *l, Py_ssize_t lis, const void *r, void *c,
    Py_ssize_t ldc, const void *bias, Py_ssize_t bias_stride) noexcept nogil

cdef enum:
    PIECE_BYTES = 1536          # of K: 12 rows x 1.5 KiB of L and the passing R in 32 KiB of L1
    BLOCK_BYTES = 400 << 10     # of R: under half of 1 MiB of L2
    ALONE = 1 << 19             # multiply-adds under which a product stays on its thread
    WITH_GIL = 1 << 14          # ... and under which the GIL is not worth releasing
    CHUNKS = 16                 # aimed at: a descheduled thread holds back 1/16
    PAD = 16                    # elements between copied rows, so that they differ in cache set


cdef struct Product:
    const gemm_kernels *kernels
    Py_ssize_t size                     # bytes of an element; all strides count elements
    Py_ssize_t rows, cols, K, batch           # rows of L, columns of R, reduction, products
    const char *l
    Py_ssize_t lis, lks, l_item         # strides along i, k and the batch
    const char *r
    Py_ssize_t rjs, rks, r_item
    char *c
    Py_ssize_t cis, cjs, c_item         # cjs == 1, or cis == 1 where L and R are swapped
    const char *bias                    # along j, or along i where swapped
    Py_ssize_t pieces, piece            # of K, and the longest one
    Py_ssize_t tiles, panels            # of rows, of columns
    Py_ssize_t direct                   # panels read where they lie; the others are packed
    bint swapped, copy_l
    Py_ssize_t tiles_a_chunk, panels_a_chunk, items_a_chunk
    char *packed                        # panels direct .. panels - 1 of the current item


cdef inline Py_ssize_t cut(Py_ssize_t length, Py_ssize_t pieces, Py_ssize_t i) noexcept nogil:
    """Start of piece i when `length` is cut into `pieces` that differ by one at most."""
    return i * length // pieces


cdef void pack_panel(const Product *p, Py_ssize_t item, Py_ssize_t panel, char *to) noexcept nogil:
    """One panel for all of K: to[k][0 .. NR), zeros beyond the last column."""
    cdef Py_ssize_t nr = p.kernels.nr, j = panel * nr
    cdef const char *r = p.r + (item * p.r_item + j * p.rjs) * p.size
    if p.rjs == 1:
        (<pack_fn>p.kernels.pack)(r, p.rks, p.K, min(nr, p.cols - j), nr, to)
    else:
        (<pack_fn>p.kernels.pack_transposed)(r, p.rjs, p.K, min(nr, p.cols - j), nr, to)


cdef void block(const Product *p, Py_ssize_t item, const char *packed, Py_ssize_t t0, Py_ssize_t t1,
                Py_ssize_t panel0, Py_ssize_t panel1) noexcept nogil:
    """Tiles t0 .. t1 of rows times panels panel0 .. panel1 of columns, over all of K."""
    cdef Py_ssize_t size = p.size, mr = p.kernels.mr, nr = p.kernels.nr
    cdef Py_ssize_t piece, k0, kc, t, i, m, panel, j, n, lis, lks, rks, row
    cdef const char *l
    cdef const char *r
    cdef const char *bias
    cdef char *c
    cdef char *l_copy
    cdef char *turned       # a tile of the transposed product
    cdef bint last
    cdef Py_ssize_t copy_stride = p.piece + PAD
    l_copy = <char *>scratch(0, (mr * copy_stride + mr * nr) * size)
    turned = l_copy + mr * copy_stride * size
    for piece in range(p.pieces):
        k0 = cut(p.K, p.pieces, piece)
        kc = cut(p.K, p.pieces, piece + 1) - k0
        last = piece == p.pieces - 1
        for t in range(t0, t1):
            i = cut(p.rows, p.tiles, t)
            m = cut(p.rows, p.tiles, t + 1) - i
            l = p.l + (item * p.l_item + i * p.lis + k0 * p.lks) * size
            lis, lks = p.lis, p.lks
            if p.copy_l:
                if lks == 1:
                    for row in range(m):
                        memcpy(l_copy + row * copy_stride * size, l + row * lis * size, kc * size)
                    lis = copy_stride
                else:
                    copy_columns(p, l, lks, kc, m, l_copy)
                    lks = m
                l = l_copy
            for panel in range(panel0, panel1):
                j = panel * nr
                n = min(nr, p.cols - j)
                if panel < p.direct:
                    r = p.r + (item * p.r_item + k0 * p.rks + j) * size
                    rks = p.rks
                else:
                    r = packed + ((panel - p.direct) * p.K + k0) * nr * size
                    rks = nr
                c = p.c + (item * p.c_item + i * p.cis + j * p.cjs) * size
                bias = p.bias if last else NULL
                if not p.swapped:
                    if bias:
                        bias += j * size
                    (<tile_fn>p.kernels.tile)(
                        m, n, kc, l, lis, lks, r, rks, c, p.cis, piece > 0, bias)
                else:
                    if bias:
                        bias += i * size
                    (<tile_fn>p.kernels.tile)(
                        m, n, kc, l, lis, lks, r, rks, turned, nr, False, NULL)
                    (<store_fn>p.kernels.store_transposed)(
                        turned, m, n, c, p.cjs, piece > 0, bias)


cdef inline void copy_columns(const Product *p, const char *l, Py_ssize_t lks, Py_ssize_t kc,
                              Py_ssize_t m, char *to) noexcept nogil:
    """to[k][0 .. m) = l[k * lks + 0 .. m)."""
    cdef Py_ssize_t k
    for k in range(kc):
        memcpy(to + k * m * p.size, l + k * lks * p.size, m * p.size)


cdef void block_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Product *p = <Product *>ctx
    cdef Py_ssize_t across = (p.panels + p.panels_a_chunk - 1) // p.panels_a_chunk
    cdef Py_ssize_t down = (p.tiles + p.tiles_a_chunk - 1) // p.tiles_a_chunk
    cdef Py_ssize_t y = chunk % down, x = chunk // down
    block(p, 0, p.packed, cut(p.tiles, down, y), cut(p.tiles, down, y + 1),
          cut(p.panels, across, x), cut(p.panels, across, x + 1))


cdef void pack_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Product *p = <Product *>ctx
    pack_panel(p, 0, p.direct + chunk, p.packed + chunk * p.K * p.kernels.nr * p.size)


cdef void items_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Whole products, each packed and computed by one thread."""
    cdef Product *p = <Product *>ctx
    cdef Py_ssize_t item, panel, panel_bytes = p.K * p.kernels.nr * p.size
    cdef char *packed = NULL
    if p.direct < p.panels:
        packed = <char *>scratch(1, (p.panels - p.direct) * panel_bytes)
    for item in range(chunk * p.items_a_chunk, min(p.batch, (chunk + 1) * p.items_a_chunk)):
        if packed and (p.r_item or item == chunk * p.items_a_chunk):
            for panel in range(p.direct, p.panels):
                pack_panel(p, item, panel, packed + (panel - p.direct) * panel_bytes)
        block(p, item, packed, 0, p.tiles, 0, p.panels)


cdef void dot_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Rows of L (tiles_a_chunk of them) times all, at most four, columns of R; any batch item."""
    cdef Product *p = <Product *>ctx
    cdef Py_ssize_t down = (p.rows + p.tiles_a_chunk - 1) // p.tiles_a_chunk
    cdef Py_ssize_t item = chunk // down, j, i, m
    cdef const char *bias
    i = (chunk % down) * p.tiles_a_chunk
    m = min(p.tiles_a_chunk, p.rows - i)
    for j in range(p.cols):
        bias = p.bias
        if bias:
            bias += (i if p.swapped else j) * p.size
        (<dot_fn>p.kernels.dot)(
            m, p.K, p.l + (item * p.l_item + i * p.lis) * p.size, p.lis,
            p.r + (item * p.r_item + j * p.rjs) * p.size,
            p.c + (item * p.c_item + i * p.cis + j * p.cjs) * p.size, p.cis, bias, p.swapped)


cdef inline double cost(Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t K, bint contiguous, bint turned,
                        Py_ssize_t vw) noexcept nogil:
    """Cycles, roughly: multiply-adds, packing of R, the transposed store."""
    cdef double cycles = <double>rows * K * ((cols + vw - 1) // vw)
    if not contiguous:
        cycles += 0.5 * K * cols
    if turned:
        cycles += 1.3 * rows * cols
    return cycles


cdef void run(Product *p) noexcept nogil:
    cdef Py_ssize_t nr = p.kernels.nr, mr = p.kernels.mr, size = p.size, item, chunks
    cdef double work = <double>p.rows * p.cols * p.K
    p.tiles = (p.rows + mr - 1) // mr
    p.panels = (p.cols + nr - 1) // nr
    p.pieces = (p.K * size + PIECE_BYTES - 1) // PIECE_BYTES
    p.piece = (p.K + p.pieces - 1) // p.pieces
    # a packed element costs about a third of a cycle and saves strided reads of every row tile
    p.direct = p.cols // nr if p.rjs == 1 and p.tiles < 8 else 0
    p.copy_l = p.panels >= 4 and p.K > 16 or (
        p.panels > 0 and (p.lis if p.lks == 1 else p.lks) * size % 4096 == 0 and p.K > 16)

    if p.batch > 1 and work < 8 * ALONE or work * p.batch < ALONE:
        p.items_a_chunk = max(1, <Py_ssize_t>(ALONE / work)) if work < ALONE else 1
        parallel_for(items_chunk, p, (p.batch + p.items_a_chunk - 1) // p.items_a_chunk)
        return
    p.panels_a_chunk = max(1, min(p.panels, BLOCK_BYTES // (p.piece * nr * size)))
    p.tiles_a_chunk = min(p.tiles, 24)
    while True:
        chunks = (((p.panels + p.panels_a_chunk - 1) // p.panels_a_chunk)
                  * ((p.tiles + p.tiles_a_chunk - 1) // p.tiles_a_chunk))
        if chunks >= CHUNKS or work / chunks < ALONE:
            break
        if p.panels_a_chunk * nr > p.tiles_a_chunk * mr and p.panels_a_chunk > 1:
            p.panels_a_chunk = (p.panels_a_chunk + 1) // 2
        elif p.tiles_a_chunk > 1:
            p.tiles_a_chunk = (p.tiles_a_chunk + 1) // 2
        else:
            break
    for item in range(p.batch):
        if p.direct < p.panels and (item == 0 or p.r_item):
            p.packed = <char *>scratch(2, (p.panels - p.direct) * p.K * nr * size)
            parallel_for(pack_chunk, p, p.panels - p.direct)
        parallel_for(block_chunk, p, chunks)
        p.l += p.l_item * size
        p.r += p.r_item * size
        p.c += p.c_item * size


cdef void run_dots(Product *p) noexcept nogil:
    p.tiles_a_chunk = max(4, (1 << 16) // p.K & ~3)
    parallel_for(dot_chunk, p, p.batch * ((p.rows + p.tiles_a_chunk - 1) // p.tiles_a_chunk))


cdef void product(bint is_double, Py_ssize_t batch, Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
                  const char *a, Py_ssize_t ams, Py_ssize_t aks, Py_ssize_t a_item,
                  const char *b, Py_ssize_t bks, Py_ssize_t bns, Py_ssize_t b_item,
                  char *c, const char *bias) noexcept:
    cdef Product p
    cdef bint swap
    cdef Py_ssize_t vw
    p.kernels = gemm_kernels_table[isa.level][is_double]
    p.size = 8 if is_double else 4
    p.K, p.batch, p.c, p.c_item, p.bias = K, batch, c, M * N, bias
    vw = p.kernels.nr // 2
    cdef bint dots = (M <= 4 or N <= 4) and (aks == 1 or K == 1) and (bks == 1 or K == 1)
    if dots:
        swap = M < N        # dot takes many rows and few columns
    else:
        swap = (cost(N, M, K, ams == 1, True, vw) < cost(M, N, K, bns == 1, False, vw))
    p.swapped = swap
    if swap:
        p.rows, p.cols, p.cis, p.cjs = N, M, 1, N
        p.l, p.lis, p.lks, p.l_item = b, bns, bks, b_item
        p.r, p.rjs, p.rks, p.r_item = a, ams, aks, a_item
    else:
        p.rows, p.cols, p.cis, p.cjs = M, N, N, 1
        p.l, p.lis, p.lks, p.l_item = a, ams, aks, a_item
        p.r, p.rjs, p.rks, p.r_item = b, bns, bks, b_item
    if <double>batch * M * N * K < WITH_GIL:
        if dots:
            run_dots(&p)
        else:
            run(&p)
    else:
        with nogil:
            if dots:
                run_dots(&p)
            else:
                run(&p)


def matmul(cnp.ndarray a, cnp.ndarray b, cnp.ndarray out, bint transpose_a, bint transpose_b):
    """Write ``out[i] = a[i] b[i]`` for each batch i; a batch of one serves all."""
    cdef const cnp.npy_intp *shape_a = cnp.PyArray_DIMS(a)
    cdef const cnp.npy_intp *shape_b = cnp.PyArray_DIMS(b)
    cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(out)
    cdef Py_ssize_t M = shape[1], N = shape[2], K = shape_a[1 if transpose_a else 2]
    product(cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE, shape[0], M, N, K,
            cnp.PyArray_BYTES(a), 1 if transpose_a else K, M if transpose_a else 1,
            M * K if shape_a[0] > 1 else 0,
            cnp.PyArray_BYTES(b), 1 if transpose_b else N, K if transpose_b else 1,
            K * N if shape_b[0] > 1 else 0,
            cnp.PyArray_BYTES(out), NULL)


def linear(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out):
    """Write ``out = x weight^T + bias``."""
    cdef Py_ssize_t M = cnp.PyArray_DIM(x, 0), K = cnp.PyArray_DIM(x, 1)
    cdef Py_ssize_t N = cnp.PyArray_DIM(weight, 0)
    product(cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE, 1, M, N, K,
            cnp.PyArray_BYTES(x), K, 1, 0, cnp.PyArray_BYTES(weight), 1, K, 0,
            cnp.PyArray_BYTES(out), NULL if bias is None else cnp.PyArray_BYTES(bias))
