"""What one op costs beyond its arithmetic, and the small training step."""

import os
import subprocess
import sys

import pytest

import medai_engine as me
from benchmarks.models import MODELS
from benchmarks.worker import medai


@pytest.mark.parametrize("module", ["numpy", "medai_engine"])
def test_import(benchmark, module):
    # with bytecode, as after an installation
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    benchmark(subprocess.run, [sys.executable, "-c", f"import {module}"], check=True,
              env=environment)


@pytest.mark.parametrize("grad", [False, True])
def test_multiply_one_element(benchmark, grad):
    a, b = me.tensor([2.0], requires_grad=grad), me.tensor([3.0])
    benchmark(lambda: a * b)


@pytest.mark.parametrize("call", ["x + 1.0", "x.reshape(-1)", "x.sum()", "x[1:]", "x @ x.T"])
def test_small_op(benchmark, call):
    code = compile(call, "call", "eval")
    names = {"x": me.ones((8, 8))}
    benchmark(eval, code, names)


def test_backward_of_a_chain(benchmark):
    w = me.tensor([1.5], requires_grad=True)

    def chain():
        y = w
        for _ in range(50):
            y = y * w
        y.backward()
        w.grad = None

    benchmark(chain)


@pytest.mark.parametrize("name", list(MODELS))
def test_training_step(benchmark, name):
    step = medai(MODELS[name], me.get_num_threads())
    benchmark.extra_info["flops"] = MODELS[name].flops
    benchmark(step)
