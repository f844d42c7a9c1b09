"""The module table: one row per module of ``nn``, walked by every generic check.

A row makes the module and its inputs; where PyTorch has the module, it also makes that one, and
weights are copied over by name. The last test holds a floor under the executed comparisons.
"""

from __future__ import annotations

import copy
import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import medai_engine as me
from medai_engine import nn
from medai_engine.errors import MedaiError, ParameterError
from medai_engine.nn.containers import Container
from medai_engine.testing import gradcheck

EXECUTED: Counter[str] = Counter()
ROWS: dict[str, Row] = {}


@dataclass(frozen=True)
class Row:
    """One module.

    Attributes
    ----------
    make : callable
        Returns the module, in float64 where it has parameters.
    inputs : callable
        numpy Generator -> list of arrays; floating ones are differentiated.
    text : str
        What it prints.
    parameters : mapping
        Shapes by name, in order.
    torch : callable or None
        ``torch.nn`` -> PyTorch's module, or None with the reason in ``why``.
    wrong : tuple or None
        Arguments that have to raise, and a pattern of the message.
    why : str
        Why PyTorch is no oracle, or why no input is wrong.
    """

    make: Callable[[], nn.Module]
    inputs: Callable[[np.random.Generator], list[np.ndarray]]
    text: str
    parameters: dict[str, tuple[int, ...]] = field(default_factory=dict)
    torch: Callable[[Any], Any] | None = None
    wrong: tuple[Sequence[Any], str] | None = None
    why: str = ""
    first: bool = False  # whether PyTorch wants channels first


def row(name: str, make: Callable[[], nn.Module], inputs: Any, text: str, **fields: Any) -> None:
    ROWS[name] = Row(make, inputs, text, **fields)


def one(*shape: int) -> Callable[[np.random.Generator], list[np.ndarray]]:
    """Return one normal input."""
    return lambda r: [r.standard_normal(shape)]


def two(*shape: int) -> Callable[[np.random.Generator], list[np.ndarray]]:
    """Return two inputs of one shape."""
    return lambda r: list(r.standard_normal((2, *shape)))


def shares(*shape: int) -> Callable[[np.random.Generator], list[np.ndarray]]:
    """Return probabilities and targets between 0 and 1."""
    return lambda r: list(r.uniform(0.1, 0.9, (2, *shape)))


F64 = np.float64
integers = np.zeros((2, 3), int)

# ---- activations ------------------------------------------------------------------------------

for _name in ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Sigmoid", "LogSigmoid", "Tanh", "Softsign",
              "Hardsigmoid", "Hardswish"):
    row(_name, getattr(nn, _name), one(4, 5), f"{_name}()",
        torch=lambda t, name=_name: getattr(t, name)(), why="takes anything that is a number")
for _name, _options, _text in (
        ("LeakyReLU", {"negative_slope": 0.2}, "negative_slope=0.2"),
        ("ELU", {"alpha": 0.5}, "alpha=0.5"), ("CELU", {"alpha": 0.5}, "alpha=0.5"),
        ("GELU", {"approximate": "tanh"}, "approximate='tanh'"),
        ("Softplus", {"beta": 2.0, "threshold": 1.0}, "beta=2.0, threshold=1.0"),
        ("Hardtanh", {"min_val": -0.5, "max_val": 2.0}, "min_val=-0.5, max_val=2.0")):
    row(_name, lambda name=_name, options=_options: getattr(nn, name)(**options), one(4, 5),
        f"{_name}({_text})", why="takes anything that is a number",
        torch=lambda t, name=_name, options=_options: getattr(t, name)(**options))
for _name in ("Softmax", "LogSoftmax"):
    row(_name, lambda name=_name: getattr(nn, name)(axis=0), one(4, 5), f"{_name}(axis=0)",
        torch=lambda t, name=_name: getattr(t, name)(dim=0),
        wrong=([integers], "floating"))
row("PReLU", lambda: nn.PReLU(3, 0.1, dtype=F64), one(2, 4, 3), "PReLU(num_parameters=3)",
    parameters={"weight": (3,)}, torch=lambda t: t.PReLU(3, 0.1), first=True,
    wrong=([np.zeros((2, 4))], r"\(1,\) or \(4,\)"))

# ---- layers -----------------------------------------------------------------------------------

row("Linear", lambda: nn.Linear(3, 4, dtype=F64), one(2, 5, 3),
    "Linear(in_features=3, out_features=4, bias=True)",
    parameters={"weight": (4, 3), "bias": (4,)}, torch=lambda t: t.Linear(3, 4),
    wrong=([np.zeros((2, 5))], r"3 input features, got 5.*Use Linear\(5, 4\)"))
