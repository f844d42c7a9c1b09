"""The page of a plan: what stands on it, that it is the same for the same times, and what opens."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from pages import checked

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim
from medai_engine.inspect.plan_page import PlanPage, axis
from medai_engine.jit.memory import is_view
from medai_engine.jit.show import took

X = me.tensor(np.random.default_rng(0).normal(size=(8, 16, 16, 1)).astype(np.float32))
LABELS = me.tensor(np.arange(8) % 4)


@pytest.fixture(scope="module")
def step():
    """Return a jitted training step of a small network that has been replayed."""
    me.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(392, 300),
        nn.Tanh(), nn.Dropout(0.5), nn.Linear(300, 4))
    opt = optim.Adam(model.parameters())

    @me.jit
    def step(x, y):
        hidden = model(x)
        loss = F.cross_entropy((hidden * 2.0 + 1.0) * hidden - hidden, y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss.detach()

    for _ in range(3):
        step(X, LABELS)
    return step


@pytest.fixture(scope="module")
def page(step):
    return me.inspect.plan(step)


def test_every_line_has_a_row_with_its_costs(step, page):
    text = page.html()
    found = checked(text)
    lines = [x for x in step.plan.program.lines if not is_view(x)]
    assert re.findall(r"id='k(\d+)'", text) == [str(i) for i in range(len(lines))]
    rows = re.findall(r"<tr><td class=n><span id='k\d+'.*?</tr>", text, re.DOTALL)
    for line, row in zip(lines, rows, strict=True):
        assert f"<b>{'host' if line.op is None else line.op.name}</b>" in row
        assert line.site in row and all(by in row for by in line.by)
    assert "model.0 (Conv2d)" in text and "model.4 (Linear)" in text
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_time_line_and_map_show_every_kernel_and_every_block(step, page):
    text = page.html()
    timeline, arena = re.findall(r"<svg class='plan'.*?</svg>", text, re.DOTALL)
    timed = [row for row in page.times]
    assert timeline.count("<rect") == len(timed)
    widths = [float(w) for w in re.findall(r"<rect .*? width='([\d.]+)'", timeline)]
    longest = max(range(len(timed)), key=lambda i: timed[i].seconds)
    assert widths[longest] == max(widths) and sum(widths) == pytest.approx(
        1160 - 84, abs=0.5 * len(timed))
    assert all(phase in timeline for phase in ("forward", "backward", "optimizer"))
    layout = step.plan.layout
    assert arena.count("<rect") == len(layout.blocks) and "class='peak'" in arena


def test_blocks_of_the_map_do_not_overlap(step, page):
    arena = re.findall(r"<svg class='plan'.*?</svg>", page.html(), re.DOTALL)[1]
    boxes = [tuple(map(float, box)) for box in re.findall(
        r"<rect x='([\d.]+)' y='([\d.]+)' width='([\d.]+)' height='([\d.]+)'", arena)]
    large = [b for b in boxes if b[3] > 1]  # smaller ones are drawn taller than they are
    assert len(large) > 3
    for i, (x, y, w, h) in enumerate(large):
        for u, v, s, t in large[:i]:
            assert x + w <= u + 0.02 or u + s <= x + 0.02 or y + h <= v + 0.02 or v + t <= y + 0.02


def test_rules_show_what_they_changed(step, page):
    stages = step.plan.history()
    text = page.html()
    for stage in stages:
        before, after = Counter(stage.before), Counter(stage.after)
        gone = Counter(t for a, _ in stage.difference for t in a)
        come = Counter(t for _, b in stage.difference for t in b)
        assert before - gone + come == after
        assert f"<b>{stage.rule}</b>" in text and stage.says.endswith(".")
    folded = next(s for s in stages if s.rule == "dead")
    assert folded.changes == len(folded.before) - len(folded.after)
    chain = next(s for s in stages if s.rule == "chains")
    (gone, come), *_ = chain.difference
    assert len(gone) > len(come) == 1 and "program" in come[0].line
    assert all("test_plan_page.py:" in t.place for t in gone)
    assert gone[0].line.replace("&", "&amp;") in text.replace("&#x27;", "'")


def test_the_same_times_give_the_same_page(step, page):
    assert PlanPage(step.plan, page.times).html() == page.html()
    bare = me.inspect.plan(step, repeats=0)
    assert bare.times is None and bare.html() == me.inspect.plan(step.plan, repeats=0).html()
    assert "In time" not in bare.html() and checked(bare.html()) and str(bare) == str(step.plan)
    assert "GFLOP/s" in str(page)


def test_making_the_page_changes_nothing(step):
    before = step(X, LABELS).item()
    lines = list(map(repr, step.plan.program.lines))
    me.inspect.plan(step).html()
    assert list(map(repr, step.plan.program.lines)) == lines
    assert step(X, LABELS).item() < before + 1  # it goes on training


def test_a_function_without_a_plan_is_refused():
    with pytest.raises(me.GraphError, match="Call it first"):
        me.inspect.plan(me.jit(lambda x: x * 2))
    fresh = me.jit(lambda x: x * 2)
    fresh(X)
    assert "0 of them rewritten" in me.inspect.plan(fresh, repeats=0).html()  # laid out for it


def test_plans_without_a_kernel_have_pages_too():
    for function in (lambda x: x.reshape(-1), lambda x: 3):
        step = me.jit(function)
        step(X), step(X)
        page = me.inspect.plan(step)
        assert page.times is None and checked(page.html())


def test_a_callback_sees_the_plan_of_fit():
    pages = []

    class Show(me.training.Callback):
        def on_train_end(self, run):
            pages.append(me.inspect.plan(run.moved, repeats=1).html())

    model = nn.Sequential(nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 4))
    model.compile("adam", "cross_entropy")
    model.fit(X.numpy().reshape(8, 256), LABELS.numpy(), epochs=3, batch_size=4,
              callbacks=[Show()], verbose=False)
    assert "adam_step" in pages[0] and "model.0 (Linear)" in pages[0]


def test_text_of_users_is_escaped():
    source = "def f(x):\n    return (x * 2.0).exp()\n"
    scope: dict = {}
    exec(compile(source, "/tmp/<b>&.py", "exec"), scope)
    step = me.jit(scope["f"])
    step(X), step(X)
    text = me.inspect.plan(step, repeats=0).html()
    assert "<b>&.py" not in text and "&lt;b&gt;&amp;.py:2" in text


def test_page_opens_in_a_browser(step, page, tmp_path, browser):
    seen = browser(page.save(tmp_path / "plan.html"))
    assert "In memory" in seen and seen.count("<svg") == 2
    step.plan.page(tmp_path / "again.html", repeats=1)
    assert (tmp_path / "again.html").is_file()


@pytest.mark.parametrize("end", [3e-6, 0.02, 1.0, 7, 24, 999, 1e4])
def test_axes_have_a_few_round_ticks(end):
    ticks = [x for x in axis(end, lambda v: v, 0, str) if "<text" in x]
    assert 3 <= len(ticks) <= 11


def test_times_are_readable():
    assert [took(s) for s in (4e-7, 1.5e-5, 0.0123, 2.5)] == ["400 ns", "15 µs", "12.3 ms", "2.5 s"]
