"""The worker pool and the allocator: stress, forks, lifetimes."""

import gc
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pool = pytest.importorskip("medai_engine.kernels.threads.pool", reason="kernels not compiled")
from medai_engine.kernels.memory import allocator, reference  # noqa: E402

# Python 3.12 warns of any fork beside threads; that this one works is what is tested
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def _restore():
    threads = pool.get_num_threads()
    yield
    pool.set_num_threads(threads)
    allocator.set_poison(False)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_chunk_runs_once(threads):
    pool.set_num_threads(threads)
    for n_chunks in (1, 2, 3, 7, 64, 1000):
        good, workers = pool.self_test(n_chunks, jobs=300)
        assert good
        assert 1 <= workers <= min(threads, pool.get_num_threads())
    assert pool.self_test(16, jobs=50, nested=33)[0]


def test_workers_take_part():
    pool.set_num_threads(2)
    deadline = time.monotonic() + 10
    while pool.self_test(100_000)[1] < 2:
        assert time.monotonic() < deadline, "no worker ever claimed a chunk"


def test_jobs_after_sleep():
    pool.set_num_threads(3)
    for _ in range(50):
        time.sleep(0.001)  # longer than workers spin
        assert pool.self_test(20)[0]


def test_two_python_threads_at_once():
    pool.set_num_threads(3)
    results = []

    def work():
        results.append(all(pool.self_test(40, jobs=20)[0] for _ in range(50)))

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [True] * 4


def test_thread_count_changes_under_load():
    stop = threading.Event()
    results = []

    def work():
        while not stop.is_set():
            results.append(pool.self_test(40, jobs=5)[0])

    caller = threading.Thread(target=work)
    caller.start()
    for i in range(200):
        pool.set_num_threads(1 + i % 8)
        time.sleep(0.0005)
    stop.set()
    caller.join()
    assert results
    assert all(results)


@forks
@pytest.mark.parametrize("depth", [1, 2])
def test_fork(depth):
    """A child, and a child of the child, start workers of their own."""
    pool.set_num_threads(3)
    assert pool.self_test(100, jobs=10)[0]
    child = os.fork()
    if child == 0:
        good = pool.self_test(100, jobs=10)[0]
        seen = max(pool.self_test(100_000)[1] for _ in range(200))
        if depth == 2:
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(0 if pool.self_test(100, jobs=10)[0] else 1)
            good = good and os.waitpid(grandchild, 0)[1] == 0
        os._exit(0 if good and seen > 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pool.self_test(100, jobs=10)[0]


@forks
def test_fork_while_another_thread_computes():
    pool.set_num_threads(3)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            pool.self_test(200, jobs=20)

    caller = threading.Thread(target=work)
    caller.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                os._exit(0 if pool.self_test(100, jobs=10)[0] else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        caller.join()


def test_thread_limits():
    for bad in (0, -1, 257):
        with pytest.raises(ValueError, match="expected 1 to 256"):
            pool.set_num_threads(bad)
    assert 1 <= pool.available_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("setting", "expected"), [("3", 3), ("1", 1), (None, 1)])
def test_environment_and_affinity(setting, expected):
    """MEDAI_NUM_THREADS decides; without it, a process bound to one processor uses one."""
    code = ("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
            "from medai_engine.kernels.threads import pool; print(pool.get_num_threads())")
    environment = {k: v for k, v in os.environ.items() if k != "MEDAI_NUM_THREADS"}
    if setting:
        environment["MEDAI_NUM_THREADS"] = setting
    out = subprocess.run([sys.executable, "-c", code], env=environment, text=True, check=True,
                         capture_output=True)
    assert out.stdout.strip() == str(expected)


@pytest.mark.parametrize("empty", [allocator.empty, reference.empty])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?", np.float32, np.dtype("c16")])
def test_empty(empty, dtype):
    for shape in ((), 0, 5, (3,), [2, 3], (4, 0, 2), (1, 2, 3, 4), np.zeros((2, 5)).shape):
        x = empty(shape, dtype)
        expected = np.empty(shape, dtype)
        assert x.shape == expected.shape
        assert x.dtype == expected.dtype
        assert x.flags.c_contiguous
        assert x.flags.writeable
        assert x.size == 0 or x.ctypes.data % 64 == 0  # NumPy hides the address of nothing
        x[...] = 1
        assert (x == 1).all()


def test_every_size_is_writable_to_its_end():
    rng = np.random.default_rng(0)
    alive = []
    for size in [*range(1, 3000, 7), *rng.integers(1, 1 << 22, 100)]:
        x = allocator.empty(int(size), "u1")
        assert x.ctypes.data % 64 == 0
        x[:] = size % 251
        alive.append(x)
        if len(alive) > 20:
            del alive[rng.integers(len(alive))]
        assert all((y == y.size % 251).all() for y in alive[-3:])
    assert all((y == y.size % 251).all() for y in alive)


def test_a_dead_array_is_reused_and_a_live_one_never():
    gc.collect()
    gc.disable()  # a cycle with an array in it, freed in between, would give its memory first
    try:
        reuse()
    finally:
        gc.enable()


def reuse():
    allocator.clear_cache()
    x = allocator.empty((7, 5), "f4")
    address = x.ctypes.data
    del x
    y = allocator.empty((7, 5), "f4")
    assert y.ctypes.data == address
    view = y[1:, ::2]
    del y
    z = allocator.empty((7, 5), "f4")
    assert not np.shares_memory(view, z)
    assert view.ctypes.data != z.ctypes.data
    pointer = view.base.ctypes.data
    assert pointer == address
    del view
    gc.collect()
    assert allocator.empty((7, 5), "f4").ctypes.data == address


def test_numpy_owns_and_resizes():
    x = allocator.empty(5, "f8")
    assert x.flags.owndata
    assert x.base is None
    x[:] = range(5)
    x.resize(5000, refcheck=False)
    np.testing.assert_array_equal(x[:6], [0, 1, 2, 3, 4, 0])
    assert x.ctypes.data % 64 == 0


def test_cache_is_bounded():
    allocator.clear_cache()
    before = allocator.set_cache_limit(1 << 20)
    try:
        arrays = [allocator.empty(100_000, "u1") for _ in range(30)]
        arrays.append(allocator.empty(3 << 20, "u1"))  # alone larger than the limit
        while arrays:
            arrays.pop(0)
            assert allocator.cached_bytes() <= 1 << 20
        assert allocator.cached_bytes() > 0
        allocator.clear_cache()
        assert allocator.cached_bytes() == 0
    finally:
        allocator.set_cache_limit(before)


def test_poison():
    allocator.set_poison(True)
    for _ in range(2):  # fresh and reused
        assert np.isnan(allocator.empty((33,), "f4")).all()
        assert np.isnan(allocator.empty((9,), "f8")).all()
        assert (allocator.empty((9,), "i8") == -1).all()


def test_impossible_shapes():
    with pytest.raises(MemoryError):
        allocator.empty((1 << 40, 1 << 40), "f4")
    with pytest.raises(ValueError, match="0 or more"):
        allocator.empty((3, -1), "f4")
    with pytest.raises(TypeError, match="without Python objects"):
        allocator.empty((3,), object)


def test_arrays_die_on_other_threads():
    made = []

    def make():
        made.extend(allocator.empty(n, "f4") for n in range(1, 500))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x in made:
        x[:] = x.size
    assert all((x == x.size).all() for x in made)
