"""Check gradients against finite differences.

For outputs y(x), a random cotangent u and random directions v whose every entry has weight,

    sum_i <g_i, v_i>  =  <u, d/dt y(x + t v)>  at t = 0,   g = u^T dy/dx by reverse mode.

A cotangent of ones would not do: the gradient of sum(softmax(x)) is 0, so any multiple of it
would pass. The right side comes from four points around x (error of order h^4); where y is a
polynomial in x of degree 4 or less, such as a product of two inputs, a step of 1 is exact.
Everything runs in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import gradients
from ..coerce import as_array
from ..errors import MedaiError, ParameterError, say
from ..mode import no_grad, switched
from ..tensor import EPOCH, Tensor
from ..tree import flatten

__all__ = ["GradientError", "agree", "gradcheck", "gradgradcheck", "stencil", "weighted"]

Arrays = list[np.ndarray]
Slope = Callable[[Arrays], Arrays]  # direction, one array per target -> dy/dt, one per output

EPS = float(np.finfo(np.float64).eps)


class GradientError(MedaiError, AssertionError):
    """A gradient differs from the finite difference."""


def gradcheck(fn: Callable[..., Any], inputs: Any, *, rtol: float = 1e-6, step: float = 1e-3,
              directions: int = 3, seed: int = 0) -> bool:
    """Check the gradient of a function or module against finite differences in float64.

    Parameters
    ----------
    fn : callable
        Takes tensors, returns a tensor or a nested structure of them, the same ones every time.
        The parameters of a module are checked like inputs; they have to be float64
        (``module.astype(me.float64)``).
    inputs : array, Tensor or sequence of them
        Floating ones are converted to float64 and checked; others are passed on as they are.
    rtol : float
        Largest error, relative to the sum of the magnitudes |gradient * direction|.
    step : float
        Of the finite difference. ``fn`` has to be smooth within ``3 * step`` of the inputs; pass
        1.0 for functions that are linear in each input, then the difference is exact.
    directions : int
        How many random directions are tried.
    seed : int
        Of cotangents and directions.

    Returns
    -------
    bool
        True.

    Raises
    ------
    GradientError
        When they differ; the message names the entry that is wrong.
    ParameterError
        For a module whose parameters are not float64, for a function that draws at random, or
        when nothing can be checked.

    Examples
    --------
    >>> import medai_engine as me, numpy as np
    >>> from medai_engine.testing import gradcheck
    >>> gradcheck(lambda x: (x * x).sum(), np.array([1.0, 2.0, 3.0]))
    True
    """
    compute, targets = prepared("gradcheck", fn, inputs)
    agree("gradcheck", compute, targets, stencil(compute, targets, step), rtol=rtol, step=step,
          directions=directions, seed=seed)
    return True


def gradgradcheck(fn: Callable[..., Any], inputs: Any, *, rtol: float = 1e-6, step: float = 1e-3,
                  directions: int = 3, seed: int = 0) -> bool:
    """Check second derivatives: ``gradcheck`` of the function (inputs, cotangent) -> gradient.

    Parameters, result and errors are those of ``gradcheck``.

    Examples
    --------
    >>> import medai_engine as me, numpy as np
    >>> from medai_engine.testing import gradgradcheck
    >>> gradgradcheck(lambda x: x * x * x, np.array([1.0, 2.0, 3.0]))
    True
    """
    first, targets = prepared("gradgradcheck", fn, inputs)
    rng = np.random.default_rng(seed + 1)
    with no_grad():
        cotangents = {f"cotangent {i}": Tensor(weighted(rng, y.shape)).requires_grad_()
                      for i, y in enumerate(first())}
    inner = list(targets.values())

    def compute() -> list[Tensor]:
        with switched(grad=True):
            return gradients(first(), inner, list(cotangents.values()), create_graph=True)

    everything = {**targets, **cotangents}
    agree("gradgradcheck", compute, everything, stencil(compute, everything, step), rtol=rtol,
          step=step, directions=directions, seed=seed)
    return True


def prepared(where: str, fn: Callable[..., Any],
             inputs: Any) -> tuple[Callable[[], list[Tensor]], dict[str, Tensor]]:
    """Return ``fn`` as a function of the current values of named leaves, and these leaves."""
    given = inputs if isinstance(inputs, (tuple, list)) else [inputs]
    arrays = [x.data if isinstance(x, Tensor) else as_array(x) for x in given]
    arguments = [Tensor(a.astype(np.float64)).requires_grad_() if a.dtype.kind == "f"
                 else Tensor(a) for a in arrays]
    targets = {f"input {i}": t for i, t in enumerate(arguments) if t.requires_grad}
    for name, p in getattr(fn, "named_parameters", tuple)():
        if p.dtype != np.float64:
            raise ParameterError(say(where, "float64 parameters", f"{name} of {p.dtype}",
                                     "Convert the module with .astype(me.float64)"))
        if p.requires_grad:
            targets[name] = p
    if not targets:
        raise ParameterError(say(where, "at least one floating input", "none",
                                 "Pass the values to differentiate at as floating arrays"))

    def compute() -> list[Tensor]:
        leaves, _ = flatten(fn(*arguments))
        return [y for y in leaves if isinstance(y, Tensor) and y.dtype.kind == "f"]

    with no_grad():
        once, twice = compute(), compute()
    if any(not np.array_equal(a.data, b.data, equal_nan=True)
           for a, b in zip(once, twice, strict=True)):
        raise ParameterError(say(where, "a function that gives the same result every time",
                                 "two results", "Call module.eval(), or seed a generator inside"))
    return compute, targets


def weighted(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return random numbers of either sign, none of them small: every entry has weight."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


def moved(compute: Callable[[], list[Tensor]], targets: Mapping[str, Tensor],
          direction: Arrays, distance: float) -> Arrays:
    """Return the outputs at the targets' values plus distance times direction."""
    values = [t.data for t in targets.values()]
    try:
        for t, x, v in zip(targets.values(), values, direction, strict=True):
            t.data = np.asarray(x + distance * v)
        EPOCH[0] += 1  # a jitted function looks again at what it is bound to
        with no_grad():
            return [y.data for y in compute()]
    finally:
        for t, x in zip(targets.values(), values, strict=True):
            t.data = x
        EPOCH[0] += 1


