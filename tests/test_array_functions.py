"""Array functions against NumPy: values, dtypes, shapes, size 0, negative axes, keepdims."""

from __future__ import annotations

import doctest
import importlib
import math
import pkgutil

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import medai_engine as me
from medai_engine.testing import gradcheck

RNG = np.random.default_rng(7)
A = RNG.standard_normal((3, 4, 5)).astype(np.float32)
TIES = RNG.integers(-2, 3, (3, 4, 5)).astype(np.float32)
INTS = RNG.integers(-5, 5, (3, 4, 5))
MASK = RNG.random((3, 4, 5)) > 0.4
EMPTY = np.zeros((3, 0, 5), np.float32)
V = RNG.standard_normal(6).astype(np.float32)


def same(got, expected, rtol=1e-5, dtype=None):
    """Compare shape, dtype and values; NumPy's float64 results of ours may be float32."""
    expected = np.asarray(expected)
    assert isinstance(got, me.Tensor)
    assert got.shape == expected.shape
    assert got.dtype == (expected.dtype if dtype is None else dtype)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(got.numpy(), expected, rtol=rtol, atol=1e-6)
    else:
        assert_array_equal(got.numpy(), expected)


# ---- reductions -------------------------------------------------------------------------------

AXES = [None, 0, -1, 1, (0, 2), (-1, 1), ()]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "max", "min", "var", "std", "any", "all",
                                  "count_nonzero"])
def test_reductions(name, axis, keepdims):
    for x in (A, TIES):
        expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
        same(getattr(me, name)(x, axis=axis, keepdims=keepdims), expected)
        if name != "count_nonzero":
            method = getattr(me.asarray(x), name)
            assert_array_equal(method(axis=axis, keepdims=keepdims).numpy(),
                               getattr(me, name)(x, axis=axis, keepdims=keepdims).numpy())


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all"])
def test_reductions_of_integers_and_booleans_are_exact(name):
    same(getattr(me, name)(INTS, axis=1), getattr(np, name)(INTS, axis=1))
    same(getattr(me, name)(MASK, axis=1), getattr(np, name)(MASK, axis=1))


def test_means_of_integers_and_booleans_are_float32():
    same(me.mean(MASK, axis=0), MASK.mean(0), dtype=np.float32)
    same(me.var(INTS, axis=0), INTS.var(0), dtype=np.float32)


@pytest.mark.parametrize("name", ["sum", "prod", "any", "all", "count_nonzero"])
def test_reductions_over_nothing(name):
    same(getattr(me, name)(EMPTY, axis=1), getattr(np, name)(EMPTY, axis=1))
    same(getattr(me, name)(EMPTY, axis=0), getattr(np, name)(EMPTY, axis=0))


@pytest.mark.parametrize("name", ["mean", "max", "min", "argmax", "logsumexp", "var"])
def test_reductions_that_need_elements_say_so(name):
    with pytest.raises(me.ShapeError, match="at least one element"):
        getattr(me, name)(EMPTY, axis=1)
    assert getattr(me, name)(EMPTY, axis=0).shape == (0, 5)


def test_argmax_and_argmin():
    for axis in (None, 0, 1, -1):
        for keepdims in (False, True):
            same(me.argmax(TIES, axis, keepdims), np.argmax(TIES, axis, keepdims=keepdims))
            same(me.argmin(TIES, axis, keepdims), np.argmin(TIES, axis, keepdims=keepdims))


def test_variance_corrections():
    same(me.var(A, 1, correction=1), A.var(1, ddof=1))
    same(me.std(A, (0, 1), 2.5), A.astype(np.float64).std((0, 1), ddof=2.5), dtype=np.float32)
    assert np.isnan(me.var(A[:, :1], 1, correction=1).numpy()).all()
    with pytest.raises(me.ParameterError, match="correction"):
        me.var(A, 1, correction="1")


def test_logsumexp_does_not_overflow():
    x = np.array([[1000.0, 1000.0], [-1000.0, -np.inf]], np.float32)
    same(me.logsumexp(x, axis=1), np.array([1000 + math.log(2), -1000], np.float32))


def test_running_sums_and_products():
    for axis in (0, 1, -1):
        same(me.cumulative_sum(A, axis), np.cumsum(A, axis))
        same(me.cumulative_prod(A, axis=axis), np.cumprod(A, axis))
        same(me.cumulative_sum(INTS, axis, include_initial=True),
             np.cumulative_sum(INTS, axis=axis, include_initial=True))
        same(me.cumulative_prod(A, axis, include_initial=True),
             np.cumulative_prod(A, axis=axis, include_initial=True))
    same(me.asarray(A).cumsum(), np.cumsum(A))
    same(me.cumulative_sum(EMPTY, 1), EMPTY)


