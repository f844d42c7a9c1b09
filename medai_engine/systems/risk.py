"""Risk of a binary outcome from measurements: logistic regression, or a small network.

    p(outcome | x) = sigmoid(w0 + sum_i w_i x_i)

Weights are those of least cross-entropy with a penalty on their squares. Three groups of patients
are kept apart: training, validation (decides when to stop), and held out, which only the final
score sees. Columns, units and imputed values are learned on training patients and kept with the
model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from .. import nn, optim
from ..data import (
    Columns,
    Standardize,
    Table,
    datasets,
    read_csv,
    split_by_group,
    split_stratified,
)
from ..errors import DataError, MissingExtraError, ParameterError, say
from ..estimators import LogisticRegression
from ..generator import manual_seed
from ..io import load, read_json, write_json
from ..training import Checkpoint, EarlyStopping, StopOnNaN
from ..training.history import History
from ..training.metrics import sigmoid
from ..training.plots import plot_history, plot_predictions
from .cohort import Cohort, rows_of
from .folder import new_folder, read_config, resumable, scores, write_rows
from .report import write_report
from .subgroups import by_subgroup, require_columns

__all__ = ["MODELS", "Options", "Risk", "load_risk", "train_risk"]

HELD_OUT, VALIDATION = 0.25, 0.15  # of all patients; of the remaining ones
PATIENCE = 20  # epochs
FLOOR = 0.99  # what the AUC on the bundled patients has to reach


@dataclass(frozen=True)
class Recipe:
    """A model's layers, and the settings with which it is trained unless told otherwise."""

    layers: Callable[[int], list[nn.Module]]
    loss: type[Any]
    epochs: int
    lr: float
    weight_decay: float


MODELS = {
    "logistic": Recipe(lambda n: [nn.Linear(n, 1)], nn.BCEWithLogitsLoss, 100, 2e-2, 2e-3),
    "mlp": Recipe(lambda n: [nn.Linear(n, 16), nn.ReLU(), nn.Linear(16, 2)],
                  nn.CrossEntropyLoss, 60, 3e-3, 1e-2),
}


@dataclass
class Options:
    """What a run was asked for; ``config.json`` holds it.

    Attributes
    ----------
    data : str or None
        A CSV file; None for the bundled breast-cancer measurements.
    target, positive : str or None
        The outcome's column, and which of its values is the risk.
    group : str or None
        The column that names the patient, where one has several rows.
    model : str
        A name of ``MODELS``.
    epochs, lr : int, float or None
        None takes the model's recipe.
    batch_size : int
        Patients per step; 0 takes all of them in one.
    optimizer : str
        "adam", "sgd" or "lbfgs" (second-order, all patients in one step); "newton" finds the
        optimum of the logistic model itself (``estimators.LogisticRegression``).
    impute : str or None
        "median" replaces missing numbers; None refuses them.
    by : list of str or None
        Columns by which the held-out patients are scored apart as well.
    seed : int
        Of the split, the first weights and the order.
    """

    data: str | None = None
    target: str | None = None
    positive: str | None = None
    group: str | None = None
    model: str = "logistic"
    epochs: int | None = None
    batch_size: int = 32
    lr: float | None = None
    optimizer: str = "adam"
    impute: str | None = None
    by: list[str] | None = None
    seed: int = 0

    def check(self) -> None:
        """Refuse options that no run can have."""
        optimizers = ("adam", "sgd", "lbfgs", "newton")
        for name, value, known in (("model", self.model, MODELS),
                                   ("optimizer", self.optimizer, optimizers)):
            if value not in known:
                raise ParameterError(say("train risk", f"{name} of {', '.join(known)}",
                                         repr(value), f"Use --{name} {next(iter(known))}"))
        if self.optimizer == "newton" and (self.model != "logistic" or self.lr is not None):
            raise ParameterError(say("train risk", "the logistic model without --lr for newton",
                                     f"--model {self.model}, --lr {self.lr}",
                                     "Leave these out, or use --optimizer lbfgs"))
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise ParameterError(say("train risk", "a learning rate above 0", self.lr,
                                     "Leave out --lr for the recipe's"))
        if self.batch_size < 0 or (self.epochs is not None and self.epochs < 1):
            raise ParameterError(say("train risk", "epochs of at least 1 and batch-size of at "
                                     "least 0", f"{self.epochs} and {self.batch_size}",
                                     "Leave them out for the recipe's"))


