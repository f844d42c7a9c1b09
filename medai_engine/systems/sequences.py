"""Histories of any length and procedures step by step: recurrent networks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from .. import nn
from ..data import datasets, read_csv
from ..data.synthetic import CHANNELS, PHASES
from ..errors import DataError, say
from ..io.models import buildable
from ..nn import Module
from ..ops.shape import astype
from .arrays import columns_of, patients_in, read_npz
from .deep import IGNORED, Cohort, Options, Recipe, System

__all__ = ["HistoryNetwork", "Histories", "PhaseNetwork", "Phases", "carry_forward"]


def carry_forward(x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return what a network takes of measurements with gaps, (N, T, 2 C + 1), float32.

    Every channel standardised and the last measured value carried forward (0, the mean, before the
    first); then whether it was measured at this step; then whether the step belongs to the
    history. A step at which nothing is measured belongs to it if a later one does.

    Parameters
    ----------
    x : array of shape (N, T, C)
        NaN where nothing was measured.
    mean, std : array of shape (C,)
        Of the training patients.
    """
    z = (x - mean) / std
    seen = ~np.isnan(z)
    steps = np.arange(x.shape[1])[None, :, None]
    at = np.maximum.accumulate(np.where(seen, steps, -1), axis=1)  # when it was last measured
    filled = np.where(at >= 0, np.take_along_axis(z, at.clip(0), axis=1), 0.0)
    any_seen = seen.any(axis=2)
    length = np.where(any_seen.any(1), x.shape[1] - any_seen[:, ::-1].argmax(axis=1), 0)
    inside = steps[..., 0] < length[:, None]
    out = np.concatenate([filled, seen, inside[..., None]], axis=2)
    return (out * inside[..., None]).astype(np.float32)


@buildable
class HistoryNetwork(Module):
    """LSTM 64 - dense 32 - dense: one answer for a history of any length.

    Parameters
    ----------
    features, classes : int
        Columns of ``carry_forward`` but the last, which says what belongs to the history.
    hidden : int
        Units of the LSTM.
    cell : {"lstm", "gru", "rnn", "relu"}
        Which recurrent layer; "relu" is an LSTM with ReLU inside in place of tanh.
    """

    def __init__(self, features: int, classes: int, hidden: int = 64, cell: str = "lstm"):
        self.features, self.classes, self.hidden, self.cell = features, classes, hidden, cell
        self.recurrent = nn.LSTM(features, hidden, activation="relu") if cell == "relu" else {
            "lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell](features, hidden)
        self.dense = nn.Linear(hidden, 32)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Any) -> Any:
        """Return logits (N, classes) of histories (N, T, features + 1)."""
        lengths = astype(x[..., -1].sum(axis=1), np.int64)
        _, state = self.recurrent(x[..., :-1], lengths=lengths)
        last = state[0] if isinstance(state, tuple) else state
        return self.head(F.relu(self.dense(last[0])))


@buildable
class PhaseNetwork(Module):
    """Two LSTM layers and a dense one: an answer for every step.

    Parameters
    ----------
    features, classes : int
    hidden : int
        Units of each layer.
    dropout : float
        Share of the entries set to 0 before, between and behind the layers.
    """

    def __init__(self, features: int, classes: int, hidden: int = 128, dropout: float = 0.0):
        self.features, self.classes, self.hidden, self.dropout = features, classes, hidden, dropout
        self.thin = nn.Dropout(dropout)
        self.recurrent = nn.LSTM(features, hidden, num_layers=2, dropout=dropout)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Any) -> Any:
        """Return logits (N, T, classes)."""
        output, _ = self.recurrent(self.thin(x))
        return self.head(self.thin(output))


def history(cell: str, hidden: int = 64) -> Any:
    """Return the builder of a history network."""
    return lambda shape, classes: HistoryNetwork(shape[1] - 1, classes, hidden, cell)


