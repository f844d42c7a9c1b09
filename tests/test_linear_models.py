"""Linear estimators: scikit-learn's contract, optimality, weights, threads, saving."""

from __future__ import annotations

import numpy as np
import pytest
from estimator_cases import checked
from sklearn import linear_model as theirs_linear
from sklearn import svm as theirs
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

import medai_engine as me
from medai_engine import functional as F
from medai_engine.estimators import (
    LinearRegression,
    LinearSVC,
    LinearSVR,
    LogisticRegression,
    Ridge,
)
from medai_engine.estimators.logistic import Objective
from medai_engine.estimators.solvers import lbfgs, newton


def exceptions(estimator):
    if getattr(estimator, "loss", None) in ("hinge", "epsilon_insensitive"):
        return {"check_sample_weight_equivalence_on_dense_data":
                "samples are taken in a random order, which repeated ones change"}
    return {}


# features around 100 with a spread of 1, as some checks have, take the duals many epochs
@pytest.mark.filterwarnings("ignore:Linear.*to converge")
@checked([LinearRegression(), Ridge(), Ridge(alpha=0.0), Ridge(solver="svd"),
          LogisticRegression(tol=1e-10, max_iter=1000),
          LogisticRegression(penalty="l1", C=10.0, tol=1e-6, max_iter=1000),
          LogisticRegression(penalty=None),
          LogisticRegression(solver="newton-cholesky", tol=1e-10), LinearSVC(tol=1e-10),
          LinearSVC(loss="hinge", random_state=0), LinearSVR(random_state=0),
          LinearSVR(loss="squared_epsilon_insensitive", tol=1e-10)], exceptions)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def patients(load, rows=None):
    X, y = load(return_X_y=True)
    X, y = X[:rows], y[:rows]
    return (X - X.mean(0)) / np.maximum(X.std(0), 1e-9), y


CLASSES = {"breast_cancer": load_breast_cancer, "wine": load_wine, "digits": load_digits}


def cross_entropy(model, X, y, weight=1.0):
    """Return C sum of the loss plus the penalty, from probabilities by another road."""
    z = X @ model.coef_.T + model.intercept_
    z = np.c_[np.zeros(len(z)), z] if z.shape[1] == 1 else z
    picked = np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), y]
    ratio = 1.0 if model.penalty == "l1" else model.l1_ratio
    return (model.C * (weight * picked).sum() + (1 - ratio) * (model.coef_ ** 2).sum() / 2
            + ratio * np.abs(model.coef_).sum())


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
@pytest.mark.parametrize("name", CLASSES)
def test_logistic_regression_reaches_the_optimum(name, solver):
    X, y = patients(CLASSES[name], 200 if name == "digits" else None)
    if name == "digits":
        X, y = X[y < 5], y[y < 5]
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    model = LogisticRegression(solver=solver, C=0.7, tol=1e-7, max_iter=2000).fit(X, y, weight)
    best = theirs_linear.LogisticRegression(C=0.7, tol=1e-10, max_iter=10_000).fit(X, y, weight)
    other = LogisticRegression(C=0.7)
    other.coef_, other.intercept_ = best.coef_, best.intercept_
    optimum = cross_entropy(other, X, y, weight)
    assert abs(cross_entropy(model, X, y, weight) - optimum) <= 1e-6 * optimum
    np.testing.assert_allclose(model.predict_proba(X), best.predict_proba(X), atol=1e-3)
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1)


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("intercept", [True, False])
def test_objective_has_the_engines_gradients(K, intercept):
    """Value, gradient and second derivative equal those of the composition of ops."""
    rng = np.random.default_rng(K)
    X, codes, share = rng.normal(size=(80, 3)) + 5, rng.integers(0, K, 80), rng.uniform(size=80)
    share /= share.sum()
    objective = Objective(X, codes, share, K, 0.3, intercept)
    point = rng.normal(size=objective.size)

    def value(flat):
        weight = flat[:3 * objective.rows].reshape(objective.rows, 3)
        z = (me.Tensor(X - objective.mean) @ weight.T
             + (flat[3 * objective.rows:] if intercept else 0.0))
        if K == 2:
            loss = F.softplus(z[:, 0]) - z[:, 0] * me.Tensor(codes.astype(float))
        else:
            loss = F.cross_entropy(z, codes, reduction="none")
        return (me.Tensor(share) * loss).sum() + 0.15 * (weight * weight).sum()

    expected, gradient = me.value_and_grad(value)(me.Tensor(point))
    found, g = objective(point)
    assert abs(found - expected.item()) < 1e-12
    np.testing.assert_allclose(g, gradient.numpy(), atol=1e-12)
    np.testing.assert_allclose(objective.hessian(point), me.hessian(value)(
        me.Tensor(point)).numpy(), atol=1e-10)