def test_sums_in_another_dtype():
    same(me.sum(A, 0, dtype=me.float64), A.astype(np.float64).sum(0))
    same(me.sum(MASK, dtype=me.float32), np.float32(MASK.sum()))


# ---- movement ---------------------------------------------------------------------------------

MOVES = {
    "reshape": (lambda m, x: m.reshape(x, (5, -1))),
    "matrix_transpose": (lambda m, x: m.matrix_transpose(x)),
    "permute_dims": (lambda m, x: m.permute_dims(x, (2, 0, -2))),
    "swapaxes": (lambda m, x: m.swapaxes(x, 0, -1)),
    "expand_dims": (lambda m, x: m.expand_dims(x, axis=-2)),
    "expand_dims of two": (lambda m, x: m.expand_dims(x, axis=(0, -1))),
    "squeeze": (lambda m, x: m.squeeze(x[:1])),
    "squeeze of one": (lambda m, x: m.squeeze(x[:1, :, :1], axis=-1)),
    "concat": (lambda m, x: m.concat([x, x[:, :1]], axis=1)),
    "concat of all": (lambda m, x: m.concat([x, x[0]], axis=None)),
    "stack": (lambda m, x: m.stack([x, x + 1], axis=-1)),
    "flip": (lambda m, x: m.flip(x)),
    "flip of two": (lambda m, x: m.flip(x, axis=(0, -1))),
    "roll": (lambda m, x: m.roll(x, 3)),
    "roll along axes": (lambda m, x: m.roll(x, (1, -7), axis=(0, 2))),
    "roll of one axis": (lambda m, x: m.roll(x, 2, axis=-1)),
    "tile": (lambda m, x: m.tile(x, (2, 1, 3))),
    "tile of fewer": (lambda m, x: m.tile(x, 2)),
    "tile of more": (lambda m, x: m.tile(x, (2, 1, 1, 2))),
    "repeat": (lambda m, x: m.repeat(x, 2)),
    "repeat along an axis": (lambda m, x: m.repeat(x, 3, axis=1)),
    "repeat by counts": (lambda m, x: m.repeat(x, np.array([2, 0, 1]), axis=0)),
    "broadcast_to": (lambda m, x: m.broadcast_to(x[:, :1], (2, 3, 4, 5))),
    "pad": (lambda m, x: m.pad(x, ((1, 0), (0, 2), (3, 1)))),
    "pad with a value": (lambda m, x: m.pad(x, 1, constant_values=7)),
    "pad with edges": (lambda m, x: m.pad(x, (2, 1), mode="edge")),
    "pad by reflection": (lambda m, x: m.pad(x, ((0, 0), (1, 2), (1, 3)), mode="reflect")),
    "pad symmetric": (lambda m, x: m.pad(x, 2, mode="symmetric")),
    "pad around": (lambda m, x: m.pad(x, 2, mode="wrap")),
    "tril": (lambda m, x: m.tril(x)),
    "tril below": (lambda m, x: m.tril(x, k=-1)),
    "triu": (lambda m, x: m.triu(x, k=2)),
    "diagonal": (lambda m, x: m.diagonal(x)),
    "diagonal above": (lambda m, x: m.diagonal(x, 1, -2, -1)),
    "diagonal below": (lambda m, x: m.diagonal(x, offset=-2, axis1=2, axis2=0)),
    "diagonal outside": (lambda m, x: m.diagonal(x, offset=9)),
    "take": (lambda m, x: m.take(x, np.array([[2, 0], [-1, 1]]), axis=1)),
    "take of all": (lambda m, x: m.take(x, np.array([7, -1, 0]))),
    "take of one": (lambda m, x: m.take(x, 2, axis=-1)),
}


@pytest.mark.parametrize("name", MOVES)
def test_movement(name):
    for x in (A, INTS, MASK if name != "stack" else A, A.astype(np.float64).T.copy().T):
        same(MOVES[name](me, me.asarray(x)), MOVES[name](np, x))
    gradcheck(lambda x: MOVES[name](me, x), A, step=1.0)  # linear: the difference is exact


@pytest.mark.parametrize("name", [n for n in MOVES if n not in (
    "squeeze", "squeeze of one", "reshape", "broadcast_to", "repeat by counts", "take",
    "take of all", "pad by reflection", "pad symmetric", "pad around", "pad with edges")])
