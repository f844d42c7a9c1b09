"""The lesson: ``medai learn``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_learn"]


def add_learn(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the grammar of ``medai learn``."""
    learn = commands.add_parser(
        "learn", parents=[common], help="how the engine works, in six short chapters",
        description="Run the lesson's chapters: each shows the shipped source, runs it, and checks "
        "what it says. With a chapter, as text here; without, as pages in a folder.")
    learn.add_argument("chapter", nargs="?", metavar="CHAPTER",
                       help="autodiff, op, kernel, convolution, sequence, plan, or its number")
    learn.add_argument("--out", metavar="FOLDER",
                       help="where to write the pages (default: lesson, without a chapter)")
    learn.add_argument("--open", action="store_true", help="open the first page in the browser")
    learn.set_defaults(run=run_learn)


def run_learn(options: argparse.Namespace) -> int:
    """Run one chapter or all; return 1 where something that they say is not so."""
    from ..examples.lesson import CHAPTERS, run, write

    results = []
    for name in [options.chapter] if options.chapter else CHAPTERS:
        results.append(result := run(name))
        if options.chapter:
            letters = sys.stdout.encoding or "utf-8"  # a terminal may not know them all
            print(result.text().encode(letters, "replace").decode(letters))
        else:
            print(f"{result.chapter.title:28} {len(result.claims()):2} claims hold")
        for claim in result.claims("false"):
            print(f"medai: not so: {claim}", file=sys.stderr)
    folder = options.out or ("lesson" if options.open or not options.chapter else None)
    if folder is not None:
        pages = write(folder, results)
        print(f"written: {', '.join(map(str, pages))}")
        if options.open:
            import webbrowser

            webbrowser.open(Path(pages[0]).resolve().as_uri())
    return int(any(result.claims("false") for result in results))