class Histories(System):
    """What the course of a stay says about its outcome.

    ``--data`` is a CSV file with one row per patient and time: a column that names the patient
    (``--patients``, else the first), one of the outcome (``--target``, the same in all rows of a
    patient), numbers elsewhere; missing entries stay missing. Rows are taken in their order.
    Without data: 2,000 made-up intensive-care stays of 12 to 72 hours.
    """

    name = "history"
    title = "Patient state from histories"
    floor = ("auc", 0.9)
    models: ClassVar[dict[str, Recipe]] = {
        "lstm64": Recipe(history("lstm"), epochs=12, lr=3e-3, patience=4),
        "gru64": Recipe(history("gru"), epochs=12, lr=3e-3, patience=4),
        "rnn64": Recipe(history("rnn"), epochs=20, lr=1e-3, patience=6),
        "relu64": Recipe(history("relu"), epochs=20, lr=1e-3, patience=6),
    }

    def gather(self, options: Options) -> Cohort:
        """Return the histories of a table, or made-up ones."""
        if options.data is None:
            x, lengths, y = datasets.histories(2000, options.seed)
            missing = np.isnan(x[np.arange(x.shape[1]) < lengths[:, None]]).mean()
            return Cohort(x, y, ["stable", "deteriorates"], None,
                          [f"stay {i}" for i in range(len(x))],
                          f"{len(x):,} made-up intensive-care stays (seed {options.seed})",
                          "outcome",
                          ["The stays are generated, not of real patients.",
                           f"{missing:.0%} of the values are missing: the last one is carried "
                           "forward, and the network is told what was measured."])
        x, y, classes, names, channels, notes, about = self.table(options.data, options.target,
                                                                  options.patients)
        self.channels = channels
        return Cohort(x, y, classes, None, names, str(options.data), str(options.target), notes,
                      about)

    channels: tuple[str, ...] = CHANNELS

    def table(self, path: str, target: str | None, patient: str | None,
              channels: Any = None, classes: Any = None) -> Any:
        """Return measurements, outcomes, classes, patients, channels, notes, constant columns."""
        table = read_csv(path)
        patient = patient or table.names[0]
        if target is None:
            raise DataError(say(f"train {self.name}", "--target COLUMN with --data", "none",
                                f"Columns are {', '.join(table.names)}"))
        known = target in table.names
        table.require([patient, *(channels or []), *([target] if channels is None else [])])
        who = table.text(patient)
        channels = tuple(channels or [n for n in table.names if n not in (patient, target)
                                      and table[n].dtype.kind == "f"])
        if not channels:
            raise DataError(say(table.source, "columns of numbers", "none",
                                "Add the measurements as columns"))
        for name in channels:
            if table[name].dtype.kind != "f":
                row = next(i for i, v in enumerate(table[name]) if v is not None)
                raise DataError(say(table.cell(row, name), "a number", repr(table[name][row]),
                                    "Correct the entry"))
            endless = np.isinf(table[name])
            if endless.any():
                raise DataError(say(table.cell(int(endless.argmax()), name), "a finite number",
                                    "infinity", "Correct the entry, or leave it empty"))
        text = [n for n in table.names if n not in (patient, target, *channels)]
        notes = [f"columns that are not numbers were left out: {', '.join(text)}"] * bool(text)
        names = list(dict.fromkeys(who.tolist()))
        rows = [np.flatnonzero(who == name) for name in names]
        x = np.full((len(names), max(map(len, rows)), len(channels)), np.nan, np.float32)
        for i, part in enumerate(rows):
            x[i, : len(part)] = np.stack([table[n][part] for n in channels], axis=1)
        outcome = table.text(target) if known else np.array([])
        if known:
            for name, part in zip(names, rows, strict=True):
                if len(set(outcome[part].tolist())) > 1:
                    raise DataError(say(f"{table.source}, patient {name!r}", f"one {target}",
                                        f"{', '.join(sorted(set(outcome[part].tolist())))}",
                                        "Give all rows of a patient the same outcome"))
            outcome = outcome[[part[0] for part in rows]]
        classes = classes or sorted(set(outcome.tolist()))
        if len(classes) < 2:
            raise DataError(say(f"{table.source}, column {target!r}", "two outcomes",
                                ", ".join(classes) or "none", "Add patients of another outcome"))
        unknown = sorted(set(outcome.tolist()) - set(classes))
        if unknown:
            raise DataError(say(f"{table.source}, column {target!r}",
                                f"one of {', '.join(classes)}", unknown[0], "Correct the entry"))
        y = np.array([classes.index(v) for v in outcome.tolist()], np.int64)
        share = np.isnan(np.concatenate([x[i, :len(p)] for i, p in enumerate(rows)])).mean()
        notes.append(f"{len(names)} patients; {share:.0%} of the values are missing: the last one "
                     "is carried forward, and the network is told what was measured.")
        about = {n: table[n][[part[0] for part in rows]] for n in table.names
                 if n not in (patient, target)
                 and all(len(set(map(str, table[n][part].tolist()))) == 1 for part in rows)}
        return x, y, classes, names, channels, notes, about

    def read(self, path: str, config: dict[str, Any], patients: str | None = None) -> Cohort:
        """Return the histories of a table like the one of training."""
        plan, patient = config["plan"], patients or config["options"]["patients"]
        x, y, classes, names, _, notes, about = self.table(
            path, config["target"], patient, plan["channels"], config["classes"])
        return Cohort(x, y, classes, None, names, path, config["target"], notes, about)

    def plan(self, cohort: Cohort, rows: np.ndarray) -> dict[str, Any]:
        """Return mean and spread of every channel."""
        part = cohort.x[rows].reshape(-1, cohort.x.shape[-1]).astype(np.float64)
        count = (~np.isnan(part)).sum(axis=0)
        mean = np.nansum(part, axis=0) / np.maximum(count, 1)
        std = np.sqrt(np.nansum((part - mean) ** 2, axis=0) / np.maximum(count, 1))
        return {"channels": list(self.channels), "mean": mean.tolist(),
                "std": np.where(std > 0, std, 1.0).tolist()}

    def features(self, x: np.ndarray, plan: dict[str, Any]) -> np.ndarray:
        """Return values carried forward, what was measured, and what belongs to the history."""
        return carry_forward(x, np.array(plan["mean"]), np.array(plan["std"]))


