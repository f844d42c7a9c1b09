"""A gradient rule on the sample, against the definition of a derivative."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...autograd import gradients
from ...mode import switched
from ...op import Op, apply
from ...tensor import Tensor
from ...testing.gradients import prepared, stencil, weighted
from .samples import Sample

__all__ = ["Slope", "slopes"]

STEP = 1e-6  # so small that hardly an entry of a sample lies that near a kink


class Slope(NamedTuple):
    """The derivative of <u, y> along a random direction of one input, in float64."""

    name: str
    rule: float  # sum of gradient times direction
    quotient: float  # from values of y at four points
    scale: float  # sum of |gradient times direction|
    noise: float  # what rounding of y makes of the quotient

    @property
    def agrees(self) -> bool:
        """Tell whether both are the same derivative, as far as the quotient can tell."""
        return abs(self.rule - self.quotient) <= 1e-6 * self.scale + self.noise


def slopes(op: Op, sample: Sample) -> list[Slope]:
    """Differentiate in every input that has a rule, both ways."""
    compute, targets = prepared(op.name, lambda *x: apply(op, *x, **sample.params),
                                sample.inputs)
    places = [int(name.removeprefix("input ")) for name in targets]
    ruled = [i for i in places if op.joint or i in op.rules]
    rng = np.random.default_rng(0)
    with switched(grad=True):
        outputs = compute()
        cotangents = [weighted(rng, y.shape) for y in outputs]
        wanted = {i: targets[f"input {i}"] for i in ruled}
        found = gradients(outputs, list(wanted.values()), [Tensor(u) for u in cotangents])
    noise = 16 * float(np.finfo(np.float64).eps) / STEP * sum(
        float(np.abs(u * y.data).sum()) for u, y in zip(cotangents, outputs, strict=True))
    slope = stencil(compute, targets, STEP)
    last = len(op.inputs) - 1
    rows = []
    for i, g in zip(ruled, found, strict=True):
        v = weighted(rng, g.shape)
        moved = [v if i == j else np.zeros(targets[f"input {j}"].shape) for j in places]
        quotient = sum(float((u * d).sum()) for u, d in zip(cotangents, slope(moved), strict=True))
        name = f"{op.inputs[last]}[{i - last}]" if op.variadic and i >= last else op.inputs[i]
        rows.append(Slope(name, float((g.data * v).sum()), quotient,
                          float(np.abs(g.data * v).sum()), noise))
    return rows
