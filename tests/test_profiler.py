"""The profiler: what it counts, that the parts are the whole, and that it leaves no trace."""

from __future__ import annotations

import json
from itertools import pairwise
from time import perf_counter

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim
from medai_engine.inspect.profiler import SMALL, Profiler
from medai_engine.mode import MODE

N, D, H = 64, 100, 80


def model():
    me.manual_seed(0)
    return nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, 3))


def training(jitted=False):
    net = model()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    x = me.asarray(rng.normal(size=(N, D)).astype(np.float32))
    y = me.asarray(rng.integers(0, 3, N))

    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss.detach()

    run = me.jit(step) if jitted else step
    return lambda: run(x, y)


def profiled(jitted):
    step = training(jitted)
    for _ in range(3):
        step()
    with me.profile() as p:
        step()
    return p


@pytest.fixture(scope="module", params=[False, True], ids=["eager", "plan"])
def p(request):
    return profiled(request.param)


def rows(p, key):
    return {row.name: row for row in p.by(key)}


# the arithmetic of the step: two products forward, one for the first layer's weight, two behind
PRODUCTS = 2 * N * (D * H + H * 3) + 2 * N * (D * H + 2 * H * 3)


def test_contractions_are_counted_once_each(p):
    assert sum(row.flops for row in p.by("op")) == PRODUCTS
    forward, backward = (rows(p, "phase")[name].flops for name in ("forward", "backward"))
    assert forward == 2 * N * (D * H + H * 3) and forward + backward == PRODUCTS
    first = rows(p, "module")["model.0 (Linear)"]
    assert first.flops == 2 * 2 * N * D * H  # its product and its weight's gradient
    assert rows(p, "op")["adam_step"].calls == 1


def test_phases_modules_and_lines_are_the_same_calls(p):
    totals = []
    for key in ("op", "module", "source", "phase"):
        found = p.by(key)
        totals.append((sum(r.calls for r in found), sum(r.flops for r in found),
                       sum(r.moved for r in found), sum(r.allocated for r in found)))
        assert sum(r.seconds for r in found) == pytest.approx(p.kernel_seconds)
        assert [r.seconds for r in found] == sorted((r.seconds for r in found), reverse=True)
    assert len(set(totals)) == 1 and totals[0][0] == len(p.calls)
    assert {"forward", "backward", "optimizer"} == set(rows(p, "phase")) - {"host"}
    assert {name.split(":")[0] for name in rows(p, "source")} <= {
        "test_profiler.py", "inside the engine"}


def test_parts_add_up_to_the_wall_time(p):
    """By the profile's own clock readings: kernels lie apart, in the block, in order."""
    calls = sorted(p.calls, key=lambda call: call.began)
    for before, after in pairwise(calls):
        assert before.began <= before.ended <= after.began
    assert calls[-1].ended - calls[0].began <= p.wall
    assert p.kernel_seconds == pytest.approx(sum(c.ended - c.began for c in calls))
    assert p.kernel_seconds + p.engine_seconds == pytest.approx(p.wall)
    assert 0 < p.kernel_seconds < p.wall


def test_the_wall_time_is_that_of_the_block():
    start = perf_counter()
    with me.profile() as p:
        me.ones((3,)) * 2
        inside = perf_counter()
    assert inside - start >= 0 and p.wall <= perf_counter() - start
    first = p.wall
    with p:
        me.ones((3,)) * 2
    assert p.wall > first and len([c for c in p.calls if c.kind.name == "multiply"]) == 2


def test_bytes_of_an_op():
    x = me.ones((100, 50))
    with me.profile() as p:
        y = x + x
        z = y.reshape((50, 100))
    add = rows(p, "op")["add"]
    assert (add.moved, add.allocated, add.other) == (3 * 4 * 5000, 4 * 5000, 5000)
    assert rows(p, "op")["reshape"].moved == rows(p, "op")["reshape"].allocated == 0
    assert z.shape == (50, 100)


