/* What optimizer.inc and fast.pyx share: a segment, the scalars of a row, the list of rules. */
#ifndef MEDAI_OPTIMIZER_H
#define MEDAI_OPTIMIZER_H
#include <stddef.h>

/* Scalars of a segment, computed in double from its row of `hyper`. KEEP and ADD are the decay and
 * the weight of the new value in a running average; rules without the field leave it alone. */
enum {
    SIGN, DECAY, SHRINK, RATE, EPS, KEEP1, ADD1, KEEP2, ADD2, ROOT, OF_G, OF_M,
    FIRST, NESTEROV, RECTIFIED, LOW, HIGH, SCALARS
};

enum { MAX_ARRAYS = 5 };
struct segment {
    void *array[MAX_ARRAYS]; /* parameter, gradient, states; NULL where the segment lacks a state */
    Py_ssize_t size;         /* elements */
    Py_ssize_t first;        /* of its first element in the row of all segments */
    const void *left, *right; /* the factors of a gradient left^T right that array[1] lacks */
    Py_ssize_t K, M, N;      /* left is K x M, right K x N */
    double scalar[SCALARS];
};

/* Updates elements begin .. end - 1 of a segment. */
typedef void (*rule_fn)(const struct segment *segment, Py_ssize_t begin, Py_ssize_t end);
/* Returns the sum of squares of array[0]. */
typedef double (*sum_fn)(const struct segment *segment, Py_ssize_t begin, Py_ssize_t end);

enum { SGD, ADAM, NADAM, RADAM, RMSPROP, ADAGRAD, ADADELTA, ADAMAX, LION, EMA, SCALE, CLIP, RULES };
struct optimizer_kernels {
    rule_fn rule[RULES];
    sum_fn sum_squares;
    void *tile; /* of simd/tile.inc */
    Py_ssize_t mr, nr;
};
#endif

#define MEDAI_TABLE optimizer_kernels
#define MEDAI_TEXT "optimizer.inc"
#include "every_isa.h"
