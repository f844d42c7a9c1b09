"""Embedding kernels: three texts with equal bits, bounds, order of addition, threads."""

from __future__ import annotations

import numpy as np
import pytest

from medai_engine.kernels.embedding import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

TEXTS = {"reference": reference, "loops": loops, "fast": fast}
DTYPES = (np.float32, np.float64)
# (V, D, M): tails of every vector width, one row, one range, several ranges and chunks
SIZES = [(1, 1, 1), (5, 3, 11), (7, 19, 4), (2, 33, 6), (300, 130, 500), (1, 40, 1200),
         (4099, 8, 9000), (3, 64, 3000)]
FAR = [-1, -(2**63), 2**63 - 1, 2**40]


@pytest.fixture(autouse=True)
def restore():
    isa, threads = get_isa(), get_num_threads()
    yield
    set_isa(isa)
    set_num_threads(threads)


def sample(V, D, M, dtype, seed=0):
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, V, M)
    return rng.normal(size=(V, D)).astype(dtype), rng.normal(size=(M, D)).astype(dtype), indices


def framed(shape, dtype):
    """Return an array of NaN between two margins, and a function that checks the margins."""
    size = int(np.prod(shape))
    memory = np.full(size + 128, 7, dtype)
    memory[64:-64] = np.nan

    def untouched():
        return bool((memory[:64] == 7).all() and (memory[-64:] == 7).all())

    return memory[64:-64].reshape(shape), untouched


def test_the_three_texts_have_the_same_names():
    assert reference.__all__ == loops.__all__ == fast.__all__


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", TEXTS)
def test_rows_and_sums_in_order_of_the_indices(text, size, dtype):
    weight, g, indices = sample(*size, dtype)
    for isa in available_isas() if text == "fast" else available_isas()[:1]:
        set_isa(isa)
        out, untouched = framed(g.shape, dtype)
        TEXTS[text].embedding(weight, indices, out)
        np.testing.assert_array_equal(out, weight[indices])
        assert untouched()

        expected = np.zeros_like(weight)
        for m, v in enumerate(indices):
            expected[v] += g[m]  # rounds after every addition, in order
        out, untouched = framed(weight.shape, dtype)
        TEXTS[text].embedding_grad(g, indices, out)
        np.testing.assert_array_equal(out, expected)
        assert untouched()


@pytest.mark.parametrize("size", [(4, 5, 9), (4099, 8, 9000)])
@pytest.mark.parametrize("text", TEXTS)
def test_far_indices_stay_inside(text, size):
    """Reading takes the nearest row, the gradient passes over what is not a row."""
    weight, g, indices = sample(*size, np.float32)
    indices[[0, 2, 5, 7]] = FAR
    out = np.full_like(g, np.nan)
    TEXTS[text].embedding(weight, indices, out)
    last = len(weight) - 1
    np.testing.assert_array_equal(out[[0, 2, 5, 7]], weight[[0, 0, last, last]])
    out = np.full_like(weight, np.nan)
    TEXTS[text].embedding_grad(g, indices, out)
    known = np.isin(indices, FAR, invert=True)
    expected = np.full_like(weight, np.nan)
    reference.embedding_grad(g[known], indices[known], expected)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_is_the_transpose(dtype):
    """<gather w, g> = <w, scatter g>, exactly on small integers."""
    rng = np.random.default_rng(1)
    weight = rng.integers(-8, 8, (501, 37)).astype(dtype)
    g = rng.integers(-8, 8, (2000, 37)).astype(dtype)
    indices = rng.integers(0, 501, 2000)
    rows, sums = np.full_like(g, np.nan), np.full_like(weight, np.nan)
    fast.embedding(weight, indices, rows)
    fast.embedding_grad(g, indices, sums)
    assert np.vdot(rows, g) == np.vdot(weight, sums) != 0


@pytest.mark.parametrize("size", [(4099, 8, 9000), (3, 64, 3000), (60, 100, 4000)])
def test_threads_give_the_same_bits(size):
    weight, g, indices = sample(*size, np.float32)
    found = []
    for threads in (1, 2, 3, 8):
        set_num_threads(threads)
        rows, sums = np.full_like(g, np.nan), np.full_like(weight, np.nan)
        fast.embedding(weight, indices, rows)
        fast.embedding_grad(g, indices, sums)
        found.append((rows.tobytes(), sums.tobytes()))
    assert len(set(found)) == 1


def test_read_only_inputs():
    weight, g, indices = sample(30, 6, 50, np.float32)
    for array in (weight, g, indices):
        array.flags.writeable = False
    for text in TEXTS.values():
        rows, sums = np.full_like(g, np.nan), np.full_like(weight, np.nan)
        text.embedding(weight, indices, rows)
        text.embedding_grad(g, indices, sums)
        np.testing.assert_array_equal(rows, weight[indices])
        assert np.isfinite(sums).all()
