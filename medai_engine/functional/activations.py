"""Activations with PyTorch's options; those without any come straight from the op table."""

from __future__ import annotations

from typing import Any

from ..errors import ParameterError, ShapeError, say
from ..op import OPS
from ..ops.elementwise import FUNCTIONS
from ..ops.loss import log_softmax, softmax
from ..tensor import Tensor
from .common import tensor

__all__ = ["celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
           "log_sigmoid", "log_softmax", "mish", "prelu", "relu", "relu6", "selu", "sigmoid",
           "silu", "softmax", "softplus", "softsign", "tanh"]

# the functions without options, and where they come from
SOURCES = {
    "relu": "Nair & Hinton 2010, Rectified linear units improve restricted Boltzmann machines.",
    "relu6": "Krizhevsky 2010, Convolutional deep belief networks on CIFAR-10.",
    "selu": "Klambauer et al. 2017, Self-normalizing neural networks.",
    "silu": "Elfwing et al. 2018, Sigmoid-weighted linear units.",
    "mish": "Misra 2019, Mish: a self regularized non-monotonic activation function.",
    "softsign": "Turian et al. 2009, Quadratic features and deep architectures for chunking.",
    "hardsigmoid": "Howard et al. 2019, Searching for MobileNetV3.",
    "hardswish": "Howard et al. 2019, Searching for MobileNetV3.",
    "sigmoid": "Han & Moraga 1995, The influence of the sigmoid function parameters.",
    "log_sigmoid": "Han & Moraga 1995, The influence of the sigmoid function parameters.",
    "tanh": "LeCun et al. 1998, Efficient backprop.",
}
for _name, _source in SOURCES.items():
    FUNCTIONS[_name].__doc__ = f"""``{OPS[_name].doc}``.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64; integers become float32.

    Returns
    -------
    Tensor
        Like x.

    References
    ----------
    {_source}
    """

relu, relu6, selu, silu, mish = (FUNCTIONS[n] for n in ("relu", "relu6", "selu", "silu", "mish"))
softsign, hardsigmoid, hardswish = (FUNCTIONS[n] for n in ("softsign", "hardsigmoid", "hardswish"))
sigmoid, log_sigmoid, tanh = (FUNCTIONS[n] for n in ("sigmoid", "log_sigmoid", "tanh"))


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """``y = x where x > 0, else negative_slope x``; the derivative at 0 is the slope.

    References
    ----------
    Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models.
    """
    return FUNCTIONS["leaky_relu"](x, slope=float(negative_slope))


def prelu(x: Any, weight: Any) -> Tensor:
    """``y = x where x > 0, else weight x``, with a learned weight.

    Parameters
    ----------
    x : Tensor
        (..., C).
    weight : Tensor
        One number, or one per channel: (1,) or (C,).

    Raises
    ------
    ShapeError
        When the weight fits neither.

    References
    ----------
    He et al. 2015, Delving deep into rectifiers.
    """
    x, weight = tensor(x), tensor(weight)
    if weight.size != 1 and weight.shape != x.shape[-1:]:
        raise ShapeError(say("prelu", f"a weight of shape (1,) or {x.shape[-1:]}",
                             str(weight.shape), "Channels are the last axis",
                             {"x": (x.shape, "..., C")}))
    return FUNCTIONS["where"](FUNCTIONS["greater"](x, 0.0), x, weight * x)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """``y = x where x > 0, else alpha (e^x - 1)``.

    References
    ----------
    Clevert et al. 2015, Fast and accurate deep network learning by exponential linear units.
    """
    return FUNCTIONS["elu"](x, alpha=float(alpha))


def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """``y = x where x > 0, else alpha (e^(x / alpha) - 1)``; its slope is continuous.

    Raises
    ------
    ParameterError
        For alpha = 0.

    References
    ----------
    Barron 2017, Continuously differentiable exponential linear units.
    """
    if alpha == 0:
        raise ParameterError(say("celu", "alpha other than 0", repr(alpha), "Use alpha=1.0"))
    return FUNCTIONS["celu"](x, alpha=float(alpha))


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """``y = x Phi(x)`` with the normal distribution function Phi.

    Parameters
    ----------
    x : Tensor
        Any shape.
    approximate : str
        ``"none"`` is exact; ``"tanh"`` is ``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2``.

    Raises
    ------
    ParameterError
        For another approximation.

    References
    ----------
    Hendrycks & Gimpel 2016, Gaussian error linear units.
    """
    if approximate not in ("none", "tanh"):
        raise ParameterError(say("gelu", 'approximate to be "none" or "tanh"', repr(approximate),
                                 'Use approximate="none" for the exact function'))
    return FUNCTIONS["gelu" if approximate == "none" else "gelu_tanh"](x)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``y = log(1 + e^(beta x)) / beta``, and x itself where ``beta x > threshold``.

    Raises
    ------
    ParameterError
        For beta = 0.

    References
    ----------
    Dugas et al. 2001, Incorporating second-order functional knowledge.
    """
    if beta == 0:
        raise ParameterError(say("softplus", "beta other than 0", repr(beta), "Use beta=1.0"))
    return FUNCTIONS["softplus"](x, beta=float(beta), threshold=float(threshold))


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``y = min(max(x, min_val), max_val)``; the derivative at the bounds is 0.

    Raises
    ------
    ParameterError
        When ``min_val`` is not below ``max_val``.
    """
    if not min_val < max_val:
        raise ParameterError(say("hardtanh", "min_val below max_val", f"{min_val} and {max_val}",
                                 "Swap them"))
    return FUNCTIONS["hardtanh"](x, low=float(min_val), high=float(max_val))
