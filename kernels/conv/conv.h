/* The vector texts of convolution, once per instruction set and dtype. */
#include "taps.h"

struct conv_kernels {
    void *tile, *pack, *pack_transposed;
    Py_ssize_t mr, nr; /* rows and columns of the largest tile */
};
#define MEDAI_TABLE conv_kernels
#define MEDAI_TEXT "conv.inc"
#include "every_isa.h"
