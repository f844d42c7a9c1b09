"""Normalisation: batch, layer, group and instance norm are one op on x (outer, n, C).

What is normalised together is a group of channels of one outer index, see
kernels/norm/reference.py. Mean and variance are outputs of their own; the gradient is an op of its
own, whose derivative is a composition.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError, say
from ..op import Op, apply, define
from ..tensor import Tensor
from .elementwise import F
from .linalg import same_float
from .reduce import SUM
from .shape import reshape

__all__ = ["channel_affine", "norm"]

Spec = tuple[tuple[int, ...], Any]


def _per_channel(where: str, C: int, **arrays: np.ndarray) -> None:
    """Raise unless these have one entry per channel."""
    for name, a in arrays.items():
        if a.shape != (C,):
            raise ShapeError(say(where, f"{name} of shape ({C},), one entry per channel",
                                 str(a.shape), "Channels are the last axis"))


# ---- norm -------------------------------------------------------------------------------------


def _norm_infer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, groups: int,
                eps: float) -> list[Spec]:
    same_float("norm", "x weight bias", x, weight, bias)
    if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] == 0 or groups < 1 or x.shape[2] % groups:
        raise ShapeError(say("norm", f"x of shape (outer, n, C), n not 0, C a multiple of {groups}",
                             str(x.shape), "Take a number of groups that divides the channels"))
    _per_channel("norm", x.shape[2], weight=weight, bias=bias)
    statistics = (x.shape[0], groups), x.dtype
    return [(x.shape, x.dtype), statistics, statistics]


def _norm_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> tuple[Any, ...]:
    return (*arrays, *outs, params["eps"])


def _norm_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    return 0, 7 * arrays[0].size + 3 * arrays[0].shape[0] * params["groups"]


def _norm_vjp(g: Tensor, g_mean: Tensor, g_var: Tensor, x: Tensor, weight: Tensor, mean: Tensor,
              var: Tensor, eps: float) -> Any:
    return apply(NORM_GRAD, g, g_mean, g_var, x, mean, var, weight, eps=eps)


NORM: Op = define(
    "norm", infer=_norm_infer, kernel="norm", outputs=("y", "mean", "var"), prepare=_norm_prepare,
    vjp=_norm_vjp, work=_norm_work, analytic=True,
    onnx="BatchNormalization, LayerNormalization or GroupNormalization, by its shape",
    doc="y = (x - mean) / sqrt(var + eps) weight + bias, mean and biased var over n and a group")


def _grad_infer(g: np.ndarray, g_mean: np.ndarray, g_var: np.ndarray, x: np.ndarray,
                mean: np.ndarray, var: np.ndarray, weight: np.ndarray, *,
                eps: float) -> list[Spec]:
    if g.shape != x.shape or not g_mean.shape == g_var.shape == mean.shape == var.shape:
        raise ShapeError(say("norm_grad", f"g of shape {x.shape}, statistics of {mean.shape}",
                             f"{g.shape}, {g_mean.shape}, {g_var.shape} and {var.shape}",
                             "Pass what norm took and gave"))
    channels = weight.shape, x.dtype
    return [(x.shape, x.dtype), channels, channels]


def _grad_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    x, mean, C = arrays[3], arrays[4], arrays[3].shape[2]
    return 0, 13 * x.size + 10 * mean.size - 2 * C if x.size else 0


def _grad_vjp(u: Tensor, p: Tensor, q: Tensor, g: Tensor, g_mean: Tensor, g_var: Tensor, x: Tensor,
              mean: Tensor, var: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, ...]:
    """Differentiate <u, dx> + <p, dweight> + <q, dbias> in all seven inputs.

    With d = x - mean and the sums A = sum g w, B = sum g w d, U = sum u, V = sum u d of a group:
    dx = r w g + slope d + (g_mean - r A) / m, slope = (2 g_var - r^3 B) / m, dweight = sum r g d.
    """
    (outer, n, C), groups = x.data.shape, mean.data.shape[1]
    m = n * (C // groups)

    def blocks(t: Tensor) -> Tensor:
        return reshape(t, (outer, n, groups, C // groups))

    def each(t: Tensor) -> Tensor:  # what a group has one of
        return reshape(t, (outer, 1, groups, 1))

    def total(t: Tensor) -> Tensor:
        return apply(SUM, t, axis=(1, 3), keepdims=True)

    def per_group(t: Tensor) -> Tensor:
        return reshape(t, (outer, groups))

    u, g, w = blocks(u), blocks(g), reshape(weight, (groups, C // groups))
    p, q = reshape(p, w.data.shape), reshape(q, w.data.shape)
    d = blocks(x) - each(mean)
    r = 1.0 / F["sqrt"](each(var) + eps)
    cube = r * r * r
    gw = g * w
    A, B, U, V = total(gw), total(gw * d), total(u), total(u * d)
    slope = (each(g_var) * 2.0 - cube * B) * (1.0 / m)
    h = r * u - (r * U + cube * V * d) * (1.0 / m)  # dx of u, without a weight
    to_g = w * h + r * d * p + q
    to_d = slope * u - gw * (cube * V * (1.0 / m)) + r * g * p
    to_r = total(u * gw + g * d * p) - (A * U + r * r * B * V * 3.0) * (1.0 / m)
    return (reshape(to_g, (outer, n, C)), per_group(U * (1.0 / m)), per_group(V * (2.0 / m)),
            reshape(to_d, (outer, n, C)), -per_group(total(to_d)),
            per_group(to_r * cube * -0.5),
            reshape(apply(SUM, g * h, axis=(0, 1), keepdims=False), C))


NORM_GRAD: Op = define(
    "norm_grad", infer=_grad_infer, kernel="norm_grad", outputs=("dx", "dweight", "dbias"),
    vjp=_grad_vjp, work=_grad_work, analytic=True, linear=[("g", "g_mean", "g_var")],
    onnx="none: a gradient",
    doc="dx, dweight, dbias: the gradients of <g, y> + <g_mean, mean> + <g_var, var> of norm")


def norm(x: Any, weight: Any, bias: Any, groups: int,
         eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise x (outer, n, C) over n and the channels of each group; return y, mean, var."""
    return apply(NORM, x, weight, bias, groups=groups, eps=eps)


