"""Dropout: the mask is a function of (seed, offset, index) and is computed again, never kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..coerce import FLOATS
from ..errors import DTypeError, ParameterError, say
from ..generator import DEFAULT, Generator
from ..op import Op, apply, define
from ..tensor import Tensor

__all__ = ["dropout"]


def _infer(x: np.ndarray, *, seed: int, offset: int, p: float) -> tuple[tuple[int, ...], Any]:
    if x.dtype not in FLOATS:
        raise DTypeError(say("dropout", "floating values", str(x.dtype),
                             "Convert with .astype(me.float32) first", {"x": x.shape}))
    return x.shape, x.dtype


DROPOUT: Op = define(
    "dropout", infer=_infer, kernel="dropout", linear=[("x",)], inplace=["x"], onnx="Dropout",
    vjp={"x": lambda g, seed, offset, p: apply(DROPOUT, g, seed=seed, offset=offset, p=p)},
    work=lambda arrays, outs, params: (0, arrays[0].size),
    doc="y = x / (1 - p) with probability 1 - p, else 0")


def dropout(x: Any, p: float = 0.5, training: bool = True, *,
            rng: Generator | None = None) -> Tensor:
    """Set entries to 0 with probability p and divide the others by 1 - p.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    p : float
        Between 0 and 1.
    training : bool
        Without it, x is returned as it is.
    rng : Generator, optional
        Where the mask comes from; the default generator (``me.manual_seed``) otherwise.

    Returns
    -------
    Tensor
        Like x; its mean over masks is x. The gradient has the same mask.

    Raises
    ------
    ParameterError
        For a p outside 0 .. 1.

    References
    ----------
    Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting.
    """
    if not 0.0 <= p <= 1.0:
        raise ParameterError(say("dropout", "p between 0 and 1", repr(p),
                                 "p is the share of entries set to 0"))
    x = x if isinstance(x, Tensor) else Tensor(np.asarray(x))
    if not training or p == 0.0:
        return x
    rng = DEFAULT if rng is None else rng
    # one counter gives four words, one word decides about one element
    return apply(DROPOUT, x, seed=rng.seed, offset=rng.take(-(-x.data.size // 4)), p=float(p))
