"""What ``compile`` sets: optimiser, loss and metrics, from names or objects."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from .. import functional, optim
from ..errors import DataError, ParameterError, ShapeError, say
from ..nn import Module, Sequential, Sigmoid, Softmax
from ..tensor import Tensor
from .metrics import metric, sigmoid

__all__ = ["Compiled", "Loss", "compiled_of"]


class Kind(NamedTuple):
    """How a loss reads the outputs of a model and its targets."""

    function: str  # in functional
    labels: bool = False  # targets are class numbers (or one probability per class)
    link: str = ""  # outputs to probabilities: "softmax", "sigmoid", "exp", "" as they are


LOSSES = {
    "cross_entropy": Kind("cross_entropy", True, "softmax"),
    "nll": Kind("nll_loss", True, "exp"),
    "bce": Kind("binary_cross_entropy"),
    "bce_with_logits": Kind("binary_cross_entropy_with_logits", link="sigmoid"),
    "mse": Kind("mse_loss"),
    "l1": Kind("l1_loss"),
    "smooth_l1": Kind("smooth_l1_loss"),
    "huber": Kind("huber_loss"),
    "kl_div": Kind("kl_div"),
    "hinge": Kind("hinge_loss"),
    "focal": Kind("focal_loss", link="sigmoid"),
    "dice": Kind("dice_loss"),
    "tversky": Kind("tversky_loss"),
}
BY_NAME = {**LOSSES, **{kind.function: kind for kind in LOSSES.values()}}
BY_MODULE = {"CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll", "BCELoss": "bce",
             "BCEWithLogitsLoss": "bce_with_logits", "MSELoss": "mse", "L1Loss": "l1",
             "SmoothL1Loss": "smooth_l1", "HuberLoss": "huber", "KLDivLoss": "kl_div",
             "HingeLoss": "hinge", "FocalLoss": "focal", "DiceLoss": "dice",
             "TverskyLoss": "tversky"}
OPTIMIZERS = {name.lower(): name for name in (
    "SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Lion",
    "LBFGS")}


def unknown(what: str, given: Any, names: Sequence[str]) -> ParameterError:
    """Return the error for a name that is none of the known ones, with the nearest."""
    close = get_close_matches(str(given).lower(), names, 1)
    return ParameterError(say(
        "compile", f"{what}: {', '.join(names)}", repr(given),
        f"Did you mean {close[0]!r}?" if close else "Use one of these names"))


def as_output(value: Any) -> Tensor:
    """Return what a model gave if it is a tensor of samples, or say that it has to be."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        got = "a single number" if isinstance(value, Tensor) else type(value).__name__
        raise ShapeError(say("fit", "a model that returns one tensor (N, ...)", got,
                             "Wrap it in a module that picks one, or write the loop by hand"))
    return value


