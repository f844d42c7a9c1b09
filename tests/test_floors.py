"""Every command with no options reaches the floor that it states (slow)."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medai_engine import cli
from medai_engine.data import datasets
from medai_engine.systems import commands
from medai_engine.training.metrics import roc_auc

pytest.importorskip("sklearn")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", commands.SYSTEMS)
def test_floor(name, tmp_path):
    assert cli.main(["train", name, "--out", str(tmp_path / "run")]) == 0
    label, floor = commands.SYSTEMS[name].floor
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["held_out"]
    assert scores[label]["value"] >= floor


def test_convolutional_autoencoder_reaches_its_floor(tmp_path):
    """With 32 numbers for an image it beats the 32 best numbers that are linear in the pixels."""
    assert cli.main(["train", "autoencoder", "--model", "conv", "--out",
                     str(tmp_path / "run")]) == 0
    label, floor = commands.SYSTEMS["autoencoder"].models["conv"].floor
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["held_out"]
    assert scores[label]["value"] >= floor


def test_pixels_alone_do_not_diagnose():
    linear = pytest.importorskip("sklearn.linear_model")
    x, y, _ = datasets.slices(2000)
    flat = x.reshape(len(x), -1)
    model = linear.LogisticRegression(C=1e-3, max_iter=200).fit(flat[:1500], y[:1500])
    assert roc_auc(y[1500:], model.predict_proba(flat[1500:])[:, 1]) < 0.8


def test_samples_teach_the_digits(tmp_path):
    assert cli.main(["train", "synthesize", "--out", str(tmp_path / "run")]) == 0
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["usefulness"]["accuracy_of_samples"] >= 0.8
    assert found["privacy"]["copies"] == 0 and found["privacy"]["membership_auc"] < 0.6
    assert np.isfinite(list(found["privacy"].values())).all()
