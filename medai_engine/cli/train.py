"""``medai train SYSTEM``."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NamedTuple

from .grammar import at_least, chosen, helper

__all__ = ["DEEP", "add_train"]


def add_train(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the grammar of ``medai train``."""
    train = commands.add_parser("train", help="train a system on the bundled or your own data",
                                description="Train a system.")
    train.set_defaults(run=helper(train))
    systems = train.add_subparsers(title="systems", metavar="SYSTEM")
    add_risk(systems, common)
    add_treatment(systems, common)
    for name in DEEP:
        add_deep(systems, common, name)
    add_synthesis(systems, common)


def add_risk(systems: Any, common: argparse.ArgumentParser) -> None:
    """Add the grammar of ``medai train risk``."""
    # options that are not given are absent, so that --resume can tell
    risk = systems.add_parser(
        "risk", parents=[common], argument_default=argparse.SUPPRESS,
        help="risk of a binary outcome from measurements",
        description="Train the risk of a binary outcome from measurements; text columns become "
        "one 0/1 column per category. Without --data: breast-cancer measurements of 569 patients.")
    data = risk.add_argument_group("data")
    data.add_argument("--data", metavar="FILE.csv", help="patients, one row each, with a header")
    data.add_argument("--target", metavar="COLUMN", help="the outcome's column")
    data.add_argument("--positive", metavar="VALUE", help="the outcome whose risk is predicted")
    data.add_argument("--patients", "--group", dest="group", metavar="COLUMN",
                      help="names the patient where one has several rows; never split")
    data.add_argument("--impute", choices=["median"],
                      help="replace missing numbers; without it they are refused")
    data.add_argument("--by", **OPTIONS["by"])
    model = risk.add_argument_group("model and training")
    model.add_argument("--model", choices=["logistic", "mlp"],
                       help="logistic regression (default), or a network of 16 hidden units")
    model.add_argument("--epochs", type=at_least(1), metavar="N", help="at most (early stopping)")
    model.add_argument("--batch-size", type=at_least(0), metavar="N",
                       help="patients per step (default 32); 0 takes all in one")
    model.add_argument("--lr", type=float, metavar="X", help="learning rate")
    model.add_argument("--optimizer", choices=["adam", "sgd", "lbfgs", "newton"],
                       help="adam (default), sgd, lbfgs (second-order, all patients a step), or "
                       "newton (the logistic model's optimum)")
    model.add_argument("--seed", type=int, metavar="N",
                       help="of the split, the first weights and the order (default 0)")
    run = risk.add_argument_group("run")
    run.add_argument("--out", metavar="FOLDER", help="the run folder (default runs/risk-N)")
    run.add_argument("--resume", metavar="RUN", help="finish a run that was stopped")
    risk.set_defaults(run=run_risk)


class Deep(NamedTuple):
    """The grammar of a network system."""

    help: str
    data: str  # what --data takes, and what is in it
    form: str
    models: tuple[str, ...]
    options: tuple[str, ...] = ()


DEEP = {
    "prognosis": Deep("a number ahead, from measurements", "FILE.csv",
                      "a table, one row per patient", ("linear", "mlp"),
                      ("target", "patients", "by")),
    "diagnosis": Deep("the class of an image", "PATH", "a folder with a sub-folder of images (PNG, "
                      "JPEG, DICOM, ...) per class, or an NPZ file with x, y and, if known, "
                      "patients", ("cnn64", "cnn224", "cnn256"),
                      ("patients", "image-size", "window", "balance", "by")),
    "history": Deep("the outcome of a stay, from its course", "FILE.csv",
                    "a table, one row per patient and time",
                    ("lstm64", "gru64", "rnn64", "relu64"),
                    ("target", "patients", "balance", "by")),
    "phases": Deep("the phase of a procedure, step by step", "FILE.npz",
                   "x (N, T, D) and y (N, T), -100 where no phase is known",
                   ("lstm128x2", "lstm64-dropout"), ("by",)),
    "autoencoder": Deep("images through a narrow code and back", "PATH",
                        "a folder of images (DICOM, too), or an NPZ file with x",
                        ("ae", "deep", "conv"), ("image-size", "window", "by")),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "target": {"metavar": "COLUMN", "help": "the outcome's column"},
    "patients": {"metavar": "NAME", "help": "the column (for images a CSV file of file and "
                 "patient) that names the patient; patients are never split"},
    "image-size": {"metavar": "N", "help": "pixels along each side"},
    "window": {"nargs": "+", "metavar": "VALUE", "help": "grey scale of DICOM images, in "
               "their units (Hounsfield for CT): center and width, or lung, soft, bone, brain, "
               "wide"},
    "balance": {"action": "store_true", "help": "weigh every class the same, however rare"},
    "by": {"nargs": "+", "metavar": "COLUMN",
           "help": "score the held-out samples of each group of a column apart, too (sex, age, "
           "site, ...)"},
}


def add_deep(systems: Any, common: argparse.ArgumentParser, name: str) -> None:
    """Add the grammar of ``medai train`` for a network system."""
    OPTIONS["image-size"]["type"] = at_least(1)
    system = DEEP[name]
    grammar = systems.add_parser(name, parents=[common], argument_default=argparse.SUPPRESS,
                                 help=system.help, description=f"Train: {system.help}. Without "
                                 "--data on the system's own data.")
    grammar.add_argument("--data", metavar=system.data, help=f"your own: {system.form}")
    for option in system.options:
        also = ["--group"] * (option == "patients")  # as risk and treatment call it
        grammar.add_argument(f"--{option}", *also, **OPTIONS[option])
    grammar.add_argument("--model", choices=system.models, help=f"default {system.models[0]}")
    add_training(grammar)
    grammar.add_argument("--resume", metavar="RUN", help="finish a run that was stopped")
    grammar.set_defaults(run=run_deep, system=name)


