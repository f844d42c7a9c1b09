"""The module table: one row per module of ``nn``, walked by the checks of test_modules.py.

A row makes the module and its inputs; where PyTorch has the module, it also makes that one, and
weights are copied over by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import medai_engine as me
from medai_engine import nn

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

_pair = {"weight": (3,), "bias": (3,)}
for _name, _shape in (("BatchNorm1d", (4, 3)), ("BatchNorm2d", (2, 4, 5, 3)),
                      ("BatchNorm3d", (2, 2, 4, 5, 3))):
    row(_name, lambda name=_name: getattr(nn, name)(3, momentum=0.2, dtype=F64), one(*_shape),
        f"{_name}(num_features=3, eps=1e-05, momentum=0.2, affine=True, track_running_stats=True)",
        parameters=_pair, torch=lambda t, name=_name: getattr(t, name)(3, momentum=0.2),
        first=True, wrong=([np.zeros((*_shape[:-1], 5))], "3 channels, got 5.*None"))
for _name, _shape in (("InstanceNorm1d", (2, 4, 3)), ("InstanceNorm2d", (2, 4, 5, 3)),
                      ("InstanceNorm3d", (2, 2, 4, 5, 3))):
    row(_name, lambda name=_name: getattr(nn, name)(3, affine=True, dtype=F64), one(*_shape),
        f"{_name}(num_features=3, eps=1e-05, momentum=0.1, affine=True, "
        "track_running_stats=False)",
        parameters=_pair, torch=lambda t, name=_name: getattr(t, name)(3, affine=True),
        first=True, wrong=([np.zeros((*_shape[:-1], 5))], "3 channels, got 5.*None"))
row("GroupNorm", lambda: nn.GroupNorm(2, 6, dtype=F64), one(2, 3, 6),
    "GroupNorm(num_groups=2, num_channels=6, eps=1e-05, affine=True)",
    parameters={"weight": (6,), "bias": (6,)}, torch=lambda t: t.GroupNorm(2, 6), first=True,
    wrong=([np.zeros((2, 3, 5))], r"6 channels, got 5.*GroupNorm\(2, 5\)"))
row("LayerNorm", lambda: nn.LayerNorm((4, 3), dtype=F64), one(2, 5, 4, 3),
    "LayerNorm(normalized_shape=(4, 3), eps=1e-05, elementwise_affine=True)",
    parameters={"weight": (4, 3), "bias": (4, 3)}, torch=lambda t: t.LayerNorm((4, 3)),
    wrong=([np.zeros((2, 4, 5))], r"last axes are \(4, 3\)"))

# ---- recurrent layers -------------------------------------------------------------------------


def flat(kind: Any, packed: bool = False) -> Any:
    """Return a subclass whose modules return output and state as one vector.

    What follows x are lengths, which PyTorch gets as a ``packed`` sequence, or a state.
    """

    def forward(self: Any, x: Any, *more: Any) -> Any:
        ragged = bool(more) and "int" in str(more[0].dtype)
        if ragged and packed:
            rnn = importlib.import_module("torch").nn.utils.rnn
            steps = rnn.pack_padded_sequence(x, more[0], batch_first=True, enforce_sorted=False)
            output, state = kind.forward(self, steps)
            found = rnn.pad_packed_sequence(output, True, total_length=x.shape[1])[0], state
        elif ragged:
            found = kind.forward(self, x, lengths=more[0])
        else:
            found = kind.forward(self, x, more if len(more) > 1 else more[0] if more else None)
        found = found if isinstance(found, tuple) else (found,)
        rows = [t.reshape(-1) for part in found
                for t in (part if isinstance(part, tuple) else (part,))]
        return importlib.import_module("torch").cat(rows) if packed else me.concat(rows)

    return type(kind.__name__, (kind,), {"forward": forward})


def histories(r: np.random.Generator) -> list[np.ndarray]:
    """Return three sequences of 4, 1 and 3 steps."""
    return [r.standard_normal((3, 4, 2)), np.array([4, 1, 3])]


def recurrent(sizes: dict[str, int], rows: int, hidden: int,
              biases: Sequence[str] = ("bias_ih", "bias_hh")) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters; ``sizes`` gives each suffix its width of input."""
    return {name + suffix: shape for suffix, width in sizes.items() for name, shape in (
        ("weight_ih", (rows, width)), ("weight_hh", (rows, hidden)),
        *((bias, (rows,)) for bias in biases))}


