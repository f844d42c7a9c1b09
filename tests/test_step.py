"""The way back in steps: the engine's own walk, with a stop at every node."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from pages import checked
from programs import functions, perform
from test_tape import LOSSES, two_lines

import medai_engine as me


@pytest.mark.parametrize("name", LOSSES)
def test_steps_end_with_the_gradients_of_backward(name):
    loss, _held = LOSSES[name]()
    leaves = {tip.name: tip.tensor for tip in me.inspect.graph(loss).tips}
    walk = me.inspect.step(loss)
    stops = list(walk)
    assert len(stops) == len(walk.graph.calls) and not any(t.grad for t in leaves.values())
    loss.backward()
    assert walk.gradients.keys() == leaves.keys()
    for key, t in leaves.items():
        np.testing.assert_array_equal(walk.gradients[key].data, t.grad.data, strict=True)


@given(functions())
def test_steps_of_random_functions_end_with_the_gradients_of_backward(drawn):
    rng = np.random.default_rng(len(drawn[0]))
    leaves = [me.tensor(rng.normal(size=(4, 3)), requires_grad=True) for _ in range(3)]
    loss = sum((y * y * 0.5).sum() for y in perform(drawn[0], leaves)[-3:])
    walk = me.inspect.step(loss)
    with np.errstate(all="ignore"):
        checked(walk.html())
        loss.backward()
    for tip in walk.graph.tips:
        np.testing.assert_array_equal(walk.gradients[tip.name].data, tip.tensor.grad.data)


def test_a_stop_says_what_came_in_what_ran_and_what_went_out():
    walk = me.inspect.step(two_lines()[0])
    first = next(walk)
    assert (first.call.name, first.came[0].values, first.went[0].other) == (
        "sum", "1", "to multiply")
    product = next(walk)
    assert [m.values for m in product.went] == ["2, 3", "5, 10"]
    assert product.went[1].norm == pytest.approx(125 ** 0.5)
    assert [(names, source) for names, source, _ in product.rules] == [
        ("a", "lambda g, b: g * b"), ("b", "lambda g, a: g * a")]
    added = next(walk)
    assert added.went[1].values == "5" and "summed to its shape; to leaf 2" in str(added)
    last = next(walk)
    assert "elementwise.py" in str(last) and not walk.gradients.keys() - {"leaf 2"}
    with pytest.raises(StopIteration):
        next(walk)
    assert walk.gradients["leaf 1"].numpy().tolist() == [13, 28]
    assert "leaf 1 (2): 13, 28   norm 30.87; the sum of multiply of stop 2 (norm 11.18) and " in (
        str(walk).replace("leaf      leaf 1", "leaf 1"))


def test_where_ways_meet_the_sum_comes_in():
    x = me.tensor([1.0, 2.0], requires_grad=True)
    y = me.exp(x)
    stops = list(me.inspect.step((y * y + y).sum()))
    at = next(stop for stop in stops if stop.call.name == "exp")
    assert at.came[0].other.startswith("the sum of ") and at.came[0].other.count("stop") == 3
    parts = [m.g.data for stop in stops for m in stop.went if m.other == "to exp"]
    np.testing.assert_allclose(sum(parts), at.came[0].g.data, rtol=1e-6)


def test_stepping_keeps_the_mode_of_the_caller_and_the_graph():
    w = me.tensor([2.0], requires_grad=True)
    loss = me.exp(w * w).sum()
    for stop in me.inspect.step(loss):
        assert (w * 2).requires_grad and stop.came[0].g.node is None
    loss.backward()
    with pytest.raises(me.GraphError, match="freed"):
        next(me.inspect.step(loss))
    with pytest.raises(me.GraphError, match="requires_grad"):
        me.inspect.step(me.ones(3))
    started = me.inspect.step(w * 3, gradient=[5.0])
    list(started)
    assert started.gradients["leaf 1"].numpy().tolist() == [15]
