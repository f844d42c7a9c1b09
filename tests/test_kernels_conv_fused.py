"""The fused convolution kernels have the bits of the separate ones, whatever the shape."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels_conv import CASES, cases, problem

from medai_engine.kernels.conv import loops, reference
from medai_engine.ops.pool import Sliding

fast = pytest.importorskip("medai_engine.kernels.conv.fast", reason="kernels not compiled")
from medai_engine.kernels.elementwise import fast as elementwise  # noqa: E402
from medai_engine.kernels.pool import fast as pool  # noqa: E402
from medai_engine.kernels.reduce import fast as reduce  # noqa: E402
from medai_engine.kernels.simd import isa  # noqa: E402
from medai_engine.kernels.threads import pool as threads  # noqa: E402

ACTIVATIONS = [("", ()), ("relu", ()), ("leaky_relu", (0.1,)), ("elu", (0.7,)), ("selu", ()),
               ("sigmoid", ()), ("tanh", ()), ("relu6", ())]
POOLS = [(1, 2, 2), (2, 2, 2), (1, 3, 2), (1, 1, 5), (2, 1, 3), (3, 2, 1), (1, 1, 1)]


@pytest.fixture(autouse=True)
def _restore():
    level, count = isa.get_isa(), threads.get_num_threads()
    yield
    isa.set_isa(level)
    threads.set_num_threads(count)


def blank(shape, dtype):
    return np.full(shape, 255 if dtype == np.uint8 else np.nan, dtype)


def fused(text, x, weight, bias, shape, g, geometry, activation, windows):
    """Return all that the fused kernels give; g is the pooled gradient."""
    dtype, sizes = x.dtype, shape[1:4]
    activated, y = blank(shape, dtype), blank(g.shape, dtype)
    index = blank(g.shape, np.uint8)
    of_x, of_weight, of_bias = (blank(a.shape, dtype) for a in (x, weight, bias))
    text.conv_activation(x, weight, bias, activated, *geometry, *activation)
    text.conv_pool(x, weight, bias, y, index, *geometry, *activation, windows, sizes)
    text.conv_pool_grad_input(g, index, weight, of_x, *geometry, windows, sizes)
    text.conv_pool_grad_weight(x, g, index, of_weight, *geometry, windows, sizes)
    text.conv_pool_grad_bias(g, index, of_bias, windows, sizes)
    return activated, y, of_x, of_weight, of_bias


def separate(x, weight, bias, shape, g, geometry, activation, windows):
    """Return the same by the kernels of convolution, activation, pooling and sum."""
    dtype, (name, parameters) = x.dtype, activation
    activated, full, y, index = (np.empty(s, d) for s, d in (
        (shape, dtype), (shape, dtype), (g.shape, dtype), (g.shape, np.int32)))
    of_x, of_weight, of_bias = (np.empty_like(a) for a in (x, weight, bias))
    fast.conv(x, weight, bias, activated, *geometry)
    if name:
        getattr(elementwise, name)(activated, activated, *parameters)
    tables = [Sliding(p, p).table(n) for p, n in zip(windows, shape[1:4], strict=True)]
    pool.max_pool(activated, y, index, *tables, (1, 1, 1))
    pool.max_pool_grad(g, index, full, *tables, (1, 1, 1))
    fast.conv_grad_input(full, weight, of_x, *geometry)
    fast.conv_grad_weight(x, full, of_weight, *geometry)
    reduce.sum(full.reshape(1, -1, shape[-1]), of_bias.reshape(1, -1), 1.0)
    return activated, y, of_x, of_weight, of_bias


def pooled(case, dtype, windows):
    """Return the arguments of a case, with windows that fit."""
    x, weight, bias, g, geometry = problem(case, dtype)
    windows = tuple(map(min, windows, g.shape[1:4]))
    outputs = [n // p for n, p in zip(g.shape[1:4], windows, strict=True)]
    rng = np.random.default_rng(1)
    pooled_g = rng.standard_normal((len(g), *outputs, g.shape[-1])).astype(dtype)
    return x, weight, bias, g.shape, pooled_g, geometry, windows


def equal(arguments, activation, label):
    *rest, windows = arguments
    found, wanted = fused(fast, *rest, activation, windows), separate(*rest, activation, windows)
    names = ("activated", "y", "input gradient", "weight gradient", "bias gradient")
    for name, a, b in zip(names, found, wanted, strict=True):
        assert a.tobytes() == b.tobytes(), (label, name, windows, np.abs(a - b).max())
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_the_bits_of_the_separate_kernels(number, dtype):
    case = list(CASES.values())[number]
    arguments = pooled(case, dtype, POOLS[number % len(POOLS)])
    activation = ACTIVATIONS[number % len(ACTIVATIONS)]
    for level in isa.available_isas():
        isa.set_isa(level)
        threads.set_num_threads(1)
        first = equal(arguments, activation, level)
        for count in (2, 3, 8):
            threads.set_num_threads(count)
            *rest, windows = arguments
            for a, b in zip(fused(fast, *rest, activation, windows), first, strict=True):
                assert a.tobytes() == b.tobytes(), (level, "threads changed the bits")


@given(case=cases(), windows=st.tuples(*[st.integers(1, 4)] * 3),
       activation=st.sampled_from(ACTIVATIONS), dtype=st.sampled_from([np.float32, np.float64]))
def test_any_geometry(case, windows, activation, dtype):
    arguments = pooled(case, dtype, windows)
    found = equal(arguments, activation, "fast")
    *rest, windows = arguments
    for text in (reference, loops):
        for a, b in zip(fused(text, *rest, activation, windows), found, strict=True):
            # sums of up to 1,000 terms of size about 1, in two orders
            np.testing.assert_allclose(a, b, rtol=0, atol=4e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("text", [reference, loops, fast])
def test_special_values(text):
    """A NaN wins its window, the first of equal entries otherwise; a place beyond takes no g."""
    x = np.float32([np.nan, 1, 2, 2, -1, -3, 7]).reshape(1, 1, 1, 7, 1)
    weight = np.ones((1, 1, 1, 1, 1), np.float32)
    y, index = np.empty((1, 1, 1, 3, 1), np.float32), np.empty((1, 1, 1, 3, 1), np.uint8)
    geometry = (1, 1, 1), (0, 0, 0), (1, 1, 1), 1
    text.conv_pool(x, weight, None, y, index, *geometry, "relu", (), (1, 1, 2), (1, 1, 7))
    np.testing.assert_array_equal(y.ravel(), [np.nan, 2, 0])
    assert index.ravel().tolist() == [0, 0, 0]
    g, index = np.float32([1, 2, 4]).reshape(y.shape), np.uint8([1, 200, 0]).reshape(y.shape)
    of_x, of_bias = np.empty_like(x), np.empty(1, np.float32)
    text.conv_pool_grad_input(g, index, weight, of_x, *geometry, (1, 1, 2), (1, 1, 7))
    text.conv_pool_grad_bias(g, index, of_bias, (1, 1, 2), (1, 1, 7))
    assert of_x.ravel().tolist() == [0, 1, 0, 0, 4, 0, 0]
    assert of_bias.tolist() == [5]


def test_writes_nothing_beyond_out():
    for number, (name, case) in enumerate(CASES.items()):
        x, weight, bias, shape, g, geometry, windows = pooled(case, np.float32,
                                                              POOLS[number % len(POOLS)])
        memory = np.full(g.size + 128, 7, np.float32)
        bytes_ = np.full(g.size + 128, 7, np.uint8)
        y, index = (a[64:-64].reshape(g.shape) for a in (memory, bytes_))
        fast.conv_pool(x, weight, bias, y, index, *geometry, "relu", (), windows, shape[1:4])
        for a in (memory, bytes_):
            assert (a[:64] == 7).all(), name
            assert (a[-64:] == 7).all(), name
        assert math.prod(windows) > index.max()
