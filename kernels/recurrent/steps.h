/* What the vector text of recurrent layers gives, for each instruction set and dtype. */
#ifndef MEDAI_RECURRENT_STEPS_H
#define MEDAI_RECURRENT_STEPS_H
#include <stddef.h>

/* One step of one sequence. `a` is the projected input, `z` the recurrent product; `c` (lstm) and
 * `h` are the state. `gates` (of rnn `output`) may be `a`. */
typedef void (*recurrent_step)(Py_ssize_t H, int relu, const void *a, const void *z, void *c,
                               void *h, void *output, void *cells, void *gates);
/* `d_h` comes with what later steps gave; g_gates and g_cells may be NULL. `last` is the state
 * before: c of lstm, h of gru. The gradients of a and z go to blocks of H, see steps.pyx: once next
 * to each other in `row`, once in vectors that lie `panel_step` elements apart. */
typedef void (*recurrent_step_grad)(Py_ssize_t H, int relu, const void *g_output,
                                    const void *g_gates, const void *g_cells, const void *gates,
                                    const void *cells, const void *last, void *d_h, void *d_c,
                                    void *row, void *panel, Py_ssize_t panel_step);

struct recurrent_kernels {
    void *tile, *pack, *pack_transposed;
    recurrent_step lstm, gru, rnn;
    recurrent_step_grad lstm_grad, gru_grad, rnn_grad;
    /* row[0 .. width) into panels of nr columns, zeros behind its end */
    void (*keep)(Py_ssize_t width, const void *row, void *panel, Py_ssize_t panel_step);
    /* out[0 .. n) (+)= the sum of `rows` vectors that follow each other */
    void (*sum_rows)(Py_ssize_t rows, const void *panel, Py_ssize_t n, int accumulate, void *out);
    /* out[0 .. n) (+)= l[0 .. kc) times panels of a weight, plus a bias if any */
    void (*row)(Py_ssize_t n, Py_ssize_t kc, const void *l, const void *panels, void *out,
                int accumulate, const void *bias, int back);
    Py_ssize_t mr, nr;
};

/* Asks for lines that the next step will touch: sequences lie far apart, in more streams than a
 * processor follows by itself. */
static inline void recurrent_fetch(const char *start, Py_ssize_t n_bytes) {
    for (Py_ssize_t i = 0; i < n_bytes; i += 64) __builtin_prefetch(start + i, 0, 2);
}
#endif