def test_movement_of_nothing(name):
    x = np.zeros((3, 0, 5), np.float32)
    same(MOVES[name](me, me.asarray(x)), MOVES[name](np, x))


def test_splitting():
    for cut in (1, [1, 3], (0, 2, 9), [-1]):
        for got, expected in zip(me.split(A, cut, axis=-1), np.split(A, cut, axis=-1), strict=True):
            same(got, expected)
    with pytest.raises(me.ShapeError, match="divides 5"):
        me.split(A, 2, axis=-1)
    for got, expected in zip(me.unstack(A, axis=1), np.unstack(A, axis=1), strict=True):
        same(got, expected)


def test_views_share_memory_and_copies_do_not():
    x = me.asarray(A.copy())
    for view in (x.reshape(4, 15), x.T, x.mT, x[1:], me.flip(x), x.squeeze(), me.unstack(x)[0],
                 me.split(x, [1])[0], me.broadcast_to(x, (2, 3, 4, 5))):
        assert np.shares_memory(view.numpy(), x.numpy())
    for copy in (x.copy(), x.clone(), me.tile(x, 2), me.roll(x, 1), x[[0, 1]], me.sort(x)):
        assert not np.shares_memory(copy.numpy(), x.numpy())


@pytest.mark.parametrize("backend", ["fast", "reference"])
def test_views_of_the_short_path_and_the_general_one(backend):
    """``viewed`` leaves apply out; what it gives is what apply gives."""
    from medai_engine import kernels

    if backend == "fast" and not kernels.COMPILED:
        backend = "reference"
    x = me.tensor(A, requires_grad=True)
    inner = x[1:]
    with me.backend(backend):
        for y in (x.reshape(5, -1), x.T, x[0], x[..., 1:], me.flip(x), x[0, 0, 0], x[::2],
                  me.broadcast_to(x, (2, 3, 4, 5)), inner.reshape(40)):
            assert y.base is x and y.requires_grad and np.shares_memory(y.numpy(), x.numpy())
            assert (y * 1).sum().requires_grad
        assert x.T.reshape(-1).base is None  # a copy
        with me.no_grad():
            assert not x.T.requires_grad
        for call in (lambda: x.reshape(7, -1), lambda: x.reshape(2, 3), lambda: x[3],
                     lambda: x[0, :, :, 0], lambda: me.permute_dims(x, (0, 0, 1)),
                     lambda: me.permute_dims(x, (0, 1)),
                     lambda: me.broadcast_to(x, (3, 4, 6))):
            with pytest.raises(me.ShapeError, match="expected"):
                call()
        g = me.grad(lambda t: (t.T[1:].reshape(4, -1) ** 2).sum())(x)
    expected = 2 * A
    expected[..., 0] = 0
    same(g, expected)


# ---- creation ---------------------------------------------------------------------------------


def test_dtypes_of_new_arrays():
    assert me.tensor([1, 2]).dtype == me.tensor(3).dtype == me.tensor([1.5]).dtype == np.float32
    assert me.tensor([True]).dtype == me.asarray(False).dtype == me.full(2, True).dtype == bool
    for dtype in (np.float64, np.int8, np.uint16, np.bool_, np.int64):
        assert me.tensor(np.ones(2, dtype)).dtype == me.asarray(np.ones(2, dtype)).dtype == dtype
        assert me.zeros(2, dtype).dtype == me.ones_like(np.ones(2, dtype)).dtype == dtype
    same(me.tensor([1, 2**40 + 1], dtype=me.int64), np.array([1, 2**40 + 1]))
    same(me.tensor([[1, 2], [3, 4]], dtype=me.float64), np.array([[1.0, 2.0], [3.0, 4.0]]))
    same(me.asarray(np.arange(3, dtype=">f8")), np.arange(3.0))


def test_ranges_and_constants():
    same(me.arange(4), np.arange(4))
    same(me.arange(1, 2, 0.25), np.arange(1, 2, 0.25, dtype=np.float32))
    same(me.arange(5, 0, -2, dtype=me.float64), np.arange(5, 0, -2, dtype=np.float64))
    same(me.linspace(-1, 1, 7), np.linspace(-1, 1, 7, dtype=np.float32))
    same(me.linspace(0, 1, 4, endpoint=False), np.linspace(0, 1, 4, False, dtype=np.float32))
    same(me.eye(3, 4, k=1), np.eye(3, 4, 1, dtype=np.float32))
    same(me.full((2, 3), 7), np.full((2, 3), 7, np.float32))
    same(me.full_like(INTS, 4), np.full_like(INTS, 4))
    for indexing in ("xy", "ij"):
        for got, expected in zip(me.meshgrid(V, V[:2], V[:3], indexing=indexing),
                                 np.meshgrid(V, V[:2], V[:3], indexing=indexing), strict=True):
            same(got, expected)


