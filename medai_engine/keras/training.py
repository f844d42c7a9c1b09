"""compile, fit, evaluate, predict, as Keras calls them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..autograd import drop, gradients
from ..data.loader import DataLoader, order
from ..errors import DataError, GraphError, ParameterError, ShapeError, say
from ..jit import jit
from ..mode import no_grad
from ..nn import Module
from ..tensor import Tensor, mark_written
from ..training.inputs import check_finite
from . import losses, metrics, optimizers
from .backend import me
from .callbacks import Callback, History
from .engine import flatten

__all__ = ["Trainer"]

Arrays = list[np.ndarray]


def arrays_of(where: str, name: str, value: Any) -> Arrays:
    """Return inputs or targets as arrays, floats in float32, all of one length."""
    found = []
    for part in value if isinstance(value, (list, tuple)) and len(value) and not np.isscalar(
            value[0]) and hasattr(value[0], "shape") else [value]:
        array = part.data if isinstance(part, Tensor) else np.asarray(part)
        if array.dtype.kind not in "biuf":
            raise DataError(say(where, f"{name} of numbers", f"dtype {array.dtype}",
                                "Encode text as numbers first"))
        if array.dtype.kind == "f":
            array = array.astype(np.float32, copy=False)
        found.append(array)
    lengths = {len(a) if a.ndim else 0 for a in found}
    if len(lengths) > 1:
        raise ShapeError(say(where, f"{name} of one length", sorted(lengths),
                             "Give every sample one row in each array"))
    return found


class Trainer(Module):
    """What a model needs to be trained."""

    optimizer: Any = None
    stepper: Any = None
    stop_training = False
    history: Any = None

    def touch(self) -> None:
        """Note that weights have been written."""
        for slot in self.slots():  # type: ignore[attr-defined]
            mark_written(slot.tensor)

    # compile

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None,
                loss_weights: Any = None, weighted_metrics: Any = None, run_eagerly: bool = False,
                jit_compile: Any = "auto", **_: Any) -> None:
        """Choose optimiser, loss and metrics; which layers are trainable is read now.

        Parameters
        ----------
        optimizer : str or object of ``keras.optimizers``
        loss : str, function, object, or one per output (list or dict by output layer)
        metrics : list of names, functions or objects of ``keras.metrics``
        loss_weights : list, optional
            Of several outputs' losses.
        """
        self.optimizer = optimizers.get(optimizer)
        self.optimizer.inner = None
        self.given = (optimizer, loss, metrics)
        self.loss_functions = None if loss is None else tuple(
            losses.get(v) for v in (loss.values() if isinstance(loss, dict)
                                    else loss if isinstance(loss, (list, tuple)) else [loss]))
        self.loss_weights = None if loss_weights is None else tuple(
            loss_weights.values() if isinstance(loss_weights, dict) else loss_weights)
        given = list(metrics.values()) if isinstance(metrics, dict) else flatten(
            [] if metrics is None else metrics)
        self.metric_functions = tuple(_metric(v) for group in given for v in flatten(group))
        self.chosen: Chosen | None = None
        if self.built:  # type: ignore[attr-defined]
            self.choose()
        self.stepper = None if run_eagerly or jit_compile is False else jit(self.learn)

    def compiled_config(self) -> dict[str, Any] | None:
        """Return how the model was compiled, where that can be said by names."""
        if self.optimizer is None:
            return None
        _, loss, wanted = self.given
        names = [flatten(v) for v in ([] if loss is None else loss, wanted or [])]
        if not all(isinstance(v, str) for group in names for v in group):
            return None
        return {"optimizer": type(self.optimizer).__name__.lower(), "loss": loss,
                "metrics": wanted}

    def choose(self) -> None:
        """Give the optimiser the parameters that are trainable now."""
        chosen = list({id(t): t for t in self.trainable_weights}.values())  # type: ignore
        self.chosen = Chosen(chosen)
        if chosen:
            self.optimizer.bind(chosen)

    # one batch

    def outputs_of(self, xs: list[Tensor]) -> tuple[list[Tensor], Any]:
        """Return all outputs, and the mask of the first."""
        graph = getattr(self, "graph", None)
        if graph is not None:
            y, mask = graph.run(xs)
        else:
            y, mask = self(xs if len(xs) > 1 else xs[0]), None
        return flatten(y), mask

    def total_loss(self, ys: list[Tensor], outputs: list[Tensor], weight: Any, mask: Any) -> Any:
        """Return the weighted sum of the outputs' losses, and what regularizers add."""
        functions = self.loss_functions
        if functions is None:
            raise ParameterError(say("fit", "a loss", "none", 'Use compile(loss="mse")'))
        if len(functions) == 1:
            functions *= len(outputs)
        if not len(functions) == len(outputs) == len(ys):
            raise ShapeError(say("fit", f"a loss and a target for each of {len(outputs)} outputs",
                                 f"{len(functions)} and {len(ys)}", "Pass lists of that length"))
        total: Any = 0.0
        for i, (function, y, p) in enumerate(zip(functions, ys, outputs, strict=True)):
            found = function.call(y, p) if isinstance(function, losses.Loss) else function(y, p)
            kind = function.reduction if isinstance(function, losses.Loss) else "mean"
            value = losses.reduced(found, weight, kind, mask if i == 0 else None)
            total = total + (value if self.loss_weights is None else value * self.loss_weights[i])
        for penalty in self.penalties():  # type: ignore[attr-defined]
            total = total + penalty
        return total

    def learn(self, xs: list[Tensor], ys: list[Tensor], weight: Any) -> tuple[Tensor, list[Any]]:
        """Compute loss and gradients of the chosen parameters, and step."""
        outputs, mask = self.outputs_of(xs)
        loss = self.total_loss(ys, outputs, weight, mask)
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
        return loss.detach(), [y.detach() for y in outputs]

    def train_step(self, xs: Arrays, ys: Arrays, weight: Any) -> tuple[float, Arrays]:
        """Train on a batch; return loss and outputs."""
        self.train()
        self.optimizer.before_step()
        if self.chosen is None:
            self.build_for(xs)
        tensors = _tensors(xs, ys, weight)
        if self.stepper is not None:
            try:
                loss, outputs = self.stepper(*tensors)
                return loss.item(), [y.data for y in outputs]
            except GraphError as error:  # a layer of one's own looks at values, for example
                self.stepper = None
                print(f"note: trained step by step, not as a plan: {error}", file=sys.stderr)
        loss, outputs = self.learn(*tensors)
        return loss.item(), [y.data for y in outputs]

    def build_for(self, xs: Arrays) -> None:
        """Make parameters that wait for an input, then choose those that are learned."""
        if not self.built:  # type: ignore[attr-defined]
            with no_grad():
                self.outputs_of([Tensor(a[:1]) for a in xs])
        self.choose()

    def test_step(self, xs: Arrays, ys: Arrays, weight: Any) -> tuple[float, Arrays]:
        """Return loss and outputs of a batch in evaluation mode."""
        self.eval()
        with no_grad():
            tensors = _tensors(xs, ys, weight)
            outputs, mask = self.outputs_of(tensors[0])
            loss = self.total_loss(tensors[1], outputs, tensors[2], mask)
        return float(loss.item()), [y.data for y in outputs]

    def score(self, ys: Arrays, outputs: Arrays) -> dict[str, float]:
        """Return the metrics of the first output."""
        return {name: function(ys[0], outputs[0]) for name, function in self.metric_functions}

    def ready(self, where: str) -> None:
        """Say so if compile has not been called."""
        if self.optimizer is None:
            raise ParameterError(say(where, "a compiled model", "compile has not been called",
                                     'Use compile(optimizer="adam", loss=...)'))

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                       class_weight: Any = None, return_dict: bool = False) -> Any:
        """Train on one batch; return the loss, or [loss, metrics...]."""
        return self._on_batch("train_on_batch", self.train_step, x, y, sample_weight, class_weight,
                              return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                      return_dict: bool = False) -> Any:
        """Return the loss of one batch, or [loss, metrics...]."""
        return self._on_batch("test_on_batch", self.test_step, x, y, sample_weight, None,
                              return_dict)

    def _on_batch(self, where: str, step: Any, x: Any, y: Any, sample_weight: Any,
                  class_weight: Any, return_dict: bool) -> Any:
        self.ready(where)
        xs, ys = arrays_of(where, "x", x), arrays_of(where, "y", y)
        loss, outputs = step(xs, ys, _weight(where, ys, sample_weight, class_weight))
        logs = {"loss": loss, **self.score(ys, outputs)}
        if return_dict:
            return logs
        return list(logs.values()) if self.metric_functions else loss

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch as arrays."""
        return self.predict(x, batch_size=len(arrays_of("predict", "x", x)[0]), verbose=0)

    # many batches

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1,
            verbose: Any = "auto", callbacks: Any = None, validation_split: float = 0.0,
            validation_data: Any = None, shuffle: bool = True, class_weight: Any = None,
            sample_weight: Any = None, initial_epoch: int = 0,
            steps_per_epoch: int | None = None, validation_batch_size: int | None = None,
            **_: Any) -> History:
        """Train for some epochs; see Keras's ``Model.fit``.

        ``x`` is an array, a list of arrays (one per input), or an iterable of batches (x, y) or
        (x, y, weight). ``validation_split`` takes the last part of the samples, before shuffling.

        Returns
        -------
        History
            ``history["loss"]``, ``history["val_loss"]``, ...: a value per epoch.
        """
        self.ready("fit")
        size = batch_size or 32
        held = None if validation_data is None else _triple("validation_data", validation_data)
        source: Any
        if y is None:
            source = x  # batches
        else:
            xs, ys = arrays_of("fit", "x", x), arrays_of("fit", "y", y)
            weight = _weight("fit", ys, sample_weight, class_weight)
            _same_length("fit", xs, ys)
            for array in xs:
                check_finite("fit", "x", array)
            if validation_split and held is None:
                if not 0 < validation_split < 1:
                    raise ParameterError(say("fit", "validation_split between 0 and 1",
                                             repr(validation_split), "Use 0.2"))
                cut = int(len(xs[0]) * (1 - validation_split))
                held = ([a[cut:] for a in xs], [a[cut:] for a in ys],
                        None if weight is None else weight[cut:])
                xs, ys = [a[:cut] for a in xs], [a[:cut] for a in ys]
                weight = None if weight is None else weight[:cut]
            source = (xs, ys, weight)
        if epochs < 1 or size < 1 or (isinstance(source, tuple) and not len(source[0][0])):
            raise ParameterError(say("fit", "epochs, batch_size and samples of 1 or more",
                                     f"{epochs}, {size}", "Check the arguments"))
        record = History()
        hooks = [*flatten([] if callbacks is None else callbacks), record]
        for hook in hooks:
            if not isinstance(hook, Callback):
                raise ParameterError(say("fit", "callbacks of keras.callbacks",
                                         type(hook).__name__, "Derive from keras Callback"))
            hook.set_model(self)
            hook.set_params({"epochs": epochs, "verbose": verbose, "steps": steps_per_epoch})
        self.stop_training = False
        self.history = record
        _call(hooks, "on_train_begin")
        seed = me.random.integers(0, 2**31 - 1, (1,)).item() if shuffle else 0
        for epoch in range(initial_epoch, epochs):
            started = time.perf_counter()
            _call(hooks, "on_epoch_begin", epoch)
            logs = self._epoch(source, size, shuffle, seed, epoch, hooks, steps_per_epoch)
            if held is not None:
                found = self.evaluate(held[0], held[1], validation_batch_size or size, 0, held[2],
                                      return_dict=True)
                logs |= {f"val_{name}": value for name, value in found.items()}
            if verbose:
                took = time.perf_counter() - started
                shown = " - ".join(f"{k}: {v:.4f}" for k, v in logs.items())
                print(f"Epoch {epoch + 1}/{epochs} - {took:.1f}s - {shown}", flush=True)
            _call(hooks, "on_epoch_end", epoch, logs)
            if self.stop_training:
                break
        _call(hooks, "on_train_end")
        return record

    def _epoch(self, source: Any, size: int, shuffle: bool, seed: int, epoch: int,
               hooks: Sequence[Callback], most: int | None) -> dict[str, float]:
        """Train on the batches of an epoch; return its values."""
        total, count = 0.0, 0
        kept: list[tuple[Any, Any]] = []
        for number, (xs, ys, weight) in enumerate(_batches(source, size, shuffle, seed, epoch)):
            if most is not None and number >= most:
                break
            _call(hooks, "on_train_batch_begin", number)
            loss, outputs = self.train_step(xs, ys, weight)
            n = len(xs[0])
            total, count = total + loss * n, count + n
            if self.metric_functions:
                kept.append((ys[0], outputs[0]))
            _call(hooks, "on_train_batch_end", number, {"loss": loss})
            if self.stop_training:
                break
        if not count:
            raise DataError(say("fit", "one batch or more", "none", "Check the iterable"))
        logs = {"loss": total / count}
        if kept:
            logs |= self.score(*([np.concatenate(part)] for part in zip(*kept, strict=True)))
        return logs

    def evaluate(self, x: Any = None, y: Any = None, batch_size: int | None = None,
                 verbose: Any = "auto", sample_weight: Any = None, return_dict: bool = False,
                 **_: Any) -> Any:
        """Return the loss, or [loss, metrics...] (``return_dict``: by name), of samples."""
        self.ready("evaluate")
        source: Any = x
        if y is not None:
            xs, ys = arrays_of("evaluate", "x", x), arrays_of("evaluate", "y", y)
            _same_length("evaluate", xs, ys)
            source = (xs, ys, _weight("evaluate", ys, sample_weight, None))
        total, count, kept = 0.0, 0, []
        for xs, ys, weight in _batches(source, batch_size or 256, False, 0, 0):
            loss, outputs = self.test_step(xs, ys, weight)
            total, count = total + loss * len(xs[0]), count + len(xs[0])
            kept.append((ys[0], outputs[0]))
        if not count:
            raise DataError(say("evaluate", "one sample or more", "none", "Check the data"))
        logs = {"loss": total / count,
                **self.score(*([np.concatenate(part)] for part in zip(*kept, strict=True)))}
        if verbose and verbose != "auto":
            print(" - ".join(f"{k}: {v:.4f}" for k, v in logs.items()))
        if return_dict:
            return logs
        return list(logs.values()) if self.metric_functions else logs["loss"]

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto",
                **_: Any) -> Any:
        """Return the outputs as an array, or a list of arrays of several outputs."""
        xs = arrays_of("predict", "x", x)
        size = batch_size or 32
        parts: list[list[np.ndarray]] = []
        self.eval()
        with no_grad():
            for start in range(0, max(len(xs[0]), 1), size):
                batch = [Tensor(a[start: start + size]) for a in xs]
                parts.append([y.data for y in self.outputs_of(batch)[0]])
        found = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return found if len(found) > 1 else found[0]


class Chosen:
    """The parameters that were trainable at compile; not a list, so that they are not searched."""

    def __init__(self, parameters: list[Tensor]):
        self.parameters = parameters


def _metric(given: Any) -> tuple[str, Callable[..., float]]:
    return metrics.get(given)


def _tensors(xs: Arrays, ys: Arrays, weight: Any) -> tuple[list[Tensor], list[Tensor], Any]:
    return ([Tensor(a) for a in xs], [Tensor(a) for a in ys],
            None if weight is None else Tensor(weight))


def _weight(where: str, ys: Arrays, sample_weight: Any, class_weight: Any) -> Any:
    """Return the weight of every sample, or None."""
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float32)
    if weight is not None and weight.shape[:1] != ys[0].shape[:1]:
        raise ShapeError(say(where, f"sample_weight of {len(ys[0])} samples", weight.shape,
                             "Give one weight per sample"))
    if class_weight is None:
        return weight
    y = ys[0]
    labels = y.argmax(axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y))
    own = np.array([class_weight.get(int(k), 1.0) for k in labels], np.float32)
    return own if weight is None else own * weight


def _same_length(where: str, xs: Arrays, ys: Arrays) -> None:
    if len(xs[0]) != len(ys[0]):
        raise ShapeError(say(where, f"{len(xs[0])} targets for {len(xs[0])} inputs", len(ys[0]),
                             "Give every sample a target"))


def _triple(where: str, given: Any) -> Any:
    """Return (x, y, weight) of (x, y) or (x, y, weight)."""
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        raise ParameterError(say("fit", f"{where} as (x, y)", type(given).__name__,
                                 f"Pass {where}=(x, y)"))
    return (*given, None) if len(given) == 2 else tuple(given)


def _batches(source: Any, size: int, shuffle: bool, seed: int, epoch: int
             ) -> Iterator[tuple[Arrays, Arrays, Any]]:
    """Give the batches of an epoch."""
    if isinstance(source, tuple):
        xs, ys, weight = source
        rows = order(len(xs[0]), seed, epoch, shuffle)
        for start in range(0, len(rows), size):
            part = rows[start: start + size]
            yield ([a.take(part, axis=0) for a in xs], [a.take(part, axis=0) for a in ys],
                   None if weight is None else weight[part])
        return
    if source is None or isinstance(source, (np.ndarray, Tensor)):
        raise ParameterError(say("fit", "targets y, or batches of (x, y)",
                                 type(source).__name__, "Pass fit(x, y)"))
    for found in source if not isinstance(source, DataLoader) else iter(source):
        x, y, weight = _triple("batches", found)
        yield arrays_of("fit", "x", x), arrays_of("fit", "y", y), weight


def _call(hooks: Sequence[Callback], name: str, *arguments: Any) -> None:
    for hook in hooks:
        getattr(hook, name)(*arguments)
