"""Programs of Keras's users, run here with the import line changed, and by Keras where it is there.

``keras_programs/`` holds one program per network of the systems, ``keras_habits.py`` single lines.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_habits import HABITS, PREAMBLE

from medai_engine.keras.backend import clear_session

EXECUTED: Counter[str] = Counter()
PROGRAMS = {path.stem: path.read_text() for path in
            sorted((Path(__file__).parent / "keras_programs").glob("*.py"))}
EPS = float(np.finfo(np.float32).eps)
# full-size networks of the systems 6 and 7: 3 convolutions and 2 dense layers, by hand
FULL = {"cnn224": 896 + 18_496 + 73_856 + (26 * 26 * 128 + 1) * 512 + 513,
        "cnn256": 896 + 18_496 + 36_928 + (30 * 30 * 64 + 1) * 64 + 130}


@pytest.fixture(scope="module")
def theirs():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    if "CI" in os.environ:
        import keras
    else:
        pytest.importorskip("torch")
        keras = pytest.importorskip("keras")
    return keras


# Keras's own, of its torch backend
pytestmark = [pytest.mark.filterwarnings(f"ignore:{of}") for of in (
    "__array__ implementation doesn't accept", "The `torch", "`torch.jit", "Conv", "Do not pass",
    "Argument `alpha`", "You are saving", "The structure of `inputs`", "Your input ran out",
    "`shuffle=True` was passed")]


def here(source: str) -> str:
    """Return a program with its import lines changed."""
    source = re.sub(r"^import keras$", "from medai_engine import keras", source, flags=re.M)
    return re.sub(r"^from keras", "from medai_engine.keras", source, flags=re.M)


def smaller(source: str) -> str:
    """Return a program with images of 64 x 64."""
    return re.sub(r"^IMG_SIZE = \d+", "IMG_SIZE = 64", source, flags=re.M)


def models(scope: dict[str, Any]) -> list[Any]:
    return scope["models"] if isinstance(scope.get("models"), list) else [scope["model"]]


def rounding(model: Any) -> float:
    """Return how far two float32 evaluations of a network may lie apart, relatively.

    A layer's sums of k products err by 2 sqrt(k) eps (once per step in recurrent layers, of which
    these programs have at most 100); layers add up.
    """
    total = 0.0
    for layer in model.layers:
        weights = layer.get_weights()
        if weights:
            steps = 100 if len(weights) > 2 and weights[1].ndim == 2 else 1
            total += steps * 2 * np.sqrt(np.prod(weights[0].shape[:-1]))
    return total * EPS


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_runs(name, tmp_path, monkeypatch, capsys):
    """Both cells, as they stand but for the import lines and the size of images."""
    monkeypatch.chdir(tmp_path)
    exec(compile(here(smaller(PROGRAMS[name])), f"{name}.py", "exec"), {})


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_equals_keras(name, theirs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    build, train = smaller(PROGRAMS[name]).split("# %%\n")
    theirs.utils.set_random_seed(0)  # the weights that both start from
    scopes: list[dict[str, Any]] = [{}, {}]
    for scope, text in zip(scopes, (here(build), build), strict=True):
        (clear_session if text is not build else theirs.utils.clear_session)()
        exec(compile(text, f"{name}.py", "exec"), scope)
    rng = np.random.default_rng(3)
    for one, two in zip(models(scopes[0]), models(scopes[1]), strict=True):
        assert [v.name for v in one.layers] == [v.name for v in two.layers]
        assert [v.count_params() for v in one.layers] == [v.count_params() for v in two.layers]
        assert [v.output.shape for v in one.layers] == [v.output.shape for v in two.layers]
        assert one.output_shape == two.output_shape
        one.set_weights(two.get_weights())
        shape = [3 if n is None else n for n in one.input_shape[1:]]
        x = rng.normal(size=(2, *shape)).astype(np.float32)
        a, b = one.predict(x, verbose=0), two.predict(x, verbose=0)
        np.testing.assert_allclose(a, b, rtol=0, atol=rounding(two) * np.abs(b).max())
    for scope, text in zip(scopes, (here(train), train), strict=True):
        exec(compile(text, f"{name}.py", "exec"), scope)
    ours, wanted = (scope.get("losses", []) for scope in scopes)
    # Adam's first steps take the sign of every gradient, of noise as well
    np.testing.assert_allclose(ours, wanted, rtol=5e-4)
    EXECUTED["programs"] += 1


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_full_size(name):
    build, _ = PROGRAMS[name].split("# %%\n")
    scope: dict[str, Any] = {}
    exec(here(build), scope)
    assert scope["model"].count_params() == FULL[name]


def leaves(value: Any) -> list[Any]:
    """Return what is found, dicts by their keys, in one list."""
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in [key, *leaves(value[key])]]
    if isinstance(value, (list, tuple)):
        return [leaf for member in value for leaf in leaves(member)]
    return [value]


def found(text: str, folder: Path, change: Any) -> list[Any]:
    """Run a habit in a folder; return what it leaves."""
    folder.mkdir()
    os.chdir(folder)
    scope: dict[str, Any] = {}
    exec(change(PREAMBLE), scope)
    exec(change(text), scope)
    return leaves(scope["found"])


@pytest.mark.parametrize("name", HABITS)
def test_habit_equals_keras(name, theirs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ours = found(HABITS[name], tmp_path / "ours", here)
    wanted = found(HABITS[name], tmp_path / "theirs", lambda text: text)
    assert len(ours) == len(wanted)
    for a, b in zip(ours, wanted, strict=True):
        if isinstance(a, str) or isinstance(b, str) or b is None:
            assert a == b
        else:
            assert np.shape(a) == np.shape(b)
            np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-4,
                                       atol=1e-5)
    EXECUTED["habits"] += 1


def test_the_oracle_was_asked(theirs, request):
    chosen = Counter(item.originalname for item in request.session.items if item.path == Path(
        __file__))
    assert EXECUTED["programs"] == chosen["test_program_equals_keras"]
    assert EXECUTED["habits"] == chosen["test_habit_equals_keras"]
