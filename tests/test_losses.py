"""Losses against PyTorch's over grids of options, and their pinned conventions."""

# ruff: noqa: B023 (the lambdas run before the loop goes on)

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from oracle import agree, channels_first, enough, rng

import medai_engine as me
from medai_engine import functional as F

try:
    import torch
    import torch.nn.functional as T
except ImportError:
    torch = T = None

REDUCTIONS = ("mean", "sum", "none")

# ---- cross-entropy of indices -----------------------------------------------------------------

SHAPES = [(5, 4), (2, 3, 4), (2, 3, 2, 4)]


def logits_and_labels(shape: tuple[int, ...], ignored: str, index: int) -> list[np.ndarray]:
    logits = rng().standard_normal(shape) * 3
    labels = rng().integers(0, shape[-1], shape[:-1])
    if ignored == "some":
        labels.reshape(-1)[::2] = index
    elif ignored == "all":
        labels[...] = index
    elif 0 <= index < shape[-1]:
        labels[labels == index] = (index + 1) % shape[-1]
    return [logits, labels]


@pytest.mark.parametrize("ignored", ["none", "some", "all"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_of_indices(ignored, weighted, reduction):
    for shape, index, smoothing in product(SHAPES, (-100, 2, 255), (0.0, 0.1, 1.0)):
        weight = rng().uniform(0.5, 2, shape[-1]) if weighted else None
        agree("cross_entropy",
              lambda x, t: F.cross_entropy(
                  x, t, weight, ignore_index=index, label_smoothing=smoothing,
                  reduction=reduction),
              lambda x, t: T.cross_entropy(
                  channels_first(x), t,
                  None if weight is None else torch.from_numpy(weight),
                  ignore_index=index, label_smoothing=smoothing,
                  reduction=reduction),
              logits_and_labels(shape, ignored, index))


@pytest.mark.parametrize("ignored", ["none", "some", "all"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nll_loss(ignored, weighted, reduction):
    for shape, index in product(SHAPES, (-100, 2)):
        weight = rng().uniform(0.5, 2, shape[-1]) if weighted else None
        agree("nll_loss",
              lambda x, t: F.nll_loss(x, t, weight, ignore_index=index,
                                      reduction=reduction),
              lambda x, t: T.nll_loss(
                  channels_first(x), t,
                  None if weight is None else torch.from_numpy(weight),
                  ignore_index=index, reduction=reduction),
              logits_and_labels(shape, ignored, index))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_of_probabilities(weighted, reduction):
    for shape, smoothing in product(SHAPES, (0.0, 0.2)):
        weight = rng().uniform(0.5, 2, shape[-1]) if weighted else None
        target = rng().dirichlet(np.ones(shape[-1]), shape[:-1])
        agree("cross_entropy of probabilities",
              lambda x, t: F.cross_entropy(x, t, weight, label_smoothing=smoothing,
                                           reduction=reduction),
              lambda x, t: T.cross_entropy(
                  channels_first(x), channels_first(t),
                  None if weight is None else torch.from_numpy(weight),
                  label_smoothing=smoothing, reduction=reduction),
              [rng().standard_normal(shape) * 3, target], (0, 1))


def test_plain_cross_entropy_equals_the_general_path():
    logits, labels = logits_and_labels((5, 4), "none", -100)
    plain, general = (me.Tensor(logits).requires_grad_() for _ in range(2))
    F.cross_entropy(plain, labels).backward()
    F.cross_entropy(general, labels, np.ones(4)).backward()
    np.testing.assert_allclose(plain.grad.data, general.grad.data, rtol=1e-14)


def test_mean_over_nothing_is_nan_and_leaves_the_weights_alone():
    logits = me.Tensor(np.ones((2, 3))).requires_grad_()
    loss = F.cross_entropy(logits, np.array([-100, -100]))
    loss.backward()
    assert np.isnan(loss.item())
    assert np.array_equal(logits.grad.data, np.zeros((2, 3)))


def test_cross_entropy_of_lists_and_far_logits():
    assert F.cross_entropy([[0.0, 0.0]], [1]).item() == pytest.approx(np.log(2), rel=1e-7)
    assert F.cross_entropy([[1e4, 0.0]], [1]).item() == 1e4
    assert F.cross_entropy([[1e4, 0.0]], [0]).item() == 0.0


# ---- binary cross-entropy ---------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy(reduction, weighted):
    p, target = rng().uniform(0, 1, (2, 4, 3))
    weight = rng().uniform(0.5, 2, 3) if weighted else None
    agree("binary_cross_entropy",
          lambda x, t: F.binary_cross_entropy(x, t, weight, reduction=reduction),
          lambda x, t: T.binary_cross_entropy(
              x, t, None if weight is None else torch.from_numpy(weight), reduction=reduction),
          [p, target], (0, 1))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy_saturates_like_pytorch(reduction):
    # PyTorch's bound of the divisor is 1e-12 rounded to float32
    agree("binary_cross_entropy",
          lambda x, t: F.binary_cross_entropy(x, t, reduction=reduction),
          lambda x, t: T.binary_cross_entropy(x, t, reduction=reduction),
          [np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])], rtol=1e-8)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy_with_logits(reduction):
    x = rng().standard_normal((4, 3)) * 4
    x[0] = [-800, 0, 800]
    target = rng().uniform(0, 1, (4, 3))
    for weighted, positive in product((False, True), repeat=2):
        weight = rng().uniform(0.5, 2, (4, 1)) if weighted else None
        pos_weight = rng().uniform(0.5, 2, 3) if positive else None
        agree("binary_cross_entropy_with_logits",
              lambda x, t: F.binary_cross_entropy_with_logits(
                  x, t, weight, pos_weight=pos_weight, reduction=reduction),
              lambda x, t: T.binary_cross_entropy_with_logits(
                  x, t, None if weight is None else torch.from_numpy(weight),
                  pos_weight=None if pos_weight is None else
                  torch.from_numpy(pos_weight), reduction=reduction),
              [x, target], (0, 1))


# ---- losses of numbers ------------------------------------------------------------------------

# the function's name, options of ours, the same for PyTorch
REGRESSION = [
    ("mse_loss", {}), ("l1_loss", {}), ("huber_loss", {}), ("huber_loss", {"delta": 0.4}),
    ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.4}), ("smooth_l1_loss", {"beta": 0.0}),
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name, options", REGRESSION)
def test_regression(name, options, reduction):
    x, target = rng().standard_normal((2, 4, 5))
    x[0] = target[0]  # the kink at 0
    agree(name, lambda x, t: getattr(F, name)(x, t, reduction=reduction, **options),
          lambda x, t: getattr(T, name)(x, t, reduction=reduction, **options), [x, target], (0, 1))


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # PyTorch's advice
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(reduction, log_target):
    p, target = rng().dirichlet(np.ones(4), (2, 3))
    agree("kl_div", lambda x, t: F.kl_div(x, t, log_target=log_target, reduction=reduction),
          lambda x, t: T.kl_div(x, t, log_target=log_target, reduction=reduction),
          [np.log(p), np.log(target) if log_target else target], (0, 1))


def test_kl_div_of_an_impossible_class_is_0():
    target = np.array([[1.0, 0.0]])
    agree("kl_div", lambda x: F.kl_div(x, target, reduction="sum"),
          lambda x: T.kl_div(x, torch.from_numpy(target), reduction="sum"),
          [np.log([[0.25, 0.75]])])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cosine_similarity(axis):
    agree("cosine_similarity", lambda a, b: F.cosine_similarity(a, b, axis),
          lambda a, b: T.cosine_similarity(a, b, axis), list(rng().standard_normal((2, 3, 4, 5))),
          (0, 1))


def test_cosine_similarity_with_a_zero_vector_has_finite_gradients():
    a, b = (me.Tensor(x).requires_grad_() for x in (np.zeros((1, 3)), np.ones((1, 3))))
    y = F.cosine_similarity(a, b)
    y.backward()
    assert y.item() == 0 and np.isfinite(a.grad.data).all() and np.isfinite(b.grad.data).all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("swap", [False, True])
def test_triplet_margin_loss(reduction, swap):
    for p, margin in ((2.0, 1.0), (1.0, 0.5), (3.0, 2.0)):
        agree("triplet_margin_loss",
              lambda a, b, c: F.triplet_margin_loss(
                  a, b, c, margin=margin, p=p, swap=swap, reduction=reduction),
              lambda a, b, c: T.triplet_margin_loss(
                  a, b, c, margin=margin, p=p, swap=swap, reduction=reduction),
              list(rng().standard_normal((3, 4, 5))), (0, 1, 2), rtol=1e-10)


def test_hinge_loss_by_hand():
    x = me.Tensor(np.array([2.0, 0.5, -1.0, 1.0])).requires_grad_()
    loss = F.hinge_loss(x, [1, 1, 1, -1], reduction="none")
    assert loss.tolist() == [0.0, 0.5, 2.0, 2.0]
    loss.sum().backward()
    assert x.grad.tolist() == [0.0, -1.0, -1.0, 1.0]
    assert F.hinge_loss(x, [1, 1, 1, -1], margin=3.0, reduction="sum").item() == 1 + 2.5 + 4 + 4


# ---- losses of masks: their formulas, written once more with arrays ---------------------------


@pytest.mark.parametrize("alpha", [None, 0.25, 0.8])
@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_focal_loss(alpha, gamma):
    def formula(x: Any, t: Any) -> Any:
        p = torch.sigmoid(x)
        truth = torch.where(t == 1, p, 1 - p)
        factor = 1.0 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
        return (-factor * (1 - truth) ** gamma * torch.log(truth)).mean()

    agree("focal_loss", lambda x, t: F.focal_loss(x, t, alpha=alpha, gamma=gamma), formula,
          [rng().standard_normal((4, 5)) * 3, rng().integers(0, 2, (4, 5)).astype(float)],
          rtol=1e-10)


def test_focal_loss_of_a_sure_case_is_finite():
    x = me.Tensor(np.array([500.0, -500.0])).requires_grad_()
    loss = F.focal_loss(x, [1, 0], reduction="sum")
    loss.backward()
    assert loss.item() == 0 and np.array_equal(x.grad.data, np.zeros(2))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 2, 1)])
