"""Rows of the convolutions with an activation and max pooling, and of their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ParameterError, ShapeError
from medai_engine.kernels.conv import reference
from medai_engine.ops.conv import output_sizes

from . import Draw, bad, r0, row, sample, torch
from .conv import PLAIN, _conv_terms, _torch_conv, computed, drawn, magnitude

# the geometry as in conv.py, activation, its parameters, windows; smallest first
FUSED = [
    ((1, (4,), 1, 1, (2,), (1,), ((0, 0),), (1,), 1), "", (), (3,)),
    ((2, (7,), 4, 3, (3,), (2,), ((1, 2),), (1,), 1), "relu", (), (2,)),
    ((1, (3, 4), 2, 3, (2, 3), (1, 2), ((1, 0), (2, 1)), (1, 1), 1), "tanh", (), (3, 1)),
    ((1, (5, 4), 2, 4, (2, 1), (2, 1), ((0, 1), (0, 0)), (1, 1), 2), "leaky_relu", (0.1,), (2, 3)),
    ((2, (3, 4), 2, 2, (3, 2), (1, 1), ((1, 1), (0, 1)), (1, 2), 2), "sigmoid", (), (1, 2)),
    ((1, (2, 3, 4), 2, 3, (2, 1, 3), (1, 2, 1), ((0, 1), (1, 1), (1, 1)), (1, 1, 1), 1),
     "elu", (0.7,), (2, 2, 3)),
    ((1, (3, 3), 1, 5, (1, 2), (1, 1), ((0, 0), (1, 0)), (1, 1), 1), "selu", (), (2, 1)),
    ((1, (4, 3), 1, 2, (1, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1), "relu6", (), (1, 1)),
    ((0, (3, 4), 2, 3, (2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1), "relu", (), (1, 2)),
]
LARGE = ((3, (30, 31), 32, 48, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1), "relu", (), (2, 3))
MARGIN = 0.02
GEOMETRY = ("stride", "padding", "dilation", "groups")


def full_sizes(case: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the sizes before the pooling."""
    _, sizes, _, _, kernel, stride, padding, dilation, _ = case
    return output_sizes(sizes, kernel, stride, padding, dilation)


def spaced(y: np.ndarray, pool: tuple[int, ...]) -> bool:
    """Tell whether outputs stay away from 0 and 6, and maxima from what comes second."""
    if not y.size or min(np.abs(y).min(), np.abs(y - 6).min()) < MARGIN:
        return not y.size
    ones = (1,) * (3 - len(pool))
    top = np.sort(reference.windowed(whole_windows(y, pool), ones + pool), axis=-1)[..., -2:]
    return top.shape[-1] < 2 or bool(np.diff(top, axis=-1).min() > MARGIN)


