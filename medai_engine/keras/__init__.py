"""Keras's names on this engine: a program written for Keras runs with its import line changed.

``from medai_engine import keras``, or ``from medai_engine.keras.layers import Dense``. Thin: layers
and losses call ``medai_engine.functional``, optimisers are those of ``medai_engine.optim``.

What differs on purpose: which layers are trainable is read at ``compile``, as Keras's manual says
(some of its backends look at every step); ``AUC`` is exact; channels come last only; files are of
this package's own format, whatever they are called; a recurrent layer takes the activations that
the kernels have (tanh, ReLU inside).
"""

from . import (
    activations,
    backend,
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    preprocessing,
    regularizers,
    saving,
    utils,
)
from .engine import Input, Layer
from .losses import Loss
from .metrics import Metric
from .models import Model, Sequential
from .optimizers import Optimizer

__all__ = ["Input", "Layer", "Loss", "Metric", "Model", "Optimizer", "Sequential", "activations",
           "backend", "callbacks", "constraints", "initializers", "layers", "losses", "metrics",
           "models", "ops", "optimizers", "preprocessing", "regularizers", "saving", "utils"]
