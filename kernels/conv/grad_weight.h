/* The vector texts of the weight gradient, once per instruction set and dtype. */
#include "taps.h"

struct grad_weight_kernels {
    void *tile, *sum_parts, *pack, *add_rows;
    Py_ssize_t mr, nr; /* rows and columns of the largest tile */
};
#define MEDAI_TABLE grad_weight_kernels
#define MEDAI_TEXT "grad_weight.inc"
#include "every_isa.h"
