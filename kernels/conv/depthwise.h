/* The vector texts of depthwise convolution, once per instruction set and dtype. */
#include <stddef.h>

/* A row of x that an output row meets: from where x, and the weights of its taps, are read. */
struct depth_row {
    ptrdiff_t x, weight;
};

/* The row of x of `columns` pixels of `pixel` channels: an output reads `taps` columns, `reach`
 * apart, the next output `step` columns further; weights of taps are `tap` apart. */
struct depth_line {
    ptrdiff_t columns, pixel, taps, reach, step, tap;
};

/* What to fetch for the next row of outputs: `columns` pixels of `rows` rows of x, `row` apart, and
 * the outputs. */
struct depth_ahead {
    const void *x, *outputs;
    ptrdiff_t rows, row, columns;
};

struct depthwise_kernels {
    void *outputs, *weights, *add_parts, *pack;
    Py_ssize_t width, longest; /* of a vector; outputs of a block */
};
#define MEDAI_TABLE depthwise_kernels
#define MEDAI_TEXT "depthwise.inc"
#include "every_isa.h"
