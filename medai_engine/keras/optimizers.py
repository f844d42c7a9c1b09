"""Optimisers with Keras's names and defaults; compiling a model gives them its parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .. import optim
from ..errors import ParameterError, say
from ..tensor import Tensor

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Nadam", "Optimizer",
           "RMSprop", "get", "schedules"]


class Schedule:
    """A learning rate that changes with the steps: ``schedule(step)``."""

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        raise ParameterError(say(type(self).__name__, "a method __call__(self, step)", "none",
                                 "Define it in the class"))


class schedules:
    """Keras's learning-rate schedules."""

    LearningRateSchedule = Schedule

    class ExponentialDecay(Schedule):
        """initial rate^(step / decay_steps)."""

        def __init__(self, initial_learning_rate: float, decay_steps: int, decay_rate: float,
                     staircase: bool = False):
            self.initial, self.steps = initial_learning_rate, decay_steps
            self.rate, self.staircase = decay_rate, staircase

        def __call__(self, step: int) -> float:
            """Return the learning rate of a step."""
            share = step / self.steps
            return self.initial * self.rate ** (math.floor(share) if self.staircase else share)

    class CosineDecay(Schedule):
        """Half a cosine from the initial value to alpha times it."""

        def __init__(self, initial_learning_rate: float, decay_steps: int, alpha: float = 0.0):
            self.initial, self.steps, self.alpha = initial_learning_rate, decay_steps, alpha

        def __call__(self, step: int) -> float:
            """Return the learning rate of a step."""
            wave = 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0)))
            return self.initial * ((1 - self.alpha) * wave + self.alpha)

    class PiecewiseConstantDecay(Schedule):
        """One of several values, by where the step lies."""

        def __init__(self, boundaries: list[int], values: list[float]):
            self.boundaries, self.values = boundaries, values

        def __call__(self, step: int) -> float:
            """Return the learning rate of a step."""
            return self.values[sum(step > b for b in self.boundaries)]


class Optimizer:
    """What all share: made without parameters, ``bind`` gives it those of a model."""

    kind: Any
    options: dict[str, Any]

    def __init__(self, learning_rate: Any, clipnorm: float | None = None,
                 clipvalue: float | None = None, global_clipnorm: float | None = None,
                 weight_decay: float | None = None, name: str | None = None, lr: Any = None,
                 decay: float = 0.0, **options: Any):
        unknown = set(options) & {"use_ema", "ema_momentum", "loss_scale_factor", "jit_compile",
                                  "gradient_accumulation_steps", "amsgrad", "centered"}
        if any(options.pop(key) for key in unknown):
            raise ParameterError(say(type(self).__name__, "the plain optimiser",
                                     ", ".join(sorted(unknown)), "Leave these options out"))
        given = learning_rate if lr is None else lr
        if decay:  # Keras 2: lr / (1 + decay step)
            base = float(given)
            given = lambda step: base / (1 + decay * step)  # noqa: E731
        self.given = given
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.options = dict(options)
        if weight_decay:
            if self.kind not in (optim.Adam, optim.AdamW, optim.Lion):
                raise ParameterError(say(type(self).__name__, "no weight_decay",
                                         repr(weight_decay), "Use AdamW, or "
                                         "kernel_regularizer=regularizers.l2(...)"))
            # decoupled, as Keras has it
            self.kind = optim.AdamW if self.kind is optim.Adam else self.kind
            self.options["weight_decay"] = weight_decay
        self.name = name or type(self).__name__.lower()
        self.iterations = 0
        self.inner: Any = None

    def bind(self, parameters: Iterable[Tensor]) -> None:
        """Take the parameters to update."""
        rate = self.given(0) if callable(self.given) else float(self.given)
        self.inner = self.kind(list(parameters), lr=rate, **self.options)

    @property
    def learning_rate(self) -> float:
        """The current learning rate; setting it changes it at once."""
        if self.inner is not None:
            return self.inner.lr
        return self.given(0) if callable(self.given) else float(self.given)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.given = value if callable(value) else float(value)
        if self.inner is not None and not callable(value):
            self.inner.lr = float(value)

    lr = learning_rate

    def before_step(self) -> None:
        """Set the scheduled learning rate, and count."""
        if callable(self.given) and self.inner is not None:
            self.inner.lr = float(self.given(self.iterations))
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
        return {"learning_rate": self.learning_rate, "name": self.name}


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum."""

    kind = optim.SGD

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False,
                 **kwargs: Any):
        super().__init__(learning_rate, momentum=momentum, nesterov=nesterov, **kwargs)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015)."""

    kind: Any = optim.Adam

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, betas=(beta_1, beta_2), eps=epsilon, **kwargs)


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    kind = optim.AdamW

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.004, **kwargs: Any):
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)


class Nadam(Adam):
    """Adam with Nesterov momentum."""

    kind = optim.NAdam


class Adamax(Adam):
    """Adam with the largest gradient in place of the mean square."""

    kind = optim.Adamax


class RMSprop(Optimizer):
    """Steps divided by the root of the mean square gradient (epsilon outside, in Keras inside)."""

    kind = optim.RMSprop

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0,
                 epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, alpha=rho, momentum=momentum, eps=epsilon, **kwargs)


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of squared gradients."""

    kind = optim.Adagrad

    def __init__(self, learning_rate: Any = 0.001, initial_accumulator_value: float = 0.1,
                 epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, initial_accumulator_value=initial_accumulator_value,
                         eps=epsilon, **kwargs)


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
