"""Functions of functions: gradients, products with Jacobians, and checkpoints.

Arguments may be nested lists, tuples and dicts of tensors. Results share memory with nothing.
Inside another transform, or where an argument requires a gradient, results are differentiable
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from .autograd import gradients
from .coerce import as_array
from .errors import GraphError, ParameterError, ShapeError, say
from .mode import MODE, Mode, switched
from .op import OPS, apply
from .tensor import CLOCK, Tensor, as_leaf, last_written
from .tree import flatten

__all__ = ["checkpoint", "grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


def entered(leaves: Sequence[Any]) -> list[Tensor]:
    """Return fresh tensors for the arguments: leaves, or connected to an outer graph."""
    out = []
    for x in leaves:
        t = x if isinstance(x, Tensor) else Tensor(as_array(x))
        if t.data.dtype.kind != "f":
            raise GraphError(say("grad", "floating arguments", str(t.data.dtype),
                                 "Convert with .astype(me.float32), or differentiate with respect "
                                 "to other arguments (argnums)"))
        out.append(apply(OPS["alias"], t) if t.node is not None
                   else as_leaf(Tensor(t.data)))
    return out


def connected(mode: Mode, leaves: Sequence[Any]) -> bool:
    """Tell whether results have to be differentiable: an outer transform or an outer graph."""
    return mode.grad and (mode.depth > 0 or any(
        isinstance(x, Tensor) and x.node is not None for x in leaves))


def scalar(where: str, y: Any) -> Tensor:
    """Check that a function to differentiate returned one number."""
    if not isinstance(y, Tensor) or y.data.size != 1:
        got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
        raise ShapeError(say(where, "a function that returns one number", got,
                             "Reduce the result with .sum() or .mean(), or use me.jacobian"))
    return y


def value_and_grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *,
                   has_aux: bool = False) -> Callable[..., Any]:
    """Return a function that computes ``fn`` and its gradient.

    Parameters
    ----------
    fn : callable
        Returns one number; with ``has_aux`` a pair (number, anything).
    argnums : int or sequence of int
        The positional arguments to differentiate (each may be a nested structure).
    has_aux : bool
        Whether ``fn`` returns something besides the number.

    Returns
    -------
    callable
        ``(value, gradient)``; several argnums give a tuple of gradients.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.value_and_grad(lambda x: (x * x).sum())(me.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """
    many = isinstance(argnums, (tuple, list))
    numbers = tuple(argnums) if isinstance(argnums, (tuple, list)) else (argnums,)

    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        if any(not -len(args) <= n < len(args) for n in numbers):
            raise ParameterError(say("grad", f"argnums below {len(args)}, the number of arguments",
                                     str(argnums), "Count positional arguments from 0"))
        chosen = [args[n] for n in numbers]
        leaves, rebuild = flatten(chosen)
        mode = MODE.get()
        again = connected(mode, leaves)
        with switched(grad=True, depth=mode.depth + 1):
            inside = entered(leaves)
            arguments = list(args)
            for n, value in zip(numbers, rebuild(list(inside)), strict=True):
                arguments[n] = value
            result = fn(*arguments, **kwargs)
            y = scalar("grad", result[0] if has_aux else result)
            found = gradients([y], inside, [None], create_graph=again)
        if not again:
            y = y.detach()
        grads = rebuild(found)
        gradient = tuple(grads) if many else grads[0]
        return ((y, result[1]) if has_aux else y), gradient

    return differentiated


def grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *,
         has_aux: bool = False) -> Callable[..., Any]:
    """Return a function that computes the gradient of ``fn`` (see ``value_and_grad``).

    Examples
    --------
    >>> import medai_engine as me
    >>> me.grad(me.grad(lambda x: x * x * x))(2.0)
    tensor(12.)
    """
    both = value_and_grad(fn, argnums, has_aux=has_aux)

    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return differentiated


def vjp(fn: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """Compute ``fn(*primals)``; return it with the function cotangent -> cotangent^T Jacobian.

    The pull-back returns one gradient per primal (a single one for one primal) and may be called
    again and again.
    """
    leaves, rebuild = flatten(list(primals))
    mode = MODE.get()
    again = connected(mode, leaves)
    with switched(grad=True, depth=mode.depth + 1):
        inside = entered(leaves)
        y = fn(*rebuild(list(inside)))
    outputs, pack = flatten(y)

    def pull(cotangent: Any) -> Any:
        given, _ = flatten(cotangent)
        if len(given) != len(outputs):
            raise ShapeError(say("vjp", f"{len(outputs)} cotangents", str(len(given)),
                                 "Pass a structure like the function's result"))
        now = MODE.get()
        follow = again or connected(now, given)
        found = rebuild(gradients(outputs, inside, given, create_graph=follow, retain_graph=True))
        return found[0] if len(primals) == 1 else tuple(found)

    return pack([t if again else t.detach() for t in outputs]), pull


def jvp(fn: Callable[..., Any], primals: Sequence[Any],
        tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Return ``fn(*primals)`` and Jacobian times tangents.

    By two reverse passes: u -> u^T J is linear in u, and its own pull-back is v -> J v.
    """
    if len(primals) != len(tangents):
        raise ShapeError(say("jvp", f"{len(primals)} tangents, one per primal", str(len(tangents)),
                             "Pass primals and tangents as lists of equal length"))
    leaves, rebuild = flatten(list(primals))
    given = [t if isinstance(t, Tensor) else Tensor(as_array(t))
             for t in flatten(list(tangents))[0]]
    for x, t in zip(leaves, given, strict=True):
        if np.shape(x) != t.shape:
            raise ShapeError(say("jvp", f"a tangent of shape {np.shape(x)}", str(t.shape),
                                 "A tangent has its primal's shape"))
    mode = MODE.get()
    again = connected(mode, [*leaves, *given])
    with switched(grad=True, depth=mode.depth + 1):
        inside = entered(leaves)
        y = fn(*rebuild(list(inside)))
        outputs, pack = flatten(y)
        dummies = [as_leaf(Tensor(np.zeros(t.shape, t.dtype))) for t in outputs]
        pulled = gradients(outputs, inside, dummies, create_graph=True)
        follow = [t if g.dtype == t.dtype else t.astype(g.dtype)
                  for g, t in zip(pulled, given, strict=True)]
        pushed = [(p, t) for p, t in zip(pulled, follow, strict=True) if p.node is not None]
        if pushed:
            moved = gradients([p for p, _ in pushed], dummies, [t for _, t in pushed],
                              create_graph=again)
        else:
            moved = [Tensor(np.zeros(t.shape, t.dtype)) for t in outputs]
    return pack([t if again else t.detach() for t in outputs]), pack(moved)


def hvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Return the Hessian of ``fn`` (one number) times tangents: jvp of the gradient.

    One primal gives one tensor, several give a tuple.
    """
    numbers = tuple(range(len(primals)))
    _, product = jvp(lambda *args: grad(fn, numbers)(*args), primals, tangents)
    return product[0] if len(primals) == 1 else product


def jacobian(fn: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """Return a function that computes all dy_i/dx_j, of shape (*y.shape, *x.shape)."""

    @wraps(fn)
    def full(*args: Any, **kwargs: Any) -> Tensor:
        def one(x: Any) -> Any:
            arguments = list(args)
            arguments[argnums] = x
            return fn(*arguments, **kwargs)

        y, pull = vjp(one, args[argnums])
        x_shape = np.shape(args[argnums])
        rows = []
        for i in range(y.size):
            unit = np.zeros(y.size, y.dtype)
            unit[i] = 1
            rows.append(pull(Tensor(unit.reshape(y.shape))).reshape((1, -1)))
        if not rows:
            return Tensor(np.zeros((*y.shape, *x_shape), y.dtype))
        return apply(OPS["concat"], *rows, axis=0).reshape((*y.shape, *x_shape))

    return full


def hessian(fn: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """Return a function that computes all second derivatives, of shape (*x.shape, *x.shape)."""
    return jacobian(grad(fn, argnums), argnums)


class Frame:
    """A checkpointed region: its nodes keep nothing; the first that is asked recomputes all.

    The region is run again with the same arguments and the same random numbers; its nodes come
    in the same order, and each finds its saved values by its number.
    """

    def __init__(self, run: Callable[[], Any]):
        self.run = run
        self.stamp = CLOCK[0]
        self.count = 0
        self.draws: list[int] = []
        self.values: list[Any] | None = None
        self.replaying = False

    def take(self, node: Any, inputs: Sequence[Tensor]) -> None:
        """Replace what a new node keeps, or collect it while running again."""
        if self.replaying:
            if any(x.node is not None and last_written(x) > self.stamp for x in inputs):
                raise GraphError(say(
                    "checkpoint", "the values of the forward pass when run again",
                    f"an input of {node.op.name} that was written since", "Call backward before "
                    "the update, or compute the loss again after it"))
            self.values.append(node.saved)  # type: ignore[union-attr]
        else:
            node.saved = Deferred(self, self.count)
            self.count += 1

    def draw(self, generator: Any, count: int) -> int:
        """Hand out a random offset, the same one when running again."""
        if self.replaying:
            return self.draws[self.drawn.pop(0)]
        self.draws.append(generator.advance(count))
        return self.draws[-1]

    def value(self, number: int) -> Any:
        """Return what node ``number`` keeps, computing the region again if need be."""
        if self.values is None:
            self.values = []
            self.replaying = True
            self.drawn = list(range(len(self.draws)))
            try:
                with switched(grad=True, frame=self):
                    self.run()
                if len(self.values) != self.count:
                    raise GraphError(say("checkpoint", "a function that does the same every time",
                                         "another number of ops when run again",
                                         "Take data-dependent Python branches out of it"))
            except BaseException:
                self.values = None
                raise
            finally:
                self.replaying = False
        return self.values[number]

    def free(self, number: int) -> None:
        """Let go of what a node kept."""
        if self.values is not None:
            self.values[number] = None


class Deferred:
    """Stands in a node for what its frame will compute."""

    __slots__ = ("frame", "number")

    def __init__(self, frame: Frame, number: int):
        self.frame = frame
        self.number = number

    def values(self) -> Any:
        """Return the saved values."""
        return self.frame.value(self.number)

    def free(self) -> None:
        """Let go of them."""
        self.frame.free(self.number)


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``fn`` with less memory: its inner values are computed again in the backward pass.

    Time for memory: one more forward pass of ``fn``; between forward and backward only its
    arguments and results stay. Random draws repeat. A checkpoint inside another counts as part of
    the outer one.

    References
    ----------
    Chen et al. 2016, Training deep nets with sublinear memory cost.
    """

    @wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        mode = MODE.get()
        if not mode.grad or mode.frame is not None:
            return fn(*args, **kwargs)
        frame = Frame(lambda: fn(*args, **kwargs))
        with switched(frame=frame):
            return fn(*args, **kwargs)

    return wrapped
