"""Attention kernels: three texts against each other, every path, masks, margins, threads."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from medai_engine.kernels.attention import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

# N, H, L, S, E, V: one score; tails everywhere; several blocks of queries, of keys; few queries;
# whole vectors; chunks of several heads
SHAPES = [(1, 1, 1, 1, 1, 1), (2, 3, 5, 7, 3, 2), (1, 2, 200, 300, 20, 33), (2, 1, 97, 129, 64, 64),
          (1, 1, 130, 400, 48, 32), (1, 2, 3, 300, 17, 40), (1, 1, 2, 140, 8, 64),
          (7, 5, 9, 11, 4, 6)]
MASKS = ("none", "boolean", "keys", "added")
DTYPES = (np.float32, np.float64)


@pytest.fixture(autouse=True)
def restore():
    isa, threads = get_isa(), get_num_threads()
    yield
    set_isa(isa)
    set_num_threads(threads)


def drawn(shape, dtype, kind, heads_first):
    """Return q, k, v, a mask (some queries may attend to nothing), g and g_lse."""
    N, H, L, S, E, V = shape
    rng = np.random.default_rng(shape)

    def of(length, width):
        size = (N, H, length, width) if heads_first else (N, length, H, width)
        return rng.normal(size=size).astype(dtype)

    q, k, v, g = of(L, E), of(S, E), of(S, V), of(L, V)
    mask = {"none": lambda: None, "boolean": lambda: rng.random((1, H, L, S)) < 0.6,
            "keys": lambda: rng.random((N, 1, 1, S)) < 0.6,
            "added": lambda: rng.normal(size=(N, 1, L, S)).astype(dtype)}[kind]()
    if kind in ("boolean", "added"):
        mask[:, :, L // 2] = False if kind == "boolean" else -np.inf
    return q, k, v, mask, g, rng.normal(size=(N, H, L)).astype(dtype)


def guarded(shape, dtype):
    """Return memory and an array in its middle: its margins must stay as they are."""
    memory = np.full(int(np.prod(shape)) + 64, np.nan, dtype)
    memory[:32] = memory[-32:] = 7
    return memory, memory[32:-32].reshape(shape)


def run(text, arrays, scale, causal, heads_first):
    """Return out, lse, dq, dk, dv."""
    q, k, v, mask, g, g_lse = arrays
    places = [guarded(a.shape, q.dtype) for a in (g, g_lse, q, k, v)]
    out, lse, *slopes = (place[1] for place in places)
    before = [None if a is None else a.copy() for a in arrays]
    text.attention(q, k, v, mask, out, lse, scale, causal, heads_first)
    kept = out.copy(), lse.copy()
    text.attention_grad(g, g_lse, q, k, v, mask, out, lse, *slopes, scale, causal, heads_first)
    for memory, _ in places:
        assert (memory[:32] == 7).all() and (memory[-32:] == 7).all()
    for a, b in zip((*arrays, out, lse), (*before, *kept), strict=True):
        assert a is None or np.array_equal(a, b)
    return [out, lse, *slopes]


def check(found, exact, shape, dtype):
    S, E, V = shape[3:]
    for name, a, b in zip(("out", "lse", "dq", "dk", "dv"), found, exact, strict=True):
        size = np.abs(b).max() + 1
        bound = 8 * (4 + np.sqrt(E + V + S)) * np.finfo(dtype).eps * size
        error = np.abs(a - b).max()
        assert error <= bound, f"{name}: {error / bound:.2f} times the bound"


def test_the_three_texts_have_the_same_names():
    assert reference.__all__ == loops.__all__ == fast.__all__


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fast_is_the_definition(shape, kind):
    for dtype, causal, heads_first in product(DTYPES, (False, True), (False, True)):
        arrays = drawn(shape, dtype, kind, heads_first)
        wide = [a.astype(float) if a is not None and a.dtype == dtype else a for a in arrays]
        exact = run(reference, wide, 0.3, causal, heads_first)
        for isa in available_isas():
            set_isa(isa)
            check(run(fast, arrays, 0.3, causal, heads_first), exact, shape, dtype)


@pytest.mark.parametrize("kind", MASKS)
def test_loops_are_the_definition(kind):
    for shape, causal, heads_first in product(SHAPES[:2], (False, True), (False, True)):
        arrays = drawn(shape, np.float64, kind, heads_first)
        check(run(loops, arrays, -0.3, causal, heads_first),
              run(reference, arrays, -0.3, causal, heads_first), shape, np.float64)


@pytest.mark.parametrize("isa", available_isas())
def test_large_scores(isa):
    """Scores of 1e4 neither overflow nor hide each other, in whatever order the maximum comes."""
    set_isa(isa)
    for order in (1, -1):
        k = np.linspace(-1, 1, 300)[::order].reshape(1, 1, 300, 1).astype(np.float32)
        q = np.array([1e4, -1e4, 1.0], np.float32).reshape(1, 1, 3, 1)
        v = np.arange(300, dtype=np.float32).reshape(1, 1, 300, 1)
        out, lse = np.empty_like(q), np.empty((1, 1, 3), np.float32)
        fast.attention(q, k, v, None, out, lse, 1.0, False, True)
        ends = [299.0, 0.0][::order]
        np.testing.assert_allclose(out.ravel()[:2], ends, atol=1e-4)
        np.testing.assert_allclose(lse.ravel()[:2], 1e4, rtol=1e-6)
        p = np.exp(k.astype(float).ravel())
        np.testing.assert_allclose(out.ravel()[2], p @ v.ravel() / p.sum(), rtol=1e-5)


@pytest.mark.parametrize("isa", available_isas())
def test_nan_stays_in_its_row_and_head(isa):
    set_isa(isa)
    q, k, v, _, _, _ = drawn((1, 2, 40, 150, 8, 8), np.float32, "none", True)
    q[0, 1, 5, 3] = np.nan
    out, lse = np.empty_like(q), np.empty((1, 2, 40), np.float32)
    fast.attention(q, k, v, None, out, lse, 1.0, False, True)
    hit = np.zeros((1, 2, 40), bool)
    hit[0, 1, 5] = True
    np.testing.assert_array_equal(np.isnan(lse), hit)
    np.testing.assert_array_equal(np.isnan(out).all(-1), hit)
    np.testing.assert_array_equal(np.isnan(out).any(-1), hit)


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("shape", [(1, 1, 500, 700, 16, 24), (3, 5, 40, 130, 8, 8),
                                   (40, 2, 6, 9, 4, 4)], ids=str)
def test_bits_do_not_depend_on_threads(shape, isa):
    set_isa(isa)
    arrays = drawn(shape, np.float32, "keys", False)
    found = []
    for threads in (1, 2, 3, 8):
        set_num_threads(threads)
        found.append([a.tobytes() for a in run(fast, arrays, 0.5, True, False)])
    assert all(f == found[0] for f in found)
