"""Normalisation kernels: three texts against wider floats, every path, margins, threads."""

from __future__ import annotations

import numpy as np
import pytest

from medai_engine.kernels.norm import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

TEXTS = {"reference": reference, "loops": loops, "fast": fast}
EPS = 1e-3
# outer, n, C, groups: lines, short ones, several groups; one piece; several blocks; several pieces
SHAPES = [(3, 1, 1, 1), (5, 1, 7, 1), (9, 1, 130, 2), (700, 1, 33, 3), (1, 2, 3, 3), (2, 5, 64, 64),
          (3, 37, 19, 19), (40, 50, 12, 4), (1, 9000, 3, 3), (1, 2100, 65, 5), (2, 70, 3000, 3000),
          (2, 2100, 64, 1)]


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


def run(kernel, inputs, shapes, *options):
    """Return the outputs of a kernel; each stood between two margins that must stay as they are."""
    outs, memories = [], []
    for shape in shapes:
        memory = np.full(int(np.prod(shape)) + 80, np.nan, inputs[0].dtype)
        memory = memory[-(memory.ctypes.data // memory.itemsize) % 16:][:memory.size - 16]
        memory[:32] = memory[-32:] = 7
        memories.append(memory)
        outs.append(memory[32:-32].reshape(shape))  # from a cache line on, as the engine's are
    before = [a.copy() for a in inputs]
    kernel(*inputs, *outs, *options)
    for memory in memories:
        assert (memory[:32] == 7).all() and (memory[-32:] == 7).all()
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)
    return outs


def drawn(shape, dtype):
    """Return x with a spread and a mean of its own per channel, weight, bias and cotangents."""
    outer, n, C, groups = shape
    rng = np.random.default_rng(shape)
    x = rng.normal(size=(outer, n, C)) * 2 + 3 * rng.normal(size=C)
    arrays = x, rng.normal(size=C), rng.normal(size=C), rng.normal(size=x.shape)
    small = rng.normal(size=(2, outer, groups))
    return [a.astype(dtype) for a in (*arrays, *small)]


def all_of(text, shape, arrays):
    outer, _, C, groups = shape
    x, weight, bias, g, g_mean, g_var = arrays
    small = (outer, groups)
    y, mean, var = run(text.norm, [x, weight, bias], [x.shape, small, small], EPS)
    grads = run(text.norm_grad, [g, g_mean, g_var, x, mean, var, weight],
                [x.shape, (C,), (C,)], EPS)
    rows = x.reshape(-1, C)
    affine = run(text.channel_affine, [rows, g.reshape(-1, C)[0].copy(), weight, bias],
                 [rows.shape])
    affine += run(text.channel_affine_grad, [g.reshape(-1, C), rows, bias, weight],
                  [rows.shape, (C,), (C,)])
    return [y, mean, var, *grads, *affine]


def test_the_three_texts_have_the_same_names():
    assert reference.__all__ == loops.__all__ == fast.__all__


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_within_rounding(text, shape, dtype):
    """Errors of sums grow with the root of their length, and with 1 / std through the variance."""
    outer, n, C, groups = shape
    arrays = drawn(shape, dtype)
    exact = all_of(reference, shape, [a.astype(np.longdouble) for a in arrays])
    found = all_of(text, shape, arrays)
    m = n * C // groups
    steep = float(1 / np.sqrt(exact[2] + EPS).min()) * (1 + float(np.abs(arrays[0]).max()))
    names = ["y", "mean", "var", "dx", "dweight", "dbias", "affine", "g scale", "dscale", "dshift"]
    for name, got, want in zip(names, found, exact, strict=True):
        summed = name in ("dweight", "dbias", "dscale", "dshift")
        terms = outer * m if summed else m
        scale = np.abs(want).max() + float(summed) * np.sqrt(terms)
        bound = (8 + 2 * np.sqrt(terms)) * np.finfo(dtype).eps * scale * (
            steep if name in ("y", "dx", "dweight") else 1 + float(np.abs(arrays[0]).max()))
        worst = np.abs(got - want).max()
        assert worst <= bound, f"{name}: {worst:.3g} beyond {bound:.3g}"


def test_a_large_mean_costs_no_digits(text):
    """Statistics of 1e4 + noise: the mean to its last bits, the variance to the noise's."""
    for shape in ((1, 5000, 5, 5), (5, 1, 5000, 1), (2, 2500, 4, 1)):
        x = (np.random.default_rng(1).normal(size=shape[:3]) + 1e4).astype(np.float32)
        C, small = shape[2], (shape[0], shape[3])
        weight, bias = np.ones(C, np.float32), np.zeros(C, np.float32)
        _, mean, var = run(text.norm, [x, weight, bias], [x.shape, small, small], EPS)
        if text is reference:
            continue  # NumPy's own sum along the first axis loses digits
        blocks = x.astype(float).reshape(*x.shape[:2], shape[3], -1)
        np.testing.assert_allclose(mean, blocks.mean((1, 3)), rtol=3e-7)
        np.testing.assert_allclose(var, blocks.var((1, 3)), rtol=1e-5)


def test_constant_data_has_variance_0(text):
    for shape in ((1, 300, 5, 5), (7, 1, 33, 1), (2, 40, 6, 2)):
        x = np.full(shape[:3], 0.1, np.float64)
        C, small = shape[2], (shape[0], shape[3])
        y, mean, var = run(text.norm, [x, np.ones(C), np.full(C, 2.0)], [x.shape, small, small],
                           EPS)
        np.testing.assert_allclose(mean, 0.1, rtol=1e-14)
        assert (var < 1e-30).all()
        np.testing.assert_allclose(y, 2.0, rtol=1e-13)


def test_nan_stays_in_its_group(text):
    for shape in ((2, 9, 4, 4), (9, 1, 8, 2)):
        arrays = drawn(shape, np.float32)
        x, groups = arrays[0], shape[3]
        x[1, 0, 0] = np.nan
        small = (shape[0], groups)
        y, mean, var = run(text.norm, arrays[:3], [x.shape, small, small], EPS)
        hit = np.zeros((*x.shape[:2], groups, x.shape[2] // groups), bool)
        hit[1, :, 0] = True
        np.testing.assert_array_equal(np.isnan(y), hit.reshape(x.shape))
        assert np.isnan(mean).sum() == np.isnan(var).sum() == 1


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("n", [1, 4100])
def test_results_beyond_the_caches(n, isa):
    """What goes past them has the bits of samples that stay in them."""
    set_isa(isa)
    outer = 33 * (4100 // n)
    x, weight, bias, g, g_mean, g_var = drawn((outer, n, 64, 4), np.float32)
    whole = per_sample(x, weight, bias, g, g_mean, g_var)
    for i in range(0, outer, outer // 3):
        part = slice(i, i + outer // 3)
        for a, b in zip(whole, per_sample(x[part], weight, bias, g[part], g_mean[part],
                                          g_var[part]), strict=True):
            np.testing.assert_array_equal(a[part], b)


def per_sample(x, weight, bias, g, g_mean, g_var):
    """Return what has an entry for every sample."""
    flat = -1, x.shape[2]
    y, mean, var = run(fast.norm, [x, weight, bias], [x.shape, *[g_mean.shape] * 2], EPS)
    dx, *_ = run(fast.norm_grad, [g, g_mean, g_var, x, mean, var, weight],
                 [x.shape, weight.shape, bias.shape], EPS)
    (affine,) = run(fast.channel_affine, [x.reshape(flat), bias, weight, bias],
                    [x.reshape(flat).shape])
    scaled, *_ = run(fast.channel_affine_grad, [g.reshape(flat), x.reshape(flat), bias, weight],
                     [x.reshape(flat).shape, weight.shape, bias.shape])
    return y, mean, var, dx, affine.reshape(x.shape), scaled.reshape(x.shape)


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("shape", SHAPES[-6:], ids=str)
def test_bits_do_not_depend_on_threads(shape, isa):
    set_isa(isa)
    arrays = drawn(shape, np.float32)
    found = []
    for threads in (1, 2, 3, 8):
        set_num_threads(threads)
        found.append([a.tobytes() for a in all_of(fast, shape, arrays)])
    assert all(f == found[0] for f in found)
