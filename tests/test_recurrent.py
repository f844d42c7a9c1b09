"""Recurrent layers: sequences one by one, states, masks, PyTorch, derivatives, errors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn
from medai_engine.errors import DataError, DTypeError, ParameterError, ShapeError
from medai_engine.testing import gradcheck, gradgradcheck

F64 = np.float64
LENGTHS = np.array([2, 5, 0, 4])
KINDS = {"LSTM": (nn.LSTM, nn.LSTMCell), "GRU": (nn.GRU, nn.GRUCell), "RNN": (nn.RNN, nn.RNNCell)}
layers = pytest.mark.parametrize("kind", KINDS)


def made(kind, *args, seed=0, **kwargs):
    me.manual_seed(seed)
    return KINDS[kind][0](*args, dtype=F64, **kwargs)


def normal(*shape):
    return np.random.default_rng(shape).standard_normal(shape)


def parts(state):
    """Return the tensors of a state."""
    return state if isinstance(state, tuple) else (state,)


def initial(kind, *shape):
    """Return states that differ from each other and from zero."""
    states = tuple(me.tensor(normal(*shape) + k, dtype=F64)
                   for k in range(2 if kind == "LSTM" else 1))
    return states if len(states) > 1 else states[0]


def picked(state, n):
    """Return the state of one sequence."""
    chosen = tuple(s[:, n: n + 1] for s in parts(state))
    return chosen if len(chosen) > 1 else chosen[0]


@layers
@pytest.mark.parametrize("bidirectional", [False, True])
def test_one_by_one(kind, bidirectional):
    """A padded batch gives what its sequences give alone, whatever stands in the padding."""
    layer = made(kind, 3, 6, 2, bidirectional=bidirectional)
    x = normal(4, 5, 3)
    state = initial(kind, 2 * (1 + bidirectional), 4, 6)
    for n, length in enumerate(LENGTHS):
        x[n, length:] = np.nan
    x = me.Tensor(x).requires_grad_()
    output, after = layer(x, state, LENGTHS)
    output.sum().backward()
    together = [x.grad.data.copy(), *(p.grad.data.copy() for p in layer.parameters())]
    layer.zero_grad()
    alone = np.zeros(x.shape)
    for n, length in enumerate(LENGTHS):
        own = me.Tensor(x.data[n: n + 1, :length].copy()).requires_grad_()
        y, end = layer(own, picked(state, n))
        np.testing.assert_allclose(output.data[n, :length], y.data[0], rtol=1e-12, atol=1e-14)
        assert not output.data[n, length:].any()
        for s, t in zip(parts(after), parts(end), strict=True):
            np.testing.assert_allclose(s.data[:, n], t.data[:, 0], rtol=1e-12, atol=1e-14)
        if length:
            y.sum().backward()
            alone[n, :length] = own.grad.data[0]
    np.testing.assert_allclose(together[0], alone, rtol=1e-10, atol=1e-13)
    for g, p in zip(together[1:], layer.parameters(), strict=True):
        np.testing.assert_allclose(g, p.grad.data, rtol=1e-10, atol=1e-13)


@layers
def test_steps_equal_the_layer(kind):
    """The cell, step by step, and the layer in two pieces with the state carried over."""
    layer = made(kind, 3, 4)
    cell = KINDS[kind][1](3, 4, dtype=F64)
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in layer.state_dict().items()})
    x = me.Tensor(normal(2, 6, 3))
    output, after = layer(x)
    first, state = layer(x[:, :2])
    second, ended = layer(x[:, 2:], state)
    np.testing.assert_allclose(output.data, np.concatenate([first.data, second.data], 1), 1e-13)
    step = None
    for t in range(6):
        step = cell(x[:, t], step)
        np.testing.assert_allclose(output.data[:, t], parts(step)[0].data, rtol=1e-13)
    for a, b, c in zip(parts(after), parts(ended), parts(step), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-13)
        np.testing.assert_allclose(a.data[0], c.data, rtol=1e-13)


@layers
def test_derivatives(kind):
    """First and second derivatives of all inputs, and jvp, with lengths and a state."""
    layer = made(kind, 2, 2, bidirectional=True)
    x = me.Tensor(normal(3, 3, 2)).requires_grad_()
    state = parts(initial(kind, 2, 3, 2))
    lengths = np.array([3, 0, 2])

    def run(x, *state):
        output, after = layer(x, state if len(state) > 1 else state[0], lengths)
        return me.concat([output.reshape(-1), *(s.reshape(-1) for s in parts(after))])

    assert gradcheck(run, [x, *state]) and gradgradcheck(run, [x, *state])
    v = normal(3, 3, 2)
    _, moved = me.jvp(lambda x: run(x, *state), [x.detach()], [v])
    step = 1e-6
    slope = (run(me.Tensor(x.data + step * v), *state).data
             - run(me.Tensor(x.data - step * v), *state).data) / (2 * step)
    np.testing.assert_allclose(moved.data, slope, atol=1e-8)


@pytest.mark.parametrize("function, gates, options", [
    (F.lstm, 4, {"activation": "tanh"}), (F.lstm, 4, {"activation": "relu"}), (F.gru, 3, {}),
    (F.rnn, 1, {"activation": "tanh"}), (F.rnn, 1, {"activation": "relu"})])
def test_second_derivatives_of_weights(function, gates, options):
    inputs = [me.Tensor(x) for x in (normal(2, 2, 2) + 0.1, normal(gates * 2, 2) / 2,
                                     normal(2, gates * 2).T / 2, normal(gates * 2) + 1)]

    def run(*inputs):
        return function(*inputs, lengths=[1, 2], **options)[0]

    assert gradcheck(run, inputs) and gradgradcheck(run, inputs)


@layers
def test_biases_add(kind):
    both = made(kind, 2, 3)
    if kind == "GRU":  # whose reset stands between the two: only where it is open they add
        nn.init.constant_(both.bias_ih_l0, 0.0)
        both.bias_ih_l0.data[:3] = 60.0
    one = made(kind, 2, 3, recurrent_bias=False)
    none = made(kind, 2, 3, bias=False)
    x = normal(2, 4, 2)
    state = {name: p.data.copy() for name, p in both.state_dict().items()}
    whole = both(x)[0].data
    bias = state.pop("bias_hh_l0")
    state["bias_ih_l0"] += bias
    one.load_state_dict(state)
    np.testing.assert_allclose(one(x)[0].data, whole, rtol=1e-13)
    assert [n for n, _ in none.named_parameters()] == ["weight_ih_l0", "weight_hh_l0"]
    none.load_state_dict({n: state[n] for n in ("weight_ih_l0", "weight_hh_l0")})
    one.load_state_dict({**state, "bias_ih_l0": 0 * bias})
    np.testing.assert_array_equal(one(x)[0].data, none(x)[0].data)


@layers
def test_dropout_between_layers(kind):
    layer = made(kind, 2, 64, 2, dropout=0.5)
    x = normal(3, 4, 2)
    me.manual_seed(1)
    first, again = layer(x)[0].data, layer(x)[0].data
    assert not np.array_equal(first, again)
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].data, layer(x)[0].data)
    last = made(kind, 2, 8, 1, dropout=0.9)
    np.testing.assert_array_equal(last(x)[0].data, last.eval()(x)[0].data)


@layers
def test_width_from_the_first_input(kind):
    layer, cell = KINDS[kind][0](None, 4, bidirectional=True), KINDS[kind][1](None, 4)
    assert layer.input_size is None and repr(layer).startswith(f"{kind}(None, 4")
    layer(np.zeros((1, 2, 7)))
    cell(np.zeros((1, 5)))
    assert layer.input_size == layer.weight_ih_l0_reverse.shape[1] == 7
    assert cell.weight_ih.shape[1] == 5 and layer.weight_hh_l0.data.any()


@layers
def test_no_step_and_no_sequence(kind):
    layer = made(kind, 2, 3)
    state = initial(kind, 1, 2, 3)
    output, after = layer(np.zeros((2, 0, 2)), state)
    assert output.shape == (2, 0, 3)
    for s, t in zip(parts(state), parts(after), strict=True):
        np.testing.assert_array_equal(s.data, t.data)
    assert layer(np.zeros((0, 4, 2)))[0].shape == (0, 4, 3)


@layers
def test_truncated_backpropagation(kind):
    """A detached state carries values and no gradient."""
    layer = made(kind, 2, 3)
    x = me.Tensor(normal(1, 6, 2)).requires_grad_()
    _, state = layer(x[:, :3])
    detached = tuple(s.detach() for s in parts(state))
    layer(x[:, 3:], detached if len(detached) > 1 else detached[0])[0].sum().backward()
    assert not x.grad.data[:, :3].any() and x.grad.data[:, 3:].any()


@layers
def test_wrong_calls(kind):
    layer, x = made(kind, 2, 3), np.zeros((2, 4, 2))
    for lengths, error, match in (
            ([5, 1], DataError, r"lengths from 0 to 4, the steps of x, got 5 at lengths\[0\]"),
            ([1, -1], DataError, r"got -1 at lengths\[1\]"),
            ([1.0, 2.0], DTypeError, "integer dtype, got float64"),
            ([1, 2, 3], ShapeError, r"lengths of shape \(2,\), got \(3,\)")):
        with pytest.raises(error, match=match):
            layer(x, lengths=lengths)
    with pytest.raises(ShapeError, match=r"state of shape \(1, N, 3\), got \(2, 2, 3\)"):
        layer(x, initial(kind, 2, 2, 3))
    with pytest.raises(ParameterError, match="hidden_size to be a positive integer, got 0"):
        KINDS[kind][0](2, 0)
    with pytest.raises(ParameterError, match=r"dropout from 0 to below 1, got 1\.0"):
        KINDS[kind][0](2, 3, dropout=1.0)
    with pytest.raises(ShapeError, match="an input with features"):
        KINDS[kind][0](None, 3)(np.zeros((2, 3, 0)))


def test_lstm_state_is_a_pair():
    for state in (np.zeros((1, 2, 3)), [np.zeros((1, 2, 3))]):
        with pytest.raises(ParameterError, match=r"a state of two tensors \(h, c\)"):
            nn.LSTM(2, 3)(np.zeros((2, 4, 2)), state)


def test_relu_inside():
    """Units with a relu inside: h = o relu(c), worked out by hand for one step."""
    layer = nn.LSTM(1, 1, activation="relu", dtype=F64)
    for p, value in zip(layer.parameters(), (1.0, 0.0, 0.0, 0.0), strict=True):
        nn.init.constant_(p, value)
    s = 1 / (1 + np.exp(-2.0))
    output, (_, c) = layer([[[2.0]]])
    np.testing.assert_allclose(c.item(), 2 * s, rtol=1e-6)
    np.testing.assert_allclose(output.item(), 2 * s * s, rtol=1e-6)
    assert "activation='relu'" in repr(layer)
    with pytest.raises(ParameterError, match="one of tanh, relu"):
        nn.LSTM(1, 1, activation="gelu")(np.zeros((1, 1, 1)))


def test_sequence_mask():
    expected = [[False, False, False], [True, False, False], [True, True, True]]
    np.testing.assert_array_equal(F.sequence_mask([0, 1, 3], 3).data, expected)
    with pytest.raises(DTypeError, match="integer dtype"):
        F.sequence_mask([1.0], 3)
    with pytest.raises(ShapeError, match=r"shape \(N,\)"):
        F.sequence_mask([[1]], 3)


@layers
def test_masked_pooling_and_loss(kind):
    """The mean over valid steps, and a loss of them, are those of the sequences one by one."""
    layer = made(kind, 3, 5)
    x = me.Tensor(normal(4, 6, 3)).requires_grad_()
    target = normal(4, 6, 5)
    lengths = np.array([6, 1, 4, 3])
    mask = F.sequence_mask(lengths, 6)
    output, _ = layer(x, lengths=lengths)
    mean = output.sum(axis=1) / me.Tensor(lengths[:, None].astype(F64))
    loss = me.where(mask.reshape(4, 6, 1), (output - target) ** 2, 0.0).sum() / lengths.sum()
    (loss + mean.sum()).backward()
    alone = 0.0
    for n, length in enumerate(lengths):
        y = layer(x.data[n: n + 1, :length])[0].data[0]
        np.testing.assert_allclose(mean.data[n], y.mean(axis=0), rtol=1e-12)
        alone += ((y - target[n, :length]) ** 2).sum()
    np.testing.assert_allclose(loss.item(), alone / lengths.sum(), rtol=1e-12)
    np.testing.assert_array_equal(x.grad.data.any(axis=2), mask.data)


@layers
def test_carried_state_is_one_long_sequence(kind):
    """Pieces with the state carried over, gradients flowing, give the gradients of the whole."""
    layer = made(kind, 3, 4, 2)
    x = me.Tensor(normal(2, 7, 3)).requires_grad_()
    lengths = np.array([7, 4])

    def gradients(cuts):
        state, total = None, 0.0
        for first, last in pairwise(cuts):
            output, state = layer(x[:, first:last], state,
                                  np.clip(lengths - first, 0, last - first))
            total = total + (output**2).sum()
        total.backward()
        found = [t.grad.data for t in (x, *layer.parameters())]
        x.grad = None
        layer.zero_grad()
        return [total.item(), *found]

    for a, b in zip(gradients([0, 7]), gradients([0, 3, 5, 7]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_chrono():
    bias = me.zeros(4 * 500)
    i, f, g, o = nn.init.chrono_(bias, 50).data.reshape(4, 500)
    np.testing.assert_array_equal(i, -f)
    assert not g.any() and not o.any()
    spans = np.exp(f)
    assert spans.min() >= 1 and spans.max() < 49 and abs(spans.mean() - 25) < 3
    r, z, n = nn.init.chrono_(me.zeros(3 * 500), 50, "rzn").data.reshape(3, 500)
    assert not r.any() and not n.any() and z.min() >= 0 and z.max() < np.log(49)
    for arguments, match in (((me.zeros(8), 2), "at least 3"), ((me.zeros(7), 9), "4 gates"),
                             ((me.zeros(8), 9, "x"), "rzn")):
        with pytest.raises((ParameterError, ShapeError), match=match):
            nn.init.chrono_(*arguments)
