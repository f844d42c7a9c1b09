"""The NaN tracer: planted faults are named by op, line, phase and index; what is meant is not."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import generator, nn, optim, training
from medai_engine.errors import GraphError, NonFiniteError
from medai_engine.inspect.nans import finite
from medai_engine.mode import MODE

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def leaf(*values):
    return me.tensor(list(values), requires_grad=True)


# ---- planted faults: each function makes one, in the line that says so --------------------------


def zero_by_zero():
    a, b = me.tensor([1.0, 0.0, 2.0]), me.tensor([1.0, 0.0, 3.0])
    return (a / b).sum()  # FAULT


def log_of_zero():
    p = leaf(0.5, 0.0)
    y = me.log(p)  # FAULT
    (y * -1.0).sum().backward()


def root_at_zero():
    x = leaf(4.0, 0.0)
    y = me.sqrt(x)  # FAULT
    y.sum().backward()


def exp_overflow():
    scores = me.tensor([1.0, 200.0])
    e = me.exp(scores)  # FAULT
    return e / e.sum()


def infinite_data():
    x = X.copy()
    x[2, 1] = np.inf
    images = me.asarray(x)
    layer = nn.Linear(3, 2)
    layer(images).square().mean().backward()  # FAULT


def nan_data():
    x = X.copy()
    x[4, 0] = np.nan
    rows = me.asarray(x)[1:]
    return nn.Linear(3, 2)(rows)  # FAULT


def rate_too_high():
    me.manual_seed(0)
    layer = nn.Linear(3, 1)
    opt = optim.SGD(layer.parameters(), lr=1e15)
    for _ in range(10):
        opt.zero_grad()
        y = layer(me.asarray(X))
        loss = y.square().mean()  # FAULT
        loss.backward()
        opt.step()


def mask_too_late():
    lengths, mask = me.tensor([2.0, 0.0]), me.tensor([1.0, 0.0])
    means = 1.0 / lengths  # FAULT
    return (means * mask).sum()


def constant_feature():
    x = me.tensor([5.0, 5.0, 5.0])
    y = x - x.mean()
    return (y / y.std()).sum()  # FAULT


def length_of_nothing():
    x = leaf(0.0, 0.0)
    length = (x * x).sum().sqrt()  # FAULT
    length.backward()


def masked_row():
    mask = me.asarray(np.array([[True, True, False], [False, False, False]]))
    scores = me.where(mask, me.zeros((2, 3)), -np.inf)
    return F.softmax(scores, axis=-1)  # FAULT


def negative_base():
    return me.pow(me.tensor([4.0, -1.0]), 0.5)  # FAULT


def outside_of_acos():
    return me.acos(me.tensor([0.5, 1.5]))  # FAULT


def angle_gradient():
    c = leaf(0.5, 1.0)
    angle = me.acos(c)  # FAULT
    angle.sum().backward()


def cross_entropy_by_hand():
    p, target = leaf(1.0, 0.0), me.tensor([1.0, 0.0])
    logs = me.log(p)  # FAULT
    (-(target * logs)).sum().backward()


def batch_norm_without_eps():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, eps=0.0))
    return model(me.ones((4, 3)))  # FAULT


def cast_overflow():
    x = me.asarray(np.array([1.0, 1e300]))
    with np.errstate(over="ignore"):
        y = x.astype(np.float32)  # FAULT
    return y - y


def sum_of_squares_overflow():
    x = leaf(3.0, 1e30)
    y = x.square()  # FAULT
    y.sum().backward()


def weight_from_a_file():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    state = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    state["2.weight"][1, 2] = np.nan
    model.load_state_dict(state)
    return model(me.asarray(X))  # FAULT


def where_trap():
    x = leaf(1.0, 0.0)
    logs = me.log(x)  # FAULT
    me.where(x > 0, logs, 0.0).sum().backward()


def layer_in_the_backward():
    class Distance(nn.Module):
        def __init__(self):
            self.inner = Root()

        def forward(self, x):
            return self.inner(x - x)

    class Root(nn.Module):
        def forward(self, x):
            return x.square().sum(axis=1).sqrt()  # FAULT

    Distance()(me.asarray(X).requires_grad_()).sum().backward()


def recomputed():
    x = leaf(1.0, 0.0)
    y = me.checkpoint(lambda x: (x * 2.0).sqrt())(x)  # FAULT
    y.sum().backward()


BORN = [  # function, op, phase, value, index, a word of the hint
    (zero_by_zero, "divide", "forward", "nan", (1,), "denominator"),
    (log_of_zero, "log", "forward", "-inf", (1,), "clip"),
    (root_at_zero, "sqrt", "backward", "inf", (1,), "under the root"),
    (exp_overflow, "exp", "forward", "inf", (1,), "softmax"),
    (rate_too_high, "square", "forward", "inf", (0, 0), "learning rate"),
    (mask_too_late, "divide", "forward", "inf", (1,), "where"),
    (constant_feature, "divide", "forward", "nan", (0,), "denominator"),
    (length_of_nothing, "sqrt", "backward", "inf", (), "under the root"),
    (negative_base, "power", "forward", "nan", (1,), "base"),
    (outside_of_acos, "acos", "forward", "nan", (1,), "-1"),
    (angle_gradient, "acos", "backward", "inf", (1,), "-1"),
    (cross_entropy_by_hand, "log", "forward", "-inf", (1,), "where"),
    (batch_norm_without_eps, "norm", "forward", "nan", (0, 0, 0), "eps"),
    (cast_overflow, "astype", "forward", "inf", (1,), "float32"),
    (sum_of_squares_overflow, "square", "forward", "inf", (1,), "scale"),
    (where_trap, "log", "backward", "nan", (1,), "where"),
    (layer_in_the_backward, "sqrt", "backward", "inf", (0,), "under the root"),
    (recomputed, "sqrt", "backward", "inf", (1,), "under the root"),
]
BROUGHT = [  # function, op, kind, value, index, what the message calls it
    (infinite_data, "linear", "data", "inf", (2, 1), "the variable images"),
    (nan_data, "linear", "data", "nan", (4, 0), "in the data"),
    (weight_from_a_file, "linear", "parameter", "nan", (1, 2), "parameter 2.weight"),
    (masked_row, "softmax", "infinity", "nan", (1, 0), "input 'b' of where"),
]


def line_of_fault(function):
    lines, first = inspect.getsourcelines(function)
    return f"test_nans.py:{first + next(i for i, line in enumerate(lines) if '# FAULT' in line)}"


def found(function, *args):
    with pytest.raises(NonFiniteError) as caught, me.debug_nans():
        function(*args)
    assert MODE.get().scene is None
    assert isinstance(caught.value, FloatingPointError) and isinstance(caught.value, me.MedaiError)
    return caught.value


@pytest.mark.parametrize(("function", "op", "phase", "value", "index", "word"), BORN,
                         ids=[row[0].__name__ for row in BORN])
def test_a_planted_fault_is_named(function, op, phase, value, index, word):
    error = found(function)
    fault = error.fault
    assert (fault.op, fault.phase, fault.value, fault.index) == (op, phase, value, index)
    assert fault.site == line_of_fault(function) and fault.kind == "born"
    assert fault.site in str(error) and op in str(error) and word in str(error)
    assert str(list(index)) in str(error) and phase in str(error)


@pytest.mark.parametrize(("function", "op", "kind", "value", "index", "words"), BROUGHT,
                         ids=[row[0].__name__ for row in BROUGHT])
def test_what_came_from_outside_is_told_apart(function, op, kind, value, index, words):
    error = found(function)
    fault = error.fault
    if function is nan_data:
        index = (3, 0)  # of the rows that were cut out
    assert (fault.op, fault.kind, fault.value, fault.index) == (op, kind, value, index)
    assert fault.site == line_of_fault(function) and words in str(error)


def test_layers_are_named():
    assert found(batch_norm_without_eps).fault.layer == "model.1 (BatchNorm1d)"
    assert found(weight_from_a_file).fault.layer == "model.2 (Linear)"
    assert found(layer_in_the_backward).fault.layer == "model.inner (Root)"


def test_inputs_at_the_index_are_shown():
    assert "a[1] = 0, b[1] = 0" in str(found(zero_by_zero))
    assert "x[1] = 200" in str(found(exp_overflow))
    assert "3 of 6 elements" in str(found(masked_row))


def test_an_infinity_and_what_made_nan_of_it():
    error = found(exp_overflow)
    assert error.became.op == "divide" and error.became.value == "nan"
    assert "divide" in str(error) and "a[1] = inf, b[1] = inf" in str(error)
    assert found(mask_too_late).became.op == "multiply"
    assert found(log_of_zero).became is None and "reached the loss" in str(found(log_of_zero))


# ---- what is meant ------------------------------------------------------------------------------


def test_a_mask_that_softmax_takes_in_is_no_fault():
    w = me.asarray(X).requires_grad_()
    mask = me.asarray(X > 0).astype(np.float32)
    with me.debug_nans():
        scores = w + me.log(mask.clip(0, 1) + me.asarray((X > 0).any(axis=1, keepdims=True) == 0))
        F.softmax(scores, axis=-1).square().sum().backward()
    assert finite(w.grad.data)


def test_missing_values_that_where_fills_in_are_no_fault():
    x = X.copy()
    x[1, 1] = np.nan
    rows, layer = me.asarray(x), nn.Linear(3, 1)
    with me.debug_nans():
        filled = me.where(me.isnan(rows), 0.0, rows)
        layer(filled).sum().backward()


def test_an_infinity_that_is_looked_at_and_dropped():
    with me.debug_nans():
        best = me.full((), np.inf)
        assert me.minimum(best, me.ones(())).item() == 1
        assert (1.0 / me.exp(me.tensor([200.0]))).item() == 0  # 1 / inf
    with pytest.raises(NonFiniteError, match="nothing was computed"), me.debug_nans():
        me.exp(me.tensor([200.0]))


def test_healthy_training_runs_to_the_same_bits():
    def run():
        me.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2),
                              nn.Linear(8, 2))
        opt = optim.AdamW(model.parameters(), lr=0.01)
        step = me.jit(partial(train, model, opt))
        for _ in range(4):
            step(me.asarray(X))
            train(model, opt, me.asarray(X))
        return [t.numpy().copy() for t in model.state_dict().values()]

    def train(model, opt, x):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), me.asarray(np.array([0, 1, 0, 1, 1, 0])))
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        return loss.detach()

    plain = run()
    with me.debug_nans():
        watched = run()
    assert all(np.array_equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_finite():
    big = np.full(1000, 1e38, np.float32)  # whose sum is not
    assert finite(big) and finite(big.astype(np.float64)) and finite(np.arange(3))
    assert finite(np.zeros((0, 2), np.float32)) and finite(X.T) and finite(np.float32(2)[...])
    for bad in (np.nan, np.inf, -np.inf):
        for i in (0, 500, 999):
            x = big.copy()
            x[i] = bad
            with np.errstate(over="ignore"):
                assert not finite(x.astype(np.float16))
            assert not finite(x) and not finite(x[::-1])
    assert not finite(np.array([np.inf, -np.inf], np.float32))


# ---- optimisers ---------------------------------------------------------------------------------


def overflowing(lr=3e38):
    p = nn.Parameter(me.tensor([1.0, -2.0]))
    opt = optim.SGD([p], lr=lr)
    return p, opt


def test_a_step_that_overflows_is_named_when_its_parameter_is_used():
    p, opt = overflowing()

    def loop():
        for _ in range(3):
            opt.zero_grad()
            (p * p).sum().backward()
            opt.step()  # FAULT

    error = found(loop)
    assert error.fault.op == "sgd_step" and error.fault.phase == "optimizer"
    assert error.fault.site == line_of_fault(loop) and "learning rate" in str(error)


def test_a_step_that_overflows_is_named_at_the_end_of_the_block():
    p, opt = overflowing()
    p.grad = me.tensor([2.0, 0.5])
    error = found(opt.step)
    assert error.fault.op == "sgd_step" and error.fault.index == (0,)


# ---- plans --------------------------------------------------------------------------------------


def network():
    me.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))


def jitted(net, opt):
    @me.jit
    def step(rows, shift):
        opt.zero_grad()
        y = net(rows).square() + shift
        loss = me.log(y).mean()  # FAULT
        loss.backward()
        opt.step()
        return loss

    return step


def state_of(net, opt):
    arrays = [t.numpy().copy() for t in net.state_dict().values()]
    return arrays + [v for row in opt.state_dict()["state"].values() for v in row.values()]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_fault_in_a_plan_is_named_and_parameters_are_as_before():
    net = network()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    step = jitted(net, opt)
    for _ in range(3):
        step(me.asarray(X), me.ones(()))
    plan = step.plan
    parameters = [p.numpy().copy() for p in net.parameters()]
    error = found(step, me.asarray(X), me.full((), -1e9))
    assert error.fault.op == "log" and error.fault.phase == "forward"
    assert error.fault.site == line_of_fault(jitted) and error.fault.value == "nan"
    assert same(parameters, [p.numpy() for p in net.parameters()])
    step(me.asarray(X), me.ones(()))
    assert step.plan is plan


def test_the_failing_call_is_put_back_as_it_was():
    net = network()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    step = jitted(net, opt)
    for _ in range(3):
        step(me.asarray(X), me.ones(()))
    before, offset = state_of(net, opt), generator.DEFAULT.offset
    bad = X.copy()
    bad[0, 0] = np.nan
    with pytest.raises(NonFiniteError) as caught, me.debug_nans() as tracer:
        step(me.asarray(bad), me.ones(()))
    fault = caught.value.fault
    assert (fault.kind, fault.index) == ("data", (0, 0)) and "variable rows" in str(caught.value)
    # the eager run ended at its first op: before running statistics, dropout, the count of steps
    assert same(before, state_of(net, opt)) and generator.DEFAULT.offset == offset
    statistics = sum(t.nbytes for t in net.buffers())
    assert statistics <= tracer.kept < statistics + 100  # no parameters, no states


def test_two_optimisers_in_one_plan_are_both_put_back():
    first, second = nn.Linear(3, 3), nn.Linear(3, 1)
    opts = optim.Adam(first.parameters(), lr=0.1), optim.SGD(second.parameters(), lr=0.1)

    @me.jit
    def step(x, scale):
        opts[0].zero_grad()
        first(x).square().mean().backward()
        opts[0].step()
        opts[1].zero_grad()
        y = second(first(x).detach() * scale)
        me.exp(y.square()).mean().backward()  # FAULT
        opts[1].step()

    for _ in range(2):
        step(me.asarray(X), me.ones(()))
    before = [p.numpy().copy() for p in (*first.parameters(), *second.parameters())]
    state = [v.numpy().copy() for row in opts[0].state.values() for v in row.values()
             if isinstance(v, me.Tensor)]
    with pytest.raises(NonFiniteError) as caught, me.debug_nans() as tracer:
        step(me.asarray(X), me.full((), 1e6))
    assert caught.value.fault.op == "exp" and caught.value.fault.site == line_of_fault(
        test_two_optimisers_in_one_plan_are_both_put_back)
    # the eager run has made the first step, once; the copies were those of its parameters
    assert tracer.kept >= 3 * sum(p.nbytes for p in first.parameters())
    assert same(before[2:], [p.numpy() for p in second.parameters()])
    again = nn.Linear(3, 3)
    again.load_state_dict(dict(zip(("weight", "bias"), before[:2], strict=True)))
    opt = optim.Adam(again.parameters(), lr=0.1)
    opt.load_state_dict({**opts[0].state_dict(), "state": {
        str(i): {"step": 2.0, "exp_avg": state[2 * i], "exp_avg_sq": state[2 * i + 1]}
        for i in range(2)}})
    again(me.asarray(X)).square().mean().backward()
    opt.step()
    assert same([p.numpy() for p in first.parameters()], [p.numpy() for p in again.parameters()])


def test_a_result_of_a_plan_that_is_meant_to_be_infinite():
    function = me.jit(lambda x: (me.log(x), (x * 2).sum()))
    x = me.tensor([1.0, 0.0])
    for _ in range(2):
        function(x)
    seen = []
    with me.debug_nans():
        for _ in range(3):
            logs, _ = function(x)
            seen.append((me.exp(logs).numpy().tolist(), len(function.plans)))
    assert seen == [([1.0, 0.0], 1)] * 3


def test_a_call_that_failed_is_looked_at_again():
    function = me.jit(lambda x: me.log(x).sum() - me.log(x).sum())
    for _ in range(2):
        function(me.ones((3,)))
    try:
        me.debug_nans(True)
        for _ in range(3):
            with pytest.raises(NonFiniteError):
                function(me.tensor([1.0, 0.0, 1.0]))
        assert function(me.ones((3,))).item() == 0
    finally:
        me.debug_nans(False)


def test_a_capture_under_the_tracer():
    net = network()
    step = jitted(net, optim.Adam(net.parameters(), lr=1e-3))
    error = found(step, me.asarray(X), me.full((), -1e9))
    assert error.fault.op == "log" and not step.plans


def test_large_gradients_that_go_into_the_step_are_looked_at():
    net = nn.Linear(1024, 512)
    opt = optim.Adam(net.parameters(), lr=1e-3)

    @me.jit
    def step(x):
        opt.zero_grad()
        y = net(x)
        loss = me.sqrt(y - y).sum()  # FAULT
        loss.backward()
        opt.step()
        opt.zero_grad()

    x, before = me.ones((8, 1024)), net.weight.numpy().copy()
    for _ in range(2):
        step(x)
    net.load_state_dict({"weight": before, "bias": np.zeros(512, np.float32)})
    error = found(step, x)
    assert error.fault.op == "sqrt" and error.fault.phase == "backward"
    assert np.array_equal(net.weight.numpy(), before)


# ---- fit ----------------------------------------------------------------------------------------


class Logarithm(nn.Module):
    def forward(self, x):
        return me.log(x)  # FAULT


def fitted(x, y, callbacks=(), **options):
    me.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.1), nn.Linear(4, 1), nn.ReLU(), Logarithm())
    model.compile(optim.Adam(model.parameters(), lr=1e-3), "mse")
    model.fit(x, y, 2, 2, callbacks=callbacks, shuffle=False, verbose=False, **options)


@pytest.mark.filterwarnings("ignore:fit runs without a plan")
def test_fit_under_the_tracer():
    error = found(fitted, X, np.ones((6, 1), np.float32))
    assert error.fault.op == "log" and error.fault.site == line_of_fault(Logarithm)
    assert error.fault.layer == "model.4 (Logarithm)"


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_stop_of_fit_names_the_op_by_itself(accumulate):
    with pytest.raises(NonFiniteError, match=r"epoch \d, batch \d: expected a fin") as caught:
        fitted(X, np.ones((6, 1), np.float32), training.StopOnNaN(), accumulate=accumulate)
    assert isinstance(caught.value, GraphError)
    assert caught.value.fault.op == "log" and caught.value.fault.phase == "forward"
    assert caught.value.fault.layer == "model.4 (Logarithm)"
    assert "test_nans.py" in str(caught.value) and MODE.get().scene is None


def test_the_stop_of_fit_sees_gradients():
    class Length(nn.Module):
        def forward(self, x):
            return (x - x).square().sum(axis=1, keepdims=True).sqrt()  # FAULT

    model = nn.Sequential(nn.Linear(3, 2), Length())
    model.compile(optim.SGD(model.parameters(), lr=0.1), "mse")
    before = [p.numpy().copy() for p in model.parameters()]
    with pytest.raises(NonFiniteError) as caught:
        model.fit(X, np.ones((6, 1), np.float32), 1, 3, callbacks=[training.StopOnNaN()],
                  verbose=False)
    assert caught.value.fault.op == "sqrt" and caught.value.fault.phase == "backward"
    assert same(before, [p.numpy() for p in model.parameters()])


# ---- switch, decorator, surroundings ------------------------------------------------------------


def test_a_fault_that_was_caught_is_not_named_again():
    with me.debug_nans():
        with pytest.raises(me.NonFiniteError):
            (me.tensor([0.0, 1.0], requires_grad=True).sqrt() * 2).sum().backward()
        assert float(me.tensor([4.0]).sqrt()) == 2


def test_as_a_switch():
    try:
        tracer = me.debug_nans(True)
        assert me.debug_nans(True) is tracer  # once only
        with pytest.raises(NonFiniteError):
            zero_by_zero()
        with me.profile():
            me.ones((2,)) * 2
    finally:
        me.debug_nans(False)
    assert MODE.get().scene is None
    assert np.isnan(zero_by_zero().item())
    me.debug_nans(False)


def test_as_a_decorator():
    traced = me.debug_nans()(zero_by_zero)
    for _ in range(2):
        with pytest.raises(NonFiniteError):
            traced()
    assert MODE.get().scene is None


def test_beside_a_profile():
    with me.profile() as p, pytest.raises(NonFiniteError), me.debug_nans():
        log_of_zero()
    assert [call.kind.name for call in p.calls][:2] == ["log", "multiply"]


def test_another_error_is_not_covered():
    with pytest.raises(ZeroDivisionError), me.debug_nans():
        me.exp(me.tensor([200.0]))
        1 / 0  # noqa: B018


def test_functions_of_gradients():
    with pytest.raises(NonFiniteError) as caught, me.debug_nans():
        me.grad(lambda x: me.sqrt(x).sum())(me.tensor([0.0]))
    assert caught.value.fault.op == "sqrt" and caught.value.fault.phase == "backward"
    with me.debug_nans():
        assert me.hessian(lambda x: (x * x).sum())(me.tensor([1.0])).item() == 2
