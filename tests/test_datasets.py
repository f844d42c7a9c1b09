"""Bundled and generated data: shapes, determinism, and that simple models must fail on them."""

from __future__ import annotations

import numpy as np
import pytest

from medai_engine.data import datasets
from medai_engine.data.synthetic import CHANNELS, MEASURED, NORMAL, PHASES
from medai_engine.errors import ParameterError
from medai_engine.training.metrics import roc_auc

linear = pytest.importorskip("sklearn.linear_model")
pytestmark = pytest.mark.filterwarnings("ignore:lbfgs failed to converge")


def held_out_auc(x: np.ndarray, y: np.ndarray, c: float) -> float:
    half = len(y) * 3 // 4
    model = linear.LogisticRegression(C=c, max_iter=100).fit(x[:half], y[:half])
    return roc_auc(y[half:], model.predict_proba(x[half:])[:, 1])


def test_bundled():
    table = datasets.diabetes()
    assert len(table) == 442 and len(table.names) == 11
    assert table["age"].min() == 19 and table["progression"].max() == 346
    table = datasets.wine()
    assert len(table) == 178 and sorted(set(table["cultivar"])) == ["class_0", "class_1", "class_2"]
    x, y = datasets.digits()
    assert x.shape == (1797, 8, 8, 1) and x.dtype == np.float32 and x.max() == 1
    assert np.bincount(y).min() > 170


@pytest.mark.parametrize("make", [lambda seed: datasets.slices(6, 32, seed),
                                  lambda seed: datasets.histories(6, seed),
                                  lambda seed: datasets.phases(3, 40, 8, seed)])
def test_everything_follows_from_the_seed(make):
    for a, b, c in zip(make(1), make(1), make(2), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == c.dtype
    assert not np.array_equal(make(1)[0], make(2)[0], equal_nan=True)


def test_slices_hide_the_nodule_from_a_linear_model():
    x, y, patients = datasets.slices(400, 32)
    assert x.min() >= 0 and x.max() <= 1 and x.dtype == np.float32
    assert y.mean() == 0.5 and (np.bincount(patients) == 4).all()
    for c in (1e-3, 1e-1):
        assert held_out_auc(x.reshape(400, -1), y, c) < 0.7
    assert abs(x[y == 1].mean() - x[y == 0].mean()) < 0.005


def test_histories_hide_the_outcome_from_the_last_values():
    x, lengths, y = datasets.histories(600)
    assert x.shape == (600, lengths.max(), len(CHANNELS)) and lengths.min() >= 12
    assert np.isnan(x[np.arange(x.shape[1]) >= lengths[:, None]]).all()
    inside = np.arange(x.shape[1]) < lengths[:, None]
    seen = (~np.isnan(x))[inside].mean(axis=0)
    np.testing.assert_allclose(seen, MEASURED, atol=0.15)
    assert np.nanmax(x[..., 4]) <= 100 and np.nanmin(x[..., 6]) >= 3
    z = (x - NORMAL[:, 0]) / NORMAL[:, 1]
    rows = np.arange(x.shape[1])[:, None]
    at = np.where(np.isnan(z), -1, rows).max(axis=1)  # when each was last measured
    last = np.where(at >= 0, np.take_along_axis(z, at.clip(0)[:, None], 1)[:, 0], 0)
    mean = np.nan_to_num(np.nansum(z, axis=1) / np.maximum((~np.isnan(z)).sum(axis=1), 1))
    assert held_out_auc(last, y, 1.0) < 0.75
    assert held_out_auc(mean, y, 1.0) < 0.75


def test_phases_need_what_came_before():
    x, y = datasets.phases(90)
    assert x.shape == (90, 100, 64) and set(y.ravel()) == set(range(len(PHASES)))
    assert (np.diff(y, axis=1) >= 0).all()
    assert 0 < sum(1 for row in y if len(set(row)) < 7) < 45
    model = linear.LogisticRegression(max_iter=50).fit(x[:60].reshape(-1, 64)[::3],
                                                        y[:60].ravel()[::3])
    alone = (model.predict(x[60:].reshape(-1, 64)) == y[60:].ravel()).mean()
    assert 0.5 < alone < 0.75


def test_bad_sizes():
    with pytest.raises(ParameterError, match="size of 32 or more, got 8"):
        datasets.slices(4, size=8)
    with pytest.raises(ParameterError, match="n of 2 or more, got 0"):
        datasets.histories(0)
