"""``me.jit`` against eager, and engine rules 10 to 16, each with what fails without it."""

from __future__ import annotations

import threading
import warnings
from weakref import ref

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim
from medai_engine.jit.memory import ARENA
from medai_engine.optim import schedules

RNG = np.random.default_rng(0)


def batches(count, shape=(8, 6), classes=3):
    return [(RNG.standard_normal(shape).astype(np.float32), RNG.integers(0, classes, shape[0]))
            for _ in range(count)]


def network(dropout=0.0, norm=False):
    me.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 7), *([nn.BatchNorm1d(7)] if norm else []), nn.ReLU(),
                         *([nn.Dropout(dropout)] if dropout else []), nn.Linear(7, 3))


def training(model, make=lambda params: optim.Adam(params, lr=0.01), schedule=None):
    """Return a step with all it changes: for comparing a jitted one with an eager one."""
    opt = make(model.parameters())
    plan = schedule(opt) if schedule else None

    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        if plan is not None:
            plan.step()
        return loss

    return step, opt


def same_runs(build, data, **options):
    """Run the step eagerly and jitted from the same start; return both states, compared by ==."""
    found = []
    for wrap in (lambda f: f, me.jit):
        model = build()
        step, opt = training(model, **options)
        step = wrap(step)
        me.manual_seed(11)
        losses = [step(x, y).item() for x, y in data]
        state = {name: t.numpy().copy() for name, t in model.state_dict().items()}
        grads = [p.grad.numpy().copy() for p in model.parameters()]
        found.append((losses, state, grads, opt.state_dict(), me.generator.DEFAULT.get_state()))
    (losses, state, grads, kept, drawn), (losses2, state2, grads2, kept2, drawn2) = found
    assert losses == losses2 and drawn == drawn2
    assert all((state[name] == state2[name]).all() for name in state)
    assert all((a == b).all() for a, b in zip(grads, grads2, strict=True))
    assert kept["param_groups"] == kept2["param_groups"]
    for number, entries in kept["state"].items():
        assert all(np.array_equal(value, kept2["state"][number][name])
                   for name, value in entries.items())
    return step


# ---- whole steps ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [
    lambda p: optim.Adam(p, lr=0.01), lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: optim.NAdam(p), lambda p: optim.RMSprop(p, momentum=0.5, centered=True)])
def test_training_step_equals_eager_to_the_bit(make):
    step = same_runs(network, batches(6), make=make)
    assert len(step.plans) == 1


def test_dropout_draws_what_eager_draws():
    same_runs(lambda: network(dropout=0.4), batches(6))


def test_running_statistics_are_state():
    same_runs(lambda: network(norm=True), batches(6))


def test_schedule_runs_on_the_host():
    same_runs(network, batches(8), schedule=lambda opt: schedules.CosineAnnealingLR(opt, 5))


def test_gradients_accumulate_as_in_eager():
    found = []
    for wrap in (lambda f: f, me.jit):
        model = network()
        opt = optim.SGD(model.parameters(), lr=0.1)
        gather = wrap(lambda x, y, m=model: F.cross_entropy(m(x), y).backward())
        update = wrap(opt.step)
        for i, (x, y) in enumerate(batches_of_test):
            gather(x, y)
            if i % 3 == 2:
                update()
                opt.zero_grad()
        found.append([p.numpy().copy() for p in model.parameters()])
    assert all((a == b).all() for a, b in zip(*found, strict=True))


batches_of_test = batches(12)


def test_value_and_grad_inside_and_outside():
    x, w = (RNG.standard_normal(s).astype(np.float32) for s in ((4, 3), (3,)))

    def loss(w, x):
        return (F.sigmoid(me.asarray(x) @ w) ** 2).sum()

    expected = me.value_and_grad(loss)(me.asarray(w), x)
    inside = me.jit(lambda w, x: me.value_and_grad(loss)(w, x))
    for _ in range(3):
        got = inside(w, x)
        assert got[0].item() == expected[0].item() and (
            got[1].numpy() == expected[1].numpy()).all()
    jitted = me.jit(loss)
    for _ in range(3):
        assert (me.grad(jitted)(me.asarray(w), x).numpy() == expected[1].numpy()).all()
    second = me.jacobian(me.grad(loss))(me.asarray(w), x).numpy()
    assert (me.jacobian(me.grad(jitted))(me.asarray(w), x).numpy() == second).all()


