"""Attention: PyTorch's meaning, masks, rows without keys, dropout, derivatives, memory, layers."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn
from medai_engine.errors import DTypeError, ParameterError, ShapeError
from medai_engine.testing import gradcheck, gradgradcheck

F64 = np.float64
attention = F.scaled_dot_product_attention


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def leaf(*shape, seed=0):
    return me.Tensor(normal(*shape, seed=seed)).requires_grad_()


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("masked", [None, (1, 1), (4, 5), (3, 4, 5), (1, 3, 1, 5), (2, 1, 3, 4, 1)])
@pytest.mark.parametrize("boolean", [False, True])
def test_pytorch(lead, masked, boolean):
    """Values and gradients, the mask's included, for every way in which a mask broadcasts."""
    torch = pytest.importorskip("torch")
    if masked and len(masked) > len(lead) + 2:
        return
    inputs = [leaf(*lead, 4, 6, seed=1), leaf(*lead, 5, 6, seed=2), leaf(*lead, 5, 3, seed=3)]
    others = [torch.tensor(x.data, requires_grad=True) for x in inputs]
    mask = theirs = None
    if masked:
        mask = normal(*masked) < 0.5 if boolean else leaf(*masked)
        theirs = torch.tensor(mask if boolean else mask.data)
        if not boolean:
            theirs.requires_grad_()
            inputs.append(mask)
            others.append(theirs)
    y = attention(*inputs[:3], mask, scale=0.7)
    z = torch.nn.functional.scaled_dot_product_attention(*others[:3], theirs, scale=0.7)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-11, atol=1e-13)
    g = normal(*y.shape, seed=4)
    y.backward(g)
    z.backward(torch.tensor(g))
    for a, b in zip(inputs, others, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("L", "S"), [(4, 4), (5, 3), (2, 6)])
def test_causal_is_pytorchs(L, S):
    torch = pytest.importorskip("torch")
    q, k, v = normal(2, L, 4), normal(2, S, 4), normal(2, S, 3)
    z = torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, (q, k, v)),
                                                         is_causal=True)
    y = attention(q, k, v, is_causal=True)
    np.testing.assert_allclose(y.data, z.numpy(), rtol=1e-11)
    both = attention(q, k, v, np.tri(L, S) > 0, is_causal=True)
    np.testing.assert_allclose(both.data, y.data, rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, F64])
def test_a_row_without_keys_is_zero(dtype):
    """As in PyTorch 2.13: no NaN, and no gradient."""
    q, k, v = (me.Tensor(normal(1, 3, 4, seed=n).astype(dtype)).requires_grad_() for n in range(3))
    mask = np.ones((3, 3), bool)
    mask[1] = False
    for given in (mask, np.where(mask, 0, -np.inf)):
        masked = partial(attention, attn_mask=given)
        y = masked(q, k, v)
        assert (y.data[0, 1] == 0).all() and (y.data[0, [0, 2]] != 0).all()
        dq, dk, dv = me.vjp(masked, q, k, v)[1](np.ones((1, 3, 4), dtype))
        assert (dq.data[0, 1] == 0).all() and (dq.data[0, [0, 2]] != 0).any()
        assert all(np.isfinite(t.data).all() for t in (dk, dv))
        assert gradgradcheck(masked, [t.data.astype(F64) for t in (q, k, v)])


def test_derivatives():
    """Against differences; second ones too, with a learned mask."""
    inputs = [normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 2), normal(3, 5)]
    assert gradcheck(lambda *t: attention(*t, is_causal=True), inputs)
    assert gradgradcheck(lambda *t: attention(*t, is_causal=True), inputs)


def test_dropout_of_weights():
    q, k = np.zeros((1, 4000, 2)), np.zeros((1, 10, 2))
    v = np.eye(10)[None]
    y = attention(q, k, v, dropout_p=0.3, rng=me.random.Generator(1))
    again = attention(q, k, v, dropout_p=0.3, rng=me.random.Generator(1))
    assert np.array_equal(y.data, again.data)
    values = np.unique(y.data.round(12))
    np.testing.assert_allclose(values, [0, 0.1 / 0.7])
    assert abs((y.data == 0).mean() - 0.3) < 0.01
    assert gradcheck(lambda v: attention(q[:, :5], k, v, dropout_p=0.3,
                                         rng=me.random.Generator(1)), [v])
    with pytest.raises(ParameterError, match=r"dropout_p between 0 and 1, got 1\.5"):
        attention(q, k, v, dropout_p=1.5)


