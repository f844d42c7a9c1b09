"""Normalising functions and layers: running statistics, conventions, invariants, errors."""

from __future__ import annotations

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn
from medai_engine.errors import DTypeError, ParameterError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (6, 4, 5)).astype(np.float32)
torch = pytest.importorskip("torch")


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_running_statistics_as_pytorch(momentum):
    ours, theirs = nn.BatchNorm1d(5, momentum=momentum), torch.nn.BatchNorm1d(5, momentum=momentum)
    for scale in (1.0, 2.0, 5.0):
        ours(X * scale)
        theirs(torch.from_numpy(X * scale).movedim(-1, 1))
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].data, value.numpy(), rtol=1e-5)
    assert int(ours.num_batches_tracked.data) == 3
    y = theirs.eval()(torch.from_numpy(X).movedim(-1, 1)).movedim(1, -1).detach().numpy()
    kept = {k: v.data.copy() for k, v in ours.eval().state_dict().items()}
    np.testing.assert_allclose(ours(X).data, y, rtol=1e-5, atol=1e-5)
    assert all(np.array_equal(kept[k], v.data) for k, v in ours.state_dict().items())


def test_running_variance_is_unbiased_and_the_output_is_not():
    layer = nn.BatchNorm1d(1, eps=0.0, momentum=1.0)
    y = layer(np.array([[0.0], [4.0]], np.float32))
    assert layer.running_mean.data == [2.0] and layer.running_var.data == [8.0]
    np.testing.assert_array_equal(y.data, [[-1.0], [1.0]])


def test_state_does_not_hold_the_graph():
    layer = nn.BatchNorm1d(5)
    x = me.tensor(X).requires_grad_()
    first = layer(x)
    layer(x)  # writes the running statistics again
    first.sum().backward()
    assert layer.running_mean.node is None and not layer.running_mean.requires_grad


@pytest.mark.parametrize("function, axes", [
    (lambda x: F.batch_norm(x, training=True), (0, 1)),
    (lambda x: F.layer_norm(x, 5), 2), (lambda x: F.layer_norm(x, (4, 5)), (1, 2)),
    (F.instance_norm, 1)])
def test_output_has_mean_0_and_variance_1(function, axes):
    y = function(X).data.astype(float)
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(axes), 1, rtol=1e-4)


def test_large_means_do_not_hide_the_variance():
    """A one-pass sum of squares would lose all digits here."""
    x = (RNG.normal(size=(400, 3)) + 1e4).astype(np.float32)
    exact = x.astype(float)
    exact = (exact - exact.mean(0)) / exact.std(0)
    for y in (F.batch_norm(x, training=True).data, F.layer_norm(x.T.copy(), 400).data.T):
        np.testing.assert_allclose(y, exact, atol=2e-3)


