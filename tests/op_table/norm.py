"""Rows of normalisation with the statistics of the data, and with known ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ShapeError

from . import Draw, Sample, bad, pin, r0, row, sample, torch

# (outer, n, C), groups, eps: batch, group, layer, instance norm, one value, no row
SHAPES = [((1, 3, 2), 2, 0.5), ((2, 3, 4), 2, 0.1), ((5, 1, 3), 1, 0.3), ((2, 5, 3), 3, 0.1),
          ((3, 1, 8), 2, 0.2), ((1, 1, 1), 1, 0.5), ((0, 2, 3), 1, 0.1)]


def blocks(x: np.ndarray, groups: int) -> np.ndarray:
    """Return x (outer, n, C) as (outer, n, groups, W)."""
    return x.reshape(x.shape[0], x.shape[1], groups, x.shape[2] // groups)


def each(x: np.ndarray) -> np.ndarray:
    """Return statistics (outer, groups) as (outer, 1, groups, 1)."""
    return x[:, None, :, None]


def statistics(x: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of every group."""
    b = blocks(x, groups)
    return b.mean((1, 3)), b.var((1, 3))


def _norm_terms(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, groups: int,
                eps: float) -> tuple[int, Any]:
    """An error of x - mean is one of |x| and |mean|; it comes again through the variance."""
    if x.size == 0:
        return 0, 0.0
    b, w = blocks(x, groups), abs(weight).reshape(groups, -1)
    mean, var = statistics(x, groups)
    size = abs(b) + each(abs(b).mean((1, 3)))
    r, d = each(1 / np.sqrt(var + eps)), abs(b - each(mean))
    spread = (d * size).mean((1, 3))
    y = w * r * (size + d * r * r * each(spread)) + abs(bias).reshape(groups, -1)
    return b.shape[1] * b.shape[3] + 2, (y.reshape(x.shape), abs(b).mean((1, 3)), 2 * spread)


