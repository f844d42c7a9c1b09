/* The vector texts of pooling beside convolution, once per instruction set and dtype. */
struct pooled_kernels {
    void *pool, *unpool;
};
#define MEDAI_TABLE pooled_kernels
#define MEDAI_TEXT "pooled.inc"
#include "every_isa.h"
