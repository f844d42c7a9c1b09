# The pooled gradient of a convolution, read as if it had full resolution, and pooling itself.

cimport numpy as cnp
from libc.stdint cimport uint8_t

cdef struct Pooled:
    bint is_double
    Py_ssize_t size                 # bytes of an element
    const char *g                   # (N, outputs, channels)
    const uint8_t *index
    Py_ssize_t[3] window, outputs
    Py_ssize_t[3] sizes             # before the pooling
    Py_ssize_t channels

cdef void fill_pooled(Pooled *p, cnp.ndarray g, cnp.ndarray index, tuple window, tuple sizes)

# Writes columns `from` .. `to` of the row (image, d, h): n channels from `channel` on, zeros up to
# `width`.
cdef void unpool_row(const Pooled *p, Py_ssize_t image, Py_ssize_t d, Py_ssize_t h,
                     Py_ssize_t start, Py_ssize_t stop, Py_ssize_t channel, Py_ssize_t n,
                     Py_ssize_t width, char *out) noexcept nogil

# The same for `count` pixels from the one of number `pixel` of the whole batch on.
cdef void unpool_pixels(const Pooled *p, Py_ssize_t pixel, Py_ssize_t count, Py_ssize_t channel,
                        Py_ssize_t n, Py_ssize_t width, char *out) noexcept nogil

# Writes a row of outputs and of their places from rows in cache; steps count elements.
cdef void pool_row(bint is_double, const char *x, Py_ssize_t plane, Py_ssize_t row,
                   Py_ssize_t pixel, const Py_ssize_t *window, Py_ssize_t outputs, Py_ssize_t n,
                   char *y, uint8_t *index, Py_ssize_t ldy) noexcept nogil
