# A chunk of work: the job's context, which chunk, and who runs it (0 is the calling thread).
ctypedef void (*chunk_fn)(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil

# Highest number of workers, for arrays with one entry per worker.
cdef enum:
    MAX_WORKERS = 256

# Calls fn for chunks 0 .. n_chunks - 1 on the pool; returns when all are done. A nested or
# concurrent call runs its chunks on the calling thread, as worker 0.
cdef void parallel_for(chunk_fn fn, void *ctx, Py_ssize_t n_chunks) noexcept nogil

# 64-byte aligned memory of the calling thread in one of four slots, never NULL, undefined content.
# Slots 0 and 1 are for what a chunk needs while it runs; 2 and 3 for what the caller of
# parallel_for prepares and all its chunks read.
cdef void *scratch(int slot, size_t n_bytes) noexcept nogil
