"""Pooling kernels: three texts against plain loops, ties and NaN, margins, bounds, threads."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from medai_engine.kernels.pool import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

TEXTS = {"reference": reference, "loops": loops, "fast": fast}
# sizes N, D, H, W, C; per axis (outputs, reach, stride, padding), steps; tails, tiles of channels
CASES = [((1, 1, 1, 9, 1), ((1, 1, 1, 0), (1, 1, 1, 0), (4, 3, 2, 0)), (1, 1, 1)),
         ((2, 1, 6, 5, 3), ((1, 1, 1, 0), (3, 2, 2, 0), (5, 3, 1, 1)), (1, 1, 1)),
         ((1, 1, 5, 41, 3), ((1, 1, 1, 0), (2, 2, 2, 0), (20, 2, 2, 0)), (1, 1, 1)),
         ((1, 1, 5, 39, 19), ((1, 1, 1, 0), (5, 3, 1, 1), (39, 3, 1, 1)), (1, 1, 1)),
         ((2, 4, 3, 5, 17), ((2, 2, 2, 0), (3, 3, 1, 1), (4, 2, 1, 0)), (1, 1, 1)),
         ((1, 1, 7, 9, 67), ((1, 1, 1, 0), (3, 5, 1, 1), (3, 3, 3, 0)), (1, 2, 2)),
         ((3, 5, 1, 2, 130), ((2, 3, 2, 0), (1, 1, 1, 0), (1, 2, 1, 0)), (2, 1, 1)),
         ((2, 1, 40, 33, 65), ((1, 1, 1, 0), (20, 2, 2, 0), (17, 3, 2, 1)), (1, 1, 1)),
         ((1, 1, 1, 9000, 5), ((1, 1, 1, 0), (1, 1, 1, 0), (4499, 3, 2, 0)), (1, 1, 1))]


@pytest.fixture(autouse=True)
def restore():
    isa, threads = get_isa(), get_num_threads()
    yield
    set_isa(isa)
    set_num_threads(threads)


@pytest.fixture(params=[("reference", ""), ("loops", ""), *(("fast", i) for i in available_isas())],
                ids=lambda p: "-".join(filter(None, p)))
def text(request):
    name, isa = request.param
    if isa:
        set_isa(isa)
    return TEXTS[name]


def run(kernel, inputs, outs, *options):
    """Return the outputs of a kernel; each stood between two margins that must stay as they are."""
    found, memories = [], []
    for shape, dtype in outs:
        memory = np.full(int(np.prod(shape)) + 80, 99, dtype)
        memory = memory[-(memory.ctypes.data // memory.itemsize) % 16:][:memory.size - 16]
        memory[:32] = memory[-32:] = 7
        memories.append(memory)
        found.append(memory[32:-32].reshape(shape))  # from a cache line on, as the engine's are
    before = [a.copy() for a in inputs]
    kernel(*inputs, *found, *options)
    for memory in memories:
        assert (memory[:32] == 7).all() and (memory[-32:] == 7).all()
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)
    return found


def tables(shape, axes, steps):
    """Return windows cut to the inputs, the first entry on the grid of the step."""
    found = []
    for size, (outputs, reach, stride, padding), step in zip(shape[1:4], axes, steps, strict=True):
        starts = np.arange(outputs) * stride - padding
        stops = np.minimum(starts + reach, size)
        starts = np.where(starts < 0, starts % step, starts)
        found.append(np.stack([starts, stops], axis=1).astype(np.int64))
    return found


def window(d, h, w, steps, o):
    """Yield the places of output o."""
    yield from itertools.product(*(range(*t[i], s) for t, i, s in zip(
        (d, h, w), o, steps, strict=True)))


def image(shape, dtype, levels=5):
    """Return whole numbers, so that windows have ties and sums are exact."""
    return np.random.default_rng(shape).integers(-levels, levels, shape).astype(dtype)


def test_the_three_texts_have_the_same_names():
    assert reference.__all__ == loops.__all__ == fast.__all__


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, axes, steps", CASES[:7], ids=[str(c[0]) for c in CASES[:7]])
def test_max_pooling_by_hand(text, shape, axes, steps, dtype):
    """The first of equal maxima gets the gradient; whole numbers make every sum exact."""
    x, t = image(shape, dtype, 2), tables(shape, axes, steps)
    out = (shape[0], *map(len, t), shape[4])
    y, index = run(text.max_pool, [x], [(out, dtype), (out, np.int32)], *t, steps)
    g = image(out, dtype)
    (dx,) = run(text.max_pool_grad, [g, index], [(shape, dtype)], *t, steps)
    places, count = int(np.prod(shape[1:4])), int(np.prod(out[1:4]))
    (back,) = run(text.max_pool_take, [x.reshape(shape[0], places, -1),
                                       index.reshape(shape[0], count, -1)],
                  [((shape[0], count, shape[4]), dtype)])
    np.testing.assert_array_equal(back.reshape(out), y)
    expected = np.zeros(shape)
    for n, *o, c in np.ndindex(out):
        best = max(window(*t, steps, o), key=lambda p: x[(n, *p, c)])  # the first of equals
        assert y[(n, *o, c)] == x[(n, *best, c)]
        assert index[(n, *o, c)] == (best[0] * shape[2] + best[1]) * shape[3] + best[2]
        expected[(n, *best, c)] += g[(n, *o, c)]
    np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, axes, steps", CASES, ids=[str(c[0]) for c in CASES])
def test_resampling(text, shape, axes, steps, dtype):
    """Sums of windows with weights of quarters: exact, whatever their order."""
    x, t = image(shape, dtype), tables(shape, axes, (1, 1, 1))
    rng = np.random.default_rng(1)
    weights = [rng.integers(-4, 4, (len(table), axis[1])) / 4 for table, axis in zip(
        t, axes, strict=True)]
    out = (shape[0], *map(len, t), shape[4])
    (y,) = run(text.resample, [x], [(out, dtype)], *t, *[w.astype(dtype) for w in weights])
    expected = x.astype(float)
    for axis, (table, weight) in enumerate(zip(t, weights, strict=True), 1):
        lines = [np.tensordot(weight[o, :b - a], np.take(expected, range(a, b), axis), (0, axis))
                 for o, (a, b) in enumerate(table)]
        expected = np.stack(lines, axis)
    np.testing.assert_array_equal(y, expected)


def test_nan_and_infinity(text):
    x = np.array([[1, np.nan, 2, np.nan], [-math.inf, -math.inf, -math.inf, -math.inf],
                  [3, math.inf, math.inf, 0]], np.float32).reshape(3, 1, 1, 4, 1)
    x = np.repeat(x, 19, axis=4)
    one, all_ = np.array([[0, 1]]), np.array([[0, 4]])
    y, index = run(text.max_pool, [x], [((3, 1, 1, 1, 19), np.float32),
                                        ((3, 1, 1, 1, 19), np.int32)], one, one, all_, (1, 1, 1))
    np.testing.assert_array_equal(y[:, 0, 0, 0, 0], [np.nan, -math.inf, math.inf])
    np.testing.assert_array_equal(index[:, 0, 0, 0], np.repeat([[1], [0], [1]], 19, axis=1))


@pytest.mark.parametrize("text", [reference, loops, fast])
def test_places_stay_in_bounds(text):
    x = np.ones((1, 4, 3), np.float32)
    index = np.array([-1, 4, 2**31 - 1, -(2**31), 3, 0], np.int32).reshape(1, 2, 3)
    (y,) = run(text.max_pool_take, [x, index], [((1, 2, 3), np.float32)])
    np.testing.assert_array_equal(y.ravel(), [0, 0, 0, 0, 1, 1])


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("overlap", [0, 1])
def test_results_beyond_the_caches(isa, overlap):
    """What goes past them has the bits of samples that stay in them."""
    set_isa(isa)
    shape, steps = (9, 1, 128, 128, 64), (1, 1, 1)
    x = image(shape, np.float32)
    axes = [(1, 1, 1, 0), *[(128, 3, 1, 1) if overlap else (64, 2, 2, 0)] * 2]
    t = tables(shape, axes, steps)
    weights = [np.full((len(table), axis[1]), 0.5, np.float32) for table, axis in zip(
        t, axes, strict=True)]
    out = (*map(len, t), 64)

    def all_of(x):
        big, n = (len(x), *out), len(x)
        y, index = run(fast.max_pool, [x], [(big, np.float32), (big, np.int32)], *t, steps)
        (dx,) = run(fast.max_pool_grad, [y, index], [((n, *shape[1:]), np.float32)], *t, steps)
        (total,) = run(fast.resample, [x], [(big, np.float32)], *t, *weights)
        return y, index, dx, total

    for whole, *parts in zip(all_of(x), *(all_of(x[i:i + 1]) for i in range(9)), strict=True):
        np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("shape, axes, steps", CASES[-2:], ids=[str(c[0]) for c in CASES[-2:]])
def test_bits_do_not_depend_on_threads(shape, axes, steps, isa):
    set_isa(isa)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    t = tables(shape, axes, steps)
    out = (shape[0], *map(len, t), shape[4])
    g = np.random.default_rng(1).normal(size=out).astype(np.float32)
    weights = [np.full((len(table), axis[1]), 1 / 3, np.float32) for table, axis in zip(
        t, axes, strict=True)]
    found = []
    for threads in (1, 2, 3, 8):
        set_num_threads(threads)
        y, index = run(fast.max_pool, [x], [(out, np.float32), (out, np.int32)], *t, steps)
        (dx,) = run(fast.max_pool_grad, [g, index], [(shape, np.float32)], *t, steps)
        (mean,) = run(fast.resample, [x], [(out, np.float32)], *t, *weights)
        found.append([a.tobytes() for a in (y, index, dx, mean)])
    assert all(f == found[0] for f in found)
    expected = np.empty(shape, np.float32)  # the serial order of the definition
    reference.max_pool_grad(g, index, expected, *t, steps)
    np.testing.assert_allclose(dx, expected, rtol=1e-6, atol=1e-6)
