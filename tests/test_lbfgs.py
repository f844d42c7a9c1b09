"""L-BFGS: known minima, PyTorch's path, the Wolfe conditions, states, errors."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from oracle import EXECUTED, enough

import medai_engine as me
from medai_engine import optim
from medai_engine.errors import ParameterError, ShapeError
from medai_engine.optim.lbfgs import Point, interpolate, strong_wolfe
from medai_engine.tensor import Parameter, Tensor

TO_THE_END = {"tolerance_grad": 1e-10, "tolerance_change": 0.0}
START = np.linspace(-1.2, 1.3, 6)


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def closure(opt, loss):
    def evaluate():
        opt.zero_grad()
        y = loss()
        y.backward()
        return y
    return evaluate


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_quadratic(dtype):
    """The minimum of x A x / 2 - b x is A^-1 b; two parameters share the vector."""
    rng = np.random.default_rng(0)
    root = rng.standard_normal((8, 8))
    A, b = root @ root.T + np.eye(8), rng.standard_normal(8)
    p, q = (Parameter(np.zeros(s, dtype)) for s in ((2, 3), (2,)))
    opt = optim.LBFGS([p, q], line_search_fn="strong_wolfe", max_iter=60, **TO_THE_END)
    matrix, right = (me.asarray(x.astype(dtype)) for x in (A, b))

    def loss():
        x = me.concat([p.reshape(-1), q])
        return 0.5 * (x * (matrix @ x)).sum() - (right * x).sum()

    first = opt.step(closure(opt, loss))
    assert first.item() == 0
    x = np.concatenate([p.data.ravel(), q.data])
    # pairs with y s <= 1e-10 are left out of H, and float32 losses tell no finer than sqrt(eps)
    tolerance = 1e-7 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(x, np.linalg.solve(A, b), atol=tolerance)


def test_rosenbrock():
    x = Parameter(START.copy())
    opt = optim.LBFGS([x], line_search_fn="strong_wolfe", max_iter=100, **TO_THE_END)
    opt.step(closure(opt, lambda: rosenbrock(x)))
    np.testing.assert_allclose(x.data, np.ones(6), atol=1e-10)
    evaluations = opt.memory["evaluations"]
    opt.step(closure(opt, lambda: rosenbrock(x)))
    assert opt.memory["evaluations"] <= evaluations + 4  # it is at the minimum


@pytest.mark.parametrize("choice", [
    {"line_search_fn": "strong_wolfe"}, {"line_search_fn": "strong_wolfe", "history_size": 2},
    {"line_search_fn": "strong_wolfe", "max_iter": 3}, {"lr": 1e-3},
    {"lr": 2e-3, "max_iter": 5, "history_size": 3},
    {"line_search_fn": "strong_wolfe", "lr": 0.1, "max_eval": 7},
    {"line_search_fn": "strong_wolfe", "tolerance_change": 0.5},
    {"line_search_fn": "strong_wolfe", "tolerance_grad": 5.0}])
def test_torch(choice):
    """The same number of evaluations, and the same weights until rounding is amplified."""
    torch = pytest.importorskip("torch")
    mine = Parameter(START.copy())
    theirs = torch.tensor(START, requires_grad=True)
    a, b = optim.LBFGS([mine], **choice), torch.optim.LBFGS([theirs], **choice)
    for _ in range(3):
        x = a.step(closure(a, lambda: rosenbrock(mine)))
        y = b.step(closure(b, lambda: rosenbrock(theirs)))
        assert math.isclose(x.item(), y.item(), rel_tol=1e-8)
        np.testing.assert_allclose(mine.data, theirs.detach().numpy(), rtol=1e-8)
        state = b.state[theirs]
        assert (a.memory["iterations"], a.memory["evaluations"]) == (
            state["n_iter"], state["func_evals"])
    assert abs(mine.data - START).max() > 1e-3
    EXECUTED["lbfgs"] += 1


@pytest.mark.parametrize("t", [1e-4, 0.1, 1.0, 30.0])
@pytest.mark.parametrize(("f", "slope"), [
    (lambda t: (t - 2) ** 2, lambda t: 2 * (t - 2)),
    (lambda t: math.cos(t) - 0.1 * t, lambda t: -math.sin(t) - 0.1),
    (lambda t: t**4 - 3 * t**3 - t, lambda t: 4 * t**3 - 9 * t**2 - 1)])
def test_wolfe_conditions(f, slope, t):
    def at(t):
        return Point(t, f(t), slope(t), None)

    found = strong_wolfe(at, at(0.0), t, 1.0, 25, 1e-9)
    assert found.loss <= f(0) + 1e-4 * found.t * slope(0)
    assert abs(found.slope) <= 0.9 * abs(slope(0))


# in the last two the loss rises again between points that are all low enough
@pytest.mark.parametrize("seed", [*range(60), 823, 1604])
def test_line_search_against_torch(seed):
    """The same step after the same evaluations, on waves with many minima."""
    torch = pytest.importorskip("torch")
    from torch.optim.lbfgs import _strong_wolfe

    rng = np.random.default_rng(seed)
    size, speed, phase = rng.uniform(0, 1, 5), rng.uniform(0.2, 6, 5), rng.uniform(0, 6, 5)
    drift = rng.uniform(0.5, 3)
    asked = Counter()

    def wave(t):
        return float((size * np.cos(speed * t + phase)).sum() - drift * t + 0.02 * t**2)

    def slope(t):
        return float(-(size * speed * np.sin(speed * t + phase)).sum() - drift + 0.04 * t)

    def at(t):
        asked["mine"] += 1
        return Point(t, wave(t), slope(t), None)

    def evaluate(x, t, d):
        return wave(float(t)), torch.tensor([slope(float(t))], dtype=torch.float64)

    start, first = at(0.0), float(rng.choice([0.01, 0.3, 1.0, 8.0, 40.0]))
    if start.slope >= 0:
        start = start._replace(slope=-0.5)
    limit = int(rng.choice([2, 5, 25]))
    loss, _, t, evaluations = _strong_wolfe(
        evaluate, [], first, torch.ones(1, dtype=torch.float64), start.loss,
        torch.tensor([start.slope], dtype=torch.float64), torch.tensor(
            start.slope, dtype=torch.float64), max_ls=limit)
    found = strong_wolfe(at, start, first, 1.0, limit, 1e-9)
    assert math.isclose(found.t, float(t), rel_tol=1e-9, abs_tol=1e-12)
    assert math.isclose(found.loss, float(loss), rel_tol=1e-9)
    assert asked["mine"] == 1 + evaluations
    EXECUTED["lbfgs"] += 1


def test_line_search_meets_nan():
    """A loss that is not finite is too high: the search comes back from it."""
    def at(t):
        return Point(t, (t - 0.3) ** 2 if t < 1 else math.nan, 2 * (t - 0.3), None)

    found = strong_wolfe(at, at(0.0), 5.0, 1.0, 25, 1e-9)
    assert found.loss < 0.09


def test_interpolation_is_exact_for_cubics():
    def at(t):
        return Point(t, t**3 - 3 * t, 3 * t**2 - 3, None)

    assert math.isclose(interpolate(at(0.2), at(3.0)), 1.0, rel_tol=1e-12)
    assert math.isclose(interpolate(at(3.0), at(0.2)), 1.0, rel_tol=1e-12)
    assert interpolate(at(0.2), at(3.0), 1.5, 2.0) == 1.5
    flat = [Point(t, t, 1.0, None) for t in (0.0, 1.0)]  # no minimum: an end, or the middle
    assert 0 <= interpolate(*flat) <= 1


@pytest.mark.parametrize("through", [lambda s: s, lambda s: json.loads(json.dumps(
    s, default=lambda a: a.tolist(), allow_nan=False))], ids=["copy", "json"])
@pytest.mark.parametrize("choice", [{"line_search_fn": "strong_wolfe", "max_iter": 4},
                                    {"lr": 1e-3, "max_iter": 4, "history_size": 3}])
def test_resume(choice, through):
    x = Parameter(START.copy())
    opt = optim.LBFGS([x], **choice)
    fresh = through(opt.state_dict())
    for _ in range(3):
        opt.step(closure(opt, lambda: rosenbrock(x)))
    saved, weights = through(opt.state_dict()), x.data.copy()
    for _ in range(3):
        opt.step(closure(opt, lambda: rosenbrock(x)))
    y = Parameter(weights)
    other = optim.LBFGS([y])
    other.load_state_dict(fresh)
    other.load_state_dict(saved)
    for _ in range(3):
        other.step(closure(other, lambda: rosenbrock(y)))
    assert x.data.tobytes() == y.data.tobytes()
    assert str(opt.state_dict()) == str(other.state_dict())


def test_parameter_without_gradient():
    x, idle = Parameter(START.copy()), Parameter(np.ones(2))
    alone = Parameter(START.copy())
    a, b = optim.LBFGS([x, idle]), optim.LBFGS([alone])
    a.step(closure(a, lambda: rosenbrock(x) * 1e-3))
    b.step(closure(b, lambda: rosenbrock(alone) * 1e-3))
    np.testing.assert_allclose(x.data, alone.data, rtol=1e-12)
    assert idle.data.tolist() == [1, 1]


def test_faults():
    x = Parameter(START.copy())
    opt = optim.LBFGS([x])
    other = optim.LBFGS([Parameter(np.zeros(2))])
    other.step(closure(other, lambda: rosenbrock(other.param_groups[0]["params"][0])))
    held = str(opt.state_dict())
    for error, match, call in (
            (ParameterError, "closure", lambda: opt.step()),
            (ParameterError, "one group",
             lambda: opt.add_param_group({"params": [Parameter(np.ones(1))]})),
            (ParameterError, "one dtype",
             lambda: optim.LBFGS([x, Parameter(np.ones(2, np.float32))])),
            (ParameterError, "strong_wolfe", lambda: optim.LBFGS([x], line_search_fn="armijo")),
            (ParameterError, "max_iter", lambda: optim.LBFGS([x], max_iter=0)),
            (ParameterError, "history_size", lambda: optim.LBFGS([x], history_size=1.5)),
            (ParameterError, "another optimiser",
             lambda: opt.load_state_dict(optim.SGD([x]).state_dict())),
            (ShapeError, "vectors of 6", lambda: opt.load_state_dict(other.state_dict()))):
        with pytest.raises(error, match=match):
            call()
    assert str(opt.state_dict()) == held
    assert isinstance(opt.param_groups[0]["params"][0], Tensor)


def test_oracles_ran():
    """The comparisons above were not skipped without a word."""
    enough({"lbfgs": 70})
