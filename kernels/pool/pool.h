/* The vector text of pooling, once per instruction set and dtype. */
#ifndef MEDAI_POOL_H
#define MEDAI_POOL_H
#include <stddef.h>
#include <stdint.h>

/* One axis: inputs and outputs, (start, stop) per output, step, weights (outputs, width). */
struct pool_axis {
    Py_ssize_t inputs, outputs, step, width;
    int apart; /* no input is read by two outputs */
    const int64_t *table;
    const void *weights;
};
#endif

/* far: whether the result goes past the caches; first, last: columns of one row of the result; row: its number (sample, depth, height);
 * sums: room for a row of x. */
typedef void (*pool_row)(const void *x, int32_t *index, void *y, const struct pool_axis *axes,
                         Py_ssize_t C, Py_ssize_t row, Py_ssize_t first, Py_ssize_t last,
                         void *sums, int far);

struct pool_kernels {
    pool_row max_pool, max_pool_grad, resample;
    void (*take)(const void *x, const int32_t *index, void *y, Py_ssize_t places, Py_ssize_t C,
                 Py_ssize_t rows);
    void (*finish)(void);
};
#define MEDAI_TABLE pool_kernels
#define MEDAI_TEXT "pool.inc"
#include "every_isa.h"