def test_structures_go_in_and_out():
    @me.jit
    def f(pair, named):
        a, (b,) = pair
        return {"sum": a + b, "rest": [named["c"] * 2, 7, None]}

    for k in range(3):
        a = np.full(3, k, np.float32)
        got = f((a, (a * 2,)), {"c": me.asarray(a)})
        assert (got["sum"].numpy() == 3 * a).all() and got["rest"][1:] == [7, None]
        assert (got["rest"][0].numpy() == 2 * a).all()
    assert len(f.plans) == 1


def test_last_batch_and_train_eval_have_their_own_plans():
    model = network(dropout=0.5)
    forward = me.jit(lambda x: model(x))
    big, small = (RNG.standard_normal((n, 6)).astype(np.float32) for n in (8, 3))
    model.eval()
    wanted = {n: model(x).numpy().copy() for n, x in ((8, big), (3, small))}
    for _ in range(3):
        model.eval()
        assert (forward(big).numpy() == wanted[8]).all()
        assert (forward(small).numpy() == wanted[3]).all()
        model.train()
        me.manual_seed(3)
        drawn = forward(big).numpy().copy()
        me.manual_seed(3)
        assert (model(big).numpy() == drawn).all()
    assert len(forward.plans) == 3


def test_two_functions_share_parameters():
    found = []
    for wrap in (lambda f: f, me.jit):
        model = network()
        step, _ = training(model)
        step, score = wrap(step), wrap(lambda x, m=model: m(x).argmax(axis=-1))
        for x, y in batches_of_test:
            step(x, y)
            found.append(score(x).numpy().copy())
    half = len(found) // 2
    assert all((a == b).all() for a, b in zip(found[:half], found[half:], strict=True))


def test_inner_jitted_function_is_part_of_the_outer_plan():
    inner = me.jit(lambda x: x * 2)
    outer = me.jit(lambda x: inner(x) + 1)
    for k in range(3):
        assert (outer(np.full(3, k, np.float32)).numpy() == 2 * k + 1).all()
    assert len(outer.plans) == 1 and not inner.plans


# ---- rule 10: arguments by position, values stay inside -----------------------------------------


def test_arguments_are_known_by_position():
    f = me.jit(lambda x, y: x - y)
    a, b = np.ones(3, np.float32), np.zeros(3, np.float32)
    assert (f(a, a).numpy() == 0).all()
    assert (f(a, b).numpy() == 1).all() and (f(b, a).numpy() == -1).all()
    assert len(f.plans) == 1


@pytest.mark.parametrize("read", [
    lambda x: x.sum().item(), lambda x: float(x.sum()), lambda x: bool(x.sum() > 0),
    lambda x: int(x.sum()), lambda x: x.numpy(), lambda x: np.asarray(x), lambda x: x.tolist(),
    lambda x: np.from_dlpack(x), lambda x: [1, 2, 3][me.tensor(1, dtype=me.int64)],
    lambda x: me.nonzero(x), lambda x: me.unique(x), lambda x: x[x > 0], lambda x: me.one_hot(
        x.astype(me.int64))],
    ids=["item", "float", "bool", "int", "numpy", "array", "tolist", "dlpack", "index", "nonzero",
         "unique", "mask", "one_hot"])
def test_reading_a_value_inside_names_the_line(read):
    f = me.jit(read)
    x = np.ones(3, np.float32)
    with pytest.raises(me.GraphError, match=r"test_jit\.py:\d+.*me\.where"):
        f(x)
    assert not f.plans and me.ones((1,)).item() == 1


def test_numbers_are_part_of_the_signature_and_many_warn_once():
    f = me.jit(lambda x, k: x * k)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(12):
            assert (f(np.ones(2, np.float32), float(k)).numpy() == k).all()
    assert len(caught) == 1 and "me.asarray" in str(caught[0].message)
    assert (f(np.ones(2, np.float32), True).numpy() == 1).all() and len(f.plans) == 13


def test_an_argument_cannot_be_written():
    def f(x):
        with me.no_grad():
            x += 1
        return x

    with pytest.raises(me.GraphError, match="written in place"):
        me.jit(f)(me.ones((3,)))


