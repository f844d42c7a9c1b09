"""The weight gradient of convolution; equation in reference.py.

    out[f, k, c] = sum over pixels o of g[o, f] x[o * stride - padding + k * dilation, c]

Chunks are parts of the pixels times blocks of the weight that fit into L2. Loops, outside in:
groups of about GROUP pixels, whose g is packed, whole lines of it > blocks of NR channels of g >
kernel positions, whose pixels outside x are cut off > tiles of MR input channels x NR output
channels > rows of pixels. With few input channels the kernel positions of a row count as channels
too. Where g has few channels these are broadcast, and x is read in vectors where it lies. The
pixels are cut into parts only while the copies of the weight stay under PARTS_BYTES.

A sum runs over the pixels of a group in registers, then over groups, then over parts, in order:
all cut by shape alone, no trace of tiles or threads.
Bytes: x and g once for each range of blocks of the weight. Source: see taps.inc.
"""

cimport numpy as cnp
from libc.string cimport memset
from medai_engine.kernels.conv.cuts cimport (
    ALONE, Axis, BLOCK_BYTES, CHUNKS, ceil_div, cut, fill_axes, fold_pixels, spread)
from medai_engine.kernels.conv.pooled cimport Pooled, fill_pooled, unpool_pixels
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport scratch

cnp.import_array()

__all__ = ["conv_grad_weight", "conv_pool_grad_weight"]

cdef extern from "grad_weight.h":
    struct conv_tap:
        Py_ssize_t l, r, length
    struct grad_weight_kernels:
        void *tile
        void *sum_parts
        void *pack
        void *add_rows
        Py_ssize_t mr, nr
    const grad_weight_kernels *const grad_weight_kernels_table[3][2]

ctypedef void (*tile_fn)(
    Py_ssize_t m, Py_ssize_t n, const conv_tap *taps, Py_ssize_t count, const void *l,
    Py_ssize_t lis, Py_ssize_t lks, const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc,
    int accumulate, const void *bias) noexcept nogil
ctypedef void (*sum_fn)(
    const void *parts, Py_ssize_t count, Py_ssize_t stride, Py_ssize_t m, Py_ssize_t n, void *out,
    Py_ssize_t ldc) noexcept nogil
ctypedef void (*add_fn)(
    const void *parts, Py_ssize_t count, Py_ssize_t stride, Py_ssize_t n, void *out) noexcept nogil
ctypedef void (*pack_fn)(
    const void *r, Py_ssize_t stride, Py_ssize_t kc, Py_ssize_t n, Py_ssize_t width,
    void *out) noexcept nogil

cdef enum:
    GROUP = 512                 # pixels: 64 KiB of packed g
    APART_BYTES = 512           # of a step in x: lines further apart push each other out of L1
    TOGETHER_BYTES = 256 << 10  # of sums, and of packed g, of the blocks that a chunk computes
    DIRECT_BYTES = 512          # of a pixel of g: wider ones push each other out of L1
    FEW = 16                    # channels of g: it is then broadcast, and x loaded in vectors
    FEW_BYTES = 128 << 10       # of x in a group of pixels, which all kernel positions read
    FEW_PIXELS = 32
    PARTS_BYTES = 4 << 20       # of copies of the weight


cdef struct Weight:
    const grad_weight_kernels *kernels
    Py_ssize_t size, mr, nr
    bint joined                         # positions along the last axis are channels
    bint direct                         # g is read where it lies: few tiles would use its copy
    const char *x
    const char *g
    char *out
    Axis axis[3]                        # source of x, out of g
    Py_ssize_t N, T, groups             # T kernel positions
    Py_ssize_t ci, co, cg, fg           # channels of x and g, and of a group of them
    Py_ssize_t blocks, spans            # of a group: NR output channels, ranges of input channels
    Py_ssize_t ranges, together         # of blocks; blocks of the longest
    Py_ssize_t lanes                    # of a packed pixel of g: NR, or half of it
    Py_ssize_t width                    # input channels of the longest range
    Py_ssize_t segments, rows, units    # of a row of g; rows of a pixel group; pixel groups
    Py_ssize_t parts
    char *copies                        # [part][range and span][block][T][width][NR]
    Pooled pooled                       # what g is, where it has an index


