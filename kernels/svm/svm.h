/* The vector texts of kernel functions and of SMO's passes over the active points. */
#ifndef MEDAI_SVM_H
#define MEDAI_SVM_H
#include <stddef.h>

enum { LINEAR, POLY, RBF, SIGMOID, PRECOMPUTED };

struct svm_spec {
    int kind, degree;
    double gamma, coef0;
};

/* What one pass has found in its chunk; indices count from the start of all points. */
struct svm_scan {
    double high, low;         /* greatest score + up, least score + low */
    double gain, curvature;   /* of the best partner: gain / curvature is its decrease, doubled */
    Py_ssize_t high_at, low_at, partner;
};
#endif

struct svm_kernels {
    void *pack, *norms, *rows, *weighted, *update, *partner, *gather, *axpy;
    Py_ssize_t mr, nr; /* rows of a tile, points of a panel */
};
#define MEDAI_TABLE svm_kernels
#define MEDAI_TEXT "svm.inc"
#include "every_isa.h"
