"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError, say
from ..generator import Generator
from ..ops import attention as ops
from ..ops.dropout import dropout
from ..ops.linalg import matmul
from ..ops.shape import broadcast_to, reshape
from ..tensor import Tensor
from .common import labels_of, like, tensor

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None,
                                 dropout_p: float = 0.0, is_causal: bool = False,
                                 scale: float | None = None, *,
                                 rng: Generator | None = None) -> Tensor:
    """Attention of queries to keys, ``y = softmax(scale q k^T + mask) v``.

    Memory grows with L + S, that of the weights is never needed; only dropout of the weights, the
    gradient of an added mask, and second derivatives hold (..., L, S).

    Parameters
    ----------
    query, key, value : Tensor
        (..., L, E), (..., S, E) and (..., S, V), float32 or float64; leading axes broadcast.
    attn_mask : Tensor, optional
        Broadcasts to (..., L, S). Boolean: True where a query may attend to a key. Floating: added
        to the scores.
    dropout_p : float
        Share of weights set to 0 (also when evaluating: pass 0 then).
    is_causal : bool
        Whether query i may attend to the keys 0 .. i only; beside a mask both hold.
    scale : float, optional
        1 / sqrt(E) by default.
    rng : Generator, optional
        Where the dropout comes from; the default generator otherwise.

    Returns
    -------
    Tensor
        (..., L, V). A query that may attend to nothing gets 0, and gives no gradient.

    Raises
    ------
    ShapeError, DTypeError
        For keys and values that do not fit, or a mask that does not broadcast.

    References
    ----------
    Vaswani et al. 2017, Attention is all you need; Dao et al. 2022, FlashAttention.

    Examples
    --------
    >>> import medai_engine as me
    >>> from medai_engine import functional as F
    >>> q, k = me.zeros((1, 2)), me.zeros((3, 2))
    >>> F.scaled_dot_product_attention(q, k, [[0.0], [1.0], [5.0]], [[True, True, False]])
    tensor([[0.5]])
    """
    q = tensor(query)
    k, v = like(key, q), like(value, q)
    shapes = {"query": q.shape, "key": k.shape, "value": v.shape}
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ShapeError(say("scaled_dot_product_attention", "query, key and value of at least 2 "
                             "axes", "fewer", "Pass (..., length, width)", shapes))
    try:
        lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        raise ShapeError(say("scaled_dot_product_attention", "leading axes that broadcast",
                             f"{q.shape[:-2]}, {k.shape[:-2]} and {v.shape[:-2]}",
                             "Sizes must be equal or 1", shapes)) from None
    N, H = math.prod(lead[:-1]), lead[-1] if lead else 1
    q, k, v = (reshape(x if x.shape[:-2] == lead else broadcast_to(x, (*lead, *x.shape[-2:])),
                       (N, H, *x.shape[-2:])) for x in (q, k, v))
    mask = None if attn_mask is None else folded_mask(
        attn_mask, q, (*lead, q.shape[-2], k.shape[-2]))
    scale = 1.0 / math.sqrt(max(1, q.shape[-1])) if scale is None else float(scale)
    y = attend(q, k, v, mask, scale, is_causal, dropout_p, rng)[0]
    return reshape(y, (*lead, *y.shape[-2:]))


def folded_mask(mask: Any, like_q: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """Return a mask that broadcasts to (..., H, L, S) as (n, h, l, S), stretched where it must."""
    mask = labels_of(mask)
    if mask.dtype != bool:
        mask = like(mask, like_q)
    try:
        if np.broadcast_shapes(mask.shape, wanted) != wanted:
            raise ValueError
    except ValueError:
        raise ShapeError(say("scaled_dot_product_attention", f"attn_mask that broadcasts to "
                             f"{wanted}, one entry per query and key", str(mask.shape),
                             "Its last axes are queries and keys")) from None
    wanted = (1,) * (3 - len(wanted)) + wanted
    mask = reshape(mask, (1,) * (len(wanted) - mask.ndim) + mask.shape)
    shape = (*mask.shape[:-1], wanted[-1])
    if shape[:-3] != wanted[:-3] and math.prod(shape[:-3]) != 1:
        shape = wanted[:-3] + shape[-3:]
    mask = mask if shape == mask.shape else broadcast_to(mask, shape)
    return reshape(mask, (math.prod(shape[:-3]), *shape[-3:]))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool,
           dropout_p: float = 0.0, rng: Generator | None = None, *, heads_first: bool = True,
           need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
    """Return attention, and its weights (N, H, L, S) where they are wanted, before dropout."""
    if not 0.0 <= dropout_p <= 1.0:
        raise ParameterError(say("scaled_dot_product_attention", "dropout_p between 0 and 1",
                                 repr(dropout_p), "It is the share of weights set to 0"))
    if not (need_weights or dropout_p):
        return ops.attention(q, k, v, mask, scale, causal, heads_first), None
    ops.sizes("scaled_dot_product_attention",
              tuple(t.data for t in (q, k, v, *(() if mask is None else (mask,)))), heads_first)
    q, k, v = (ops.heads(x, heads_first) for x in (q, k, v))
    p = ops.weights(q, k, mask, scale, causal)[0]
    y = matmul(dropout(p, dropout_p, rng=rng), v)
    return ops.heads(y, heads_first), p
