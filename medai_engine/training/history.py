"""What a training run measured, epoch by epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ParameterError, say
from ..io.files import write_atomically

__all__ = ["History", "rises"]

RISING = frozenset({"accuracy", "auc", "roc_auc", "sensitivity", "specificity", "recall",
                    "precision", "f1", "r2"})


def rises(name: str) -> bool:
    """Tell whether more of a measured value is better (accuracy), not less (loss)."""
    return name.removeprefix("val_") in RISING


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

    def best(self, name: str = "val_loss") -> int:
        """Return the number (from 0) of the epoch with the best value."""
        values = self[name]
        return values.index(max(values) if rises(name) else min(values))

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
