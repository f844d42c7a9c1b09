"""Steps divided by the root of past squared gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.optimizer import STEPS
from ..tensor import Tensor
from .optimizer import Group, Optimizer

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class RMSprop(Optimizer):
    """Gradients over the root of their running mean square.

    ``v <- alpha v + (1 - alpha) g^2``, ``d = g / (sqrt(v) + eps)``, ``p <- p - lr d``;
    ``centered``: ``c <- alpha c + (1 - alpha) g`` and ``v - c^2`` for v under the root; with
    momentum ``b <- momentum b + d``, ``p <- p - lr b``.

    Parameters
    ----------
    params : iterable
        Tensors, (name, tensor) pairs or groups (see ``Optimizer``).
    lr : float
        Learning rate.
    alpha : float
        Decay of the mean square.
    eps : float
        Added to the root.
    weight_decay : float
        Factor of the L2 penalty's gradient.
    momentum : float
        Share of the last step that is kept.
    centered : bool
        Divide by the running standard deviation instead.
    maximize : bool
        Climb instead.

    References
    ----------
    Tieleman & Hinton, lecture 6.5, 2012; Graves, Generating sequences, 2013 (centred).
    """

    rule = STEPS["rmsprop_step"]

    def __init__(self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0, momentum: float = 0, centered: bool = False, *,
                 maximize: bool = False):
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay,
                         momentum=momentum, centered=centered, maximize=maximize)

    def states(self, group: Group) -> tuple[str, ...]:
        """Return the mean square, and what ``centered`` and momentum need."""
        names = ["square_avg"]
        if group["centered"]:
            names.append("grad_avg")
        if group["momentum"]:
            names.append("momentum_buffer")
        return tuple(names)

    def row(self, group: Group) -> tuple[Any, ...]:
        """Return lr, alpha, eps, momentum, weight_decay, maximize."""
        return (group["lr"], group["alpha"], group["eps"], group["momentum"],
                group["weight_decay"], group["maximize"])


class Adagrad(Optimizer):
    """Gradients over the root of the sum of all their squares.

    ``v <- v + g^2``, ``p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps)``.

    Parameters
    ----------
    params : iterable
        Tensors, (name, tensor) pairs or groups (see ``Optimizer``).
    lr : float
        Learning rate.
    lr_decay : float
        Speed at which the rate falls.
    weight_decay : float
        Factor of the L2 penalty's gradient.
    initial_accumulator_value : float
        Where v begins.
    eps : float
        Added to the root.
    maximize : bool
        Climb instead.

    References
    ----------
    Duchi, Hazan & Singer, Adaptive subgradient methods, 2011.
    """

    rule = STEPS["adagrad_step"]

    def __init__(self, params: Any, lr: float = 1e-2, lr_decay: float = 0,
                 weight_decay: float = 0, initial_accumulator_value: float = 0,
                 eps: float = 1e-10, *, maximize: bool = False):
        super().__init__(params, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
                         initial_accumulator_value=initial_accumulator_value, eps=eps,
                         maximize=maximize)

    def states(self, group: Group) -> tuple[str, ...]:
        """Return ``sum``, the sum of squares."""
        return ("sum",)

    def init_state(self, p: Tensor, group: Group) -> dict[str, Any]:
        """Return the sum at its initial value."""
        start = group["initial_accumulator_value"]
        return {**super().init_state(p, group),
                "sum": Tensor(np.full(p.data.shape, start, p.data.dtype))}

    def row(self, group: Group) -> tuple[Any, ...]:
        """Return lr, lr_decay, eps, weight_decay, step, maximize."""
        return (group["lr"], group["lr_decay"], group["eps"], group["weight_decay"], None,
                group["maximize"])


class Adadelta(Optimizer):
    """Steps of the size of past steps.

    ``v <- rho v + (1 - rho) g^2``, ``d = sqrt(u + eps) / sqrt(v + eps) g``,
    ``u <- rho u + (1 - rho) d^2``, ``p <- p - lr d``.

    Parameters
    ----------
    params : iterable
        Tensors, (name, tensor) pairs or groups (see ``Optimizer``).
    lr : float
        Factor of the step; 1 is the paper's.
    rho : float
        Decay of both mean squares.
    eps : float
        Added under both roots.
    weight_decay : float
        Factor of the L2 penalty's gradient.
    maximize : bool
        Climb instead.

    References
    ----------
    Zeiler, ADADELTA: an adaptive learning rate method, 2012.
    """

    rule = STEPS["adadelta_step"]

    def __init__(self, params: Any, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, *, maximize: bool = False):
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay,
                         maximize=maximize)

    def states(self, group: Group) -> tuple[str, ...]:
        """Return the mean squares of gradients and of steps."""
        return ("square_avg", "acc_delta")

    def row(self, group: Group) -> tuple[Any, ...]:
        """Return lr, rho, eps, weight_decay, maximize."""
        return (group["lr"], group["rho"], group["eps"], group["weight_decay"],
                group["maximize"])
