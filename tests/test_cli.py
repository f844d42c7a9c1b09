"""The medai command: what it prints, writes, refuses, and how it is interrupted."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import medai_engine as me
from medai_engine import data
from medai_engine.cli import main
from medai_engine.io import read_arrays, read_json
from medai_engine.systems import risk as system
from medai_engine.training import metrics

pytest.importorskip("sklearn")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Both models on the bundled patients, with what the command printed."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        for number, model in enumerate(("logistic", "mlp"), 1):
            assert main(["train", "risk", "--model", model]) == 0
            found[model] = Path("runs", f"risk-{number}").absolute()
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def patients(path: Path, n: int = 80, seed: int = 0, **replace) -> Path:
    """Write made-up patients whose outcome follows age and sex; returns the path."""
    rng = np.random.default_rng(seed)
    age, dose = rng.normal(60, 10, n).round(1), rng.normal(size=n).round(3)
    sex = rng.choice(["F", "M"], n)
    sick = np.where(age + 12 * (sex == "M") + 3 * dose + rng.normal(0, 3, n) > 66, "yes", "no")
    columns = {"patient": [f"P{i // 2:03d}" for i in range(n)], "age": age, "sex": sex,
               "dose": dose, "sick": sick, **replace}
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def refuses(capsys, *arguments: str) -> str:
    """Run a command that must fail; return its one line."""
    try:
        code = main(list(arguments))
    except SystemExit as exit:
        code = exit.code
    captured = capsys.readouterr()
    assert code == 2 and captured.out == ""
    assert captured.err.endswith("\n") and captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return captured.err


# train


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_reaches_the_floor_on_held_out_patients(runs, model):
    scores = read_json(runs[model] / "metrics.json")["held_out"]
    assert scores["auc"] >= 0.99 and scores["accuracy"] >= 0.96
    assert scores["sensitivity"] > 0.9 and scores["specificity"] > 0.9
    assert scores["interval_95"]["auc"][0] < scores["auc"] <= scores["interval_95"]["auc"][1]


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_scores_are_those_of_the_predictions(runs, model):
    """Recomputed from the CSV alone, with patients that training has not seen."""
    held = rows(runs[model] / "predictions.csv")
    y = np.array([row["diagnosis"] == "malignant" for row in held], int)
    p = np.array([float(row["risk"]) for row in held])
    scores = read_json(runs[model] / "metrics.json")["held_out"]
    assert len(held) == scores["patients"] == 142 and y.sum() == scores["positive"] == 53
    assert scores["accuracy"] == ((p > 0.5) == y).mean()
    assert scores["sensitivity"] == (p > 0.5)[y == 1].mean()
    assert scores["specificity"] == (p <= 0.5)[y == 0].mean()
    assert abs(scores["auc"] - metrics.roc_auc(y, p)) < 1e-4
    assert [row["prediction"] for row in held] == [
        "malignant" if q > 0.5 else "benign" for q in p]


def test_units_come_from_training_patients_only(runs):
    table = data.datasets.breast_cancer()
    y, _ = table.labels("diagnosis")
    train, held = data.split_stratified(y, 0.25, 0)
    inner, _ = data.split_stratified(y[train], 0.15, 0)
    arrays, _ = read_arrays(runs["logistic"] / "model.safetensors")
    radius = table["mean radius"]
    assert arrays["0.mean"][0] == np.float32(radius.astype(np.float32)[train[inner]].mean(
        dtype=np.float64))
    held_rows = {int(row["row"]) for row in rows(runs["logistic"] / "predictions.csv")}
    assert held_rows == {int(i) + 1 for i in held}


def test_the_folder_is_complete(runs):
    for folder in runs.values():
        assert {p.name for p in folder.iterdir()} == {
            "checkpoint", "config.json", "evaluation.png", "held_out.csv", "history.csv",
            "history.png", "metrics.json", "model.json", "model.safetensors", "predictions.csv",
            "report.html"}
        history = rows(folder / "history.csv")
        assert read_json(folder / "metrics.json")["epochs"] == len(history) > 5
        assert float(history[-1]["loss"]) < float(history[0]["loss"])
        json.loads((folder / "config.json").read_text(), parse_constant=pytest.fail)


def test_same_command_same_bits(runs, tmp_path):
    for threads in ("1", "2"):
        out = tmp_path / threads
        before = me.get_num_threads()
        try:
            assert main(["train", "risk", "--out", str(out), "--threads", threads]) == 0
        finally:
            me.set_num_threads(before)
        for name in ("model.safetensors", "model.json", "predictions.csv", "metrics.json"):
            assert (out / name).read_bytes() == (runs["logistic"] / name).read_bytes(), name


def test_prints_what_came_out_and_what_is_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "risk", "--epochs", "3", "--seed", "4"]) == 0
    out, err = capsys.readouterr()
    for word in ("accuracy", "AUC", "sensitivity", "specificity", "held out: 142 patients"):
        assert word in out
    assert "epoch 3/3" in err
    command = out.splitlines()[-1].split()
    assert command[:2] == ["medai", "predict"]
    assert main(command[1:]) == 0  # the printed command runs as it is


def test_newton_finds_the_logistic_optimum(tmp_path, capsys):
    """The estimator's weights serve the same run folder, evaluation and prediction."""
    for name in ("newton", "lbfgs"):
        assert main(["train", "risk", "--optimizer", name, "--out", str(tmp_path / name)]) == 0
    found = {n: read_json(tmp_path / n / "metrics.json")["held_out"] for n in ("newton", "lbfgs")}
    assert found["newton"]["auc"] > 0.99 and found["newton"]["accuracy"] > 0.95
    assert abs(found["newton"]["auc"] - found["lbfgs"]["auc"]) < 0.01
    assert len(rows(tmp_path / "newton" / "history.csv")) == 1
    assert main(["predict", str(tmp_path / "newton"), "--data",
                 str(tmp_path / "newton" / "held_out.csv")]) == 0
    capsys.readouterr()
    assert main(["train", "risk", "--optimizer", "newton", "--model", "mlp"]) == 2
    assert "logistic model" in capsys.readouterr().err


