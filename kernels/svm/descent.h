/* The vector text of dual coordinate descent. */
#ifndef MEDAI_SVM_DESCENT_H
#define MEDAI_SVM_DESCENT_H
#include <stddef.h>
#include <stdint.h>

/* One machine: its dual variables, and the weights that they make. */
struct svm_machine {
    const void *x; /* (n, d) */
    Py_ssize_t n, d;
    const double *square;                         /* (n,) squared norms of rows, bias included */
    const double *target, *lower, *upper, *ridge; /* (n,) */
    double *beta;                                 /* (n,) */
    void *weight;                                 /* (d + 1,), the last one that of the bias */
    Py_ssize_t *order;                            /* (n,) scratch */
    double bias, epsilon, tol;
    Py_ssize_t max_iter;
    uint64_t seed;
    double iterations, violation; /* out */
};
#endif

struct svm_descent_kernels {
    void *squares, *descend;
};
#define MEDAI_TABLE svm_descent_kernels
#define MEDAI_TEXT "descent.inc"
#include "every_isa.h"
