"""Optimisers, schedules, clipping and averages of weights."""

from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .momentum import SGD, Lion
from .optimizer import Optimizer
from .rms import Adadelta, Adagrad, RMSprop

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "NAdam", "Optimizer",
           "RAdam", "RMSprop", "SGD"]
