"""Random numbers from a counter; equations and mappings in reference.py.

Order: chunks of CHUNK results, each of which starts its own counters: a number's value depends on
its index only. Within a chunk, blocks of 256 words in L1, one counter per 64-bit lane (random.inc).
Bytes: each result is written once; dropout also reads x. About two vector operations a word: a
draw runs at the speed of memory with AVX-512, below it with less. Source: see reference.py.
"""

from libc.math cimport nextafter, nextafterf
from libc.stdint cimport uint64_t
from numpy cimport (
    NPY_DOUBLE,
    PyArray_DATA,
    PyArray_ITEMSIZE,
    PyArray_SIZE,
    PyArray_TYPE,
    import_array,
    ndarray,
)

from ..simd cimport isa
from ..threads.pool cimport parallel_for

import_array()

__all__ = ["dropout", "random_bits", "random_integers", "random_normal", "random_uniform"]

cdef extern from "random.h" nogil:
    struct draw:
        uint64_t seed, low, high, index
        Py_ssize_t count
    struct random_kernels:
        void (*bits)(const draw *, void *out) noexcept nogil
        void (*uniform)(const draw *, void *out, double low, double width,
                        double below) noexcept nogil
        void (*normal)(const draw *, void *out, double mean, double std) noexcept nogil
        void (*integers)(const draw *, void *out, uint64_t low, uint64_t width) noexcept nogil
        void (*dropout)(const draw *, const void *x, void *out, double p,
                        double scale) noexcept nogil
    const random_kernels *random_kernels_table[][2]

ctypedef enum Kind:
    BITS, UNIFORM, NORMAL, INTEGERS, DROPOUT

cdef enum:
    CHUNK = 16384  # results: a multiple of every block

cdef struct Job:
    draw whole
    const random_kernels *kernels
    Kind kind
    int per_counter  # results of one counter
    size_t itemsize
    const char *x
    char *out
    double a, b, c  # parameters of the distribution
    uint64_t low, width


cdef void draw_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>ctx
    cdef Py_ssize_t begin = chunk * CHUNK
    cdef draw part = job.whole
    cdef char *out = job.out + begin * job.itemsize
    part.index = begin // job.per_counter
    part.count = min(CHUNK, job.whole.count - begin)
    if job.kind == BITS:
        job.kernels.bits(&part, out)
    elif job.kind == UNIFORM:
        job.kernels.uniform(&part, out, job.a, job.b, job.c)
    elif job.kind == NORMAL:
        job.kernels.normal(&part, out, job.a, job.b)
    elif job.kind == INTEGERS:
        job.kernels.integers(&part, out, job.low, job.width)
    else:
        job.kernels.dropout(&part, job.x + begin * job.itemsize, out, job.a, job.b)


cdef int run(Job *job, Kind kind, ndarray out, uint64_t seed, object offset) except -1:
    cdef bint wide = PyArray_ITEMSIZE(out) == 8
    cdef Py_ssize_t chunks
    job.kind = kind
    job.kernels = random_kernels_table[isa.level][PyArray_TYPE(out) == NPY_DOUBLE]
    job.per_counter = 2 if wide and kind != DROPOUT else 4
    job.itemsize = 8 if wide else 4
    job.out = <char *>PyArray_DATA(out)
    job.whole.seed = seed
    job.whole.low = <uint64_t>(offset & 0xffffffffffffffff)
    job.whole.high = <uint64_t>(offset >> 64)
    job.whole.count = PyArray_SIZE(out)
    chunks = (job.whole.count + CHUNK - 1) // CHUNK
    if chunks == 1:
        draw_chunk(job, 0, 0)
    else:
        with nogil:
            parallel_for(draw_chunk, job, chunks)


def random_bits(ndarray out, uint64_t seed, offset):
    cdef Job job
    run(&job, BITS, out, seed, offset)


def random_uniform(ndarray out, uint64_t seed, offset, double low, double high):
    cdef Job job
    job.a = low
    job.b = high - low
    if PyArray_TYPE(out) == NPY_DOUBLE:
        job.c = nextafter(high, low)
    else:
        job.c = nextafterf(<float>high, <float>low)
    run(&job, UNIFORM, out, seed, offset)


def random_normal(ndarray out, uint64_t seed, offset, double mean, double std):
    cdef Job job
    job.a = mean
    job.b = std
    run(&job, NORMAL, out, seed, offset)


def random_integers(ndarray out, uint64_t seed, offset, low, high):
    cdef Job job
    job.low = <uint64_t>(low & 0xffffffffffffffff)
    job.width = <uint64_t>(high - low)
    run(&job, INTEGERS, out, seed, offset)


def dropout(ndarray x, ndarray out, uint64_t seed, offset, double p):
    cdef Job job
    job.x = <const char *>PyArray_DATA(x)
    job.a = p
    job.b = 1 / (1 - p) if p < 1 else 0
    run(&job, DROPOUT, out, seed, offset)
