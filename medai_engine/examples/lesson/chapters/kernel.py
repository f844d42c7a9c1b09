"""A kernel three ways.

The same computation as mathematics, as loops, and as what runs: three texts behind one door, held
against each other.
"""

from functools import partial
from importlib.util import find_spec

import numpy as np

import medai_engine as me
from medai_engine import kernels
from medai_engine.examples.lesson.desk import best_time, check, draw, show
from medai_engine.examples.lesson.pictures import bars, curves

"""
# The task

Softmax turns numbers into shares that are positive and add up to 1:

    softmax(x)_c = exp(x_c) / sum_k exp(x_k)

The formula as it stands fails for large numbers, because exp leaves the range of floating-point
numbers. Taking the largest number m off every x changes nothing in the quotient, and then no
exponential is above 1.
"""

x = np.array([1000.0, 1001.0, 1002.0])
with np.errstate(over="ignore", invalid="ignore"):
    naive = np.exp(x) / np.exp(x).sum()
shifted = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
print("as it stands:", naive, " shifted:", shifted.round(4))
check("the formula as it stands gives no numbers at 1000", np.isnan(naive).all())
check("shifted, the shares of 1000, 1001, 1002 are those of 0, 1, 2",
      np.allclose(shifted, np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum(), rtol=1e-14))

"""
# First text: the mathematics

A kernel is a function of plain arrays: inputs first, then the arrays that it writes. It checks
nothing and remembers nothing; that is the gate's business (chapter 2). Here an array is (outer, n,
inner), and softmax goes along the axis in the middle.

The first text is the definition in NumPy. It is made to be obviously right, not fast.
"""

reference = kernels.lookup("softmax", "reference")
show(reference)

"""
# Second text: the loops

The same as loops over single numbers. It shows the algorithm: for each row, find the largest, add
up the exponentials, divide. Numba compiles it, where that is installed.
"""

show("kernels/loss/loops.py", "def _top", "@kernel")
show("kernels/loss/loops.py", "def softmax(", "@kernel")

"""
# Third text: what runs

The fast text cuts the rows into chunks and gives them to threads. The chunks depend on the shape
only, never on how many threads there are.
"""

show("kernels/loss/fast.pyx", "cdef void axis_chunk", "cdef void loss_chunk")
show("kernels/loss/fast.pyx", "cdef void run(", "def softmax(")
show("kernels/loss/fast.pyx", "def softmax(", "def log_softmax(")

"""
Below it lies C, written once with vectors instead of numbers: a vector holds 4, 8 or 16 float32
values, and one instruction works on all of them. The file is compiled once for each instruction
set; which one runs is decided when the package is imported.
"""

show("kernels/loss/loss.inc", "LINE(softmax) {", "LINE(softmax_grad)")
print(kernels.report().splitlines()[0])

"""
# One door

The three have the same name and the same arguments, so one can take another's place. `lookup` is
the door.
"""

show(kernels.lookup)

backends = ["reference"]
if find_spec("numba"):
    backends.append("loops")
if kernels.COMPILED:
    backends.append("fast")
print("on this machine:", ", ".join(backends))

rng = np.random.default_rng(0)
logits = rng.normal(0, 3, (512, 100, 1))
truth = np.empty_like(logits)
reference(logits, truth)
for backend in backends:
    for dtype in (np.float64, np.float32):
        given = logits.astype(dtype)
        out = np.full(given.shape, np.nan, dtype)  # what is not written would show
        kernels.lookup("softmax", backend)(given, out)
        exact = np.empty_like(truth)
        reference(given.astype(np.float64), exact)
        error = float(np.abs(out / exact - 1).max())
        # x - m of some 20 is rounded, and exp makes of that error a relative one
        check(f"{backend} in {np.dtype(dtype).name}: every number is written and right to "
              f"{error:.1e}, under 64 roundings", error < 64 * np.finfo(dtype).eps)

"""
# How fast

Here are the times of a large softmax, just now on this machine, with one thread.
"""

threads = kernels.get_num_threads()
kernels.set_num_threads(1)
given = rng.normal(0, 3, (2048, 1000, 1)).astype(np.float32)
times = {}
results = {}
for backend in backends:
    results[backend] = np.empty_like(given)
    times[backend] = 1e3 * best_time(
        partial(kernels.lookup("softmax", backend), given, results[backend]))
draw(bars(times, "ms"), "2,048 rows of 1,000 numbers in float32, one thread: milliseconds, the "
     "fastest of seven.")
for backend, ms in times.items():
    print(f"{backend:9} {ms:8.2f} ms  {2 * given.nbytes / ms / 1e6:8.2f} GB/s read and written")

"""
Where does the difference come from? NumPy writes an intermediate array for each step, and reads it
again. The loops read a row once from memory and find it in the cache afterwards, but take one
exponential at a time. A vector takes 4, 8 or 16 at once.

# The same bits on any number of threads

Floating-point sums depend on their order: (a + b) + c and a + (b + c) may differ in the last bit.
If each thread summed its own part, the result would depend on how many there are.
"""

check("0.1 + 0.2 + 0.3 depends on the order", (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3))

numbers = rng.normal(size=1_000_001).astype(np.float32)
sums = {}
for n in (1, 2, 3, 8):
    kernels.set_num_threads(n)
    sums[n] = me.asarray(numbers).sum().item()
kernels.set_num_threads(threads)
halves = float(np.float32(numbers[:500_000].sum()) + np.float32(numbers[500_000:].sum()))
for n, total in sums.items():
    print(f"{n} threads: {total!r}")
print(f"as two halves, in NumPy: {halves!r}")
check("the engine's sum of a million numbers is one number for 1, 2, 3 and 8 threads",
      len(set(sums.values())) == 1)

"""
Because its chunks are those of the shape, and their sums are added in the order of the chunks,
whoever computed them.

# Rounding grows with the length

How wrong may a result be? Every addition rounds by at most half a unit in the last place. Adding n
numbers one after the other may add up n such errors; adding them in blocks, and then the sums of
the blocks in the same way, only as many as a block is long, times the few levels of blocks.
"""

sizes = 2 ** np.arange(4, 21, 2)
one_by_one, engine = [], []
for n in sizes:
    part = np.full(n, 0.1, np.float32)
    exact = n * float(np.float32(0.1))
    one_by_one.append(abs(float(np.cumsum(part)[-1]) / exact - 1))
    engine.append(abs(me.asarray(part).sum().item() / exact - 1))
draw(curves({"one by one": np.log10(np.maximum(one_by_one, 1e-9)),
             "the engine": np.log10(np.maximum(engine, 1e-9))},
            "number of terms: 2⁴, 2⁶, ... 2²⁰", "log10 of the relative error"),
     "Sums of 0.1 in float32. Errors below 10⁻⁹ are drawn there.")
check("for a million terms, adding one by one is wrong by more than 1 in 10,000",
      one_by_one[-1] > 1e-4)
check("the engine's sum is right to 1 in 100,000 at every length", max(engine) < 1e-5)
