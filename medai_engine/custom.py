"""A user's own op and own kernel: the same record and the same gate as the engine's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np

from .coerce import FLOATS
from .errors import DTypeError, ParameterError, extra, say
from .op import OPS, Op, apply, parameters
from .tensor import Tensor
from .tree import flatten

__all__ = ["kernel", "op"]


def op(gradient: Mapping[str, Callable[..., Any]] | Callable[..., Any] | None = None, *,
       outputs: Sequence[str] = ("y",), analytic: bool = False) -> Callable[..., Any]:
    """Make a function of arrays an op with a gradient.

    Parameters
    ----------
    gradient : mapping or callable, optional
        Per input name a rule ``rule(g, ...)``, or one rule for all inputs that returns a tuple.
        ``g`` is the gradient of the result; further parameters are named after what the rule
        needs: an input, the output ``y``, ``<input>_shape``, or a keyword-only option. Write
        rules with the engine's functions on tensors, and second derivatives come for free.
    outputs : sequence of str
        The names of the results when there are several.
    analytic : bool
        Whether the function also takes complex arrays (exact gradient checks).

    Returns
    -------
    callable
        A decorator. The decorated function takes tensors, arrays and numbers; its body receives
        NumPy arrays (positional parameters) and options (keyword-only parameters), and returns a
        new array of the inputs' dtype.

    Raises
    ------
    DTypeError
        When the body returns another floating dtype than it was given.

    Examples
    --------
    >>> import numpy as np, medai_engine as me
    >>> @me.op(gradient={"x": lambda g, x: g * x * x * 3})
    ... def cube(x):
    ...     return x * x * x
    >>> me.grad(cube)(2.0)
    tensor(12.)
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def infer(*arrays: np.ndarray, **params: Any) -> None:
            """Leave validation to the function itself."""

        def definition(*arrays: np.ndarray, **params: Any) -> Any:
            result = function(*arrays, **params)
            results = result if isinstance(result, tuple) else (result,)
            if len(results) != len(outputs):
                raise ParameterError(say(function.__name__, f"{len(outputs)} results",
                                         str(len(results)), 'Name them: outputs=("y", "z")'))
            given = {a.dtype for a in arrays if a.dtype in FLOATS}
            for y in results:
                found = np.asarray(y).dtype
                if found.kind == "f" and given and found not in given:
                    raise DTypeError(say(function.__name__, f"a result of dtype {given.pop()}",
                                         str(found), "Make constants of the inputs' dtype, or "
                                         "return y.astype(x.dtype)"))
            return [np.asarray(y) for y in results]

        inputs, params, _ = parameters(function)
        if isinstance(gradient, Mapping) and not set(gradient) <= set(inputs):
            raise ParameterError(say(
                f"op {function.__name__}", f"gradients of its inputs {', '.join(inputs)}",
                ", ".join(set(gradient) - set(inputs)), "Name each rule after its input"))
        defaults = function.__kwdefaults__ or {}
        record = Op(function.__name__, infer=infer, definition=definition, vjp=gradient,
                    outputs=outputs, analytic=analytic, view=True, strided=True,
                    names=(inputs, params),
                    doc=function.__doc__ or function.__name__)
        for key, rule in record.rules.items():
            record.rules[key] = rule._replace(function=fresh(rule.function, len(outputs)))

        @wraps(function)
        def public(*inputs: Any, **params: Any) -> Any:
            return apply(record, *inputs, **{**defaults, **params})

        public.op = record  # type: ignore[attr-defined]
        return public

    return decorate


def fresh(rule: Callable[..., Any], cotangents: int) -> Callable[..., Any]:
    """Return a gradient rule that copies where its result is the memory of a value it was given."""

    @wraps(rule)
    def call(*given: Any) -> Any:
        found = rule(*given)
        kept = [x.data for x in flatten(list(given[cotangents:]))[0] if isinstance(x, Tensor)]

        def own(g: Any) -> Any:
            shared = isinstance(g, Tensor) and any(np.may_share_memory(g.data, x) for x in kept)
            return apply(OPS["copy"], g) if shared else g

        return [own(g) for g in found] if isinstance(found, (tuple, list)) else own(found)

    return call


def kernel(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a plain Python loop over arrays with Numba, at its first call.

    The loop follows the kernels' convention: inputs, then ``out``, then numbers; it returns
    nothing and runs without the interpreter's lock. The plain function stays available as
    ``.python`` for debugging.

    Raises
    ------
    MissingExtraError
        At the first call, when Numba is not installed.

    Examples
    --------
    >>> import numpy as np, medai_engine as me
    >>> @me.kernel
    ... def running_max(x, out):
    ...     out[0] = x[0]
    ...     for i in range(1, x.size):
    ...         out[i] = max(out[i - 1], x[i])
    """
    compiled: list[Callable[..., None]] = []

    @wraps(function)
    def call(*arguments: Any) -> None:
        if not compiled:
            numba = extra("numba", "numba", f"kernel {function.__name__}")
            compiled.append(numba.njit(nogil=True)(function))
        compiled[0](*arguments)

    call.python = function  # type: ignore[attr-defined]
    return call
