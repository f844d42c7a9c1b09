"""Softmax, its logarithm, and the fused cross-entropy of class indices.

The kernels see (outer, n, inner) for softmax and (rows, classes) for the cross-entropy. Gradients
are ops of their own; their derivatives are compositions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..coerce import FLOATS
from ..errors import DataError, DTypeError, ParameterError, ShapeError, say
from ..kernels import within
from ..op import Op, apply, define
from ..tensor import Tensor
from .axes import folded, normalized
from .elementwise import F
from .reduce import SUM
from .shape import reshape

__all__ = ["binary_cross_entropy", "check_indices", "chosen", "log_softmax", "softmax",
           "softmax_cross_entropy", "total"]


# ---- softmax, log_softmax ---------------------------------------------------------------------


def total(x: Tensor, axis: int) -> Tensor:
    """Return the sum along an axis, which stays with size 1."""
    return apply(SUM, x, axis=axis, keepdims=True)


def along_axis(name: str, inputs: tuple[str, ...], vjp: dict[str, Any],
               operations: Callable[[int], int], doc: str, **fields: Any) -> Op:
    """Define an op on lines along one axis; ``operations(n)`` are those of a line of n."""

    def check(first: np.ndarray, *others: np.ndarray, axis: int) -> tuple[tuple[int, ...], Any]:
        if first.dtype not in FLOATS:
            raise DTypeError(say(name, "floating values", first.dtype,
                                 "Convert with .astype(me.float32) first", {"x": first.shape}))
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
            raise ParameterError(say(name, "one axis", repr(axis), "Pass axis=-1 for the last"))
        normalized(name, axis, first.ndim)
        if first.shape[axis] == 0:
            raise ShapeError(say(name, f"at least one entry along axis {axis}", "none",
                                 "Probabilities of no class do not exist", {"x": first.shape}))
        for other in others:
            if other.shape != first.shape or other.dtype != first.dtype:
                raise ShapeError(say(name, f"two arrays of shape {first.shape} and {first.dtype}",
                                     f"{other.shape} and {other.dtype}", "Pass what softmax gave"))
        return first.shape, first.dtype

    infer: Any = ((lambda x, *, axis: check(x, axis=axis)) if inputs == ("x",)
                  else (lambda g, y, *, axis: check(g, y, axis=axis)))

    def prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                params: dict[str, Any]) -> list[np.ndarray]:
        axes = normalized(name, params["axis"], arrays[0].ndim)
        return [folded(a, axes) for a in (*arrays, *outs)]

    def work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
        n = arrays[0].shape[params["axis"]]
        return 0, arrays[0].size // n * operations(n)

    return define(name, infer=infer, kernel=name, prepare=prepare, work=work, vjp=vjp, doc=doc,
                  inplace=inputs, **fields)


def _softmax_grad_y(u: Tensor, g: Tensor, y: Tensor, axis: int) -> Tensor:
    """Return the derivative of y (g - sum g y) in y: u (g - sum g y) - g sum u y."""
    return u * (g - total(g * y, axis)) - g * total(u * y, axis)


SOFTMAX: Op = along_axis(
    "softmax", ("x",), {"x": lambda g, y, axis: apply(SOFTMAX_GRAD, g, y, axis=axis)},
    lambda n: 5 * n - 2, "y = e^x / sum e^x along the axis", onnx="Softmax")
SOFTMAX_GRAD: Op = along_axis(
    "softmax_grad", ("g", "y"), {"g": lambda u, y, axis: apply(SOFTMAX_GRAD, u, y, axis=axis),
                                 "y": _softmax_grad_y},
    lambda n: 4 * n - 1, "out = y (g - sum g y)", outputs=("out",), linear=[("g",)],
    onnx="none: a gradient")
LOG_SOFTMAX: Op = along_axis(
    "log_softmax", ("x",), {"x": lambda g, y, axis: apply(LOG_SOFTMAX_GRAD, g, y, axis=axis)},
    lambda n: 5 * n - 1, "y = x - log sum e^x along the axis", onnx="LogSoftmax")
LOG_SOFTMAX_GRAD: Op = along_axis(
    "log_softmax_grad", ("g", "y"),
    {"g": lambda u, y, axis: u - total(u * F["exp"](y), axis),
     "y": lambda u, g, y, axis: -(u * F["exp"](y) * total(g, axis))},
    lambda n: 4 * n - 1, "out = g - e^y sum g", outputs=("out",), linear=[("g",)],
    onnx="none: a gradient")


def softmax(x: Any, axis: int = -1) -> Tensor:
    """Probabilities from scores, ``y_c = exp(x_c) / sum_k exp(x_k)`` along an axis.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64. An entry of -inf gets probability 0.
    axis : int
        The axis whose entries will sum to 1.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        For integers.
    ShapeError
        When x has no such axis.

    References
    ----------
    Bridle 1990, Probabilistic interpretation of feedforward classification network outputs.

    Examples
    --------
    >>> from medai_engine import functional as F
    >>> F.softmax([[0.0, 0.0]])
    tensor([[0.5, 0.5]])
    """
    return apply(SOFTMAX, x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """Logarithm of the softmax, ``y_c = x_c - log sum_k exp(x_k)``, accurate where it is small.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    axis : int
        The axis of the classes.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        For integers.
    ShapeError
        When x has no such axis.

    References
    ----------
    Blanchard, Higham, Higham 2021, Accurately computing the log-sum-exp and softmax functions.
    """
    return apply(LOG_SOFTMAX, x, axis=axis)


# ---- the cross-entropy of class indices -------------------------------------------------------

def check_indices(where: str, name: str, indices: np.ndarray, count: int,
                  ignore: int | None = None) -> None:
    """Raise unless all integers lie in [0, count) or equal ``ignore``."""
    if within(indices, 0, count) or indices.size == 0:
        return
    outside = (indices < 0) | (indices >= count)
    if ignore is not None:
        outside &= indices != ignore
    if outside.any():
        at = tuple(int(i) for i in np.argwhere(outside)[0])
        place = f"{name}[{', '.join(map(str, at))}]" if at else name
        raise DataError(say(
            where, f"{name} from 0 to {count - 1}", f"{int(indices[at])} at {place}",
            f"Number the classes from 0, or make the last layer {int(indices.max()) + 1} wide"
            if name == "labels" else f"The table has {count} rows"))


def as_indices(indices: np.ndarray) -> np.ndarray:
    """Return indices as the kernels take them."""
    return indices if indices.dtype == np.int64 else indices.astype(np.int64)


def _cross_entropy_infer(logits: np.ndarray, labels: np.ndarray, *,
                         ignore: int | None) -> list[tuple[tuple[int, ...], Any]]:
    if labels.shape != logits.shape[:-1] or labels.dtype.kind not in "iu" or (
            logits.dtype not in FLOATS) or logits.ndim == 0 or logits.shape[-1] == 0:
        _refuse(logits, labels)
    spec = labels.shape, logits.dtype
    return [spec, spec]


def _refuse(logits: np.ndarray, labels: np.ndarray) -> None:
    """Say what is wrong with logits or labels."""
    where, shapes = "cross_entropy", {"logits": (logits.shape, "N, ..., C"), "labels": labels.shape}
    if logits.dtype not in FLOATS:
        raise DTypeError(say(where, "logits of float32 or float64", logits.dtype,
                             "Pass the outputs of the last layer first, the labels second", shapes))
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ShapeError(say(where, "logits with an axis of classes", str(logits.shape),
                             "Pass (N, C), one score per sample and class"))
    if labels.dtype.kind not in "iu":
        raise DTypeError(say(where, "labels as class indices of an integer dtype",
                             str(labels.dtype), "Convert with labels.astype(me.int64)", shapes))
    fix = "Pass one index per row of the logits"
    if labels.shape == logits.shape:
        fix = ("These look one-hot: pass labels.argmax(axis=-1), or probabilities as "
               "labels.astype(me.float32)")
    elif labels.shape == (*logits.shape[:-1], 1):
        fix = "Drop the last axis with labels.squeeze(-1)"
    raise ShapeError(say(where, f"labels of shape {logits.shape[:-1]}", str(labels.shape), fix,
                         shapes))


def _rows(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return (N, ..., C) as (rows, C), and what has one entry per row as (rows,)."""
    ndim = max([a.ndim for a in arrays])
    if ndim == 2:
        return arrays
    return [a.reshape(-1, a.shape[-1]) if a.ndim == ndim else a.reshape(-1) for a in arrays]


