# The sum over rows of x (n, inner), for kernels that compute x block by block: a sum over the sums
# of consecutive blocks of block_rows(inner) rows has the bits of the sum over all rows.

cdef Py_ssize_t block_rows(Py_ssize_t inner) noexcept nogil
cdef void sum_rows(bint is_double, const char *x, Py_ssize_t n, Py_ssize_t inner,
                   char *out) noexcept nogil