@pytest.mark.parametrize("ratio", [0.3, 1.0])
@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_absolute_values_satisfy_their_conditions(name, ratio):
    """Where a weight is 0 the loss's slope is within the penalty's, else it equals it."""
    X, y = patients(CLASSES[name])
    C = 0.05
    model = LogisticRegression("elasticnet", C=C, l1_ratio=ratio, tol=1e-8, max_iter=5000)
    model.fit(X, y)
    p = model.predict_proba(X)
    p[np.arange(len(y)), y] -= 1
    g = C * (p.T @ X) if name == "wine" else C * (p.T @ X)[1:]
    g += (1 - ratio) * model.coef_
    zero = model.coef_ == 0
    assert 0 < zero.sum() < zero.size
    scale = 1e-8 * C * len(y) * 2
    assert (np.abs(g[zero]) <= ratio + scale).all()
    np.testing.assert_allclose(g[~zero], -ratio * np.sign(model.coef_[~zero]), atol=scale)
    assert np.abs(p.sum(0)).max() <= 1e-8 * len(y) * 2


def test_no_penalty_and_no_intercept():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] + rng.normal(size=200) > 0.3).astype(int)
    for options in (dict(penalty=None), dict(C=np.inf, solver="newton-cholesky")):
        model = LogisticRegression(tol=1e-9, **options).fit(X, y)
        p = model.predict_proba(X)[:, 1]
        np.testing.assert_allclose((p - y) @ np.c_[X, np.ones(200)], 0, atol=1e-5)
    bare = LogisticRegression(fit_intercept=False, tol=1e-9).fit(X, y)
    assert bare.intercept_ == [0]
    g = (bare.predict_proba(X)[:, 1] - y) @ X + bare.coef_[0]
    np.testing.assert_allclose(g, 0, atol=1e-5)


def test_a_warm_start_takes_fewer_iterations():
    X, y = patients(load_breast_cancer)
    model = LogisticRegression(warm_start=True, tol=1e-6, max_iter=500).fit(X, y)
    first = model.n_iter_[0]
    assert model.fit(X, y).n_iter_[0] == 0 < first
    assert model.set_params(C=1.1).fit(X, y).n_iter_[0] < first


def test_solvers_on_known_functions():
    A = np.diag([1.0, 10.0, 100.0])
    b = np.array([1.0, -0.3, 50.0])

    def parabola(x):
        return float(x @ A @ x / 2 - b @ x), A @ x - b

    start = np.zeros(3)
    for found in (newton(parabola, lambda x: A.copy(), start, 1e-10, 5),
                  lbfgs(parabola, start, 1e-9, 100)):
        assert found.converged
        np.testing.assert_allclose(found.x, b / np.diag(A), atol=1e-9)
    assert newton(parabola, lambda x: A.copy(), start, 1e-8, 5).iterations == 1
    sparse = lbfgs(parabola, start, 1e-9, 100, np.full(3, 0.5))
    np.testing.assert_allclose(sparse.x, [0.5, 0, 0.495], atol=1e-9)
    assert sparse.x[1] == 0 and sparse.converged
    assert not lbfgs(parabola, start, 1e-9, 2).converged


def hinge(model, X, y, squared, weight=1.0):
    z = X @ model.coef_.T + model.intercept_
    loss = np.maximum(1 - y * z[:, 0], 0) ** (2 if squared else 1)
    return (model.coef_ ** 2).sum() / 2 + model.intercept_[0] ** 2 / 2 + (
        model.C * weight * loss).sum()


@pytest.mark.parametrize("options", [dict(dual=False), dict(dual=True), dict(loss="hinge")],
                         ids=["primal", "dual", "hinge"])
def test_linear_svc_reaches_the_optimum(options):
    """A machine's own dual gives a lower bound: kernels with a constant feature added."""
    X, y = patients(load_wine)
    X, y = X[y < 2], y[y < 2]
    sign, squared = np.where(y, 1, -1), options.get("loss") != "hinge"
    weight = np.random.default_rng(1).uniform(0, 2, len(y))
    model = LinearSVC(C=0.3, tol=1e-8, max_iter=1_000_000, random_state=0, **options)
    model.fit(X, y, weight)
    best = theirs.LinearSVC(C=0.3, tol=1e-7, max_iter=1_000_000, random_state=0, dual=True,
                            loss="squared_hinge" if squared else "hinge").fit(X, y, weight)
    assert hinge(model, X, sign, squared, weight) <= hinge(
        best, X, sign, squared, weight) * (1 + 1e-6)


@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared_epsilon_insensitive"])
def test_linear_svr_reaches_the_optimum(loss):
    X, y = patients(load_diabetes)
    options = dict(loss=loss, epsilon=10.0, C=0.2, max_iter=1_000_000, random_state=0)

    def objective(model):
        excess = np.maximum(np.abs(y - X @ model.coef_ - model.intercept_) - 10, 0)
        return (model.coef_ ** 2).sum() / 2 + model.intercept_[0] ** 2 / 2 + 0.2 * (
            excess ** (2 if loss.startswith("squared") else 1)).sum()

    best = objective(theirs.LinearSVR(tol=1e-10, dual=True, **options).fit(X, y))
    for dual in (["auto"] if loss[0] == "e" else [True, False]):
        assert objective(LinearSVR(tol=1e-8, dual=dual, **options).fit(X, y)) <= best * (1 + 1e-6)


