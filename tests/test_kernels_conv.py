"""Convolution kernels: three texts, every instruction set, every number of threads."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medai_engine.kernels.conv import loops, reference

fast = pytest.importorskip("medai_engine.kernels.conv.fast", reason="kernels not compiled")
from medai_engine.kernels.simd import isa  # noqa: E402
from medai_engine.kernels.threads import pool  # noqa: E402

# N, x sizes, C, F, kernel, stride, low and high padding, dilation, groups
CASES = {
    "3x3 same": (2, (1, 13, 27), 33, 40, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, 1),
    "large enough for threads": (3, (1, 30, 31), 32, 48, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, 1),
    "many channels": (1, (1, 4, 5), 300, 70, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, 1),
    "first layer": (2, (1, 20, 23), 3, 17, (1, 7, 7), 2, (0, 3, 3), (0, 3, 3), 1, 1),
    "first layer, whole vectors": (2, (1, 20, 23), 3, 32, (1, 3, 3), 1, (0, 1, 1), (0, 0, 1), 1, 1),
    "first signal": (1, (1, 1, 900), 1, 64, (1, 1, 9), 2, (0, 0, 4), (0, 0, 4), 1, 1),
    "1x1": (2, (1, 17, 19), 70, 35, (1, 1, 1), 1, 0, 0, 1, 1),
    "1x1 stride 2": (2, (1, 9, 8), 20, 35, (1, 1, 1), 2, 0, 0, 1, 1),
    "groups": (2, (1, 8, 9), 12, 18, (1, 3, 2), 1, (0, 1, 0), (0, 1, 1), 1, 3),
    "depthwise": (2, (1, 14, 15), 75, 75, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, 75),
    "depthwise stride 2": (1, (1, 14, 15), 32, 32, (1, 5, 3), 2, (0, 2, 1), (0, 1, 1), 1, 32),
    "depthwise, two outputs each": (2, (1, 7, 6), 5, 10, (1, 3, 3), 1, 0, 0, 1, 5),
    "depthwise, few channels": (2, (1, 9, 11), 3, 3, (1, 3, 3), 2, (0, 1, 1), (0, 1, 0), 1, 3),
    "depthwise, wide kernel": (2, (1, 12, 29), 37, 37, (1, 4, 7), (1, 2, 1), (0, 2, 3),
                               (0, 1, 3), 1, 37),
    "depthwise, dilated": (2, (1, 13, 17), 20, 20, (1, 3, 3), (1, 1, 2), (0, 2, 3), (0, 2, 2),
                           (1, 2, 3), 20),
    "depthwise volume": (2, (5, 6, 9), 33, 33, (3, 3, 5), (2, 1, 2), 1, (1, 1, 2), 1, 33),
    "depthwise signal": (1, (1, 1, 3000), 48, 48, (1, 1, 8), (1, 1, 3), (0, 0, 5), (0, 0, 4), 1,
                         48),
    "to one channel": (2, (1, 11, 40), 37, 1, (1, 5, 5), 1, (0, 2, 2), (0, 2, 2), 1, 1),
    "to two channels": (1, (1, 9, 23), 64, 2, (1, 3, 4), (1, 1, 2), (0, 1, 3), (0, 0, 1), 1, 1),
    "to three channels, dilated": (2, (1, 9, 21), 16, 3, (1, 3, 3), 1, (0, 2, 2), (0, 2, 2),
                                   (1, 2, 2), 1),
    "volume to four channels": (1, (4, 5, 11), 33, 4, (3, 1, 2), (1, 2, 1), (1, 0, 0), (1, 0, 1), 1,
                                1),
    "to seven channels": (2, (1, 6, 13), 48, 7, (1, 1, 1), 1, 0, 0, 1, 1),
    "from three channels, stride 2": (2, (1, 15, 34), 3, 32, (1, 5, 5), 2, (0, 2, 2), (0, 1, 2), 1,
                                      1),
    "from one channel, stride 3": (1, (1, 1, 700), 1, 32, (1, 1, 16), (1, 1, 3), (0, 0, 7),
                                   (0, 0, 8), 1, 1),
    "groups of 2": (1, (3, 8, 10), 34, 34, (2, 3, 5), (1, 2, 2), (1, 1, 2), (0, 1, 2), 1, 17),
    "groups of 4": (2, (1, 9, 21), 52, 52, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, 13),
    "groups of 4, dilated": (1, (1, 11, 12), 32, 32, (1, 3, 3), 1, (0, 2, 2), (0, 2, 2), (1, 2, 2),
                             8),
    "groups of 8, stride 2": (2, (1, 10, 13), 40, 40, (1, 3, 3), (1, 1, 2), (0, 1, 1), (0, 1, 1), 1,
                              5),
    "groups of 16": (1, (1, 1, 70), 32, 32, (1, 1, 4), (1, 1, 3), 0, 0, 1, 2),
    "dilated": (1, (1, 15, 16), 9, 8, (1, 3, 3), 2, (0, 2, 3), (0, 3, 2), (1, 2, 3), 1),
    "stride beyond the kernel": (1, (1, 11, 13), 4, 5, (1, 2, 2), 3, 0, 0, 1, 1),
    "signal": (2, (1, 1, 1000), 5, 20, (1, 1, 16), 3, (0, 0, 7), (0, 0, 8), 1, 1),
    "long signal": (1, (1, 1, 20000), 8, 20, (1, 1, 9), 1, (0, 0, 4), (0, 0, 4), 1, 1),
    "volume": (2, (6, 7, 8), 10, 12, (3, 3, 3), 1, 1, 1, 1, 1),
    "volume, stride 2": (1, (5, 6, 7), 3, 4, (2, 3, 2), 2, (0, 1, 1), (1, 1, 0), 1, 1),
    "weights of one filter": (3, (1, 20, 21), 32, 1, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, 1),
    "weights of few filters": (2, (3, 9, 40), 48, 13, (2, 3, 3), (1, 2, 3), (1, 2, 2), (0, 2, 1),
                               (1, 2, 1), 1),
    "weights of few filters, long": (1, (1, 1, 3000), 64, 5, (1, 1, 7), (1, 1, 2), (0, 0, 3),
                                     (0, 0, 3), 1, 1),
    "kernel wider than the image": (1, (1, 3, 2), 4, 3, (1, 5, 5), 1, (0, 2, 2), (0, 2, 2), 1, 1),
    "small images": (14, (1, 4, 4), 64, 40, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, 1),
    "small images, stride 2": (27, (1, 8, 8), 32, 33, (1, 4, 4), (1, 2, 2), (0, 1, 1), (0, 1, 1), 1,
                               1),
    "small volumes in groups": (13, (4, 4, 4), 32, 24, (3, 3, 2), (2, 1, 1), (1, 1, 0), 1, 1, 2),
    "all padding at the border": (1, (1, 2, 3), 2, 3, (1, 1, 2), 1, (0, 2, 3), (0, 1, 3), 1, 1),
}
BACKENDS = {"reference": reference, "loops": loops}


@pytest.fixture(autouse=True)
def _restore():
    level, threads = isa.get_isa(), pool.get_num_threads()
    yield
    isa.set_isa(level)
    pool.set_num_threads(threads)


def triple(value):
    return (value,) * 3 if isinstance(value, int) else tuple(value)


def problem(case, dtype, seed=0):
    """Return x, weight, bias, g and the geometry of a case."""
    N, sizes, C, F, kernel, stride, low, high, dilation, groups = case
    stride, low, high, dilation = map(triple, (stride, low, high, dilation))
    rng = np.random.default_rng(seed)
    outs = [(s + a + b - d * (k - 1) - 1) // t + 1
            for s, a, b, d, k, t in zip(sizes, low, high, dilation, kernel, stride, strict=True)]
    assert min(outs) > 0
    shapes = ((N, *sizes, C), (F, *kernel, C // groups), (F,), (N, *outs, F))
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    for a in arrays:
        a.flags.writeable = False
    return *arrays, (stride, low, dilation, groups)


def calls(text, x, weight, bias, g, geometry):
    """Return the results of the three kernels of a text, and the forward pass without bias."""
    out = [np.full(g.shape, np.nan, g.dtype), np.full(x.shape, np.nan, g.dtype),
           np.full(weight.shape, np.nan, g.dtype), np.full(g.shape, np.nan, g.dtype)]
    text.conv(x, weight, bias, out[0], *geometry)
    text.conv_grad_input(g, weight, out[1], *geometry)
    text.conv_grad_weight(x, g, out[2], *geometry)
    text.conv(x, weight, None, out[3], *geometry)
    return out


def expected(x, weight, bias, g, geometry):
    """Return the results in float64 or better, with bounds 2 sqrt(K) eps sum|a||b| + 4 eps|y|."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    y = calls(reference, *(a.astype(wide) for a in (x, weight, bias, g)), geometry)
    size = calls(reference, *(np.abs(a).astype(np.float64) for a in (x, weight, bias, g)), geometry)
    eps = np.finfo(x.dtype).eps
    lengths = [weight[0].size, weight[0].size // weight.shape[-1] * len(weight),
               g.size // g.shape[-1], weight[0].size]
    return y, [2 * math.sqrt(k + 1) * eps * s + 4 * eps * np.abs(v)
               for k, s, v in zip(lengths, size, y, strict=True)]


def check(results, y, bounds, label):
    for name, a, b, bound in zip(("conv", "conv_grad_input", "conv_grad_weight", "no bias"),
                                 results, y, bounds, strict=True):
        assert (np.abs(a - b) <= bound).all(), (label, name, np.abs(a - b).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_every_isa_and_thread_count(name, dtype):
    arguments = problem(CASES[name], dtype)
    y, bounds = expected(*arguments)
    for level in isa.available_isas():
        isa.set_isa(level)
        pool.set_num_threads(1)
        first = calls(fast, *arguments)
        check(first, y, bounds, level)
        for threads in (2, 3, 8):
            pool.set_num_threads(threads)
            for a, b in zip(calls(fast, *arguments), first, strict=True):
                assert a.tobytes() == b.tobytes(), (level, "threads changed the bits")


@st.composite
def cases(draw):
    axes = draw(st.integers(1, 3))
    ones = (1,) * (3 - axes)
    sizes, kernel, low, high, stride, dilation = [], [], [], [], [], []
    for _ in range(axes):
        k, d = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        sizes.append(draw(st.integers(1, 9)))
        low.append(draw(st.integers(0, 4)))
        high.append(draw(st.integers(0, 4)))
        assume(sizes[-1] + low[-1] + high[-1] > d * (k - 1))
        kernel.append(k)
        dilation.append(d)
        stride.append(draw(st.integers(1, 4)))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    C, F = draw(st.sampled_from([(1, 1), (1, 2), (3, 1), (2, 3), (17, 2), (2, 33)]))
    zeros = (0,) * len(ones)
    return (draw(st.integers(1, 2)), ones + tuple(sizes), C * groups, F * groups,
            ones + tuple(kernel), ones + tuple(stride), zeros + tuple(low), zeros + tuple(high),
            ones + tuple(dilation), groups)


@given(case=cases(), dtype=st.sampled_from([np.float32, np.float64]))
def test_any_geometry(case, dtype):
    arguments = problem(case, dtype)
    y, bounds = expected(*arguments)
    check(calls(fast, *arguments), y, bounds, "fast")
    check(calls(loops, *arguments), y, bounds, "loops")


@given(case=cases())
def test_the_gradients_are_adjoints(case):
    """<conv(x, w), g> = <x, conv_grad_input(g, w)> = <w, conv_grad_weight(x, g)>."""
    x, weight, _, g, geometry = problem(case, np.float64)
    for text in (reference, loops, fast):
        _, of_x, of_weight, y = calls(text, x, weight, np.zeros(len(weight)), g, geometry)
        pairing = np.vdot(y, g)
        bound = 1e-12 * np.vdot(np.abs(y), np.abs(g)) + 1e-10
        assert abs(np.vdot(x, of_x) - pairing) <= bound
        assert abs(np.vdot(weight, of_weight) - pairing) <= bound


def test_delta_returns_the_filter():
    """A single 1 in the middle gives the kernel, reversed: convolution as correlation."""
    weight = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 1, 3, 3, 1)
    x = np.zeros((1, 1, 5, 5, 1), np.float32)
    x[0, 0, 2, 2, 0] = 1
    for text in (reference, loops, fast):
        out = np.full((1, 1, 3, 3, 2), np.nan, np.float32)
        text.conv(x, weight, None, out, (1, 1, 1), (0, 0, 0), (1, 1, 1), 1)
        assert (out[0, 0] == weight[:, 0, ::-1, ::-1, 0].transpose(1, 2, 0)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", [
    (4, (1, 9, 21), 40, 70, (1, 3, 3), 2, (0, 1, 1), (0, 1, 1), 1, 1), CASES["small images"]])
