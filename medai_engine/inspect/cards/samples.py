"""A small call of every op: the axes of its arrays, its cost as a formula, inputs to run it on.

The tables of the tests are not installed, and their samples are as tiny as a gradient check wants
them; these are large enough to be timed, small enough for a laptop to run all in a few seconds.
Elementwise ops need no row: their inputs follow from the record. Formulas are written with the
letters of the axes, ``|x|`` for the number of elements of x; a test evaluates each on its sample
and compares it with the op's record, and the record with what the definition counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...mode import no_grad
from ...op import OPS, Op, apply
from ...ops.optimizer import COLUMNS, STATES
from ...ops.pool import Sliding

__all__ = ["ROWS", "Row", "Sample", "row_of"]


class Sample(NamedTuple):
    """One call: input arrays, and keyword parameters."""

    inputs: tuple[np.ndarray, ...]
    params: dict[str, Any]


class Row(NamedTuple):
    """What the card of an op that is not elementwise has to be told."""

    axes: str  # "x (N, D) -> y (N, D)"
    contraction: str  # flops, in letters of the axes
    other: str  # other scalar operations
    draw: Callable[[], Sample]
    sizes: Mapping[str, int] = {}  # of letters that are no axis
    note: str = ""  # what those letters are


ROWS: dict[str, Row] = {}


def row(name: str, axes: str, contraction: str, other: str,
        draw: Callable[[], tuple[Sequence[Any], Mapping[str, Any]]], note: str = "",
        **sizes: int) -> None:
    """Add a row; ``draw`` gives inputs and params."""
    def sample() -> Sample:
        inputs, params = draw()
        return Sample(tuple(np.asarray(x) for x in inputs), dict(params))

    ROWS[name] = Row(axes, contraction, other, sample, sizes, note)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Return float32 of the normal distribution, the same ones every time."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def between(low: float, high: float, *shape: int) -> np.ndarray:
    """Return float32, equally likely between two bounds."""
    return np.random.default_rng(shape).uniform(low, high, shape).astype(np.float32)


def whole(high: int, *shape: int) -> np.ndarray:
    """Return int64 from 0 to high - 1."""
    return np.random.default_rng(shape).integers(0, high, shape)


def ran(name: str) -> tuple[Sample, list[np.ndarray]]:
    """Return the sample of another op and its outputs, which gradients take."""
    sample = ROWS[name].draw()
    with no_grad():
        y = apply(OPS[name], *sample.inputs, **sample.params)
    return sample, [t.data for t in (y if isinstance(y, tuple) else (y,))]


# ---- movement, indexing, order ----------------------------------------------------------------

for _name in ("copy", "alias"):
    row(_name, "x (N, D) -> y (N, D)", "0", "0", lambda: ([normal(64, 64)], {}))
row("astype", "x (N, D) -> y (N, D)", "0", "0",
    lambda: ([normal(64, 64)], {"dtype": np.dtype("float64"), "source": np.dtype("float32")}))
row("reshape", "x (N, H, W) -> y (N, H W)", "0", "0",
    lambda: ([normal(4, 16, 16)], {"shape": (4, 256)}))
row("permute_dims", "x (N, H, W) -> y (W, N, H)", "0", "0",
    lambda: ([normal(4, 16, 20)], {"axes": (2, 0, 1)}))
row("broadcast_to", "x (D) -> y (N, D)", "0", "0", lambda: ([normal(64)], {"shape": (32, 64)}))
row("sum_to", "x (N, D) -> y (D)", "0", "|x| - |y|", lambda: ([normal(64, 64)], {"shape": (64,)}))
row("concat", "xs (N, A), (N, B) -> y (N, A + B)", "0", "0",
    lambda: ([normal(32, 48), normal(32, 80)], {"axis": 1}))
row("slice", "x (N, D) -> y (M, D)", "0", "0",
    lambda: ([normal(64, 64)], {"index": (slice(4, 60, 2),)}))
row("unslice", "g (M, D) -> y (N, D)", "0", "0",
    lambda: ([normal(28, 64)], {"shape": (64, 64), "index": (slice(4, 60, 2),)}))
row("flat_index", "indices (M), (M) -> y (M)", "0", "0",
    lambda: ([whole(30, 256), whole(40, 256) - 40],
             {"where": "x[i, j]", "sizes": (30, 40), "axes": (0, 1)}))
row("gather", "x (V, D), indices (M) -> y (M, D)", "0", "0",
    lambda: ([normal(100, 32), whole(100, 256)], {}))
row("scatter_add", "g (M, D), indices (M) -> y (V, D)", "0", "M D + M",
    lambda: ([normal(256, 32), whole(100, 256)], {"shape": (100, 32)}))
row("put_along_axis", "x (N, D), indices (N, K), values (N, K) -> y (N, D)", "0", "0",
    lambda: ([normal(32, 64), np.argsort(normal(32, 64))[:, :8], normal(32, 8)], {"axis": 1}))
row("one_hot", "labels (N) -> y (N, C)", "0", "0",
    lambda: ([whole(10, 256)], {"classes": 10, "dtype": np.dtype("float32")}))
SORTED = "comparisons are not counted: their number depends on the order that is met"
for _name in ("sort", "argsort"):
    row(_name, "x (N, D) -> y (N, D)", "0", "0",
        lambda: ([normal(32, 64)], {"axis": -1, "descending": False}), SORTED)
row("topk", "x (N, D) -> y (N, K)", "0", "0",
    lambda: ([normal(32, 64)], {"k": 5, "axis": -1, "largest": True}), SORTED)
row("searchsorted", "x (D), v (M) -> y (M)", "0", "0",
    lambda: ([np.sort(normal(64)), normal(256)], {"side": "left"}), SORTED)
row("assign", "x (N, D), value (D)", "0", "0",
    lambda: ([normal(64, 64), normal(64, seed=1)], {"index": (slice(0, 8),)}))

# ---- products ---------------------------------------------------------------------------------

PLAIN = {"transpose_a": False, "transpose_b": False}

row("matmul", "a (M, K), b (K, N) -> y (M, N)", "2 M K N", "0",
    lambda: ([normal(64, 48), normal(48, 96)], PLAIN))
row("matmul_add", "c (M, N), a (M, K), b (K, N) -> y (M, N)", "2 M K N", "M N",
    lambda: ([normal(64, 96), normal(64, 48), normal(48, 96)], PLAIN))
row("linear", "x (N, D), weight (F, D), bias (F) -> y (N, F)", "2 N D F", "N F",
    lambda: ([normal(32, 64), normal(96, 64), normal(96)], {}))
row("linear_activation", "x (N, D), weight (F, D), bias (F) -> y (N, F)", "2 N D F", "N F (1 + A)",
    lambda: ([normal(32, 64), normal(96, 64), normal(96)],
             {"activation": "relu", "parameter": 0.0}),
    "A the operations of the activation, 1 for relu", A=1)
row("solve", "a (N, N), b (N, K) -> x (N, K)", "0", "2 N^3 / 3 + 2 N^2 K",
    lambda: ([normal(12, 12) + 12 * np.eye(12, dtype="f"), normal(12, 4)], {}),
    "the leading terms of LAPACK's count")
row("inv", "a (N, N) -> y (N, N)", "0", "2 N^3",
    lambda: ([normal(12, 12) + 12 * np.eye(12, dtype="f")], {}),
    "the leading terms of LAPACK's count")
row("cholesky", "a (N, N) -> y (N, N)", "0", "N^3 / 3",
    lambda: ([(lambda a: a @ a.T + 12 * np.eye(12, dtype="f"))(normal(12, 12))], {}),
    "the leading terms of LAPACK's count")

# ---- reductions -------------------------------------------------------------------------------

for _name, _other in (("sum", "N D - N"), ("mean", "N D"), ("prod", "N D - N"), ("max", "N D - N"),
                      ("min", "N D - N"), ("argmax", "N D - N"), ("argmin", "N D - N"),
                      ("logsumexp", "4 N D + N")):
    row(_name, "x (N, D) -> y (N)", "0", _other,
        lambda: ([normal(64, 60)], {"axis": -1, "keepdims": False}))
for _name in ("cumulative_sum", "cumulative_prod"):
    row(_name, "x (N, D) -> y (N, D)", "0", "N D - N", lambda: ([normal(64, 60)], {"axis": 1}))

# ---- convolution and pooling ------------------------------------------------------------------

GEOMETRY = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
X, WEIGHT, Y = "x (N, H, W, C)", "weight (F, I, J, C)", "y (N, P, Q, F)"
MULTIPLY_ADDS = "2 N P Q F I J C"
PLACES = "F filters of I x J, P Q the places of the output"
PADDED = f"{PLACES}; products with padding are not counted"


def _image() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return normal(1, 18, 18, 8), normal(16, 3, 3, 8), normal(16)


row("conv", f"{X}, {WEIGHT}, bias (F) -> {Y}", MULTIPLY_ADDS, "N P Q F",
    lambda: (_image(), GEOMETRY), PADDED)
row("conv_grad_input", f"g (N, P, Q, F), {WEIGHT} -> y (N, H, W, C)", MULTIPLY_ADDS, "0",
    lambda: ([normal(1, 16, 16, 16), _image()[1]], {"sizes": (18, 18), **GEOMETRY}), PADDED)
row("conv_grad_weight", f"{X}, g (N, P, Q, F) -> y (F, I, J, C)", MULTIPLY_ADDS, "0",
    lambda: ([_image()[0], normal(1, 16, 16, 16)], {"kernel": (3, 3), **GEOMETRY}), PADDED)
row("conv_activation", f"{X}, {WEIGHT}, bias (F) -> {Y}", MULTIPLY_ADDS, "N P Q F (1 + A)",
    lambda: (_image(), {**GEOMETRY, "activation": "relu", "parameters": ()}),
    f"{PLACES}, A the operations of the activation, 1 for relu", A=1)
POOLED = {**GEOMETRY, "pool": (2, 2)}
row("conv_pool", f"{X}, {WEIGHT}, bias (F) -> {Y}, index (N, P, Q, F)", "2 K N P Q F I J C",
    "N P Q F (K (1 + A) + K - 1)",
    lambda: (_image(), {**POOLED, "activation": "relu", "parameters": ()}),
    f"{PLACES} behind the windows, K the entries of a window, A the operations of the activation",
    K=4, A=1)
_AT = "g (N, P, Q, F), index (N, P, Q, F)"
_WINDOW = "K the entries of a window"
row("conv_pool_grad_input", f"{_AT}, {WEIGHT} -> y (N, H, W, C)", "2 K N P Q F I J C", "0",
    lambda: ([normal(1, 8, 8, 16), ran("conv_pool")[1][1], _image()[1]],
             {"sizes": (18, 18), **POOLED}), _WINDOW, K=4)
row("conv_pool_grad_weight", f"{X}, {_AT} -> y (F, I, J, C)", "2 K N P Q F I J C", "0",
    lambda: ([_image()[0], normal(1, 8, 8, 16), ran("conv_pool")[1][1]],
             {"kernel": (3, 3), **POOLED}), _WINDOW, K=4)
row("conv_pool_grad_bias", f"{_AT} -> y (F)", "0", "K N P Q F - F",
    lambda: ([normal(1, 8, 8, 16), ran("conv_pool")[1][1]], {"pool": (2, 2), "sizes": (16, 16)}),
    _WINDOW, K=4)
WINDOWS = {"windows": (Sliding(2, 2), Sliding(2, 2))}
row("max_pool", "x (N, H, W, C) -> y (N, P, Q, C), index (N, P, Q, C)", "0", "N P Q C (K - 1)",
    lambda: ([normal(2, 16, 16, 8)], WINDOWS), _WINDOW, K=4)
row("max_pool_grad", "g (N, P, Q, C), index (N, P, Q, C) -> y (N, H, W, C)", "0", "N P Q C",
    lambda: ([normal(2, 8, 8, 8), ran("max_pool")[1][1]], {"shape": (2, 16, 16, 8), **WINDOWS}))
row("max_pool_take", "x (N, H, W, C), index (N, P, Q, C) -> y (N, P, Q, C)", "0", "N P Q C",
    lambda: ([normal(2, 16, 16, 8), ran("max_pool")[1][1]], WINDOWS))
row("resample", "x (N, H, W, C) -> y (N, P, Q, C)", "2 K N P Q C", "0",
    lambda: ([normal(2, 16, 16, 8)], WINDOWS), _WINDOW, K=4)

# ---- softmax, losses, normalisation -----------------------------------------------------------

def _behind_softmax(name: str) -> tuple[list[Any], dict[str, Any]]:
    return [normal(128, 40, seed=1), *ran(name)[1]], {"axis": -1}


def _behind_norm() -> tuple[list[Any], dict[str, Any]]:
    sample, (_, mean, var) = ran("norm")
    x, weight, _ = sample.inputs
    return [normal(1, 128, 32, seed=1), normal(1, 32), normal(1, 32), x, mean, var, weight], {
        "eps": sample.params["eps"]}


for _name, _lines in (("softmax", "N (5 C - 2)"), ("log_softmax", "N (5 C - 1)")):
    row(_name, "x (N, C) -> y (N, C)", "0", _lines, lambda: ([normal(128, 40)], {"axis": -1}))
    row(f"{_name}_grad", "g (N, C), y (N, C) -> out (N, C)", "0", "N (4 C - 1)",
        partial(_behind_softmax, _name))
row("softmax_cross_entropy", "logits (N, C), labels (N) -> loss (N), lse (N)", "0", "N (4 C + 4)",
    lambda: ([normal(128, 40), whole(40, 128)], {"ignore": None}))
row("softmax_cross_entropy_grad",
    "g_loss (N), g_lse (N), logits (N, C), labels (N), lse (N) -> y (N, C)", "0", "N (3 C + 8)",
    lambda: ([normal(128), normal(128, seed=1), *ran("softmax_cross_entropy")[0].inputs,
              ran("softmax_cross_entropy")[1][1]], {}))
row("binary_cross_entropy", "x (N), t (N) -> y (N)", "0", "9 N",
    lambda: ([between(0.05, 0.95, 512), between(0.1, 0.9, 512)], {}))
row("binary_cross_entropy_grad", "g (N), x (N), t (N) -> y (N)", "0", "6 N",
    lambda: ([normal(512), between(0.05, 0.95, 512), between(0.1, 0.9, 512)], {}))
row("norm", "x (B, N, C), weight (C), bias (C) -> y (B, N, C), mean (B, G), var (B, G)", "0",
    "7 B N C + 3 B G",
    lambda: ([normal(1, 128, 32), normal(32), normal(32)], {"groups": 32, "eps": 1e-5}),
    "N positions and the C / G channels of a group share a mean; batch norm: B = 1 and G = C, "
    "layer norm: N = 1 and G = 1")
row("norm_grad", "g (B, N, C), g_mean (B, G), g_var (B, G), x (B, N, C), mean (B, G), var (B, G), "
    "weight (C) -> dx (B, N, C), dweight (C), dbias (C)", "0", "13 B N C + 10 B G - 2 C",
    _behind_norm)
row("channel_affine", "x (N, C), center (C), scale (C), shift (C) -> y (N, C)", "0", "3 N C",
    lambda: ([normal(128, 32), normal(32), between(0.5, 2, 32), normal(32, seed=1)], {}))
row("channel_affine_grad", "g (N, C), x (N, C), center (C), scale (C) -> dx (N, C), dscale (C), "
    "dshift (C)", "0", "5 N C - 2 C",
    lambda: ([normal(128, 32), normal(128, 32, seed=1), normal(32), between(0.5, 2, 32)], {}))
row("dropout", "x (N) -> y (N)", "0", "N",
    lambda: ([normal(4096)], {"seed": 0, "offset": 0, "p": 0.25}))

# ---- sequences --------------------------------------------------------------------------------

HEADS = "q (N, H, L, E), k (N, H, S, E), v (N, H, S, V)"
SOFT = {"scale": 0.25, "causal": False, "heads_first": True}
row("attention", f"{HEADS} -> out (N, H, L, V), lse (N, H, L)", "2 N H L S (E + V)",
    "6 N H L S + 2 N H L",
    lambda: ([normal(1, 2, 40, 16), normal(1, 2, 48, 16), normal(1, 2, 48, 24)], SOFT),
    "a mask is a fourth input; what it forbids is counted too")
row("attention_grad", f"g (N, H, L, V), g_lse (N, H, L), {HEADS}, out (N, H, L, V), lse (N, H, L) "
    "-> dq (N, H, L, E), dk (N, H, S, E), dv (N, H, S, V)", "2 N H L S (3 E + 2 V)",
    "5 N H L S + N H L (2 V + E) + N H S E",
    lambda: ([normal(1, 2, 40, 24, seed=1), normal(1, 2, 40), *ran("attention")[0].inputs,
              *ran("attention")[1]], SOFT))


def _layer(gates: int, states: int, biases: int,
           params: dict[str, Any]) -> tuple[list[np.ndarray], dict[str, Any]]:
    N, T, D, H = 4, 12, 16, 24
    return [normal(N, T, D), normal(gates * H, D) * 0.2, normal(gates * H, H) * 0.2,
            *(normal(gates * H, seed=i) for i in range(biases)),
            *(normal(N, H, seed=i) for i in range(states)), np.full(N, T)], params


def _back(name: str, cotangents: int, biases: int, saved: slice) -> tuple[list[Any], Any]:
    """Return the inputs of a recurrent gradient: cotangents, the layer without biases, outputs."""
    sample, y = ran(name)
    x, w_ih, w_hh, *rest = sample.inputs
    g = [normal(*a.shape, seed=9) for a in y[:cotangents]]
    return ([*g, x, w_ih, w_hh, *rest[biases:], y[0], *y[saved]], {**sample.params,
                                                                   "needs_x": True})


for _name, _gates, _states, _biases, _kept, _saved in (
        ("lstm", 4, 2, 1, ("gates", "cells"), slice(3, 5)),
        ("gru", 3, 1, 2, ("gates", "inner"), slice(2, 4)), ("rnn", 1, 1, 1, (), slice(2, 2))):
    _wide = f"{_gates} H" if _gates > 1 else "H"
    _weights = f"x (N, T, D), weight_ih ({_wide}, D), weight_hh ({_wide}, H)"
    _zero = "h0 (N, H)" + ", c0 (N, H)" * (_states > 1) + ", lengths (N)"
    _bias = ", ".join(f"{b} ({_wide})" for b in (("bias",), ("bias_ih", "bias_hh"))[_biases - 1])
    _more = "".join(f", {k} (N, T, {_wide if k == 'gates' else 'H'})" for k in _kept)
    _last = "h (N, H)" + ", c (N, H)" * (_states > 1)
    row(_name, f"{_weights}, {_bias}, {_zero} -> output (N, T, H), {_last}{_more}",
        f"{2 * _gates} N T H (D + H)", f"{6 * _gates} N T H",
        partial(_layer, _gates, _states, _biases,
                {"reverse": False, **({} if _name == "gru" else {"activation": "tanh"})}),
        "padded steps counted; time follows the valid ones")
    row(f"{_name}_grad",
        f"g_output (N, T, H), {_last.replace('h (', 'g_h (').replace('c (', 'g_c (')}, {_weights}, "
        f"{_zero}, output (N, T, H){_more} -> the gradient of each input of {_name}",
        f"{4 * _gates} N T H (D + H)", f"{12 * _gates} N T H",
        partial(_back, _name, 1 + _states, _biases, _saved),
        "padded steps counted; time follows the valid ones")

# ---- optimisers -------------------------------------------------------------------------------

VALUES = {"lr": 1e-3, "momentum": 0.9, "beta1": 0.9, "beta2": 0.97, "eps": 1e-8, "step": 20,
          "alpha": 0.99, "momentum_decay": 0.004, "mu_product": 0.5, "rho": 0.9}


def _step(name: str, states: tuple[str, ...]) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Return two parameters, their gradients and states (positive: some are squares)."""
    sizes = (3000, 500)
    arrays = [normal(n, seed=s) for s in (0, 1) for n in sizes]
    arrays += [between(0.5, 1.5, n) for _ in states for n in sizes]
    return arrays, {"states": states, "hyper": _hyper(name)}


