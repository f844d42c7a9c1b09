"""Clipping and averages: definitions, PyTorch, threads, states, errors."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from optim_cases import give, parameters, same, values
from oracle import EXECUTED, enough

import medai_engine as me
from medai_engine import optim
from medai_engine.errors import DTypeError, GraphError, ParameterError, ShapeError
from medai_engine.tensor import Parameter, Tensor


def grads(params):
    return [p.grad.data.copy() for p in params]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("max_norm", [0.5, 1e3, 0.0])
@pytest.mark.parametrize("order", [2.0, 1.0, 3.5, math.inf])
def test_norm_against_torch(order, max_norm, dtype):
    torch = pytest.importorskip("torch")
    params = parameters(dtype)
    give(params, 0)
    params[1].grad = None
    theirs = [torch.tensor(p.data, requires_grad=True) for p in params]
    for p, t in zip(params, theirs, strict=True):
        t.grad = None if p.grad is None else torch.tensor(p.grad.data)
    norm = optim.clip_grad_norm_(iter(params), max_norm, order)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, order)
    rtol = 1e-13 if dtype == np.float64 else 1e-6
    assert isinstance(norm, Tensor) and norm.dtype == dtype and norm.shape == ()
    np.testing.assert_allclose(norm.item(), expected.item(), rtol=rtol)
    for p, t in zip(params, theirs, strict=True):
        assert (p.grad is None) == (t.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(p.grad.data, t.grad.numpy(), rtol=rtol)
    EXECUTED["clip"] += 1


@pytest.mark.parametrize("limit", [0.3, 0.0, 100.0])
def test_value_against_torch(limit):
    torch = pytest.importorskip("torch")
    params = parameters()
    give(params, 0)
    params[0].grad.data[0, 0] = np.nan
    theirs = [torch.tensor(p.data, requires_grad=True) for p in params]
    for p, t in zip(params, theirs, strict=True):
        t.grad = torch.tensor(p.grad.data)
    optim.clip_grad_value_(params, limit)
    torch.nn.utils.clip_grad_value_(theirs, limit)
    for p, t in zip(params, theirs, strict=True):
        assert np.array_equal(p.grad.data, t.grad.numpy(), equal_nan=True)
    EXECUTED["clip"] += 1


def test_norm_by_hand():
    a, b = Parameter(np.zeros(2)), Parameter(np.zeros((1, 2), np.float32))
    a.grad, b.grad = Tensor(np.array([3.0, 4.0])), Tensor(np.array([[12.0, 84.0]], np.float32))
    norm = optim.clip_grad_norm_([("a", a), ("b", b)], 17.0)  # 5, 12, 84 -> 13, 84 -> 85
    assert norm.item() == 85 and norm.dtype == np.float64
    np.testing.assert_allclose(a.grad.data, [0.6, 0.8], rtol=1e-7)
    np.testing.assert_allclose(b.grad.data, [[2.4, 16.8]], rtol=1e-6)
    assert b.grad.dtype == np.float32
    assert optim.clip_grad_norm_(a, 50.0).item() == pytest.approx(1.0, rel=1e-7)
    np.testing.assert_allclose(a.grad.data, [0.6, 0.8], rtol=1e-7)  # below: unchanged
    assert optim.clip_grad_norm_([Parameter(np.ones(2))], 1.0).item() == 0
    assert optim.clip_grad_norm_([], 1.0).item() == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("order", [2.0, math.inf, 3.0])
def test_not_finite(value, order):
    params = parameters()
    give(params, 0)
    params[2].grad.data[...] = value
    before = grads(params)
    with pytest.raises(GraphError, match="finite norm"):
        optim.clip_grad_norm_(params, 1.0, order, error_if_nonfinite=True)
    assert same(grads(params), before)
    norm = optim.clip_grad_norm_(params, 1.0, order).item()
    assert math.isnan(norm) if math.isnan(value) else norm == math.inf
    # as in PyTorch a NaN spreads; an infinite norm leaves zeros
    assert all((np.isnan(g) if math.isnan(value) else g == 0).all()
               for i, g in enumerate(grads(params)) if i != 2)


def test_odd_layouts():
    x = np.random.default_rng(0).standard_normal((4, 6))
    clipped = []
    for g in (x.copy(), np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        p = Parameter(np.zeros((4, 6)))
        p.grad = Tensor(g)
        norm = optim.clip_grad_norm_(p, 0.5)
        assert math.isclose(norm.item(), math.sqrt((x**2).sum()), rel_tol=1e-14)
        optim.clip_grad_value_(p, 0.1)
        clipped.append(p.grad.data)
        assert p.grad.data is g  # in its place
    assert np.array_equal(clipped[0], clipped[1]) and np.array_equal(clipped[0], clipped[2])
    assert abs(clipped[0]).max() == 0.1


def test_threads():
    norms = set()
    before = me.get_num_threads()
    try:
        for threads in (1, 2, 3, 8):
            me.set_num_threads(threads)
            params = parameters(np.float32, [(301, 257), (7,), (40_000,)])
            give(params, 0)
            ema = optim.EMA(params, 0.9)
            norm = optim.clip_grad_norm_(params, 1.0)
            with me.no_grad():
                for p in params:
                    p += p.grad
            ema.update()
            norms.add((norm.item(), b"".join(x.data.tobytes() for x in ema.averages)))
    finally:
        me.set_num_threads(before)
    assert len(norms) == 1


@pytest.mark.parametrize(("match", "call"), [
    ("max_norm >= 0", lambda: optim.clip_grad_norm_([], -1.0)),
    ("max_norm >= 0", lambda: optim.clip_grad_norm_([], math.nan)),
    ("norm_type > 0", lambda: optim.clip_grad_norm_([], 1.0, 0)),
    ("clip_value >= 0", lambda: optim.clip_grad_value_([], -0.1)),
    ("tensors", lambda: optim.clip_grad_norm_([np.ones(3)], 1.0))])
def test_clip_faults(match, call):
    with pytest.raises(ParameterError, match=match):
        call()


# ---- averages ---------------------------------------------------------------------------------


def test_ema_formula():
    params = [*parameters(np.float32), *parameters(np.float64)]
    ema = optim.EMA(params, decay=0.8)
    expected = [p.data.astype(np.float64) for p in params]
    rng = np.random.default_rng(1)
    for _ in range(20):
        with me.no_grad():
            for i, p in enumerate(params):
                p.copy_(rng.standard_normal(p.shape).astype(p.dtype))
                expected[i] = 0.8 * expected[i] + 0.2 * p.data
        ema.update()
    assert ema.updates == 20
    for average, x, p in zip(ema.averages, expected, params, strict=True):
        assert average.dtype == p.dtype
        np.testing.assert_allclose(average.data, x, rtol=1e-13 if p.dtype == np.float64 else 1e-5,
                                   atol=1e-14 if p.dtype == np.float64 else 1e-6)


def test_swap():
    params = parameters()
    ema = optim.EMA(iter(enumerate(params)), decay=0.5)
    with me.no_grad():
        for p in params:
            p += 1.0
    ema.update()
    weights, averages = values(params), [a.data.copy() for a in ema.averages]
    assert not any(np.array_equal(x, y) for x, y in zip(weights, averages, strict=True))
    memory = [p.data for p in params]
    y = (params[0] * params[0]).sum()
    with ema.swap():
        assert same(values(params), averages)
    assert same(values(params), weights) and same([a.data for a in ema.averages], averages)
    assert all(p.data is x for p, x in zip(params, memory, strict=True))
    with pytest.raises(GraphError, match="written since"):
        y.backward()
    with pytest.raises(KeyError), ema.swap():
        raise KeyError
    assert same(values(params), weights)
    ema.copy_to()
    assert same(values(params), averages)


def test_ema_of_a_module():
    class Module:
        def __init__(self):
            self.weight = Parameter(np.array([1.0]))

        def parameters(self):
            yield self.weight

    module = Module()
    ema = optim.EMA(module, 0.0)
    with me.no_grad():
        module.weight += 1.0
    ema.update()
    assert ema.averages[0].item() == 2.0


def test_ema_follows_its_parameters():
    """A layer infers its size after the EMA was made; the module's dtype changes."""
    p = Parameter(np.zeros((2, 0), np.float32))
    ema = optim.EMA([p], 0.5)
    p.data = np.array([[1.0], [2.0]], np.float32)
    ema.update()
    assert ema.averages[0].tolist() == [[1.0], [2.0]]
    p.data = np.array([[3.0], [4.0]])
    ema.update()
    assert ema.averages[0].dtype == np.float64 and ema.averages[0].tolist() == [[2.0], [3.0]]
    p.data = np.ones((3, 1))
    with pytest.raises(ShapeError, match="parameter 0 of shape"):
        ema.update()


