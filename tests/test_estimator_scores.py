"""Held-out scores of SVMs and linear models next to scikit-learn's: within half a point."""

from __future__ import annotations

import warnings

import pytest
from sklearn import linear_model, svm
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medai_engine import estimators

POINTS = 0.005
CLASSES = {"breast_cancer": load_breast_cancer, "wine": load_wine, "digits": load_digits}
CLASSIFIERS = {"SVC": dict(), "SVC linear": dict(kernel="linear"), "LinearSVC": dict(),
               "LinearSVC hinge": dict(loss="hinge", random_state=0), "LogisticRegression": dict()}
REGRESSORS = {"SVR": dict(C=30.0), "LinearSVR": dict(C=10.0, random_state=0), "Ridge": dict(),
              "LinearRegression": dict()}


def pair(name, options):
    """Return our estimator and scikit-learn's with the same options."""
    kind = name.split()[0]
    theirs = getattr(svm, kind, None) or getattr(linear_model, kind)
    return getattr(estimators, kind)(**options), theirs(**options)


def scores(model, X, y, folds):
    with warnings.catch_warnings():
        # both stop LinearSVC's dual on digits at the same limit of epochs
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cross_val_score(make_pipeline(StandardScaler(), model), X, y, cv=folds).mean()


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("data", CLASSES)
def test_classifiers(data, name):
    X, y = CLASSES[data](return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    ours, theirs = (scores(m, X, y, folds) for m in pair(name, CLASSIFIERS[name]))
    assert abs(ours - theirs) <= POINTS
    assert ours > 0.94


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors(name):
    X, y = load_diabetes(return_X_y=True)
    folds = KFold(5, shuffle=True, random_state=0)
    ours, theirs = (scores(m, X, y, folds) for m in pair(name, REGRESSORS[name]))
    assert abs(ours - theirs) <= POINTS
    assert ours > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in (*CLASSIFIERS, *REGRESSORS)
                                  if name != "SVC linear"])  # minutes of scikit-learn's
def test_twenty_thousand_samples(name):
    regression = name in REGRESSORS
    if regression:
        X, y = make_regression(20_000, 50, n_informative=20, noise=50.0, random_state=0)
        y = y / y.std()
    else:
        X, y = make_classification(20_000, 50, n_informative=20, flip_y=0.05, class_sep=0.7,
                                   random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        options = {} if regression else CLASSIFIERS[name]
        ours, theirs = (m.fit(X[:15_000], y[:15_000]).score(X[15_000:], y[15_000:])
                        for m in pair(name, options))
    assert abs(ours - theirs) <= POINTS
    assert ours > 0.7
