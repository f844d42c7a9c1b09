"""Treatment choice from patient features: a support vector machine, a forest or a tree.

Each patient of a table had one of two or more treatments (or diagnoses) that proved right; the
model gives every choice a probability. Patients are kept apart in two: training, and held out,
which only the final scores see. What a model needs to be told beforehand (how soft the margin, how
deep the tree) is chosen by cross-validation among training patients.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from ..data import Columns, Table, datasets, read_csv, split_by_group, split_stratified
from ..errors import DataError, MissingExtraError, ParameterError, say
from ..estimators import (
    SVC,
    DecisionTreeClassifier,
    Estimator,
    RandomForestClassifier,
    permutation_importance,
)
from ..io import load, read_json, write_json
from ..training.evaluation import Score, evaluate_classes
from .cohort import Cohort, rows_of
from .folder import new_folder, read_config, write_rows
from .report import write_report
from .subgroups import by_subgroup, require_columns

__all__ = ["MODELS", "Treatment", "TreatmentOptions", "load_treatment", "train_treatment"]

HELD_OUT = 0.25
FOLDS = 5
FLOOR = 0.93  # what the accuracy on the bundled breast-cancer patients has to reach
BUNDLED: dict[str, tuple[Callable[[], Table], str]] = {
    "breast-cancer": (datasets.breast_cancer, "diagnosis"), "wine": (datasets.wine, "cultivar")}


@dataclass(frozen=True)
class Recipe:
    """A model, and what cross-validation chooses for it, the simplest first."""

    make: Callable[..., Any]
    grid: dict[str, list[Any]]
    missing: bool  # whether it understands missing numbers


MODELS = {
    "svm": Recipe(lambda seed, **chosen: SVC(probability=True, random_state=seed, **chosen),
                  {"C": [0.1, 1.0, 10.0, 100.0]}, False),
    "forest": Recipe(lambda seed, **chosen: RandomForestClassifier(300, random_state=seed,
                                                                   **chosen),
                     {"min_samples_leaf": [3, 1]}, True),
    "tree": Recipe(lambda seed, **chosen: DecisionTreeClassifier(min_samples_leaf=5,
                                                                 random_state=seed, **chosen),
                   {"ccp_alpha": [0.03, 0.01, 0.003, 0.0]}, True),
}


@dataclass
class TreatmentOptions:
    """What a run was asked for; ``config.json`` holds it.

    Attributes
    ----------
    data : str
        A CSV file, or "breast-cancer" or "wine" for bundled tables.
    target : str or None
        The column of the right choice; the bundled tables know theirs.
    group : str or None
        The column that names the patient, where one has several rows.
    model : str
        A name of ``MODELS``.
    impute : str or None
        "median" replaces missing numbers; None leaves them to forests and trees.
    by : list of str or None
        Columns by which the held-out patients are scored apart as well.
    seed : int
        Of the split, the folds and the model.
    """

    data: str = "breast-cancer"
    target: str | None = None
    group: str | None = None
    model: str = "forest"
    impute: str | None = None
    by: list[str] | None = None
    seed: int = 0


@dataclass
class Treatment:
    """A trained model of the right choice and the files around it.

    Attributes
    ----------
    folder : Path
    model : Estimator
        From standardised columns to probabilities.
    columns : Columns
        From a table to columns.
    config : dict
        Options, target, classes, mean and spread of each column, what was chosen.
    scores : dict of str to Score
        Of the held-out patients.
    notes : list of str
        What could not be written.
    """

    folder: Path
    model: Any
    columns: Columns
    config: dict[str, Any]
    scores: dict[str, Score]
    notes: list[str] = field(default_factory=list)
    subgroups: dict[str, Any] = field(default_factory=dict)
    # what the report asks of every run
    system: ClassVar[Any] = SimpleNamespace(title="Treatment choice")
    interrupted: ClassVar[bool] = False

    @property
    def target(self) -> str:
        """The column of the right choice."""
        return self.config["target"]

    @property
    def classes(self) -> list[str]:
        """The choices, in the order of the probabilities."""
        return self.config["classes"]

    def probabilities(self, table: Table) -> np.ndarray:
        """Return the probability of each choice for each row, (N, choices)."""
        x = features(self.columns, table, self.config)
        return self.model.predict_proba(x)

    def outcomes(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows whose right choice is known, and which it is.

        Raises
        ------
        DataError
            For a choice that training did not have.
        """
        if self.target not in table.names:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        rows = table.known(self.target)
        text = table.take(rows).text(self.target)
        strange = ~np.isin(text, self.classes)
        if strange.any():
            row = int(strange.argmax())
            raise DataError(say(table.cell(int(rows[row]), self.target),
                                f"{', '.join(map(repr, self.classes))} or nothing",
                                repr(str(text[row])), "Correct the entry"))
        return rows, np.searchsorted(self.classes, text)


