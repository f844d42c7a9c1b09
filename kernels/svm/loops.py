"""Support vector machines as loops; equations in reference.py.

Order: SMO goes twice over the points a step, and computes a missing row of the kernel matrix pair
by pair; rows are kept in the workspace, the oldest gives way. No point is left out. Coordinate
descent goes over the points, and twice over a point's features.
The logistic loss goes over the samples, and twice over a sample's features for each class.
Bytes: a step reads two rows and four numbers a point. Source: see reference.py.
"""

import math

import numpy as np
from numba import njit

__all__ = ["dual_descent", "kernel_sums", "logistic_loss", "smo"]

kernel = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def _value(a, b, kind, degree, gamma, coef0):
    total = 0.0
    if kind == 2:
        for k in range(a.size):
            total += (a[k] - b[k]) ** 2
        return math.exp(-gamma * total)
    for k in range(a.size):
        total += a[k] * b[k]
    if kind == 1:
        return (gamma * total + coef0) ** degree
    return math.tanh(gamma * total + coef0) if kind == 3 else total


@kernel
def kernel_sums(x, points, coef, out, kind, degree, gamma, coef0):
    for i in range(x.shape[0]):
        out[i] = 0
        for j in range(points.shape[0]):
            value = _value(x[i], points[j], kind, degree, gamma, coef0)
            for c in range(coef.shape[0]):
                out[i, c] += coef[c, j] * value


@kernel
def _row(x, i, rows, slot_of, owner, clock, kind, degree, gamma, coef0):
    """Return row i and the number of rows computed so far."""
    if slot_of[i] < 0:
        slot = clock % rows.shape[0]
        if owner[slot] >= 0:
            slot_of[owner[slot]] = -1
        owner[slot], slot_of[i] = i, slot
        for j in range(x.shape[0]):
            rows[slot, j] = x[i, j] if kind == 4 else _value(x[i], x[j], kind, degree, gamma,
                                                             coef0)
        clock += 1
    return rows[slot_of[i]], clock