def _hyper(name: str) -> np.ndarray:
    return np.array([[VALUES.get(c, 0.0) for c in COLUMNS[name]]] * 2)


for _name, _every in STATES.items():
    _used = _every[:{"rmsprop_step": 1}.get(_name, 2)]  # as by default
    _operations = OPS[_name].work(  # of one element
        [np.empty(1)], [], {"states": _used, "hyper": _hyper(_name)})[1]
    row(_name, "arrays: parameters (D), gradients (D), " + ", ".join(f"{s} (D)" for s in _used),
        "0", f"{_operations} D", partial(_step, _name, _used),
        "D the elements of all parameters together, without weight decay", D=3500)
_ALL = "D the elements of all arrays together"
row("ema_step", "arrays: averages (D), parameters (D)", "0", "3 D",
    lambda: ([between(0.5, 1.5, n) * s for s in (1, 2) for n in (3000, 500)], {"decay": 0.99}),
    "D the elements of all parameters together", D=3500)
row("segments_scale", "arrays (D)", "0", "D",
    lambda: ([normal(3000), normal(500)], {"factor": 0.99}), _ALL, D=3500)
row("segments_limit", "arrays (D), and their norm ()", "0", "D + 2",
    lambda: ([normal(3000), normal(500), np.float32(60.0)], {"max_norm": 50.0}), _ALL, D=3500)
