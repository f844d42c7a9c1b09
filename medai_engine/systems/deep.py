"""What the network systems share: from a cohort to a run folder, and back to predictions.

Patients fall into three groups: those who train, those who say when to stop (validation), and those
held out, whom only the final score sees. Rows of one patient stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import nn, optim
from ..data import split_by_group, split_stratified
from ..data.loader import order
from ..errors import DataError, MissingExtraError, say
from ..generator import manual_seed
from ..io import load, read_json, write_json
from ..training import Checkpoint, EarlyStopping, StopOnNaN
from ..training.evaluation import Score
from .cohort import IGNORED, Cohort, Options
from .folder import new_folder, read_config, resumable, system_of, write_rows
from .subgroups import by_subgroup, require_columns

__all__ = ["IGNORED", "Cohort", "Options", "Recipe", "Run", "System", "load_run", "predictions",
           "train"]

HELD_OUT, VALIDATION = 0.25, 0.15  # of all patients; of the remaining ones


@dataclass(frozen=True)
class Recipe:
    """A network, ``build(sample shape, number of outputs)``, and how it is trained."""

    build: Callable[[tuple[int, ...], int], nn.Module]
    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3
    patience: int = 5
    floor: tuple[str, float] | None = None  # on the system's own data; None takes the system's


class System:
    """One kind of question: derive from it.

    Attributes
    ----------
    name, title : str
        Of the command and of the report.
    models : dict of str to Recipe
        The first is the default.
    floor : (str, float)
        What the score on the system's own data has to reach.
    """

    name = ""
    title = ""
    models: ClassVar[dict[str, Recipe]] = {}
    floor: tuple[str, float] = ("", 0.0)

    def gather(self, options: Options) -> Cohort:
        """Return the samples to train on; may fill in options."""
        raise NotImplementedError

    def read(self, path: str, config: dict[str, Any], patients: str | None = None) -> Cohort:
        """Return new samples for a trained model; outcomes may be missing (y empty).

        ``patients`` is what names the patient there, where it is not what it was in training.
        """
        raise NotImplementedError

    def plan(self, cohort: Cohort, rows: np.ndarray) -> dict[str, Any]:
        """Return what features need to know, learned from training rows alone; as JSON."""
        return {}

    def features(self, x: np.ndarray, plan: dict[str, Any]) -> np.ndarray:
        """Return what the network takes."""
        return x

    def scores(self, part: Cohort, found: np.ndarray) -> dict[str, Score]:
        """Return what the outputs for samples with known outcomes are worth."""
        return part.scores(found)

    def drawings(self, run: Run, folder: Path, cohort: Cohort, output: np.ndarray) -> None:
        """Draw figures of the held-out samples into the run folder."""


@dataclass
class Run:
    """A trained network and the files around it."""

    system: System
    folder: Path
    model: Any
    config: dict[str, Any]
    scores: dict[str, Score]
    history: Any = None
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    subgroups: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """The outcomes' names."""
        return self.config["classes"]

    def outputs(self, cohort: Cohort) -> np.ndarray:
        """Return probabilities (N, ..., C) of the classes, or values (N,)."""
        x = self.system.features(cohort.x, self.config["plan"])
        return outputs(self.model, x, bool(self.classes), self.config["scale"])