class Loss:
    """A loss as fit uses it: on a batch, per sample where weights are given.

    Parameters
    ----------
    given : str, Module or callable
        A name of ``LOSSES`` or of a function in ``functional``, a loss module, or a function
        ``f(outputs, targets)``.
    """

    def __init__(self, given: Any):
        self.given = given
        self.kind: Kind | None = None
        if isinstance(given, str):
            self.kind = BY_NAME.get(given)
            if self.kind is None:
                raise unknown("a loss", given, list(LOSSES))
            self.call: Callable[..., Any] = getattr(functional, self.kind.function)
        elif callable(given) and not inspect.isclass(given):
            names = [BY_MODULE.get(kind.__name__) for kind in type(given).__mro__]
            name = next(filter(None, names), getattr(given, "__name__", ""))
            self.kind = BY_NAME.get(name)
            self.call = given
        elif inspect.isclass(given) and issubclass(given, Module):
            raise ParameterError(say("compile", "a loss", f"the class {given.__name__}",
                                     f"Make one: loss={given.__name__}()"))
        else:
            raise unknown("a loss", given, list(LOSSES))

    @property
    def labels(self) -> bool:
        """Whether targets are class numbers."""
        return self.kind is not None and self.kind.labels

    def targets(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the targets in the shape and dtype that the loss wants for these outputs."""
        if self.kind is None:
            return y
        if self.labels:
            if y.ndim == output.ndim and y.shape[-1] == 1 and y.dtype.kind in "iub":
                y = y[..., 0]  # a column of class numbers
            return y.astype(np.int64) if y.dtype.kind == "b" else y
        if output.ndim == y.ndim + 1 and output.shape[-1] == 1:
            y = y[..., None]
        elif y.ndim == output.ndim + 1 and y.shape[-1] == 1:
            y = y[..., 0]
        if y.shape != output.shape:
            raise ShapeError(say(self.kind.function, "targets of the outputs' shape", y.shape,
                                 f"Give the model {y.shape[-1] if y.ndim > 1 else 1} outputs, "
                                 "or reshape the targets",
                                 {"outputs": output.shape, "targets": y.shape}))
        return y if y.dtype == output.dtype else y.astype(output.dtype)

    def check_range(self, output: Tensor, y: np.ndarray) -> None:
        """Refuse class numbers that the model has no output for, with their row."""
        if not self.labels or y.dtype.kind not in "iu" or not y.size:
            return
        ignored = getattr(self.given, "ignore_index", -100)
        count = output.shape[-1]
        wrong = ((y < 0) | (y >= count)) & (y != ignored)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            where = f"sample {place[0]}" + (f", position {place[1:]}" if len(place) > 1 else "")
            raise DataError(say(
                "fit", f"class numbers from 0 to {count - 1}", f"{y[place]} at {where}",
                f"Number the classes from 0, or give the model {int(y.max()) + 1} outputs"
                if y[place] >= count else "Number the classes from 0"))

    def __call__(self, output: Tensor, y: Tensor, shares: Tensor | None = None) -> Any:
        """Return the mean loss of a batch, or ``sum(share l)`` with shares w / sum(w)."""
        y = self.targets(output, y)
        if shares is None:
            loss = self.call(output, y)
            if not isinstance(loss, Tensor) or loss.size != 1:
                got = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
                raise ShapeError(say("loss", "one number as a tensor", got,
                                     "Reduce it with .mean()"))
            return loss
        losses = self.per_sample(output, y)
        return (losses * shares.astype(losses.dtype)).sum()

    def per_sample(self, output: Tensor, y: Tensor) -> Any:
        """Return the losses of the samples, shape (N,)."""
        if isinstance(self.given, Module):
            call: Any = copy.copy(self.given)
            call.reduction = "none"
            losses = call(output, y)
        elif self.kind is not None:
            losses = self.call(output, y, reduction="none")
        else:
            losses = self.call(output, y)
        n = output.shape[0]
        if losses.ndim == 0 or losses.shape[0] != n:
            raise ShapeError(say("loss", f"one loss per sample ({n}) for weights", losses.shape,
                                 "Use a loss by name, or one that returns losses of shape (N,)"))
        return losses if losses.ndim == 1 else losses.reshape((n, -1)).mean(axis=1)

    def scored(self, output: np.ndarray, y: np.ndarray, weight: np.ndarray | None
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return labels, probabilities and weights as metrics take them.

        Of sequences and images (N, ..., C) every position counts, without the ignored ones.
        """
        p = self.probabilities(output)
        if not self.labels or y.dtype.kind not in "iub":
            return y, p, weight
        if p.ndim > 2:
            if weight is not None:
                weight = np.broadcast_to(weight.reshape(-1, *[1] * (y.ndim - 1)), y.shape).ravel()
            y, p = y.reshape(-1), p.reshape(-1, p.shape[-1])
        known = y.reshape(-1) != getattr(self.given, "ignore_index", -100)
        if known.all():
            return y, p, weight
        return y[known], p[known], None if weight is None else weight[known]

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        """Return what metrics score: logits as probabilities (in float64), the rest as it is."""
        link = self.kind.link if self.kind is not None else ""
        if not link:
            return output
        if link == "sigmoid":
            return sigmoid(output)
        z = output.astype(np.float64)
        if link == "softmax":
            z = z - z.max(axis=-1, keepdims=True)
        e = np.exp(z)
        return e / e.sum(axis=-1, keepdims=True) if link == "softmax" else e


class Compiled:
    """Optimiser, loss and metrics of a module.

    An optimiser given by name is made when fitting starts, because a layer may still have to see
    its first batch to know its size.
    """

    def __init__(self, optimizer: Any, loss: Any, metrics: Sequence[Any]):
        self.options: dict[str, Any] = {}
        if isinstance(optimizer, dict):
            self.options = {key: value for key, value in optimizer.items() if key != "name"}
            optimizer = optimizer.get("name", "")
        if isinstance(optimizer, str):
            if optimizer.lower() not in OPTIMIZERS:
                raise unknown("an optimizer", optimizer, list(OPTIMIZERS))
            kind = getattr(optim, OPTIMIZERS[optimizer.lower()])
            known = list(inspect.signature(kind).parameters)[1:]
            for name in self.options:
                if name not in known:
                    raise unknown(f"an option of {kind.__name__}", name, known)
        elif inspect.isclass(optimizer) or not hasattr(optimizer, "step"):
            raise unknown("an optimizer", getattr(optimizer, "__name__", optimizer),
                          list(OPTIMIZERS))
        self.given = optimizer
        self.optimizer = None if isinstance(optimizer, str) else optimizer
        self.loss = Loss(loss)
        given = [metrics] if isinstance(metrics, str) or callable(metrics) else list(metrics)
        self.metrics = dict(metric(m) for m in given)
        self.history: Any = None  # of the last run

    def scores(self, output: np.ndarray, y: np.ndarray, weight: np.ndarray | None
               ) -> dict[str, float]:
        """Return the metrics of outputs; NaN each where an output is not finite."""
        if not self.metrics or not np.isfinite(output).all():
            return dict.fromkeys(self.metrics, float("nan"))
        y, p, weight = self.loss.scored(output, y, weight)
        options = {} if weight is None else {"sample_weight": weight}
        return {name: float(function(y, p, **options))
                for name, function in self.metrics.items()}

    def ready_optimizer(self, model: Module) -> Any:
        """Return the optimiser, made over the model's parameters if it was a name."""
        if self.optimizer is None:
            kind = getattr(optim, OPTIMIZERS[self.given.lower()])
            self.optimizer = kind(model.parameters(), **self.options)
        return self.optimizer

    def settings(self) -> dict[str, Any]:
        """Return what can be said in JSON; None for an object that has no name."""
        loss, optimizer = self.loss.given, self.optimizer
        name = type(optimizer).__name__.lower() if optimizer is not None else self.given.lower()
        options = self.options
        if optimizer is not None:
            options = {key: optimizer.param_groups[0][key] for key in optimizer.defaults}
        return {
            "optimizer": {"name": name, **options} if name in OPTIMIZERS else None,
            "loss": loss if isinstance(loss, str) else self.loss.kind and next(
                name for name, kind in LOSSES.items() if kind is self.loss.kind),
            "metrics": list(self.metrics),
        }


def compile_module(self: Module, optimizer: Any = "adam", loss: Any = "cross_entropy",
                   metrics: Any = ()) -> Module:
    """Choose how ``fit`` trains this module; returns the module.

    Parameters
    ----------
    optimizer : str, dict or optimiser
        ``"adam"``, ``"sgd"``, ... with its defaults; ``{"name": "adam", "lr": 0.01}``; or an
        object over this module's parameters.
    loss : str, module or callable
        ``"cross_entropy"``, ``"bce_with_logits"``, ``"mse"``, ..., or ``f(outputs, targets)``.
    metrics : list of str or callable
        ``"accuracy"``, ``"auc"``, ..., or ``f(y, p)`` on labels and probabilities (see
        ``training.metrics``).

    Raises
    ------
    ParameterError
        For an unknown name, or a model that ends in the activation which the loss applies itself.

    Examples
    --------
    >>> import medai_engine as me
    >>> model = me.nn.Linear(30, 2).compile("adam", "cross_entropy", ["accuracy"])
    """
    compiled = Compiled(optimizer, loss, metrics)
    check_head(self, compiled.loss)
    self.compiled = compiled  # type: ignore[attr-defined]
    return self


def check_head(module: Module, loss: Loss) -> None:
    """Refuse a model that ends in the activation which its loss applies: training would suffer."""
    last = module
    while isinstance(last, Sequential) and len(last):
        last = last[-1]
    link = loss.kind.link if loss.kind is not None else ""
    applied = {"softmax": Softmax, "sigmoid": Sigmoid}.get(link)
    if loss.kind is not None and applied is not None and isinstance(last, applied):
        instead = "LogSoftmax with loss 'nll'" if link == "softmax" else "loss 'bce'"
        raise ParameterError(say(
            "compile", f"logits for {loss.kind.function}, which applies {link} itself",
            f"a model that ends in {type(last).__name__}",
            f"Leave that layer out, or use {instead}"))


def compiled_of(module: Module, where: str) -> Compiled:
    """Return what ``compile`` set, or say that it has to be called."""
    found = getattr(module, "compiled", None)
    if found is None:
        raise ParameterError(say(where, "a compiled module", f"{type(module).__name__} without "
                                 "compile", 'Call model.compile("adam", "cross_entropy") first'))
    return found


Module.compile = compile_module  # type: ignore[attr-defined]