# ---- channel_affine ---------------------------------------------------------------------------


def _affine_infer(x: np.ndarray, center: np.ndarray, scale: np.ndarray,
                  shift: np.ndarray) -> Spec:
    same_float("channel_affine", "x center scale shift", x, center, scale, shift)
    if x.ndim == 0:
        raise ShapeError(say("channel_affine", "channels along the last axis", "a number",
                             "Pass (N, ..., C)"))
    _per_channel("channel_affine", x.shape[-1], center=center, scale=scale, shift=shift)
    return x.shape, x.dtype


def _affine_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                    params: dict[str, Any]) -> list[np.ndarray]:
    x, *channels = arrays
    return [_rows(x), *channels, _rows(outs[0])]


def _rows(x: np.ndarray) -> np.ndarray:
    C = x.shape[-1]
    return x.reshape(x.size // C if C else 0, C)


def _down(t: Tensor) -> Tensor:
    """Return the sum over all axes but the last."""
    return apply(SUM, t, axis=tuple(range(t.data.ndim - 1)), keepdims=False)


def _affine_vjp(g: Tensor, x: Tensor, center: Tensor, scale: Tensor,
                needs: Any) -> list[Tensor | None]:
    if not any(needs[1:]):
        return [g * scale, None, None, None]
    dx, dscale, dshift = apply(CHANNEL_AFFINE_GRAD, g, x, center, scale)
    return [dx, -(dshift * scale) if needs[1] else None, dscale, dshift]


CHANNEL_AFFINE: Op = define(
    "channel_affine", infer=_affine_infer, kernel="channel_affine", prepare=_affine_prepare,
    vjp=_affine_vjp,
    work=lambda arrays, outs, params: (0, 3 * arrays[0].size), analytic=True, inplace=["x"],
    linear=[("x", "center", "shift"), ("scale", "shift")], onnx="BatchNormalization",
    doc="y = (x - center) scale + shift, one entry of each per channel, the last axis of x")


def _affine_grad_infer(g: np.ndarray, x: np.ndarray, center: np.ndarray,
                       scale: np.ndarray) -> list[Spec]:
    if g.shape != x.shape:
        raise ShapeError(say("channel_affine_grad", f"g of shape {x.shape}", str(g.shape),
                             "Pass what channel_affine took"))
    return [(x.shape, x.dtype), (scale.shape, x.dtype), (scale.shape, x.dtype)]


def _affine_grad_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                         params: dict[str, Any]) -> list[np.ndarray]:
    g, x, *channels = arrays
    dx, *sums = outs
    return [_rows(g), _rows(x), *channels, _rows(dx), *sums]


def _affine_grad_vjp(u: Tensor, p: Tensor, q: Tensor, g: Tensor, x: Tensor, center: Tensor,
                     scale: Tensor) -> tuple[Tensor, ...]:
    """Differentiate <u, dx> + <p, dscale> + <q, dshift> in all four inputs."""
    return u * scale + p * (x - center) + q, p * g, -(p * _down(g)), _down(u * g)


CHANNEL_AFFINE_GRAD: Op = define(
    "channel_affine_grad", infer=_affine_grad_infer, kernel="channel_affine_grad",
    outputs=("dx", "dscale", "dshift"), prepare=_affine_grad_prepare, vjp=_affine_grad_vjp,
    work=lambda arrays, outs, params: (0, max(0, 5 * arrays[1].size - 2 * arrays[3].size)),
    analytic=True, linear=[("g",)], onnx="none: a gradient",
    doc="dx = g scale, dscale = sum g (x - center), dshift = sum g: gradients of channel_affine")


def channel_affine(x: Any, center: Any, scale: Any, shift: Any) -> Tensor:
    """Return (x - center) scale + shift for x (..., C) and three arrays (C,)."""
    return apply(CHANNEL_AFFINE, x, center, scale, shift)