def outputs(model: Any, x: np.ndarray, classes: bool, scale: Any) -> np.ndarray:
    """Return probabilities of the classes, or values in their own units."""
    z = model.predict(x, batch_size=64).astype(np.float64)
    if not classes and scale is None:
        return z
    if not classes:
        return z[:, 0] * scale[1] + scale[0]
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def split(cohort: Cohort, seed: int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two: whole patients where they are known, outcomes in proportion."""
    labelled = bool(cohort.classes) and cohort.y.ndim == 1
    if cohort.groups is not None and len(np.unique(cohort.groups)) < len(cohort.groups):
        number = np.unique(cohort.groups, return_inverse=True)[1]
        rarest = np.bincount(cohort.y).argsort(kind="stable").argsort() if labelled else np.zeros(0)
        label = np.full(number.max() + 1, len(rarest))  # of a patient: the rarest of their classes
        if labelled:
            np.minimum.at(label, number, rarest[cohort.y])
        if not labelled or np.unique(label, return_counts=True)[1].min() < 2:
            return split_by_group(cohort.groups, fraction, seed)
        parts = split_stratified(label, fraction, seed)
        rest, held = (np.flatnonzero(np.isin(number, part)) for part in parts)
        return rest, held
    if labelled:
        return split_stratified(cohort.y, fraction, seed)
    rows = order(len(cohort.y), seed, 0)
    cut = max(1, round(len(rows) * fraction))
    return np.sort(rows[cut:]), np.sort(rows[:cut])


def train(system: System, options: Options | None = None, out: str | Path | None = None,
          resume: str | Path | None = None, epochs: int | None = None, verbose: bool = True) -> Run:
    """Train a system; write its run folder.

    Parameters
    ----------
    system : System
    options : Options, optional
        The defaults without it; taken from the run when it is resumed.
    out : str, optional
        The folder, new or empty; the next free ``runs/<system>-N`` without it.
    resume : str, optional
        A run folder to finish; with the same data it ends with the same bits as an unbroken run.
    epochs : int, optional
        Up to how many, of a resumed run.
    verbose : bool
        Show progress.
    """
    options = options or Options()
    config: dict[str, Any] = {}
    if resume is not None:
        config = read_config(resume, system.name)
        options = Options(**config["options"])
        options.epochs = epochs or options.epochs
    options.check(system)
    options.model = options.model or next(iter(system.models))
    cohort = system.gather(options)
    require_columns(cohort.about, options.by)
    rows, held = split(cohort, options.seed, HELD_OUT)
    inner, watched = split(cohort.take(rows), options.seed, VALIDATION)
    check_parts(system, cohort, {"training": rows[inner], "validation": rows[watched],
                                 "held-out": held})
    plan = system.plan(cohort, rows[inner])
    x = np.ascontiguousarray(system.features(cohort.x, plan), np.float32)
    y, scale = cohort.y, None
    if not cohort.classes and y.ndim == 1:
        scale = [float(y[rows[inner]].mean()), float(y[rows[inner]].std()) or 1.0]
        y = ((y - scale[0]) / scale[1]).astype(np.float32)[:, None]
    digest = hashlib.sha256(x.tobytes() + cohort.y.tobytes()).hexdigest()
    if resume is None:
        folder = new_folder(out, system.name)
        config = {"system": system.name, "format": 1, "options": asdict(options),
                  "source": cohort.source, "target": cohort.target, "classes": cohort.classes,
                  "plan": plan, "scale": scale, "sample": list(x.shape[1:]),
                  "data_sha256": digest, "patients": {
                      "training": len(inner), "validation": len(watched), "held out": len(held)}}
        write_json(folder / "config.json", config)
    else:
        folder = Path(resume)
        if config["data_sha256"] != digest:
            raise DataError(say(f"resume {folder}", "the samples it was started with",
                                f"others in {cohort.source}", "Restore the data, or train anew"))
    sides = (x[rows[inner]], y[rows[inner]]), (x[rows[watched]], y[rows[watched]])
    uneven(cohort, options.balance)
    with resumable(folder):
        model, interrupted = learn(system, options, cohort, sides, folder, resume is not None,
                                   verbose)
        model.save(folder / "model")
        part = cohort.take(held)
        found = outputs(model, x[held], bool(cohort.classes), scale)
        run = Run(system, folder, model, config, system.scores(part, found),
                  history=model.compiled.history, interrupted=interrupted,
                  notes=list(cohort.notes),
                  subgroups=by_subgroup(system.scores, part, found, options.by))
        write(run, part, found)
    return run


def learn(system: System, options: Options, cohort: Cohort, sides: Any, folder: Path,
          resume: bool, verbose: bool) -> tuple[Any, bool]:
    """Train on the first side, stop by the second; return the model and whether interrupted."""
    recipe = system.models[str(options.model)]
    (x, y), watched = sides
    manual_seed(options.seed)
    model: Any = recipe.build(x.shape[1:], len(cohort.classes) or 1)
    loss: Any = "cross_entropy" if cohort.classes else "mse"
    binary = len(cohort.classes) == 2 and y.ndim == 1
    scored = (["accuracy"] + ["auc"] * binary) if cohort.classes else []
    model.compile(optim.Adam(model.parameters(), options.lr or recipe.lr), loss, scored)
    stopping = EarlyStopping("val_loss", recipe.patience)
    callbacks: list[Any] = [stopping, Checkpoint(folder / "checkpoint", None), StopOnNaN()]
    last = folder / "checkpoint" / "last.safetensors"
    try:
        model.fit(x, y, options.epochs or recipe.epochs,
                  min(options.batch_size or recipe.batch_size, len(x)), validation_data=watched,
                  seed=options.seed, callbacks=callbacks, verbose=verbose,
                  class_weight="balanced" if options.balance and cohort.classes else None,
                  resume=last if resume and last.is_file() else None)
    except KeyboardInterrupt:
        if stopping.weights is None:
            raise  # not one epoch is done
        model.load_state_dict(stopping.weights)
        return model, True
    return model, False


def uneven(cohort: Cohort, balance: bool) -> None:
    """Note it where one class is at least three times as frequent as another."""
    if not cohort.classes or cohort.y.ndim > 1:
        return
    counts = np.bincount(cohort.y, minlength=len(cohort.classes))
    if counts.max() < 3 * counts.min():
        return
    told = ", ".join(f"{n} {name}" for n, name in zip(counts, cohort.classes, strict=True))
    often = cohort.classes[int(counts.argmax())]
    cohort.notes.append(
        f"uneven classes ({told}): always saying {often!r} is right in "
        f"{counts.max() / counts.sum():.0%} of the cases; " + (
            "training weighs every class the same, so risks are not shares of the population"
            if balance else "--balance weighs every class the same in training"))


def check_parts(system: System, cohort: Cohort, parts: dict[str, np.ndarray]) -> None:
    """Refuse a split with a part that is empty or lacks an outcome: nothing could be scored."""
    for part, rows in parts.items():
        present = set(np.unique(cohort.y[rows]).tolist()) if cohort.classes else set()
        missing = [name for k, name in enumerate(cohort.classes) if k not in present]
        if not len(rows):
            raise DataError(say(f"{cohort.source}, {part} samples", "one or more",
                                f"none of {len(cohort.y)} in all", "Add samples"))
        if missing and cohort.y.ndim == 1:
            raise DataError(say(
                f"{cohort.source}, {part} samples", f"some of {missing[0]!r}",
                f"none among {len(rows)}", "Add samples of this class, or try another --seed"))


def write(run: Run, part: Cohort, found: np.ndarray) -> None:
    """Write history, scores, predictions, figures and the report."""
    from .report import write_report

    folder = run.folder
    run.history.to_csv(folder / "history.csv")
    write_json(folder / "metrics.json", {
        "held_out": {name: score._asdict() for name, score in run.scores.items()},
        "subgroups": run.subgroups,
        "epochs": len(run.history), "interrupted": run.interrupted})
    write_rows(folder / "predictions.csv", *predictions(run, part, found))
    try:
        from .pictures import draw

        draw(run, part, found)
        run.system.drawings(run, folder, part, found)
    except MissingExtraError as error:
        run.notes.append(f"no plots: {error}")
    write_report(run)


def predictions(run: Any, part: Cohort, found: np.ndarray) -> tuple[list[str], list[list[Any]]]:
    """Return the header and the rows of predictions, with outcomes where they are known."""
    known = [run.config["target"]] if len(part.y) == len(found) else []
    names, heads = part.heads()
    if found.ndim > 1 and not run.classes:
        errors = ((found - part.y) ** 2).mean(axis=1)
        return [*names, "squared error"], [[*head, f"{e:.6g}"] for head, e in
                                           zip(heads, errors, strict=True)]
    if not run.classes:
        return [*names, *known, "prediction"], [
            [*head, *([f"{part.y[i]:.6g}"] if known else []), f"{found[i]:.6g}"]
            for i, head in enumerate(heads)]
    step = ["step"] if found.ndim == 3 else []
    rows: list[list[Any]] = []
    for i, head in enumerate(heads):
        for t, p in enumerate(found[i].reshape(-1, len(run.classes))):
            truth = part.y[i].reshape(-1)[t] if known else IGNORED
            if known and truth == IGNORED:
                continue
            rows.append([*head, *([t] if step else []), *([run.classes[truth]] if known else []),
                         run.classes[int(p.argmax())], *(f"{v:.6g}" for v in p)])
    return [*names, *step, *known, "prediction", *(f"p({n})" for n in run.classes)], rows


def load_run(folder: str | Path, systems: dict[str, System]) -> Run:
    """Read a run folder of one of these systems."""
    name = system_of(folder)
    if name not in systems:
        raise DataError(say(str(folder), f"a run of {', '.join(systems)}", repr(name),
                            "Pass a folder that medai train wrote"))
    config = read_config(folder, name)
    if not all((Path(folder) / file).is_file() for file in ("model.safetensors", "metrics.json")):
        raise DataError(say(str(folder), "a trained model", "an unfinished run",
                            f"Finish it: medai train {name} --resume {folder}"))
    held = read_json(Path(folder) / "metrics.json")["held_out"]
    return Run(systems[name], Path(folder), load(Path(folder) / "model"), config,
               {key: Score(**value) for key, value in held.items()})

