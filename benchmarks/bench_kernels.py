"""Kernels, text by text: ``pytest benchmarks -k kernels --benchmark-group-by=func``."""

import numpy as np
import pytest

import medai_engine as me

TEXTS = ("reference", "fast")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("shape", [(64, 64, 64), (32, 784, 1024), (512, 512, 512)])
def test_matmul(benchmark, text, shape):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(1, m, k)).astype("f4"), rng.normal(size=(1, k, n)).astype("f4")
    benchmark.extra_info["flops"] = 2 * m * k * n
    benchmark(me.kernels.lookup("matmul", text), a, b, np.empty((1, m, n), "f4"), False, False)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "gelu"])
def test_unary(benchmark, text, name):
    x = np.random.default_rng(0).normal(size=1 << 20).astype("f4")
    benchmark.extra_info["bytes"] = 2 * x.nbytes
    benchmark(me.kernels.lookup(name, text), x, np.empty_like(x))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("shape", [(1, 1 << 20, 1), (1024, 1024, 1), (1, 1024, 1024)])
def test_sum(benchmark, text, shape):
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    benchmark.extra_info["bytes"] = x.nbytes
    benchmark(me.kernels.lookup("sum", text), x, np.empty(shape[::2], "f4"), 1.0)


@pytest.mark.parametrize("text", TEXTS)
def test_softmax(benchmark, text):
    x = np.random.default_rng(0).normal(size=(1024, 1000, 1)).astype("f4")
    benchmark(me.kernels.lookup("softmax", text), x, np.empty_like(x))


@pytest.mark.parametrize("text", TEXTS)
def test_normal(benchmark, text):
    out = np.empty(1 << 20, "f4")
    benchmark(me.kernels.lookup("random_normal", text), out, 1, 0, 0.0, 1.0)
