/* The vector text of recurrent layers, once per instruction set and dtype. */
#ifndef MEDAI_RECURRENT_H
#define MEDAI_RECURRENT_H
#include <stddef.h>
/* One step of one sequence. `a`, the projected input, may be `gates` (of rnn `output`); `z` is the
 * recurrent product; `c` (lstm) and `h` are the state. */
typedef void (*recurrent_step)(Py_ssize_t H, int relu, const void *a, const void *z, void *c,
                               void *h, void *output, void *cells, void *gates);
/* `d_h` comes with what later steps gave; g_gates and g_cells may be NULL. `last` is the state
 * before: c of lstm, h of gru. `da` gets the gradient of a, `row` that of z. */
typedef void (*recurrent_step_grad)(Py_ssize_t H, int relu, const void *g_output,
                                    const void *g_gates, const void *g_cells, const void *gates,
                                    const void *cells, const void *last, void *d_h, void *d_c,
                                    void *da, void *row);
#endif

struct recurrent_kernels {
    void *tile, *pack, *pack_transposed;
    recurrent_step lstm, gru, rnn;
    recurrent_step_grad lstm_grad, gru_grad, rnn_grad;
    Py_ssize_t mr, nr;
};
#define MEDAI_TABLE recurrent_kernels
#define MEDAI_TEXT "recurrent.inc"
#include "every_isa.h"
