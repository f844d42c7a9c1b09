"""Callbacks: hooks, stopping, rates, logs, progress, plots."""

from __future__ import annotations

import math

import numpy as np
import pytest
from training_cases import fitted, net, points

from medai_engine import data, optim, training
from medai_engine.errors import GraphError, ParameterError


def test_hooks_come_in_order():
    calls = []
    hooks = {name: lambda run, name=name: calls.append(name)
             for name in vars(training.Callback) if name.startswith("on_")}
    fitted([training.LambdaCallback(**hooks)], epochs=1)
    batch = ["on_gradients", "on_batch_end"]
    assert calls == ["on_train_begin", "on_epoch_begin", *batch * 4, "on_epoch_end",
                     "on_train_end", "on_close"]
    with pytest.raises(ParameterError, match="on_epoch_end"):
        training.LambdaCallback(on_epoch_ends=print)


def test_close_is_called_after_an_error():
    closed = []

    def fail(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted([training.LambdaCallback(on_batch_end=fail,
                                        on_close=lambda run: closed.append(run.position))])
    assert closed == [1]


def test_early_stopping_goes_back_to_the_best():
    kept = {}

    def keep(run):
        kept[run.epoch] = run.weights()

    model, history = fitted([training.EarlyStopping(patience=3),
                             training.LambdaCallback(on_epoch_end=keep)], epochs=60, lr=2.0)
    best = history.best("val_loss")
    assert len(history) == best + 4 < 60
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), kept[best][name])
    stays, _ = fitted([training.EarlyStopping(patience=3, restore_best=False)], 60, 2.0)
    np.testing.assert_array_equal(stays[0].weight.numpy(), kept[len(history) - 1]["0.weight"])


def test_a_callback_starts_anew_with_every_fit():
    stop = training.EarlyStopping(patience=3)
    lengths = [len(fitted([stop], 60, 2.0)[1]) for _ in range(2)]
    assert lengths[0] == lengths[1] < 60


def test_monitored_direction():
    for name, better in (("val_accuracy", max), ("val_loss", min)):
        stop = training.EarlyStopping(name, patience=100)
        _, history = fitted([stop], epochs=4)
        assert stop.best == better(history[name])
    with pytest.raises(ParameterError, match="loss, accuracy, val_loss, val_accuracy"):
        fitted([training.EarlyStopping("val_auc")])


def test_reduce_on_plateau():
    reduce = training.ReduceOnPlateau("val_loss", factor=0.5, patience=1, min_delta=1e9,
                                      min_lr=0.1)
    _, history = fitted([reduce], epochs=8)
    # epoch 1 sets the best, then every second epoch without improvement halves, not below 0.1
    assert history["lr"] == [0.3, 0.3, 0.3, 0.15, 0.15, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(("every", "steps"), [("epoch", 3), ("batch", 12)])
def test_schedule_steps(every, steps):
    x, y = points(60)
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    schedule = optim.schedules.ExponentialLR(optimizer, 0.9)
    model.compile(optimizer, "cross_entropy")
    model.fit(x, y, 3, 16, callbacks=[training.Schedule(schedule, every)], verbose=False)
    assert math.isclose(optimizer.lr, 0.9**steps, rel_tol=1e-12)


def test_stop_on_nan_leaves_the_weights_of_before():
    x, y = points(60)
    model = net()
    model.compile(optim.SGD(model.parameters(), lr=1e22), "mse")
    with (np.errstate(all="ignore"),
          pytest.raises(GraphError, match=r"epoch 1, batch 2: expected a finite loss")):
        model.fit(x, np.stack([y, y], 1) * 1e15, 2, 16, callbacks=[training.StopOnNaN()],
                  verbose=False)
    assert all(np.isfinite(p.numpy()).all() for p in model.parameters())


def test_clipping_between_gradients_and_step():
    norms = []
    model = net()

    def clip(run):
        optim.clip_grad_norm_(run.model.parameters(), 1e-3)
        norms.append(math.sqrt(sum((p.grad.numpy().astype(float) ** 2).sum()
                                   for p in run.model.parameters())))

    model, _ = fitted([training.LambdaCallback(on_gradients=clip)], epochs=1, lr=1.0)
    assert max(norms) < 1.001e-3
    start = net()
    moved = max(np.abs(a.numpy() - b.numpy()).max()
                for a, b in zip(model.parameters(), start.parameters(), strict=True))
    assert 0 < moved < 5e-3


def test_csv_log_and_history(tmp_path):
    _, history = fitted([training.CSVLog(tmp_path / "log.csv")], epochs=2)
    table = data.read_csv(tmp_path / "log.csv")
    assert table.names == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr",
                           "seconds"]
    assert table["val_loss"].tolist() == history["val_loss"]  # numbers exactly
    assert len(history) == 2 and "2 epochs" in repr(history)
    with pytest.raises(ParameterError, match="val_loss"):
        history["valloss"]


def test_the_better_direction_of_a_metric_of_ones_own_is_not_guessed():
    def youden(y, p):
        return training.metrics.sensitivity(y, p) + training.metrics.specificity(y, p) - 1

    x, y = points(40)
    model = net().compile("sgd", "cross_entropy", [youden])
    with pytest.raises(ParameterError, match="mode='max'"):
        model.fit(x, y, callbacks=[training.EarlyStopping("youden")], verbose=False)
    stopping = training.EarlyStopping("youden", mode="max", patience=100)
    history = model.fit(x, y, epochs=6, callbacks=[stopping], verbose=False)
    assert stopping.best == max(history["youden"])
    assert history["youden"][history.best("youden", "max")] == stopping.best
    with pytest.raises(ParameterError, match="mode='max'"):
        history.best("youden")


def test_the_best_epoch_is_never_one_of_nan():
    history = training.History([{"loss": v} for v in (float("nan"), 2.0, 1.0, float("nan"))])
    assert history.best("loss") == 2


def test_one_callback_needs_no_list():
    seen = []
    x, y = points(40)
    model = net().compile("sgd", "cross_entropy")
    model.fit(x, y, callbacks=training.LambdaCallback(on_epoch_end=seen.append), verbose=False)
    assert len(seen) == 1


def test_progress_goes_to_stderr_in_few_lines(capsys):
    x, y = points(40)
    model = net()
    model.compile("sgd", "cross_entropy", ["accuracy"])
    model.fit(x, y, epochs=37, callbacks=[])
    captured = capsys.readouterr()
    assert captured.out == "" and 10 <= len(captured.err.splitlines()) <= 11
    assert "epoch 37/37: loss " in captured.err


def test_progress_bar_on_a_terminal(monkeypatch, capsys):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    x, y = points(40)
    model = net()
    model.compile("sgd", "cross_entropy")
    model.fit(x, y, epochs=2, validation_data=(x, y))
    err = capsys.readouterr().err
    assert "epoch 2/2" in err and "100 %" in err and "loss 0." in err and "(val 0." in err


def test_history_plot(tmp_path):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("matplotlib.image")
    _, history = fitted([], epochs=3)
    history.plot(tmp_path / "h.png", "title")
    pixels = image.imread(tmp_path / "h.png")
    assert pixels.shape[0] > 300 and pixels.shape[1] > 800
    colours = {tuple(c) for c in np.round(pixels[..., :3] * 255).astype(int).reshape(-1, 3)}
    assert {(0x1F, 0x5A, 0x8C), (0xD9, 0x60, 0x1A)} <= colours  # both curves are drawn
