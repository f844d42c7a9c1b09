"""Convolution with activation and pooling: layers, functions, and when Sequential joins them."""

import sys

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn
from medai_engine.autograd import gradients, locate
from medai_engine.errors import ParameterError, ShapeError
from medai_engine.functional.conv import NAMED
from medai_engine.op import empty
from medai_engine.ops.conv_fused import ACTIVATIONS

CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
POOL = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
MODULES = {"relu": nn.ReLU(), "relu6": nn.ReLU6(), "leaky_relu": nn.LeakyReLU(0.2),
           "elu": nn.ELU(0.6), "selu": nn.SELU(), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh()}


def ran(y):
    """Return the name of the op that y comes from."""
    return locate(y.node)[0].op.name


def learnt(model, x, forward=None):
    """Return the output and all gradients, for a cotangent that depends on the shape only."""
    x = me.tensor(x).requires_grad_()
    y = (forward or model)(x)
    y.backward(np.random.default_rng(3).standard_normal(y.shape).astype(y.dtype))
    found = [y.data, x.grad.data, *[p.grad.data for p in model.parameters()]]
    model.zero_grad()
    return ran(y), found


def alone(model):
    """Return a function that calls the layers one by one."""
    def forward(x):
        for layer in model:
            x = layer(x)
        return x
    return forward


def same(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tobytes() == b.tobytes()


def images(axes, dtype=np.float32):
    return np.random.default_rng(4).standard_normal((2, *(11, 9, 6)[:axes], 3)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("name", ["", *MODULES])
def test_sequential_keeps_every_bit(name, axes, dtype):
    """Three layers in a row are one op, with the bits of three, gradients included."""
    me.manual_seed(0)
    then = [MODULES[name]] if name else []
    for windows, bias in ((2, True), ((3, 2, 2)[:axes], False)):
        conv = CONV[axes - 1](3, 20, 3, padding=1, bias=bias, dtype=dtype)
        for layers, op in (([conv, *then, POOL[axes - 1](windows)], "conv_pool"),
                           ([conv, *then, nn.Identity(), POOL[axes - 1](windows)], "max_pool"),
                           ([conv, *then], "conv_activation" if then else "conv")):
            model = nn.Sequential(*layers)
            x = images(axes, dtype)
            name, found = learnt(model, x)
            assert name == op
            same(found, learnt(model, x, alone(model))[1])


@pytest.mark.parametrize("name", ["", *NAMED])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_layers_name_what_follows(name, axes):
    """Conv(..., activation=, pool=) is the convolution, the function and the pooling."""
    me.manual_seed(0)
    conv = CONV[axes - 1](3, 5, 2, stride=2, activation=name or None, pool=2)
    then = getattr(F, name) if name else lambda x: x
    pools = getattr(F, f"max_pool{axes}d")
    plain = getattr(F, f"conv{axes}d")
    x = images(axes)
    op, found = learnt(conv, x)
    same(found, learnt(conv, x, lambda x: pools(then(plain(x, conv.weight, conv.bias, 2)), 2))[1])
    assert op == ("conv_pool" if not name or name in ACTIVATIONS else "max_pool")


FALLBACKS = {
    "overlapping windows": [nn.ReLU(), nn.MaxPool2d(3, 2)],
    "gaps between windows": [nn.ReLU(), nn.MaxPool2d(2, 3)],
    "padded windows": [nn.ReLU(), nn.MaxPool2d(2, padding=1)],
    "dilated windows": [nn.ReLU(), nn.MaxPool2d(2, dilation=2)],
    "windows over the end": [nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)],
    "windows with places": [nn.ReLU(), nn.MaxPool2d(2, return_indices=True)],
    "means": [nn.ReLU(), nn.AvgPool2d(2)],
    "an activation of the input": [nn.GELU(), nn.MaxPool2d(2)],
    "a falling slope": [nn.LeakyReLU(-0.1), nn.MaxPool2d(2)],
    "something between": [nn.ReLU(), nn.Identity(), nn.MaxPool2d(2)],
    "pooling first": [nn.Identity(), nn.MaxPool2d(2), nn.ReLU()],
}


@pytest.mark.parametrize("name", FALLBACKS)
def test_what_is_not_joined(name):
    me.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *FALLBACKS[name])
    x = me.tensor(images(2))
    y, z = model(x), alone(model)(x)
    if isinstance(y, tuple):
        y, z = y[0], z[0]
    assert ran(y) == ran(z) != "conv_pool"
    assert y.data.tobytes() == z.data.tobytes()


