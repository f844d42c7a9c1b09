/* The vector text of normalisation, once per instruction set and dtype. */
struct norm_kernels {
    void (*moments)(const void *x, Py_ssize_t rows, Py_ssize_t C, void *mean, void *m2,
                    void *block);
    void (*join_moments)(void *parts, Py_ssize_t pieces, Py_ssize_t piece, Py_ssize_t n,
                         Py_ssize_t C, Py_ssize_t groups, void *mean, void *var, void *center,
                         const void *weight, void *scale, double eps);
    void (*affine)(const void *x, Py_ssize_t rows, Py_ssize_t C, const void *center,
                   const void *scale, const void *shift, void *y, int far);
    void (*affine_grad)(const void *g, const void *x, Py_ssize_t rows, Py_ssize_t C,
                        const void *center, const void *scale, void *dx, void *sums, void *block,
                        int far);
    void (*dots)(const void *g, const void *x, Py_ssize_t rows, Py_ssize_t C, const void *mean,
                 Py_ssize_t W, void *sums, void *block);
    void (*join_dots)(void *parts, Py_ssize_t pieces, Py_ssize_t n, Py_ssize_t C,
                      Py_ssize_t groups, const void *g_mean, const void *g_var, const void *mean,
                      const void *var, const void *weight, void *coefficients, double eps);
    void (*combine)(const void *g, const void *x, Py_ssize_t rows, Py_ssize_t C,
                    const void *coefficients, void *dx, int far);
    void (*add_up)(const void *parts, Py_ssize_t count, Py_ssize_t step, Py_ssize_t C,
                   void *dweight, void *dbias);
    void (*rows)(const void *x, const void *weight, const void *bias, void *y, void *mean,
                 void *var, Py_ssize_t rows, Py_ssize_t groups, Py_ssize_t W, double eps, int far);
    void (*rows_grad)(const void *g, const void *g_mean, const void *g_var, const void *x,
                      const void *mean, const void *var, const void *weight, void *dx, void *sums,
                      Py_ssize_t rows, Py_ssize_t groups, Py_ssize_t W, double eps, int far);
};
#define MEDAI_TABLE norm_kernels
#define MEDAI_TEXT "norm.inc"
#include "every_isa.h"
