"""Reductions: three texts, every instruction set, shapes around every block and tile boundary."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medai_engine.kernels.reduce import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

NAMES = ["argmax", "argmin", "cumulative_prod", "cumulative_sum", "logsumexp", "max", "min", "prod",
         "sum", "sum_squares"]
EXACT = {"argmax", "argmin", "max", "min"}
DTYPES = (np.float32, np.float64)
ISAS = available_isas()
SHAPES = [
    (1, 1, 1), (1, 4, 1), (3, 7, 1), (5, 64, 1), (2, 129, 1), (2, 4096, 1), (1, 4097, 1),
    (2, 9000, 1), (1, 70001, 1), (300, 10, 1),
    (1, 5, 3), (2, 31, 2), (1, 2731, 3), (2, 9000, 3), (3, 6, 17), (2, 100, 32), (1, 700, 33),
    (4, 257, 64), (2, 3, 100), (1, 600, 130), (1, 2, 4096), (1, 9, 4097), (2, 150, 4200),
    (1, 70, 8200), (7, 1, 5),
]


@pytest.fixture(autouse=True)
def restore():
    isa, threads = get_isa(), get_num_threads()
    yield
    set_isa(isa)
    set_num_threads(threads)


def sample(shape, dtype, seed=0):
    x = np.random.default_rng(seed).normal(0.3, 1, size=shape)
    return x.astype(dtype)


def factors(name, x):
    """Products of tens of thousands of these stay finite."""
    return (np.sign(x) * np.exp(0.03 * (x - 0.3))).astype(x.dtype) if "prod" in name else x


def call(text, name, x, scale=1.0):
    kind = np.int64 if name.startswith("arg") else x.dtype
    shape = x.shape if name.startswith("cumulative") else (x.shape[0], x.shape[2])
    out = np.full(shape, -7 if kind == np.int64 else np.nan, kind)
    assert getattr(text, name)(x, out, *[scale] * (name == "sum")) is None
    return out


def check(name, x, y):
    """Against the reference in the next wider type, within 2 sqrt(n) eps of the terms' size."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    if name in EXACT:
        np.testing.assert_array_equal(y, call(reference, name, x))
        return
    z = x.astype(wide)
    want = call(reference, name, z)
    eps, n = np.finfo(x.dtype).eps, x.shape[1]
    if name == "cumulative_sum":
        size = np.cumsum(np.abs(z), axis=1) * np.sqrt(np.arange(1, n + 1))[:, None]
    elif name == "cumulative_prod":
        size = np.abs(want) * np.sqrt(np.arange(1, n + 1))[:, None]
    elif name == "logsumexp":
        size = (np.abs(want) + 1) * np.sqrt(n)
    else:
        terms = {"sum": np.abs(z), "sum_squares": z * z}
        size = (np.abs(want) if name == "prod" else terms[name].sum(axis=1)) * np.sqrt(n)
    excess = np.abs(y - want) / (2 * eps * size + np.finfo(x.dtype).tiny)
    assert excess.max() <= 1, f"{name} {x.shape}: {excess.max():.3g} times the error allowed"


@cache
def prepared(name, shape, dtype):
    return factors(name, sample(shape, dtype))


def test_the_texts_have_the_same_kernels():
    assert sorted(fast.__all__) == sorted(loops.__all__) == sorted(reference.__all__) == NAMES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_values(name, dtype):
    for shape in SHAPES:
        x = prepared(name, shape, dtype)
        for isa in ISAS:
            set_isa(isa)
            check(name, x, call(fast, name, x))
        check(name, x, call(loops, name, x))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("text", [fast, loops, reference])
def test_scale_makes_the_mean(text, isa):
    set_isa(isa)
    for shape in SHAPES:
        x = sample(shape, np.float64)
        np.testing.assert_allclose(call(text, "sum", x, 1 / shape[1]), x.mean(axis=1), rtol=1e-11,
                                   atol=1e-14)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_integers_sum_exactly(dtype, isa):
    set_isa(isa)
    for shape in SHAPES:
        x = np.random.default_rng(1).integers(-9, 10, shape).astype(dtype)
        np.testing.assert_array_equal(call(fast, "sum", x), x.sum(axis=1, dtype=np.float64))
        np.testing.assert_array_equal(call(fast, "sum_squares", x), (x * x).sum(axis=1))
        np.testing.assert_array_equal(call(fast, "cumulative_sum", x), x.cumsum(axis=1))