def test_known_margin_of_a_linear_machine():
    """Without an intercept: points at -2 and 2, w = 1/2, f = -1 and 1."""
    model = LinearSVC(loss="hinge", C=10, fit_intercept=False, tol=1e-10, random_state=0)
    model.fit([[-2.0], [2.0], [9.0]], ["ill", "well", "well"])
    np.testing.assert_allclose(model.coef_, [[0.5]])
    assert model.intercept_ == [0] and model.predict([[-0.1], [0.1]]).tolist() == ["ill", "well"]


def test_ridge_is_the_closed_form():
    X, y = patients(load_diabetes)
    rng = np.random.default_rng(0)
    Y = np.c_[y, y ** 2 / 100]
    weight = rng.uniform(0, 2, len(y))
    alphas = np.array([3.0, 0.5])
    for solver in ("auto", "cholesky", "svd"):
        model = Ridge(alphas, solver=solver).fit(X, Y, weight)
        wide = np.c_[X, np.ones(len(X))]
        for k in range(2):
            penalty = np.diag([alphas[k]] * X.shape[1] + [0.0])
            exact = np.linalg.solve(wide.T * weight @ wide + penalty, wide.T * weight @ Y[:, k])
            np.testing.assert_allclose(model.coef_[k], exact[:-1], rtol=1e-9)
            np.testing.assert_allclose(model.intercept_[k], exact[-1], rtol=1e-9)
        few = Ridge(2.0, solver=solver).fit(X[:6], y[:6])  # fewer samples than features
        np.testing.assert_allclose(few.coef_, theirs_linear.Ridge(2.0).fit(X[:6], y[:6]).coef_,
                                   rtol=1e-9)
    scores = theirs_linear.Ridge(alphas).fit(X, Y, weight)
    assert abs(model.score(X, Y) - scores.score(X, Y)) < 1e-12


def test_least_squares_of_dependent_columns_is_the_smallest():
    X, y = patients(load_diabetes)
    X = np.c_[X, X[:, 0]]
    model = LinearRegression().fit(X, y)
    assert model.rank_ == 10
    np.testing.assert_allclose(model.coef_[0], model.coef_[10])
    np.testing.assert_allclose(model.predict(X), LinearRegression().fit(X[:, :10], y).predict(X[
        :, :10]), atol=1e-9)
    np.testing.assert_allclose(Ridge(0.0).fit(X, y).coef_, model.coef_, atol=1e-8)
    exact = LinearRegression(fit_intercept=False).fit([[1.0], [2.0]], [2.0, 4.0])
    np.testing.assert_allclose(exact.coef_, [2]) and exact.intercept_ == 0


MODELS = [LogisticRegression(), LogisticRegression("l1", C=0.1), LinearSVC(random_state=0),
          LinearSVC(loss="hinge", random_state=0, max_iter=50_000),
          LinearSVR(random_state=0, max_iter=50_000, C=0.1), Ridge(), LinearRegression()]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_same_bits_for_any_threads_and_when_loaded(model, tmp_path):
    X, y = patients(load_digits, 400)
    found = set()
    threads = me.get_num_threads()
    for count in (1, 2, 5):
        me.set_num_threads(count)
        found.add(model.fit(X, y).predict(X).tobytes() + model.coef_.tobytes())
    me.set_num_threads(threads)
    assert len(found) == 1
    model.save(tmp_path / "model")
    again = me.load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(model, method):
            assert getattr(again, method)(X).tobytes() == getattr(model, method)(X).tobytes()


def test_bad_parameters_and_data():
    X, y = patients(load_wine)
    cases = [(LogisticRegression(C=-1), "C above 0"), (LogisticRegression("l3"), "penalty of"),
             (LogisticRegression("l1", solver="newton-cholesky"), "absolute values"),
             (LogisticRegression(l1_ratio=2), "at most 1"), (LogisticRegression(tol=0), "tol"),
             (LogisticRegression(max_iter=-1), "max_iter"),
             (LogisticRegression(solver="liblinear"), "solver of"),
             (LinearSVC("l1"), "sparse weights"), (LinearSVC(loss="log"), "loss of"),
             (LinearSVC(loss="hinge", dual=False), "dual=True with"), (LinearSVC(C=0), "C above"),
             (LinearSVR(epsilon=-1), "epsilon"), (Ridge(solver="magic"), "solver of")]
    for model, message in cases:
        with pytest.raises(me.ParameterError, match=message):
            model.fit(X, y)
    with pytest.raises(me.DataError, match="alpha of at least 0"):
        Ridge(-1.0).fit(X, y)
    with pytest.raises(me.ShapeError, match="one per target"):
        Ridge([1.0, 2.0]).fit(X, y)
    for kind in (LogisticRegression, LinearSVC):
        with pytest.raises(me.DataError, match="two classes"):
            kind().fit(X, np.zeros(len(X), int))
    for model in (LogisticRegression(max_iter=2), LinearSVC(dual=True, max_iter=1),
                  LinearSVC(dual=False, max_iter=1), LinearSVR(max_iter=1)):
        with pytest.warns(UserWarning, match="to converge"):
            model.fit(X, y)