def test_ema_state():
    params = parameters()
    ema = optim.EMA(params, 0.7)
    with me.no_grad():
        for p in params:
            p += 1.0
    ema.update()
    state = json.loads(json.dumps(ema.state_dict(), default=lambda a: a.tolist()))
    other = optim.EMA(params, 0.1)
    other.load_state_dict(state)
    assert (other.decay, other.updates) == (0.7, 1)
    for e in (ema, other):
        e.update()
    assert same([a.data for a in ema.averages], [a.data for a in other.averages])
    held = ema.state_dict()
    ema.update()
    assert held["updates"] == 2 and not np.array_equal(held["averages"]["0"], ema.averages[0].data)
    before = json.dumps(ema.state_dict(), default=lambda a: a.tolist())
    for error, match, wrong in (
            (ParameterError, "decay, updates", {}), (ParameterError, "decay, updates", None),
            (ParameterError, "4 averages", {**state, "averages": {"0": [1.0]}}),
            (ShapeError, "average 1", {**state, "averages": {**state["averages"], "1": [1.0]}})):
        with pytest.raises(error, match=match):
            ema.load_state_dict(wrong)
    assert json.dumps(ema.state_dict(), default=lambda a: a.tolist()) == before


@pytest.mark.parametrize(("error", "match", "call"), [
    (ParameterError, "at least one tensor", lambda: optim.EMA([])),
    (ParameterError, "at least one tensor", lambda: optim.EMA([np.ones(2)])),
    (ParameterError, "a second time", lambda: optim.EMA(2 * [Parameter(np.ones(2))])),
    (ParameterError, "decay from 0 to 1", lambda: optim.EMA([Parameter(np.ones(2))], 1.5)),
    (DTypeError, "int64", lambda: optim.EMA([Tensor(np.arange(3))]))])
def test_ema_faults(error, match, call):
    with pytest.raises(error, match=match):
        call()


def test_oracles_ran():
    """The comparisons above were not skipped without a word."""
    enough({"clip": 27})
