# The record of a convolution on the tile of taps.inc, for what runs around it (fused.pyx).

cimport numpy as cnp
from medai_engine.kernels.conv.cuts cimport Axis, Run
from medai_engine.kernels.conv.pooled cimport Pooled
from medai_engine.kernels.elementwise.pieces cimport elementwise_loop

cdef extern from "taps.h":
    struct conv_tap:
        Py_ssize_t l, r, length

ctypedef void (*tile_fn)(
    Py_ssize_t m, Py_ssize_t n, const conv_tap *taps, Py_ssize_t count, const void *l,
    Py_ssize_t lis, Py_ssize_t lks, const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc,
    int accumulate, const void *bias) noexcept nogil

cdef struct Conv:
    tile_fn tile
    void *pack
    void *pack_transposed
    Py_ssize_t size, mr, nr             # bytes of an element; the tile
    bint gradient
    const char *x
    const char *weight
    const char *bias
    char *out
    char *packed
    Axis axis[3]
    Py_ssize_t N, T, groups             # T kernel positions
    Py_ssize_t batches                  # of images, whose pixels of one place share a tile
    Py_ssize_t ci, co                   # channels of a pixel of x, of out
    Py_ssize_t cg, fg                   # summed over, and written, in a group
    Py_ssize_t blocks                   # of NR outputs in a group
    Py_ssize_t weight_row               # elements of weight a first index
    Py_ssize_t parts                    # ranges of all blocks
    Py_ssize_t w_chunks                 # of pieces of the last axis
    Py_ssize_t room                     # entries of a list of taps
    elementwise_loop activate           # of the outputs, or NULL
    double[2] parameters                # of the activation
    bint waits                          # outputs are activated later, all that wait for pooling
    Pooled pooled                       # what x or out is where the other side is pooled

cdef struct View:
    # arrays whose steps count elements; memory may begin behind the first plane, row and column
    const char *x
    Py_ssize_t x_plane, x_row
    char *out
    Py_ssize_t out_plane, out_row, out_pixel
    Py_ssize_t images, x_image, out_image   # more than one: a tile is a pixel of each

cdef void fill(Conv *p, cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride,
               tuple padding, tuple dilation, Py_ssize_t groups, bint gradient)
# Finds runs and packs the weight; returns the multiply-adds.
cdef double prepare(Conv *p) noexcept nogil
cdef void run(Conv *p) noexcept nogil
# As run, where pixels may be taken together.
cdef void convolve(Conv *p)
cdef void activate(const Conv *p, char *c, Py_ssize_t m, Py_ssize_t n,
                   Py_ssize_t ldc) noexcept nogil
cdef void block_of_runs(const Conv *p, const View *v, const Run *d, const Run *h, const Run *w,
                        Py_ssize_t first, Py_ssize_t last, conv_tap *taps) noexcept nogil
