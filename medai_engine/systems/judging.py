"""What runs say of cases whose outcomes are known: new ones, or those that a run held out."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data import Table, read_csv
from ..errors import DataError, say
from ..training.evaluation import Score
from . import deep
from .coding import Autoencoder
from .cohort import Cohort, rows_of
from .folder import read_config, system_of
from .imaging import Diagnosis
from .prognosis import Prognosis
from .risk import Risk, load_risk
from .sequences import Histories, Phases
from .treatment import Treatment, load_treatment, score

__all__ = ["SYSTEMS", "Judged", "held_out", "judge", "predicting"]

SYSTEMS: dict[str, deep.System] = {system.name: system for system in (
    Prognosis(), Diagnosis(), Histories(), Phases(), Autoencoder())}


class Judged(NamedTuple):
    """Cases with known outcomes, what a run says of them, and how that is scored."""

    cohort: Cohort
    found: np.ndarray
    score: Callable[[Cohort, np.ndarray], dict[str, Score]]
    title: str = ""  # of the system


def judge(folder: str | Path, data: str, patients: str | None = None) -> Judged:
    """Return what a run says of new cases with known outcomes.

    Parameters
    ----------
    folder : str
        A run folder of any system that predicts.
    data : str
        The cases, in the form of the training data.
    patients : str, optional
        What names the patient there (a column; for images a CSV file of file and patient), where it
        is not what it was in training.

    Raises
    ------
    DataError
        When the outcomes are not there.
    """
    name = predicting(folder)
    if name == "risk":
        risk = load_risk(folder)
        part = _rows(risk, read_csv(data), patients)
        p = risk.risk(part.table)
        return Judged(part.cohort, np.stack([1 - p, p], axis=1), Cohort.scores,
                      risk.system.title)
    if name == "treatment":
        treatment = load_treatment(folder)
        part = _rows(treatment, read_csv(data), patients)
        return Judged(part.cohort, treatment.probabilities(part.table), score,
                      treatment.system.title)
    run = deep.load_run(folder, SYSTEMS)
    cohort = run.system.read(data, run.config, patients)
    if not len(cohort.y):
        raise _unknown(data, run.config["target"])
    return Judged(cohort, run.outputs(cohort), run.system.scores, run.system.title)


def predicting(folder: str | Path) -> str:
    """Return the system of a run folder, refusing one that makes cases up."""
    name = system_of(folder)
    if name == "synthesize":
        raise DataError(say(str(folder), "a run that predicts", "a generator of made-up cases",
                            f"Use medai synthesize {folder}"))
    return name


class _Part(NamedTuple):
    table: Table
    cohort: Cohort


def _rows(run: Risk | Treatment, table: Table, patients: str | None) -> _Part:
    """Return the rows of a table whose outcome is known."""
    rows, y = run.outcomes(table)
    if not len(rows):
        raise _unknown(table.source, run.target)
    group = patients or run.config["options"]["group"]
    known = table.take(rows)
    cohort = rows_of(known, y, run.classes, run.target,
                     group if group in table.names or patients else None)
    if len(rows) < len(table):
        cohort.notes.append(f"{len(table) - len(rows)} rows without an outcome were left out")
    return _Part(known, cohort)


def _unknown(where: str, target: str) -> DataError:
    return DataError(say(where, f"outcomes ({target})", "none",
                         "Add them, or use medai predict"))


def held_out(folder: str | Path) -> Judged:
    """Return what a run wrote of the cases that it held out (``predictions.csv``).

    Steps of a sequence come as rows with the sequence as their patient; the squared errors of an
    autoencoder as images of one pixel, whose truth is 0.
    """
    config = read_config(folder, system_of(folder))
    path = Path(folder) / "predictions.csv"
    if not path.is_file():
        raise DataError(say(str(folder), "a finished run with predictions.csv", "none",
                            f"Finish it: medai train {config['system']} --resume {folder}"))
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    names, groups = columns[header[0]], columns.get("patient")
    if "step" in columns:
        groups = groups or names
        names = [f"{n}, step {t}" for n, t in zip(names, columns["step"], strict=True)]
    target, classes = config["target"], config.get("classes", [])
    if "squared error" in columns:
        y, found = np.zeros((len(rows), 1)), np.sqrt(np.array([columns["squared error"]], float)).T
    elif not classes:
        y, found = (np.array(columns[name], float) for name in (target, "prediction"))
    else:
        y = np.array([classes.index(name) for name in columns[target]], np.int64)
        found = np.array([[float(v) for v in row[-len(classes):]] for row in rows]) if (
            "risk" not in columns) else np.array(columns["risk"], float)
        if found.ndim == 1:
            found = np.stack([1 - found, found], axis=1)
    cohort = Cohort(np.arange(len(rows)), y, classes, None if groups is None else np.array(groups),
                    names, config["source"], target)
    return Judged(cohort, found, Cohort.scores)
