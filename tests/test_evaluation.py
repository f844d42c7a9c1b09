"""Confidence intervals: against SciPy, by their coverage, and by what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from medai_engine.errors import DataError, ParameterError, ShapeError
from medai_engine.training import evaluation, metrics

NAMES = {"accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "auc", "auprc", "brier",
         "log_loss", "calibration_error", "calibration_slope"}


def risks(seed: int, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return y, np.clip(0.3 * y + rng.uniform(0, 0.7, n), 0, 1)


def test_wilson_contains_the_share_and_narrows():
    low, high = evaluation.wilson_interval(0.9, 50)
    oracle = pytest.importorskip("scipy.stats").binomtest(45, 50)
    np.testing.assert_allclose([low, high], oracle.proportion_ci(method="wilson"), rtol=1e-12)
    np.testing.assert_allclose(evaluation.wilson_interval(0.9, 50, 0.8),
                               oracle.proportion_ci(0.8, method="wilson"), rtol=1e-12)
    wide = high - low
    low, high = evaluation.wilson_interval(0.9, 5000)
    assert low < 0.9 < high and high - low < wide / 9
    assert evaluation.wilson_interval(1.0, 20)[1] == 1.0
    assert evaluation.wilson_interval(0.0, 20)[0] == 0.0


def test_auc_interval_covers():
    rng = np.random.default_rng(0)
    truth = 0.7602499389065233  # Phi(1 / sqrt 2), of two normals one deviation apart
    inside = 0
    for _ in range(400):
        y = np.repeat([0, 1], [60, 40])
        low, high = evaluation.auc_interval(y, rng.normal(y, 1.0))
        inside += low <= truth <= high
    assert 0.92 <= inside / 400 <= 0.98
    assert evaluation.auc_interval(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))[1] == 1.0


def test_bootstrap_agrees_with_delong_and_repeats():
    y, p = risks(0, 400)
    interval = evaluation.bootstrap_interval(metrics.roc_auc, y, p, seed=1)
    np.testing.assert_allclose(interval, evaluation.auc_interval(y, p), atol=0.01)
    assert interval == evaluation.bootstrap_interval(metrics.roc_auc, y, p, seed=1)
    assert interval != evaluation.bootstrap_interval(metrics.roc_auc, y, p, seed=2)


def test_rows_of_one_patient_are_drawn_together():
    """Every row five times over is no new evidence: the interval must not narrow."""
    y, p = risks(1, 60)
    once = evaluation.bootstrap_interval(metrics.brier, y, p)
    many, again = np.repeat(y, 5), np.repeat(p, 5)
    together = evaluation.bootstrap_interval(metrics.brier, many, again,
                                             patients=np.repeat(np.arange(60), 5))
    np.testing.assert_allclose(together, once, rtol=1e-12)
    naive = evaluation.bootstrap_interval(metrics.brier, many, again)
    assert naive[1] - naive[0] < 0.6 * (once[1] - once[0])


@pytest.mark.parametrize("patients", [False, True])
def test_every_score_lies_in_its_interval(patients):
    y, p = risks(2)
    groups = np.arange(len(y)) // 2 if patients else None
    found = evaluation.evaluate_risk(y, p, patients=groups, repeats=200)
    assert set(found) == NAMES
    for name, score in found.items():
        # the calibration error of a small sample is biased upwards, more so when drawn again
        assert score.low <= score.value <= score.high or name == "calibration_error", name
        assert score.low < score.high, name
        if name in metrics.METRICS:
            assert score.value == metrics.METRICS[name](y, p), name
        wanted = "bootstrap" if patients or name not in {
            "accuracy", "sensitivity", "specificity", "ppv", "npv", "auc"} else (
            "DeLong" if name == "auc" else "Wilson")
        assert score.method == wanted, name


def test_the_threshold_decides():
    y, p = risks(3)
    t = metrics.threshold_for(y, p, 0.9)
    low = evaluation.evaluate_risk(y, p, threshold=np.nextafter(t, 0), repeats=20)
    assert low["sensitivity"].value >= 0.9 > evaluation.evaluate_risk(
        y, p, threshold=0.7, repeats=20)["sensitivity"].value
    assert low["auc"].value == metrics.roc_auc(y, p)


def test_undefined_scores_are_left_out():
    found = evaluation.evaluate_risk([1, 1, 1], [0.2, 0.7, 0.9], repeats=20)
    assert "specificity" not in found and "auc" not in found and "calibration_slope" not in found
    assert found["sensitivity"].value == pytest.approx(2 / 3)


def test_classes():
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 90)
    p = 2 * rng.dirichlet(np.ones(3), 90) + np.eye(3)[y]
    p /= p.sum(1, keepdims=True)
    found = evaluation.evaluate_classes(y, p, ["a", "b", "c"], repeats=50)
    assert found["accuracy"].value == (p.argmax(1) == y).mean()
    assert found["sensitivity[b]"].value == (p[y == 1].argmax(1) == 1).mean()
    assert found["ppv[c]"].value == (y[p.argmax(1) == 2] == 2).mean()
    assert found["auc"].low < found["auc"].value < found["auc"].high
    with pytest.raises(ShapeError, match="3 names, got 2"):
        evaluation.evaluate_classes(y, p, ["a", "b"])


def test_values():
    rng = np.random.default_rng(5)
    y = rng.normal(size=80)
    p = y + 0.3 * rng.normal(size=80)
    found = evaluation.evaluate_values(y, p, repeats=100)
    assert found["rmse"].value == pytest.approx(np.sqrt(np.mean((p - y) ** 2)))
    assert all(s.low < s.value < s.high for s in found.values())


def test_subgroups_show_who_is_served_worse():
    y, p = risks(6, 400)
    sex = np.where(np.arange(400) % 2, "f", "m")
    p[sex == "m"] = p[sex == "m"][::-1]  # no better than chance for them
    found = evaluation.subgroups(evaluation.evaluate_risk, y, p, sex, repeats=20,
                                 patients=np.arange(400))
    assert set(found) == {"f", "m"}
    assert found["f"]["auc"].low > 0.65 and found["m"]["auc"].value < 0.65
    with pytest.raises(ShapeError, match=r"group of shape \(400,\), got \(3,\)"):
        evaluation.subgroups(evaluation.evaluate_risk, y, p, sex[:3])


def test_bad_options():
    y, p = risks(7)
    with pytest.raises(ParameterError, match="confidence between 0 and 1"):
        evaluation.evaluate_risk(y, p, confidence=95)
    with pytest.raises(ShapeError, match="patients of shape"):
        evaluation.evaluate_risk(y, p, patients=[1, 2])
    with pytest.raises(DataError, match="both classes"):
        evaluation.bootstrap_interval(metrics.roc_auc, np.ones(5, int), np.ones(5), repeats=5)
