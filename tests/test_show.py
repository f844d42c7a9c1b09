"""Plans as pages: what stands in them, and that timing leaves no trace."""

from __future__ import annotations

import re

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim
from medai_engine.jit.show import amount

X = me.tensor(np.random.default_rng(0).normal(size=(32, 30)).astype(np.float32))
LABELS = me.tensor(np.arange(32) % 2)


@pytest.fixture
def trained():
    """Return a jitted step that has been replayed, and its network."""
    me.manual_seed(0)
    net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))
    opt = optim.Adam(net.parameters())

    @me.jit
    def step(x, y):
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss.detach()

    for _ in range(4):
        step(X, LABELS)
    return step, net


def test_a_plan_prints_kernels_shapes_costs_offsets_sources_and_rules(trained):
    step, _ = trained
    text = str(step.plan)
    head, names, *rows = text.splitlines()
    assert re.match(r"plan of \d+ lines, \d+ of them rewritten; arena \S+ k?B, of which", head)
    assert names.split() == ["#", "kernel", "inputs", "->", "outputs", "ops", "bytes", "offset",
                             "source", "rule"]
    first = next(row for row in rows if "linear_activation" in row)
    flops, moved = 2 * 32 * 30 * 16 + 2 * 32 * 16, 4 * (32 * 30 + 16 * 30 + 16 + 32 * 16)
    assert "(32x30)" in first and "(32x16)" in first and "epilogue relu" in first
    assert amount(flops) in first and amount(moved) in first
    assert "test_show.py:" in first and "ReLU" not in first
    update = next(row for row in rows if "adam_step" in row)
    assert "in place" in update and "more" in update
    offsets = [int(n) for row in rows for n in re.findall(r"\s(\d+)  test_show", row)]
    assert offsets and all(n % 64 == 0 for n in offsets)


def test_views_are_no_rows_and_a_fresh_plan_says_so():
    step = me.jit(lambda x: (x.reshape(-1) * 2.0).exp())
    step(X)
    assert "not laid out" in str(step.plan)
    step(X)
    assert "reshape" not in str(step.plan) and "multiply" in str(step.plan)


def test_profile_times_every_kernel_and_changes_nothing(trained):
    step, net = trained
    before = {name: value.copy() for name, value in net.state_dict().items()}
    grads = [p.grad.numpy().copy() for p in net.parameters()]
    twin = [p.numpy().copy() for p in net.parameters()]
    found = step.plan.profile(repeats=3)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(before[name]))
    for p, g, kept in zip(net.parameters(), grads, twin, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), g)
        np.testing.assert_array_equal(p.numpy(), kept)
    kernels = [line.op.name for line in step.plan.origins if line is not None and line.op]
    assert [row.line.op.name for row in found] == kernels and "dropout" in kernels
    product = next(row for row in found if row.line.op.name == "linear_activation")
    assert 0 < product.seconds < 0.1 and product.flops > 1e6 and product.share > 0
    text = str(found)
    assert "GFLOP/s" in text and "% ceiling" in text and len(text.splitlines()) == len(found) + 2
    step(X, LABELS)  # and the next step is an ordinary one
    assert any(not np.array_equal(p.numpy(), kept)
               for p, kept in zip(net.parameters(), twin, strict=True))


def test_amounts_have_three_digits_and_a_prefix():
    assert [amount(n) for n in (0, 7, 999, 1000, 31744, 2.5e9)] == [
        "0", "7", "999", "1 k", "31.7 k", "2.5 G"]
    assert amount(8256, "B") == "8.26 kB" and amount(12, "B") == "12 B"
