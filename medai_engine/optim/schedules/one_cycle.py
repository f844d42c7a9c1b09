"""One rise and one fall of the rate, momentum the other way."""

from __future__ import annotations

from typing import Any

from ..optimizer import Optimizer
from .base import Schedule, cosine, linear

__all__ = ["OneCycleLR"]


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
        self.total_steps = int(total_steps or 0)  # required above
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