def test_dtypes_are_numpys_own_instances():
    """Fast paths compare dtypes by identity; arrays of another instance would miss them."""
    for dtype in (np.float32, np.float64, np.int64, np.bool_):
        x = np.ones(2, dtype)
        for t in (me.asarray(x), me.tensor(x), me.asarray(x.astype(x.dtype.newbyteorder(">")))):
            assert t.data.dtype is np.dtype(dtype)


def test_tensor_copies_and_asarray_shares():
    x = np.zeros(3)
    shared, copied, forced = me.asarray(x), me.tensor(x), me.asarray(x, copy=True)
    x[0] = 5
    assert shared.tolist() == [5, 0, 0]
    assert copied.tolist() == forced.tolist() == [0, 0, 0]
    assert me.asarray(shared) is shared
    assert me.asarray(shared, me.float32).dtype == np.float32
    with pytest.raises(me.ParameterError, match="copy=False"):
        me.asarray(x, me.float32, copy=False)
    leaf = me.tensor([1.0], requires_grad=True)
    assert me.asarray(leaf, me.float64).requires_grad and not me.tensor(leaf).requires_grad


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: me.tensor([[1, 2], [3]]), me.ShapeError, "lists of equal lengths"),
    (lambda: me.tensor(["a"]), me.DTypeError, "Encode text"),
    (lambda: me.tensor([None]), me.DTypeError, "Encode text"),
    (lambda: me.tensor(1j), me.DTypeError, "real numbers"),
    (lambda: me.asarray(np.ones(2, np.float16)), me.DTypeError, "dtype=me.float32"),
    (lambda: me.zeros(2, "complex64"), me.DTypeError, "float32, float64"),
    (lambda: me.zeros((2.5,)), me.ParameterError, "integers"),
    (lambda: me.tensor([1, 2], me.int64, requires_grad=True), me.DTypeError, "floating"),
    (lambda: me.arange(3, step=0), me.ParameterError, "other than 0"),
    (lambda: me.linspace(0, 1, -1), me.ParameterError, "num >= 0"),
    (lambda: me.stack([A, A[0]]), me.ShapeError, "one shape"),
    (lambda: me.squeeze(A, 0), me.ShapeError, "size 1"),
    (lambda: me.pad(A, ((1, 2),) * 2), me.ParameterError, "3 pairs"),
    (lambda: me.pad(A, -1), me.ParameterError, ">= 0"),
    (lambda: me.pad(A, 1, mode="mean"), me.ParameterError, "reflect"),
    (lambda: me.pad(EMPTY, 1, mode="edge"), me.ShapeError, "along axis 1"),
    (lambda: me.repeat(A, [1, 2], axis=0), me.ParameterError, "or 3"),
    (lambda: me.roll(A, (1, 2), axis=0), me.ParameterError, "1 shifts"),
    (lambda: me.tril(V), me.ShapeError, "matrices"),
    (lambda: me.diagonal(A, 0, 1, 1), me.ParameterError, "different axes"),
    (lambda: me.meshgrid(A), me.ShapeError, "vectors"),
    (lambda: me.sum(A, axis=3), me.ShapeError, "between -3 and 2"),
    (lambda: me.sum(A, axis=(0, 0)), me.ParameterError, "different axes"),
    (lambda: me.sum(A, axis=1.0), me.ParameterError, "integer"),
    (lambda: me.from_dlpack([1]), me.ParameterError, "__dlpack__"),
])
def test_mistakes(call, error, match):
    with pytest.raises(error, match=match):
        call()


# ---- elementwise ------------------------------------------------------------------------------


def test_clip():
    for low, high in ((-1, 1), (None, 0), (0, None), (V[:5], None), (-1.0, np.float32(0.5))):
        same(me.clip(A, low, high), np.clip(A, low, high))
    same(me.clip(INTS, 0, None), np.clip(INTS, 0, None))
    same(me.clip(INTS, -2, 2), np.clip(INTS, -2, 2))
    same(me.asarray(A).clip(min=0), np.clip(A, 0, None))