@pytest.mark.parametrize(("shapes", "match"), [
    (((3, 4), (5, 4), (6, 4)), r"\(1, 1, 5, 4\) and \(1, 1, 6, 4\)"),
    (((4,), (5, 4), (5, 4)), "at least 2 axes"),
    (((2, 3, 4), (3, 5, 4), (3, 5, 4)), "leading axes that broadcast"),
    (((3, 4), (5, 4), (5, 4), (4, 5)), r"broadcasts to \(3, 5\).*got \(4, 5\)"),
    (((3, 4), (5, 4), (5, 4), (2, 3, 5)), r"broadcasts to \(3, 5\).*got \(2, 3, 5\)")])
@pytest.mark.parametrize("dropout_p", [0.0, 0.5])
def test_wrong_shapes(shapes, match, dropout_p):
    with pytest.raises(ShapeError, match=match):
        attention(*map(np.zeros, shapes), dropout_p=dropout_p)


def test_an_integer_mask_becomes_an_added_one():
    q = normal(3, 4)
    with pytest.raises(DTypeError, match="float32 or float64"):
        attention(*(np.zeros((3, 4), int),) * 3)
    np.testing.assert_array_equal(attention(q, q, q, np.eye(3, dtype=int)).data,
                                  attention(q, q, q, np.eye(3)).data)


@pytest.mark.slow
def test_memory_is_linear():
    """Forward and backward of 16,384 steps, whose weights alone would be 1 GB."""
    code = """
import resource, numpy as np, medai_engine as me
from medai_engine import functional as F
q = [me.Tensor(np.ones((1, 16384, 8), np.float32)).requires_grad_() for _ in range(3)]
F.scaled_dot_product_attention(*q).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peak = int(subprocess.run([sys.executable, "-c", code], check=True,
                              capture_output=True, text=True).stdout)
    assert peak < 300_000


# ---- layers -----------------------------------------------------------------------------------


def heads(seed=0, **options):
    me.manual_seed(seed)
    return nn.MultiheadAttention(6, 3, dtype=F64, **options)


def theirs(module, **options):
    """Return PyTorch's layer with the same weights."""
    torch = pytest.importorskip("torch")
    other = torch.nn.MultiheadAttention(6, 3, batch_first=True, **options).double()
    other.load_state_dict({n: torch.tensor(p.data) for n, p in module.state_dict().items()})
    return other


@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("padded", [None, "boolean", "added"])
@pytest.mark.parametrize("masked", [None, "boolean", "added", "per head"])
def test_multihead_is_pytorchs(bias, average, padded, masked):
    torch = pytest.importorskip("torch")
    module = heads(bias=bias)
    other = theirs(module, bias=bias)
    query, key, value = normal(2, 4, 6), normal(2, 5, 6, seed=1), normal(2, 5, 6, seed=2)
    padding = np.array([[False] * 5, [False, False, True, True, False]])
    mask = np.triu(np.ones((4, 5), bool), 2)
    masks = {"key_padding_mask": {None: None, "boolean": padding,
                                  "added": np.where(padding, -3.0, 0.5)}[padded],
             "attn_mask": {None: None, "boolean": mask, "added": normal(4, 5),
                           "per head": normal(6, 4, 5)}[masked]}
    options = {k: v if v is None else torch.tensor(v) for k, v in masks.items()}
    z, w = other(*map(torch.tensor, (query, key, value)), average_attn_weights=average, **options)
    y, weights = module(query, key, value, average_attn_weights=average, **masks)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(weights.data, w.detach().numpy(), rtol=1e-10, atol=1e-12)
    lean, nothing = module(query, key, value, need_weights=False, **masks)
    assert nothing is None
    np.testing.assert_allclose(lean.data, y.data, rtol=1e-12, atol=1e-13)


