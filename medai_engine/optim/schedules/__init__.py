"""Learning rates as functions of the step count.

A schedule sets the rates of an optimiser's groups when it is built and at each ``step()``: once
per epoch or per batch, as its numbers mean it. All but ``ReduceLROnPlateau`` are closed formulas
of the count n (0 when built): nothing accumulates rounding, and a resumed run has the same bits.
"""

from .base import Schedule
from .formulas import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearWarmup,
    MultiStepLR,
    StepLR,
)
from .one_cycle import OneCycleLR
from .plateau import ReduceLROnPlateau

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts", "ExponentialLR", "LinearWarmup",
           "MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "Schedule", "StepLR"]
