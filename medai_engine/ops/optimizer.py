"""Optimiser steps, averages and clipping: ops that write, one call over all parameters.

The inputs of such an op are segments in list-major order: all parameters, all gradients, then
every state that the rule keeps, one array per parameter in each list. ``hyper`` is a float64
table with one row per parameter and the columns of ``COLUMNS``; its owner changes it in place
between calls (learning rate, step count). ``Segments`` is a table laid out once for many calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..coerce import FLOATS
from ..errors import DTypeError, GraphError, ParameterError, ShapeError, say
from ..kernels.optimizer.reference import COLUMNS
from ..mode import MODE
from ..op import Op, apply, define
from ..tensor import CLOCK, Tensor

__all__ = ["COLUMNS", "EMA_STEP", "SEGMENTS_CLIP", "SEGMENTS_LIMIT", "SEGMENTS_SCALE",
           "SEGMENTS_SUM_SQUARES", "STATES", "STEPS", "Segments"]


def lists(arrays: Sequence[np.ndarray], count: int) -> list[list[np.ndarray]]:
    """Cut list-major segments into ``count`` lists of flat arrays."""
    n = len(arrays) // count
    flat = [a.reshape(-1) for a in arrays]
    return [flat[i * n: (i + 1) * n] for i in range(count)]


def check_segments(where: str, names: Sequence[str], arrays: Sequence[np.ndarray],
                   written: Sequence[str]) -> int:
    """Validate list-major segments, one list per name; return their number."""
    n, rest = divmod(len(arrays), len(names))
    if rest:
        raise ParameterError(say(where, f"lists of equal length ({', '.join(names)})",
                                 f"{len(arrays)} arrays", "Pass one array per parameter in each"))
    for k, array in enumerate(arrays):
        first, name = arrays[k % n], names[k // n]
        if array.dtype not in FLOATS or array.dtype != arrays[0].dtype:
            raise DTypeError(say(
                where, f"{name} {k % n} to be " + (
                    str(arrays[0].dtype) if arrays[0].dtype in FLOATS else "float32 or float64"),
                str(array.dtype), "Convert with .astype; one call takes one dtype"))
        if array.shape != first.shape:
            raise ShapeError(say(where, f"{name} {k % n} of shape {first.shape}",
                                 str(array.shape), f"It belongs to a {names[0]} of that shape"))
        if name in written and not array.flags.writeable:
            raise GraphError(say(where, f"a {name} that can be written", "a read-only array",
                                 "Copy it first", {name: array.shape}))
    return n


# ---- steps ------------------------------------------------------------------------------------

# The states that a rule can keep, in the kernel's order, by the names of state dicts.
STATES = {
    "sgd_step": ("momentum_buffer",),
    "adam_step": ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    "nadam_step": ("exp_avg", "exp_avg_sq"),
    "radam_step": ("exp_avg", "exp_avg_sq"),
    "rmsprop_step": ("square_avg", "grad_avg", "momentum_buffer"),
    "adagrad_step": ("sum",),
    "adadelta_step": ("square_avg", "acc_delta"),
    "adamax_step": ("exp_avg", "exp_inf"),
    "lion_step": ("exp_avg",),
}
# Running means, which end at 0 instead of among the subnormal numbers: a magnitude, a comparison.
MEANS = {"momentum_buffer", "exp_avg", "exp_avg_sq", "square_avg", "grad_avg", "acc_delta"}


def decay_operations(h: dict[str, float]) -> int:
    """Return what sign and weight decay cost each element."""
    return bool(h["maximize"]) + (1 if h.get("decoupled") else 2 * bool(h["weight_decay"]))


def rectified(h: dict[str, float]) -> bool:
    """Tell whether RAdam's step has an adaptive rate (more than 5 steps' worth of variance)."""
    power = h["beta2"] ** h["step"]
    return 2 / (1 - h["beta2"]) - 1 - 2 * h["step"] * power / (1 - power) > 5


def step_op(name: str, operations: Callable[[dict[str, float], Sequence[str]], int],
            doc: str) -> Op:
    """Define the step of a rule; ``operations(row of hyper, states)`` are those of one element."""
    kept, columns = STATES[name], COLUMNS[name]

    def infer(*arrays: np.ndarray, states: Sequence[str], hyper: np.ndarray) -> list[Any]:
        if tuple(s for s in kept if s in states) != tuple(states):
            raise ParameterError(say(name, f"states out of {kept}, in this order", str(states),
                                     "Name each state once"))
        n = check_segments(name, ("parameter", "gradient", *states), arrays,
                           ("parameter", *states))
        if hyper.shape != (n, len(columns)) or hyper.dtype != np.float64:
            raise ShapeError(say(name, f"hyper of shape {(n, len(columns))}, float64",
                                 f"{hyper.shape}, {hyper.dtype}",
                                 f"One row per parameter, with columns {', '.join(columns)}"))
        return []

    def prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                params: dict[str, Any]) -> tuple[Any, ...]:
        states = params["states"]
        found = lists(arrays, 2 + len(states))
        named = dict(zip(states, found[2:], strict=True))
        return (*found[:2], *(named.get(s, []) for s in kept), params["hyper"])

    def writes(count: int, states: Sequence[str], hyper: np.ndarray) -> list[int]:
        n = len(hyper)
        return [*range(n), *range(2 * n, count)]

    def work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
        rows = [dict(zip(columns, row, strict=True)) for row in params["hyper"].tolist()]
        ends = 2 * len(MEANS.intersection(params["states"]))
        return 0, sum(a.size * (operations(h, params["states"]) + decay_operations(h) + ends)
                      for a, h in zip(arrays, rows, strict=False))

    return define(name, infer=infer, kernel=name, prepare=prepare, writes=writes, work=work,
                  outputs=(), doc=doc, onnx="none: training only")


STEPS = {name: step_op(name, operations, doc) for name, operations, doc in (
    ("sgd_step", lambda h, s: 2 + (3 * (h["step"] != 1) + 2 * bool(h["nesterov"])) * len(s),
     "p <- p - lr b with b <- mu b + (1 - dampening) g"),
    ("adam_step", lambda h, s: 11 + len(s),
     "p <- p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)"),
    ("nadam_step", lambda h, s: 15, "Adam with Nesterov's look ahead in the first moment"),
    ("radam_step", lambda h, s: 12 if rectified(h) else 9,
     "Adam whose rate is rectified while v is young"),
    ("rmsprop_step", lambda h, s: 9 + 6 * ("grad_avg" in s) + 2 * ("momentum_buffer" in s),
     "p <- p - lr g / (sqrt(v) + eps) with v <- alpha v + (1 - alpha) g^2"),
    ("adagrad_step", lambda h, s: 7, "p <- p - lr g / (sqrt(v) + eps) with v <- v + g^2"),
    ("adadelta_step", lambda h, s: 16,
     "p <- p - lr sqrt(u + eps) / sqrt(v + eps) g, u and v running means of squares"),
    ("adamax_step", lambda h, s: 10, "p <- p - lr / (1 - beta1^t) m / max(beta2 u, |g| + eps)"),
    ("lion_step", lambda h, s: 10 - 2 * bool(h["weight_decay"]),
     "p <- (1 - lr w) p - lr sign(beta1 m + (1 - beta1) g)"),
)}


class Segments:
    """One step op over a fixed set of parameters: laid out once, then one kernel call each time.

    Everything is validated when the table is made. After that a call looks at what can change,
    the gradients and where parameters are stored, and where nothing watches (``Mode.short``) goes
    straight to the compiled kernel; all else, errors included, goes through ``apply``.

    Parameters
    ----------
    op : Op
        One of ``STEPS``.
    params : list of Tensor
        Of one dtype, each with a gradient.
    states : mapping of str to list of Tensor
        Every state that this table keeps, one tensor per parameter.
    hyper : numpy.ndarray
        (parameters, columns) float64, refilled in place by its owner.
    """

    __slots__ = ("arguments", "compiled", "grads", "hyper", "op", "params", "rows", "states",
                 "tensors")

    def __init__(self, op: Op, params: list[Tensor], states: dict[str, list[Tensor]],
                 hyper: np.ndarray):
        self.op = op
        self.params = params
        self.states = tuple(states)
        self.tensors = [t for kept in states.values() for t in kept]
        self.hyper = hyper
        self.grads: list[Any] = [p.grad.data.ravel() for p in params]  # type: ignore[union-attr]
        self.rows = [(i, p, p.data, p.data.shape, p.data.dtype) for i, p in enumerate(params)]
        self.validate()
        arrays = [t.data for t in (*params, *self.tensors)]
        # a parameter that is no contiguous array is copied in and out by apply
        lean = all(a.flags.c_contiguous for a in arrays)
        self.compiled = op.compiled if lean else None
        flat = [a.reshape(-1) for a in arrays]
        n = len(params)
        named = {name: flat[(k + 1) * n: (k + 2) * n] for k, name in enumerate(states)}
        self.arguments = (flat[:n], self.grads, *(named.get(s, []) for s in STATES[op.name]),
                          hyper)

    def validate(self) -> None:
        """Raise what ``apply`` would raise."""
        self.op.infer(*(t.data for t in self.inputs()), states=self.states, hyper=self.hyper)

    def inputs(self) -> list[Tensor]:
        """Return the op's inputs: parameters, their present gradients, states."""
        return [*self.params, *[p.grad for p in self.params], *self.tensors]  # type: ignore[list-item]

    def ready(self) -> bool:
        """Take the present gradients; False when the table does not fit any more."""
        grads = self.grads
        for i, p, data, shape, dtype in self.rows:
            g = p.grad
            if g is None or p.data is not data:
                return False
            array = g.data
            if array.shape != shape or array.dtype is not dtype:
                self.validate()
            grads[i] = array.ravel()  # contiguous, also where the gradient is not
        return True

    def __call__(self) -> None:
        """Update parameters and states in place (after ``ready``)."""
        mode = MODE.get()
        if self.compiled is None or not (mode.short or mode.lean):
            self.grads[:] = [None] * len(self.rows)
            apply(self.op, *self.inputs(), states=self.states, hyper=self.hyper)
            return
        if mode.scene is None:
            self.compiled(*self.arguments)
        else:
            mode.scene.time(self.compiled, self.arguments)
            mode.scene.told(mode, self.op, self.inputs(), (),
                            {"states": self.states, "hyper": self.hyper})
        self.grads[:] = [None] * len(self.rows)  # else they would outlive zero_grad
        CLOCK[0] = now = CLOCK[0] + 1
        for p in self.params:
            p.written = now
            if p.base is not None:
                p.base.written = now


