"""Tensor methods, from one table, and the protocols of Python and NumPy.

Methods are the functions of the same name with the tensor as the first argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import GraphError, ParameterError, ShapeError, say
from ..tensor import Tensor
from ..tree import flatten
from . import (
    arrange,
    contraction,
    creation,
    decompositions,
    indexing,
    linalg,
    shape,
    sorting,
    statistics,
)
from .elementwise import FUNCTIONS as F
from .elementwise import clip

# ---- methods ----------------------------------------------------------------------------------


def _ravel(x: Tensor) -> Tensor:
    """Return the elements as a vector."""
    return shape.reshape(x, -1)


def _transpose(x: Tensor, *axes: Any) -> Tensor:
    """Return x with its axes in another order (reversed by default)."""
    order = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    return shape.permute_dims(x, order or tuple(range(x.ndim))[::-1])


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return a where the condition holds, b elsewhere; numbers take the dtype of the other."""
    return F["where"](condition, a, b)


UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "exp", "expm1", "floor",
    "isfinite", "isinf", "isnan", "log", "log10", "log1p", "log2", "logical_not", "negative",
    "reciprocal", "round", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh",
    "trunc")
BINARY = (
    "add", "atan2", "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot", "less",
    "less_equal", "logaddexp", "logical_and", "logical_or", "logical_xor", "maximum", "minimum",
    "multiply", "not_equal", "power", "remainder", "subtract")
# the elementwise functions that the package exports: the list in medai_engine/__init__.py
ELEMENTWISE: dict[str, Any] = {
    **{name: F[name] for name in UNARY + BINARY}, "clip": clip, "pow": F["power"],
    "where": where}
METHODS: dict[str, Any] = {
    **{name: F[name] for name in UNARY},
    **{name: getattr(statistics, name) for name in statistics.__all__},
    "cumsum": statistics.cumulative_sum, "cumprod": statistics.cumulative_prod,
    "clip": clip, "copy": shape.copy, "clone": shape.copy,
    "permute_dims": shape.permute_dims, "broadcast_to": shape.broadcast_to,
    "flip": shape.flip, "flatten": _ravel, "ravel": _ravel, "transpose": _transpose,
    "diagonal": arrange.diagonal, "expand_dims": arrange.expand_dims, "repeat": arrange.repeat,
    "squeeze": arrange.squeeze, "swapaxes": arrange.swapaxes,
    "take": indexing.take, "argsort": sorting.argsort, "sort": sorting.sort, "topk": sorting.topk,
    "nonzero": sorting.nonzero, "searchsorted": sorting.searchsorted, "dot": contraction.dot,
}

PROPERTIES = {"T": property(_transpose, doc="The array with its axes reversed."),
              "mT": property(arrange.matrix_transpose, doc="The matrices transposed.")}

# ---- Python's protocols -----------------------------------------------------------------------


def _iterate(x: Tensor) -> Iterator[Tensor]:
    if x.ndim == 0:
        raise ShapeError(say("iteration", "at least one axis", "a 0-d tensor",
                             "Use .item() for its number"))
    return (indexing.getitem(x, i) for i in range(len(x)))


def _contains(x: Tensor, value: Any) -> bool:
    return bool(statistics.any(F["equal"](x, value)))


def _format(x: Tensor, spec: str) -> str:
    """Format a single number by ``spec``; without one, everything as ``repr`` does."""
    return format(x.item(), spec) if spec else repr(x)


# ---- NumPy's protocols ------------------------------------------------------------------------

# NumPy's names, where they are not the engine's
RENAMED = {
    "absolute": "abs", "arccos": "acos", "arcsin": "asin", "arctan": "atan", "arctan2": "atan2",
    "concatenate": "concat", "cumprod": "cumulative_prod", "cumsum": "cumulative_sum",
    "rint": "round", "transpose": "T", "true_divide": "divide", "amax": "max", "amin": "min",
    "ravel": "flatten", "fabs": "abs",
}


PUBLIC: dict[str, Any] = {
    **ELEMENTWISE, "T": _transpose, "flatten": _ravel, "matmul": linalg.matmul,
    **{name: getattr(module, name)
       for module in (shape, arrange, creation, indexing, sorting, contraction, statistics)
       for name in module.__all__}}


def _public(name: str) -> Any:
    """Return the engine's function for one of NumPy's, or None."""
    return PUBLIC.get(RENAMED.get(name, name))


def _ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    function = _public(ufunc.__name__) if method == "__call__" and not options else None
    if function is None:
        call = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
        raise ParameterError(say(f"np.{call}", "a function that tensors have, without out=",
                                 f"{call}({', '.join(options)})",
                                 "Use the function of medai_engine, or pass x.numpy()"))
    return function(*inputs)


def _array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Run the engine's function of this name; others run in NumPy, unless that loses a gradient."""
    function = None
    if func.__module__ == "numpy":
        function = _public(func.__name__)
    elif func.__module__ == "numpy.linalg" and func.__name__ in decompositions.__all__:
        function = getattr(decompositions, func.__name__)
    if func is np.where and len(args) == 1:
        return sorting.nonzero(*args)
    if function is not None:
        return function(*args, **kwargs)
    leaves, rebuild = flatten([args, kwargs])
    args, kwargs = rebuild([x.numpy() if isinstance(x, Tensor) else x for x in leaves])
    result = func(*args, **kwargs)
    if any(isinstance(x, Tensor) and x.node is not None for x in leaves) and any(
            isinstance(y, (np.ndarray, np.floating)) and y.dtype.kind == "f"
            for y in flatten(result)[0]):
        raise GraphError(say(f"np.{func.__name__}", "tensors without gradient",
                             "one that requires it", "It has no gradient rule; pass x.detach()"))
    return result


def _namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    import medai_engine

    return medai_engine

PROTOCOLS = {"__iter__": _iterate, "__contains__": _contains, "__pos__": lambda self: self,
             "__format__": _format,
             "__array_ufunc__": _ufunc, "__array_function__": _array_function,
             "__array_namespace__": _namespace}

for _name, _value in {**METHODS, **PROPERTIES, **PROTOCOLS}.items():
    setattr(Tensor, _name, _value)
