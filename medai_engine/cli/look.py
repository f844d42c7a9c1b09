"""Looking inside: ``medai doctor``, ``medai inspect``."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import ParameterError, say

__all__ = ["add_look"]


def add_look(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the grammar of the commands that look into the engine."""
    check = commands.add_parser("doctor", parents=[common],
                                help="say what this installation runs on, and how fast it can be",
                                description="Report version, processor, kernels and measured "
                                "peaks.")
    check.set_defaults(run=run_doctor)

    card = commands.add_parser(
        "inspect", parents=[common], help="everything about an op: equation, gradient, kernels, "
        "cost, speed", description="Show the card of an op: its equation, its gradient rule with "
        "the derivation, what it costs, the three texts of its kernel, and a live run of all.")
    card.add_argument("name", nargs="?", metavar="NAME",
                      help="an op, function, layer or kernel (conv2d); without it: all ops")
    card.add_argument("--full", action="store_true", help="show the sources to their ends")
    card.add_argument("--html", metavar="FILE", help="write the card as a page instead")
    card.set_defaults(run=run_inspect)


def run_doctor(options: argparse.Namespace) -> int:
    """Report the installation."""
    from ..inspect import doctor

    print(doctor())
    return 0


def run_inspect(options: argparse.Namespace) -> int:
    """Show one op, or list all."""
    from ..inspect import op, ops

    if options.name is None:
        if options.html or options.full:
            raise ParameterError(say("medai inspect", "the NAME of an op with --html and --full",
                                     "none", "Write medai inspect conv2d --html conv2d.html"))
        print(ops())
        return 0
    card = op(options.name)
    if options.html is None:
        print(card.text(full=options.full))
    else:
        print(f"written: {card.save(options.html)}")
    return 0
