"""Layers with weights for features and indices, dropout, and changes of shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import functional as F
from ..errors import ParameterError, ShapeError, say
from ..functional.common import tensor
from ..generator import Generator
from ..ops.axes import normalized
from ..ops.shape import reshape
from ..tensor import Parameter, Tensor, mark_written
from . import init
from .module import Module, as_input

__all__ = ["Dropout", "Embedding", "Flatten", "Linear", "Reshape"]


def positive(where: str, name: str, value: Any) -> int:
    """Return a size, or raise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ParameterError(say(where, f"{name} to be a positive integer", repr(value),
                                 "Pass a number of features"))
    return int(value)


class Linear(Module):
    """Affine map of the last axis; see ``functional.linear``.

    Parameters
    ----------
    in_features : int or None
        Size of the last axis of the input; None takes it from the first input.
    out_features : int
        Size of the last axis of the output.
    bias : bool
        Whether to learn an offset.
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights come from.

    Attributes
    ----------
    weight : Parameter
        (out, in), uniform within 1 / sqrt(in) at first; (out, 0) until ``in`` is known.
    bias : Parameter or None
        (out,), uniform within 1 / sqrt(in) at first.
    """

    def __init__(self, in_features: int | None, out_features: int, bias: bool = True, *,
                 dtype: Any = np.float32, rng: Generator | None = None):
        width = 0 if in_features is None else positive("Linear", "in_features", in_features)
        out = positive("Linear", "out_features", out_features)
        self.weight = Parameter(np.empty((out, width), dtype))
        self.bias = Parameter(np.zeros(out, dtype)) if bias else None
        self._rng = rng
        if width:
            self.reset_parameters()

    @property
    def in_features(self) -> int | None:
        """Size of the last axis of the input, None as long as it is unknown."""
        return self.weight.shape[1] or None

    @property
    def out_features(self) -> int:
        """Size of the last axis of the output."""
        return self.weight.shape[0]

    def reset_parameters(self) -> None:
        """Draw weight and bias anew (PyTorch's kaiming_uniform with a = sqrt(5))."""
        bound = 1.0 / math.sqrt(self.weight.shape[1])
        init.uniform_(self.weight, -bound, bound, rng=self._rng)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, rng=self._rng)

    def forward(self, x: Any) -> Tensor:
        """Return x W^T + b."""
        weight = self.weight
        if not isinstance(x, Tensor) or x.data.dtype != weight.data.dtype:
            x = as_input(x, weight)
        if weight.data.size == 0:
            self._infer(x)
        return F.linear(x, weight, self.bias)

    def _infer(self, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] == 0:
            raise ShapeError(say("Linear(None, ...)", "an input with features", str(x.shape),
                                 "Pass (N, in)"))
        self.weight.data = np.empty((self.out_features, x.shape[-1]), self.weight.dtype)
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")


class Embedding(Module):
    """A learned table of vectors; see ``functional.embedding``.

    Parameters
    ----------
    num_embeddings : int
        Rows of the table.
    embedding_dim : int
        Size of a vector.
    padding_idx : int, optional
        A row that is 0 at first and never learns.
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights come from.

    Attributes
    ----------
    weight : Parameter
        (num_embeddings, embedding_dim), standard normal at first.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *,
                 dtype: Any = np.float32, rng: Generator | None = None):
        self.num_embeddings = positive("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ParameterError(say("Embedding", f"padding_idx within {num_embeddings} rows",
                                     repr(padding_idx), "It is a row of the table"))
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter(np.empty((num_embeddings, embedding_dim), dtype))
        self._rng = rng
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew; the padding row becomes 0."""
        init.normal_(self.weight, rng=self._rng)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0
            mark_written(self.weight)

    def forward(self, indices: Any) -> Tensor:
        """Return the rows of these indices."""
        return F.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Return the sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Dropout(Module):
    """Dropout while training, nothing else; see ``functional.dropout``.

    Parameters
    ----------
    p : float
        Share of entries set to 0.
    rng : Generator, optional
        Where the masks come from; the default generator otherwise.
    """

    def __init__(self, p: float = 0.5, *, rng: Generator | None = None):
        if not 0.0 <= p <= 1.0:
            raise ParameterError(say("Dropout", "p between 0 and 1", repr(p),
                                     "p is the share of entries set to 0"))
        self.p = p
        self._rng = rng

    def forward(self, x: Any) -> Tensor:
        """Return x with some entries set to 0."""
        return F.dropout(x, self.p, self.training, rng=self._rng)


class Flatten(Module):
    """Joins axes into one: (N, H, W, C) becomes (N, H W C).

    Parameters
    ----------
    start_axis, end_axis : int
        The first and the last axis to join.
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1):
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Any) -> Tensor:
        """Return x with these axes joined."""
        x = tensor(x)
        if x.ndim == 2 and self.start_axis == 1:
            return x
        start = normalized("Flatten", self.start_axis, x.ndim)[0]
        end = normalized("Flatten", self.end_axis, x.ndim)[0]
        if start > end:
            raise ShapeError(say("Flatten", "start_axis before end_axis",
                                 f"{self.start_axis} and {self.end_axis}", "Swap them",
                                 {"x": x.shape}))
        joined = math.prod(x.shape[start: end + 1])
        return reshape(x, (*x.shape[:start], joined, *x.shape[end + 1:]))


class Reshape(Module):
    """Gives each sample another shape: (N, ...) becomes (N, *shape).

    Parameters
    ----------
    *shape : int
        The shape of one sample; one size may be -1.
    """

    def __init__(self, *shape: Any):
        self.shape = tuple(shape[0]) if len(shape) == 1 and isinstance(
            shape[0], (tuple, list)) else shape

    def forward(self, x: Any) -> Tensor:
        """Return x with samples of the shape."""
        x = tensor(x)
        return reshape(x, (x.shape[0], *self.shape))
