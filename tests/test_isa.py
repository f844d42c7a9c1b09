"""The choice of instruction set, and the measured ceilings."""

import os
import subprocess
import sys

import numpy as np
import pytest

isa = pytest.importorskip("medai_engine.kernels.simd.isa", reason="kernels not compiled")
from medai_engine.kernels.gemm import fast  # noqa: E402
from medai_engine.kernels.simd import ceilings  # noqa: E402
from medai_engine.kernels.threads import pool  # noqa: E402


@pytest.fixture(autouse=True)
def _restore():
    level, threads = isa.get_isa(), pool.get_num_threads()
    yield
    isa.set_isa(level)
    pool.set_num_threads(threads)


def chosen(setting):
    environment = {k: v for k, v in os.environ.items() if k != "MEDAI_ISA"}
    if setting is not None:
        environment["MEDAI_ISA"] = setting
    return subprocess.run(
        [sys.executable, "-c", "from medai_engine.kernels.simd import isa; print(isa.get_isa())"],
        env=environment, text=True, capture_output=True)


def test_the_best_one_is_the_default():
    assert chosen(None).stdout.strip() == isa.available_isas()[-1]
    assert isa.available_isas()[0] == "baseline"


def test_the_environment_forces_a_lower_one():
    for name in isa.available_isas():
        assert chosen(name).stdout.strip() == name


def test_an_unknown_one_is_an_error():
    result = chosen("avx1024")
    assert result.returncode != 0
    assert "expected one of baseline" in result.stderr
    before = isa.get_isa()
    with pytest.raises(ValueError, match="expected one of baseline"):
        isa.set_isa("sse9")
    assert isa.get_isa() == before


def test_the_switch_reaches_other_modules():
    """The fused multiply-add of AVX2 rounds once, the baseline twice: the bits tell them apart."""
    if "avx2" not in isa.available_isas():
        pytest.skip("one instruction set only")
    x = 1 + 2.0**-12
    a = np.zeros((1, 16, 64), np.float32)
    b = np.zeros((1, 64, 64), np.float32)
    a[0, 0, :2], b[0, :2, 0] = (-1, x), (1 + 2.0**-11, x)  # x^2 - (1 + 2^-11) = 2^-24
    results = {}
    for name in isa.available_isas():
        isa.set_isa(name)
        out = np.empty((1, 16, 64), np.float32)
        fast.matmul(a, b, out, False, False)
        results[name] = out[0, 0, 0]
    assert results["baseline"] == 0.0
    assert results["avx2"] == 2.0**-24


def test_ceilings_are_plausible():
    wide = ceilings.peak_flops("float32", 1, repeats=3)
    assert 1e9 < wide < 1e12
    assert ceilings.peak_flops("float64", 1, repeats=3) < wide
    assert 1e8 < ceilings.copy_bandwidth(1, 16 << 20, repeats=2) < 1e12
    threads = pool.get_num_threads()
    ceilings.peak_flops("float32", 2, repeats=1)
    assert pool.get_num_threads() == threads
