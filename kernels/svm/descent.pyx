"""Dual coordinate descent for linear machines; equations in reference.py, text in descent.inc.

Order: epochs > points in a new random order > the point's dot product with the weights, its step,
its sum into the weights. A machine is sequential, so the chunks are whole machines (one per class).
Points that stay at a bound are left out, and looked at again at the end.
Bytes: a step reads a row twice, the second time from the first cache. Source: see reference.py.
"""

cimport numpy as cnp
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for

cnp.import_array()

__all__ = ["dual_descent"]

cdef extern from "descent.h":
    struct svm_machine:
        const void *x
        Py_ssize_t n, d
        const double *square
        const double *target
        const double *lower
        const double *upper
        const double *ridge
        double *beta
        void *weight
        Py_ssize_t *order
        double bias, epsilon, tol
        Py_ssize_t max_iter
        uint64_t seed
        double iterations, violation
    struct svm_descent_kernels:
        void *squares
        void *descend
    const svm_descent_kernels *const svm_descent_kernels_table[3][2]

ctypedef void (*squares_fn)(const void *x, Py_ssize_t n, Py_ssize_t d, double bias,
                            double *out) noexcept nogil
ctypedef void (*descend_fn)(svm_machine *machine) noexcept nogil

cdef struct Machines:
    descend_fn descend
    svm_machine *each


cdef void machine_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Machines *machines = <Machines *>ctx
    machines.descend(&machines.each[chunk])


def dual_descent(cnp.ndarray x, cnp.ndarray target, cnp.ndarray lower, cnp.ndarray upper,
                 cnp.ndarray ridge, cnp.ndarray beta, cnp.ndarray weight, cnp.ndarray result,
                 double bias, double epsilon, double tol, Py_ssize_t max_iter, uint64_t seed):
    """Move ``beta`` (K, n) to the optimum of each machine; result[k] = (epochs, violation)."""
    cdef bint is_double = cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE
    cdef const svm_descent_kernels *text = svm_descent_kernels_table[isa.level][is_double]
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), d = cnp.PyArray_DIM(x, 1)
    cdef Py_ssize_t K = cnp.PyArray_DIM(target, 0), k
    cdef double *square = <double *>malloc(n * sizeof(double))
    cdef Py_ssize_t *order = <Py_ssize_t *>malloc(K * n * sizeof(Py_ssize_t))
    cdef svm_machine *each = <svm_machine *>malloc(K * sizeof(svm_machine))
    cdef Machines machines
    cdef bint found = square and order and each
    if found:
        machines.descend, machines.each = <descend_fn>text.descend, each
        for k in range(K):
            each[k].x, each[k].n, each[k].d, each[k].square = cnp.PyArray_DATA(x), n, d, square
            each[k].target = <const double *>cnp.PyArray_DATA(target) + k * n
            each[k].lower = <const double *>cnp.PyArray_DATA(lower) + k * n
            each[k].upper = <const double *>cnp.PyArray_DATA(upper) + k * n
            each[k].ridge = <const double *>cnp.PyArray_DATA(ridge) + k * n
            each[k].beta = <double *>cnp.PyArray_DATA(beta) + k * n
            each[k].weight = cnp.PyArray_BYTES(weight) + k * (d + 1) * (8 if is_double else 4)
            each[k].order = order + k * n
            each[k].bias, each[k].epsilon, each[k].tol = bias, epsilon, tol
            each[k].max_iter, each[k].seed = max_iter, seed + k
        with nogil:
            (<squares_fn>text.squares)(cnp.PyArray_DATA(x), n, d, bias, square)
            parallel_for(machine_chunk, &machines, K)
        for k in range(K):
            (<double *>cnp.PyArray_DATA(result))[2 * k] = each[k].iterations
            (<double *>cnp.PyArray_DATA(result))[2 * k + 1] = each[k].violation
    free(square)
    free(order)
    free(each)
    if not found:
        raise MemoryError
