"""Optimisers in the engine: which parameters, versions, states that resume, errors."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from importlib.util import find_spec
from weakref import ref

import numpy as np
import pytest
from optim_cases import CASES, IDS, NAMES, give, parameters, run, same, values

import medai_engine as me
from medai_engine import optim
from medai_engine.errors import DTypeError, GraphError, ParameterError, ShapeError
from medai_engine.kernels.memory.allocator import cached_bytes
from medai_engine.op import OPS, apply
from medai_engine.tensor import Parameter, Tensor

# ---- which parameters -------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_without_gradient_untouched(name):
    params = parameters()
    opt = getattr(optim, name)(params)
    params[1].requires_grad_(False)
    before = values(params)
    for i in range(3):
        give(params, i)
        params[0].grad = params[1].grad = None
        opt.step()
    assert same(values(params)[:2], before[:2])
    assert all(abs(x - y).max() > 0 for x, y in zip(values(params)[2:], before[2:], strict=True))
    assert set(map(id, opt.state)) == set(map(id, params[2:]))
    give(params, 3)  # comes in later, with a count of its own
    opt.step()
    alone = parameters()[:1]
    other = getattr(optim, name)(alone)
    alone[0].grad = params[0].grad
    other.step()
    assert same(values(params)[:1], values(alone))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_not_held(name):
    """zero_grad frees their memory for the next backward pass."""
    params = parameters()
    opt = getattr(optim, name)(params)
    for i in range(2):
        give(params, i)
        opt.step()
        arrays = [ref(p.grad.data) for p in params]
        opt.zero_grad()
        assert [a() for a in arrays] == [None] * len(arrays)


def test_gradients_of_a_recorded_step_are_not_held():
    """A plan that needs no gradient must not stand beside the one of the recording."""
    p = Parameter(np.ones(8, np.float32))
    optimizer = optim.Adam([p])
    seen = []

    @me.jit
    def step():
        (p * p).sum().backward()
        seen.append(ref(p.grad.data))
        optimizer.step()
        optimizer.zero_grad()

    step()
    assert len(seen) == 1 and seen[0]() is None


def test_large_states_do_not_stand_beside_the_cache():
    """What the first backward pass leaves is given back before states are made."""
    p = Parameter(np.ones(5 << 20, np.float32))
    optimizer = optim.Adam([p])
    (p * p).sum().backward()
    assert cached_bytes() >= p.data.nbytes
    optimizer.init_state(p, optimizer.param_groups[0])
    assert cached_bytes() < p.data.nbytes


def test_nothing_to_do():
    params = parameters()
    opt = optim.Adam(params)
    before = values(params)
    assert opt.step() is None
    assert same(values(params), before) and not opt.state


def test_tied_parameter():
    w = Parameter(np.array([1.0, 2.0]))
    opt = optim.SGD([w], lr=0.1)
    (w * w + 3.0 * w).sum().backward()
    opt.step()
    np.testing.assert_allclose(w.data, [1 - 0.1 * 5, 2 - 0.1 * 7], rtol=1e-15)


def test_layouts():
    """Gradients and weights of any strides; a view of a larger array is updated in its place."""
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((4, 6)), rng.standard_normal((4, 6))
    plain = Parameter(x.copy())
    whole = np.zeros((8, 6))
    whole[::2] = x
    odd = [Parameter(np.asfortranarray(x)), Parameter(whole[::2]),
           Parameter(x[:, ::-1].copy()[:, ::-1])]
    for p, place in zip([plain, *odd], [np.array, np.asfortranarray, np.array,
                                        lambda a: a[::-1].copy()[::-1]], strict=True):
        opt = optim.Adam([p], lr=0.1)
        for scale in (1.0, -0.5):
            p.grad = Tensor(place(g) * scale)
            opt.step()
    for p in odd:
        assert np.array_equal(p.data, plain.data)
    assert np.array_equal(whole[::2], plain.data) and not whole[1::2].any()
    contiguous = Parameter(x.copy())
    opt = optim.Adam([contiguous], lr=0.1)
    for scale in (1.0, -0.5):
        contiguous.grad = Tensor(np.asfortranarray(g * scale))
        opt.step()
    assert np.array_equal(contiguous.data, plain.data)
    vector = Parameter(np.zeros(5))
    opt = optim.SGD([vector], lr=1.0)
    for _ in range(2):
        vector.grad = Tensor(np.arange(10.0)[::-2])
        opt.step()
    assert vector.tolist() == [-18, -14, -10, -6, -2]


def test_storage_moves():
    """A parameter that is bound to other memory or another dtype takes its state along."""
    params, fixed = parameters(np.float32), parameters(np.float32)
    a, b = optim.Adam(params), optim.Adam(fixed)
    run(a, params, 0, 3)
    run(b, fixed, 0, 3)
    for p in params:
        p.data = p.data.copy()
    run(a, params, 3, 5)
    run(b, fixed, 3, 5)
    assert same(values(params), values(fixed))
    for p in params:
        p.data = p.data.astype(np.float64)
    run(a, params, 5, 7)
    assert all(s["exp_avg"].dtype == np.float64 and s["step"] == 7 for s in a.state.values())


def test_mixed_dtypes_and_size_zero():
    params = [*parameters(np.float32), *parameters(np.float64), Parameter(np.zeros((0, 3)))]
    apart = [parameters(np.float32), parameters(np.float64)]
    opt = optim.Adam(params)
    others = [optim.Adam(ps) for ps in apart]
    for i in range(5):
        give(params, i)
        for p, q in zip(params, [*apart[0], *apart[1]], strict=False):
            q.grad = p.grad
        opt.step()
        for other in others:
            other.step()
    assert same(values(params)[:-1], [*values(apart[0]), *values(apart[1])])


# ---- the engine's rules -----------------------------------------------------------------------


def test_versions():
    w = Parameter(np.array([1.0, 2.0]))
    opt = optim.SGD([w], lr=0.1)
    w.grad = Tensor(np.ones(2))
    opt.step()
    y = (w * w).sum()
    opt.step()
    with pytest.raises(GraphError, match="written since"):
        y.backward()
    base = me.asarray(np.array([1.0, 2.0]))
    p = base.detach().requires_grad_()
    q = Parameter(np.array([3.0, 4.0]))
    opt = optim.SGD([p], lr=0.1)
    for _ in range(2):
        y = (base * q).sum()
        p.grad = Tensor(np.ones(2))
        opt.step()
        with pytest.raises(GraphError, match="written since"):
            y.backward()


@pytest.mark.parametrize(("name", "choice"), CASES, ids=IDS)
def test_short_path_is_apply(name, choice):
    """The table's direct call gives the bits of ``apply`` on the same kernel."""
    params, general = parameters(np.float32), parameters(np.float32)
    a, b = getattr(optim, name)(params, **choice), getattr(optim, name)(general, **choice)
    for i in range(3):
        give(params, i)
        give(general, i)
        a.step()
        assert b._ready() or b._lay_out() is None
        for table, *_ in b._tables:
            table.compiled = None
        b.step()
    assert same(values(params), values(general))
    assert a._tables[0][0].compiled is not None


