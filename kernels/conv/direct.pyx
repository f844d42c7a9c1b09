"""Direct convolution and its input gradient; equations in reference.py.

No im2col and no padded copy. Along each axis the outputs are cut into runs that use the same kernel
positions (the borders, the interior, and for the input gradient the phases of the stride); a block
of outputs is a product of three runs, and there the sum over kernel positions and channels is one
chain without a test. The input gradient is the same text on flipped, transposed weights: a run is a
phase, so strides skip zeros instead of multiplying with them.

Loops, outside in: blocks of output channels whose weights stay in L2 >
images > pieces of runs (chunks over threads) > blocks of NR output channels > tiles of MR pixels
along the longer side of the run > pieces of the sum > kernel positions > channels. Weights are
packed per call: [F / NR][KD][KH][KW][C][NR].

Epilogue of a tile: the bias, and an activation while it is in L1. A pooled gradient is expanded as
its rows are read. fused.pyx uses both, and the blocks of runs to pool them.

Every output is a sum in one order that depends on its place alone: no trace of tiles or threads.
Bytes: x and out once (the halo of a chunk comes from L2), weights once per chunk, from L2.
Source: see taps.inc; Zhang, Franchetti & Low, "High performance zero-memory overhead direct
convolutions", ICML 2018.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset
from medai_engine.kernels.conv.cuts cimport (
    ALONE, BLOCK_BYTES, CHUNKS, Run, ceil_div, cut, fill_axes, fold_pixels, spread)
from medai_engine.kernels.conv.pooled cimport unpool_row
from medai_engine.kernels.conv.runs cimport find_runs
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport scratch

cnp.import_array()

__all__ = ["conv", "conv_grad_input"]

cdef extern from "conv.h":
    struct conv_kernels:
        void *tile
        void *pack
        void *pack_transposed
        Py_ssize_t mr, nr
    const conv_kernels *const conv_kernels_table[3][2]

ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil

cdef enum:
    PIECE = 768                 # terms of a chain: rounding grows with its length
    LATENCY = 5                 # rows of a tile under which a step takes no less time
    APART = 4096                # bytes: steps of its multiples share one set of L1
    PAD = 16                    # elements between copied images


cdef void pack_chunk(void *ctx, Py_ssize_t block, int worker) noexcept nogil:
    """packed[block][kernel position][channel summed over][0 .. NR), zeros beyond the last."""
    cdef Conv *p = <Conv *>ctx
    cdef Py_ssize_t group = block // p.blocks, j = block % p.blocks * p.nr, t
    cdef Py_ssize_t n = min(p.nr, p.fg - j), step = p.cg * p.nr * p.size
    cdef char *to = p.packed + block * p.T * step
    if not p.gradient:
        (<pack_fn>p.pack_transposed)(
            p.weight + (group * p.fg + j) * p.weight_row * p.size, p.weight_row, p.weight_row, n,
            p.nr, to)
    else:
        for t in range(p.T):
            (<pack_fn>p.pack)(
                p.weight + (group * p.cg * p.weight_row + (p.T - 1 - t) * p.fg + j) * p.size,
                p.weight_row, p.cg, n, p.nr, to + t * step)


cdef Py_ssize_t list_taps(const Conv *p, const View *v, const Run *d, const Run *h, const Run *w,
                          conv_tap *taps) noexcept nogil:
    """List the kernel positions of a block; those that follow each other in memory join."""
    cdef bint joined = w.tap_step == 1 and w.source_tap == 1 and p.groups == 1
    cdef Py_ssize_t KW = p.axis[2].kernel, along = 1 if joined else w.taps
    cdef Py_ssize_t length = p.cg * (w.taps if joined else 1), pieces = ceil_div(length, PIECE)
    cdef Py_ssize_t count = 0, i, j, k, piece, start, l, r
    for i in range(d.taps):
        for j in range(h.taps):
            for k in range(along if w.taps else 0):
                l = (i * d.source_tap * v.x_plane + j * h.source_tap * v.x_row
                     + k * w.source_tap * p.ci)
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
            break
    if p.activate and not p.waits:
        activate(p, c, m, n, ldc)


cdef void activate(const Conv *p, char *c, Py_ssize_t m, Py_ssize_t n,
                   Py_ssize_t ldc) noexcept nogil:
    """Apply the activation to m rows of n elements in cache."""
    cdef const char *row
    cdef Py_ssize_t i, step = 1
    if ldc == n:
        m, n = 1, m * n
    for i in range(m):
        row = c + i * ldc * p.size
        p.activate(&row, &step, <char *>row, n, p.parameters)


cdef void block_of_runs(const Conv *p, const View *v, const Run *d, const Run *h, const Run *w,
                        Py_ssize_t first, Py_ssize_t last, conv_tap *taps) noexcept nogil:
    """The outputs of three runs (of one plane), for a range of the blocks of output channels."""
    cdef Py_ssize_t count = list_taps(p, v, d, h, w, taps), size = p.size, group, j, at, to
    cdef Py_ssize_t block, outer, tile, start, inner, rows = h.count, columns = w.count, tiles
    cdef Py_ssize_t places = 1, place, l_place = 0, c_place = 0
    cdef Py_ssize_t l_outer = h.source_step * v.x_row, c_outer = h.step * v.out_row
    cdef Py_ssize_t l_inner = w.source_step * p.ci, c_inner = w.step * v.out_pixel
    cdef const char *l = v.x + (
        d.source * v.x_plane + h.source * v.x_row + w.source * p.ci) * size
    cdef char *c = v.out + (
        d.first * v.out_plane + h.first * v.out_row + w.first * v.out_pixel) * size
    if v.images > 1:
        places, rows, columns = rows, columns, v.images
        l_place, l_outer, l_inner = l_outer, l_inner, v.x_image
        c_place, c_outer, c_inner = c_outer, c_inner, v.out_image
    elif columns * ceil_div(rows, p.mr) < rows * ceil_div(columns, p.mr):
        rows, columns = columns, rows
        l_outer, l_inner = l_inner, l_outer
        c_outer, c_inner = c_inner, c_outer
    tiles = ceil_div(columns, p.mr)
    for block in range(first, last):    # whose weights stay in L1 and L2
        group, j = block // p.blocks, block % p.blocks * p.nr
        for place in range(places):
            for outer in range(rows):
                for tile in range(tiles):
                    start = cut(columns, tiles, tile)
                    inner = cut(columns, tiles, tile + 1) - start
                    at = place * l_place + outer * l_outer + start * l_inner + group * p.cg
                    to = place * c_place + outer * c_outer + start * c_inner + group * p.fg + j
                    pixels(p, taps, count, p.packed + block * p.T * p.cg * p.nr * size,
                           min(p.nr, p.fg - j),
                           p.bias + (group * p.fg + j) * size if p.bias else NULL, inner,
                           l + at * size, l_inner, c + to * size, c_inner)


cdef void conv_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """Some rows of one image, or of several, for a range of the blocks of output channels."""
    cdef Conv *p = <Conv *>ctx
    cdef conv_tap *taps = <conv_tap *>scratch(0, p.room * sizeof(conv_tap))
    cdef Py_ssize_t w_chunk = chunk % p.w_chunks, rest = chunk // p.w_chunks
    cdef const Run *h = p.axis[1].runs + rest % p.axis[1].pieces
    rest //= p.axis[1].pieces
    cdef const Run *d = p.axis[0].runs + rest % p.axis[0].pieces
    rest //= p.axis[0].pieces
    cdef Py_ssize_t batch = rest % p.batches, part = rest // p.batches, piece
    cdef Py_ssize_t image = cut(p.N, p.batches, batch)
    cdef Py_ssize_t w0 = cut(p.axis[2].pieces, p.w_chunks, w_chunk)
    cdef Py_ssize_t w1 = cut(p.axis[2].pieces, p.w_chunks, w_chunk + 1)
    cdef View v
    v.x_row = p.axis[2].source * p.ci
    v.x_plane = p.axis[1].source * v.x_row
    v.x_image = p.axis[0].source * v.x_plane
    v.x = p.x + image * v.x_image * p.size
    v.out_pixel = p.co
    v.out_row = p.axis[2].out * p.co
    v.out_plane = p.axis[1].out * v.out_row
    v.out_image = p.axis[0].out * v.out_plane
    v.out = p.out + image * v.out_image * p.size
    v.images = cut(p.N, p.batches, batch + 1) - image
    if v.images > 1 and v.x_image * p.size % APART == 0:
        move_apart(p, &v, d, h)
    if p.pooled.index:
        expand(p, &v, image, d, h, p.axis[2].runs + w0, w1 - w0)
    for piece in range(w0, w1):
        block_of_runs(p, &v, d, h, p.axis[2].runs + piece,
                      cut(p.groups * p.blocks, p.parts, part),
                      cut(p.groups * p.blocks, p.parts, part + 1), taps)


cdef inline Py_ssize_t reach(const Run *run) noexcept nogil:
    """One behind the last source that a run reads."""
    return run.source + (run.count - 1) * run.source_step + (run.taps - 1) * run.source_tap + 1


cdef void expand(const Conv *p, View *v, Py_ssize_t image, const Run *d, const Run *h,
                 const Run *w, Py_ssize_t pieces) noexcept nogil:
    """Write the part of the pooled gradient that runs read at full resolution, and look there."""
    cdef Py_ssize_t first = p.axis[2].source, last = 0, i, j, planes, rows, row
    cdef char *to
    for i in range(pieces):
        if w[i].taps:
            first, last = min(first, w[i].source), max(last, reach(w + i))
    if not d.taps or not h.taps or first >= last:
        return
    planes, rows = reach(d) - d.source, reach(h) - h.source
    v.x_row = (last - first) * p.ci
    v.x_plane = rows * v.x_row
    row = v.x_row * p.size
    to = <char *>scratch(1, planes * rows * row)
    v.x = to - (d.source * v.x_plane + h.source * v.x_row + first * p.ci) * p.size
    for i in range(planes):
        for j in range(rows):
            unpool_row(&p.pooled, image, d.source + i, h.source + j, first, last, 0, p.ci, p.ci,
                       to)
            to += row


cdef void move_apart(const Conv *p, View *v, const Run *d, const Run *h) noexcept nogil:
    """Copy the rows of each image that runs read to where they do not push each other out of L1."""
    cdef Py_ssize_t planes, rows, i, j
    cdef char *to
    cdef const char *x = v.x
    if not d.taps or not h.taps:
        return
    planes, rows = reach(d) - d.source, reach(h) - h.source
    to = <char *>scratch(1, v.images * (planes * rows * v.x_row + PAD) * p.size)
    v.x = to - (d.source * rows + h.source) * v.x_row * p.size
    for i in range(v.images):
        for j in range(planes):
            memcpy(to, x + ((d.source + j) * v.x_plane + h.source * v.x_row) * p.size,
                   rows * v.x_row * p.size)
            to += rows * v.x_row * p.size
        x += v.x_image * p.size
        to += PAD * p.size
    v.x_plane = rows * v.x_row
    v.x_image = planes * v.x_plane + PAD


cdef Py_ssize_t batches(const Conv *p) noexcept nogil:
    """In how many batches images are taken together, if that fills the tiles better."""
    cdef Py_ssize_t i, j, rows, columns, tiles = ceil_div(p.N, p.mr)
    cdef Py_ssize_t alone = 0, pixels = 0
    if p.N == 1 or p.waits or p.pooled.index or p.w_chunks > 1:
        return p.N
    for i in range(p.axis[1].pieces):
        rows = p.axis[1].runs[i].count
        for j in range(p.axis[2].pieces):
            columns = p.axis[2].runs[j].count
            pixels += rows * columns
            alone += min(cycles(p, rows, columns), cycles(p, columns, rows))
    return tiles if cycles(p, pixels, p.N) * 8 < alone * p.N * 7 else p.N


cdef inline Py_ssize_t cycles(const Conv *p, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """Of a step of the sum, in units of a row of a tile: the first rows hide each other's latency."""
    return rows * max(columns, ceil_div(columns, p.mr) * min(LATENCY, p.mr))