# ---- rule 11: guards ----------------------------------------------------------------------------


def test_a_frozen_parameter_is_noticed():
    model = network()
    step, _ = training(model, lambda p: optim.SGD(p, lr=0.1))
    step = me.jit(step)
    for x, y in batches_of_test[:3]:
        step(x, y)
    model[0].weight.requires_grad_(False)
    before = model[0].weight.numpy().copy()
    for x, y in batches_of_test[:3]:
        step(x, y)
    assert (model[0].weight.numpy() == before).all() and model[0].weight.grad is None


def test_a_new_binding_is_noticed():
    layer = nn.Linear(6, 2)
    f = me.jit(lambda x: layer(x))
    x = np.ones((1, 6), np.float32)
    f(x), f(x)
    layer.astype(me.float64)
    assert f(x).dtype == np.float64
    layer.bias = nn.Parameter(np.full(2, 100.0))
    assert f(x).numpy().min() > 50


def test_an_array_put_into_a_parameter_is_noticed():
    w = nn.Parameter([1.0, 2.0])
    f = me.jit(lambda x: x * w)
    x = np.ones(2, np.float32)
    f(x), f(x)
    w.data = np.array([3.0, 4.0], np.float32)
    assert f(x).numpy().tolist() == [3, 4] and f(x).numpy().tolist() == [3, 4]


def test_gradcheck_of_a_jitted_function():
    layer = nn.Linear(3, 2, dtype=np.float64)
    f = me.jit(lambda x: F.tanh(layer(x)))
    x = me.Tensor(RNG.standard_normal((4, 3))).requires_grad_()
    f(x), f(x)
    assert me.testing.gradcheck(lambda *_: f(x), [x, layer.weight, layer.bias])


def test_an_option_that_needs_other_states_is_noticed():
    found = []
    for wrap in (lambda f: f, me.jit):
        model = network()
        step, opt = training(model)
        step = wrap(step)
        for i, (x, y) in enumerate(batches_of_test):
            if i == 4:
                opt.param_groups[0]["amsgrad"] = True
            step(x, y)
        found.append([p.numpy().copy() for p in model.parameters()])
        assert "max_exp_avg_sq" in opt.state[model[0].weight]
    assert all((a == b).all() for a, b in zip(*found, strict=True))


def test_loaded_optimiser_state_is_used():
    found = []
    for wrap in (lambda f: f, me.jit):
        model = network()
        step, opt = training(model)
        step = wrap(step)
        kept = None
        for i, (x, y) in enumerate(batches_of_test):
            step(x, y)
            if i == 3:
                kept = opt.state_dict()
            if i == 7:
                opt.load_state_dict(kept)
        found.append([p.numpy().copy() for p in model.parameters()])
    assert all((a == b).all() for a, b in zip(*found, strict=True))


def test_a_gradient_that_is_there_or_not_is_noticed():
    w = nn.Parameter([1.0, 2.0])
    f = me.jit(lambda x: (w * x).sum().backward())
    x = np.ones(2, np.float32)
    for k in range(1, 5):
        f(x)
        assert (w.grad.numpy() == k).all()
    w.grad = None
    f(x)
    assert (w.grad.numpy() == 1).all()


def test_gradients_dropped_by_hand_inside():
    w = nn.Parameter([1.0, 2.0])

    @me.jit
    def f(x):
        w.grad = None
        (w * x).sum().backward()

    for k in range(1, 6):
        f(np.full(2, k, np.float32))
        assert (w.grad.numpy() == k).all()
    assert len(f.plans) <= 2


def test_flags_switched_inside_are_settled_by_the_second_call():
    model = network(dropout=0.5)

    @me.jit
    def f(x):
        model.eval()
        y = model(x)
        model.train()
        return y

    x = RNG.standard_normal((4, 6)).astype(np.float32)
    results = [f(x).numpy().copy() for _ in range(4)]
    assert len(f.plans) == 1 and all((r == results[0]).all() for r in results)


def test_sizes_inferred_in_the_first_call():
    def make():
        me.manual_seed(5)
        return nn.Sequential(nn.Linear(None, 4), nn.ReLU(), nn.Linear(None, 3))

    found = []
    for wrap in (lambda f: f, me.jit):
        model = make()
        f = wrap(lambda x, m=model: m(x))
        me.manual_seed(9)
        found.append([f(x).numpy().copy() for x, _ in batches_of_test[:4]])
        found.append([me.random.uniform(3).numpy()])
    assert all((a == b).all() for a, b in zip(found[0], found[2], strict=True))
    assert (found[1][0] == found[3][0]).all()


