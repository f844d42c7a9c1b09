"""What a training run measured, epoch by epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ParameterError, say
from ..io.files import write_atomically

__all__ = ["History", "higher_is_better"]

HIGHER = frozenset({"accuracy", "auc", "roc_auc", "sensitivity", "specificity", "recall",
                    "precision", "f1", "r2"})
LOWER = frozenset({"loss", "log_loss", "brier", "mse", "mae", "mean_squared_error",
                   "mean_absolute_error"})


def higher_is_better(name: str, mode: str = "auto") -> bool:
    """Tell whether more of a measured value is better (accuracy), not less (loss).

    Raises
    ------
    ParameterError
        For a value that is not known by name, where ``mode`` does not say it.
    """
    plain = name.removeprefix("val_")
    if mode == "auto" and plain not in HIGHER | LOWER:
        raise ParameterError(say(name, "a value whose better direction is known", "one of your own",
                                 "Say it: mode='max' or mode='min'"))
    return mode == "max" or (mode == "auto" and plain in HIGHER)


class History:
    """One row per epoch: loss, metrics, ``val_`` values, learning rate, seconds.

    ``history["val_loss"]`` gives a column, ``history.rows`` the rows.
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None):
        self.rows = rows if rows is not None else []

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.rows[0]) if self.rows else []

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self.names:
            raise ParameterError(say("History", f"a column of {', '.join(self.names) or 'none'}",
                                     repr(name), "Train with this metric, or correct its name"))
        return [row[name] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        last = ", ".join(f"{k} {v:.4g}" for k, v in self.rows[-1].items()) if self.rows else ""
        return f"<History of {len(self)} epochs{': ' * bool(last)}{last}>"

    def best(self, name: str = "val_loss", mode: str = "auto") -> int:
        """Return the number (from 0) of the epoch with the best value; NaN never is.

        ``mode`` is "min" or "max" for a metric of one's own.
        """
        values = self[name]
        sign = -1.0 if higher_is_better(name, mode) else 1.0
        return min(range(len(values)), key=lambda i: (values[i] != values[i], sign * values[i]))

    def to_csv(self, path: str | Path) -> None:
        """Write the rows as CSV, numbers exactly."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(path, text.getvalue().encode())

    def plot(self, path: str | Path, title: str = "") -> None:
        """Draw losses and metrics over the epochs into a PNG (extra ``plot``)."""
        from .plots import plot_history

        plot_history(self, path, title)
