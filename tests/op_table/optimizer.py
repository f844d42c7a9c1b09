"""Rows of the optimiser steps, averages and clipping.

All numbers of one place (parameter, gradient, mean) have one sign, so that no sum cancels and the
bound on rounding is that of the update itself. ``tests/test_optim.py`` compares with papers and
PyTorch, ``tests/test_kernels_optimizer.py`` the three texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, GraphError, ParameterError, ShapeError
from medai_engine.op import OPS
from medai_engine.ops.optimizer import COLUMNS, STATES

from . import Draw, Sample, bad, r0, row, sample

ONE_CHOICE = {"param states": "the rule keeps these states always"}
VALUES: dict[str, float] = {
    "lr": 0.05, "momentum": 0.9, "dampening": 0.0, "nesterov": 0, "weight_decay": 0.0, "step": 2,
    "maximize": 0, "beta1": 0.9, "beta2": 0.97, "eps": 1e-6, "decoupled": 0, "alpha": 0.95,
    "momentum_decay": 0.004, "mu_product": 0.5, "lr_decay": 0.0, "rho": 0.9}
# Per rule, (states, what differs from VALUES) of each segment of each sample.
FIRST: dict[str, float] = {"step": 1}
CASES: dict[str, list[tuple[int, list[dict[str, float]]]]] = {
    "sgd_step": [(0, [{}, {"weight_decay": 0.1}]), (1, [FIRST, {"nesterov": 1}]),
                 (1, [{"maximize": 1}, {"dampening": 0.5, "lr": 1.0}])],
    "adam_step": [(2, [FIRST, {"weight_decay": 0.1}]),
                  (3, [{"weight_decay": 0.1, "decoupled": 1}, {"maximize": 1, "beta1": 0.0}])],
    "nadam_step": [(2, [{**FIRST, "mu_product": 0.46}, {"weight_decay": 0.1}]),
                   (2, [{"decoupled": 1, "weight_decay": 0.2}, {"maximize": 1, "lr": 0.5}])],
    "radam_step": [(2, [FIRST, {"step": 20, "weight_decay": 0.1}]),
                   (2, [{"decoupled": 1, "weight_decay": 0.2, "step": 7}, {"maximize": 1}])],
    "rmsprop_step": [(1, [{}, {"weight_decay": 0.1}]), (2, [{"maximize": 1}, {"alpha": 0.5}]),
                     (3, [{"momentum": 0.5}, {}])],
    "adagrad_step": [(1, [FIRST, {"weight_decay": 0.1}]),
                     (1, [{"lr_decay": 0.2}, {"maximize": 1}])],
    "adadelta_step": [(2, [{"lr": 1.0}, {"weight_decay": 0.1}]),
                      (2, [{"rho": 0.5}, {"maximize": 1}])],
    "adamax_step": [(2, [FIRST, {"weight_decay": 0.1}]), (2, [{"beta2": 0.5}, {"maximize": 1}])],
    "lion_step": [(1, [{}, {"weight_decay": 0.1}]), (1, [{"beta1": 0.5}, {"maximize": 1}])],
}


def hyper(name: str, rows: Sequence[dict[str, float]]) -> np.ndarray:
    """Return the table of hyper-parameters."""
    return np.array([[{**VALUES, **changes}[c] for c in COLUMNS[name]] for changes in rows], float)


def draw(r: Draw, name: str, states: Sequence[str], rows: list[dict[str, float]],
         *shapes: tuple[int, ...]) -> Sample:
    """Return segments of these shapes."""
    params = [r.away([0.0], -2, 2, *shape) for shape in shapes]
    signs = [np.sign(p) * (-1 if changes.get("maximize") else 1)
             for p, changes in zip(params, rows, strict=True)]
    arrays = [*params, *(sign * r.uniform(0.1, 1, *sign.shape) for sign in signs)]
    for state in states:
        for p in params:
            if state in ("exp_avg", "grad_avg", "momentum_buffer"):
                arrays.append(np.sign(p) * r.uniform(0.1, 1, *p.shape))
            else:  # of squares: above the square of any mean
                arrays.append(r.uniform(1.5, 3, *p.shape))
    return sample(*arrays, states=tuple(states), hyper=hyper(name, rows))


def terms(name: str) -> Any:
    """Return the bound's terms: some 25 roundings of what is written, before and after."""

    def found(*arrays: np.ndarray, **params: Any) -> tuple[int, Any]:
        op = OPS[name]
        old = [np.array(x, np.float64) for x in arrays]
        new = [x.copy() for x in old]
        op.definition(*op.prepare(new, [], params))
        return 25, tuple(abs(old[i]) + abs(new[i]) for i in op.writes(len(old), **params))

    return found


