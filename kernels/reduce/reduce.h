/* The tables of the family: reduce_kernels_table[isa][is_double]->sum and so on.
 *
 * block(x, n, stride, width, out, second, scale): reduce n rows of `width` elements, `stride`
 * apart, to one row. What goes to `second`: argmax, argmin the index (int64), logsumexp the sum of
 * exp(x - max) (to `out` the max). Only sum takes `scale`.
 *
 * join_*(values, seconds, blocks, width, block_rows, out): from the rows of several blocks to the
 * result; sums, products and extremes are joined by their own block instead.
 */
#include <stddef.h>
#include <stdint.h>

typedef void (*reduce_block)(const void *x, ptrdiff_t n, ptrdiff_t stride, ptrdiff_t width,
                             void *out, void *second, double scale);
typedef void (*reduce_join)(const void *values, const void *seconds, ptrdiff_t blocks,
                            ptrdiff_t width, ptrdiff_t block_rows, void *out);
struct reduce_kernels {
    reduce_block sum, sum_squares, prod, max, min, argmax, argmin, logsumexp, cumulative_sum,
        cumulative_prod;
    reduce_join join_argmax, join_argmin, join_logsumexp;
};
#define MAX_WIDTH 4096 /* of a tile: its accumulators stay in L1 */

#define MEDAI_TABLE reduce_kernels
#define MEDAI_TEXT "reduce.inc"
#include "every_isa.h"