def test_trains_on_a_users_file(tmp_path, capsys):
    path = patients(tmp_path / "p.csv", 160)
    out = tmp_path / "run"
    assert main(["train", "risk", "--data", str(path), "--target", "sick", "--group", "patient",
                 "--optimizer", "lbfgs", "--out", str(out)]) == 0
    config = read_json(out / "config.json")
    assert [c["name"] for c in config["columns"]] == ["age", "sex", "dose"]
    assert config["classes"] == ["no", "yes"]
    assert read_json(out / "metrics.json")["held_out"]["accuracy"] > 0.75
    assert not (out / "held_out.csv").exists()  # patients' data are not copied about
    table = data.read_csv(path)
    held = {int(row["line"]) for row in rows(out / "predictions.csv")}
    names = table["patient"]
    inside = {n for n, line in zip(names, table.lines, strict=True) if line in held}
    outside = {n for n, line in zip(names, table.lines, strict=True) if line not in held}
    assert inside and not inside & outside
    assert "columns as in training" in capsys.readouterr().out


def test_missing_numbers_with_and_without_impute(tmp_path, capsys):
    age = np.random.default_rng(0).normal(60, 10, 80).round(1).astype(object)
    age[7] = ""
    path = patients(tmp_path / "p.csv", age=age)
    common = ["train", "risk", "--data", str(path), "--target", "sick", "--group", "patient"]
    line = refuses(capsys, *common, "--out", str(tmp_path / "a"))
    assert "line 9, column 'age'" in line and "--impute median" in line
    assert not (tmp_path / "a").exists()
    assert main([*common, "--impute", "median", "--epochs", "2", "--out",
                 str(tmp_path / "b")]) == 0
    assert isinstance(read_json(tmp_path / "b" / "config.json")["columns"][0]["fill"], float)


