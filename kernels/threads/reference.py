"""The interface of the pool where nothing is compiled: one thread."""

__all__ = ["get_num_threads", "set_num_threads"]


def set_num_threads(n):
    """Accept any valid number of threads; NumPy's own kernels run on the calling one."""
    if n < 1:
        raise ValueError(f"set_num_threads: expected 1 or more threads, got {n}.")


def get_num_threads():
    """Return 1."""
    return 1
