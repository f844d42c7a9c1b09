"""The ``medai`` command: train, use a run, look inside, learn.

Results go to standard output, progress and notes to standard error. Exit codes: 0 done, 2 the
command or the data are wrong (one line says what), 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import MedaiError, say
from .grammar import Grammar, at_least, helper
from .learn import add_learn
from .look import add_look
from .train import DEEP, add_train
from .use import add_use

__all__ = ["DEEP", "main", "parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.threads is not None:
            from ..kernels import set_num_threads

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

    add_train(commands, common)
    add_use(commands, common)
    add_look(commands, common)
    add_learn(commands, common)
    return top
