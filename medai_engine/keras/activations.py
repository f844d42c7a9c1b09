"""Keras's activation functions by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functional as F
from ..errors import ParameterError, say
from ..tensor import Tensor
from .backend import me

__all__ = ["NAMES", "get"]


def linear(x: Tensor) -> Tensor:
    """Return x."""
    return x


def hard_sigmoid(x: Tensor) -> Tensor:
    """Return clip(x / 6 + 0.5, 0, 1)."""
    return F.hardsigmoid(x)


def exponential(x: Tensor) -> Tensor:
    """Return e^x."""
    return me.exp(x)


NAMES: dict[str, Callable[..., Any]] = {
    "linear": linear, "relu": F.relu, "relu6": F.relu6, "sigmoid": F.sigmoid, "tanh": F.tanh,
    "softmax": F.softmax, "log_softmax": F.log_softmax, "softplus": F.softplus,
    "softsign": F.softsign, "elu": F.elu, "selu": F.selu, "celu": F.celu, "gelu": F.gelu,
    "silu": F.silu, "swish": F.silu, "mish": F.mish, "hard_sigmoid": hard_sigmoid,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "exponential": exponential,
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
