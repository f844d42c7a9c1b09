"""Scaled dot-product attention: the definition.

s_ij   = scale sum_e q_ie k_je + mask_ij     -inf where a boolean mask or causality, j > i, forbids
p_ij   = exp(s_ij - lse_i),   lse_i = log sum_j exp(s_ij)
out_i  = sum_j p_ij v_j

d s_ij = p_ij (dp_ij - delta_i),   dp_ij = g_i . v_j,   delta_i = g_i . out_i - g_lse_i
dq_i   = scale sum_j d s_ij k_j,   dk_j = scale sum_i d s_ij q_i,   dv_j = sum_i p_ij g_i

for every sample and head. q (N, H, L, E), k (N, H, S, E), v (N, H, S, V), out (N, H, L, V) with
``heads_first``, else q (N, L, H, E) and so on; lse is (N, H, L). A mask is (n, h, l, S) with each
of n, h, l the size of the scores or 1, boolean (True: may attend) or of the dtype of q (added).
A row that may attend to nothing gives 0 and no gradient; its lse is 0.

Bytes: here the weights (N, H, L, S) several times; the other texts never hold them, so that their
memory grows with L + S and not with L S.

Source: Vaswani et al. 2017, Attention is all you need; Rabe, Staats 2021, Self-attention does not
need O(n^2) memory; Dao, Fu, Ermon, Rudra, Re 2022, FlashAttention.
"""

import numpy as np

__all__ = ["attention", "attention_grad"]

silent = np.errstate(all="ignore")  # infinities are part of the definition


def _heads(x, heads_first):
    """Return x as (N, H, length, width)."""
    return x if heads_first else x.transpose(0, 2, 1, 3)


def _scores(q, k, mask, scale, causal):
    s = np.matmul(q, k.swapaxes(-1, -2)) * scale
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    return np.where(np.tri(*s.shape[-2:]) > 0, s, -np.inf) if causal else s


@silent
def attention(q, k, v, mask, out, lse, scale, causal, heads_first):
    q, k, v, out = (_heads(x, heads_first) for x in (q, k, v, out))
    s = _scores(q, k, mask, scale, causal)
    top = s.real.max(axis=-1, keepdims=True, initial=-np.inf)
    shift = np.where(top == -np.inf, 0, top)
    p = np.exp(s - shift)
    total = p.sum(axis=-1, keepdims=True)
    total = np.where(total == 0, 1, total)
    out[...] = np.matmul(p / total, v)
    lse[...] = (shift + np.log(total))[..., 0]


@silent
def attention_grad(g, g_lse, q, k, v, mask, out, lse, dq, dk, dv, scale, causal, heads_first):
    g, q, k, v, out, dq, dk, dv = (_heads(x, heads_first) for x in (g, q, k, v, out, dq, dk, dv))
    p = np.exp(_scores(q, k, mask, scale, causal) - lse[..., None])
    delta = (g * out).sum(axis=-1) - g_lse
    ds = p * (np.matmul(g, v.swapaxes(-1, -2)) - delta[..., None])
    dv[...] = np.matmul(p.swapaxes(-1, -2), g)
    dq[...] = np.matmul(ds, k) * scale
    dk[...] = np.matmul(ds.swapaxes(-1, -2), q) * scale
