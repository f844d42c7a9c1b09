"""Rows of the reductions and scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ParameterError, ShapeError

from . import Draw, bad, pin, r0, row, sample, torch

Draws = Callable[..., np.ndarray]

# shape, axis, keepdims: one axis, several, separated, negative, all, none
CASES = [((2, 3), 1, False), ((3, 4, 5), 1, True), ((3, 4, 5), (0, 2), False), ((4, 5), -2, False),
         ((3, 4, 5), None, False), ((7,), 0, True), ((2, 3), (), False), ((), None, False),
         ((1, 1), 0, False)]


def size(x: np.ndarray, axis: Any) -> int:
    """Return how many elements go into one of the result."""
    axes = range(x.ndim) if axis is None else np.atleast_1d(np.asarray(axis, int))
    return int(np.prod([x.shape[a] for a in axes]))


def reduction(name: str, draw: Callable[[Draw], Draws], *, empty: tuple[Any, ...] = (),
              single: bool = False, terms: Any = None, faults: Any = (), **fields: Any) -> None:
    """Add the row of a reduction; ``empty`` are further cases of size 0."""

    def samples(r: Draw) -> list[Any]:
        cases = [c for c in CASES if not single or not isinstance(c[1], tuple)]
        zero = [((0, 3), 1, False), *empty]
        return [sample(draw(r)(*shape), axis=axis, keepdims=keepdims)
                for shape, axis, keepdims in [*cases, *zero]]

    if terms is not None:
        fields["terms"] = terms
    row(name, samples, large=lambda r: sample(draw(r)(7, 3001, 5), axis=1, keepdims=False),
        bad=[bad(ShapeError, "axis between -2 and 1, got 2", r0(3, 4), axis=2, keepdims=False),
             bad(ParameterError, "integer", r0(3, 4), axis=1.5, keepdims=False),
             *([bad(ParameterError, "one axis", r0(3, 4), axis=(0, 1), keepdims=False)] if single
               else [bad(ParameterError, "each axis once", r0(3, 4), axis=(0, -2),
                         keepdims=False)]), *faults], **fields)


def oracle(name: str) -> dict[str, Any]:
    """Return PyTorch's reduction over a tuple of axes."""

    def function(x: Any, axis: Any, keepdims: bool) -> Any:
        axes = tuple(range(x.ndim)) if axis is None else axis
        if axes == ():
            return x if name != "logsumexp" else x.exp().log()
        return getattr(torch(), name)(x, axes, keepdim=keepdims)

    return {"torch": function}


def folded(name: str) -> dict[str, Any]:
    """Return PyTorch's reduction that takes one axis at a time, applied again and again."""

    def function(x: Any, axis: Any, keepdims: bool) -> Any:
        axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
        for a in sorted((a % x.ndim for a in axes), reverse=True):
            x = getattr(torch(), name)(x, dim=a, keepdim=keepdims)
        return x

    return {"torch": function}


def sums(x: np.ndarray, axis: Any, keepdims: bool) -> tuple[int, Any]:
    """Return the terms of a sum."""
    axis = tuple(axis) if isinstance(axis, (tuple, list)) else axis
    return size(x, axis), np.abs(x).sum(axis=axis, keepdims=keepdims)


def means(x: np.ndarray, axis: Any, keepdims: bool) -> tuple[int, Any]:
    """Return the terms of a mean."""
    return size(x, axis) + 1, np.abs(x).mean(axis=axis, keepdims=keepdims)


normal: Callable[[Draw], Draws] = lambda r: r.normal  # noqa: E731
distinct: Callable[[Draw], Draws] = lambda r: r.distinct  # noqa: E731
near_one: Callable[[Draw], Draws] = lambda r: lambda *s: r.uniform(0.6, 1.4, *s)  # noqa: E731

no_empty = [bad(ShapeError, "at least one element", r0(3, 0), axis=1, keepdims=False)]
floating = [bad(DTypeError, "floating", np.arange(3), axis=0, keepdims=False)]

reduction("sum", normal, empty=(((3, 0), 1, True),), terms=sums, oracles=oracle("sum"), pins=[
    pin(np.array(6, np.int64), np.array([1, 2, 3], np.int32), axis=None, keepdims=False),
    pin(np.array(2, np.int64), np.array([True, False, True]), axis=None, keepdims=False),
    pin([0.0, 0.0], np.zeros((2, 0)), axis=1, keepdims=False)])
