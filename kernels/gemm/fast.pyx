"""Matrix products: packed panels, register tiles, chunks over the pool.

    C = A B (each possibly transposed in memory), and y = x W^T + b

Which operand is broadcast and which is loaded in vectors (simd/tile.inc: L and R) is chosen by
cost. Normally L = A, R = B. With L = B^T, R = A^T the tile is C transposed: then few rows (a batch
of 32) are the vector axis and a large weight is broadcast from where it lies, never packed.

Loops, outside in: windows (which bound the packed copies) > chunks of the output (over threads) >
pieces of K, so that a block of R stays in L2 > tiles of rows, whose part of L stays in L1 > panels
of columns > the tile. Before the chunks, all threads pack R into panels of NR columns, unless its
rows are contiguous and used by few tiles of rows only: then it is read where it lies or, where it
comes from memory and its rows are pages apart, packed by each chunk, a piece at a time. They also
copy L where its layout is bad for the cache: transposed (a line a step of k), or rows a multiple of
4096 bytes apart, which push each other out, if more than two panels profit.

Each element of C is the sum over pieces of K in order, each piece a chain of fused multiply-adds in
order; pieces depend on K alone. So tiles, chunks, threads and the choice of L leave no trace in the
bits. Only products with at most four rows or columns and both operands contiguous along K run as
dot products, whose lanes add up in another fixed order.

Bytes: A and B once each, C written once (and read and written again for each further piece of K).
Source: see simd/tile.inc.
"""

cimport numpy as cnp
from libc.string cimport memcpy
from medai_engine.kernels.elementwise.fast cimport loop_of, row_of
from medai_engine.kernels.elementwise.pieces cimport elementwise_loop
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for, scratch

cnp.import_array()

__all__ = ["linear", "linear_activation", "matmul", "matmul_add"]

cdef enum:
    PIECE_BYTES = 2048          # of K: 12 rows x 2 KiB of L and the passing R in 32 KiB of L1
    BLOCK_BYTES = 400 << 10     # of R: under half of 1 MiB of L2
    NEAR_FROM = 2 << 20         # bytes of R that no cache near holds
    WINDOW_BYTES = 16 << 20     # of packed L, and of packed R
    WINDOW_PIECES = 16          # of K
    ALONE = 1 << 19             # multiply-adds under which a product stays on its thread
    WITH_GIL = 1 << 14          # ... and under which the GIL is not worth releasing
    DOT_BYTES = 128             # of K for each of few columns: for less, idle lanes cost less than
                                # adding up
    CHUNKS = 16                 # aimed at: a descheduled thread holds back 1/16
    GROUP = 4                   # panels or tiles packed together: lines read whole, few pages
    PAD = 16                    # elements between copied rows, so that they differ in cache set


cdef inline Py_ssize_t cut(Py_ssize_t length, Py_ssize_t pieces, Py_ssize_t i) noexcept nogil:
    """Start of piece i when `length` is cut into `pieces` that differ by one at most."""
    return i * length // pieces


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef void pack_panels(const Product *p, Py_ssize_t item, Py_ssize_t panel,
                      Py_ssize_t count) noexcept nogil:
    """packed[panel][k][0 .. NR) for the window's k, zeros beyond the last column."""
    cdef Py_ssize_t nr = p.kernels.nr, j = panel * nr, n = min(count * nr, p.cols - j)
    cdef const char *r = p.r + (item * p.r_item + j * p.rjs + p.k0 * p.rks) * p.size
    cdef char *to = p.packed + (panel - max(p.direct, p.panel0)) * p.kw * nr * p.size
    if p.rjs == 1:
        (<pack_fn>p.kernels.pack)(r, p.rks, p.kw, n, nr, to)
        return
    while n > 0:
        (<pack_fn>p.kernels.pack_transposed)(r, p.rjs, p.kw, min(nr, n), nr, to)
        r += nr * p.rjs * p.size
        to += nr * p.kw * p.size
        n -= nr