# ---- rule 12: the host ------------------------------------------------------------------------


def test_rate_changed_between_calls():
    w = nn.Parameter([1.0])
    opt = optim.SGD([w], lr=1.0)

    @me.jit
    def f(x):
        opt.zero_grad()
        (w * x).sum().backward()
        opt.step()

    x = np.ones(1, np.float32)
    f(x), f(x)
    opt.lr = 0.25
    before = w.numpy()[0]
    f(x)
    assert w.numpy()[0] == before - 0.25


def test_seed_set_between_calls():
    f = me.jit(lambda x: F.dropout(x, 0.5) + me.random.normal((50,)))
    x = np.ones(50, np.float32)
    f(x)
    for seed in (1, 2, 1):
        me.manual_seed(seed)
        got = f(x).numpy()
        me.manual_seed(seed)
        assert (got == (F.dropout(me.asarray(x), 0.5) + me.random.normal((50,))).numpy()).all()


# ---- rule 13: checks ----------------------------------------------------------------------------


def test_labels_are_checked_before_anything_is_written():
    model = network(norm=True)
    step, _ = training(model)
    step = me.jit(step)
    for x, y in batches_of_test[:3]:
        step(x, y)
    kept = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    x, y = batches_of_test[3]
    bad = y.copy()
    bad[2] = 9
    with pytest.raises(me.DataError):
        step(x, bad)
    assert all((t.numpy() == kept[name]).all() for name, t in model.state_dict().items())


def test_labels_of_other_integer_types():
    f = me.jit(lambda x, y: F.cross_entropy(x, y))
    for x, y in batches_of_test[:4]:
        logits = x[:, :3].copy()
        assert f(logits, y.astype(np.int32)).item() == F.cross_entropy(
            me.asarray(logits), y).item()


# ---- rule 14: results, busy plans, exceptions ---------------------------------------------------


def test_results_and_gradients_are_never_overwritten():
    w = nn.Parameter([1.0, 2.0])

    @me.jit
    def f(x):
        w.grad = None
        y = w * x
        y.sum().backward()
        return y.detach()

    kept, grads, copies = [], [], []
    for k in range(6):
        kept.append(f(np.full(2, k, np.float32)))
        grads.append(w.grad.numpy())
        copies.append((kept[-1].numpy().copy(), w.grad.numpy().copy()))
    for y, g, (y0, g0) in zip(kept, grads, copies, strict=True):
        assert (y.numpy() == y0).all() and (g == g0).all()


def test_backward_outside():
    found = []
    for wrap in (lambda f: f, me.jit):
        model = network(dropout=0.5)
        forward = wrap(lambda x, model=model: model(x))
        me.manual_seed(4)
        for x, y in batches_of_test[:5]:
            first, second = forward(x), forward(x)  # with other random numbers
            F.cross_entropy(first, y).backward()
            F.cross_entropy(second * 2.0, y).backward()
        found.append([p.grad.numpy().copy() for p in model.parameters()])
    assert all((a == b).all() for a, b in zip(*found, strict=True))


def test_a_write_by_a_plan_is_noticed_by_graphs_outside():
    model = network(norm=True)
    step, _ = training(model)
    step = me.jit(step)
    for x, y in batches_of_test[:3]:
        step(x, y)
    loss = F.cross_entropy(model(x), y)
    step(x, y)
    with pytest.raises(me.GraphError, match="written since"):
        loss.backward()


def test_backward_outside_does_not_move_running_statistics_twice():
    model, twin = network(norm=True), network(norm=True)
    forward = me.jit(lambda x: model(x))
    for x, y in batches_of_test[:4]:
        F.cross_entropy(twin(x), y).backward()
        F.cross_entropy(forward(x), y).backward()
    for (name, a), b in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        assert (a.numpy() == b.numpy()).all(), name


def test_backward_outside_after_an_update_is_refused():
    w = nn.Parameter([1.0])
    f = me.jit(lambda x: (w * w * x).sum())
    x = np.ones(1, np.float32)
    f(x)
    y = f(x)
    with me.no_grad():
        w += 1.0
    with pytest.raises(me.GraphError, match="written since"):
        y.backward()


