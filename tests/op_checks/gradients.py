"""Checks 4, 5, 6 and 10: first and second derivatives, subsets of gradients, adjoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from op_table import Row, Sample

import medai_engine as me
from medai_engine.autograd import gradients
from medai_engine.mode import switched
from medai_engine.op import OPS, Op, apply
from medai_engine.tensor import Tensor
from medai_engine.testing.gradients import agree, stencil, weighted

from .run import Arrays, floating, forward, reference, reverse, wanted

RTOL = 1e-8  # of gradients in float64
STEP = 5e-4  # of differences where nothing exact is at hand
COMPLEX_STEP = 1e-100


def method(row: Row) -> str:
    """Return how an op's derivative is checked."""
    op = OPS[row.op]
    if row.derivative != "auto":
        return row.derivative
    if not op.rules:
        return "none"
    linear = {name for group in op.linear for name in group}
    if linear >= {op.inputs[i] if not op.joint else name
                  for i in op.rules for name in (op.inputs if i is None else [op.inputs[i]])}:
        return "exact"
    return "complex" if op.analytic else "stencil"


def complex_step(op: Op, sample: Sample, which: Sequence[int]) -> Callable[[Arrays], Arrays]:
    """Return dy/dt by Im f(x + i h v) / h: no difference, so no cancellation (h = 1e-100).

    The step goes through the reference, so compiled kernels get an independent derivative.
    """

    def slope(direction: Arrays) -> Arrays:
        stepped = list(sample.inputs)
        for i, v in zip(which, direction, strict=True):
            stepped[i] = stepped[i] + 1j * COMPLEX_STEP * v
        return [y.imag / COMPLEX_STEP for y in
                reference(op, Sample(tuple(stepped), sample.params)) if y.dtype.kind == "c"]

    return slope


def check_gradient(row: Row, samples: Sequence[Sample] | None = None) -> None:
    """Compare gradients with differences that the row or the op's record chooses."""
    op = OPS[row.op]
    how = method(row)
    for drawn in row.draw() if samples is None else samples:
        sample = drawn.cast(np.float64)
        which = wanted(op, sample)
        if how == "none" or not which:
            continue
        leaves = [Tensor(x) for x in sample.inputs]
        targets = {op.inputs[min(i, len(op.inputs) - 1)] + (str(i) if op.variadic else ""):
                   leaves[i].requires_grad_() for i in which}

        def compute() -> list[Tensor]:
            y = apply(op, *leaves, **sample.params)  # noqa: B023
            return [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]

        step = 1.0 if how == "exact" else STEP
        slope = complex_step(op, sample, which) if how == "complex" else stencil(
            compute, targets, step)
        agree(f"{row.op} {dict(sample.params)}", compute, targets, slope, rtol=RTOL, step=step)


def check_second(row: Row, samples: Sequence[Sample] | None = None) -> None:
    """Compare the gradient of the gradient with differences of the gradient, and jvp with vjp."""
    op = OPS[row.op]
    if method(row) == "none":
        return
    for drawn in row.draw() if samples is None else samples:
        sample = drawn.cast(np.float64)
        which = wanted(op, sample)
        if not which:
            continue
        leaves = [Tensor(x).requires_grad_(i in which) for i, x in enumerate(sample.inputs)]
        inner = [leaves[i] for i in which]

        def first() -> list[Tensor]:
            y = apply(op, *leaves, **sample.params)  # noqa: B023
            return [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]

        rng = np.random.default_rng(1)
        us = [Tensor(weighted(rng, y.shape)).requires_grad_() for y in first()]

        def compute() -> list[Tensor]:
            with switched(grad=True):
                return gradients(first(), inner, us, create_graph=True)  # noqa: B023

        targets = {**{f"input {i}": leaves[i] for i in which},
                   **{f"cotangent {i}": u for i, u in enumerate(us)}}
        agree(f"second derivative of {row.op} {dict(sample.params)}", compute, targets,
              stencil(compute, targets, STEP), rtol=RTOL, step=STEP)
        check_products(row, op, sample, which)


def check_products(row: Row, op: Op, sample: Sample, which: Sequence[int]) -> None:
    """Compare <u, J v> by jvp with <J^T u, v> by vjp."""
    _, us, gs = reverse(op, sample, which)
    rng = np.random.default_rng(2)
    vs = [weighted(rng, sample.inputs[i].shape) for i in which]

    def function(*chosen: Tensor) -> list[Tensor]:
        arguments: list[Any] = [Tensor(x) for x in sample.inputs]
        for i, x in zip(which, chosen, strict=True):
            arguments[i] = x
        y = apply(op, *arguments, **sample.params)
        return [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]

    _, pushed = me.jvp(function, [sample.inputs[i] for i in which], vs)
    left = [u.data * jv.data for u, jv in zip(us, pushed, strict=True)]
    right = [g.data * v for g, v in zip(gs, vs, strict=True)]
    scale = sum(float(np.abs(t).sum()) for t in (*left, *right))
    difference = sum(float(t.sum()) for t in left) - sum(float(t.sum()) for t in right)
    assert abs(difference) <= 1e-10 * scale, f"{row.op}: jvp and vjp differ by {difference}"


def check_subsets(row: Row) -> None:
    """Ask for every subset of the gradients: the same bits each time, of the inputs' dtype."""
    op = OPS[row.op]
    for drawn, dtype in product(row.draw(), (np.float64, np.float32)):
        sample = drawn.cast(dtype)
        which = wanted(op, sample)
        if not which:
            continue
        everything = reverse(op, sample, which)[2]
        for g, i in zip(everything, which, strict=True):
            x = sample.inputs[i]
            assert (g.shape, g.dtype) == (x.shape, x.dtype), \
                f"{row.op}: gradient {i} is {g.shape} {g.dtype}, its input {x.shape} {x.dtype}"
        for bits in range(1, 2 ** len(which) - 1):
            chosen = [i for n, i in enumerate(which) if bits >> n & 1]
            for g, i in zip(reverse(op, sample, chosen)[2], chosen, strict=True):
                assert np.array_equal(g.data, everything[which.index(i)].data, equal_nan=True), \
                    f"{row.op}: gradient {i} depends on which others are wanted ({chosen})"


def check_adjoint(row: Row) -> None:
    """<A v, u> = <v, A^T u> for every group of inputs in which the op is linear.

    A v comes from a forward call at v, A^T u from the gradient somewhere else: an op that is not
    linear does not pass.
    """
    op = OPS[row.op]
    for group, drawn in product(op.linear, row.draw()):
        sample = drawn.cast(np.float64)
        chosen = [i for i in wanted(op, sample)
                  if op.inputs[min(i, len(op.inputs) - 1)] in group]
        if not chosen or not floating(forward(op, sample)):
            continue
        rng = np.random.default_rng(3)
        moved = list(sample.inputs)
        for i in chosen:
            moved[i] = weighted(rng, moved[i].shape)
        _, us, gs = reverse(op, sample, chosen)
        image = floating(forward(op, Sample(tuple(moved), sample.params)))
        left = [u.data * y for u, y in zip(us, image, strict=True)]
        right = [g.data * moved[i] for g, i in zip(gs, chosen, strict=True)]
        scale = sum(float(np.abs(t).sum()) for t in (*left, *right))
        difference = sum(float(t.sum()) for t in left) - sum(float(t.sum()) for t in right)
        assert abs(difference) <= 1e-13 * scale, \
            f"{row.op} is not linear in {group}, or its gradient is not the adjoint: {difference}"
