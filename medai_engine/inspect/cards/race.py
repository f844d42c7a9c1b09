"""The live part of a card: the texts of an op side by side, their results and their speed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ... import kernels
from ...errors import MissingExtraError
from ...mode import no_grad
from ...op import Op, apply, specs_of
from ...ops.elementwise import FUNCTIONS
from ...tensor import Tensor
from .samples import Sample
from .texts import BACKENDS

__all__ = ["Lane", "call", "race", "run"]

ROUNDS, SHORTEST, LONGEST = 7, 2e-4, 0.05  # rounds of a median; seconds of a round, of all


class Lane(NamedTuple):
    """One text of an op on the sample."""

    text: str  # of BACKENDS, or "eager op" for the whole call with its checks
    seconds: float | None  # median of a call, warmed up; None where it cannot run
    ulps: float | None  # largest difference from the reference, in units of the largest entry's
    note: str = ""  # why it cannot run


def call(op: Op, sample: Sample, text: str) -> tuple[Callable[[], Any], list[np.ndarray]]:
    """Return one text as a call without arguments, and the arrays that it writes.

    The arrays are this call's own: fresh results full of NaN, or copies of what the op updates.
    """
    arrays = [np.array(x, order="C") for x in sample.inputs]
    params = sample.params
    if op.view:
        made = op.definition(*arrays, **params)
        made = made if isinstance(made, list) else [made]
        return (lambda: op.definition(*arrays, **params)), made
    outs = [] if op.writes else [np.full(shape, np.nan if np.dtype(kind).kind == "f" else 0, kind)
                                 for shape, kind in specs_of(op, arrays, params)]
    given = (op.prepare(arrays, outs, params) if op.prepare
             else [*arrays, *outs, *[params[name] for name in op.params]])
    function: Callable[..., Any] = op.definition
    if op.kernel is not None and text != "reference":
        function = kernels.lookup(op.kernel, text)
    written = ([arrays[i] for i in op.writes(len(arrays), **params)] if op.writes is not None
               else outs)
    return (lambda: function(*given)), written


def run(op: Op, sample: Sample, text: str) -> list[np.ndarray]:
    """Return what one text gives, or the arrays that it has updated."""
    function, written = call(op, sample, text)
    with np.errstate(all="ignore"):
        function()
    return written


def difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest difference in units in the last place of each array's largest entry."""
    worst = 0.0
    for y, z in zip(found, expected, strict=True):
        if np.array_equal(y, z, equal_nan=y.dtype.kind == "f"):
            continue
        if y.dtype.kind != "f" or (np.isnan(y) != np.isnan(z)).any():
            return float("inf")
        unit = np.spacing(np.nanmax(np.abs(z)).astype(y.dtype))
        worst = max(worst, float(np.nanmax(np.abs(y - z)) / unit))
    return worst


def seconds_of(function: Callable[[], Any]) -> float:
    """Return the median time of a call over rounds that are long enough to be measured."""
    with np.errstate(all="ignore"):
        start = perf_counter()
        function()
        once = max(perf_counter() - start, 1e-8)
        count = max(1, int(SHORTEST / once))
        times = []
        for _ in range(min(ROUNDS, max(3, int(LONGEST / (once * count))))):
            start = perf_counter()
            for _ in range(count):
                function()
            times.append((perf_counter() - start) / count)
    return median(times)


def race(op: Op, sample: Sample) -> list[Lane]:
    """Run every text of an op on a sample, compare the results with the reference, time them."""
    expected = run(op, sample, "reference")
    lanes = []
    # as for an op: compiled texts take float32 and float64, and no empty array
    fit = op.kernel is not None and kernels.ready(list(sample.inputs)) & 6 == 6
    for text in BACKENDS if fit else BACKENDS[:1]:
        try:
            found = run(op, sample, text)  # compiles, where a text compiles at its first call
        except MissingExtraError as error:
            lanes.append(Lane(text, None, None, str(error)))
            continue
        lanes.append(Lane(text, seconds_of(call(op, sample, text)[0]),
                          difference(found, expected)))
    tensors = [Tensor(np.array(x)) for x in sample.inputs]
    public = FUNCTIONS[op.name] if op.elementwise else partial(apply, op)
    with no_grad():
        seconds = seconds_of(lambda: public(*tensors, **sample.params))
    return [*lanes, Lane("eager op", seconds, None)]
