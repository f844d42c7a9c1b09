"""Direct convolution and its input gradient; equations in reference.py.

No im2col and no padded copy. Along each axis the outputs are cut into runs that use the same kernel
positions (the borders, the interior, and for the input gradient the phases of the stride); a block
of outputs is a product of three runs, and there the sum over kernel positions and channels is one
chain without a test. The input gradient is the same text on flipped, transposed weights: a run is a
phase, so strides skip zeros instead of multiplying with them.

conv, conv_grad_input. Loops, outside in: blocks of output channels whose weights stay in L2 >
images > pieces of runs (chunks over threads) > blocks of NR output channels > tiles of MR pixels
along the longer side of the run > pieces of the sum > kernel positions > channels. Weights are
packed per call: [F / NR][KD][KH][KW][C][NR]. Depthwise takes the channels as the vector axis.

Every output is a sum in one order that depends on its place alone: no trace of tiles or threads.
Bytes: x and out once (the halo of a chunk comes from L2), weights once per chunk, from L2.
Source: see taps.inc; Zhang, Franchetti & Low, "High performance zero-memory overhead direct
convolutions", ICML 2018.
"""

cimport numpy as cnp
from libc.string cimport memset
from medai_engine.kernels.conv.cuts cimport (
    ALONE, Axis, BLOCK_BYTES, CHUNKS, Run, ceil_div, cut, fill_axes, fold_pixels, spread)
from medai_engine.kernels.conv.runs cimport find_runs
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport scratch

cnp.import_array()

__all__ = ["conv", "conv_grad_input"]

cdef extern from "conv.h":
    struct conv_tap:
        Py_ssize_t l, r, length
    struct conv_kernels:
        void *tile
        void *depth
        void *pack
        void *pack_transposed
        Py_ssize_t mr, nr
    const conv_kernels *const conv_kernels_table[3][2]

ctypedef void (*tile_fn)(
    Py_ssize_t m, Py_ssize_t n, const conv_tap *taps, Py_ssize_t count, const void *l,
    Py_ssize_t lis, Py_ssize_t lks, const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc,
    int accumulate, const void *bias) noexcept nogil
ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil

cdef enum:
    PIECE = 768                 # terms of a chain: rounding grows with its length


cdef struct Conv:
    const conv_kernels *kernels
    tile_fn tile
    Py_ssize_t size, mr, nr             # bytes of an element; the tile
    bint gradient, depthwise
    const char *x
    const char *weight
    const char *bias
    char *out
    char *packed
    Axis axis[3]
    Py_ssize_t N, T, groups             # T kernel positions; depthwise counts as one group
    Py_ssize_t ci, co                   # channels of a pixel of x, of out
    Py_ssize_t cg, fg                   # summed over, and written, in a group
    Py_ssize_t blocks                   # of NR outputs in a group
    Py_ssize_t weight_row               # elements of weight a first index
    Py_ssize_t parts                    # ranges of all blocks
    Py_ssize_t w_chunks                 # of pieces of the last axis
    Py_ssize_t room                     # entries of a list of taps


cdef void pack_chunk(void *ctx, Py_ssize_t block, int worker) noexcept nogil:
    """packed[block][kernel position][channel summed over][0 .. NR), zeros beyond the last."""
    cdef Conv *p = <Conv *>ctx
    cdef Py_ssize_t group = block // p.blocks, j = block % p.blocks * p.nr, t
    cdef Py_ssize_t n = min(p.nr, p.fg - j), step = p.cg * p.nr * p.size
    cdef char *to = p.packed + block * p.T * step
    if not p.gradient:
        (<pack_fn>p.kernels.pack_transposed)(
            p.weight + (group * p.fg + j) * p.weight_row * p.size, p.weight_row, p.weight_row, n,
            p.nr, to)
    elif p.depthwise:
        for t in range(p.T):
            (<pack_fn>p.kernels.pack_transposed)(
                p.weight + (j * p.T + p.T - 1 - t) * p.size, p.T, 1, n, p.nr, to + t * step)
    else:
        for t in range(p.T):
            (<pack_fn>p.kernels.pack)(
                p.weight + (group * p.cg * p.weight_row + (p.T - 1 - t) * p.fg + j) * p.size,
                p.weight_row, p.cg, n, p.nr, to + t * step)


