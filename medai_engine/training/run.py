"""One training run: the steps, and all of its state.

The loop is the one a user would write by hand; everything else here is what must be remembered
between two of its steps, so that a run that was killed goes on with the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.loader import DataLoader
from ..errors import DataError, ParameterError, say
from ..inspect.nans import debug_nans
from ..io.files import read_state
from ..mode import no_grad
from ..nn import Module
from ..optim import LBFGS
from ..optim.optimizer import Optimizer
from ..tensor import Tensor
from .callbacks import Callback
from .compiled import Compiled, as_output
from .history import History
from .inputs import floating, weights_of
from .plans import Planned, generators

__all__ = ["FORMAT", "Batch", "Run", "Tally", "evaluate_batches", "in_mode"]

FORMAT = 1  # of a checkpoint; raised when what it holds changes


class Batch(NamedTuple):
    """The tensors of a batch; weight is an array or None."""

    x: Tensor
    y: Tensor
    weight: np.ndarray | None

    @property
    def share(self) -> float:
        """Its part in a mean over samples."""
        return float(self.weight.sum()) if self.weight is not None else float(self.x.shape[0])

    @property
    def shares(self) -> Tensor | None:
        """The parts of its samples in the weighted mean, in float64; None for equal ones."""
        if self.weight is None:
            return None
        total = float(self.weight.sum())
        return Tensor(self.weight / total if total > 0 else self.weight)


class Tally:
    """Loss and outputs of an epoch, until its metrics are computed on all of them at once."""

    def __init__(self, compiled: Compiled):
        self.compiled = compiled
        self.total = 0.0
        self.weight = 0.0
        self.kept: list[list[np.ndarray]] = []  # per batch: outputs, targets and any weights

    def add(self, loss: float, output: Tensor | None, batch: Batch) -> None:
        """Count a batch; the output matters where there are metrics."""
        self.total += loss * batch.share
        self.weight += batch.share
        if output is not None:
            self.kept.append([output.data, batch.y.data,
                              *([] if batch.weight is None else [batch.weight])])

    def values(self) -> dict[str, float]:
        """Return the mean loss and the metrics."""
        logs = {"loss": self.total / self.weight if self.weight else 0.0}
        if self.kept:
            output, y, *weight = (np.concatenate(part) for part in zip(*self.kept, strict=True))
            logs |= self.compiled.scores(output, y, weight[0] if weight else None)
        return logs

    def state_dict(self) -> dict[str, Any]:
        """Return sums and outputs so far (of all batches in one array each)."""
        kept = [[np.concatenate(part) for part in zip(*self.kept, strict=True)]]
        return {"total": self.total, "weight": self.weight, "kept": kept if self.kept else []}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.total, self.weight, self.kept = state["total"], state["weight"], state["kept"]


class Run:
    """What callbacks see of a run.

    Attributes
    ----------
    model : Module
    optimizer : Optimizer
    epoch, epochs : int
        The current epoch, counted from 0, and how many there will be.
    position : int
        Batches of this epoch that are done.
    loss : float
        The last batch's loss.
    logs : dict
        The values of the epoch that has ended.
    history : History
    stopped : str
        Why the run ends before its last epoch, or "".
    resumed : bool
        Whether it goes on from a checkpoint.
    """

    def __init__(self, model: Module, compiled: Compiled, loader: DataLoader, *, epochs: int,
                 callbacks: Sequence[Callback], validation: DataLoader | None = None,
                 class_weight: Any = None, accumulate: int = 1):
        self.model = model
        self.compiled = compiled
        self.optimizer = compiled.ready_optimizer(model)
        self.loader = loader
        self.validation = validation
        self.class_weight = class_weight
        self.accumulate = accumulate
        self.epochs = epochs
        self.callbacks = sorted(callbacks, key=lambda callback: callback.last)
        self.epoch = 0
        self.position = 0
        self.loss = float("nan")
        self.logs: dict[str, float] = {}
        self.history = compiled.history = History()
        self.stopped = ""
        self.tally = Tally(compiled)
        self.seconds = 0.0  # of the current epoch before a resume
        self.resumed = False
        self.differentiated = Planned(self.differentiate, model, "fit")
        self.moved = Planned(self.move, model, "fit")
        # nothing looks at the gradients before the step: then both are one plan
        self.whole = (type(self.optimizer).step is Optimizer.step
                      and not any(callback.hears("on_gradients") for callback in self.callbacks))
        self.evaluated = Planned(forward(model, compiled), model, "fit's validation")
        self.random = list(generators(model).values())
        self.begun: tuple[list[Batch], list[int]] = [], []  # a step's batches, random positions

    @property
    def names(self) -> list[str]:
        """What the run measures in an epoch."""
        names = ["loss", *self.compiled.metrics]
        return names + [f"val_{name}" for name in names] * (self.validation is not None)

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return len(self.loader)

    def stop(self, reason: str) -> None:
        """End the run after this epoch."""
        self.stopped = reason

    def weights(self) -> dict[str, np.ndarray]:
        """Return a copy of the model's weights and buffers."""
        return {name: tensor.data.copy() for name, tensor in self.model.state_dict().items()}

    # the loop

    def train(self) -> History:
        """Run the epochs that are left."""
        try:
            with in_mode(self.model, True):
                self.call("on_train_begin")
                while self.epoch < self.epochs and not self.stopped:
                    self.train_epoch()
                self.call("on_train_end")
        finally:
            self.call("on_close")
        return self.history

    def train_epoch(self) -> None:
        """Run what is left of the current epoch."""
        started = time.perf_counter() - self.seconds
        if self.position == 0:
            self.call("on_epoch_begin")
        self.loader.load_state_dict({"epoch": self.epoch, "position": self.position})
        for group in self.groups():
            self.step(group)
            self.position += len(group)
            self.seconds = time.perf_counter() - started
            self.call("on_batch_end")
        self.logs = self.tally.values()
        if self.validation is not None:
            found = evaluate_batches(self.model, self.compiled, self.validation, self.evaluated)
            self.logs |= {f"val_{name}": value for name, value in found.items()}
        self.history.rows.append({"epoch": self.epoch + 1, **self.logs, "lr": self.optimizer.lr,
                                  "seconds": round(time.perf_counter() - started, 6)})
        self.call("on_epoch_end")
        self.next_epoch()

    def next_epoch(self) -> None:
        """Go to the beginning of the next epoch."""
        self.epoch, self.position, self.seconds = self.epoch + 1, 0, 0.0
        self.tally = Tally(self.compiled)

    def groups(self) -> Iterator[list[Batch]]:
        """Give the batches of one optimiser step each: ``accumulate`` of them, fewer at the end."""
        group: list[Batch] = []
        for batch in batches_of(self.model, self.loader, self.class_weight):
            group.append(batch)
            if len(group) == self.accumulate:
                yield group
                group = []
        if group:
            yield group

    def step(self, group: list[Batch]) -> None:
        """Move the weights once, by the mean gradient over a group of batches."""
        self.begun = group, [generator.offset for generator in self.random]
        if self.whole and len(group) == 1:
            batch = group[0]
            loss, output = self.moved(batch.x, batch.y, batch.shares)
            self.loss = loss.item()
            self.tally.add(self.loss, output, batch)
            return
        if not isinstance(self.optimizer, LBFGS):
            self.gradients(group)
            self.call("on_gradients")
            self.optimizer.step()
            return
        before = self.tally.state_dict()

        def closure() -> Tensor:
            # asked many times in one step; the last look counts
            self.tally.load_state_dict({**before, "kept": list(before["kept"])})
            return self.gradients(group)

        self.optimizer.step(closure)

    def gradients(self, group: list[Batch]) -> Tensor:
        """Compute the gradients of a group's mean loss; return that loss."""
        total = sum(batch.share for batch in group)
        self.optimizer.zero_grad()
        losses = []
        for batch in group:
            # a single batch goes the way of a hand-written loop
            part = (None if len(group) == 1 else
                    Tensor(np.array(batch.share / total if total else 0.0)))
            loss, scaled, output = self.differentiated(batch.x, batch.y, batch.shares, part)
            self.tally.add(loss.item(), output, batch)
            losses.append(scaled)
        mean = losses[0] if len(group) == 1 else Tensor(np.sum([t.data for t in losses], axis=0))
        self.loss = mean.item()
        return mean

    def retrace(self) -> None:
        """Compute the gradients of the step under way again, op by op, to name a NaN's origin.

        Raises
        ------
        NonFiniteError
            Where it is born: ``me.debug_nans``.
        """
        group, offsets = self.begun
        for generator, offset in zip(self.random, offsets, strict=True):
            generator.offset = offset
        self.differentiated.plain = True
        with debug_nans():
            self.gradients(group)

    # what runs as plans

    def differentiate(self, x: Tensor, y: Tensor, shares: Tensor | None,
                      part: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Add a batch's gradients to those that are there; return loss, its part, the output."""
        output = self.model(x)
        loss = self.compiled.loss(output, y, shares)
        scaled = loss if part is None else loss * part.astype(loss.dtype)
        scaled.backward()
        return (loss.detach(), scaled.detach(),
                as_output(output).detach() if self.compiled.metrics else None)

    def move(self, x: Tensor, y: Tensor, shares: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Make a step on one batch; return loss and output."""
        self.optimizer.zero_grad()
        loss, _, output = self.differentiate(x, y, shares)
        self.optimizer.step()
        self.optimizer.zero_grad()  # then a plan need not write the gradients of large weights
        return loss, output

    def call(self, hook: str) -> None:
        """Call a hook of every callback."""
        for callback in self.callbacks:
            getattr(callback, hook)(self)

    # all of its state

    def settings(self) -> dict[str, Any]:
        """Return what must be the same in a run that goes on from a checkpoint."""
        return {"samples": len(self.loader.dataset), "batch_size": self.loader.batch_size,
                "shuffle": self.loader.shuffle, "seed": self.loader.seed,
                "drop_last": self.loader.drop_last, "accumulate": self.accumulate,
                "metrics": list(self.compiled.metrics),
                "optimizer": type(self.optimizer).__name__,
                "callbacks": [type(callback).__name__ for callback in self.remembering]}

    @property
    def remembering(self) -> list[Callback]:
        """The callbacks with state; others may differ when a run is resumed."""
        return [callback for callback in self.callbacks
                if type(callback).state_dict is not Callback.state_dict]

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs to end with the same bits."""
        return {
            "format": FORMAT,
            "settings": self.settings(),
            "model": self.weights(),
            "optimizer": self.optimizer.state_dict(),
            "random": {name: g.get_state() for name, g in generators(self.model).items()},
            "epoch": self.epoch,
            "position": self.position,
            "seconds": self.seconds,
            "tally": self.tally.state_dict(),
            "history": self.history.rows,
            "stopped": self.stopped,
            "callbacks": [callback.state_dict() for callback in self.remembering],
        }

    def load_state_dict(self, state: dict[str, Any], source: str = "checkpoint") -> None:
        """Go on from what ``state_dict`` returned.

        Raises
        ------
        DataError
            When the state is of another format.
        ParameterError
            When the run was set up differently; what differs is named.
        """
        if state.get("format") != FORMAT:
            raise DataError(say(source, f"a checkpoint of format {FORMAT}",
                                state.get("format", "something else"),
                                "Resume with the version of medai_engine that wrote it"))
        before, now = state["settings"], self.settings()
        different = [name for name in now if before.get(name) != now[name]]
        if different:
            raise ParameterError(say(
                f"resume from {source}",
                ", ".join(f"{name} = {before.get(name)!r}" for name in different),
                ", ".join(f"{now[name]!r}" for name in different),
                "Call fit with the same data and options as before"))
        self.resumed = True
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, generator in generators(self.model).items():
            generator.set_state(state["random"][name])
        for callback, kept in zip(self.remembering, state["callbacks"], strict=True):
            callback.load_state_dict(kept)
        self.epoch, self.position = state["epoch"], state["position"]
        self.seconds, self.stopped = state["seconds"], state["stopped"]
        self.history.rows[:] = state["history"]
        self.tally.load_state_dict(state["tally"])
        if len(self.history) > self.epoch:  # saved when the epoch had been written down
            self.next_epoch()

    def resume(self, path: str | Path) -> None:
        """Go on from a checkpoint file."""
        self.load_state_dict(read_state(path), str(path))


@contextmanager
def in_mode(model: Module, training: bool) -> Iterator[None]:
    """Put a module and its children into training or evaluation mode for a while."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, flag in before:
            module.training = flag


def batches_of(model: Module, loader: DataLoader, class_weight: Any = None) -> Iterator[Batch]:
    """Give a loader's batches, floats in the module's dtype, weights joined."""
    dtype = floating(model)
    for found in loader:
        if not isinstance(found, tuple) or len(found) not in (2, 3):
            raise DataError(say("fit", "batches of (x, y) or (x, y, weight)",
                                f"{len(found) if isinstance(found, tuple) else 1} arrays",
                                "Let the dataset return (x, y) for a sample"))
        x, y = (Tensor(t.data.astype(dtype)) if t.dtype.kind == "f" and t.dtype != dtype else t
                for t in found[:2])
        given = found[2] if len(found) == 3 else None
        yield Batch(x, y, weights_of("fit", y.data, given, class_weight))


def forward(model: Module, compiled: Compiled) -> Any:
    """Return the function of a batch that gives its loss and, for metrics, the output."""

    def evaluated(x: Tensor, y: Tensor, shares: Tensor | None) -> tuple[Tensor, Tensor | None]:
        output = model(x)
        return compiled.loss(output, y, shares), as_output(output) if compiled.metrics else None

    return evaluated


def evaluate_batches(model: Module, compiled: Compiled, loader: DataLoader,
                     evaluated: Any = None) -> dict[str, float]:
    """Return loss and metrics over a loader, without gradients, in evaluation mode."""
    tally = Tally(compiled)
    evaluated = evaluated or Planned(forward(model, compiled), model, "evaluate")
    loader.load_state_dict({"epoch": 0, "position": 0})
    with no_grad(), in_mode(model, False):
        for batch in batches_of(model, loader):
            loss, output = evaluated(batch.x, batch.y, batch.shares)
            tally.add(loss.item(), output, batch)
    return tally.values()
