"""compile, fit, evaluate, predict, as Keras calls them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import drop, gradients
from ..errors import DataError, GraphError, ParameterError, ShapeError, say
from ..jit import jit
from ..mode import no_grad
from ..nn import Module, Parameter
from ..tensor import Tensor, mark_written
from . import losses, optimizers
from .backend import me
from .batches import Arrays, Batches, PyDataset, arrays_of, triple, weights_of
from .callbacks import Callback, History
from .engine import flatten
from .meter import Meter, Scorers, by_output, listed
from .progress import Progress

__all__ = ["Trainer"]


class Trainer(Module):
    """What a model needs to be trained."""

    optimizer: Any = None
    stepper: Any = None
    stop_training = False
    history: Any = None
    scorers: Scorers

    def touch(self) -> None:
        """Note that weights have been written."""
        for slot in self.slots():  # type: ignore[attr-defined]
            mark_written(slot.tensor)

    def names(self) -> tuple[list[str], list[str]]:
        """Return the names of the inputs and outputs, as far as they are known."""
        graph = getattr(self, "graph", None)
        return graph.names if graph is not None else ([], [])

    # compile

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None,
                loss_weights: Any = None, weighted_metrics: Any = None, run_eagerly: bool = False,
                jit_compile: Any = "auto", **old: Any) -> None:
        """Choose optimiser, loss and metrics; which layers are trainable is read now.

        Parameters
        ----------
        optimizer : str or object of ``keras.optimizers``
        loss : str, function, object, or one per output (list, or dict by output)
        metrics, weighted_metrics : list of names, functions or objects of ``keras.metrics``
            Of several outputs: a list of lists, or a dict by output.
        loss_weights : list or dict, optional
            Of several outputs' losses.
        """
        known("compile", old, "auto_scale_loss", "steps_per_execution")
        self.optimizer = optimizers.get(optimizer)
        self.optimizer.inner = None
        self.given = {"loss": loss, "metrics": metrics, "loss_weights": loss_weights,
                      "weighted_metrics": weighted_metrics}
        outputs = self.names()[1]
        self.loss_functions = None if loss is None else tuple(
            losses.get(v) for v in by_output("loss", loss, outputs))
        self.loss_weights = None if loss_weights is None else tuple(
            by_output("loss_weights", loss_weights, outputs))
        self.scorers = Scorers(metrics, weighted_metrics, outputs)
        self.chosen: Chosen | None = None
        if self.built:  # type: ignore[attr-defined]
            self.choose()
        self.stepper = None if run_eagerly or jit_compile is False else jit(self.learn)

    def choose(self) -> None:
        """Give the optimiser the parameters that are trainable now."""
        chosen: list[Tensor] = list({id(s.tensor): s.tensor for s in self.learned()  # type: ignore
                       if isinstance(s.tensor, Parameter)}.values())
        self.chosen = Chosen(chosen)
        if chosen:
            self.optimizer.bind(chosen)

    @property
    def metrics_names(self) -> list[str]:
        """The names of the loss and of what ``evaluate`` returns besides."""
        return ["loss", *(name for name, _, _, _ in self.scorers.rows)]

    # one batch

    def outputs_of(self, xs: list[Tensor]) -> tuple[list[Tensor], Any]:
        """Return all outputs, and the mask of the first."""
        graph = getattr(self, "graph", None)
        if graph is not None:
            y, mask = graph.run(xs)
        else:
            y, mask = self(xs if len(xs) > 1 else xs[0]), None
        return flatten(y), mask

    def total_loss(self, ys: list[Tensor], outputs: list[Tensor], weight: Any, mask: Any
                   ) -> tuple[Any, list[Any]]:
        """Return the sum of the outputs' losses and of the penalties, and each output's loss."""
        functions = self.loss_functions
        if functions is None:
            raise ParameterError(say("fit", "a loss", "none", 'Use compile(loss="mse")'))
        if len(functions) == 1:
            functions *= len(outputs)
        if not len(functions) == len(outputs) == len(ys):
            raise ShapeError(say("fit", f"a loss and a target for each of {len(outputs)} outputs",
                                 f"{len(functions)} and {len(ys)}", "Pass lists of that length"))
        total: Any = 0.0
        parts = []
        for i, (function, y, p) in enumerate(zip(functions, ys, outputs, strict=True)):
            found = function.call(y, p) if isinstance(function, losses.Loss) else function(y, p)
            kind = function.reduction if isinstance(function, losses.Loss) else "mean"
            parts.append(losses.reduced(found, weight, kind, mask if i == 0 else None))
            share = 1.0 if self.loss_weights is None else self.loss_weights[i]
            total = total + (parts[-1] if share == 1.0 else parts[-1] * share)
        for penalty in self.penalties():  # type: ignore[attr-defined]
            total = total + penalty
        return total, parts

    def learn(self, xs: list[Tensor], ys: list[Tensor], weight: Any
              ) -> tuple[Tensor, list[Any], list[Any]]:
        """Compute loss and gradients of the chosen parameters, and step."""
        outputs, mask = self.outputs_of(xs)
        loss, parts = self.total_loss(ys, outputs, weight, mask)
        parameters = self.chosen.parameters  # type: ignore[union-attr]
        if not parameters or loss.node is None:
            raise GraphError(say("fit", "a parameter that is learned", "none",
                                 "Set trainable=True before compile"))
        found = gradients([loss], parameters, [None])
        drop(parameters)
        for p, g in zip(parameters, found, strict=True):
            p.grad = g
        self.optimizer.step()
        drop(parameters)
        return (loss.detach(), [part.detach() for part in parts] if len(parts) > 1 else [],
                [y.detach() for y in outputs])

    def train_step(self, xs: Arrays, ys: Arrays, weight: Any) -> tuple[list[float], Arrays]:
        """Train on a batch; return the losses, the whole one first, and the outputs."""
        self.train()
        self.optimizer.before_step()
        if self.chosen is None:
            self.build_for(xs)
        tensors = _tensors(xs, ys, weight)
        try:
            loss, parts, outputs = (self.stepper or self.learn)(*tensors)
        except GraphError as error:  # a layer of one's own looks at values, for example
            if self.stepper is None:
                raise
            self.stepper = None
            print(f"note: trained step by step, not as a plan: {error}", file=sys.stderr)
            loss, parts, outputs = self.learn(*tensors)
        self.constrain()  # type: ignore[attr-defined]
        return [loss.item(), *(part.item() for part in parts)], [y.data for y in outputs]

    def build_for(self, xs: Arrays) -> None:
        """Make parameters that wait for an input, then choose those that are learned."""
        if not self.built:  # type: ignore[attr-defined]
            with no_grad(), self.switched(False):  # type: ignore[attr-defined]
                self.outputs_of([Tensor(a[:1]) for a in xs])
        self.choose()

    def test_step(self, xs: Arrays, ys: Arrays, weight: Any) -> tuple[list[float], Arrays]:
        """Return losses and outputs of a batch, without training."""
        self.eval()
        with no_grad():
            tensors = _tensors(xs, ys, weight)
            outputs, mask = self.outputs_of(tensors[0])
            loss, parts = self.total_loss(tensors[1], outputs, tensors[2], mask)
        return ([float(loss.item()), *(part.item() for part in parts if len(parts) > 1)],
                [y.data for y in outputs])

    def ready(self, where: str) -> None:
        """Say so if compile has not been called."""
        if self.optimizer is None:
            raise ParameterError(say(where, "a compiled model", "compile has not been called",
                                     'Use compile(optimizer="adam", loss=...)'))

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                       class_weight: Any = None, return_dict: bool = False) -> Any:
        """Train on one batch; return the loss, or [loss, metrics...]."""
        try:
            return self._on_batch("train_on_batch", self.train_step, x, y, sample_weight,
                                  class_weight, return_dict)
        finally:
            self.eval()

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                      return_dict: bool = False) -> Any:
        """Return the loss of one batch, or [loss, metrics...]."""
        return self._on_batch("test_on_batch", self.test_step, x, y, sample_weight, None,
                              return_dict)

    def _on_batch(self, where: str, step: Any, x: Any, y: Any, sample_weight: Any,
                  class_weight: Any, return_dict: bool) -> Any:
        self.ready(where)
        names = self.names()
        xs, ys = arrays_of(where, "x", x, names[0]), arrays_of(where, "y", y, names[1])
        weight = weights_of(where, ys, sample_weight, class_weight)
        meter = Meter(self.scorers)
        losses, outputs = step(xs, ys, weight)
        meter.add(losses, outputs, ys, weight)
        return meter.told(return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch as arrays."""
        return self.predict(x, batch_size=len(arrays_of("predict", "x", x, self.names()[0])[0]),
                            verbose=0)

    # many batches

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1,
            verbose: Any = "auto", callbacks: Any = None, validation_split: float = 0.0,
            validation_data: Any = None, shuffle: bool = True, class_weight: Any = None,
            sample_weight: Any = None, initial_epoch: int = 0,
            steps_per_epoch: int | None = None, validation_steps: int | None = None,
            validation_batch_size: int | None = None, validation_freq: int = 1,
            **old: Any) -> History:
        """Train for some epochs; see Keras's ``Model.fit``.

        ``x`` is an array, a list or dict of arrays (one per input), an iterable of batches (x, y)
        or (x, y, weight), or a ``keras.utils.PyDataset``. ``validation_split`` takes the last part
        of the samples, before shuffling.

        Returns
        -------
        History
            ``history["loss"]``, ``history["val_loss"]``, ...: a value per epoch.
        """
        self.ready("fit")
        known("fit", old)
        size = batch_size or 32
        source = Batches("fit", x, y, sample_weight, class_weight, size, self.names(),
                         steps_per_epoch)
        held: Batches | None = None
        if validation_data is not None:
            vx, vy, vw = triple("validation_data", validation_data) if isinstance(
                validation_data, (tuple, list)) else (validation_data, None, None)
            held = Batches("evaluate", vx, vy, vw, None, validation_batch_size or size,
                           self.names(), validation_steps)
        elif validation_split:
            held = source.cut(validation_split)
        if epochs < 1 or size < 1 or (source.arrays is not None and not len(source)):
            raise ParameterError(say("fit", "epochs, batch_size and samples of 1 or more",
                                     f"{epochs}, {size}", "Check the arguments"))
        progress = Progress(1 if verbose == "auto" else int(verbose), epochs, len(source))
        record = History()
        hooks = [*self.hooked(callbacks, {"epochs": epochs, "verbose": progress.verbose,
                                          "steps": len(source) or None}), record]
        record.set_model(self)
        record.set_params({"epochs": epochs, "verbose": progress.verbose,
                           "steps": len(source) or None})
        self.stop_training = False
        self.history = record
        call(hooks, "on_train_begin")
        seed = me.random.integers(0, 2**31 - 1, (1,)).item() if shuffle else 0
        for epoch in range(initial_epoch, epochs):
            progress.begin(epoch)
            call(hooks, "on_epoch_begin", epoch)
            logs = self._epoch(source, shuffle, seed, epoch, hooks, progress)
            if held is not None and (epoch + 1) % validation_freq == 0:
                found = self._evaluate(held, hooks)
                logs |= {f"val_{name}": value for name, value in found.items()}
            progress.end(logs)
            call(hooks, "on_epoch_end", epoch, dict(sorted(logs.items())))
            if self.stop_training:
                break
        call(hooks, "on_train_end")
        self.eval()
        return record

    def hooked(self, callbacks: Any, params: dict[str, Any]) -> list[Callback]:
        """Return callbacks as a list, each told about the model."""
        hooks = flatten([] if callbacks is None else callbacks)
        for hook in hooks:
            if not isinstance(hook, Callback):
                raise ParameterError(say("fit", "callbacks of keras.callbacks",
                                         type(hook).__name__, "Derive from keras Callback"))
            hook.set_model(self)
            hook.set_params(params)
        return hooks

    def _epoch(self, source: Batches, shuffle: bool, seed: int, epoch: int,
               hooks: Sequence[Callback], progress: Progress) -> dict[str, Any]:
        """Train on the batches of an epoch; return its values."""
        meter = Meter(self.scorers)
        watched = any(hook.watches_batches() for hook in hooks)
        for number, (xs, ys, weight) in enumerate(source.epoch(shuffle, seed, epoch)):
            call(hooks, "on_train_batch_begin", number)
            meter.add(*self.train_step(xs, ys, weight), ys, weight)
            progress.step()
            if watched:
                call(hooks, "on_train_batch_end", number, meter.logs())
            if self.stop_training:
                break
        if not meter.count:
            raise DataError(say("fit", "one batch or more", "none", "Check the iterable"))
        return meter.logs()

    def _evaluate(self, source: Batches, hooks: Sequence[Callback]) -> dict[str, Any]:
        """Return the values of all batches."""
        meter = Meter(self.scorers)
        call(hooks, "on_test_begin")
        for number, (xs, ys, weight) in enumerate(source.epoch()):
            call(hooks, "on_test_batch_begin", number)
            meter.add(*self.test_step(xs, ys, weight), ys, weight)
            call(hooks, "on_test_batch_end", number)
        if not meter.count:
            raise DataError(say("evaluate", "one sample or more", "none", "Check the data"))
        logs = meter.logs()
        call(hooks, "on_test_end", logs)
        return logs

    def evaluate(self, x: Any = None, y: Any = None, batch_size: int | None = None,
                 verbose: Any = "auto", sample_weight: Any = None, steps: int | None = None,
                 callbacks: Any = None, return_dict: bool = False, **old: Any) -> Any:
        """Return the loss, or [loss, metrics...] (``return_dict``: by name), of samples."""
        self.ready("evaluate")
        known("evaluate", old)
        source = Batches("evaluate", x, y, sample_weight, None, batch_size or 32, self.names(),
                         steps)
        progress = Progress(1 if verbose == "auto" else int(verbose), 0, len(source))
        progress.begin(0)
        logs = self._evaluate(source, self.hooked(callbacks, {}))
        progress.end(logs)
        return logs if return_dict else listed(logs)

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto",
                steps: int | None = None, callbacks: Any = None, **old: Any) -> Any:
        """Return the outputs as an array, or a list or dict of arrays of several outputs."""
        known("predict", old)
        hooks = self.hooked(callbacks, {})
        names = self.names()[0]
        if isinstance(x, (np.ndarray, Tensor, list, tuple, dict)) or hasattr(x, "__array__"):
            xs = arrays_of("predict", "x", x, names)
            size = batch_size or 32
            given: Any = ([a[i: i + size] for a in xs] for i in range(0, max(len(xs[0]), 1), size))
        else:  # batches of x, or of (x, y), of which y is not looked at
            many = (x[i] for i in range(len(x))) if isinstance(x, PyDataset) else iter(x)
            given = (arrays_of("predict", "x", b[0] if isinstance(b, tuple) else b, names)
                     for _, b in zip(range(steps or sys.maxsize), many, strict=False))
        parts: list[list[np.ndarray]] = []
        self.eval()
        call(hooks, "on_predict_begin")
        with no_grad():
            for number, batch in enumerate(given):
                call(hooks, "on_predict_batch_begin", number)
                parts.append([y.data for y in self.outputs_of([Tensor(a) for a in batch])[0]])
                call(hooks, "on_predict_batch_end", number)
        call(hooks, "on_predict_end")
        found = [np.concatenate(part) for part in zip(*parts, strict=True)]
        graph = getattr(self, "graph", None)
        if graph is not None:
            return graph.shaped(found)
        return found if len(found) > 1 else found[0]


class Chosen:
    """The parameters that were trainable at compile; not a list, so that they are not searched."""

    def __init__(self, parameters: list[Tensor]):
        self.parameters = parameters


def known(where: str, given: dict[str, Any], *more: str) -> None:
    """Refuse arguments that Keras does not have; what only says how fast, is passed over."""
    wrong = sorted(set(given) - {"workers", "use_multiprocessing", "max_queue_size", *more})
    if wrong:
        raise ParameterError(say(where, "arguments of Keras's", ", ".join(wrong),
                                 "Correct the name"))


def _tensors(xs: Arrays, ys: Arrays, weight: Any) -> tuple[list[Tensor], list[Tensor], Any]:
    return ([Tensor(a) for a in xs], [Tensor(a) for a in ys],
            None if weight is None else Tensor(weight))


def call(hooks: Sequence[Callback], name: str, *arguments: Any) -> None:
    """Call a method of all callbacks."""
    for hook in hooks:
        getattr(hook, name)(*arguments)