def _torch_norm(x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
    """Return PyTorch's group norm (it refuses one value), mean and variance by its functions."""
    channels_first = x.movedim(-1, 1)
    flat = (channels_first * 0 * weight + bias if x.numel() == 1 else
            torch().nn.functional.group_norm(channels_first, groups, weight, bias, eps))
    grouped = x.unflatten(2, (groups, -1))
    mean = grouped.mean((1, 3), keepdim=True)
    return flat.movedim(1, -1), mean[:, 0, :, 0], (grouped - mean).square().mean((1, 3))


row("norm", lambda r: [sample(r.normal(*shape), r.normal(shape[2]), r.normal(shape[2]),
                              groups=groups, eps=eps) for shape, groups, eps in SHAPES],
    large=lambda r: sample(r.normal(2, 1500, 45), r.normal(45), r.normal(45), groups=9, eps=1e-5),
    terms=_norm_terms, oracles={"torch": _torch_norm},
    bad=[bad(ShapeError, "multiple of 2, got", r0(2, 3, 5), r0(5), r0(5), groups=2, eps=1e-5),
         bad(ShapeError, r"weight of shape \(4,\).*got \(3,\)", r0(2, 3, 4), r0(3), r0(4),
             groups=2, eps=1e-5),
         bad(ShapeError, "n not 0", r0(2, 0, 4), r0(4), r0(4), groups=2, eps=1e-5),
         bad(DTypeError, "the same for all", r0(2, 3, 4), np.ones(4), r0(4), groups=2, eps=1e-5)],
    pins=[pin([[[[-1.0], [3.0]]], [[2.0]], [[4.0]]],
              [[[0.0], [4.0]]], [2.0], [1.0], groups=1, eps=0.0),
          pin([[[[7.0]]], [[3.0]], [[0.0]]], [[[3.0]]], [2.0], [7.0], groups=1, eps=1.0)])


def _grad_sample(r: Draw, shape: tuple[int, ...], groups: int, eps: float) -> Sample:
    x = r.normal(*shape)
    mean, var = statistics(x, groups) if x.size else (np.zeros((0, groups)),) * 2
    return sample(r.normal(*shape), r.normal(*mean.shape), r.normal(*mean.shape), x, mean, var,
                  r.normal(shape[2]), eps=eps)


def _grad_terms(g: np.ndarray, g_mean: np.ndarray, g_var: np.ndarray, x: np.ndarray,
                mean: np.ndarray, var: np.ndarray, weight: np.ndarray, eps: float) -> Any:
    groups = mean.shape[1]
    if x.size == 0:
        return 0, 0.0
    g, b, w = abs(blocks(g, groups)), blocks(x, groups), abs(weight).reshape(groups, -1)
    m = b.shape[1] * b.shape[3]
    r, d = each(1 / np.sqrt(var + eps)), abs(b) + each(abs(mean))
    A, B = (g * w).sum((1, 3)), (g * w * d).sum((1, 3))
    dx = (r * w * g + (2 * each(abs(g_var)) + r**3 * each(B)) * d / m
          + (each(abs(g_mean)) + r * each(A)) / m)
    C = x.shape[2]
    return x.shape[0] * m + 4, (2 * dx.reshape(x.shape), (g * d * r).sum((0, 1)).reshape(C),
                                g.sum((0, 1)).reshape(C))


def _torch_grad(g: Any, g_mean: Any, g_var: Any, x: Any, mean: Any, var: Any, weight: Any,
                eps: float) -> Any:
    """Return the gradients of <g, y> + <g_mean, mean> + <g_var, var> by PyTorch's reverse pass."""
    x, weight = x.requires_grad_(), weight.requires_grad_()
    bias = torch().zeros_like(weight).requires_grad_()
    if x.numel() == 0:
        return x, bias, bias
    y, middle, spread = _torch_norm(x, weight, bias, mean.shape[1], eps)
    ((g * y).sum() + (g_mean * middle).sum() + (g_var * spread).sum()).backward()
    return x.grad, weight.grad, bias.grad


row("norm_grad", lambda r: [_grad_sample(r, *case) for case in SHAPES],
    large=lambda r: _grad_sample(r, (2, 1500, 45), 9, 1e-5), terms=_grad_terms,
    oracles={"torch": lambda *arrays, eps: tuple(
        t.detach() for t in _torch_grad(*arrays, eps=eps))},
    bad=[bad(ShapeError, r"g of shape \(2, 3, 4\)", r0(2, 3, 5), r0(2, 1), r0(2, 1), r0(2, 3, 4),
             r0(2, 1), r0(2, 1), r0(4), eps=1e-5)])

row("channel_affine", lambda r: [
        sample(r.normal(*shape), *(r.normal(shape[-1]) for _ in range(3)))
        for shape in [(2, 3), (3, 4, 5), (7,), (1, 1), (0, 3)]],
    large=lambda r: sample(r.normal(900, 67), *(r.normal(67) for _ in range(3))),
    terms=lambda x, center, scale, shift: (
        1, (abs(x) + abs(center)) * abs(scale) + abs(shift)),
    oracles={"torch": lambda x, center, scale, shift: torch().nn.functional.batch_norm(
        x.reshape(-1, x.shape[-1]), center, torch().ones_like(center), scale, shift,
        eps=0.0).reshape(x.shape)},
    bad=[bad(ShapeError, r"scale of shape \(4,\).*got \(3,\)", r0(2, 4), r0(4), r0(3), r0(4)),
         bad(ShapeError, "a number", np.float32(1), r0(1), r0(1), r0(1)),
         bad(DTypeError, "the same for all", np.zeros((2, 4), int), r0(4), r0(4), r0(4))],
    pins=[pin([[5.0, -2.0]], [[3.0, 4.0]], [1.0, 2.0], [2.0, -1.0], [1.0, 0.0],
              gradients=[[[2.0, -1.0]], [-2.0, 1.0], [2.0, 2.0], [1.0, 1.0]])])


def _torch_affine_grad(g: Any, x: Any, center: Any, scale: Any) -> Any:
    """Return the gradients of <g, y> in x, scale and shift by PyTorch's reverse pass."""
    leaves = x, scale, torch().zeros_like(scale)
    for leaf in leaves:
        leaf.requires_grad_()
    return torch().autograd.grad((g * ((x - center) * scale + leaves[2])).sum(), leaves)


row("channel_affine_grad", lambda r: [
        sample(r.normal(*shape), r.normal(*shape), r.normal(shape[-1]), r.normal(shape[-1]))
        for shape in [(2, 3), (3, 4, 5), (7,), (1, 1), (0, 3)]],
    large=lambda r: sample(r.normal(9000, 67), r.normal(9000, 67), r.normal(67), r.normal(67)),
    terms=lambda g, x, center, scale: (x.size // x.shape[-1] + 1, (
        abs(g * scale), (abs(g) * (abs(x) + abs(center))).reshape(-1, x.shape[-1]).sum(0),
        abs(g).reshape(-1, x.shape[-1]).sum(0))),
    oracles={"torch": _torch_affine_grad},
    bad=[bad(ShapeError, r"g of shape \(2, 4\)", r0(2, 3), r0(2, 4), r0(4), r0(4))])