def stencil(compute: Callable[[], list[Tensor]], targets: Mapping[str, Tensor],
            step: float) -> Slope:
    """Return the derivative along a direction by the central 4-point difference."""

    def slope(direction: Arrays) -> Arrays:
        far_left, left, right, far_right = (
            moved(compute, targets, direction, d * step) for d in (-2, -1, 1, 2))
        return [(8 * (c - b) - (d - a)) / (12 * step)
                for a, b, c, d in zip(far_left, left, right, far_right, strict=True)]

    return slope


def agree(where: str, compute: Callable[[], list[Tensor]], targets: Mapping[str, Tensor],
          slope: Slope, *, rtol: float, step: float, directions: int = 3, seed: int = 0) -> None:
    """Compare reverse mode with ``slope`` along random directions; raise where they differ."""
    rng = np.random.default_rng(seed)
    with switched(grad=True):
        outputs = compute()
        cotangents = [weighted(rng, y.shape) for y in outputs]
        found = gradients(outputs, list(targets.values()), [Tensor(u) for u in cotangents])
    for (name, x), g in zip(targets.items(), found, strict=True):
        if g.shape != x.shape or g.dtype != x.dtype:
            raise GradientError(say(where, f"a gradient of {name} like it, {x.shape} {x.dtype}",
                                    f"{g.shape} {g.dtype}", "Check the gradient rule"))
    # what rounding of the outputs makes of the difference
    noise = 16 * EPS / step * sum(float(np.sum(np.abs(u * y.data)))
                                  for u, y in zip(cotangents, outputs, strict=True))

    def compare(direction: Arrays) -> tuple[float, float, bool]:
        expected = sum(float(np.sum(u * d))
                       for u, d in zip(cotangents, slope(direction), strict=True))
        terms = [g.data * v for g, v in zip(found, direction, strict=True)]
        got = sum(float(np.sum(t)) for t in terms)
        scale = sum(float(np.sum(np.abs(t))) for t in terms)
        return expected, got, abs(expected - got) <= rtol * scale + noise

    for _ in range(directions):
        direction = [weighted(rng, t.shape) for t in targets.values()]
        expected, got, fits = compare(direction)
        if not fits:
            name, expected, got = worst(compare, targets) or (
                "along a random direction", expected, got)
            shapes = {key: t.shape for key, t in targets.items()}
            raise GradientError(say(
                where, f"derivative {name} = {expected:.10g} (finite difference)", f"{got:.10g}",
                "Check the gradient rule, or stay away from kinks", shapes))


def worst(compare: Callable[[Arrays], tuple[float, float, bool]],
          targets: Mapping[str, Tensor]) -> tuple[str, float, float] | None:
    """Return the entry that differs most: name, expected, got."""
    values: Sequence[Tensor] = list(targets.values())
    found = None
    largest = 0.0
    for name, x in targets.items():
        for index in np.ndindex(x.shape):
            unit = [np.zeros(t.shape) for t in values]
            unit[list(targets).index(name)][index] = 1.0
            expected, got, fits = compare(unit)
            if not fits and not abs(expected - got) <= largest:
                largest = abs(expected - got)
                found = f"for {name}{list(index)}", expected, got
    return found
