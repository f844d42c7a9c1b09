"""What fit and evaluate print, as Keras does: 1 a bar, 2 a line per epoch, 0 nothing."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["Progress"]

WIDTH, PAUSE = 20, 0.1  # of the bar; seconds between two of its states on a terminal


class Progress:
    """The lines of some epochs, or (``epochs`` 0) of one evaluation."""

    def __init__(self, verbose: int, epochs: int, steps: int):
        self.verbose, self.epochs, self.steps = verbose, epochs, steps
        self.done, self.started, self.shown = 0, 0.0, 0.0

    def begin(self, epoch: int) -> None:
        """Before the first batch."""
        self.done, self.started = 0, time.perf_counter()
        if self.verbose and self.epochs:
            print(f"Epoch {epoch + 1}/{self.epochs}", flush=True)

    def step(self) -> None:
        """After a batch."""
        self.done += 1
        now = time.perf_counter()
        if self.verbose == 1 and sys.stdout.isatty() and now - self.shown > PAUSE:
            self.shown = now
            print("\r" + self.head(), end="", flush=True)

    def end(self, logs: dict[str, Any]) -> None:
        """After the last batch, with its values."""
        if not self.verbose:
            return
        self.done = self.done or self.steps
        values = "".join(f" - {name}: {value:.4f}" if abs(value) > 1e-3 or not value else
                         f" - {name}: {value:.4e}" for name, value in sorted(logs.items())
                         if isinstance(value, float))
        back = "\r" if self.verbose == 1 and sys.stdout.isatty() else ""
        print(back + self.head() + values, flush=True)

    def head(self) -> str:
        """Return the steps, the bar, and the time."""
        took = time.perf_counter() - self.started
        each = took / max(self.done, 1)
        timed = f"{took:.0f}s {'- ' * (self.verbose == 2)}" + (
            f"{each:.0f}s" if each >= 1 else f"{1e3 * each:.0f}ms") + "/step"
        steps = f"{self.done}/{self.steps or self.done}"
        if self.verbose == 2:
            return f"{steps} - {timed}"
        full = WIDTH * self.done // max(self.steps, self.done, 1)
        return f"{steps} {'━' * full}{'─' * (WIDTH - full)} {timed}"
