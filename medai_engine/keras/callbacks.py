"""What Keras calls between batches and epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ParameterError, say
from ..training.history import History as Rows

__all__ = ["CSVLogger", "Callback", "EarlyStopping", "History", "LambdaCallback",
           "LearningRateScheduler", "ModelCheckpoint", "ReduceLROnPlateau", "TerminateOnNaN"]


class Callback:
    """Derive from it and define what should happen; ``self.model`` is the model."""

    model: Any = None
    params: dict[str, Any]

    def set_model(self, model: Any) -> None:
        """Take the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Take epochs, steps and verbosity."""
        self.params = params

    def on_train_begin(self, logs: Any = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Any = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """After an epoch, with its values."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch."""
        self.on_batch_begin(batch, logs)

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch: an old name."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch, with the means of the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch: an old name."""

    def on_test_begin(self, logs: Any = None) -> None:
        """Before an evaluation."""

    def on_test_end(self, logs: Any = None) -> None:
        """After an evaluation, with its values."""

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of an evaluation."""

    def on_predict_begin(self, logs: Any = None) -> None:
        """Before predictions."""

    def on_predict_end(self, logs: Any = None) -> None:
        """After predictions."""

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of predictions."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of predictions."""

    def watches_batches(self) -> bool:
        """Tell whether the class does something after every training batch."""
        return any(getattr(type(self), name) is not getattr(Callback, name) or name in vars(self)
                   for name in ("on_train_batch_end", "on_batch_end"))


class History(Callback):
    """What ``fit`` returns: ``history["loss"]`` is a list over the epochs."""

    def __init__(self) -> None:
        self.params = {}
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the values."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class Watching(Callback):
    """What looks at one value shares."""

    def __init__(self, monitor: str, mode: str = "auto", min_delta: float = 0.0):
        if mode not in ("auto", "min", "max"):
            raise ParameterError(say(type(self).__name__, "mode auto, min or max", repr(mode),
                                     "Use mode='min'"))
        self.monitor, self.min_delta = monitor, abs(min_delta)
        up = any(word in monitor for word in ("acc", "auc", "precision", "recall", "f1"))
        self.sign = -1.0 if mode == "max" or (mode == "auto" and up) else 1.0
        self.best = self.sign * math.inf

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget the run before."""
        self.best = self.sign * math.inf

    def value(self, logs: Any) -> float:
        """Return the watched value, or say what there is."""
        if self.monitor not in (logs or {}):
            raise ParameterError(say(type(self).__name__, f"monitor of {', '.join(logs or {})}",
                                     repr(self.monitor), "Pass validation_data for val_ values"))
        return float(logs[self.monitor])

    def better(self, logs: Any) -> bool:
        """Tell whether the value is the best so far, and remember it then."""
        value = self.value(logs)
        if self.sign * (value - self.best) < -self.min_delta:
            self.best = value
            return True
        return False


class EarlyStopping(Watching):
    """Stop when a value has not got better for ``patience`` epochs."""

    def __init__(self, monitor: str = "val_loss", min_delta: float = 0.0, patience: int = 0,
                 verbose: int = 0, mode: str = "auto", baseline: float | None = None,
                 restore_best_weights: bool = False, start_from_epoch: int = 0):
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.start = patience, verbose, start_from_epoch
        self.baseline, self.restore_best_weights = baseline, restore_best_weights
        self.waited, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.weights: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget the run before."""
        super().on_train_begin(logs)
        self.waited, self.weights, self.stopped_epoch, self.best_epoch = 0, None, 0, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the weights, or stop."""
        if epoch < self.start:
            return
        if self.restore_best_weights and self.weights is None:
            self.weights, self.best_epoch = self.model.get_weights(), epoch
        self.waited += 1
        if self.better(logs):
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.weights = self.model.get_weights()
            if self.baseline is None or self.sign * (self.best - self.baseline) < 0:
                self.waited = 0
            return
        if self.waited >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Go back to the best weights."""
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.weights is not None:
            if self.verbose:
                print("Restoring model weights from the end of the best epoch: "
                      f"{self.best_epoch + 1}.")
            self.model.set_weights(self.weights)


class ModelCheckpoint(Watching):
    """Write the model after every epoch, or only when it got better."""

    def __init__(self, filepath: str | Path, monitor: str = "val_loss", verbose: int = 0,
                 save_best_only: bool = False, save_weights_only: bool = False,
                 mode: str = "auto", save_freq: str = "epoch"):
        super().__init__(monitor, mode)
        if save_freq != "epoch":
            raise ParameterError(say("ModelCheckpoint", 'save_freq="epoch"', repr(save_freq),
                                     "Leave it out"))
        self.filepath, self.verbose = str(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the file."""
        if self.save_best_only and not self.better(logs):
            return
        path = self.filepath.format(epoch=epoch + 1, **(logs or {}))
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            print(f"Epoch {epoch + 1}: saved to {path}")


class ReduceLROnPlateau(Watching):
    """Multiply the learning rate by ``factor`` when a value has stopped getting better."""

    def __init__(self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10,
                 verbose: int = 0, mode: str = "auto", min_delta: float = 1e-4,
                 cooldown: int = 0, min_lr: float = 0.0):
        super().__init__(monitor, mode, min_delta)
        self.factor, self.patience, self.min_lr = factor, patience, min_lr
        self.verbose, self.cooldown, self.resting, self.waited = verbose, cooldown, 0, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Wait, or lower the rate."""
        logs["learning_rate"] = self.model.optimizer.learning_rate
        if self.resting > 0:
            self.resting, self.waited = self.resting - 1, 0
        if self.better(logs):
            self.waited = 0
        elif self.resting <= 0:
            self.waited += 1
            if self.waited >= self.patience:
                old = self.model.optimizer.learning_rate
                self.model.optimizer.learning_rate = max(old * self.factor, self.min_lr)
                self.waited, self.resting = 0, self.cooldown
                if self.verbose:
                    print(f"Epoch {epoch + 1}: learning rate "
                          f"{self.model.optimizer.learning_rate:.3g}")


class LearningRateScheduler(Callback):
    """Set the learning rate of each epoch: ``schedule(epoch, lr)`` or ``schedule(epoch)``."""

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the rate."""
        optimizer = self.model.optimizer
        try:
            rate = self.schedule(epoch, optimizer.learning_rate)
        except TypeError:
            rate = self.schedule(epoch)
        optimizer.learning_rate = float(rate)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the rate."""
        logs["learning_rate"] = self.model.optimizer.learning_rate


class TerminateOnNaN(Callback):
    """Stop at the first batch whose loss is not finite."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look at the loss."""
        if not np.isfinite(logs["loss"]):
            print(f"Batch {batch}: the loss is {logs['loss']}, stopped")
            self.model.stop_training = True


class CSVLogger(Callback):
    """Keep a CSV file of the epochs' values up to date."""

    def __init__(self, filename: str | Path, separator: str = ",", append: bool = False):
        if separator != "," or append:
            raise ParameterError(say("CSVLogger", "a comma and a new file", f"{separator!r}, "
                                     f"append={append}", "Leave both out"))
        self.filename, self.rows = filename, Rows()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the rows so far."""
        self.rows.rows.append({"epoch": epoch, **logs})
        self.rows.to_csv(self.filename)


class LambdaCallback(Callback):
    """A callback of functions."""

    def __init__(self, **functions: Callable[..., Any]):
        for name, function in functions.items():
            if not hasattr(Callback, name):
                raise ParameterError(say("LambdaCallback", "hooks such as on_epoch_end", name,
                                         "Correct its name"))
            setattr(self, name, function)
