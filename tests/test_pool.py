"""Pooling and upsampling functions: every option against PyTorch, conventions, errors."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn
from medai_engine.errors import DTypeError, ParameterError, ShapeError

RNG = np.random.default_rng(0)
torch = pytest.importorskip("torch")
T = importlib.import_module("torch.nn.functional")


def check(x, ours, theirs):
    """Compare values and gradients with PyTorch's on channels first."""
    a, b = me.Tensor(x).requires_grad_(), torch.from_numpy(x.copy()).requires_grad_()
    y, z = ours(a), theirs(b.movedim(-1, 1)).movedim(1, -1)
    assert y.shape == tuple(z.shape)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12, atol=1e-12)
    g = RNG.normal(size=y.shape)
    y.backward(g)
    z.backward(torch.from_numpy(g))
    np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-12, atol=1e-12)


@given(data=st.data())
def test_sliding_windows_as_pytorch(data):
    rank = data.draw(st.integers(1, 3))

    def each(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(rank))

    size, kernel, stride, dilation = each(2, 6), each(1, 3), each(1, 3), each(1, 2)
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    ceil, include = data.draw(st.booleans()), data.draw(st.booleans())
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(n + 2 * p >= r for n, p, r in zip(size, padding, reach, strict=True)))
    assume(all(r <= n for n, r in zip(size, reach, strict=True)))
    shape = (2, *size, 3)
    x = (RNG.permutation(int(np.prod(shape))).reshape(shape) / 7).astype(float)
    for name, options in (
            ("max", {"dilation": dilation, "ceil_mode": ceil}),
            ("avg", {"ceil_mode": ceil, "count_include_pad": include})):
        function = f"{name}_pool{rank}d"
        check(x, lambda t, f=function, o=options: getattr(F, f)(t, kernel, stride, padding, **o),
              lambda t, f=function, o=options: getattr(T, f)(t, kernel, stride, padding, **o))


@given(data=st.data())
def test_adaptive_windows_and_upsampling_as_pytorch(data):
    rank = data.draw(st.integers(1, 3))
    size = [data.draw(st.integers(1, 6)) for _ in range(rank)]
    wanted = [data.draw(st.integers(1, 7)) for _ in range(rank)]
    x = RNG.normal(size=(2, *size, 3))
    for name in ("avg", "max"):
        function = f"adaptive_{name}_pool{rank}d"
        check(x, lambda t, f=function: getattr(F, f)(t, tuple(wanted)),
              lambda t, f=function: getattr(T, f)(t, tuple(wanted)))
    linear = ("linear", "bilinear", "trilinear")[rank - 1]
    factors = tuple(data.draw(st.sampled_from([1, 2, 3, 1.5, 2.5])) for _ in range(rank))
    for mode in ("nearest", linear):
        check(x, lambda t, m=mode: F.upsample(t, size=tuple(wanted), mode=m),
              lambda t, m=mode: T.interpolate(t, size=wanted, mode=m))
        check(x, lambda t, m=mode: F.upsample(t, factors, m),
              lambda t, m=mode: T.interpolate(t, scale_factor=tuple(map(float, factors)), mode=m))


def test_places_are_those_of_pytorch():
    x = RNG.normal(size=(2, 5, 6, 3))
    y, index = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    z, places = T.max_pool2d(torch.from_numpy(x).movedim(-1, 1), 3, 2, 1, return_indices=True)
    np.testing.assert_array_equal(index.data, places.movedim(1, -1).numpy())
    np.testing.assert_array_equal(y.data, z.movedim(1, -1).numpy())
    assert F.adaptive_max_pool2d(x, 1, return_indices=True)[1].dtype == np.int32


def test_the_first_of_equal_maxima_gets_the_gradient():
    x = me.Tensor(np.ones((1, 4, 1))).requires_grad_()
    F.max_pool1d(x, 2).sum().backward()
    np.testing.assert_array_equal(x.grad.data[0, :, 0], [1, 0, 1, 0])


def test_second_derivatives():
    x = me.Tensor(RNG.normal(size=(1, 4, 4, 2)))
    for function in (lambda t: F.max_pool2d(t, 2), lambda t: F.avg_pool2d(t, 3, 1, 1),
                     lambda t: F.upsample(t, 2, "bilinear")):
        assert me.testing.gradgradcheck(lambda t, f=function: (f(t) ** 3).sum(), [x])


def test_global_pools_are_reductions():
    x = RNG.normal(size=(3, 5, 4, 2))
    np.testing.assert_allclose(nn.GlobalAvgPool2d()(x).data, x.mean((1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(nn.GlobalMaxPool2d()(x).data, x.max((1, 2)))
    kept = F.adaptive_avg_pool2d(x, (None, 2))
    assert kept.shape == (3, 5, 2, 2)


def test_a_long_mean_keeps_its_digits():
    x = RNG.normal(1, 1, (1, 512, 512, 2)).astype(np.float32)
    np.testing.assert_allclose(nn.GlobalAvgPool2d()(x).data, x.astype(float).mean((1, 2)),
                               rtol=2e-6)


def test_empty_batches_pass_through():
    x = np.zeros((0, 4, 4, 3), np.float32)
    assert F.max_pool2d(x, 2).shape == F.avg_pool2d(x, 2).shape == (0, 2, 2, 3)
    assert F.upsample(x, 2).shape == (0, 8, 8, 3)


X = np.zeros((1, 4, 4, 2), np.float32)


@pytest.mark.parametrize("call, error, match", [
    (lambda: F.max_pool2d(X, 5), ShapeError, "at least 5 entries.*got 4.*smaller kernel_size"),
    (lambda: F.max_pool2d(X, 2, padding=2), ParameterError, "at most half"),
    (lambda: F.max_pool2d(X, 2, stride=0), ParameterError, "stride to be an integer of at least 1"),
    (lambda: F.max_pool2d(X, (2, 2, 2)), ParameterError, "or 2, got"),
    (lambda: F.max_pool2d(X, 2.0), ParameterError, "kernel_size to be an integer"),
    (lambda: F.max_pool2d(X, True), ParameterError, "kernel_size to be an integer"),
    (lambda: F.max_pool3d(X, 2), ShapeError, r"\(N, D, H, W, C\), got \(1, 4, 4, 2\)"),
    (lambda: F.max_pool1d(X, 2), ShapeError, r"\(N, L, C\), got"),
    (lambda: F.avg_pool2d(X.astype(int), 2), DTypeError, "floating"),
    (lambda: F.avg_pool2d(X[:, :0], 1), ShapeError, "at least 1 entries"),
    (lambda: F.adaptive_avg_pool2d(X, 0), ParameterError, "output_size"),
    (lambda: F.adaptive_avg_pool2d(X[:, :0], 1), ShapeError, "at least one entry"),
    (lambda: F.adaptive_max_pool1d(X, 1), ShapeError, "1 axes between"),
    (lambda: F.upsample(X, 2, "linear"), ParameterError, '"nearest" or "bilinear" for 2 axes'),
    (lambda: F.upsample(X, 2, "cubic"), ParameterError, "got 'cubic'"),
    (lambda: F.upsample(X), ParameterError, "both or none"),
    (lambda: F.upsample(X, 2, size=3), ParameterError, "both or none"),
    (lambda: F.upsample(X, -1), ParameterError, "positive scale_factor"),
    (lambda: F.upsample(X, (2, 2, 2)), ParameterError, "or 2, got"),
    (lambda: F.upsample(X, 0.1), ShapeError, "got 4 and 0"),
    (lambda: F.upsample(X[0, 0], 2), ShapeError, "1 to 3 axes between")])
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
