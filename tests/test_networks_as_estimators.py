"""NetClassifier, NetRegressor and the transformers: scikit-learn's contract and what they do."""

from __future__ import annotations

import numpy as np
import pytest
from estimator_cases import checked
from sklearn import preprocessing as theirs
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.impute import SimpleImputer as TheirImputer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import medai_engine as me
from medai_engine import nn
from medai_engine.estimators import (
    NetClassifier,
    NetRegressor,
    OneHotEncoder,
    SimpleImputer,
    StandardScaler,
)


def exceptions(estimator):
    if isinstance(estimator, (NetClassifier, NetRegressor)):
        return {"check_sample_weight_equivalence_on_dense_data":
                "steps are taken on batches, and repeated samples make other batches"}
    return {}


@checked([NetClassifier(random_state=0, epochs=40), NetRegressor(random_state=0, epochs=60),
          StandardScaler(), SimpleImputer(), SimpleImputer(strategy="most_frequent"),
          OneHotEncoder()], exceptions)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def hidden(features, outputs):
    return nn.Sequential(nn.Linear(features, 8), nn.Tanh(), nn.Dropout(0.1),
                         nn.Linear(8, outputs))


def test_a_network_in_a_pipeline_and_a_grid_search():
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), NetClassifier(hidden, epochs=15, random_state=0))
    assert cross_val_score(model, X, y, cv=3).mean() > 0.95
    search = GridSearchCV(model, {"netclassifier__lr": [1e-3, 1e-2]}, cv=2).fit(X[::2], y[::2])
    assert search.best_score_ > 0.9
    assert search.best_estimator_[-1].predict_proba(X[:5]).shape == (5, 2)


def test_a_convolutional_network_reads_rows_of_pixels(tmp_path):
    X, y = load_digits(return_X_y=True)
    module = nn.Sequential(nn.Reshape(8, 8, 1), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
                           nn.Flatten(), nn.Linear(None, 10))
    model = NetClassifier(module, epochs=8, random_state=0).fit(X[:1200] / 16, y[:1200])
    assert model.score(X[1200:] / 16, y[1200:]) > 0.88
    model.save(tmp_path / "digits")
    again = me.load(tmp_path / "digits")
    assert again.predict_proba(X[:9]).tobytes() == model.predict_proba(X[:9]).tobytes()


def test_one_logit_will_do_for_two_classes():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = NetClassifier(nn.Linear(30, 1), epochs=20, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.97
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1)
    with pytest.raises(me.ShapeError, match="3 outputs, one per class"):
        NetClassifier(nn.Linear(13, 1)).fit(*load_wine(return_X_y=True))


