"""The network systems: whole runs in small, what they refuse, and (slow) the floors they state."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from medai_engine import cli
from medai_engine.errors import DataError, ParameterError
from medai_engine.systems import commands, deep, folder, generative
from medai_engine.systems.sequences import carry_forward

pytest.importorskip("sklearn")
Image = pytest.importorskip("PIL.Image")

SMALL = {  # options with which a whole run takes a second or two
    "prognosis": [], "diagnosis": ["--image-size", "32", "--epochs", "1"],
    "history": ["--epochs", "1"], "phases": ["--epochs", "1"],
    "autoencoder": ["--epochs", "3"],
}
FILES = {"config.json", "metrics.json", "predictions.csv", "history.csv", "model.safetensors",
         "model.json", "report.html", "history.png", "evaluation.png"}


@pytest.fixture(autouse=True)
def fewer(monkeypatch):
    """Make the generated cohorts small; the bootstraps short."""
    from medai_engine.data import datasets
    from medai_engine.training import evaluation

    for name, count in (("slices", 80), ("histories", 80), ("phases", 24)):
        make = getattr(datasets, name)
        monkeypatch.setattr(datasets, name, lambda n, *a, make=make, count=count, **k:
                            make(count, *a, **k))
    interval = evaluation.bootstrap_interval
    monkeypatch.setattr(evaluation, "bootstrap_interval", lambda *a, **k: interval(
        *a, **{**k, "repeats": 20}))


def run(*words: str) -> int:
    return cli.main([str(w) for w in words])


def test_every_system_has_grammar_and_case():
    assert set(cli.DEEP) == set(commands.SYSTEMS) == set(SMALL)
    for name, system in commands.SYSTEMS.items():
        assert cli.DEEP[name].models == tuple(system.models)
        assert system.title and system.floor[0] and type(system).__doc__


@pytest.mark.parametrize("name", SMALL)
def test_a_whole_run(name, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run("train", name, "--out", folder, *SMALL[name]) == 0
    out = capsys.readouterr().out
    assert "held out" in out and f"medai predict {folder}" in out
    assert {p.name for p in folder.iterdir()} >= FILES
    config = json.loads((folder / "config.json").read_text())
    assert config["system"] == name and sum(config["patients"].values()) > 20
    report = (folder / "report.html").read_text()
    assert "data:image/png;base64," in report and "http" not in report.replace("http-equiv", "")
    assert run("evaluate", folder) == 0
    assert "95 %" in capsys.readouterr().out
    rows = (folder / "predictions.csv").read_text().splitlines()
    assert len(rows) > config["patients"]["held out"]
    assert run("compare", folder, folder) == 0
    # a finished run that is resumed gives the same scores
    before = (folder / "metrics.json").read_bytes()
    assert run("train", name, "--resume", folder) == 0
    assert (folder / "metrics.json").read_bytes() == before


def test_the_report_opens_in_a_browser(tmp_path, browser):
    run("train", "prognosis", "--out", tmp_path / "run")
    seen = browser(tmp_path / "run" / "report.html")
    assert "Prognosis by regression" in seen and seen.count("<img") == 2


def test_the_same_seed_gives_the_same_run(tmp_path):
    for name in ("a", "b"):
        run("train", "history", "--epochs", "1", "--out", tmp_path / name, "--threads",
            "1" if name == "a" else "2")
    one, two = ((tmp_path / n / "model.safetensors").read_bytes() for n in "ab")
    assert one == two


def test_images_of_ones_own(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for kind, level in (("clear", 60), ("opaque", 190)):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for i in range(16):
            size = (20 + i % 3, 24, *([3] if i % 2 else []))
            values = rng.integers(level - 40, level + 40, size).astype(np.uint8)
            Image.fromarray(values).save(tmp_path / "images" / kind / f"{i}.png")
    (tmp_path / "images" / "clear" / "bad.png").write_bytes(b"nothing")
    table = "\n".join(["file,patient", *(f"{k}/{i}.png,{k}{i // 2}" for k in ("clear", "opaque")
                                         for i in range(16))])
    (tmp_path / "patients.csv").write_text(table + "\n")
    folder = tmp_path / "run"
    assert run("train", "diagnosis", "--data", tmp_path / "images", "--image-size", "16",
               "--epochs", "2", "--patients", tmp_path / "patients.csv", "--out", folder) == 0
    assert "bad.png" in capsys.readouterr().err
    rows = [line.split(",")[0] for line in (folder / "predictions.csv").read_text().splitlines()]
    patients = {(r.split("/")[0], int(r.split("/")[1][:-4]) // 2) for r in rows[1:]}
    assert len(patients) * 2 == len(rows) - 1  # whole patients are held out
    assert run("predict", folder, "--data", tmp_path / "images", "--out", tmp_path / "p.csv") == 0
    found = capsys.readouterr()
    assert "known outcomes" in found.err and "written: predictions of 32" in found.out
    one = tmp_path / "images" / "clear" / "0.png"
    assert run("predict", folder, "--data", one) == 0
    assert capsys.readouterr().out.count("\n") == 2


def histories_csv(path, change=None):
    rng = np.random.default_rng(1)
    lines = ["patient,pulse,pressure,note,outcome"]
    for k in range(24):
        for t in range(4 + k % 5):
            pulse = "" if (t + k) % 3 == 0 else f"{80 + 10 * (k % 2) + rng.normal():.2f}"
            lines.append(f"p{k},{pulse},{120 + rng.normal():.1f},text,{'bad' if k % 2 else 'good'}")
    if change:
        lines = change(lines)
    path.write_text("\n".join(lines) + "\n")
    return path


def test_histories_of_ones_own(tmp_path, capsys):
    table = histories_csv(tmp_path / "h.csv")
    folder = tmp_path / "run"
    assert run("train", "history", "--data", table, "--target", "outcome", "--epochs", "2",
               "--model", "gru64", "--out", folder) == 0
    err = capsys.readouterr().err
    assert "note" in err and "values are missing" in err
    assert run("predict", folder, "--data", table) == 0
    assert capsys.readouterr().out.startswith("sample,outcome,prediction,p(bad),p(good)")


BAD = {
    "no target": (["history", "--data", "h.csv"], None, "--target COLUMN"),
    "two outcomes of one patient": (["history", "--data", "h.csv", "--target", "outcome"],
                                    lambda v: [*v[:2], v[2].replace("good", "bad"), *v[3:]],
                                    "one outcome, got bad, good"),
    "unknown column": (["history", "--data", "h.csv", "--target", "result"], None,
                       "column 'result'"),
    "text in a number": (["history", "--data", "h.csv", "--target", "outcome"],
                         lambda v: [v[0], *(x.replace(",12", ",high12", 1) for x in v[1:])],
                         "not numbers|columns of numbers"),
    "no file": (["history", "--data", "none.csv", "--target", "x"], None, "no such file"),
    "no folder": (["diagnosis", "--data", "none"], None, "no such folder"),
    "npz": (["phases", "--data", "h.csv"], None, "an NPZ file of plain arrays"),
    "regression of text": (["prognosis", "--data", "h.csv", "--target", "outcome"], None,
                           "a number in every row"),
    "learning rate": (["prognosis", "--lr", "-1"], None, "a learning rate above 0"),
    "options beside resume": (["prognosis", "--resume", ".", "--lr", "1"], None, "--lr"),
    "no run": (["prognosis", "--resume", "."], None, "a run folder with config.json"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_said(name, tmp_path, monkeypatch, capsys):
    import re

    monkeypatch.chdir(tmp_path)
    words, change, message = BAD[name]
    histories_csv(tmp_path / "h.csv", change)
    code = run("train", *words)
    err = capsys.readouterr().err
    if name == "text in a number":  # the column is named and left out, the others serve
        assert code == 0 and re.search(message, err)
        return
    assert code == 2 and re.search(message, err) and len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_uneven_classes_are_said(tmp_path, capsys):
    def rare(lines):
        few = {"p1", "p3", "p5", "p7"}
        return [lines[0], *(v for v in lines[1:] if "good" in v or v.split(",")[0] in few)]

    table = histories_csv(tmp_path / "h.csv", rare)
    for words in ([], ["--balance"]):
        assert run("train", "history", "--data", table, "--target", "outcome", "--epochs", "1",
                   "--out", tmp_path / f"run{len(words)}", *words) == 0
        err = capsys.readouterr().err
        assert "uneven classes" in err and ("weighs every class" in err)


def test_carry_forward():
    nan = np.nan
    x = np.array([[[nan, 1.0], [4.0, nan], [nan, nan], [nan, 3.0], [nan, nan]],
                  [[nan, nan]] * 5])
    out = carry_forward(x, np.array([2.0, 1.0]), np.array([2.0, 1.0]))
    assert out.shape == (2, 5, 5)
    np.testing.assert_array_equal(out[0], [  # values, what was measured, inside
        [0, 0, 0, 1, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 2, 0, 1, 1], [0, 0, 0, 0, 0]])
    assert (out[1] == 0).all()


def test_compare_needs_one_system(tmp_path, capsys):
    for name in ("prognosis", "autoencoder"):
        run("train", name, "--out", tmp_path / name, "--epochs", "1")
    assert run("compare", tmp_path / "prognosis", tmp_path / "autoencoder") == 2
    assert "two runs of one system" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "prognosis" / "checkpoint")
    (tmp_path / "prognosis" / "model.safetensors").unlink()
    assert run("predict", tmp_path / "prognosis", "--data", "x.csv") == 2
    assert "an unfinished run" in capsys.readouterr().err


def test_synthetic_cases(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run("train", "synthesize", "--epochs", "2", "--out", folder) == 0
    assert run("synthesize", folder, "-n", "30", "--out", tmp_path / "cases.npz") == 0
    with np.load(tmp_path / "cases.npz") as cases:
        assert cases["x"].shape == (30, 8, 8, 1) and np.bincount(cases["y"]).tolist() == [3] * 10
    assert "copies of training cases: 0 of 30" in capsys.readouterr().out
    assert run("synthesize", tmp_path) == 2


def test_privacy_finds_copies():
    rng = np.random.default_rng(0)
    training, held = rng.normal(size=(200, 8)), rng.normal(size=(200, 8))
    fresh = generative.privacy(rng.normal(size=(300, 8)), training, held)
    assert fresh["copies"] <= 1 and abs(fresh["membership_auc"] - 0.5) < 0.08
    stolen = generative.privacy(training + 1e-4, training, held)
    assert stolen["copies"] == 200 and stolen["membership_auc"] > 0.99


def test_a_system_must_know_its_models():
    system = commands.SYSTEMS["diagnosis"]
    with pytest.raises(ParameterError, match="model of cnn64"):
        deep.train(system, deep.Options(model="vgg"))
    with pytest.raises(DataError, match="a run folder"):
        folder.system_of("nowhere")