def test_key_and_value_default_to_the_query():
    module, x = heads(), normal(2, 4, 6)
    y = module(x)[0].data
    assert np.array_equal(module(x, x, x)[0].data, y)
    causal = module(x, is_causal=True, need_weights=False)[0].data
    masked = module(x, attn_mask=~np.tri(4, dtype=bool), need_weights=False)[0].data
    np.testing.assert_allclose(causal, masked, rtol=1e-12)


def test_padding_everything_gives_the_offset():
    """Where PyTorch gives NaN or 0, depending on need_weights."""
    module = heads()
    module.out_proj.bias.data[...] = np.arange(6)
    for need_weights in (True, False):
        y, _ = module(normal(1, 2, 6), key_padding_mask=np.ones((1, 2), bool),
                      need_weights=need_weights)
        np.testing.assert_array_equal(y.data, np.broadcast_to(np.arange(6.0), (1, 2, 6)))


def test_multihead_dropout_only_while_training():
    module, x = heads(dropout=0.5), normal(2, 4, 6)
    first, second = (module(x, need_weights=False)[0].data for _ in range(2))
    assert not np.array_equal(first, second)
    module.eval()
    np.testing.assert_allclose(module(x, need_weights=False)[0].data, module(x)[0].data,
                               rtol=1e-12)


@pytest.mark.parametrize(("options", "match"), [
    ({"key_padding_mask": np.zeros((2, 3), bool)}, r"key_padding_mask of shape \(2, 4\)"),
    ({"attn_mask": np.zeros((4, 3), bool)}, r"attn_mask of shape \(4, 4\) or \(6, 4, 4\)"),
    ({"key": np.zeros((2, 4, 5))}, r"key of shape \(N, length, 6\)")])
def test_multihead_mistakes(options, match):
    with pytest.raises(ShapeError, match=match):
        heads()(normal(2, 4, 6), **options)
    with pytest.raises(DTypeError, match="bool or floating values, got int64"):
        heads()(normal(2, 4, 6), attn_mask=np.zeros((4, 4), int))
    with pytest.raises(ParameterError, match="num_heads that divides 6, got 4"):
        nn.MultiheadAttention(6, 4)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_layer_is_pytorchs(norm_first, activation):
    torch = pytest.importorskip("torch")
    me.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 8, 0.0, activation, norm_first=norm_first, dtype=F64)
    other = torch.nn.TransformerEncoderLayer(6, 2, 8, 0.0, activation, norm_first=norm_first,
                                             batch_first=True).double()
    other.load_state_dict({n: torch.tensor(p.data) for n, p in layer.state_dict().items()})
    x, padding = normal(2, 4, 6), np.array([[False] * 4, [False, False, False, True]])
    mask = ~np.tri(4, dtype=bool)
    z = other(torch.tensor(x), torch.tensor(mask), torch.tensor(padding))
    y = layer(x, mask, padding)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer(x, None, padding, is_causal=True).data, y.data, rtol=1e-11,
                               atol=1e-13)


def test_encoder_layer_learns():
    """Which of two sequences is a palindrome cannot be told without looking at pairs of steps."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 6, 8)).astype(np.float32)
    x[::2] = (x[::2] + x[::2, ::-1]) / np.sqrt(2)
    labels = np.arange(64) % 2
    me.manual_seed(1)
    position = me.Tensor(rng.standard_normal((6, 8)).astype(np.float32))
    layer, head = nn.TransformerEncoderLayer(8, 2, 32, 0.1), nn.Linear(8, 2)
    optimizer = me.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.01)
    losses = []
    for _ in range(120):
        loss = F.cross_entropy(head(layer(position + x).mean(axis=1)), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[0] > 0.6 and np.mean(losses[-10:]) < 0.3


def test_encoder_layer_takes_a_function():
    layer = nn.TransformerEncoderLayer(4, 2, 8, activation=F.silu).eval()
    assert layer(np.ones((1, 2, 4), np.float32)).shape == (1, 2, 4)
    with pytest.raises(ParameterError, match=r'"relu", "gelu" or a function, got \'tan\''):
        nn.TransformerEncoderLayer(4, 2, activation="tan")
