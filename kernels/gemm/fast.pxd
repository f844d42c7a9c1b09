"""What a product works on, and the texts of the tile; see fast.pyx."""

from medai_engine.kernels.elementwise.pieces cimport elementwise_loop

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
    const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc, int accumulate, const void *bias,
    const void *ahead, Py_ssize_t ahead_step) noexcept nogil
ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil
ctypedef void (*store_fn)(
    const void *tile, Py_ssize_t m, Py_ssize_t n, void *c, Py_ssize_t ldc, int accumulate,
    const void *bias) noexcept nogil
ctypedef void (*dot_fn)(
    Py_ssize_t m, Py_ssize_t kc, const void *l, Py_ssize_t lis, const void *r, void *c,
    Py_ssize_t ldc, const void *bias, Py_ssize_t bias_stride) noexcept nogil


cdef struct Product:
    const gemm_kernels *kernels
    Py_ssize_t size                     # bytes of an element; all strides count elements
    Py_ssize_t rows, cols, K, batch     # of L, of R, reduction, products
    const char *l
    Py_ssize_t lis, lks, l_item         # strides along rows, k and the batch
    const char *r
    Py_ssize_t rjs, rks, r_item         # strides along columns, k and the batch
    char *c
    Py_ssize_t cis, cjs, c_item         # cjs == 1, or cis == 1 where L and R are swapped
    const char *bias                    # along columns, or along rows where swapped
    elementwise_loop act                # of the finished sums, or NULL
    double parameters[2]                # of act, which takes one at most
    bint adds                           # to what stands in C
    bint swapped
    Py_ssize_t pieces, tiles, panels    # of K, of rows, of columns
    Py_ssize_t height                   # rows of a tile, fewer in the last
    Py_ssize_t direct                   # panels read where they lie; the others are packed
    Py_ssize_t near                     # or: panels that a chunk packs for itself at a time
    bint copy_l
    Py_ssize_t l_step                   # elements of l_copy a row of L
    Py_ssize_t piece0, piece1, tile0, tile1, panel0, panel1     # the window
    Py_ssize_t k0, kw                   # its first k and its length along K
    char *l_copy                        # of the window's tiles
    char *packed                        # of the window's panels that are not direct
    Py_ssize_t tiles_a_chunk, panels_a_chunk, items_a_chunk
