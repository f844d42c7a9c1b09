"""Support vector machines and logistic regression: the dual problems and the loss, as definitions.

Kernel machines (classification and regression are one problem):

    min over beta   beta K beta / 2 - target beta + epsilon |beta|_1
    with            lower_i <= beta_i <= upper_i,   sum beta_i = 0

Classification has target y = +-1, epsilon 0 and bounds 0 and y C; regression has the targets, the
tube's half width epsilon and bounds -C and C. f(x) = sum beta_i k(x_i, x) + intercept. With
score = target - K beta, a point can rise if beta < upper, at the slope up = score - epsilon
(+ epsilon where beta < 0), and fall if beta > lower, at low = score + epsilon (- epsilon where
beta > 0). The optimum is where max up <= min low, and the intercept lies between the two. A step
moves the point i of greatest up against the partner j of the greatest decrease

    (up_i - low_j)^2 / (k_ii + k_jj - 2 k_ij)

and stops at a bound or at zero, where the slope changes.

Linear machines, without the sum's constraint (the intercept is a weight w_d of a feature ``bias``):

    min over beta   |X' beta|^2 / 2 + sum ridge_i beta_i^2 / 2 - target beta + epsilon |beta|_1

one beta_i after the other at its own optimum, in a new random order every epoch, with
w = X' beta at hand; the squared losses have ridge 1 / (2 C) and no upper bound.

k(x, z) = x z, (gamma x z + coef0)^degree, exp(-gamma |x - z|^2), tanh(gamma x z + coef0), or the
entries of x itself.

Logistic regression of K classes has z = W x + b and the loss log sum_k exp(z_k) - z_t; of two
classes one z, that of the second, and the loss log(1 + exp(z)) - t z.

Source: Fan, Chen & Lin, "Working set selection using second order information for training support
vector machines", JMLR 6, 2005; Hsieh et al., "A dual coordinate descent method for large-scale
linear SVM", ICML 2008; Ho & Lin, "Large-scale linear support vector regression", JMLR 13, 2012.
"""

import numpy as np

__all__ = ["dual_descent", "kernel_sums", "logistic_loss", "smo"]

LINEAR, POLY, RBF, SIGMOID, PRECOMPUTED = range(5)
TINY = 1e-12  # curvature of kernels that are not positive definite
MASK = (1 << 64) - 1


def kernel_values(x, points, kind, degree, gamma, coef0):
    """k(x_i, z_j), (m, s)"""
    if kind == RBF:
        far = ((x[:, None] - points) ** 2).sum(axis=2)
        return np.exp(-gamma * far)
    dots = x @ points.T
    if kind == POLY:
        return (gamma * dots + coef0) ** degree
    return np.tanh(gamma * dots + coef0) if kind == SIGMOID else dots


def kernel_sums(x, points, coef, out, kind, degree, gamma, coef0):
    """out_ic = sum_j coef_cj k(x_i, z_j)"""
    for i in range(len(x)):
        out[i] = coef @ kernel_values(x[i:i + 1], points, kind, degree, gamma, coef0)[0]


def smo(x, target, lower, upper, beta, workspace, result, kind, degree, gamma, coef0, epsilon, tol,
        max_iter, shrinking):
    """beta: the optimum; result = (intercept, objective, steps, max up - min low)"""
    n = len(x)

    def compute(i):
        if kind == PRECOMPUTED:
            return x[i]
        return kernel_values(x[i:i + 1], x, kind, degree, gamma, coef0)[0]

    rows: dict[int, np.ndarray] = {}

    def row(i):
        if i not in rows:
            if (len(rows) + 1) * n > workspace.size:
                del rows[next(iter(rows))]
            rows[i] = compute(i)
        return rows[i]

    diagonal = np.array([compute(i)[i] for i in range(n)])
    score = np.array(target)
    for k in np.flatnonzero(beta):
        score = score - beta[k] * row(k)
    steps = 0
    while True:
        up = np.where(beta < upper, score - np.where(beta >= 0, epsilon, -epsilon), -np.inf)
        low = np.where(beta > lower, score - np.where(beta > 0, epsilon, -epsilon), np.inf)
        i = int(up.argmax())
        violation = up[i] - low.min()
        if violation <= tol or steps >= max_iter:
            break
        curvature = np.maximum(diagonal[i] + diagonal - 2 * row(i), TINY)
        gain = np.maximum(up[i] - low, 0) ** 2 / curvature
        j = int(gain.argmax())
        end_i = upper[i] if beta[i] >= 0 else min(0.0, upper[i])
        end_j = lower[j] if beta[j] <= 0 else max(0.0, lower[j])
        delta = min((up[i] - low[j]) / curvature[j], end_i - beta[i], beta[j] - end_j)
        beta[i] = end_i if delta >= end_i - beta[i] else beta[i] + delta
        beta[j] = end_j if delta >= beta[j] - end_j else beta[j] - delta
        score = score - delta * (row(i) - row(j))
        steps += 1
    free = (beta != 0) & (lower < beta) & (beta < upper)
    result[0] = up[free].mean() if free.any() else (up.max() + low.min()) / 2
    result[1] = epsilon * np.abs(beta).sum() - beta @ (target + score) / 2
    result[2], result[3] = steps, violation


