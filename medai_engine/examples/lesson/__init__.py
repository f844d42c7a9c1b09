"""How an engine works, in six short chapters.

Each shows the shipped source, runs it, and checks what it says.

    medai learn                 run all chapters, write their pages
    medai learn autodiff        read one in the terminal
    python -m medai_engine.examples.lesson

A chapter is a Python program to be read from top to bottom. Strings between the statements are its
prose; ``check`` holds each claim against what was computed.
"""

from __future__ import annotations

from .runner import CHAPTERS, Chapter, run, write

__all__ = ["CHAPTERS", "Chapter", "run", "write"]
