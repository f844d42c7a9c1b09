"""The examples run, in small; the networks of the systems reach a floor from a fixed seed.

Whole (slow) they reach what they are for; commands with no options stand in ``test_floors.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from medai_engine.data import datasets
from medai_engine.examples import by_hand, dcgan, enlarge, vital_signs
from medai_engine.systems import commands, deep

pytest.importorskip("scipy")


def test_by_hand_runs(capsys):
    by_hand.main(n=64, epochs=1)
    assert "held-out AUC" in capsys.readouterr().out


@pytest.mark.parametrize("size", dcgan.NOISE)
def test_dcgan_runs(size):
    assert dcgan.main(size, n=32, epochs=1, batch_size=16) < 2


def test_a_plain_recurrent_network_forecasts_vital_signs():
    assert vital_signs.main() < 0.85  # of the squared error of "nothing changes"


def test_enlarging_is_measured(capsys):
    (found,) = enlarge.main(real=100, made=100, epochs=10, steps=30, seeds=1)
    assert 0.1 < found.real <= 1 and found.privacy["samples"] == 100
    out = capsys.readouterr().out
    assert "no difference that so few trials can show" in out and "copies" in out


class Case(NamedTuple):
    """A network of a system: how it is trained in seconds, and what it has to reach."""

    number: int  # of the system
    name: str
    model: str
    samples: int  # of the generated cohort
    options: dict[str, float]
    floor: tuple[str, float]


CASES = (
    Case(5, "diagnosis", "cnn64", 800, {"image_size": 32, "epochs": 12}, ("auc", 0.9)),
    Case(6, "diagnosis", "cnn224", 800, {"image_size": 32, "epochs": 12}, ("auc", 0.9)),
    Case(7, "diagnosis", "cnn256", 800, {"image_size": 32, "epochs": 12}, ("auc", 0.9)),
    Case(9, "history", "rnn64", 1200, {"epochs": 12}, ("auc", 0.8)),
    Case(10, "history", "lstm64", 1200, {"epochs": 10}, ("auc", 0.95)),
    Case(11, "phases", "lstm128x2", 60, {"epochs": 5}, ("accuracy", 0.75)),
    Case(12, "phases", "lstm64-dropout", 60, {"epochs": 8}, ("accuracy", 0.8)),
    Case(13, "history", "relu64", 2000, {"epochs": 20}, ("auc", 0.9)),
    Case(14, "autoencoder", "ae", 0, {"epochs": 25}, ("explained", 0.8)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"system {case.number}")
def test_system_reaches_its_floor(case, tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    from medai_engine.training import evaluation

    for name in ("slices", "histories", "phases"):
        make = getattr(datasets, name)
        monkeypatch.setattr(datasets, name, lambda n, *a, make=make, **k: make(
            case.samples, *a, **k))
    interval = evaluation.bootstrap_interval  # short: the value is looked at, not its width
    monkeypatch.setattr(evaluation, "bootstrap_interval", lambda *a, **k: interval(
        *a, **{**k, "repeats": 20}))
    run = deep.train(commands.SYSTEMS[case.name], deep.Options(model=case.model, **case.options),
                     tmp_path / "run", verbose=False)
    label, floor = case.floor
    assert run.scores[label].value >= floor


@pytest.mark.slow
def test_by_hand_diagnoses():
    assert by_hand.main() > 0.88


@pytest.mark.slow
@pytest.mark.parametrize(("size", "n", "epochs", "batch"), [
    ("small", 800, 30, 32), ("large", 320, 8, 16)])
def test_dcgan_learns_the_anatomy(size, n, epochs, batch):
    untrained = dcgan.main(size, n=32, epochs=1, batch_size=16)
    assert dcgan.main(size, n, epochs, batch) < 0.2 < untrained


@pytest.mark.slow
def test_made_up_cases_are_no_copies_and_do_not_ruin_a_classifier():
    trials = enlarge.main()
    for trial in trials:
        assert trial.privacy["copies"] == 0 and trial.privacy["membership_auc"] < 0.7
        assert trial.real > 0.88 and trial.enlarged > 0.86