cdef Py_ssize_t list_taps(const Conv *p, const Run *d, const Run *h, const Run *w,
                          conv_tap *taps) noexcept nogil:
    """List the kernel positions of a block; those that follow each other in memory join."""
    cdef bint joined = w.tap_step == 1 and w.source_tap == 1 and p.groups == 1 and not p.depthwise
    cdef Py_ssize_t KW = p.axis[2].kernel, along = 1 if joined else w.taps
    cdef Py_ssize_t length = p.cg * (w.taps if joined else 1), pieces = ceil_div(length, PIECE)
    cdef Py_ssize_t count = 0, i, j, k, piece, start, l, r
    for i in range(d.taps):
        for j in range(h.taps):
            for k in range(along if w.taps else 0):
                l = ((i * d.source_tap * p.axis[1].source + j * h.source_tap) * p.axis[2].source
                     + k * w.source_tap) * p.ci
                r = (((d.tap + i * d.tap_step) * p.axis[1].kernel + h.tap + j * h.tap_step) * KW
                     + w.tap + k * w.tap_step) * p.cg * p.nr
                for piece in range(pieces):
                    start = cut(length, pieces, piece)
                    taps[count].l = l + start
                    taps[count].r = r + start * p.nr
                    taps[count].length = cut(length, pieces, piece + 1) - start
                    count += 1
    return count


cdef void pixels(const Conv *p, const conv_tap *taps, Py_ssize_t count, const char *packed,
                 Py_ssize_t n, const char *bias, Py_ssize_t m, const char *l, Py_ssize_t lis,
                 char *c, Py_ssize_t ldc) noexcept nogil:
    """One tile, in pieces of the sum."""
    cdef Py_ssize_t start = 0, end, total
    while True:
        end, total = start, 0
        while end < count and (end == start or total + taps[end].length <= PIECE):
            total += taps[end].length
            end += 1
        p.tile(m, n, taps + start, end - start, l, lis, 1, packed, p.nr, c, ldc, start > 0,
               bias if end == count else NULL)
        start = end
        if start >= count:
            return


