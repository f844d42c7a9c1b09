"""Matrix products: three texts, every instruction set, every number of threads."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medai_engine.kernels import lookup
from medai_engine.kernels.gemm import loops, reference

fast = pytest.importorskip("medai_engine.kernels.gemm.fast", reason="kernels not compiled")
from medai_engine.kernels.simd import isa  # noqa: E402
from medai_engine.kernels.threads import pool  # noqa: E402

SHAPES = [  # M, N, K: tiny networks, wide layers, their gradients, powers of two, odd tails
    (32, 16, 30), (32, 2, 16), (1, 1, 1), (1, 1, 5000), (3, 1, 700), (1, 300, 65), (2, 5, 3),
    (32, 1024, 784), (32, 784, 1024), (1024, 784, 32), (784, 32, 33), (32, 10, 1024),
    (257, 129, 385), (600, 500, 384), (512, 512, 512), (64, 48, 1537), (13, 33, 769),
]


@pytest.fixture(autouse=True)
def _restore():
    level, threads = isa.get_isa(), pool.get_num_threads()
    yield
    isa.set_isa(level)
    pool.set_num_threads(threads)


def operands(rng, dtype, M, N, K, transpose_a, transpose_b, batch_a=1, batch_b=1):
    a = rng.standard_normal((batch_a, K, M) if transpose_a else (batch_a, M, K))
    b = rng.standard_normal((batch_b, N, K) if transpose_b else (batch_b, K, N))
    return a.astype(dtype), b.astype(dtype)


def expected(a, b, transpose_a, transpose_b):
    """Return the product in more precision, and its bound 2 sqrt(K) eps sum|a||b| + 4 eps|y|."""
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    left = (a.transpose(0, 2, 1) if transpose_a else a).astype(wide)
    right = (b.transpose(0, 2, 1) if transpose_b else b).astype(wide)
    if wide is np.longdouble and left.size * right.shape[2] > 1 << 22:
        y = np.matmul(left.astype(np.float64), right.astype(np.float64))
    else:
        y = np.matmul(left, right)
    magnitude = np.matmul(np.abs(left).astype(float), np.abs(right).astype(float))
    eps = np.finfo(a.dtype).eps
    return y, 2 * math.sqrt(left.shape[2]) * eps * magnitude + 4 * eps * np.abs(y)


def run(text, a, b, transpose_a, transpose_b):
    M, N = a.shape[2 if transpose_a else 1], b.shape[1 if transpose_b else 2]
    a.flags.writeable = b.flags.writeable = False
    out = np.full((max(len(a), len(b)), M, N), np.nan, a.dtype)
    text.matmul(a, b, out, transpose_a, transpose_b)
    return out


def compare(a, b, transpose_a, transpose_b):
    y, bound = expected(a, b, transpose_a, transpose_b)
    for level in isa.available_isas():
        isa.set_isa(level)
        results = []
        for threads in (1, 2, 3, 8):
            pool.set_num_threads(threads)
            results.append(run(fast, a, b, transpose_a, transpose_b))
        assert (np.abs(results[0] - y) <= bound).all(), level
        for other in results[1:]:
            assert other.tobytes() == results[0].tobytes(), (level, "threads changed the bits")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposes", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("shape", SHAPES)
def test_matmul(shape, transposes, dtype):
    rng = np.random.default_rng(sum(shape))
    compare(*operands(rng, dtype, *shape, *transposes), *map(bool, transposes))


@pytest.mark.parametrize("batches", [(3, 3), (1, 4), (4, 1), (70, 70)])
@pytest.mark.parametrize("shape", [(20, 30, 16), (50, 50, 64), (3, 40, 17), (130, 200, 160)])
def test_batches(shape, batches):
    rng = np.random.default_rng(0)
    for transposes in ((False, False), (False, True), (True, False)):
        compare(*operands(rng, np.float32, *shape, *transposes, *batches), *transposes)


@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]),
       transpose_a=st.booleans(), transpose_b=st.booleans(),
       batches=st.sampled_from([(1, 1), (2, 2), (1, 3), (3, 1)]))
def test_matmul_any_shape(data, dtype, transpose_a, transpose_b, batches):
    length = st.one_of(st.integers(1, 9), st.integers(1, 70), st.integers(1, 420))
    M, N, K = (data.draw(length, label=name) for name in "MNK")
    rng = np.random.default_rng(M * N + K)
    compare(*operands(rng, dtype, M, N, K, transpose_a, transpose_b, *batches),
            transpose_a, transpose_b)


@given(M=st.integers(1, 40), N=st.integers(1, 40), K=st.integers(1, 60),
       dtype=st.sampled_from([np.float32, np.float64]), transpose_a=st.booleans(),
       transpose_b=st.booleans(), batches=st.sampled_from([(1, 1), (2, 2), (1, 3), (3, 1)]))
@example(M=1, N=1, K=1, dtype=np.float32, transpose_a=True, transpose_b=True, batches=(1, 1))
def test_three_texts_agree(M, N, K, dtype, transpose_a, transpose_b, batches):
    rng = np.random.default_rng(M * N + K)
    a, b = operands(rng, dtype, M, N, K, transpose_a, transpose_b, *batches)
    y, bound = expected(a, b, transpose_a, transpose_b)
    for text in (reference, loops, fast):
        assert (np.abs(run(text, a, b, transpose_a, transpose_b) - y) <= bound).all(), text


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_linear(shape, dtype):
    M, N, K = shape
    rng = np.random.default_rng(K)
    x, weight = operands(rng, dtype, M, N, K, False, True)
    bias = rng.standard_normal(N).astype(dtype)
    y, bound = expected(x, weight, False, True)
    eps = np.finfo(dtype).eps
    for with_bias in (None, bias):
        shift = 0 if with_bias is None else bias
        for text in (reference, loops, fast):
            out = np.full((M, N), np.nan, dtype)
            text.linear(x[0], weight[0], with_bias, out)
            allowed = bound[0] + 4 * eps * np.abs(y[0] + shift)
            assert (np.abs(out - (y[0] + shift)) <= allowed).all(), text.__name__


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_has_the_same_bits_in_every_batch_of_tiles(dtype):
    """Cutting rows into tiles leaves no trace: sums run along K in one order."""
    rng = np.random.default_rng(1)
    x, weight = operands(rng, dtype, 97, 75, 1000, False, True)
    whole = run(fast, x, weight, False, True)[0]
    for rows in (5, 12, 13, 33, 96):
        part = run(fast, x[:, :rows].copy(), weight, False, True)[0]
        assert part.tobytes() == whole[:rows].tobytes()
    order = rng.permutation(97)
    permuted = run(fast, x[:, order].copy(), weight, False, True)[0]
    assert permuted.tobytes() == whole[order].tobytes()


def test_biased_sums_stay_accurate():
    """Equal terms round one way; pieces of K keep the error from growing with K."""
    for K in (10_000, 100_000):
        a = np.full((1, 7, K), 0.1, np.float32)
        b = np.full((1, K, 6), 0.3, np.float32)
        compare(a, b, False, False)


def test_special_values():
    a = np.ones((1, 40, 50), np.float32)
    b = np.ones((1, 50, 40), np.float32)
    a[0, 3, 7], a[0, 5, 0], b[0, 9, 11] = np.nan, np.inf, -np.inf
    for level in isa.available_isas():
        isa.set_isa(level)
        out = run(fast, a.copy(), b.copy(), False, False)[0]
        assert np.isnan(out[3]).all()
        assert np.isnan(out[5, 11])
        assert (out[5, [0, 39]] == np.inf).all()
        assert (out[[0, 39], 11] == -np.inf).all()
        assert (np.delete(np.delete(out, [3, 5], 0), 11, 1) == 50).all()


def test_writes_nothing_beyond_out():
    rng = np.random.default_rng(2)
    for M, N, K in ((13, 33, 17), (1, 31, 5), (32, 10, 40), (100, 130, 700)):
        for transpose_b in (False, True):
            a, b = operands(rng, np.float32, M, N, K, False, transpose_b)
            memory = np.full(M * N + 128, 7, np.float32)
            fast.matmul(a, b, memory[64:-64].reshape(1, M, N), False, transpose_b)
            assert (memory[:64] == 7).all()
            assert (memory[-64:] == 7).all()


@pytest.mark.parametrize("text", ["fast", "loops", "reference"])
@pytest.mark.parametrize(("name", "values"), [("relu", ()), ("tanh", ()), ("leaky_relu", (0.2,))])
def test_linear_activation_is_linear_and_the_kernel(text, name, values):
    """Bit for bit, in tiles, transposed tiles and dot products, on every instruction set."""
    function = {"fast": fast, "loops": loops, "reference": reference}[text]
    rng = np.random.default_rng(5)
    for level in isa.available_isas() if text == "fast" else isa.available_isas()[-1:]:
        isa.set_isa(level)
        for (M, N, K), dtype in product(SHAPES[::2], (np.float32, np.float64)):
            if M * N * K > 1 << 25 or (text == "loops" and K > 50):
                continue
            x, weight = operands(rng, dtype, M, N, K, False, True)
            bias = rng.standard_normal(N).astype(dtype) if M > 2 else None
            out, want = np.full((2, M, N), np.nan, dtype)
            function.linear(x[0], weight[0], bias, want)
            lookup(name, text)(want.copy(), want, *values)
            function.linear_activation(x[0], weight[0], bias, out, name, *[*values, 0.0][:1])
            np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("dtype, M, N, K", [
    (np.float32, 30, 1100, 600), (np.float32, 16, 1024, 1050), (np.float32, 13, 8300, 70),
    (np.float64, 30, 600, 530), (np.float64, 14, 4099, 65), (np.float32, 7, 1024, 1050)])
def test_few_rows_of_a_large_product(dtype, M, N, K, transpose_a):
    """Panels that chunks pack for themselves: the bits of a product of many rows, packed before."""
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((200, K)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)
    assert b.nbytes > 2 << 20
    for level in isa.available_isas():
        isa.set_isa(level)
        many, few = np.full((200, N), np.nan, dtype), np.full((M, N), np.nan, dtype)
        turn = np.ascontiguousarray(a.T) if transpose_a else a
        fast.matmul(turn, b, many, transpose_a, False)
        turn = np.ascontiguousarray(a[:M].T) if transpose_a else a[:M]
        for threads in (1, 2, 3, 8):
            pool.set_num_threads(threads)
            fast.matmul(turn, b, few, transpose_a, False)
            np.testing.assert_array_equal(few, many[:M])


@pytest.mark.parametrize("text", ["fast", "loops", "reference"])
def test_matmul_add_is_matmul_and_a_sum(text):
    """To the bit where ``one_chain`` says so; into c's own memory, or beside it."""
    function = {"fast": fast, "loops": loops, "reference": reference}[text]
    rng = np.random.default_rng(6)
    exact = 0
    for level in isa.available_isas() if text == "fast" else isa.available_isas()[-1:]:
        isa.set_isa(level)
        for (M, N, K), dtype, (ta, tb) in product(
                SHAPES, (np.float32, np.float64), [(False, False), (True, False),
                                                        (False, True)]):
            if M * N * K > 1 << 22 or (text == "loops" and K > 50):
                continue
            a, b = operands(rng, dtype, M, N, K, ta, tb)
            c = rng.standard_normal((1, M, N)).astype(dtype)
            plain, out, inside = np.full((3, 1, M, N), np.nan, dtype)
            inside[...] = c
            function.matmul(a, b, plain, ta, tb)
            function.matmul_add(c, a, b, out, ta, tb)
            function.matmul_add(inside, a, b, inside, ta, tb)
            np.testing.assert_array_equal(inside, out)
            if text != "fast" or reference.one_chain(M, N, K, c.itemsize):
                np.testing.assert_array_equal(out, c + plain)
                exact += 1
            else:
                bound = expected(a, b, ta, tb)[1] + 8 * np.finfo(dtype).eps * np.abs(c)
                assert (np.abs(out - (c + plain)) <= 2 * bound).all()
    assert exact > 10