cdef Py_ssize_t list_rows(const Weight *p, Py_ssize_t tap, Py_ssize_t row0, Py_ssize_t row1,
                          Py_ssize_t w0, Py_ssize_t w1, Py_ssize_t a, Py_ssize_t b,
                          Py_ssize_t rks, conv_tap *taps) noexcept nogil:
    """List the rows of g, packed from w0 to w1, whose pixels a .. b meet x at a kernel position."""
    cdef const Axis *D = &p.axis[0]
    cdef const Axis *H = &p.axis[1]
    cdef const Axis *W = &p.axis[2]
    cdef Py_ssize_t kw = tap % W.kernel, kh = tap // W.kernel % H.kernel
    cdef Py_ssize_t kd = tap // W.kernel // H.kernel, row, d, h, count = 0
    cdef Py_ssize_t shift = kw * W.dilation - W.padding
    cdef Py_ssize_t first = max(w0, a, ceil_div(-shift, W.stride))
    cdef Py_ssize_t last = min(w1, b, ceil_div(W.source - shift, W.stride))
    if first >= last:
        return 0
    for row in range(row0, row1):
        h = row % H.out * H.stride - H.padding + kh * H.dilation
        d = row // H.out % D.out * D.stride - D.padding + kd * D.dilation
        if 0 <= h < H.source and 0 <= d < D.source:
            taps[count].l = (((row // H.out // D.out * D.source + d) * H.source + h) * W.source
                             + first * W.stride + shift) * p.ci
            taps[count].r = ((row - row0) * (w1 - w0) + first - w0) * rks
            taps[count].length = last - first
            count += 1
    return count


cdef void add_position(const Weight *p, Py_ssize_t tap, Py_ssize_t rows, Py_ssize_t n,
                       Py_ssize_t row0, Py_ssize_t row1, Py_ssize_t w0, Py_ssize_t w1,
                       Py_ssize_t a, Py_ssize_t b, const char *x, const char *g, Py_ssize_t rks,
                       conv_tap *taps, char *sums) noexcept nogil:
    """Add the products of `rows` channels of x (of further kernel positions too) with n of g."""
    cdef Py_ssize_t tiles = ceil_div(rows, p.mr), tile, i, lks = p.axis[2].stride * p.ci
    cdef Py_ssize_t count = list_rows(p, tap, row0, row1, w0, w1, a, b, rks, taps)
    for tile in range(tiles if count else 0):
        i = cut(rows, tiles, tile)
        (<tile_fn>p.kernels.tile)(
            cut(rows, tiles, tile + 1) - i, p.nr if n > p.nr // 2 else p.nr // 2, taps, count,
            x + i * p.size, 1, lks, g, rks, sums + i * p.nr * p.size, p.nr, True, NULL)


cdef void add_unit(const Weight *p, Py_ssize_t n, Py_ssize_t c0, Py_ssize_t c1, Py_ssize_t row0,
                   Py_ssize_t row1, Py_ssize_t w0, Py_ssize_t w1, const char *x, const char *g,
                   Py_ssize_t rks, conv_tap *taps, char *sums) noexcept nogil:
    """Add the products of a group of pixels to a block of the weight."""
    cdef const Axis *A = &p.axis[2]
    cdef Py_ssize_t first = w0, last = w0, t, step = p.nr * p.size
    cdef char *to
    if p.joined:    # pixels that all positions along the last axis use: one product for these
        first = max(w0, ceil_div(A.padding, A.stride))
        last = max(first, min(w1, ceil_div(A.source + A.padding - A.kernel + 1, A.stride)))
        for t in range(p.T // A.kernel):
            add_position(p, t * A.kernel, A.kernel * p.cg, n, row0, row1, w0, w1, first, last,
                         x, g, rks, taps, sums + t * A.kernel * p.cg * step)
    for t in range(p.T):
        to = sums + t * p.width * step
        if w0 < first:
            add_position(p, t, c1 - c0, n, row0, row1, w0, w1, w0, first, x, g, rks, taps, to)
        if last < w1:
            add_position(p, t, c1 - c0, n, row0, row1, w0, w1, last, w1, x, g, rks, taps, to)


cdef void part_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    """A part of the pixels, for a range of the blocks of the weight."""
    cdef Weight *p = <Weight *>ctx
    cdef Py_ssize_t size = p.size, nr = p.nr, targets = p.groups * p.ranges * p.spans
    cdef Py_ssize_t part = chunk % p.parts, target = chunk // p.parts
    cdef Py_ssize_t span = target % p.spans, group = target // p.spans // p.ranges
    cdef Py_ssize_t b0 = cut(p.blocks, p.ranges, target // p.spans % p.ranges)
    cdef Py_ssize_t b1 = cut(p.blocks, p.ranges, target // p.spans % p.ranges + 1)
    cdef Py_ssize_t channel = group * p.fg + b0 * nr, n = min(b1 * nr, p.fg) - b0 * nr
    cdef Py_ssize_t c0 = cut(p.cg, p.spans, span), c1 = cut(p.cg, p.spans, span + 1)
    cdef Py_ssize_t unit, row0, row1, w0, w1, b, first, count, W = p.axis[2].out
    cdef Py_ssize_t block = p.T * p.width * nr * size, copy = p.together * block
    cdef conv_tap *taps = <conv_tap *>scratch(0, p.rows * sizeof(conv_tap))
    cdef const char *x = p.x + (group * p.cg + c0) * size
    cdef const char *g
    cdef char *packed = <char *>scratch(
        1, copy + p.rows * ceil_div(W, p.segments) * p.together * nr * size)
    cdef char *sums = packed
    packed += copy
    if p.parts > 1:
        sums = p.copies + (part * targets + target) * copy
    memset(sums, 0, copy)
    for unit in range(cut(p.units, p.parts, part), cut(p.units, p.parts, part + 1)):
        row0 = unit // p.segments * p.rows
        row1 = min(row0 + p.rows, p.N * p.axis[0].out * p.axis[1].out)
        w0 = cut(W, p.segments, unit % p.segments)
        w1 = cut(W, p.segments, unit % p.segments + 1)
        first, count = row0 * W + w0, (row1 - row0) * (w1 - w0)
        g = p.g + (first * p.co + channel) * size
        if not p.direct and not p.pooled.index:
            (<pack_fn>p.kernels.pack)(g, p.co, count, n, p.lanes, packed)
        for b in range(b1 - b0):
            if p.direct:
                add_unit(p, min(nr, n - b * nr), c0, c1, row0, row1, w0, w1, x, g + b * nr * size,
                         p.co, taps, sums + b * block)
                continue
            if p.pooled.index:
                unpool_pixels(&p.pooled, first, count, channel + b * nr, min(nr, n - b * nr),
                              p.lanes, packed + b * count * nr * size)
            add_unit(p, min(nr, n - b * nr), c0, c1, row0, row1, w0, w1, x,
                     packed + b * count * nr * size, p.lanes, taps, sums + b * block)
    if p.parts == 1:
        store(p, target, sums, 0)


cdef void few_chunk(void *ctx, Py_ssize_t part, int worker) noexcept nogil:
    """A part of the pixels, where g has few channels: they are broadcast, and x is the vector."""
    cdef Weight *p = <Weight *>ctx
    cdef Py_ssize_t size = p.size, W = p.axis[2].out, step = p.ci * size
    cdef Py_ssize_t unit, row0, row1, w0, w1, t, i, j, k, count, tiles = ceil_div(p.co, p.mr), tile
    cdef conv_tap *taps = <conv_tap *>scratch(0, p.rows * sizeof(conv_tap))
    cdef const char *g
    cdef char *sums = p.copies + part * p.T * p.co * step
    cdef char *expanded = NULL
    if p.pooled.index:
        expanded = <char *>scratch(1, p.rows * ceil_div(W, p.segments) * p.co * size)
    memset(sums, 0, p.T * p.co * step)
    for unit in range(cut(p.units, p.parts, part), cut(p.units, p.parts, part + 1)):
        row0 = unit // p.segments * p.rows
        row1 = min(row0 + p.rows, p.N * p.axis[0].out * p.axis[1].out)
        w0 = cut(W, p.segments, unit % p.segments)
        w1 = cut(W, p.segments, unit % p.segments + 1)
        g = p.g + (row0 * W + w0) * p.co * size
        if p.pooled.index:
            g = expanded
            unpool_pixels(&p.pooled, row0 * W + w0, (row1 - row0) * (w1 - w0), 0, p.co, p.co,
                          expanded)
        for t in range(p.T):
            count = list_rows(p, t, row0, row1, w0, w1, w0, w1, p.co, taps)
            for k in range(count):
                taps[k].l, taps[k].r = taps[k].r, taps[k].l
            for j from 0 <= j < (p.ci if count else 0) by p.nr:
                for tile in range(tiles):
                    i = cut(p.co, tiles, tile)
                    (<tile_fn>p.kernels.tile)(
                        cut(p.co, tiles, tile + 1) - i, min(p.nr, p.ci - j), taps, count,
                        g + i * size, 1, p.co, p.x + j * size, p.axis[2].stride * p.ci,
                        sums + (t * p.co + i) * step + j * size, p.ci, True, NULL)


cdef void run_few(Weight *p) noexcept nogil:
    cdef Py_ssize_t W = p.axis[2].out, rows = p.N * p.axis[0].out * p.axis[1].out
    cdef Py_ssize_t copy = p.T * p.co * p.ci * p.size, pixels, t, f
    cdef double work = <double>rows * W * p.T * p.ci * max(4, p.co)
    pixels = max(FEW_PIXELS, min(GROUP, FEW_BYTES // (p.axis[2].stride * p.ci * p.size)))
    p.segments = ceil_div(W, pixels)
    p.rows = max(1, pixels // W)
    p.units = ceil_div(rows, p.rows) * p.segments
    p.parts = max(1, min(min(p.units, CHUNKS),
                         min(PARTS_BYTES // copy, <Py_ssize_t>(work / ALONE))))
    p.copies = <char *>scratch(2, copy * p.parts)
    spread(few_chunk, p, p.parts, work < ALONE)
    for t in range(p.T):
        for f in range(p.co):
            (<add_fn>p.kernels.add_rows)(p.copies + (t * p.co + f) * p.ci * p.size, p.parts,
                                         copy // p.size, p.ci,
                                         p.out + (f * p.T + t) * p.ci * p.size)


cdef void store(const Weight *p, Py_ssize_t target, const char *sums,
                Py_ssize_t stride) noexcept nogil:
    """Add the parts of a range of blocks of the weight, transposed."""
    cdef Py_ssize_t span = target % p.spans, group = target // p.spans // p.ranges, b, t, f
    cdef Py_ssize_t b0 = cut(p.blocks, p.ranges, target // p.spans % p.ranges)
    cdef Py_ssize_t b1 = cut(p.blocks, p.ranges, target // p.spans % p.ranges + 1)
    cdef Py_ssize_t c0 = cut(p.cg, p.spans, span), c1 = cut(p.cg, p.spans, span + 1)
    for b in range(b0, b1):
        f = group * p.fg + b * p.nr
        for t in range(p.T):
            (<sum_fn>p.kernels.sum_parts)(
                sums + ((b - b0) * p.T + t) * p.width * p.nr * p.size, p.parts, stride, c1 - c0,
                min(p.nr, p.fg - b * p.nr), p.out + ((f * p.T + t) * p.cg + c0) * p.size,
                p.T * p.cg)


cdef void store_chunk(void *ctx, Py_ssize_t target, int worker) noexcept nogil:
    cdef Weight *p = <Weight *>ctx
    cdef Py_ssize_t copy = p.together * p.T * p.width * p.nr
    store(p, target, p.copies + target * copy * p.size, copy * p.groups * p.ranges * p.spans)


cdef void run(Weight *p) noexcept nogil:
    if p.groups == 1 and p.co < FEW and p.ci % (p.nr // 2) == 0:
        run_few(p)
    else:
        run_many(p)


cdef void run_many(Weight *p) noexcept nogil:
    cdef Py_ssize_t W = p.axis[2].out, rows = p.N * p.axis[0].out * p.axis[1].out, copy, targets, group
    cdef Py_ssize_t block = p.T * p.cg * p.nr * p.size
    cdef double work
    p.blocks = ceil_div(p.fg, p.nr)
    p.lanes = p.nr if p.fg > p.nr // 2 else p.nr // 2
    work = <double>rows * W * p.T * p.cg * p.blocks * p.nr * p.groups
    p.direct = (not p.pooled.index and p.joined and p.fg % p.nr == 0
                and p.co * p.size <= DIRECT_BYTES)
    p.spans = min(ceil_div(p.cg, p.mr), ceil_div(block, BLOCK_BYTES))
    p.width = ceil_div(p.cg, p.spans)
    p.together = max(1, min(p.blocks, TOGETHER_BYTES // max(block, GROUP * p.nr * p.size)))
    p.ranges = ceil_div(p.blocks, p.together)
    p.together = ceil_div(p.blocks, p.ranges)
    group = GROUP
    if p.axis[2].stride * p.ci * p.size > APART_BYTES:
        group //= 2
    p.segments = ceil_div(W, group)
    p.rows = max(1, group // W)
    p.units = ceil_div(rows, p.rows) * p.segments
    targets = p.groups * p.ranges * p.spans
    copy = targets * p.together * p.T * p.width * p.nr * p.size
    p.parts = min(p.units, ceil_div(CHUNKS, targets))
    p.parts = max(1, min(p.parts, min(PARTS_BYTES // copy, <Py_ssize_t>(work / ALONE))))
    p.copies = <char *>scratch(2, copy * p.parts) if p.parts > 1 else NULL
    spread(part_chunk, p, targets * p.parts, work < ALONE)
    if p.parts > 1:
        spread(store_chunk, p, targets, copy < ALONE)


cdef void fill(Weight *p, cnp.ndarray x, cnp.ndarray out, Py_ssize_t co, Py_ssize_t groups):
    cdef bint is_double = cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE
    p.kernels = grad_weight_kernels_table[isa.level][is_double]
    p.size = 8 if is_double else 4
    p.nr, p.mr = p.kernels.nr, p.kernels.mr
    p.N = cnp.PyArray_DIM(x, 0)
    p.T = p.axis[0].kernel * p.axis[1].kernel * p.axis[2].kernel
    fold_pixels(p.axis, &p.N)
    p.ci, p.co = cnp.PyArray_DIM(x, 4), co
    p.groups, p.cg, p.fg = groups, p.ci // groups, p.co // groups
    p.joined = groups == 1 and p.axis[2].dilation == 1 and p.axis[2].kernel > 1 and p.cg < p.mr
    p.x, p.out = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(out)


def conv_grad_weight(cnp.ndarray x, cnp.ndarray g, cnp.ndarray out, tuple stride, tuple padding,
                     tuple dilation, Py_ssize_t groups):
    """Write the gradient of the weight."""
    cdef Weight p
    memset(&p, 0, sizeof(Weight))
    fill_axes(p.axis, x, g, out, stride, padding, dilation)
    fill(&p, x, out, cnp.PyArray_DIM(g, 4), groups)
    p.g = cnp.PyArray_BYTES(g)
    with nogil:
        run(&p)


def conv_pool_grad_weight(cnp.ndarray x, cnp.ndarray g, cnp.ndarray index, cnp.ndarray out,
                          tuple stride, tuple padding, tuple dilation, Py_ssize_t groups,
                          tuple pool, tuple sizes):
    """Write the gradient of the weight; `sizes` are those before the pooling."""
    cdef Weight p
    cdef int i
    memset(&p, 0, sizeof(Weight))
    fill_axes(p.axis, x, g, out, stride, padding, dilation)
    fill_pooled(&p.pooled, g, index, pool, sizes)
    for i in range(3):
        p.axis[i].out = p.pooled.sizes[i]
    fill(&p, x, out, p.pooled.channels, groups)
    with nogil:
        run(&p)
