"""Learning rates that change with the steps."""

from __future__ import annotations

import math

from ...errors import ParameterError, say

__all__ = ["CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay",
           "LearningRateSchedule", "PiecewiseConstantDecay", "PolynomialDecay"]


class LearningRateSchedule:
    """A learning rate that changes with the steps: ``schedule(step)``."""

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        raise ParameterError(say(type(self).__name__, "a method __call__(self, step)", "none",
                                 "Define it in the class"))


class ExponentialDecay(LearningRateSchedule):
    """initial rate^(step / decay_steps)."""

    def __init__(self, initial_learning_rate: float, decay_steps: int, decay_rate: float,
                 staircase: bool = False, name: str = "ExponentialDecay"):
        self.initial, self.steps = initial_learning_rate, decay_steps
        self.rate, self.staircase = decay_rate, staircase

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        share = step / self.steps
        return self.initial * self.rate ** (math.floor(share) if self.staircase else share)


class CosineDecay(LearningRateSchedule):
    """Up to ``warmup_target``, then half a cosine down to alpha times that."""

    def __init__(self, initial_learning_rate: float, decay_steps: int, alpha: float = 0.0,
                 name: str = "CosineDecay", warmup_target: float | None = None,
                 warmup_steps: int = 0):
        self.initial, self.steps, self.alpha = initial_learning_rate, decay_steps, alpha
        self.target, self.warmup = warmup_target, warmup_steps

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        top = self.initial if self.target is None else self.target
        if self.target is not None and step < self.warmup:
            return self.initial + (top - self.initial) * step / self.warmup
        share = (step - (self.warmup if self.target is not None else 0)) / self.steps
        wave = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        return top * ((1 - self.alpha) * wave + self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """Half cosines one behind the other, ``t_mul`` times as long and ``m_mul`` as high."""

    def __init__(self, initial_learning_rate: float, first_decay_steps: int,
                 t_mul: float = 2.0, m_mul: float = 1.0, alpha: float = 0.0,
                 name: str = "SGDRDecay"):
        self.initial, self.steps, self.alpha = initial_learning_rate, first_decay_steps, alpha
        self.t_mul, self.m_mul = t_mul, m_mul

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        start, length, height = 0.0, float(self.steps), 1.0
        while step >= start + length:
            start, length, height = start + length, length * self.t_mul, height * self.m_mul
        wave = 0.5 * height * (1 + math.cos(math.pi * (step - start) / length))
        return self.initial * ((1 - self.alpha) * wave + self.alpha)


class PolynomialDecay(LearningRateSchedule):
    """(1 - step / decay_steps)^power between two values."""

    def __init__(self, initial_learning_rate: float, decay_steps: int,
                 end_learning_rate: float = 0.0001, power: float = 1.0, cycle: bool = False,
                 name: str = "PolynomialDecay"):
        self.initial, self.steps, self.end = (initial_learning_rate, decay_steps,
                                              end_learning_rate)
        self.power, self.cycle = power, cycle

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        steps = self.steps * max(1, math.ceil(step / self.steps)) if self.cycle else self.steps
        left = 1 - min(step, steps) / steps
        return (self.initial - self.end) * left**self.power + self.end


class InverseTimeDecay(LearningRateSchedule):
    """initial / (1 + rate step / decay_steps)."""

    def __init__(self, initial_learning_rate: float, decay_steps: int, decay_rate: float,
                 staircase: bool = False, name: str = "InverseTimeDecay"):
        self.initial, self.steps = initial_learning_rate, decay_steps
        self.rate, self.staircase = decay_rate, staircase

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        share = step / self.steps
        return self.initial / (1 + self.rate * (math.floor(share) if self.staircase else share))


class PiecewiseConstantDecay(LearningRateSchedule):
    """One of several values, by where the step lies."""

    def __init__(self, boundaries: list[int], values: list[float],
                 name: str = "PiecewiseConstantDecay"):
        self.boundaries, self.values = boundaries, values

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        return self.values[sum(step > b for b in self.boundaries)]