def test_backends_agree():
    results = []
    for text in ("reference", "loops", "fast"):
        if text == "loops" and find_spec("numba") is None:
            continue
        params = parameters()
        opt = optim.AdamW(params, lr=0.1)
        with me.backend(text):
            run(opt, params, 0, 5)
        results.append(values(params))
    for other in results[1:]:
        for x, y in zip(results[0], other, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_threads(name):
    """The same bits for 1, 2, 3 and 8 threads; clipping included."""
    digests = set()
    before = me.get_num_threads()
    try:
        for threads in (1, 2, 3, 8):
            me.set_num_threads(threads)
            params = parameters(np.float32, [(301, 257), (7,), (40_000,)])
            opt = getattr(optim, name)(params, lr=0.1)
            for i in range(2):
                give(params, i)
                optim.clip_grad_norm_(params, 1.0)
                opt.step()
            digests.add(hashlib.sha256(b"".join(p.data.tobytes() for p in params)).hexdigest())
    finally:
        me.set_num_threads(before)
    assert len(digests) == 1


# ---- state ------------------------------------------------------------------------------------


def through_json(state):
    return json.loads(json.dumps(state, default=lambda array: array.tolist(), allow_nan=False))


@pytest.mark.parametrize("through", [lambda s: s, through_json], ids=["copy", "json"])
@pytest.mark.parametrize(("name", "choice"), CASES, ids=IDS)
def test_resume(name, choice, through):
    whole = parameters(np.float32)
    opt = getattr(optim, name)(whole, **choice)
    run(opt, whole, 0, 7)
    saved, weights = through(opt.state_dict()), values(whole)
    run(opt, whole, 7, 12)
    again = [Parameter(x) for x in weights]
    other = getattr(optim, name)(again)  # the options come from the state
    other.load_state_dict(saved)
    run(other, again, 7, 12)
    assert same(values(whole), values(again))
    assert through_json(opt.state_dict()) == through_json(other.state_dict())


def test_state_dict_is_a_copy():
    params = parameters()
    opt = optim.Adam(params)
    run(opt, params, 0, 2)
    state = opt.state_dict()
    held = through_json(state)
    run(opt, params, 2, 4)
    assert through_json(state) == held
    assert held["state"]["0"]["step"] == 2 and opt.state[params[0]]["step"] == 4
    assert held["param_groups"][0]["params"] == [0, 1, 2, 3]


def test_deep_copy():
    """A copy of model and optimiser goes on by itself."""
    params = parameters()
    opt = optim.Adam(params)
    run(opt, params, 0, 3)
    copies, other = copy.deepcopy((params, opt))
    run(other, copies, 3, 6)
    assert not same(values(params), values(copies))
    assert opt.state[params[0]]["step"] == 3
    run(opt, params, 3, 6)
    assert same(values(params), values(copies))


def test_wrong_state_changes_nothing():
    params = parameters()
    opt = optim.Adam(params)
    run(opt, params, 0, 2)
    held = through_json(opt.state_dict())

    def spoiled(change):
        state = through_json(held)
        change(state)
        return state

    sgd = optim.SGD(parameters(), momentum=0.9)
    run(sgd, sgd.param_groups[0]["params"], 0, 1)
    fewer = optim.Adam(parameters()[:2]).state_dict()
    for error, match, state in (
            (ParameterError, "state and param_groups", {"weights": 1}),
            (ParameterError, "Did you mean|Remove it", sgd.state_dict()),
            (ParameterError, "groups of", fewer),
            (ParameterError, "list of groups", {"state": {}, "param_groups": {"lr": 1}}),
            (ParameterError, "list of groups", {"state": {}, "param_groups": [{"lr": 1}]}),
            (ParameterError, "states of parameters", spoiled(lambda s: s["state"].update(a={}))),
            (ParameterError, "lr to be", spoiled(lambda s: s["param_groups"][0].update(lr=-1))),
            (ParameterError, "the states step", spoiled(lambda s: s["state"]["1"].pop("exp_avg"))),
            (ShapeError, "exp_avg of parameter 1",
             spoiled(lambda s: s["state"]["1"].update(exp_avg=[1.0, 2.0]))),
            (ParameterError, "states of parameters",
             spoiled(lambda s: s["state"].update({"9": {}})))):
        with pytest.raises(error, match=match):
            opt.load_state_dict(state)
        assert through_json(opt.state_dict()) == held


# ---- the rest of the interface ----------------------------------------------------------------


def test_groups_and_lr():
    a, b, c = parameters()[:3]
    opt = optim.Adam([{"params": [a], "lr": 0.1}, {"params": iter([("b", b)])}], lr=0.2)
    opt.add_param_group({"params": c, "betas": [0.5, 0.6]})
    assert [g["lr"] for g in opt.param_groups] == [0.1, 0.2, 0.2] and opt.lr == 0.1
    assert opt.param_groups[1]["param_names"] == ["b"]
    assert opt.param_groups[2]["betas"] == (0.5, 0.6)
    opt.lr = 0.3
    assert [g["lr"] for g in opt.param_groups] == [0.3, 0.3, 0.3]
    give([a, b, c], 0)
    opt.zero_grad()
    assert a.grad is b.grad is c.grad is None
    assert "lr=0.3" in repr(opt)


def test_added_group_is_updated():
    a, b = parameters()[:2]
    opt = optim.SGD([a], lr=0.1)
    run(opt, [a, b], 0, 1)
    before = b.data.copy()
    opt.add_param_group({"params": [b]})
    give([a, b], 1)
    g = b.grad.data.copy()
    opt.step()
    np.testing.assert_allclose(b.data, before - 0.1 * g, rtol=1e-14)


def test_closure():
    w = Parameter(np.array([2.0]))
    opt = optim.SGD([w], lr=0.25)

    def closure():
        opt.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with me.no_grad():
        assert opt.step(closure).item() == 4.0
    assert w.item() == 1.0


P = Parameter(np.ones(3, np.float32))
FAULTS = {
    "no parameters": (ParameterError, "empty list", lambda: optim.SGD([])),
    "a tensor": (ParameterError, r"\[tensor\]", lambda: optim.SGD(P)),
    "no iterable": (ParameterError, "iterable", lambda: optim.SGD(3)),
    "an array": (ParameterError, "Wrap it", lambda: optim.SGD([np.ones(3)])),
    "a result": (GraphError, "leaves", lambda: optim.SGD([P * 2.0])),
    "integers": (DTypeError, "int64", lambda: optim.SGD([me.asarray(np.arange(3))])),
    "twice": (ParameterError, "a second time", lambda: optim.SGD([P, P])),
    "in two groups": (ParameterError, "a second time",
                      lambda: optim.SGD([{"params": [P]}, {"params": [P]}])),
    "a set": (ParameterError, "fixed order", lambda: optim.SGD([{"params": {P}}])),
    "no params": (ParameterError, "under params", lambda: optim.SGD([{"lr": 1}])),
    "half named": (ParameterError, "names for all",
                   lambda: optim.SGD([("a", P), Parameter(np.ones(2))])),
    "unknown key": (ParameterError, "Did you mean 'momentum'",
                    lambda: optim.SGD([{"params": [P], "momentun": 0.9}])),
    "foreign key": (ParameterError, "betas",
                    lambda: optim.SGD([{"params": [P], "betas": (0, 0)}])),
    "lr < 0": (ParameterError, r"lr to be a finite number of at least 0, got -0.1.*is 0.001",
               lambda: optim.Adam([P], lr=-0.1)),
    "lr nan": (ParameterError, "lr to be", lambda: optim.Adam([P], lr=math.nan)),
    "lr text": (ParameterError, "lr to be", lambda: optim.Adam([P], lr="0.1")),
    "beta 1": (ParameterError, "betas to be two", lambda: optim.Adam([P], betas=(0.9, 1.0))),
    "one beta": (ParameterError, "betas to be two", lambda: optim.Adam([P], betas=0.9)),
    "eps < 0": (ParameterError, "eps to be", lambda: optim.Adam([P], eps=-1e-8)),
    "alpha": (ParameterError, "alpha to be", lambda: optim.RMSprop([P], alpha=1.5)),
    "rho": (ParameterError, "rho to be", lambda: optim.Adadelta([P], rho=-0.1)),
    "decay < 0": (ParameterError, "weight_decay to be", lambda: optim.AdamW([P], weight_decay=-1)),
    "flag": (ParameterError, "amsgrad to be True", lambda: optim.Adam([P], amsgrad=1)),
    "nesterov": (ParameterError, "nesterov", lambda: optim.SGD([P], nesterov=True)),
    "set lr": (ParameterError, "lr to be", lambda: setattr(optim.SGD([P]), "lr", -1)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault):
    error, match, call = FAULTS[fault]
    with pytest.raises(error, match=match):
        call()


def test_wrong_gradient_changes_nothing():
    """A gradient of another shape or dtype is refused before anything is written."""
    for grad, error in ((np.ones((3, 4)), ShapeError), (np.ones((4, 3), np.float32), DTypeError)):
        for first in (True, False):
            params = parameters()
            opt = optim.Adam(params)
            if not first:
                run(opt, params, 0, 1)
            before, state = values(params), through_json(opt.state_dict())
            give(params, 1)
            params[0].grad = Tensor(grad)
            with pytest.raises(error, match="gradient 0"):
                opt.step()
            assert same(values(params), before)
            assert through_json(opt.state_dict()) == state


def test_read_only_parameter():
    x = np.ones(3)
    x.flags.writeable = False
    p = Parameter(x)
    p.grad = Tensor(np.ones(3))
    with pytest.raises(GraphError, match="can be written"):
        optim.SGD([p]).step()


def test_every_rule_has_an_optimiser():
    rules = {getattr(optim, name).rule.name for name in NAMES}
    assert rules == {name for name in OPS if name.endswith("_step")} - {"ema_step"}


def test_written_states():
    """``apply`` itself updates states of any layout in place."""
    p, m = np.ones((2, 3)), np.zeros((2, 3), order="F")
    hyper = np.array([[0.1, 0.9, 0.99, 0.0, 0.0]])
    apply(OPS["lion_step"], Tensor(p), Tensor(np.full((2, 3), 2.0)), Tensor(m), states=("exp_avg",),
          hyper=hyper)
    np.testing.assert_allclose(p, 0.9, rtol=1e-15)
    np.testing.assert_allclose(m, 0.02, rtol=1e-13)
