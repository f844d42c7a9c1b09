"""Decision trees and random forests: scikit-learn's contract, splits and scores; bits, storage."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.ensemble
import sklearn.inspection
import sklearn.tree
from estimator_cases import checked
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
)
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

import medai_engine as me
from medai_engine.estimators import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    permutation_importance,
)

FORESTS = RandomForestClassifier, RandomForestRegressor
TREES = DecisionTreeClassifier, DecisionTreeRegressor


@pytest.fixture(autouse=True)
def restore():
    threads = me.get_num_threads()
    yield
    me.set_num_threads(threads)


def exceptions(estimator):
    """Scikit-learn lists the same one for its own forests."""
    if isinstance(estimator, FORESTS):
        return {"check_sample_weight_equivalence_on_dense_data":
                "weights change what the bootstrap draws, so equivalence holds on average only"}
    return {}


@checked([*[kind() for kind in TREES], *[kind(n_estimators=5) for kind in FORESTS]], exceptions)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def theirs(model):
    """Return scikit-learn's estimator with the same parameters."""
    kind = getattr(sklearn.ensemble if isinstance(model, FORESTS) else sklearn.tree,
                   type(model).__name__)
    return kind(**{k: v for k, v in model.get_params().items() if k != "max_bins"})


def problem(N=300, D=6, seed=0, classes=3, holes=0.0):
    """Return X, labels and numbers without ties: weights differ, so no two splits are equal."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)).astype(np.float32)
    signal = X[:, 0] + X[:, min(1, D - 1)] * X[:, min(2, D - 1)] + rng.normal(size=N) / 2
    labels = np.searchsorted(np.quantile(signal, np.arange(1, classes) / classes), signal)
    X[rng.random(X.shape) < holes] = np.nan
    # weights whose sums are exact: rounding makes scikit-learn split pure nodes
    return X, labels, signal, rng.integers(512, 2048, N) / 1024


# Few samples can be parted in the same two by several features, which is a tie: nodes stay large,
# or there is one feature.
OPTIONS = [
    {"min_samples_leaf": 25},
    {"min_samples_leaf": 25, "max_depth": 4},
    {"min_samples_leaf": 0.03, "min_samples_split": 0.2},
    {"min_weight_fraction_leaf": 0.03},
    {"min_samples_leaf": 25, "max_leaf_nodes": 12},
    {"min_samples_leaf": 25, "min_impurity_decrease": 0.01},
    {"min_samples_leaf": 25, "ccp_alpha": 0.002},
    {"D": 1},
    {"D": 1, "max_leaf_nodes": 40},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("holes", [0, 0.1])
@pytest.mark.parametrize("criterion", ["gini", "entropy", "squared_error"])
def test_same_splits_as_scikit_learn(criterion, holes, options):
    options = dict(options)
    D = options.pop("D", 6)
    X, labels, signal, weight = problem(900, D, holes=holes)
    kind = DecisionTreeRegressor if criterion == "squared_error" else DecisionTreeClassifier
    y = signal if kind is DecisionTreeRegressor else labels
    ours = kind(criterion=criterion, random_state=0, **options).fit(X, y, weight)
    other = theirs(ours).fit(X, y, weight)
    mine, tree = ours.tree_, other.tree_
    assert mine.node_count == tree.node_count > 1
    for name in ("children_left", "children_right", "feature", "n_node_samples"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(tree, name), err_msg=name)
    for name in ("threshold", "impurity", "weighted_n_node_samples", "value"):
        np.testing.assert_allclose(getattr(mine, name), getattr(tree, name), rtol=1e-6, atol=1e-9,
                                   err_msg=name)
    inner = mine.children_left >= 0
    np.testing.assert_array_equal(mine.missing_go_to_left[inner], tree.missing_go_to_left[inner])
    np.testing.assert_allclose(ours.feature_importances_, other.feature_importances_, atol=1e-9)
    assert (ours.get_depth(), ours.get_n_leaves()) == (other.get_depth(), other.get_n_leaves())
    new = problem(500, D, seed=1, holes=holes)[0]
    np.testing.assert_array_equal(ours.apply(new), other.apply(new))
    np.testing.assert_allclose(ours.predict(new), other.predict(new), rtol=1e-9)
    np.testing.assert_array_equal(ours.decision_path(new).toarray(),
                                  other.decision_path(new).toarray())
    if kind is DecisionTreeClassifier:
        np.testing.assert_allclose(ours.predict_proba(new), other.predict_proba(new), atol=1e-12)


def test_thresholds_do_not_round_to_the_wrong_side():
    """Neighbouring floats: every training row is sent as it was counted."""
    base = np.float32(1)
    column = [base]
    for _ in range(7):
        column.append(np.nextafter(column[-1], np.float32(2)))
    X, y = np.array(column)[:, None], np.arange(8) % 2
    model = DecisionTreeClassifier().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), y)
    extreme = np.array([[-3.4e38], [3.4e38], [3.3e38]], np.float32)
    np.testing.assert_array_equal(DecisionTreeRegressor().fit(extreme, [1, 2, 3]).predict(extreme),
                                  [1, 2, 3])


def test_missing_values():
    X = np.array([[np.nan], [np.nan], [1.0], [2.0], [3.0]])
    model = DecisionTreeClassifier().fit(X, [1, 1, 0, 0, 0])
    assert np.isinf(model.tree_.threshold[0])  # known values | NaN
    assert model.predict([[np.nan], [9.0], [-9.0]]).tolist() == [1, 0, 0]
    plain = DecisionTreeClassifier().fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    assert plain.predict([[np.nan]]).tolist() == [1]  # unseen in training: to the larger side
    with pytest.raises(me.DataError, match="inf"):
        model.predict([[np.inf]])


def test_pruning_path():
    X, labels, signal, weight = problem(900)
    for kind, y in zip(TREES, (labels, signal), strict=True):
        model = kind(min_samples_leaf=25)
        ours = model.cost_complexity_pruning_path(X, y, weight)
        other = theirs(model).cost_complexity_pruning_path(X, y, weight)
        assert len(ours.ccp_alphas) > 10
        np.testing.assert_allclose(ours.ccp_alphas, other.ccp_alphas, atol=1e-9)
        np.testing.assert_allclose(ours.impurities, other.impurities, rtol=1e-6, atol=1e-9)


def test_stretches():
    X, labels, _, _ = problem(4000)
    exact = DecisionTreeClassifier(max_depth=5).fit(X, labels)
    for bins, near in ((2, 0.2), (255, 0.02)):
        model = DecisionTreeClassifier(max_depth=5, max_bins=bins).fit(X, labels)
        assert abs(model.score(X, labels) - exact.score(X, labels)) < near
        assert all(len(np.unique(model.tree_.threshold[model.tree_.feature == f])) < bins
                   for f in range(6))
    few = np.round(X)
    np.testing.assert_array_equal(DecisionTreeClassifier(max_bins=99).fit(few, labels).predict(few),
                                  DecisionTreeClassifier().fit(few, labels).predict(few))


@pytest.mark.parametrize("kind", FORESTS)
def test_a_forest_is_the_mean_of_its_trees(kind):
    X, labels, signal, _ = problem(200)
    y = labels if kind is RandomForestClassifier else signal
    model = kind(7, random_state=3, max_features=2, min_samples_leaf=2).fit(X, y)
    assert len(model.estimators_) == len(model) == 7
    one = "predict_proba" if kind is RandomForestClassifier else "predict"
    found = np.mean([getattr(tree, one)(X) for tree in model.estimators_], axis=0)
    np.testing.assert_allclose(getattr(model, one)(X), found, rtol=1e-12)
    np.testing.assert_array_equal(
        model.apply(X), np.stack([tree.apply(X) for tree in model.estimators_], axis=1))
    assert len({tree.tree_.node_count for tree in model.estimators_}) > 1
    paths, starts = model.decision_path(X)
    assert paths.shape == (200, starts[-1])
    np.testing.assert_array_equal(
        paths[:, starts[2]:starts[3]].toarray(),
        model.estimators_[2].decision_path(X).toarray())
    assert model.feature_importances_.sum() == pytest.approx(1)


def test_a_tree_of_a_forest_can_be_grown_alone():
    """Its seed, and how often its bootstrap drew each sample, say all."""
    from medai_engine.estimators.forest import bag

    X, labels, _, weight = problem(150)
    for weights in (None, weight):
        model = RandomForestClassifier(3, random_state=5).fit(X, labels, weights)
        cumulative = None if weights is None else np.cumsum(weights)
        for seed, tree in zip(model.seeds_, model.estimators_, strict=True):
            counts = bag(int(seed), 150, 150, cumulative)
            assert counts.sum() == 150
            alone = DecisionTreeClassifier(max_features="sqrt", random_state=int(seed))
            alone.fit(X, labels, counts)
            np.testing.assert_array_equal(alone.tree_.threshold, tree.tree_.threshold)


def test_bootstrap_draws_in_proportion_to_weights():
    from medai_engine.estimators.forest import bag

    weight = np.array([0.0, 1.0, 3.0, 0.0, 4.0, 0.0])
    counts = bag(9, 80_000, 6, np.cumsum(weight))
    assert counts[weight == 0].sum() == 0
    np.testing.assert_allclose(counts / 80_000, weight / 8, atol=0.01)
    np.testing.assert_allclose(bag(9, 60_000, 6, None) / 60_000, 1 / 6, atol=0.01)


def test_out_of_bag():
    X, labels, signal, _ = problem(400)
    for kind, y in zip(FORESTS, (labels, signal), strict=True):
        ours = kind(60, oob_score=True, random_state=0).fit(X, y)
        other = theirs(ours).fit(X, y)
        assert ours.oob_score_ == pytest.approx(other.oob_score_, abs=0.05)
        assert ours.oob_score_ < ours.score(X, y) - 0.05  # the samples' own trees know them
    judged = RandomForestClassifier(60, oob_score=lambda a, b: (a != b).mean(), random_state=0)
    judged.fit(X, labels)
    assert judged.oob_decision_function_.shape == (400, 3)
    found = judged.oob_decision_function_.argmax(axis=1)
    assert judged.oob_score_ == pytest.approx((found != labels).mean())
    with pytest.warns(UserWarning, match="too few trees"):
        RandomForestClassifier(1, oob_score=True, random_state=0).fit(X, labels)
    with pytest.raises(me.ParameterError, match="bootstrap"):
        RandomForestClassifier(oob_score=True, bootstrap=False).fit(X, labels)


def test_class_weights_move_the_border():
    rng = np.random.default_rng(0)
    y = (rng.random(600) < 0.1).astype(int)
    X = rng.normal(size=(600, 2)) + y[:, None]
    found = {}
    for given in (None, "balanced", "balanced_subsample", {1: 9.0}):
        model = RandomForestClassifier(40, min_samples_leaf=20, class_weight=given, random_state=0)
        found[str(given)] = model.fit(X, y).predict(X)[y == 1].mean()
    plain = found.pop("None")
    assert all(share > plain + 0.3 for share in found.values()), (plain, found)


def test_max_samples_and_no_bootstrap():
    X, labels, _, _ = problem(200)
    for given, drawn in ((None, 200), (0.25, 50), (30, 30)):
        model = RandomForestClassifier(4, max_samples=given, random_state=0).fit(X, labels)
        roots = model.trees_.weight[model.trees_.starts[:-1]]
        np.testing.assert_array_equal(roots, drawn)
    whole = RandomForestClassifier(4, bootstrap=False, random_state=0).fit(X, labels)
    assert whole.score(X, labels) == 1


def test_wrong_parameters():
    X, labels, _, _ = problem(50)
    for options, message in (
            ({"criterion": "mse"}, "'gini', 'entropy', 'log_loss', got 'mse'"),
            ({"max_depth": 0}, "max_depth"), ({"min_samples_leaf": 0}, "min_samples_leaf"),
            ({"min_samples_split": 1}, "min_samples_split"), ({"max_features": 0}, "max_features"),
            ({"max_features": "all"}, "max_features"), ({"max_bins": 256}, "max_bins"),
            ({"max_leaf_nodes": 1}, "max_leaf_nodes"), ({"ccp_alpha": -1}, "ccp_alpha"),
            ({"random_state": "x"}, "random_state"), ({"class_weight": {7: 1}}, "class_weight")):
        for kind in (DecisionTreeClassifier, RandomForestClassifier):
            with pytest.raises(me.ParameterError, match=message):
                kind(**options).fit(X, labels)
    for options in ({"n_estimators": 0}, {"max_samples": -0.5}, {"bootstrap": 1}):
        with pytest.raises(me.ParameterError, match=next(iter(options))):
            RandomForestClassifier(**options).fit(X, labels)
    with pytest.raises(me.NotFittedError, match="estimators_"):
        _ = RandomForestClassifier().estimators_


@pytest.mark.parametrize("kind", [*TREES, *FORESTS])
def test_same_bits_for_any_number_of_threads_and_reloaded(kind, tmp_path):
    X, labels, signal, _ = problem(700, holes=0.05)
    y = signal if kind in (DecisionTreeRegressor, RandomForestRegressor) else labels
    options = {"random_state": 1, "max_features": 3}
    if kind in FORESTS:
        options |= {"n_estimators": 9, "ccp_alpha": 0.001}
    found = []
    for threads in (1, 2, 3, 8):
        me.set_num_threads(threads)
        model = kind(**options).fit(X, y)
        found.append(model.predict(X))
        np.testing.assert_array_equal(found[0], found[-1])
    model.save(tmp_path / "model")
    again = me.load(tmp_path / "model")
    assert type(again) is kind and again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.predict(X), found[0])
    np.testing.assert_array_equal(again.feature_importances_, model.feature_importances_)
    again.fit(X, y)  # it can go on living
    np.testing.assert_array_equal(again.predict(X), found[0])


def test_damaged_nodes_are_refused(tmp_path):
    model = DecisionTreeClassifier().fit(*problem()[:2])
    model.trees_.walk[5, 2] = 2  # back towards the root: a walk would not end
    model.save(tmp_path / "model")
    with pytest.raises(me.DataError, match="children stand behind"):
        me.load(tmp_path / "model")


@pytest.mark.parametrize("backend", ["reference", "loops"])
def test_other_backends_give_the_same_forest(backend):
    X, labels, _, _ = problem(60)
    model = RandomForestClassifier(3, random_state=0, max_depth=3).fit(X, labels)
    with me.backend(backend):
        again = RandomForestClassifier(3, random_state=0, max_depth=3).fit(X, labels)
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.trees_.walk, model.trees_.walk)


def test_permutation_importance():
    X, _, signal, _ = problem(500)
    model = RandomForestRegressor(30, random_state=0).fit(X[:300], signal[:300])
    ours = permutation_importance(model, X[300:], signal[300:], n_repeats=20, random_state=0)
    other = sklearn.inspection.permutation_importance(model, X[300:], signal[300:], n_repeats=20,
                                                      random_state=0)
    assert ours.importances.shape == (6, 20)
    np.testing.assert_allclose(ours.importances_mean, other.importances_mean, atol=0.05)
    assert ours.importances_mean[0] > 0.4 and abs(ours.importances_mean[3:]).max() < 0.05
    flat = permutation_importance(model, X, signal, scoring=lambda m, a, b: 1.0, n_repeats=2)
    assert not flat.importances.any()


def test_grid_search():
    X, labels, _, _ = problem(200)
    search = GridSearchCV(RandomForestClassifier(10, random_state=0),
                          {"max_depth": [1, 6], "criterion": ["gini", "entropy"]}, cv=3)
    assert search.fit(X, labels).best_params_["max_depth"] == 6


def mean_score(model, X, y, seeds, folds):
    return np.mean([cross_val_score(model.set_params(random_state=seed), X, y, cv=folds).mean()
                    for seed in range(seeds)])


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_digits, load_diabetes])
@pytest.mark.parametrize("forest", [False, True])
def test_scores_of_scikit_learn(load, forest):
    """5-fold, over as many seeds as it takes to see half a point."""
    X, y = load(return_X_y=True)
    kind = (FORESTS if forest else TREES)[load is load_diabetes]
    folds = KFold(5, shuffle=True, random_state=0)
    seeds = 6 if forest else 100
    model = kind()
    ours = mean_score(model, X, y, seeds, folds)
    assert ours > mean_score(theirs(model), X, y, seeds, folds) - 0.005


@pytest.mark.slow
@pytest.mark.parametrize("bins", [None, 255])
def test_scores_of_scikit_learn_on_many_samples(bins):
    X, y = make_classification(20_000, 50, n_informative=20, n_redundant=10, flip_y=0.05,
                               random_state=0)
    X = X.astype(np.float32)
    model = RandomForestClassifier(40, random_state=0, max_bins=bins)
    ours = cross_val_score(model, X, y, cv=5).mean()
    other = cross_val_score(theirs(model).set_params(n_jobs=2), X, y, cv=5).mean()
    assert abs(ours - other) < 0.005
