"""The estimator contract, on the smallest estimators that keep it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from estimator_cases import checked
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError as TheirNotFitted
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import medai_engine as me
from medai_engine.estimators import Classifier, Regressor
from medai_engine.estimators.checks import balanced, seed_of


class Centroids(Classifier):
    """The class whose (weighted) mean is nearest."""

    def __init__(self, power=2, random_state=None):
        self.power = power
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        X, codes, weight = self.training_data(X, y, sample_weight)
        weight = np.ones(len(X)) if weight is None else weight
        self.means_ = np.stack([np.average(X[codes == k], axis=0, weights=weight[codes == k])
                                if weight[codes == k].any() else np.full(X.shape[1], np.inf)
                                for k in range(len(self.classes_))])
        return self

    def predict(self, X):
        X = self.table(X, "predict")
        far = (np.abs(X[:, None] - self.means_) ** self.power).sum(axis=2)
        return self.classes_[far.argmin(axis=1)]


class Least(Regressor):
    """Weighted least squares."""

    def __init__(self, ridge=1e-3):
        self.ridge = ridge

    def fit(self, X, y, sample_weight=None):
        X, y, weight = self.training_data(X, y, sample_weight)
        root = np.sqrt(np.ones(len(X)) if weight is None else weight)[:, None]
        design = np.c_[X, np.ones(len(X))] * root
        self.coef_ = np.linalg.solve(design.T @ design + self.ridge * np.eye(X.shape[1] + 1),
                                     design.T @ (y * root[:, 0]))
        return self

    def predict(self, X):
        return self.table(X, "predict") @ self.coef_[:-1] + self.coef_[-1]


@checked([Centroids(), Least()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def blobs(seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(["ill", "well"], 20)
    return rng.normal(size=(40, 3)) + 3 * (y == "ill")[:, None], y


def test_grid_search_over_a_pipeline_and_clones():
    X, y = blobs()
    model = make_pipeline(StandardScaler(), Centroids())
    search = GridSearchCV(model, {"centroids__power": [1, 2]}, cv=4).fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_estimator_[-1].power in (1, 2)
    assert clone(Centroids(power=3)).power == 3
    assert is_classifier(Centroids()) and is_regressor(Least()) and not is_regressor(Centroids())


def test_parameters_by_name():
    model = Centroids(power=1)
    assert model.get_params() == {"power": 1, "random_state": None}
    assert repr(model.set_params(power=4)) == "Centroids(power=4)"
    with pytest.raises(me.ParameterError, match=r"power, random_state, got 'speed'"):
        model.set_params(speed=1)


def test_errors_are_ours_and_scikit_learns():
    X, y = blobs()
    with pytest.raises(me.NotFittedError, match=r"Centroids.predict.*Call fit") as raised:
        Centroids().predict(X)
    assert isinstance(raised.value, TheirNotFitted)
    hole = X.copy()
    hole[7, 2] = np.nan
    with pytest.raises(me.DataError, match="NaN at row 7, column 2"):
        Centroids().fit(hole, y)
    with pytest.raises(me.ShapeError, match="inconsistent numbers of samples: 39"):
        Centroids().fit(X, y[1:])
    with pytest.raises(me.ShapeError, match="X has 2 features, but Centroids is expecting 3"):
        Centroids().fit(X, y).predict(X[:, :2])
    with pytest.raises(me.DataError, match="continuous"):
        Centroids().fit(X, X[:, 0])
    with pytest.raises(me.DataError, match=r"sample_weight of at least 0, got -1.0"):
        Centroids().fit(X, y, np.r_[-1.0, np.ones(39)])
    with pytest.raises(me.DataError, match="none"):
        Centroids().fit([["a", "b"], ["c", "d"]], [0, 1])


class Frame(np.ndarray):
    """As much of a data frame as the contract reads."""

    columns: list[str]


def frame(X, columns):
    made = np.asarray(X).view(Frame)
    made.columns = columns
    return made


def test_feature_names():
    X, y = blobs()
    model = Centroids().fit(frame(X, ["a", "b", "c"]), y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    model.predict(frame(X, ["a", "b", "c"]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)
    with pytest.raises(me.ShapeError, match=r"unseen at fit time:\n- d\nFeature.*missing:\n- c"):
        model.predict(frame(X, ["a", "b", "d"]))
    with pytest.raises(me.ShapeError, match="same order"):
        model.predict(frame(X, ["a", "c", "b"]))
    model.fit(X, y)
    assert not hasattr(model, "feature_names_in_")
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        model.predict(frame(X, ["a", "b", "c"]))


def test_save_and_load(tmp_path):
    X, y = blobs()
    model = Centroids(power=3).fit(frame(X, ["a", "b", "c"]), y)
    model.extra_ = {1: [np.arange(3), None, "text", (2.5, np.array(["x", "yy"]))]}
    model.save(tmp_path / "model")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    with pytest.raises(me.ParameterError, match="Centroids"):
        me.load(tmp_path / "model")
    again = me.load(tmp_path / "model", classes=[Centroids])
    assert type(again) is Centroids and again.power == 3
    assert again.classes_.dtype == model.classes_.dtype
    assert again.feature_names_in_.dtype == object
    numbers, nothing, text, (half, words) = again.extra_[1]
    assert numbers.tolist() == [0, 1, 2] and nothing is None and text == "text" and half == 2.5
    assert words.tolist() == ["x", "yy"]
    np.testing.assert_array_equal(again.predict(frame(X, ["a", "b", "c"])), y)


def test_what_cannot_be_said_is_not_saved(tmp_path):
    model = Centroids(power=max).fit(*blobs())
    with pytest.raises(me.ParameterError, match=r"Centroids.power.*builtin_function"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_class_weights_and_seeds():
    y = np.array([0, 0, 0, 1])
    model, classes = Centroids(), np.array([5, 7])
    assert balanced(model, "balanced", classes, y).tolist() == [4 / 6, 2]
    assert balanced(model, {7: 3}, classes, y).tolist() == [1, 3]
    assert balanced(model, "balanced", classes, y, np.array([1.0, 1, 0, 2])).tolist() == [1, 1]
    with pytest.raises(me.ParameterError, match=r"\[6\]"):
        balanced(model, {6: 1}, classes, y)
    assert seed_of(3) == 3
    me.manual_seed(1)
    first = seed_of(None), seed_of(None)
    me.manual_seed(1)
    assert first == (seed_of(None), seed_of(None)) and first[0] != first[1]
    assert seed_of(np.random.RandomState(0)) == seed_of(np.random.RandomState(0))
    with pytest.raises(me.ParameterError, match="random_state"):
        seed_of(0.5)


def test_works_without_scikit_learn():
    """Fit, predict and its errors do not import scikit-learn."""
    code = ("import sys; sys.modules['sklearn'] = None\n"
            "import numpy as np, medai_engine as me\n"
            "from medai_engine.estimators import Regressor\n"
            "class Mean(Regressor):\n"
            "    def fit(self, X, y):\n"
            "        X, y, _ = self.training_data(X, y); self.mean_ = y.mean(); return self\n"
            "    def predict(self, X):\n"
            "        return np.full(len(self.table(X, 'predict')), self.mean_)\n"
            "try:\n    Mean().predict([[1.0]])\n"
            "except me.NotFittedError as error:\n    assert 'Call fit' in str(error)\n"
            "assert Mean().fit([[1.0], [2.0]], [3.0, 5.0]).predict([[0.0]]) == [4.0]\n")
    subprocess.run([sys.executable, "-c", code], check=True)