def test_group_norm_meets_its_limits():
    one, every = F.group_norm(X, 1).data, F.group_norm(X, 5).data
    np.testing.assert_allclose(one, F.layer_norm(X, (4, 5)).data, atol=1e-5)
    np.testing.assert_allclose(every, F.instance_norm(X).data, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_instance_norm_tracks_as_pytorch(momentum):
    ours, theirs = (m.InstanceNorm1d(5, momentum=momentum, affine=True, track_running_stats=True)
                    for m in (nn, torch.nn))
    for scale in (1.0, 2.0, 5.0):
        y = ours(X * scale).data
        z = theirs(torch.from_numpy(X * scale).movedim(-1, 1)).movedim(1, -1).detach().numpy()
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(getattr(ours, name).data, getattr(theirs, name).numpy(),
                                   rtol=1e-5)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    y = theirs.eval()(torch.from_numpy(X).movedim(-1, 1)).movedim(1, -1).detach().numpy()
    np.testing.assert_allclose(ours.eval()(X).data, y, rtol=1e-4, atol=1e-5)


def test_instance_norm_without_momentum_keeps_the_plain_mean():
    layer = nn.InstanceNorm1d(None, momentum=None, track_running_stats=True)
    for scale in (1.0, 2.0, 6.0):
        layer(X * scale)
    np.testing.assert_allclose(layer.running_mean.data, X.mean((0, 1)) * 3, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.data,
                               X.var(1, ddof=1).mean(0) * (1 + 4 + 36) / 3, rtol=1e-5)


def test_groups_infer_their_channels():
    layer = nn.GroupNorm(5, None)
    assert "num_channels=None" in repr(layer)
    np.testing.assert_array_equal(layer(X).data, nn.GroupNorm(5, 5)(X).data)
    assert layer.weight.shape == (5,) and layer.num_channels == 5
    with pytest.raises(ShapeError, match="5 channels, got 4"):
        layer(X[..., :4])
    with pytest.raises(ParameterError, match="divides 5 channels, got 2"):
        nn.GroupNorm(2, None)(X)
    fresh = nn.GroupNorm(5, None)
    fresh.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(fresh(X).data, layer(X).data)


def test_channels_are_inferred():
    for layer in (nn.BatchNorm1d(None), nn.InstanceNorm1d(None, affine=True)):
        layer(X)
        assert layer.weight.shape == layer.bias.shape == (5,)
        with pytest.raises(ShapeError, match="5 channels, got 4"):
            layer(X[..., :4])
    assert nn.BatchNorm1d(None)(X).shape == X.shape
    assert "num_features=None" in repr(nn.BatchNorm1d(None))
    fresh = nn.BatchNorm1d(None)
    fresh.load_state_dict(nn.BatchNorm1d(5).state_dict())
    assert fresh.running_mean.shape == (5,)


def test_without_weights_or_state():
    plain = nn.BatchNorm1d(5, affine=False, track_running_stats=False).eval()
    np.testing.assert_array_equal(plain(X).data, F.batch_norm(X, training=True).data)
    assert not plain.state_dict() and not nn.LayerNorm(5, elementwise_affine=False).state_dict()
    assert list(nn.LayerNorm(5, bias=False).state_dict()) == ["weight"]
    np.testing.assert_array_equal(nn.InstanceNorm1d(5)(X).data, F.instance_norm(X).data)
    np.testing.assert_array_equal(nn.GroupNorm(5, 5, affine=False)(X).data,
                                  F.group_norm(X, 5).data)


@pytest.mark.parametrize("call, error, match", [
    (lambda: F.batch_norm(X[:1, 0], training=True), ShapeError, "more than one value.*got 1"),
    (lambda: F.batch_norm(X[:0], training=True), ShapeError, "more than one value.*got 0"),
    (lambda: F.batch_norm(X.astype(int)), DTypeError, "floating"),
    (lambda: F.batch_norm(X, weight=np.ones(4)), ShapeError, "4 channels, got 5"),
    (lambda: F.batch_norm(X, running_mean=me.zeros(5)), ParameterError, "Pass both"),
    (lambda: F.batch_norm(X, eps=-1.0), ParameterError, "eps of at least 0"),
    (lambda: F.instance_norm(X, use_input_stats=False), ParameterError, "use_input_stats=False"),
    (lambda: F.instance_norm(X, me.zeros(5)), ParameterError, "Pass both"),
    (lambda: F.instance_norm(X[:, :1]), ShapeError, "more than one position"),
    (lambda: F.group_norm(X, 2), ParameterError, "divides 5 channels, got 2"),
    (lambda: F.group_norm(X, 0), ParameterError, "divides 5 channels, got 0"),
    (lambda: F.layer_norm(X, (5, 4)), ShapeError, r"last axes are \(5, 4\)"),
    (lambda: F.layer_norm(X, 5, weight=np.ones(4)), ShapeError, r"weight of shape \(5,\)"),
    (lambda: nn.GroupNorm(2, 5), ParameterError, "divides 5 channels"),
    (lambda: nn.BatchNorm1d(0), ParameterError, "positive integer"),
    (lambda: nn.BatchNorm1d(5, momentum=2), ParameterError, "momentum between 0 and 1"),
    (lambda: nn.BatchNorm2d(5)(X), ShapeError, r"\(N, H, W, C\), got \(6, 4, 5\)"),
    (lambda: nn.BatchNorm1d(5)(X[..., None]), ShapeError, r"\(N, C\) or \(N, L, C\)")])
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_empty_batches_pass_through():
    assert F.layer_norm(X[:0], 5).shape == (0, 4, 5)
    assert F.group_norm(X[:0], 5).shape == (0, 4, 5)
    assert nn.BatchNorm1d(5).eval()(X[:0]).shape == (0, 4, 5)


def test_bits_do_not_depend_on_threads_and_a_batch_may_be_permuted():
    before = me.get_num_threads()
    x = RNG.normal(size=(70, 40, 40)).astype(np.float32)
    order = RNG.permutation(70)
    found = []
    try:
        for threads in (1, 2, 3, 8):
            me.set_num_threads(threads)
            layer = nn.BatchNorm1d(40)
            leaf = me.tensor(x).requires_grad_()
            y = layer(leaf)
            (y * y * y).sum().backward()
            found.append([a.tobytes() for a in (
                y.data, leaf.grad.data, layer.weight.grad.data, layer.running_var.data)])
        assert all(f == found[0] for f in found)
    finally:
        me.set_num_threads(before)
    for function in (F.instance_norm, lambda x: F.layer_norm(x, 40), lambda x: F.group_norm(x, 4)):
        np.testing.assert_array_equal(function(x).data[order], function(x[order]).data)
