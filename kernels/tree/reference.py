"""Decision trees: the definition.

Codes. A feature's values in rising order are numbered from 0 (equal values together, NaN apart as
the largest number of the type). With `bins`, a feature of more distinct values is cut into at most
that many stretches of about equal counts: the value with m of the M known samples below it goes to
stretch floor(m bins / M), stretches without a value are left out.

Growth. A node holds the samples S with weights w > 0; W is their sum, for classes w_k = the weight
of class k, for numbers m = sum w y / W. Impurity:
    gini      1 - sum_k (w_k / W)^2
    entropy   - sum_k w_k / W log2(w_k / W)
    squared   sum w (y - m)^2 / W
A split (feature, threshold between two neighbouring codes of S, side of NaN) parts S in L and R and
decreases the impurity by  W / W_root (i(S) - W_L / W i(L) - W_R / W i(R)).
The best split has the greatest decrease; of equal ones (to 1e-12) the first in the order features
as drawn, NaN to the right, NaN to the left, rising thresholds, known values to the left and NaN to
the right. A node without NaN sends them to the side of more samples.
Feature j of a node's order comes from word j of Philox with the tree's seed and the counter
node 2^64 (Fisher and Yates from the front); max_features of them are looked at, and further ones
while all have had one value only. Nodes are numbered as they are looked at: preorder, or with
max_leaves by greatest decrease, left child first.
Not split: impurity 0, depth max_depth, fewer samples than min_split, no split that leaves min_leaf
samples and min_weight on both sides and decreases by min_decrease.

Pruning (weakest links). For the branch below t with leaves l:
    alpha(t) = (r(t) - sum_l r(l)) / (leaves - 1),  r(t) = W_t / W_root i(t)
The inner node of least alpha (the first of equal ones) becomes a leaf, as long as that is <= alpha.

Sources: Breiman, Friedman, Olshen, Stone, "Classification and regression trees" (1984), 2-4 and
3.3; Breiman, "Random forests" (2001); NaN: as scikit-learn 1.3 and later.
"""

import heapq
import math
from itertools import pairwise
from typing import Any

import numpy as np

from ..random.reference import words

__all__ = ["tree_apply", "tree_codes", "tree_grow", "tree_predict", "tree_prune"]

GINI, ENTROPY, SQUARED = range(3)
TIE = 1e-12
EPS = 2.0**-52


def tree_codes(x, codes, low, high, counts):
    bins = low.shape[1]
    for f in range(x.shape[1]):
        column = x[:, f] + np.float32(0)
        known = ~np.isnan(column)
        values, inverse, repeats = np.unique(column[known], return_inverse=True, return_counts=True)
        code = np.arange(len(values))
        if 0 < bins < len(values):
            stretch = (np.cumsum(repeats) - repeats) * bins // repeats.sum()
            code = np.unique(stretch, return_inverse=True)[1]
        if bins and len(values):
            firsts = np.flatnonzero(np.diff(code, prepend=-1))
            low[f, : len(firsts)] = values[firsts]
            high[f, : len(firsts)] = values[np.append(firsts[1:], len(values)) - 1]
        codes[f] = np.iinfo(codes.dtype).max
        codes[f, known] = code[inverse]
        counts[f] = code[-1] + 1 if len(code) else 0


def xlogx(x):
    return x * np.log(np.where(x > 0, x, 1.0))


def impurity(moments, criterion):
    """Return the impurity of nodes (..., K) of class weights, or (..., 3) of sums of w, wy, wy²."""
    if criterion == SQUARED:
        w, wy, wyy = np.moveaxis(moments, -1, 0)
        return (wyy - wy * wy / w) / w
    w = moments.sum(axis=-1)
    if criterion == GINI:
        return 1 - (moments**2).sum(axis=-1) / w**2
    return (xlogx(w) - xlogx(moments).sum(axis=-1)) / w / math.log(2)


def weights_of(moments, criterion):
    return moments[..., 0] if criterion == SQUARED else moments.sum(axis=-1)


