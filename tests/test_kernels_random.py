"""Random kernels: published vectors of Philox, exact mappings, statistics, threads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medai_engine.kernels.random import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

TEXTS = {"reference": reference, "loops": loops, "fast": fast}
DTYPES = (np.float32, np.float64)
ONES = 2**32 - 1
SEED = 0x9876543210FEDCBA
OFFSETS = (0, 7, 2**64 - 3, 2**128 - 2)  # the third carries into the upper half, the last wraps
RANGES = [(0, 1), (0, 10), (-7, 2**62), (-(2**63), 2**63 - 1), (5, 5 + 2**32)]


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


def draw(kernel, shape, dtype, *arguments):
    """Return what a kernel writes between two margins that it must not touch."""
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    fill = np.nan if np.issubdtype(dtype, np.floating) else 99
    memory = np.full(size + 32, fill, dtype)
    memory[:16] = memory[-16:] = 7
    kernel(memory[16:-16].reshape(shape), *arguments)
    assert (memory[:16] == 7).all() and (memory[-16:] == 7).all()
    return memory[16:-16].reshape(shape)


def philox(counter, key):
    """Philox4x32-10 in Python integers, from the paper's figure, written apart from the kernels."""
    c, k = list(counter), list(key)
    for i in range(10):
        if i:
            k = [(k[0] + 0x9E3779B9) & ONES, (k[1] + 0xBB67AE85) & ONES]
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & ONES, (p0 >> 32) ^ c[3] ^ k[1], p0 & ONES]
    return c


