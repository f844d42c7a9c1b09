"""The treatment system: three models, two and three choices, missing values, the command."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import medai_engine as me
from medai_engine import data
from medai_engine.cli import main
from medai_engine.io import read_json
from medai_engine.systems import TreatmentOptions, load_treatment, train_treatment
from medai_engine.systems import treatment as system

pytest.importorskip("sklearn")
FLOORS = {("forest", "breast-cancer"): 0.93, ("svm", "breast-cancer"): 0.95,
          ("tree", "breast-cancer"): 0.88, ("svm", "wine"): 0.93, ("forest", "wine"): 0.93}


@pytest.fixture(scope="module", autouse=True)
def smaller():
    """A forest of 40 trees finds as much on tables of some hundred rows."""
    forest = system.MODELS["forest"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(system.MODELS, "forest", system.Recipe(
            lambda seed, **chosen: forest.make(seed, **chosen).set_params(n_estimators=40),
            forest.grid, forest.missing))
        yield


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("model", "name"), FLOORS)
def test_models_reach_their_floor_and_load(model, name, tmp_path):
    run = train_treatment(TreatmentOptions(data=name, model=model), tmp_path / "run")
    assert run.scores["accuracy"].value >= FLOORS[model, name]
    assert run.scores["accuracy"].low < run.scores["accuracy"].value
    again = load_treatment(tmp_path / "run")
    table = data.read_csv(tmp_path / "run" / "held_out.csv")
    p = again.probabilities(table)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    told = rows(tmp_path / "run" / "predictions.csv")
    assert [row["prediction"] for row in told] == [run.classes[k] for k in p.argmax(axis=1)]
    known, y = again.outcomes(table)
    assert len(known) == len(table) == run.config["patients"]["held out"]
    accuracy = (p.argmax(axis=1) == y).mean()
    assert accuracy == pytest.approx(run.scores["accuracy"].value)
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert np.trace(metrics["confusion"]["counts"]) == round(accuracy * len(y))
    assert again.scores == run.scores
    lost = [float(row["accuracy_lost"]) for row in rows(tmp_path / "run" / "importances.csv")]
    assert lost == sorted(lost, reverse=True) and len(lost) == len(run.columns.features)
    assert (tmp_path / "run" / "evaluation.png").is_file()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Treatment choice" in page and f"{accuracy:.3f}" in page and "held out" in page


def patients(path, n=150, seed=0, holes=0.0):
    """Write patients whose right drug follows age and sex; some ages are unknown."""
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(60, 10, n).round(1), rng.choice(["F", "M"], n)
    drug = np.where(age > 65, "gamma", np.where(sex == "M", "beta", "alpha"))
    known = rng.random(n) >= holes
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "age", "sex", "drug"])
        writer.writerows((f"P{i // 2:03d}", age[i] if known[i] else "", sex[i], drug[i])
                         for i in range(n))
    return path


def test_own_table_with_missing_numbers_and_groups(tmp_path):
    file = patients(tmp_path / "a.csv", holes=0.1)
    run = train_treatment(TreatmentOptions(data=str(file), target="drug", group="patient"),
                          tmp_path / "run")
    assert run.classes == ["alpha", "beta", "gamma"]
    assert run.columns.features == ["age", "sex=F", "sex=M"]
    assert run.scores["accuracy"].value > 0.85
    table = data.read_csv(patients(tmp_path / "b.csv", 4, 1))
    known = run.probabilities(table)
    table["age"][:] = np.nan
    assert np.isfinite(run.probabilities(table)).all()
    assert (run.probabilities(table) != known).any()  # unknown is not the median in disguise
    with pytest.raises(me.DataError, match=r"column 'age'.*--impute median"):
        train_treatment(TreatmentOptions(data=str(file), target="drug", model="svm",
                                         group="patient"))
    run = train_treatment(TreatmentOptions(data=str(file), target="drug", model="svm",
                                           group="patient", impute="median"), tmp_path / "svm")
    assert run.scores["accuracy"].value > 0.8
    lines = [int(row["line"]) for row in rows(tmp_path / "svm" / "predictions.csv")]
    assert all((line ^ 1) in lines for line in lines)  # whole patients: two rows each


def test_same_seed_same_run(tmp_path):
    found = [train_treatment(TreatmentOptions(data="wine", model="tree", seed=3), tmp_path / str(i))
             for i in range(2)]
    for name in ("model.safetensors", "predictions.csv", "metrics.json", "importances.csv"):
        assert (found[0].folder / name).read_bytes() == (found[1].folder / name).read_bytes()


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "treatment", "--model", "tree", "--data", "wine"]) == 0
    told = capsys.readouterr().out
    assert "chosen by cross-validation: ccp_alpha" in told
    assert "sensitivity[class_2]" in told and "held out: 45 patients" in told
    command = told.splitlines()[-1].split()
    assert command[:3] == ["medai", "predict", "runs/treatment-1"]
    assert main([*command[1:], "--out", "p.csv"]) == 0
    told = capsys.readouterr()
    assert "written: 45 predictions of cultivar in p.csv" in told.out
    assert "known outcomes: 45 patients" in told.err
    assert {row["prediction"] for row in rows("p.csv")} == {"class_0", "class_1", "class_2"}
    assert main(["evaluate", "runs/treatment-1"]) == 0
    assert "sensitivity[class 2]" in capsys.readouterr().out
    assert main(command[1:]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("line,prediction,p[class_0]")


def test_refusals(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    patients(tmp_path / "a.csv", 12)
    for arguments, message in (
            (["--data", "a.csv"], "--target COLUMN"),
            (["--data", "a.csv", "--target", "cure"], "'cure'"),
            (["--data", "a.csv", "--target", "drug"], "10 patients of each"),
            (["--target", "age"], "the target diagnosis"),
            (["--data", "none.csv", "--target", "x"], "none.csv")):
        assert main(["train", "treatment", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    with pytest.raises(me.ParameterError, match="svm, forest, tree"):
        train_treatment(TreatmentOptions(model="oracle"))
    with pytest.raises(me.DataError, match="'delta'"):
        run = train_treatment(TreatmentOptions(data=str(patients(tmp_path / "b.csv")),
                                               target="drug", group="patient", model="tree"),
                              tmp_path / "run")
        table = data.read_csv(tmp_path / "b.csv")
        table["drug"][3] = "delta"
        run.outcomes(table)
