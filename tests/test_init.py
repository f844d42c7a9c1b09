"""Initialisers: bounds and moments of their formulas, PyTorch's constants, the same bits always."""

from __future__ import annotations

import hashlib
import importlib.util
import math

import numpy as np
import pytest

import medai_engine as me
from medai_engine import nn
from medai_engine.errors import ParameterError, ShapeError
from medai_engine.nn import init

SHAPE = (200, 300)  # out, in


def filled(name: str, *arguments: float, shape: tuple[int, ...] = SHAPE, dtype: type = np.float64,
           **options: object) -> np.ndarray:
    t = nn.Parameter(np.full(shape, np.nan, dtype))
    assert getattr(init, name)(t, *arguments, **options) is t
    return t.data


# name, options, deviation, bound (60,000 draws: a deviation is within 1 %)
LAWS = [
    ("uniform_", {"a": -2.0, "b": 4.0}, 6 / math.sqrt(12), 4.0),
    ("normal_", {"mean": 0.0, "std": 3.0}, 3.0, None),
    ("xavier_uniform_", {"gain": 2.0}, 2 * math.sqrt(2 / 500), 2 * math.sqrt(6 / 500)),
    ("xavier_normal_", {}, math.sqrt(2 / 500), None),
    ("kaiming_uniform_", {"a": math.sqrt(5)}, 1 / math.sqrt(900), 1 / math.sqrt(300)),
    ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2 / 200),
     math.sqrt(6 / 200)),
    ("kaiming_normal_", {"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(300), None),
    # the variance of a normal between -1 and 1 deviations: 1 - 2 phi(1) / (Phi(1) - Phi(-1))
    ("trunc_normal_", {"std": 2.0, "a": -2.0, "b": 2.0}, 2 * math.sqrt(0.29112509), 2.0),
]


@pytest.mark.parametrize("name, options, deviation, bound", LAWS)
def test_law(name, options, deviation, bound):
    me.manual_seed(0)
    x = filled(name, **options)
    assert abs(x.std() / deviation - 1) < 0.01
    assert abs(x.mean() - (options.get("a", 0) + options.get("b", 0)) / 2
               * (name == "uniform_")) < 0.02 * deviation
    if bound is not None:
        assert 0.999 * bound < np.abs(x).max() <= bound
    assert abs(np.corrcoef(x[:-1].ravel(), x[1:].ravel())[0, 1]) < 0.02


def test_fans_of_channels_last_kernels():
    assert init.fans(nn.Parameter(np.zeros((8, 3, 5, 4)))) == (3 * 5 * 4, 8 * 3 * 5)
    with pytest.raises(ShapeError, match="two or more axes"):
        init.kaiming_normal_(nn.Parameter(np.zeros(3)))


def test_constants():
    assert np.array_equal(filled("zeros_"), np.zeros(SHAPE))
    assert np.array_equal(filled("ones_"), np.ones(SHAPE))
    assert np.array_equal(filled("constant_", 2.5), np.full(SHAPE, 2.5))
    assert np.array_equal(filled("eye_", shape=(2, 3)), np.eye(2, 3))
    with pytest.raises(ShapeError, match="a matrix"):
        filled("eye_", shape=(2, 3, 4))


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (4, 4), (3, 2, 5)])
def test_orthogonal(shape):
    q = filled("orthogonal_", gain=2.0, shape=shape).reshape(shape[0], -1)
    small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_is_uniformly_distributed():
    """Without the correction of signs, QR gives a diagonal of one sign."""
    me.manual_seed(0)
    first = [filled("orthogonal_", shape=(3, 3))[0, 0] for _ in range(200)]
    assert 0.35 < np.mean(np.array(first) > 0) < 0.65


def test_gains():
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        if importlib.util.find_spec("torch"):
            import torch

            assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 1.0) == 1.0
    with pytest.raises(ParameterError, match="one of linear"):
        init.calculate_gain("gelu")
    with pytest.raises(ParameterError, match="fan_in, fan_out"):
        init.kaiming_normal_(nn.Parameter(np.zeros((2, 3))), mode="fan_avg")


def test_a_seed_gives_the_same_weights_everywhere():
    """The bits come from Philox and exact arithmetic: a change of them breaks saved seeds."""
    me.manual_seed(42)
    weights = nn.Linear(5, 3)
    again = nn.Linear(5, 3, rng=me.random.Generator(42))
    assert np.array_equal(weights.weight.data, again.weight.data)
    assert np.array_equal(weights.bias.data, again.bias.data)
    assert not np.array_equal(weights.weight.data, nn.Linear(5, 3).weight.data)
    bits = weights.weight.data.tobytes() + weights.bias.data.tobytes()
    assert hashlib.sha256(bits).hexdigest()[:16] == "0cb2e25115944edf"
    with me.backend("reference"):
        me.manual_seed(42)
        plain = nn.Linear(5, 3)
    assert np.array_equal(plain.weight.data, weights.weight.data)


def test_initialising_invalidates_what_was_computed_before():
    w = nn.Parameter(np.ones(3))
    y = (w * w).sum()
    init.normal_(w)
    with pytest.raises(me.GraphError, match="written since"):
        y.backward()


def test_layers_start_as_pytorch():
    me.manual_seed(0)
    layer = nn.Linear(400, 300)
    for p in (layer.weight, layer.bias):
        assert 0.98 / 20 < np.abs(p.data).max() <= 1 / 20
    table = nn.Embedding(300, 40, padding_idx=2).weight.data
    assert not table[2].any() and abs(table.std() - 1) < 0.02