row("LSTM", lambda: flat(nn.LSTM)(2, 3, 2, bidirectional=True, dtype=F64), histories,
    "LSTM(2, 3, num_layers=2, bidirectional=True)",
    parameters=recurrent({"_l0": 2, "_l0_reverse": 2, "_l1": 6, "_l1_reverse": 6}, 12, 3),
    torch=lambda t: flat(t.LSTM, packed=True)(2, 3, 2, bidirectional=True, batch_first=True),
    wrong=([np.zeros((3, 4, 5))], "2 input features, got 5"))
row("LSTM with one bias", lambda: flat(nn.LSTM)(2, 3, recurrent_bias=False, dtype=F64),
    one(3, 4, 2), "LSTM(2, 3, recurrent_bias=False)",
    parameters=recurrent({"_l0": 2}, 12, 3, ["bias_ih"]),
    why="PyTorch has two or none; see test_biases_add",
    wrong=([np.zeros((4, 2))], r"sequences \(N, T, D\)"))
row("LSTMCell", lambda: flat(nn.LSTMCell)(2, 3, dtype=F64),
    lambda r: [r.standard_normal((4, n)) for n in (2, 3, 3)], "LSTMCell(2, 3)",
    parameters=recurrent({"": 2}, 12, 3), torch=lambda t: flat(t.LSTMCell, packed=True)(2, 3),
    wrong=([np.zeros((4, 1, 2))], r"one step \(N, D\)"))

# ---- attention --------------------------------------------------------------------------------


def first_of(kind: Any) -> Any:
    """Return a subclass whose modules return the first of their results."""
    return type(kind.__name__, (kind,), {"forward": lambda self, *x: kind.forward(self, *x)[0]})


row("MultiheadAttention", lambda: first_of(nn.MultiheadAttention)(6, 2, dtype=F64),
    lambda r: [r.standard_normal((2, n, 6)) for n in (3, 4, 4)], """\
MultiheadAttention(
  embed_dim=6, num_heads=2, dropout=0.0, bias=True
  (out_proj): Linear(in_features=6, out_features=6, bias=True)
)""", parameters={"in_proj_weight": (18, 6), "in_proj_bias": (18,), "out_proj.weight": (6, 6),
                  "out_proj.bias": (6,)},
    torch=lambda t: first_of(t.MultiheadAttention)(6, 2, batch_first=True),
    wrong=([np.zeros((2, 3, 5))], r"query of shape \(N, length, 6\), got \(2, 3, 5\)"))
