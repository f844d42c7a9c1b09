"""Attention layers, batch first; parameters have PyTorch's names: its weights can be copied."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional as F
from ..errors import DTypeError, ParameterError, ShapeError, say
from ..functional.attention import attend
from ..functional.common import labels_of, like
from ..generator import Generator
from ..ops.elementwise import F as OPS
from ..ops.shape import reshape
from ..tensor import Parameter, Tensor, mark_written
from . import init
from .linear import Linear, positive
from .module import Module, as_input
from .norm import LayerNorm

__all__ = ["MultiheadAttention", "TransformerEncoderLayer"]

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}


class MultiheadAttention(Module):
    """Attention of several heads between projections, ``y = W_o concat(head_h) + b_o``.

    ``head_h = softmax(q k^T / sqrt(E / H)) v`` of the h-th slices of ``q = W_q query + b_q``, k
    and v. Without weights asked for, memory is linear in the lengths.

    Parameters
    ----------
    embed_dim : int
        Width E of queries, keys, values and results.
    num_heads : int
        H, which divides E.
    dropout : float
        Share of weights set to 0 while training.
    bias : bool
        Whether the projections learn offsets.
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights and the dropout come from.

    Attributes
    ----------
    in_proj_weight : Parameter
        (3 E, E): W_q, W_k and W_v, Xavier uniform at first.
    in_proj_bias : Parameter or None
        (3 E,), 0 at first.
    out_proj : Linear
        W_o (E, E) and b_o (E,).

    References
    ----------
    Vaswani et al. 2017, Attention is all you need.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, *,
                 dtype: Any = np.float32, rng: Generator | None = None):
        E = self.embed_dim = positive("MultiheadAttention", "embed_dim", embed_dim)
        self.num_heads = positive("MultiheadAttention", "num_heads", num_heads)
        if E % self.num_heads:
            raise ParameterError(say("MultiheadAttention", f"num_heads that divides {E}",
                                     repr(num_heads), "Each head gets embed_dim / num_heads"))
        if not 0.0 <= dropout <= 1.0:
            raise ParameterError(say("MultiheadAttention", "dropout between 0 and 1",
                                     repr(dropout), "It is the share of weights set to 0"))
        self.dropout = dropout
        self.in_proj_weight = Parameter(np.empty((3 * E, E), dtype))
        self.in_proj_bias = Parameter(np.zeros(3 * E, dtype)) if bias else None
        self.out_proj = Linear(E, E, bias, dtype=dtype, rng=rng)
        self._rng = rng
        self.reset_parameters()

    @property
    def bias(self) -> bool:
        """Whether the projections have offsets."""
        return self.in_proj_bias is not None

    def reset_parameters(self) -> None:
        """Draw the weights anew; offsets become 0."""
        init.xavier_uniform_(self.in_proj_weight, rng=self._rng)
        self.out_proj.reset_parameters()
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                bias.data[...] = 0
                mark_written(bias)

    def forward(self, query: Any, key: Any = None, value: Any = None,
                key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
                average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return the results and the weights.

        Parameters
        ----------
        query, key, value : Tensor
            (N, L, E), (N, S, E) and (N, S, E); key is query, and value is key, by default.
        key_padding_mask : Tensor, optional
            (N, S), boolean with True for keys to leave out (as in PyTorch, the opposite of
            ``functional.scaled_dot_product_attention``), or floating, added to the scores.
        need_weights : bool
            Whether to return the weights; without them memory is linear in the lengths.
        attn_mask : Tensor, optional
            (L, S) or (N H, L, S), boolean with True where attending is forbidden, or floating.
        average_attn_weights : bool
            Whether the weights returned are the mean over the heads.
        is_causal : bool
            Whether query i may attend to the keys 0 .. i only.

        Returns
        -------
        y : Tensor
            (N, L, E). A query that may attend to nothing gets b_o.
        weights : Tensor or None
            (N, L, S), or (N, H, L, S) not averaged, before dropout.
        """
        query = as_input(query, self.in_proj_weight)
        key = query if key is None else as_input(key, self.in_proj_weight)
        value = key if value is None else as_input(value, self.in_proj_weight)
        for name, x in (("query", query), ("key", key), ("value", value)):
            if x.ndim != 3 or x.shape[2] != self.embed_dim:
                raise ShapeError(say("MultiheadAttention", f"{name} of shape (N, length, "
                                     f"{self.embed_dim})", str(x.shape),
                                     "Batch comes first; embed_dim is the last axis"))
        (N, L, E), S, H = query.shape, key.shape[1], self.num_heads
        q, k, v = (reshape(self._projected(x, i), (N, x.shape[1], H, E // H))
                   for i, x in enumerate((query, key, value)))
        mask = self._mask(q, N, L, S, key_padding_mask, attn_mask)
        y, weights = attend(q, k, v, mask, 1.0 / math.sqrt(E // H), is_causal,
                            self.dropout if self.training else 0.0, self._rng,
                            heads_first=False, need_weights=need_weights)
        y = self.out_proj(reshape(y, (N, L, E)))
        if weights is not None and average_attn_weights:
            weights = weights.mean(axis=1)
        return y, weights if need_weights else None

    def _projected(self, x: Tensor, i: int) -> Tensor:
        rows = slice(i * self.embed_dim, (i + 1) * self.embed_dim)
        bias = self.in_proj_bias
        return F.linear(x, self.in_proj_weight[rows], None if bias is None else bias[rows])

    def _mask(self, q: Tensor, N: int, L: int, S: int, key_padding: Any,
              attn: Any) -> Tensor | None:
        """Return both masks as one of four axes, with the polarity of the function."""
        H = self.num_heads
        masks = []
        choices: tuple[tuple[str, Any, dict[tuple[int, ...], tuple[int, ...]]], ...] = (
            ("key_padding_mask", key_padding, {(N, S): (N, 1, 1, S)}),
            ("attn_mask", attn, {(L, S): (1, 1, L, S), (N * H, L, S): (N, H, L, S)}))
        for name, given, folded in choices:
            if given is None:
                continue
            mask = labels_of(given)
            if mask.shape not in folded:
                raise ShapeError(say("MultiheadAttention", f"{name} of shape "
                                     f"{' or '.join(map(str, folded))}", str(mask.shape),
                                     "Keys are the last axis"))
            if mask.dtype != bool and mask.dtype.kind != "f":
                raise DTypeError(say("MultiheadAttention", f"{name} of bool or floating values",
                                     str(mask.dtype), "Convert with .astype(bool)"))
            mask = OPS["logical_not"](mask) if mask.dtype == bool else like(mask, q)
            masks.append(reshape(mask, folded[mask.shape]))
        if len(masks) < 2:
            return masks[0] if masks else None
        if masks[0].dtype == masks[1].dtype == bool:
            return OPS["logical_and"](*masks)
        zero, never = Tensor(np.zeros((), q.dtype)), Tensor(np.full((), -np.inf, q.dtype))
        first, second = (OPS["where"](m, zero, never) if m.dtype == bool else m for m in masks)
        return first + second

    def extra_repr(self) -> str:
        """Return the sizes and options."""
        return (f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, "
                f"dropout={self.dropout}, bias={self.bias}")


class TransformerEncoderLayer(Module):
    """Self-attention and a network of two layers, each a residual with layer norm.

    ``x = norm1(x + attention(x))``, ``y = norm2(x + W_2 act(W_1 x + b_1) + b_2)``; with
    ``norm_first`` ``x = x + attention(norm1(x))``, ``y = x + network(norm2(x))``.

    Parameters
    ----------
    d_model : int
        Width E of the input and of the result.
    nhead : int
        Heads, which divide E.
    dim_feedforward : int
        Width of the hidden layer.
    dropout : float
        Of the weights, of the hidden layer and of both branches, while training.
    activation : str or callable
        "relu", "gelu", or a function of a tensor.
    layer_norm_eps : float
        Added to the variances.
    norm_first : bool
        Whether layer norm stands before the branches.
    bias : bool
        Whether the layers learn offsets.
    dtype : dtype
        float32 or float64.
    rng : Generator, optional
        Where the first weights and the dropout come from.

    Attributes
    ----------
    self_attn : MultiheadAttention
    linear1, linear2 : Linear
        (dim_feedforward, E) and (E, dim_feedforward).
    norm1, norm2 : LayerNorm

    References
    ----------
    Vaswani et al. 2017, Attention is all you need; Xiong et al. 2020, On layer normalization in
    the transformer architecture (norm_first).
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048,
                 dropout: float = 0.1, activation: str | Callable[[Tensor], Tensor] = "relu",
                 layer_norm_eps: float = 1e-5, norm_first: bool = False, bias: bool = True, *,
                 dtype: Any = np.float32, rng: Generator | None = None):
        if not callable(activation) and activation not in ACTIVATIONS:
            raise ParameterError(say("TransformerEncoderLayer", 'activation "relu", "gelu" or a '
                                     "function", repr(activation), 'Use "gelu", for example'))
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, dtype=dtype, rng=rng)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype, rng=rng)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype, rng=rng)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout = dropout
        self.activation = activation
        self.norm_first = norm_first
        self._rng = rng

    @property
    def d_model(self) -> int:
        """Width E."""
        return self.self_attn.embed_dim

    @property
    def nhead(self) -> int:
        """Number of heads."""
        return self.self_attn.num_heads

    @property
    def dim_feedforward(self) -> int:
        """Width of the hidden layer."""
        return self.linear1.out_features

    @property
    def layer_norm_eps(self) -> float:
        """What is added to the variances."""
        return self.norm1.eps

    @property
    def bias(self) -> bool:
        """Whether the layers have offsets."""
        return self.self_attn.bias

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None,
                is_causal: bool = False) -> Tensor:
        """Return the result (N, L, E) for src (N, L, E).

        Parameters
        ----------
        src : Tensor
            (N, L, E).
        src_mask, src_key_padding_mask : Tensor, optional
            (L, L) and (N, L), boolean with True for what to leave out, or floating, added.
        is_causal : bool
            Whether step i may attend to the steps 0 .. i only.
        """
        x = as_input(src, self.linear1.weight)
        act = self.activation if callable(self.activation) else ACTIVATIONS[self.activation]

        def dropped(x: Tensor) -> Tensor:
            return F.dropout(x, self.dropout, self.training, rng=self._rng)

        def attended(x: Tensor) -> Tensor:
            y, _ = self.self_attn(x, key_padding_mask=src_key_padding_mask, need_weights=False,
                                  attn_mask=src_mask, is_causal=is_causal)
            return dropped(y)

        def network(x: Tensor) -> Tensor:
            return dropped(self.linear2(dropped(act(self.linear1(x)))))

        if self.norm_first:
            x = x + attended(self.norm1(x))
            return x + network(self.norm2(x))
        x = self.norm1(x + attended(x))
        return self.norm2(x + network(x))
