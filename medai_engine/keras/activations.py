"""Keras's activation functions by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functional as F
from ..errors import ParameterError, say
from ..functional import (
    celu,
    elu,
    gelu,
    log_softmax,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
    tanh,
)
from ..tensor import Tensor
from .backend import me

__all__ = ["NAMES", "celu", "elu", "exponential", "gelu", "get", "hard_sigmoid", "leaky_relu",
           "linear", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax",
           "softplus", "softsign", "swish", "tanh"]


def linear(x: Tensor) -> Tensor:
    """Return x."""
    return x


def hard_sigmoid(x: Tensor) -> Tensor:
    """Return clip(x / 6 + 0.5, 0, 1)."""
    return F.hardsigmoid(x)


def exponential(x: Tensor) -> Tensor:
    """Return e^x."""
    return me.exp(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """Return x where positive, else ``negative_slope`` x."""
    return F.leaky_relu(x, negative_slope)


swish = silu
NAMES: dict[str, Callable[..., Any]] = {
    "linear": linear, "relu": relu, "relu6": relu6, "sigmoid": sigmoid, "tanh": tanh,
    "softmax": softmax, "log_softmax": log_softmax, "softplus": softplus, "softsign": softsign,
    "elu": elu, "selu": selu, "celu": celu, "gelu": gelu, "silu": silu, "swish": swish,
    "mish": mish, "hard_sigmoid": hard_sigmoid, "leaky_relu": leaky_relu,
    "exponential": exponential,
}


def get(given: Any) -> Callable[..., Any]:
    """Return the function for a name, None (linear), a layer or a function."""
    if given is None:
        return linear
    if isinstance(given, str) and given in NAMES:
        return NAMES[given]
    if callable(given) and not isinstance(given, str):
        return given
    raise ParameterError(say("activation", f"one of {', '.join(NAMES)}", repr(given),
                             "Use one of these names, or a function of a tensor"))
