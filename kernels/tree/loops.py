"""Decision trees as loops; definitions in reference.py.

Order: trees one after the other; in a node the drawn features, in a feature the samples by rising
code, sorted afresh. Bytes: as fast.pyx. Source: see reference.py.
"""

import math

import numpy as np
from numba import njit

from ..random.loops import _philox

__all__ = ["tree_apply", "tree_codes", "tree_grow", "tree_predict", "tree_prune"]

kernel = njit(nogil=True, cache=True, error_model="numpy")

GINI, ENTROPY, SQUARED = 0, 1, 2
FEATURE, LOW, NEXT, LEFT, RIGHT, SAMPLES, MISSING_LEFT, DEPTH = range(8)
IMPURITY, WEIGHT, VALUE = 0, 1, 2
TIE = 1e-12
EPS = 2.0**-52
# what a node's search keeps: score, then what is written of the split, and how many go left
SCORE, TO, CUT, AFTER, MISSING = range(5)


@kernel
def _codes(x, codes, low, high, counts, missing):
    N, D = x.shape
    bins = low.shape[1]
    for f in range(D):
        column = x[:, f] + np.float32(0)
        order = np.argsort(column, kind="mergesort")  # NaN last
        known, distinct = 0, 0
        for i in range(N):
            value = column[order[i]]
            if value == value:
                known += 1
                distinct += i == 0 or value != column[order[i - 1]]
        code, last = -1, -1
        for i in range(N):
            row = order[i]
            if i >= known:
                codes[f, row] = missing
                continue
            if i == 0 or column[row] != column[order[i - 1]]:
                stretch = last + 1 if bins == 0 or distinct <= bins else i * bins // known
                if stretch != last:
                    code += 1
                    if bins:
                        low[f, code] = column[row]
                if bins:
                    high[f, code] = column[row]
                last = stretch
            codes[f, row] = code
        counts[f] = code + 1


def tree_codes(x, codes, low, high, counts):
    wide = np.empty(codes.shape, np.uint32)  # one compiled text for all
    _codes(x, wide, low, high, counts, np.iinfo(codes.dtype).max)
    codes[...] = wide


@kernel
def _xlogx(x):
    return x * math.log(x) if x > 0 else 0.0


@kernel
def _score(criterion, left, right, wl, wr):
    """Return minus the children's impurities, up to what the node fixes."""
    found = 0.0
    for k in range(len(left)):
        if criterion == ENTROPY:
            found += _xlogx(left[k]) + _xlogx(right[k])
        else:
            found += left[k] * left[k] / wl + right[k] * right[k] / wr
    return found - _xlogx(wl) - _xlogx(wr) if criterion == ENTROPY else found


@kernel
def _try_feature(code, missing, label, w, part, total, criterion, min_leaf, min_weight, best):
    """Search one feature of a node; return -1 where it does not vary, else whether it is better.

    `part` (n,) is what a sample adds to entry `label` of a side: its weight, or w (y - mean).
    """
    n = len(code)
    order = np.argsort(code, kind="mergesort")
    known = n
    while known > 0 and code[order[known - 1]] == missing:
        known -= 1
    if known == 0 or code[order[0]] == code[order[n - 1]]:
        return -1
    weight = w.sum()
    left, right = np.empty_like(total), np.empty_like(total)
    found = 0
    for to_left in range(2 if known < n else 1):
        left[:] = 0
        wl = 0.0
        if to_left:
            for i in range(known, n):
                left[label[order[i]]] += part[order[i]]
                wl += w[order[i]]
        for i in range(known):
            p = order[i]
            left[label[p]] += part[p]
            wl += w[p]
            if i + 1 == known:
                if to_left or known == n:
                    continue
            elif code[p] == code[order[i + 1]]:
                continue
            n_left = i + 1 + (n - known if to_left else 0)
            wr = weight - wl
            if (n_left < min_leaf or n - n_left < min_leaf or not (wl > 0 and wr > 0)
                    or wl < min_weight or wr < min_weight):
                continue
            for k in range(len(total)):
                right[k] = total[k] - left[k]
            score = _score(criterion, left, right, wl, wr)
            margin = abs(best[SCORE]) + (weight if criterion == ENTROPY else 0.0)
            if score > best[SCORE] + TIE * margin:
                best[SCORE] = score
                best[CUT] = code[p]
                best[AFTER] = -1 if i + 1 == known else code[order[i + 1]]
                best[MISSING] = to_left if known < n else n_left > n - n_left
                found = 1
    return found


