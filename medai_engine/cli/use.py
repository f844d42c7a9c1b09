"""What is done with a run: ``medai predict``, ``evaluate``, ``compare``, ``synthesize``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .grammar import at_least

__all__ = ["add_use"]

PATIENTS = ("the column (for images a CSV file of file and patient) that names the patient, where "
            "it is another than in training")


def add_use(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the grammar of the commands on a run folder."""
    predict = commands.add_parser("predict", parents=[common],
                                  help="use a trained system on new patients",
                                  description="Predict with a run folder of medai train.")
    predict.add_argument("folder", metavar="RUN", help="the run folder")
    predict.add_argument("--data", required=True, metavar="PATH",
                         help="the new patients, in the form of the training data (a table, an "
                         "NPZ file, a folder of images, DICOM files among them)")
    predict.add_argument("--out", metavar="FILE.csv", help="where to write; else standard output")
    predict.set_defaults(run=run_predict)

    judge = commands.add_parser("evaluate", parents=[common],
                                help="the scores of a run, or of new data with outcomes",
                                description="Score a run folder of medai train.")
    judge.add_argument("folder", metavar="RUN", help="the run folder")
    judge.add_argument("--data", metavar="PATH", help="new patients whose outcomes are known")
    judge.add_argument("--by", nargs="+", metavar="COLUMN",
                       help="score the groups of a column apart, too: sex, age, site, ...")
    judge.add_argument("--patients", metavar="NAME", help=PATIENTS)
    judge.add_argument("--out", metavar="FOLDER",
                       help="where to write scores, predictions, figure and report of --data")
    judge.set_defaults(run=run_evaluate)

    versus = commands.add_parser("compare", parents=[common], help="two runs side by side",
                                 description="Compare two runs on the cases that both held "
                                 "out, or on new ones: scores, their differences, and paired "
                                 "tests.")
    versus.add_argument("first", metavar="RUN")
    versus.add_argument("second", metavar="RUN")
    versus.add_argument("--data", metavar="PATH",
                        help="new patients whose outcomes are known, that neither run saw")
    versus.add_argument("--patients", metavar="NAME", help=PATIENTS)
    versus.set_defaults(run=run_compare)

    make = commands.add_parser("synthesize", parents=[common],
                               help="make up cases with a trained generator",
                               description="Make up cases and check that none is a copy.")
    make.add_argument("folder", metavar="RUN", help="a run of medai train synthesize")
    make.add_argument("-n", type=at_least(1), default=500, metavar="N", help="how many (500)")
    make.add_argument("--out", metavar="FILE.npz", help="where to write; else into the run folder")
    make.add_argument("--seed", type=int, default=0, metavar="N", help="of the cases (default 0)")
    make.set_defaults(run=run_synthesize)


def run_predict(options: argparse.Namespace) -> int:
    """Predict the rows of a file, and score them where the outcome is known."""
    from ..systems import commands, treatment_command
    from ..systems.judging import predicting

    name = predicting(options.folder)
    if name == "treatment":
        return treatment_command.predict(options.folder, options.data, options.out)
    if name in commands.SYSTEMS:
        return commands.predict(options.folder, options.data, options.out)
    from ..data import read_csv
    from ..io.files import write_atomically
    from ..systems import load_risk
    from ..systems.folder import csv_text, report, scores

    risk = load_risk(options.folder)
    table = read_csv(options.data)
    p = risk.risk(table)
    rows, y = risk.outcomes(table)
    carried = [n for n in table.names if n not in risk.columns.names and n != risk.target]
    if carried:
        print(f"note: columns that training did not have are copied, not used: "
              f"{', '.join(carried)}", file=sys.stderr)
    text = csv_text(["line", *carried, "risk", "prediction"], [
        (line, *("" if v is None else v for v in others), f"{q:.6g}", risk.classes[int(q > 0.5)])
        for line, q, *others in zip(table.lines.tolist(), p.tolist(),
                                    *(table[n].tolist() for n in carried), strict=True)])
    if options.out is None:
        sys.stdout.write(text)
    else:
        write_atomically(options.out, text.encode())
        print(f"written: {len(p)} risks of {risk.target} = {risk.classes[1]} "
              f"in {Path(options.out)}")
    if len(rows):
        known = scores(y, p[rows])
        print(f"known outcomes: {report(known, risk.target, risk.classes[1])}", file=sys.stderr)
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Print scores."""
    from ..systems import commands

    return commands.evaluate(options.folder, options.data, options.by, options.patients,
                             options.out)


def run_compare(options: argparse.Namespace) -> int:
    """Print two runs side by side."""
    from ..systems.comparing import compare

    return compare(options.first, options.second, options.data, options.patients)


def run_synthesize(options: argparse.Namespace) -> int:
    """Make up cases."""
    from ..systems import commands

    return commands.synthesize(options.folder, options.n, options.out, options.seed)
