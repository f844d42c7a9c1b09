"""Random draws: seeds, positions, distributions, parameters. The numbers: test_kernels_random."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import medai_engine as me
from medai_engine import kernels
from medai_engine.random import Generator
from medai_engine.testing import gradcheck

DRAWS = {
    "uniform": lambda rng: me.random.uniform((3, 5), rng=rng),
    "uniform float64": lambda rng: me.random.uniform((3, 5), -1, 2, dtype=me.float64, rng=rng),
    "normal": lambda rng: me.random.normal((3, 5), rng=rng),
    "normal float64": lambda rng: me.random.normal(7, 1, 2, dtype=me.float64, rng=rng),
    "integers": lambda rng: me.random.integers(-3, 9, (3, 5), rng=rng),
    "permutation": lambda rng: me.random.permutation(11, rng=rng),
    "bernoulli": lambda rng: me.random.bernoulli(0.3, (4, 9), rng=rng),
}


@pytest.mark.parametrize("name", DRAWS)
def test_seeds_decide(name):
    draw = DRAWS[name]
    first, again, other = draw(Generator(1)), draw(Generator(1)), draw(Generator(2))
    assert_array_equal(first.numpy(), again.numpy())
    assert (first.numpy() != other.numpy()).any()
    me.manual_seed(1)
    assert_array_equal(draw(None).numpy(), first.numpy())
    assert (draw(None).numpy() != first.numpy()).any()
    rng = Generator(1)
    draw(rng)
    state = rng.get_state()
    second = draw(rng)
    rng.set_state(state)
    assert_array_equal(draw(rng).numpy(), second.numpy())


@pytest.mark.parametrize(("n", "dtype"), [(n, d) for n in (1, 2, 3, 4, 5, 9)
                                          for d in (me.float32, me.float64)])
def test_draws_reserve_what_they_use(n, dtype):
    """The next draw starts behind the words of this one: two draws are never correlated."""
    words = np.empty(64, np.uint32)
    kernels.lookup("random_bits", "reference")(words, 5, 0)
    rng = Generator(5)
    me.random.uniform(n, dtype=dtype, rng=rng)
    used = -(-n * (1 if dtype is me.float32 else 2) // 4)
    assert rng.get_state()["offset"] == used
    following = me.random.uniform(4, rng=rng).numpy()
    assert_array_equal(following, (words[4 * used:][:4] >> 8).astype(np.float32) / 2**24)


def test_distributions():
    rng = Generator(3)
    n = 40_000
    u = me.random.uniform(n, -1, 3, rng=rng).numpy()
    z = me.random.normal(n, 2, 0.5, dtype=me.float64, rng=rng).numpy()
    k = me.random.integers(2, 7, n, rng=rng).numpy()
    b = me.random.bernoulli(0.25, n, rng=rng)
    assert u.min() >= -1 and u.max() < 3 and u.dtype == np.float32
    assert abs(u.mean() - 1) < 4 * (4 / math.sqrt(12 * n))
    assert abs(z.mean() - 2) < 4 * 0.5 / math.sqrt(n) and abs(z.std() - 0.5) < 0.01
    assert k.dtype == np.int64 and set(k) == {2, 3, 4, 5, 6}
    assert np.abs(np.bincount(k)[2:] / n - 0.2).max() < 0.01
    assert b.dtype == bool and abs(b.mean().item() - 0.25) < 0.01


def test_permutations():
    order = me.random.permutation(50, rng=Generator(0))
    assert sorted(order.tolist()) == list(range(50)) and order.tolist() != list(range(50))
    x = np.arange(20).reshape(10, 2)
    shuffled = me.random.permutation(x, rng=Generator(0))
    assert shuffled.tolist() == x[me.random.permutation(10, rng=Generator(0)).numpy()].tolist()
    assert me.random.permutation(0).shape == (0,)
    firsts = [me.random.permutation(3, rng=Generator(s))[0].item() for s in range(300)]
    assert min(np.bincount(firsts)) > 70


def test_arrays_as_parameters_have_gradients():
    loc, scale = np.array([1.0, -2.0, 0.5]), np.array([0.5, 1.0, 2.0])
    gradcheck(lambda m, s: me.random.normal((4, 3), m, s, dtype=me.float64, rng=Generator(1)),
              [loc, scale])
    gradcheck(lambda a, b: me.random.uniform((4, 3), a, b, dtype=me.float64, rng=Generator(1)),
              [loc, scale])
    p = me.random.bernoulli([0.0, 1.0], (50, 2))
    assert p.sum(axis=0).tolist() == [0, 50]


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: me.random.uniform(2, 1, 0), me.ParameterError, "low <= high"),
    (lambda: me.random.uniform(2, 0, math.inf), me.ParameterError, "finite"),
    (lambda: me.random.normal(2, 0, -1), me.ParameterError, "scale >= 0"),
    (lambda: me.random.normal(2, dtype=me.int64), me.DTypeError, "float32 or float64"),
    (lambda: me.random.normal((2, -1)), me.ParameterError, "sizes >= 0"),
    (lambda: me.random.normal((2.0,)), me.ParameterError, "integers"),
    (lambda: me.random.integers(3, 3), me.ParameterError, "low < high"),
    (lambda: me.random.integers(0.5, 3), me.ParameterError, "integers"),
    (lambda: me.random.uniform(2, rng=0), me.ParameterError, "Generator"),
    (lambda: me.random.permutation(2.5), me.ParameterError, "integers"),
])
def test_mistakes(call, error, match):
    with pytest.raises(error, match=match):
        call()
