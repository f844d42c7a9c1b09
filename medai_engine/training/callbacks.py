"""What may happen around training: stopping, saving, slowing down, logging.

A callback gets the ``Run`` at each hook and may read ``run.logs`` (this epoch's values), change
``run.optimizer``, or end the run with ``run.stop(reason)``. What it must remember over a kill and
resume it returns from ``state_dict``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NonFiniteError, ParameterError, say
from ..inspect.nans import finite
from .history import higher_is_better

if TYPE_CHECKING:
    from .run import Run

__all__ = ["CSVLog", "Callback", "EarlyStopping", "LambdaCallback", "Monitor",
           "ReduceOnPlateau", "Schedule", "StopOnNaN"]


class Callback:
    """The hooks, all empty; a subclass fills those it needs."""

    last = False  # whether it goes after the others, to see what they changed

    def on_train_begin(self, run: Run) -> None:
        """Before the first step (and after a checkpoint was loaded)."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before an epoch's first batch."""

    def on_gradients(self, run: Run) -> None:
        """When the gradients of a step are there and the optimiser has not moved: clip here.

        Not with LBFGS, which computes gradients at many places within one step.
        """

    def on_batch_end(self, run: Run) -> None:
        """After the optimiser's step; ``run.loss`` is the batch's loss."""

    def on_epoch_end(self, run: Run) -> None:
        """After validation; ``run.logs`` holds the epoch's values."""

    def on_train_end(self, run: Run) -> None:
        """After the last epoch, or after ``run.stop``; not after an exception."""

    def on_close(self, run: Run) -> None:
        """When the loop is left in any way, by an exception too: close files and bars here."""

    def hears(self, hook: str) -> bool:
        """Tell whether this callback fills a hook."""
        return hook in vars(self) or getattr(type(self), hook) is not getattr(Callback, hook)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: numbers, strings, arrays, nested."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what ``state_dict`` returned."""


class LambdaCallback(Callback):
    """Functions as hooks: ``LambdaCallback(on_epoch_end=lambda run: print(run.logs))``."""

    def __init__(self, **hooks: Callable[[Any], None]):
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name, hook in hooks.items():
            if name not in known:
                raise ParameterError(say("LambdaCallback", f"hooks of {', '.join(known)}", name,
                                         "Use LambdaCallback(on_epoch_end=...)"))
            setattr(self, name, hook)


class Monitor(Callback):
    """Base of callbacks that wait for a value to get better.

    Parameters
    ----------
    monitor : str
        A name of the epoch's values, such as ``"val_loss"``.
    mode : {"auto", "min", "max"}
        Which direction is better; "auto" knows the metrics of ``training.metrics``.
    min_delta : float
        How much better counts.
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0.0):
        if mode not in ("auto", "min", "max"):
            raise ParameterError(say(type(self).__name__, "mode 'auto', 'min' or 'max'",
                                     repr(mode), "Use mode='auto'"))
        self.monitor = monitor
        self.mode = mode
        self.sign = 1.0  # -1 where more is better
        self.min_delta = min_delta
        self.best: float | None = None
        self.waited = 0

    def on_train_begin(self, run: Run) -> None:
        """Refuse a name that this run does not measure; forget the run before."""
        if not run.resumed:
            self.best, self.waited = None, 0
        if self.monitor not in run.names:
            raise ParameterError(say(
                type(self).__name__, f"monitor to be one of {', '.join(run.names)}",
                repr(self.monitor),
                "Pass validation_data= or validation_split= to fit" if
                self.monitor.startswith("val_") else "Add it to the metrics of compile"))
        self.sign = -1.0 if higher_is_better(self.monitor, self.mode) else 1.0

    def improved(self, run: Run) -> bool:
        """Look at the epoch's value; tell whether it is the best so far, count the wait if not."""
        value = run.logs[self.monitor]
        better = (value == value and (
            self.best is None or self.sign * (self.best - value) > self.min_delta))
        if better:
            self.best = value
            self.waited = 0
        else:
            self.waited += 1
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the epochs since."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on waiting."""
        self.best, self.waited = state["best"], state["waited"]


