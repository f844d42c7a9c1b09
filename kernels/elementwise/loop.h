#ifndef MEDAI_ELEMENTWISE_LOOP_H
#define MEDAI_ELEMENTWISE_LOOP_H
#include <stddef.h>

/* n elements: input i at in[i], advancing by step[i], 1 or 0 element (where step is 0, 64 bytes of
 * equal elements lie there), two parameters. */
typedef void (*elementwise_loop)(const char *const *in, const ptrdiff_t *step, char *out,
                                 ptrdiff_t n, const double *parameters);
#endif
