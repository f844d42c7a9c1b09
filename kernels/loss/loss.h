/* The vector text of softmax and cross-entropy, once per instruction set and dtype. */
#ifndef MEDAI_LOSS_H
#define MEDAI_LOSS_H
#include <stddef.h>
#include <stdint.h>

enum {
    COLUMNS = 64, /* of one unit of work where the softmax runs along a strided axis */
    FEW = 16      /* elements of a row that is handled as a column */
};
typedef void (*axis_fn)(const void *a, const void *b, void *out, Py_ssize_t n, Py_ssize_t inner,
                        Py_ssize_t first, Py_ssize_t last);
#endif

struct loss_kernels {
    axis_fn softmax, log_softmax, softmax_grad, log_softmax_grad;
    void (*cross_entropy)(const void *logits, const int64_t *labels, void *loss, void *lse,
                          Py_ssize_t C, Py_ssize_t first, Py_ssize_t last);
    void (*cross_entropy_grad)(const void *g_loss, const void *g_lse, const void *logits,
                               const int64_t *labels, const void *lse, void *out, Py_ssize_t C,
                               Py_ssize_t first, Py_ssize_t last);
};
#define MEDAI_TABLE loss_kernels
#define MEDAI_TEXT "loss.inc"
#include "every_isa.h"
