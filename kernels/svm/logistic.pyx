"""The loss of logistic regression with its gradient; equation in reference.py.

Order: chunks of rows > blocks of 64 rows, which stay in L1 between the product with the weights
and the product with the residuals (logistic.inc). Each chunk has sums of its own, added in order.
Bytes: x once, where two matrix products would read it twice. Source: see reference.py.
"""

cimport numpy as cnp
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for, scratch

cnp.import_array()

__all__ = ["logistic_loss"]

cdef extern from "logistic.h":
    struct svm_logistic_kernels:
        void *loss
    const svm_logistic_kernels *const svm_logistic_kernels_table[3][2]

ctypedef void (*loss_fn)(
    const void *x, const void *weight, const void *bias, const int64_t *target, const void *share,
    Py_ssize_t K, Py_ssize_t d, Py_ssize_t first, Py_ssize_t last, void *z, double *value,
    void *gradient) noexcept nogil

cdef enum:
    ROWS = 512      # of a chunk at least: some tens of microseconds
    CHUNKS = 64     # at most: each has a copy of the gradient

cdef struct Job:
    loss_fn loss
    const char *x
    const void *weight
    const void *bias
    const int64_t *target
    const char *share
    Py_ssize_t n, d, K, size, rows
    double *value       # per chunk
    char *gradient


cdef void loss_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *j = <Job *>ctx
    j.loss(j.x, j.weight, j.bias, j.target, j.share, j.K, j.d, chunk * j.rows,
           min(j.n, (chunk + 1) * j.rows), scratch(0, j.K * 64 * j.size), &j.value[chunk],
           j.gradient + chunk * j.K * (j.d + 1) * j.size)


def logistic_loss(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray target,
                  cnp.ndarray share, cnp.ndarray value, cnp.ndarray gradient):
    """Write the loss and its gradient with respect to weight and bias."""
    cdef Job j
    cdef bint is_double = cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE, found
    cdef Py_ssize_t chunk, chunks, i, width
    cdef char *to = cnp.PyArray_BYTES(gradient)
    j.loss = <loss_fn>svm_logistic_kernels_table[isa.level][is_double].loss
    j.n, j.d, j.K = cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1), cnp.PyArray_DIM(weight, 0)
    j.size = 8 if is_double else 4
    j.x, j.share = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(share)
    j.weight, j.bias = cnp.PyArray_DATA(weight), cnp.PyArray_DATA(bias)
    j.target = <const int64_t *>cnp.PyArray_DATA(target)
    j.rows = max(ROWS, (j.n + CHUNKS - 1) // CHUNKS)
    chunks, width = (j.n + j.rows - 1) // j.rows, j.K * (j.d + 1)
    j.value = <double *>calloc(chunks, sizeof(double))
    j.gradient = <char *>calloc(chunks * width, j.size)
    found = j.value and j.gradient
    if found:
        with nogil:
            parallel_for(loss_chunk, &j, chunks)
            for chunk in range(1, chunks):
                j.value[0] += j.value[chunk]
                for i in range(width):
                    if is_double:
                        (<double *>j.gradient)[i] += (<double *>j.gradient)[chunk * width + i]
                    else:
                        (<float *>j.gradient)[i] += (<float *>j.gradient)[chunk * width + i]
            for i in range(width * j.size):
                to[i] = j.gradient[i]
        (<double *>cnp.PyArray_DATA(value))[0] = j.value[0]
    free(j.value)
    free(j.gradient)
    if not found:
        raise MemoryError
