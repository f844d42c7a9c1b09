"""Rows of convolution and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ParameterError, ShapeError
from medai_engine.kernels.conv import reference
from medai_engine.ops.conv import output_sizes

from . import Draw, bad, r0, row, sample, torch

# N, sizes, C, F, kernel, stride, padding, dilation, groups; smallest first
GEOMETRIES = [
    (1, (3,), 1, 1, (2,), (1,), ((0, 0),), (1,), 1),
    (2, (7,), 4, 3, (3,), (2,), ((1, 2),), (1,), 1),
    (1, (3, 4), 2, 3, (2, 3), (1, 2), ((1, 0), (2, 1)), (1, 1), 1),
    (1, (5, 4), 2, 4, (2, 1), (2, 1), ((0, 1), (0, 0)), (3, 1), 2),
    (2, (3, 4), 2, 2, (3, 2), (1, 1), ((1, 1), (0, 1)), (1, 2), 2),
    (1, (2, 3, 4), 2, 3, (2, 1, 3), (1, 2, 1), ((0, 0), (1, 1), (1, 1)), (1, 1, 1), 1),
    (0, (3, 4), 2, 3, (2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
]
LARGE = (3, (30, 31), 32, 48, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)


def drawn(r: Draw, case: tuple[Any, ...]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays by name, and the parameters."""
    N, sizes, C, F, kernel, stride, padding, dilation, groups = case
    out = output_sizes(sizes, kernel, stride, padding, dilation)
    shapes = {"x": (N, *sizes, C), "weight": (F, *kernel, C // groups), "bias": (F,),
              "g": (N, *out, F)}
    return ({name: r.normal(*shape) for name, shape in shapes.items()},
            {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})


def conv_sample(r: Draw, case: tuple[Any, ...]) -> Any:
    a, params = drawn(r, case)
    return sample(a["x"], a["weight"], a["bias"], **params)


def input_sample(r: Draw, case: tuple[Any, ...]) -> Any:
    a, params = drawn(r, case)
    return sample(a["g"], a["weight"], sizes=case[1], **params)


def weight_sample(r: Draw, case: tuple[Any, ...]) -> Any:
    a, params = drawn(r, case)
    return sample(a["x"], a["g"], kernel=case[4], **params)


def magnitude(kernel: Any, inputs: list[np.ndarray], shape: tuple[int, ...],
              **geometry: Any) -> np.ndarray:
    """Return the sums of magnitudes."""
    return computed(kernel, [abs(a) for a in inputs], shape, **geometry)


def computed(kernel: Any, inputs: list[np.ndarray], shape: tuple[int, ...], stride: Any,
             padding: Any, dilation: Any, groups: int) -> np.ndarray:
    """Return what the definition gives, on three spatial axes."""
    ones = (1,) * (3 - len(stride))

    def wide(shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape if len(shape) == 1 else (shape[0], *ones, *shape[1:])

    out = np.zeros(wide(shape))
    kernel(*[a.reshape(wide(a.shape)) for a in inputs], out, ones + stride,
           (0,) * len(ones) + tuple(p[0] for p in padding), ones + dilation, groups)
    return out.reshape(shape)


def _conv_terms(x: Any, weight: Any, bias: Any, **params: Any) -> tuple[int, Any]:
    out = output_sizes(x.shape[1:-1], weight.shape[1:-1], params["stride"], params["padding"],
                       params["dilation"])
    shape = (x.shape[0], *out, weight.shape[0])
    return weight[0].size + 1, magnitude(reference.conv, [x, weight, bias], shape, **params)


def _input_terms(g: Any, weight: Any, sizes: Any, **params: Any) -> tuple[int, Any]:
    shape = (g.shape[0], *sizes, weight.shape[-1] * params["groups"])
    return weight[..., 0].size, magnitude(reference.conv_grad_input, [g, weight], shape, **params)


def _weight_terms(x: Any, g: Any, kernel: Any, **params: Any) -> tuple[int, Any]:
    shape = (g.shape[-1], *kernel, x.shape[-1] // params["groups"])
    return (g[..., 0].size + 1,
            magnitude(reference.conv_grad_weight, [x, g], shape, **params))


def first(t: Any) -> Any:
    """Move the channels from last to first."""
    return t.movedim(-1, 1)


def _torch_conv(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
                groups: int) -> Any:
    f = torch().nn.functional
    padded = f.pad(first(x), [p for pair in reversed(padding) for p in pair])
    conv = (f.conv1d, f.conv2d, f.conv3d)[len(stride) - 1]
    return conv(padded, first(weight), bias, stride, 0, dilation, groups).movedim(1, -1)


def _torch_pull(x: Any, weight: Any, g: Any, wanted: int, params: Any) -> Any:
    """Return PyTorch's gradient of x (0) or of the weight (1)."""
    leaves = [x.requires_grad_(), weight.requires_grad_()]
    zero = torch().zeros(weight.shape[0], dtype=x.dtype)
    return torch().autograd.grad(_torch_conv(*leaves, zero, **params), leaves[wanted], g)[0]


def _torch_input(g: Any, weight: Any, sizes: Any, **params: Any) -> Any:
    shape = (g.shape[0], *sizes, weight.shape[-1] * params["groups"])
    return _torch_pull(torch().zeros(shape, dtype=g.dtype), weight, g, 0, params)


def _torch_weight(x: Any, g: Any, kernel: Any, **params: Any) -> Any:
    shape = (g.shape[-1], *kernel, x.shape[-1] // params["groups"])
    return _torch_pull(x, torch().zeros(shape, dtype=g.dtype), g, 1, params)


PLAIN = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}

row("conv", lambda r: [conv_sample(r, case) for case in GEOMETRIES],
    large=lambda r: conv_sample(r, LARGE), terms=_conv_terms,
    bad=[bad(ShapeError, r"extent \(3, 5\), got \(3, 4\)", r0(1, 3, 4, 2), r0(3, 3, 3, 2), r0(3),
             **{**PLAIN, "dilation": (1, 2)}),
         bad(ShapeError, "3 groups divide, got 4 and 6", r0(1, 3, 3, 4), r0(6, 3, 3, 1), r0(6),
             **{**PLAIN, "groups": 3}),
         bad(ShapeError, r"3 input channels.*got 5.*permute_dims", r0(1, 3, 8, 5), r0(6, 3, 3, 3),
             r0(6), **PLAIN),
         bad(ShapeError, r"4 input channels.*got 5.*Conv2d\(5, 6", r0(1, 3, 8, 5), r0(6, 3, 3, 4),
             r0(6), **PLAIN),
         bad(ParameterError, r"stride of at least 1, got \(1, 0\)", r0(1, 3, 4, 2),
             r0(3, 3, 3, 2), r0(3), **{**PLAIN, "stride": (1, 0)}),
         bad(ParameterError, "dilation of at least 1", r0(1, 3, 4, 2), r0(3, 3, 3, 2), r0(3),
             **{**PLAIN, "dilation": (0, 1)}),
         bad(ParameterError, "groups of at least 1", r0(1, 3, 4, 2), r0(3, 3, 3, 2), r0(3),
             **{**PLAIN, "groups": 0}),
         bad(ShapeError, "kernel's extent", r0(1, 0, 4, 2), r0(3, 1, 1, 2), r0(3), **PLAIN),
         bad(ShapeError, r"4 axes \(N, H, W, C\).*got 5 axes.*conv3d", r0(1, 3, 3, 4, 2),
             r0(3, 3, 3, 2), r0(3), **PLAIN),
         bad(ShapeError, "batch of one", r0(4, 2), r0(3, 3, 3, 2), r0(3), **PLAIN),
         bad(ShapeError, r"a weight \(F, KH, KW, C/groups\)", r0(1, 3, 4, 2), r0(3, 3, 2), r0(3),
             **PLAIN),
         bad(ShapeError, r"bias of shape \(3,\), got \(2,\)", r0(1, 3, 4, 2), r0(3, 3, 3, 2),
             r0(2), **PLAIN),
         bad(DTypeError, "weight float64", r0(1, 3, 4, 2), r0(3, 3, 3, 2).astype(np.float64),
             r0(3), **PLAIN)],
    oracles={"torch": _torch_conv})
row("conv_grad_input", lambda r: [input_sample(r, case) for case in GEOMETRIES],
    large=lambda r: input_sample(r, LARGE), terms=_input_terms,
    bad=[bad(ShapeError, r"g of shape \(1, 1, 2, 3\), got \(1, 2, 2, 3\)", r0(1, 2, 2, 3),
             r0(3, 3, 3, 2), sizes=(3, 4), **PLAIN)],
    oracles={"torch": _torch_input})
row("conv_grad_weight", lambda r: [weight_sample(r, case) for case in GEOMETRIES],
    large=lambda r: weight_sample(r, LARGE), terms=_weight_terms,
    bad=[bad(ShapeError, r"g of shape \(1, 1, 2, 3\), got \(1, 2, 2, 3\)", r0(1, 3, 4, 2),
             r0(1, 2, 2, 3), kernel=(3, 3), **PLAIN)],
    oracles={"torch": _torch_weight})
