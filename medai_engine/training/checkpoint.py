"""Checkpoints: the whole state of a run on disk, so that a kill costs at most the work since."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError, say
from ..io.files import write_state
from .callbacks import Monitor

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Checkpoint"]


class Checkpoint(Monitor):
    """Write ``last.safetensors`` (and ``best.safetensors``) into a folder while training.

    ``fit(..., resume=folder + "/last.safetensors")`` with the same data and options goes on from
    there and ends with the same bits as an unbroken run. A file is replaced by one rename: a kill
    at any moment leaves a whole one. The first is written before the first step.

    Parameters
    ----------
    folder : str
        Where; made if missing.
    monitor : str, optional
        The value by which ``best.safetensors`` is chosen; None keeps only the last. A value that
        starts with ``val_`` is read without the prefix when the run has no validation data.
    mode : {"auto", "min", "max"}
        Which direction is better.
    every : int
        Epochs between two checkpoints.
    every_batches : int, optional
        Write in the middle of an epoch as well, after each so many batches of it.
    """

    last = True

    def __init__(self, folder: str | Path, monitor: str | None = "val_loss", mode: str = "auto",
                 every: int = 1, every_batches: int | None = None):
        super().__init__(monitor or "loss", mode)
        for name, value in (("every", every), ("every_batches", every_batches)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ParameterError(say("Checkpoint", f"{name} of at least 1", repr(value),
                                         f"Use {name}=1"))
        self.folder = Path(folder)
        self.keep_best = monitor is not None
        self.every = every
        self.every_batches = every_batches
        self.done = 0  # batches of the epoch at the last look

    def on_train_begin(self, run: Run) -> None:
        """Write the state before the first step."""
        if run.validation is None:
            self.monitor = self.monitor.removeprefix("val_")
        super().on_train_begin(run)
        for part in self.folder.glob(".*.safetensors.*.part"):
            part.unlink()  # of a process that was killed while it wrote
        self.write(run, "last")

    def on_epoch_begin(self, run: Run) -> None:
        """Count batches anew."""
        self.done = 0

    def on_batch_end(self, run: Run) -> None:
        """Write in the middle of an epoch."""
        if self.every_batches and run.position // self.every_batches > (
                self.done // self.every_batches):
            self.write(run, "last")
        self.done = run.position

    def on_epoch_end(self, run: Run) -> None:
        """Write after the epoch: the best first, so that the last knows of it."""
        better = self.improved(run)
        if better and self.keep_best:
            self.write(run, "best")
        if (run.epoch + 1) % self.every == 0 or run.epoch + 1 == run.epochs or run.stopped:
            self.write(run, "last")

    def write(self, run: Run, name: str) -> None:
        """Write the run's state."""
        write_state(self.folder / f"{name}.safetensors", run.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, and the place in the epoch."""
        return {**super().state_dict(), "done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        super().load_state_dict(state)
        self.done = state["done"]