def _cross_entropy_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                           params: dict[str, Any]) -> list[np.ndarray]:
    logits, labels = arrays
    return _rows([logits, as_indices(labels), *outs])


def _grad_infer(g_loss: np.ndarray, g_lse: np.ndarray, logits: np.ndarray, labels: np.ndarray,
                lse: np.ndarray) -> tuple[tuple[int, ...], Any]:
    rows = logits.shape[:-1]
    if not g_loss.shape == g_lse.shape == labels.shape == lse.shape == rows:
        raise ShapeError(say("softmax_cross_entropy_grad", f"arrays of shape {rows}", "others",
                             "Pass one entry per row",
                             {"g_loss": g_loss.shape, "g_lse": g_lse.shape, "lse": lse.shape,
                              "labels": labels.shape}))
    return logits.shape, logits.dtype


def _grad_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> list[np.ndarray]:
    g_loss, g_lse, logits, labels, lse = arrays
    return _rows([g_loss, g_lse, logits, as_indices(labels), lse, *outs])


def _last(t: Tensor) -> Tensor:
    """Return t with a new last axis of size 1."""
    return reshape(t, (*t.data.shape, 1))


def chosen(x: Tensor, labels: Tensor) -> Tensor:
    """Return x (..., C) at the label of each row, 0 in a row whose label is none of the classes."""
    classes = Tensor(np.arange(x.data.shape[-1], dtype=labels.data.dtype))
    picked = F["where"](F["equal"](_last(labels), classes), x, 0.0)
    return apply(SUM, picked, axis=-1, keepdims=False)


