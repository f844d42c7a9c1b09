"""Paired tests: against their definitions, under the null, and by what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from medai_engine.errors import DataError
from medai_engine.training import evaluation, metrics
from medai_engine.training.comparison import (
    accuracy_difference,
    auc_difference,
    score_difference,
)

stats = pytest.importorskip("scipy.stats")


def cases(seed: int, n: int = 120, gap: float = 0.0):
    """Two risks of the same outcomes that resemble each other; the second better by ``gap``."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    shared = rng.normal(y, 1.0)
    risks = [1 / (1 + np.exp(-(shared + rng.normal(k * gap * y, 0.7)))) for k in (0, 1)]
    return y, *risks


def test_delong_by_its_definition():
    """Every pair of a sick and a healthy case, and covariances of the means over rows."""
    y, p, q = cases(0, 60, 0.5)
    p = p.round(1)  # ties
    kernel = [np.array([[(a > b) + 0.5 * (a == b) for b in v[y == 0]] for a in v[y == 1]])
              for v in (p, q)]
    m, n = kernel[0].shape
    over_sick, over_healthy = (np.cov([k.mean(axis=axis) for k in kernel]) for axis in (1, 0))
    covariance = over_sick / m + over_healthy / n
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    gap = kernel[1].mean() - kernel[0].mean()
    found = auc_difference(y, p, q)
    assert found.value == pytest.approx(gap, rel=1e-12)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(gap) / np.sqrt(variance)), rel=1e-9)
    assert (found.high - found.low) / 2 == pytest.approx(
        stats.norm.ppf(0.975) * np.sqrt(variance), rel=1e-9)
    assert found.first == pytest.approx(metrics.roc_auc(y, p), rel=1e-12)
    assert found.method == "DeLong"
    with pytest.raises(DataError, match="both classes"):
        auc_difference(np.ones(4, int), p[:4], q[:4])


def test_mcnemar_is_the_binomial_of_those_apart():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 200)
    guess, other = (np.where(rng.random(200) < share, y, (y + 1) % 3) for share in (0.7, 0.8))
    one, two = guess == y, other == y
    found = accuracy_difference(y, guess, other)
    lost, won = int((one & ~two).sum()), int((two & ~one).sum())
    assert found.p == pytest.approx(stats.binomtest(won, lost + won).pvalue, rel=1e-9)
    assert found.value == pytest.approx(two.mean() - one.mean())
    assert found.low < found.value < found.high and found.method == "McNemar"
    back = accuracy_difference(y, other, guess)
    assert back.p == found.p and back.low == pytest.approx(-found.high)


def test_the_same_model_differs_by_nothing():
    y, p, _ = cases(2)
    found = [auc_difference(y, p, p), accuracy_difference(y, p > 0.5, p > 0.5),
             score_difference(metrics.brier, y, p, p, repeats=50)]
    for each in found:
        assert each.value == 0 and each.p == 1 and each.low <= 0 <= each.high


def test_small_p_are_as_rare_as_they_say():
    """Equally good models: a p under 0.05 in one of twenty trials; with a gap far more often."""
    null = [auc_difference(*cases(seed)).p for seed in range(300)]
    low, high = stats.binom.ppf([0.001, 0.999], 300, 0.05) / 300
    assert low <= np.mean(np.array(null) < 0.05) <= high
    real = [auc_difference(*cases(seed, gap=1.0)).p for seed in range(50)]
    assert np.mean(np.array(real) < 0.05) > 0.8
    counted = [accuracy_difference(y, p > 0.5, q > 0.5).p
               for y, p, q in (cases(seed) for seed in range(300))]
    assert np.mean(np.array(counted) < 0.05) <= high  # exact: at most as often


def test_the_bootstrap_agrees_with_delong_and_keeps_patients_whole():
    y, p, q = cases(3, 300, 0.4)
    one, two = auc_difference(y, p, q), score_difference(metrics.roc_auc, y, p, q)
    assert one.value == pytest.approx(two.value)
    np.testing.assert_allclose([one.low, one.high], [two.low, two.high], atol=0.008)
    rows = np.repeat(np.arange(300), 4)
    many = score_difference(metrics.roc_auc, y[rows], p[rows], q[rows], patients=rows)
    assert (many.low, many.high) == pytest.approx((two.low, two.high))
    naive = score_difference(metrics.roc_auc, y[rows], p[rows], q[rows], repeats=200)
    assert naive.high - naive.low < 0.7 * (two.high - two.low)


def test_shares_that_are_one_keep_a_width_with_patients():
    y = np.repeat([0, 1], 20)
    found = evaluation.evaluate_risk(y, y * 0.8 + 0.1, patients=np.arange(40) // 4, repeats=50)
    for name, n in (("accuracy", 10), ("sensitivity", 5)):
        assert found[name].value == 1 and found[name].method == "Wilson"
        assert found[name].low == evaluation.wilson_interval(1.0, n)[0]
    p = np.stack([1 - y, y], axis=1) * 0.8 + 0.1
    many = evaluation.evaluate_classes(y, p, ["a", "b"], patients=np.arange(40) // 4, repeats=50)
    assert many["sensitivity[b]"] == found["sensitivity"]