# ---- averages and clipping --------------------------------------------------------------------


def _ema_infer(*arrays: np.ndarray, decay: float) -> list[Any]:
    check_segments("ema_step", ("average", "parameter"), arrays, ("average",))
    if not 0 <= decay <= 1:
        raise ParameterError(say("ema_step", "a decay from 0 to 1", repr(decay), "Try 0.999"))
    return []


EMA_STEP = define(
    "ema_step", infer=_ema_infer, kernel="ema_step", outputs=(),
    prepare=lambda arrays, outs, params: (*lists(arrays, 2), params["decay"]),
    writes=lambda count, decay: range(count // 2),
    work=lambda arrays, outs, params: (0, 3 * sum(a.size for a in arrays) // 2),
    doc="average <- decay average + (1 - decay) parameter", onnx="none: training only")


def _scale_infer(*arrays: np.ndarray, factor: float) -> list[Any]:
    check_segments("segments_scale", ("array",), arrays, ("array",))
    return []


SEGMENTS_SCALE = define(
    "segments_scale", infer=_scale_infer, kernel="segments_scale", outputs=(),
    prepare=lambda arrays, outs, params: (*lists(arrays, 1), params["factor"]),
    writes=lambda count, factor: range(count),
    work=lambda arrays, outs, params: (0, sum(a.size for a in arrays)),
    doc="x <- factor x, for all arrays", onnx="none: training only")


def _limit_infer(*arrays: np.ndarray, max_norm: float) -> list[Any]:
    check_segments("segments_limit", ("array",), arrays[:-1], ("array",))
    if arrays[-1].shape != ():
        raise ShapeError(say("segments_limit", "the norm, one number, as the last input",
                             str(arrays[-1].shape), "Pass it behind the arrays"))
    return []


def _limit(*arrays: Any) -> None:
    *segments, norm, max_norm = arrays
    factor = max_norm / (float(norm) + 1e-6)
    if not factor >= 1:  # a NaN spreads, as it would by itself
        SEGMENTS_SCALE.compiled([a.reshape(-1) for a in segments if a.size], factor)


SEGMENTS_LIMIT = define(
    "segments_limit", infer=_limit_infer, definition=_limit, outputs=(),
    writes=lambda count, max_norm: range(count - 1),
    work=lambda arrays, outs, params: (0, 2 + sum(a.size for a in arrays[:-1])),
    doc="x <- min(1, max_norm / (norm + 1e-6)) x, for all arrays", onnx="none: training only")


def _clip_infer(*arrays: np.ndarray, low: float, high: float) -> list[Any]:
    check_segments("segments_clip", ("array",), arrays, ("array",))
    if not low <= high:
        raise ParameterError(say("segments_clip", "low <= high", f"{low} and {high}",
                                 "Swap them"))
    return []


SEGMENTS_CLIP = define(
    "segments_clip", infer=_clip_infer, kernel="segments_clip", outputs=(),
    prepare=lambda arrays, outs, params: (*lists(arrays, 1), params["low"], params["high"]),
    writes=lambda count, low, high: range(count),
    work=lambda arrays, outs, params: (0, 2 * sum(a.size for a in arrays)),
    doc="x <- min(max(x, low), high), for all arrays", onnx="none: training only")


def _sum_squares_infer(*arrays: np.ndarray) -> tuple[tuple[int, ...], Any]:
    check_segments("segments_sum_squares", ("array",), arrays, ())
    return (), np.float64


SEGMENTS_SUM_SQUARES = define(
    "segments_sum_squares", infer=_sum_squares_infer, kernel="segments_sum_squares",
    prepare=lambda arrays, outs, params: (*lists(arrays, 1), outs[0].reshape(1)),
    work=lambda arrays, outs, params: (0, sum(max(0, 2 * a.size - 1) for a in arrays)),
    doc="y = the sum of the squares of all elements of all arrays, added in float64",
    onnx="none: training only")