def splits(codes, moments, criterion, missing):
    """Give (low, next, NaN to the left) and the moments and counts of the left sides, in order."""
    known = codes != missing
    found, inverse = np.unique(codes[known], return_inverse=True)
    groups = np.zeros((len(found), moments.shape[1]))
    np.add.at(groups, inverse, moments[known])
    counts = np.cumsum(np.bincount(inverse, minlength=len(found)))
    sums, gone = np.cumsum(groups, axis=0), moments[~known].sum(axis=0)
    inner = list(pairwise(found))
    cuts = [(low, after, 0) for low, after in inner]
    left, number = [sums[:-1]], [counts[:-1]]
    if not known.all() and len(found):
        cuts += [(low, after, 1) for low, after in inner] + [(found[-1], -1, 0)]
        left += [sums[:-1] + gone, sums[-1:]]
        number += [counts[:-1] + (~known).sum(), counts[-1:]]
    return cuts, np.concatenate(left), np.concatenate(number)


def best_split(codes, rows, moments, features, options):
    """Return (score, feature, low, next, NaN to the left), or None; score is W i(S) decreased."""
    criterion, min_leaf, min_weight, max_features = options
    total, missing = moments.sum(axis=0), np.iinfo(codes.dtype).max
    best, varying = None, 0
    for seen, f in enumerate(features):
        if seen >= max_features and varying:
            break
        cuts, left, n_left = splits(codes[f, rows], moments, criterion, missing)
        varying += bool(cuts)
        right, n_right = total - left, len(rows) - n_left
        wl, wr = weights_of(left, criterion), weights_of(right, criterion)
        allowed = ((np.minimum(n_left, n_right) >= min_leaf) & (np.minimum(wl, wr) >= min_weight)
                   & (np.minimum(wl, wr) > 0))
        if not allowed.any():
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = wl * impurity(left, criterion) + wr * impurity(right, criterion)
        score = weights_of(total, criterion) * impurity(total, criterion) - inside
        score = np.where(allowed, score, -np.inf)
        tie = TIE * weights_of(total, criterion) * max(1.0, float(score.max()))
        i = int(np.argmax(score >= score.max() - tie))
        if best is None or score[i] > best[0] + tie:
            low, after, to_left = cuts[i]
            if (codes[f, rows] != missing).all():
                to_left = n_left[i] > n_right[i]
            best = score[i], f, low, after, int(to_left)
    return best


def order_of(D, seed, node):
    """Return the features in the order drawn for a node."""
    order = list(range(D))
    for j, word in enumerate(words(D, int(seed), node << 64).tolist()):
        k = j + (word * (D - j) >> 32)
        order[j], order[k] = order[k], order[j]
    return order


