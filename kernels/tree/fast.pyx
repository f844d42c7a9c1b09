"""Decision trees: codes, growth, pruning, walks; definitions in reference.py.

tree_codes: a chunk is a column: one radix sort of (value, row), then one walk. Bytes: 4 N D read
by column, 16 N of scratch, codes written once.
tree_grow: a chunk is a tree. Per node, weights and labels are gathered once; per candidate feature
codes are gathered, sorted with their places in the node as one integer (ranks by vector compares
below 96, byte-wise radix passes above; codes of one byte are added up in 256 bins instead), and
walked once. The codes are sorted afresh in each node: carrying all D columns sorted costs D moves
a level where only max_features are looked at.
tree_apply, tree_predict: chunks of rows; 16 rows walk together, and who arrives makes room.
tree_prune: weakest link by weakest link, each found in one pass.
Bits: a tree depends on its weights and seed only; sums over trees run in their order.
Sources: see reference.py; Knuth, vol. 3, 5.2.5 (radix).
"""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from numpy cimport PyArray_DATA, PyArray_DIM, PyArray_ITEMSIZE, import_array, ndarray

from ..simd cimport isa
from ..threads.pool cimport parallel_for, scratch

import_array()

__all__ = ["tree_apply", "tree_codes", "tree_grow", "tree_predict", "tree_prune"]

cdef extern from "tree.h" nogil:
    struct GrowJob "tree_grow":
        const void *codes
        int code_bytes
        Py_ssize_t D, N, K
        const void *target
        int criterion
        const double *weight
        const uint64_t *seeds
        int32_t *nodes
        double *stats
        int64_t *sizes
        Py_ssize_t capacity, max_depth, min_split, min_leaf, max_features, max_leaves
        double min_weight, min_decrease
    struct CodesJob "tree_codes":
        const float *x
        Py_ssize_t N, D, bins
        void *codes
        int code_bytes
        float *low
        float *high
        int64_t *counts
    struct WalkJob "tree_walk":
        const float *x
        Py_ssize_t N, D, K, trees, nodes, depth
        const int32_t *node
        const int64_t *roots
        const double *values
        double *out
        int32_t *leaves
        int sound
    struct tree_kernels:
        void (*codes)(const CodesJob *, Py_ssize_t feature) noexcept nogil
        void (*grow)(const GrowJob *, Py_ssize_t tree) noexcept nogil
        int (*sound)(const WalkJob *) noexcept nogil
        void (*walk)(const WalkJob *, Py_ssize_t first, Py_ssize_t last) noexcept nogil
    const tree_kernels *tree_kernels_table[][2]

cdef enum:
    ROWS = 2048  # of a chunk: 50 columns of them and a tree of 4,000 nodes stay in the L2 cache


cdef void codes_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    tree_kernels_table[isa.level][0].codes(<const CodesJob *>ctx, chunk)


cdef void grow_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    tree_kernels_table[isa.level][1].grow(<const GrowJob *>ctx, chunk)


cdef void walk_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const WalkJob *job = <const WalkJob *>ctx
    tree_kernels_table[isa.level][0].walk(job, chunk * ROWS, min((chunk + 1) * ROWS, job.N))


cdef int check_memory(const int64_t *sizes, Py_ssize_t count) except -1:
    cdef Py_ssize_t i
    for i in range(count):
        if sizes[i] < 0:
            raise MemoryError("no memory for the scratch of a tree")
    return 0


def tree_codes(ndarray x, ndarray codes, ndarray low, ndarray high, ndarray counts):
    cdef CodesJob job
    job.x = <const float *>PyArray_DATA(x)
    job.N, job.D, job.bins = PyArray_DIM(x, 0), PyArray_DIM(x, 1), PyArray_DIM(low, 1)
    job.codes, job.code_bytes = PyArray_DATA(codes), PyArray_ITEMSIZE(codes)
    job.low, job.high = <float *>PyArray_DATA(low), <float *>PyArray_DATA(high)
    job.counts = <int64_t *>PyArray_DATA(counts)
    with nogil:
        parallel_for(codes_chunk, &job, job.D)
    check_memory(job.counts, job.D)


def tree_grow(ndarray codes, ndarray target, ndarray weight, ndarray seeds, ndarray nodes,
              ndarray stats, ndarray sizes, int criterion, Py_ssize_t max_depth,
              Py_ssize_t min_split, Py_ssize_t min_leaf, double min_weight,
              Py_ssize_t max_features, Py_ssize_t max_leaves, double min_decrease):
    cdef GrowJob job
    cdef Py_ssize_t trees = PyArray_DIM(weight, 0)
    job.codes, job.code_bytes = PyArray_DATA(codes), PyArray_ITEMSIZE(codes)
    job.D, job.N, job.K = PyArray_DIM(codes, 0), PyArray_DIM(codes, 1), PyArray_DIM(stats, 2) - 2
    job.target, job.criterion = PyArray_DATA(target), criterion
    job.weight = <const double *>PyArray_DATA(weight)
    job.seeds = <const uint64_t *>PyArray_DATA(seeds)
    job.nodes = <int32_t *>PyArray_DATA(nodes)
    job.stats = <double *>PyArray_DATA(stats)
    job.sizes = <int64_t *>PyArray_DATA(sizes)
    job.capacity = PyArray_DIM(nodes, 1)
    job.max_depth, job.min_split, job.min_leaf = max_depth, min_split, min_leaf
    job.max_features, job.max_leaves = max_features, max_leaves
    job.min_weight, job.min_decrease = min_weight, min_decrease
    with nogil:
        parallel_for(grow_chunk, &job, trees)
    check_memory(job.sizes, trees)