def test_a_graph_outside_goes_on_through():
    f = me.jit(lambda x: (x * x).sum())
    for k in (1.0, 2.0, 3.0):
        a = me.tensor([k, 1.0], requires_grad=True)
        f(a * 3).backward()
        assert a.grad.numpy().tolist() == [18 * k, 18.0]
    with pytest.raises(me.GraphError, match="computed outside"):
        me.jit(lambda x: (x * x).sum().backward())(me.tensor([1.0], requires_grad=True) * 2)


def test_gradients_go_to_the_arguments_of_this_call():
    f = me.jit(lambda x, y: (x * y).sum().backward())
    for _ in range(3):
        a, b = (me.tensor([k, 5.0], requires_grad=True) for k in (2.0, 3.0))
        f(a, b)
        assert (a.grad.numpy() == b.numpy()).all() and (b.grad.numpy() == a.numpy()).all()
    c = me.tensor([2.0], requires_grad=True)
    f(c, c)
    assert c.grad.item() == 4.0


def test_used_up_graphs_stay_used_up():
    step, _ = training(network())
    step = me.jit(step)
    for x, y in batches_of_test[:3]:
        loss = step(x, y)
        assert loss.requires_grad
        with pytest.raises(me.GraphError, match="freed"):
            loss.backward()


def test_a_busy_plan_runs_eagerly():
    inside = []

    @me.op()
    def call_back(x):
        if depth:
            inside.append(depth.pop() and f(np.ones(2, np.float32)).numpy().copy())
        return x * 2

    f = me.jit(lambda x: call_back(x) + 1)
    depth = []
    f(np.ones(2, np.float32))
    depth = [True]
    assert (f(np.zeros(2, np.float32)).numpy() == 1).all() and (inside[0] == 3).all()