class EarlyStopping(Monitor):
    """Stop when a value has not got better for ``patience`` epochs; go back to the best weights.

    Parameters
    ----------
    monitor, mode, min_delta
        See ``Monitor``.
    patience : int
        Epochs without improvement that are waited for.
    restore_best : bool
        Whether the model ends with the weights of its best epoch.
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 10, mode: str = "auto",
                 min_delta: float = 0.0, restore_best: bool = True):
        super().__init__(monitor, mode, min_delta)
        self.patience = patience
        self.restore_best = restore_best
        self.weights: dict[str, Any] | None = None

    def on_train_begin(self, run: Run) -> None:
        """Forget the run before."""
        super().on_train_begin(run)
        if not run.resumed:
            self.weights = None

    def on_epoch_end(self, run: Run) -> None:
        """Keep the weights, or stop."""
        if self.improved(run):
            if self.restore_best:
                self.weights = run.weights()
        elif self.waited >= self.patience:
            run.stop(f"{self.monitor} has not improved on {self.best:.4g} for "
                     f"{self.waited} epochs" if self.best is not None
                     else f"{self.monitor} was never a number")

    def on_train_end(self, run: Run) -> None:
        """Go back to the best weights."""
        if self.weights is not None:
            run.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the wait and the best weights."""
        return {**super().state_dict(), "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on waiting."""
        super().load_state_dict(state)
        self.weights = state["weights"]


class ReduceOnPlateau(Monitor):
    """Multiply the learning rate by ``factor`` when a value has not got better for a while.

    Parameters
    ----------
    monitor, mode, min_delta
        See ``Monitor``.
    factor : float
        By how much, below 1.
    patience : int
        Epochs without improvement that are waited for.
    min_lr : float
        The learning rate goes no lower.
    """

    def __init__(self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10,
                 mode: str = "auto", min_delta: float = 0.0, min_lr: float = 0.0):
        super().__init__(monitor, mode, min_delta)
        if not 0 < factor < 1:
            raise ParameterError(say("ReduceOnPlateau", "a factor between 0 and 1", repr(factor),
                                     "Use factor=0.1"))
        self.factor = factor
        self.patience = patience
        self.min_lr = min_lr

    def on_epoch_end(self, run: Run) -> None:
        """Lower the rate of every parameter group."""
        if not self.improved(run) and self.waited > self.patience:
            self.waited = 0
            for group in run.optimizer.param_groups:
                group["lr"] = max(group["lr"] * self.factor, min(self.min_lr, group["lr"]))


class Schedule(Callback):
    """Step a schedule of ``me.optim.schedules`` after every epoch or every batch.

    Parameters
    ----------
    schedule : object
        With ``step()``, ``state_dict()`` and ``load_state_dict()``.
    every : {"epoch", "batch"}
        When it steps.
    monitor : str, optional
        The value that ``step(value)`` takes, for ReduceLROnPlateau.
    """

    def __init__(self, schedule: Any, every: str = "epoch", monitor: str | None = None):
        if every not in ("epoch", "batch") or (monitor and every == "batch"):
            raise ParameterError(say("Schedule", "every='epoch', or 'batch' without monitor",
                                     f"every={every!r}, monitor={monitor!r}",
                                     "Use every='epoch'"))
        self.schedule = schedule
        self.every = every
        self.monitor = monitor

    def on_batch_end(self, run: Run) -> None:
        """Step after a batch."""
        if self.every == "batch":
            self.schedule.step()

    def on_epoch_end(self, run: Run) -> None:
        """Step after an epoch."""
        if self.every == "epoch":
            self.schedule.step(*([run.logs[self.monitor]] if self.monitor else []))

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state."""
        return {"schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the schedule's state."""
        self.schedule.load_state_dict(state["schedule"])


class StopOnNaN(Callback):
    """Stop with an error at the first batch whose loss or gradients are not finite.

    The batch is computed once more, op by op, to name the op that made the first NaN or infinity
    (``me.debug_nans``).

    Raises
    ------
    NonFiniteError
        With epoch, batch, op, source line, layer; the last checkpoint is from before.
    """

    def on_gradients(self, run: Run) -> None:
        """Look before the optimiser moves, so that the weights stay as they were."""
        if math.isfinite(run.loss) and all(finite(p.grad.data) for p in run.model.parameters()
                                           if p.grad is not None):
            return
        try:
            run.retrace()
        except NonFiniteError as error:
            raise self.error(run, run.position + 1, error) from None
        raise self.error(run, run.position + 1)

    def on_batch_end(self, run: Run) -> None:
        """Look after a step that only the optimiser saw."""
        if not math.isfinite(run.loss):
            raise self.error(run, run.position)

    def error(self, run: Run, batch: int, found: NonFiniteError | None = None) -> NonFiniteError:
        """Return the error, with what was found of the origin."""
        error = NonFiniteError(say(
            f"fit, epoch {run.epoch + 1}, batch {batch}", "a finite loss and finite gradients",
            f"a loss of {run.loss}", str(found) if found is not None else "Lower the learning "
            "rate, or clip gradients with optim.clip_grad_norm_"))
        if found is not None:
            error.fault, error.became = found.fault, found.became
        return error


class CSVLog(Callback):
    """Keep a CSV file of the epochs' values up to date.

    Parameters
    ----------
    path : str
        The file; rewritten as a whole after each epoch, so that a kill leaves it readable.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def on_epoch_end(self, run: Run) -> None:
        """Write the rows so far."""
        run.history.to_csv(self.path)
