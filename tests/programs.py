"""Recording a function, running its lines one by one, and random functions of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import medai_engine as me
from medai_engine import functional as F
from medai_engine.jit.plan import chosen
from medai_engine.jit.record import Recorder, Value
from medai_engine.kernels import empty
from medai_engine.mode import MODE, switched
from medai_engine.tree import flatten


def recorded(function: Any, *arrays: np.ndarray) -> Any:
    """Return the program of a function of tensors."""
    recorder = Recorder()
    tensors = [me.Tensor(np.asarray(a)[...]) for a in arrays]
    with switched(recorder=recorder):
        for i, t in enumerate(tensors):
            recorder.argument(t.data, i)
        results, _ = flatten(function(*tensors))
    recorder.program.outputs = [recorder.value(y) for y in results]
    recorder.finish()
    return recorder.program


def names(program: Any) -> list[str]:
    """Return what the lines do."""
    return ["host" if line.op is None else line.op.name for line in program.lines]


def run(program: Any, *arrays: np.ndarray) -> list[np.ndarray]:
    """Run the lines one by one, each into memory of its own; states are copies."""
    found: dict[Value, np.ndarray] = dict(zip(program.arguments, arrays, strict=True))

    def array(value: Value) -> np.ndarray:
        if value not in found:
            assert value.kind != "temporary", f"{value!r} is read before it is made"
            found[value] = value.source.data.copy() if value.kind == "state" else value.source.data
        return found[value]

    for line in program.lines:
        if line.op is None:
            line.host()
            continue
        inputs = [array(v) for v in line.inputs]
        if line.op.view:
            views = line.op.definition(*inputs, **line.params)
            found.update(zip(line.outputs, views if type(views) is list else [views],
                             strict=True))
            continue
        if not line.op.strided:
            inputs = [x if x.flags.c_contiguous else x.copy() for x in inputs]
        outs = [empty(v.shape, v.dtype) for v in line.outputs]
        for out in outs:
            out.fill(np.nan if out.dtype.kind == "f" else 1)
        arguments = (line.op.prepare(inputs, outs, line.params) if line.op.prepare is not None else
                     [*inputs, *outs, *[line.params[name] for name in line.op.params]])
        chosen(line.op, inputs, MODE.get().backend)(*arguments)
        found.update(zip(line.outputs, outs, strict=True))
    return [array(v).copy() for v in program.outputs]


# ---- random functions -------------------------------------------------------------------------

UNARY = ["tanh", "sigmoid", "relu", "exp", "abs", "negative", "square", "sin", "erf", "sqrt",
         "floor"]
BINARY = ["add", "subtract", "multiply", "maximum", "divide"]
OTHERS = ["scalar", "where", "sum", "keep", "mean", "max", "softmax", "turn", "flat", "row", "copy",
          "matmul", "linear", "again", "checkpoint", "join", "slice", "leaky", "clip", "logsumexp"]


@st.composite
def functions(draw: Any) -> Any:
    """Draw a function of three (n, m) arrays, with or without gradients, as a list of steps."""
    steps = draw(st.lists(st.tuples(
        st.sampled_from(UNARY + BINARY + OTHERS), st.integers(0, 9), st.integers(0, 9),
        st.integers(0, 9)), min_size=1, max_size=12))
    order = draw(st.sampled_from([0, 1, 1, 2]))
    return steps, order


def perform(steps: Any, tensors: list[Any]) -> list[Any]:
    """Run the steps; return what was made, the inputs first."""
    n, m = tensors[0].shape
    made = list(tensors)
    for name, i, j, k in steps:
        a, b, c = (made[q % len(made)] for q in (i, j, k))
        if name in UNARY:
            y = getattr(me, name)(a) if hasattr(me, name) else getattr(F, name)(a)
        elif name in BINARY:
            y = getattr(me, name)(a, b)
        elif name == "scalar":
            y = a * [1.0, 0.5, 2.0][j % 3] + [0.0, -1.0, 3.0][k % 3]
        elif name == "where":
            y = me.where(a > b, a, c)
        elif name in ("sum", "mean", "max", "logsumexp"):
            y = getattr(me, name)(a, axis=j % 2, keepdims=True)
        elif name == "keep":
            y = me.broadcast_to(a.mean(), (n, m))
        elif name == "softmax":
            y = F.softmax(a, axis=-(1 + j % 2)) if a.ndim == 2 else a
        elif name == "turn":
            y = a.T.reshape(a.shape)
        elif name == "flat":
            y = a.reshape(-1).reshape(a.shape)
        elif name == "row":
            y = a[:1] + b
        elif name == "copy":
            y = a.copy()
        elif name == "matmul":
            y = (a @ a.T) @ b + a if a.shape == b.shape == (n, m) else a
        elif name == "linear":
            y = getattr(F, ["relu", "tanh", "sigmoid"][k % 3])(
                F.linear(a, tensors[1].T @ tensors[0], tensors[2][0])) if a.shape == (n, m) else a
        elif name == "again":
            y = me.tanh(tensors[0] * tensors[1]) + a
        elif name == "checkpoint":
            y = me.checkpoint(lambda x, z: me.tanh(x * z) * x)(a, b)
        elif name == "join":
            y = me.concat([a, a], axis=0)[: a.shape[0]]
        elif name == "slice":
            y = a[::-1] * 0.5
        elif name == "leaky":
            y = F.leaky_relu(a, 0.25)
        else:
            y = me.clip(a, -0.5, 0.75)
        made.append(y)
    return made


def built(steps: Any, order: int) -> Any:
    """Return the drawn function: results, or gradients of first or second order."""

    def values(*tensors: Any) -> Any:
        return tuple(perform(steps, list(tensors))[len(tensors):])

    def total(*tensors: Any) -> Any:
        made = perform(steps, list(tensors))
        return sum((y * y * 0.5).sum() for y in made[-3:])

    if order == 0:
        return values
    if order == 1:
        return me.value_and_grad(total, argnums=(0, 1))

    def second(*tensors: Any) -> Any:
        gradient = me.grad(total, argnums=0)
        return me.grad(lambda *t: (gradient(*t) * t[1]).sum(), argnums=0)(*tensors)

    return second
