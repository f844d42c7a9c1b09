"""Random numbers: ``me.random.normal((2, 3))``, seeded by ``me.manual_seed`` or ``rng=``."""

from .generator import Generator, manual_seed
from .ops.random import bernoulli, integers, normal, permutation, uniform

__all__ = ["Generator", "bernoulli", "integers", "manual_seed", "normal", "permutation", "uniform"]
