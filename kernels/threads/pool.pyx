"""The one worker pool of the process: fixed chunks claimed one by one, see pool.h.

Source: self-scheduling by fetch-and-add (Polychronopoulos & Kuck, "Guided self-scheduling", IEEE
Transactions on Computers 36, 1987), with the job's number in the counter's upper half.
"""

import math
import os
from pathlib import Path

__all__ = ["available_cpus", "get_num_threads", "set_num_threads"]

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


def set_num_threads(int n):
    """Let kernels use up to `n` threads, the calling one included; may exceed the processors."""
    if not 1 <= n <= MAX_WORKERS:
        raise ValueError(f"set_num_threads: expected 1 to {MAX_WORKERS} threads, got {n}.")
    pool_set_threads(n)


def get_num_threads():
    """Return the number of threads that kernels may use."""
    return pool_get_threads()


if MAX_WORKERS != POOL_MAX_WORKERS or pool_init():
    raise ImportError("the worker pool could not be set up")
set_num_threads(int(os.environ.get("MEDAI_NUM_THREADS") or min(available_cpus(), MAX_WORKERS)))
