"""Recurrent kernels: three texts against each other, bounds, padding, permutations, threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medai_engine.kernels.recurrent import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

NAN = np.nan
KINDS = {"lstm": (4, 1, 2, 2), "gru": (3, 2, 1, 2), "rnn": (1, 1, 1, 0)}  # gates, biases, states,
each_kind = pytest.mark.parametrize("kind", KINDS)  # ... and outputs kept for the gradient
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


def drawn(kind, N, T, D, H, dtype, ragged):
    """Return inputs of a layer with NaN in padding, and lengths of every kind."""
    gates, biases, states, _ = KINDS[kind]
    rng = np.random.default_rng([N, T, D, H])
    inputs = [rng.normal(size=shape).astype(dtype) / 2 for shape in (
        (N, T, D), (gates * H, D), (gates * H, H), *[(gates * H,)] * biases, *[(N, H)] * states)]
    if kind == "rnn":  # whose relu would let states grow
        inputs[2] /= H
    lengths = rng.integers(0, T + 1, N) if ragged else np.full(N, T)
    for n, length in enumerate(lengths):
        inputs[0][n, length:] = NAN
    return [*inputs, lengths]


def shapes_of(kind, inputs):
    """Return the shapes of the outputs: all steps, last states, what gradients need."""
    gates, _, states, residuals = KINDS[kind]
    (N, T, _), H = inputs[0].shape, inputs[2].shape[1]
    return [(N, T, H), *[(N, H)] * states, *[(N, T, gates * H), (N, T, H)][:residuals]]


def weights(kind, inputs, dtype):
    """Return cotangents of all outputs."""
    rng = np.random.default_rng(5)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes_of(kind, inputs)]


def margined(shapes, dtype):
    """Return arrays between margins, and the memory that has to keep its margins."""
    memories = [np.full(int(np.prod(shape)) + 64, NAN, dtype) for shape in shapes]
    for memory in memories:
        memory[:32] = memory[-32:] = 7
    return memories, [m[32:-32].reshape(s) for m, s in zip(memories, shapes, strict=True)]


def run(kernels, kind, inputs, reverse, relu=False, residuals=True, cotangents=None,
        needs_x=True):
    """Return outputs and gradients; inputs and margins must stay as they are."""
    _, biases, states, _ = KINDS[kind]
    dtype = inputs[0].dtype
    before = [a.copy() for a in inputs]
    flags = (reverse,) if kind == "gru" else (reverse, relu)
    memories, outs = margined(shapes_of(kind, inputs), dtype)
    getattr(kernels, kind)(*inputs, *outs, *flags)
    more, grads = margined([a.shape for a in inputs[:-1]], dtype)
    if not needs_x:
        grads[0] = grads[0][..., :0].copy()
    given = cotangents or weights(kind, inputs, dtype)
    if not residuals:
        given = given[: 1 + states] + [None] * len(given[1 + states:])
    getattr(kernels, f"{kind}_grad")(*given, *inputs[:3], *inputs[3 + biases:], outs[0],
                                     *outs[1 + states:], *grads, *flags)
    for memory in memories + more:
        assert (memory[:32] == 7).all() and (memory[-32:] == 7).all()
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)
    return [*outs, *grads]


@each_kind
@pytest.mark.parametrize("shape", SHAPES)
def test_texts_agree(text, shape, kind):
    """Steps contract errors here: weights are small, and so is the tolerance."""
    for dtype in DTYPES:
        for ragged, reverse, relu in [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)]:
            inputs = drawn(kind, *shape, dtype, ragged)
            wide = [a.astype(np.float64) if a.dtype == dtype else a for a in inputs]
            given = weights(kind, inputs, dtype)
            found = run(text, kind, inputs, bool(reverse), bool(relu), bool(ragged), given)
            exact = run(reference, kind, wide, bool(reverse), bool(relu), bool(ragged),
                        [g.astype(np.float64) for g in given])
            for y, z in zip(found, exact, strict=True):
                scale = max(1, np.abs(z).max())
                assert np.abs(y - z).max() <= 200 * np.finfo(dtype).eps * scale


@each_kind
@given(st.data())
def test_any_lengths(kind, data):
    """Drawn sizes and lengths: the compiled text is the definition, on either side of each cut."""
    sizes = [data.draw(st.integers(1, most)) for most in (19, 6, 40, 40)]
    inputs = drawn(kind, *sizes, np.float64, False)
    lengths = data.draw(st.lists(st.integers(0, sizes[1]), min_size=sizes[0], max_size=sizes[0]))
    for n, length in enumerate(lengths):
        inputs[0][n, length:] = NAN
    inputs[-1] = np.array(lengths)
    flags = [data.draw(st.booleans()) for _ in range(4)]
    for y, z in zip(*(run(k, kind, inputs, *flags[:3], needs_x=flags[3])
                      for k in (fast, reference)), strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-11, atol=1e-11 * max(1, np.abs(z).max(initial=0)))


@each_kind
def test_input_gradient_is_optional(text, kind):
    """Nothing else changes where nobody asks for it."""
    for shape in ((26, 4, 3, 17), (3, 5, 40, 33)):
        inputs = drawn(kind, *shape, np.float32, True)
        with_x, without = (run(text, kind, inputs, False, needs_x=x) for x in (True, False))
        place = len(shapes_of(kind, inputs))
        assert with_x.pop(place).any() and without.pop(place).shape == (*shape[:2], 0)
        for y, z in zip(with_x, without, strict=True):
            np.testing.assert_array_equal(y, z)


@each_kind
def test_padding_is_zero(text, kind):
    inputs = drawn(kind, 26, 4, 3, 17, np.float32, True)
    found = run(text, kind, inputs, False)
    steps = [y for y in found if y.ndim == 3]
    assert len(steps) == 2 + KINDS[kind][3]
    for n, length in enumerate(inputs[-1]):
        for y in steps:
            assert not y[n, length:].any() and (length == 0 or y[n, :length].any())


@each_kind
@pytest.mark.parametrize("kernels", [reference, loops, fast])
def test_lengths_out_of_bounds(kernels, kind):
    """Whatever the lengths say, a kernel stays in its arrays."""
    inputs = drawn(kind, 5, 3, 2, 4, np.float64, False)
    whole = run(kernels, kind, inputs, True)
    inputs[-1] = np.array([3, 99, 2**62, 4, 3])
    for y, z in zip(run(kernels, kind, inputs, True), whole, strict=True):
        np.testing.assert_array_equal(y, z)
    inputs[-1] = np.full(5, -3)
    outs = run(kernels, kind, inputs, True)
    np.testing.assert_array_equal(outs[1], inputs[3 + KINDS[kind][1]])
    assert not outs[0].any() and not outs[len(shapes_of(kind, inputs)) + 1].any()


@each_kind
@pytest.mark.parametrize("N, H", [(30, 64), (3, 64), (27, 260)])
def test_permuted_batch(text, kind, N, H):
    """A permuted batch gives the same bits, permuted; a row does not see its neighbours."""
    inputs = drawn(kind, N, 5, 40, H, np.float32, True)
    order = np.random.default_rng(3).permutation(N)
    moved = [a[order] if a.shape[0] == N else a for a in inputs]
    given = weights(kind, inputs, np.float32)
    first = run(text, kind, inputs, True, cotangents=given)
    second = run(text, kind, moved, True, cotangents=[g[order] for g in given])
    rows = [(y, z) for y, z in zip(first, second, strict=True) if y.shape[0] == N]
    assert len(rows) == len(given) + 1 + KINDS[kind][2]
    for y, z in rows:
        np.testing.assert_array_equal(y[order], z)


@each_kind
@pytest.mark.parametrize("H", [1, 17, 33, 64, 130])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_sequence_alone(text, kind, H, dtype):
    """It takes panels of the weight by fours, from both ends in turn: the bits of a tile."""
    inputs = drawn(kind, 1, 6, 5, H, dtype, False)
    shared = range(1, 3 + KINDS[kind][1])  # weights and biases
    twice = [a if i in shared else np.concatenate([a, a]) for i, a in enumerate(inputs)]
    given = weights(kind, inputs, dtype)
    for reverse in (False, True):
        alone = run(text, kind, inputs, reverse, cotangents=given)
        both = run(text, kind, twice, reverse, cotangents=[np.concatenate([g, g]) for g in given])
        for y, z in zip(alone, both, strict=True):
            if z.shape[0] == 2 != y.shape[0]:
                np.testing.assert_array_equal(y[0], z[1])


@each_kind
@pytest.mark.parametrize("shape", [(33, 7, 5, 40), (9, 3, 30, 260), (3, 9, 30, 64)])
def test_threads(shape, kind):
    for isa in available_isas():
        set_isa(isa)
        inputs = drawn(kind, *shape, np.float32, True)
        results = []
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            results.append([y.tobytes() for y in run(fast, kind, inputs, False)])
        assert all(r == results[0] for r in results)


def test_saturated_gates():
    """Open gates copy the memory, closed ones clear it, whatever the inputs are."""
    for kernels in (reference, loops, fast):
        for forget, expected in ((50.0, 3.0), (-50.0, 0.0)):
            inputs = drawn("lstm", 2, 5, 3, 4, np.float64, False)
            inputs[3][:] = np.repeat([-50.0, forget, 0.0, 0.0], 4)
            inputs[5][:] = 3.0
            np.testing.assert_allclose(run(kernels, "lstm", inputs, False)[2], expected,
                                       atol=1e-12)
        inputs = drawn("gru", 2, 5, 3, 4, np.float64, False)
        inputs[3][:] = np.repeat([0.0, 50.0, 0.0], 4)
        inputs[5][:] = 3.0
        np.testing.assert_allclose(run(kernels, "gru", inputs, True)[1], 3.0, atol=1e-12)