def draw(state, n):
    """The next state and a number below n of splitmix64 (Steele, Lea & Flood, OOPSLA 2014)"""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return state, (z ^ z >> 31) % n


def dual_descent(x, target, lower, upper, ridge, beta, weight, result, bias, epsilon, tol,
                 max_iter, seed):
    """beta_k, weight_k: the optimum of machine k; result_k = (epochs, violation)"""
    square = (x.astype(np.float64) ** 2).sum(axis=1) + bias * bias
    for k in range(len(target)):
        result[k] = _descend(x, square, target[k], lower[k], upper[k], ridge[k], beta[k],
                             weight[k], bias, epsilon, tol, max_iter, (seed + k) & MASK)


def _descend(x, square, target, lower, upper, ridge, beta, weight, bias, epsilon, tol, max_iter,
             state):
    order, active = np.arange(len(x)), len(x)
    top, bottom = np.inf, -np.inf  # violations of the epoch before
    epoch, violation = 0, np.inf
    while epoch < max_iter:
        most, least = -np.inf, np.inf
        for s in range(active):
            state, shift = draw(state, active - s)
            order[[s, s + shift]] = order[[s + shift, s]]
        s = 0
        while s < active:
            i = order[s]
            q = square[i] + ridge[i]
            g = x[i] @ weight[:-1] + bias * weight[-1] - target[i] + ridge[i] * beta[i]
            rise = g + (epsilon if beta[i] >= 0 else -epsilon)
            fall = g + (epsilon if beta[i] > 0 else -epsilon)
            if beta[i] < upper[i] and rise < 0:
                wrong = rise
            else:
                wrong = fall if beta[i] > lower[i] and fall > 0 else 0.0
            if (wrong == 0 and (beta[i] >= upper[i] or rise > top)
                    and (beta[i] <= lower[i] or fall < bottom)):
                active -= 1  # stays at its bound: left out
                order[[s, active]] = order[[active, s]]
                continue
            s += 1
            most, least = max(most, wrong), min(least, wrong)
            if wrong == 0:
                continue
            new = beta[i] - g / q if q > 0 else -np.copysign(np.inf, wrong)
            tube = epsilon / q if q > 0 else 0.0
            new = min(max(new - tube if new > tube else new + tube if new < -tube else 0.0,
                          lower[i]), upper[i])
            weight[:-1] += (new - beta[i]) * x[i]
            weight[-1] += (new - beta[i]) * bias
            beta[i] = new
        epoch += 1
        violation = most - least
        if active == 0 or violation <= tol:
            if active == len(x):
                break
            active, top, bottom = len(x), np.inf, -np.inf  # look at all once more
            continue
        top = most if most > 0 else np.inf
        bottom = least if least < 0 else -np.inf
    return epoch, violation


def logistic_loss(x, weight, bias, target, share, value, gradient):
    """value = sum share_i loss_i; gradient (K, d + 1) = its derivative by W and, last, by b"""
    z = x @ weight.T + bias
    if len(weight) == 1:
        hit = target[:, None].astype(x.dtype)
        loss = np.logaddexp(0, z[:, 0]) - target * z[:, 0]
        p = np.exp(-np.logaddexp(0, -z))
    else:
        hit = (target[:, None] == np.arange(len(weight))).astype(x.dtype)
        z = z - z.max(axis=1, keepdims=True)
        e = np.exp(z)
        loss = np.log(e.sum(axis=1)) - (hit * z).sum(axis=1)
        p = e / e.sum(axis=1, keepdims=True)
    value[0] = share @ loss
    residual = share[:, None] * (p - hit)
    gradient[:, :-1] = residual.T @ x
    gradient[:, -1] = residual.sum(axis=0)
