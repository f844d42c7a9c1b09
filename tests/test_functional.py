"""Functions against PyTorch's over grids of options, pinned conventions, and errors.

The oracle's executions are counted; the last test holds the floor, so that a missing PyTorch or
an emptied grid cannot pass.
"""

# ruff: noqa: B023 (the lambdas run before the loop goes on)

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import medai_engine as me
from medai_engine import functional as F
from medai_engine.errors import DataError, DTypeError, ParameterError, ShapeError
from medai_engine.testing import gradcheck, gradgradcheck

try:
    import torch
    import torch.nn.functional as T
except ImportError:
    torch = T = None
EXECUTED: Counter[str] = Counter()

REDUCTIONS = ("mean", "sum", "none")


def channels_first(x: Any) -> Any:
    """Return a PyTorch tensor (N, ..., C) as (N, C, ...)."""
    return x.movedim(-1, 1).contiguous() if x.ndim > 2 else x


def agree(name: str, ours: Callable[..., Any], theirs: Callable[..., Any], inputs: list[np.ndarray],
          gradients: tuple[int, ...] = (0,), rtol: float = 1e-12) -> None:
    """Compare values and gradients (random cotangents) in float64."""
    if torch is None:
        pytest.skip("PyTorch, the oracle, is not installed")
    mine = [me.Tensor(x.copy()).requires_grad_(i in gradients) for i, x in enumerate(inputs)]
    others = [torch.from_numpy(x.copy()).requires_grad_(i in gradients)
              for i, x in enumerate(inputs)]
    y, z = ours(*mine), theirs(*others)
    assert y.shape == tuple(z.shape) and y.dtype == np.float64
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=rtol, atol=1e-14)
    cotangent = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(cotangent)
    z.backward(torch.from_numpy(cotangent))
    for i in gradients:
        np.testing.assert_allclose(mine[i].grad.data, others[i].grad.numpy(), rtol=rtol,
                                   atol=1e-14, err_msg=f"gradient {i} of {name}")
    EXECUTED[name] += 1


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# ---- activations ------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": [{}], "relu6": [{}], "selu": [{}], "silu": [{}], "mish": [{}], "softsign": [{}],
    "hardsigmoid": [{}], "hardswish": [{}], "sigmoid": [{}], "tanh": [{}], "log_sigmoid": [{}],
    "leaky_relu": [{}, {"negative_slope": 0.3}], "elu": [{}, {"alpha": 0.75}],
    "celu": [{}, {"alpha": 0.75}], "gelu": [{}, {"approximate": "tanh"}],
    "softplus": [{}, {"beta": 2.0, "threshold": 1.0}],
    "hardtanh": [{}, {"min_val": -0.5, "max_val": 2.0}],
}
# both sides, the kinks themselves, and far out
POINTS = np.array([-300.0, -30, -6, -3, -1.5, -1, -0.5, -1e-9, 0, 1e-9, 0.5, 1, 1.5, 2, 3, 6, 30,
                   300])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    for options in ACTIVATIONS[name]:
        # PyTorch evaluates Phi near -6 with a cancellation, and rounds 1/6 to float32
        rtol = {"gelu": 1e-9, "hardsigmoid": 1e-7}.get(name, 1e-12)
        agree(name, lambda x: getattr(F, name)(x, **options),
              lambda x: getattr(T, name.replace("log_s", "logs"))(x, **options),
              [POINTS], rtol=rtol)


@pytest.mark.parametrize("channels", [1, 3])
def test_prelu(channels):
    x = rng().standard_normal((4, 5, 3))
    x[0, 0] = 0
    weight = rng().uniform(0.1, 0.5, channels)
    agree("prelu", F.prelu, lambda x, w: T.prelu(channels_first(x), w).movedim(1, -1),
          [x, weight], (0, 1))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(name, axis):
    agree(name, lambda x: getattr(F, name)(x, axis), lambda x: getattr(T, name)(x, axis),
          [rng().standard_normal((3, 4, 5)) * 10])


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


# ---- second derivatives of the compositions ---------------------------------------------------

