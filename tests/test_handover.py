"""What a plan does with arguments and gradients at every call: compiled and in Python the same."""

from __future__ import annotations

import numpy as np
import pytest

import medai_engine as me
from medai_engine import kernels
from medai_engine.kernels.memory import reference
from medai_engine.tensor import Parameter, Tensor

TEXTS = [reference, kernels]
each_text = pytest.mark.parametrize("text", TEXTS, ids=["reference", "compiled"])
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


@each_text
def test_matching(text):
    x, t = np.ones((2, 3), F32), me.ones((4,))
    specs = [(np.ndarray, F32, (2, 3)), (None, "mean"), (Tensor, F32, (4,)), (None, 2.0)]
    found = text.matching((x, "mean", t, 2.0), specs)
    assert len(found) == 2 and found[0] is x and found[1] is t.data
    for other in [(x, "mean", t), (x.T, "mean", t, 2.0), (x[0], "mean", t, 2.0),
                  (x.astype(F64), "mean", t, 2.0), (t, "mean", t, 2.0), (x, "sum", t, 2.0),
                  (x, "mean", t, 2), (x, "mean", x, 2.0), (x, "mean", Parameter(t), 2.0),
                  (x, "mean", me.tensor([1.0] * 4, requires_grad=True), 2.0)]:
        assert text.matching(other, specs) is None


@each_text
def test_copy_in(text):
    large = np.arange(40_000, dtype=F64).reshape(200, 200)
    for array in (large, large[:, ::-1], large.astype(F32), large.astype(">f8"), large[:0],
                  np.array(3.0), large.T):
        buffer = np.full(array.shape, np.nan)
        text.copy_in([None, buffer], [large, array])
        assert (buffer == array).all()


@each_text
def test_bound(text):
    tensors = [me.ones((2,)), Parameter([1.0])]
    arrays = [t.data for t in tensors]
    assert text.bound(tensors, arrays)
    tensors[1].data = tensors[1].data.copy()
    assert not text.bound(tensors, arrays)


@each_text
def test_gradients_that_somebody_holds(text):
    leaves = [Parameter([1.0]), Parameter([2.0])]
    tensors = [Tensor(np.ones(1, F32)) for _ in leaves]
    arrays = [t.data for t in tensors]
    counts = text.references(tensors) + text.references(arrays)

    def free():
        return text.unheld(leaves, tensors, arrays, counts)

    assert free()
    leaves[0].grad = tensors[0]
    assert free()
    for hold in (lambda: leaves[0].grad, lambda: leaves[0].grad.numpy(),
                 lambda: leaves[0].grad.data[:1], lambda: memoryview(leaves[0].grad.data)):
        held = hold()
        assert not free()
        del held
        assert free()
    leaves[0].grad = None
    held = tensors[1]
    assert not free() and held is tensors[1]
