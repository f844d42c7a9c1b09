"""``keras.ops``: functions of tensors, and of symbols, where they become layers of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from .. import functional as F
from ..coerce import as_array
from ..tensor import Tensor
from .activations import NAMES as ACTIVATIONS
from .backend import me
from .engine import Layer, Place, Symbol

__all__ = ["Operation", "convert_to_numpy", "convert_to_tensor", "shape"]

# what this package calls as Keras does
SAME = ("abs", "all", "any", "arange", "argmax", "argmin", "argsort", "ceil", "clip", "cos",
        "cumsum", "divide", "einsum", "equal", "exp", "expand_dims", "expm1", "flip", "floor",
        "full", "full_like", "greater", "greater_equal", "isnan", "less", "less_equal",
        "linspace", "log", "log1p", "logical_and", "logical_not", "logical_or", "logsumexp",
        "matmul", "max", "maximum", "mean", "min", "minimum", "multiply", "negative", "not_equal",
        "ones", "ones_like", "pad", "power", "prod", "repeat", "reshape", "roll", "round", "sign",
        "sin", "sort", "split", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum",
        "swapaxes", "take", "take_along_axis", "tensordot", "tile", "tril", "triu", "var",
        "where", "zeros", "zeros_like", "add", "outer")


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the root of the sum of squares (``ord`` None or 2), of all or along axes."""
    if ord not in (None, 2):
        return me.linalg.norm(x, ord=ord, axis=axis, keepdims=keepdims)
    return me.sqrt(me.sum(me.square(x), axis=axis, keepdims=keepdims))


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = np.float32) -> Any:
    """Return rows with 1 at the class."""
    numbers = me.expand_dims(x, axis=-1)
    return me.astype(me.equal(numbers, np.arange(num_classes)), dtype)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Return x with its axes in another order, reversed without one."""
    return me.permute_dims(x, tuple(axes or range(x.ndim)[::-1]))


def moveaxis(x: Any, source: int, destination: int) -> Any:
    """Return x with an axis at another place."""
    rest = [axis for axis in range(x.ndim) if axis != source % x.ndim]
    rest.insert(destination % x.ndim, source % x.ndim)
    return me.permute_dims(x, tuple(rest))


def getitem(x: Any, key: Any) -> Any:
    """Return ``x[key]``."""
    return x[key]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(me, name) for name in SAME if hasattr(me, name)},
    **{name: ACTIVATIONS[name] for name in (
        "relu", "relu6", "sigmoid", "softmax", "log_softmax", "softplus", "softsign", "elu",
        "selu", "celu", "gelu", "silu", "swish", "mish", "hard_sigmoid", "leaky_relu")},
    "tanh": F.tanh, "cast": lambda x, dtype: me.astype(x, dtype),
    "concatenate": lambda xs, axis=-1: me.concat(list(xs), axis=axis),
    "cumsum": lambda x, axis=None: me.cumulative_sum(x, axis=axis),
    "dot": me.matmul, "mod": me.remainder, "moveaxis": moveaxis, "true_divide": me.divide,
    "ravel": lambda x: me.reshape(x, (-1,)), "rsqrt": lambda x: 1 / me.sqrt(x),
    "stop_gradient": lambda x: x.detach(), "getitem": getitem, "norm": norm,
    "one_hot": one_hot, "transpose": transpose}


class Operation(Layer):
    """A function of ``keras.ops`` on symbols."""

    def __init__(self, op: str, args: Sequence[Any] = (), options: Sequence[Any] = (),
                 name: str | None = None, **kwargs: Any):
        super().__init__(name=name or f"{op}", **kwargs)
        self.op, self.args, self.options = op, args, options

    def call(self, inputs: Any) -> Any:
        """Return the function's value, the inputs at the places of the symbols."""
        given = inputs if isinstance(inputs, (list, tuple)) else [inputs]

        def filled(value: Any) -> Any:
            if isinstance(value, Place):
                return given[value.number]
            return type(value)(map(filled, value)) if isinstance(value, (list, tuple)) else value

        args = [filled(a) for a in self.args]
        return FUNCTIONS[self.op](*args, **{k: filled(v) for k, v in self.options})


def lifted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that also takes symbols."""
    @wraps(function)
    def op(*args: Any, **options: Any) -> Any:
        symbols: list[Symbol] = []

        def seen(value: Any) -> Any:
            if isinstance(value, Symbol):
                symbols.append(value)
                return Place(len(symbols) - 1)
            return type(value)(map(seen, value)) if isinstance(value, (list, tuple)) else value

        places = tuple(seen(a) for a in args)
        named = tuple((k, seen(v)) for k, v in options.items())
        if not symbols:
            return function(*args, **options)
        return Operation(name, places, named).describe(
            symbols if len(symbols) > 1 else symbols[0])

    op.__name__ = op.__qualname__ = name
    return op


for _name, _function in FUNCTIONS.items():
    globals()[_name] = lifted(_name, _function)
__all__ += list(FUNCTIONS)


def convert_to_tensor(x: Any, dtype: Any = None) -> Tensor:
    """Return an array or number as a tensor."""
    y = x if isinstance(x, Tensor) else Tensor(as_array(x))
    return y if dtype is None else me.astype(y, dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    """Return a tensor as an array."""
    return np.asarray(x.data if isinstance(x, Tensor) else x)


def shape(x: Any) -> tuple[int | None, ...]:
    """Return the shape."""
    return tuple(x.shape)
