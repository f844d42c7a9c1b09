"""The tape: what it says of expressions and models, and how it is drawn."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import checked

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn
from medai_engine.autograd import locate
from medai_engine.inspect import drawing
from medai_engine.inspect.calls import Call
from medai_engine.inspect.groups import grouped
from medai_engine.op import OPS

RNG = np.random.default_rng(0)
X = me.tensor(RNG.normal(size=(4, 12, 12, 1)).astype(np.float32))
LABELS = me.tensor(np.arange(4))


def cnn() -> nn.Module:
    """Return a small network of most kinds of layers."""
    me.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(8),
        nn.Residual(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)),
        nn.Flatten(), nn.Linear(200, 10))


def two_lines() -> tuple[me.Tensor, list[me.Tensor]]:
    w = me.tensor([2.0, 3.0], requires_grad=True)
    b = me.tensor(1.0, requires_grad=True)
    y = w * w + b
    return (y * w).sum(), [w, b]


class Cells(nn.Module):
    """A cell that is called once for every step in time, and a head."""

    def __init__(self) -> None:
        self.cell, self.head = nn.LSTMCell(3, 4), nn.Linear(4, 10)

    def forward(self, x):
        state = None
        for k in range(5):
            h, c = self.cell(x[:, k, :3, 0], state)
            state = h, c
        return self.head(h)


def random_loss(count: int, seed: int = 0) -> tuple[me.Tensor, list[me.Tensor]]:
    rng = np.random.default_rng(seed)
    pool = [me.tensor(rng.normal(size=(3, 3)).astype(np.float32), requires_grad=True)
            for _ in range(12)]
    for k in range(count):
        a, b = (pool[i] for i in rng.integers(max(0, len(pool) - 12), len(pool), 2))
        pool.append((a @ b, a + b, me.tanh(a))[k % 3])
    return sum(pool[-12:-1], pool[-1]).sum(), pool


LOSSES = {  # a loss with what holds its leaves, as users hold them
    "two lines": two_lines, "random": lambda: random_loss(60),
    **{name: lambda make=make: (lambda model: (F.cross_entropy(model(X), LABELS), model))(make())
       for name, make in (("cnn", cnn), ("cells", Cells))}}


# ---- what it says -----------------------------------------------------------------------------


def test_two_lines_as_text():
    assert str(me.inspect.graph(two_lines()[0])).splitlines() == [
        "4 calls, 2 leaves; 8 B kept for the way back, apart from the leaves",
        "#  op        inputs -> output           kept                module  line",
        "0  multiply  leaf 1 (2), leaf 1 -> (2)  a (leaf), b (leaf)",
        "1  add       %0 (2), leaf 2 () -> (2)",
        "2  multiply  %1 (2), leaf 1 (2) -> (2)  a 8 B, b (leaf)",
        "3  sum       %2 (2) -> ()"]


def test_calls_know_modules_and_lines_inside_tape_only():
    model = cnn()
    with me.inspect.tape():
        loss = F.cross_entropy(model(X), LABELS)
    calls = me.inspect.graph(loss).calls
    assert [call.module for call in calls] == [
        "0 Conv2d", *["3 BatchNorm2d"] * 3, "4.body.0 Conv2d", "4.body.2 Conv2d", "4 Residual",
        "5 Flatten", "6 Linear", "", ""]
    assert all(re.fullmatch(r"test_tape\.py:\d+", call.site) for call in calls)
    loss = F.cross_entropy(model(X), LABELS)
    assert not hasattr(locate(loss.node)[0], "place")
    calls = me.inspect.graph(loss).calls
    assert {call.module for call in calls} == {call.site for call in calls} == {""}


def test_with_a_model_an_op_belongs_to_the_owner_of_its_parameters_and_no_other_is_guessed():
    model = cnn()
    g = me.inspect.graph(F.cross_entropy(model(X), LABELS), model)
    assert [call.module for call in g.calls] == [
        "0 Conv2d", "", "3 BatchNorm2d", "", "4.body.0 Conv2d", "4.body.2 Conv2d", "", "",
        "6 Linear", "", ""]
    assert {tip.name for tip in g.tips} == {name for name, _ in model.named_parameters()}
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    calls = me.inspect.graph(tied(me.ones((2, 3))).sum(), tied).calls
    assert [call.module for call in calls] == ["", "", ""]  # whose is the weight?


def test_bytes_kept_are_those_of_the_arrays_each_once():
    model = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 2))
    x = me.tensor(RNG.normal(size=(32, 30)).astype(np.float32))
    g = me.inspect.graph(F.mse_loss(model(x), me.zeros((32, 2))), model)
    # x, tanh's result (kept by tanh and as the next input), the difference (twice the same)
    assert g.keeps == 4 * (32 * 30 + 32 * 16 + 32 * 2)
    kept = {(call.name, name): holder for call in g.calls for name, _, holder in call.kept}
    assert kept["linear", "weight"] in g.tips and kept["tanh", "y"] is None
    view = me.tensor(RNG.normal(size=(10, 8)).astype(np.float32))
    w = me.tensor(np.ones(8, np.float32), requires_grad=True)
    assert me.inspect.graph((view[3] * w).sum()).keeps == 320  # a slice keeps all of its memory


@pytest.mark.skipif(not me.kernels.COMPILED, reason="the allocator that counts is compiled")
def test_bytes_kept_are_those_that_the_allocator_gets_back():
    from medai_engine.kernels.memory.allocator import cached_bytes, clear_cache

    me.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(16),
        nn.Residual(nn.Conv2d(16, 16, 3, padding=1), nn.Tanh(), nn.Conv2d(16, 16, 3, padding=1)),
        nn.Flatten(), nn.Linear(None, 16))
    x = me.tensor(RNG.normal(size=(16, 32, 32, 1)).astype(np.float32))
    labels = me.tensor(np.arange(16))
    loss = F.cross_entropy(model(x), labels)
    kept = me.inspect.graph(loss).keeps - x.nbytes - labels.nbytes  # those are ours
    clear_cache()
    del loss
    assert 0 <= cached_bytes() - kept <= 256  # the loss itself; less than a cache line is one


def test_two_models_and_calls_of_one_module():
    first, second = nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(3, 3))
    with me.inspect.tape():
        y = second(first(me.ones((2, 3))))
        loss = second(y).sum()
    g = me.inspect.graph(loss)
    assert [call.module for call in g.calls] == [
        "model.0 Linear", "model2.0 Linear", "model2.0 Linear", ""]
    assert {tip.name for tip in g.tips} == {
        f"{m}.0.{p}" for m in ("model", "model2") for p in ("weight", "bias")}
    names = [call.module for call in me.inspect.graph(loss, second).calls]
    assert names == ["other model.0 Linear", "model.0 Linear", "model.0 Linear", ""]


def test_depth_shows_modules_as_one():
    model = cnn()
    with me.inspect.tape():
        loss = F.cross_entropy(model(X), LABELS)
    g = me.inspect.graph(loss, model, depth=1)
    assert [group.name for group in grouped(g.calls, 1)] == [
        "0 Conv2d", "3 BatchNorm2d", "4 Residual", "5 Flatten", "6 Linear",
        "softmax_cross_entropy", "mean"]
    assert str(g).count("\n") == 8 and "4.body.2.weight (8, 3, 3, 8)" in str(g)
    assert "4.body Sequential" in me.inspect.graph(loss, model, depth=2).svg()


def test_freed_checkpointed_and_second_order():
    loss, _ = two_lines()
    loss.backward()
    g = me.inspect.graph(loss)
    assert {call.state for call in g.calls} == {"freed"} and "has freed" in g.html()
    w = me.tensor([2.0, 3.0], requires_grad=True)
    y = me.checkpoint(lambda w: me.exp(w) * w)(w).sum()
    assert "computed again" in {call.state for call in me.inspect.graph(y).calls}
    with me.inspect.tape():
        (slope,) = me.autograd.gradients([(w * w * w).sum()], [w], [None], create_graph=True)
    phases = {call.phase for call in me.inspect.graph(slope.sum()).calls}
    assert phases == {"forward", "backward"}
    with pytest.raises(me.GraphError, match="requires_grad"):
        me.inspect.graph(me.ones(3))


def test_results_of_jitted_functions_are_one_call():
    w = me.tensor([1.0, 2.0], requires_grad=True)
    f = me.jit(lambda x: ((w * x).sum(), w.exp() * x))
    for _ in range(2):
        total, y = f(me.tensor([3.0, 4.0]))
    walk = me.inspect.step(total + y.sum())
    stops = list(walk)
    assert [stop.call.name for stop in stops] == ["add", "sum", "jitted function"]
    assert "op by op" in str(stops[-1]) and "jitted function" in str(walk.graph)
    np.testing.assert_allclose(walk.gradients["leaf 1"].numpy(),
                               [3 + 3 * np.e, 4 + 4 * np.e**2], rtol=1e-6)
    checked(walk.html())


def test_a_leaf_alone():
    w = me.tensor(2.0, requires_grad=True)
    assert str(me.inspect.graph(w)).startswith("0 calls, 1 leaf")
    assert me.inspect.graph(w).svg() and me.inspect.graph(w).html()
    del w
    g = me.inspect.graph((me.ones((2, 3)).requires_grad_() + 1).sum())
    assert "leaf 1 (2, 3)" in str(g) and "gone" in g.html()


# ---- grouping and layout ----------------------------------------------------------------------

GRAPHS = st.integers(1, 24).flatmap(lambda n: st.tuples(st.just(n), st.sets(
    st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] < e[1]),
    max_size=3 * n)))


@given(GRAPHS, st.lists(st.integers(0, 3), min_size=24, max_size=24))
def test_groups_hold_every_call_once_and_have_no_cycle(graph, owner):
    count, edges = graph
    calls = [Call(i, "add", OPS["add"], None, [], [], [], [],
                  parts=((str(owner[i]),) if owner[i] else ())) for i in range(count)]
    for a, b in sorted(edges):
        calls[b].sources.append(calls[a])
    groups = grouped(calls, 1)
    assert sorted(c.number for g in groups for c in g.calls) == list(range(count))
    assert all(c.parts == g.parts for g in groups for c in g.calls)
    home = {c: k for k, g in enumerate(groups) for c in g.calls}
    assert all(home[s] <= home[c] for c in calls for s in c.sources)  # the order is one of no cycle


@given(GRAPHS, st.lists(st.integers(1, 30), min_size=24, max_size=24))
def test_layout_has_boxes_apart_and_edges_downwards(graph, sizes):
    count, edges = graph
    pairs = sorted(edges)
    layer = drawing.layered(count, pairs)
    assert all(layer[a] < layer[b] for a, b in pairs)
    full, pieces = drawing.routed(layer, pairs)
    assert all(full[b] == full[a] + 1 for a, b in pieces)
    into = {b: a for a, b in pieces if b >= count}  # a corner has one way in
    assert len(into) == len(full) - count
    for (a, b), edge in pieces.items():
        if b < count:
            while a >= count:
                a = into[a]
            assert (a, b) == edge
    assert sorted(edge for (_, b), edge in pieces.items() if b < count) == pairs
    rows = drawing.ordered(full, pieces)
    assert sorted(n for row in rows for n in row) == list(range(len(full)))
    widths = [*map(float, sizes[:count]), *[drawing.THIN] * (len(full) - count)]
    x = drawing.placed(rows, pieces, widths)
    for row in rows:  # boxes and corners alike, so that no edge runs through a box
        for a, b in pairwise(row):
            assert x[b] - x[a] >= (widths[a] + widths[b]) / 2 + drawing.GAP - 1e-6


def test_ordering_undoes_crossings():
    # a ladder whose rungs come in as they please: 0-5, 1-4, 2-3 cross, sorted they do not
    edges = [(0, 5), (1, 4), (2, 3)]
    layer = drawing.layered(6, edges)
    top, bottom = drawing.ordered(layer, edges)
    place = {n: i for row in (top, bottom) for i, n in enumerate(row)}
    assert not any((place[a] - place[c]) * (place[b] - place[d]) < 0
                   for (a, b), (c, d) in combinations(edges, 2))


# ---- drawing and pages ------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_pages_are_whole_and_drawings_are_xml(name):
    with me.inspect.tape():
        loss, _held = LOSSES[name]()
    g = me.inspect.graph(loss)
    root = ElementTree.fromstring(g.svg())
    boxes = [e for e in root.iter() if e.tag.endswith("rect")]
    assert len(boxes) == len(g.calls) + len(g.tips) and g._repr_html_() == g.svg()
    width, height = float(root.get("width")), float(root.get("height"))
    for box in boxes:
        x, y, w, h = (float(box.get(key)) for key in ("x", "y", "width", "height"))
        assert x >= -2 and x + w <= width and y >= 0 and y + h <= height
    found = checked(g.html())
    rows = "\n".join(found.texts)
    assert all(call.name in rows for call in g.calls)
    assert all(tip.name in rows for tip in g.tips)
    assert len(re.findall(r'id=.n\d+', g.html())) == len(g.calls)
    checked(me.inspect.step(loss).html())


def test_text_fits_its_box():
    for box in (drawing.Box(("a" * 34, "b"), 0), drawing.Box(("x",), 1, True)):
        assert box.width >= max(map(len, box.lines)) * 7.225 + 8  # 0.602 em of 12 px, and a margin


def test_the_same_tape_gives_the_same_text():
    texts = []
    for _ in range(2):
        with me.inspect.tape():
            loss, _held = LOSSES["cnn"]()
        texts.append((me.inspect.graph(loss).html(), me.inspect.step(loss).html()))
    assert texts[0] == texts[1]


def test_names_of_users_are_escaped():
    class Bad(nn.Module):
        def __init__(self):
            setattr(self, "<b>&\"'", nn.Parameter(me.ones(3)))

        def forward(self, x):
            return x * getattr(self, "<b>&\"'")

    model = nn.Sequential({"<i>": Bad(), "</svg>": Bad()})
    with me.inspect.tape():
        loss = model(me.ones(3)).sum()
    for text in (me.inspect.graph(loss).html(), me.inspect.step(loss).html()):
        assert "<b>&" not in text and "<i>.&lt;b" not in text
        assert "<i>.<b>&\"'" in "".join(checked(text).texts)
    ElementTree.fromstring(me.inspect.graph(loss, depth=1).svg())


def test_save_writes_pages_and_drawings(tmp_path):
    g = me.inspect.graph(two_lines()[0])
    assert g.save(tmp_path / "a.svg").read_text() == g.svg()
    assert g.save(tmp_path / "a.html").read_text() == g.html()


def test_pages_open_in_a_browser(tmp_path, browser):
    with me.inspect.tape():
        loss, _held = LOSSES["cnn"]()
    seen = browser(me.inspect.graph(loss).save(tmp_path / "tape.html"))
    assert "3 BatchNorm2d" in seen and seen.count("<svg") > 3
    seen = browser(me.inspect.step(loss).save(tmp_path / "step.html"))
    assert "Back through conv_pool" in seen


def test_two_hundred_nodes_are_drawn():
    g = me.inspect.graph(random_loss(290)[0])
    assert len(g.calls) > 200
    root = ElementTree.fromstring(g.svg())
    heads = [e for e in root.iter() if e.get("class") == "head"]
    pairs = {(id(s), id(c)) for c in g.calls for s in c.sources if s is not None}
    assert len(heads) == len(pairs)
