"""Progress of a run: a bar on a terminal, some lines in a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .callbacks import Callback

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Progress"]

LINES = 10  # in a log, however many epochs there are
BAR = "{desc} {bar:12} {percentage:3.0f} %, {remaining} left{postfix}"  # leaves room for values


class Progress(Callback):
    """Show where the run is: tqdm's bar over all batches, or about ten lines where no one looks.

    It goes to standard error, so that a program's results can be piped.
    """

    last = True

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Put up the bar."""
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=run.epochs * run.batches, dynamic_ncols=True, bar_format=BAR,
                            initial=run.epoch * run.batches + run.position)
            self.bar.set_description(f"epoch {run.epoch + 1}/{run.epochs}")

    def on_batch_end(self, run: Run) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.n = run.epoch * run.batches + run.position
            self.bar.update(0)

    def on_epoch_end(self, run: Run) -> None:
        """Show the epoch's values."""
        epoch = run.epoch + 1
        if self.bar is not None:
            self.bar.set_description(f"epoch {min(epoch + 1, run.epochs)}/{run.epochs}", False)
            self.bar.set_postfix_str(", ".join(short(run.logs)))
        elif epoch * LINES // run.epochs > (epoch - 1) * LINES // run.epochs or run.stopped:
            text = ", ".join(f"{name} {value:.4g}" for name, value in run.logs.items())
            print(f"epoch {epoch}/{run.epochs}: {text}", file=sys.stderr, flush=True)

    def on_train_end(self, run: Run) -> None:
        """Say why the run ended early."""
        self.on_close(run)
        if run.stopped:
            print(f"stopped after epoch {len(run.history)}: {run.stopped}", file=sys.stderr)

    def on_close(self, run: Run) -> None:
        """Take the bar down."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def short(logs: dict[str, float]) -> list[str]:
    """Return an epoch's values in three digits, as ``loss 0.08 (val 0.09)``."""
    return [f"{name} {value:.3g}" + (f" (val {logs['val_' + name]:.3g})" if f"val_{name}" in logs
                                    else "")
            for name, value in logs.items() if not name.startswith("val_")]