def special(shape, dtype, seed):
    """Ties everywhere, and some columns with NaN or infinities."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(dtype)
    marks = rng.random((shape[0], 1, shape[2]))
    where = rng.random(shape) < 3 / shape[1]
    x[where & (marks < 0.3)] = np.nan
    x[where & (marks > 0.4) & (marks < 0.5)] = np.inf
    x[where & (marks > 0.5) & (marks < 0.6)] = -np.inf
    x[np.broadcast_to((marks > 0.6) & (marks < 0.7), shape)] = -np.inf
    x[np.broadcast_to((marks > 0.7) & (marks < 0.8), shape)] = np.nan
    return x


@pytest.mark.parametrize("name", ["argmax", "argmin", "max", "min", "logsumexp", "sum", "prod"])
def test_ties_nan_and_infinities(name):
    for shape in SHAPES:
        for dtype in DTYPES:
            for seed in range(3):
                x = special(shape, dtype, seed)
                with np.errstate(all="ignore"):
                    want = call(reference, name, x.astype(np.float64))
                texts = [call(loops, name, x)]
                for isa in ISAS:
                    set_isa(isa)
                    texts.append(call(fast, name, x))
                for y in texts:
                    if name in EXACT:
                        np.testing.assert_array_equal(y, want)
                    else:  # finite values have their own test
                        odd = ~np.isfinite(want)
                        if name != "prod" or shape[1] < 40:  # longer products overflow in float32
                            np.testing.assert_array_equal(y[odd], want[odd])


def test_logsumexp_of_extremes():
    for isa in ISAS:
        set_isa(isa)
        for dtype in DTYPES:
            for inner in (1, 3, 70):
                # the first block is all -inf, the second far below 0: nothing may underflow
                x = np.full((1, 9000, inner), -np.inf, dtype)
                x[0, 8999] = -5000
                assert (call(fast, "logsumexp", x) == -5000).all()
                x[0, 0] = 80000
                assert (call(fast, "logsumexp", x) == 80000).all()


def test_accuracy_of_a_long_sum():
    x = np.random.default_rng(2).random((1, 3_000_000, 1)).astype(np.float32)
    want = x.sum(dtype=np.float64)
    for shape in ((1, 3_000_000, 1), (1, 1_500_000, 2), (1, 30_000, 100)):
        y = call(fast, "sum", x.reshape(shape)).sum(dtype=np.float64)
        assert abs(y / want - 1) < 20 * np.finfo(np.float32).eps


@pytest.mark.parametrize("name", NAMES)
def test_threads(name):
    for shape in [(1, 200_003, 1), (50, 4000, 1), (1, 3000, 100), (2, 300, 4200), (3, 50_001, 3)]:
        for dtype in DTYPES:
            x = factors(name, sample(shape, dtype))
            results = []
            for threads in (1, 2, 3, 8):
                set_num_threads(threads)
                results.append(call(fast, name, x).tobytes())
            assert len(set(results)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_row_alone_gives_its_bits(name):
    for shape in [(6, 9000, 1), (6, 70, 1), (6, 3000, 5), (6, 90, 70)]:
        x = factors(name, sample(shape, np.float32))
        y = call(fast, name, x)
        for o in range(6):
            np.testing.assert_array_equal(call(fast, name, x[o:o + 1]), y[o:o + 1])


@pytest.mark.parametrize("name", ["sum", "max", "argmin", "logsumexp"])
def test_columns_do_not_depend_on_their_tile(name):
    x = sample((1, 300, 8200), np.float32)
    y = call(fast, name, x)
    for part in (slice(0, 200), slice(4000, 4200), slice(4096, 8200)):
        np.testing.assert_array_equal(call(fast, name, x[:, :, part].copy()), y[:, part])


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 700), st.integers(1, 90), st.sampled_from(NAMES),
       st.sampled_from(DTYPES), st.sampled_from(ISAS))
def test_any_shape(outer, n, inner, name, dtype, isa):
    set_isa(isa)
    x = factors(name, sample((outer, n, inner), dtype, seed=n))
    x.flags.writeable = False
    check(name, x, call(fast, name, x))