def train_treatment(options: TreatmentOptions | None = None, out: str | Path | None = None
                    ) -> Treatment:
    """Train, score on held-out patients, and write the run folder.

    Parameters
    ----------
    options : TreatmentOptions, optional
        The defaults grow a forest on the bundled breast-cancer measurements.
    out : str, optional
        The run folder; ``runs/treatment-1``, ``runs/treatment-2``, ... by default.
    """
    options = replace(options or TreatmentOptions())
    if options.model not in MODELS:
        raise ParameterError(say("train treatment", f"model of {', '.join(MODELS)}",
                                 repr(options.model), f"Use --model {next(iter(MODELS))}"))
    table = patients(options)
    target = str(options.target)
    require_columns(table.names, options.by)
    text = table.text(target)
    classes, counts = np.unique(text, return_counts=True)
    if len(classes) < 2 or counts.min() < 2 * FOLDS:
        raise DataError(say(f"{table.source}, column {target!r}",
                            f"two choices or more, {2 * FOLDS} patients of each",
                            ", ".join(f"{n} {c!r}" for c, n in zip(classes, counts, strict=True)),
                            "Add patients, or join rare choices"))
    y = np.searchsorted(classes, text)
    train, held = parted(table, y, options, HELD_OUT, options.seed)
    if len(np.unique(y[held])) < len(classes) or len(np.unique(y[train])) < len(classes):
        raise DataError(say(f"{table.source}", "every choice in training and held out",
                            "a split that lacks one", "Add patients, or try another --seed"))
    names = [name for name in table.names if name not in (target, options.group)]
    missing = MODELS[options.model].missing and options.impute is None
    columns = Columns.fit(table.take(train), names, "median" if missing else options.impute)
    config: dict[str, Any] = {"missing": missing, "mean": 0.0, "std": 1.0}
    x = features(columns, table, config)
    config |= {"mean": np.nanmean(x[train], axis=0, dtype=np.float64).tolist(),
               "std": spread(x[train]).tolist()}
    x = features(columns, table, config)
    chosen = choose(options, table.take(train), x[train], text[train], y[train])
    model = MODELS[options.model].make(options.seed, **chosen).fit(x[train], text[train])
    folder = new_folder(out, "treatment")
    config |= {"system": "treatment", "format": 1, "options": asdict(options),
               "source": table.source, "target": target, "classes": classes.tolist(),
               "columns": columns.plan, "chosen": chosen,
               "patients": {"training": len(train), "held out": len(held)},
               "data_sha256": hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()}
    p = model.predict_proba(x[held])
    part = rows_of(table.take(held), y[held], classes.tolist(), target, options.group)
    run = Treatment(folder, model, columns, config, score(part, p))
    run.subgroups = by_subgroup(score, part, p, options.by)
    write_run(run, table.take(held), part, x[held], p)
    return run


def score(part: Cohort, p: np.ndarray) -> dict[str, Score]:
    """Return the scores of the probabilities of each choice."""
    return evaluate_classes(part.y, p, part.classes, patients=part.groups)


def patients(options: TreatmentOptions) -> Table:
    """Return the table that a run is about; fills in the bundled one's target."""
    if options.data in BUNDLED:
        read, target = BUNDLED[options.data]
        if options.target not in (None, target):
            raise ParameterError(say("train treatment", f"the target {target} of {options.data}",
                                     repr(options.target), "Pass --data FILE.csv for another"))
        options.target = target
        return read()
    options.data = str(Path(options.data).absolute())
    table = read_csv(options.data)
    if options.target is None:
        raise ParameterError(say("train treatment", "--target COLUMN with --data", "none",
                                 f"Columns are {', '.join(table.names)}"))
    table.require([options.target, *([options.group] if options.group else [])])
    if len(table.names) < 2 + bool(options.group):
        raise DataError(say(table.source, "columns besides the target", "none",
                            "Add the features as columns"))
    return table


def parted(table: Table, y: np.ndarray, options: TreatmentOptions, fraction: float, seed: int
           ) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two: whole patients where a column names them, else choices in proportion."""
    if options.group is not None:
        return split_by_group(table.text(options.group), fraction, seed)
    return split_stratified(y, fraction, seed)


def features(columns: Columns, table: Table, config: dict[str, Any]) -> np.ndarray:
    """Return rows as standardised float32 columns; missing numbers stay so where they may."""
    x = columns.matrix(table)
    if config["missing"]:
        place = 0
        for column in columns.plan:
            if column["values"] is None:
                numbers = table[column["name"]]
                gone = np.isnan(numbers) if numbers.dtype.kind == "f" else np.ones(len(x), bool)
                x[gone, place] = np.nan
            place += 1 if column["values"] is None else len(column["values"])
    return ((x - np.array(config["mean"])) / np.array(config["std"])).astype(np.float32)


def spread(x: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column, 1 where it is 0."""
    std = np.nanstd(x, axis=0, dtype=np.float64)
    return np.where(std > 0, std, 1.0)