def tree_grow(codes, target, weight, seeds, nodes, stats, sizes, criterion, max_depth, min_split,
              min_leaf, min_weight, max_features, max_leaves, min_decrease):
    D, K = len(codes), stats.shape[2] - 2
    options = criterion, min_leaf, min_weight, max_features
    for t, w in enumerate(weight):
        if criterion == SQUARED:
            center = np.average(target, weights=w)  # against cancellation
            moments = w[:, None] * np.stack([np.ones(len(w)), target - center,
                                             (target - center) ** 2], axis=1)
        else:
            moments = w[:, None] * (np.clip(target, 0, K - 1)[:, None] == np.arange(K))
        root = weights_of(moments.sum(axis=0), criterion)
        sizes[t] = 0

        def look(rows, parent, side, depth, t=t, w=w, moments=moments, root=root):
            """Number a node and write it; return its best split."""
            i = int(sizes[t])
            sizes[t] += 1
            inside = moments[rows]
            total = inside.sum(axis=0)
            W = weights_of(total, criterion)
            found = max(0.0, float(impurity(total, criterion)))
            if criterion == SQUARED and np.ptp(target[rows]) == 0:
                found = 0.0
            value = (np.average(target[rows], weights=w[rows]) if criterion == SQUARED
                     else total / W)
            stats[t, i] = np.r_[found, W, value]
            nodes[t, i] = [-1, -1, -1, -1, -1, len(rows), 0, depth]
            if parent >= 0:
                nodes[t, parent, 3 if side else 4] = i
            if (found <= EPS or depth >= max_depth or len(rows) < min_split
                    or len(rows) < 2 * min_leaf or 2 * min_weight > W):
                return i, None
            best = best_split(codes, rows, inside, order_of(D, seeds[t], i), options)
            if best is None or best[0] / root + EPS < min_decrease:
                return i, None
            return i, best

        def part(i, rows, best, t=t):
            """Write a split; return the rows of the left and the right child."""
            nodes[t, i, [0, 1, 2, 6]] = best[1:]
            code = codes[best[1], rows]
            left = np.where(code == np.iinfo(codes.dtype).max, bool(best[4]), code <= best[2])
            return rows[left], rows[~left]

        rows = np.flatnonzero(w > 0)
        if max_leaves <= 0:
            front = [(rows, -1, 0, 0)]
            while front:
                rows, parent, side, depth = front.pop()
                i, best = look(rows, parent, side, depth)
                if best is not None:
                    left, right = part(i, rows, best)
                    front += [(right, i, 0, depth + 1), (left, i, 1, depth + 1)]
            continue
        heap: list[Any] = []
        leaves = 1

        def push(rows, parent, side, depth, heap=heap, look=look):
            i, best = look(rows, parent, side, depth)
            if best is not None:
                heapq.heappush(heap, (-best[0], i, rows, depth, best))

        push(rows, -1, 0, 0)
        while heap and leaves < max_leaves:
            _, i, rows, depth, best = heapq.heappop(heap)
            leaves += 1
            left, right = part(i, rows, best)
            push(left, i, 1, depth + 1)
            push(right, i, 0, depth + 1)


def leaves_of(x, nodes, roots, depth):
    """Return the leaf (N, T) of every row in every tree."""
    rows, last = np.arange(len(x))[:, None], len(nodes) - 1
    threshold = nodes[:, 0].copy().view(np.float32)
    at = np.broadcast_to(np.where((roots < 0) | (roots > last), 0, roots), (len(x), len(roots)))
    for _ in range(depth):
        node = nodes[at]
        value = x[rows, np.minimum(node[..., 1].view(np.uint32) >> 1, x.shape[1] - 1)]
        with np.errstate(invalid="ignore"):
            left = (value <= threshold[at]) | (np.isnan(value) & (node[..., 1] & 1 == 1))
        child = np.where(left, node[..., 2], node[..., 3])
        at = np.where((child < 0) | (child > last), last, child)
    return at


def tree_apply(x, nodes, roots, out, depth):
    out[...] = leaves_of(x, nodes, roots, depth)


def tree_predict(x, nodes, roots, values, out, depth):
    out[...] = 0
    for leaves in leaves_of(x, nodes, roots, depth).T:  # in the order of the trees
        out += values[leaves]


def tree_prune(left, right, risk, leaf, path, steps, alpha):
    M = len(risk)
    here = np.arange(M)
    leaf[...] = ~((here < left) & (left < M) & (here < right) & (right < M))
    below = [[i] for i in range(M)]  # the nodes of each branch
    for i in range(M - 1, -1, -1):
        if not leaf[i]:
            below[i] += below[left[i]] + below[right[i]]
    cut = np.zeros(M, bool)

    def branch(i):
        return [j for j in below[i] if leaf[j] and not cut[j]]

    path[0], count = (0.0, risk[branch(0)].sum()), 1
    while not leaf[0]:
        inner = [i for i in range(M) if not leaf[i] and not cut[i]]
        alphas = [(risk[i] - risk[branch(i)].sum()) / (len(branch(i)) - 1) for i in inner]
        i = inner[int(np.argmin(alphas))]
        if min(alphas) > alpha:
            break
        cut[below[i][1:]] = True
        leaf[i] = True
        path[count] = min(alphas), risk[branch(0)].sum()
        count += 1
    steps[0] = count
