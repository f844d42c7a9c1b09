"""Contractions, linear systems, factorisations and norms against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from test_array_functions import INTS, A, V, same

import medai_engine as me
from medai_engine.testing import gradcheck, gradgradcheck

RNG = np.random.default_rng(11)

# ---- contractions -----------------------------------------------------------------------------

SUBSCRIPTS = [
    "ij,jk", "ij,ij", "ii", "ij->ji", "i,j,k->kij", "...i,...i->...", "a...,b...->ab...",
    "ij,kl,jk->il", "aab,bc->ac", "i,i,i->", "ij,j", "...", "abc,cd,de->abe", "ii->i", "iij,ji->i",
    "iii", "ab,ab,ab->b", "...ii->...i", "ij,...", "b...a,a->...b", "ijk->", "i->i",
    " i j , j -> i"]


@pytest.mark.parametrize("subscripts", SUBSCRIPTS)
def test_einsum(subscripts):
    arrays = [RNG.standard_normal((3,) * len(term.replace("...", "xy").replace(" ", "")))
              for term in subscripts.split("->")[0].split(",")]
    same(me.einsum(subscripts, *arrays), np.einsum(subscripts, *arrays), rtol=1e-12)
    whole = [np.round(3 * x).astype(np.int64) for x in arrays]
    same(me.einsum(subscripts, *whole), np.einsum(subscripts, *whole))
    gradcheck(lambda *xs: me.einsum(subscripts, *xs), arrays)
    if len(arrays) < 3:
        gradgradcheck(lambda *xs: me.einsum(subscripts, *xs), arrays)


def test_einsum_of_unequal_sizes():
    a, b, c = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((4, 5)), np.ones((1, 3))
    for text, arrays in (("bij,jk->kbi", (a, b)), ("bij,jk,bi->k", (a, b, a[..., 0])),
                         ("bij,zi->zbj", (a, c)), ("bij,bi->j", (a, c)),
                         ("...j,jk->...k", (a, b)), ("b...j,jk->k...b", (a, b))):
        same(me.einsum(text, *arrays), np.einsum(text, *arrays), rtol=1e-12)
    empty = np.zeros((0, 4))
    same(me.einsum("ij,jk->ik", empty, b), np.zeros((0, 5)))
    same(me.einsum("ij,ik->jk", empty, np.zeros((0, 5))), np.zeros((4, 5)))


def test_einsum_takes_the_cheap_order():
    from medai_engine.ops import contraction

    sizes = []
    pair = contraction._pair

    def watched(*arguments):
        sizes.append(pair(*arguments)[0].size)
        return pair(*arguments)

    contraction._pair = watched
    try:
        me.einsum("i,ij,jk->k", np.ones(30), np.ones((30, 30)), np.ones((30, 30)))
    finally:
        contraction._pair = pair
    assert sizes == [30, 30]  # vector first: never a 30 x 30 product


@pytest.mark.parametrize(("text", "shapes", "error", "match"), [
    ("ij,jk", [(2, 3), (2, 3)], me.ShapeError, "one size for 'j'"),
    ("i", [(2, 3)], me.ShapeError, "name every axis"),
    ("ijk...", [(2, 3)], me.ShapeError, "name every axis"),
    ("ij,jk", [(2, 3)], me.ParameterError, "one term per array"),
    ("i1", [(2, 3)], me.ParameterError, "letters"),
    ("ij->ii", [(2, 3)], me.ParameterError, "different letters"),
    ("ij->k", [(2, 3)], me.ParameterError, "different letters"),
    ("...j->j", [(2, 3)], me.ParameterError, "Repeat"),
])
def test_einsum_mistakes(text, shapes, error, match):
    with pytest.raises(error, match=match):
        me.einsum(text, *[np.ones(s) for s in shapes])


def test_products():
    b = RNG.standard_normal((4, 5, 2)).astype(np.float32)
    for axes in (2, 0, ([1, 2], [0, 1]), (1, 0), ((-1,), (-2,))):
        same(me.tensordot(A, b, axes), np.tensordot(A, b, axes), rtol=1e-4)
    same(me.vecdot(A, V[:5]), np.vecdot(A, V[:5]))
    same(me.vecdot(A, A, axis=0), np.vecdot(A, A, axis=0))
    same(me.outer(A[0], V), np.outer(A[0], V))
    same(me.dot(A, b[0]), np.dot(A, b[0]))
    same(me.asarray(V).dot(V), np.dot(V, V))
    same(me.tensordot(INTS, INTS, ([0, 1], [0, 1])), np.tensordot(INTS, INTS, ([0, 1], [0, 1])))
    with pytest.raises(me.ShapeError, match="paired axes"):
        me.tensordot(A, b, 1)
    with pytest.raises(me.ParameterError, match="as many axes"):
        me.tensordot(A, b, ([1, 2], [0]))
    with pytest.raises(me.ShapeError, match="along axis -1"):
        me.vecdot(A, V)


# ---- linear algebra ---------------------------------------------------------------------------

SQUARE = RNG.standard_normal((2, 4, 4)) + 4 * np.eye(4)
SYMMETRIC = SQUARE @ SQUARE.swapaxes(1, 2)


def test_linear_algebra():
    b = RNG.standard_normal((2, 4, 3))
    same(me.linalg.solve(SQUARE, b), np.linalg.solve(SQUARE, b), rtol=1e-10)
    same(me.linalg.solve(SQUARE[0], b), np.linalg.solve(SQUARE[0], b), rtol=1e-10)
    same(me.linalg.solve(SQUARE, b[0, :, 0]), np.linalg.solve(SQUARE, b[:1, :, :1])[..., 0])
    same(me.linalg.inv(SQUARE), np.linalg.inv(SQUARE), rtol=1e-10)
    same(me.linalg.cholesky(SYMMETRIC), np.linalg.cholesky(SYMMETRIC), rtol=1e-10)
    factor = me.linalg.cholesky(SYMMETRIC)
    same(factor @ factor.mT, SYMMETRIC, rtol=1e-10)


def test_matrices_that_have_no_factors():
    good, zero = np.eye(2), np.zeros((2, 2))
    both = np.stack([good, zero])
    for call, message in (
            (lambda: me.linalg.solve(zero, good), "solve: .* full rank, got the matrix singular"),
            (lambda: me.linalg.solve(both, good), r"solve: .* got matrix \(1,\) singular"),
            (lambda: me.linalg.inv(zero), "inv: .* the matrix singular"),
            (lambda: me.linalg.inv(both), r"inv: .* matrix \(1,\) singular"),
            (lambda: me.linalg.cholesky(-good), "cholesky: .* the matrix not positive definite"),
            (lambda: me.linalg.cholesky(both), r"cholesky: .* matrix \(1,\) not positive")):
        with pytest.raises(me.DataError, match=message):
            call()


@pytest.mark.parametrize("name", ["solve", "inv", "cholesky"])
def test_gradients_of_factorisations(name):
    function = getattr(me.linalg, name)
    inputs = {"solve": [SQUARE, SQUARE[:1, :, :2]], "inv": [SQUARE], "cholesky": [SYMMETRIC]}[name]
    gradcheck(function, inputs)
    gradgradcheck(function, inputs)


def test_gradient_of_cholesky_is_symmetric():
    g = me.grad(lambda a: me.log(me.diagonal(me.linalg.cholesky(a), 0, 1, 2)).sum())(SYMMETRIC)
    same(g, np.linalg.inv(SYMMETRIC) / 2, rtol=1e-10)  # half the gradient of log det


NORMS = [(None, None), (None, -1), (None, (0, 2)), (1, 0), (2, 1), (3, -1), (0.5, 1), (np.inf, 2),
         (-np.inf, 2), (0, 1), (-2, 1), ("fro", (0, 1)), (1, (1, 2)), (-1, (0, 2)),
         (np.inf, (2, 0)), (-np.inf, (-1, 0))]


@pytest.mark.parametrize(("ord", "axis"), NORMS)
def test_norm(ord, axis):
    x = A.astype(np.float64)
    for keepdims in (False, True):
        expected = np.linalg.norm(x if axis is not None else x.ravel(), ord, axis)
        got = me.linalg.norm(x, ord, axis, keepdims)
        assert got.shape == (x.sum(axis, keepdims=True).shape if keepdims else expected.shape)
        np.testing.assert_allclose(got.numpy().ravel(), np.ravel(expected), rtol=1e-12)
    if ord != 0:
        r = np.random.default_rng(1)  # no near ties, nothing near 0
        steps = r.permutation(A.size).reshape(A.shape) * 0.1
        far = np.copysign(steps + r.uniform(0.5, 0.52, A.shape), A)
        gradcheck(lambda x: me.linalg.norm(x, ord, axis), far)


def test_norm_of_zeros_has_gradient_zero():
    for ord in (None, 2, 3, 1):
        assert_array_equal(me.grad(lambda x, p=ord: me.linalg.norm(x, p))(np.zeros(3)).numpy(), 0)


def test_norms_that_are_not_there():
    with pytest.raises(me.ParameterError, match='"fro"'):
        me.linalg.norm(A, 2, (0, 1))
    with pytest.raises(me.ParameterError):
        me.linalg.norm(A, "nuc", (0, 1))
    with pytest.raises(me.ShapeError, match="axis is None"):
        me.linalg.norm(A, 1)
    with pytest.raises(me.DTypeError):
        me.linalg.norm(INTS)
