"""The ``medai`` command: train, predict, doctor.

Results go to standard output, progress and notes to standard error. Exit codes: 0 done, 2 the
command or the data are wrong (one line says what), 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from .errors import MedaiError, ParameterError, say

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.threads is not None:
            from .kernels import set_num_threads

            set_num_threads(options.threads)
        return options.run(options)
    except KeyboardInterrupt:
        print("medai: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, as `head` does
        sys.stderr.close()
        return 0
    except MedaiError as error:
        return failed(error, options, str(error))
    except OSError as error:
        return failed(error, options, say(
            str(error.filename or "files"), "a place to read or write", error.strerror or error,
            "Check the path, its permissions and the space on the disk"))
    except ValueError as error:
        return failed(error, options, f"{error} (--debug shows where)")


def failed(error: Exception, options: argparse.Namespace, message: str) -> int:
    """Say in one line what was wrong, or raise it where asked to; return the exit code."""
    if options.debug:
        raise error
    print(f"medai: {' '.join(message.split())}", file=sys.stderr)
    return 2


class Grammar(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is."""
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown options here, not above: this command's help lists the right ones."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"no such option: {' '.join(unknown)}")
        return found, unknown


def parser() -> argparse.ArgumentParser:
    """Return the command's grammar."""
    common = Grammar(add_help=False)
    common.add_argument("--threads", type=at_least(1), metavar="N",
                        help="threads to compute with; results are the same for any number")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")

    top = Grammar(prog="medai", description="Medical AI on a CPU.",
                  epilog="First steps: medai train risk")
    top.add_argument("--version", action="store_true", help="show the version and exit")
    top.set_defaults(run=helper(top), threads=None, debug=False)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")

    train = commands.add_parser("train", help="train a system on the bundled or your own data",
                                description="Train a system.")
    train.set_defaults(run=helper(train))
    systems = train.add_subparsers(title="systems", metavar="SYSTEM")
    add_risk(systems, common)
    add_treatment(systems, common)
    for name in DEEP:
        add_deep(systems, common, name)
    add_synthesis(systems, common)

    predict = commands.add_parser("predict", parents=[common],
                                  help="use a trained system on new patients",
                                  description="Predict with a run folder of medai train.")
    predict.add_argument("folder", metavar="RUN", help="the run folder")
    predict.add_argument("--data", required=True, metavar="PATH",
                         help="the new patients, in the form of the training data")
    predict.add_argument("--out", metavar="FILE.csv", help="where to write; else standard output")
    predict.set_defaults(run=run_predict)

    judge = commands.add_parser("evaluate", parents=[common],
                                help="the scores of a run, or of new data with outcomes",
                                description="Score a run folder of medai train.")
    judge.add_argument("folder", metavar="RUN", help="the run folder")
    judge.add_argument("--data", metavar="PATH", help="new patients whose outcomes are known")
    judge.set_defaults(run=run_evaluate)

    versus = commands.add_parser("compare", parents=[common], help="two runs side by side",
                                 description="Compare the held-out scores of two runs.")
    versus.add_argument("first", metavar="RUN")
    versus.add_argument("second", metavar="RUN")
    versus.set_defaults(run=run_compare)

    make = commands.add_parser("synthesize", parents=[common],
                               help="make up cases with a trained generator",
                               description="Make up cases and check that none is a copy.")
    make.add_argument("folder", metavar="RUN", help="a run of medai train synthesize")
    make.add_argument("-n", type=at_least(1), default=500, metavar="N", help="how many (500)")
    make.add_argument("--out", metavar="FILE.npz", help="where to write; else into the run folder")
    make.add_argument("--seed", type=int, default=0, metavar="N", help="of the cases (default 0)")
    make.set_defaults(run=run_synthesize)

    check = commands.add_parser("doctor", parents=[common],
                                help="say what this installation runs on, and how fast it can be",
                                description="Report version, processor, kernels and measured "
                                "peaks.")
    check.set_defaults(run=run_doctor)
    return top


