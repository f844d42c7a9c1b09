"""Softmax and the cross-entropy of class indices: the definition.

softmax(x)_c          = exp(x_c - m) / sum_k exp(x_k - m),   m = max_k x_k
log_softmax(x)_c      = (x_c - m) - log sum_k exp(x_k - m)
softmax_grad          = y * (g - sum_k g_k y_k)
log_softmax_grad      = g - exp(y) * sum_k g_k
lse_i                 = log sum_c exp(x_ic)
loss_i                = lse_i - x_i,label                    0 where the label is outside [0, C)
d loss, lse / d x_ic  = (g_loss_i + g_lse_i) exp(x_ic - lse_i) - g_loss_i [c = label_i]

The shift by the maximum keeps exp in range and cancels exactly. An entry of -inf has probability 0;
a row without a finite entry has no distribution: softmax and loss are NaN, its lse is the limit.
A label outside [0, C) (an ignore_index) has loss 0, its g_loss counts as 0, and a row whose two
cotangents are 0 gets the gradient 0 whatever its logits are.

Bytes: softmax and its relatives read and write each element once from memory (rows stay in cache),
the cross-entropy reads the logits once, its gradient reads and writes them once.

Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990);
Blanchard, Higham, Higham, "Accurately computing the log-sum-exp and softmax functions" (2021).
"""

import numpy as np

__all__ = [
    "log_softmax",
    "log_softmax_grad",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
    "softmax_grad",
]

# What IEEE arithmetic says about infinities is the definition, and no reason for a warning.
silent = np.errstate(all="ignore")


@silent
def softmax(x, out):
    np.exp(x - x.max(axis=1, keepdims=True), out=out)
    out /= out.sum(axis=1, keepdims=True)


@silent
def log_softmax(x, out):
    np.subtract(x, x.max(axis=1, keepdims=True), out=out)
    out -= np.log(np.exp(out).sum(axis=1, keepdims=True))


@silent
def softmax_grad(g, y, out):
    np.multiply(y, g - (g * y).sum(axis=1, keepdims=True), out=out)


@silent
def log_softmax_grad(g, y, out):
    np.subtract(g, np.exp(y) * g.sum(axis=1, keepdims=True), out=out)


@silent
def softmax_cross_entropy(logits, labels, loss, lse):
    top = logits.max(axis=1)
    shift = np.where(np.isfinite(top), top, top.dtype.type(0))
    log_total = np.log(np.exp(logits - shift[:, None]).sum(axis=1))
    np.add(shift, log_total, out=lse)
    known = _known(logits, labels)
    picked = np.take_along_axis(logits, np.where(known, labels, 0)[:, None], axis=1)[:, 0]
    loss[...] = np.where(known, log_total - (picked - shift), 0)


@silent
def softmax_cross_entropy_grad(g_loss, g_lse, logits, labels, lse, out):
    known = _known(logits, labels)
    g_loss = np.where(known, g_loss, g_loss.dtype.type(0))
    np.multiply((g_loss + g_lse)[:, None], np.exp(logits - lse[:, None]), out=out)
    rows = np.flatnonzero(known)
    out[rows, labels[rows]] -= g_loss[rows]
    out[(g_loss == 0) & (g_lse == 0)] = 0


def _known(logits, labels):
    return (labels >= 0) & (labels < logits.shape[1])