cdef void copy_tiles(const Product *p, Py_ssize_t item, Py_ssize_t tile,
                     Py_ssize_t count) noexcept nogil:
    """l_copy[row][0 .. l_step), or of columns l_copy[tile][k][0 .. height), for the window's k."""
    cdef Py_ssize_t i = tile * p.height, n = min(count * p.height, p.rows - i), row
    cdef const char *l = p.l + (item * p.l_item + i * p.lis + p.k0 * p.lks) * p.size
    cdef char *to = p.l_copy + (tile - p.tile0) * p.height * p.l_step * p.size
    if p.lks == 1:
        for row in range(n):
            memcpy(to + row * p.l_step * p.size, l + row * p.lis * p.size, p.kw * p.size)
    else:
        (<pack_fn>p.kernels.pack)(l, p.lks, p.kw, n, p.height, to)


cdef void activate(const Product *p, Py_ssize_t item, Py_ssize_t i0, Py_ssize_t i1,
                   Py_ssize_t j0, Py_ssize_t j1) noexcept nogil:
    """Apply act to finished rows and columns of the product while they are in cache."""
    cdef char *c = p.c + (item * p.c_item + i0 * p.cis + j0 * p.cjs) * p.size
    cdef Py_ssize_t rows = i1 - i0, n = j1 - j0, stride = p.cis, one = 1
    cdef const char *source
    if p.swapped:
        rows, n, stride = n, rows, p.cjs
    if n == stride:
        rows, n = 1, rows * n
    for _ in range(rows):
        source = c
        p.act(&source, &one, c, n, p.parameters)
        c += stride * p.size