def helper(grammar: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Return what runs when a command is not complete: its help."""
    def show(options: argparse.Namespace) -> int:
        if options.version:
            from .inspect.doctor import version

            print(f"medai_engine {version()}")
        else:
            grammar.print_help()
        return 0
    return show


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
    data.add_argument("--group", metavar="COLUMN",
                      help="names the patient where one has several rows; never split")
    data.add_argument("--impute", choices=["median"],
                      help="replace missing numbers; without it they are refused")
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
    data: str  # what --data takes
    models: tuple[str, ...]
    options: tuple[str, ...] = ()


DEEP = {
    "prognosis": Deep("a number ahead, from measurements", "FILE.csv", ("linear", "mlp"),
                      ("target", "patients")),
    "diagnosis": Deep("the class of an image", "FOLDER", ("cnn64", "cnn224", "cnn256"),
                      ("patients", "image-size", "balance")),
    "history": Deep("the outcome of a stay, from its course", "FILE.csv",
                    ("lstm64", "gru64", "rnn64"), ("target", "patients", "balance")),
    "phases": Deep("the phase of a procedure, step by step", "FILE.npz",
                   ("lstm128x2", "lstm64-dropout")),
    "autoencoder": Deep("images through a narrow code and back", "PATH", ("ae", "deep"),
                        ("image-size",)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "target": {"metavar": "COLUMN", "help": "the outcome's column"},
    "patients": {"metavar": "NAME", "help": "the column (for images a CSV file of file and "
                 "patient) that names the patient; patients are never split"},
    "image-size": {"metavar": "N", "help": "pixels along each side"},
    "balance": {"action": "store_true", "help": "weigh every class the same, however rare"},
}


def add_deep(systems: Any, common: argparse.ArgumentParser, name: str) -> None:
    """Add the grammar of ``medai train`` for a network system."""
    OPTIONS["image-size"]["type"] = at_least(1)
    system = DEEP[name]
    grammar = systems.add_parser(name, parents=[common], argument_default=argparse.SUPPRESS,
                                 help=system.help, description=f"Train: {system.help}. Without "
                                 "--data on the system's own data.")
    grammar.add_argument("--data", metavar=system.data, help="your own data")
    for option in system.options:
        grammar.add_argument(f"--{option}", **OPTIONS[option])
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
    data.add_argument("--group", metavar="COLUMN",
                      help="names the patient where one has several rows; never split")
    data.add_argument("--impute", choices=["median"],
                      help="replace missing numbers; without it the svm refuses them, forest and "
                      "tree send them to the better side")
    model = treatment.add_argument_group("model")
    model.add_argument("--model", choices=["forest", "svm", "tree"],
                       help="random forest (default), support vector machine, or one tree")
    model.add_argument("--seed", type=int, metavar="N",
                       help="of the split, the folds and the model (default 0)")
    run = treatment.add_argument_group("run")
    run.add_argument("--out", metavar="FOLDER", help="the run folder (default runs/treatment-N)")
    treatment.set_defaults(run=run_treatment)


def at_least(low: int) -> Callable[[str], int]:
    """Return a reader of whole numbers of at least ``low``."""
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {low}, got {text!r}")
        return value
    return read


def run_risk(options: argparse.Namespace) -> int:
    """Train the risk system and say what came out."""
    from dataclasses import fields

    from .systems import Options, train_risk
    from .systems.folder import report

    given = {field.name: getattr(options, field.name) for field in fields(Options)
             if field.name in options}
    out, resume = getattr(options, "out", None), getattr(options, "resume", None)
    if resume is not None:
        others = sorted(set(given) - {"epochs"}) + ["out"] * (out is not None)
        if others:
            raise ParameterError(say("--resume", "the options of that run, and at most --epochs",
                                     ", ".join(f"--{o.replace('_', '-')}" for o in others),
                                     "Leave them out, or train anew without --resume"))
    try:
        risk = train_risk(Options(**given), out, resume, given.get("epochs"))
    except KeyboardInterrupt:
        print("\nmedai: interrupted before one epoch was done; nothing to keep", file=sys.stderr)
        return 130
    print(f"held out: {report(risk.scores, risk.target, risk.classes[1])}")
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


def chosen(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return those of the options that were given."""
    return {name: getattr(options, name) for name in names if name in options}


def run_deep(options: argparse.Namespace) -> int:
    """Train a network system."""
    from .systems import commands

    return commands.train(options.system, chosen(
        options, "data", "target", "patients", "model", "epochs", "batch_size", "lr",
        "image_size", "balance", "seed"), getattr(options, "out", None),
        getattr(options, "resume", None))


def run_gan(options: argparse.Namespace) -> int:
    """Train a generator of made-up cases."""
    from .systems import commands

    return commands.train_gan(chosen(options, "data", "epochs", "batch_size", "lr", "seed"),
                              getattr(options, "out", None))


def run_evaluate(options: argparse.Namespace) -> int:
    """Print scores."""
    from .systems import commands

    return commands.evaluate(options.folder, options.data)


def run_compare(options: argparse.Namespace) -> int:
    """Print two runs side by side."""
    from .systems import commands

    return commands.compare(options.first, options.second)


def run_synthesize(options: argparse.Namespace) -> int:
    """Make up cases."""
    from .systems import commands

    return commands.synthesize(options.folder, options.n, options.out, options.seed)


def run_treatment(options: argparse.Namespace) -> int:
    """Train the treatment system."""
    from .systems import treatment_command

    names = ("data", "target", "group", "model", "impute", "seed")
    return treatment_command.train({name: getattr(options, name) for name in names
                                    if name in options}, getattr(options, "out", None))


def run_predict(options: argparse.Namespace) -> int:
    """Predict the rows of a file, and score them where the outcome is known."""
    from .systems import commands, treatment_command
    from .systems.folder import system_of

    name = system_of(options.folder)
    if name == "treatment":
        return treatment_command.predict(options.folder, options.data, options.out)
    if name in commands.SYSTEMS:
        return commands.predict(options.folder, options.data, options.out)
    from .data import read_csv
    from .io.files import write_atomically
    from .systems import load_risk
    from .systems.folder import csv_text, report, scores

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


def run_doctor(options: argparse.Namespace) -> int:
    """Report the installation."""
    from .inspect import doctor

    print(doctor())
    return 0


if __name__ == "__main__":
    sys.exit(main())