cdef void conv_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some rows of one image, for a range of the blocks of output channels."""
    cdef Conv *p = <Conv *>ctx
    cdef conv_tap *taps = <conv_tap *>scratch(0, p.room * sizeof(conv_tap))
    cdef Py_ssize_t w_chunk = chunk % p.w_chunks, rest = chunk // p.w_chunks
    cdef const Run *h = p.axis[1].runs + rest % p.axis[1].pieces
    rest //= p.axis[1].pieces
    cdef const Run *d = p.axis[0].runs + rest % p.axis[0].pieces
    rest //= p.axis[0].pieces
    cdef Py_ssize_t image = rest % p.N, part = rest // p.N, size = p.size
    cdef Py_ssize_t first = cut(p.groups * p.blocks, p.parts, part)
    cdef Py_ssize_t last = cut(p.groups * p.blocks, p.parts, part + 1)
    cdef Py_ssize_t piece, together, outer_block, block, count, group, j, outer, rows, inner, tiles
    cdef Py_ssize_t tile, start, l_outer, l_inner, c_outer, c_inner, columns
    cdef const Run *w
    cdef const char *l
    cdef char *c
    for piece in range(cut(p.axis[2].pieces, p.w_chunks, w_chunk),
                       cut(p.axis[2].pieces, p.w_chunks, w_chunk + 1)):
        w = p.axis[2].runs + piece
        count = list_taps(p, d, h, w, taps)
        rows, columns = h.count, w.count
        l_outer, c_outer = h.source_step * p.axis[2].source * p.ci, h.step * p.axis[2].out * p.co
        l_inner, c_inner = w.source_step * p.ci, w.step * p.co
        if columns * ceil_div(rows, p.mr) < rows * ceil_div(columns, p.mr):
            rows, columns = columns, rows
            l_outer, l_inner = l_inner, l_outer
            c_outer, c_inner = c_inner, c_outer
        tiles = ceil_div(columns, p.mr)
        l = p.x + (((image * p.axis[0].source + d.source) * p.axis[1].source + h.source)
                   * p.axis[2].source + w.source) * p.ci * size
        c = p.out + (((image * p.axis[0].out + d.first) * p.axis[1].out + h.first)
                     * p.axis[2].out + w.first) * p.co * size
        # of depthwise, all channels of some pixels, which follow each other; else all pixels of
        # some channels, whose weights stay in L1 and L2
        together = last - first if p.depthwise else 1
        for outer_block in range((last - first) // together):
            for outer in range(rows):
                for tile in range(tiles):
                    start = cut(columns, tiles, tile)
                    inner = cut(columns, tiles, tile + 1) - start
                    for block in range(first + outer_block * together,
                                       first + (outer_block + 1) * together):
                        group, j = block // p.blocks, block % p.blocks * p.nr
                        pixels(p, taps, count, p.packed + block * p.T * p.cg * p.nr * size,
                               min(p.nr, p.fg - j),
                               p.bias + (group * p.fg + j) * size if p.bias else NULL, inner,
                               l + (outer * l_outer + start * l_inner
                                    + (j if p.depthwise else group * p.cg)) * size, l_inner,
                               c + (outer * c_outer + start * c_inner + group * p.fg + j) * size,
                               c_inner)


cdef void run(Conv *p) noexcept nogil:
    cdef Py_ssize_t a, room, block_bytes = p.T * p.cg * p.nr * p.size
    cdef Py_ssize_t all_blocks = p.groups * p.blocks
    cdef Py_ssize_t[3] longest
    cdef double pixel, row, target
    cdef double work = <double>p.N * p.axis[0].out * p.axis[1].out * p.axis[2].out
    p.parts = min(all_blocks, ceil_div(all_blocks * block_bytes, BLOCK_BYTES))
    pixel = <double>p.T * p.cg * p.nr * all_blocks / p.parts
    if p.gradient:      # of the kernel's positions a pixel uses this share
        pixel /= <double>p.axis[0].stride * p.axis[1].stride * p.axis[2].stride
    work *= pixel * p.parts
    target = max(<double>ALONE, min(work / CHUNKS, 16. * ALONE))
    row = pixel * p.axis[2].out
    longest[0] = 1
    longest[1] = max(1, <Py_ssize_t>(target / row))
    longest[2] = p.axis[2].out
    if row > 2 * target and p.axis[2].out > 64:
        longest[2] = max(48, <Py_ssize_t>(target / pixel))
    room = 0
    for a in range(3):
        # a run ends where a kernel position enters or leaves, so at most twice each and phase
        room += ceil_div(p.axis[a].out, longest[a]) + 2 * p.axis[a].kernel + p.axis[a].stride + 1
    p.axis[0].runs = <Run *>scratch(3, room * sizeof(Run))
    for a in range(3):
        find_runs(&p.axis[a], p.gradient, longest[a])
        if a < 2:
            p.axis[a + 1].runs = p.axis[a].runs + p.axis[a].pieces
    p.w_chunks = p.axis[2].pieces if longest[2] < p.axis[2].out else 1
    p.room = p.T * (1 + p.axis[2].kernel * p.cg // PIECE) + 1
    p.packed = <char *>scratch(2, all_blocks * block_bytes)
    spread(pack_chunk, p, all_blocks, <double>all_blocks * block_bytes < ALONE)
    spread(conv_chunk, p, p.parts * p.N * p.axis[0].pieces * p.axis[1].pieces * p.w_chunks,
           work < ALONE)


cdef void convolve(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride,
                   tuple padding, tuple dilation, Py_ssize_t groups, bint gradient):
    cdef Conv p
    cdef bint is_double = cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE
    memset(&p, 0, sizeof(Conv))
    p.kernels = conv_kernels_table[isa.level][is_double]
    p.size = 8 if is_double else 4
    p.nr, p.mr, p.tile = p.kernels.nr, p.kernels.mr, <tile_fn>p.kernels.tile
    p.gradient = gradient
    fill_axes(p.axis, x, out, weight, stride, padding, dilation)
    p.N = cnp.PyArray_DIM(x, 0)
    p.T = p.axis[0].kernel * p.axis[1].kernel * p.axis[2].kernel
    fold_pixels(p.axis, &p.N)
    p.ci, p.co = cnp.PyArray_DIM(x, 4), cnp.PyArray_DIM(out, 4)
    p.groups, p.cg, p.fg = groups, p.ci // groups, p.co // groups
    p.weight_row = p.T * cnp.PyArray_DIM(weight, 4)
    if groups > 1 and p.cg == 1 and p.fg == 1:
        p.depthwise, p.groups, p.fg = True, 1, p.co
        p.tile = <tile_fn>p.kernels.depth
    p.blocks = ceil_div(p.fg, p.nr)
    p.x, p.weight = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(weight)
    p.out, p.bias = cnp.PyArray_BYTES(out), NULL if bias is None else cnp.PyArray_BYTES(bias)
    with nogil:
        run(&p)


def conv(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride, tuple padding,
         tuple dilation, Py_ssize_t groups):
    """Write the convolution of x with the weight, plus the bias if there is one."""
    convolve(x, weight, bias, out, stride, padding, dilation, groups, False)


def conv_grad_input(cnp.ndarray g, cnp.ndarray weight, cnp.ndarray out, tuple stride,
                    tuple padding, tuple dilation, Py_ssize_t groups):
    """Write the gradient of x."""
    convolve(g, weight, None, out, stride, padding, dilation, groups, True)
