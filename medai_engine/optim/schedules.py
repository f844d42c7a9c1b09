"""Learning rates as functions of the step count.

A schedule sets the rates of an optimiser's groups when it is built and at each ``step()``: once
per epoch or per batch, as its numbers mean it. All but ``ReduceLROnPlateau`` are closed formulas
of the count n (0 when built): nothing accumulates rounding, and a resumed run has the same bits.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ParameterError, say
from .optimizer import Optimizer

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts", "ExponentialLR", "LinearWarmup",
           "MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "Schedule", "StepLR"]


class Schedule:
    """The base of all schedules: ``lr`` of each group as a function of n.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups' rates when the first schedule is built are the base rates.
    last_epoch : int
        -1 to start; the count of the last step to go on from (or use ``load_state_dict``).

    Attributes
    ----------
    last_epoch : int
        The count n.
    base_lrs : list of float
        One base rate per group.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self._take(optimizer)
        for group in optimizer.param_groups:
            self._require(last_epoch == -1 or "initial_lr" in group, "initial_lr in every group",
                          f"last_epoch={last_epoch} without it",
                          "Load the optimiser's state first, or use load_state_dict")
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def lr_at(self, n: float, base: float) -> float:
        """Return the rate at count n of a group with this base rate."""
        raise NotImplementedError

    def values(self, n: float) -> list[dict[str, Any]]:
        """Return what to write into each group at count n."""
        return [{"lr": self.lr_at(n, base)} for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go to the next count, or to the given one (a fraction where the formula allows it)."""
        n = self.last_epoch + 1 if epoch is None else epoch
        self._write(n)
        self.last_epoch = n  # type: ignore[assignment]

    def get_last_lr(self) -> list[float]:
        """Return the present rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the count, the base rates and the options, as values for JSON."""
        return {key: value.state_dict() if isinstance(value, Schedule)
                else list(value) if isinstance(value, (list, tuple)) else value
                for key, value in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` returned; sets the optimiser's rates too.

        Raises
        ------
        ParameterError
            When it belongs to another kind of schedule; nothing is changed then.
        """
        mine = self.state_dict()
        self._require(isinstance(state_dict, Mapping) and set(state_dict) == set(mine),
                      f"a state with {', '.join(sorted(mine))}",
                      str(sorted(state_dict)) if isinstance(state_dict, Mapping)
                      else type(state_dict).__name__, "Pass this schedule's own state_dict()")
        for key, value in state_dict.items():
            if isinstance(getattr(self, key), Schedule):
                getattr(self, key).load_state_dict(value)
            else:
                setattr(self, key, list(value) if isinstance(value, (list, tuple)) else value)
        self._write(self.last_epoch)

    def _take(self, optimizer: Optimizer) -> None:
        self._require(isinstance(optimizer, Optimizer), "an optimiser", type(optimizer).__name__,
                      "Pass the optimiser first")
        self.optimizer = optimizer

    def _write(self, n: float) -> None:
        for group, values in zip(self.optimizer.param_groups, self.values(n), strict=True):
            group.update(values)

    def _require(self, holds: bool, expected: str, got: Any, fix: str) -> None:
        if not holds:
            raise ParameterError(say(type(self).__name__, expected, str(got), fix))

    def _per_group(self, name: str, value: Any) -> list[float]:
        """Return one number per group."""
        count = len(self.optimizer.param_groups)
        values = list(value) if isinstance(value, (list, tuple)) else [value] * count
        self._require(len(values) == count, f"{name} to be a number, or one for each of {count} "
                      "groups", repr(value), "Pass one number for all groups")
        return values

    def __repr__(self) -> str:
        return f"{type(self).__name__}(step {self.last_epoch}, lr {self.get_last_lr()})"


class StepLR(Schedule):
    """``lr = base gamma^floor(n / step_size)``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    step_size : int
        Steps between two changes.
    gamma : float
        Factor of a change.
    last_epoch : int
        See ``Schedule``.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1,
                 last_epoch: int = -1):
        self._require(step_size >= 1, "step_size of at least 1", step_size, "Try 30")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, n: float, base: float) -> float:
        """Return the rate at count n."""
        return base * self.gamma ** (n // self.step_size)


class MultiStepLR(Schedule):
    """``lr = base gamma^k``, k the number of milestones at or before n.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    milestones : iterable of int
        Counts at which the rate changes.
    gamma : float
        Factor of a change.
    last_epoch : int
        See ``Schedule``.
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1,
                 last_epoch: int = -1):
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, n: float, base: float) -> float:
        """Return the rate at count n."""
        return base * self.gamma ** bisect_right(self.milestones, n)


