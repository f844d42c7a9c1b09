"""Running an op on the backends and instruction sets of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from op_table import Sample

import medai_engine as me
from medai_engine import kernels
from medai_engine.autograd import gradients
from medai_engine.op import Op, apply, specs_of
from medai_engine.tensor import Tensor
from medai_engine.testing.gradients import weighted

Arrays = list[np.ndarray]

try:
    import numba
except ImportError:
    numba = None
try:
    from medai_engine.kernels.memory.allocator import set_poison as poison
except ImportError:
    def poison(on: bool) -> None:
        """Do nothing: where nothing is compiled, memory comes from NumPy."""


def engines() -> list[str]:
    """Return the texts and instruction sets of this machine."""
    fast = [f"fast {isa}" for isa in kernels.available_isas()] if kernels.COMPILED else []
    return ["reference", *(["loops"] if numba else []), *fast]


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Run a block on one of ``engines()``; every result starts as NaN."""
    text, _, isa = name.partition(" ")
    before = kernels.get_isa()
    if isa:
        kernels.set_isa(isa)
    poison(True)
    try:
        with me.backend(text):
            yield
    finally:
        poison(False)
        kernels.set_isa(before)


def forward(op: Op, sample: Sample) -> Arrays:
    """Run an op on a sample; return its outputs, or the arrays that it has updated."""
    inputs = [Tensor(x.copy() if op.writes else x) for x in sample.inputs]
    y = apply(op, *inputs, **sample.params)
    if op.writes:
        return [inputs[i].data for i in op.writes(len(inputs), **sample.params)]
    return [t.data for t in (y if isinstance(y, tuple) else (y,))]


def reference(op: Op, sample: Sample) -> Arrays:
    """Run the definition itself, also on complex numbers."""
    real = [x.real if x.dtype.kind == "c" else x for x in sample.inputs]
    arrays = [np.array(x, order="C") for x in sample.inputs]
    params = dict(sample.params)
    specs = specs_of(op, real, params)
    if op.view:
        y = op.definition(*arrays, **params)
        return y if isinstance(y, list) else [y]
    complex_ = any(x.dtype.kind == "c" for x in arrays)
    outs = [np.empty(shape, np.complex128 if complex_ and np.dtype(dtype).kind == "f" else dtype)
            for shape, dtype in ([] if op.writes else specs)]
    op.definition(*(op.prepare(arrays, outs, params) if op.prepare
                    else (*arrays, *outs, *[params[name] for name in op.params])))
    if op.writes:
        return [arrays[i] for i in op.writes(len(arrays), **params)]
    return outs


def wanted(op: Op, sample: Sample) -> list[int]:
    """Return the numbers of the inputs that have a gradient."""
    if not op.rules:
        return []
    return [i for i, x in enumerate(sample.inputs)
            if x.dtype.kind == "f" and (op.joint or i in op.rules)]


def floating(arrays: Sequence[np.ndarray]) -> Arrays:
    """Return the arrays that gradients come from."""
    return [x for x in arrays if x.dtype.kind == "f"]


def reverse(op: Op, sample: Sample, which: Sequence[int],
            seed: int = 0) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Run an op and its gradient; return outputs, cotangents, gradients of the inputs ``which``."""
    tensors = [Tensor(x).requires_grad_(i in which) for i, x in enumerate(sample.inputs)]
    y = apply(op, *tensors, **sample.params)
    outputs = [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]
    rng = np.random.default_rng(seed)
    cotangents = [Tensor(weighted(rng, t.shape).astype(t.dtype)) for t in outputs]
    return outputs, cotangents, gradients(outputs, [tensors[i] for i in which], cotangents)