def test_overlap_losses(shape, reduction):
    p, mask = rng().uniform(0, 1, shape), rng().integers(0, 2, shape).astype(float)
    mask[0] = 0

    def reduced(loss: Any) -> Any:
        return loss if reduction == "none" else getattr(loss, reduction)()

    def dice(p: Any, t: Any) -> Any:
        places = tuple(range(1, p.ndim - 1))
        return reduced(1 - (2 * (p * t).sum(places) + 0.7)
                       / (p.sum(places) + t.sum(places) + 0.7))

    def tversky(p: Any, t: Any) -> Any:
        places = tuple(range(1, p.ndim - 1))
        hits = (p * t).sum(places)
        return reduced(1 - (hits + 0.7) / (hits + 0.3 * (p * (1 - t)).sum(places)
                                           + 0.8 * ((1 - p) * t).sum(places) + 0.7))

    agree("dice_loss", lambda p, t: F.dice_loss(p, t, smooth=0.7, reduction=reduction), dice,
          [p, mask])
    agree("tversky_loss", lambda p, t: F.tversky_loss(
        p, t, alpha=0.3, beta=0.8, smooth=0.7, reduction=reduction), tversky, [p, mask])


def test_overlap_of_empty_masks_is_perfect():
    assert F.dice_loss(np.zeros((1, 4, 1)), np.zeros((1, 4, 1))).item() == 0


def test_enough_was_compared():
    """Every loss ran against its equivalent, and the grids were walked in full."""
    enough({"cross_entropy": 486, "nll_loss": 108, "cross_entropy of probabilities": 36,
            "binary_cross_entropy": 9, "binary_cross_entropy_with_logits": 12, "kl_div": 9,
            "triplet_margin_loss": 18, "smooth_l1_loss": 9, "huber_loss": 6, "mse_loss": 3,
            "l1_loss": 3, "cosine_similarity": 3, "focal_loss": 9, "dice_loss": 6,
            "tversky_loss": 6})
