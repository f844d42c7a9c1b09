"""Rates that fall when a metric stops improving."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from ...mode import on_the_host
from ..optimizer import Optimizer
from .base import Schedule

__all__ = ["ReduceLROnPlateau"]


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

    def step(  # type: ignore[override]
            self, metrics: Any, epoch: float | None = None) -> None:
        """Take the metric of one more step (epoch), and reduce the rates if it is time."""
        on_the_host(partial(self.step, metrics, epoch))
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