def _grad_vjp(u: Tensor, g_loss: Tensor, g_lse: Tensor, logits: Tensor, labels: Tensor,
              lse: Tensor, needs: Any) -> tuple[Tensor | None, ...]:
    """Differentiate out = (g_loss + g_lse) p - g_loss [label], p = exp(logits - lse).

    g_loss counts as 0 where the label is none of the classes.
    """
    known = chosen(Tensor(np.ones(logits.data.shape, logits.data.dtype)), labels)
    p = F["exp"](logits - _last(lse))
    pull = apply(SUM, u * p, axis=-1, keepdims=False)
    scale = g_loss * known + g_lse
    return (pull * known - chosen(u, labels) if needs[0] else None,
            pull if needs[1] else None,
            _last(scale) * u * p if needs[2] else None,
            None,
            -(scale * pull) if needs[4] else None)


def _rowwise(per_row: Callable[[int], int], logits: int) -> Callable[..., tuple[int, int]]:
    def work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
        shape = arrays[logits].shape
        return 0, math.prod(shape[:-1]) * per_row(shape[-1])
    return work


SOFTMAX_CROSS_ENTROPY: Op = define(
    "softmax_cross_entropy", infer=_cross_entropy_infer, kernel="softmax_cross_entropy",
    outputs=("loss", "lse"), prepare=_cross_entropy_prepare,
    check=lambda logits, labels, ignore: check_indices(
        "cross_entropy", "labels", labels, logits.shape[-1], ignore),
    vjp={"logits": lambda g_loss, g_lse, logits, labels, lse: apply(
        SOFTMAX_CROSS_ENTROPY_GRAD, g_loss, g_lse, logits, labels, lse)},
    work=_rowwise(lambda n: 4 * n + 4, 0), onnx="SoftmaxCrossEntropyLoss",
    doc="lse = log sum_c e^logits_c, loss = lse - logits_label; 0 for an ignored label")
SOFTMAX_CROSS_ENTROPY_GRAD: Op = define(
    "softmax_cross_entropy_grad", infer=_grad_infer, kernel="softmax_cross_entropy_grad",
    prepare=_grad_prepare, vjp=_grad_vjp, linear=[("g_loss", "g_lse")],
    work=_rowwise(lambda n: 3 * n + 8, 2), onnx="none: a gradient",
    doc="y = (g_loss + g_lse) e^(logits - lse) - g_loss [c = label]")


