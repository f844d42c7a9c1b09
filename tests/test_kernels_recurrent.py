"""Recurrent kernels: three texts against each other, bounds, padding, permutations, threads."""

from __future__ import annotations

import numpy as np
import pytest

from medai_engine.kernels.recurrent import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

NAN = np.nan
DTYPES = (np.float32, np.float64)
# N, T, D, H: one unit, tails of vectors, several panels, several chunks, rows above a tile
SHAPES = [(1, 1, 1, 1), (3, 4, 2, 3), (5, 6, 7, 33), (26, 4, 3, 17), (30, 5, 40, 64)]


@pytest.fixture(autouse=True)
def restore():
    isa, threads = get_isa(), get_num_threads()
    yield
    set_isa(isa)
    set_num_threads(threads)


@pytest.fixture(params=["loops", *available_isas()])
def text(request):
    if request.param == "loops":
        return loops
    set_isa(request.param)
    return fast


def drawn(N, T, D, H, dtype, ragged):
    """Return inputs of `lstm` with NaN in padding, and lengths of every kind."""
    rng = np.random.default_rng([N, T, D, H])
    inputs = [rng.normal(size=shape).astype(dtype) / 2 for shape in (
        (N, T, D), (4 * H, D), (4 * H, H), (4 * H,), (N, H), (N, H))]
    lengths = rng.integers(0, T + 1, N) if ragged else np.full(N, T)
    for n, length in enumerate(lengths):
        inputs[0][n, length:] = NAN
    return [*inputs, lengths]


def margined(shapes, dtype):
    """Return arrays between margins, and the memory that has to keep its margins."""
    memories = [np.full(int(np.prod(shape)) + 64, NAN, dtype) for shape in shapes]
    for memory in memories:
        memory[:32] = memory[-32:] = 7
    return memories, [m[32:-32].reshape(s) for m, s in zip(memories, shapes, strict=True)]


def run(kernels, inputs, reverse, relu, residuals=True, cotangents=None):
    """Return outputs and gradients; inputs and margins must stay as they are."""
    x, weight_ih, weight_hh, _, h0, c0, lengths = inputs
    (N, T, _), H = x.shape, h0.shape[1]
    before = [a.copy() for a in inputs]
    memories, outs = margined([(N, T, H), (N, H), (N, H), (N, T, 4 * H), (N, T, H)], x.dtype)
    kernels.lstm(*inputs, *outs, reverse, relu)
    more, grads = margined([a.shape for a in inputs[:6]], x.dtype)
    if cotangents is None:
        rng = np.random.default_rng(5)
        cotangents = [rng.normal(size=y.shape).astype(x.dtype) for y in outs]
    kernels.lstm_grad(*cotangents[:3], *(cotangents[3:] if residuals else (None, None)), x,
                      weight_ih, weight_hh, h0, c0, lengths, outs[0], *outs[3:], *grads, reverse,
                      relu)
    for memory in memories + more:
        assert (memory[:32] == 7).all() and (memory[-32:] == 7).all()
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)
    return [*outs, *grads]


@pytest.mark.parametrize("shape", SHAPES)
def test_texts_agree(text, shape):
    """Steps contract errors here: weights are small, and so is the tolerance."""
    for dtype in DTYPES:
        for ragged, reverse, relu in [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)]:
            inputs = drawn(*shape, dtype, ragged)
            wide = [a.astype(np.float64) if a.dtype == dtype else a for a in inputs]
            found = run(text, inputs, bool(reverse), bool(relu), residuals=bool(ragged))
            rng = np.random.default_rng(5)
            cotangents = [rng.normal(size=y.shape).astype(dtype) for y in found[:5]]
            exact = run(reference, wide, bool(reverse), bool(relu), bool(ragged),
                        [g.astype(np.float64) for g in cotangents])
            for y, z in zip(found, exact, strict=True):
                scale = max(1, np.abs(z).max())
                assert np.abs(y - z).max() <= 200 * np.finfo(dtype).eps * scale


def test_padding_is_zero(text):
    inputs = drawn(26, 4, 3, 17, np.float32, True)
    output, _, _, gates, cells, g_x = run(text, inputs, False, False)[:6]
    for n, length in enumerate(inputs[6]):
        for y in (output, gates, cells, g_x):
            assert not y[n, length:].any() and (length == 0 or y[n, :length].any())


@pytest.mark.parametrize("kernels", [reference, loops, fast])
def test_lengths_out_of_bounds(kernels):
    """Whatever the lengths say, a kernel stays in its arrays."""
    inputs = drawn(5, 3, 2, 4, np.float64, False)
    whole = run(kernels, inputs, True, False)
    inputs[6] = np.array([3, 99, 2**62, 4, 3])
    for y, z in zip(run(kernels, inputs, True, False), whole, strict=True):
        np.testing.assert_array_equal(y, z)
    inputs[6] = np.full(5, -3)
    outs = run(kernels, inputs, True, False)
    np.testing.assert_array_equal(outs[1], inputs[4])
    assert not outs[0].any() and not outs[6].any()


def test_permuted_batch(text):
    """A permuted batch gives the same bits, permuted; a row does not see its neighbours."""
    inputs = drawn(30, 5, 40, 64, np.float32, True)
    order = np.random.default_rng(3).permutation(30)
    moved = [a[order] if i in (0, 4, 5, 6) else a for i, a in enumerate(inputs)]
    rng = np.random.default_rng(5)
    cotangents = [rng.normal(size=shape).astype(np.float32) for shape in (
        (30, 5, 64), (30, 64), (30, 64), (30, 5, 256), (30, 5, 64))]
    first = run(text, inputs, True, False, True, cotangents)
    second = run(text, moved, True, False, True, [g[order] for g in cotangents])
    for i in (0, 1, 2, 3, 4, 5, 9, 10):
        np.testing.assert_array_equal(first[i][order], second[i])


@pytest.mark.parametrize("shape", [(33, 7, 5, 40), (9, 3, 30, 260)])
def test_threads(shape):
    for isa in available_isas():
        set_isa(isa)
        inputs = drawn(*shape, np.float32, True)
        results = []
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            results.append([y.tobytes() for y in run(fast, inputs, False, False)])
        assert all(r == results[0] for r in results)


def test_saturated_gates():
    """Open forget gates copy the cell, closed ones clear it, whatever the inputs are."""
    for kernels in (reference, loops, fast):
        for forget, expected in ((50.0, 3.0), (-50.0, 0.0)):
            inputs = drawn(2, 5, 3, 4, np.float64, False)
            inputs[3][:] = np.repeat([-50.0, forget, 0.0, 0.0], 4)
            inputs[5][:] = 3.0
            c = run(kernels, inputs, False, False)[2]
            np.testing.assert_allclose(c, expected, atol=1e-12)