def test_numbers_are_weak():
    for x in (A, A.astype(np.float64)):
        for y in (me.asarray(x) * 2, 1 - me.asarray(x), me.asarray(x) ** np.float64(2),
                  me.where(x > 0, x, 0), me.maximum(x, 0.5), me.atan2(x, 1)):
            assert y.dtype == x.dtype
    assert (me.asarray(INTS) + 1).dtype == np.int64
    assert (me.asarray(INTS) + 1.5).dtype == np.float32
    with pytest.raises(me.DTypeError, match="astype"):
        me.asarray(A) + A.astype(np.float64)


NAMES = {"acos": "arccos", "asin": "arcsin", "atan": "arctan"}


@pytest.mark.parametrize("name", ["abs", "ceil", "exp", "floor", "sign", "sqrt", "log1p", "isnan",
                                  "isinf", "isfinite", "logical_not", "square", "round", "trunc",
                                  "acos", "asin", "atan", "sinh", "log2", "log10", "reciprocal"])
def test_elementwise_names(name):
    x = np.array([0.5, 1.0, 0.25, -0.0, np.nan, np.inf], np.float32)
    with np.errstate(all="ignore"):
        expected = getattr(np, NAMES.get(name, name))(x)
        same(getattr(me, name)(x), expected)
        same(getattr(me.asarray(x), name)(), expected)


# ---- order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sort(axis):
    for x in (A, TIES, INTS):
        same(me.sort(x, axis), np.sort(x, axis))
        same(me.argsort(x, axis), np.argsort(x, axis, stable=True))
        same(me.sort(x, axis, descending=True), -np.sort(-x, axis))
        same(me.argsort(x, axis, descending=True), np.argsort(-x, axis, stable=True))
    gradcheck(lambda x: me.sort(x, axis, descending=True), A)


def test_topk():
    values, indices = me.topk(A, 2, axis=1)
    same(values, -np.sort(-A, 1)[:, :2])
    same(indices, np.argsort(-A, 1, stable=True)[:, :2])
    same(me.topk(A, 5, largest=False).values, np.sort(A))
    assert me.topk(A, 0).indices.shape == (3, 4, 0)
    gradcheck(lambda x: me.topk(x, 3, axis=0).values, A)
    for k in (6, -1, True, 1.5):
        with pytest.raises(me.ParameterError, match="k from 0 to 5"):
            me.topk(A, k)


def test_distinct_values():
    for got, expected in zip(
            me.unique(INTS, return_index=True, return_inverse=True, return_counts=True),
            np.unique(INTS, return_index=True, return_inverse=True, return_counts=True),
            strict=True):
        same(got, expected)
    same(me.unique(TIES), np.unique(TIES))
    for got, expected in zip(me.nonzero(MASK), np.nonzero(MASK), strict=True):
        same(got, expected)
    same(me.searchsorted(np.sort(V), A, side="right"), np.searchsorted(np.sort(V), A, "right"))


# ---- names and texts --------------------------------------------------------------------------

FUNCTIONS = """
    exp log log1p expm1 sqrt square abs sign sin cos tan tanh asin acos atan sinh cosh floor
    ceil round maximum minimum pow where clip sum mean prod max min var std argmax argmin
    logsumexp cumulative_sum sort argsort any all reshape permute_dims matrix_transpose
    expand_dims squeeze concat stack unstack split flip roll tile repeat broadcast_to pad take
    take_along_axis one_hot matmul tensordot vecdot einsum outer floor_divide remainder atan2
    hypot log2 log10 logaddexp erf isnan isinf isfinite topk tril triu diagonal meshgrid
    searchsorted unique nonzero put_along_axis cumulative_prod zeros ones full arange linspace
    eye zeros_like ones_like full_like tensor asarray astype"""
METHODS = """
    sum mean prod max min var std argmax argmin any all reshape squeeze repeat take clip round
    diagonal nonzero searchsorted sort argsort copy clone astype item tolist dot cumsum
    cumprod flatten ravel transpose swapaxes T mT copy_ detach numpy backward requires_grad_
    is_leaf exp log sqrt abs"""


def test_names():
    assert not [name for name in FUNCTIONS.split() if not callable(getattr(me, name, None))]
    assert not [name for name in METHODS.split() if not hasattr(me.Tensor, name)]
    assert not [name for name in FUNCTIONS.split() if not getattr(me, name).__doc__]


@pytest.mark.parametrize("name", [
    *(m.name for m in pkgutil.iter_modules(me.ops.__path__, "medai_engine.ops.")),
    *(f"medai_engine.{name}" for name in ("mode", "transforms", "tensor", "autograd", "op"))])
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
