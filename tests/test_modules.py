"""The generic checks of every row of the module table.

The last test holds a floor under the executed comparisons with PyTorch.
"""

from __future__ import annotations

import copy
import importlib.util
from collections import Counter
from typing import Any

import numpy as np
import pytest
from module_table import ROWS, tensor

import medai_engine as me
from medai_engine import nn
from medai_engine.errors import MedaiError
from medai_engine.testing import gradcheck

EXECUTED: Counter[str] = Counter()
each = pytest.mark.parametrize("name", ROWS)
HOLDERS = ("ModuleList", "ModuleDict", "ParameterList")
computing = pytest.mark.parametrize("name", [name for name in ROWS if name not in HOLDERS])


def made(name: str, seed: int = 0) -> tuple[nn.Module, list[me.Tensor]]:
    """Return a row's module with seeded weights, and its inputs as leaves."""
    me.manual_seed(seed)
    module = ROWS[name].make()
    arrays = ROWS[name].inputs(np.random.default_rng(1))
    return module, [me.Tensor(x).requires_grad_(x.dtype.kind == "f") for x in arrays]


def run(module: nn.Module, inputs: list[me.Tensor], seed: int = 5) -> np.ndarray:
    me.manual_seed(seed)
    return module(*inputs).data


def test_every_module_has_a_row():
    public = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)
              and issubclass(getattr(nn, name), nn.Module) and name != "Module"}
    assert public <= {type(r.make()).__name__ for r in ROWS.values()}
    assert all(r.torch or len(r.why) > 10 for r in ROWS.values())
    assert all(r.wrong or len(r.why) > 10 for r in ROWS.values())


@each
def test_parameters(name):
    module = made(name)[0]
    assert {n: p.shape for n, p in module.named_parameters()} == ROWS[name].parameters
    assert all(p.requires_grad and p.is_leaf for p in module.parameters())


@each
def test_repr(name):
    assert repr(made(name)[0]) == ROWS[name].text


@computing
def test_gradients(name):
    """A gradient of the inputs and of every parameter, equal to finite differences."""
    module, inputs = made(name)
    module.eval()
    floats = [x for x in inputs if x.requires_grad]
    targets = [*floats, *module.parameters()]

    def loss(*_: Any) -> Any:
        y = module(*inputs)
        return (y * np.linspace(1, 2, y.size).reshape(y.shape)).sum()

    loss().backward()
    for x in targets:
        assert x.grad is not None and x.grad.shape == x.shape and np.any(x.grad.data != 0)
    for x in targets:
        x.grad = None
    assert gradcheck(loss, targets)


@each
def test_state_round_trip(name):
    module, inputs = made(name, seed=0)
    other = made(name, seed=1)[0]
    state = copy.deepcopy(module.state_dict())
    assert set(ROWS[name].parameters) <= set(state)
    ids = [id(p) for p in other.parameters()]
    other.load_state_dict(state)
    assert [id(p) for p in other.parameters()] == ids
    for key, value in other.state_dict().items():
        assert np.array_equal(value.data, state[key].data) and value.dtype == state[key].dtype
        assert not np.may_share_memory(value.data, state[key].data)
    if name not in HOLDERS:
        assert np.array_equal(run(module, inputs), run(other, inputs))


@computing
def test_train_and_eval(name):
    module, inputs = made(name)
    assert module.training and module.eval() is module
    assert not any(m.training for m in module.modules())
    still = run(module, inputs)
    assert np.array_equal(still, run(module, inputs, seed=6))
    assert all(m.training for m in module.train().modules())
    assert np.array_equal(run(module, inputs), still) == (
        not name.startswith(("Dropout", "BatchNorm")))


@each
def test_wrong_input(name):
    if ROWS[name].wrong is None:
        return
    arguments, match = ROWS[name].wrong
    with pytest.raises(MedaiError, match=match) as caught:
        made(name)[0](*arguments)
    assert str(caught.value).startswith("model")


@computing
def test_deep_copy_and_dtype(name):
    module, inputs = made(name)
    twin = copy.deepcopy(module)
    assert np.array_equal(run(module, inputs), run(twin, inputs))
    for p, q in zip(module.parameters(), twin.parameters(), strict=True):
        assert p is not q and not np.may_share_memory(p.data, q.data)
        assert q.requires_grad and q.node.tensor() is q
    narrow = module.astype(np.float32)
    assert narrow is module and all(p.dtype == np.float32 for p in module.parameters())
    y = run(module, [me.Tensor(x.data.astype(np.float32)) if x.requires_grad else x
                     for x in inputs])
    assert y.dtype == np.float32
    if list(module.parameters()):  # rule 9: floating input follows the parameters
        assert np.array_equal(run(module, inputs), y)


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].torch])
def test_pytorch(name):
    """The same values and gradients from PyTorch's module with the same weights."""
    torch = pytest.importorskip("torch")
    row = ROWS[name]
    module, inputs = made(name)
    theirs = row.torch(torch.nn).double()
    names = dict(theirs.named_parameters())

    def moved(x: Any, source: int, target: int) -> Any:
        """Move the channels of a convolution's weight."""
        return x.movedim(source, target) if row.first and x.ndim > 2 else x

    assert {n: tuple(moved(p, 1, -1).shape) for n, p in names.items()} == row.parameters
    theirs.load_state_dict({n: moved(tensor(t.data), -1, 1)
                            for n, t in module.state_dict().items() if n in theirs.state_dict()})
    others = [tensor(x.data).requires_grad_(x.requires_grad) for x in inputs]
    y = module(*inputs)
    z = theirs(*[x.movedim(-1, 1) for x in others] if row.first else others)
    z = z.movedim(1, -1) if row.first else z
    # PyTorch rounds the constant 1/6 to float32
    rtol = 1e-7 if name == "Hardsigmoid" else 1e-11
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=rtol, atol=1e-14)
    cotangent = np.random.default_rng(2).standard_normal(y.shape)
    y.backward(cotangent)
    z.backward(tensor(cotangent))
    pairs = [*zip(inputs, others, strict=True),
             *((p, names[n]) for n, p in module.named_parameters())]
    for ours, other in pairs:
        if ours.requires_grad:
            grad = moved(other.grad, 1, -1) if isinstance(ours, nn.Parameter) else other.grad
            np.testing.assert_allclose(ours.grad.data, grad.numpy(), rtol=rtol, atol=1e-14)
    EXECUTED[name] += 1


def test_pytorch_ran(request):
    """The comparisons are optional to install, but not to run."""
    if importlib.util.find_spec("torch") and all(
            f"test_pytorch[{name}]" in {i.name for i in request.session.items}
            for name in ROWS if ROWS[name].torch):
        assert len(EXECUTED) >= 38
