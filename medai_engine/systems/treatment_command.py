"""What ``medai train treatment`` and ``medai predict`` print and write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..data import read_csv
from ..io.files import write_atomically
from ..training.evaluation import evaluate_classes
from .folder import csv_text
from .report import floor_line
from .subgroups import subgroup_lines
from .treatment import FLOOR, TreatmentOptions, load_treatment, report, train_treatment

__all__ = ["predict", "train"]


def train(given: dict[str, Any], out: str | None) -> int:
    """Train and say what came out; return the exit code."""
    found = train_treatment(TreatmentOptions(**given), out)
    chosen = ", ".join(f"{name} {value:g}" for name, value in found.config["chosen"].items())
    print(f"chosen by cross-validation: {chosen}")
    print("\n".join([f"held out: {report(found.scores, found.config['patients']['held out'])}",
                     *subgroup_lines(found.subgroups)]))
    options = found.config["options"]
    if (options["data"], options["model"]) == (TreatmentOptions.data, TreatmentOptions.model):
        print(floor_line("accuracy", found.scores["accuracy"].value, FLOOR))
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    written = ", ".join(sorted(p.name for p in found.folder.iterdir() if p.is_file()))
    print(f"written: {written} in {found.folder}")
    sample = found.folder / "held_out.csv"
    print("next, on new patients (columns as in training):\n"
          f"  medai predict {found.folder} --data {sample if sample.is_file() else 'more.csv'}")
    return 0


def predict(folder: str, data: str, out: str | None) -> int:
    """Predict the rows of a file, score them where the right choice is known; return the code."""
    found = load_treatment(folder)
    table = read_csv(data)
    p = found.probabilities(table)
    carried = [n for n in table.names if n not in found.columns.names and n != found.target]
    if carried:
        print(f"note: columns that training did not have are copied, not used: "
              f"{', '.join(carried)}", file=sys.stderr)
    text = csv_text(["line", *carried, "prediction", *(f"p[{c}]" for c in found.classes)], [
        (line, *("" if v is None else v for v in others), found.classes[int(q.argmax())],
         *(f"{v:.6g}" for v in q))
        for line, q, *others in zip(table.lines.tolist(), p,
                                    *(table[n].tolist() for n in carried), strict=True)])
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text.encode())
        print(f"written: {len(p)} predictions of {found.target} in {Path(out)}")
    rows, y = found.outcomes(table)
    if len(rows):
        known = evaluate_classes(y, p[rows], found.classes)
        print(f"known outcomes: {report(known, len(rows))}", file=sys.stderr)
    return 0