@kernel
def smo(x, target, lower, upper, beta, workspace, result, kind, degree, gamma, coef0, epsilon, tol,
        max_iter, shrinking):
    n = x.shape[0]
    slots = max(2, min(n, workspace.size // n))
    rows = workspace[:slots * n].reshape(slots, n)
    slot_of, owner = np.full(n, -1), np.full(slots, -1)
    score, diagonal = target.copy(), np.empty(n)
    clock = 0
    for i in range(n):
        diagonal[i] = x[i, i] if kind == 4 else _value(x[i], x[i], kind, degree, gamma, coef0)
    for i in range(n):
        if beta[i] != 0:
            row_i, clock = _row(x, i, rows, slot_of, owner, clock, kind, degree, gamma, coef0)
            for t in range(n):
                score[t] -= beta[i] * row_i[t]
    steps = 0
    while True:
        i, high, least = 0, -np.inf, np.inf
        for t in range(n):
            if beta[t] < upper[t]:
                up = score[t] - (epsilon if beta[t] >= 0 else -epsilon)
                if up > high:
                    i, high = t, up
            if beta[t] > lower[t]:
                least = min(least, score[t] - (epsilon if beta[t] > 0 else -epsilon))
        if high - least <= tol or steps >= max_iter:
            break
        row_i, clock = _row(x, i, rows, slot_of, owner, clock, kind, degree, gamma, coef0)
        j, gain, curvature, low_j = i, 0.0, 1.0, high
        for t in range(n):
            if beta[t] > lower[t]:
                low = score[t] - (epsilon if beta[t] > 0 else -epsilon)
                a = max(diagonal[i] + diagonal[t] - 2 * row_i[t], 1e-12)
                if low < high and (high - low) ** 2 / a > gain:
                    j, gain, curvature, low_j = t, (high - low) ** 2 / a, a, low
        if gain == 0:
            break
        row_j, clock = _row(x, j, rows, slot_of, owner, clock, kind, degree, gamma, coef0)
        if slot_of[i] < 0:  # its place was taken
            row_i, clock = _row(x, i, rows, slot_of, owner, clock, kind, degree, gamma, coef0)
        end_i = upper[i] if beta[i] >= 0 else min(0.0, upper[i])
        end_j = lower[j] if beta[j] <= 0 else max(0.0, lower[j])
        delta = min((high - low_j) / curvature, end_i - beta[i], beta[j] - end_j)
        beta[i] = end_i if delta >= end_i - beta[i] else beta[i] + delta
        beta[j] = end_j if delta >= beta[j] - end_j else beta[j] - delta
        for t in range(n):
            score[t] -= delta * (row_i[t] - row_j[t])
        steps += 1
    total, count, objective = 0.0, 0, 0.0
    for t in range(n):
        if beta[t] != 0 and lower[t] < beta[t] < upper[t]:
            total += score[t] - (epsilon if beta[t] > 0 else -epsilon)
            count += 1
        objective += epsilon * abs(beta[t]) - beta[t] * (target[t] + score[t]) / 2
    result[0] = total / count if count > 0 else (high + least) / 2
    result[1], result[2], result[3] = objective, steps, high - least


@kernel
def _mixed(state):
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def _descend(x, square, target, lower, upper, ridge, beta, weight, bias, epsilon, tol, max_iter,
             state):
    n, d = x.shape
    order, active = np.arange(n), n
    top, bottom = np.inf, -np.inf
    epoch, violation = 0, np.inf
    while epoch < max_iter:
        most, least = -np.inf, np.inf
        for s in range(active):
            state += np.uint64(0x9E3779B97F4A7C15)
            other = s + np.int64(_mixed(state) % np.uint64(active - s))
            order[s], order[other] = order[other], order[s]
        s = 0
        while s < active:
            i = order[s]
            q = square[i] + ridge[i]
            g = bias * weight[d] - target[i] + ridge[i] * beta[i]
            for k in range(d):
                g += x[i, k] * weight[k]
            rise = g + (epsilon if beta[i] >= 0 else -epsilon)
            fall = g + (epsilon if beta[i] > 0 else -epsilon)
            wrong = 0.0
            if beta[i] < upper[i] and rise < 0:
                wrong = rise
            elif beta[i] > lower[i] and fall > 0:
                wrong = fall
            if (wrong == 0 and (beta[i] >= upper[i] or rise > top)
                    and (beta[i] <= lower[i] or fall < bottom)):
                active -= 1
                order[s], order[active] = order[active], order[s]
                continue
            s += 1
            most, least = max(most, wrong), min(least, wrong)
            if wrong == 0:
                continue
            tube = epsilon / q if q > 0 else 0.0
            new = beta[i] - g / q if q > 0 else (np.inf if wrong < 0 else -np.inf)
            if new > tube:
                new -= tube
            elif new < -tube:
                new += tube
            else:
                new = 0.0
            new = min(max(new, lower[i]), upper[i])
            for k in range(d):
                weight[k] += (new - beta[i]) * x[i, k]
            weight[d] += (new - beta[i]) * bias
            beta[i] = new
        epoch += 1
        violation = most - least
        if active == 0 or violation <= tol:
            if active == n:
                break
            active, top, bottom = n, np.inf, -np.inf
            continue
        top = most if most > 0 else np.inf
        bottom = least if least < 0 else -np.inf
    return epoch, violation


@kernel
def dual_descent(x, target, lower, upper, ridge, beta, weight, result, bias, epsilon, tol,
                 max_iter, seed):
    n, d = x.shape
    square = np.full(n, bias * bias)
    for i in range(n):
        for k in range(d):
            square[i] += x[i, k] * x[i, k]
    for m in range(target.shape[0]):
        epochs, violation = _descend(
            x, square, target[m], lower[m], upper[m], ridge[m], beta[m], weight[m], bias, epsilon,
            tol, max_iter, np.uint64(seed) + np.uint64(m))
        result[m, 0], result[m, 1] = epochs, violation


@kernel
def logistic_loss(x, weight, bias, target, share, value, gradient):
    n, d = x.shape
    K = weight.shape[0]
    z = np.empty(K)
    value[0] = 0.0
    gradient[:] = 0
    for i in range(n):
        top = 0.0 if K == 1 else -np.inf
        for k in range(K):
            z[k] = bias[k]
            for j in range(d):
                z[k] += x[i, j] * weight[k, j]
            top = max(top, z[k])
        total = math.exp(-top) if K == 1 else 0.0  # of two classes the first has z = 0
        for k in range(K):
            total += math.exp(z[k] - top)
        loss = top + math.log(total)
        for k in range(K):
            hit = target[i] == (1 if K == 1 else k)
            loss -= z[k] if hit else 0.0
            r = share[i] * (math.exp(z[k] - top) / total - (1.0 if hit else 0.0))
            for j in range(d):
                gradient[k, j] += r * x[i, j]
            gradient[k, d] += r
        value[0] += share[i] * loss