row("Linear without bias", lambda: nn.Linear(3, 4, bias=False, dtype=F64), one(2, 3),
    "Linear(in_features=3, out_features=4, bias=False)", parameters={"weight": (4, 3)},
    torch=lambda t: t.Linear(3, 4, bias=False), wrong=([np.zeros((2, 5))], "got 5"))
row("Embedding", lambda: nn.Embedding(5, 3, padding_idx=1, dtype=F64),
    lambda r: [r.integers(0, 5, (2, 4))], "Embedding(5, 3, padding_idx=1)",
    parameters={"weight": (5, 3)}, torch=lambda t: t.Embedding(5, 3, padding_idx=1),
    wrong=([np.array([5])], "0 to 4.*got 5"))
row("Dropout", lambda: nn.Dropout(0.3), one(4, 5), "Dropout(p=0.3)", wrong=([integers], "floating"),
    why="masks differ; PyTorch agrees in evaluation, see test_dropout")
row("Flatten", nn.Flatten, one(2, 3, 4), "Flatten(start_axis=1, end_axis=-1)",
    torch=lambda t: t.Flatten(), wrong=([np.zeros(3)], "an axis between -1 and 0, got 1"))
row("Reshape", lambda: nn.Reshape(2, -1), one(3, 8), "Reshape(shape=(2, -1))",
    torch=lambda t: t.Unflatten(1, (2, -1)), wrong=([np.zeros((3, 5))], "15 elements"))
row("Identity", nn.Identity, one(2, 3), "Identity()", torch=lambda t: t.Identity(),
    why="returns whatever it gets")

# ---- containers -------------------------------------------------------------------------------

row("Sequential", lambda: nn.Sequential(nn.Linear(3, 4, dtype=F64), nn.Tanh(),
                                        nn.Linear(4, 2, dtype=F64)), one(5, 3), """\
Sequential(
  (0): Linear(in_features=3, out_features=4, bias=True)
  (1): Tanh()
  (2): Linear(in_features=4, out_features=2, bias=True)
)""", parameters={"0.weight": (4, 3), "0.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)},
    torch=lambda t: t.Sequential(t.Linear(3, 4), t.Tanh(), t.Linear(4, 2)),
    wrong=([np.zeros((5, 4))], r"^model\.0 \(Linear\): linear: expected 3 input features"))
row("Residual", lambda: nn.Residual(nn.Linear(3, 3, dtype=F64), nn.Tanh()), one(5, 3), """\
Residual(
  (body): Sequential(
    (0): Linear(in_features=3, out_features=3, bias=True)
    (1): Tanh()
  )
  (shortcut): Identity()
)""", parameters={"body.0.weight": (3, 3), "body.0.bias": (3,)},
    why="PyTorch has no such module; see test_residual",
    wrong=([np.zeros((5, 4))], r"^model\.body\.0 \(Linear\)"))
for _name in ("ModuleList", "ModuleDict", "ParameterList"):
    _members = {"ModuleList": lambda: nn.ModuleList([nn.Linear(2, 3)]),
                "ModuleDict": lambda: nn.ModuleDict({"a": nn.Linear(2, 3)}),
                "ParameterList": lambda: nn.ParameterList([np.zeros((3, 2))])}[_name]
    row(_name, _members, lambda r: [], {
        "ModuleList": "ModuleList(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n)",
        "ModuleDict": "ModuleDict(\n  (a): Linear(in_features=2, out_features=3, bias=True)\n)",
        "ParameterList": "ParameterList((3, 2))"}[_name],
        parameters={"ModuleList": {"0.weight": (3, 2), "0.bias": (3,)},
                    "ModuleDict": {"a.weight": (3, 2), "a.bias": (3,)},
                    "ParameterList": {"0": (3, 2)}}[_name],
        wrong=([np.zeros(3)], "a method forward"), why="holds modules and computes nothing")

# ---- losses -----------------------------------------------------------------------------------


def classes(r: np.random.Generator) -> list[np.ndarray]:
    """Return logits and labels, one of them ignored."""
    return [r.standard_normal((4, 3)), np.array([0, 2, -100, 1])]


_weight = np.array([0.5, 1.0, 2.0])
_mean = "reduction='mean'"
row("CrossEntropyLoss", lambda: nn.CrossEntropyLoss(_weight, label_smoothing=0.1), classes,
    f"CrossEntropyLoss(ignore_index=-100, label_smoothing=0.1, {_mean})",
    torch=lambda t: t.CrossEntropyLoss(tensor(_weight), label_smoothing=0.1),
    wrong=([np.zeros((2, 3)), np.zeros(2)], "integer dtype"))
row("NLLLoss", lambda: nn.NLLLoss(_weight), classes, f"NLLLoss(ignore_index=-100, {_mean})",
    torch=lambda t: t.NLLLoss(tensor(_weight)),
    wrong=([np.zeros((2, 3)), np.array([0, 3])], "got 3"))
row("BCELoss", lambda: nn.BCELoss(_weight), shares(4, 3), f"BCELoss({_mean})",
    torch=lambda t: t.BCELoss(tensor(_weight)),
    wrong=([np.ones((2, 3)) * 3, np.ones((2, 3))], "between 0 and 1"))
row("BCEWithLogitsLoss", lambda: nn.BCEWithLogitsLoss(pos_weight=_weight), shares(4, 3),
    f"BCEWithLogitsLoss({_mean})",
    torch=lambda t: t.BCEWithLogitsLoss(pos_weight=tensor(_weight)),
    wrong=([np.zeros((2, 1)), np.zeros(2)], "reshape"))
for _name, _options, _text in (
        ("MSELoss", {}, ""), ("L1Loss", {"reduction": "sum"}, ""),
        ("SmoothL1Loss", {"beta": 0.5}, "beta=0.5, "),
        ("HuberLoss", {"delta": 0.5}, "delta=0.5, ")):
    row(_name, lambda name=_name, options=_options: getattr(nn, name)(**options), two(4, 3),
        f"{_name}({_text}reduction='{_options.get('reduction', 'mean')}')",
        torch=lambda t, name=_name, options=_options: getattr(t, name)(**options),
        wrong=([np.zeros((2, 1)), np.zeros(2)], "of one shape"))
row("KLDivLoss", lambda: nn.KLDivLoss("batchmean", log_target=True),
    lambda r: list(np.log(r.dirichlet(np.ones(3), (2, 4)))),
    "KLDivLoss(reduction='batchmean', log_target=True)",
    torch=lambda t: t.KLDivLoss(reduction="batchmean", log_target=True),
    wrong=([np.zeros((2, 1)), np.zeros(2)], "of one shape"))
row("TripletMarginLoss", lambda: nn.TripletMarginLoss(margin=2.0, swap=True),
    lambda r: list(r.standard_normal((3, 4, 5))),
    f"TripletMarginLoss(margin=2.0, p=2.0, eps=1e-06, swap=True, {_mean})",
    torch=lambda t: t.TripletMarginLoss(margin=2.0, swap=True),
    wrong=([np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 4))], "of one shape"))