class ExponentialLR(Schedule):
    """``lr = base gamma^n``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    gamma : float
        Factor per step.
    last_epoch : int
        See ``Schedule``.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, n: float, base: float) -> float:
        """Return the rate at count n."""
        return base * self.gamma ** n


def cosine(start: float, end: float, fraction: float) -> float:
    """Return ``end + (start - end) (1 + cos(pi fraction)) / 2``."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def linear(start: float, end: float, fraction: float) -> float:
    """Return ``start + (end - start) fraction``."""
    return start + (end - start) * fraction


class CosineAnnealingLR(Schedule):
    """``lr = eta_min + (base - eta_min) (1 + cos(pi n / T_max)) / 2``; it rises again after T_max.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    T_max : int
        Steps from base to eta_min.
    eta_min : float
        The smallest rate.
    last_epoch : int
        See ``Schedule``.

    References
    ----------
    Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts, 2017.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0,
                 last_epoch: int = -1):
        self._require(T_max >= 1, "T_max of at least 1", T_max, "Pass the number of epochs")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, n: float, base: float) -> float:
        """Return the rate at count n."""
        return cosine(base, self.eta_min, n / self.T_max)


class CosineAnnealingWarmRestarts(Schedule):
    """Cosines from base to eta_min, one after the other, each T_mult times longer than the last.

    ``step(epoch)`` takes fractions of an epoch, for changes within one.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    T_0 : int
        Steps of the first cosine.
    T_mult : int
        Factor of the length from one to the next.
    eta_min : float
        The smallest rate.
    last_epoch : int
        See ``Schedule``.

    References
    ----------
    Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts, 2017.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0,
                 last_epoch: int = -1):
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            self._require(isinstance(value, int) and value >= 1,
                          f"{name} to be an integer of at least 1", value, "Try T_0=10, T_mult=2")
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, n: float, base: float) -> float:
        """Return the rate at count n."""
        length = self.T_0
        if self.T_mult == 1:
            n = n % length
        while n >= length:
            n -= length
            length *= self.T_mult
        return cosine(base, self.eta_min, n / length)


