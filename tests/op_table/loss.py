"""Rows of softmax, the cross-entropies, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from medai_engine.errors import DataError, DTypeError, ParameterError, ShapeError

from . import Draw, Sample, bad, pin, r0, row, sample, torch

# shape, axis: last, first, middle, negative, one entry, no row
LINES = [((2, 3), 1), ((3, 4, 5), 0), ((3, 4, 5), -2), ((7,), -1), ((1, 1), 1), ((0, 3), 1)]


def lines(inputs: Callable[..., list[np.ndarray]]) -> Callable[[Draw], list[Sample]]:
    """Return samples along an axis; ``inputs(r, shape, axis)`` draws the arrays."""
    return lambda r: [sample(*inputs(r, shape, axis), axis=axis) for shape, axis in LINES]


def probabilities(x: np.ndarray, axis: int) -> np.ndarray:
    """Return the softmax of x by its definition."""
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def softmax_terms(x: np.ndarray, axis: int) -> tuple[int, Any]:
    """Return the length of the sum and the magnitude of a probability's error."""
    return x.shape[axis] + 2, probabilities(x, axis) * (2 + np.abs(x).max(axis, keepdims=True))


def log_softmax_terms(x: np.ndarray, axis: int) -> tuple[int, Any]:
    """Return the length of the sum and the magnitude of x - lse."""
    return x.shape[axis] + 2, 2 + np.abs(x) + np.abs(x).max(axis, keepdims=True)


bad_lines = [bad(ShapeError, "axis between -2 and 1, got 2", r0(3, 4), axis=2),
             bad(DTypeError, "floating", np.arange(3), axis=0),
             bad(ParameterError, "one axis", r0(3, 4), axis=(0, 1)),
             bad(ShapeError, "at least one entry", r0(3, 0), axis=1)]

row("softmax", lines(lambda r, shape, axis: [r.normal(*shape)]), terms=softmax_terms,
    large=lambda r: sample(r.normal(501, 67), axis=1), bad=bad_lines,
    oracles={"torch": lambda x, axis: torch().softmax(x, axis)},
    pins=[pin([0.5, 0.5], [1000.0, 1000.0], axis=0, gradients=[[0.0, 0.0]]),
          pin([1.0, 0.0], [0.0, -np.inf], axis=0),
          pin([1.0], [7.0], axis=0, gradients=[[0.0]])])
row("log_softmax", lines(lambda r, shape, axis: [r.normal(*shape)]), terms=log_softmax_terms,
    large=lambda r: sample(r.normal(501, 67), axis=1), bad=bad_lines,
    oracles={"torch": lambda x, axis: torch().log_softmax(x, axis)},
    pins=[pin([0.0, -1000.0], [1000.0, 0.0], axis=0),
          pin([0.0, -np.inf], [0.0, -np.inf], axis=0),
          pin([0.0], [7.0], axis=0, gradients=[[0.0]])])


def pulled(name: str) -> Callable[..., Any]:
    """Return PyTorch's backward of the function that gave y."""
    return lambda g, y, axis: getattr(torch().ops.aten, name)(g, y, axis, y.dtype)


bad_grads = [bad(ShapeError, "two arrays of shape", r0(3, 4), r0(3, 5), axis=1)]

row("softmax_grad", lines(lambda r, shape, axis: [
        r.normal(*shape), probabilities(r.normal(*shape), axis)]),
    terms=lambda g, y, axis: (y.shape[axis] + 2,
                              abs(y) * (abs(g) + abs(g * y).sum(axis, keepdims=True))),
    large=lambda r: sample(r.normal(501, 67), probabilities(r.normal(501, 67), 1), axis=1),
    oracles={"torch": pulled("_softmax_backward_data")}, bad=bad_grads)
row("log_softmax_grad", lines(lambda r, shape, axis: [
        r.normal(*shape), np.log(probabilities(r.normal(*shape), axis))]),
    terms=lambda g, y, axis: (y.shape[axis] + 2, abs(g) + np.exp(y) * (1 + abs(y)) *
                              abs(g).sum(axis, keepdims=True)),
    large=lambda r: sample(r.normal(501, 67), np.log(probabilities(r.normal(501, 67), 1)),
                           axis=1),
    oracles={"torch": pulled("_log_softmax_backward_data")}, bad=bad_grads)

# ---- cross-entropy of indices -----------------------------------------------------------------

# logits' shape, ignored label
ROWS = [((2, 3), None), ((5, 4), -1), ((2, 3, 4), 9), ((4,), None), ((3, 1), None), ((0, 3), -1)]


def labels(r: Draw, shape: tuple[int, ...], ignore: int | None) -> np.ndarray:
    """Draw labels, every third one ignored."""
    drawn = r.integers(0, shape[-1], *shape[:-1])
    if ignore is not None:
        drawn.reshape(-1)[::3] = ignore
    return drawn


def log_sum(x: np.ndarray) -> np.ndarray:
    """Return the log-sum-exp of the last axis by its definition."""
    return np.log(np.exp(x).sum(-1))


def _torch_rows(logits: Any, labels: Any, ignore: int | None) -> Any:
    F = torch().nn.functional
    flat = logits.reshape(-1, logits.shape[-1])
    loss = F.cross_entropy(flat, labels.reshape(-1), reduction="none",
                           ignore_index=-100 if ignore is None else ignore)
    return loss.reshape(labels.shape), torch().logsumexp(logits, -1)