def add_training(grammar: argparse.ArgumentParser) -> None:
    """Add the options of a training run."""
    grammar.add_argument("--epochs", type=at_least(1), metavar="N", help="at most (early stopping)")
    grammar.add_argument("--batch-size", type=at_least(1), metavar="N", help="samples per step")
    grammar.add_argument("--lr", type=float, metavar="X", help="learning rate")
    grammar.add_argument("--seed", type=int, metavar="N",
                         help="of the split, the first weights and the order (default 0)")
    grammar.add_argument("--out", metavar="FOLDER", help="the run folder (default runs/SYSTEM-N)")


def add_synthesis(systems: Any, common: argparse.ArgumentParser) -> None:
    """Add the grammar of ``medai train synthesize``."""
    grammar = systems.add_parser("synthesize", parents=[common],
                                 argument_default=argparse.SUPPRESS,
                                 help="a generator of made-up cases", description="Train a "
                                 "conditional GAN. Without --data on the bundled digits.")
    grammar.add_argument("--data", metavar="FILE.npz", help="x (N, ...) from 0 to 1, y (N,)")
    add_training(grammar)
    grammar.add_argument("--resume", metavar="RUN", help="finish a run that was stopped")
    grammar.set_defaults(run=run_gan)


def add_treatment(systems: Any, common: argparse.ArgumentParser) -> None:
    """Add the grammar of ``medai train treatment``."""
    treatment = systems.add_parser(
        "treatment", parents=[common], argument_default=argparse.SUPPRESS,
        help="the right one of two or more choices from patient features",
        description="Train the choice of treatment (or diagnosis) from patient features; text "
        "columns become one 0/1 column per category. Without --data: breast-cancer measurements.")
    data = treatment.add_argument_group("data")
    data.add_argument("--data", metavar="FILE.csv",
                      help="patients, one row each, with a header; or breast-cancer, wine")
    data.add_argument("--target", metavar="COLUMN", help="the column of the right choice")
    data.add_argument("--patients", "--group", dest="group", metavar="COLUMN",
                      help="names the patient where one has several rows; never split")
    data.add_argument("--impute", choices=["median"],
                      help="replace missing numbers; without it the svm refuses them, forest and "
                      "tree send them to the better side")
    data.add_argument("--by", **OPTIONS["by"])
    model = treatment.add_argument_group("model")
    model.add_argument("--model", choices=["forest", "svm", "tree"],
                       help="random forest (default), support vector machine, or one tree")
    model.add_argument("--seed", type=int, metavar="N",
                       help="of the split, the folds and the model (default 0)")
    run = treatment.add_argument_group("run")
    run.add_argument("--out", metavar="FOLDER", help="the run folder (default runs/treatment-N)")
    treatment.set_defaults(run=run_treatment)


def run_risk(options: argparse.Namespace) -> int:
    """Train the risk system and say what came out."""
    from dataclasses import fields

    from ..systems import Options, train_risk
    from ..systems.commands import alone, stopped
    from ..systems.folder import report
    from ..systems.report import floor_line
    from ..systems.risk import FLOOR
    from ..systems.subgroups import subgroup_lines

    given = {field.name: getattr(options, field.name) for field in fields(Options)
             if field.name in options}
    out, resume = getattr(options, "out", None), getattr(options, "resume", None)
    alone(given, out, resume)
    try:
        risk = train_risk(Options(**given), out, resume, given.get("epochs"))
    except KeyboardInterrupt as stop:
        return stopped("risk", stop)
    print("\n".join([f"held out: {report(risk.scores, risk.target, risk.classes[1])}",
                     *subgroup_lines(risk.subgroups)]))
    if risk.config["options"]["data"] is None:
        print(floor_line("AUC", risk.scores["auc"], FLOOR))
    for note in risk.notes:
        print(f"note: {note}", file=sys.stderr)
    folder = risk.folder
    print(f"written: {', '.join(sorted(p.name for p in folder.iterdir() if p.is_file()))}"
          f" in {folder}")
    if risk.interrupted:
        print(f"interrupted; the model is that of the best epoch so far. Go on with:\n"
              f"  medai train risk --resume {folder}")
    sample = folder / "held_out.csv"
    print("next, on patients of your own (columns as in training; here those held out):"
          if sample.is_file() else "next, on new patients (columns as in training):")
    print(f"  medai predict {folder} --data {sample if sample.is_file() else 'more.csv'}")
    return 130 if risk.interrupted else 0


def run_deep(options: argparse.Namespace) -> int:
    """Train a network system."""
    from ..systems import commands

    return commands.train(options.system, chosen(
        options, "data", "target", "patients", "model", "epochs", "batch_size", "lr",
        "image_size", "window", "balance", "by", "seed"), getattr(options, "out", None),
        getattr(options, "resume", None))


def run_gan(options: argparse.Namespace) -> int:
    """Train a generator of made-up cases."""
    from ..systems import commands

    return commands.train_gan(chosen(options, "data", "epochs", "batch_size", "lr", "seed"),
                              getattr(options, "out", None), getattr(options, "resume", None))


def run_treatment(options: argparse.Namespace) -> int:
    """Train the treatment system."""
    from ..systems import treatment_command

    names = ("data", "target", "group", "model", "impute", "by", "seed")
    return treatment_command.train({name: getattr(options, name) for name in names
                                    if name in options}, getattr(options, "out", None))
