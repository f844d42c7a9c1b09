"""Points in panels, and sums of kernel values over them; equations in reference.py.

Order: chunks of rows > tiles of rows > panels of points, whose dot products become kernel values
and are added up in registers and L1 (svm.inc); no kernel matrix is written.
Bytes: the points once a tile of rows. Source: see reference.py.
"""

cimport numpy as cnp
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for, scratch

cnp.import_array()

__all__ = ["kernel_sums"]

ctypedef void (*pack_fn)(const void *x, const Py_ssize_t *index, Py_ssize_t d, Py_ssize_t n,
                         void *out) noexcept nogil
ctypedef void (*norms_fn)(const void *panel, Py_ssize_t d, void *out) noexcept nogil
ctypedef void (*weighted_fn)(
    const svm_spec *spec, Py_ssize_t m, Py_ssize_t d, const void *left, const void *norm,
    const void *panels, const void *norms, Py_ssize_t count, const void *coef, Py_ssize_t step,
    Py_ssize_t outputs, void *sums, void *out) noexcept nogil


cdef void pack_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Points *p = <Points *>ctx
    cdef Py_ssize_t nr = p.text.nr, panel, first
    cdef char *to
    for panel in range(chunk * p.per_chunk, min(p.panels, (chunk + 1) * p.per_chunk)):
        first = panel * nr
        if p.panel:
            to = p.panel + first * p.d * p.size
        else:
            to = <char *>scratch(0, nr * p.d * p.size)
        (<pack_fn>p.text.pack)(p.x if p.index else p.x + first * p.d * p.size,
                               p.index + first if p.index else NULL, p.d,
                               min(nr, p.n - first), to)
        (<norms_fn>p.text.norms)(to, p.d, p.norm + first * p.size)


cdef void resize(Points *p, Py_ssize_t n) noexcept nogil:
    p.n, p.panels = n, ceil_div(n, p.text.nr)
    p.padded = p.panels * p.text.nr
    p.per_chunk = 1 + WORK // (4 * p.d * p.text.nr)


cdef void pack(Points *p) noexcept nogil:
    parallel_for(pack_chunk, p, ceil_div(p.panels, p.per_chunk))


cdef Points points_of(cnp.ndarray x):
    cdef Points p
    p.is_double = cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE
    p.text = svm_kernels_table[isa.level][p.is_double]
    p.size, p.d, p.x = 8 if p.is_double else 4, cnp.PyArray_DIM(x, 1), cnp.PyArray_BYTES(x)
    p.index, p.panel, p.norm = NULL, NULL, NULL
    resize(&p, cnp.PyArray_DIM(x, 0))
    return p


# ---- sums of kernel values ----------------------------------------------------------------------


cdef void sums_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Sums *s = <Sums *>ctx
    cdef Py_ssize_t mr = s.left.text.mr, size = s.left.size, d = s.left.d, n = s.left.n, tile, i
    cdef void *sums = scratch(0, mr * s.outputs * 64)
    for tile in range(chunk * s.per_chunk, min(ceil_div(n, mr), (chunk + 1) * s.per_chunk)):
        i = tile * mr
        (<weighted_fn>s.left.text.weighted)(
            &s.spec, min(mr, n - i), d, s.left.x + i * d * size, s.left.norm + i * size,
            s.right.panel, s.right.norm, s.right.panels, s.coef, s.right.padded, s.outputs, sums,
            s.out + i * s.outputs * size)


cdef void add_up(Sums *s) noexcept nogil:
    cdef Py_ssize_t mr = s.left.text.mr
    s.per_chunk = 1 + WORK // (mr * s.right.padded * (s.left.d + s.outputs + 8))
    parallel_for(sums_chunk, s, ceil_div(ceil_div(s.left.n, mr), s.per_chunk))


cdef bint room_for(Points *p, bint panels) noexcept nogil:
    p.norm = <char *>malloc(p.padded * p.size)
    if panels:
        p.panel = <char *>malloc(p.padded * p.d * p.size)
    return p.norm and (p.panel or not panels)


def kernel_sums(cnp.ndarray x, cnp.ndarray points, cnp.ndarray coef, cnp.ndarray out, int kind,
                int degree, double gamma, double coef0):
    """Write ``out[i, c] = sum_j coef[c, j] k(x[i], points[j])``."""
    cdef Points left = points_of(x), right = points_of(points)
    cdef Sums s
    cdef Py_ssize_t c
    cdef char *padded
    s.spec.kind, s.spec.degree, s.spec.gamma, s.spec.coef0 = kind, degree, gamma, coef0
    s.left, s.right, s.outputs = &left, &right, cnp.PyArray_DIM(coef, 0)
    s.out = cnp.PyArray_BYTES(out)
    padded = <char *>calloc(s.outputs * right.padded, right.size)
    cdef bint found = padded and room_for(&left, False) and room_for(&right, True)
    if found:
        with nogil:
            for c in range(s.outputs):
                memcpy(padded + c * right.padded * right.size,
                       cnp.PyArray_BYTES(coef) + c * right.n * right.size, right.n * right.size)
            s.coef = padded
            pack(&left)
            pack(&right)
            add_up(&s)
    free(padded)
    free(left.norm)
    free(right.norm)
    free(right.panel)
    if not found:
        raise MemoryError
