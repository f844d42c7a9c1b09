/* The vector text of attention, once per instruction set and dtype. */
#ifndef MEDAI_ATTENTION_H
#define MEDAI_ATTENTION_H
#include <stddef.h>

enum { NO_MASK, BOOLEAN_MASK, ADDED_MASK };

/* A tile of scores: `rows` of `n` keys, `step` elements apart (n and what fills up a vector). */
struct scores {
    void *s;
    Py_ssize_t step, rows, n;
    const void *mask; /* row 0; the others `mask_step` elements on */
    Py_ssize_t mask_step;
    int kind;
    Py_ssize_t seen; /* row i may attend to the first seen + i keys */
};
#endif

struct attention_kernels {
    void (*tile)(Py_ssize_t m, Py_ssize_t n, Py_ssize_t kc, const void *l, Py_ssize_t lis,
                 Py_ssize_t lks, const void *r, Py_ssize_t rks, void *c, Py_ssize_t ldc,
                 int accumulate, const void *bias, const void *ahead, Py_ssize_t ahead_step);
    void (*pack_transposed)(const void *r, Py_ssize_t rjs, Py_ssize_t kc, Py_ssize_t n,
                            Py_ssize_t width, void *out);
    void (*dots)(const void *rows, Py_ssize_t step, Py_ssize_t n, Py_ssize_t width, const void *q,
                 void *s);
    void (*copy)(const void *from, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t n,
                 Py_ssize_t width, double scale, void *to);
    void (*soften)(const struct scores *scores, int first, void *top, void *total, void *out,
                   Py_ssize_t out_step, Py_ssize_t width);
    void (*finish)(void *out, Py_ssize_t out_step, Py_ssize_t rows, Py_ssize_t width,
                   const void *top, const void *total, void *lse);
    void (*deltas)(const void *g, const void *out, Py_ssize_t step, Py_ssize_t rows,
                   Py_ssize_t width, const void *g_lse, void *delta);
    void (*weigh)(const struct scores *scores, void *dp, const void *lse, const void *delta);
    void (*gather)(const void *parts, Py_ssize_t count, Py_ssize_t part_step, Py_ssize_t width,
                   Py_ssize_t rows, Py_ssize_t n, double scale, void *to, Py_ssize_t to_step);
    Py_ssize_t mr, nr; /* rows and columns of the largest tile */
};
#define MEDAI_TABLE attention_kernels
#define MEDAI_TEXT "attention.inc"
#include "every_isa.h"
