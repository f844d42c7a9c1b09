"""Schedules: PyTorch's for 60 steps, closed forms at known counts, resumed runs, errors."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from oracle import EXECUTED, enough

from medai_engine import optim
from medai_engine.errors import ParameterError
from medai_engine.optim import schedules
from medai_engine.tensor import Parameter

STEPS = 60
CASES = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 1, "gamma": 0.9}),
    ("MultiStepLR", {"milestones": [30, 5, 5, 41], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.93}),
    ("CosineAnnealingLR", {"T_max": 25, "eta_min": 0.01}),  # past the minimum and up again
    ("CosineAnnealingLR", {"T_max": 100}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2, "eta_min": 0.02}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS + 1}),
    ("OneCycleLR", {"max_lr": [0.5, 0.2], "epochs": 4, "steps_per_epoch": 20, "pct_start": 0.4,
                    "anneal_strategy": "linear", "div_factor": 10, "final_div_factor": 100}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 75, "three_phase": True,
                    "base_momentum": [0.6, 0.7], "max_momentum": 0.9}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 75, "cycle_momentum": False}),
]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(CASES)]


def optimiser(name="SGD", **options):
    groups = [{"params": [Parameter(np.ones(2))], "lr": 0.1},
              {"params": [Parameter(np.ones(3))], "lr": 0.4}]
    return getattr(optim, name)(groups, **options)


def twin(torch, name="SGD", **options):
    groups = [{"params": [torch.ones(2, requires_grad=True)], "lr": 0.1},
              {"params": [torch.ones(3, requires_grad=True)], "lr": 0.4}]
    return getattr(torch.optim, name)(groups, **options)


def settings(opt):
    return [(g["lr"], g.get("momentum"), *g.get("betas", ())) for g in opt.param_groups]


def follow(mine, theirs, a, b, steps=STEPS, metrics=None):
    """Step both and compare rates and momenta each time; return the rates that were seen."""
    seen = set()
    for i in range(steps + 1):
        for got, expected in zip(settings(mine), settings(theirs), strict=True):
            for x, y in zip(got, expected, strict=True):
                # PyTorch multiplies step by step: its rounding adds up
                assert x == y or math.isclose(x, y, rel_tol=1e-12, abs_tol=1e-15), (i, x, y)
        assert a.get_last_lr() == [g["lr"] for g in mine.param_groups]
        seen.add(a.get_last_lr()[0])
        theirs.step()  # PyTorch warns without
        if i < steps:
            for schedule in (a, b):
                schedule.step(*([] if metrics is None else [metrics[i]]))
    EXECUTED["schedules"] += 1
    return seen


@pytest.mark.parametrize(("optimiser_name", "options"), [("SGD", {"momentum": 0.9}), ("Adam", {})])
@pytest.mark.parametrize(("name", "choice"), CASES, ids=IDS)
def test_torch(name, choice, optimiser_name, options):
    torch = pytest.importorskip("torch")
    mine, theirs = optimiser(optimiser_name, **options), twin(torch, optimiser_name, **options)
    a = getattr(schedules, name)(mine, **choice)
    b = getattr(torch.optim.lr_scheduler, name)(theirs, **choice)
    assert len(follow(mine, theirs, a, b)) > 3


@pytest.mark.parametrize("inside", [None, "ExponentialLR", "CosineAnnealingLR", "StepLR"])
def test_torch_warmup(inside):
    torch = pytest.importorskip("torch")
    mine, theirs = optimiser(), twin(torch)
    choice = {"ExponentialLR": {"gamma": 0.9}, "CosineAnnealingLR": {"T_max": 40},
              "StepLR": {"step_size": 6}}.get(inside)
    after = getattr(schedules, inside)(mine, **choice) if inside else None
    a = schedules.LinearWarmup(mine, 9, start_factor=0.25, schedule=after)
    rates = torch.optim.lr_scheduler
    b = rates.LinearLR(theirs, start_factor=0.25, total_iters=9)
    if inside:
        b = rates.SequentialLR(theirs, [b, getattr(rates, inside)(theirs, **choice)], [9])
    assert len(follow(mine, theirs, a, b)) >= 9


@pytest.mark.parametrize("choice", [
    {}, {"mode": "max"}, {"patience": 2}, {"patience": 0, "cooldown": 3, "factor": 0.5},
    {"patience": 1, "threshold": 0.1, "threshold_mode": "abs"},
    {"mode": "max", "patience": 1, "threshold": 0.05, "threshold_mode": "abs"},
    {"patience": 1, "min_lr": [1e-3, 5e-3], "factor": 0.3}, {"patience": 0, "eps": 0.02}])
def test_torch_plateau(choice):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    metrics = [math.nan, *(2 / (1 + np.arange(20)) + 0.1 * rng.standard_normal(20)),
               *(0.1 * rng.standard_normal(STEPS - 22)), math.inf]
    mine, theirs = optimiser(), twin(torch)
    a = schedules.ReduceLROnPlateau(mine, **choice)
    b = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **choice)
    follow(mine, theirs, a, b, metrics=metrics)
    if choice.get("patience", 10) < 10:
        assert a.get_last_lr() != [0.1, 0.4]


# ---- known values -----------------------------------------------------------------------------


def rates(schedule, steps):
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        schedule.step()
    return found


def test_closed_forms():
    """Exact values, and no drift: the rate after n steps is that of a jump to n."""
    assert rates(schedules.StepLR(optimiser(), 2, 0.5), 5) == [0.1, 0.1, 0.05, 0.05, 0.025]
    assert rates(schedules.MultiStepLR(optimiser(), [3, 1], 0.5), 5) == [0.1, 0.05, 0.05, 0.025,
                                                                         0.025]
    assert rates(schedules.ExponentialLR(optimiser(), 0.5), 4) == [0.1, 0.05, 0.025, 0.0125]
    np.testing.assert_allclose(rates(schedules.CosineAnnealingLR(optimiser(), 2), 5),
                               [0.1, 0.05, 0, 0.05, 0.1], atol=1e-17)
    np.testing.assert_allclose(
        rates(schedules.CosineAnnealingWarmRestarts(optimiser(), 2, 2), 7),
        0.05 * (1 + np.cos(np.pi * np.array([0, 1 / 2, 0, 1 / 4, 2 / 4, 3 / 4, 0]))), rtol=1e-15)
    np.testing.assert_allclose(rates(schedules.LinearWarmup(optimiser(), 4, 0.0), 6),
                               [0, 0.025, 0.05, 0.075, 0.1, 0.1], rtol=1e-15)
    one = schedules.OneCycleLR(optimiser(), 1.0, total_steps=5, pct_start=0.6,
                               cycle_momentum=False, anneal_strategy="linear",
                               div_factor=4, final_div_factor=25)
    np.testing.assert_allclose(rates(one, 5), [0.25, 0.625, 1.0, 0.505, 0.01], rtol=1e-15)
    for name, choice in CASES:
        walked = getattr(schedules, name)(optimiser("Adam"), **choice)
        for _ in range(40):
            walked.step()
        jumped = getattr(schedules, name)(optimiser("Adam"), **choice)
        jumped.step(40)
        assert settings(walked.optimizer) == settings(jumped.optimizer)
        assert walked.last_epoch == jumped.last_epoch == 40


def test_fractions_of_an_epoch():
    schedule = schedules.CosineAnnealingWarmRestarts(optimiser(), 2, 2)
    schedule.step(2.5)  # an eighth of the second cosine, of 4 epochs
    assert math.isclose(schedule.get_last_lr()[0], 0.05 * (1 + math.cos(math.pi / 8)))


def test_one_cycle_ends():
    schedule = schedules.OneCycleLR(optimiser(), 1.0, total_steps=4, cycle_momentum=False)
    for _ in range(4):
        schedule.step()  # the step behind the last batch leaves the smallest rate
    assert math.isclose(schedule.get_last_lr()[0], 1 / 25 / 1e4)
    with pytest.raises(ParameterError, match="at most 4 steps"):
        schedule.step()


# ---- resumed runs -----------------------------------------------------------------------------


def build(opt, name, choice):
    if name == "LinearWarmup":
        return schedules.LinearWarmup(opt, 9, schedule=schedules.CosineAnnealingLR(opt, 30))
    return getattr(schedules, name)(opt, **choice)


@pytest.mark.parametrize(("name", "choice"), [*CASES, ("LinearWarmup", {}),
                                              ("ReduceLROnPlateau", {"patience": 1})],
                         ids=[*IDS, "LinearWarmup", "ReduceLROnPlateau"])
@pytest.mark.parametrize("optimiser_first", [True, False])
@pytest.mark.parametrize("at", [0, 4, 23])
def test_resume(name, choice, optimiser_first, at):
    """State dicts go through JSON, in either order; rates go on with the same bits."""
    def advance(schedule, start, stop):
        for i in range(start, stop):
            schedule.step(*([math.sin(i)] if name == "ReduceLROnPlateau" else []))

    opt = optimiser("Adam")
    schedule = build(opt, name, choice)
    advance(schedule, 0, at)
    saved = [json.loads(json.dumps(x.state_dict(), allow_nan=False)) for x in (opt, schedule)]
    advance(schedule, at, 40)
    other = optimiser("Adam", betas=(0.5, 0.6))
    other.lr = 7.0
    again = build(other, name, choice)
    pairs = list(zip((other, again), saved, strict=True))
    for thing, state in pairs if optimiser_first else reversed(pairs):
        thing.load_state_dict(state)
    assert again.last_epoch == at
    advance(again, at, 40)
    assert settings(opt) == settings(other)
    assert schedule.state_dict() == again.state_dict()


def test_loading_sets_the_rates():
    """Also where the optimiser's own state is not loaded."""
    schedule = schedules.StepLR(optimiser(), 2, 0.5)
    for _ in range(5):
        schedule.step()
    again = schedules.StepLR(optimiser(), 100)
    again.load_state_dict(schedule.state_dict())
    assert again.get_last_lr() == [0.1 / 4, 0.4 / 4]