@kernel
def _examine(tree, rows, parent, side, depth, size, unborn, root_weight, best):
    """Write a node and look for its best split; return the decrease, or -1 where there is none."""
    (codes, target, weights, seed, nodes, stats, missing, criterion, max_depth, min_split,
     min_leaf, min_weight, max_features, min_decrease) = tree
    n, D, K = len(rows), len(codes), stats.shape[1] - 2
    w = weights[rows]
    label = np.zeros(n, np.int64)
    part = w.copy()
    weight, base, impurity, scale = 0.0, 0.0, 0.0, 1.0
    total = np.zeros(K)
    if criterion == SQUARED:
        mean = 0.0
        for p in range(n):
            weight += w[p]
            mean += w[p] * target[rows[p]]
        mean /= weight
        for p in range(n):
            y = target[rows[p]] - mean
            part[p] = w[p] * y
            total[0] += part[p]
            impurity += part[p] * y
        impurity /= weight
        base = total[0] * total[0] / weight
        stats[size, VALUE] = mean
    else:
        for p in range(n):
            label[p] = min(max(np.int64(target[rows[p]]), 0), K - 1)
            total[label[p]] += w[p]
        weight = total.sum()
        for k in range(K):
            stats[size, VALUE + k] = total[k] / weight
            base += total[k] * total[k] / weight if criterion == GINI else _xlogx(total[k])
        if criterion == GINI:
            impurity = 1 - base / weight
        else:
            scale = 1 / math.log(2.0)
            base -= _xlogx(weight)
            impurity = -base / weight * scale
    stats[size, IMPURITY] = max(impurity, 0.0)
    stats[size, WEIGHT] = weight
    nodes[size, :] = -1
    nodes[size, SAMPLES], nodes[size, MISSING_LEFT], nodes[size, DEPTH] = n, 0, depth
    if parent >= 0:
        nodes[parent, LEFT if side else RIGHT] = size
    if (impurity <= EPS or depth >= max_depth or n < min_split or n < 2 * min_leaf
            or weight < 2 * min_weight or size + unborn + 3 > len(nodes)):
        return -1.0
    best[:] = -1
    best[SCORE] = -1e300
    order = np.arange(D)
    varying, word = 0, (np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0))
    for j in range(D):
        if j >= max_features and varying:
            break
        if j % 4 == 0:
            word = _philox((seed, np.uint64(0), np.uint64(size)), j // 4)
        drawn = j + np.int64(word[j % 4] * np.uint64(D - j) >> np.uint64(32))
        order[j], order[drawn] = order[drawn], order[j]
        code = codes[order[j]][rows].astype(np.int64)
        found = _try_feature(code, missing, label, w, part, total, criterion, min_leaf, min_weight,
                             best)
        varying += found >= 0
        if found > 0:
            best[TO] = order[j]
    if root_weight == 0:
        root_weight = weight
    decrease = (best[SCORE] - base) * scale / root_weight
    if best[TO] < 0 or decrease + EPS < min_decrease:
        return -1.0
    return max(decrease, 0.0)


@kernel
def _part(tree, rows, node, best):
    """Write a split and part the rows in place, in order; return how many go to the left."""
    codes, nodes, missing = tree[0], tree[4], tree[6]
    feature = np.int64(best[TO])
    nodes[node, FEATURE], nodes[node, LOW] = feature, np.int64(best[CUT])
    nodes[node, NEXT], nodes[node, MISSING_LEFT] = np.int64(best[AFTER]), np.int64(best[MISSING])
    other = np.empty_like(rows)
    left, right = 0, 0
    for i in range(len(rows)):
        row = rows[i]
        code = np.int64(codes[feature, row])
        if best[MISSING] > 0 if code == missing else code <= best[CUT]:
            rows[left] = row
            left += 1
        else:
            other[right] = row
            right += 1
    rows[left:] = other[:right]
    return left


@kernel
def _grow(tree, max_leaves):
    """Grow one tree; return its number of nodes."""
    weights, stats = tree[2], tree[5]
    rows = np.flatnonzero(weights > 0)
    heap = max_leaves > 0
    # the frontier: start, end, parent or node, side, depth; and of examined nodes their split
    front = np.empty((64, 5), np.int64)
    kept = np.empty((64, 6))
    front[0] = 0, len(rows), -1, 0, 0
    waiting, size, leaves = 1, 0, 1
    best = np.empty(5)
    if heap:
        kept[0, 5] = _examine(tree, rows, -1, 0, 0, 0, 0, 0.0, best)
        kept[0, :5] = best
        front[0, 2] = 0
        waiting, size = 1 if kept[0, 5] >= 0 else 0, 1
    while waiting and (not heap or leaves < max_leaves):
        at = waiting - 1
        if heap:
            for i in range(waiting):
                ahead = kept[i, 5] - kept[at, 5]
                if ahead > 0 or (ahead == 0 and front[i, 2] < front[at, 2]):
                    at = i
        start, end, node, side, depth = front[at]
        best[:] = kept[at, :5]
        waiting -= 1
        front[at], kept[at] = front[waiting], kept[waiting]
        if not heap:
            decrease = _examine(tree, rows[start:end], node, side, depth, size, waiting,
                                stats[0, WEIGHT] if size else 0.0, best)
            node = size
            size += 1
            if decrease < 0:
                continue
        middle = start + _part(tree, rows[start:end], node, best)
        leaves += 1
        if waiting + 2 > len(front):
            front, kept = np.concatenate((front, front)), np.concatenate((kept, kept))
        for turn in range(2):
            to_left = turn == 0 if heap else turn == 1  # examined first, or taken first
            a, b = (start, middle) if to_left else (middle, end)
            front[waiting] = a, b, node, np.int64(to_left), depth + 1
            if heap:
                decrease = _examine(tree, rows[a:b], node, np.int64(to_left), depth + 1, size, 0,
                                    stats[0, WEIGHT], best)
                front[waiting, 2] = size
                kept[waiting, :5], kept[waiting, 5] = best, decrease
                size += 1
                if decrease < 0:
                    continue
            waiting += 1
    return size


def tree_grow(codes, target, weight, seeds, nodes, stats, sizes, criterion, max_depth, min_split,
              min_leaf, min_weight, max_features, max_leaves, min_decrease):
    missing = int(np.iinfo(codes.dtype).max)
    codes, target = codes.astype(np.uint32), target.astype(np.float64)  # one compiled text for all
    for t in range(len(weight)):
        tree = (codes, target, weight[t], np.uint64(seeds[t]), nodes[t], stats[t], missing,
                criterion, max_depth, min_split, min_leaf, float(min_weight), max_features,
                float(min_decrease))
        sizes[t] = _grow(tree, max_leaves)


@kernel
def _leaf(x, nodes, threshold, root, depth):
    last = len(nodes) - 1
    at = root if 0 <= root <= last else 0
    for _ in range(depth):
        feature = nodes[at, 1] >> 1
        value = x[feature if 0 <= feature < len(x) else len(x) - 1]
        left = value <= threshold[at] or (value != value and nodes[at, 1] & 1 == 1)
        child = nodes[at, 2] if left else nodes[at, 3]
        child = child if 0 <= child <= last else last
        if child == at:
            break
        at = child
    return at


@kernel
def _apply(x, nodes, threshold, roots, out, depth):
    for n in range(len(x)):
        for t in range(len(roots)):
            out[n, t] = _leaf(x[n], nodes, threshold, roots[t], depth)


@kernel
def _predict(x, nodes, threshold, roots, values, out, depth):
    for n in range(len(x)):
        out[n] = 0
        for t in range(len(roots)):
            leaf = _leaf(x[n], nodes, threshold, roots[t], depth)
            for k in range(out.shape[1]):
                out[n, k] += values[leaf, k]


def tree_apply(x, nodes, roots, out, depth):
    _apply(x, nodes, nodes[:, 0].copy().view(np.float32), roots, out, depth)


def tree_predict(x, nodes, roots, values, out, depth):
    _predict(x, nodes, nodes[:, 0].copy().view(np.float32), roots, values, out, depth)


@kernel
def _prune(left, right, risk, leaf, path, alpha):
    M = len(risk)
    parent = np.full(M, -1)
    inside = np.ones(M, np.bool_)
    below, leaves = risk.copy(), np.ones(M, np.int64)
    for i in range(M - 1, -1, -1):  # children stand behind their parents
        leaf[i] = not (i < left[i] < M and i < right[i] < M)
        if not leaf[i]:
            below[i] = below[left[i]] + below[right[i]]
            leaves[i] = leaves[left[i]] + leaves[right[i]]
            parent[left[i]] = parent[right[i]] = i
    path[0, 0], path[0, 1] = 0, below[0]
    steps = 1
    while not leaf[0]:
        best, weakest = np.inf, -1
        for i in range(M):
            if not leaf[i] and inside[i]:
                found = (risk[i] - below[i]) / (leaves[i] - 1)
                if found < best:
                    best, weakest = found, i
        if weakest < 0 or best > alpha:
            break
        leaf[weakest] = True
        for i in range(weakest + 1, M):
            if parent[i] >= weakest and (parent[i] == weakest or not inside[parent[i]]):
                inside[i] = False
        gain, fewer = risk[weakest] - below[weakest], leaves[weakest] - 1
        i = weakest
        while i >= 0:
            below[i] += gain
            leaves[i] -= fewer
            i = parent[i]
        path[steps, 0], path[steps, 1] = best, below[0]
        steps += 1
    return steps


def tree_prune(left, right, risk, leaf, path, steps, alpha):
    steps[0] = _prune(left, right, risk, leaf, path, float(alpha))
