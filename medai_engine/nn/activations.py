"""One module per activation, named and set up as in PyTorch; equations stand in ``functional``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Parameter, Tensor
from .module import Module, as_input

__all__ = ["CELU", "ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
           "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid",
           "Softmax", "Softplus", "Softsign", "Tanh"]


class ReLU(Module):
    """``functional.relu``."""

    forward = staticmethod(F.relu)


class ReLU6(Module):
    """``functional.relu6``."""

    forward = staticmethod(F.relu6)


class SELU(Module):
    """``functional.selu``."""

    forward = staticmethod(F.selu)


class SiLU(Module):
    """``functional.silu``."""

    forward = staticmethod(F.silu)


class Mish(Module):
    """``functional.mish``."""

    forward = staticmethod(F.mish)


class Sigmoid(Module):
    """``functional.sigmoid``."""

    forward = staticmethod(F.sigmoid)


class LogSigmoid(Module):
    """``functional.log_sigmoid``."""

    forward = staticmethod(F.log_sigmoid)


class Tanh(Module):
    """``functional.tanh``."""

    forward = staticmethod(F.tanh)


class Softsign(Module):
    """``functional.softsign``."""

    forward = staticmethod(F.softsign)


class Hardsigmoid(Module):
    """``functional.hardsigmoid``."""

    forward = staticmethod(F.hardsigmoid)


class Hardswish(Module):
    """``functional.hardswish``."""

    forward = staticmethod(F.hardswish)


class LeakyReLU(Module):
    """``functional.leaky_relu`` with its options."""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return F.leaky_relu(x, self.negative_slope)


class ELU(Module):
    """``functional.elu`` with its options."""

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return F.elu(x, self.alpha)


class CELU(Module):
    """``functional.celu`` with its options."""

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return F.celu(x, self.alpha)


class GELU(Module):
    """``functional.gelu`` with its options."""

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return F.gelu(x, self.approximate)


class Softplus(Module):
    """``functional.softplus`` with its options."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta = beta
        self.threshold = threshold

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return F.softplus(x, self.beta, self.threshold)


class Hardtanh(Module):
    """``functional.hardtanh`` with its options."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0):
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return F.hardtanh(x, self.min_val, self.max_val)


class Softmax(Module):
    """``functional.softmax`` with its options."""

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return F.softmax(x, self.axis)


class LogSoftmax(Module):
    """``functional.log_softmax`` with its options."""

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return F.log_softmax(x, self.axis)


class PReLU(Module):
    """``functional.prelu`` with a learned slope for negative values.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels (the last axis).
    init : float
        The slopes at first.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter
        (num_parameters,).
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = np.float32):
        self.num_parameters = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, dtype))

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return F.prelu(as_input(x, self.weight), self.weight)