cdef void block(const Product *p, Py_ssize_t item, Py_ssize_t tile0, Py_ssize_t tile1,
                Py_ssize_t panel0, Py_ssize_t panel1) noexcept nogil:
    """A range of the window's tiles of rows times a range of its panels."""
    cdef Py_ssize_t size = p.size, nr = p.kernels.nr
    cdef Py_ssize_t step, piece, k, kc, tile, i, m, panel, j, n, lis, lks, rks, ahead_step
    cdef const char *ahead
    cdef const char *l
    cdef const char *r
    cdef const char *bias
    cdef char *c
    cdef char *turned = NULL    # a tile of the transposed product
    cdef char *near = NULL      # a piece of the panels, which all tiles use
    if p.swapped or p.near:
        turned = <char *>scratch(0, (p.kernels.mr + p.near * (PIECE_BYTES // size + 1)) * nr * size)
        near = turned + p.kernels.mr * nr * size
    cdef Py_ssize_t pieces = p.piece1 - p.piece0, tiles = tile1 - tile0
    # where R fits for all of K, finish tile after tile: their rows of L then follow each other
    cdef bint by_tile = not p.near and p.kw * (panel1 - panel0) * nr * size <= BLOCK_BYTES
    for step in range(pieces * tiles):
        piece = p.piece0 + (step % pieces if by_tile else step // tiles)
        tile = tile0 + (step // pieces if by_tile else step % tiles)
        k = cut(p.K, p.pieces, piece)
        kc = cut(p.K, p.pieces, piece + 1) - k
        i = tile * p.height
        m = min(p.height, p.rows - i)
        if not p.copy_l:
            l = p.l + (item * p.l_item + i * p.lis + k * p.lks) * size
            lis, lks = p.lis, p.lks
        else:
            l = p.l_copy + (tile - p.tile0) * p.height * p.l_step * size
            if p.lks == 1:
                l += (k - p.k0) * size
                lis, lks = p.l_step, 1
            else:
                l += (k - p.k0) * p.height * size
                lis, lks = 1, p.height
        if p.near and tile == tile0:
            j = panel0 * nr
            (<pack_fn>p.kernels.pack)(p.r + (item * p.r_item + k * p.rks + j) * size, p.rks, kc,
                                      min(panel1 * nr, p.cols) - j, nr, near)
        for panel in range(panel0, panel1):
            j = panel * nr
            n = min(nr, p.cols - j)
            if p.near:
                r = near + (panel - panel0) * kc * nr * size
                rks = nr
            elif panel < p.direct:
                r = p.r + (item * p.r_item + k * p.rks + j) * size
                rks = p.rks
            else:
                r = p.packed + ((panel - max(p.direct, p.panel0)) * p.kw + k - p.k0) * nr * size
                rks = nr
            c = p.c + (item * p.c_item + i * p.cis + j * p.cjs) * size
            bias = NULL
            if p.bias and piece == p.pieces - 1:
                bias = p.bias + (i if p.swapped else j) * size
            ahead = r + 8 * rks * size
            ahead_step = rks
            if by_tile and panel >= p.direct and not p.copy_l and p.lks == 1:
                # fetch the next rows of L as evenly as these are used
                ahead = p.l + (item * p.l_item + (i + m) * p.lis + k * m) * size
                ahead_step = m
            if p.swapped:
                (<tile_fn>p.kernels.tile)(m, n, kc, l, lis, lks, r, rks, turned, nr, False,
                                          NULL, ahead, ahead_step)
                (<store_fn>p.kernels.store_transposed)(
                    turned, m, n, c, p.cjs, p.adds or piece > 0, bias)
            else:
                (<tile_fn>p.kernels.tile)(m, n, kc, l, lis, lks, r, rks, c, p.cis,
                                          p.adds or piece > 0, bias, ahead, ahead_step)
    if p.act and p.piece1 == p.pieces:
        activate(p, item, tile0 * p.height, min(tile1 * p.height, p.rows), panel0 * nr,
                 min(panel1 * nr, p.cols))


cdef void prepare_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Copy a group of tiles of L or pack a group of panels of R."""
    cdef Product *p = <Product *>ctx
    cdef Py_ssize_t copies = ceil_div(p.tile1 - p.tile0, GROUP) if p.copy_l else 0
    if chunk < copies:
        copy_tiles(p, 0, p.tile0 + chunk * GROUP, min(GROUP, p.tile1 - p.tile0 - chunk * GROUP))
    else:
        chunk = max(p.direct, p.panel0) + (chunk - copies) * GROUP
        pack_panels(p, 0, chunk, min(GROUP, p.panel1 - chunk))


cdef void block_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Product *p = <Product *>ctx
    cdef Py_ssize_t tiles = p.tile1 - p.tile0, panels = p.panel1 - p.panel0
    cdef Py_ssize_t down = ceil_div(tiles, p.tiles_a_chunk)
    cdef Py_ssize_t across = ceil_div(panels, p.panels_a_chunk)
    cdef Py_ssize_t y = chunk % down, x = chunk // down
    block(p, 0, p.tile0 + cut(tiles, down, y), p.tile0 + cut(tiles, down, y + 1),
          p.panel0 + cut(panels, across, x), p.panel0 + cut(panels, across, x + 1))


cdef void items_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Whole products, each prepared and computed by one thread."""
    cdef Product p = (<Product *>ctx)[0]
    cdef Py_ssize_t item, first = chunk * p.items_a_chunk
    window(&p, 1, 0, p.pieces, 0, p.tiles, 0, p.panels)
    for item in range(first, min(p.batch, first + p.items_a_chunk)):
        if p.copy_l and (p.l_item or item == first):
            copy_tiles(&p, item, 0, p.tiles)
        if p.direct < p.panels and (p.r_item or item == first):
            pack_panels(&p, item, p.direct, p.panels - p.direct)
        block(&p, item, 0, p.tiles, 0, p.panels)


cdef void dot_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Rows of L (tiles_a_chunk of them) times all, at most four, columns of R; any batch item."""
    cdef Product *p = <Product *>ctx
    cdef Py_ssize_t down = ceil_div(p.rows, p.tiles_a_chunk)
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
    if p.act:
        activate(p, item, i, i + m, 0, p.cols)


cdef inline double cost(Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t K, bint contiguous,
                        bint turned, Py_ssize_t vw) noexcept nogil:
    """Cycles, roughly: multiply-adds, packing of R, the transposed store."""
    cdef double cycles = <double>rows * K * ((cols + vw - 1) // vw)
    if not contiguous:
        cycles += 0.5 * K * cols
    if turned:
        cycles += 1.3 * rows * cols
    return cycles


cdef void window(Product *p, int slot, Py_ssize_t piece0, Py_ssize_t piece1, Py_ssize_t tile0,
                 Py_ssize_t tile1, Py_ssize_t panel0, Py_ssize_t panel1) noexcept nogil:
    """Set the window and find room for its copies in a slot of this thread's scratch."""
    cdef Py_ssize_t l_size = 0, r_size = max(0, panel1 - max(p.direct, panel0))
    p.piece0, p.piece1, p.tile0, p.tile1 = piece0, piece1, tile0, tile1
    p.panel0, p.panel1 = panel0, panel1
    p.k0 = cut(p.K, p.pieces, piece0)
    p.kw = cut(p.K, p.pieces, piece1) - p.k0
    r_size *= p.kw * p.kernels.nr
    p.l_step = p.kw + PAD if p.lks == 1 else p.kw
    if p.copy_l:
        l_size = (tile1 - tile0) * p.height * p.l_step
    if l_size + r_size:
        p.packed = <char *>scratch(slot, (l_size + r_size) * p.size)
        p.l_copy = p.packed + r_size * p.size


cdef void run(Product *p) noexcept nogil:
    cdef Py_ssize_t nr = p.kernels.nr, mr = p.kernels.mr, size = p.size
    cdef Py_ssize_t item, i, x, y, z, deep, down, across, window_k
    cdef double work = <double>p.rows * p.cols * p.K
    p.height = ceil_div(p.rows, ceil_div(p.rows, mr))   # equal tiles: no tail of one row
    p.tiles = ceil_div(p.rows, p.height)
    p.panels = ceil_div(p.cols, nr)
    p.pieces = ceil_div(p.K * size, PIECE_BYTES)
    p.direct = p.cols // nr if p.rjs == 1 and p.tiles < 8 else 0
    p.copy_l = p.panels > 2 and p.K > 32 and (p.lks != 1 or p.lis * size % 4096 == 0)
    p.near = 0

    if p.batch > 1 and work < 8 * ALONE or work * p.batch < ALONE:
        p.items_a_chunk = <Py_ssize_t>(ALONE / work) if work < ALONE else 1
        parallel_for(items_chunk, p, ceil_div(p.batch, p.items_a_chunk))
        return
    deep = ceil_div(p.pieces, WINDOW_PIECES)
    window_k = min(p.K * size, WINDOW_PIECES * PIECE_BYTES)
    if NEAR_FROM < p.cols * p.K * size and p.K > 64 and p.direct and p.tiles > 1:
        # few rows, and R from memory: each chunk packs a piece of its panels, then uses it
        p.near = max(1, BLOCK_BYTES // (min(PIECE_BYTES, p.K * size) * nr))
        p.direct = p.panels
    down = ceil_div(p.tiles, max(8, WINDOW_BYTES // (window_k * mr)))
    across = ceil_div(p.panels, max(8, WINDOW_BYTES // (window_k * nr)))
    for item in range(p.batch):
        for i in range(deep * down * across):
            x, y, z = i % across, i // across % down, i // across // down
            window(p, 2, cut(p.pieces, deep, z), cut(p.pieces, deep, z + 1),
                   cut(p.tiles, down, y), cut(p.tiles, down, y + 1),
                   cut(p.panels, across, x), cut(p.panels, across, x + 1))
            parallel_for(prepare_chunk, p,
                         (ceil_div(p.tile1 - p.tile0, GROUP) if p.copy_l else 0)
                         + ceil_div(max(0, p.panel1 - max(p.direct, p.panel0)), GROUP))
            parallel_for(block_chunk, p, plan_chunks(p))
        p.l += p.l_item * size
        p.r += p.r_item * size
        p.c += p.c_item * size


cdef Py_ssize_t plan_chunks(Product *p) noexcept nogil:
    """Cut the window into about CHUNKS chunks, or fewer that are worth a thread; near squares."""
    cdef Py_ssize_t nr = p.kernels.nr, mr = p.kernels.mr, chunks
    cdef Py_ssize_t tiles = p.tile1 - p.tile0, panels = p.panel1 - p.panel0
    cdef double work = <double>p.kw * tiles * mr * panels * nr
    p.panels_a_chunk = min(panels, BLOCK_BYTES // (PIECE_BYTES * nr))
    p.tiles_a_chunk = min(tiles, 24)
    if p.near:
        p.panels_a_chunk = min(panels, p.near)
        return ceil_div(panels, p.panels_a_chunk)
    while True:
        chunks = ceil_div(tiles, p.tiles_a_chunk) * ceil_div(panels, p.panels_a_chunk)
        if chunks >= CHUNKS or work / chunks < ALONE:
            return chunks
        if p.panels_a_chunk > 1 and p.panels_a_chunk * nr > p.tiles_a_chunk * mr:
            p.panels_a_chunk = (p.panels_a_chunk + 1) // 2
        elif p.tiles_a_chunk > 1:
            p.tiles_a_chunk = (p.tiles_a_chunk + 1) // 2
        else:
            return chunks


cdef void run_dots(Product *p) noexcept nogil:
    p.tiles_a_chunk = max(4, (1 << 16) // p.K & ~3)
    parallel_for(dot_chunk, p, p.batch * ceil_div(p.rows, p.tiles_a_chunk))


cdef void product(bint is_double, Py_ssize_t batch, Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
                  const char *a, Py_ssize_t ams, Py_ssize_t aks, Py_ssize_t a_item,
                  const char *b, Py_ssize_t bks, Py_ssize_t bns, Py_ssize_t b_item,
                  char *c, const char *bias, elementwise_loop act,
                  double parameter, bint adds) noexcept:
    cdef Product p
    cdef bint swap
    cdef Py_ssize_t vw
    p.kernels = gemm_kernels_table[isa.level][is_double]
    p.size = 8 if is_double else 4
    p.K, p.batch, p.c, p.c_item, p.bias = K, batch, c, M * N, bias
    p.act, p.parameters[0], p.parameters[1] = act, parameter, 0
    p.adds = adds
    vw = p.kernels.nr // 2
    cdef bint dots = (not adds and min(M, N) <= 4 and aks == 1 and bks == 1
                      and K * p.size >= DOT_BYTES * min(M, N))
    if dots:
        swap = M < N        # dot takes many rows and few columns
    else:
        swap = cost(N, M, K, ams == 1, True, vw) < cost(M, N, K, bns == 1, False, vw)
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


cdef void multiply(cnp.ndarray a, cnp.ndarray b, cnp.ndarray out, bint transpose_a,
                   bint transpose_b, bint adds) noexcept:
    cdef int ndim = cnp.PyArray_NDIM(out)
    cdef Py_ssize_t M = cnp.PyArray_DIM(out, ndim - 2), N = cnp.PyArray_DIM(out, ndim - 1)
    cdef Py_ssize_t K = cnp.PyArray_DIM(a, cnp.PyArray_NDIM(a) - (2 if transpose_a else 1))
    product(cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE, cnp.PyArray_SIZE(out) // (M * N), M, N, K,
            cnp.PyArray_BYTES(a), 1 if transpose_a else K, M if transpose_a else 1,
            M * K if cnp.PyArray_SIZE(a) > M * K else 0,
            cnp.PyArray_BYTES(b), 1 if transpose_b else N, K if transpose_b else 1,
            K * N if cnp.PyArray_SIZE(b) > K * N else 0,
            cnp.PyArray_BYTES(out), NULL, NULL, 0, adds)


def matmul(cnp.ndarray a, cnp.ndarray b, cnp.ndarray out, bint transpose_a, bint transpose_b):
    """Write ``out[i] = a[i] b[i]`` for each batch i; a batch of one, or none, serves all."""
    multiply(a, b, out, transpose_a, transpose_b, False)


def matmul_add(cnp.ndarray c, cnp.ndarray a, cnp.ndarray b, cnp.ndarray out, bint transpose_a,
               bint transpose_b):
    """Write ``out[i] = c[i] + a[i] b[i]``; out may be c."""
    if cnp.PyArray_DATA(out) != cnp.PyArray_DATA(c):
        memcpy(cnp.PyArray_DATA(out), cnp.PyArray_DATA(c), cnp.PyArray_NBYTES(out))
    multiply(a, b, out, transpose_a, transpose_b, True)


cdef void affine(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, elementwise_loop act,
                 double parameter) noexcept:
    cdef Py_ssize_t N = cnp.PyArray_DIM(weight, 0), K = cnp.PyArray_DIM(weight, 1)
    cdef Py_ssize_t M = cnp.PyArray_SIZE(x) // K
    product(cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE, 1, M, N, K,
            cnp.PyArray_BYTES(x), K, 1, 0, cnp.PyArray_BYTES(weight), 1, K, 0,
            cnp.PyArray_BYTES(out), NULL if bias is None else cnp.PyArray_BYTES(bias),
            act, parameter, False)


def linear(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out):
    """Write ``out = x weight^T + bias``."""
    affine(x, weight, bias, out, NULL, 0)


def linear_activation(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, str activation,
                      double parameter):
    """Write ``out = f(x weight^T + bias)``, f an elementwise kernel."""
    affine(x, weight, bias, out,
           loop_of(row_of(activation), cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE), parameter)
