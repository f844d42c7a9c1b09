"""What single modules and the Module class promise, beyond the checks of the module table."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import medai_engine as me
from medai_engine import nn
from medai_engine.errors import MedaiError, ParameterError

F64 = np.float64


def test_dropout():
    layer = nn.Dropout(0.5, rng=me.random.Generator(1))
    x = me.Tensor(np.ones((40, 50), np.float32))
    y = layer(x).numpy()
    assert set(np.unique(y)) == {0.0, 2.0} and abs(y.mean() - 1) < 0.1
    assert layer.eval()(x) is x
    with pytest.raises(ParameterError, match="between 0 and 1"):
        nn.Dropout(-0.1)


def test_residual():
    body = nn.Linear(3, 3, dtype=F64)
    x = np.random.default_rng(0).standard_normal((2, 3))
    assert np.array_equal(nn.Residual(body)(x).data, (body(x) + x).data)
    with pytest.raises(MedaiError, match=r"model \(Residual\).*returns \(2, 3\), got \(2, 1\)"):
        nn.Residual(nn.Linear(3, 1, dtype=F64))(x)
    wide = nn.Linear(3, 1, dtype=F64)
    both = nn.Residual(nn.Linear(3, 1, dtype=F64), shortcut=wide)
    assert np.array_equal(both(x).data, (both.body(x) + wide(x)).data)


def test_linear_infers_its_width():
    me.manual_seed(0)
    model = nn.Sequential(nn.Linear(None, 4), nn.ReLU(), nn.Linear(None, 2))
    parameters = list(model.parameters())
    assert model[0].in_features is None and model[0].weight.shape == (4, 0)
    assert model(np.ones((3, 5))).shape == (3, 2)
    assert [p.shape for p in parameters] == [(4, 5), (4,), (2, 4), (2,)]
    assert all(p is q for p, q in zip(parameters, model.parameters(), strict=True))
    with pytest.raises(MedaiError, match="expected 5 input features, got 6"):
        model(np.ones((3, 6)))
    fresh = nn.Sequential(nn.Linear(None, 4), nn.ReLU(), nn.Linear(None, 2))
    fresh.load_state_dict(model.state_dict())
    assert np.array_equal(fresh(np.ones((3, 5))).data, model(np.ones((3, 5))).data)


def test_containers_behave_like_lists_and_dicts():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    chain = nn.Sequential(a, b)
    assert chain.append(c) is chain and list(chain) == [a, b, c] and len(chain) == 3
    assert chain[-1] is c and list(chain[1:]) == [b, c] and isinstance(chain[1:], nn.Sequential)
    del chain[0]
    assert [n for n, _ in chain.named_children()] == ["0", "1"] and list(chain) == [b, c]
    chain.insert(1, a)
    assert list(chain) == [b, a, c]
    chain[0] = a
    assert chain[0] is a and list(nn.Sequential([a, b])) == [a, b]
    named = nn.Sequential({"first": a, "second": b})
    assert named.first is a and [n for n, _ in named.named_children()] == ["first", "second"]
    table = nn.ModuleDict({"a": a})
    table["b"] = b
    assert list(table) == ["a", "b"] == table.keys() and table.values() == [a, b]
    assert table.pop("a") is a and "a" not in table and table.items() == [("b", b)]
    with pytest.raises(IndexError):
        chain[5]
    with pytest.raises(KeyError):
        table["none"]


@pytest.mark.parametrize("call, match", [
    (lambda: nn.Sequential(nn.ReLU), r"the class ReLU.*ReLU\(\)"),
    (lambda: nn.Sequential(nn.Linear(2, 2), np.tanh), r"nn.ReLU\(\) for F.relu"),
    (lambda: nn.ModuleList([3]), "a Module as member 0, got int"),
    (lambda: nn.ModuleDict({"keys": nn.ReLU()}), "Choose another name"),
    (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), "without a dot"),
    (lambda: nn.Linear(0, 3), "in_features to be a positive integer, got 0"),
    (lambda: nn.Linear(3, 2.5), "out_features to be a positive integer, got 2.5"),
    (lambda: nn.Embedding(3, 2, padding_idx=3), "within 3 rows, got 3"),
])
def test_wrong_construction(call, match):
    with pytest.raises(ParameterError, match=match):
        call()


def test_parameters_of_numbers_are_float32():
    assert nn.Parameter([1, 2]).dtype == np.float32 == nn.Buffer(3.0).dtype
    assert nn.Parameter(np.zeros(2)).dtype == F64
    table = np.zeros(3, np.float32)
    assert np.may_share_memory(nn.Parameter(table).data, table)
    with pytest.raises(me.DTypeError, match="floating"):
        nn.Parameter(np.array([1, 2]))


# ---- what Module promises ---------------------------------------------------------------------


class Net(nn.Module):
    """A user's module: no call of super().__init__, a tied weight, a buffer, a nested module."""

    def __init__(self) -> None:
        self.first = nn.Linear(3, 3)
        self.again = self.first
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.tied = self.scale
        self.register_buffer("count", np.zeros(1, np.float32))
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(3, 2))

    def forward(self, x: Any) -> Any:
        return self.head(self.again(self.first(x)) * self.scale)