def test_peak_is_what_lived_at_once():
    x = me.ones((1000, 10))  # 40 kB
    with me.profile() as p:
        a = x + 1
        b = a * 2
        del a
        c = b.exp()
        del b
        me.ones((SMALL // 8,)) * 2
    assert p.peak == 2 * x.nbytes
    assert p.live == x.nbytes and [call.live for call in p.calls][-1] == x.nbytes
    del c
    assert p.live == 0 and not p.alive


def test_plans_say_their_arena():
    eager, plan = profiled(False), profiled(True)
    assert eager.arena == 0 < eager.peak and plan.arena > 0 and plan.peak == 0
    assert "arena of plans" in str(plan) and "arena" not in str(eager)


def test_the_table(p):
    text = str(p)
    assert text.splitlines()[0].startswith(f"{1e3 * p.wall:.3f} ms: ")
    for word in ("by phase", "by op", "by module", "by source", "% ceiling", "adam_step",
                 "model.2 (Linear)", "engine and Python", "test_profiler.py:"):
        assert word in text, word
    # the printed shares of each table are all of the time
    for block in text.split("\n\n")[1:5]:
        head, *lines = block.splitlines()
        shares = [float(line[: head.index("% wall") + 6].split()[-1]) for line in lines]
        assert sum(shares) == pytest.approx(100, abs=0.05 * len(lines) + 0.01)


def test_a_chain_in_a_plan_has_its_ops_names():
    function = me.jit(lambda x: ((x * 2 + 1).tanh() - x).sum())
    x = me.ones((300, 200))
    for _ in range(2):
        function(x)
    with me.profile() as p:
        function(x)
    assert "chain of multiply, add, tanh, subtract" in rows(p, "op")


def test_watching_holds_no_gradient_back():
    """The peak is that of the step: nothing lives longer because somebody looks on."""
    w = me.asarray(np.ones((1000, 10), np.float32)).requires_grad_()
    y = w
    for _ in range(8):
        y = y.tanh()
    loss = y.sum()
    with me.profile() as p:
        loss.backward()
    # a gradient, what the next rule makes on the way (1 - y^2), and its result
    assert p.peak <= 4 * w.nbytes


def test_long_tables_are_cut():
    with me.profile() as p:
        x = me.ones((4,))
        for name in ("exp", "log", "sin", "cos", "tanh", "sqrt", "square", "abs", "sign", "floor",
                     "ceil", "round", "sinh", "cosh", "atan", "tan", "erf"):
            getattr(me, name)(x)
    block = str(p).split("\n\n")[2]
    assert "and 3 more" in block and len(p.by("op")) == 17


def test_a_users_op_with_ops_inside_is_counted_once():
    @me.op(gradient=lambda g: g)
    def slow(x):
        return (me.asarray(x) * 2).numpy()

    with me.profile() as p:
        slow(me.ones((1000,)))
    outer, = (call for call in p.calls if call.kind.name == "slow")
    inner, = (call for call in p.calls if call.kind.name == "multiply")
    assert outer.began <= inner.began and inner.ended <= outer.ended
    assert outer.seconds == pytest.approx(outer.ended - outer.began - inner.seconds)
    assert p.kernel_seconds == pytest.approx(outer.ended - outer.began)


def test_nested_profiles_and_errors():
    with me.profile() as outer:
        me.ones((2,)) * 2
        with pytest.raises(me.ShapeError), me.profile() as inner:
            me.ones((2,)) + 1
            me.ones((2,)) - me.ones((3,))
        me.ones((2,)) - 1
    assert [call.kind.name for call in inner.calls] == ["add"]
    assert [call.kind.name for call in outer.calls] == ["multiply", "add", "subtract"]
    assert inner.wall < outer.wall and MODE.get().scene is None and MODE.get().short
    with Profiler() as entered:
        assert "still inside" in repr(entered)


def test_profile_around_fit():
    net = model()
    net.compile("adam", "cross_entropy")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, D)).astype(np.float32), rng.integers(0, 3, 200)
    with me.profile() as p:
        net.fit(x, y, epochs=3, batch_size=50, verbose=False)
    assert rows(p, "op")["adam_step"].calls == 12
    assert p.arena > 0 and {"forward", "backward", "optimizer"} <= set(rows(p, "phase"))


def test_profiling_changes_no_bit():
    plain, watched = training(), training()
    with me.profile():
        found = [watched().item() for _ in range(4)]
    assert found == [plain().item() for _ in range(4)]


def test_chrome_trace(p, tmp_path):
    p.chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    kernels = [e for e in spans if e["tid"] == 2]
    assert len(kernels) == len(p.calls)
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in spans)
    assert sum(e["dur"] for e in kernels) == pytest.approx(1e6 * sum(
        c.ended - c.began for c in p.calls))
    assert {e["args"]["name"] for e in events if e["ph"] == "M"} == {
        "phases", "modules", "kernels"}
    # every kernel lies inside a span of its phase
    for kernel in kernels:
        assert any(e["tid"] == 0 and e["name"] == kernel["cat"] and e["ts"] <= kernel["ts"]
                   and kernel["ts"] + kernel["dur"] <= e["ts"] + e["dur"] + 1e-6 for e in spans)
    product = next(e for e in kernels if e["args"]["flops"] == 2 * N * D * H)
    assert product["args"]["module"] == "model.0 (Linear)" and "(64, 100)" in product[
        "args"]["shapes"]


def test_an_empty_profile_and_an_unknown_key(tmp_path):
    with me.profile() as p:
        pass
    assert p.calls == [] and p.by("op") == [] and "in 0 calls of kernels" in str(p)
    p.chrome_trace(tmp_path / "empty.json")
    with pytest.raises(me.ParameterError, match="phase, op, module, source"):
        p.by("colour")