def choose(options: TreatmentOptions, table: Table, x: np.ndarray, text: np.ndarray, y: np.ndarray
           ) -> dict[str, Any]:
    """Return the setting of the greatest mean accuracy over splits of the training patients.

    Of equal ones it is the first.
    """
    recipe = MODELS[options.model]
    settings = [dict(zip(recipe.grid, values, strict=True))
                for values in itertools.product(*recipe.grid.values())]
    accuracy = np.zeros(len(settings))
    for fold in range(FOLDS):
        rows, rest = parted(table, y, options, 1 / FOLDS, options.seed + 1 + fold)
        if len(np.unique(y[rows])) < 2:
            raise DataError(say(table.source, "two choices or more in every part of the training "
                                "patients", "one", "Add patients, or try another --seed"))
        for i, setting in enumerate(settings):
            model = recipe.make(options.seed, **setting)
            if isinstance(model, SVC):
                model.set_params(probability=False)  # no one asks for it here
            accuracy[i] += model.fit(x[rows], text[rows]).score(x[rest], text[rest]) / FOLDS
    return settings[int(np.argmax(accuracy > accuracy.max() - 1e-12))]


def write_run(run: Treatment, held: Table, part: Cohort, x: np.ndarray, p: np.ndarray) -> None:
    """Write model, scores, predictions, importances, report and, with matplotlib, the figure."""
    folder, classes, y = run.folder, run.classes, part.y
    write_json(folder / "config.json", run.config)
    run.model.save(folder / "model")
    write_json(folder / "metrics.json", {
        "held_out": {name: score._asdict() for name, score in run.scores.items()},
        "subgroups": run.subgroups,
        "confusion": {"rows": "right choice", "columns": "prediction", "classes": classes,
                      "counts": confusion(y, p).tolist()}})
    header, heads = part.heads()
    write_rows(folder / "predictions.csv",
               [*header, run.target, "prediction", *(f"p[{name}]" for name in classes)],
               [(*head, classes[k], classes[int(q.argmax())], *(f"{v:.6g}" for v in q))
                for head, k, q in zip(heads, y, p, strict=True)])
    found = permutation_importance(run.model, x, np.array(classes)[y], n_repeats=10,
                                   random_state=run.config["options"]["seed"])
    order = np.argsort(-found.importances_mean, kind="stable")
    names = run.columns.features
    write_rows(folder / "importances.csv", ["column", "accuracy_lost", "standard_deviation"],
               [(names[i], f"{found.importances_mean[i]:.6g}", f"{found.importances_std[i]:.6g}")
                for i in order])
    if run.config["options"]["data"] in BUNDLED:  # something to try `medai predict` on
        write_rows(folder / "held_out.csv", held.names,
                   zip(*(column.tolist() for column in held.columns.values()), strict=True))
    try:
        from .pictures import draw_evaluation, draw_subgroups

        draw_evaluation(part, p, folder / "evaluation.png",
                        f"{held.source}: {len(y)} held-out patients")
        draw_subgroups(run.subgroups, folder / "subgroups.png")
    except MissingExtraError as error:
        run.notes.append(f"no plots: {error}")
    write_report(run)


def confusion(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return how many of each right choice (row) got which prediction (column)."""
    K = p.shape[1]
    return np.bincount(y * K + p.argmax(axis=1), minlength=K * K).reshape(K, K)


def report(scores: dict[str, Score], held: int) -> str:
    """Return scores as lines for a terminal."""
    width = max(len(name) for name in scores)
    lines = [f"  {name:{width}} {score.value:7.4f}  (95 %: {score.low:.3f} to {score.high:.3f})"
             for name, score in scores.items()]
    return "\n".join([f"{held} patients", *lines])


def load_treatment(folder: str | Path) -> Treatment:
    """Read a run folder."""
    folder = Path(folder)
    config = read_config(folder, "treatment")
    model = load(folder / "model")
    if not isinstance(model, Estimator):
        raise DataError(say(str(folder), "an estimator", type(model).__name__,
                            "Train anew with medai train treatment"))
    scores = read_json(folder / "metrics.json")["held_out"]
    return Treatment(folder, model, Columns(config["columns"]), config,
                     {name: Score(**score) for name, score in scores.items()})
