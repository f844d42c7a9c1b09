/* The vector text of recurrent layers, once per instruction set and dtype. */
#ifndef MEDAI_RECURRENT_H
#define MEDAI_RECURRENT_H
#include <stddef.h>
#endif

struct recurrent_kernels {
    void *tile, *pack, *pack_transposed;
    /* One step of one sequence; `a` may be `gates`, `z` is the recurrent product. */
    void (*lstm)(Py_ssize_t H, int relu, const void *a, const void *z, void *c, void *h,
                 void *output, void *cells, void *gates);
    /* `d_h` comes with what later steps gave; g_gates and g_cells may be NULL; da goes to both. */
    void (*lstm_grad)(Py_ssize_t H, int relu, const void *g_output, const void *g_gates,
                      const void *g_cells, const void *gates, const void *cells,
                      const void *c_last, const void *d_h, void *d_c, void *da, void *row);
    Py_ssize_t mr, nr;
};
#define MEDAI_TABLE recurrent_kernels
#define MEDAI_TEXT "recurrent.inc"
#include "every_isa.h"
