"""Functions and layers of convolution: drawn geometries against PyTorch, padding, errors."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn
from medai_engine.errors import ParameterError, ShapeError

CONV = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def compare(ours, theirs, shapes):
    """Values and gradients of one function of (x, weight, bias); theirs has channels first."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(sum(map(sum, shapes)))
    arrays = [rng.standard_normal(shape) for shape in shapes]
    leaves = [me.Tensor(a).requires_grad_() for a in arrays]
    others = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    y = ours(*leaves)
    z = theirs(*[t.movedim(-1, 1) if t.ndim > 1 else t for t in others]).movedim(1, -1)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-11, atol=1e-12)
    g = rng.standard_normal(y.shape)
    y.backward(g)
    z.backward(torch.from_numpy(g))
    for a, b in zip(leaves, others, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-11, atol=1e-12)


@st.composite
def geometries(draw, transposed):
    axes = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    several = {name: tuple(draw(st.lists(st.integers(*bounds), min_size=axes, max_size=axes)))
               for name, bounds in (("sizes", (1, 6)), ("kernel", (1, 3)), ("stride", (1, 3)),
                                    ("padding", (0, 2)), ("dilation", (1, 3)))}
    C, F = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    sizes, kernel = several.pop("sizes"), several.pop("kernel")
    fit = [(i - 1) * s - 2 * p + d * (k - 1) + 1 if transposed else i + 2 * p - d * (k - 1)
           for i, k, s, p, d in zip(sizes, kernel, *several.values(), strict=True)]
    assume(min(fit) > 0)
    if transposed:
        several["output_padding"] = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(
            several["stride"], several["dilation"], strict=True))
    options = {name: value[0] if len(set(value)) == 1 and draw(st.booleans()) else value
               for name, value in several.items()}
    weight = (C, *kernel, F // groups) if transposed else (F, *kernel, C // groups)
    return axes, [(draw(st.integers(1, 2)), *sizes, C), weight, (F,)], {**options, "groups": groups}


@given(case=geometries(transposed=False))
def test_conv_equals_pytorch(case):
    torch = pytest.importorskip("torch")
    axes, shapes, options = case
    theirs = getattr(torch.nn.functional, f"conv{axes}d")
    compare(lambda *a: CONV[axes - 1](*a, **options), lambda *a: theirs(*a, **options), shapes)


@given(case=geometries(transposed=True))
def test_conv_transpose_equals_pytorch(case):
    torch = pytest.importorskip("torch")
    axes, shapes, options = case
    theirs = getattr(torch.nn.functional, f"conv_transpose{axes}d")
    compare(lambda *a: TRANSPOSED[axes - 1](*a, **options), lambda *a: theirs(*a, **options),
            shapes)


@given(size=st.integers(1, 9), kernel=st.integers(1, 6), stride=st.integers(1, 4),
       dilation=st.integers(1, 3))
def test_same_padding(size, kernel, stride, dilation):
    """ceil(size / stride) outputs, as many zeros before as behind, an odd one behind."""
    x = np.arange(1.0, size + 1).reshape(1, size, 1)
    weight = np.arange(1.0, kernel + 1).reshape(1, kernel, 1) ** 2
    y = F.conv1d(x, weight, stride=stride, padding="same", dilation=dilation)
    outputs = math.ceil(size / stride)
    total = max(0, (outputs - 1) * stride + dilation * (kernel - 1) + 1 - size)
    padded = np.pad(x, ((0, 0), (total // 2, total - total // 2), (0, 0)))
    expected = [sum(weight[0, k, 0] * padded[0, i * stride + k * dilation, 0]
                    for k in range(kernel)) for i in range(outputs)]
    assert y.data[0, :, 0].tolist() == expected


def test_same_padding_equals_pytorch():
    """Even kernels too: PyTorch also puts the odd zero behind."""
    torch = pytest.importorskip("torch")
    warnings.filterwarnings("ignore", "Using padding='same' with even kernel")
    compare(lambda *a: F.conv2d(*a, padding="same", dilation=(1, 3)),
            lambda *a: torch.nn.functional.conv2d(*a, padding="same", dilation=(1, 3)),
            [(2, 5, 6, 3), (4, 2, 4, 3), (4,)])


def test_valid_padding_is_none():
    x, weight = np.ones((1, 4, 5, 2)), np.ones((3, 2, 3, 2))
    assert np.array_equal(F.conv2d(x, weight, padding="valid").data, F.conv2d(x, weight).data)


def test_transposed_is_the_adjoint():
    """<conv(x, w), y> = <x, conv_transpose(y, w)> with one weight."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 8, 4)), rng.standard_normal((6, 3, 2, 2))
    options = {"stride": (2, 3), "padding": 1, "dilation": (1, 2), "groups": 2}
    y = F.conv2d(x, w, **options)
    u = rng.standard_normal(y.shape)
    back = F.conv_transpose2d(u, w, output_padding=(0, 1), **options)
    assert back.shape == x.shape
    assert np.vdot(y.data, u) == pytest.approx(np.vdot(x, back.data), rel=1e-12)


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
def test_channels_are_inferred(layer):
    me.manual_seed(3)
    lazy = layer(None, 6, 3, groups=2)
    assert lazy.in_channels is None
    parameter = lazy.weight
    x = np.ones((2, 5, 5, 4), np.float32)
    y = lazy(x)
    assert lazy.in_channels == 4 and lazy.weight is parameter and parameter.requires_grad
    me.manual_seed(3)
    assert np.array_equal(layer(4, 6, 3, groups=2)(x).data, y.data)
    with pytest.raises(ShapeError, match="channels last"):
        layer(None, 6, 3)(np.ones((5, 4), np.float32))
    with pytest.raises(ShapeError, match="in_channels that 2 groups divide, got 3"):
        layer(None, 6, 3, groups=2)(np.ones((2, 5, 5, 3), np.float32))


def test_first_weights_are_as_wide_as_pytorchs():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)  # the bias has 30 entries: their spread is nearly as random as they are
    me.manual_seed(0)
    for layer, other in ((nn.Conv2d, torch.nn.Conv2d),
                         (nn.ConvTranspose2d, torch.nn.ConvTranspose2d)):
        ours, theirs = layer(40, 30, 5, groups=2), other(40, 30, 5, groups=2)
        for p, q in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            assert np.abs(p.data).max() == pytest.approx(float(q.detach().abs().max()), rel=0.2)
            assert p.data.std() == pytest.approx(float(q.detach().std()), rel=0.3)


X, W = np.zeros((1, 5, 5, 4), np.float32), np.zeros((6, 3, 3, 4), np.float32)


@pytest.mark.parametrize("error, match, call", [
    (ParameterError, "stride as an integer of at least 1, or 2", lambda: F.conv2d(X, W, stride=0)),
    (ParameterError, r"padding.*got \(1, 2, 3\)", lambda: F.conv2d(X, W, padding=(1, 2, 3))),
    (ParameterError, "dilation.*got 1.5", lambda: F.conv2d(X, W, dilation=1.5)),
    (ParameterError, "groups.*got 0", lambda: F.conv2d(X, W, groups=0)),
    (ParameterError, '"same" or "valid", got \'half\'', lambda: F.conv2d(X, W, padding="half")),
    (ParameterError, '"same" or "valid"', lambda: nn.Conv2d(4, 6, 3, padding="half")),
    (ParameterError, "padding as an integer",
     lambda: nn.ConvTranspose2d(4, 6, 3, padding="same")),
    (ParameterError, "kernel_size", lambda: nn.Conv1d(4, 6, (3, 3))),
    (ParameterError, "out_channels to be a positive integer", lambda: nn.Conv1d(4, 0, 3)),
    (ShapeError, "out_channels that 4 groups divide, got 6", lambda: nn.Conv1d(4, 6, 3, groups=4)),
    (ShapeError, r"kernel's extent \(3, 3\), got \(2, 5\)", lambda: F.conv2d(X[:, :2], W)),
    (ShapeError, "Use conv3d", lambda: F.conv2d(np.zeros((1, 2, 5, 5, 4), np.float32), W)),
    (ShapeError, "batch of one", lambda: F.conv2d(X[0, 0], W)),
    (ShapeError, "3 input channels, got 4.*ConvTranspose2d",
     lambda: F.conv_transpose2d(X, W[:3])),
    (ShapeError, "3 groups divide, got 12 and 4",
     lambda: F.conv_transpose2d(X, W[:4], groups=3)),
    (ShapeError, r"an output of at least one entry.*got \(-1, -1\)",
     lambda: F.conv_transpose2d(X, W[:4], padding=4)),
    (ParameterError, "output_padding below", lambda: F.conv_transpose2d(X, W[:4],
                                                                       output_padding=1)),
    (ShapeError, r"bias of shape \(4,\), got \(6,\)",
     lambda: F.conv_transpose2d(X, W[:4], np.zeros(6, np.float32))),
    (ShapeError, "4 axes, channels last", lambda: F.conv_transpose2d(X[0], W[:4])),
])
def test_mistakes(error, match, call):
    with pytest.raises(error, match=match):
        call()


def test_a_step_learns_a_filter():
    """Gradient descent finds the edge filter that made the targets."""
    me.manual_seed(0)
    x = me.random.normal((4, 12, 12, 1))
    target = F.conv2d(x, np.float32([[[[1], [0], [-1]]] * 3]))
    layer = nn.Conv2d(1, 1, 3, bias=False)
    optimizer = me.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(150):
        loss = F.mse_loss(layer(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-4