row("CosineSimilarity", lambda: nn.CosineSimilarity(axis=1), two(4, 3, 2),
    "CosineSimilarity(axis=1, eps=1e-08)", torch=lambda t: t.CosineSimilarity(dim=1),
    wrong=([np.zeros((2, 3)), np.zeros((2, 4))], "broadcast"))
_ours = "not in PyTorch; test_functional.py compares with the formula"
row("HingeLoss", nn.HingeLoss, lambda r: [r.standard_normal(4), np.array([1, -1, 1, -1])],
    f"HingeLoss(margin=1.0, {_mean})", why=_ours, wrong=([np.zeros(2), np.zeros(2)], "-1 and 1"))
row("FocalLoss", nn.FocalLoss, lambda r: [r.standard_normal(4), np.array([1, 0, 1, 0])],
    f"FocalLoss(alpha=0.25, gamma=2.0, {_mean})", why=_ours,
    wrong=([np.zeros((2, 1)), np.zeros(2)], "of one shape"))
row("DiceLoss", nn.DiceLoss, shares(2, 3, 4), f"DiceLoss(smooth=1.0, {_mean})", why=_ours,
    wrong=([np.zeros((2, 3)), np.zeros((2, 3))], r"\(N, ..., C\)"))
row("TverskyLoss", lambda: nn.TverskyLoss(alpha=0.3, beta=0.7), shares(2, 3, 4),
    f"TverskyLoss(alpha=0.3, beta=0.7, smooth=1.0, {_mean})", why=_ours,
    wrong=([np.zeros((2, 3)), np.zeros((2, 3))], r"\(N, ..., C\)"))


def tensor(x: np.ndarray) -> Any:
    return importlib.import_module("torch").from_numpy(np.array(x))


# ---- the generic checks -----------------------------------------------------------------------

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
    assert np.array_equal(run(module, inputs), still) == (name != "Dropout")


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
    assert {n: tuple(p.shape) for n, p in names.items()} == row.parameters
    theirs.load_state_dict({n: tensor(t.data) for n, t in module.state_dict().items()
                            if n in theirs.state_dict()})
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
            np.testing.assert_allclose(ours.grad.data, other.grad.numpy(), rtol=rtol, atol=1e-14)
    EXECUTED[name] += 1


def test_pytorch_ran(request):
    """The comparisons are optional to install, but not to run."""
    if importlib.util.find_spec("torch") and all(
            f"test_pytorch[{name}]" in {i.name for i in request.session.items}
            for name in ROWS if ROWS[name].torch):
        assert len(EXECUTED) >= 38


# ---- what single modules promise --------------------------------------------------------------


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
    assert issubclass(nn.ModuleList, Container)


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
