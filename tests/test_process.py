"""The process around the engine: what an import loads, forks, and neighbours with own runtimes."""

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import permutations

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim

HEAVY = ("sklearn", "matplotlib", "numba", "tqdm", "safetensors", "torch", "scipy", "pydicom")


def python(code, **environment):
    """Run code in a fresh interpreter; return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, **environment}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_nothing_heavy():
    found = python(f"import sys, medai_engine\nprint([m for m in {HEAVY} if m in sys.modules])")
    assert found.strip() == "[]"


def train(steps=5):
    me.manual_seed(3)
    rng = np.random.default_rng(0)
    x = me.asarray(rng.normal(size=(256, 64)).astype("f4"))
    labels = rng.integers(0, 3, 256)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 3))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
    digest = hashlib.sha256()
    for p in model.parameters():
        digest.update(p.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_child_of_a_fork_trains_on():
    before = me.get_num_threads()
    me.set_num_threads(3)
    try:
        here = train()  # the pool's threads run, and do not exist in the child
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.write(write, train().encode())
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        _, status = os.waitpid(child, 0)
        with os.fdopen(read) as pipe:
            there = pipe.read()
        assert status == 0
        assert there == here
        assert train() == here
    finally:
        me.set_num_threads(before)


NEIGHBOURS = [name for name in ("torch", "numba") if find_spec(name)]


@pytest.mark.parametrize("order", list(permutations(["medai_engine", *NEIGHBOURS])))
def test_neighbours_in_any_order(order):
    code = "\n".join(f"import {name}" for name in order) + """
import numpy as np
import medai_engine as me
a = np.random.default_rng(0).normal(size=(300, 300)).astype("f4")
ours = (me.asarray(a) @ me.asarray(a)).numpy()
assert np.allclose(ours, a @ a, atol=1e-3)
import sys
if "torch" in sys.modules:
    import torch
    assert np.allclose((torch.from_numpy(a) @ torch.from_numpy(a)).numpy(), ours, atol=1e-3)
if "numba" in sys.modules:
    with me.backend("loops"):
        assert np.allclose((me.asarray(a) @ me.asarray(a)).numpy(), ours, atol=1e-3)
print("well")
"""
    assert python(code).strip() == "well"


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs /proc")
def test_no_openmp_runtime_is_loaded():
    maps = python("""
import numpy as np, medai_engine as me
a = me.ones((600, 600))
(a @ a).exp().sum().item()
print(open("/proc/self/maps").read())
""")
    assert "medai_engine" in maps or "kernels" in maps
    for runtime in ("libgomp", "libiomp", "libomp"):
        assert runtime not in maps


def test_threads_and_instruction_set_from_the_environment():
    code = "import medai_engine as me; print(me.get_num_threads(), me.kernels.get_isa())"
    threads, isa = python(code, MEDAI_NUM_THREADS="3", MEDAI_ISA="baseline").split()
    assert threads == "3"
    assert isa == "baseline"


@pytest.mark.parametrize("bad", [0, -1, 1000, 2.5, "2", True, None])
def test_wrong_numbers_of_threads(bad):
    before = me.get_num_threads()
    with pytest.raises(me.ParameterError, match="set_num_threads: expected 1 to 256 threads"):
        me.set_num_threads(bad)
    assert me.get_num_threads() == before


@pytest.mark.parametrize("bad", ["0", "abc", "-2"])
def test_wrong_numbers_of_threads_from_the_environment(bad):
    done = subprocess.run([sys.executable, "-c", "import medai_engine"], capture_output=True,
                          text=True, env={**os.environ, "MEDAI_NUM_THREADS": bad})
    assert done.returncode
    assert "MEDAI_NUM_THREADS: expected 1 to 256 threads" in done.stderr
