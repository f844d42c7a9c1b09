"""Check 13: under ``me.jit`` the bits of eager."""

from __future__ import annotations

from itertools import product

import numpy as np
from op_table import Row, Sample

import medai_engine as me
from medai_engine.jit.memory import ARENA
from medai_engine.op import OPS, Op, apply
from medai_engine.tensor import Tensor, as_leaf

from .run import Arrays, wanted


def turned(sample: Sample) -> Sample:
    """Return a sample with the same values in other places."""
    return Sample(tuple(x.ravel()[::-1].reshape(x.shape).copy() for x in sample.inputs),
                  sample.params)


def computed(op: Op, sample: Sample, *inputs: Tensor) -> list[Tensor]:
    """Return the results of an op, and the gradients of the sum of their squares."""
    if op.writes:
        copies = [apply(OPS["copy"], x) for x in inputs]
        apply(op, *copies, **sample.params)
        return copies
    which = wanted(op, sample)
    leaves = [as_leaf(x.detach()) if i in which else x for i, x in enumerate(inputs)]
    y = apply(op, *leaves, **sample.params)
    found = [apply(OPS["copy"], t.detach()) for t in (y if isinstance(y, tuple) else (y,))]
    for t in y if isinstance(y, tuple) else (y,):
        if t.node is not None:
            (t * t).sum().backward(retain_graph=True)
    return found + [leaves[i].grad for i in which if leaves[i].grad is not None]


def results(function, sample: Sample) -> Arrays | Exception:
    """Return what comes out, or what is raised."""
    with np.errstate(all="ignore"):
        try:
            return [y.data for y in function(*[Tensor(x) for x in sample.inputs])]
        except (me.MedaiError, np.linalg.LinAlgError) as error:
            return error


def check_jit(row: Row) -> None:
    """Record with the values in other places, replay with the sample: what eager gives, by ==."""
    op = OPS[row.op]
    for drawn, dtype in product(row.draw(), (np.float64, np.float32)):
        sample = drawn.cast(dtype)

        def eager(*inputs, sample=sample):
            return computed(op, sample, *inputs)

        jitted = me.jit(eager)
        expected = results(eager, sample)
        if isinstance(results(jitted, turned(sample)), Exception):
            results(jitted, sample)  # in other places the values are outside the op's domain
        for _ in range(2):
            ARENA.memory.fill(255)  # NaN
            got = results(jitted, sample)
            assert len(jitted.plans) == 1, f"{row.op}: {len(jitted.plans)} plans"
            assert len(got) == len(expected), f"{row.op}: {len(got)} results"
            for y, z in zip(got, expected, strict=True):
                assert (y.shape, y.dtype) == (z.shape, z.dtype), f"{row.op}: {y.shape}, {y.dtype}"
                assert np.array_equal(y, z, equal_nan=y.dtype.kind == "f"), (
                    f"{row.op}: another result under me.jit, inputs of shapes "
                    f"{[x.shape for x in sample.inputs]}, {dict(sample.params)}: {y} is not {z}")
