"""What the recurrent ops share: their checks, and the layers as compositions of steps.

The compositions are the kernels' equations written with ops. They are what is differentiated where
a derivative has to be differentiable itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DataError, DTypeError, ParameterError, ShapeError, say
from ..kernels import within
from ..tensor import Tensor
from .elementwise import F
from .linalg import linear, same_float
from .loss import as_indices
from .shape import concat, reshape

ACTIVATIONS = ("tanh", "relu")


def check_layer(where: str, gates: int, x: np.ndarray, weight_ih: np.ndarray,
                weight_hh: np.ndarray, lengths: np.ndarray, biases: dict[str, np.ndarray],
                states: dict[str, np.ndarray]) -> tuple[int, int, int]:
    """Validate a layer of so many gates; return N, T and H."""
    given = (x, weight_ih, weight_hh, *biases.values(), *states.values())
    if x.ndim == 3 and weight_hh.ndim == 2:
        (N, T, D), H, dtype = x.shape, weight_hh.shape[1], x.dtype
        wide = gates * H
        wanted = (x.shape, (wide, D), (wide, H), *((wide,),) * len(biases),
                  *((N, H),) * len(states))
        if H and dtype.kind == "f" and lengths.shape == (N,) and lengths.dtype.kind in "iu" and (
                wanted == tuple([a.shape for a in given])) and (
                all([a.dtype is dtype or a.dtype == dtype for a in given])):
            return N, T, H
    raise _misfit(where, gates, x, weight_ih, weight_hh, lengths, biases, states)


def _misfit(where: str, gates: int, x: np.ndarray, weight_ih: np.ndarray, weight_hh: np.ndarray,
            lengths: np.ndarray, biases: dict[str, np.ndarray],
            states: dict[str, np.ndarray]) -> Exception:
    """Find what does not fit, and say it."""
    same_float(where, " ".join(("x weight_ih weight_hh", *biases, *states)), x, weight_ih,
               weight_hh, *biases.values(), *states.values())
    shapes = {"x": (x.shape, "N, T, D"), "weight_ih": (weight_ih.shape, f"{gates} H, D"),
              "weight_hh": (weight_hh.shape, f"{gates} H, H")}
    if x.ndim != 3:
        return ShapeError(say(where, "sequences (N, T, D)", f"{x.ndim} axes",
                              "Add the missing axes with expand_dims, batch first", shapes))
    N, _, D = x.shape
    H = weight_hh.shape[-1] if weight_hh.ndim == 2 else 0
    if H == 0 or weight_hh.shape[0] != gates * H or weight_ih.shape[:1] != (gates * H,) or (
            weight_ih.ndim != 2):
        return ShapeError(say(where, f"weights of {gates} gates", f"{weight_ih.shape} and "
                              f"{weight_hh.shape}", "Pass weight_ih first, weight_hh second",
                              shapes))
    if weight_ih.shape[1] != D:
        return ShapeError(say(where, f"{weight_ih.shape[1]} input features", D,
                              f"Make the layer for {D} features", shapes))
    for name, array, shape in (*((name, bias, (gates * H,)) for name, bias in biases.items()),
                               *((name, state, (N, H)) for name, state in states.items())):
        if array.shape != shape:
            return ShapeError(say(where, f"{name} of shape {shape}", array.shape,
                                  "States have one row per sequence", shapes))
    if lengths.dtype.kind not in "iu":
        return DTypeError(say(where, "lengths of an integer dtype", lengths.dtype,
                              "Convert with lengths.astype(me.int64)", shapes))
    return ShapeError(say(where, f"lengths of shape ({N},)", lengths.shape,
                          "Pass one length per sequence", shapes))


def check_activation(where: str, activation: str) -> None:
    """Raise unless the kernels have this activation."""
    if activation not in ACTIVATIONS:
        raise ParameterError(say(where, f"activation to be one of {', '.join(ACTIVATIONS)}",
                                 repr(activation), 'Use "tanh", the usual one'))


def check_lengths(where: str, lengths: np.ndarray, T: int) -> None:
    """Raise unless all lengths are between 0 and T."""
    lengths = as_indices(lengths)
    if not within(lengths, 0, T + 1):
        wrong = (lengths < 0) | (lengths > T)
        if wrong.any():
            n = int(np.argmax(wrong))
            raise DataError(say(where, f"lengths from 0 to {T}, the steps of x",
                                f"{lengths[n]} at lengths[{n}]",
                                "Count the valid steps of each sequence"))


def absent(g: Tensor) -> bool:
    """Tell whether a cotangent is the constant zero of an output that nobody used."""
    return not any(g.data.strides) and g.data.size > 0 and not g.data.flat[0]


def work(first: int, scale: int) -> Any:
    """Count the padded steps (lengths are values): about 6 operations a gate beside the products.

    ``first`` is the number of x among the inputs; a gradient costs the double.
    """

    def count(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
        x, _, weight_hh = arrays[first: first + 3]
        width, H = weight_hh.shape
        steps, D = math.prod(x.shape[:2]), x.shape[2]
        columns = scale * (D + H) - (0 if params.get("needs_x", True) else D)
        return 2 * steps * width * columns, scale * 6 * steps * width

    return count


def workspace(first: int, gates: int) -> Any:
    """Count what a gradient brings together: x, h and the gates' gradients of all (padded) steps.

    ``first`` is the number of x among the inputs. That vectors are filled up is not counted.
    """

    def count(arrays: Any, outs: Any, params: Any) -> int:
        x, _, weight_hh = arrays[first: first + 3]
        columns = x.shape[2] + (1 + gates) * weight_hh.shape[1]
        return math.prod(x.shape[:2]) * columns * x.dtype.itemsize

    return count


def check_saved(where: str, got: list[np.ndarray], wanted: list[tuple[int, ...]]) -> None:
    """Raise unless cotangents and outputs have the shapes of the outputs."""
    if [a.shape for a in got] != wanted:
        raise ShapeError(say(f"{where}_grad", f"what {where} gave, of shapes {wanted}",
                             [a.shape for a in got], "Pass its outputs and their cotangents"))


def grads(needs_x: bool, x: np.ndarray,
          *others: np.ndarray) -> list[tuple[tuple[int, ...], Any]]:
    """Return shapes and dtypes of gradients; that of x has no columns unless it is wanted."""
    wanted = x.shape if needs_x else (*x.shape[:2], 0)
    return [(wanted, x.dtype), *((a.shape, x.dtype) for a in others)]


# ---- the layers, step by step ------------------------------------------------------------------


def ordered(x: Tensor, lengths: np.ndarray, reverse: bool) -> Tensor:
    """Return x (N, T, ...) with zeros for padding, valid steps turned round where `reverse`.

    Doing so twice gives the order of before.
    """
    steps = np.arange(x.shape[1])
    valid = steps < lengths[:, None]
    x = F["where"](valid[..., None], x, 0.0)
    if not reverse:
        return x
    return x[np.arange(x.shape[0])[:, None], np.where(valid, lengths[:, None] - 1 - steps, steps)]


def joined(steps: list[Tensor], like: Tensor, width: int) -> Tensor:
    """Return steps (N, width) as (N, T, width)."""
    N = like.shape[0]
    if not steps:
        return Tensor(np.zeros((N, 0, width), like.dtype))
    return concat([reshape(s, (N, 1, width)) for s in steps], axis=1)


def lstm_steps(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, h0: Tensor,
                c0: Tensor, lengths: np.ndarray, reverse: bool,
                activation: str) -> tuple[Tensor, ...]:
    """Return the outputs of the op as a composition of steps."""
    act, sigmoid, where = F[activation], F["sigmoid"], F["where"]
    H = weight_hh.shape[1]
    h, c = h0, c0
    inputs = ordered(x, lengths, reverse)
    kept: tuple[list[Tensor], ...] = ([], [], [])
    for s in range(x.shape[1]):
        a = linear(inputs[:, s], weight_ih, bias) + linear(h, weight_hh)
        i, f, g, o = (a[:, k * H: (k + 1) * H] for k in range(4))
        i, f, g, o = sigmoid(i), sigmoid(f), act(g), sigmoid(o)
        valid = (lengths > s)[:, None]
        c = where(valid, f * c + i * g, c)
        h = where(valid, o * act(c), h)
        for steps, value in zip(kept, (h, concat([i, f, g, o], axis=1), c), strict=True):
            steps.append(value)
    output, gates, cells = (ordered(joined(steps, x, width), lengths, reverse)
                            for steps, width in zip(kept, (H, 4 * H, H), strict=True))
    return output, h, c, gates, cells


def gru_steps(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor,
               h0: Tensor, lengths: np.ndarray, reverse: bool) -> tuple[Tensor, ...]:
    """Return the outputs of the op as a composition of steps."""
    H = weight_hh.shape[1]
    h, inputs = h0, ordered(x, lengths, reverse)
    kept: tuple[list[Tensor], ...] = ([], [], [])
    for s in range(x.shape[1]):
        a, m = linear(inputs[:, s], weight_ih, bias_ih), linear(h, weight_hh, bias_hh)
        both = F["sigmoid"](a[:, :2 * H] + m[:, :2 * H])
        r, z, inner = both[:, :H], both[:, H:], m[:, 2 * H:]
        n = F["tanh"](a[:, 2 * H:] + r * inner)
        h = F["where"]((lengths > s)[:, None], n + z * (h - n), h)
        for steps, value in zip(kept, (h, concat([both, n], axis=1), inner), strict=True):
            steps.append(value)
    output, gates, products = (ordered(joined(steps, x, width), lengths, reverse)
                               for steps, width in zip(kept, (H, 3 * H, H), strict=True))
    return output, h, gates, products


def rnn_steps(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, h0: Tensor,
               lengths: np.ndarray, reverse: bool, activation: str) -> tuple[Tensor, Tensor]:
    """Return the outputs of the op as a composition of steps."""
    h, inputs, kept = h0, ordered(x, lengths, reverse), []
    for s in range(x.shape[1]):
        y = F[activation](linear(inputs[:, s], weight_ih, bias) + linear(h, weight_hh))
        h = F["where"]((lengths > s)[:, None], y, h)
        kept.append(h)
    return ordered(joined(kept, x, weight_hh.shape[1]), lengths, reverse), h
