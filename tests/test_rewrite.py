"""The rules that simplify programs: what each does, what each must leave alone, equal bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import built, functions, names, recorded, run

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim
from medai_engine.jit import rewrite as rules
from medai_engine.jit import updates as rules_of_updates
from medai_engine.jit.chains import chains
from medai_engine.jit.epilogues import epilogues, pooling, results, sums
from medai_engine.jit.history import texts
from medai_engine.tree import flatten

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 130)).astype(np.float32)
Y = rng.normal(size=(40, 130)).astype(np.float32)


def changed(rule, function, *arrays):
    """Return the program after a rule, having compared its results with those before it."""
    before = run(recorded(function, *arrays), *arrays)
    program = recorded(function, *arrays)
    rule(program)
    for a, b in zip(run(program, *arrays), before, strict=True):
        np.testing.assert_array_equal(a, b)
    return program


# ---- dead lines -------------------------------------------------------------------------------


def test_dead_lines_go():
    def f(x):
        me.exp(x).sum()
        return x * 2.0

    assert names(changed(rules.dead, f, X)) == ["multiply"]


def test_writes_checks_and_host_calls_are_not_dead():
    buffer = nn.BatchNorm1d(130)
    labels = np.zeros(40, np.int64)

    def f(x, y):
        buffer(x)
        F.cross_entropy(x, y)
        return x * 2.0

    before, left = names(recorded(f, X, labels)), names(changed(rules.dead, f, X, labels))
    assert "softmax_cross_entropy" in left  # it refuses wrong labels, used or not
    assert left.count("mean") == before.count("mean") - 1
    program = recorded(f, X, labels)
    states = {v.root for line in program.lines for v in line.writes}
    rules.dead(program)
    assert states and states == {v.root for line in program.lines for v in line.writes}


# ---- constants --------------------------------------------------------------------------------


def test_what_depends_on_constants_alone_is_folded():
    program = changed(rules.fold, lambda x: me.grad(lambda t: t.mean() * 3.0)(x), X)
    rules.dead(program)
    assert "multiply" not in names(program)


def test_arguments_states_and_random_numbers_are_not_folded():
    w = me.tensor([2.0])
    generator = me.random.Generator(3)

    def f(x):
        return x * (w * 3.0) + me.random.normal((1,), rng=generator)

    program = recorded(f, X)
    before = names(program)
    assert rules.fold(program) == 0 and names(program) == before


def test_equal_constants_are_one():
    program = changed(rules.merge_constants, lambda x: (x * 2.0 + 1.0) * 2.0 + -0.0 + 0.0, X)
    found = {v for line in program.lines for v in line.inputs if v.kind == "constant"}
    assert len(found) == 4  # 2, 1, -0 and 0


# ---- the same again ---------------------------------------------------------------------------


def test_times_one_and_copies_go():
    program = changed(rules.identities, lambda x: (x * 1.0).copy().exp() / 1.0 + 0.0, X)
    assert names(program) == ["exp", "add"]


def test_copies_that_are_results_or_guard_against_a_write_stay():
    assert names(changed(rules.identities, lambda x: x.copy(), X)) == ["copy"]
    w = me.tensor(np.ones(3, np.float32))

    def f(x):
        old = w.copy()
        with me.no_grad():
            w.copy_(x)
        return old + w

    program = recorded(f, X[0, :3])
    assert rules.identities(program) == 0


def test_common_expressions_are_computed_once():
    program = changed(rules.common, lambda x, y: me.exp(x * y) + me.sin(x * y), X, Y)
    assert names(program) == ["multiply", "exp", "sin", "add"]
    assert program.lines[0].by == ["common"]


def test_a_write_in_between_makes_another_value():
    w = me.tensor(np.ones((40, 130), np.float32))

    def f(x):
        a = x * w
        with me.no_grad():
            w.copy_(x)
        return a + x * w

    program = recorded(f, X)
    before = names(program).count("multiply")
    rules.common(program)
    assert names(program).count("multiply") == before == 2


def test_users_ops_run_every_time():
    calls = []

    @me.op(gradient=None)
    def noisy(x):
        calls.append(len(calls))
        return x + np.float32(len(calls))

    program = recorded(lambda x: noisy(x) + noisy(x), X)
    for rule in rules.RULES:
        rule(program)
    assert names(program).count("noisy") == 2
    jitted = me.jit(lambda x: noisy(x) + noisy(x))
    found = [float(jitted(me.Tensor(X)).numpy()[0, 0]) for _ in range(3)]
    np.testing.assert_allclose(np.diff(found), 4.0, rtol=1e-5)


def test_random_draws_checkpoints_and_results_are_never_shared():
    layer = nn.Dropout(0.5)
    program = recorded(lambda x: layer(x) + layer(x), X)
    rules.common(program)
    assert names(program).count("dropout") == 2

    def loss(x):
        return me.checkpoint(lambda t: me.tanh(t * t).exp())(x).sum()

    program = recorded(lambda x: me.grad(loss)(x), X)
    before = names(program)
    assert before.count("tanh") == 2  # forward, and again in the backward pass
    rules.common(program)
    assert names(program).count("tanh") == 2
    program = recorded(lambda x: (me.exp(x), me.exp(x)), X)
    rules.common(program)
    assert names(program) == ["exp", "exp"]  # two results, two arrays


# ---- epilogues --------------------------------------------------------------------------------


@pytest.mark.parametrize(("act", "name"), [
    (F.relu, "relu"), (F.tanh, "tanh"), (F.sigmoid, "sigmoid"), (F.selu, "selu"),
    (lambda t: F.leaky_relu(t, 0.2), "leaky_relu"), (lambda t: F.elu(t, 0.7), "elu")])
def test_activation_moves_into_the_product(act, name):
    layer = nn.Linear(130, 7)
    program = changed(epilogues, lambda x: act(layer(x)), X)
    assert names(program) == ["linear_activation"]
    (by,) = program.lines[0].by
    assert by.partition(" from ")[0] == f"epilogue {name}"


def test_activation_stays_where_the_product_is_read_too():
    layer = nn.Linear(130, 7)
    assert names(changed(epilogues, lambda x: (lambda h: F.relu(h) + h)(layer(x)), X)) == [
        "linear", "relu", "add"]
    assert "gelu" in names(changed(epilogues, lambda x: F.gelu(layer(x)), X))
    assert names(changed(epilogues, lambda x: F.leaky_relu(layer(x), -0.5), X)) == [
        "linear", "leaky_relu"]


def test_products_are_added_to_what_they_meet():
    w, u = (me.tensor(rng.normal(size=(130, 130)).astype(np.float32)) for _ in range(2))

    def f(x, y):
        z = x @ w + y @ u
        return me.grad(lambda t: ((t @ w).exp() + (t @ u).sin()).sum())(x), z, z + x @ u

    program = changed(sums, f, X, Y)
    assert names(program).count("matmul_add") == 3
    assert next(line.by for line in program.lines if line.op.name == "matmul_add") == [
        "sum into matmul"]


def test_gradients_of_sequences_meet_inside_the_products():
    """Reshaped between rows and sequences; three products of one input, and a residual sum."""
    layers = [nn.Linear(16, 16) for _ in range(3)]
    sequences = rng.normal(size=(4, 5, 16)).astype(np.float32)

    def f(x):
        def loss(t):
            a, b, c = (layer(t) for layer in layers)
            return ((a * b).tanh() * c + t.sin()).sum()
        return me.grad(loss)(x)

    program = changed(sums, f, sequences)
    assert names(program).count("matmul_add") == 3 and "add" not in names(program)[-4:]
    changed(rules.rewrite, f, sequences)


def test_products_that_are_read_twice_broadcast_or_long_are_left_alone():
    w, row = me.tensor(rng.normal(size=(130, 130)).astype(np.float32)), me.tensor(Y[:1])

    def f(x):
        z = x @ w
        return z + x, z * 2.0, x @ w + row, (x @ w) + (row @ w)

    assert "matmul_add" not in names(changed(sums, f, X))
    wide = rng.normal(size=(6, 700)).astype(np.float32)
    tall = me.tensor(rng.normal(size=(700, 6)).astype(np.float32))
    assert "matmul_add" not in names(changed(sums, lambda x: x @ tall + x[:, :6], wide))

    def stale(x):
        z = x @ w
        with me.no_grad():
            w.copy_(w * 2.0)
        return z + x

    assert sums(recorded(stale, X)) == 0


@pytest.mark.parametrize("act", [F.relu6, lambda t: F.leaky_relu(t, 0.2),
                                 lambda t: F.leaky_relu(t, 0.0)])
def test_derivatives_are_told_from_results(act):
    sizes = np.array([-np.inf, -7.0, -1e-45, -0.0, 0.0, 1e-45, 0.5, 6.0, 7.0, np.inf, np.nan],
                     np.float32)

    def f(x):
        return me.grad(lambda t: (act(t * 1.5) * 3.0).sum())(x)

    program = changed(results, f, sizes)
    line = next(line for line in program.lines if line.op.name.endswith("_grad"))
    maker = next(m for m in program.lines if line.inputs[1] in m.outputs)
    assert maker.op.name + "_grad" == line.op.name
    program = recorded(lambda x: me.grad(lambda t: F.leaky_relu(t, -0.5).sum())(x), X)
    assert results(program) == 0  # a negative slope turns the sign


# ---- chains -----------------------------------------------------------------------------------


def test_a_chain_is_one_line_with_several_results():
    def f(x, y):
        h = x * y + 1.0
        return me.tanh(h) * x, me.where(h > 0.5, h, y[:1])

    program = changed(chains, f, X, Y)
    line, = [line for line in program.lines if not line.op.view]
    assert line.op.name == "program" and len(line.outputs) == 2
    first = f.__code__.co_firstlineno
    assert line.by[-1] == ("chain of multiply, add, tanh, multiply, greater, where from "
                           f"test_rewrite.py:{first + 1}, test_rewrite.py:{first + 2}")
    cost = line.op.cost([np.empty(v.shape, v.dtype) for v in line.inputs], **line.params)
    assert cost.written == 2 * X.nbytes
    assert cost.other == 5 * X.size  # where counts none


def test_a_chain_ends_where_its_result_is_read():
    layer = me.tensor(rng.normal(size=(130, 130)).astype(np.float32))

    def f(x, y):
        h = (x * y).exp()
        z = h @ layer
        return (z + h).tanh() * y

    assert names(changed(chains, f, X, Y)) == ["program", "matmul", "program"]


def test_a_chain_does_not_cross_a_write():
    w = me.tensor(Y)

    def f(x):
        a = x * w
        with me.no_grad():
            w.copy_(x)
        return (a + x).exp() * x

    program = changed(chains, f, X)
    first = names(program).index("assign") if "assign" in names(program) else 1
    assert names(program)[0] == "multiply" and first > 0


def test_small_chains_are_left_as_they_are():
    assert names(changed(chains, lambda x: (x * x).exp(), X[:2])) == ["multiply", "exp"]
    assert names(changed(chains, lambda x: ((x * x).exp() + x).tanh(), X[:2])) == ["program"]


def test_chains_are_as_long_as_the_kernel_takes():
    def f(x):
        for k in range(150):
            x = x * (1.0 + k / 7) if k % 3 else me.sin(x)
        return x

    found = names(changed(chains, f, X))
    assert set(found) == {"program"} and 3 <= len(found) < 10


def test_a_view_of_a_result_ends_the_chain():
    def f(x, y):
        h = (x * y).exp()
        return (h.T.reshape((40, 130)) + h) * y

    assert names(changed(chains, f, X, Y)).count("program") == 2


def test_float64_and_booleans():
    def f(x, y):
        keep = me.logical_and(x > y, x > 0.0)
        return me.where(keep, x * y, y).exp() + x

    changed(chains, f, X.astype(np.float64), Y.astype(np.float64))
    changed(chains, f, X, Y)


# ---- all rules --------------------------------------------------------------------------------


@given(functions(), st.sampled_from([(6, 5), (6, 5), (6, 1), (40, 130)]),
       st.sampled_from([np.float32, np.float64]))
def test_random_functions_keep_their_bits(drawn, shape, dtype):
    steps, order = drawn
    draws = np.random.default_rng(len(steps))
    arrays = [draws.normal(size=shape).astype(dtype) for _ in range(3)]
    function = built(steps, order)
    eager, _ = flatten(function(*map(me.Tensor, arrays)))
    program = recorded(function, *arrays)
    lines = len(program.lines)
    made = rules.rewrite(program)
    assert len(program.lines) <= lines and set(made) == {rule.__name__ for rule in rules.RULES}
    for got, want in zip(run(program, *arrays), eager, strict=True):
        np.testing.assert_array_equal(got, want.data)


def test_a_training_step_keeps_its_bits():
    def trained(rewritten):
        me.manual_seed(0)
        net = nn.Sequential(nn.Linear(130, 40), nn.Tanh(), nn.Linear(40, 3))
        opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        def step(x, y):
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            return loss.detach()

        labels = np.arange(40) % 3
        step(me.Tensor(X), me.Tensor(labels))
        opt.zero_grad()
        program = recorded(step, X, labels)
        if rewritten:
            rules.rewrite(program)
            assert "linear_activation" in names(program)
            assert len(program.lines) < 16
        return run(program, X, labels)[0], program

    (plain, _), (other, program) = trained(False), trained(True)
    np.testing.assert_array_equal(plain, other)
    assert any(line.by for line in program.lines)


# ---- gradients inside the step ----------------------------------------------------------------

KINDS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, centered=True),
}


def updated(kind, end, width=300, dtype=np.float32, before=None):
    """Return a jitted training step whose large weight could take the factors of its gradient."""
    me.manual_seed(0)
    net = nn.Sequential(nn.Linear(130, width), nn.ReLU(), nn.Linear(width, 130)).astype(dtype)
    opt = KINDS[kind]([{"params": net[0].parameters()}, {"params": net[2].parameters(),
                                                         "lr": 0.05}])

    def step(x, y):
        opt.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        if before is not None:
            before(net)
        opt.step()
        if end:
            opt.zero_grad()
        return loss.detach()

    return net, opt, step


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_take_the_factors_of_gradients_that_end_with_them(kind, dtype, monkeypatch):
    monkeypatch.setattr(rules_of_updates, "LARGE", 130 * 300 * 4)
    weights = []
    for jitted in (False, True):
        net, opt, step = updated(kind, True, dtype=dtype)
        function = me.jit(step) if jitted else step
        for _ in range(4):
            opt.lr = opt.lr * 0.9
            function(me.Tensor(X.astype(dtype)), me.Tensor(Y.astype(dtype)))
        weights.append([t.numpy().copy() for t in (*net.parameters(), *(
            s for state in opt.state.values() for s in state.values()
            if isinstance(s, me.Tensor)))])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    lines = function.plan.program.lines
    fused = [line for line in lines if any(by.startswith("product of") for by in line.by)]
    assert len(fused) == 1 and len(function.plans) == 1
    # the gradient of the input of the second layer is the one product that is left
    assert names(function.plan.program).count("matmul") == 1
    shapes = {v.shape for line in lines for v in line.outputs}
    assert (300, 130) not in shapes and (130, 300) not in shapes


def test_gradients_that_stay_or_are_read_or_small_are_written(monkeypatch):
    def products(*args, **kwargs):
        net, _, step = updated("sgd", *args, **kwargs)
        function = me.jit(step)
        for _ in range(3):
            function(me.Tensor(X), me.Tensor(Y))
        return net, names(function.plan.program).count("matmul")

    assert products(True)[1] == 3  # small
    monkeypatch.setattr(rules_of_updates, "LARGE", 130 * 300 * 4)
    assert products(True)[1] == 1
    net, count = products(False)
    assert count == 3 and net[0].weight.grad is not None
    clipped = products(True, before=lambda net: optim.clip_grad_norm_(net.parameters(), 0.1))
    assert clipped[1] == 3
    monkeypatch.setattr(rules_of_updates, "DEEP", 4 * 39)  # longer than the batch of 40
    assert products(True)[1] == 3


def test_a_factor_that_is_written_before_the_step_is_not_read_late(monkeypatch):
    monkeypatch.setattr(rules_of_updates, "LARGE", 1)
    found = []
    for jitted in (False, True):
        weight, held = me.Parameter(np.ones((130, 130), np.float32)), nn.Buffer(X.copy())
        opt = optim.SGD([weight], lr=0.1)

        def step(weight=weight, held=held, opt=opt):
            (held @ weight).square().mean().backward()
            with me.no_grad():
                held.copy_(held * 0.5)
            opt.step()
            opt.zero_grad()

        function = me.jit(step) if jitted else step
        for _ in range(3):
            function()
        found.append(weight.numpy().copy())
    np.testing.assert_array_equal(*found)
    assert "matmul" in names(function.plan.program)


# ---- convolution, activation, pooling ---------------------------------------------------------


IMAGES = rng.normal(size=(2, 13, 12, 3)).astype(np.float32)


def trainable(act, pool=lambda t: F.max_pool2d(t, 2)):
    """Return a function whose results are the gradients of two convolutions with pooling."""
    first, second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3)

    def loss(x):
        h = pool(act(second(pool(act(first(x))))))
        return (h * h).sum()

    def gradients(x):
        parameters = [*first.parameters(), *second.parameters()]
        for p in parameters:
            p.grad = None
        loss(x).backward()
        return [p.grad * 1.0 for p in parameters]

    return loss, gradients


@pytest.mark.parametrize("act", [
    F.relu, F.tanh, F.relu6, lambda t: F.leaky_relu(t, 0.2), lambda t: t],
    ids=["relu", "tanh", "relu6", "leaky_relu", "none"])
def test_convolution_activation_and_pooling_are_one_line_there_and_back(act):
    def both(program):
        results(program)
        epilogues(program)
        pooling(program)

    loss, gradients = trainable(act)
    found = names(changed(both, gradients, IMAGES))
    assert found.count("conv_pool") == 2 and found.count("conv_pool_grad_weight") == 2
    assert found.count("conv_pool_grad_input") == 1 and found.count("conv_pool_grad_bias") == 2
    assert not {"max_pool", "max_pool_grad", "conv", "relu", "sum_to"} & set(found)
    assert names(changed(both, loss, IMAGES)).count("conv_pool") == 2


def test_pooling_stays_apart_where_the_full_resolution_is_read_too():
    def both(program):
        results(program)
        epilogues(program)
        pooling(program)

    first = nn.Conv2d(3, 16, 3)

    def f(x):
        h = F.relu(first(x))
        return F.max_pool2d(h, 2), h.mean()

    assert names(changed(both, f, IMAGES)) == ["conv_activation", "max_pool", "mean"]
    for windows in (lambda t: F.max_pool2d(t, 3, stride=2),
                    lambda t: F.max_pool2d(t, 2, padding=1)):
        _, gradients = trainable(F.relu, windows)
        found = names(changed(both, gradients, IMAGES))
        assert "max_pool" in found and "conv_pool" not in found


@given(st.data())
def test_joined_convolutions_keep_their_bits(data):
    """Whatever the channels, kernels, groups and windows: joined only where bits are equal."""
    draw = data.draw
    groups = draw(st.sampled_from([1, 1, 1, 2, 4]))
    c, f = (groups * draw(st.sampled_from([1, 2, 4, 6, 17])) for _ in range(2))
    kernel, stride = draw(st.sampled_from([(1, 1), (3, 3), (2, 3)])), draw(st.sampled_from([1, 2]))
    layer = nn.Conv2d(c, f, kernel, stride=stride, padding=draw(st.integers(0, 1)), groups=groups)
    act = draw(st.sampled_from([F.relu, F.sigmoid, lambda t: t]))
    pool = draw(st.sampled_from([(2, 2), (3, 2)]))
    images = np.random.default_rng(f).normal(size=(2, 13, 12, c)).astype(
        draw(st.sampled_from([np.float32, np.float64])))
    layer.astype(images.dtype)

    def gradients(x):
        pull = me.grad(lambda t, w, b: F.max_pool2d(act(F.conv2d(
            t, w, b, stride=stride, padding=layer.padding, groups=groups)), pool).square().sum(),
            argnums=(0, 1, 2))
        return pull(x, layer.weight, layer.bias)

    changed(rules.rewrite, gradients, images)


# ---- rules that round differently -------------------------------------------------------------


@pytest.mark.parametrize("kernel", [5, 7])
@pytest.mark.parametrize("conv", [F.conv2d, F.conv_transpose2d], ids=["conv", "transposed"])
def test_upsampling_and_convolution_run_at_the_low_resolution(conv, kernel):
    images = rng.normal(size=(2, 7, 6, 3))
    shape = (8, kernel, kernel, 3) if conv is F.conv2d else (3, kernel, kernel, 8)
    weight, bias = rng.normal(size=shape), rng.normal(size=8)

    def f(x, w, b):
        pull = me.value_and_grad(lambda *t: conv(
            F.upsample(t[0], 2), *t[1:], padding=kernel // 2).square().sum(), argnums=(0, 1, 2))
        return pull(x, w, b)

    arrays = images, weight, bias
    program = recorded(f, *arrays)
    before = run(program, *arrays)
    work = sum(line.op.work([np.empty(v.shape) for v in line.inputs],
                            [(v.shape, v.dtype) for v in line.outputs], line.params)[0]
               for line in program.lines)
    assert rules.rewrite(program, exact=False)["upsampling"] == 1
    assert "resample" not in names(program)
    for a, b in zip(run(program, *arrays), before, strict=True):
        assert np.abs(a - b).max() <= 1e-14 * np.abs(b).max()
    less = sum(line.op.work([np.empty(v.shape) for v in line.inputs],
                            [(v.shape, v.dtype) for v in line.outputs], line.params)[0]
               for line in program.lines)
    assert less < 0.75 * work  # small images: borders and summed weights count


def test_upsampling_is_left_to_exact_plans_other_scales_and_small_kernels():
    def f(scale, kernel):
        weight = rng.normal(size=(8, kernel, kernel, 3)).astype(np.float32)
        return lambda x: F.conv2d(F.upsample(x, scale), me.Tensor(weight), padding=kernel // 2)

    for scale, kernel in ((3, 5), (2, 3)):
        assert rules.rewrite(recorded(f(scale, kernel), IMAGES), exact=False)["upsampling"] == 0
    assert "upsampling" not in rules.rewrite(recorded(f(2, 5), IMAGES))


def test_a_weight_that_is_written_before_its_gradient_is_left_alone():
    weight = me.tensor(rng.normal(size=(8, 5, 5, 3)).astype(np.float32))

    def f(x):
        y = F.conv2d(F.upsample(x, 2), weight, padding=2)
        with me.no_grad():
            weight.copy_(weight * 2.0)
        return y, F.conv2d(F.upsample(x, 2), weight, padding=2)

    program = recorded(f, IMAGES)
    weight.data *= 0.5
    before = run(program, IMAGES)
    rules.rewrite(program, exact=False)
    for a, b in zip(run(program, IMAGES), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_inexact_training_follows_exact_training():
    losses = []
    for exact in (True, False):
        me.manual_seed(0)
        net = nn.Sequential(nn.Upsample(2), nn.ConvTranspose2d(3, 16, 5, padding=2),
                            nn.LeakyReLU(0.2), nn.Upsample(2), nn.Conv2d(16, 4, 5, padding=2))
        opt = optim.SGD(net.parameters(), lr=0.05)

        def step(x, net=net, opt=opt):
            opt.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            opt.step()
            return loss.detach()

        jitted = me.jit(step, exact=exact)
        losses.append([float(jitted(me.Tensor(IMAGES)).numpy()) for _ in range(5)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0][-1] < 0.9 * losses[0][0]


@given(functions(), st.sampled_from([(6, 5), (1, 4), (40, 130)]),
       st.sampled_from([np.float32, np.float64]), st.sampled_from(["fast", "reference"]))
def test_random_functions_replayed_equal_eager(drawn, shape, dtype, text):
    steps, order = drawn
    function = built(steps, order)
    jitted = me.jit(function)
    with me.backend(text):
        for seed in range(3):  # recorded, bound, replayed
            draws = np.random.default_rng(seed)
            tensors = [me.Tensor(draws.normal(size=shape).astype(dtype)) for _ in range(3)]
            found, wanted = (flatten(f(*tensors))[0] for f in (jitted, function))
            for got, want in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(got.numpy(), want.numpy())
    assert len(jitted.plans) == 1
    assert jitted.plan.history()[-1].after == texts(jitted.plan.program)