def softmax_cross_entropy(logits: Any, labels: Any, ignore: int | None = None) -> tuple[
        Tensor, Tensor]:
    """Cross-entropy of class indices per row, and the log-sum-exp of the rows.

    ``lse_i = log sum_c exp(logits_ic)``, ``loss_i = lse_i - logits_i,label_i``.

    Parameters
    ----------
    logits : Tensor
        (N, ..., C), scores before any softmax.
    labels : Tensor
        (N, ...), integers from 0 to C - 1, or ``ignore``.
    ignore : int, optional
        A label outside 0 .. C - 1 whose rows have loss 0 and no gradient.

    Returns
    -------
    loss, lse : Tensor
        (N, ...) each; both differentiable.

    Raises
    ------
    ShapeError, DTypeError, DataError
        For labels that are one-hot, floats, or not a class.
    """
    return apply(SOFTMAX_CROSS_ENTROPY, logits, labels, ignore=ignore)


# ---- the cross-entropy of a probability -------------------------------------------------------

LOWEST_LOG, SMALLEST = -100.0, 1e-12  # PyTorch's bounds of the loss and of its slope's divisor


def _probability_infer(where: str, x: np.ndarray, t: np.ndarray,
                       *g: np.ndarray) -> tuple[tuple[int, ...], Any]:
    for a in (t, *g):
        if a.shape != x.shape or a.dtype != x.dtype or x.dtype not in FLOATS:
            raise ShapeError(say(where, f"arrays of one shape and floating dtype, as x {x.shape} "
                                 f"{x.dtype}", f"{a.shape} {a.dtype}", "Reshape or convert one"))
    return x.shape, x.dtype


def _probability_check(x: np.ndarray, t: np.ndarray) -> None:
    for name, a, fix in (("probabilities", x, "Use binary_cross_entropy_with_logits for scores "
                          "before the sigmoid"), ("targets", t, "Code the classes as 0 and 1")):
        if a.size and (a.min() < 0 or a.max() > 1):
            worst = a.min() if a.min() < 0 else a.max()
            raise DataError(say("binary_cross_entropy", f"{name} between 0 and 1", f"{worst:g}",
                                fix))


@np.errstate(divide="ignore")
def _probability_loss(x: np.ndarray, t: np.ndarray, y: np.ndarray) -> None:
    np.maximum(np.log1p(-x), LOWEST_LOG, out=y)
    y *= t - 1
    y -= t * np.maximum(np.log(x), LOWEST_LOG)


def _probability_slope(g: np.ndarray, x: np.ndarray, t: np.ndarray, y: np.ndarray) -> None:
    np.divide(g * (x - t), np.maximum(x * (1 - x), SMALLEST), out=y)


def _slope_x(u: Tensor, g: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """Return the derivative of (x - t) / q in x, where q = max(x (1 - x), smallest)."""
    product = x * (1.0 - x)
    q = F["maximum"](product, SMALLEST)
    bend = F["where"](F["greater"](product, SMALLEST), (x - t) * (1.0 - x * 2.0) / q, 0.0)
    return u * g * (1.0 - bend) / q


BINARY_CROSS_ENTROPY: Op = define(
    "binary_cross_entropy",
    infer=lambda x, t: _probability_infer("binary_cross_entropy", x, t),
    check=_probability_check, definition=_probability_loss,
    vjp={"x": lambda g, x, t: apply(BINARY_CROSS_ENTROPY_GRAD, g, x, t),
         "t": lambda g, x: g * (F["maximum"](F["log1p"](-x), LOWEST_LOG)
                                - F["maximum"](F["log"](x), LOWEST_LOG))},
    strided=True, work=lambda arrays, outs, params: (0, 9 * arrays[0].size),
    onnx="none: a composition",
    doc="y = -t max(log x, -100) - (1 - t) max(log(1 - x), -100)")
BINARY_CROSS_ENTROPY_GRAD: Op = define(
    "binary_cross_entropy_grad",
    infer=lambda g, x, t: _probability_infer("binary_cross_entropy_grad", x, t, g),
    definition=_probability_slope,
    vjp={"g": lambda u, x, t: apply(BINARY_CROSS_ENTROPY_GRAD, u, x, t), "x": _slope_x,
         "t": lambda u, g, x: -(u * g / F["maximum"](x * (1.0 - x), SMALLEST))},
    linear=[("g",)], strided=True, work=lambda arrays, outs, params: (0, 6 * arrays[0].size),
    onnx="none: a gradient", doc="y = g (x - t) / max(x (1 - x), 1e-12)")


def binary_cross_entropy(x: Tensor, t: Tensor) -> Tensor:
    """Return the loss of each probability x, given the targets t (same shape and dtype)."""
    return apply(BINARY_CROSS_ENTROPY, x, t)
