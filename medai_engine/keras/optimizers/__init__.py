"""Optimisers with Keras's names and defaults; compiling a model gives them its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np

from ... import optim
from ...errors import ParameterError, say
from ...mode import no_grad
from ...tensor import Tensor, mark_written
from ..backend import me
from . import schedules

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Nadam", "Optimizer",
           "RMSprop", "get", "schedules"]


class Rate(float):
    """A learning rate that knows where it came from: ``optimizer.learning_rate.assign(0.01)``."""

    owner: Any

    def assign(self, value: float) -> None:
        """Change the optimiser's learning rate."""
        self.owner.learning_rate = value

    def numpy(self) -> np.float32:
        """Return the number as one of NumPy's."""
        return np.float32(self)


class Optimizer:
    """What all share: made without parameters, ``bind`` gives it those of a model."""

    kind: Any
    options: dict[str, Any]
    arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Note the arguments, so that a saved model can make the optimiser again."""
        self = object.__new__(cls)
        taken = inspect.signature(cls.__init__).bind(self, *args, **kwargs).arguments
        taken.pop("self")
        self.arguments = taken | taken.pop("kwargs", {})
        return self

    def __init__(self, learning_rate: Any, clipnorm: float | None = None,
                 clipvalue: float | None = None, global_clipnorm: float | None = None,
                 weight_decay: float | None = None, name: str | None = None, lr: Any = None,
                 decay: float = 0.0, **options: Any):
        unknown = set(options) & {"use_ema", "ema_momentum", "loss_scale_factor", "jit_compile",
                                  "gradient_accumulation_steps", "ema_overwrite_frequency"}
        if any(options.pop(key) for key in unknown):
            raise ParameterError(say(type(self).__name__, "the plain optimiser",
                                     ", ".join(sorted(unknown)), "Leave these options out"))
        given = learning_rate if lr is None else lr
        if decay:  # Keras 2: lr / (1 + decay step)
            given = schedules.InverseTimeDecay(float(given), 1, decay)
        self.given = given
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.options = dict(options)
        if weight_decay:
            if self.kind not in (AdamSteps, optim.Lion):
                raise ParameterError(say(type(self).__name__, "no weight_decay",
                                         repr(weight_decay), "Use AdamW, or "
                                         "kernel_regularizer=regularizers.l2(...)"))
            self.options["weight_decay"] = weight_decay  # decoupled, as Keras has it
            if self.kind is AdamSteps:
                self.options["decoupled_weight_decay"] = True
        self.name = name or type(self).__name__.lower()
        self.iterations = 0
        self.inner: Any = None

    def bind(self, parameters: Iterable[Tensor]) -> None:
        """Take the parameters to update."""
        self.inner = self.kind(list(parameters), lr=self.planned(), **self.options)

    def planned(self) -> float:
        """Return the learning rate of the present step, by the schedule if there is one."""
        return float(self.given(self.iterations) if callable(self.given) else self.given)

    @property
    def learning_rate(self) -> Rate:
        """The current learning rate; setting it changes it at once."""
        rate = Rate(self.planned() if self.inner is None else self.inner.lr)
        rate.owner = self
        return rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.given = value if callable(value) else float(value)
        if self.inner is not None and not callable(value):
            self.change(float(value))

    lr = learning_rate

    def change(self, rate: float) -> None:
        """Give the steps another learning rate."""
        self.inner.lr = rate

    def before_step(self) -> None:
        """Set the scheduled learning rate, and count."""
        if callable(self.given) and self.inner is not None:
            self.change(self.planned())
        self.iterations += 1

    def step(self) -> None:
        """Clip and update."""
        parameters = [p for group in self.inner.param_groups for p in group["params"]]
        if self.clipnorm is not None:  # each parameter's own norm, as Keras
            for p in parameters:
                if p.grad is not None:
                    optim.clip_grad_norm_([p], self.clipnorm)
        if self.global_clipnorm is not None:
            optim.clip_grad_norm_(parameters, self.global_clipnorm)
        if self.clipvalue is not None:
            optim.clip_grad_value_(parameters, self.clipvalue)
        self.inner.step()

    def get_config(self) -> dict[str, Any]:
        """Return the options that make it again."""
        rate = self.given if callable(self.given) else float(self.learning_rate)
        return {**self.arguments, "learning_rate": rate, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make an optimiser from what ``get_config`` gave."""
        return cls(**config)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum.

    A new learning rate holds for new gradients: the velocity keeps the rates of the old ones.
    """

    kind = optim.SGD

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False,
                 **kwargs: Any):
        super().__init__(learning_rate, momentum=momentum, nesterov=nesterov and momentum > 0,
                         **kwargs)

    def change(self, rate: float) -> None:
        """Give the steps another learning rate."""
        for state in self.inner.state.values() if rate not in (0.0, self.inner.lr) else ():
            for buffer in state.values():
                if isinstance(buffer, Tensor) and buffer.ndim:
                    buffer.data *= self.inner.lr / rate  # rate times buffer stays
                    mark_written(buffer)
        super().change(rate)


class AdamSteps(optim.Adam):
    """Adam with epsilon beside the root of the uncorrected mean square, as Keras has it."""

    def advance(self, hyper: np.ndarray) -> None:
        """Set epsilon for this step: beside the corrected root it is larger at first."""
        eps, beta2, step = (self.columns.index(name) for name in ("eps", "beta2", "step"))
        hyper[:, eps] = self.defaults["eps"] / np.sqrt(1 - hyper[:, beta2] ** hyper[:, step])


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015)."""

    kind: Any = AdamSteps

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, betas=(beta_1, beta_2), eps=epsilon, **kwargs)


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.004, **kwargs: Any):
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)


