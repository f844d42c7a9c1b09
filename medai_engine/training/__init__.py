"""Training: compile, fit, evaluate and predict on every Module, and what goes with them."""

from . import fit as _fit  # noqa: F401  (attaches fit, evaluate and predict to Module)
from . import metrics
from .callbacks import (
    Callback,
    CSVLog,
    EarlyStopping,
    LambdaCallback,
    ReduceOnPlateau,
    Schedule,
    StopOnNaN,
)
from .checkpoint import Checkpoint
from .history import History
from .progress import Progress

__all__ = ["CSVLog", "Callback", "Checkpoint", "EarlyStopping", "History", "LambdaCallback",
           "Progress", "ReduceOnPlateau", "Schedule", "StopOnNaN", "metrics"]