SECOND: dict[str, Callable[[Any], Any]] = {
    "cross_entropy": lambda x: F.cross_entropy(x, np.array([0, 3, -100]), np.arange(1.0, 5.0),
                                               label_smoothing=0.1),
    "cross_entropy of probabilities": lambda x: F.cross_entropy(x, np.full((3, 4), 0.25)),
    "nll_loss": lambda x: F.nll_loss(x * x, np.array([0, 3, 2])),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy(F.sigmoid(x), np.full((3, 4), 0.3)),
    "pos_weight": lambda x: F.binary_cross_entropy_with_logits(
        x, np.full((3, 4), 0.3), pos_weight=np.arange(1.0, 5.0)),
    "huber_loss": lambda x: F.huber_loss(x, np.full((3, 4), 0.03), delta=0.5),
    "focal_loss": lambda x: F.focal_loss(x, np.eye(3, 4), gamma=2.5),
    "tversky_loss": lambda x: F.tversky_loss(F.sigmoid(x).reshape((3, 2, 2)), np.ones((3, 2, 2))),
    "cosine_similarity": lambda x: F.cosine_similarity(x, np.arange(4.0)).sum(),
    "triplet_margin_loss": lambda x: F.triplet_margin_loss(x, x * 0.5, np.ones((3, 4))),
    "softmax": lambda x: (F.softmax(x) * np.arange(4.0)).sum(),
}


@pytest.mark.parametrize("name", SECOND)
def test_derivatives(name):
    x = me.Tensor(rng().standard_normal((3, 4)) * 0.4)
    assert gradcheck(SECOND[name], [x])
    assert gradgradcheck(SECOND[name], [x])


# ---- dropout, embedding -----------------------------------------------------------------------


def test_dropout_keeps_the_mean_and_repeats_its_mask_in_the_gradient():
    me.manual_seed(3)
    x = me.Tensor(np.ones((200, 300), np.float32)).requires_grad_()
    y = F.dropout(x, 0.3)
    y.backward(np.ones((200, 300), np.float32))
    kept = y.numpy() != 0
    assert abs(kept.mean() - 0.7) < 0.01
    assert np.array_equal(x.grad.data, y.numpy())
    assert np.allclose(y.numpy()[kept], 1 / 0.7)
    assert not np.array_equal(F.dropout(x, 0.3).numpy(), y.numpy())
    me.manual_seed(3)
    assert np.array_equal(F.dropout(x, 0.3).numpy(), y.numpy())
    own = F.dropout(x, 0.3, rng=me.random.Generator(3))
    assert np.array_equal(own.numpy(), y.numpy())


def test_dropout_off_and_full():
    x = me.Tensor(np.ones(5, np.float32))
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).tolist() == [0] * 5


def test_embedding():
    indices = np.array([[1, 2, 1], [4, 4, 0]])
    for padding in (None, 4, -4):
        agree("embedding", lambda w: F.embedding(indices, w, padding),
              lambda w: T.embedding(torch.from_numpy(indices), w, padding),
              [rng().standard_normal((5, 3))])


# ---- errors -----------------------------------------------------------------------------------

