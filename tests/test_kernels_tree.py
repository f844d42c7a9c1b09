"""Tree kernels: three texts with equal trees, exhaustive search, bounds, threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads
from medai_engine.kernels.tree import fast, loops, reference

TEXTS = {"reference": reference, "loops": loops, "fast": fast}
CODES = {np.uint8: 255, np.uint16: 0, np.uint32: 0}  # and the stretches of each
GINI, ENTROPY, SQUARED = range(3)
FEATURE, LOW, NEXT, LEFT, RIGHT, SAMPLES, MISSING_LEFT, DEPTH = range(8)
BIG = 2**31 - 1
FREE = {"max_depth": BIG, "min_split": 2, "min_leaf": 1, "min_weight": 0.0, "max_features": BIG,
        "max_leaves": -1, "min_decrease": 0.0}


@pytest.fixture(autouse=True)
def restore():
    isa, threads = get_isa(), get_num_threads()
    yield
    set_isa(isa)
    set_num_threads(threads)


def table(N, D, seed=0, holes=0.0, decimals=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D)).astype(np.float32)
    if decimals is not None:
        x = np.round(x, decimals)
    x[rng.random((N, D)) < holes] = np.nan
    return x


def coded(text, x, dtype=np.uint16, bins=0):
    N, D = x.shape
    codes, counts = np.full((D, N), 77, dtype), np.full(D, -5)
    low, high = np.full((2, D, bins), np.nan, np.float32)
    text.tree_codes(x, codes, low, high, counts)
    return codes, low, high, counts


def grown(text, codes, target, criterion, K=1, weight=None, seeds=(3,), **options):
    N, T = codes.shape[1], len(seeds)
    weight = np.ones((T, N)) if weight is None else weight
    nodes, stats = np.full((T, 2 * N, 8), 99, np.int32), np.full((T, 2 * N, 2 + K), np.nan)
    sizes = np.full(T, -7)
    text.tree_grow(codes, target, weight, np.array(seeds, np.uint64), nodes, stats, sizes,
                   criterion, *(FREE | options).values())
    return [(nodes[t, :n], stats[t, :n]) for t, n in enumerate(sizes)]


def targets(N, K, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=N) if K == 1 else rng.integers(0, K, N)


def same(found, expected):
    assert len(found) == len(expected)
    for (nodes, stats), (other, numbers) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(nodes, other)
        np.testing.assert_allclose(stats, numbers, rtol=1e-9, atol=1e-12)


def test_the_three_texts_have_the_same_names():
    assert reference.__all__ == loops.__all__ == fast.__all__


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (300, 5), (1001, 2)])
@pytest.mark.parametrize("bins", [0, 2, 9, 255])
@pytest.mark.parametrize("text", TEXTS)
def test_codes_number_values_as_they_rise(text, shape, bins):
    for decimals, holes in ((None, 0), (1, 0.2), (0, 0.9)):
        x = table(*shape, holes=holes, decimals=decimals)
        x[x == 1] = -0.0
        codes, low, high, counts = coded(TEXTS[text], x, np.uint8 if bins else np.uint16, bins)
        missing = np.iinfo(codes.dtype).max
        for f in range(x.shape[1]):
            known = ~np.isnan(x[:, f])
            assert (codes[f, ~known] == missing).all()
            values, code = x[known, f], codes[f, known]
            distinct = len(np.unique(values))
            order = np.lexsort((values, code))
            assert (np.diff(values[order]) >= 0).all()  # rising codes, rising values
            assert set(code) == set(range(counts[f]))
            if not bins or distinct <= bins:
                assert counts[f] == distinct
            else:
                assert 1 < counts[f] <= bins
                if decimals is None:  # stretches of equal counts
                    assert np.ptp(np.bincount(code)) <= 1
            for c in range(counts[f] if bins else 0):
                assert low[f, c] == values[code == c].min()
                assert high[f, c] == values[code == c].max()


def gini(y, w, K):
    total = np.array([w[y == k].sum() for k in range(K)])
    return 1 - ((total / total.sum()) ** 2).sum()


def entropy(y, w, K):
    p = np.array([w[y == k].sum() for k in range(K)]) / w.sum()
    return -(p[p > 0] * np.log2(p[p > 0])).sum()


def squared(y, w, K):
    return np.average((y - np.average(y, weights=w)) ** 2, weights=w)


@pytest.mark.parametrize("criterion", [GINI, ENTROPY, SQUARED])
@pytest.mark.parametrize("text", TEXTS)
def test_first_split_is_the_best_of_all(text, criterion):
    """Every threshold of every feature and both sides of NaN, by brute force."""
    kind = (gini, entropy, squared)[criterion]
    K = 1 if criterion == SQUARED else 3
    for seed in range(12):
        N = 6 + 3 * seed
        x = table(N, 3, seed, holes=0.2 * (seed % 2), decimals=1 if seed % 3 else None)
        y = targets(N, K, seed)
        w = np.random.default_rng(seed).uniform(0.5, 2, N)
        min_leaf = 1 + seed % 4
        best, cut = -np.inf, None
        for f in range(3):
            column = x[:, f]
            for t in [*np.unique(column[~np.isnan(column)]), np.inf]:
                for to_left in (0, 1):
                    left = np.where(np.isnan(column), bool(to_left), column <= t)
                    if min(left.sum(), N - left.sum()) < min_leaf:
                        continue
                    inside = sum(w[s].sum() * kind(y[s], w[s], K) for s in (left, ~left))
                    found = kind(y, w, K) - inside / w.sum()
                    if found > best + 1e-10:
                        best, cut = found, left
        codes = coded(TEXTS[text], x)[0]
        nodes, stats = grown(TEXTS[text], codes, y, criterion, K, w[None], max_depth=1,
                             min_leaf=min_leaf)[0]
        if cut is None:
            assert len(nodes) == 1
            continue
        assert stats[0, 0] == pytest.approx(kind(y, w, K))
        weight = stats[1:, 1] / w.sum()
        assert stats[0, 0] - weight @ stats[1:, 0] == pytest.approx(best, abs=1e-9)
        f, low, to_left = nodes[0, [FEATURE, LOW, MISSING_LEFT]]
        missing = codes[f] == 65535
        left = np.where(missing, bool(to_left), codes[f] <= low)
        assert nodes[1:, SAMPLES].tolist() == [left.sum(), N - left.sum()]
        if not missing.any():
            assert to_left == (left.sum() > N - left.sum())


CASES = [
    {},
    {"max_depth": 3},
    {"min_leaf": 7},
    {"min_split": 20},
    {"min_weight": 9.5},
    {"min_decrease": 0.01},
    {"max_features": 2},
    {"max_features": 1, "min_leaf": 3},
    {"max_leaves": 2},
    {"max_leaves": 11},
    {"max_leaves": 9, "max_features": 3, "max_depth": 4},
]


# samples, share of NaN, type of the codes
TABLES = [(1, 0, np.uint16), (2, 0, np.uint32), (40, 0.2, np.uint16), (150, 0.1, np.uint8),
          (170, 0, np.uint32), (200, 0, np.uint8), (130, 0.1, np.uint16)]


@pytest.mark.parametrize("options", CASES, ids=str)
@pytest.mark.parametrize("K", [1, 2, 3])
def test_texts_grow_the_same_trees(K, options):
    """Tie-free: numbers as weights; every code type, few and many samples, with and without NaN."""
    rng = np.random.default_rng(5)
    for N, holes, dtype in TABLES:
        x, y = table(N, 4, N, holes), targets(N, K, N)
        weight = rng.uniform(0.5, 2, (2, N)) * (rng.random((2, N)) < 0.8)
        weight[:, 0] = 1
        codes = coded(reference, x, dtype, CODES[dtype])[0]
        for criterion in [SQUARED] if K == 1 else [GINI, ENTROPY]:
            arguments = codes, y, criterion, K, weight, (3, 2**63 + 9)
            expected = grown(reference, *arguments, **options)
            assert options or N < 40 or len(expected[0][0]) > 9
            same(grown(loops, *arguments, **options), expected)
            for isa in available_isas():
                set_isa(isa)
                same(grown(fast, *arguments, **options), expected)


def test_long_sorts_and_wide_codes():
    """Every number of radix passes, and codes of one byte in bins and sorted."""
    for N, dtype in ((5000, np.uint8), (5000, np.uint16), (70_000, np.uint32)):
        x, y = table(N, 2, N), targets(N, 2)
        codes = coded(fast, x, dtype, 255 if dtype == np.uint8 else 0)[0]
        weight = np.random.default_rng(0).uniform(0.5, 2, (1, N))
        arguments = codes, y, GINI, 2, weight
        same(grown(fast, *arguments, max_depth=4), grown(reference, *arguments, max_depth=4))


def test_a_node_of_one_value_looks_on_for_one_that_varies():
    x = table(60, 6)
    x[:, [0, 1, 2, 4, 5]] = 1
    y = (x[:, 3] > 0).astype(int)
    for text in TEXTS.values():
        for seed in range(8):
            nodes, _ = grown(text, coded(text, x)[0], y, GINI, 2, seeds=(seed,), max_features=1)[0]
            assert nodes[0, FEATURE] == 3 and len(nodes) == 3
        nodes, _ = grown(text, coded(text, np.ones((9, 2), np.float32))[0], targets(9, 2), GINI,
                         2)[0]
        assert len(nodes) == 1


def test_draws_of_features_are_even():
    x = table(64, 7)
    codes, y = coded(fast, x)[0], targets(64, 2)
    first = [grown(fast, codes, y, GINI, 2, seeds=(seed,), max_features=1, max_depth=1)[0][0]
             [0, FEATURE] for seed in range(1400)]
    counts = np.bincount(first, minlength=7)
    assert (np.abs(counts - 200) < 5 * np.sqrt(200 * 6 / 7)).all()


def test_ties_go_to_the_first_of_the_drawn_order():
    x = np.repeat(np.arange(4, dtype=np.float32)[:, None], 3, axis=1)  # three equal features
    for text in TEXTS.values():
        codes, first = coded(text, x)[0], set()
        for seed in range(20):
            nodes, _ = grown(text, codes, np.array([0, 1, 0, 1]), GINI, 2, seeds=(seed,))[0]
            assert nodes[0, FEATURE] == reference.order_of(3, seed, 0)[0]
            assert nodes[0, LOW] == 0  # 0 | 101 and 010 | 1 are as good
            first.add(int(nodes[0, FEATURE]))
        assert first == {0, 1, 2}


def test_labels_beyond_the_classes_stay_inside():
    x = table(50, 2)
    y = targets(50, 3)
    y[[0, 9, 20]] = -4, 2**40, 3
    for text in TEXTS.values():
        _, stats = grown(text, coded(text, x)[0], y, GINI, 3, max_depth=3)[0]
        assert np.isfinite(stats).all() and stats[0, 1] == 50


def test_same_bits_for_every_number_of_threads():
    x, y = table(600, 8), targets(600, 3)
    weight = np.random.default_rng(0).uniform(size=(9, 600))
    found = []
    for threads in (1, 2, 3, 8):
        set_num_threads(threads)
        codes = coded(fast, x)[0]
        found.append(grown(fast, codes, y, GINI, 3, weight, range(9), max_features=3))
        for (a, b), (c, d) in zip(found[0], found[-1], strict=True):
            np.testing.assert_array_equal(a, c)
            np.testing.assert_array_equal(b, d)


def walked(trees, rng):
    """Return nodes as a walk reads them, roots, and the depth."""
    tables, roots, at = [], [], 0
    for nodes, _ in trees:
        here = np.arange(len(nodes)) + at
        leaf = nodes[:, FEATURE] < 0
        threshold = rng.normal(size=len(nodes)).astype(np.float32)
        tables.append(np.stack([
            threshold.view(np.int32),
            np.where(leaf, 0, 2 * nodes[:, FEATURE]) + rng.integers(0, 2, len(nodes)),
            np.where(leaf, here, nodes[:, LEFT] + at), np.where(leaf, here, nodes[:, RIGHT] + at)],
            axis=1).astype(np.int32))
        roots.append(at)
        at += len(nodes)
    return (np.concatenate(tables), np.array(roots),
            max(int(nodes[:, DEPTH].max()) for nodes, _ in trees))


@pytest.mark.parametrize("rows", [1, 15, 16, 33, 1200])
@pytest.mark.parametrize("text", TEXTS)
def test_walks(text, rows):
    """Row by row through the arrays."""
    rng = np.random.default_rng(rows)
    trees = grown(fast, coded(fast, table(90, 4))[0], targets(90, 3), GINI, 3, seeds=(1, 2, 3),
                  max_features=2)
    nodes, roots, depth = walked(trees, rng)
    x = table(rows, 4, 8, holes=0.1)
    expected = np.empty((rows, 3), np.int32)
    for i, t in itertools.product(range(rows), range(3)):
        at = roots[t]
        while nodes[at, 2] != at:
            value = x[i, nodes[at, 1] >> 1]
            left = bool(nodes[at, 1] & 1) if np.isnan(value) else (
                value <= nodes[at, :1].view(np.float32)[0])
            at = nodes[at, 2 if left else 3]
        expected[i, t] = at
    values = rng.normal(size=(len(nodes), 3))
    sums = (values[expected[:, 0]] + values[expected[:, 1]]) + values[expected[:, 2]]
    for isa in available_isas() if text == "fast" else available_isas()[:1]:
        set_isa(isa)
        leaves, out = np.full((rows, 3), -1, np.int32), np.full((rows, 3), np.nan)
        TEXTS[text].tree_apply(x, nodes, roots, leaves, depth)
        np.testing.assert_array_equal(leaves, expected)
        TEXTS[text].tree_predict(x, nodes, roots, values, out, depth)
        np.testing.assert_array_equal(out, sums)


@pytest.mark.parametrize("text", TEXTS)
def test_walks_over_damaged_nodes_end_and_stay_inside(text):
    rng = np.random.default_rng(0)
    nodes = rng.integers(-2**31, 2**31, (40, 4)).astype(np.int32)
    leaves, out = np.full((20, 3), -1, np.int32), np.full((20, 2), np.nan)
    roots = np.array([-9, 2**40, 5])
    TEXTS[text].tree_apply(table(20, 3), nodes, roots, leaves, 50)
    assert ((leaves >= 0) & (leaves < 40)).all()
    TEXTS[text].tree_predict(table(20, 3), nodes, roots, rng.normal(size=(40, 2)), out, 50)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("text", TEXTS)
def test_pruning_by_brute_force(text):
    """Of all pruned trees, the one of least risk + alpha leaves, and of those the smallest."""
    x, y = table(40, 2, 3), targets(40, 1, 4)
    nodes, stats = grown(reference, coded(reference, x)[0], y, SQUARED, max_depth=4)[0]
    M = len(nodes)
    left, right = nodes[:, LEFT].copy(), nodes[:, RIGHT].copy()
    risk = stats[:, 0] * stats[:, 1] / stats[0, 1]

    def candidates(i):
        """Return every pruned branch at i as its set of leaves."""
        if left[i] < 0:
            return [{i}]
        return [{i}] + [a | b for a in candidates(left[i]) for b in candidates(right[i])]

    every = candidates(0)
    assert len(every) > 100
    for alpha in (0.0, 0.01, 0.03, 0.1, np.inf):
        leaf, path, steps = np.full(M, 9, np.uint8), np.full((M, 2), np.nan), np.zeros(1, np.int64)
        TEXTS[text].tree_prune(left, right, risk, leaf, path, steps, alpha)
        reached, stack = set(), [0]
        while stack:
            i = stack.pop()
            if leaf[i]:
                reached.add(i)
            else:
                stack += [left[i], right[i]]
        if np.isinf(alpha):
            assert reached == {0}
        else:
            cost = [sum(risk[i] for i in leaves) + alpha * len(leaves) for leaves in every]
            least = [leaves for leaves, c in zip(every, cost, strict=True)
                     if c <= min(cost) + 1e-12]
            assert reached == min(least, key=len)
        alphas, risks = path[: steps[0]].T
        assert alphas[0] == 0 and (np.diff(alphas) >= -1e-12).all() and alphas.max() <= alpha
        assert risks[-1] == pytest.approx(sum(risk[i] for i in reached))
