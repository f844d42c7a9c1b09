"""Initialisers: fill a tensor in place with numbers from a generator, PyTorch's names.

Numbers are a function of the generator's seed and position, so ``me.manual_seed`` gives the same
weights on every machine. Weights have output features first and input features last:
fan-in is the product of all sizes but the first, fan-out of all but the last.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError, say
from ..generator import Generator
from ..ops import random
from ..tensor import EPOCH, Tensor, mark_written

__all__ = ["calculate_gain", "chrono_", "constant_", "eye_", "kaiming_normal_",
           "kaiming_uniform_", "normal_", "ones_", "orthogonal_", "trunc_normal_", "uniform_",
           "xavier_normal_", "xavier_uniform_", "zeros_"]


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance behind a nonlinearity (PyTorch's table).

    ``param`` is the slope of ``"leaky_relu"`` (0.01 by default).

    Raises
    ------
    ParameterError
        For a nonlinearity that is not in the table.
    """
    slope = 0.01 if param is None else param
    gains = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "sigmoid": 1.0,
             "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75,
             "leaky_relu": math.sqrt(2.0 / (1.0 + slope**2))}
    if nonlinearity not in gains:
        raise ParameterError(say("calculate_gain", f"one of {', '.join(gains)}",
                                 repr(nonlinearity), 'Use "relu" for relatives of relu'))
    return gains[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs an output has, and how many outputs an input has."""
    if tensor.ndim < 2:
        raise ShapeError(say("init", "a weight with two or more axes", str(tensor.shape),
                             "Use uniform_, normal_ or zeros_ for a bias"))
    return math.prod(tensor.shape[1:]), math.prod(tensor.shape[:-1])


def _write(tensor: Tensor, values: Any) -> Tensor:
    tensor.data[...] = values.data if isinstance(values, Tensor) else values
    EPOCH[0] += 1
    mark_written(tensor)
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *,
             rng: Generator | None = None) -> Tensor:
    """Fill with uniform numbers of [a, b)."""
    return _write(tensor, random.uniform(tensor.shape, a, b, dtype=tensor.dtype, rng=rng))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *,
            rng: Generator | None = None) -> Tensor:
    """Fill with normal numbers."""
    return _write(tensor, random.normal(tensor.shape, mean, std, dtype=tensor.dtype, rng=rng))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0,
                  b: float = 2.0, *, rng: Generator | None = None) -> Tensor:
    """Fill with normal numbers that are known to lie in [a, b].

    Uniform numbers between the distribution function's values at a and b, sent through its
    inverse.
    """
    from statistics import NormalDist

    law = NormalDist(mean, std)
    low, high = law.cdf(a), law.cdf(b)
    shares = random.uniform(tensor.size, low, high, dtype=np.float64, rng=rng).tolist()
    quantiles = [law.inv_cdf(min(max(u, 1e-300), 1 - 2**-53)) for u in shares]
    return _write(tensor, np.clip(np.reshape(quantiles, tensor.shape), a, b))


def constant_(tensor: Tensor, value: float) -> Tensor:
    """Fill with one number."""
    return _write(tensor, value)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return _write(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return _write(tensor, 1)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity."""
    if tensor.ndim != 2:
        raise ShapeError(say("eye_", "a matrix", str(tensor.shape), "Use zeros_ for others"))
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, rng: Generator | None = None) -> Tensor:
    """Fill with uniform numbers within gain sqrt(6 / (fan_in + fan_out)).

    References
    ----------
    Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward networks.
    """
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, rng=rng)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, *, rng: Generator | None = None) -> Tensor:
    """Fill with normal numbers of deviation gain sqrt(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), rng=rng)


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """Return the deviation gain / sqrt(fan)."""
    modes = ("fan_in", "fan_out")
    if mode not in modes:
        raise ParameterError(say("kaiming", f"mode to be one of {', '.join(modes)}", repr(mode),
                                 'Use mode="fan_in", which keeps the variance forwards'))
    fan = fans(tensor)[modes.index(mode)]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in",
                     nonlinearity: str = "leaky_relu", *, rng: Generator | None = None) -> Tensor:
    """Fill with uniform numbers within gain sqrt(3 / fan); ``a`` is the slope of leaky_relu.

    References
    ----------
    He et al. 2015, Delving deep into rectifiers.
    """
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, rng=rng)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in",
                    nonlinearity: str = "leaky_relu", *, rng: Generator | None = None) -> Tensor:
    """Fill with normal numbers of deviation gain / sqrt(fan)."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), rng=rng)


def orthogonal_(tensor: Tensor, gain: float = 1.0, *, rng: Generator | None = None) -> Tensor:
    """Fill with orthonormal rows (columns where there are fewer of them), times gain.

    The Q of a normal matrix, with signs that make it uniformly distributed.

    References
    ----------
    Saxe et al. 2014, Exact solutions to the nonlinear dynamics of learning.
    """
    rows = tensor.shape[0]
    columns = fans(tensor)[0]
    tall = (max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(random.normal(tall, dtype=np.float64, rng=rng).data)
    q *= np.sign(np.diag(r))
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def chrono_(bias: Tensor, max_length: int, gates: str = "ifgo", *,
            rng: Generator | None = None) -> Tensor:
    """Fill a bias of gates so that memories last from 1 to max_length - 1 steps.

    The gate that keeps the memory (f of an LSTM, z of a GRU) gets log u, u uniform of
    [1, max_length - 1); an input gate i gets -log u of the same u; the others 0. With two biases,
    fill one and set the other to 0.

    Parameters
    ----------
    bias : Tensor
        (gates x H,).
    max_length : int
        The longest dependency in steps, at least 3.
    gates : str
        "ifgo" for an LSTM, "rzn" for a GRU.

    References
    ----------
    Tallec & Ollivier 2018, Can recurrent neural networks warp time?
    """
    if gates not in ("ifgo", "rzn"):
        raise ParameterError(say("chrono_", 'gates "ifgo" or "rzn"', repr(gates),
                                 "Other layers have no gate that keeps a memory"))
    if isinstance(max_length, bool) or max_length < 3:
        raise ParameterError(say("chrono_", "max_length of at least 3 steps", repr(max_length),
                                 "Pass the longest dependency of the task"))
    if bias.ndim != 1 or bias.shape[0] % len(gates):
        raise ShapeError(say("chrono_", f"a bias of {len(gates)} gates", str(bias.shape),
                             "Pass bias_ih or bias_hh of the layer"))
    rows = np.zeros((len(gates), bias.shape[0] // len(gates)))
    spans = random.uniform(rows.shape[1], 1.0, max_length - 1.0, dtype=np.float64, rng=rng).data
    keep = max(gates.find("f"), gates.find("z"))
    rows[keep] = np.log(spans)
    if "i" in gates:
        rows[gates.index("i")] = -rows[keep]
    return _write(bias, rows.reshape(-1))