def test_without_matplotlib_it_says_which_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["train", "risk", "--epochs", "1", "--out", str(tmp_path / "r")]) == 0
    assert 'pip install "medai-engine[plot]"' in capsys.readouterr().err
    assert not list((tmp_path / "r").glob("*.png"))


# stop and go on


@pytest.fixture
def interruptible():
    """Let Ctrl-C raise; jobs in the background are started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_run_keeps_its_best_and_resumes_to_the_same_bits(
        runs, tmp_path, monkeypatch, capsys):
    class Interrupt(system.StopOnNaN):
        def on_epoch_end(self, run):
            if run.epoch == 5:
                signal.raise_signal(signal.SIGINT)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(system, "StopOnNaN", Interrupt)
        assert main(["train", "risk", "--out", str(out)]) == 130
    printed = capsys.readouterr().out
    assert f"medai train risk --resume {out}" in printed
    assert read_json(out / "metrics.json")["interrupted"] is True
    assert main(["predict", str(out), "--data", str(out / "held_out.csv")]) == 0
    assert main(["train", "risk", "--resume", str(out)]) == 0
    for name in ("model.safetensors", "predictions.csv", "metrics.json"):
        assert (out / name).read_bytes() == (runs["logistic"] / name).read_bytes(), name


@pytest.mark.usefixtures("interruptible")
def test_interrupted_run_keeps_the_best_epoch_not_the_last(tmp_path, monkeypatch):
    epochs = []

    class Interrupt(system.StopOnNaN):
        def on_epoch_end(self, run):
            epochs.append((run.logs["val_loss"], run.weights()))
            best = min(range(len(epochs)), key=lambda i: epochs[i][0])
            if len(epochs) - best > 2:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(system, "StopOnNaN", Interrupt)
    found = system.train_risk(system.Options(lr=1.0), tmp_path / "run", verbose=False)
    assert found.interrupted
    best = min(epochs, key=lambda epoch: epoch[0])[1]
    saved, _ = read_arrays(tmp_path / "run" / "model.safetensors")
    assert all(np.array_equal(saved[name], best[name]) for name in best)
    assert not np.array_equal(saved["1.weight"], epochs[-1][1]["1.weight"])


def test_killed_command_resumes_to_the_same_bits(runs, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "medai_engine", "train", "risk", "--model", "mlp"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([*command, "--out", str(out)], cwd=tmp_path, env=environment,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = out / "checkpoint" / "last.safetensors"
    deadline = time.monotonic() + 60
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    child.kill()
    child.wait()
    result = subprocess.run([*command[:5], "--resume", str(out)], cwd=tmp_path, env=environment,
                            capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    for name in ("model.safetensors", "predictions.csv", "metrics.json"):
        assert (out / name).read_bytes() == (runs["mlp"] / name).read_bytes(), name


# predict


def test_predict_scores_known_outcomes(runs, tmp_path, capsys):
    folder = runs["logistic"]
    out = tmp_path / "risks.csv"
    assert main(["predict", str(folder), "--data", str(folder / "held_out.csv"),
                 "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "142 risks of diagnosis = malignant in" in printed.out
    assert "known outcomes: 142 patients, 53 with diagnosis = malignant" in printed.err
    again = rows(out)
    before = rows(folder / "predictions.csv")
    assert [row["risk"] for row in again] == [row["risk"] for row in before]
    assert [row["line"] for row in again[:2]] == ["2", "3"]


def test_predict_scores_those_whose_outcome_is_known(runs, tmp_path, capsys):
    folder = str(runs["logistic"])
    header, *lines = (runs["logistic"] / "held_out.csv").read_text().splitlines()
    path = tmp_path / "new.csv"

    def predict(outcomes):
        rows = [line.rpartition(",")[0] for line in lines[:len(outcomes)]]
        path.write_text("\n".join([header, *map(",".join, zip(rows, outcomes, strict=True))]))
        code = main(["predict", folder, "--data", str(path)])
        return code, *capsys.readouterr()

    code, out, err = predict(["", "", ""])  # new patients: nobody knows yet
    assert code == 0 and len(out.splitlines()) == 4 and "known" not in err
    code, out, err = predict(["malignant", "", "benign"])
    assert code == 0 and len(out.splitlines()) == 4
    assert "known outcomes: 2 patients, 1 with diagnosis = malignant" in err
    code, out, err = predict(["malignant", "Benign", ""])  # nothing printed, nothing scored wrong
    assert code == 2 and not out
    assert "line 3, column 'diagnosis': expected 'benign', 'malignant' or nothing" in err


def test_predict_needs_columns_by_name_and_copies_others(runs, tmp_path, capsys):
    folder = runs["logistic"]
    table = rows(folder / "held_out.csv")[:3]
    shuffled = list(table[0])[:-1][::-1]
    path = tmp_path / "new.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ward", *shuffled])
        writer.writerows([f"W{i}", *(row[name] for name in shuffled)]
                         for i, row in enumerate(table))
    assert main(["predict", str(folder), "--data", str(path)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "line,ward,risk,prediction" and lines[1].startswith("2,W0,")
    assert "copied, not used: ward" in err
    expected = [row["risk"] for row in rows(folder / "predictions.csv")[:3]]
    assert [line.split(",")[2] for line in lines[1:]] == expected

    path.write_text(path.read_text().replace("mean radius", "mean_radius", 1))
    assert "'mean radius'" in refuses(capsys, "predict", str(folder), "--data", str(path))


def test_predict_refuses_folders_that_are_no_runs(runs, tmp_path, capsys):
    path = runs["logistic"] / "held_out.csv"
    assert "config.json" in refuses(capsys, "predict", str(tmp_path), "--data", str(path))
    (tmp_path / "config.json").write_text((runs["logistic"] / "config.json").read_text())
    line = refuses(capsys, "predict", str(tmp_path), "--data", str(path))
    assert "--resume" in line  # begun, but not finished


# what is refused, each in one line and with nothing written


@pytest.mark.parametrize(("content", "options", "match"), [
    ("", [], "an empty file"),
    ("age,sick\n", [], "rows below the header"),
    ("age,age,sick\n1,2,yes\n", [], "'age' twice"),
    ("age,sick\n1,yes,3\n", [], "line 2: expected 2 fields"),
    (b"age,sick\n1,\xff\n", [], "UTF-8"),
    ("age,well\n1,yes\n", [], "column 'sick', got columns 'age', 'well'"),
    ("age,sick\n1,yes\n2,yes\n", [], "only 'yes' in all 2 rows"),
    ("age,sick\n1,yes\n2,no\n3,maybe\n", [], "--positive"),
    ("age,sick\n1,a\n2,b\n", [], "--positive"),
    ("age,sick\n1,yes\n2,no\n", ["--positive", "si"], "'si'"),
    ("age,sick\n1,yes\n2,\n", [], "line 3, column 'sick'"),
    ("sick\nyes\nno\n", [], "columns besides the target"),
    ("age,sick\n1,yes\n2,no\n3,no\n4,no\n", [], "three patients or more of each outcome"),
    ("age,sick\n1,yes\n2,no\n3,none\n", [], "3: 'no', 'none', 'yes'"),
    ("age;sick\n" + "1,5;yes\n2,5;no\n" * 3 + "".join(f"{i},5;no\n" for i in range(30)), [],
     "Write decimals with a point"),
    ("age,sick\n" + "1,yes\n2,no\n" * 9 + "inf,no\n", [], "finite number"),
    ("age,sick\n" + "1,yes\n2,no\n" * 9, ["--group", "id"], "column 'id'"),
])
def test_bad_files_are_refused(tmp_path, monkeypatch, capsys, content, options, match):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "p.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refuses(capsys, "train", "risk", "--data", str(path), "--target", "sick", *options)
    assert match in line
    assert [p.name for p in tmp_path.iterdir()] == ["p.csv"]


def test_bad_commands_are_refused(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = str(patients(tmp_path / "p.csv"))
    full = str(runs["mlp"])
    for arguments, match in [
        (["train", "risk", "--data", "none.csv", "--target", "x"], "no such file"),
        (["train", "risk", "--data", path], "--target COLUMN"),
        (["train", "risk", "--target", "x"], "--data FILE.csv"),
        (["train", "risk", "--model", "forest"], "logistic"),
        (["train", "risk", "--epochs", "0"], "number of at least 1"),
        (["train", "risk", "--lr", "-1"], "lr"),
        (["train", "risk", "--threads", "0"], "number of at least 1"),
        (["train", "risk", "--out", full], "new or empty folder"),
        (["train", "risk", "--resume", full, "--lr", "1"], "--lr"),
        (["train", "risk", "--resume", "none"], "config.json"),
        (["train", "risk", "--resume", full, "--epoch", "3", "--foo"], "train risk: no such"),
        (["train", "risk", "--epochs", "0"], "expected a whole number of at least 1, got '0'"),
        (["train", "risk", "--out", path], "got the file"),
        (["train", "risk", "--out", path + "/run"], "expected a place to read or write"),
        (["predict", full], "--data"),
        (["trian"], "invalid choice"),
    ]:
        assert match in refuses(capsys, *arguments), arguments
    assert [p.name for p in tmp_path.iterdir()] == ["p.csv"]


def test_a_column_that_numbers_the_patients_is_pointed_out(tmp_path, capsys):
    lines = patients(tmp_path / "p.csv").read_text().splitlines()
    path = tmp_path / "numbered.csv"
    path.write_text("\n".join([f"number,{lines[0]}", *(
        f"{i},{line}".replace("P", "") for i, line in enumerate(lines[1:], 1000))]))
    for extra, noted in (([], True), (["--group", "number"], False)):
        out = str(tmp_path / f"run{noted}")
        assert main(["train", "risk", "--data", str(path), "--target", "sick", "--epochs", "1",
                     "--out", out, *extra]) == 0
        assert ("note: column 'number' holds a different whole number"
                in capsys.readouterr().err) == noted


def test_resume_needs_the_same_patients(tmp_path, capsys):
    path = patients(tmp_path / "p.csv")
    out = str(tmp_path / "run")
    assert main(["train", "risk", "--data", str(path), "--target", "sick", "--group", "patient",
                 "--epochs", "1", "--out", out]) == 0
    capsys.readouterr()
    patients(path, seed=1)
    assert "the patients it was started with" in refuses(capsys, "train", "risk", "--resume", out)


def test_debug_shows_the_error(tmp_path):
    with pytest.raises(me.DataError):
        main(["predict", str(tmp_path), "--data", "x.csv", "--debug"])


# help and doctor


def test_help_needs_nothing_heavy():
    code = ("import sys; from medai_engine.cli import main\n"
            "try: main(['train', 'risk', '--help'])\n"
            "except SystemExit as e: assert e.code == 0\n"
            "heavy = {'sklearn', 'matplotlib', 'numba', 'tqdm', 'safetensors', 'scipy', 'torch'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                            cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    assert "--target" in result.stdout


def test_module_is_the_command_and_incomplete_ones_help():
    result = subprocess.run([sys.executable, "-m", "medai_engine"], capture_output=True, text=True,
                            cwd=ROOT, check=False)
    assert result.returncode == 0 and "medai train risk" in result.stdout
    assert main(["--version"]) == 0


def test_doctor_measures(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("medai_engine", "processor", "backends", "instruction set", "threads", "gemm"):
        assert word in out
    if me.kernels.COMPILED:
        peak = float(out.partition("peak")[2].split()[0])
        assert 1 < peak < 100_000 and "GB/s" in out