def test_threads_get_the_same_results():
    model = network()
    model.eval()
    f = me.jit(lambda x: model(x))
    data = [x for x, _ in batches_of_test]
    wanted = [model(x).numpy().copy() for x in data]
    wrong = []

    def run():
        for _ in range(20):
            for x, y in zip(data, wanted, strict=True):
                if not (f(x).numpy() == y).all():
                    wrong.append(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_an_exception_leaves_what_eager_leaves_and_no_plan():
    w = nn.Parameter([1.0])
    fail = [True]

    @me.jit
    def f(x):
        (w * x).sum().backward()
        if fail[0]:
            raise KeyError("inside")
        return w * x

    with pytest.raises(KeyError):
        f(np.ones(1, np.float32))
    assert w.grad.item() == 1.0 and not f.plans
    fail[0] = False
    f(np.ones(1, np.float32)), f(np.ones(1, np.float32))
    assert w.grad.item() == 3.0 and len(f.plans) == 1


# ---- rule 15: memory ----------------------------------------------------------------------------


def test_arena_is_planned():
    f = me.jit(lambda x: F.tanh(F.tanh(F.tanh(x) * 2.0) + 1.0).sum())
    x = np.ones((64, 64), np.float32)
    f(x), f(x)
    layout = f.plan.layout
    assert x.nbytes <= layout.peak <= layout.arena <= f.plan.eager + x.nbytes


def test_results_take_the_memory_of_what_ends():
    f = me.jit(lambda x: F.softmax(F.softmax(F.softmax(x))) @ np.ones((32, 1), np.float32))
    for x in RNG.standard_normal((3, 100, 32)).astype(np.float32):
        assert (f(x).numpy() == f.fn(me.asarray(x)).numpy()).all()
    assert f.plan.layout.peak < 1.5 * x.nbytes


def test_plans_share_one_arena_grown_to_the_largest():
    f, g = me.jit(lambda x: F.tanh(x * 2).sum()), me.jit(lambda x: me.exp(x - 1).sum())
    small, large = np.ones(50, np.float32), np.ones(500_000, np.float32)
    wanted = [h(me.asarray(x)).item() for h in (f.fn, g.fn) for x in (small, large)]
    for _ in range(3):
        assert [h(x).item() for h in (f, g) for x in (small, large)] == wanted
    assert ARENA.memory.nbytes >= 2_000_000
    assert all(plan.memory is ARENA.memory for plan in (*f.plans, *g.plans) if plan.memory
               is not None and plan.layout.arena > 1_000_000)


def test_a_recording_holds_no_more_than_eager():
    """Of all intermediate results no more than two are alive at once, recorded or not."""
    alive, most = [], []

    def f(x):
        for _ in range(8):
            x = x * 1.5
            alive.append(ref(x.data))
            most.append(sum(r() is not None for r in alive))
        return x.sum()

    f(me.ones((9,)))
    eager = max(most)
    alive.clear(), most.clear()
    jitted = me.jit(f)
    jitted(me.ones((9,)))
    assert max(most) == eager <= 3
    assert jitted.plan.eager <= 3 * 36


def test_sixteen_plans_the_least_recently_used_goes():
    f = me.jit(lambda x: x + 1)
    for n in range(1, 17):
        f(np.ones(n, np.float32))
    f(np.ones(1, np.float32))
    f(np.ones(17, np.float32))
    sizes = [plan.program.arguments[0].shape[0] for plan in f.plans]
    assert len(sizes) == 16 and 1 in sizes and 2 not in sizes


def test_checkpoint_inside_a_plan():
    def make(wrap):
        me.manual_seed(5)
        layers = [nn.Linear(6, 6) for _ in range(3)]

        def step(x):
            for layer in layers:
                layer.zero_grad()
            h = me.asarray(x)
            for layer in layers:
                h = wrap(lambda h, layer=layer: F.dropout(F.tanh(layer(h)), 0.3))(h)
            h.sum().backward()
            return [layer.weight.grad.copy() for layer in layers]

        return step

    plain, lean = me.jit(make(lambda f: f)), me.jit(make(me.checkpoint))
    for x, _ in batches_of_test[:4]:
        me.manual_seed(2)
        wanted = plain(x)
        me.manual_seed(2)
        assert all((a.numpy() == b.numpy()).all() for a, b in zip(lean(x), wanted, strict=True))
    numbers = {line.frame for line in lean.plan.program.lines}
    assert len(numbers) == 4


def test_checkpoint_makes_the_arena_smaller():
    w = nn.Parameter(np.full((64, 64), 0.01, np.float32))

    def block(x):
        return F.tanh(F.softplus(F.tanh(x @ w) * 2.0) + x)

    sizes = []
    for wrap in (lambda f: f, me.checkpoint):
        part = wrap(block)

        @me.jit
        def step(x, part=part):
            w.grad = None
            h = part(part(part(part(x * 1.0))))
            h.sum().backward()

        for _ in range(3):
            step(np.ones((64, 64), np.float32))
        sizes.append(step.plan.layout.peak)
    assert sizes[1] < 0.8 * sizes[0]


# ---- what else a step may hold ------------------------------------------------------------------


def clipped_step(model, norm_type):
    opt = optim.SGD(model.parameters(), lr=0.5)
    ema = optim.EMA(model, 0.8)

    def step(x, y):
        opt.zero_grad()
        F.cross_entropy(model(x), y).backward()
        norm = optim.clip_grad_norm_(model.parameters(), 0.4, norm_type)
        optim.clip_grad_value_(model.parameters(), 0.1)
        opt.step()
        ema.update()
        return norm

    return step, ema


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf")])
def test_clipping_and_averages(norm_type):
    found = []
    for wrap in (lambda f: f, me.jit):
        model = network()
        step, ema = clipped_step(model, norm_type)
        step = wrap(step)
        norms = [step(x, y).item() for x, y in batches_of_test]
        found.append((norms, ema.updates, [a.numpy().copy() for a in ema.averages]))
    assert found[0][:2] == found[1][:2] and len(set(norms)) > 3
    assert all((a == b).all() for a, b in zip(found[0][2], found[1][2], strict=True))


def test_sequences_of_different_lengths():
    found = []
    for wrap in (lambda f: f, me.jit):
        me.manual_seed(1)
        layer = nn.LSTM(3, 4)

        def score(x, lengths, layer=layer):
            output, _ = layer(x, lengths=lengths)
            mask = F.sequence_mask(lengths, x.shape[1])
            return (output * me.where(mask, 1.0, 0.0).reshape((*mask.shape, 1))).sum()

        score = wrap(score)
        rng = np.random.default_rng(2)
        found.append([score(rng.standard_normal((2, 5, 3)).astype(np.float32),
                            rng.integers(1, 6, 2)).item() for _ in range(5)])
    assert found[0] == found[1]


def test_plain_mean_of_running_statistics():
    found = []
    for wrap in (lambda f: f, me.jit):
        norm = nn.BatchNorm1d(6, momentum=None)
        f = wrap(lambda x, norm=norm: norm(x).sum())
        for x, _ in batches_of_test[:5]:
            f(x)
        found.append(norm.running_mean.numpy().copy())
    assert (found[0] == found[1]).all()
    np.testing.assert_allclose(found[0], np.mean([x.mean(0) for x, _ in batches_of_test[:5]], 0),
                               atol=1e-6)


def test_a_module_and_a_method_as_functions():
    class Net(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(6, 2)

        @me.jit
        def score(self, x, scale=2.0):
            return self.layer(x) * scale

    net = Net()
    whole = me.jit(net.layer)
    for x, _ in batches_of_test[:4]:
        wanted = net.layer(x).numpy()
        assert (whole(x).numpy() == wanted).all()
        assert (net.score(x).numpy() == 2 * wanted).all()
        assert (net.score(x, scale=3.0).numpy() == (net.layer(x) * 3.0).numpy()).all()
    assert len(whole.plans) == 1 and len(Net.score.plans) == 2


def test_plain_arguments_beside_tensors():
    f = me.jit(lambda x, scale, shift: x * scale if shift is None else x * scale + shift)
    w = nn.Parameter([4.0])
    x = np.ones(3, np.float32)
    for _ in range(3):
        assert f(x, 2.0, None).numpy().tolist() == [2, 2, 2]
        assert f(x, 3.0, None).numpy().tolist() == [3, 3, 3]
        assert f(x, 3, w).numpy().tolist() == [7, 7, 7]
        assert f(x.astype(np.float64), 2.0, None).dtype == np.float64
        assert f(x[::-1], 2.0, None).numpy().tolist() == [2, 2, 2]
        assert f(x[:2], 2.0, None).shape == (2,)


def test_results_that_are_no_tensors_stay_what_they_are():
    table = np.arange(3)
    f = me.jit(lambda x: (x + 1, table, "name", w))
    w = nn.Parameter([4.0])
    for _ in range(3):
        y, *rest = f(np.ones(2, np.float32))
        assert y.numpy().tolist() == [2, 2] and rest[0] is table and rest[2] is w


@pytest.mark.parametrize("place", [np.asfortranarray, lambda x: x[::-1], lambda x: x.astype(">f4"),
                                   lambda x: np.broadcast_to(x[:1], x.shape)])
def test_arguments_in_any_layout(place):
    f = me.jit(lambda x: F.tanh(x).sum(axis=0))
    for x, _ in batches_of_test[:3]:
        f(x)
        assert (f(place(x)).numpy() == f(np.array(place(x), np.float32)).numpy()).all()


def test_update_by_hand_in_a_function_of_its_own():
    found = []
    for wrap in (lambda f: f, me.jit):
        model = network()

        def update(model=model):
            with me.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad
                    p.grad = None

        update = wrap(update)
        for x, y in batches_of_test[:6]:
            F.cross_entropy(model(x), y).backward()
            update()
            assert all(p.grad is None for p in model.parameters())
        found.append([p.numpy().copy() for p in model.parameters()])
    assert all((a == b).all() for a, b in zip(*found, strict=True))


def test_gradients_given_by_hand():
    w = nn.Parameter([1.0, 2.0])

    @me.jit
    def f(x):
        w.grad = (w * x).detach()

    for k in range(1, 5):
        f(np.full(2, k, np.float32))
        assert w.grad.numpy().tolist() == [k, 2 * k]


def test_a_seed_cannot_be_set_inside():
    with pytest.raises(me.GraphError, match="before the call"):
        me.jit(lambda x: me.manual_seed(0) and x)(np.ones(2, np.float32))


def adversarial():
    """Return a step of a generator and a discriminator, frozen where it is only looked through."""
    me.manual_seed(2)
    maker = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.LeakyReLU(0.2), nn.Linear(8, 6))
    judge = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(8, 1))
    make, tell = (optim.Adam(m.parameters(), lr=0.01, betas=(0.5, 0.999)) for m in (maker, judge))

    def step(real):
        fake = maker(me.random.normal((real.shape[0], 4)))
        tell.zero_grad()
        ones, zeros = me.ones((real.shape[0], 1)), me.zeros((real.shape[0], 1))
        loss = (F.binary_cross_entropy_with_logits(judge(real), ones)
                + F.binary_cross_entropy_with_logits(judge(fake.detach()), zeros))
        loss.backward()
        tell.step()
        judge.requires_grad_(False)
        make.zero_grad()
        cheat = F.binary_cross_entropy_with_logits(judge(fake), ones)
        cheat.backward()
        make.step()
        judge.requires_grad_(True)
        return loss.detach(), cheat.detach(), fake.detach()

    return step, [maker, judge]


