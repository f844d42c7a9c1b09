"""Keras's initialisers by name; arrays come in Keras's layout (inputs before outputs)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ParameterError, say
from ..generator import DEFAULT
from ..random import normal, uniform

__all__ = ["Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity",
           "LecunNormal", "LecunUniform", "Ones", "Orthogonal", "RandomNormal", "RandomUniform",
           "TruncatedNormal", "VarianceScaling", "Zeros", "get"]

Shape = tuple[int, ...]


class Initializer:
    """Called as ``initializer(shape, dtype)``; returns an array."""

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def __call__(self, shape: Shape, dtype: Any = np.float32) -> np.ndarray:
        """Return the first values."""
        return np.asarray(self.draw(tuple(shape)), np.float64).astype(dtype)

    def draw(self, shape: Shape) -> Any:
        """Return values of any floating dtype."""
        raise ParameterError(say(type(self).__name__, "a method draw(self, shape)", "none",
                                 "Define it in the class"))

    def rng(self) -> Any:
        """Return where the numbers come from."""
        from ..generator import Generator

        return DEFAULT if self.seed is None else Generator(self.seed)


class Zeros(Initializer):
    """All 0."""

    def draw(self, shape: Shape) -> Any:
        """Return zeros."""
        return np.zeros(shape)


class Ones(Initializer):
    """All 1."""

    def draw(self, shape: Shape) -> Any:
        """Return ones."""
        return np.ones(shape)


class Constant(Initializer):
    """All one value."""

    def __init__(self, value: float = 0.0):
        super().__init__()
        self.value = value

    def draw(self, shape: Shape) -> Any:
        """Return the value."""
        return np.full(shape, self.value)


class RandomNormal(Initializer):
    """Normal with a mean and a standard deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def draw(self, shape: Shape) -> Any:
        """Return normal numbers."""
        return self.mean + self.stddev * normal(shape, rng=self.rng(), dtype=np.float64).data


class TruncatedNormal(RandomNormal):
    """Normal, drawn again beyond two standard deviations."""

    def draw(self, shape: Shape) -> Any:
        """Return normal numbers within two deviations."""
        rng = self.rng()
        z = normal(shape, rng=rng, dtype=np.float64).data.copy()
        while (far := np.abs(z) > 2).any():
            z[far] = normal((int(far.sum()),), rng=rng, dtype=np.float64).data
        return self.mean + self.stddev * z


class RandomUniform(Initializer):
    """Uniform between two values."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def draw(self, shape: Shape) -> Any:
        """Return uniform numbers."""
        return uniform(shape, self.minval, self.maxval, rng=self.rng(), dtype=np.float64).data


class VarianceScaling(Initializer):
    """Variance ``scale / n``, n the inputs, the outputs or their mean.

    References
    ----------
    Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks;
    He et al. 2015, Delving deep into rectifiers.
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in",
                 distribution: str = "truncated_normal", seed: int | None = None):
        super().__init__(seed)
        self.scale, self.mode, self.distribution = scale, mode, distribution

    def draw(self, shape: Shape) -> Any:
        """Return numbers of the wanted variance."""
        field = math.prod(shape[:-2]) if len(shape) > 2 else 1
        fan_in = shape[-2] * field if len(shape) > 1 else math.prod(shape)
        fan_out = shape[-1] * field if len(shape) > 1 else math.prod(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            bound = math.sqrt(3 * variance)
            return RandomUniform(-bound, bound, self.seed).draw(shape)
        if self.distribution == "truncated_normal":
            # the deviation of a normal cut at two deviations
            return TruncatedNormal(0.0, math.sqrt(variance) / 0.87962566103423978,
                                   self.seed).draw(shape)
        return RandomNormal(0.0, math.sqrt(variance), self.seed).draw(shape)


class GlorotUniform(VarianceScaling):
    """Uniform of variance 2 / (inputs + outputs): the default of most layers."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance 2 / (inputs + outputs)."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


class HeNormal(VarianceScaling):
    """Truncated normal of variance 2 / inputs, for ReLU."""

    def __init__(self, seed: int | None = None):
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class HeUniform(VarianceScaling):
    """Uniform of variance 2 / inputs, for ReLU."""

    def __init__(self, seed: int | None = None):
        super().__init__(2.0, "fan_in", "uniform", seed)


class LecunNormal(VarianceScaling):
    """Truncated normal of variance 1 / inputs, for SELU."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


class LecunUniform(VarianceScaling):
    """Uniform of variance 1 / inputs."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_in", "uniform", seed)


class Orthogonal(Initializer):
    """A matrix with orthonormal rows or columns, from the QR decomposition of normal numbers.

    References
    ----------
    Saxe, McClelland & Ganguli 2014, Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        super().__init__(seed)
        self.gain = gain

    def draw(self, shape: Shape) -> Any:
        """Return the matrix in the wanted shape."""
        rows, columns = math.prod(shape[:-1]), shape[-1]
        z = normal((max(rows, columns), min(rows, columns)), rng=self.rng(), dtype=np.float64)
        q, r = np.linalg.qr(z.data)
        q *= np.sign(np.diag(r))  # uniform over all orthogonal matrices
        return self.gain * (q.T if rows < columns else q).reshape(shape)


class Identity(Initializer):
    """The identity matrix times a gain."""

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain = gain

    def draw(self, shape: Shape) -> Any:
        """Return the matrix."""
        return self.gain * np.eye(shape[0], shape[1])


NAMES: dict[str, Callable[[], Initializer]] = {
    "zeros": Zeros, "ones": Ones, "constant": Constant, "random_normal": RandomNormal,
    "normal": RandomNormal, "random_uniform": RandomUniform, "uniform": RandomUniform,
    "truncated_normal": TruncatedNormal, "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal, "he_normal": HeNormal, "he_uniform": HeUniform,
    "lecun_normal": LecunNormal, "lecun_uniform": LecunUniform, "orthogonal": Orthogonal,
    "identity": Identity, "variance_scaling": VarianceScaling,
}


def get(given: Any) -> Callable[..., np.ndarray]:
    """Return an initialiser for a name, or a callable ``f(shape, dtype)`` as it is."""
    if isinstance(given, str):
        name = given if given in NAMES else "".join(
            f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(given))
        if name in NAMES:
            return NAMES[name]()
    elif callable(given):
        return given() if isinstance(given, type) else given
    raise ParameterError(say("initializer", f"one of {', '.join(NAMES)}", repr(given),
                             'Use "glorot_uniform", the default'))