def test_last_epoch():
    opt = optimiser()
    schedules.ExponentialLR(opt, 0.5)
    again = schedules.ExponentialLR(opt, 0.5, last_epoch=2)  # initial_lr stands in the groups
    assert again.get_last_lr() == [0.1 * 0.5**3, 0.4 * 0.5**3]


# ---- errors -----------------------------------------------------------------------------------

FAULTS = {
    "no optimiser": ("an optimiser, got list", lambda: schedules.StepLR([], 3)),
    "no optimiser, one cycle": ("an optimiser", lambda: schedules.OneCycleLR(None, 0.1, 10)),
    "no optimiser, plateau": ("an optimiser", lambda: schedules.ReduceLROnPlateau(None)),
    "step size": ("step_size of at least 1", lambda: schedules.StepLR(optimiser(), 0)),
    "T_max": ("T_max", lambda: schedules.CosineAnnealingLR(optimiser(), 0)),
    "T_0": ("T_0", lambda: schedules.CosineAnnealingWarmRestarts(optimiser(), 0.5)),
    "T_mult": ("T_mult", lambda: schedules.CosineAnnealingWarmRestarts(optimiser(), 5, 0)),
    "no length": ("total_steps", lambda: schedules.OneCycleLR(optimiser(), 0.1)),
    "pct_start": ("pct_start",
                  lambda: schedules.OneCycleLR(optimiser(), 0.1, 10, pct_start=1.5)),
    "anneal": ("anneal_strategy",
               lambda: schedules.OneCycleLR(optimiser(), 0.1, 10, anneal_strategy="sin")),
    "too many rates": ("one for each of 2",
                       lambda: schedules.OneCycleLR(optimiser(), [1, 2, 3], 9)),
    "no momentum": ("cycle_momentum=False",
                    lambda: schedules.OneCycleLR(optimiser("Adagrad"), 0.1, 10)),
    "warm-up": ("warmup_steps", lambda: schedules.LinearWarmup(optimiser(), 0)),
    "start factor": ("start_factor", lambda: schedules.LinearWarmup(optimiser(), 3, 1.5)),
    "other optimiser": ("of the same optimiser", lambda: schedules.LinearWarmup(
        optimiser(), 3, schedule=schedules.StepLR(optimiser(), 3))),
    "plateau inside": ("a formula of n", lambda: wrap_plateau(optimiser())),
    "mode": ("mode", lambda: schedules.ReduceLROnPlateau(optimiser(), "least")),
    "threshold mode": ("threshold_mode",
                       lambda: schedules.ReduceLROnPlateau(optimiser(), threshold_mode="no")),
    "factor": ("factor", lambda: schedules.ReduceLROnPlateau(optimiser(), factor=1.0)),
    "min_lr": ("min_lr", lambda: schedules.ReduceLROnPlateau(optimiser(), min_lr=[0.0])),
    "last epoch": ("initial_lr in every group",
                   lambda: schedules.StepLR(optimiser(), 3, last_epoch=5)),
    "foreign state": ("a state with", lambda: schedules.StepLR(optimiser(), 3).load_state_dict(
        schedules.ExponentialLR(optimiser(), 0.9).state_dict())),
    "no state": ("a state with", lambda: schedules.StepLR(optimiser(), 3).load_state_dict(None)),
}


def wrap_plateau(opt):
    return schedules.LinearWarmup(opt, 3, schedule=schedules.ReduceLROnPlateau(opt))


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault):
    match, call = FAULTS[fault]
    with pytest.raises(ParameterError, match=match):
        call()


def test_oracles_ran():
    """The comparisons above were not skipped without a word."""
    enough({"schedules": 2 * len(CASES) + 4 + 8})