_norm = "LayerNorm(normalized_shape=(4,), eps=1e-05, elementwise_affine=True)"
row("TransformerEncoderLayer",
    lambda: nn.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", dtype=F64), one(2, 3, 4), f"""\
TransformerEncoderLayer(
  dropout=0.0, activation='gelu', norm_first=False
  (self_attn): MultiheadAttention(
    embed_dim=4, num_heads=2, dropout=0.0, bias=True
    (out_proj): Linear(in_features=4, out_features=4, bias=True)
  )
  (linear1): Linear(in_features=4, out_features=6, bias=True)
  (linear2): Linear(in_features=6, out_features=4, bias=True)
  (norm1): {_norm}
  (norm2): {_norm}
)""", parameters={
        "self_attn.in_proj_weight": (12, 4), "self_attn.in_proj_bias": (12,),
        "self_attn.out_proj.weight": (4, 4), "self_attn.out_proj.bias": (4,),
        "linear1.weight": (6, 4), "linear1.bias": (6,), "linear2.weight": (4, 6),
        "linear2.bias": (4,), "norm1.weight": (4,), "norm1.bias": (4,), "norm2.weight": (4,),
        "norm2.bias": (4,)},
    torch=lambda t: t.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", batch_first=True),
    wrong=([np.zeros((2, 3, 5))], "got .2, 3, 5"))

# ---- convolutions -----------------------------------------------------------------------------

_four = {"kernel_size": (2, 3), "stride": 2, "padding": (1, 2), "groups": 2}
_text = "kernel_size=(2, 3), stride=(2, 2), padding=(1, 2)"
_channels = r"4 input channels.*got 3"
row("Conv1d", lambda: nn.Conv1d(4, 6, 3, padding="same", dtype=F64), one(2, 7, 4),
    "Conv1d(4, 6, kernel_size=(3,), stride=(1,), padding='same')",
    parameters={"weight": (6, 3, 4), "bias": (6,)}, first=True,
    torch=lambda t: t.Conv1d(4, 6, 3, padding="same"), wrong=([np.zeros((2, 7, 3))], _channels))
row("Conv2d", lambda: nn.Conv2d(4, 6, **_four, dilation=(1, 2), dtype=F64), one(2, 4, 5, 4),
    f"Conv2d(4, 6, {_text}, dilation=(1, 2), groups=2)", first=True,
    parameters={"weight": (6, 2, 3, 2), "bias": (6,)},
    torch=lambda t: t.Conv2d(4, 6, **_four, dilation=(1, 2)),
    wrong=([np.zeros((2, 4, 5, 3))], "2 groups divide, got 3 and 6"))
row("Conv3d", lambda: nn.Conv3d(4, 2, 2, bias=False, dtype=F64), one(1, 3, 2, 4, 4),
    "Conv3d(4, 2, kernel_size=(2, 2, 2), stride=(1, 1, 1), bias=False)", first=True,
    parameters={"weight": (2, 2, 2, 2, 4)}, torch=lambda t: t.Conv3d(4, 2, 2, bias=False),
    wrong=([np.zeros((2, 4, 5, 4))], r"5 axes \(N, D, H, W, C\).*Use conv2d"))
row("Conv2d with ReLU and pooling", lambda: nn.Conv2d(
        3, 4, 2, padding=1, activation="relu", pool=(2, 3), dtype=F64), one(2, 4, 5, 3),
    "Conv2d(3, 4, kernel_size=(2, 2), stride=(1, 1), padding=(1, 1), activation='relu', "
    "pool=(2, 3))", first=True, parameters={"weight": (4, 2, 2, 3), "bias": (4,)},
    torch=lambda t: type("Fused", (t.Conv2d,), {"forward": lambda self, x: t.functional.max_pool2d(
        t.functional.relu(t.Conv2d.forward(self, x)), (2, 3))})(3, 4, 2, padding=1),
    wrong=([np.zeros((2, 1, 1, 3))], r"at least \(2, 3\) outputs.*got \(2, 2\)"))
row("Sequential of a convolution", lambda: nn.Sequential(
        nn.Conv2d(3, 4, 2, dtype=F64), nn.Tanh(), nn.MaxPool2d(2)), one(2, 4, 5, 3), """\
Sequential(
  (0): Conv2d(3, 4, kernel_size=(2, 2), stride=(1, 1))
  (1): Tanh()
  (2): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, return_indices=False, \
ceil_mode=False)
)""", first=True, parameters={"0.weight": (4, 2, 2, 3), "0.bias": (4,)},
    torch=lambda t: t.Sequential(t.Conv2d(3, 4, 2), t.Tanh(), t.MaxPool2d(2)),
    wrong=([np.zeros((2, 2, 2, 3))], r"model\.2 \(MaxPool2d\).*at least 2 entries"))
row("ConvTranspose1d", lambda: nn.ConvTranspose1d(4, 3, 3, stride=2, dtype=F64), one(2, 3, 4),
    "ConvTranspose1d(4, 3, kernel_size=(3,), stride=(2,))", first=True,
    parameters={"weight": (4, 3, 3), "bias": (3,)},
    torch=lambda t: t.ConvTranspose1d(4, 3, 3, stride=2),
    wrong=([np.zeros((2, 7, 3))], _channels))
row("ConvTranspose2d", lambda: nn.ConvTranspose2d(4, 6, **_four, output_padding=1, dtype=F64),
    one(2, 4, 5, 4), f"ConvTranspose2d(4, 6, {_text}, output_padding=(1, 1), groups=2)", first=True,
    parameters={"weight": (4, 2, 3, 3), "bias": (6,)},
    torch=lambda t: t.ConvTranspose2d(4, 6, **_four, output_padding=1),
    wrong=([np.zeros((2, 4, 5, 3))], _channels))
row("ConvTranspose3d", lambda: nn.ConvTranspose3d(4, 2, 2, output_padding=1, dilation=2, dtype=F64),
    one(1, 2, 1, 2, 4), "ConvTranspose3d(4, 2, kernel_size=(2, 2, 2), stride=(1, 1, 1), "
    "output_padding=(1, 1, 1), dilation=(2, 2, 2))", first=True,
    parameters={"weight": (4, 2, 2, 2, 2), "bias": (2,)},
    torch=lambda t: t.ConvTranspose3d(4, 2, 2, output_padding=1, dilation=2),
    wrong=([np.zeros((2, 4, 4))], "5 axes, channels last"))

_positions = {1: (2, 7), 2: (2, 7, 5), 3: (1, 5, 4, 6)}
for _rank, _shape in _positions.items():
    for _name, _options, _text in (
            ("MaxPool", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
             "kernel_size=3, stride=2, padding=1, dilation=1, return_indices=False, "
             "ceil_mode=True"),
            ("AvgPool", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
             "kernel_size=3, stride=2, padding=1, ceil_mode=False, count_include_pad=False"),
            ("AdaptiveAvgPool", {"output_size": 3}, "output_size=3"),
            ("AdaptiveMaxPool", {"output_size": 2}, "output_size=2, return_indices=False")):
        row(f"{_name}{_rank}d", lambda name=f"{_name}{_rank}d", options=_options: getattr(
                nn, name)(**options), one(*_shape, 3), f"{_name}{_rank}d({_text})", first=True,
            torch=lambda t, name=f"{_name}{_rank}d", options=_options: getattr(t, name)(**options),
            wrong=([np.zeros((2, 3))], "got .2, 3"))
    for _name in (f"GlobalAvgPool{_rank}d", f"GlobalMaxPool{_rank}d"):
        row(_name, getattr(nn, _name), one(*_shape, 3), f"{_name}()",
            torch=lambda t, name=_name: t.Sequential(
                getattr(t, name.replace("Global", "Adaptive"))(1), t.Flatten()),
            first=True, wrong=([np.zeros((2, 3))], "got .2, 3"))
row("Upsample", lambda: nn.Upsample(1.5, "bilinear"), one(2, 4, 6, 3),
    "Upsample(scale_factor=1.5, mode='bilinear')", first=True,
    torch=lambda t: t.Upsample(scale_factor=1.5, mode="bilinear"),
    wrong=([np.zeros((2, 4, 3))], '"nearest" or "linear"'))

for _name, _rows in (("GRU", 9), ("RNN", 3)):
    row(_name, lambda name=_name: flat(getattr(nn, name))(2, 3, 2, bidirectional=True, dtype=F64),
        histories, f"{_name}(2, 3, num_layers=2, bidirectional=True)",
        parameters=recurrent({"_l0": 2, "_l0_reverse": 2, "_l1": 6, "_l1_reverse": 6}, _rows, 3),
        torch=lambda t, name=_name: flat(getattr(t, name), packed=True)(
            2, 3, 2, bidirectional=True, batch_first=True),
        wrong=([np.zeros((3, 4, 5))], "2 input features, got 5"))
    row(f"{_name}Cell", lambda name=_name: flat(getattr(nn, f"{name}Cell"))(2, 3, dtype=F64),
        lambda r: [r.standard_normal((4, n)) for n in (2, 3)], f"{_name}Cell(2, 3)",
        parameters=recurrent({"": 2}, _rows, 3),
        torch=lambda t, name=_name: flat(getattr(t, f"{name}Cell"), packed=True)(2, 3),
        wrong=([np.zeros((4, 1, 2))], r"one step \(N, D\)"))
row("RNN with relu", lambda: flat(nn.RNN)(2, 3, activation="relu", dtype=F64), histories,
    "RNN(2, 3, activation='relu')", parameters=recurrent({"_l0": 2}, 3, 3),
    torch=lambda t: flat(t.RNN, packed=True)(2, 3, nonlinearity="relu", batch_first=True),
    wrong=([np.zeros((3, 4, 5))], "2 input features, got 5"))

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
