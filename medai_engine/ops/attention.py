"""Scaled dot-product attention: one op whose weights are never held.

First derivatives are one call of the gradient kernel. The gradient of an added mask, which is as
large as the weights, and every derivative that has to be differentiable itself are those of the
composition: the same equations written with ops.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, say
from ..mode import MODE
from ..op import Op, apply, define
from ..tensor import Tensor
from ..transforms import vjp
from .elementwise import F
from .linalg import matmul, same_float
from .reduce import MAX, SUM
from .shape import SUM_TO, permute_dims

__all__ = ["attention", "heads", "sizes", "weights"]

Spec = tuple[tuple[int, ...], Any]


def sizes(where: str, inputs: tuple[np.ndarray, ...], heads_first: bool) -> tuple[int, ...]:
    """Validate the inputs; return N, H, L, S, E and V."""
    q, k, v, *mask = inputs
    same_float(where, "q k v", q, k, v)
    axes = "(N, H, length, width)" if heads_first else "(N, length, H, width)"
    shapes = {"q": q.shape, "k": k.shape, "v": v.shape}
    if not q.ndim == k.ndim == v.ndim == 4:
        raise ShapeError(say(where, f"q, k and v of shape {axes}", "other ranks",
                             "Add the missing axes with reshape", shapes))
    at = 2 if heads_first else 1
    N, H, L, E = q.shape[0], q.shape[3 - at], q.shape[at], q.shape[3]
    S, V = k.shape[at], v.shape[3]
    wanted = [(N, H, S, E), (N, H, S, V)] if heads_first else [(N, S, H, E), (N, S, H, V)]
    if [k.shape, v.shape] != wanted:
        raise ShapeError(say(where, f"k like q and v like k but for their lengths and v's width, "
                             f"{wanted[0]} and {wanted[1]}", f"{k.shape} and {v.shape}",
                             f"The axes are {axes}", shapes))
    for m in mask:
        if m.dtype != bool and m.dtype != q.dtype:
            raise DTypeError(say(where, f"a mask of bool or {q.dtype}", str(m.dtype),
                                 "Convert it with .astype", {**shapes, "mask": m.shape}))
        if m.ndim != 4 or m.shape[3] != S or any(
                size not in (1, n) for size, n in zip(m.shape[:3], (N, H, L), strict=True)):
            raise ShapeError(say(where, f"a mask that broadcasts to {(N, H, L, S)}",
                                 str(m.shape), "Its axes are samples, heads, queries and keys",
                                 {**shapes, "mask": m.shape}))
    return N, H, L, S, E, V


def _infer(*qkv: np.ndarray, scale: float, causal: bool, heads_first: bool) -> list[Spec]:
    N, H, L, _, _, V = sizes("attention", qkv, heads_first)
    dtype = qkv[0].dtype
    return [((N, H, L, V) if heads_first else (N, L, H, V), dtype), ((N, H, L), dtype)]


def _prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
             params: dict[str, Any]) -> list[Any]:
    q, k, v, *mask = arrays
    return [q, k, v, mask[0] if mask else None, *outs, float(params["scale"]),
            bool(params["causal"]), bool(params["heads_first"])]


def _work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    """Count all scores, also those that causality forbids."""
    N, H, L, S, E, V = sizes("attention", arrays, params["heads_first"])
    added = len(arrays) > 3 and arrays[3].dtype != bool
    rows, scores = N * H * L, N * H * L * S
    return 2 * scores * (E + V), scores * (4 + added) + max(0, scores - rows) * 2 + rows * 4


def heads(x: Tensor, heads_first: bool) -> Tensor:
    """Return (N, length, H, width) with the heads first; or back."""
    return x if heads_first else permute_dims(x, (0, 2, 1, 3))


def scores(q: Tensor, k: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    """Return scale q k^T + mask for heads first, -inf where attending is forbidden."""
    s = matmul(q, permute_dims(k, (0, 1, 3, 2))) * scale
    if mask is not None:
        s = F["where"](mask, s, -np.inf) if mask.dtype == bool else s + mask
    if causal:
        s = F["where"](Tensor(np.tri(s.shape[-2], s.shape[-1]) > 0), s, -np.inf)
    return s


def weights(q: Tensor, k: Tensor, mask: Tensor | None, scale: float,
            causal: bool) -> tuple[Tensor, Tensor]:
    """Return the weights (N, H, L, S) and lse (N, H, L, 1) of heads first, as a composition."""
    s = scores(q, k, mask, scale, causal)
    if s.shape[-1]:
        top = apply(MAX, s.detach(), axis=-1, keepdims=True)
    else:
        top = Tensor(np.full((*s.shape[:-1], 1), -np.inf, s.dtype))
    shift = F["where"](F["equal"](top, -np.inf), 0.0, top)
    p = F["exp"](s - shift)
    total = apply(SUM, p, axis=-1, keepdims=True)
    total = F["where"](F["equal"](total, 0.0), 1.0, total)
    return p / total, shift + F["log"](total)


def _composed(*qkv: Tensor, mask: Tensor | None, scale: float, causal: bool,
              heads_first: bool) -> tuple[Tensor, Tensor]:
    """Return the outputs of the op as a composition; an added mask is the fourth input."""
    q, k, v = (heads(x, heads_first) for x in qkv[:3])
    p, lse = weights(q, k, qkv[3] if len(qkv) > 3 else mask, scale, causal)
    return heads(matmul(p, v), heads_first), lse[..., 0]


def _mask_slopes(g: Tensor, g_lse: Tensor, qkv: list[Tensor], out: Tensor, lse: Tensor,
                 scale: float, causal: bool, heads_first: bool) -> Tensor:
    """Return the gradient of an added mask, p (dp - delta) summed to its shape."""
    q, k, v, g, out = (heads(x, heads_first) for x in (*qkv[:3], g, out))
    p = F["exp"](scores(q, k, qkv[3], scale, causal) - lse[..., None])
    delta = apply(SUM, g * out, axis=-1, keepdims=True) - g_lse[..., None]
    slopes = p * (matmul(g, permute_dims(v, (0, 1, 3, 2))) - delta)
    return apply(SUM_TO, slopes, shape=qkv[3].shape)


def _vjp(g: Tensor, g_lse: Tensor, qkv: list[Tensor], out: Tensor, lse: Tensor, needs: Any,
         scale: float, causal: bool, heads_first: bool) -> list[Tensor | None]:
    options: dict[str, Any] = {"scale": scale, "causal": causal, "heads_first": heads_first}
    added = len(qkv) > 3 and qkv[3].dtype != bool
    found: list[Tensor | None]
    if MODE.get().grad:
        fixed = qkv[3] if len(qkv) > 3 and not added else None
        _, pull = vjp(partial(_composed, mask=fixed, **options), *qkv[: 3 + added])
        found = list(pull((g, g_lse)))
    else:
        found = [None] * 3
        if True in needs[:3]:
            found = list(apply(ATTENTION_GRAD, g, g_lse, *qkv[:3], out, lse, *qkv[3:], **options))
        if added:
            found.append(_mask_slopes(g, g_lse, qkv, out, lse, **options) if needs[3] else None)
    found += [None] * (len(needs) - len(found))
    return [x if need else None for x, need in zip(found, needs, strict=True)]


def _grad_infer(g: np.ndarray, g_lse: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray,
                out: np.ndarray, lse: np.ndarray, *mask: np.ndarray, scale: float, causal: bool,
                heads_first: bool) -> list[Spec]:
    specs = _infer(q, k, v, *mask, scale=scale, causal=causal, heads_first=heads_first)
    wanted = [specs[i][0] for i in (0, 1, 0, 1)]
    if [a.shape for a in (g, g_lse, out, lse)] != wanted:
        raise ShapeError(say("attention_grad", f"what attention gave, of shapes {wanted[:2]}",
                             [a.shape for a in (g, g_lse, out, lse)],
                             "Pass its outputs and their cotangents"))
    return [(a.shape, q.dtype) for a in (q, k, v)]


def _grad_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> list[Any]:
    g, g_lse, q, k, v, out, lse, *mask = arrays
    return [g, g_lse, q, k, v, mask[0] if mask else None, out, lse, *outs,
            float(params["scale"]), bool(params["causal"]), bool(params["heads_first"])]


def _grad_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    N, H, L, S, E, V = sizes("attention", (*arrays[2:5], *arrays[7:]), params["heads_first"])
    added = len(arrays) > 7 and arrays[7].dtype != bool
    rows, scores = N * H * L, N * H * L * S
    return (2 * scores * (3 * E + 2 * V),
            scores * (5 + added) + rows * (V + 1 + E) + max(0, rows * (V - 1)) + N * H * S * E)


ATTENTION: Op = define(
    "attention", infer=_infer, kernel="attention", prepare=_prepare, vjp=_vjp,
    outputs=("out", "lse"), work=_work, analytic=True, onnx="Attention",
    doc="out, lse: out_i = sum_j exp(s_ij - lse_i) v_j, s = scale q k^T + mask, "
        "lse_i = log sum_j exp(s_ij)")
ATTENTION_GRAD: Op = define(
    "attention_grad", infer=_grad_infer, kernel="attention_grad", prepare=_grad_prepare,
    outputs=("dq", "dk", "dv"), work=_grad_work, onnx="none: a gradient",
    doc="dq, dk, dv: the gradients of <g, out> + <g_lse, lse> of attention, weights recomputed")


def attention(q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool,
              heads_first: bool) -> Tensor:
    """Return attention for four axes and a mask (n, h, l, S), or None."""
    return apply(ATTENTION, q, k, v, *(() if mask is None else (mask,)), scale=scale,
                 causal=causal, heads_first=heads_first)[0]
