"""The recorder: what a capture writes down."""

from __future__ import annotations

import gc
from weakref import ref

import numpy as np
import pytest

import medai_engine as me
from medai_engine import nn, optim
from medai_engine.jit.record import Offset, Recorder
from medai_engine.mode import MODE, switched


def recorded(function, *arrays):
    recorder = Recorder()
    tensors = [me.Tensor(np.asarray(a)[...]) for a in arrays]
    with switched(recorder=recorder):
        for i, t in enumerate(tensors):
            recorder.argument(t.data, i)
        function(*tensors)
    recorder.finish()
    return recorder.program


def test_lines_follow_the_step():
    layer = nn.Linear(3, 2)
    opt = optim.SGD(layer.parameters(), lr=0.1)

    def step(x):
        layer(x).square().sum().backward()
        opt.step()

    program = recorded(step, np.ones((4, 3), np.float32))
    names = [line.op.name for line in program.lines if line.op is not None]
    assert names[:3] == ["linear", "square", "sum"] and names[-1] == "sgd_step"
    update = program.lines[-1]
    assert [value.source for value in update.writes] == list(layer.parameters())
    assert program.lines[0].inputs[0] is program.arguments[0]
    assert program.lines[0].site.startswith("test_jit_record.py:")


def test_no_array_of_an_intermediate_result_is_kept():
    alive = []

    def function(x):
        y = x * 2
        alive.append(ref(y.data))
        return (y + 1).sum()

    recorder = Recorder()
    with switched(recorder=recorder):
        function(me.ones((5,)))
    gc.collect()
    assert alive[0]() is None and len(recorder.program.lines) == 3


def test_views_share_a_root_and_copies_do_not():
    def function(x):
        x.reshape((3, 2))
        x.T.reshape(-1)

    program = recorded(function, np.ones((2, 3), np.float32))
    view, _, copy, flat = program.lines
    assert view.outputs[0].root is program.arguments[0]
    assert copy.op.name == "copy" and flat.outputs[0].root is copy.outputs[0]


def test_random_offsets_know_their_generator():
    rng = me.random.Generator(0)
    rng.advance(7)
    program = recorded(lambda x: me.functional.dropout(
        me.functional.dropout(x, rng=rng), rng=rng), np.ones((5, 4), np.float32))
    offsets = [line.params["offset"] for line in program.lines]
    assert all(type(offset) is Offset and offset.generator is rng for offset in offsets)
    assert [offset.relative for offset in offsets] == [0, 5] and offsets[1] == 12


def test_numbers_are_constants_and_tensors_are_state():
    outside = me.ones((3,))
    program = recorded(lambda x: x * 2 + outside, np.ones(3, np.float32))
    assert [line.inputs[1].kind for line in program.lines] == ["constant", "state"]


def test_values_taken_behind_the_recorder_are_refused():
    with pytest.raises(me.GraphError, match=r"test_jit_record\.py:\d+.*not on its \.data"):
        recorded(lambda x: me.Tensor((x * 2).data[1:]) + 1, np.ones(3, np.float32))
    assert MODE.get().recorder is None