row("segments_clip", "arrays (D)", "0", "2 D",
    lambda: ([normal(3000), normal(500)], {"low": -1.0, "high": 1.0}), _ALL, D=3500)
row("segments_sum_squares", "arrays (D) -> y ()", "0", "2 D - B",
    lambda: ([normal(3000), normal(500)], {}), f"{_ALL}, B their number", D=3500, B=2)

# ---- random draws -----------------------------------------------------------------------------

_DRAW: dict[str, Any] = {"shape": (4096,), "seed": 0, "offset": 0}
_FLOAT = {**_DRAW, "dtype": np.dtype("float32")}
_WORDS = "not counted: integer words of a Philox counter, and what makes a number of each"
row("random_uniform", "-> y (shape)", "0", "0",
    lambda: ([], {**_FLOAT, "low": 0.0, "high": 1.0}), _WORDS)
row("random_normal", "-> y (shape)", "0", "0",
    lambda: ([], {**_FLOAT, "loc": 0.0, "scale": 1.0}), _WORDS)
row("random_integers", "-> y (shape)", "0", "0",
    lambda: ([], {**_DRAW, "low": 0, "high": 10}), _WORDS)

# ---- elementwise ops --------------------------------------------------------------------------

APART = {"divide", "remainder", "floor_divide", "reciprocal"}  # what divides is not near 0
POSITIVE = {"log", "log2", "log10", "log1p", "sqrt", "asin", "acos", "power"}  # drawn from 0 to 1
NUMBERS = {"low": -0.5, "high": 0.5, "alpha": 1.0, "slope": 0.01, "beta": 1.0, "threshold": 20.0}
ELEMENTS = 4096


def elementwise(op: Op) -> Row:
    """Return the row of an elementwise op."""
    def draw() -> Sample:
        arrays = [between(0.05, 0.95, ELEMENTS) if op.name in POSITIVE or name == "t" else
                  normal(ELEMENTS, seed=i) for i, name in enumerate(op.inputs)]
        if op.name in APART:
            arrays[-1] += np.copysign(np.float32(0.5), arrays[-1])
        if op.inputs[0] == "condition":
            arrays[0] = arrays[0] > 0
        return Sample(tuple(arrays), {name: NUMBERS[name] for name in op.params})

    one = op.work((), [((1000,), None)], {})[1] / 1000  # fractions where 1000 elements show them
    shapes = "any shape" if len(op.inputs) == 1 else "one shape, or of shapes that broadcast"
    return Row(f"{', '.join(op.inputs)} of {shapes} -> y of that shape", "0",
               f"{one:g} |y|".removeprefix("1 "), draw)


def row_of(op: Op) -> Row | None:
    """Return the row of an op; None for one that is not the engine's."""
    if OPS.get(op.name) is not op:
        return None
    return elementwise(op) if op.elementwise else ROWS.get(op.name)
