"""Adam and its relatives: a mean of gradients over a scale from past gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.optimizer import STEPS
from ..tensor import Tensor
from .optimizer import Group, Optimizer

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


class Moments(Optimizer):
    """What the family shares: two running means and a step count."""

    def states(self, group: Group) -> tuple[str, ...]:
        """Return ``exp_avg`` and ``exp_avg_sq``."""
        return ("exp_avg", "exp_avg_sq")

    def row(self, group: Group) -> tuple[Any, ...]:
        """Return lr, beta1, beta2, eps, weight_decay, decoupled, step, maximize."""
        return (group["lr"], *group["betas"], group["eps"], group["weight_decay"],
                group["decoupled_weight_decay"], None, group["maximize"])


class Adam(Moments):
    r"""Adaptive moments, with bias correction.

    ``m <- beta1 m + (1 - beta1) g``, ``v <- beta2 v + (1 - beta2) g^2``,
    ``p <- p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)`` at step t = 1, 2, ...

    Parameters
    ----------
    params : iterable
        Tensors, (name, tensor) pairs or groups (see ``Optimizer``).
    lr : float
        Learning rate: about the size of a step of each weight.
    betas : pair of float
        Decay of the mean of gradients and of their squares.
    eps : float
        Added to the root.
    weight_decay : float
        Factor of the L2 penalty's gradient (see AdamW).
    amsgrad : bool
        Divide by the largest v so far (Reddi et al. 2018).
    maximize : bool
        Climb instead.
    decoupled_weight_decay : bool
        Shrink weights by ``1 - lr weight_decay`` instead of adding to the gradient.

    References
    ----------
    Kingma & Ba, Adam: a method for stochastic optimization, 2015.

    Examples
    --------
    >>> import medai_engine as me
    >>> w = me.Parameter([1.0])
    >>> opt = me.optim.Adam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> round(w.item(), 4)
    0.75
    """

    rule = STEPS["adam_step"]

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False, *,
                 maximize: bool = False, decoupled_weight_decay: bool = False):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                         amsgrad=amsgrad, maximize=maximize,
                         decoupled_weight_decay=decoupled_weight_decay)

    def states(self, group: Group) -> tuple[str, ...]:
        """Return the two means, and the largest second one for AMSGrad."""
        return (("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"]
                else ("exp_avg", "exp_avg_sq"))


class AdamW(Adam):
    """Adam with decoupled weight decay: ``p <- (1 - lr weight_decay) p`` before Adam's step.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize
        As in ``Adam``.
    weight_decay : float
        Rate of the decay, times lr.

    References
    ----------
    Loshchilov & Hutter, Decoupled weight decay regularization, 2019.
    """

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *,
                 maximize: bool = False):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize,
                         decoupled_weight_decay=True)


class NAdam(Moments):
    """Adam with Nesterov's momentum.

    With ``mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)`` and ``M_t = mu_1 ... mu_t``:
    ``p <- p - lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m)
    / (sqrt(v / (1 - beta2^t)) + eps)``.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, maximize, decoupled_weight_decay
        As in ``Adam``; lr is 2e-3 by default.
    momentum_decay : float
        Speed at which the momentum grows towards beta1.

    References
    ----------
    Dozat, Incorporating Nesterov momentum into Adam, 2016.
    """

    rule = STEPS["nadam_step"]

    def __init__(self, params: Any, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, maximize: bool = False):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                         momentum_decay=momentum_decay, maximize=maximize,
                         decoupled_weight_decay=decoupled_weight_decay)

    def row(self, group: Group) -> tuple[Any, ...]:
        """Return Adam's values, momentum_decay, mu_product."""
        return (*super().row(group), group["momentum_decay"], None)

    def init_state(self, p: Tensor, group: Group) -> dict[str, Any]:
        """Return zeros, and M_0 = 1."""
        return {"mu_product": 1.0, **super().init_state(p, group)}

    def advance(self, hyper: np.ndarray) -> None:
        """Multiply M_t."""
        beta1, step, decay, product = (self.columns.index(name) for name in (
            "beta1", "step", "momentum_decay", "mu_product"))
        for row in hyper:  # one number at a time: the same bits for every number of rows
            row[product] *= row[beta1] * (1 - 0.5 * 0.96 ** float(row[step] * row[decay]))


class RAdam(Moments):
    """Adam whose rate is rectified while its second moment rests on few steps.

    With ``R = 2 / (1 - beta2) - 1`` and ``r = R - 2 t beta2^t / (1 - beta2^t)``: where r > 5,
    Adam's step times ``sqrt((r-4)(r-2)R / ((R-4)(R-2)r))`` (eps added before the correction of
    v); else ``p <- p - lr m / (1 - beta1^t)``.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, maximize, decoupled_weight_decay
        As in ``Adam``.

    References
    ----------
    Liu et al., On the variance of the adaptive learning rate and beyond, 2020.
    """

    rule = STEPS["radam_step"]

    def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0,
                 decoupled_weight_decay: bool = False, *, maximize: bool = False):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                         maximize=maximize, decoupled_weight_decay=decoupled_weight_decay)


class Adamax(Optimizer):
    """Adam with the largest gradient as its scale.

    ``m`` as in Adam, ``u <- max(beta2 u, |g| + eps)``, ``p <- p - lr / (1 - beta1^t) m / u``.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, maximize
        As in ``Adam``; lr is 2e-3 by default.

    References
    ----------
    Kingma & Ba, Adam: a method for stochastic optimization, 2015, section 7.1.
    """

    rule = STEPS["adamax_step"]

    def __init__(self, params: Any, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, *, maximize: bool = False):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                         maximize=maximize)

    def states(self, group: Group) -> tuple[str, ...]:
        """Return the mean and the largest gradient."""
        return ("exp_avg", "exp_inf")

    def row(self, group: Group) -> tuple[Any, ...]:
        """Return lr, beta1, beta2, eps, weight_decay, step, maximize."""
        return (group["lr"], *group["betas"], group["eps"], group["weight_decay"], None,
                group["maximize"])
