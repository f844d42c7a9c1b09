"""Prognosis by regression: a number that lies ahead, from measurements."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..data import Columns, Table, datasets, read_csv
from ..errors import DataError, say
from .cohort import rows_of
from .deep import Cohort, Options, Recipe, System

__all__ = ["Prognosis"]


class Prognosis(System):
    """A number ahead, from measurements; numbers standardised, text as 0/1 columns.

    ``--data`` is a CSV file with one row per patient; ``--target`` the column of the number,
    ``--patients`` one that names the patient, where one has several rows. Without data: the
    progression of 442 diabetes patients after a year.
    """

    name = "prognosis"
    title = "Prognosis by regression"
    floor = ("r2", 0.3)
    models: ClassVar[dict[str, Recipe]] = {
        "linear": Recipe(lambda shape, _: nn.Linear(shape[0], 1), epochs=200, lr=2e-2,
                         patience=20),
        "mlp": Recipe(lambda shape, _: nn.Sequential(
            nn.Linear(shape[0], 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1)),
            epochs=100, lr=3e-3, patience=15),
    }

    def gather(self, options: Options) -> Cohort:
        """Return the rows of a table, or the bundled one."""
        if options.data is None:
            table, options.target = datasets.diabetes(), "progression"
        else:
            table = read_csv(options.data)
            if options.target is None:
                raise DataError(say("train prognosis", "--target COLUMN with --data", "none",
                                    f"Columns are {', '.join(table.names)}"))
        return self._cohort(table, str(options.target), options.patients)

    def _cohort(self, table: Table, target: str, patient: str | None) -> Cohort:
        table.require([target, *([patient] if patient else [])])
        y = table[target]
        if y.dtype.kind != "f" or not np.isfinite(y).all():
            row = int((~np.isfinite(y)).argmax()) if y.dtype.kind == "f" else 0
            got = "nothing" if y.dtype.kind == "f" and np.isnan(y[row]) else (
                f"{y[row]:g}" if y.dtype.kind == "f" else repr(y[row]))
            raise DataError(say(table.cell(row, target), "a number in every row", got,
                                "Fill it in, remove the row, or use medai train risk for classes"))
        self._table = table
        self._names = [n for n in table.names if n not in (target, patient)]
        cohort = rows_of(table, y.astype(np.float64), [], target, patient)
        for name in self._names:
            if table[name].dtype.kind == "f" and (gone := int(np.isnan(table[name]).sum())):
                cohort.notes.append(f"{gone} of {len(table)} entries of {name} are missing: the "
                                    "median of the training patients stands for them")
        return cohort

    def plan(self, cohort: Cohort, rows: np.ndarray) -> dict[str, Any]:
        """Return columns, their medians, means and spreads."""
        part = self._table.take(cohort.x[rows])
        columns = Columns.fit(part, self._names, "median")
        x = columns.matrix(part).astype(np.float64)
        std = x.std(axis=0)
        return {"columns": columns.plan, "mean": x.mean(axis=0).tolist(),
                "std": np.where(std > 0, std, 1.0).tolist()}

    def features(self, x: np.ndarray, plan: dict[str, Any]) -> np.ndarray:
        """Return the rows as standardised numbers."""
        values = Columns(plan["columns"]).matrix(self._table.take(x))
        return ((values - np.array(plan["mean"])) / np.array(plan["std"])).astype(np.float32)

    def read(self, path: str, config: dict[str, Any], patients: str | None = None) -> Cohort:
        """Return the rows of a table like the one of training."""
        table, target = read_csv(path), config["target"]
        if target in table.names:
            return self._cohort(table, target, patients or config["options"]["patients"])
        self._table = table
        return rows_of(table, np.zeros(0), [], target)