def test_large_windows_are_composed():
    """Beyond 256 entries a place is no byte."""
    x = np.random.default_rng(0).standard_normal((1, 40, 40, 1)).astype(np.float32)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d((17, 16)))
    conv = nn.Conv2d(1, 2, 3, activation="relu", pool=(17, 16))
    conv.load_state_dict({"weight": model[0].weight, "bias": model[0].bias})
    op, found = learnt(model, x)
    assert op == learnt(conv, x)[0] == "max_pool"
    same(found, learnt(conv, x)[1])


def test_layers_that_are_watched_or_changed_are_called():
    calls = []

    class Loud(nn.Conv2d):
        def forward(self, x):
            calls.append("conv")
            return super().forward(x)

    class Tamed(nn.ReLU):
        pass

    x = images(2)
    assert learnt(nn.Sequential(Loud(3, 4, 3), nn.ReLU()), x)[0] == "relu"
    assert calls == ["conv"]
    assert learnt(nn.Sequential(nn.Conv2d(3, 4, 3), Tamed()), x)[0] == "relu"
    for place in range(3):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2))

        def watched(x, inner=model[place].forward, place=place):
            calls.append(place)
            return inner(x)

        model[place].forward = watched
        learnt(model, x)
        assert calls.pop() == place
    for backend in ("reference", "loops"):
        with me.backend(backend):
            assert learnt(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), x)[0] == "relu"


def test_what_is_kept():
    """Beside the inputs only the pooled output, and a byte for each of its entries."""
    conv = nn.Conv2d(3, 4, 3, padding=1, activation="relu", pool=2)
    x = me.ones((2, 8, 6, 3)).requires_grad_()
    y = conv(x)
    outputs = y.node.node.saved[3:]
    assert [(a.shape, a.dtype) for a in outputs] == [(y.shape, np.float32), (y.shape, np.uint8)]
    single = nn.Conv2d(3, 4, 3, activation="tanh")(x)
    assert [a.shape for a in single.node.saved[3:]] == [single.shape]


def test_nothing_has_full_resolution(monkeypatch):
    """Neither forward nor backward makes an array as large as the convolution's output."""
    sizes = []

    def noted(shape, dtype):
        sizes.append(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return empty(shape, dtype)

    monkeypatch.setattr(sys.modules["medai_engine.op"], "empty", noted)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    x = me.ones((2, 32, 32, 3)).requires_grad_()
    full = 2 * 32 * 32 * 16 * 4
    for forward, most in ((model, full // 4), (alone(model), full)):
        sizes.clear()
        forward(x).sum().backward()
        assert max(sizes) == most


def test_second_derivatives_go_through_compositions():
    conv = nn.Conv2d(2, 3, 3, activation="tanh", pool=2, dtype=np.float64)
    x = me.tensor(np.random.default_rng(0).standard_normal((1, 6, 6, 2)))

    def penalty(run):
        leaf = me.tensor(x.data.copy()).requires_grad_()
        y = run(leaf)
        g, = gradients([y], [leaf], [me.ones(y.shape, dtype=np.float64)], create_graph=True)
        conv.zero_grad()
        (g * g).sum().backward()
        return [leaf.grad.data, conv.weight.grad.data]

    plain = penalty(lambda t: F.max_pool2d(F.tanh(F.conv2d(t, conv.weight, conv.bias)), 2))
    for a, b in zip(penalty(conv), plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


X, W = np.zeros((1, 5, 5, 4), np.float32), np.zeros((6, 3, 3, 4), np.float32)


@pytest.mark.parametrize("error, match, call", [
    (ParameterError, "activation as one of.*got 'softmax'",
     lambda: F.conv2d(X, W, activation="softmax")),
    (ParameterError, "Conv1d: expected activation as one of.*got 3",
     lambda: nn.Conv1d(4, 6, 3, activation=3)),
    (ParameterError, r"pool as an integer of at least 1.*got 0", lambda: F.conv2d(X, W, pool=0)),
    (ParameterError, r"Conv2d: expected pool as.*got \(2, 2, 2\)",
     lambda: nn.Conv2d(4, 6, 3, pool=(2, 2, 2))),
    (ShapeError, r"at least \(4, 4\) outputs.*got \(3, 3\)", lambda: F.conv2d(X, W, pool=4)),
])
def test_mistakes(error, match, call):
    with pytest.raises(error, match=match):
        call()


def test_errors_of_joined_layers_name_the_layer():
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.MaxPool2d(4))
    with pytest.raises(ShapeError, match=r"model\.2 \(MaxPool2d\)"):
        model(X)
    with pytest.raises(ShapeError, match=r"model\.0 \(Conv2d\).*4 input channels.*got 3"):
        model(X[..., :3])
