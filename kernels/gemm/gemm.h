struct gemm_kernels {
    void *tile, *pack, *pack_transposed, *store_transposed, *dot;
    Py_ssize_t mr, nr; /* rows and columns of the largest tile */
};
#define MEDAI_TABLE gemm_kernels
#define MEDAI_TEXT "gemm.inc"
#include "every_isa.h"
