"""``fit``, ``evaluate`` and ``predict`` use plans by themselves, and give up where they must."""

from __future__ import annotations

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim, training
from medai_engine.training import plans

RNG = np.random.default_rng(0)
X = RNG.standard_normal((70, 5)).astype(np.float32)
Y = (X[:, 0] + 0.1 * RNG.standard_normal(70) > 0).astype(np.int64)


class Net(nn.Module):
    def __init__(self, inside=lambda h: h):
        me.manual_seed(3)
        self.first, self.norm, self.last = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)
        self.drop = nn.Dropout(0.3)
        self.inside = inside

    def forward(self, x):
        return self.last(self.drop(self.inside(F.relu(self.norm(self.first(x))))))


def weights(model):
    return [t.numpy().copy() for t in model.state_dict().values()]


def by_hand(model, epochs=3, **options):
    """Return what a plain loop makes of the model."""
    opt = optim.Adam(model.parameters())
    loader = me.data.DataLoader(me.data.ArrayDataset(X, Y), 16, True, 0)
    model.train()
    me.manual_seed(1)
    for epoch in range(epochs):
        loader.load_state_dict({"epoch": epoch, "position": 0})
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
    return weights(model)


def fitted(model, **options):
    model.compile("adam", "cross_entropy", ["accuracy"])
    with me.no_grad():
        model.eval()(me.asarray(X[:1]))  # what fit tries out before it starts
    me.manual_seed(1)
    history = model.fit(X, Y, 3, 16, verbose=False, **options)
    return weights(model), history


@pytest.fixture
def made(monkeypatch):
    """Collect the plans that are made."""
    found = []
    original = plans.Planned.__init__

    def init(self, *args):
        original(self, *args)
        found.append(self)

    monkeypatch.setattr(plans.Planned, "__init__", init)
    return found


def same(a, b):
    return all((x == y).all() for x, y in zip(a, b, strict=True))


def test_fit_replays_and_gives_the_bits_of_a_loop(made):
    got, _ = fitted(Net())
    assert same(got, by_hand(Net()))
    moved = next(p for p in made if p.fn.__name__ == "move")
    assert len(moved.plans) == 2 and not moved.plain  # whole batches and the last, smaller one


@pytest.mark.parametrize("options", [
    {"accumulate": 2}, {"class_weight": {0: 1.0, 1: 3.0}}, {"validation_split": 0.2},
    {"callbacks": [training.LambdaCallback(on_gradients=lambda run: optim.clip_grad_norm_(
        run.model.parameters(), 0.1))]}], ids=["accumulate", "weights", "validation", "clip"])
def test_options_give_the_same_bits_without_plans(options, made, monkeypatch):
    got, history = fitted(Net(), **options)
    assert any(p.plans for p in made)
    monkeypatch.setattr(plans.Planned, "__call__", lambda self, *args: self.fn(*args))
    wanted, plain = fitted(Net(), **options)
    assert same(got, wanted)
    assert all(history[name] == plain[name] for name in history.names if name != "seconds")


def test_a_value_read_inside_is_named_and_run_eagerly():
    def read(h):
        return h * 2.0 if float(h.sum()) > 5 else h

    with pytest.warns(RuntimeWarning, match=r"fit runs without a plan.*test_training_plans\.py"):
        got, _ = fitted(Net(read))
    assert same(got, by_hand(Net(read)))


def test_random_numbers_of_numpy_are_noticed():
    def noisy(rng):
        return lambda h: h + me.Tensor(rng.standard_normal(h.shape).astype(np.float32))

    with pytest.warns(RuntimeWarning, match="something else at every call"):
        got, _ = fitted(Net(noisy(np.random.default_rng(4))))
    rng = np.random.default_rng(4)
    model = Net(noisy(rng))
    model.eval()(me.asarray(X[:1]))
    model.eval()(me.asarray(X[:16]))  # fit's own look at a batch
    model.norm.running_mean.data[...], model.norm.running_var.data[...] = 0, 1
    assert same(got, by_hand(model))


def test_predict_and_evaluate(made):
    model = Net()
    fitted(model)
    made.clear()
    found = model.predict(X, batch_size=10)
    assert len(made[0].plans) == 1
    model.eval()
    with me.no_grad():
        wanted = np.concatenate([model(me.asarray(X[i:i + 10])).numpy() for i in range(0, 70, 10)])
    assert (found == wanted).all()
    scores = model.evaluate(X, Y, batch_size=10)
    assert len(made[1].plans) == 1
    assert scores["accuracy"] == (wanted.argmax(1) == Y).mean()
    assert not model.training  # the flags of before are back
