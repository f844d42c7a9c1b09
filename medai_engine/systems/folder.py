"""Run folders: where they are made, what is scored, how tables are written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, say
from ..io import read_json
from ..io.files import write_atomically
from ..training import metrics
from ..training.evaluation import auc_interval, wilson_interval

__all__ = ["Stopped", "csv_text", "new_folder", "read_config", "report", "resumable", "scores",
           "system_of", "write_rows"]


def new_folder(out: str | Path | None, system: str) -> Path:
    """Make the folder of a new run: the given one, or the next free ``runs/<system>-<n>``."""
    if out is not None:
        folder = Path(out)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            got, fix = (f"{folder} with files in it", f", or finish that run with --resume {folder}"
                        ) if folder.is_dir() else (f"the file {folder}", "")
            raise ParameterError(say("--out", "a new or empty folder", got, f"Choose another{fix}"))
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    number = 1
    while True:
        folder = Path("runs") / f"{system}-{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


class Stopped(KeyboardInterrupt):
    """An interruption of a run that ``--resume`` finishes: its folder."""

    def __init__(self, folder: Path):
        super().__init__(str(folder))
        self.folder = folder


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Say with an interruption which run it stopped."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped(folder) from stop


def system_of(folder: str | Path) -> str:
    """Return the system of a run folder."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise DataError(say(str(folder), "a run folder with config.json", "none",
                            "Pass the folder that medai train wrote"))
    config = read_json(path)
    if not isinstance(config, dict) or "system" not in config:
        raise DataError(say(str(path), "a run of medai train", "something else",
                            "Pass the folder that medai train wrote"))
    return config["system"]


def read_config(folder: str | Path, system: str) -> dict[str, Any]:
    """Read the config of a run folder, or say that it is none."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise DataError(say(str(folder), "a run folder with config.json", "none",
                            f"Pass the folder that medai train {system} wrote"))
    config = read_json(path)
    if not isinstance(config, dict) or config.get("system") != system or (
            config.get("format") != 1):
        raise DataError(say(str(path), f"a run of system {system}, format 1", "something else",
                            f"Pass a folder that medai train {system} wrote"))
    return config


def scores(y: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    """Return what a clinic asks of risks p of outcomes y, decided at 0.5, with 95 % intervals."""
    (tn, fp), (fn, tp) = metrics.confusion_matrix(y, p).tolist()
    found: dict[str, Any] = {"patients": len(y), "positive": tp + fn,
                             "confusion": {"tn": tn, "fp": fp, "fn": fn, "tp": tp},
                             "accuracy": metrics.accuracy(y, p)}
    interval = {"accuracy": wilson_interval(found["accuracy"], len(y))}
    if 0 < tp + fn < len(y):
        found["auc"] = metrics.roc_auc(y, p)
        interval["auc"] = auc_interval(y, p)
    for name, part, rest in (("sensitivity", tp, fn), ("specificity", tn, fp)):
        if part + rest:
            found[name] = part / (part + rest)
            interval[name] = wilson_interval(found[name], part + rest)
    return {**found, "brier": metrics.brier(y, p), "log_loss": metrics.log_loss(y, p),
            "interval_95": {name: list(ends) for name, ends in interval.items()}}


def report(found: dict[str, Any], target: str, positive: str) -> str:
    """Return scores as lines for a terminal."""
    title = {"accuracy": "accuracy", "auc": "AUC", "sensitivity": "sensitivity",
             "specificity": "specificity"}
    counts = found["confusion"]
    about = {"sensitivity": f"{counts['tp']} of {counts['tp'] + counts['fn']} found",
             "specificity": f"{counts['tn']} of {counts['tn'] + counts['fp']} cleared",
             "accuracy": f"{counts['tp'] + counts['tn']} of {found['patients']} right"}
    lines = [f"  {title[name]:12} {found[name]:.4f}  (95 %: {low:.3f} to {high:.3f})"
             + (f"  {about[name]}" if name in about else "")
             for name, (low, high) in found["interval_95"].items()]
    head = f"{found['patients']} patients, {found['positive']} with {target} = {positive}"
    return "\n".join([head, *lines, f"  {'Brier score':12} {found['brier']:.4f}"])


def csv_text(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()


def write_rows(path: str | Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as a CSV file."""
    write_atomically(path, csv_text(names, rows).encode())
