"""What the tests of optimisers share: every combination of options, weights and gradients."""

from __future__ import annotations

from itertools import product

import numpy as np

from medai_engine.tensor import Parameter, Tensor

SHAPES = [(4, 3), (5,), (2, 1, 3), ()]
NAMES = ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Adamax",
         "Lion"]


def options(**choices):
    """Return every combination of option values."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


BOTH = [False, True]
GRID = {
    "SGD": [o for o in options(lr=[0.1], momentum=[0, 0.9], dampening=[0, 0.3],
                               weight_decay=[0, 0.1], nesterov=BOTH, maximize=BOTH)
            if not (o["nesterov"] and (o["dampening"] or not o["momentum"]))],
    "Adam": options(lr=[0.01], weight_decay=[0, 0.1], amsgrad=BOTH, maximize=BOTH,
                    decoupled_weight_decay=BOTH),
    "AdamW": options(betas=[(0.9, 0.999), (0.5, 0.9)], amsgrad=BOTH, weight_decay=[1e-2, 0]),
    "NAdam": options(weight_decay=[0, 0.1], decoupled_weight_decay=BOTH, momentum_decay=[4e-3, 0.1],
                     maximize=BOTH),
    "RAdam": options(weight_decay=[0, 0.1], decoupled_weight_decay=BOTH, maximize=BOTH,
                     betas=[(0.9, 0.999), (0.8, 0.7)]),
    "RMSprop": options(momentum=[0, 0.9], centered=BOTH, weight_decay=[0, 0.1], maximize=BOTH),
    "Adagrad": options(lr_decay=[0, 0.1], weight_decay=[0, 0.1], initial_accumulator_value=[0, 0.5],
                       maximize=BOTH),
    "Adadelta": options(rho=[0.9, 0.5], weight_decay=[0, 0.1], maximize=BOTH),
    "Adamax": options(betas=[(0.9, 0.999), (0.5, 0.9)], weight_decay=[0, 0.1], maximize=BOTH),
    "Lion": options(weight_decay=[0, 0.1], maximize=BOTH),
}
CASES = [(name, choice) for name in NAMES for choice in GRID[name]]
IDS = ["-".join([name, *(f"{k}={v}" for k, v in choice.items())]) for name, choice in CASES]


def parameters(dtype=np.float64, shapes=SHAPES, seed=0):
    rng = np.random.default_rng(seed)
    return [Parameter(np.asarray(rng.standard_normal(s), dtype)) for s in shapes]


def gradients(params, seed):
    """Return gradients that depend on the weights; some entries are exactly 0."""
    rng = np.random.default_rng(seed)
    found = []
    for p in params:
        g = rng.standard_normal(p.shape) + 0.3 * np.asarray(p.data, np.float64)
        found.append(np.asarray(np.where(rng.random(p.shape) < 0.1, 0, g), p.dtype))
    return found


def give(params, seed):
    for p, g in zip(params, gradients(params, seed), strict=True):
        p.grad = Tensor(g)


def run(opt, params, start, stop):
    for i in range(start, stop):
        give(params, i)
        opt.step()


def values(params):
    return [p.data.copy() for p in params]


def same(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))
