"""The one worker pool of the process: fixed chunks claimed one by one, see pool.h.

Source: self-scheduling by fetch-and-add (Polychronopoulos & Kuck, "Guided self-scheduling", IEEE
Transactions on Computers 36, 1987), with the job's number in the counter's upper half.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

import math
import os
from pathlib import Path

from medai_engine.kernels.threads.reference import checked_threads, threads_wanted

__all__ = ["available_cpus", "get_num_threads", "self_test", "set_num_threads"]

cdef extern from "pool.h":
    int POOL_MAX_WORKERS
    int pool_init()
    int pool_get_threads()
    void pool_set_threads(int n)
    void pool_parallel_for(chunk_fn fn, void *ctx, Py_ssize_t count) noexcept nogil
    void *pool_scratch(int slot, size_t n_bytes) noexcept nogil


cdef void parallel_for(chunk_fn fn, void *ctx, Py_ssize_t n_chunks) noexcept nogil:
    pool_parallel_for(fn, ctx, n_chunks)


cdef void *scratch(int slot, size_t n_bytes) noexcept nogil:
    return pool_scratch(slot, n_bytes)


def _cgroup_cpus():
    """Return the processors that the control group grants, or infinity: v2 first, then v1."""
    root = Path("/sys/fs/cgroup")
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2].lstrip("/")
    except OSError:
        own = ""
    limits = [math.inf]
    folder = root / own
    for place in (folder, *folder.parents):
        try:
            quota, period = (place / "cpu.max").read_text().split()
            limits.append(int(quota) / int(period))
        except (OSError, ValueError):  # no such file, or "max 100000"
            pass
        if place == root:
            break
    try:
        quota = int((root / "cpu/cpu.cfs_quota_us").read_text())
        if quota > 0:
            limits.append(quota / int((root / "cpu/cpu.cfs_period_us").read_text()))
    except (OSError, ValueError):
        pass
    return min(limits)


def available_cpus():
    """Return how many processors this process may use: affinity and control-group limit."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, math.ceil(min(_cgroup_cpus(), count))))


def set_num_threads(n):
    """Let kernels use up to `n` threads, the calling one included; may exceed the processors."""
    checked_threads("set_num_threads", n, MAX_WORKERS)
    pool_set_threads(n)


def get_num_threads():
    """Return the number of threads that kernels may use."""
    return pool_get_threads()


cdef struct Count:
    uint8_t *runs           # of each chunk
    uint8_t *workers        # who took part
    Py_ssize_t nested       # chunks of the job that each chunk starts itself


cdef void count_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Count *count = <Count *>ctx
    cdef Count inner
    cdef uint8_t runs[64]
    cdef uint8_t workers[MAX_WORKERS]
    cdef Py_ssize_t i
    cdef uint8_t *mine = <uint8_t *>scratch(0, 4096)
    memset(mine, worker, 4096)
    count.workers[worker] = 1
    if count.nested:
        memset(runs, 0, 64)
        inner.runs, inner.workers, inner.nested = runs, workers, 0
        parallel_for(count_chunk, &inner, count.nested)
        for i in range(count.nested):
            if runs[i] != 1:
                return
    elif mine[4095] != <uint8_t>worker:
        return
    count.runs[chunk] += 1


def self_test(Py_ssize_t n_chunks, int jobs=1, Py_ssize_t nested=0):
    """Run `jobs` jobs that count their chunks; return (all ran exactly once, workers seen).

    With `nested` (at most 64) each chunk starts a job of that many chunks itself.
    """
    cdef bytearray runs = bytearray(n_chunks), workers = bytearray(MAX_WORKERS)
    cdef Count count
    cdef int job
    cdef bint good = True
    count.runs, count.workers, count.nested = runs, workers, min(nested, 64)
    for job in range(jobs):
        memset(count.runs, 0, n_chunks)
        with nogil:
            parallel_for(count_chunk, &count, n_chunks)
        good = good and runs.count(1) == n_chunks
    return good, sum(workers)


if MAX_WORKERS != POOL_MAX_WORKERS or pool_init():
    raise ImportError("the worker pool could not be set up")
pool_set_threads(threads_wanted(MAX_WORKERS) or min(available_cpus(), MAX_WORKERS))
