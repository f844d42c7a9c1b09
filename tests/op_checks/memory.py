"""Checks 7 and 8: layouts, and who owns which memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from op_table import Row, Sample

from medai_engine import kernels
from medai_engine.autograd import gradients
from medai_engine.mode import MODE
from medai_engine.op import OPS, Op, apply, specs_of
from medai_engine.tensor import Tensor
from medai_engine.testing.gradients import weighted

from .run import Arrays, forward, reverse, wanted
from .values import close


def contiguous(x: np.ndarray) -> np.ndarray:
    """Return a copy in C order (``np.ascontiguousarray`` would give 0-d arrays an axis)."""
    return np.array(x, order="C")


def offset(x: np.ndarray) -> np.ndarray:
    """Return a copy that starts one element into its memory, so not on a cache line."""
    memory = np.zeros(x.size + 1, x.dtype)
    memory[1:] = x.ravel()
    return memory[1:].reshape(x.shape)


def backwards(x: np.ndarray) -> np.ndarray:
    """Return a copy whose every stride is negative."""
    every = (..., *(slice(None, None, -1),) * x.ndim)
    return contiguous(x[every])[every]


def spaced(x: np.ndarray) -> np.ndarray:
    """Return a copy with a hole behind every element."""
    wide = np.full(tuple(2 * n for n in x.shape), 7, x.dtype)
    every = (..., *(slice(None, None, 2),) * x.ndim)
    wide[every] = x
    return wide[every]


def frozen(x: np.ndarray) -> np.ndarray:
    """Return a read-only copy."""
    x = x.copy()
    x.flags.writeable = False
    return x


def stretched(x: np.ndarray) -> np.ndarray:
    """Return the first slice of x along its first axis, repeated with stride 0."""
    return np.broadcast_to(x[:1], x.shape) if x.ndim else np.broadcast_to(x, ())


def unaligned(x: np.ndarray) -> np.ndarray:
    """Return a copy that starts one byte into its memory, as arrays of file formats may."""
    memory = np.zeros(x.nbytes + 1, np.uint8)
    placed = memory[1:].view(x.dtype).reshape(x.shape)
    placed[...] = x
    return placed


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran": lambda x: np.array(x, order="F"), "reversed": backwards, "step 2": spaced,
    "stride 0": stretched, "read-only": frozen, "offset": offset,
    "unaligned": unaligned}


def check_layouts(row: Row, exact: bool) -> None:
    """Give inputs and cotangents in seven layouts: the bits of C order each time."""
    op = OPS[row.op]
    sample = max(row.draw(), key=lambda s: sum(x.size for x in s.inputs)).cast(np.float32)
    if op.writes:
        return
    for name, layout in LAYOUTS.items():
        inputs = tuple(layout(x) for x in sample.inputs)
        plain = Sample(tuple(contiguous(x) for x in inputs), sample.params)
        if name == "stride 0" and "layouts" in row.exempt:
            continue
        placed = Sample(inputs, sample.params)
        got, expected = forward(op, placed), forward(op, plain)
        if exact:
            for y, z in zip(got, expected, strict=True):
                assert np.array_equal(y, z, equal_nan=y.dtype.kind == "f"), \
                    f"{row.op}: another result for {name} inputs"
        else:  # NumPy itself rounds differently for other strides
            close(row, plain, got, expected, f"{name} inputs")
        which = wanted(op, plain)
        if not which:
            continue

        for g, h in zip(pulled(op, placed, which, layout),
                        pulled(op, plain, which, lambda u, place=layout: contiguous(place(u))),
                        strict=True):
            assert np.array_equal(g, h, equal_nan=True) if exact else np.allclose(
                g, h, rtol=1e-5, atol=1e-6, equal_nan=True), \
                f"{row.op}: another gradient for {name} inputs and cotangents"


def pulled(op: Op, sample: Sample, which: Sequence[int],
           place: Callable[[np.ndarray], np.ndarray]) -> Arrays:
    """Return the gradients for cotangents in a layout."""
    tensors = [Tensor(x).requires_grad_(i in which) for i, x in enumerate(sample.inputs)]
    y = apply(op, *tensors, **sample.params)
    outputs = [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]
    rng = np.random.default_rng(0)
    us = [Tensor(place(weighted(rng, t.shape).astype(t.dtype))) for t in outputs]
    return [g.data for g in gradients(outputs, [tensors[i] for i in which], us)]


def check_ownership(row: Row) -> None:
    """Inputs and cotangents stay as they are; results and gradients have memory of their own."""
    op = OPS[row.op]
    for drawn in row.draw():
        sample = drawn.cast(np.float32)
        which = wanted(op, sample)
        if not which:
            continue
        before = [x.copy() for x in sample.inputs]
        outputs, us, gs = reverse(op, sample, which, seed=0)
        kept = [g.data.copy() for g in gs]
        other = reverse(op, sample, which, seed=1)
        for x, y in zip(sample.inputs, before, strict=True):
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), \
                f"{row.op}: an input was written"
        rng = np.random.default_rng(0)
        for u in us:
            assert np.array_equal(u.data, weighted(rng, u.shape).astype(u.dtype)), \
                f"{row.op}: a cotangent was written"
        for g, h in zip(gs, kept, strict=True):
            assert np.array_equal(g.data, h, equal_nan=True), \
                f"{row.op}: a gradient changed when another was computed"
        shared = [*sample.inputs, *(u.data for u in us), *(y.data for y in outputs),
                  *(g.data for g in other[2])]
        for n, g in enumerate(gs):
            for x in (*shared, *(h.data for h in gs[:n])):
                assert not (g.size and np.may_share_memory(g.data, x)), \
                    f"{row.op}: a gradient shares memory"


def check_inplace(row: Row) -> None:
    """Let the result take the memory of an input wherever the record allows it: the same bits."""
    op = OPS[row.op]
    backend = MODE.get().backend
    text = (op.definition if backend == "reference" or op.kernel is None
            else kernels.lookup(op.kernel, backend))
    for drawn, dtype, name in product(row.draw(), (np.float64, np.float32), op.inplace):
        sample = drawn.cast(dtype)
        arrays = [contiguous(x) for x in sample.inputs]
        out = arrays[op.inputs.index(name)]
        if not all(a.size for a in arrays) or specs_of(op, arrays, sample.params) != [
                (out.shape, out.dtype)]:  # kernels never see empty arrays
            continue
        expected = forward(op, sample)[0]
        params = dict(sample.params)
        text(*(op.prepare(arrays, [out], params) if op.prepare
               else (*arrays, out, *[params[key] for key in op.params])))
        assert np.array_equal(out, expected, equal_nan=True), \
            f"{row.op}: another result in the memory of {name}"
