"""Rates that fall by steps, by a factor, along a cosine; and a warm-up before them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from ..optimizer import Optimizer
from .base import Schedule, cosine, linear
from .plateau import ReduceLROnPlateau

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts", "ExponentialLR", "LinearWarmup",
           "MultiStepLR", "StepLR"]


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