@dataclass
class Risk:
    """A trained risk model and the files around it.

    Attributes
    ----------
    folder : Path
    model : Module
        From columns of numbers to logits.
    columns : Columns
        From a table to these columns.
    classes : list of str
        What 0 and 1 are called.
    target : str
        The outcome's column.
    scores : dict
        Of the held-out patients.
    history : History or None
        None for a loaded one.
    interrupted : bool
        Whether training was stopped from outside.
    notes : list of str
        What the user should know: suspicious columns, what could not be written.
    config : dict
        What ``config.json`` holds.
    subgroups : dict
        Scores of the held-out patients by the columns that were asked for.
    """

    folder: Path
    model: nn.Module
    columns: Columns
    classes: list[str]
    target: str
    scores: dict[str, Any]
    history: Any = None
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    subgroups: dict[str, Any] = field(default_factory=dict)
    system: ClassVar[Any] = SimpleNamespace(title="Risk of an outcome")  # what the report asks

    def risk(self, table: Table) -> np.ndarray:
        """Return the probability of the positive outcome for each row, float64."""
        return probability(self.model, self.columns.matrix(table))

    def outcomes(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a table whose outcome is known, and these outcomes, 1 where positive.

        Raises
        ------
        DataError
            For an outcome that training did not have.
        """
        if self.target not in table.names:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        rows = table.known(self.target)
        rest, positive = self.classes
        text = table.take(rows).text(self.target)
        strange = ~np.isin(text, self.classes)
        if strange.any() and rest != f"not {positive}":
            row = int(strange.argmax())
            raise DataError(say(table.cell(int(rows[row]), self.target),
                                f"{rest!r}, {positive!r} or nothing", repr(str(text[row])),
                                "Correct the entry"))
        return rows, (text == positive).astype(np.int64)


def probability(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """Return the probability of class 1 in float64."""
    z = model.predict(x).astype(np.float64)  # type: ignore[attr-defined]
    return sigmoid(z[:, 0] if z.shape[1] == 1 else z[:, 1] - z[:, 0])


def train_risk(options: Options | None = None, out: str | Path | None = None,
               resume: str | Path | None = None, epochs: int | None = None,
               verbose: bool = True) -> Risk:
    """Train, score on held-out patients, and write the run folder.

    Parameters
    ----------
    options : Options, optional
        The defaults train logistic regression on the bundled measurements.
    out : str, optional
        The run folder; ``runs/risk-1``, ``runs/risk-2``, ... by default.
    resume : str, optional
        The folder of an earlier run to finish, with its own options; only ``epochs`` may be new.
    verbose : bool
        Show progress.
    """
    config: dict[str, Any] = {}
    if resume is not None:
        config = read_config(resume, "risk")
        options = Options(**config["options"])
        options.epochs = epochs or options.epochs
    options = replace(options or Options())  # what is filled in below is not the caller's
    options.check()
    if options.data is not None:
        options.data = str(Path(options.data).absolute())  # for a resume from elsewhere
    table = patients(options)
    target = str(options.target)
    require_columns(table.names, options.by)
    y, classes = table.labels(target, options.positive)
    check_numbers(table, y, classes, target)
    train, held = split(table, y, options, HELD_OUT)
    inner = split(table.take(train), y[train], options, VALIDATION)
    check_outcomes(table, classes, {"training": y[train][inner[0]],
                                    "validation": y[train][inner[1]], "held-out": y[held]})
    names = [n for n in table.names if n not in (target, options.group)]
    columns = Columns.fit(table.take(train), names, options.impute)
    x = columns.matrix(table)
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    if resume is None:
        folder = new_folder(out, "risk")
        config = {
            "system": "risk", "format": 1, "options": asdict(options), "source": table.source,
            "target": target, "classes": classes, "columns": columns.plan, "data_sha256": digest,
            "patients": dict(zip(("training", "validation", "held out"),
                                 map(len, (*inner, held)), strict=True))}
        write_json(folder / "config.json", config)
    else:
        folder = Path(resume)
        if config["data_sha256"] != digest:
            raise DataError(say(f"resume {folder}", "the patients it was started with",
                                f"others in {table.source}", "Restore the file, or train anew"))
    with resumable(folder):
        model, interrupted = learn(options, x[train], y[train], inner, folder, resume is not None,
                                   verbose)
        p = probability(model, x[held])
        risk = Risk(folder, model, columns, classes, target, scores(y[held], p),
                    model.compiled.history, interrupted, identifiers(table, names), config)
        part = rows_of(table.take(held), y[held], classes, target, options.group)
        found = np.stack([1 - p, p], axis=1)
        risk.subgroups = by_subgroup(Cohort.scores, part, found, options.by)
        write_run(risk, table.take(held), part, p)
        write_report(risk, part.scores(found))
    return risk


def learn(options: Options, x: np.ndarray, y: np.ndarray, sides: tuple[np.ndarray, np.ndarray],
          folder: Path, resume: bool, verbose: bool) -> tuple[Any, bool]:
    """Train on the first side, stop by the second; return the model and whether interrupted."""
    recipe = MODELS[options.model]
    manual_seed(options.seed)
    rows, watched = sides
    ruler = Standardize(x.shape[1]).fit_rows(x[rows])
    model: Any = nn.Sequential(ruler, *recipe.layers(x.shape[1]))
    if options.optimizer == "newton":
        return optimum(recipe, model, x, y, sides), False
    lr = options.lr if options.lr is not None else recipe.lr
    loss = recipe.loss()
    if options.optimizer == "lbfgs":
        loss = penalized(recipe, model)
        optimizer: Any = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
    elif options.optimizer == "sgd":
        optimizer = optim.SGD(model.parameters(), lr, momentum=0.9,
                              weight_decay=recipe.weight_decay)
    else:
        optimizer = optim.Adam(model.parameters(), lr, weight_decay=recipe.weight_decay)
    model.compile(optimizer, loss, ["accuracy", "auc"])
    whole = options.optimizer == "lbfgs" or not options.batch_size
    stopping = EarlyStopping("val_loss", PATIENCE)
    last = folder / "checkpoint" / "last.safetensors"
    try:
        model.fit(x[rows], y[rows], options.epochs or recipe.epochs,
                  len(rows) if whole else min(options.batch_size, len(rows)),
                  validation_data=(x[watched], y[watched]), seed=options.seed,
                  callbacks=[stopping, Checkpoint(last.parent, None), StopOnNaN()],
                  resume=last if resume and last.is_file() else None, verbose=verbose)
    except KeyboardInterrupt:
        if stopping.weights is None:
            raise  # not one epoch is done
        model.load_state_dict(stopping.weights)
        return model, True
    return model, False


def optimum(recipe: Recipe, model: Any, x: np.ndarray, y: np.ndarray,
            sides: tuple[np.ndarray, np.ndarray]) -> Any:
    """Give the model the weights of least penalised cross-entropy, to rounding.

    The estimator's objective is C times the sum of the losses plus |w|^2 / 2; divided by C n it is
    the recipe's, except that the offset is not penalised.
    """
    rows, watched = sides
    z = (x[rows].astype(np.float64) - model[0].mean.data) / model[0].deviation.data
    found = LogisticRegression(C=1 / (recipe.weight_decay * len(rows)), tol=1e-10,
                               solver="newton-cholesky").fit(z, y[rows])
    model[1].load_state_dict({"weight": found.coef_, "bias": found.intercept_})
    model.compile("sgd", recipe.loss(), ["accuracy", "auc"])
    row: dict[str, Any] = {"epoch": int(found.n_iter_[0])}
    for prefix, part in (("", rows), ("val_", watched)):
        row |= {prefix + name: value for name, value in model.evaluate(x[part], y[part]).items()}
    model.compiled.history = History([row])
    return model


def penalized(recipe: Recipe, model: nn.Module) -> nn.Module:
    """Return the recipe's loss plus its penalty on squares, as a line search has to see it.

    Optimisers that take gradients only add the penalty's gradient themselves (``weight_decay``).
    """
    class Penalized(recipe.loss):  # type: ignore[name-defined]
        def forward(self, output: Any, target: Any) -> Any:
            loss = super().forward(output, target)
            if not output.requires_grad:  # validation
                return loss
            squares = sum((p * p).sum() for p in model.parameters())
            return loss + 0.5 * recipe.weight_decay * squares

    return Penalized()


def patients(options: Options) -> Table:
    """Return the table that a run is about; fills in the bundled one's target."""
    if options.data is None:
        if options.target not in (None, "diagnosis"):
            raise ParameterError(say("train risk", "--data with --target", "--target alone",
                                     "Pass --data FILE.csv"))
        options.target = "diagnosis"
        return datasets.breast_cancer()
    table = read_csv(options.data)
    if options.target is None:
        raise ParameterError(say("train risk", "--target COLUMN with --data", "none",
                                 f"Columns are {', '.join(table.names)}"))
    table.require([options.target, *([options.group] if options.group else [])])
    if len(table.names) < 2 + bool(options.group):
        raise DataError(say(table.source, "columns besides the target", "none",
                            "Add the measurements as columns"))
    return table


def split(table: Table, y: np.ndarray, options: Options, fraction: float
          ) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two: whole patients where a column names them, else outcomes in proportion."""
    if options.group is not None:
        return split_by_group(table.text(options.group), fraction, options.seed)
    return split_stratified(y, fraction, options.seed)


def check_numbers(table: Table, y: np.ndarray, classes: list[str], target: str) -> None:
    """Refuse outcomes that are too rare for each of the three groups to have one."""
    for value, name in enumerate(classes):
        count = int((y == value).sum())
        if count < 3:
            raise DataError(say(
                f"{table.source}, column {target!r}", "three patients or more of each outcome "
                "(training, validation, held out)", f"{count} with {name!r}", "Add patients"))


def check_outcomes(table: Table, classes: list[str], parts: dict[str, np.ndarray]) -> None:
    """Refuse a split with a part that lacks an outcome: nothing could be scored on it."""
    for part, y in parts.items():
        for value, name in enumerate(classes):
            if not (y == value).any():
                raise DataError(say(f"{table.source}, {part} patients", f"some with {name!r}",
                                    f"none among {len(y)}",
                                    "Add patients, or try another --seed"))


def identifiers(table: Table, names: list[str]) -> list[str]:
    """Return a note for each column that seems to number the patients: a model would learn it."""
    return [f"column {name!r} holds a different whole number in every row. If it numbers the "
            f"patients, remove it or pass --group {name}" for name in names
            if table[name].dtype.kind == "f" and len(table) >= 20
            and len(np.unique(table[name])) == len(table)
            and (table[name] == np.floor(table[name])).all()]


def write_run(risk: Risk, held: Table, part: Cohort, p: np.ndarray) -> None:
    """Write model, history, scores, predictions and, where matplotlib is, the figures."""
    folder, y = risk.folder, part.y
    risk.model.save(folder / "model")  # type: ignore[attr-defined]
    history = risk.history
    history.to_csv(folder / "history.csv")
    write_json(folder / "metrics.json", {
        "held_out": risk.scores, "subgroups": risk.subgroups, "epochs": len(history),
        "interrupted": risk.interrupted})
    header, heads = part.heads()
    write_rows(folder / "predictions.csv", [*header, risk.target, "risk", "prediction"],
               [(*head, risk.classes[k], f"{q:.6g}", risk.classes[int(q > 0.5)])
                for head, k, q in zip(heads, y, p, strict=True)])
    if risk.config["options"]["data"] is None:  # something to try `medai predict` on
        write_rows(folder / "held_out.csv", held.names,
                   zip(*(column.tolist() for column in held.columns.values()), strict=True))
    try:
        from .pictures import draw_subgroups

        title = f"{held.source}: risk of {risk.classes[1]}"
        plot_history(history, folder / "history.png", f"{title}, training",
                     {"loss": "cross-entropy (nats per patient)",
                      "accuracy": "accuracy (share of patients)"})
        plot_predictions(y, p, folder / "evaluation.png", (risk.classes[0], risk.classes[1]),
                         f"{title}, {len(y)} held-out patients")
        draw_subgroups(risk.subgroups, folder / "subgroups.png")
    except MissingExtraError as error:
        risk.notes.append(f"no plots: {error}")


def load_risk(folder: str | Path) -> Risk:
    """Read a run folder."""
    folder = Path(folder)
    config = read_config(folder, "risk")
    if not (folder / "model.safetensors").is_file():
        raise DataError(say(str(folder), "a trained model", "an unfinished run",
                            f"Finish it: medai train risk --resume {folder}"))
    return Risk(folder, load(folder / "model"), Columns(config["columns"]), config["classes"],
                config["target"], read_json(folder / "metrics.json")["held_out"], config=config)
