"""What this machine can do at most, measured: arithmetic and memory.

Every claim of speed is a share of these, taken in the same process (benchmarks, `medai doctor`).
"""

from libc.stdlib cimport calloc, free
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for

import time

from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

__all__ = ["copy_bandwidth", "peak_flops"]

cdef extern from "ceilings.h":
    struct ceiling_kernels:
        double (*fma_loop)(Py_ssize_t rounds) noexcept nogil
        void (*copy)(const char *source, char *to, Py_ssize_t n_bytes) noexcept nogil
        Py_ssize_t flops_a_round
    const ceiling_kernels *const ceiling_kernels_table[3][2]


cdef struct Job:
    const ceiling_kernels *kernels
    Py_ssize_t amount       # rounds a chunk, or bytes a chunk
    char *source
    char *to


cdef void fma_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *job = <Job *>ctx
    job.kernels.fma_loop(job.amount)


cdef void copy_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Job *job = <Job *>ctx
    job.kernels.copy(job.source + chunk * job.amount, job.to + chunk * job.amount, job.amount)


cdef double best_seconds(void (*fn)(void *, Py_ssize_t, int) noexcept nogil, Job *job,
                         Py_ssize_t chunks, int threads, int repeats):
    before = get_num_threads()
    set_num_threads(threads)
    cdef double best = 1e30
    try:
        for _ in range(repeats):
            start = time.perf_counter()
            with nogil:
                parallel_for(fn, job, chunks)
            best = min(best, time.perf_counter() - start)
    finally:
        set_num_threads(before)
    return best


def peak_flops(dtype="float32", threads=None, int repeats=5):
    """Return the fused multiply-adds (two operations each) per second of `threads` threads.

    The best of `repeats` runs of a few milliseconds, on the instruction set in use.
    """
    import numpy as np

    cdef int n = threads or get_num_threads()
    cdef Job job
    job.kernels = ceiling_kernels_table[isa.level][np.dtype(dtype) == np.float64]
    job.amount = 10_000
    cdef Py_ssize_t chunks = 16 * n
    return chunks * job.amount * job.kernels.flops_a_round / best_seconds(
        fma_chunk, &job, chunks, n, repeats)


def copy_bandwidth(threads=None, Py_ssize_t n_bytes=128 << 20, int repeats=5):
    """Return the bytes per second, read plus written, of a copy too large for the caches."""
    cdef int n = threads or get_num_threads()
    cdef Job job
    job.kernels = ceiling_kernels_table[isa.level][0]
    job.amount = 1 << 20
    cdef Py_ssize_t chunks = max(1, n_bytes // job.amount)
    job.source = <char *>calloc(chunks, job.amount)
    job.to = <char *>calloc(chunks, job.amount)
    if not job.source or not job.to:
        free(job.source)
        free(job.to)
        raise MemoryError(f"copy_bandwidth: no memory for two buffers of {n_bytes} bytes")
    try:
        for i in range(0, chunks * job.amount, 4096):  # unwritten pages would all be one page
            job.source[i] = 1
        return 2.0 * chunks * job.amount / best_seconds(copy_chunk, &job, chunks, n, repeats)
    finally:
        free(job.source)
        free(job.to)