class Nadam(Adam):
    """Adam with Nesterov momentum."""

    kind = optim.NAdam

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.options["momentum_decay"] = 1.0


class Adamax(Adam):
    """Adam with the largest gradient in place of the mean square."""

    kind = optim.Adamax


class RMSpropSteps:
    """Steps ``v <- rho v + (1 - rho) g^2``, ``m <- mu m + lr g / sqrt(v + eps)``, ``p <- p - m``.

    Epsilon stands inside the root, in this package's own RMSprop (and PyTorch's) beside it.
    """

    def __init__(self, parameters: list[Tensor], lr: float, alpha: float, momentum: float,
                 eps: float, centered: bool = False):
        self.alpha, self.momentum, self.eps, self.centered = alpha, momentum, eps, centered
        self.rate = me.asarray(np.float32(lr))
        self.param_groups = [{"params": parameters}]
        kept = 1 + centered + (momentum > 0)
        self.state = {p: {i: Tensor(np.zeros_like(p.data)) for i in range(kept)}
                      for p in parameters}

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self.rate.item()

    @lr.setter
    def lr(self, value: float) -> None:
        self.rate.data[...] = value
        mark_written(self.rate)

    def step(self) -> None:
        """Update all parameters that have a gradient."""
        rho = self.alpha
        with no_grad():
            for p, state in self.state.items():
                g: Any = p.grad
                if g is None:
                    continue
                v, *others = state.values()
                v.copy_(rho * v + (1 - rho) * me.square(g))
                spread: Any = v
                if self.centered:
                    mean = others.pop(0)
                    mean.copy_(rho * mean + (1 - rho) * g)
                    spread = v - me.square(mean)
                d = self.rate * g / me.sqrt(spread + self.eps)
                if others:
                    others[0].copy_(self.momentum * others[0] + d)
                    d = others[0]
                p.copy_(p - d)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of what the steps keep."""
        return {str(i): {str(k): t.data.copy() for k, t in kept.items()}
                for i, kept in enumerate(self.state.values())}

    def load_state_dict(self, given: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        for i, kept in enumerate(self.state.values()):
            for k, tensor in kept.items():
                tensor.data[...] = given[str(i)][str(k)]
                mark_written(tensor)


class RMSprop(Optimizer):
    """Steps divided by the root of the mean square gradient, epsilon inside the root."""

    kind = RMSpropSteps

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0,
                 epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, alpha=rho, momentum=momentum, eps=epsilon, **kwargs)


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of squared gradients, epsilon inside the root."""

    kind = optim.Adagrad

    def __init__(self, learning_rate: Any = 0.001, initial_accumulator_value: float = 0.1,
                 epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, eps=0.0, initial_accumulator_value=(
            initial_accumulator_value + epsilon), **kwargs)


class Adadelta(Optimizer):
    """Adagrad over a sliding window, in its own units."""

    kind = optim.Adadelta

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7,
                 **kwargs: Any):
        super().__init__(learning_rate, rho=rho, eps=epsilon, **kwargs)


class Lion(Optimizer):
    """Steps of the sign of the momentum."""

    kind = optim.Lion

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99,
                 **kwargs: Any):
        super().__init__(learning_rate, betas=(beta_1, beta_2), **kwargs)


NAMES = {kind.__name__.lower(): kind for kind in (SGD, Adam, AdamW, Nadam, Adamax, RMSprop,
                                                  Adagrad, Adadelta, Lion)}


def get(given: Any) -> Optimizer:
    """Return an optimiser for a name, or an object as it is."""
    if isinstance(given, Optimizer):
        return given
    if isinstance(given, str) and given.lower() in NAMES:
        return NAMES[given.lower()]()
    raise ParameterError(say("compile", f"an optimizer of {', '.join(NAMES)}", repr(given),
                             "Use one of these names, or optimizers.Adam(learning_rate=0.001)"))
