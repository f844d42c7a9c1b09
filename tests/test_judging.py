"""Runs judged on new cases, by subgroup, and against each other: all systems, and refusals."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from test_systems import fewer, histories_csv, run  # noqa: F401  (fewer is a fixture)

from medai_engine.systems import judging, subgroups
from medai_engine.systems.cohort import Cohort
from medai_engine.training import metrics

pytest.importorskip("sklearn")
pytest.importorskip("PIL.Image")


def table(path, n: int = 160):
    """Write patients with two rows each, an outcome, a number ahead, and whose group they are."""
    rng = np.random.default_rng(0)
    age = np.repeat(rng.normal(60, 12, n // 2).round(), 2)
    sex = np.repeat(rng.choice(["F", "M"], n // 2), 2)
    dose = rng.normal(size=n).round(3)
    months = (40 - 0.3 * age + 3 * dose + rng.normal(0, 1, n)).round(2)
    sick = np.where(age + 6 * dose + rng.normal(0, 4, n) > 60, "yes", "no")
    columns = {"patient": [f"p{i // 2}" for i in range(n)], "age": age, "sex": sex, "dose": dose,
               "months": months, "sick": sick}
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def images(path, n: int = 48):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = np.clip(rng.normal(0.3 + 0.3 * y[:, None, None], 0.1, (n, 16, 16)), 0, 1)
    np.savez(path, x=x, y=np.array(["clear", "dense"])[y], patients=np.arange(n) // 2,
             sex=np.array(["F", "M"])[np.arange(n) // 4 % 2])
    return path


def procedures(path, n: int = 24):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 4)[None].repeat(n, 0)
    np.savez(path, x=rng.normal(np.eye(3)[y], 0.5), y=y, sex=np.array(["F", "M"])[np.arange(n) % 2])
    return path


TABLE = ["--target", "months", "--patients", "patient"]
JUDGED = {  # what makes the data, the options of two runs
    "risk": (table, ["--target", "sick", "--positive", "yes", "--patients", "patient"],
             [["--epochs", "10"], ["--epochs", "5", "--model", "mlp"]]),
    "treatment": (table, ["--target", "sick", "--patients", "patient"],
                  [["--model", "tree"], ["--model", "svm"]]),
    "prognosis": (table, TABLE, [["--epochs", "20"], ["--epochs", "5", "--model", "mlp"]]),
    "diagnosis": (images, [], [["--epochs", "2"], ["--epochs", "1", "--model", "cnn256"]]),
    "history": (histories_csv, ["--target", "outcome"],
                [["--epochs", "1"], ["--epochs", "1", "--model", "gru64"]]),
    "phases": (procedures, [], [["--epochs", "1"], ["--epochs", "1", "--model",
                                                    "lstm64-dropout"]]),
    "autoencoder": (images, [], [["--epochs", "2"], ["--epochs", "1", "--model", "conv"]]),
}


@pytest.mark.parametrize("name", JUDGED)
def test_every_system_is_judged_and_compared(name, tmp_path, capsys):
    make, options, models = JUDGED[name]
    data = make(tmp_path / f"data.{'npz' if make in (images, procedures) else 'csv'}")
    by = {"history": "note", "treatment": "age"}.get(name, "sex")
    for i, own in enumerate(models):
        extra = ["--by", by] * (i == 0 and name != "autoencoder")
        assert run("train", name, "--data", data, *options, *own, *extra, "--out",
                   tmp_path / f"run{i}") == 0
        assert (tmp_path / f"run{i}" / "report.html").is_file()
    one, two = tmp_path / "run0", tmp_path / "run1"
    saved = json.loads((one / "metrics.json").read_text())["subgroups"]
    if name != "autoencoder":
        held = sum(json.loads((one / "config.json").read_text())["patients"][k]
                   for k in ("held out",))
        assert sum(group["samples"] for group in saved[by].values()) == held
        assert all(group["few"] for group in saved[by].values() if group["samples"] < 30)
        assert f"By {by}" in (one / "report.html").read_text()
    capsys.readouterr()
    # what the run wrote is what it says of the same cases again
    judged, written = judging.judge(one, str(data)), judging.held_out(one)
    if name not in ("phases", "autoencoder"):
        place = {n: i for i, n in enumerate(judged.cohort.names)}
        again = judged.found[[place[n] for n in written.cohort.names]]
        np.testing.assert_allclose(again, written.found, rtol=2e-4, atol=1e-5)
    written_to = tmp_path / "judged"
    assert run("evaluate", one, "--data", data, *(["--by", by] if name != "autoencoder" else []),
               "--out", written_to) == 0
    assert {p.name for p in written_to.iterdir()} == {
        "metrics.json", "predictions.csv", "evaluation.png", "report.html",
        *(["subgroups.png"] if name != "autoencoder" else [])}
    told = json.loads((written_to / "metrics.json").read_text())
    assert set(told["scores"]) >= set(judged.score(judged.cohort, judged.found))
    assert len((written_to / "predictions.csv").read_text().splitlines()) > len(judged.found)
    assert f"{len(judged.found)} in all" in (written_to / "report.html").read_text()
    assert run("evaluate", one, "--out", tmp_path / "other") == 2
    found = capsys.readouterr()
    assert "95 %" in found.out and (name == "autoencoder" or f"by {by} (95 %" in found.out)
    assert run("evaluate", one) == 0
    assert (f"by {by} (95 %" in capsys.readouterr().out) == (name != "autoencoder")
    assert run("compare", one, two) == 0
    told = capsys.readouterr().out
    count = len(written.found)
    assert f"{count} held-out cases that both runs kept" in told
    wanted = {"prognosis": "rmse", "autoencoder": "mse", "diagnosis": "brier"}.get(name, "auc")
    assert re.search(rf"{wanted} +[\d.-]+ +[\d.-]+", told) and "B - A" in told
    assert run("compare", one, two, "--data", data) == 0
    assert f"{len(judged.cohort.names)} cases of {data}" in capsys.readouterr().out


def test_comparison_is_of_the_predictions_that_were_written(tmp_path, capsys):
    for i, model in enumerate(("logistic", "mlp")):
        assert run("train", "risk", "--model", model, "--epochs", "8", "--out",
                   tmp_path / str(i)) == 0
    capsys.readouterr()
    assert run("compare", tmp_path / "0", tmp_path / "1") == 0
    told = capsys.readouterr().out
    aucs = []
    for i in range(2):
        with open(tmp_path / str(i) / "predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        aucs.append(metrics.roc_auc([r["diagnosis"] == "malignant" for r in rows],
                                    [float(r["risk"]) for r in rows]))
    line = next(v for v in told.splitlines() if v.split()[:1] == ["auc"])
    assert line.split()[1:3] == [f"{a:.4f}" for a in aucs] and "DeLong" in line
    assert "McNemar" in told


def test_runs_without_common_cases_are_refused(tmp_path, capsys):
    small = ["--image-size", "32", "--epochs", "1"]
    for seed in (0, 1):
        run("train", "diagnosis", *small, "--seed", seed, "--out", tmp_path / f"slices{seed}")
        run("train", "prognosis", "--epochs", "1", "--seed", seed, "--out", tmp_path / f"p{seed}")
    capsys.readouterr()
    assert run("compare", tmp_path / "slices0", tmp_path / "slices1") == 2  # other made-up slices
    err = capsys.readouterr().err
    assert "none in common" in err and "seed 0" in err and "seed 1" in err
    assert run("compare", tmp_path / "p0", tmp_path / "p1") == 0  # the same patients, split anew
    told = capsys.readouterr().out
    common, first = (int(v) for v in re.search(r"(\d+) held-out .* \(A has (\d+)", told).groups())
    assert 0 < common < first
    copy = table(tmp_path / "copy.csv")
    run("train", "prognosis", "--data", table(tmp_path / "d.csv"), *TABLE, "--epochs", "1", "--out",
        tmp_path / "one")
    run("train", "prognosis", "--data", copy, *TABLE, "--epochs", "1", "--out", tmp_path / "two")
    capsys.readouterr()
    assert run("compare", tmp_path / "one", tmp_path / "two") == 0
    assert "matched by name and outcome" in capsys.readouterr().err
    # cases that are only called alike
    one, two = (table(tmp_path / f"{i}.csv") for i in range(2))
    text = two.read_text().splitlines()
    two.write_text("\n".join([text[0], *reversed(text[1:])]) + "\n")
    for i, path in enumerate((one, two)):
        run("train", "prognosis", "--data", path, *TABLE, "--epochs", "1", "--out",
            tmp_path / f"t{i}")
    capsys.readouterr()
    assert run("compare", tmp_path / "t0", tmp_path / "t1") == 2
    assert "with other outcomes for the same names" in capsys.readouterr().err
    (tmp_path / "t1" / "predictions.csv").unlink()
    assert run("compare", tmp_path / "t0", tmp_path / "t1") == 2
    assert "a finished run with predictions.csv" in capsys.readouterr().err


def test_what_cannot_be_judged(tmp_path, capsys):
    data = table(tmp_path / "d.csv")
    folder = tmp_path / "run"
    run("train", "treatment", "--data", data, *JUDGED["treatment"][1], "--model", "tree",
        "--out", folder)
    capsys.readouterr()
    assert run("evaluate", folder, "--data", data, "--by", "ward") == 2
    assert "(patient, age, sex, dose, months), got 'ward'" in capsys.readouterr().err
    assert run("evaluate", folder, "--by", "sex") == 2
    assert "--data PATH with --by" in capsys.readouterr().err
    rows = [line.rpartition(",")[0] for line in data.read_text().splitlines()]
    (tmp_path / "new.csv").write_text("\n".join(rows) + "\n")
    assert run("evaluate", folder, "--data", tmp_path / "new.csv") == 2
    assert "outcomes (sick), got none" in capsys.readouterr().err
    for words in (["--by", "ward"], ["--by", "sex", "ward"]):
        assert run("train", "risk", "--data", data, *JUDGED["risk"][1], *words, "--out",
                   tmp_path / "no") == 2
        assert "'ward'" in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_bands():
    assert subgroups.bands(np.array(["F", None, "M", ""], object)).tolist() == [
        "F", "unknown", "M", "unknown"]
    assert subgroups.bands(np.array([0.0, 1.0, np.nan])).tolist() == ["0", "1", "unknown"]
    ages = np.arange(30.0, 100.0)
    found = subgroups.bands(ages)
    assert found[0] == "20 to 40" and found[-1] == "80 to 100" and found[10] == "40 to 60"
    assert len(set(subgroups.bands(np.arange(0, 10, 0.01)))) in range(3, 11)
    text = np.array([str(v) for v in ages], object)  # as DICOM files say it
    assert subgroups.bands(text).tolist() == found.tolist()


def test_subgroups_are_scored_alone_in_their_order():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    p = np.where(np.arange(200) < 100, 0.5 * y + 0.5 * rng.random(200), rng.random(200))
    age = np.where(np.arange(200) < 100, 115.0, 45.0) + np.arange(200) % 10
    part = Cohort(np.arange(200), y, ["no", "yes"], None, [str(i) for i in range(200)], "table",
                  "sick", about={"age": age, "site": np.array(["A"] * 190 + ["B"] * 10, object)})
    found = subgroups.by_subgroup(Cohort.scores, part, np.stack([1 - p, p], 1), ["age", "site"])
    assert list(found["age"]) == ["40 to 60", "100 to 120", "120 to 140"]  # by number, not name
    old = age >= 100
    young = found["age"]["40 to 60"]
    assert young["scores"]["auc"]["value"] == metrics.roc_auc(y[~old], p[~old])
    assert young["samples"] == 100 and young["few"] == ""
    assert found["site"]["B"]["few"] == "n < 30"
    lines = subgroups.subgroup_lines(found)
    assert lines[0] == "by age (95 % intervals):" and "too few: n < 30" in lines[-1]