def python_words(count, seed, offset):
    out = []
    for j in range(-(-count // 4)):
        counter = (offset + j) % 2**128
        out += philox([counter >> 32 * i & ONES for i in range(4)], [seed & ONES, seed >> 32])
    return out[:count]


def test_the_three_texts_have_the_same_names():
    assert reference.__all__ == loops.__all__ == fast.__all__


# kat_vectors of Random123 (D. E. Shaw Research): rows "philox4x32 10".
@pytest.mark.parametrize("counter, key, expected", [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
     [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
], ids=["zeros", "ones", "pi"])
def test_published_vectors(text, counter, key, expected):
    seed = key[0] | key[1] << 32
    offset = sum(word << 32 * i for i, word in enumerate(counter))
    assert draw(text.random_bits, 4, np.uint32, seed, offset).tolist() == expected
    assert philox(counter, key) == expected


@pytest.mark.parametrize("offset", OFFSETS)
def test_bits_are_the_words_of_consecutive_counters(text, offset):
    for size in (1, 3, 4, 5, 31, 257, 1030):
        bits = draw(text.random_bits, size, np.uint32, SEED, offset)
        assert bits.tolist() == python_words(size, SEED, offset)


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform_is_exact(text, dtype):
    for offset in OFFSETS:
        u = draw(text.random_uniform, 515, dtype, SEED, offset, 0.0, 1.0)
        if dtype == np.float32:
            expected = [(w >> 8) / 2**24 for w in python_words(515, SEED, offset)]
        else:
            w = python_words(1030, SEED, offset)
            expected = [((a >> 5 << 26) + (b >> 6)) / 2**53
                        for a, b in zip(w[::2], w[1::2], strict=True)]
        assert u.tolist() == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform_on_an_interval(text, dtype):
    low, high = -0.3, 2.1
    u = draw(text.random_uniform, 4099, dtype, SEED, 3, 0.0, 1.0)
    expected = u * dtype(high - low) + dtype(low)
    np.testing.assert_array_equal(draw(text.random_uniform, 4099, dtype, SEED, 3, low, high),
                                  expected)
    # [1, 1 + 4 eps): rounding to nearest alone would give the upper end now and then
    few = draw(text.random_uniform, 4099, dtype, SEED, 3, 1.0, 1 + 4 * np.finfo(dtype).eps)
    assert sorted(set(few.tolist())) == [1 + i * np.finfo(dtype).eps for i in range(4)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_is_box_and_mullers(text, dtype):
    for offset in OFFSETS:
        for size in (1, 2, 3, 130, 1031):
            z = draw(text.random_normal, size, dtype, SEED, offset, 0.0, 1.0)
            per = 1 if dtype == np.float32 else 2
            w = python_words((size + 1) * per, SEED, offset)
            expected, radii = [], []
            for j in range(-(-size // 2)):
                if dtype == np.float32:
                    s = float(np.float32(np.float32(w[2 * j] >> 1) + np.float32(1))) / 2**31
                    t = (w[2 * j + 1] >> 8) / 2**24
                else:
                    a, b, c, d = w[4 * j: 4 * j + 4]
                    s = 1 - ((a >> 5 << 26) + (b >> 6)) / 2**53
                    t = ((c >> 5 << 26) + (d >> 6)) / 2**53
                r = math.sqrt(-2 * math.log(s))
                expected += [r * math.cos(2 * math.pi * t), r * math.sin(2 * math.pi * t)]
                radii += [r, r]
            error = np.abs(z - np.array(expected[:size]))
            assert (error <= 6 * np.finfo(dtype).eps * np.array(radii[:size])).all()
    shifted = draw(text.random_normal, 1031, dtype, SEED, OFFSETS[-1], -2.5, 3.0)
    np.testing.assert_allclose(shifted, z * dtype(3) - dtype(2.5), rtol=0,
                               atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("low, high", RANGES)
def test_integers_scale_64_bits(text, low, high):
    for offset in OFFSETS:
        w = python_words(2 * 301, SEED, offset)
        expected = [low + ((a + (b << 32)) * (high - low) >> 64)
                    for a, b in zip(w[::2], w[1::2], strict=True)]
        out = draw(text.random_integers, 301, np.int64, SEED, offset, low, high)
        assert out.tolist() == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1 / 3, 1.0])
def test_dropout_keeps_where_u_reaches_p(text, dtype, p):
    x = np.random.default_rng(0).normal(size=(7, 5, 31)).astype(dtype)
    x.flags.writeable = False
    for offset in OFFSETS:
        u = np.array([(w >> 8) / 2**24 for w in python_words(x.size, SEED, offset)])
        out = draw(lambda o, *rest: text.dropout(x, o, *rest), x.shape, dtype, SEED, offset, p)
        expected = np.zeros_like(x)
        keep = u.reshape(x.shape) >= p
        expected[keep] = x[keep] * dtype(1 / (1 - p)) if p < 1 else 0
        np.testing.assert_array_equal(out, expected)


def test_dropout_of_a_step_of_u(text):
    """An element whose u equals p exactly is kept; one step above, it is dropped."""
    word = python_words(1, SEED, 0)[0] >> 8
    x, out = np.ones(1, np.float32), np.full(1, np.nan, np.float32)
    text.dropout(x, out, SEED, 0, word / 2**24)
    assert out[0] > 1
    text.dropout(x, out, SEED, 0, (word + 0.5) / 2**24)
    assert out[0] == 0


def test_dropout_drops_infinities_and_nan(text):
    x = np.full(999, np.nan, np.float32)
    x[::2] = np.inf
    out = draw(lambda o, *rest: text.dropout(x, o, *rest), 999, np.float32, SEED, 0, 0.5)
    assert (out == 0).any() and np.isnan(out).any() and np.isposinf(out).any()


def test_a_number_depends_on_its_index_only(text):
    for dtype, kernel, arguments, per in [
        (np.uint32, text.random_bits, (), 4), (np.float32, text.random_uniform, (0, 1), 4),
        (np.float64, text.random_uniform, (0, 1), 2), (np.float32, text.random_normal, (0, 1), 4),
        (np.float64, text.random_normal, (0, 1), 2), (np.int64, text.random_integers, (0, 99), 2),
    ]:
        whole = draw(kernel, 70001, dtype, SEED, 11, *arguments)
        part = draw(kernel, (3, 67), dtype, SEED, 11 + 40000 // per, *arguments)
        assert part.tobytes() == whole[40000:40201].tobytes()


def test_threads_give_the_same_bits():
    x = np.random.default_rng(2).normal(size=50001).astype(np.float32)
    found = []
    for threads in (1, 2, 3, 8):
        set_num_threads(threads)
        found.append((
            draw(fast.random_bits, 50001, np.uint32, SEED, 1).tobytes(),
            draw(fast.random_uniform, 50001, np.float64, SEED, 1, -1.0, 1.0).tobytes(),
            draw(fast.random_normal, 50001, np.float32, SEED, 1, 0.0, 1.0).tobytes(),
            draw(fast.random_integers, 50001, np.int64, SEED, 1, 0, 1000).tobytes(),
            draw(lambda o, *rest: fast.dropout(x, o, *rest), 50001, np.float32, SEED, 1,
                 0.4).tobytes(),
        ))
    assert len(set(found)) == 1


# Statistics: seeds are fixed, so nothing here is left to chance. -------------------------------

N = 400_000


@pytest.mark.parametrize("dtype", DTYPES)
def test_moments(dtype):
    u = draw(fast.random_uniform, N, dtype, 1, 0, 0.0, 1.0).astype(np.float64)
    z = draw(fast.random_normal, N, dtype, 2, 0, 0.0, 1.0).astype(np.float64)
    error = 5 / math.sqrt(N)  # five standard errors, in units of each moment's deviation
    for k in (1, 2, 3, 4):
        assert abs(np.mean(u**k) - 1 / (k + 1)) < error * math.sqrt(1 / (2 * k + 1))
    for k, (mean, second) in {1: (0, 1), 2: (1, 3), 3: (0, 15), 4: (3, 105)}.items():
        assert abs(np.mean(z**k) - mean) < error * math.sqrt(second)
    for lag in (1, 2, 3, 4, 8, 256):  # neighbours, also the two numbers of one pair
        assert abs(np.corrcoef(z[lag:], z[:-lag])[0, 1]) < error
        assert abs(np.corrcoef(z[lag:] ** 2, z[:-lag] ** 2)[0, 1]) < error
    other = draw(fast.random_normal, N, dtype, 3, 0, 0.0, 1.0)
    assert abs(np.corrcoef(z, other)[0, 1]) < error


def test_tails_of_the_normal():
    """Expected beyond 4 and 4.75 deviations among 16 million: 1013 and 32.5."""
    z = draw(fast.random_normal, 16_000_000, np.float32, 4, 0, 0.0, 1.0)
    beyond = np.abs(z[np.abs(z) > 4])
    assert abs(len(beyond) - 1013) < 4 * math.sqrt(1013)
    assert abs((beyond > 4.75).sum() - 32.5) < 4 * math.sqrt(32.5)
    assert 5 < beyond.max() < 6.6


def test_integers_are_even():
    counts = np.bincount(draw(fast.random_integers, N, np.int64, 5, 0, 0, 100))
    assert len(counts) == 100
    chi2 = ((counts - N / 100) ** 2 / (N / 100)).sum()
    assert 60 < chi2 < 145  # 99 degrees of freedom: 0.1 % on either side


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(p):
    x = np.ones(N, np.float32)
    out = draw(lambda o, *rest: fast.dropout(x, o, *rest), N, np.float32, 6, 0, p)
    assert abs((out == 0).mean() - p) < 5 * math.sqrt(p * (1 - p) / N)
    assert abs(out.mean(dtype=np.float64) - 1) < 5 * math.sqrt(p / (1 - p) / N)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", DTYPES)
def test_distributions_by_kolmogorov_and_smirnov(dtype):
    stats = pytest.importorskip("scipy.stats")
    u = draw(fast.random_uniform, N, dtype, 7, 0, -2.0, 3.0)
    z = draw(fast.random_normal, N, dtype, 8, 0, 1.5, 0.5)
    assert stats.kstest(u.astype(np.float64), stats.uniform(-2, 5).cdf).pvalue > 1e-3
    assert stats.kstest(z.astype(np.float64), stats.norm(1.5, 0.5).cdf).pvalue > 1e-3
    angle = np.arctan2(z[1::2] - 1.5, z[::2] - 1.5).astype(np.float64)
    assert stats.kstest(angle, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-3
