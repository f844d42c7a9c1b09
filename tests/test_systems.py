"""The network systems: whole runs in small, what they refuse, and (slow) the floors they state."""

from __future__ import annotations

import json
import shutil
import sys

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


@pytest.mark.parametrize(("words", "text", "figures"), [
    (["prognosis", "--by", "sex"], "Prognosis by regression", 3),
    (["risk", "--epochs", "5", "--by", "mean radius"], "By mean radius", 3),
    (["diagnosis", *SMALL["diagnosis"]], "made-up CT-like slices", 3),
    (["treatment", "--model", "tree", "--data", "wine"], "Treatment choice", 1),
    (["synthesize", "--epochs", "2"], "Are the samples useful", 2)])
def test_the_report_opens_in_a_browser(words, text, figures, tmp_path, browser):
    run("train", *words, "--out", tmp_path / "run")
    seen = browser(tmp_path / "run" / "report.html")
    assert text in seen and seen.count("<img") == figures


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


def scans(root, images=40):
    """Write CT slices of ten patients as DICOM, two of them unreadable, beside one picture."""
    from test_images import dicom

    rng = np.random.default_rng(0)
    for i in range(images):
        kind, patient = ("clear", "dense")[i % 2], i // 4
        values = rng.normal(-700 + 500 * (i % 2), 80, (16 + i % 3, 18))
        dicom(root / kind / f"{i}.dcm", values, PatientID=f"P{patient}",
              PatientSex="FM"[patient % 2], PatientAge=f"{40 + patient:03d}Y")
    (root / "clear" / "broken.dcm").write_bytes(b"nothing")
    dicom(root / "dense" / "frames.dcm", values[:16], Rows=8, NumberOfFrames=2)
    Image.fromarray(np.full((20, 20, 3), 200, np.uint8)).save(root / "dense" / "film.png")
    return root


def test_dicom_of_ones_own(tmp_path, capsys):
    pytest.importorskip("pydicom")
    root, folder = scans(tmp_path / "ct"), tmp_path / "run"
    assert run("train", "diagnosis", "--data", root, "--image-size", "16", "--epochs", "2",
               "--window", "lung", "--by", "sex", "age", "--out", folder) == 0
    out, err = capsys.readouterr()
    assert "broken.dcm (InvalidDicomError" in err and "frames.dcm (2 frames in one file" in err
    assert "11 patients, by the PatientID of the DICOM files; 1 images name none" in err
    assert "by sex" in out and "by age" in out and "too few: n < 30" in out
    config = json.loads((folder / "config.json").read_text())
    assert config["options"]["window"] == [-600, 1500]
    rows = [line.split(",") for line in (folder / "predictions.csv").read_text().splitlines()]
    assert rows[0][:3] == ["sample", "patient", "class"]
    held = {row[1] for row in rows[1:]}
    assert all(sum(r[1] == p for r in rows) == (4 if p.startswith("P") else 1) for p in held)
    # prediction sees what training saw: the window of the run, not that of the file
    one = root / "clear" / "0.dcm"
    assert run("predict", folder, "--data", one) == 0
    alone = capsys.readouterr().out.splitlines()[1].split(",")[-1]
    assert run("predict", folder, "--data", root) == 0
    row = next(v for v in capsys.readouterr().out.splitlines() if v.startswith("clear/0.dcm"))
    assert abs(float(row.split(",")[-1]) - float(alone)) < 1e-5
    assert run("evaluate", folder, "--data", root, "--by", "sex") == 0
    assert "by sex" in capsys.readouterr().out
    # a table of patients overrules the files
    table = tmp_path / "patients.csv"
    names = [f"clear/{i}.dcm" for i in range(0, 40, 2)] + [f"dense/{i}.dcm" for i in range(
        1, 40, 2)] + ["dense/film.png"]
    table.write_text("file,patient,ward\n" + "\n".join(
        f"{name},Q{i % 7},{i % 2}" for i, name in enumerate(names)) + "\n")
    assert run("train", "diagnosis", "--data", root, "--image-size", "16", "--epochs", "1",
               "--patients", table, "--by", "ward", "--out", tmp_path / "two") == 0
    out, err = capsys.readouterr()
    assert "by ward" in out and "PatientID" not in err
    assert run("evaluate", folder, "--data", root, "--patients", table, "--by", "ward") == 0


