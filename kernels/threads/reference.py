"""Numbers of threads, checked; and the pool's interface where nothing is compiled."""

import os

from ...errors import ParameterError, say

__all__ = ["checked_threads", "get_num_threads", "set_num_threads", "threads_wanted"]

MAX_WORKERS = 256


def checked_threads(where, n, most):
    """Return a number of threads, or raise ParameterError."""
    if isinstance(n, bool) or not hasattr(n, "__index__") or not 1 <= n <= most:
        raise ParameterError(say(where, f"1 to {most} threads", repr(n),
                                 f"Pass an integer such as {os.cpu_count() or 1}"))
    return int(n)


def threads_wanted(most=MAX_WORKERS):
    """Return what MEDAI_NUM_THREADS asks for, or 0 where it is not set."""
    text = os.environ.get("MEDAI_NUM_THREADS", "").strip()
    if not text:
        return 0
    return checked_threads("MEDAI_NUM_THREADS", int(text) if text.isdecimal() else text, most)


def set_num_threads(n):
    """Accept any valid number of threads; NumPy's own kernels run on the calling one."""
    checked_threads("set_num_threads", n, MAX_WORKERS)


def get_num_threads():
    """Return 1."""
    return 1
