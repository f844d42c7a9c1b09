"""A run that is killed at any moment resumes and ends with the bits of an unbroken one."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import medai_engine as me
from medai_engine import nn, optim, training
from medai_engine.errors import DataError, ParameterError, ShapeError
from medai_engine.io import read_arrays, read_state, write_arrays, write_state

ROOT = Path(__file__).parents[1]
EPOCHS, BATCHES = 4, 5


class Killed(BaseException):
    """The end of the process, in play."""


def experiment(folder: Path | None, *, callbacks=(), resume=None, epochs: int = EPOCHS,
               accumulate: int = 1, every_batches: int | None = 1, seed: int = 0, **options):
    """Train with everything that has state: momentum, dropout with two generators, schedules."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(70, 6)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    me.manual_seed(11)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3),
                          nn.Linear(16, 16), nn.Tanh(),
                          nn.Dropout(0.2, rng=me.random.Generator(5)), nn.Linear(16, 2))
    optimizer = optim.AdamW(model.parameters(), lr=0.02)
    model.compile(optimizer, "cross_entropy", ["auc", "accuracy"])
    schedule = optim.schedules.CosineAnnealingLR(optimizer, 20)
    keep = [training.Checkpoint(folder, every_batches=every_batches)] if folder else []
    history = model.fit(
        x, y, epochs, 14, validation_data=(x[:20], y[:20]), seed=seed, verbose=False,
        accumulate=accumulate, sample_weight=np.linspace(0.5, 1.5, 70), resume=resume,
        callbacks=[*callbacks, training.Schedule(schedule, "batch"),
                   training.ReduceOnPlateau("val_loss", patience=0, factor=0.7),
                   training.EarlyStopping(patience=3), *keep], **options)
    return model, history


def outcome(model, history) -> str:
    """Digest everything that the run ended with, times aside."""
    digest = hashlib.sha256()

    def add(value):
        if isinstance(value, dict):
            for key in value:
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, (list, tuple)):
            for item in value:
                add(item)
        elif hasattr(value, "numpy"):
            add(value.numpy())
        elif isinstance(value, np.ndarray):
            digest.update(str((value.shape, value.dtype)).encode() + value.tobytes())
        else:
            digest.update(repr(value).encode())

    add(model.state_dict())
    add(model.compiled.optimizer.state_dict())
    add(me.generator.DEFAULT.get_state())
    add([{k: v for k, v in row.items() if k != "seconds"} for row in history])
    return digest.hexdigest()


@pytest.fixture(scope="module")
def unbroken() -> str:
    return outcome(*experiment(None))


def at(hook: str, epoch: int, position: int) -> training.Callback:
    """Return a callback that ends the run in a hook at a place."""
    def end(run):
        if (run.epoch, run.position) == (epoch, position):
            raise Killed

    return training.LambdaCallback(**{hook: end})


def test_checkpoints_do_not_change_a_run(tmp_path, unbroken):
    assert outcome(*experiment(tmp_path)) == unbroken


def test_the_digest_sees_what_resuming_must_restore(unbroken):
    assert outcome(*experiment(None, seed=1)) != unbroken
    assert outcome(*experiment(None, epochs=3)) != unbroken
    assert outcome(*experiment(None)) == unbroken


@pytest.mark.parametrize("every_batches", [None, 1, 2])
@pytest.mark.parametrize(("hook", "epoch", "position"), [
    ("on_epoch_begin", 0, 0), ("on_gradients", 0, 3), ("on_gradients", 2, 0),
    ("on_batch_end", 1, 3), ("on_batch_end", 2, BATCHES), ("on_epoch_end", 2, BATCHES),
])
def test_resumes_with_the_same_bits(tmp_path, unbroken, hook, epoch, position, every_batches):
    with pytest.raises(Killed):
        experiment(tmp_path, callbacks=[at(hook, epoch, position)], every_batches=every_batches)
    me.manual_seed(999)  # a new process has another default generator
    assert outcome(*experiment(tmp_path, resume=tmp_path / "last.safetensors",
                               every_batches=every_batches)) == unbroken


def test_resumes_with_accumulated_batches(tmp_path):
    whole = outcome(*experiment(None, accumulate=2))
    with pytest.raises(Killed):
        experiment(tmp_path, accumulate=2, callbacks=[at("on_gradients", 1, 4)])
    assert outcome(*experiment(tmp_path, accumulate=2,
                               resume=tmp_path / "last.safetensors")) == whole


def test_a_finished_run_resumes_to_itself_or_longer(tmp_path, unbroken):
    experiment(tmp_path, epochs=2)
    last = tmp_path / "last.safetensors"
    assert outcome(*experiment(tmp_path, epochs=2, resume=last)) == outcome(
        *experiment(None, epochs=2))
    assert outcome(*experiment(tmp_path, resume=last)) == unbroken


def test_best_is_the_epoch_with_the_best_value(tmp_path):
    _, history = experiment(tmp_path, epochs=4)
    state = read_state(tmp_path / "best.safetensors")
    assert state["epoch"] == history.best("val_loss")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.safetensors", "last.safetensors"]