reduction("mean", normal, terms=means, oracles=oracle("mean"), faults=no_empty + floating, pins=[
    pin([2.0, 5.0], [[1.0, 3.0], [4.0, 6.0]], axis=1, keepdims=False,
        gradients=[[[0.5, 0.5], [0.5, 0.5]]])])
reduction("prod", near_one, empty=(((3, 0), 1, True),), oracles=folded("prod"),
          terms=lambda x, axis, keepdims: (size(x, axis), np.prod(
              np.abs(x), axis=axis, keepdims=keepdims)), pins=[
    pin(24.0, [1.0, 2.0, 3.0, 4.0], axis=0, keepdims=False,
        gradients=[[24.0, 12.0, 8.0, 6.0]]),
    pin(0.0, [0.0, 2.0, 3.0], axis=0, keepdims=False, gradients=[[6.0, 0.0, 0.0]]),
    pin(0.0, [0.0, 0.0, 3.0], axis=0, keepdims=False, gradients=[[0.0, 0.0, 0.0]])])
reduction("max", distinct, oracles=oracle("amax"), faults=no_empty, pins=[
    pin(2.0, [2.0, 1.0, 2.0], axis=0, keepdims=False, gradients=[[0.5, 0.0, 0.5]]),
    pin(np.nan, [2.0, np.nan], axis=0, keepdims=False)])
reduction("min", distinct, oracles=oracle("amin"), faults=no_empty, pins=[
    pin(1.0, [1.0, 3.0, 1.0], axis=0, keepdims=False, gradients=[[0.5, 0.0, 0.5]]),
    pin(np.nan, [2.0, np.nan], axis=0, keepdims=False)])
for _name, _pin in (("argmax", 0), ("argmin", 1)):
    reduction(_name, distinct, single=True, faults=no_empty, pins=[
        pin(np.array(_pin), [2.0, 1.0, 2.0, 1.0], axis=0, keepdims=False),
        pin(np.array(1), [2.0, np.nan, 3.0, 1.0], axis=0, keepdims=False)],
        oracles={"torch": lambda x, axis, keepdims, name=_name: getattr(torch(), name)(
            x, dim=axis, keepdim=keepdims) if x.ndim else torch().tensor(0)})
reduction("logsumexp", normal, oracles=oracle("logsumexp"), faults=no_empty + floating,
          terms=lambda x, axis, keepdims: (
              size(x, axis), 1 + np.abs(x).max(axis=axis, keepdims=keepdims)
              if size(x, axis) else 0.0),
          pins=[
    pin(1000.0 + np.log(2.0), [1000.0, 1000.0], axis=0, keepdims=False),
    pin(np.log(2.0), [0.0, 0.0], axis=0, keepdims=False, gradients=[[0.5, 0.5]]),
    pin(-np.inf, [-np.inf, -np.inf], axis=0, keepdims=False),
    pin(np.inf, [np.inf, 0.0], axis=0, keepdims=False)])


def scan(name: str, draw: Callable[[Draw], Draws], terms: Any, large: tuple[int, int, int],
         **fields: Any) -> None:
    """Add the row of a running sum or product."""
    cases = [((2, 3), 1), ((3, 4, 5), 1), ((4, 5), -2), ((7,), 0), ((3, 4), -1), ((1, 3), 0),
             ((0, 3), 1), ((3, 0), 1)]
    row(name, lambda r: [sample(draw(r)(*shape), axis=axis) for shape, axis in cases],
        large=lambda r: sample(draw(r)(*large), axis=1), terms=terms,
        bad=[bad(ShapeError, "axis between -2 and 1, got -3", r0(3, 4), axis=-3),
             bad(ParameterError, "integer", r0(3, 4), axis=True)],
        oracles={"torch": lambda x, axis: getattr(torch(), {"cumulative_sum": "cumsum",
                 "cumulative_prod": "cumprod"}[name])(x, axis)}, **fields)


scan("cumulative_sum", normal, lambda x, axis: (x.shape[axis], np.cumsum(np.abs(x), axis)),
     (7, 3001, 5), pins=[pin(np.array([1, 3, 6]), np.array([1, 2, 3]), axis=0)])
scan("cumulative_prod", near_one, lambda x, axis: (x.shape[axis], np.cumprod(np.abs(x), axis)),
     (6001, 3, 5),  # its gradient is quadratic in the length
     pins=[pin([2.0, 0.0, 0.0], [2.0, 0.0, 5.0], axis=0, gradients=[[1.0, 12.0, 0.0]])])