class OneCycleLR(Schedule):
    """Up from ``max_lr / div_factor`` to max_lr, then down to a tiny rate; once, step by batch.

    Momentum (or the first beta) goes the opposite way.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    max_lr : float or list of float
        The peak, one for all groups or one for each.
    total_steps : int, optional
        The length; or give ``epochs`` and ``steps_per_epoch``.
    epochs, steps_per_epoch : int, optional
        Their product is the length.
    pct_start : float
        Fraction of the length in which the rate rises.
    anneal_strategy : str
        ``"cos"`` or ``"linear"``.
    cycle_momentum : bool
        Whether momentum moves too.
    base_momentum, max_momentum : float or list of float
        Its smallest value (at the peak of lr) and its largest.
    div_factor : float
        max_lr over the first rate.
    final_div_factor : float
        First rate over the last.
    three_phase : bool
        Go down to the first rate as fast as up, then on to the last.
    last_epoch : int
        See ``Schedule``.

    References
    ----------
    Smith & Topin, Super-convergence, 2018.
    """

    def __init__(self, optimizer: Optimizer, max_lr: float | list[float],
                 total_steps: int | None = None, epochs: int | None = None,
                 steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True,
                 base_momentum: float | list[float] = 0.85,
                 max_momentum: float | list[float] = 0.95, div_factor: float = 25.0,
                 final_div_factor: float = 1e4, three_phase: bool = False, last_epoch: int = -1):
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        self._require(isinstance(total_steps, int) and total_steps >= 1,
                      "total_steps of at least 1, or epochs and steps_per_epoch",
                      f"{total_steps}, {epochs}, {steps_per_epoch}", "Pass total_steps")
        self._require(0 <= pct_start <= 1, "pct_start from 0 to 1", pct_start, "Try 0.3")
        self._require(anneal_strategy in ("cos", "linear"), 'anneal_strategy "cos" or "linear"',
                      repr(anneal_strategy), 'Pass "cos"')
        self._take(optimizer)
        self.total_steps = total_steps
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.three_phase = three_phase
        self.final_div_factor = final_div_factor
        self.div_factor = div_factor
        self.cycle_momentum = cycle_momentum
        self.max_lr = self._per_group("max_lr", max_lr)
        self.base_momentum = self._per_group("base_momentum", base_momentum)
        self.max_momentum = self._per_group("max_momentum", max_momentum)
        if cycle_momentum:
            for group in optimizer.param_groups:
                self._require("betas" in group or "momentum" in group,
                              "an optimiser with momentum or betas", type(optimizer).__name__,
                              "Pass cycle_momentum=False")
        if last_epoch == -1:
            for group, peak in zip(optimizer.param_groups, self.max_lr, strict=True):
                group["initial_lr"] = peak / div_factor
        super().__init__(optimizer, last_epoch)

    def values(self, n: float) -> list[dict[str, Any]]:
        """Return rates and momenta at count n."""
        self._require(n <= self.total_steps, f"at most {self.total_steps} steps", n,
                      "Pass the real number of batches as total_steps")
        rise, last = float(self.pct_start * self.total_steps) - 1, self.total_steps - 1
        # the ends of the phases; levels: 0 the first rate, 1 the peak, 2 the last rate
        ends, levels = ([rise, 2 * rise, last], (0, 1, 0, 2)) if self.three_phase else (
            [rise, last], (0, 1, 2))
        phase = next((i for i, end in enumerate(ends) if n <= end), len(ends) - 1)
        begin = ends[phase - 1] if phase else 0.0
        length = ends[phase] - begin
        fraction = min((n - begin) / length, 1.0) if length else 1.0
        anneal = cosine if self.anneal_strategy == "cos" else linear
        found = []
        for group, peak, low, high in zip(self.optimizer.param_groups, self.max_lr,
                                          self.base_momentum, self.max_momentum, strict=True):
            first = peak / self.div_factor
            rates = (first, peak, first / self.final_div_factor)
            values: dict[str, Any] = {
                "lr": anneal(rates[levels[phase]], rates[levels[phase + 1]], fraction)}
            if self.cycle_momentum:
                momenta = (high, low, high)
                momentum = anneal(momenta[levels[phase]], momenta[levels[phase + 1]], fraction)
                values |= ({"betas": (momentum, *group["betas"][1:])} if "betas" in group
                           else {"momentum": momentum})
            found.append(values)
        return found


