"""Points in panels, and sums of kernel values over them; see fast.pyx."""

cimport numpy as cnp

cdef extern from "svm.h":
    enum: LINEAR, POLY, RBF, PRECOMPUTED
    struct svm_spec:
        int kind, degree
        double gamma, coef0
    struct svm_scan:
        double high, low, gain, curvature
        Py_ssize_t high_at, low_at, partner
    struct svm_kernels:
        void *pack
        void *norms
        void *rows
        void *weighted
        void *update
        void *partner
        void *gather
        void *axpy
        Py_ssize_t mr, nr
    const svm_kernels *const svm_kernels_table[3][2]

cdef enum:
    WORK = 1 << 18          # multiply-adds of a chunk of rows or sums

cdef struct Points:
    const svm_kernels *text
    bint is_double
    Py_ssize_t size, d, n, panels, padded   # bytes of a number; points, panels, padded points
    const char *x
    const Py_ssize_t *index                 # rows of x, or NULL for all
    char *panel
    char *norm
    Py_ssize_t per_chunk


cdef struct Sums:
    svm_spec spec
    Points *left                            # norms alone
    Points *right
    const char *coef
    Py_ssize_t outputs, per_chunk
    char *out

cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b

cdef Points points_of(cnp.ndarray x)
cdef void resize(Points *p, Py_ssize_t n) noexcept nogil
# Fills panels (where there is room for them) and squared norms.
cdef void pack(Points *p) noexcept nogil
# out[i * outputs + c] = sum_j coef[c * padded + j] k(left i, right j)
cdef void add_up(Sums *s) noexcept nogil
