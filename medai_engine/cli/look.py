"""Looking inside: ``medai doctor``."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_look"]


def add_look(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the grammar of the commands that look into the engine."""
    check = commands.add_parser("doctor", parents=[common],
                                help="say what this installation runs on, and how fast it can be",
                                description="Report version, processor, kernels and measured "
                                "peaks.")
    check.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> int:
    """Report the installation."""
    from ..inspect import doctor

    print(doctor())
    return 0
