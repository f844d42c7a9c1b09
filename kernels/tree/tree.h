/* The vector texts of decision trees, once per instruction set. */
#ifndef MEDAI_TREE_H
#define MEDAI_TREE_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { GINI, ENTROPY, SQUARED };
/* columns of a grown node; LOW and NEXT are the codes beside the threshold, -1 is none */
enum { FEATURE, LOW, NEXT, LEFT, RIGHT, SAMPLES, MISSING_LEFT, DEPTH, NODE_INTS };
enum { IMPURITY, WEIGHT, VALUE }; /* columns of its numbers; from VALUE on one per class */

struct tree_grow { /* what the trees of one call share, and where they go */
    const void *codes; /* (D, N) of code_bytes each; the largest code of the type is missing */
    int code_bytes;
    Py_ssize_t D, N, K;
    const void *target; /* int64 labels below K, or doubles */
    int criterion;
    const double *weight; /* (trees, N) */
    const uint64_t *seeds;
    int32_t *nodes; /* (trees, capacity, NODE_INTS) */
    double *stats;  /* (trees, capacity, VALUE + K) */
    int64_t *sizes; /* (trees,) nodes; -1 where memory ran out */
    Py_ssize_t capacity, max_depth, min_split, min_leaf, max_features, max_leaves;
    double min_weight, min_decrease;
};

struct tree_codes { /* columns of X to codes */
    const float *x; /* (N, D) */
    Py_ssize_t N, D, bins;
    void *codes;
    int code_bytes;
    float *low, *high; /* (D, bins): smallest and largest value of each code, if bins */
    int64_t *counts;   /* (D,) codes of each feature; -1 where memory ran out */
};

struct tree_walk { /* rows to leaves */
    const float *x; /* (N, D) */
    Py_ssize_t N, D, K, trees, nodes, depth;
    const int32_t *node; /* (nodes, 4): bits of the threshold, 2 feature + missing left, children */
    const int64_t *roots;
    const double *values; /* (nodes, K), or NULL */
    double *out;          /* (N, K) sums over trees */
    int32_t *leaves;      /* (N, trees), where there are no values */
    int sound;            /* all nodes were looked at */
};
#endif

struct tree_kernels {
    void (*codes)(const struct tree_codes *, Py_ssize_t feature);
    void (*grow)(const struct tree_grow *, Py_ssize_t tree);
    int (*sound)(const struct tree_walk *);
    void (*walk)(const struct tree_walk *, Py_ssize_t first, Py_ssize_t last);
};
#define MEDAI_TABLE tree_kernels
#define MEDAI_TEXT "tree.inc"
#include "every_isa.h"
