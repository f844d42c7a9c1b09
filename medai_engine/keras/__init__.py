"""Keras's names on this engine: a program written for Keras runs with its import line changed.

``from medai_engine import keras``, or ``from medai_engine.keras.layers import Dense``. Thin: layers
and losses call ``medai_engine.functional``, optimisers are those of ``medai_engine.optim``.
"""

from . import (
    activations,
    callbacks,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from .engine import Input
from .models import Model, Sequential

__all__ = ["Input", "Model", "Sequential", "activations", "callbacks", "initializers", "layers",
           "losses", "metrics", "models", "optimizers", "regularizers", "utils"]
