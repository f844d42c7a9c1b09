"""Metrics against scikit-learn, and by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medai_engine.errors import DataError, DTypeError, ParameterError, ShapeError
from medai_engine.training import metrics

sk = pytest.importorskip("sklearn.metrics")

CLOSE = 1e-12


def sample(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 57)
    p = np.clip(0.3 * y + rng.uniform(0, 0.7, 57), 0, 1)
    return y, np.round(p, 1) if ties else p, rng.uniform(0.1, 2, 57)


def binned_gap(y: np.ndarray, p: np.ndarray, w: np.ndarray | None) -> float:
    """Ten bins one by one, as the definition reads."""
    w = np.ones(len(y)) if w is None else w
    total = 0.0
    for b in range(10):
        inside = (p >= b / 10) & ((p < (b + 1) / 10) | (b == 9))
        if inside.any():
            share = w[inside].sum() / w.sum()
            total += share * abs(np.average(p[inside], weights=w[inside])
                                 - np.average(y[inside], weights=w[inside]))
    return total


ORACLES = {
    "accuracy": lambda y, p, w: sk.accuracy_score(y, p > 0.5, sample_weight=w),
    "roc_auc": lambda y, p, w: sk.roc_auc_score(y, p, sample_weight=w),
    "sensitivity": lambda y, p, w: sk.recall_score(y, p > 0.5, sample_weight=w),
    "specificity": lambda y, p, w: sk.recall_score(y, p > 0.5, pos_label=0, sample_weight=w),
    "precision": lambda y, p, w: sk.precision_score(y, p > 0.5, sample_weight=w),
    "npv": lambda y, p, w: sk.precision_score(y, p > 0.5, pos_label=0, sample_weight=w),
    "auprc": lambda y, p, w: sk.average_precision_score(y, p, sample_weight=w),
    "calibration_error": binned_gap,
    "f1": lambda y, p, w: sk.f1_score(y, p > 0.5, sample_weight=w),
    "log_loss": lambda y, p, w: sk.log_loss(y, p, sample_weight=w),
    "brier": lambda y, p, w: sk.brier_score_loss(y, p, sample_weight=w),
    "mse": lambda y, p, w: sk.mean_squared_error(y, p, sample_weight=w),
    "mae": lambda y, p, w: sk.mean_absolute_error(y, p, sample_weight=w),
    "r2": lambda y, p, w: sk.r2_score(y, p, sample_weight=w),
}


def test_every_metric_has_an_oracle():
    assert {metrics.METRICS[name] for name in ORACLES} == set(metrics.METRICS.values())


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ORACLES)
def test_equals_scikit_learn(name, weighted, ties):
    for seed in range(5):
        y, p, w = sample(seed, ties)
        w = w if weighted else None
        ours = metrics.METRICS[name](y, p, sample_weight=w)
        assert abs(ours - ORACLES[name](y, p, w)) <= CLOSE


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=2, max_size=40))
def test_auc_is_the_share_of_ordered_pairs(pairs):
    y, score = np.array(pairs).T
    if len(set(y)) < 2:
        with pytest.raises(DataError, match="both classes"):
            metrics.roc_auc(y, score)
        return
    sick, healthy = score[y == 1][:, None], score[y == 0][None]
    expected = ((sick > healthy) + 0.5 * (sick == healthy)).mean()
    assert abs(metrics.roc_auc(y, score) - expected) <= CLOSE


def test_auc_of_equal_scores_is_a_half():
    assert metrics.roc_auc([0, 1, 1, 0, 1], np.full(5, 0.3)) == 0.5


def test_several_classes():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 60)
    p = rng.dirichlet(np.ones(3), 60)
    assert abs(metrics.roc_auc(y, p) - sk.roc_auc_score(y, p, multi_class="ovr")) <= CLOSE
    assert abs(metrics.log_loss(y, p) - sk.log_loss(y, p)) <= CLOSE
    assert metrics.accuracy(y, p) == sk.accuracy_score(y, p.argmax(1))
    np.testing.assert_array_equal(metrics.confusion_matrix(y, p),
                                  sk.confusion_matrix(y, p.argmax(1)))


def test_column_and_pair_of_probabilities_are_the_same():
    y, p, _ = sample(1, ties=False)
    pair = np.stack([1 - p, p], 1)
    for name in ("accuracy", "roc_auc", "sensitivity", "specificity", "log_loss", "brier", "f1"):
        function = metrics.METRICS[name]
        assert function(y[:, None], p[:, None]) == function(y, p)
        assert abs(function(y, pair) - function(y, p)) <= CLOSE


def test_roc_curve_ends_at_the_corners():
    y, p, _ = sample(2, ties=True)
    alarms, hits, threshold = metrics.roc_curve(y, p)
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    for a, h, t in zip(alarms, hits, threshold, strict=True):
        assert a == (p[y == 0] >= t).mean() and h == (p[y == 1] >= t).mean()


def test_extreme_probabilities_stay_finite():
    assert metrics.log_loss([1, 0], [1.0, 0.0]) < 1e-15
    assert 30 < metrics.log_loss([0, 1], [1.0, 0.0]) < 40


def test_threshold_is_the_highest_that_finds_enough():
    y, p, _ = sample(3, ties=True)
    for wanted in (0.5, 0.8, 0.9, 1.0):
        t = metrics.threshold_for(y, p, wanted)
        assert (p[y == 1] >= t).mean() >= wanted
        higher = p[p > t]
        assert not len(higher) or (p[y == 1] >= higher.min()).mean() < wanted
    with pytest.raises(ParameterError, match="over 0 and up to 1"):
        metrics.threshold_for(y, p, 0.0)


def test_calibration_error_by_hand():
    y, p = np.array([0, 0, 1, 1, 1]), np.array([0.05, 0.05, 0.95, 0.95, 1.0])
    # the bins [0, 0.1): 2 samples, mean 0.05, none sick; [0.9, 1]: 3 samples, mean 2.9 / 3, all
    assert abs(metrics.calibration_error(y, p) - (2 * 0.05 + 3 * (1 - 2.9 / 3)) / 5) < CLOSE


def test_calibration_finds_the_distortion():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1.5, 200_000)
    y = (rng.uniform(size=z.size) < 1 / (1 + np.exp(-z))).astype(np.int64)
    slope, intercept = metrics.calibration(y, 1 / (1 + np.exp(-(2 * z + 1))))  # z = (logit - 1) / 2
    assert abs(slope - 0.5) < 0.01 and abs(intercept + 0.5) < 0.02


def test_calibration_equals_logistic_regression():
    linear = pytest.importorskip("sklearn.linear_model")
    y, p, w = sample(4, ties=False)
    x = np.log(p / (1 - p))[:, None]
    model = linear.LogisticRegression(C=np.inf, tol=1e-14, max_iter=10_000).fit(x, y, w)
    slope, intercept = metrics.calibration(y, p, sample_weight=w)
    np.testing.assert_allclose([slope, intercept], [model.coef_[0, 0], model.intercept_[0]],
                               rtol=1e-5)


def test_separated_risks_have_no_slope():
    with pytest.raises(DataError, match="overlap between the outcomes"):
        metrics.calibration([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])


@pytest.mark.parametrize(("y", "p", "error", "match"), [
    ([0, 1, 2], [0.1, 0.2, 0.3], DataError, "labels from 0 to 1, got 2"),
    ([0, -1], [0.1, 0.2], DataError, "labels from 0 to 1, got -1"),
    ([0.5, 1.0], [0.1, 0.2], DTypeError, "whole class numbers"),
    ([[0, 1], [1, 0]], [0.1, 0.2], ShapeError, "argmax"),
    ([0, 1, 1], [0.1, 0.2], ShapeError, "one prediction per label, got 2 for 3"),
    ([0, 1], [0.1, float("nan")], DataError, "NaN at sample 1"),
    ([], [], ShapeError, "N of 1 or more"),
])
def test_bad_input(y, p, error, match):
    with pytest.raises(error, match=match):
        metrics.accuracy(np.array(y), np.array(p))


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ParameterError, match="accuracy, auc"):
        metrics.metric("acuracy")


def test_undefined_is_said():
    with pytest.raises(DataError, match="class 1"):
        metrics.sensitivity([0, 0], [0.1, 0.9])
    with pytest.raises(ShapeError, match="two classes, got 3"):
        metrics.brier([0, 1, 2], np.eye(3))
