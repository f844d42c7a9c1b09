struct ceiling_kernels {
    double (*fma_loop)(Py_ssize_t rounds);
    void (*copy)(const char *from, char *to, Py_ssize_t n_bytes);
    Py_ssize_t flops_a_round;
};
#define MEDAI_TABLE ceiling_kernels
#define MEDAI_TEXT "ceilings.inc"
#include "every_isa.h"