def steps(name: str) -> None:
    """Add the row of a rule."""
    kept = STATES[name]
    chosen = [({"rmsprop_step": {2: ("square_avg", "grad_avg")}}.get(name, {}).get(n, kept[:n]),
               rows) for n, rows in CASES[name]]
    states, rows = chosen[0]
    count = 2 + len(states)

    def samples(r: Draw) -> list[Sample]:
        return [*(draw(r, name, s, h, (2, 3), (5,)) for s, h in chosen),
                draw(r, name, states, rows, (), (0, 3)),
                draw(r, name, states, rows[:1], (1,)),
                sample(states=states, hyper=np.zeros((0, len(COLUMNS[name]))))]

    h = hyper(name, rows[:1])
    frozen = r0(3)
    frozen.flags.writeable = False
    good = [r0(3) for _ in range(count - 1)]
    row(name, samples, terms=terms(name), derivative="none",
        large=lambda r: draw(r, name, *chosen[-1], (101, 301), (7919,)),
        exempt=ONE_CHOICE if len({s for s, _ in chosen}) == 1 else {},
        bad=[bad(ShapeError, r"gradient 0 of shape \(3,\), got \(4,\)", r0(3), r0(4), *good[1:],
                 states=states, hyper=h),
             bad(DTypeError, "gradient 0 to be float32, got float64", r0(3), np.zeros(3), *good[1:],
                 states=states, hyper=h),
             bad(DTypeError, "float32 or float64, got int64",
                 *(np.zeros(3, np.int64) for _ in range(count)), states=states, hyper=h),
             bad(ParameterError, "lists of equal length", *good, r0(3), r0(3), states=states,
                 hyper=h),
             bad(ParameterError, "states out of", r0(3), *good, states=("speed",), hyper=h),
             bad(ShapeError, "One row per parameter, with columns lr", r0(3), *good, states=states,
                 hyper=h[:, 1:]),
             bad(GraphError, "that can be written", frozen, *good, states=states, hyper=h)])


for _name in CASES:
    steps(_name)


def segments(r: Draw, *shapes: tuple[int, ...], **params: Any) -> Sample:
    """Return arrays of these shapes."""
    return sample(*(r.normal(*shape) for shape in shapes), **params)


def _averages(r: Draw, decay: float, *shapes: tuple[int, ...]) -> Sample:
    params = [r.away([0.0], -2, 2, *shape) for shape in shapes]
    return sample(*(np.sign(p) * r.uniform(0.1, 1, *p.shape) for p in params), *params, decay=decay)


row("ema_step", lambda r: [_averages(r, 0.9, (2, 3), (5,)), _averages(r, 0.25, ()),
                           _averages(r, 0.5, (0, 3), (1,)), _averages(r, 1.0, (4,))],
    large=lambda r: _averages(r, 0.99, (101, 301), (7919,)),
    oracles={"numpy": lambda *a, decay: [decay * x + (1 - decay) * p for x, p in zip(
        a[: len(a) // 2], a[len(a) // 2:], strict=True)]},
    bad=[bad(ParameterError, "decay from 0 to 1, got 1.5", r0(3), r0(3), decay=1.5),
         bad(ShapeError, "parameter 0 of shape", r0(3), r0(4), decay=0.5),
         bad(ParameterError, "lists of equal length", r0(3), r0(3), r0(3), decay=0.5)])
row("segments_scale", lambda r: [segments(r, (2, 3), (5,), factor=0.3),
                                 segments(r, (), factor=-2.0),
                                 segments(r, (0, 3), (1,), factor=0.0)],
    large=lambda r: segments(r, (101, 301), (7919,), factor=0.7),
    oracles={"numpy": lambda *a, factor: [x * factor for x in a]},
    bad=[bad(DTypeError, "float32 or float64", np.arange(3), factor=0.5)])
row("segments_limit", lambda r: [segments(r, (2, 3), (5,), (), max_norm=0.3),
                                 segments(r, (1,), (), max_norm=100.0),
                                 segments(r, (0, 3), (), max_norm=0.0)],
    terms=lambda *arrays, max_norm: (1, 0.0),
    oracles={"numpy": lambda *a, max_norm: [
        x * min(1.0, max_norm / (float(a[-1]) + 1e-6)) for x in a[:-1]]},
    bad=[bad(ShapeError, "one number", r0(3), r0(2), max_norm=1.0)],
    exempt={"cost": "multiplications happen only where the norm is above the limit"})
row("segments_clip", lambda r: [segments(r, (2, 3), (5,), low=-0.5, high=0.25),
                                segments(r, (), low=-2.0, high=2.0),
                                segments(r, (0, 3), (1,), low=0.5, high=0.5)],
    large=lambda r: segments(r, (101, 301), (7919,), low=-1.0, high=0.5),
    oracles={"torch": lambda *a, low, high: [x.clamp(low, high) for x in a]},
    bad=[bad(ParameterError, "low <= high", r0(3), low=1.0, high=0.0)])
row("segments_sum_squares", lambda r: [segments(r, (2, 3), (5,)), segments(r, ()),
                                       segments(r, (0, 3), (1,)), segments(r)],
    large=lambda r: segments(r, (101, 301), (7919,)),
    terms=lambda *arrays: (sum(x.size for x in arrays),
                           sum(float((x.astype(float) ** 2).sum()) for x in arrays)),
    oracles={"numpy": lambda *a: np.array(sum(float((x.astype(float) ** 2).sum()) for x in a))},
    bad=[bad(DTypeError, "array 1 to be float32, got float64", r0(3), np.zeros(3))])
