"""Rows of attention and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ShapeError
from medai_engine.kernels.attention import reference

from . import Draw, Sample, bad, pin, r0, row, sample, torch

# N, H, L, S, E, V, shape of the mask, whether it is added; scale, causal, heads_first
CASES: list[tuple[Any, ...]] = [
    (2, 1, 3, 4, 5, 2, None, False, 0.4, False, True),
    (1, 2, 5, 4, 3, 2, (2, 5), False, 0.7, False, False),
    (2, 2, 3, 2, 4, 3, (1, 3), True, -0.3, True, False),
    (3, 1, 2, 4, 1, 5, (1, 1), False, 0.0, False, True),
    (1, 2, 3, 5, 2, 4, (2, 1), True, 1.0, False, True),
    (1, 1, 4, 3, 2, 1, None, False, 1.5, True, True),
    (1, 1, 1, 1, 1, 1, None, False, 0.5, True, False),
    (0, 2, 3, 1, 2, 4, None, False, 0.5, False, True),
    (2, 1, 2, 0, 3, 4, (1, 1), True, 0.5, False, True)]
LARGE = (2, 2, 220, 310, 17, 20, (2, 1), True, 0.25, True, False)


def inputs(r: Draw, case: tuple[Any, ...]) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Draw q, k, v and the mask; every query may attend to the first key."""
    N, H, L, S, E, V, shape, added, scale, causal, heads_first = case
    q, k, v = (r.normal(N, H, n, w) if heads_first else r.normal(N, n, H, w)
               for n, w in ((L, E), (S, E), (S, V)))
    params = {"scale": scale, "causal": causal, "heads_first": heads_first}
    if shape is None:
        return [q, k, v], params
    heads, rows = shape
    full = N, heads, rows, S
    mask = r.normal(*full) if added else r.uniform(0, 1, *full) < 0.6
    if not added:
        mask[..., :1] = True
    return [q, k, v, mask], params


def per_head(params: dict[str, Any], *arrays: np.ndarray) -> list[np.ndarray]:
    """Return arrays as (N, H, length, width)."""
    return [a if params["heads_first"] else a.swapaxes(1, 2) for a in arrays]


def _bounds(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: list[np.ndarray],
            scale: float) -> tuple[Any, Any]:
    """Return magnitudes of a row's scores and of its result."""
    s = abs(scale) * (abs(q) @ abs(k).swapaxes(-1, -2))
    if mask and mask[0].dtype != bool:
        s = s + abs(mask[0])
    return s.max(-1, initial=0, keepdims=True), abs(v).max(-2, initial=0, keepdims=True)


def _terms(*arrays: np.ndarray, **params: Any) -> tuple[int, Any]:
    """An error of a score is one of its weight, relative; S of them are added."""
    q, k, v = per_head(params, *arrays[:3])
    scores, values = _bounds(q, k, v, list(arrays[3:]), params["scale"])
    out = (1 + 2 * scores) * values
    return (q.shape[-1] + k.shape[-2] + 2,
            (per_head(params, out)[0], (1 + 2 * scores)[..., 0]))


def _torch(q: Any, k: Any, v: Any, *mask: Any, scale: float, causal: bool,
           heads_first: bool) -> Any:
    """Run PyTorch's own function, the mask and causality as one added mask; lse by logsumexp."""
    t = torch()
    q, k, v = (x if heads_first else x.transpose(1, 2) for x in (q, k, v))
    s = q @ k.mT * scale
    added = t.zeros_like(s)
    if mask:
        added = added + (mask[0] if mask[0].dtype != t.bool
                         else t.zeros(mask[0].shape, dtype=q.dtype).masked_fill(~mask[0], -t.inf))
    if causal:
        added = added.masked_fill(~t.ones_like(s, dtype=t.bool).tril(), -t.inf)
    s = s + added
    y = t.nn.functional.scaled_dot_product_attention(
        q, k, v, added, scale=scale) if s.numel() else t.softmax(s, -1) @ v
    lse = t.logsumexp(s, -1) if s.shape[-1] else s.sum(-1)
    return y if heads_first else y.transpose(1, 2), lse


def _drawn(r: Draw, case: tuple[Any, ...]) -> Sample:
    arrays, params = inputs(r, case)
    return sample(*arrays, **params)