def test_an_image_has_the_same_bits_in_every_batch(case, dtype):
    x, weight, bias, g, geometry = problem(case, dtype)
    whole = calls(fast, x, weight, bias, g, geometry)
    for i in range(len(x)):
        part = calls(fast, x[i:i + 1], weight, bias, g[i:i + 1], geometry)
        assert part[0].tobytes() == whole[0][i].tobytes()
        assert part[1].tobytes() == whole[1][i].tobytes()


def test_biased_sums_stay_accurate():
    """Equal terms round one way; pieces of the sum keep the error from growing with its length."""
    case = (1, (1, 5, 60), 1200, 3, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, 1)
    x, weight, bias, g, geometry = problem(case, np.float32)
    x, weight, g = (np.full(a.shape, v, np.float32) for a, v in ((x, 0.1), (weight, 0.3), (g, .7)))
    y, bounds = expected(x, weight, bias, g, geometry)
    check(calls(fast, x, weight, bias, g, geometry), y, bounds, "biased")


@pytest.mark.parametrize(("C", "F", "groups"), [(2, 3, 1), (40, 40, 40), (3, 3, 3), (32, 2, 1)])
def test_padding_is_not_multiplied(C, F, groups):
    """Infinite weights at kernel positions outside x, or of dx outside g, leave borders finite."""
    x = np.ones((1, 1, 1, 4, C), np.float32)
    weight = np.ones((F, 1, 1, 3, C // groups), np.float32)
    weight[:, :, :, 0] = np.inf
    geometry = (1, 1, 1), (0, 0, 1), (1, 1, 1), groups
    for text in (reference, loops, fast):
        out, of_x = np.full((1, 1, 1, 4, F), np.nan, np.float32), np.full_like(x, np.nan)
        text.conv(x, weight, None, out, *geometry)
        assert (out[0, 0, 0, 0] == 2 * C // groups).all()
        assert (out[0, 0, 0, 1:] == np.inf).all()
        text.conv_grad_input(np.ones_like(out), weight, of_x, *geometry)
        assert (of_x[0, 0, 0, :3] == np.inf).all()
        assert (of_x[0, 0, 0, 3] == 2 * F // groups).all()


@pytest.mark.parametrize(("C", "F", "groups"), [(3, 32, 1), (32, 32, 1), (24, 24, 24), (32, 2, 1),
                                               (20, 20, 5)])
def test_nan_and_infinity_stay_where_they_belong(C, F, groups):
    """An entry that is not finite reaches the outputs that read it, and no others."""
    for value in (np.nan, np.inf):
        x, weight, _, g, geometry = problem(
            (2, (1, 8, 30), C, F, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, groups), np.float32)
        x, g = x.copy(), g.copy()
        x[0, 0, 3, 12] = g[0, 0, 3, 12] = value
        for text in (reference, fast):
            y, of_x = np.empty_like(g), np.empty_like(x)
            text.conv(x, weight, None, y, *geometry)
            text.conv_grad_input(g, weight, of_x, *geometry)
            for a in (y, of_x):
                finite = np.isfinite(a)
                assert not finite[0, 0, 2:5, 11:14].any()
                finite[0, 0, 2:5, 11:14] = True
                assert finite.all()


def test_nan_stays_within_its_group():
    x, weight, _, g, geometry = problem(
        (1, (1, 5, 9), 24, 24, (1, 3, 3), 1, (0, 1, 1), (0, 1, 1), 1, 6), np.float32)
    x, g = x.copy(), g.copy()
    x[..., 5] = g[..., 5] = np.nan
    y, of_x, of_weight = np.empty_like(g), np.empty_like(x), np.empty_like(weight)
    fast.conv(x, weight, None, y, *geometry)
    fast.conv_grad_input(g, weight, of_x, *geometry)
    fast.conv_grad_weight(x, g, of_weight, *geometry)
    for a in (y, of_x, np.moveaxis(of_weight, 0, -1)):
        assert np.isnan(a[..., 5]).all()
        assert np.isfinite(np.delete(a, np.s_[4:8], axis=-1)).all()


def test_writes_nothing_beyond_out():
    for name, case in CASES.items():
        x, weight, bias, g, geometry = problem(case, np.float32)
        for kernel, inputs, shape in ((fast.conv, (x, weight, bias), g.shape),
                                      (fast.conv_grad_input, (g, weight), x.shape),
                                      (fast.conv_grad_weight, (x, g), weight.shape)):
            memory = np.full(math.prod(shape) + 128, 7, np.float32)
            kernel(*inputs, memory[64:-64].reshape(shape), *geometry)
            assert (memory[:64] == 7).all(), name
            assert (memory[-64:] == 7).all(), name
