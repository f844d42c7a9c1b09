"""Random draws: ops without inputs, functions of (seed, offset, shape).

Numbers come from Philox counters (``kernels/random/reference.py`` states the mappings), so they
depend neither on threads nor on the machine, and a plan replays them with another offset.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..coerce import FLOATS
from ..errors import DTypeError, ParameterError, say
from ..generator import DEFAULT, Generator
from ..op import Op, apply, define
from ..tensor import Tensor, is_scalar
from .elementwise import F
from .indexing import take
from .shape import as_tensor, ints, real_dtype
from .sorting import argsort

__all__ = ["bernoulli", "integers", "normal", "permutation", "uniform"]


def _spec(where: str, shape: tuple[int, ...], dtype: Any) -> tuple[tuple[int, ...], Any]:
    if any(n < 0 for n in shape):
        raise ParameterError(say(where, "sizes >= 0", str(shape), "Pass shape=(2, 3)"))
    return shape, dtype


def _floating(where: str, shape: tuple[int, ...], dtype: Any) -> tuple[tuple[int, ...], Any]:
    if dtype not in FLOATS:
        raise DTypeError(say(where, "float32 or float64", str(dtype),
                             "Use random.integers for whole numbers"))
    return _spec(where, shape, dtype)


def _uniform_infer(*, shape: tuple[int, ...], dtype: Any, seed: int, offset: int, low: float,
                   high: float) -> tuple[tuple[int, ...], Any]:
    if not (low <= high and math.isfinite(high - low)):
        raise ParameterError(say("random.uniform", "finite bounds with low <= high",
                                 f"low={low}, high={high}", "Exchange them"))
    return _floating("random.uniform", shape, dtype)


def _normal_infer(*, shape: tuple[int, ...], dtype: Any, seed: int, offset: int, loc: float,
                  scale: float) -> tuple[tuple[int, ...], Any]:
    if not scale >= 0:
        raise ParameterError(say("random.normal", "scale >= 0", repr(scale),
                                 "The scale is the standard deviation"))
    return _floating("random.normal", shape, dtype)


def _integers_infer(*, shape: tuple[int, ...], seed: int, offset: int, low: int,
                    high: int) -> tuple[tuple[int, ...], Any]:
    if not -(2**63) <= low < high < 2**63:
        raise ParameterError(say("random.integers", "low < high within 64 bits",
                                 f"low={low}, high={high}", "Values are low, ..., high - 1"))
    return _spec("random.integers", shape, np.dtype(np.int64))


def _kernel_arguments(*names: str) -> Any:
    """Return a prepare that passes out, seed, offset and these params."""
    return lambda arrays, outs, params: (
        outs[0], params["seed"], params["offset"], *(params[name] for name in names))


UNIFORM = define("random_uniform", infer=_uniform_infer, kernel="random_uniform",
                 prepare=_kernel_arguments("low", "high"), onnx="RandomUniform",
                 doc="y = numbers from [low, high), equally likely")
NORMAL = define("random_normal", infer=_normal_infer, kernel="random_normal",
                prepare=_kernel_arguments("loc", "scale"), onnx="RandomNormal",
                doc="y = numbers of the normal distribution with mean loc, deviation scale")
INTEGERS = define("random_integers", infer=_integers_infer, kernel="random_integers",
                  prepare=_kernel_arguments("low", "high"), onnx="none: no such operator",
                  doc="y = integers from low to high - 1, equally likely")


def _draw(op: Op, shape: Any, rng: Generator | None, wide: bool, **params: Any) -> Tensor:
    """Reserve counters and draw: a counter gives four narrow or two wide numbers."""
    sizes = ints(op.name.replace("_", ".", 1), "shape", shape)
    if rng is None:
        rng = DEFAULT
    elif not isinstance(rng, Generator):
        raise ParameterError(say(op.name.replace("_", ".", 1), "a me.random.Generator as rng",
                                 type(rng).__name__, "Pass rng=me.random.Generator(0)"))
    count = -(-math.prod(sizes) // (2 if wide else 4))
    return apply(op, shape=sizes, seed=rng.seed, offset=rng.take(max(0, count)), **params)


def uniform(shape: Any = (), low: Any = 0.0, high: Any = 1.0, *, dtype: Any = None,
            rng: Generator | None = None) -> Tensor:
    """Draw from [low, high), all values equally likely.

    Parameters
    ----------
    shape : int or sequence of int
        The shape of the result.
    low, high : number or array
        The bounds; arrays broadcast to ``shape``, and gradients flow to them.
    dtype : dtype, optional
        float32 by default.
    rng : Generator, optional
        Where the numbers come from; the default generator (``me.manual_seed``) otherwise.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.random.uniform((2, 3), rng=me.random.Generator(0)).shape
    (2, 3)
    """
    wanted = real_dtype("random.uniform", dtype)
    if is_scalar(low) and is_scalar(high):
        return _draw(UNIFORM, shape, rng, wanted == FLOATS[1], dtype=wanted, low=float(low),
                     high=float(high))
    low = low if is_scalar(low) else as_tensor(low)
    return low + F["subtract"](high, low) * uniform(shape, dtype=dtype, rng=rng)


def normal(shape: Any = (), loc: Any = 0.0, scale: Any = 1.0, *, dtype: Any = None,
           rng: Generator | None = None) -> Tensor:
    """Draw from the normal distribution with mean ``loc`` and standard deviation ``scale``.

    Arrays as ``loc`` and ``scale`` broadcast to ``shape``, and gradients flow to them; the other
    parameters are those of ``uniform``.
    """
    wanted = real_dtype("random.normal", dtype)
    if is_scalar(loc) and is_scalar(scale):
        return _draw(NORMAL, shape, rng, wanted == FLOATS[1], dtype=wanted, loc=float(loc),
                     scale=float(scale))
    return normal(shape, dtype=dtype, rng=rng) * scale + loc


def integers(low: int, high: int | None = None, shape: Any = (), *,
             rng: Generator | None = None) -> Tensor:
    """Draw int64 from ``low`` to ``high - 1`` (one bound: from 0), all equally likely."""
    if high is None:
        low, high = 0, low
    bounds = ints("random.integers", "bounds", (low, high))
    return _draw(INTEGERS, shape, rng, True, low=bounds[0], high=bounds[1])


def bernoulli(p: Any, shape: Any = (), *, rng: Generator | None = None) -> Tensor:
    """Draw booleans that are True with probability p (a number, or an array of this shape)."""
    return F["less"](uniform(shape, rng=rng), p)


def permutation(x: Any, *, rng: Generator | None = None) -> Tensor:
    """Return 0, ..., x - 1 in random order (int64), or the entries of an array's first axis.

    The order is that of random 64-bit keys.
    """
    if is_scalar(x):
        n, = ints("random.permutation", "a number", x)
        return argsort(_draw(INTEGERS, n, rng, True, low=-(2**63), high=2**63 - 1))
    x = as_tensor(x)
    if x.ndim == 0:
        return permutation(x.item(), rng=rng)
    return take(x, permutation(len(x), rng=rng), 0)
