"""Descent along the gradient or its sign, with momentum."""

from __future__ import annotations

from typing import Any

from ..errors import ParameterError
from ..ops.optimizer import STEPS
from .optimizer import Group, Optimizer

__all__ = ["SGD", "Lion"]


class SGD(Optimizer):
    r"""Stochastic gradient descent.

    ``g = grad + weight_decay p``, ``b <- momentum b + (1 - dampening) g`` (``b <- g`` at the first
    step), ``p <- p - lr b``; with ``nesterov`` ``p <- p - lr (g + momentum b)``; without momentum
    ``p <- p - lr g``.

    Parameters
    ----------
    params : iterable
        Tensors, (name, tensor) pairs or groups (see ``Optimizer``).
    lr : float
        Learning rate.
    momentum : float
        Share of the last step that is kept.
    dampening : float
        How much of the new gradient the momentum leaves out.
    weight_decay : float
        Factor of the L2 penalty's gradient.
    nesterov : bool
        Look ahead; needs momentum and no dampening.
    maximize : bool
        Climb instead.

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum in deep learning, 2013.

    Examples
    --------
    >>> import medai_engine as me
    >>> w = me.Parameter([1.0, 2.0])
    >>> opt = me.optim.SGD([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.tolist()
    [0.0, 0.0]
    """

    rule = STEPS["sgd_step"]

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False):
        super().__init__(params, lr=lr, momentum=momentum, dampening=dampening,
                         weight_decay=weight_decay, nesterov=nesterov, maximize=maximize)

    def check_group(self, group: Group) -> None:
        """Check that nesterov has the momentum it needs."""
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ParameterError(self._say(
                "momentum > 0 and dampening = 0 with nesterov=True",
                f"momentum={group['momentum']}, dampening={group['dampening']}",
                "Pass momentum=0.9, or leave nesterov out"))

    def states(self, group: Group) -> tuple[str, ...]:
        """Return ``momentum_buffer`` where there is momentum."""
        return ("momentum_buffer",) if group["momentum"] else ()

    def row(self, group: Group) -> tuple[Any, ...]:
        """Return lr, momentum, dampening, nesterov, weight_decay, step, maximize."""
        return (group["lr"], group["momentum"], group["dampening"], group["nesterov"],
                group["weight_decay"], None, group["maximize"])


class Lion(Optimizer):
    """Evolved sign momentum: every weight moves by lr.

    ``p <- (1 - lr weight_decay) p - lr sign(beta1 m + (1 - beta1) g)``, then
    ``m <- beta2 m + (1 - beta2) g``.

    Parameters
    ----------
    params : iterable
        Tensors, (name, tensor) pairs or groups (see ``Optimizer``).
    lr : float
        Learning rate; three to ten times smaller than Adam's.
    betas : pair of float
        Decay of the momentum inside the sign, and of the one that is kept.
    weight_decay : float
        Decoupled decay; three to ten times larger than AdamW's.
    maximize : bool
        Climb instead.

    References
    ----------
    Chen et al., Symbolic discovery of optimization algorithms, 2023.
    """

    rule = STEPS["lion_step"]

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
                 weight_decay: float = 0, *, maximize: bool = False):
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize)

    def states(self, group: Group) -> tuple[str, ...]:
        """Return ``exp_avg``, the momentum."""
        return ("exp_avg",)

    def row(self, group: Group) -> tuple[Any, ...]:
        """Return lr, beta1, beta2, weight_decay, maximize."""
        return (group["lr"], *group["betas"], group["weight_decay"], group["maximize"])