X = np.zeros((2, 3), np.float32)
ERRORS = [
    (lambda: F.cross_entropy(X, np.zeros(2)), DTypeError, "integer dtype.*astype"),
    (lambda: F.cross_entropy(X, np.zeros(2), ignore_index=1), DTypeError, "integer dtype"),
    (lambda: F.cross_entropy(X, np.eye(3, dtype=int)[:2]), ShapeError, "one-hot"),
    (lambda: F.cross_entropy(X, np.zeros((2, 1), int)), ShapeError, "squeeze"),
    (lambda: F.cross_entropy(X, [0, 3]), DataError, r"labels from 0 to 2, got 3 at labels\[1\]"),
    (lambda: F.cross_entropy(X, [0, -1]), DataError, "got -1"),
    (lambda: F.cross_entropy(X, [0, -100, 3]), ShapeError, "labels of shape"),
    (lambda: F.cross_entropy(X, [0, 7], np.ones(3)), DataError, "got 7"),
    (lambda: F.cross_entropy(X, [0, 1], np.ones(2)), ShapeError, "one number per class"),
    (lambda: F.cross_entropy(X, [0, 1], label_smoothing=2), ParameterError, "between 0 and 1"),
    (lambda: F.cross_entropy(X, [0, 1], reduction="avg"), ParameterError, "mean, sum, none"),
    (lambda: F.cross_entropy(np.zeros((2, 3), int), [0, 1]), DTypeError, "last layer first"),
    (lambda: F.nll_loss(X, np.zeros(2)), DTypeError, "integer dtype"),
    (lambda: F.nll_loss(X, np.eye(3, dtype=int)[:2]), ShapeError, "argmax"),
    (lambda: F.nll_loss(X, [0, 3]), DataError, "got 3"),
    (lambda: F.binary_cross_entropy(X - 1, X), DataError, "with_logits"),
    (lambda: F.binary_cross_entropy(X, X + 2), DataError, "0 and 1"),
    (lambda: F.binary_cross_entropy_with_logits(X[:, :1], X[:, 0]), ShapeError, "reshape"),
    (lambda: F.mse_loss(X[:, :1], X[:, 0]), ShapeError, r"target.reshape\(\(2, 1\)\)"),
    (lambda: F.mse_loss(X, X[:, :2]), ShapeError, "width of the last layer"),
    (lambda: F.mse_loss(np.zeros(3, int), X[0]), DTypeError, "predictions first"),
    (lambda: F.huber_loss(X, X, delta=0), ParameterError, "delta above 0"),
    (lambda: F.smooth_l1_loss(X, X, beta=-1), ParameterError, "beta >= 0"),
    (lambda: F.hinge_loss(X, X), ParameterError, "2 \\* target - 1"),
    (lambda: F.dice_loss(X, X), ShapeError, r"\(N, ..., C\)"),
    (lambda: F.embedding([0, 5], X), ShapeError, "0 to 1.*got 5"),
    (lambda: F.embedding([0.5], X), DTypeError, "integer dtype"),
    (lambda: F.embedding(X, [0]), ShapeError, "indices first"),
    (lambda: F.embedding([0], X, padding_idx=2), ParameterError, "between -2 and 1"),
    (lambda: F.dropout(X, 1.5), ParameterError, "between 0 and 1"),
    (lambda: F.softmax(X, 2), ShapeError, "axis between -2 and 1"),
    (lambda: F.gelu(X, "exact"), ParameterError, '"none" or "tanh"'),
    (lambda: F.celu(X, 0), ParameterError, "other than 0"),
    (lambda: F.softplus(X, 0), ParameterError, "other than 0"),
    (lambda: F.hardtanh(X, 1, -1), ParameterError, "min_val below max_val"),
    (lambda: F.prelu(X, np.ones(2)), ShapeError, r"\(1,\) or \(3,\)"),
    (lambda: F.linear(X, np.ones((4, 5), np.float32)), ShapeError, "5 input features, got 3"),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_error(number):
    call, error, match = ERRORS[number]
    with pytest.raises(error, match=match):
        call()


def test_enough_was_compared():
    """Every function with an equivalent ran against it, and the grids were walked in full."""
    if torch is None and "CI" not in os.environ:
        pytest.skip("PyTorch, the oracle, is not installed")
    floors = {"cross_entropy": 486, "nll_loss": 108, "cross_entropy of probabilities": 36,
              "binary_cross_entropy": 9, "binary_cross_entropy_with_logits": 12, "kl_div": 9,
              "triplet_margin_loss": 18, "smooth_l1_loss": 9, "huber_loss": 6, "mse_loss": 3,
              "l1_loss": 3, "cosine_similarity": 3, "embedding": 3, "prelu": 2, "softmax": 3,
              "log_softmax": 3, "focal_loss": 9, "dice_loss": 6, "tversky_loss": 6,
              **{name: len(options) for name, options in ACTIVATIONS.items()}}
    short = {name: EXECUTED[name] for name, floor in floors.items() if EXECUTED[name] < floor}
    assert not short