def _rows_terms(logits: np.ndarray, labels: np.ndarray, ignore: int | None) -> tuple[int, Any]:
    top = np.abs(logits).max(-1)
    return logits.shape[-1] + 2, (2 + 2 * top, 2 + top)


row("softmax_cross_entropy", lambda r: [
        sample(r.normal(*shape), labels(r, shape, ignore), ignore=ignore)
        for shape, ignore in ROWS],
    large=lambda r: sample(r.normal(501, 67), labels(r, (501, 67), -1), ignore=-1),
    terms=_rows_terms, oracles={"torch": _torch_rows},
    bad=[bad(DataError, r"labels from 0 to 2, got 3 at labels\[1\].*4 wide", r0(2, 3),
             np.array([0, 3]), ignore=None),
         bad(DataError, r"got -1 at labels\[0\]", r0(2, 3), np.array([-1, 2]), ignore=None),
         bad(DTypeError, "integer dtype, got float32.*astype", r0(2, 3), r0(2), ignore=None),
         bad(ShapeError, "one-hot: pass labels.argmax", r0(2, 3), np.eye(3, dtype=int)[:2],
             ignore=None),
         bad(ShapeError, "squeeze", r0(2, 3), np.zeros((2, 1), int), ignore=None),
         bad(ShapeError, r"labels of shape \(2,\), got \(5,\)", r0(2, 3), np.zeros(5, int),
             ignore=None),
         bad(DTypeError, "logits of float32", np.zeros((2, 3), int), r0(2), ignore=None)],
    pins=[pin([[0.0, 2000.0], [1000.0, 1000.0]], [[1000.0, -1000.0]] * 2, np.array([0, 1]),
              ignore=None),
          pin([[0.0], [np.inf]], [[np.inf, 0.0]], np.array([-1]), ignore=-1)])


def _grad_sample(r: Draw, shape: tuple[int, ...], ignore: int | None) -> Sample:
    logits = r.normal(*shape)
    return sample(r.normal(*shape[:-1]), r.normal(*shape[:-1]), logits,
                  labels(r, shape, ignore), log_sum(logits))


def _grad_terms(g_loss: np.ndarray, g_lse: np.ndarray, logits: np.ndarray, labels: np.ndarray,
                lse: np.ndarray) -> tuple[int, Any]:
    p = np.exp(logits - lse[..., None])
    size = (abs(g_loss) + abs(g_lse))[..., None]
    return 2, size * p * (2 + abs(logits) + abs(lse)[..., None]) + abs(g_loss)[..., None]


def _torch_grad(g_loss: Any, g_lse: Any, logits: Any, labels: Any, lse: Any) -> Any:
    """Return the gradient of <g_loss, loss> + <g_lse, lse> by PyTorch's own reverse pass."""
    x = logits.detach().requires_grad_()
    known = (labels >= 0) & (labels < x.shape[-1])
    loss, total = _torch_rows(x, torch().where(known, labels, -100), None)
    (g_loss * loss + g_lse * total).sum().backward()
    return x.grad


row("softmax_cross_entropy_grad", lambda r: [
        _grad_sample(r, shape, ignore) for shape, ignore in ROWS],
    large=lambda r: _grad_sample(r, (501, 67), -1), terms=_grad_terms,
    oracles={"torch": _torch_grad},
    exempt={"cost": "the subtraction at the label is not done in ignored rows"},
    bad=[bad(ShapeError, r"arrays of shape \(2,\).*g_loss \(3,\)", r0(3), r0(2), r0(2, 3),
             np.zeros(2, int), r0(2))])

# ---- cross-entropy of a probability -----------------------------------------------------------

SHAPES = [(2, 3), (3, 4, 5), (), (1, 7), (0, 3)]


def _pair(r: Draw, shape: tuple[int, ...]) -> list[np.ndarray]:
    return [r.uniform(0.3, 0.7, *shape), r.uniform(0.1, 0.9, *shape)]


row("binary_cross_entropy", lambda r: [sample(*_pair(r, shape)) for shape in SHAPES],
    terms=lambda x, t: (2, 1 + abs(np.log(x)) + abs(np.log1p(-x)) + 1 / (1 - x)),
    oracles={"torch": lambda x, t: torch().nn.functional.binary_cross_entropy(
        x, t, reduction="none")},
    bad=[bad(DataError, "probabilities between 0 and 1, got 1.5.*with_logits", r0(2) + 1.5, r0(2)),
         bad(DataError, "targets between 0 and 1, got 2.*0 and 1", r0(2), r0(2) + 2),
         bad(ShapeError, "one shape", r0(2, 1), r0(2))],
    pins=[pin([100.0, 100.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0],
              gradients=[[-1e12, 1e12, 0.0, 0.0], [100.0, -100.0, -100.0, 100.0]])])
row("binary_cross_entropy_grad", lambda r: [
        sample(r.normal(*shape), *_pair(r, shape)) for shape in SHAPES],
    terms=lambda g, x, t: (2, abs(g) * (x + t) / (x * (1 - x))),
    oracles={"torch": lambda g, x, t: torch().ops.aten.binary_cross_entropy_backward(
        g, x, t, None, 0)},
    bad=[bad(ShapeError, "one shape", r0(2), r0(3), r0(3))],
    pins=[pin([-1e12, 0.5e12], [1.0, 0.5], [0.0, 1.0], [1.0, 0.0])])
