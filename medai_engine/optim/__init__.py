"""Optimisers, schedules, clipping and averages of weights."""

from . import schedules
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .clip import clip_grad_norm_, clip_grad_value_
from .ema import EMA
from .lbfgs import LBFGS
from .momentum import SGD, Lion
from .optimizer import Optimizer
from .rms import Adadelta, Adagrad, RMSprop

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "EMA", "LBFGS", "Lion", "NAdam",
           "Optimizer", "RAdam", "RMSprop", "SGD", "clip_grad_norm_", "clip_grad_value_",
           "schedules"]
