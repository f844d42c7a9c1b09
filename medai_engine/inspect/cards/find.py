"""From what a reader types to the op that is meant: names of ops, functions, layers, kernels."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ... import kernels
from ...errors import ParameterError, say
from ...op import OPS, Op

__all__ = ["callers", "family_of", "find", "home_of"]

# What the public name is, where it is not the op's own; compared without case, underscores, "1d",
# "2d", "3d" and a layer's "loss".
MEANS = {
    "conv_transpose": "conv_grad_input", "adaptive_max_pool": "max_pool",
    "global_max_pool": "max_pool", "avg_pool": "resample", "adaptive_avg_pool": "resample",
    "global_avg_pool": "resample", "upsample": "resample", "batch_norm": "norm",
    "layer_norm": "norm", "group_norm": "norm", "instance_norm": "norm",
    "cross_entropy": "softmax_cross_entropy", "binary_cross_entropy_with_logits": "bce_with_logits",
    "bce_with_logits": "bce_with_logits", "bce": "binary_cross_entropy", "embedding": "gather",
    "take": "gather", "scaled_dot_product_attention": "attention",
    "multihead_attention": "attention", "pow": "power", "flip": "slice", "flatten": "reshape",
    "squeeze": "reshape", "expand_dims": "reshape", "moveaxis": "permute_dims",
    "matrix_transpose": "permute_dims", "stack": "concat",
    "sgd": "sgd_step", "adam": "adam_step", "adamw": "adam_step", "nadam": "nadam_step",
    "radam": "radam_step", "rmsprop": "rmsprop_step", "adagrad": "adagrad_step",
    "adadelta": "adadelta_step", "adamax": "adamax_step", "lion": "lion_step", "ema": "ema_step",
    "clip_grad_norm_": "segments_limit", "clip_grad_value_": "segments_clip",
    "uniform": "random_uniform", "normal": "random_normal", "integers": "random_integers",
}
# What calls the ops that no public name stands for.
INSIDE = {
    "gelu_tanh": 'me.functional.gelu(x, approximate="tanh")',
    "conv_activation": 'me.nn.Conv2d(..., activation="relu"); plans',
    "conv_pool": 'me.nn.Conv2d(..., activation="relu", pool=2); plans; a Sequential in '
                 "which convolution, activation and max pooling follow each other",
    "linear_activation": "plans, where an activation follows a linear layer",
    "matmul_add": "plans that may round differently, me.jit(fn, exact=False)",
    "channel_affine": "me.functional.batch_norm with given statistics, as in evaluation",
    "alias": "gradient functions and plans, for a tensor of their own over the same memory",
    "sum_to": "the engine, where an input was broadcast: its gradient is summed back",
    "unslice": "the gradient rule of slice", "scatter_add": "the gradient rule of gather",
    "max_pool_take": "the gradient rule of max_pool_grad",
    "flat_index": "advanced indexing, x[i, j]: several index arrays become one",
    "assign": "t.copy_(x), t[index] = x, t += x: on a leaf under me.no_grad()",
    "segments_scale": "segments_limit, where the norm is above the limit",
    "segments_sum_squares": "me.optim.clip_grad_norm_, for the norm",
}
NAMESPACES = ("", "linalg", "random", "functional", "nn", "optim")
OTHER = {("linalg", "norm")}  # namesakes that are compositions


def plain(name: str) -> str:
    """Return a name without what spellings differ in."""
    short = name.lower().replace("_", "")
    for ending in ("1d", "2d", "3d", "loss"):
        short = short.removesuffix(ending)
    return short


@cache
def meanings() -> dict[str, str]:
    """Return the op behind every plain name."""
    return {**{plain(name): name for name in OPS}, **{plain(k): op for k, op in MEANS.items()}}


@cache
def public() -> dict[str, tuple[Any, str]]:
    """Return every public function, layer and optimiser that stands for an op, and the op."""
    package = sys.modules[__name__.partition(".")[0]]
    found: dict[str, tuple[Any, str]] = {}
    for space in NAMESPACES:
        module = getattr(package, space) if space else package
        for name, value in sorted(vars(module).items()):
            op = meanings().get(plain(name))
            if op is None or name.startswith("_") or not callable(value) or (space, name) in OTHER:
                continue
            if space in ("nn", "optim") or not isinstance(value, type):
                found[".".join(filter(None, ("me", space, name)))] = value, op
    return found


def callers(op: Op) -> str:
    """Return what stands for an op, as it is typed, or what else calls it."""
    if OPS.get(op.name) is not op:
        return ""
    spaces: dict[str, list[str]] = {}
    for name, (_, of) in public().items():
        if of == op.name:
            space, _, last = name.rpartition(".")
            spaces.setdefault(space, []).append(last)
    if spaces:
        return "; ".join(f"{space}.{', '.join(names)}" for space, names in spaces.items())
    base = op.name.partition("_grad")[0]
    return INSIDE.get(op.name) or (f"the gradient rule of {base}" if base in OPS else "")


def find(what: Any) -> tuple[str, Op | None]:
    """Return the name of what is meant and its record; None where it is a kernel without an op.

    Raises
    ------
    ParameterError
        For a name that means nothing, with its neighbours.
    """
    if isinstance(what, str) and "." in what:  # me.functional.conv2d
        path = "me." + what.removeprefix("medai_engine.").removeprefix("me.")
        what = public()[path][0] if path in public() else what
    if isinstance(what, str):
        op = what if what in OPS else meanings().get(plain(what))
        if op is None:
            op = next((o.name for o in OPS.values() if o.kernel == what), None)
        if op is not None:
            return op, OPS[op]
        if what in kernels.families():
            return what, None
        raise unknown(what, repr(what))
    made = what if isinstance(what, Op) else getattr(what, "op", None)
    if isinstance(made, Op):  # a record, or a user's own op
        return made.name, made
    if callable(what) and hasattr(what, "python"):  # a user's own kernel
        return what.__name__, None
    for value, op in public().values():
        if value is what:
            return op, OPS[op]
    name = getattr(what, "__name__", type(what).__name__)
    ours = str(getattr(what, "__module__", "")).startswith("medai_engine")
    raise unknown(name, f"{name}, which is composed of others" if ours else repr(what))


def unknown(name: str, got: str) -> ParameterError:
    """Return the error for a name that means nothing."""
    known: dict[str, list[str]] = {}
    for other in sorted({*OPS, *MEANS, *kernels.families()}):
        known.setdefault(plain(other), []).append(other)
    near = difflib.get_close_matches(plain(name), known, 4)
    return ParameterError(say(
        "inspect.op", "an op, a public function or layer that is one, or a kernel", got,
        f"Did you mean {', '.join(name for n in near for name in known[n])}?" if near
        else "medai inspect lists all ops"))


# ---- where a record is written ----------------------------------------------------------------


@cache
def places(module: str) -> dict[str, int]:
    """Return the line of every name that a module's top level passes to a call."""
    path = Path(str(import_module(module).__file__))
    found: dict[str, int] = {}

    def strings(nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.setdefault(node.value, node.lineno)

    top = [node for node in ast.parse(path.read_text(encoding="utf-8")).body
           if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    nodes = [inner for node in top for inner in ast.walk(node)]
    strings(call.args[0] for call in nodes if isinstance(call, ast.Call) and call.args)
    for row in nodes:  # a table of names, which a loop defines
        strings(row.elts if isinstance(row, ast.Tuple) else ())
    return found


def family_of(op: Op) -> str:
    """Return the family of an op: the file of ops/ in which its record stands."""
    module = op.infer.__module__.rpartition(".")[2]
    return module if OPS.get(op.name) is op else "your own"


def home_of(op: Op) -> str:
    """Return where the record stands, as file:line."""
    lines = places(op.infer.__module__)
    line = lines.get(op.name) or lines.get(op.name.removesuffix("_grad"), 1)
    return f"medai_engine/ops/{family_of(op)}.py:{line}"