def test_a_network_regresses_in_any_unit():
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = NetRegressor(nn.Linear(None, 1), epochs=60, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.5
    far = NetRegressor(nn.Linear(None, 1), epochs=60, random_state=0).fit(X, 1000 * y - 5e6)
    np.testing.assert_allclose((far.predict(X) + 5e6) / 1000, model.predict(X), rtol=1e-3)


def test_the_given_module_stays_as_it_was_and_fits_repeat():
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    module = nn.Sequential(nn.Linear(13, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    before = {k: v.copy() for k, v in module.state_dict().items()}
    model = NetClassifier(module, epochs=5, random_state=3)
    first = model.fit(X, y).predict_proba(X)
    assert all((module.state_dict()[k] == v).all() for k, v in before.items())
    me.manual_seed(99)
    expected = me.random.uniform((3,)).numpy()
    me.manual_seed(99)
    assert model.fit(X, y).predict_proba(X).tobytes() == first.tobytes()
    assert (me.random.uniform((3,)).numpy() == expected).all()  # the user's stream goes on
    assert model.set_params(random_state=4).fit(X, y).predict_proba(X).tobytes() != first.tobytes()


def test_early_stopping_and_class_weights():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = NetClassifier(epochs=200, validation_split=0.2, patience=3, random_state=0).fit(X, y)
    assert model.n_iter_ < 200 and "val_loss" in model.history_[0]
    rare = np.r_[np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:20]]
    plain = NetClassifier(nn.Linear(30, 2), epochs=3, random_state=0).fit(X[rare], y[rare])
    even = NetClassifier(nn.Linear(30, 2), epochs=3, random_state=0,
                         class_weight="balanced").fit(X[rare], y[rare])
    assert (even.predict(X) == 0).sum() > (plain.predict(X) == 0).sum()


@pytest.mark.parametrize("module", [None, nn.Sequential(nn.Linear(13, 5), nn.ReLU(),
                                                        nn.Linear(5, 3))])
def test_saved_networks_answer_with_the_same_bits(module, tmp_path):
    X, y = load_wine(return_X_y=True)
    model = NetClassifier(module, epochs=3, random_state=0).fit(X, y)
    model.save(tmp_path / "model")
    again = me.load(tmp_path / "model")
    assert again.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    assert again.history_ == model.history_


def test_bad_parameters():
    X, y = load_wine(return_X_y=True)
    for options, message in [(dict(lr=0), "lr above 0"), (dict(epochs=0), "epochs"),
                             (dict(module=3), "module a Module"), (dict(patience=-1), "patience"),
                             (dict(validation_split=1.0), "validation_split")]:
        with pytest.raises(me.ParameterError, match=message):
            NetClassifier(**options).fit(X, y)
    with pytest.raises(me.DataError, match="two classes"):
        NetClassifier().fit(X, np.zeros(len(X), int))
    with pytest.raises(me.ShapeError, match="one output"):
        NetRegressor(nn.Linear(13, 2)).fit(X, y)


def test_scaler_is_scikit_learns():
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=(50, 3)) * [1, 100, 1e-3] + [0, 5e5, 1], np.full(50, 0.1)]
    X[::7, 1] = np.nan
    weight = rng.uniform(0, 2, 50)
    for given in (None, weight):
        ours = StandardScaler().fit(X, sample_weight=given)
        other = theirs.StandardScaler().fit(X, sample_weight=given)
        np.testing.assert_allclose(ours.mean_, other.mean_, rtol=1e-10)
        np.testing.assert_allclose(ours.scale_, other.scale_, rtol=1e-8)
        np.testing.assert_allclose(ours.inverse_transform(ours.transform(X)), X, rtol=1e-9)
    plain = StandardScaler(with_mean=False, with_std=False).fit(X)
    np.testing.assert_array_equal(plain.transform(X), X)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_imputer_is_scikit_learns(strategy):
    X = np.array([[1.0, np.nan, 3], [1, 2, np.nan], [4, 2, 5], [np.nan, 7, 7]])
    ours, other = SimpleImputer(strategy=strategy), TheirImputer(strategy=strategy)
    np.testing.assert_array_equal(ours.fit_transform(X), other.fit_transform(X))
    empty = np.c_[X, np.full(4, np.nan)]
    width = 4 if strategy == "constant" else 3
    assert ours.fit(empty).transform(empty).shape == (4, width)
    assert len(ours.get_feature_names_out()) == width
    with pytest.raises(me.ParameterError, match="strategy of"):
        SimpleImputer(strategy="guess").fit(X)


def test_encoder_is_scikit_learns():
    X = np.array([["f", "low"], ["m", "high"], ["f", "mid"]], object)
    ours, other = OneHotEncoder(), theirs.OneHotEncoder(sparse_output=False)
    np.testing.assert_array_equal(ours.fit_transform(X), other.fit_transform(X))
    assert ours.get_feature_names_out(["sex", "dose"]).tolist() == other.get_feature_names_out(
        ["sex", "dose"]).tolist()
    numbers = np.array([[3, 1], [2, 1], [3, 2]])
    np.testing.assert_array_equal(ours.fit_transform(numbers), other.fit_transform(numbers))
    with pytest.raises(me.DataError, match=r"unknown.*row 1"):
        ours.transform([[3, 1], [7, 1]])
    loose = OneHotEncoder(handle_unknown="ignore").fit(numbers)
    assert loose.transform([[7, 1]]).tolist() == [[0, 0, 1, 0]]


def test_transformers_are_saved(tmp_path):
    names = np.array([["f", "low"], ["m", "high"]], object)
    X = np.array([[1.0, np.nan], [2.0, 3.0], [5.0, 4.0]])
    for model, data in [(StandardScaler(), X), (SimpleImputer(), X), (OneHotEncoder(), names)]:
        model.fit(data).save(tmp_path / "t")
        np.testing.assert_array_equal(me.load(tmp_path / "t").transform(data),
                                      model.transform(data))
