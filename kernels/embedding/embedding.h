/* The vector text of the embedding's gradient, once per instruction set and dtype. */
#ifndef MEDAI_EMBEDDING_H
#define MEDAI_EMBEDDING_H
#include <stddef.h>

/* Rows by index jump over memory, which nothing guesses: ask for the first lines of a row early.
 * Measured: up to twice as fast where the rows come from memory, nothing lost where from cache. */
enum { AHEAD = 8 };
static inline void prefetch_row(const char *row, size_t bytes) {
    for (size_t at = 0; at < bytes && at < 512; at += 64) __builtin_prefetch(row + at);
}
#endif

struct embedding_kernels {
    void *sum_rows;
};
#define MEDAI_TABLE embedding_kernels
#define MEDAI_TEXT "embedding.inc"
#include "every_isa.h"