def test_two_networks_against_each_other():
    found = []
    for wrap in (lambda f: f, me.jit):
        step, nets = adversarial()
        step = wrap(step)
        me.manual_seed(6)
        values = [[t.numpy().copy() for t in step(x)] for x, _ in batches_of_test]
        found.append([a for v in values for a in v]
                     + [t.numpy().copy() for net in nets for t in net.state_dict().values()]
                     + [p.grad.numpy().copy() for net in nets for p in net.parameters()])
    assert all((a == b).all() for a, b in zip(*found, strict=True))
    assert len(step.plans) == 1


@pytest.mark.parametrize("loss, good, bad", [
    (F.nll_loss, np.array([0, 1]), np.array([0, 3])),
    (F.hinge_loss, np.ones((2, 2), np.float32), np.full((2, 2), 2, np.float32))],
    ids=["labels", "signs"])
def test_checks_of_functions_are_part_of_the_plan(loss, good, bad):
    w = nn.Parameter(np.zeros((2, 2), np.float32))

    @me.jit
    def step(x, y):
        with me.no_grad():
            w.copy_(w + x)
        return loss(w, y)

    x = np.ones((2, 2), np.float32)
    for _ in range(3):
        step(x, good)
    with pytest.raises((me.DataError, me.ParameterError)):
        step(x, bad)
    assert (w.numpy() == 3).all()


