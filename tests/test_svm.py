"""Kernel machines: scikit-learn's contract, known optima, the same machines as scikit-learn's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from estimator_cases import checked
from sklearn import svm as theirs
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import medai_engine as me
from medai_engine.estimators import SVC, SVR
from medai_engine.estimators.platt import coupled, sigmoid_fit


def exceptions(estimator):
    if getattr(estimator, "probability", False):
        return {"check_sample_weight_equivalence_on_dense_data":
                "Platt's folds: a repeated sample is in several, a weighted one in one"}
    return {}


# solved so exactly that weights and repetition agree to scikit-learn's 1e-7, with a gamma that does
# not change when samples are repeated ("scale" is of the unweighted variance, as scikit-learn's)
@checked([SVC(gamma="auto", tol=1e-10), SVC(kernel="linear", probability=True),
          SVR(gamma="auto", tol=1e-10), SVR(kernel="linear", tol=1e-10)], exceptions)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def patients(load, rows=None):
    X, y = load(return_X_y=True)
    X, y = X[:rows], y[:rows]
    return (X - X.mean(0)) / np.maximum(X.std(0), 1e-9), y


LOADERS = [load_breast_cancer, load_wine, lambda **k: tuple(a[:600] for a in load_digits(**k))]


@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly", "sigmoid"])
@pytest.mark.parametrize("load", LOADERS, ids=["breast_cancer", "wine", "digits"])
def test_the_machines_are_scikit_learns(load, kernel):
    X, y = patients(load)
    options = dict(kernel=kernel, coef0=0.5, degree=2, tol=1e-6)
    if kernel == "sigmoid":
        options |= dict(gamma=1e-3)  # beyond, the problem is not convex: optima differ
    ours, other = SVC(**options).fit(X, y), theirs.SVC(**options).fit(X, y)
    np.testing.assert_array_equal(ours.support_, other.support_)
    np.testing.assert_array_equal(ours.n_support_, other.n_support_)
    assert ours.dual_coef_.shape == other.dual_coef_.shape
    np.testing.assert_allclose(ours.dual_coef_, other.dual_coef_, atol=2e-4)
    np.testing.assert_allclose(ours.intercept_, other.intercept_, atol=1e-4)
    for shape in ("ovr", "ovo"):
        ours.set_params(decision_function_shape=shape)
        other.set_params(decision_function_shape=shape)
        np.testing.assert_allclose(ours.decision_function(X), other.decision_function(X),
                                   atol=1e-4)
    np.testing.assert_array_equal(ours.predict(X), other.predict(X))
    if kernel == "linear":
        np.testing.assert_allclose(ours.coef_, other.coef_, atol=1e-4)
    else:
        assert not hasattr(ours, "coef_")


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_the_objective_is_within_a_millionth_of_the_optimum(kernel):
    """Primal minus dual bounds the distance to the optimum: no oracle is needed."""
    X, y = patients(load_breast_cancer)
    sign = np.where(y == 1, 1.0, -1.0)
    model = SVC(kernel=kernel, gamma=0.03, C=3.0, tol=1e-6).fit(X, y)
    beta = np.zeros(len(y))
    beta[model.support_] = model.dual_coef_[0]
    K = X @ X.T if kernel == "linear" else np.exp(-0.03 * ((X[:, None] - X) ** 2).sum(2))
    size = beta @ K @ beta / 2
    primal = size + 3 * np.maximum(1 - sign * model.decision_function(X), 0).sum()
    dual = sign @ beta - size
    assert (sign * beta >= 0).all() and (sign * beta <= 3).all() and abs(beta.sum()) < 1e-9
    assert 0 <= primal - dual <= 1e-6 * dual


def test_break_ties_follows_the_decisions():
    X, y = patients(load_wine)
    options = dict(break_ties=True, gamma=1.0)
    np.testing.assert_array_equal(SVC(**options).fit(X[::2], y[::2]).predict(X),
                                  theirs.SVC(**options).fit(X[::2], y[::2]).predict(X))


def test_known_margin():
    """Two points at distance 4: f(x) = x / 2 - 1 / 2 between -1 and 3, alpha = 1 / 8."""
    model = SVC(kernel="linear", C=10, tol=1e-12).fit([[-1.0], [3.0], [9.0]], ["a", "b", "b"])
    np.testing.assert_allclose(model.decision_function([[-1], [1], [3]]), [-1, 0, 1], atol=1e-9)
    np.testing.assert_allclose(model.dual_coef_, [[-1 / 8, 1 / 8]], atol=1e-12)
    assert model.support_.tolist() == [0, 1]


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_weights_are_factors_of_the_price(kernel):
    """A weight of 2 is a sample twice, of 0 none; class weights multiply."""
    X, y = patients(load_wine)
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    options = dict(kernel=kernel, tol=1e-7, class_weight={0: 2.0, 2: 0.5}, gamma=0.05)
    weighted = SVC(**options).fit(X, y, weight)
    repeated = SVC(**options).fit(np.repeat(X, weight.astype(int), 0),
                                  np.repeat(y, weight.astype(int)))
    expected = theirs.SVC(**options).fit(X, y, weight).decision_function(X)
    np.testing.assert_allclose(weighted.decision_function(X), expected, atol=1e-5)
    np.testing.assert_allclose(repeated.decision_function(X), expected, atol=1e-5)
    z = X[:, 0] + np.sin(X[:, 1])
    numbers = SVR(kernel=kernel, tol=1e-7).fit(X, z, weight).predict(X)
    np.testing.assert_allclose(
        numbers, theirs.SVR(kernel=kernel, tol=1e-7).fit(X, z, weight).predict(X), atol=1e-4)


@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly"])
def test_regression_is_scikit_learns(kernel):
    X, y = patients(load_diabetes)
    options = dict(kernel=kernel, C=20.0, epsilon=5.0, tol=1e-6)
    ours, other = SVR(**options).fit(X, y), theirs.SVR(**options).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), other.predict(X), atol=1e-3)
    np.testing.assert_array_equal(ours.support_, other.support_)
    np.testing.assert_allclose(ours.intercept_, other.intercept_, atol=1e-3)


def rbf(a, b):
    return np.exp(-0.1 * ((a[:, None] - b) ** 2).sum(2))


@pytest.mark.parametrize("probability", [False, True])
def test_callable_and_precomputed_kernels_are_the_named_one(probability):
    X, y = patients(load_wine)
    options = dict(tol=1e-7, probability=probability, random_state=1)
    named = SVC(gamma=0.1, **options).fit(X, y)
    called = SVC(kernel=rbf, **options).fit(X, y)
    given = SVC(kernel="precomputed", **options).fit(rbf(X, X), y)
    expected = named.decision_function(X[:50])
    np.testing.assert_allclose(called.decision_function(X[:50]), expected, atol=1e-5)
    np.testing.assert_allclose(given.decision_function(rbf(X[:50], X)), expected, atol=1e-5)
    if probability:
        expected = named.predict_proba(X[:50])
        np.testing.assert_allclose(called.predict_proba(X[:50]), expected, atol=1e-4)
        np.testing.assert_allclose(given.predict_proba(rbf(X[:50], X)), expected, atol=1e-4)
    scores = cross_val_score(SVC(kernel="precomputed"), rbf(X, X), y)
    np.testing.assert_array_equal(scores, cross_val_score(SVC(gamma=0.1), X, y))


def test_sigmoid_is_of_greatest_likelihood():
    rng = np.random.default_rng(0)
    y = np.where(rng.random(300) < 0.3, 1.0, -1.0)
    f = rng.normal(size=300) + y
    A, B = sigmoid_fit(f, y)
    above, below = (y > 0).sum(), (y < 0).sum()
    t = np.where(y > 0, (above + 1) / (above + 2), 1 / (below + 2))
    p = 1 / (1 + np.exp(A * f + B))
    assert abs((p - t).sum()) < 1e-4 and abs(((p - t) * f).sum()) < 1e-4 and A < 0


def test_coupling_returns_what_pairs_came_from():
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=20)
    i, j = np.triu_indices(4, 1)
    np.testing.assert_allclose(coupled(p[:, i] / (p[:, i] + p[:, j]), 4), p, atol=1e-6)


@pytest.mark.parametrize("load", LOADERS[:2], ids=["breast_cancer", "wine"])
def test_probabilities_are_close_to_scikit_learns(load):
    X, y = patients(load)
    ours = SVC(probability=True, random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        expected = theirs.SVC(probability=True, random_state=0).fit(X, y).predict_proba(X)
    p = ours.predict_proba(X)
    np.testing.assert_allclose(p.sum(1), 1)
    assert np.abs(p - expected).mean() < 0.01  # folds differ
    np.testing.assert_allclose(ours.predict_log_proba(X), np.log(p))
    assert not hasattr(SVC().fit(X, y), "predict_proba")


@pytest.mark.parametrize("model", [SVC(probability=True, random_state=0), SVR(kernel="poly"),
                                   SVC(kernel="linear", class_weight="balanced")])
def test_same_bits_for_any_threads_and_when_loaded(model, tmp_path):
    X, y = patients(load_wine)
    found = set()
    threads = me.get_num_threads()
    for count in (1, 2, 5):
        me.set_num_threads(count)
        found.add(model.fit(X, y).predict(X).tobytes() + model.dual_coef_.tobytes())
    me.set_num_threads(threads)
    assert len(found) == 1
    model.save(tmp_path / "model")
    again = me.load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(model, method):
            assert getattr(again, method)(X).tobytes() == getattr(model, method)(X).tobytes()


def test_grid_search_in_a_pipeline():
    X, y = load_breast_cancer(return_X_y=True)
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [0.1, 1.0, 10.0]})
    assert search.fit(X, y).best_score_ > 0.97


def test_bad_parameters_and_data():
    X, y = patients(load_wine)
    for options, message in [(dict(kernel="spline"), "kernel of 'rbf'"), (dict(C=0), "C above 0"),
                             (dict(gamma=-1.0), "gamma of at least 0"), (dict(tol=0), "tol above"),
                             (dict(degree=1.5), "degree a whole number"),
                             (dict(decision_function_shape="all"), "decision_function_shape of")]:
        with pytest.raises(me.ParameterError, match=message):
            SVC(**options).fit(X, y)
    with pytest.raises(me.DataError, match="two classes"):
        SVC().fit(X, np.zeros(len(X), int))
    with pytest.raises(me.DataError, match="two classes"):
        SVC().fit(X, y > 0, (y > 0).astype(float))
    with pytest.raises(me.ShapeError, match="square"):
        SVC(kernel="precomputed").fit(X, y)
    with pytest.raises(me.ShapeError, match="one value per pair"):
        SVC(kernel=lambda a, b: np.zeros(3)).fit(X, y)
    with pytest.raises(me.ParameterError, match="epsilon"):
        SVR(epsilon=-1).fit(X, y)
    with pytest.warns(UserWarning, match="to converge"):
        SVC(max_iter=2).fit(X, y)


def test_every_backend_finds_the_same_machine():
    X, y = patients(load_wine)
    found = []
    for name in ("reference", "loops", "fast"):
        with me.backend(name):
            found.append(SVC(tol=1e-7).fit(X, y).decision_function(X))
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)
    np.testing.assert_allclose(found[1], found[2], atol=1e-5)