def test_names_and_ties():
    net = Net()
    names = ["scale", "first.weight", "first.bias", "head.1.weight", "head.1.bias"]
    assert [n for n, _ in net.named_parameters()] == names
    assert [n for n, _ in net.named_buffers()] == ["count"] and len(list(net.buffers())) == 1
    assert [n for n, _ in net.named_modules()] == ["", "first", "head", "head.0", "head.1"]
    assert [n for n, _ in net.named_children()] == ["first", "again", "head"]
    assert {"again.weight", "tied", "count"} <= set(net.state_dict())
    net(np.ones((2, 3))).sum().backward()
    assert net.first.weight.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_switches_reach_everything():
    net = Net()
    seen: list[nn.Module] = []
    assert net.apply(seen.append) is net and seen[-1] is net and len(seen) == 5
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    assert not net(np.ones((2, 3))).requires_grad
    before = list(net.parameters())
    net.astype(me.float64)
    assert all(p is q and p.dtype == np.float64
               for p, q in zip(before, net.parameters(), strict=True))
    assert net.count.dtype == np.float64 and net(np.ones((2, 3), np.float32)).dtype == np.float64
    with pytest.raises(MedaiError, match="float32 or float64"):
        net.astype(np.int64)


def test_load_state_dict_changes_nothing_when_it_fails():
    net = Net()
    kept = copy.deepcopy(net.state_dict())
    good = {key: np.full(t.shape, 7.0) for key, t in kept.items()}
    shape = good | {"head.1.bias": np.zeros(5)}
    kind = good | {"count": np.array([1j])}
    fewer = {key: value for key, value in good.items() if key != "head.1.bias"}
    for state, match in ((shape, r"head.1.bias of shape \(2,\), got \(5,\)"),
                         (kind, "count of float32, got complex128"),
                         (fewer, "missing head.1.bias"), (good | {"extra": 1}, "unexpected extra")):
        with pytest.raises(MedaiError, match=match):
            net.load_state_dict(state)
        for key, value in net.state_dict().items():
            assert np.array_equal(value.data, kept[key].data)
    loaded = net.load_state_dict(fewer | {"extra": 1}, strict=False)
    assert loaded == (["head.1.bias"], ["extra"])
    assert np.array_equal(net.first.bias.data, np.full(3, 7.0, np.float32))
    assert np.array_equal(net.head[1].bias.data, kept["head.1.bias"].data)


def test_loading_invalidates_what_was_computed_before():
    layer = nn.Linear(2, 1)
    x = me.Tensor(np.ones((1, 2), np.float32)).requires_grad_()
    y = layer(x)
    layer.load_state_dict(nn.Linear(2, 1).state_dict())
    with pytest.raises(MedaiError, match="written since"):
        y.backward()


@pytest.mark.parametrize("hidden, match", [
    ([nn.Linear(2, 2)], "a list that holds a Linear.*nn.ModuleList"),
    ({"a": nn.Linear(2, 2)}, "a dict that holds a Linear.*nn.ModuleDict"),
    ((nn.Parameter(np.zeros(2)),), "a tuple that holds a Parameter.*nn.ParameterList"),
])
def test_hidden_modules_are_refused(hidden, match):
    net = Net()
    net.layers = hidden
    for ask in (lambda: list(net.parameters()), net.state_dict, net.train, net.zero_grad):
        with pytest.raises(ParameterError, match=match):
            ask()


def test_errors_carry_the_path():
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(5, 2)))
    with pytest.raises(MedaiError) as caught:
        net(np.zeros((2, 3), np.float32))
    assert str(caught.value) == (
        "model.1.1 (Linear): linear: expected 5 input features, got 4. x (..., in) = (2, 4), "
        "weight (out, in) = (2, 5). Use Linear(4, 2), or Linear(None, ...) to infer it.")
    with pytest.raises(ParameterError, match=r"a method forward\(self, x\)"):
        nn.Module()(1)


def test_an_error_names_the_layer_that_made_the_width():
    body = nn.Sequential(nn.ReLU(), nn.Identity(), nn.Flatten(), nn.Linear(100, 2))
    for net, path in ((body, "model"), (nn.Sequential(nn.ReLU(), body), "model.1")):
        with pytest.raises(MedaiError) as caught:
            net(np.zeros((8, 13, 13, 32), np.float32))
        assert str(caught.value) == (
            f"{path}.3 (Linear): linear: expected 100 input features, got 5408 (= 13 x 13 x 32 "
            f"from {path}.2 Flatten). x (..., in) = (8, 5408), weight (out, in) = (2, 100). "
            "Use Linear(5408, 2), or Linear(None, ...) to infer it.")


def test_a_call_walks_no_registry(monkeypatch):
    """The cost of a call is that of its forward: nothing looks for parameters."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    for walk in ("named_children", "named_modules", "named_parameters"):
        monkeypatch.setattr(nn.Module, walk, lambda *_: pytest.fail("a walk"))
    assert model(np.zeros((2, 3), np.float32)).shape == (2, 4)
