/* The vector text of the random numbers, once per instruction set and dtype. */
#ifndef MEDAI_RANDOM_H
#define MEDAI_RANDOM_H
#include <stddef.h>
#include <stdint.h>

/* A stretch of one draw: `index` is the number of its first counter, `count` its results. */
struct draw {
    uint64_t seed, low, high; /* key, and the two halves of the draw's offset */
    uint64_t index;
    Py_ssize_t count;
};
#endif

struct random_kernels {
    void (*bits)(const struct draw *draw, void *out);
    void (*uniform)(const struct draw *draw, void *out, double low, double width, double below);
    void (*normal)(const struct draw *draw, void *out, double mean, double std);
    void (*integers)(const struct draw *draw, void *out, uint64_t low, uint64_t width);
    void (*dropout)(const struct draw *draw, const void *x, void *out, double p, double scale);
};
#define MEDAI_TABLE random_kernels
#define MEDAI_TEXT "random.inc"
#include "every_isa.h"