def whole_windows(y: np.ndarray, pool: tuple[int, ...]) -> np.ndarray:
    """Return what windows read of (N, *S, F), as (N, D, H, W, F)."""
    cut = y[(slice(None), *[slice(n // p * p) for n, p in zip(y.shape[1:-1], pool, strict=True)])]
    return cut.reshape(len(cut), *(1,) * (3 - len(pool)), *cut.shape[1:])


def fused_sample(r: Draw, case: Any, pools: bool = True) -> Any:
    """Return a sample of conv_pool, or of conv_activation, whose steps cross no kink."""
    geometry, activation, parameters, pool = case
    shape = (geometry[0], *full_sizes(geometry), geometry[3])
    while True:
        a, params = drawn(r, geometry)
        y = computed(reference.conv, [a["x"], a["weight"], a["bias"]], shape, **params)
        if case is LARGE or spaced(y, pool):
            break
    params.update({"activation": activation, "parameters": parameters},
                  **({"pool": pool} if pools else {}))
    return sample(a["x"], a["weight"], a["bias"], **params)


def _torch_fused(x: Any, weight: Any, bias: Any, activation: str, parameters: Any, pool: Any = None,
                 **geometry: Any) -> Any:
    f, y = torch().nn.functional, _torch_conv(x, weight, bias, **geometry)
    if activation:
        y = getattr(torch() if activation in ("tanh", "sigmoid") else f, activation)(
            y, *parameters)
    if pool is None:
        return y
    if y.numel() == 0:
        y = y[:, :y.shape[1] // pool[0], :y.shape[2] // pool[1]]
        return y, y.to(torch().uint8)
    top, at = getattr(f, f"max_pool{len(pool)}d")(y.movedim(-1, 1), pool, return_indices=True)
    index, at = torch().zeros_like(at), at.clone()
    for size, p, scale in reversed(list(zip(y.shape[1:-1], pool, [
            math.prod(pool[i + 1:]) for i in range(len(pool))], strict=True))):
        index += at % size % p * scale
        at //= size
    return top.movedim(1, -1), index.to(torch().uint8).movedim(1, -1)


def _activation_terms(x: Any, weight: Any, bias: Any, activation: str, parameters: Any,
                      **geometry: Any) -> tuple[int, Any]:
    k, size = _conv_terms(x, weight, bias, **geometry)
    return k, 2 * size  # the steepest of them is selu, below 1.8


def _pool_terms(x: Any, weight: Any, bias: Any, pool: Any, **params: Any) -> tuple[int, Any]:
    k, size = _activation_terms(x, weight, bias, **params)
    outputs = [n // p for n, p in zip(size.shape[1:-1], pool, strict=True)]
    windows = reference.windowed(whole_windows(size, pool), (1,) * (3 - len(pool)) + pool)
    return k, windows.max(axis=-1).reshape(len(x), *outputs, len(weight))


row("conv_activation", lambda r: [fused_sample(r, case, False) for case in FUSED],
    large=lambda r: fused_sample(r, LARGE, False), terms=_activation_terms, derivative="stencil",
    bad=[bad(ParameterError, "one of the activations relu,.*got 'gelu'", r0(1, 3, 4, 2),
             r0(3, 3, 3, 2), r0(3), activation="gelu", parameters=(), **PLAIN),
         bad(ParameterError, r"with its parameters, got 'elu' \(\)", r0(1, 3, 4, 2),
             r0(3, 3, 3, 2), r0(3), activation="elu", parameters=(), **PLAIN),
         bad(ParameterError, "a slope of at least 0, got -0.1", r0(1, 3, 4, 2), r0(3, 3, 3, 2),
             r0(3), activation="leaky_relu", parameters=(-0.1,), **PLAIN),
         bad(ShapeError, r"bias of shape \(3,\), got \(2,\)", r0(1, 3, 4, 2), r0(3, 3, 3, 2),
             r0(2), activation="relu", parameters=(), **PLAIN)],
    oracles={"torch": _torch_fused})
WINDOW = {"activation": "relu", "parameters": (), **PLAIN}
row("conv_pool", lambda r: [fused_sample(r, case) for case in FUSED],
    large=lambda r: fused_sample(r, LARGE), terms=_pool_terms, derivative="stencil",
    bad=[bad(ShapeError, r"at least \(2, 2\) outputs.*got \(1, 2\)", r0(1, 3, 4, 2),
             r0(3, 3, 3, 2), r0(3), pool=(2, 2), **WINDOW),
         bad(ParameterError, r"pool of 2 sizes.*got \(2,\)", r0(1, 9, 9, 2), r0(3, 3, 3, 2), r0(3),
             pool=(2,), **WINDOW),
         bad(ParameterError, r"at least 1.*got \(0, 2\)", r0(1, 9, 9, 2), r0(3, 3, 3, 2), r0(3),
             pool=(0, 2), **WINDOW),
         bad(ParameterError, "at most 256 entries", r0(1, 40, 40, 1), r0(3, 3, 3, 1), r0(3),
             pool=(17, 16), **WINDOW)],
    oracles={"torch": _torch_fused})


def places(r: Draw, case: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a pooled gradient and places, one of them beyond its window."""
    geometry, _, _, pool = case
    outputs = [n // p for n, p in zip(full_sizes(geometry), pool, strict=True)]
    shape = (geometry[0], *outputs, geometry[3])
    index = r.integers(0, math.prod(pool), *shape).astype(np.uint8)
    if index.size:
        index.flat[-1] = 255
    return r.normal(*shape), index


def input_sample(r: Draw, case: Any) -> Any:
    (a, params), (g, index) = drawn(r, case[0]), places(r, case)
    return sample(g, index, a["weight"], sizes=case[0][1], pool=case[3], **params)


def weight_sample(r: Draw, case: Any) -> Any:
    (a, params), (g, index) = drawn(r, case[0]), places(r, case)
    return sample(a["x"], g, index, kernel=case[0][4], pool=case[3], **params)


def bias_sample(r: Draw, case: Any) -> Any:
    g, index = places(r, case)
    return sample(g, index, pool=case[3], sizes=full_sizes(case[0]))


def expanded(g: Any, index: Any, pool: Any, sizes: Any) -> Any:
    """Return g at full resolution, for 1 to 3 axes."""
    ones = (1,) * (3 - len(pool))
    full = reference.expanded(*[a.reshape(len(a), *ones, *a.shape[1:]) for a in (g, index)],
                              ones + tuple(pool), ones + tuple(sizes))
    return full.reshape(len(g), *sizes, g.shape[-1])


def _input_terms(g: Any, index: Any, weight: Any, sizes: Any, pool: Any,
                 **geometry: Any) -> tuple[int, Any]:
    full = expanded(g, index, pool, output_sizes(
        sizes, weight.shape[1:-1], *[geometry[name] for name in GEOMETRY[:3]]))
    shape = (len(g), *sizes, weight.shape[-1] * geometry["groups"])
    return weight[..., 0].size, magnitude(reference.conv_grad_input, [full, weight], shape,
                                          **geometry)


def _weight_terms(x: Any, g: Any, index: Any, kernel: Any, pool: Any,
                  **geometry: Any) -> tuple[int, Any]:
    full = expanded(g, index, pool, output_sizes(
        x.shape[1:-1], kernel, *[geometry[name] for name in GEOMETRY[:3]]))
    shape = (g.shape[-1], *kernel, x.shape[-1] // geometry["groups"])
    return full[..., 0].size + 1, magnitude(reference.conv_grad_weight, [x, full], shape,
                                            **geometry)


def _spread(g: Any, index: Any, pool: Any, sizes: Any) -> Any:
    """Return g at full resolution, by PyTorch's comparisons."""
    t, axes = torch(), len(pool)
    hits = (index[..., None] == t.arange(math.prod(pool))) * g[..., None]
    hits = hits.reshape(*index.shape, *pool)
    order = [0, *[n for i in range(axes) for n in (i + 1, axes + 2 + i)], axes + 1]
    sides = [n * p for n, p in zip(index.shape[1:-1], pool, strict=True)]
    full = g.new_zeros(len(g), *sizes, g.shape[-1])
    full[(slice(None), *map(slice, sides))] = hits.permute(order).reshape(
        len(g), *sides, g.shape[-1])
    return full


def _pulled(x: Any, weight: Any, full: Any, wanted: int, geometry: Any) -> Any:
    leaves = [x.requires_grad_(), weight.requires_grad_()]
    y = _torch_conv(*leaves, torch().zeros(len(weight), dtype=x.dtype), **geometry)
    return torch().autograd.grad(y, leaves[wanted], full)[0]


def _torch_input(g: Any, index: Any, weight: Any, sizes: Any, pool: Any, **geometry: Any) -> Any:
    full = _spread(g, index, pool, output_sizes(
        sizes, tuple(weight.shape[1:-1]), *[geometry[name] for name in GEOMETRY[:3]]))
    x = g.new_zeros(len(g), *sizes, weight.shape[-1] * geometry["groups"])
    return _pulled(x, weight, full, 0, geometry)


def _torch_weight(x: Any, g: Any, index: Any, kernel: Any, pool: Any, **geometry: Any) -> Any:
    full = _spread(g, index, pool, output_sizes(
        tuple(x.shape[1:-1]), kernel, *[geometry[name] for name in GEOMETRY[:3]]))
    weight = x.new_zeros(g.shape[-1], *kernel, x.shape[-1] // geometry["groups"])
    return _pulled(x, weight, full, 1, geometry)


U8 = np.zeros((1, 1, 1, 3), np.uint8)
row("conv_pool_grad_input", lambda r: [input_sample(r, case) for case in FUSED],
    large=lambda r: input_sample(r, LARGE), terms=_input_terms,
    bad=[bad(ShapeError, r"g of shape \(1, 1, 1, 3\), got \(1, 2, 2, 3\)", r0(1, 2, 2, 3), U8,
             r0(3, 3, 3, 2), sizes=(4, 4), pool=(2, 2), **PLAIN),
         bad(ShapeError, r"places of shape \(1, 1, 1, 3\)", r0(1, 1, 1, 3), U8[:, 0],
             r0(3, 3, 3, 2), sizes=(4, 4), pool=(2, 2), **PLAIN),
         bad(DTypeError, "places as uint8, got int32", r0(1, 1, 1, 3), U8.astype(np.int32),
             r0(3, 3, 3, 2), sizes=(4, 4), pool=(2, 2), **PLAIN)],
    oracles={"torch": _torch_input})
row("conv_pool_grad_weight", lambda r: [weight_sample(r, case) for case in FUSED],
    large=lambda r: weight_sample(r, LARGE), terms=_weight_terms,
    bad=[bad(ShapeError, r"g of shape \(1, 1, 1, 3\), got \(1, 2, 2, 3\)", r0(1, 4, 4, 2),
             r0(1, 2, 2, 3), U8, kernel=(3, 3), pool=(2, 2), **PLAIN)],
    oracles={"torch": _torch_weight})
row("conv_pool_grad_bias", lambda r: [bias_sample(r, case) for case in FUSED],
    large=lambda r: bias_sample(r, LARGE),
    terms=lambda g, index, pool, sizes: (
        g[..., 0].size + 1, expanded(abs(g), index, pool, sizes).reshape(-1, g.shape[-1]).sum(0)),
    bad=[bad(ShapeError, r"g of shape \(1, 1, 1, 3\), got \(1, 2, 2, 3\)", r0(1, 2, 2, 3), U8,
             pool=(2, 2), sizes=(2, 2))],
    oracles={"torch": lambda g, index, pool, sizes: _spread(g, index, pool, sizes).flatten(
        0, -2).sum(0)})