NO = {"scale": 1.0, "causal": False, "heads_first": True}
row("attention", lambda r: [_drawn(r, case) for case in CASES], large=lambda r: _drawn(r, LARGE),
    terms=_terms, oracles={"torch": _torch},
    bad=[bad(ShapeError, r"q, k and v of shape \(N, H, length, width\)", r0(3, 4), r0(5, 4),
             r0(5, 4), **NO),
         bad(ShapeError, r"got \(1, 2, 5, 3\) and \(1, 2, 5, 4\)", r0(1, 2, 3, 4), r0(1, 2, 5, 3),
             r0(1, 2, 5, 4), **NO),
         bad(ShapeError, r"\(1, 5, 2, 4\) and \(1, 5, 2, 6\), got", r0(1, 3, 2, 4),
             r0(1, 5, 2, 4), r0(1, 2, 5, 6), scale=1.0, causal=False, heads_first=False),
         bad(ShapeError, r"broadcasts to \(1, 2, 3, 5\), got \(1, 1, 3, 1\)", r0(1, 2, 3, 4),
             r0(1, 2, 5, 4), r0(1, 2, 5, 4), r0(1, 1, 3, 1), **NO),
         bad(DTypeError, "mask of bool or float32, got int64", r0(1, 2, 3, 4), r0(1, 2, 5, 4),
             r0(1, 2, 5, 4), np.ones((1, 1, 3, 5), int), **NO),
         bad(DTypeError, "the same for all", r0(1, 2, 3, 4), r0(1, 2, 5, 4),
             np.zeros((1, 2, 5, 4)), **NO)],
    pins=[pin([[[[[2.0], [1.0], [0.0]]]], [[[np.log(2), 0.0, 0.0]]]], np.zeros((1, 1, 3, 1)),
              np.zeros((1, 1, 2, 1)), np.array([1.0, 3.0]).reshape(1, 1, 2, 1),
              np.array([[True, True], [True, False], [False, False]])[None, None], **NO),
          pin([[[[[1.0], [2.0]]]], [[[0.0, np.log(2)]]]], np.zeros((1, 1, 2, 1)),
              np.zeros((1, 1, 3, 1)), np.array([1.0, 3.0, 9.0]).reshape(1, 1, 3, 1), scale=1.0,
              causal=True, heads_first=True)])


def _backward(r: Draw, case: tuple[Any, ...]) -> Sample:
    """Draw cotangents for what the definition gives."""
    arrays, params = inputs(r, case)
    N, H, L, V = *case[:3], case[5]
    out = np.empty((N, H, L, V) if params["heads_first"] else (N, L, H, V))
    lse = np.empty((N, H, L))
    reference.attention(*arrays[:3], arrays[3] if len(arrays) > 3 else None, out, lse,
                        *params.values())
    return sample(r.normal(*out.shape), r.normal(*lse.shape), *arrays[:3], out, lse, *arrays[3:],
                  **params)


def _grad_terms(g: np.ndarray, g_lse: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray,
                out: np.ndarray, lse: np.ndarray, *mask: np.ndarray, **params: Any) -> Any:
    g, q, k, v = (abs(a) for a in per_head(params, g, q, k, v))
    scores, _ = _bounds(q, k, v, list(mask), params["scale"])
    spread = 1 + 2 * scores + abs(lse)[..., None]  # relative error of a weight
    slopes = spread * (2 * (g @ v.swapaxes(-1, -2)).max(-1, initial=0, keepdims=True)
                       + abs(g_lse)[..., None])
    scale = abs(params["scale"])
    dq = scale * slopes * k.max(-2, initial=0, keepdims=True)
    dk = scale * (slopes * q).sum(-2, keepdims=True) + 0 * k
    dv = (spread * g).sum(-2, keepdims=True) + 0 * v
    return q.shape[-1] + sum(v.shape[-2:]) + q.shape[-2] + 2, tuple(
        per_head(params, dq, dk, dv))


def _torch_grad(g: Any, g_lse: Any, q: Any, k: Any, v: Any, out: Any, lse: Any, *mask: Any,
                **params: Any) -> Any:
    """Return the gradients of <g, out> + <g_lse, lse> by PyTorch's reverse pass."""
    t = torch()
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    y, top = _torch(*leaves, *mask, **params)
    if not k.numel():
        return [t.zeros_like(x) for x in leaves]
    return t.autograd.grad((g * y).sum() + (g_lse * top).sum(), leaves)


row("attention_grad", lambda r: [_backward(r, case) for case in CASES],
    large=lambda r: _backward(r, LARGE), terms=_grad_terms, oracles={"torch": _torch_grad},
    bad=[bad(ShapeError, "what attention gave", r0(1, 2, 3, 4), r0(1, 2, 3), r0(1, 2, 3, 4),
             r0(1, 2, 5, 4), r0(1, 2, 5, 4), r0(1, 2, 3, 5), r0(1, 2, 3), **NO)])