PROGRAM = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import test_checkpoint as t
from medai_engine import training
from pathlib import Path

folder, moment = Path(sys.argv[1]), sys.argv[2]
last = folder / "last.safetensors"
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
hooks = {{}}
if moment.startswith("on_"):
    hook, epoch, position = moment.split(":")
    hooks[hook] = lambda run: (run.epoch, run.position) == (int(epoch), int(position)) and kill()
elif moment.startswith("write"):
    calls, name = int(moment.split(":")[2]), moment.split(":")[1]
    real = getattr(os, name)
    def counted(*arguments):
        global calls
        calls -= 1
        if calls == 0 and name == "replace":
            kill()
        real(*arguments)
        if calls == 0:
            kill()
    setattr(os, name, counted)
elif moment == "slow":
    import time
    hooks["on_gradients"] = lambda run: time.sleep(0.01)
    print("ready", flush=True)
model, history = t.experiment(folder, callbacks=[training.LambdaCallback(**hooks)],
                              resume=last if last.exists() else None)
print(t.outcome(model, history))
"""


def program(folder: Path, moment: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM.format(tests=str(ROOT / "tests")), str(folder), moment]


def run(folder: Path, moment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(program(folder, moment), capture_output=True, text=True, timeout=120,
                          cwd=ROOT, check=False)


def test_killed_processes_go_on(tmp_path, unbroken):
    """One run, killed between batches, inside a batch, and while a checkpoint is written."""
    for moment in ("on_gradients:0:2", "write:fsync:7", "write:replace:5", "on_epoch_end:2:5"):
        result = run(tmp_path, moment)
        assert result.returncode == -signal.SIGKILL, (moment, result.stderr)
        read_state(tmp_path / "last.safetensors")  # whole at every moment
    result = run(tmp_path, "none")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == unbroken
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.safetensors", "last.safetensors"]


def test_killed_from_outside_at_any_time(tmp_path, unbroken):
    """The parent kills after a random while, again and again, until a run gets to its end."""
    rng = np.random.default_rng()
    for _ in range(2):
        child = subprocess.Popen(program(tmp_path, "slow"), stdout=subprocess.PIPE, text=True,
                                 cwd=ROOT)
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.02, 0.3))
        child.kill()
        child.communicate()
    result = run(tmp_path, "none")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == unbroken


# what cannot be resumed


def test_other_settings_are_named(tmp_path):
    experiment(tmp_path, epochs=1)
    last = tmp_path / "last.safetensors"
    before = read_arrays(last)[0]
    for options, match in [({"seed": 3}, "seed = 0, got 3"), ({"accumulate": 2}, "accumulate = 1"),
                           ({"callbacks": [training.EarlyStopping()]}, "callbacks = ")]:
        with pytest.raises(ParameterError, match=match):
            experiment(tmp_path, resume=last, **options)
    after = read_arrays(last)[0]
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_files_that_are_no_checkpoint(tmp_path):
    experiment(tmp_path, epochs=1)
    last, bad = tmp_path / "last.safetensors", tmp_path / "bad.safetensors"
    whole = last.read_bytes()
    for content, match in [
        (b"", "an empty file"), (whole[:100], "cut at 100"), (whole[:-8], "damaged"),
        (b"PK\x03\x04 archive", "zip archive"), (b"\x80\x04\x95pickle..", "a pickle"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"hello, this is text", "does not start like one"),
    ]:
        bad.write_bytes(content)
        with pytest.raises(DataError, match=match):
            experiment(None, resume=bad)
    with pytest.raises(DataError, match="no such file"):
        experiment(None, resume=tmp_path / "none.safetensors")
    write_arrays(bad, {"w": np.zeros(3)})
    with pytest.raises(DataError, match="weights only"):
        experiment(None, resume=bad)
    state = read_state(last)
    write_state(bad, {**state, "format": 99})
    with pytest.raises(DataError, match="format 1, got 99"):
        experiment(tmp_path, epochs=1, resume=bad)


def test_weights_of_another_model(tmp_path):
    experiment(tmp_path, epochs=1)
    state = read_state(tmp_path / "last.safetensors")
    state["model"]["0.weight"] = state["model"]["0.weight"][:, :5]
    write_state(tmp_path / "other.safetensors", state)
    with pytest.raises(ShapeError, match=r"0\.weight of shape \(16, 6\), got \(16, 5\)"):
        experiment(tmp_path, epochs=1, resume=tmp_path / "other.safetensors")


@pytest.mark.parametrize("options", [{"every": 0}, {"every_batches": 0}, {"every": 1.5}])
def test_bad_intervals(tmp_path, options):
    with pytest.raises(ParameterError, match="at least 1"):
        training.Checkpoint(tmp_path, **options)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"a": np.zeros(3)})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_arrays(path, {"a": np.ones(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    np.testing.assert_array_equal(read_arrays(path)[0]["a"], 0)