class LinearWarmup(Schedule):
    """``lr = base (start_factor + (1 - start_factor) n / warmup_steps)``, then base or a schedule.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    warmup_steps : int
        Steps until the full rate.
    start_factor : float
        Share of the rate at n = 0.
    schedule : Schedule, optional
        What follows, beginning at its n = 0 behind the warm-up; step the warm-up only.
    last_epoch : int
        See ``Schedule``.

    Examples
    --------
    >>> import medai_engine as me
    >>> opt = me.optim.SGD([me.Parameter([1.0])], lr=1.0)
    >>> after = me.optim.schedules.ExponentialLR(opt, gamma=0.5)
    >>> warm = me.optim.schedules.LinearWarmup(opt, 2, start_factor=0.5, schedule=after)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates.append(opt.lr)
    ...     warm.step()
    >>> rates
    [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int = 5, start_factor: float = 1 / 3,
                 schedule: Schedule | None = None, last_epoch: int = -1):
        self._require(warmup_steps >= 1, "warmup_steps of at least 1", warmup_steps, "Try 100")
        self._require(0 <= start_factor <= 1, "start_factor from 0 to 1", start_factor,
                      "Try 1 / 3")
        self._require(schedule is None or (isinstance(schedule, Schedule) and not isinstance(
            schedule, (ReduceLROnPlateau, LinearWarmup))), "a schedule that is a formula of n",
            type(schedule).__name__, "Step ReduceLROnPlateau by itself after the warm-up")
        self._require(schedule is None or schedule.optimizer is optimizer,
                      "a schedule of the same optimiser", "one of another", "Pass it both")
        self.warmup_steps = warmup_steps
        self.start_factor = start_factor
        self.schedule = schedule
        super().__init__(optimizer, last_epoch)

    def lr_at(self, n: float, base: float) -> float:
        """Return the full rate."""
        return base

    def values(self, n: float) -> list[dict[str, Any]]:
        """Return rates at count n."""
        later = max(n - self.warmup_steps, 0)
        if self.schedule is not None:
            self.schedule.last_epoch = later  # type: ignore[assignment]
            found = self.schedule.values(later)
        else:
            found = super().values(n)
        factor = linear(self.start_factor, 1.0, min(n / self.warmup_steps, 1.0))
        return found if factor == 1 else [{**v, "lr": v["lr"] * factor} for v in found]


class ReduceLROnPlateau(Schedule):
    """Multiply the rates by ``factor`` when a metric has not improved for ``patience`` steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    mode : str
        ``"min"`` where smaller is better (a loss), ``"max"`` where larger is.
    factor : float
        Factor of a change, below 1.
    patience : int
        Steps without improvement that are tolerated.
    threshold : float
        What counts as improvement.
    threshold_mode : str
        ``"rel"``: better than ``best (1 -+ threshold)``; ``"abs"``: than ``best -+ threshold``.
    cooldown : int
        Steps after a change in which nothing is counted.
    min_lr : float or list of float
        The smallest rate, for all groups or each.
    eps : float
        A change smaller than this is not made.

    Raises
    ------
    ParameterError
        For a factor of 1 or more, or another mode.
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1,
                 patience: int = 10, threshold: float = 1e-4, threshold_mode: str = "rel",
                 cooldown: int = 0, min_lr: float | list[float] = 0, eps: float = 1e-8):
        self._require(mode in ("min", "max"), 'mode "min" or "max"', repr(mode), 'Pass "min"')
        self._require(threshold_mode in ("rel", "abs"), 'threshold_mode "rel" or "abs"',
                      repr(threshold_mode), 'Pass "rel"')
        self._require(0 <= factor < 1, "a factor in [0, 1)", factor, "Try 0.1")
        self._take(optimizer)
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = self._per_group("min_lr", min_lr)
        self.eps = eps
        self.best: float | None = None
        self.bad = 0
        self.resting = 0
        self.last_epoch = 0
        self.lrs = self.get_last_lr()

    def step(self, metrics: Any, epoch: float | None = None) -> None:
        """Take the metric of one more step (epoch), and reduce the rates if it is time."""
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch  # type: ignore[assignment]
        if self._better(value):
            self.best = value
            self.bad = 0
        else:
            self.bad += 1
        if self.resting > 0:
            self.resting -= 1
            self.bad = 0
        if self.bad > self.patience:
            for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                new = max(group["lr"] * self.factor, low)
                if group["lr"] - new > self.eps:
                    group["lr"] = new
            self.resting = self.cooldown
            self.bad = 0
        self.lrs = self.get_last_lr()

    def _better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.best is None:
            return sign * value > -math.inf
        bar = (self.best * (1 + sign * self.threshold) if self.threshold_mode == "rel"
               else self.best + sign * self.threshold)
        return sign * value > sign * bar

    def values(self, n: float) -> list[dict[str, Any]]:
        """Return the rates as they were after the last step."""
        return [{"lr": lr} for lr in self.lrs]
