"""Typical mistakes: each gives a typed error that says where, what, and how to mend it.

The message reads ``<layer path>: <op>: expected <what>, got <value>. <shapes>. <fix>``, and nothing
has changed: weights, optimiser, random numbers and files are as before.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

import medai_engine as me
from medai_engine import data, nn, optim, training
from medai_engine import functional as F
from medai_engine.errors import (
    DataError,
    DTypeError,
    GraphError,
    MedaiError,
    ParameterError,
    ShapeError,
)

BUILTIN = {ShapeError: ValueError, DTypeError: TypeError, DataError: ValueError,
           GraphError: RuntimeError, ParameterError: ValueError}


class Hidden(nn.Module):
    def __init__(self):
        self.layers = [nn.Linear(2, 2)]

    def forward(self, x):
        return self.layers[0](x)


class Double(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(6, 2)

    def forward(self, x):
        return self.layer(x), x


class World:
    """A compiled model that has been trained a little, its data, and a folder of files."""

    def __init__(self, folder: Path):
        me.manual_seed(3)
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(40, 6)).astype(np.float32)
        self.y = (self.x[:, 0] > 0).astype(np.int64)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.01)
        self.model.compile(self.optimizer, "cross_entropy", ["accuracy"])
        self.model.fit(self.x, self.y, verbose=False)
        self.folder = folder
        self.model.save(folder / "model")
        (folder / "p.csv").write_text("age,sex,sick\n50,F,yes\n60,M,no\n70,F,yes\n")
        (folder / "empty.csv").write_text("")
        (folder / "notes.safetensors").write_text("these are notes, not weights")
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "cut.safetensors").write_bytes(whole[:-20])
        (folder / "old.safetensors").write_bytes(b"\x80\x04\x95 a pickle")
        self.w = me.tensor(np.arange(6, dtype=np.float32).reshape(2, 3), requires_grad=True)
        self.plain = nn.Linear(6, 2)
        self.askew = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(9, 2))
        self.value = nn.Linear(6, 1).compile("sgd", "mse")
        self.scored = nn.Linear(6, 2).compile("sgd", "cross_entropy", ["auc"])
        self.words = nn.Embedding(4, 2)
        self.hidden = Hidden()
        self.double = Double().compile()
        self.frozen = nn.Linear(6, 2).requires_grad_(False).compile()

    def fit(self, x=None, y=None, **options):
        return self.model.fit(self.x if x is None else x, self.y if y is None else y,
                              verbose=False, **options)

    def changed(self, array: np.ndarray, place, value) -> np.ndarray:
        array = array.copy()
        array[place] = value
        return array

    def digest(self) -> str:
        """Digest all that a mistake might change."""
        found = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            found.update(name.encode() + value.numpy().tobytes())
        found.update(repr(self.optimizer.state_dict()).encode())
        found.update(repr([p.grad is None for p in self.model.parameters()]).encode())
        found.update(repr([m.training for m in self.model.modules()]).encode())
        found.update(repr(me.generator.DEFAULT.get_state()).encode())
        found.update(self.w.numpy().tobytes() + self.x.tobytes() + self.y.tobytes())
        for path in sorted(self.folder.rglob("*")):
            found.update(path.name.encode() + (path.read_bytes() if path.is_file() else b""))
        return found.hexdigest()


def second_backward(w: World) -> None:
    loss = (w.w * w.w).sum()
    loss.backward()
    w.w.grad = None
    loss.backward()


def write_between(w: World) -> None:
    p = nn.Parameter(np.ones(3, np.float32))
    loss = (p * p).sum()
    with me.no_grad():
        p += 1
    loss.backward()


def write_to_result(w: World) -> None:
    y = w.w * 2
    y += 1


MISTAKES = {
    # shapes and labels
    "wrong width": (lambda w: w.fit(w.x[:, :5]), ShapeError,
                    r"^model\.0 \(Linear\): linear: .*6.*got 5"),
    "wrong width inside": (lambda w: w.askew(w.x), ShapeError,
                           r"^model\.2 \(Linear\): .*9.*8"),
    "labels as floats": (lambda w: w.fit(y=w.y.astype(float)), DTypeError, r"integ|int64"),
    "one-hot where indices are wanted": (lambda w: w.fit(y=np.eye(2, dtype=int)[w.y]), MedaiError,
                                         r"argmax"),
    "label out of range": (lambda w: w.fit(y=w.changed(w.y, 33, 2),
                                               validation_split=0.4), DataError,
                           r"0 to 1, got 2 at sample 33.*3 outputs"),
    "negative label": (lambda w: w.fit(y=w.changed(w.y, 33, -1)), DataError,
                       r"0 to 1, got -1 at sample 33"),
    "more targets than samples": (lambda w: w.fit(w.x[:30]), ShapeError, r"got 40 for 30"),
    "targets of another width": (lambda w: F.mse_loss(w.x, w.x[:, :3]), ShapeError, r"\(40, 3\)"),
    "a single sample": (lambda w: w.model.predict(w.x[0]), ShapeError, r"6 samples.*x\[None\]"),
    "a model of two outputs": (lambda w: w.double.fit(w.x, w.y, verbose=False), ShapeError,
                               r"one tensor.*got tuple"),
    "everything frozen": (lambda w: w.frozen.fit(w.x, w.y, verbose=False), ParameterError,
                          r"requires_grad_\(\)"),
    "a single number": (lambda w: w.model.predict(3.0), ParameterError, r"axis 0"),
    "bad axis": (lambda w: me.sum(w.w, axis=2), MedaiError, r"axis.*-2.*1.*got 2|axis 2"),
    "bad reshape": (lambda w: w.w.reshape(4, 2), ShapeError, r"6.*\(4, 2\)|\(4, 2\).*6"),
    "bad matmul": (lambda w: w.w @ w.w, ShapeError, r"matmul.*\(2, 3\)"),
    "bad broadcast": (lambda w: w.w + me.tensor([1.0, 2.0]), ShapeError, r"add.*\(2, 3\).*\(2,?\)"),
    "summary of another shape": (lambda w: w.model.summary((7,)), ShapeError, r"^model\.0.*got 7"),
    "embedding index": (lambda w: w.words(np.array([1, 4])), MedaiError, r"got 4"),
    # data
    "NaN in x": (lambda w: w.fit(w.changed(w.x, (12, 3), np.nan)), DataError,
                 r"nan at row 12, column 3 \(1 such"),
    "infinity in targets": (lambda w: w.value.fit(
        w.x, w.changed(w.x[:, 0], 7, np.inf), verbose=False), DataError, r"y, got inf at row 7"),
    "NaN when predicting": (lambda w: w.model.predict(w.changed(w.x, (2, 0), np.nan)), DataError,
                            r"row 2, column 0"),
    "one class to score": (lambda w: w.scored.fit(w.x, 0 * w.y, verbose=False), DataError,
                           r"both classes, got none of class 1"),
    "no targets": (lambda w: w.model.fit(w.x), ParameterError, r"fit\(x, y\)"),
    "no samples": (lambda w: w.fit(w.x[:0], w.y[:0]), DataError, r"one sample or more"),
    "text as numbers": (lambda w: w.fit(np.array([["a"] * 6] * 40)), DTypeError, r"Encode text"),
    "rows of different length": (lambda w: w.fit([[1.0, 2.0], [3.0]], [0, 1]), ShapeError,
                                 r"ragged.*Pad"),
    "missing column": (lambda w: data.read_csv(w.folder / "p.csv")["weight"], DataError,
                       r"p\.csv: .*'weight', got columns 'age', 'sex', 'sick'"),
    "empty file": (lambda w: data.read_csv(w.folder / "empty.csv"), DataError, r"empty\.csv"),
    "no such file": (lambda w: data.read_csv(w.folder / "none.csv"), DataError, r"Check the path"),
    "new category": (lambda w: data.Columns.fit(data.read_csv(w.folder / "p.csv").take(
        np.array([0, 2]))).matrix(data.read_csv(w.folder / "p.csv")), DataError,
        r"line 3, column 'sex'.*'F', got 'M'"),
    # names and options
    "unknown optimizer": (lambda w: w.model.compile("adamm", "mse"), ParameterError,
                          r"sgd, adam.*got 'adamm'.*mean 'adam'"),
    "unknown option of an optimizer": (
        lambda w: w.model.compile({"name": "adam", "learning_rate": 0.1}), ParameterError,
        r"an option of Adam: lr, .*got 'learning_rate'"),
    "unknown loss": (lambda w: w.model.compile("adam", "crossentropy"), ParameterError,
                     r"got 'crossentropy'.*mean 'cross_entropy'"),
    "unknown metric": (lambda w: w.model.compile("adam", "mse", ["acc"]), ParameterError,
                       r"accuracy.*got 'acc'"),
    "loss class, not object": (lambda w: w.model.compile("adam", nn.MSELoss), ParameterError,
                               r"loss=MSELoss\(\)"),
    "model where parameters are wanted": (lambda w: optim.Adam(w.model), ParameterError,
                                          r"got Sequential\. Pass model\.parameters\(\)"),
    "one layer where parameters are wanted": (lambda w: optim.Adam(w.plain), ParameterError,
                                              r"got Linear\. Pass model\.parameters\(\)"),
    "number of a whole batch": (lambda w: w.w.item(), ShapeError, r"one element, got \d"),
    "float of a whole batch": (lambda w: float(w.w), ShapeError, r"mean\(\)"),
    "if over a comparison": (lambda w: bool(w.w > 0), ShapeError, r"x\.any\(\), x\.all\(\)"),
    "softmax in front of cross-entropy": (
        lambda w: nn.Sequential(w.model, nn.Softmax()).compile("adam", "cross_entropy"),
        ParameterError, r"cross_entropy, which applies softmax itself, got .*Softmax.*'nll'"),
    "sigmoid in front of a loss of logits": (
        lambda w: nn.Sequential(nn.Flatten(), nn.Sequential(w.value, nn.Sigmoid())).compile(
            "adam", nn.BCEWithLogitsLoss()), ParameterError, r"ends in Sigmoid.*'bce'"),
    "shape as separate numbers": (lambda w: me.zeros(2, 3), DTypeError, r"one tuple, \(2, 3\)"),
    "gradient of no input": (lambda w: me.op(gradient={"z": lambda g: g})(lambda x: x),
                             ParameterError, r"its inputs x, got z"),
    "folder instead of a model": (lambda w: me.load(w.folder), DataError, r"a folder"),
    "rows of unequal length": (lambda w: me.tensor([[1], [1, 2]]), ShapeError,
                               r"Pad or split"),
    "optimizer class, not object": (lambda w: w.model.compile(optim.Adam, "mse"), ParameterError,
                                    r"got 'Adam'"),
    "fit before compile": (lambda w: w.plain.fit(w.x, w.y), ParameterError,
                           r"compile\(.*\) first"),
    "evaluate before compile": (lambda w: w.plain.evaluate(w.x, w.y), ParameterError,
                                r"compile\(.*\) first"),
    "no epochs": (lambda w: w.fit(epochs=0), ParameterError, r"epochs.*got 0"),
    "batches of nothing": (lambda w: w.fit(batch_size=-1), ParameterError, r"batch_size.*got -1"),
    "validation share over 1": (lambda w: w.fit(validation_split=20), ParameterError, r"got 20"),
    "callback class, not object": (lambda w: w.fit(callbacks=[training.StopOnNaN]),
                                   ParameterError, r"the class StopOnNaN"),
    "monitor without validation": (lambda w: w.fit(callbacks=[training.EarlyStopping()]),
                                   ParameterError, r"validation_data="),
    "weights of other samples": (lambda w: w.fit(sample_weight=np.ones(3)), ShapeError,
                                 r"\(40,\), got \(3,\)"),
    "negative weights": (lambda w: w.fit(sample_weight=-w.y), DataError, r"not negative"),
    "class without weight": (lambda w: w.fit(class_weight={0: 1.0}), ParameterError,
                             r"none for \[1\]"),
    "no parameters": (lambda w: optim.Adam([]), ParameterError, r"Adam: .*an empty list"),
    "negative learning rate": (lambda w: optim.SGD(w.model.parameters(), lr=-0.1), ParameterError,
                               r"lr.*got -0\.1"),
    "a parameter twice": (lambda w: optim.SGD([w.w, w.w], lr=0.1), ParameterError, r"second time"),
    "optimizing a result": (lambda w: optim.SGD([w.w * 2], lr=0.1), GraphError, r"leaves"),
    "layers in a list": (lambda w: optim.SGD(w.hidden.parameters(), lr=0.1), ParameterError,
                         r"Hidden\.layers.*nn\.ModuleList"),
    "layer class, not object": (lambda w: nn.Sequential(nn.ReLU), ParameterError, r"ReLU\(\)"),
    "dropout of more than all": (lambda w: nn.Dropout(1.5), ParameterError, r"got 1\.5"),
    "seed that is no number": (lambda w: me.manual_seed("today"), ParameterError, r"'today'"),
    "unknown backend": (lambda w: me.backend("gpu"), ParameterError, r"reference, loops, fast"),
    # files
    "weights of another model": (lambda w: me.load(w.folder / "model", into=w.plain),
                                 ParameterError, r"missing weight, bias; unexpected .*0\.weight"),
    "weights of another size": (lambda w: w.model.load_state_dict(
        {**w.model.state_dict(), "2.weight": np.zeros((2, 9))}), ShapeError,
        r"2\.weight of shape \(2, 8\), got \(2, 9\)"),
    "not a safetensors file": (lambda w: me.load(w.folder / "notes"), DataError,
                               r"notes\.safetensors: expected a safetensors file"),
    "a pickle": (lambda w: me.load(w.folder / "old"), DataError, r"got a pickle"),
    "a truncated file": (lambda w: me.load(w.folder / "cut.safetensors"), DataError, r"damaged"),
    "no such model": (lambda w: me.load(w.folder / "none"), DataError, r"no such file"),
    "saving to a folder": (lambda w: w.model.save(w.folder), ParameterError, r"the folder .*model"),
    "resuming from weights": (lambda w: w.fit(resume=w.folder / "model.safetensors"), DataError,
                              r"weights only"),
    # gradients and dtypes
    "float64 meets float32": (lambda w: w.w + me.tensor(np.ones(3)), DTypeError,
                              r"one floating dtype, got .*float32.*float64.*astype"),
    "gradient of integers": (lambda w: me.tensor(np.arange(3), requires_grad=True), DTypeError,
                             r"int64"),
    "backward twice": (second_backward, GraphError, r"retain_graph=True"),
    "backward of an array": (lambda w: (w.w * 2).backward(), GraphError, r"\.sum\(\)"),
    "backward without a graph": (lambda w: me.tensor(1.0).backward(), GraphError,
                                 r"requires_grad=True"),
    "backward after a write": (write_between, GraphError, r"before the update"),
    "writing into a result": (write_to_result, GraphError, r"leaf"),
}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(world, name):
    mistake, kind, pattern = MISTAKES[name]
    before = world.digest()
    with pytest.raises(kind) as caught:
        mistake(world)
    message = str(caught.value)
    assert isinstance(caught.value, MedaiError)
    assert isinstance(caught.value, BUILTIN.get(kind, Exception))
    assert re.search(pattern, message, re.DOTALL), message
    # where: expected what, got what. [shapes.] fix.
    assert re.match(r"(?s).+?: expected .+, got .+\. .+(?<![.?!])[.?]$", message), message
    assert world.digest() == before


def test_there_are_forty():
    assert len(MISTAKES) >= 40


def test_the_digest_notices(world):
    """Each kind of change that the digest is there for, does change it."""
    seen = {world.digest()}
    world.model[0].weight.data[0, 0] += 1
    seen.add(world.digest())
    world.optimizer.lr = 0.5
    seen.add(world.digest())
    me.random.normal((3,))
    seen.add(world.digest())
    (world.folder / "more").write_text("x")
    seen.add(world.digest())
    world.model.eval()
    seen.add(world.digest())
    assert len(seen) == 6
