"""The watcher: what it hears of eager code, backward rules and replayed plans."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim
from medai_engine.mode import MODE, switched
from medai_engine.watch import RunEagerly, Watcher, watching


class Log(Watcher):
    """Keeps names and places."""

    def __init__(self):
        self.calls, self.lines, self.found, self.began = [], [], [], 0
        self.times = []

    stepwise = True

    def op(self, scene, op, inputs, results, params):
        self.calls.append((op.name, scene.place))
        self.times.append((scene.began, scene.ended))

    def differentiate(self, scene, outputs):
        self.began += 1

    def differentiated(self, scene, found):
        self.found.append({key: g.shape for key, g in found.items()})

    def line(self, scene, plan, number):
        self.lines.append((plan, number))

    def replayed(self, scene, plan, times):
        self.times = times

    def names(self, phase):
        return [name for name, place in self.calls if place.phase == phase]


def network():
    me.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def line_of(text):
    """Return the line number of this file's only line with a text."""
    lines = inspect.getsource(inspect.getmodule(line_of)).splitlines()
    return next(i for i, line in enumerate(lines, 1) if text in line and "line_of" not in line)


def test_every_op_is_told_with_its_place():
    net, log = network(), Log()
    opt = optim.Adam(net.parameters(), lr=0.1)
    x, y = me.ones((5, 3)), me.asarray(np.array([0, 1, 0, 1, 1]))
    with watching(log):
        loss = F.cross_entropy(net(x), y)  # the forward pass
        loss.backward()
        opt.step()
    assert log.names("forward")[:3] == ["linear", "tanh", "linear"]
    forward = {f"test_watcher.py:{line_of('# the forward pass')}"}
    assert {place.site for _, place in log.calls[:3]} == forward
    assert [place.path for _, place in log.calls[:3]] == [
        "model.0 (Linear)", "model.1 (Tanh)", "model.2 (Linear)"]
    # gradients belong to the line and module of the op that they are the gradients of
    backward = [place for _, place in log.calls if place.phase == "backward"]
    assert {place.site for place in backward} == forward
    assert "model.0 (Linear)" in {place.path for place in backward}
    assert log.names("optimizer") == ["adam_step"]
    assert log.began == 1 and len(log.found) == 1
    assert sorted(log.found[0].values()) == sorted(p.shape for p in net.parameters())
    assert all(ended >= began for began, ended in log.times)


def test_watching_changes_no_bit_and_ends_with_the_block():
    def run():
        net = network()
        opt = optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            loss = net(me.ones((5, 3))).square().mean()
            loss.backward()
            opt.step()
        return [p.numpy().copy() for p in net.parameters()]

    plain, log = run(), Log()
    with watching(log):
        watched = run()
    count = len(log.calls)
    assert count and all(np.array_equal(a, b) for a, b in zip(plain, watched, strict=True))
    run()
    assert len(log.calls) == count and MODE.get().scene is None and MODE.get().short


def test_two_watchers_hear_the_same_and_one_may_leave_first():
    first, second = Log(), Log()
    x = me.ones((2, 2))
    with watching(first):
        x * 2
        with pytest.raises(ZeroDivisionError), watching(second):
            x + 1
            1 / 0  # noqa: B018
        x.sum()
    assert [name for name, _ in first.calls] == ["multiply", "add", "sum"]
    assert [name for name, _ in second.calls] == ["add"]


def test_another_thread_is_not_heard():
    log = Log()
    with watching(log):
        thread = threading.Thread(target=lambda: me.ones((2,)) * 2)
        thread.start()
        thread.join()
    assert log.calls == []


def test_views_copies_and_writes_are_heard():
    log, w = Log(), me.zeros((3, 2))
    with watching(log), me.no_grad():
        w.reshape((2, 3))[0]
        w.copy_(me.ones((3, 2)))
    assert [name for name, _ in log.calls] == ["reshape", "slice", "assign"]


def test_a_checkpoint_computes_again():
    log, w = Log(), me.tensor([0.5], requires_grad=True)
    with watching(log):
        y = me.checkpoint(lambda x: (x * x).tanh())(w)
        y.backward()
    assert log.names("forward") == log.names("recomputed") == ["multiply", "tanh"]
    assert "tanh" not in log.names("backward") and log.names("backward")


def test_other_texts_of_the_kernels_are_timed():
    log = Log()
    with watching(log), me.backend("reference"):
        me.ones((200, 200)) @ me.ones((200, 200))
    (began, ended), = [t for t, (name, _) in zip(log.times, log.calls, strict=True)
                       if name == "matmul"]
    assert ended > began


def test_an_error_leaves_with_the_module_and_no_node_behind():
    log, net = Log(), network()
    with watching(log) as scene:
        with pytest.raises(me.ShapeError, match=r"model\.0 \(Linear\)"):
            net(me.ones((5, 4)))
        assert scene.modules == [] and scene.path == ""
        y = (me.tensor([1.0], requires_grad=True) * 2).sum()
        y.backward()
        with pytest.raises(me.GraphError):
            y.backward()
        assert scene.node is None
        me.ones((1,)) * 2
    assert log.calls[-1][1].phase == "forward"


def test_a_plan_tells_every_line_with_its_origin():
    net, log = network(), Log()
    opt = optim.Adam(net.parameters(), lr=0.1)

    @me.jit
    def step(x):
        opt.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        opt.step()
        return loss

    x = me.ones((5, 3))
    for _ in range(3):
        step(x)
    before = [p.numpy().copy() for p in net.parameters()]
    with watching(log):
        watched = step(x)
    assert log.lines == [(step.plan, i) for i in range(len(step.plan.calls))]
    assert log.calls == [] and log.times == sorted(log.times)
    assert len(log.times) == len(log.lines) + 1
    assert any((p.numpy() != old).any() for p, old in zip(net.parameters(), before, strict=True))
    assert np.isfinite(watched.item())
    places = [line.place for line in step.plan.program.lines]
    assert {"forward", "backward", "optimizer"} == {place.phase for place in places}
    assert "model.0 (Linear)" in {p.path for p in places if p.phase == "backward"}


def test_a_capture_under_a_watcher_is_heard_and_recorded():
    log = Log()
    function = me.jit(lambda x: (x * 2).sum())
    with watching(log):
        function(me.ones((3,)))
        assert [name for name, _ in log.calls] == ["multiply", "sum"]
        function(me.ones((3,)))
    assert len(function.plans) == 1 and len(log.lines) == len(function.plan.calls)


def test_a_watcher_may_ask_for_an_eager_run():
    class Doubt(Log):
        def line(self, scene, plan, number):
            raise RunEagerly

    log = Doubt()
    function = me.jit(lambda x: (x * 2).sum())
    function(me.ones((3,)))
    with watching(log):
        assert function(me.ones((3,))).item() == 6
    assert [name for name, _ in log.calls] == ["multiply", "sum"]


def test_the_mode_inside():
    with watching(Log()) as scene:
        assert MODE.get().scene is scene and not MODE.get().short
        with me.no_grad(), switched(depth=3):
            assert MODE.get().scene is scene