class Phases(System):
    """Which phase a procedure is in, step by step.

    ``--data`` is an NPZ file with ``x`` (N, T, D) and ``y`` (N, T) class numbers, -100 where none
    is known; optionally ``classes``, names, and ``patients`` (N,), which are never split. Without
    data: 400 made-up gall bladder operations.
    """

    name = "phases"
    title = "Phases of a procedure"
    floor = ("accuracy", 0.9)
    models: ClassVar[dict[str, Recipe]] = {
        "lstm128x2": Recipe(lambda shape, classes: PhaseNetwork(shape[1], classes), epochs=12,
                            lr=2e-3, batch_size=16, patience=4),
        "lstm64-dropout": Recipe(lambda shape, classes: PhaseNetwork(shape[1], classes, 64, 0.3),
                                 epochs=15, lr=3e-3, batch_size=16, patience=5),
    }

    def gather(self, options: Options) -> Cohort:
        """Return the procedures of a file, or made-up ones."""
        if options.data is None:
            x, y = datasets.phases(400, seed=options.seed)
            return Cohort(x, y, list(PHASES), None, [f"operation {i}" for i in range(len(x))],
                          f"{len(x)} made-up gall bladder operations (seed {options.seed})",
                          "phase",
                          ["The operations are generated, not of real patients."])
        return self._file(options.data, None)

    def _file(self, path: str, classes: list[str] | None) -> Cohort:
        found = read_npz(path)
        if "x" not in found or found["x"].ndim != 3 or found["x"].dtype.kind not in "biuf":
            raise DataError(say(path, "an array x of shape (N, T, D)",
                                f"{ {k: v.shape for k, v in found.items()} }",
                                "Save it with numpy.savez(path, x=x, y=y)"))
        x, y = found["x"].astype(np.float32), found.get("y", np.zeros(0, np.int64))
        if len(y) and (y.shape != x.shape[:2] or y.dtype.kind not in "iu"):
            raise DataError(say(path, f"class numbers y of shape {x.shape[:2]}",
                                f"{y.shape} of {y.dtype}",
                                "Give every step a class number, -100 where none is known"))
        y = y.astype(np.int64)
        if not len(y) and classes is None:
            raise DataError(say(path, "an array y of class numbers", "none",
                                "Save it with numpy.savez(path, x=x, y=y)"))
        known = classes
        if classes is None:
            classes = [str(v) for v in found["classes"]] if "classes" in found else [
                str(k) for k in range(int(y.max()) + 1)]
        if known is None and len(classes) < 2:
            raise DataError(say(path, "two classes or more in y", ", ".join(classes) or "none",
                                "Add procedures with other phases"))
        if len(y) and (((y < 0) & (y != IGNORED)) | (y >= len(classes))).any():
            raise DataError(say(path, f"class numbers from 0 to {len(classes) - 1}, or {IGNORED}",
                                f"{y.min()} to {y.max()}", "Correct y"))
        if not np.isfinite(x).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
            raise DataError(say(path, "finite values in x", f"{x[place]} at {place}",
                                "Fill in what is missing"))
        return Cohort(x, y, classes, patients_in(found, len(x), path),
                      [f"sequence {i}" for i in range(len(x))], path, "phase",
                      about=columns_of(found, len(x), "x", "y"))

    def read(self, path: str, config: dict[str, Any], patients: str | None = None) -> Cohort:
        """Return the procedures of a file like the one of training."""
        return self._file(path, config["classes"])