cdef double prepare(Conv *p) noexcept nogil:
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
    if p.waits:         # the windows cut the runs
        longest[1] = p.axis[1].out
    elif row > 2 * target and p.axis[2].out > 64:
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
    p.batches = batches(p)
    p.room = p.T * (1 + p.axis[2].kernel * p.cg // PIECE) + 1
    p.packed = <char *>scratch(2, all_blocks * block_bytes)
    spread(pack_chunk, p, all_blocks, <double>all_blocks * block_bytes < ALONE)
    return work


cdef void run(Conv *p) noexcept nogil:
    cdef double work = prepare(p)
    spread(conv_chunk, p, p.parts * p.batches * p.axis[0].pieces * p.axis[1].pieces * p.w_chunks,
           work < ALONE)


cdef void fill(Conv *p, cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride,
               tuple padding, tuple dilation, Py_ssize_t groups, bint gradient):
    cdef bint is_double = cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE
    memset(p, 0, sizeof(Conv))
    cdef const conv_kernels *kernels = conv_kernels_table[isa.level][is_double]
    p.size = 8 if is_double else 4
    p.nr, p.mr, p.tile = kernels.nr, kernels.mr, <tile_fn>kernels.tile
    p.pack, p.pack_transposed = kernels.pack, kernels.pack_transposed
    p.gradient = gradient
    fill_axes(p.axis, x, out, weight, stride, padding, dilation)
    p.N = cnp.PyArray_DIM(x, 0)
    p.T = p.axis[0].kernel * p.axis[1].kernel * p.axis[2].kernel
    p.ci, p.co = cnp.PyArray_DIM(x, 4), cnp.PyArray_DIM(out, 4)
    p.groups, p.cg, p.fg = groups, p.ci // groups, p.co // groups
    p.weight_row = p.T * cnp.PyArray_DIM(weight, 4)
    p.blocks = ceil_div(p.fg, p.nr)
    p.x, p.weight = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(weight)
    p.out, p.bias = cnp.PyArray_BYTES(out), NULL if bias is None else cnp.PyArray_BYTES(bias)


cdef void convolve(Conv *p):
    fold_pixels(p.axis, &p.N)
    with nogil:
        run(p)


def conv(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride, tuple padding,
         tuple dilation, Py_ssize_t groups):
    """Write the convolution of x with the weight, plus the bias if there is one."""
    cdef Conv p
    fill(&p, x, weight, bias, out, stride, padding, dilation, groups, False)
    convolve(&p)


def conv_grad_input(cnp.ndarray g, cnp.ndarray weight, cnp.ndarray out, tuple stride,
                    tuple padding, tuple dilation, Py_ssize_t groups):
    """Write the gradient of x."""
    cdef Conv p
    fill(&p, g, weight, None, out, stride, padding, dilation, groups, True)
    convolve(&p)
