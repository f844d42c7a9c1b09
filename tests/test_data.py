"""Loaders, splits, tables, and files."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import medai_engine as me
from medai_engine import data, nn
from medai_engine.data.loader import order
from medai_engine.errors import (
    DataError,
    MissingExtraError,
    ParameterError,
    ShapeError,
)
from medai_engine.io import read_arrays, read_state, write_arrays, write_state

# loaders


def arrays(n: int = 10) -> data.ArrayDataset:
    return data.ArrayDataset(np.arange(n * 2, dtype=np.float32).reshape(n, 2), np.arange(n))


def seen(loader: data.DataLoader) -> list[int]:
    return [int(i) for _, y in loader for i in y.numpy()]


def test_plain_order_and_last_batch():
    loader = data.DataLoader(arrays(), 4)
    shapes = [(x.shape, y.shape) for x, y in loader]
    assert shapes == [((4, 2), (4,)), ((4, 2), (4,)), ((2, 2), (2,))] and len(loader) == 3
    assert seen(loader) == list(range(10))
    short = data.DataLoader(arrays(), 4, drop_last=True)
    assert len(short) == 2 and seen(short) == list(range(8))


def test_rows_stay_together():
    for x, y in data.DataLoader(arrays(), 3, shuffle=True, seed=5):
        np.testing.assert_array_equal(x.numpy()[:, 0], 2 * y.numpy())


def test_order_is_a_function_of_seed_and_epoch():
    loader = data.DataLoader(arrays(50), 7, shuffle=True, seed=1)
    first, second = seen(loader), seen(loader)
    assert sorted(first) == sorted(second) == list(range(50)) and first != second
    again = data.DataLoader(arrays(50), 7, shuffle=True, seed=1)
    assert [seen(again), seen(again)] == [first, second]
    assert seen(data.DataLoader(arrays(50), 7, shuffle=True, seed=2)) != first
    # pinned: a resumed run on another machine or NumPy must see the same order
    assert order(8, seed=0, epoch=0).tolist() == PINNED


PINNED = [0, 2, 1, 5, 4, 3, 6, 7]


def test_every_position_is_equally_likely():
    counts = np.zeros((6, 6))
    for epoch in range(3000):
        counts[np.arange(6), order(6, 7, epoch)] += 1
    # 36 counts of mean 500 and deviation 20; 5 deviations
    assert abs(counts - 500).max() < 102


def test_left_loop_begins_its_epoch_again():
    loader = data.DataLoader(arrays(), 4, shuffle=True)
    first = next(iter(loader))[1].numpy()
    np.testing.assert_array_equal(next(iter(loader))[1].numpy(), first)


def test_goes_on_in_the_middle_of_an_epoch():
    loader = data.DataLoader(arrays(20), 3, shuffle=True, seed=4)
    seen(loader)
    got = []
    for _, y in loader:
        got += y.numpy().tolist()
        if len(got) == 9:
            state = loader.state_dict()
            break
    assert state == {"epoch": 1, "position": 3}
    other = data.DataLoader(arrays(20), 3, shuffle=True, seed=4)
    other.load_state_dict(state)
    rest = seen(other)
    assert sorted(got + rest) == list(range(20))
    assert seen(other) == [int(i) for i in order(20, 4, 2)]  # then the next epoch, whole


def test_any_sequence_and_collate():
    class Squares:
        def __len__(self):
            return 5

        def __getitem__(self, i):
            return np.full(2, i * i, np.float32), i

    (x, y), *_ = data.DataLoader(Squares(), 5)
    assert x.shape == (5, 2) and y.numpy().tolist() == [0, 1, 2, 3, 4]
    ragged = [(np.zeros(2), 0), (np.zeros(3), 1)]
    with pytest.raises(ShapeError, match="one shape in a batch"):
        list(data.DataLoader(ragged, 2))
    pad = lambda samples: (np.array([len(s[0]) for s in samples]),)  # noqa: E731
    assert next(iter(data.DataLoader(ragged, 2, collate=pad))).numpy().tolist() == [2, 3]


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: data.DataLoader(arrays(), 0), ParameterError, "batch_size of at least 1"),
    (lambda: data.DataLoader(arrays(0), 4), DataError, "empty dataset"),
    (lambda: data.DataLoader(arrays(3), 4, drop_last=True), DataError, "4 samples"),
    (lambda: data.DataLoader(iter([1]), 4), ParameterError, "len"),
    (lambda: data.ArrayDataset(np.zeros(3), np.zeros(4)), ShapeError, "one length"),
    (lambda: data.ArrayDataset(), ParameterError, "one array or more"),
])
def test_bad_loaders(call, error, match):
    with pytest.raises(error, match=match):
        call()


# splits


def test_stratified_keeps_proportions():
    y = np.repeat([0, 1, 2], [70, 20, 10])
    train, held = data.split_stratified(y, 0.3, seed=2)
    assert sorted([*train, *held]) == list(range(100))
    assert np.bincount(y[held]).tolist() == [21, 6, 3]
    other = data.split_stratified(y, 0.3, seed=3)[1]
    assert held.tolist() != other.tolist()
    with pytest.raises(DataError, match="1 of class 5"):
        data.split_stratified([0, 0, 5], 0.5)


def test_shared_patients_are_named():
    data.require_apart(["a", "b"], ["c"])
    with pytest.raises(DataError, match="no patient of the training data, got 'a', 'b' in both"):
        data.require_apart(["a", "b", "c"], ["b", "a", "d"], "held-out")
    model = me.nn.Linear(2, 2).compile("sgd")
    x, y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
    with pytest.raises(DataError, match="validation data: expected no patient"):
        model.fit(x, y, validation_data=(x, y), groups=["a", "a", "b", "b"],
                  validation_groups=["c", "c", "b", "d"])
    with pytest.raises(ParameterError, match="groups beside validation_groups"):
        model.fit(x, y, validation_data=(x, y), validation_groups=["c", "c", "b", "d"])


def test_groups_are_never_divided():
    groups = np.array([f"patient {i % 13}" for i in range(100)])
    for seed in range(5):
        train, held = data.split_by_group(groups, 0.25, seed)
        assert sorted([*train, *held]) == list(range(100))
        assert not set(groups[train]) & set(groups[held])
        assert 25 <= len(held) <= 33
    with pytest.raises(DataError, match="two groups or more"):
        data.split_by_group(["a", "a"])
    with pytest.raises(ParameterError, match="between 0 and 1"):
        data.split_by_group(["a", "b"], 1.0)


# tables


def csv_file(tmp_path, text: str | bytes):
    path = tmp_path / "patients.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_reads_numbers_text_and_missing(tmp_path):
    table = data.read_csv(csv_file(tmp_path, "\ufeffage,sex,note\r\n"
                                             '61,F,"a, b"\r\n'
                                             "NA,M,\r\n\r\n"
                                             "-1e3,F,x\r\n"))
    assert table.names == ["age", "sex", "note"] and len(table) == 3
    np.testing.assert_array_equal(table["age"], [61, np.nan, -1000])
    assert table["sex"].tolist() == ["F", "M", "F"]
    assert table["note"].tolist() == ["a, b", None, "x"]
    assert table.lines.tolist() == [2, 3, 5]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(tmp_path, delimiter):
    table = data.read_csv(csv_file(tmp_path, delimiter.join("ab") + "\n" + delimiter.join("12")))
    assert table["b"].tolist() == [2.0]


@pytest.mark.parametrize(("text", "match"), [
    ("", "an empty file"),
    ("  \n", "an empty file"),
    ("a,b\n", "rows below the header"),
    ("a,a\n1,2\n", "line 1.*'a' twice"),
    ("a,,c\n1,2,3\n", "line 1.*an empty name"),
    ("a,b\n1,2\n1,2,3\n", "line 3: expected 2 fields as in the header, got 3"),
    (b"a,b\n1,\xe9\n", "line 2: expected UTF-8 text, got byte 0xe9"),
])
def test_bad_files(tmp_path, text, match):
    with pytest.raises(DataError, match=match):
        data.read_csv(csv_file(tmp_path, text))


def test_none_is_missing_among_numbers_and_an_answer_among_texts(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("weight,pain,empty\nNone,none,NA\n70,mild,?\n80,severe,\n")
    table = data.read_csv(path)
    assert np.isnan(table["weight"][0]) and table["weight"][1:].tolist() == [70, 80]
    assert table["pain"].tolist() == ["none", "mild", "severe"]
    assert np.isnan(table["empty"]).all()
    columns = data.Columns.fit(table, ["weight", "pain"], "median")
    path.write_text("weight,pain\nnone,none\n")
    np.testing.assert_array_equal(columns.matrix(data.read_csv(path)), [[75, 0, 1, 0]])


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        data.read_csv(tmp_path / "no.csv")
    with pytest.raises(DataError, match="a folder"):
        data.read_csv(tmp_path)


def table_of(**columns) -> data.Table:
    return data.Table({name: np.array(c, object if isinstance(c[0], str) else float)
                       for name, c in columns.items()})


def test_columns_numbers_and_one_hot():
    table = table_of(age=[50, 60, 70], sex=["F", "M", "F"])
    columns = data.Columns.fit(table)
    assert columns.features == ["age", "sex=F", "sex=M"]
    x = columns.matrix(table)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, [[50, 1, 0], [60, 0, 1], [70, 1, 0]])
    swapped = table_of(extra=[0], sex=["M"], age=[10])
    np.testing.assert_array_equal(data.Columns(columns.plan).matrix(swapped), [[10, 0, 1]])


def test_missing_numbers_are_refused_or_imputed_from_training():
    table = table_of(age=[50, float("nan"), 70, 90])
    with pytest.raises(DataError, match=r"row 2, column 'age': expected a number, got nothing"):
        data.Columns.fit(table).matrix(table)
    columns = data.Columns.fit(table.take(np.array([0, 1, 2])), impute="median")
    np.testing.assert_array_equal(columns.matrix(table)[:, 0], [50, 60, 70, 90])


@pytest.mark.parametrize(("new", "match"), [
    ({"age": [50.0]}, "column 'sex', got columns 'age'"),
    ({"age": [50.0], "sex": ["X"]}, "row 1, column 'sex': expected one of 'F', 'M', got 'X'"),
    ({"age": ["old"], "sex": ["F"]}, "row 1, column 'age': expected a number, got 'old'"),
    ({"age": [np.inf], "sex": ["F"]}, "row 1, column 'age': expected a finite number, got inf"),
    ({"age": [1e300], "sex": ["F"]}, "finite number"),
])
def test_new_tables_must_fit(new, match):
    columns = data.Columns.fit(table_of(age=[50, 60], sex=["F", "M"]))
    with np.errstate(over="ignore"), pytest.raises(DataError, match=match):
        columns.matrix(table_of(**new))


def test_a_column_of_names_is_refused():
    names = [f"name {i}" for i in range(30)]
    with pytest.raises(DataError, match=r"one of 30 different texts.*name or a note"):
        data.Columns.fit(table_of(who=names))
    numbers = [str(i) for i in range(29)]
    with pytest.raises(DataError, match=r"row 4, column 'age'.*got '4o'"):
        data.Columns.fit(table_of(age=[*numbers[:3], "4o", *numbers[3:]]))


def test_labels():
    table = table_of(y=["benign", "malignant", "benign"], code=[0, 1, 1], k=["a", "b", "c"])
    assert table.labels("y")[0].tolist() == [0, 1, 0]
    assert table.labels("y")[1] == ["benign", "malignant"]
    assert table.labels("code")[1] == ["0", "1"]
    assert table.labels("y", "benign")[0].tolist() == [1, 0, 1]
    assert table.labels("k", "b") [1] == ["not b", "b"]
    for target, positive, match in [
        ("k", None, "expected two outcomes, got 3"), ("z", None, "column 'z'"),
        ("y", "bad", "'bad'"),
    ]:
        with pytest.raises(DataError, match=match):
            table.labels(target, positive)
    with pytest.raises(DataError, match="only 'x' in all 2 rows"):
        table_of(y=["x", "x"]).labels("y")
    with pytest.raises(DataError, match="--positive"):
        table_of(y=["left", "right"]).labels("y")
    with pytest.raises(DataError, match="row 2, column 'y'"):
        table_of(y=[1.0, np.nan]).labels("y")


def test_long_numbers_as_groups_stay_distinct():
    table = table_of(patient=[1234567, 1234568])
    assert table.text("patient").tolist() == ["1234567", "1234568"]


def test_breast_cancer_is_the_real_one():
    datasets = pytest.importorskip("sklearn.datasets")
    table = data.datasets.breast_cancer()
    y, classes = table.labels("diagnosis")
    bunch = datasets.load_breast_cancer()
    assert (len(table), len(table.names), classes) == (569, 31, ["benign", "malignant"])
    np.testing.assert_array_equal(y, 1 - bunch.target)
    np.testing.assert_array_equal(table["mean radius"], bunch.data[:, 0])


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r'pip install "medai-engine\[data\]"'):
        data.datasets.breast_cancer()


def test_standardize_layer():
    x = np.random.default_rng(0).normal(5, [1, 20, 0], (40, 3))
    layer = data.Standardize(3).fit_rows(x)
    y = layer(x).numpy()
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(0), [1, 1, 0], atol=1e-5)
    assert set(layer.state_dict()) == {"mean", "deviation"} and not list(layer.parameters())
    with pytest.raises(ShapeError, match="3 features"):
        layer(np.zeros((2, 4), np.float32))


# files


@pytest.mark.parametrize("array", [
    np.arange(12.0).reshape(3, 4).T,
    np.arange(12.0)[::-2],
    np.arange(5, dtype=">f4"),
    np.array(3.5),
    np.zeros((0, 3), np.float32),
    np.array([True, False]),
    np.broadcast_to(np.float32(2), (3, 2)),
    np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
], ids=["transposed", "reversed", "big-endian", "number", "empty", "bool", "broadcast", "fortran"])
def test_arrays_come_back(tmp_path, array):
    write_arrays(tmp_path / "a.safetensors", {"a": array})
    back = read_arrays(tmp_path / "a.safetensors")[0]["a"]
    assert back.shape == array.shape and back.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, array)


def test_state_comes_back(tmp_path):
    state = {"numbers": [1, 2.5, None, True, float("inf")], "pair": (1, ("a",)), "text": "é",
             3: {"array": np.arange(3), "$odd": {}}, "tensor": me.tensor([1.0, 2.0]), "empty": {}}
    write_state(tmp_path / "s.safetensors", state)
    back = read_state(tmp_path / "s.safetensors")
    assert back["numbers"] == state["numbers"] and back["pair"] == state["pair"]
    assert back["text"] == "é" and back["empty"] == {} and back[3]["$odd"] == {}
    np.testing.assert_array_equal(back[3]["array"], np.arange(3))
    np.testing.assert_array_equal(back["tensor"], [1, 2])
    with pytest.raises(ParameterError, match=r"at state\.f"):
        write_state(tmp_path / "s.safetensors", {"f": print})
    assert read_state(tmp_path / "s.safetensors")["text"] == "é"  # the old file is untouched
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


def models() -> dict[str, nn.Module]:
    shared = nn.Linear(4, 4)
    frozen = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    frozen[0].requires_grad_(False)
    return {
        "sequential": nn.Sequential(data.Standardize(5), nn.Linear(5, 4, bias=False), nn.ReLU(),
                                    nn.Dropout(0.25), nn.Linear(4, 2)),
        "named": nn.Sequential({"body": nn.Linear(2, 3), "head": nn.Linear(3, 1)}),
        "residual": nn.Sequential(nn.Residual(nn.Linear(4, 4), nn.Tanh()),
                                  nn.Residual(nn.Linear(4, 2), shortcut=nn.Linear(4, 2))),
        "shared": nn.Sequential(shared, nn.GELU(), shared),
        "lists": nn.ModuleList([nn.Linear(1, 2), nn.ModuleDict({"a": nn.Embedding(7, 3)})]),
        "reshape": nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Reshape(2, 2),
                                 nn.LeakyReLU(0.3)),
        "double": nn.Sequential(nn.Linear(3, 2), nn.PReLU()).astype("float64"),
        "inferred": nn.Sequential(nn.Linear(None, 3)),
        "frozen": frozen,
    }


@pytest.mark.parametrize("name", models())
def test_models_come_back(tmp_path, name):
    model = models()[name]
    model.save(tmp_path / "model")
    again = me.load(tmp_path / "model")
    assert repr(again) == repr(model)
    ours, theirs = model.state_dict(), again.state_dict()
    assert list(ours) == list(theirs)
    for key in ours:
        assert ours[key].dtype == theirs[key].dtype
        np.testing.assert_array_equal(ours[key].numpy(), theirs[key].numpy())
    assert [p.requires_grad for p in model.parameters()] == [
        p.requires_grad for p in again.parameters()]
    assert len(list(again.modules())) == len(list(model.modules()))


def test_every_layer_can_be_described():
    """A layer whose options cannot be read would only be found out when a user saves."""
    from module_table import ROWS

    from medai_engine.io.models import BUILDABLE, build, describe
    from medai_engine.systems.generative import Generator
    from medai_engine.systems.sequences import HistoryNetwork, PhaseNetwork

    layers = [data.Standardize(2), Generator(3, 2, 4, 5), HistoryNetwork(3, 2, 4, "gru"),
              PhaseNetwork(3, 2, 4, 0.1), *(row.make() for row in ROWS.values())]
    for layer in layers:
        told = describe(layer)
        assert told["options"] is not None, layer
        assert repr(build(told)) == repr(layer)
    assert set(BUILDABLE) - {"Module"} <= {type(layer).__name__ for layer in layers}


class Own(nn.Module):
    def __init__(self, width: int):
        self.width = width
        self.layer = nn.Linear(width, 1)

    def forward(self, x):
        return self.layer(x)


class Wider(Own):
    def __init__(self, extra: int, **options):
        super().__init__(**options)
        self.extra = extra


def test_options_that_are_handed_on(tmp_path):
    model = Wider(1, width=3)
    model.save(tmp_path / "own")
    again = me.load(tmp_path / "own", classes=[Wider])
    assert (again.extra, again.width) == (1, 3)


def test_classes_of_ones_own(tmp_path):
    model = Own(3)
    model.save(tmp_path / "own")
    with pytest.raises(ParameterError, match=r"classes=\[Own\]"):
        me.load(tmp_path / "own")
    x = np.ones((2, 3), np.float32)
    for again in (me.load(tmp_path / "own", classes=[Own]),
                  me.load(tmp_path / "own.safetensors", into=Own(3))):
        np.testing.assert_array_equal(again.predict(x), model.predict(x))


@pytest.mark.parametrize("damage", [
    {"class": "Linear"}, {"class": "Linear", "options": {"width": 3}}, {}, [],
    {"class": "Sequential", "options": {}, "members": [{"again": 7}]},
])
def test_a_damaged_description_is_refused(tmp_path, damage):
    nn.Linear(3, 2).save(tmp_path / "m")
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model": damage}))
    with pytest.raises(DataError, match=r"m\.json: expected the description of a model"):
        me.load(tmp_path / "m")


def test_compile_settings_come_back(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2))
    model.compile(me.optim.SGD(model.parameters(), lr=0.25, momentum=0.5), "cross_entropy",
                  ["accuracy"])
    model.save(tmp_path / "m")
    again = me.load(tmp_path / "m")
    x, y = np.ones((4, 3)), np.array([0, 1, 1, 0])
    assert again.evaluate(x, y) == model.evaluate(x, y)
    optimizer = again.compiled.ready_optimizer(again)
    assert type(optimizer) is me.optim.SGD
    assert (optimizer.lr, optimizer.param_groups[0]["momentum"]) == (0.25, 0.5)
