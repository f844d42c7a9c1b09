#ifndef MEDAI_LINES_H
#define MEDAI_LINES_H
#include <stddef.h>

/* A row of x that a row of outputs meets: where x, and the weights of its first tap, are read. */
struct conv_row {
    ptrdiff_t x, weight;
};

/* The row of x of `columns` pixels of `pixel` channels: an output reads `taps` columns, `reach`
 * apart, the next output `step` columns further; weights of taps are `tap` apart, those of the
 * `depth` channels of a group `lanes`. */
struct conv_line {
    ptrdiff_t columns, pixel, taps, reach, step, tap, depth, lanes;
};

/* What to fetch for the next row of outputs: `columns` pixels of `rows` rows of x, `row` apart, and
 * the outputs. */
struct conv_ahead {
    const void *x, *outputs;
    ptrdiff_t rows, row, columns;
};
#endif
