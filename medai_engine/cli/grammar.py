"""How the command's words are read: parsers whose errors are one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["Grammar", "at_least", "chosen", "helper"]


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


def helper(grammar: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Return what runs when a command is not complete: its help."""
    def show(options: argparse.Namespace) -> int:
        if options.version:
            from ..inspect.doctor import version

            print(f"medai_engine {version()}")
        else:
            grammar.print_help()
        return 0
    return show


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


def chosen(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return those of the options that were given."""
    return {name: getattr(options, name) for name in names if name in options}
