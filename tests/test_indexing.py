"""Indexing by data, writes in place, and the protocols of Python, NumPy and DLPack."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_array_equal

import medai_engine as me
from medai_engine.testing import gradcheck

RNG = np.random.default_rng(5)
X = RNG.standard_normal((3, 4, 5))
MASK = X > 0.3
K = np.array([[0, 2, 1], [-1, 0, 2]])
J = np.array([1, 3, -2])

INDICES = {
    "integer": 1, "negative": -1, "slice": slice(1, 3), "step": (slice(None, None, -2), ..., 2),
    "new axes": (None, 1, ..., None), "ellipsis": ..., "nothing": (),
    "list": [2, 0, 0], "matrix": K, "last axis": (..., J), "middle": (slice(None), K),
    "two": (K, J), "two apart": (K, slice(None), J), "neighbours behind": (slice(None), J, J),
    "integer and array": (0, slice(None), J), "array and integer": (J % 3, 1),
    "integer beside": (slice(None), J, 2), "slice after": (J % 3, slice(1, 3)),
    "new axis between": (K, None, J), "new axis before": (None, K, ..., J),
    "broadcast": (np.arange(3)[:, None], np.array([0, 2])), "three": (J % 3, J, J),
    "0-d array": np.array(2), "uint8": np.array([2, 1], np.uint8), "empty list": [],
    "empty array": (slice(None), np.zeros((0, 2), int)),
    "mask": MASK, "mask of rows": MASK[:, 0, 0], "mask inside": (slice(None), MASK[0]),
    "mask of columns": (..., MASK[0, 0]), "mask and integer": (MASK[:, :, 0], 1),
    "mask and array": (MASK[0, 0, :3], slice(None), np.array([0])), "mask of nothing": X > 99,
    "list of booleans": [True, False, True], "True": True, "False": (False, 1),
    "ellipsis between": (np.array([0]), ..., np.array([1])),
    "step and array": (slice(None, None, 2), J, slice(None, None, -1)),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing(name):
    index = INDICES[name]
    for x in (X, X.astype(np.float32), (9 * X).astype(np.int64), MASK):
        got = me.asarray(x)[index]
        assert got.dtype == x.dtype
        assert got.shape == x[index].shape
        assert_array_equal(got.numpy(), x[index])
    gradcheck(lambda x: x[index], X, step=1.0)


@pytest.mark.parametrize("name", INDICES)
def test_writes_by_index(name):
    index = INDICES[name]
    value = RNG.standard_normal(X[index].shape)
    if len(np.unique(np.arange(X.size).reshape(X.shape)[index])) < value.size:
        value = np.float64(7)  # several values for one place
    t, x = me.tensor(X), X.copy()
    with me.no_grad():
        t[index] = value
    x[index] = value
    assert_array_equal(t.numpy(), x)


@st.composite
def indices(draw):
    """Mix integers, slices, new axes, an Ellipsis, arrays and masks over the axes of X."""
    shape = draw(npst.broadcastable_shapes((2, 3), min_dims=0, max_dims=2))
    items, axis, dots = [], 0, False
    while axis < 3:
        kind = draw(st.sampled_from(["integer", "slice", "new", "array", "mask", "dots", "stop"]))
        n = X.shape[axis]
        if kind == "stop":
            break
        if kind == "integer":
            items.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            items.append(draw(st.slices(n)))
        elif kind == "array":
            items.append(draw(npst.arrays(np.int64, shape, elements=st.integers(-n, n - 1))))
        elif kind == "mask":  # as many True as the arrays broadcast with
            mask = np.zeros(n, bool)
            mask[draw(st.permutations(range(n)))[:3]] = True
            items.append(mask)
        elif kind == "new":
            items.append(None)
        elif dots:
            continue
        else:
            items.append(...)
            dots = True
        axis += kind not in ("new", "dots")
    return tuple(items)


@given(index=indices())
def test_drawn_indexing(index):
    try:
        expected = X[index]
    except IndexError:  # shapes that do not broadcast
        with pytest.raises(IndexError):
            me.asarray(X)[index]
        return
    got = me.asarray(X)[index]
    assert got.shape == expected.shape
    assert_array_equal(got.numpy(), expected)
    g = me.grad(lambda x: (x[index] * np.arange(1.0, expected.size + 1).reshape(
        expected.shape)).sum())(X)
    places, exact = np.arange(X.size).reshape(X.shape)[index], np.zeros(X.size)
    np.add.at(exact, places, np.arange(1.0, expected.size + 1).reshape(expected.shape))
    assert_array_equal(g.numpy().ravel(), exact)


def test_indices_may_be_tensors():
    t = me.tensor(X)
    assert_array_equal(t[me.asarray(K), me.asarray(J)].numpy(), X[K, J])
    assert_array_equal(t[t > 0.3].numpy(), X[X > 0.3])
    assert_array_equal(t[me.asarray(2, me.int64)].numpy(), X[2])
    assert_array_equal(t[me.tensor(1, me.int64):].numpy(), X[1:])
    with me.no_grad():
        t[t > 0.3] = 0
    assert_array_equal(t.numpy(), np.where(X > 0.3, 0, X))


@pytest.mark.parametrize(("index", "error", "match"), [
    (3, me.ShapeError, "out of bounds"),
    ((0, 0, 0, 0), me.ShapeError, "too many"),
    ((J, 0, 0, 0), me.ShapeError, "at most 3"),
    ((..., J, ...), me.ShapeError, "one ..."),
    ([0, 3], me.ShapeError, r"axis 0 of size 3, got 3 at entry \(1,\)"),
    ((slice(None), [-5]), me.ShapeError, "axis 1 of size 4, got -5"),
    ((K, J[:2]), me.ShapeError, "index arrays that broadcast"),
    ([0.5], me.DTypeError, "integers, got float64"),
    ("a", me.DTypeError, "integers"),
    (MASK[:2], me.ShapeError, r"a mask of shape \(3, 4, 5\)"),
    ((slice(None), MASK), me.ShapeError, "at most 3"),
])
def test_wrong_indices(index, error, match):
    t = me.tensor(X)
    with pytest.raises(error, match=match):
        t[index]
    before = t.numpy().copy()
    with me.no_grad(), pytest.raises((IndexError, me.MedaiError)):
        t[index] = 0
    assert_array_equal(t.numpy(), before)


def test_repeated_indices_add_their_gradients():
    w = me.tensor(np.ones((3, 2)), requires_grad=True)
    (w[[0, 2, 0, 0]] * me.tensor(np.arange(8.0).reshape(4, 2))).sum().backward()
    assert w.grad.tolist() == [[10, 13], [0, 0], [2, 3]]


def test_take_and_put_along_an_axis():
    for axis in (0, 1, -1):
        order = np.argsort(X, axis)
        assert_array_equal(me.take_along_axis(X, order, axis).numpy(), np.sort(X, axis))
        back = me.put_along_axis(np.zeros_like(X), order, np.sort(X, axis), axis)
        assert_array_equal(back.numpy(), X)
        gradcheck(lambda x, o=order, a=axis: me.take_along_axis(x, o, a), X, step=1.0)
    best = me.argmax(X, axis=1, keepdims=True)
    assert_array_equal(me.take_along_axis(X, best, 1).numpy(), X.max(1, keepdims=True))
    assert_array_equal(me.put_along_axis(X, [[[0]]], 9.0).numpy()[..., 0], 9)
    with pytest.raises(me.ShapeError, match="got 5"):
        me.take_along_axis(X, np.full((3, 4, 1), 5))
    with pytest.raises(me.ShapeError, match="indices with 3 axes"):
        me.take_along_axis(X, [0])
    gradcheck(lambda x, v: me.put_along_axis(x, [[[1], [1], [0], [2]]], v), [X, X[..., :1]],
              step=1.0)


def test_one_hot():
    assert me.one_hot([0, 2]).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert me.one_hot(np.array([[1]]), 2, dtype=me.bool).tolist() == [[[False, True]]]
    with pytest.raises(me.ShapeError, match="got 3 at entry"):
        me.one_hot([0, 3], 3)
    with pytest.raises(me.ParameterError, match="num_classes"):
        me.one_hot([0], -1)


# ---- writes in place --------------------------------------------------------------------------


def test_updates_of_a_leaf():
    w = me.tensor([1.0, 2.0, 4.0], requires_grad=True)
    data, node = w.numpy(), w.node
    other = w
    with me.no_grad():
        w += 1
        w *= me.tensor([2.0, 1.0, 1.0])
        w -= [1.0, 0.0, 0.0]
        w /= 2
        w[1] += 0.5
    assert w.tolist() == [1.5, 2.0, 2.5]
    assert w is other and w.node is node and np.shares_memory(w.numpy(), data)
    with me.no_grad():
        assert w.copy_(np.array([7, 8, 9])) is w
    assert w.tolist() == [7, 8, 9]


@pytest.mark.parametrize("write", [
    lambda t: t.__iadd__(1), lambda t: t.__isub__(1), lambda t: t.__imul__(2),
    lambda t: t.__itruediv__(2), lambda t: t.copy_(0), lambda t: t.__setitem__(0, 5)])
def test_writes_need_a_leaf_under_no_grad(write):
    w = me.tensor([1.0, 2.0], requires_grad=True)
    y = w * 1
    for t in (w, me.tensor([1.0, 2.0])):
        with pytest.raises(me.GraphError, match="no_grad"):
            write(t)
    with me.no_grad(), pytest.raises(me.GraphError, match="a result of an op"):
        write(y)
    assert w.tolist() == y.tolist() == [1, 2]
    with me.no_grad():
        write(w)
    assert w.tolist() != [1, 2]


def test_other_updates_are_refused():
    for symbol in ("**", "//", "%", "@", "&", "|", "^"):
        w = me.tensor([1.0, 2.0])
        with me.no_grad(), pytest.raises(me.GraphError, match="for a new tensor"):
            exec(f"w {symbol}= w")
        assert w.tolist() == [1, 2]


def test_a_write_makes_older_graphs_refuse():
    for write in (lambda w: w.copy_(0), lambda w: w[0].copy_(5), lambda w: w.reshape(-1).copy_(5)):
        w = me.tensor([1.0, 2.0], requires_grad=True)
        y = (w * w).sum()
        with me.no_grad():
            write(w)
        with pytest.raises(me.GraphError, match="values written since"):
            y.backward()


def test_writes_that_cannot_be():
    t = me.zeros((2, 3))
    with me.no_grad():
        for value, error in ((np.ones(4), me.ShapeError), (np.ones((3, 1)), me.ShapeError),
                             (1j, me.DTypeError)):
            with pytest.raises((error, me.ParameterError)):
                t.copy_(value)
        with pytest.raises(me.DTypeError, match="can hold"):
            me.arange(3).copy_([0.5, 1, 2])
        counts = me.arange(3)
        with pytest.raises(me.DTypeError, match="can hold"):
            counts += 0.5
        with pytest.raises(me.GraphError, match="read-only"):
            me.broadcast_to(t[0], (4, 3)).copy_(1)
    assert t.tolist() == [[0, 0, 0]] * 2


# ---- Python's protocols -----------------------------------------------------------------------


def test_iteration_length_membership():
    t = me.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = [row * 2 for row in t]
    assert [r.tolist() for r in rows] == [[2, 4], [6, 8]] and rows[0].requires_grad
    assert len(t) == 2 and 3 in t and 5 not in t
    _, b = t
    assert b.tolist() == [3, 4]
    assert list(me.zeros((0, 2))) == []
    with pytest.raises(me.ShapeError, match="0-d"):
        iter(me.tensor(1.0))
    with pytest.raises(TypeError):
        len(me.tensor(1.0))
    with pytest.raises(IndexError):
        t[2]


def test_numbers_copies_and_pickles():
    t = me.tensor([2.5], requires_grad=True)
    assert float(t) == t.item() == 2.5 and int(t) == 2 and bool(t) and (+t) is t
    assert [10, 20, 30][me.tensor(1, me.int64)] == 20
    assert f"{t:.2f}" == "2.50" and f"{me.tensor(7, me.int64):>3d}" == "  7" and f"{t}" == repr(t)
    for other in (copy.copy(t), copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        assert other is not t and other.tolist() == [2.5] and other.requires_grad
    c = t.clone()
    c.backward()
    assert c.requires_grad and t.grad.tolist() == [1]


# ---- NumPy's protocols ------------------------------------------------------------------------


def test_numpy_functions_keep_gradients():
    t = me.tensor(X, requires_grad=True)
    for got, expected in (
            (np.add(t, 1), X + 1), (X * t, X * X), (np.float64(2) - t, 2 - X),
            (np.exp(t), np.exp(X)),
            (np.arctan2(t, 2.0), np.arctan2(X, 2.0)), (np.sum(t, axis=1), X.sum(1)),
            (np.concatenate([t, t], axis=1), np.concatenate([X, X], axis=1)),
            (np.transpose(t), X.T), (np.matmul(t, X.swapaxes(1, 2)), X @ X.swapaxes(1, 2)),
            (np.where(MASK, t, 0), np.where(MASK, X, 0)), (np.clip(t, -1, 1), X.clip(-1, 1)),
            (np.mean(t, keepdims=True), X.mean(keepdims=True)), (np.expand_dims(t, 0), X[None]),
            (np.stack([t, t]), np.stack([X, X])),
            (np.where(MASK, 1.0, t), np.where(MASK, 1, X)),
            (np.linalg.norm(t, axis=-1), np.linalg.norm(X, axis=-1)),
            (np.einsum("abc->c", t), X.sum((0, 1)))):
        assert isinstance(got, me.Tensor) and got.requires_grad
        np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12)


def test_other_numpy_functions_run_on_the_values():
    t = me.tensor(X)
    assert_array_equal(np.percentile(t, 30), np.percentile(X, 30))
    assert np.allclose(t, X) and np.array_equal(t, X)
    assert_array_equal(np.histogram(t, bins=4)[0], np.histogram(X, bins=4)[0])
    t.requires_grad_()
    assert np.shape(t) == X.shape and np.ndim(t) == 3 and np.allclose(t, X)
    for function in (np.percentile, np.nanquantile):
        with pytest.raises(me.GraphError, match="detach"):
            function(t, 0.3)
    t = t.detach()
    for call in (lambda: np.add(t, 1, out=np.empty(X.shape)), lambda: np.add.reduce(t),
                 lambda: np.spacing(t)):
        with pytest.raises(me.ParameterError, match=r"x\.numpy"):
            call()


def test_arrays_share_memory_with_tensors():
    t = me.tensor(X)
    assert np.shares_memory(np.asarray(t), t.numpy())
    assert np.asarray(t, np.float32).dtype == np.float32
    assert not np.shares_memory(np.array(t, copy=True), t.numpy())
    t.requires_grad_()
    assert not np.asarray(t).flags.writeable


def test_array_namespace():
    t = me.tensor(X)
    assert t.__array_namespace__() is me and t.__array_namespace__(api_version="2024.12") is me
    assert t.device == "cpu"
    names = """
        abs acos add all any arange argmax argmin argsort asarray asin astype atan atan2
        broadcast_arrays broadcast_to ceil clip concat cos cosh count_nonzero cumulative_prod
        cumulative_sum diagonal divide e equal exp expand_dims expm1 eye finfo flip float32 float64
        floor floor_divide from_dlpack full full_like greater greater_equal hypot iinfo inf int16
        int32 int64 int8 isdtype isfinite isinf isnan less less_equal linspace log log10 log1p log2
        logaddexp logical_and logical_not logical_or logical_xor matmul matrix_transpose max maximum
        mean meshgrid min minimum multiply nan negative newaxis nonzero not_equal ones ones_like
        outer permute_dims pi pow prod reciprocal remainder repeat reshape roll round searchsorted
        sign sin sinh sort sqrt square squeeze stack std subtract sum take take_along_axis tan tanh
        tensordot tile tril triu trunc uint16 uint32 uint64 uint8 unstack var vecdot where zeros
        zeros_like"""
    assert not [name for name in names.split() if not hasattr(me, name)]


# ---- DLPack -----------------------------------------------------------------------------------


def test_dlpack_with_numpy_shares_memory():
    t = me.tensor(X)
    array = np.from_dlpack(t)
    assert np.shares_memory(array, t.numpy())
    assert np.shares_memory(me.from_dlpack(X).numpy(), X)
    assert np.shares_memory(np.from_dlpack(t[::2, 1:]), t.numpy())
    assert t.__dlpack_device__()[0] == 1  # kDLCPU
    with pytest.raises(me.GraphError, match="detach"):
        np.from_dlpack(t.requires_grad_())


def test_dlpack_outlives_its_tensor():
    array = np.from_dlpack(me.tensor(np.arange(100_000.0)) + 1)
    me.tensor(np.full(100_000, 7.0)) + 1  # would take the memory if it had been freed
    assert_array_equal(array, np.arange(100_000.0) + 1)


def test_torch_shares_memory_both_ways():
    torch = pytest.importorskip("torch")
    t = me.tensor(X)
    there = torch.from_dlpack(t)
    there[0, 0, 0] = 42
    assert t[0, 0, 0].item() == 42
    source = torch.arange(6.0).reshape(2, 3).T
    for back in (me.asarray(source), me.from_dlpack(source)):
        source[0, 0] += 1
        assert back.shape == (3, 2) and back[0, 0].item() == source[0, 0].item()
    for other in (t[:, ::-1], me.broadcast_to(t[0], (2, 4, 5)), me.zeros((0, 3)), me.tensor(2.0),
                  me.tensor([True]), me.arange(3)):
        assert_array_equal(torch.from_dlpack(other).numpy(), other.numpy())
    with pytest.raises(BufferError, match=r"Export x\.copy"):
        np.from_dlpack(t[::-1], copy=False)
    assert_array_equal(me.from_dlpack(source.flip(0)).numpy(), source.numpy()[::-1])
    with pytest.raises(me.DTypeError, match="grad"):
        me.asarray(torch.ones(2, requires_grad=True))
    with pytest.raises(me.MedaiError):
        me.asarray(torch.ones(2, dtype=torch.bfloat16))