cdef void walk(WalkJob *job, ndarray x, ndarray nodes, ndarray roots, Py_ssize_t depth) noexcept:
    cdef Py_ssize_t chunks
    job.x = <const float *>PyArray_DATA(x)
    job.N, job.D = PyArray_DIM(x, 0), PyArray_DIM(x, 1)
    job.node, job.nodes = <const int32_t *>PyArray_DATA(nodes), PyArray_DIM(nodes, 0)
    job.roots, job.trees = <const int64_t *>PyArray_DATA(roots), PyArray_DIM(roots, 0)
    job.depth = depth
    # a look at all nodes pays where the rows will look at most of them
    job.sound = job.N * job.trees > job.nodes and tree_kernels_table[isa.level][0].sound(job)
    chunks = (job.N + ROWS - 1) // ROWS
    if chunks == 1:
        walk_chunk(job, 0, 0)
    else:
        with nogil:
            parallel_for(walk_chunk, job, chunks)


def tree_apply(ndarray x, ndarray nodes, ndarray roots, ndarray out, Py_ssize_t depth):
    cdef WalkJob job
    job.values, job.leaves, job.K = NULL, <int32_t *>PyArray_DATA(out), 0
    walk(&job, x, nodes, roots, depth)


def tree_predict(ndarray x, ndarray nodes, ndarray roots, ndarray values, ndarray out,
                 Py_ssize_t depth):
    cdef WalkJob job
    job.values, job.out = <const double *>PyArray_DATA(values), <double *>PyArray_DATA(out)
    job.K = PyArray_DIM(values, 1)
    walk(&job, x, nodes, roots, depth)


cdef struct Branch:  # what hangs below a node
    double risk
    int64_t leaves, parent
    bint inside  # not cut off


cdef Py_ssize_t prune(const int32_t *left, const int32_t *right, const double *risk, Py_ssize_t M,
                      double alpha, Branch *branches, uint8_t *leaf, double *path) noexcept nogil:
    cdef Py_ssize_t i, child, weakest, steps = 1
    cdef double best, found, gain
    cdef int64_t fewer
    for i in range(M):
        branches[i].parent, branches[i].inside = -1, True
    for i in range(M - 1, -1, -1):  # children stand behind their parents
        leaf[i] = not (i < left[i] < M and i < right[i] < M)
        branches[i].risk, branches[i].leaves = risk[i], 1
        if not leaf[i]:
            branches[i].risk = branches[left[i]].risk + branches[right[i]].risk
            branches[i].leaves = branches[left[i]].leaves + branches[right[i]].leaves
            branches[left[i]].parent = branches[right[i]].parent = i
    path[0], path[1] = 0, branches[0].risk
    while not leaf[0]:
        best, weakest = INFINITY, -1
        for i in range(M):
            if leaf[i] or not branches[i].inside:
                continue
            found = (risk[i] - branches[i].risk) / (branches[i].leaves - 1)
            if found < best:
                best, weakest = found, i
        if weakest < 0 or best > alpha:
            break
        leaf[weakest] = True
        for child in range(weakest + 1, M):  # what hangs below it is cut off
            if branches[child].parent >= weakest and branches[child].inside:
                i = branches[child].parent
                branches[child].inside = not (i == weakest or not branches[i].inside)
        gain, fewer = risk[weakest] - branches[weakest].risk, branches[weakest].leaves - 1
        i = weakest
        while i >= 0:
            branches[i].risk += gain
            branches[i].leaves -= fewer
            i = branches[i].parent
        path[2 * steps], path[2 * steps + 1] = best, branches[0].risk
        steps += 1
    return steps


def tree_prune(ndarray left, ndarray right, ndarray risk, ndarray leaf, ndarray path,
               ndarray steps, double alpha):
    cdef Py_ssize_t M = PyArray_DIM(risk, 0)
    cdef Branch *branches = <Branch *>scratch(2, M * sizeof(Branch))
    cdef const int32_t *l = <const int32_t *>PyArray_DATA(left)
    cdef const int32_t *r = <const int32_t *>PyArray_DATA(right)
    cdef const double *v = <const double *>PyArray_DATA(risk)
    cdef uint8_t *flags = <uint8_t *>PyArray_DATA(leaf)
    cdef double *steps_path = <double *>PyArray_DATA(path)
    cdef int64_t *count = <int64_t *>PyArray_DATA(steps)
    with nogil:
        count[0] = prune(l, r, v, M, alpha, branches, flags, steps_path)