def test_backends_and_modes_have_their_own_plans():
    layer = nn.Linear(6, 2)
    f = me.jit(lambda x: layer(x))
    for x, _ in batches_of_test[:3]:
        wanted = layer(x).numpy()
        assert (f(x).numpy() == wanted).all() and f(x).requires_grad
        with me.no_grad():
            assert (f(x).numpy() == wanted).all() and not f(x).requires_grad
        with me.backend("reference"):
            assert (f(x).numpy() == layer(x).numpy()).all()
    assert len(f.plans) == 3


def test_copies_leave_plans_behind():
    import copy

    class Net(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(6, 2)
            self.score = me.jit(self.forward)

        def forward(self, x):
            return self.layer(x)

    net = Net()
    x = batches_of_test[0][0]
    net.score(x), net.score(x)
    twin = copy.deepcopy(net)
    twin.layer.weight.data[...] = 0
    assert not twin.score.plans
    assert (twin.score(x).numpy() == twin(x).numpy()).all()
    assert (net.score(x).numpy() == net(x).numpy()).all()


def test_a_module_that_changes_at_every_call_is_named():
    class Net(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(6, 2)

        def forward(self, x):
            self.kept = x * 2
            return self.layer(x)

    net = Net()
    f = me.jit(net)
    with pytest.warns(RuntimeWarning, match=r"without a plan: Net\.kept"):
        for x, _ in batches_of_test:
            assert (f(x).numpy() == net.layer(x).numpy()).all()
    assert not f.plans and (net.kept.numpy() == 2 * x).all()


def test_large_gradients_are_held_by_one_plan_only():
    w = nn.Parameter(np.ones((2100, 2100), np.float32))

    @me.jit
    def f(x):
        w.grad = None
        (x @ w).sum().backward()

    a, b = (np.ones((n, 2100), np.float32) for n in (1, 2))
    for _ in range(3):
        f(a), f(a)
        assert (w.grad.numpy() == 1).all()
        first = f.plan
        f(b), f(b)
        assert (w.grad.numpy() == 2).all() and f.plan is not first and not first.grads