def test_one_patient_cannot_be_split(tmp_path, capsys):
    pytest.importorskip("pydicom")
    from test_images import dicom

    for kind in ("clear", "dense"):
        for i in range(6):
            dicom(tmp_path / "ct" / kind / f"{i}.dcm", np.zeros((8, 8)) - i, PatientID="ANON")
    assert run("train", "diagnosis", "--data", tmp_path / "ct", "--out", tmp_path / "no") == 2
    err = capsys.readouterr().err
    assert "three patients or more" in err and "ANON" in err and "--patients FILE.csv" in err
    assert not (tmp_path / "no").exists()


def test_image_arrays_of_ones_own(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    hu = rng.normal(-500 + 400 * y[:, None, None], 100, (40, 12, 12))
    np.savez(tmp_path / "hu.npz", x=hu, y=y, classes=np.array(["clear", "dense"]))
    assert run("train", "diagnosis", "--data", tmp_path / "hu.npz", "--epochs", "1") == 2
    assert "--window" in capsys.readouterr().err
    assert run("train", "diagnosis", "--data", tmp_path / "hu.npz", "--epochs", "1", "--window",
               "-600", "1500", "--image-size", "16", "--out", tmp_path / "run") == 0
    assert "The file names no patients" in capsys.readouterr().err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["classes"] == ["clear", "dense"] and config["plan"]["shape"] == [16, 16, 1]
    assert run("evaluate", tmp_path / "run", "--data", tmp_path / "hu.npz") == 0
    np.savez(tmp_path / "new.npz", x=hu[:3])
    assert run("predict", tmp_path / "run", "--data", tmp_path / "new.npz") == 0
    assert len(capsys.readouterr().out.split("sample,prediction")[1].splitlines()) == 4
    # bytes are the same images as their 255th parts
    grey = np.clip((hu + 1000) / 1000 * 255, 0, 255).astype(np.uint8)
    for name, x in (("bytes", grey), ("parts", grey / np.float32(255))):
        np.savez(tmp_path / f"{name}.npz", x=x, y=y, patients=np.arange(40) // 4)
        run("train", "diagnosis", "--data", tmp_path / f"{name}.npz", "--epochs", "1", "--out",
            tmp_path / name)
    one, two = ((tmp_path / n / "predictions.csv").read_bytes() for n in ("bytes", "parts"))
    assert one == two and one.startswith(b"sample,patient,class")


def test_convolutional_autoencoder(tmp_path, capsys):
    assert run("train", "autoencoder", "--model", "conv", "--epochs", "2", "--out",
               tmp_path / "run") == 0
    out = capsys.readouterr().out
    assert "explained by components" in out and "BELOW the floor of 0.68" in out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["plan"]["shape"] == [32, 32, 1] and "slices" in config["source"]
    rng = np.random.default_rng(0)  # images of one's own, in one flat folder
    (tmp_path / "flat").mkdir()
    for i in range(24):
        values = rng.integers(0, 255, (20, 22), np.uint8)
        Image.fromarray(values).save(tmp_path / "flat" / f"{i}.png")
    assert run("train", "autoencoder", "--model", "conv", "--data", tmp_path / "flat",
               "--image-size", "16", "--epochs", "1", "--out", tmp_path / "own") == 0
    assert run("predict", tmp_path / "own", "--data", tmp_path / "flat" / "3.png") == 0
    assert run("evaluate", tmp_path / "own", "--data", tmp_path / "flat") == 0
    capsys.readouterr()
    np.savez(tmp_path / "v.npz", x=rng.random((30, 10)))
    assert run("train", "autoencoder", "--model", "conv", "--data", tmp_path / "v.npz") == 2
    assert "sides that 4 divides" in capsys.readouterr().err
    assert run("train", "autoencoder", "--data", tmp_path / "v.npz", "--epochs", "1", "--out",
               tmp_path / "v") == 0


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
    "infinity": (["history", "--data", "h.csv", "--target", "outcome"],
                 lambda v: [*v[:3], "p0,inf,120,text,good", *v[4:]],
                 "line 4, column 'pulse': expected a finite number"),
    "a name in a number": (["prognosis", "--data", "h.csv", "--target", "pressure"], None,
                           "pass --patients 'patient'"),
    "a table for images": (["diagnosis", "--data", "h.csv"], None, "sub-folder per class, got a f"),
    "a window of words": (["diagnosis", "--window", "bright"], None, "lung, soft, bone"),
    "a window of three": (["diagnosis", "--window", "1", "2", "3"], None, "center and width"),
    "an empty window": (["autoencoder", "--window", "40", "0"], None, "a width over 0"),
    "a subgroup of nothing": (["prognosis", "--by", "ward"], None, "'ward'"),
}


def npz(**arrays):
    """Return what writes a file d.npz of these arrays."""
    return lambda folder: np.savez(folder / "d.npz", **arrays)


def spoiled(folder):
    np.savez(folder / "d.npz", x=np.zeros((4, 3, 3)))
    (folder / "d.npz").write_bytes((folder / "d.npz").read_bytes()[:60])


STEPS, HALF = np.zeros((8, 5, 3)), np.full((12, 8, 8), 0.5)
TWO = np.arange(12) % 2
BAD_ARRAYS = {
    "truncated": ("phases", spoiled, "plain arrays, got BadZipFile"),
    "empty file": ("phases", lambda f: (f / "d.npz").write_bytes(b""), "plain arrays, got EOFErr"),
    "objects": ("diagnosis", npz(x=np.array([None, 1], object)), "plain arrays, got ValueError"),
    "no steps": ("phases", npz(x=HALF[:, 0]), r"shape \(N, T, D\)"),
    "steps of text": ("phases", npz(x=STEPS, y=np.full((8, 5), "a")), "class numbers y of shape"),
    "one phase": ("phases", npz(x=STEPS, y=np.zeros((8, 5), int)), "two classes or more in y"),
    "one patient more": ("phases", npz(x=STEPS, y=np.ones((8, 5), int), patients=np.arange(9)),
                         r"patients of shape \(8,\), got \(9,\)"),
    "gap in a procedure": ("phases", npz(x=np.where(np.arange(3) == 1, np.nan, STEPS),
                                         y=np.eye(5, dtype=int)[[0] * 8]), "finite values in x"),
    "too few": ("phases", npz(x=STEPS[:2], y=np.eye(5, dtype=int)[[0] * 2]), "none of 2 in all"),
    "one class": ("diagnosis", npz(x=HALF, y=TWO * 0), "two classes or more in y"),
    "a rare class": ("diagnosis", npz(x=HALF, y=TWO * (np.arange(12) < 3)), "three images or more"),
    "labels of halves": ("diagnosis", npz(x=HALF, y=TWO + 0.5), "an array y of 12 classes"),
    "no images": ("diagnosis", npz(x=HALF[:0], y=TWO[:0]), "an array x of images"),
    "a hole in an image": ("diagnosis", npz(x=np.where(np.arange(8) == 3, np.nan, HALF), y=TWO),
                           r"finite values in x, got nan at \(0, 0, 3, 0\)"),
    "out of range": ("diagnosis", npz(x=HALF * 9, y=TWO), "x between 0 and 1, or bytes"),
    "five channels": ("autoencoder", npz(x=np.zeros((9, 4, 4, 5))), "an array x of images"),
    "vectors out of range": ("autoencoder", npz(x=np.full((9, 4), 3.0)), "x .* between 0 and 1"),
    "classes by name": ("synthesize", npz(x=HALF, y=TWO.astype(str)), "class numbers y"),
    "a class left out": ("synthesize", npz(x=HALF, y=2 * TWO), "0 of 1. Number the classes"),
    "negative class": ("synthesize", npz(x=HALF, y=TWO - 1), "classes numbered from 0"),
    "below 0": ("synthesize", npz(x=HALF - 1, y=TWO), "x between 0 and 1"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_are_refused(name, tmp_path, monkeypatch, capsys):
    import re

    monkeypatch.chdir(tmp_path)
    system, make, message = BAD_ARRAYS[name]
    make(tmp_path)
    assert run("train", system, "--data", "d.npz", "--epochs", "1") == 2
    err = capsys.readouterr().err
    assert re.search(message, err) and len(err.splitlines()) == 1, err
    assert not (tmp_path / "runs").exists()


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
    capsys.readouterr()
    for words in (["predict", folder, "--data", "x.npz"], ["evaluate", folder, "--data", "x.npz"],
                  ["compare", folder, folder]):
        assert run(*words) == 2 and f"medai synthesize {folder}" in capsys.readouterr().err
    assert run("synthesize", tmp_path) == 2


def test_a_stopped_generator_goes_on_to_the_same_bits(tmp_path, monkeypatch, capsys):
    from medai_engine.systems import adversaries

    whole, part = tmp_path / "whole", tmp_path / "part"
    assert run("train", "synthesize", "--epochs", "4", "--out", whole) == 0
    step = adversaries.Adversaries._step

    def stopping(self, *given):  # in the middle of the third epoch, between the two optimisers
        if len(self.history) == 2:
            raise KeyboardInterrupt
        return step(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(adversaries, "jit", lambda f: f)
        patch.setattr(adversaries.Adversaries, "_step", stopping)
        assert run("train", "synthesize", "--epochs", "4", "--out", part) == 130
    told = capsys.readouterr().out
    assert f"medai train synthesize --resume {part}" in told
    assert json.loads((part / "metrics.json").read_text())["interrupted"] is True
    assert "interrupted" in (part / "report.html").read_text()
    assert run("synthesize", part, "-n", "5") == 0  # the generator so far serves
    assert run("train", "synthesize", "--resume", part, "--seed", "1") == 2
    assert run("train", "synthesize", "--resume", part) == 0
    for name in ("model.safetensors", "metrics.json", "history.csv"):
        assert (part / name).read_bytes() == (whole / name).read_bytes(), name


def test_an_interrupted_network_keeps_its_best(tmp_path, monkeypatch, capsys):
    class Interrupt(deep.StopOnNaN):
        def on_epoch_end(self, run):
            if run.epoch == 2:
                raise KeyboardInterrupt

    whole, part = tmp_path / "whole", tmp_path / "part"
    assert run("train", "autoencoder", "--epochs", "6", "--out", whole) == 0
    with monkeypatch.context() as patch:
        patch.setattr(deep, "StopOnNaN", Interrupt)
        assert run("train", "autoencoder", "--epochs", "6", "--out", part) == 130
    assert f"--resume {part}" in capsys.readouterr().out
    assert "interrupted" in (part / "report.html").read_text()
    assert run("train", "autoencoder", "--resume", part) == 0
    assert (part / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["autoencoder", "risk", "synthesize"])
def test_an_interruption_while_scoring_loses_nothing(name, tmp_path, monkeypatch, capsys):
    from medai_engine.systems import risk

    def stop(*_, **__):
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(deep, "outputs", stop)
        patch.setattr(risk, "scores", stop)
        patch.setattr(generative, "privacy", stop)
        assert run("train", name, "--epochs", "2", "--out", folder) == 130
    assert f"go on with: medai train {name} --resume {folder}" in capsys.readouterr().err
    if name == "autoencoder":  # a model without its scores is no finished run
        assert run("predict", folder, "--data", "x.npz") == 2
        assert "an unfinished run" in capsys.readouterr().err
    assert run("train", name, "--resume", folder) == 0
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == 2
    assert "floor" in capsys.readouterr().out or name == "synthesize"


@pytest.mark.parametrize(("extra", "words"), [
    ("pydicom", ["diagnosis", "--data", "ct"]), ("PIL", ["autoencoder", "--data", "flat"]),
    ("sklearn", ["prognosis"])])
def test_a_missing_extra_is_named(extra, words, tmp_path, monkeypatch, capsys):
    if extra == "pydicom":
        pytest.importorskip("pydicom")
    scans(tmp_path / "ct", 8)
    (tmp_path / "flat").mkdir()
    (tmp_path / "ct" / "dense" / "film.png").rename(tmp_path / "flat" / "film.png")
    monkeypatch.chdir(tmp_path)
    for name in [n for n in sys.modules if n.split(".")[0] == extra]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, extra, None)
    assert run("train", *words) == 2
    assert 'pip install "medai-engine[data]"' in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


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
