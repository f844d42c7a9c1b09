"""What a run is asked for, and the samples that it is about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..data import Table
from ..data.transforms import Window
from ..errors import ParameterError, say
from ..training.evaluation import Score, evaluate_classes, evaluate_risk, evaluate_values

__all__ = ["IGNORED", "Cohort", "Options", "rows_of"]

IGNORED = -100  # the label of a step that does not count


@dataclass
class Options:
    """What a run was asked for; ``config.json`` holds it.

    Attributes
    ----------
    data : str or None
        A file or folder; None for the system's own data.
    target : str or None
        The outcome's column, in tables.
    patients : str or None
        Which column (or, for images, which CSV file) names the patient.
    model : str or None
        One of the system's models; None for its first.
    epochs, batch_size, lr : int, int, float or None
        None takes the model's recipe.
    image_size : int or None
        Pixels along each side.
    window : pair of float, or None
        Center and width of the grey scale of DICOM images and of arrays of measured values.
    balance : bool
        Weigh every class the same in training, however rare.
    by : list of str or None
        Columns by which the held-out samples are scored apart as well.
    seed : int
        Of the split, the first weights and the order.
    """

    data: str | None = None
    target: str | None = None
    patients: str | None = None
    model: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    image_size: int | None = None
    window: list[float] | None = None
    balance: bool = False
    by: list[str] | None = None
    seed: int = 0

    def check(self, system: Any) -> None:
        """Refuse options that no run of a system can have; read the window."""
        self.window = _window(self.window)
        where = f"train {system.name}"
        if self.model is not None and self.model not in system.models:
            raise ParameterError(say(where, f"model of {', '.join(system.models)}",
                                     repr(self.model), f"Use --model {next(iter(system.models))}"))
        for name, value in (("epochs", self.epochs), ("batch-size", self.batch_size),
                            ("image-size", self.image_size)):
            if value is not None and value < 1:
                raise ParameterError(say(where, f"{name} of at least 1", value,
                                         f"Leave out --{name} for the recipe's"))
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise ParameterError(say(where, "a learning rate above 0", self.lr,
                                     "Leave out --lr for the recipe's"))


def _window(given: Any) -> list[float] | None:
    """Return center and width of what was typed: a name, or two numbers."""
    if given is None:
        return None
    words = [given] if isinstance(given, str) else list(given)
    if len(words) == 1:
        window = Window.named(str(words[0]))
    else:
        try:
            center, width = (float(word) for word in words)
        except ValueError as error:
            raise ParameterError(say("--window", "center and width, or a name",
                                     " ".join(map(str, words)),
                                     "Use --window 40 400, or --window soft")) from error
        window = Window(center, width)
    return [window.center, window.width]


@dataclass
class Cohort:
    """Samples with their outcomes.

    Attributes
    ----------
    x : array of shape (N, ...)
        What the system's ``features`` takes.
    y : array
        (N,) class numbers or values; (N, T) class numbers per step, ``IGNORED`` where none is.
    classes : list of str
        Their names; none of values.
    groups : array of shape (N,) or None
        The patient of each row.
    names : list of str
        What each row is called: a file, a patient, a number.
    source, target : str
        Where it came from; what is predicted.
    notes : list of str
        What was left out or filled in.
    about : dict of str to array of shape (N,)
        What else is known of each row (sex, age, site), for scores by subgroup.
    what : str
        What a row is: "sample", or the "line" or "row" of a table.
    """

    x: np.ndarray
    y: np.ndarray
    classes: list[str]
    groups: np.ndarray | None
    names: list[str]
    source: str
    target: str
    notes: list[str] = field(default_factory=list)
    about: dict[str, np.ndarray] = field(default_factory=dict)
    what: str = "sample"

    def take(self, rows: np.ndarray) -> Cohort:
        """Return some of the rows."""
        return replace(self, x=self.x[rows], y=self.y[rows], names=[self.names[i] for i in rows],
                       groups=None if self.groups is None else self.groups[rows],
                       about={name: column[rows] for name, column in self.about.items()})

    def heads(self) -> tuple[list[str], list[list[str]]]:
        """Return what the first columns of a table of predictions are called, and their entries."""
        if self.groups is None:
            return [self.what], [[name] for name in self.names]
        return [self.what, "patient"], [[name, str(patient)] for name, patient in
                                   zip(self.names, self.groups, strict=True)]

    def of_steps(self) -> np.ndarray:
        """Return the patient, or else the number of the sequence, of every step (N, T)."""
        whose = np.arange(len(self.y)) if self.groups is None else self.groups
        return np.broadcast_to(whose[:, None], self.y.shape)

    def scores(self, found: np.ndarray) -> dict[str, Score]:
        """Return the scores that fit the kind of outcome, of probabilities or values.

        Rows of one patient (steps of one sequence) count as one piece of evidence.
        """
        if not self.classes:
            return evaluate_values(self.y, found, patients=self.groups)
        if self.y.ndim > 1:
            known = self.y != IGNORED
            return evaluate_classes(self.y[known], found[known], self.classes,
                                    patients=self.of_steps()[known], repeats=200)
        if len(self.classes) == 2:
            return evaluate_risk(self.y, found[:, 1], patients=self.groups)
        return evaluate_classes(self.y, found, self.classes, patients=self.groups)


def rows_of(table: Table, y: np.ndarray, classes: list[str], target: str,
            patient: str | None = None) -> Cohort:
    """Return the rows of a table, whose outcomes are y, as samples; ``x`` is the row's number.

    Parameters
    ----------
    table : Table
    y, classes, target
        See ``Cohort``.
    patient : str, optional
        The column that names the patient.
    """
    return Cohort(np.arange(len(table)), y, classes, table.text(patient) if patient else None,
                  [str(line) for line in table.lines.tolist()], table.source, target,
                  about={name: column for name, column in table.columns.items() if name != target},
                  what=table.place)
