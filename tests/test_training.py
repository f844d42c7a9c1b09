"""compile, fit, evaluate, predict, and summary."""

from __future__ import annotations

import numpy as np
import pytest
from training_cases import bits, net, points, same

import medai_engine as me
from medai_engine import data, nn, optim, training
from medai_engine import functional as F

# fit is the hand-written loop


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
}
LOSSES = {
    "cross_entropy": (2, F.cross_entropy, lambda y: y),
    "bce_with_logits": (1, F.binary_cross_entropy_with_logits,
                        lambda y: y[:, None].astype(np.float32)),
    "mse": (1, F.mse_loss, lambda y: y[:, None].astype(np.float32)),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fit_has_the_bits_of_a_hand_written_loop(optimizer, loss):
    x, y = points()
    outputs, function, targets = LOSSES[loss]
    model = net(outputs, dropout=0.3)
    model.compile(OPTIMIZERS[optimizer](model.parameters()), loss, ["accuracy"])
    history = model.fit(x, y, epochs=3, batch_size=16, seed=3, verbose=False,
                        validation_data=(x[:20], y[:20]))

    hand = net(outputs, dropout=0.3)
    opt = OPTIMIZERS[optimizer](hand.parameters())
    loader = data.DataLoader(data.ArrayDataset(x, targets(y)), 16, shuffle=True, seed=3)
    totals = []
    for _ in range(3):
        total = 0.0
        for xb, yb in loader:
            opt.zero_grad()
            value = function(hand(xb), yb)
            value.backward()
            opt.step()
            total += value.item() * len(xb)
        totals.append(total / len(x))
    assert same(model, hand)
    assert history["loss"] == totals


def test_lbfgs_fits_with_a_closure():
    x, _ = points()
    model = nn.Linear(5, 1)
    model.compile(optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe"), "mse")
    history = model.fit(x, x @ np.arange(5.0), epochs=3, batch_size=len(x), verbose=False)
    np.testing.assert_allclose(model.weight.numpy()[0], np.arange(5), atol=1e-3)
    assert history["loss"][-1] < 1e-6 and len(history) == 3


def test_accumulated_batches_are_one_large_batch():
    x, y = points(76)  # the last step has batches of 8 and 4
    model, large = net().astype("float64"), net().astype("float64")
    for m, size, accumulate in ((model, 8, 4), (large, 32, 1)):
        m.compile(optim.SGD(m.parameters(), lr=0.5), "cross_entropy", ["auc"])
        h = m.fit(x, y, epochs=2, batch_size=size, accumulate=accumulate, verbose=False)
        if m is model:
            first = h
    for a, b in zip(model.parameters(), large.parameters(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(first["loss"], h["loss"], rtol=1e-12)
    np.testing.assert_allclose(first["auc"], h["auc"], rtol=1e-12)


def test_weights_count_as_repetitions():
    """Twice the weight is twice the sample: with the whole set as one batch, exactly."""
    x, y = points(30)
    weight = np.where(np.arange(30) % 3 == 0, 2.0, 1.0)
    again = np.repeat(np.arange(30), weight.astype(int))
    model, repeated = net().astype("float64"), net().astype("float64")
    for m, rows, w in ((model, np.arange(30), weight), (repeated, again, None)):
        m.compile(optim.SGD(m.parameters(), lr=0.5), "cross_entropy", ["accuracy", "auc"])
        h = m.fit(x[rows], y[rows], epochs=3, batch_size=64, sample_weight=w, verbose=False)
        if w is not None:
            weighted = h
    for a, b in zip(model.parameters(), repeated.parameters(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)
    for name in ("loss", "accuracy", "auc"):
        np.testing.assert_allclose(weighted[name], h[name], rtol=1e-12)
    np.testing.assert_allclose(
        model.evaluate(x, y, sample_weight=weight)["loss"],
        model.evaluate(x[again], y[again])["loss"], rtol=1e-12)


def test_class_weights_are_sample_weights_of_the_class():
    x, y = points(40)
    results = []
    for options in ({"class_weight": {0: 1.0, 1: 3.0}},
                    {"sample_weight": np.where(y == 1, 3.0, 1.0)}):
        model = net()
        model.compile("adam", nn.CrossEntropyLoss())
        model.fit(x, y, 2, 16, verbose=False, **options)
        results.append(bits(model))
    loader = data.DataLoader(data.ArrayDataset(x, y), 16, shuffle=True)
    model = net()
    model.compile("adam", nn.CrossEntropyLoss())
    model.fit(loader, epochs=2, class_weight={0: 1.0, 1: 3.0}, verbose=False)
    assert results[0] == results[1] == bits(model)
    model = net()
    model.compile("adam", nn.CrossEntropyLoss())
    model.fit(x, y, 2, 16, verbose=False)
    assert bits(model) != results[0]


def test_balanced_weights_have_equal_sums():
    from medai_engine.training.inputs import class_weights

    y = np.repeat([0, 1, 2], [10, 30, 5])
    weight = class_weights("fit", y, "balanced")
    np.testing.assert_allclose([weight[y == k].sum() for k in range(3)], 15)


def test_validation_is_never_trained_on():
    x, y = points(60)
    groups = np.arange(60) // 4
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(5, 2)

        def forward(self, x):
            if self.training:
                seen.extend(x.data[:, 0].tolist())
            return self.layer(x)

    model = Spy()
    model.compile("sgd", "cross_entropy")
    history = model.fit(x, y, 1, validation_split=0.25, groups=groups, verbose=False)
    train, held = data.split_by_group(groups, 0.25, 0)
    assert sorted(seen) == sorted(x[train, 0].tolist()) and "val_loss" in history.names
    assert history["val_loss"][0] == model.evaluate(x[held], y[held], batch_size=32)["loss"]


def test_metrics_are_those_of_the_whole_epoch():
    x, y = points(50)
    model = net()
    model.compile("sgd", "cross_entropy", ["auc", "accuracy", "brier"])
    found = model.evaluate(x, y, batch_size=7)
    z = model.predict(x, batch_size=11).astype(np.float64)
    p = 1 / (1 + np.exp(z[:, 0] - z[:, 1]))
    np.testing.assert_allclose(found["auc"], training.metrics.roc_auc(y, p), rtol=1e-12)
    np.testing.assert_allclose(found["brier"], np.mean((p - y) ** 2), rtol=1e-5)
    assert found["accuracy"] == ((p > 0.5) == y).mean()
    np.testing.assert_allclose(found["loss"], -np.log(np.where(y, p, 1 - p)).mean(), rtol=1e-5)


def test_sequences_are_scored_at_every_position_but_the_ignored():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 4, 5)).astype(np.float32)
    y = (x[..., 0] > 0).astype(int)
    y[::3, 2:] = -100
    model = nn.Sequential(nn.Linear(5, 3))
    model.compile("adam", "cross_entropy", ["accuracy"])
    model.fit(x, y, verbose=False)
    right = model.predict(x).argmax(-1) == y
    assert model.evaluate(x, y)["accuracy"] == right[y >= 0].mean()
    weight = rng.uniform(0.1, 1, 20)
    expected = np.average(right[y >= 0], weights=np.repeat(weight, 4).reshape(20, 4)[y >= 0])
    found = model.evaluate(x, y, sample_weight=weight)["accuracy"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_same_bits_for_any_number_of_threads():
    """Large enough layers that work is cut into chunks."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 300)).astype(np.float32)
    y = (x[:, :3].sum(1) > 0).astype(int)
    threads = me.get_num_threads()
    digests = {}
    try:
        for count in (1, 2, 3, 8):
            me.set_num_threads(count)
            me.manual_seed(0)
            model = nn.Sequential(nn.Linear(300, 400), nn.ReLU(), nn.Dropout(0.2),
                                  nn.Linear(400, 2))
            model.compile("adam", "cross_entropy", ["accuracy"])
            history = model.fit(x, y, epochs=3, batch_size=128, verbose=False)
            digests[count] = (bits(model), history["loss"])
    finally:
        me.set_num_threads(threads)
    assert len({digest for digest, _ in digests.values()}) == 1, digests
    assert history["loss"][-1] < history["loss"][0]


# what fit leaves alone


def test_training_flags_come_back():
    x, y = points(20)
    model = net(dropout=0.5).eval()
    model[2].training = True
    model.compile("sgd", "cross_entropy")
    model.fit(x, y, verbose=False)
    model.evaluate(x, y)
    np.testing.assert_array_equal(model.predict(x), model.predict(x))  # dropout is off
    assert [m.training for m in model.modules()] == [False, False, False, True, False]


def test_user_arrays_are_not_touched():
    x, y = points(20)
    before = x.copy(), y.copy()
    model = net()
    model.compile("sgd", "cross_entropy")
    model.fit(x, y, verbose=False)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_float64_inputs_follow_the_parameters():
    x, y = points(20)
    model, other = net(), net()
    for m, given in ((model, x.astype(np.float64)), (other, x)):
        m.compile("sgd", "cross_entropy")
        m.fit(given, y, verbose=False)
    assert same(model, other) and model.predict(x.astype(np.float64)).dtype == np.float32


def test_a_layer_that_infers_its_size_and_a_column_of_labels():
    x, y = points(20)
    model = nn.Sequential(nn.Linear(None, 4), nn.ReLU(), nn.Linear(None, 2))
    model.compile("adam", "cross_entropy", ["accuracy"])
    model.fit(me.tensor(x), y[:, None].astype(bool), verbose=False)
    assert model[0].in_features == 5 and model.predict(x[:0]).shape == (0, 2)


def test_datasets_and_loaders_are_arrays_in_batches():
    x, y = points(50)
    results = []
    for given in ((x, y), (data.ArrayDataset(x, y),),
                  (data.DataLoader(data.ArrayDataset(x, y), shuffle=True),),
                  ([(a, int(b)) for a, b in zip(x, y, strict=True)],)):
        model = net()
        model.compile("adam", "cross_entropy", ["auc"])
        if isinstance(given[0], list):
            given = (data.DataLoader(given[0], shuffle=True),)
        history = model.fit(*given, epochs=2, verbose=False)
        results.append((bits(model), history["auc"]))
    assert results[0] == results[1] == results[2] == results[3]


@pytest.mark.parametrize("loss", ["nll", "bce", "l1", "smooth_l1", "huber", "focal", "dice",
                                  "tversky", "hinge", "kl_div"])
def test_other_losses_learn(loss):
    x, y = points(60)
    ends = {"nll": nn.LogSoftmax(), "kl_div": nn.LogSoftmax(), "bce": nn.Sigmoid(),
            "dice": nn.Sigmoid(), "tversky": nn.Sigmoid()}
    mask = loss in ("dice", "tversky")
    me.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, {"nll": 2, "kl_div": 2}.get(loss, 5 if mask else 1)),
                          ends.get(loss, nn.Identity()),
                          nn.Reshape(5, 1) if mask else nn.Identity())
    target = {"hinge": 2 * y - 1, "kl_div": np.eye(2)[y]}.get(loss, y)
    if mask:
        target = x[:, :, None] > 0
    model.compile(optim.Adam(model.parameters(), lr=0.05), loss)
    history = model.fit(x, target, 10, 16, verbose=False)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    weighted = model.evaluate(x, target, sample_weight=np.ones(60))["loss"]
    np.testing.assert_allclose(weighted, model.evaluate(x, target)["loss"], rtol=1e-5)


def test_a_copy_trains_on_by_itself():
    import copy

    x, y = points(30)
    model = net()
    model.compile(optim.Adam(model.parameters()), "cross_entropy")
    model.fit(x, y, verbose=False)
    twin = copy.deepcopy(model)
    before = bits(model)
    twin.fit(x, y, verbose=False)
    assert bits(model) == before != bits(twin)
    model.fit(x, y, verbose=False)
    assert same(model, twin)


def test_frozen_parameters_stay():
    x, y = points(20)
    model = net()
    model[0].requires_grad_(False)
    before = model[0].weight.numpy().copy()
    model.compile("adam", "cross_entropy")
    model.fit(x, y, verbose=False)
    np.testing.assert_array_equal(model[0].weight.numpy(), before)
    assert not np.array_equal(model[3].weight.numpy(), net()[3].weight.numpy())


# summary


def test_summary():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3, bias=False))
    model[1].requires_grad_(False)
    found = model.summary((3, 4))
    assert [(r.kind, r.shape, r.parameters) for r in found.rows] == [
        ("Sequential", "(N, 3)", 0), ("Flatten", "(N, 12)", 0), ("Linear", "(N, 8)", 104),
        ("ReLU", "(N, 8)", 0), ("Linear", "(N, 3)", 24)]
    assert (found.parameters, found.frozen, found.nbytes) == (128, 104, 512)
    assert "128 parameters (24 trained)" in str(found)
    assert all("forward" not in vars(m) and m.training for m in model.modules())
    words = nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 2)).summary((7,), dtype=np.int64)
    assert words.rows[-1].shape == "(N, 7, 2)"
    tied = nn.Linear(4, 4)
    assert nn.Sequential(tied, tied).summary((4,)).parameters == 20
