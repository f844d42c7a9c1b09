"""One module per loss, named and set up as in PyTorch; equations stand in ``functional``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Buffer, Tensor
from .module import Module

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CosineSimilarity", "CrossEntropyLoss", "DiceLoss",
           "FocalLoss", "HingeLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss", "NLLLoss",
           "SmoothL1Loss", "TripletMarginLoss", "TverskyLoss"]


def factors(weight: Any) -> Buffer | None:
    """Return weights as a buffer, which is saved with the model; numbers become float32."""
    if weight is None or isinstance(weight, Tensor):
        return weight if weight is None else Buffer(weight)
    array = np.asarray(weight)
    return Buffer(array if array.dtype == np.float64 and array is weight
                  else array.astype(np.float32))


class CrossEntropyLoss(Module):
    """``functional.cross_entropy`` with its options."""

    def __init__(self, weight: Any = None, *, ignore_index: int = -100,
                 label_smoothing: float = 0.0, reduction: str = "mean"):
        self.weight = factors(weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.reduction = reduction

    def forward(self, logits: Any, labels: Any) -> Tensor:
        """Return the loss."""
        return F.cross_entropy(logits, labels, weight=self.weight, ignore_index=self.ignore_index,
                               label_smoothing=self.label_smoothing, reduction=self.reduction)


class NLLLoss(Module):
    """``functional.nll_loss`` with its options."""

    def __init__(self, weight: Any = None, *, ignore_index: int = -100,
                 reduction: str = "mean"):
        self.weight = factors(weight)
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, log_probabilities: Any, labels: Any) -> Tensor:
        """Return the loss."""
        return F.nll_loss(log_probabilities, labels, weight=self.weight,
                          ignore_index=self.ignore_index, reduction=self.reduction)


class BCELoss(Module):
    """``functional.binary_cross_entropy`` with its options."""

    def __init__(self, weight: Any = None, *, reduction: str = "mean"):
        self.weight = factors(weight)
        self.reduction = reduction

    def forward(self, probabilities: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.binary_cross_entropy(probabilities, target, weight=self.weight,
                                      reduction=self.reduction)


class BCEWithLogitsLoss(Module):
    """``functional.binary_cross_entropy_with_logits`` with its options."""

    def __init__(self, weight: Any = None, *, pos_weight: Any = None, reduction: str = "mean"):
        self.weight = factors(weight)
        self.pos_weight = factors(pos_weight)
        self.reduction = reduction

    def forward(self, logits: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.binary_cross_entropy_with_logits(logits, target, weight=self.weight,
                                                  pos_weight=self.pos_weight,
                                                  reduction=self.reduction)


class MSELoss(Module):
    """``functional.mse_loss`` with its options."""

    def __init__(self, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.mse_loss(x, target, reduction=self.reduction)


class L1Loss(Module):
    """``functional.l1_loss`` with its options."""

    def __init__(self, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.l1_loss(x, target, reduction=self.reduction)


class SmoothL1Loss(Module):
    """``functional.smooth_l1_loss`` with its options."""

    def __init__(self, *, beta: float = 1.0, reduction: str = "mean"):
        self.beta = beta
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.smooth_l1_loss(x, target, beta=self.beta, reduction=self.reduction)


class HuberLoss(Module):
    """``functional.huber_loss`` with its options."""

    def __init__(self, *, delta: float = 1.0, reduction: str = "mean"):
        self.delta = delta
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.huber_loss(x, target, delta=self.delta, reduction=self.reduction)


class KLDivLoss(Module):
    """``functional.kl_div`` with its options."""

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        self.reduction = reduction
        self.log_target = log_target

    def forward(self, log_probabilities: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.kl_div(log_probabilities, target, reduction=self.reduction,
                        log_target=self.log_target)


class HingeLoss(Module):
    """``functional.hinge_loss`` with its options."""

    def __init__(self, *, margin: float = 1.0, reduction: str = "mean"):
        self.margin = margin
        self.reduction = reduction

    def forward(self, scores: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.hinge_loss(scores, target, margin=self.margin, reduction=self.reduction)


class FocalLoss(Module):
    """``functional.focal_loss`` with its options."""

    def __init__(self, *, alpha: float | None = 0.25, gamma: float = 2.0,
                 reduction: str = "mean"):
        self.alpha = alpha
        self.gamma = gamma
        self.reduction = reduction

    def forward(self, logits: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.focal_loss(logits, target, alpha=self.alpha, gamma=self.gamma,
                            reduction=self.reduction)


class DiceLoss(Module):
    """``functional.dice_loss`` with its options."""

    def __init__(self, *, smooth: float = 1.0, reduction: str = "mean"):
        self.smooth = smooth
        self.reduction = reduction

    def forward(self, probabilities: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.dice_loss(probabilities, target, smooth=self.smooth, reduction=self.reduction)


class TverskyLoss(Module):
    """``functional.tversky_loss`` with its options."""

    def __init__(self, *, alpha: float = 0.5, beta: float = 0.5, smooth: float = 1.0,
                 reduction: str = "mean"):
        self.alpha = alpha
        self.beta = beta
        self.smooth = smooth
        self.reduction = reduction

    def forward(self, probabilities: Any, target: Any) -> Tensor:
        """Return the loss."""
        return F.tversky_loss(probabilities, target, alpha=self.alpha, beta=self.beta,
                              smooth=self.smooth, reduction=self.reduction)


class TripletMarginLoss(Module):
    """``functional.triplet_margin_loss`` with its options."""

    def __init__(self, *, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
                 swap: bool = False, reduction: str = "mean"):
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap
        self.reduction = reduction

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        """Return the loss."""
        return F.triplet_margin_loss(anchor, positive, negative, margin=self.margin, p=self.p,
                                     eps=self.eps, swap=self.swap, reduction=self.reduction)


class CosineSimilarity(Module):
    """``functional.cosine_similarity`` with its options."""

    def __init__(self, axis: int = -1, eps: float = 1e-8):
        self.axis = axis
        self.eps = eps

    def forward(self, a: Any, b: Any) -> Tensor:
        """Return the similarity."""
        return F.cosine_similarity(a, b, axis=self.axis, eps=self.eps)
