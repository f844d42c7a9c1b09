"""Limited-memory BFGS: a quasi-Newton method for full-batch problems with few parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import ParameterError, ShapeError, say
from ..mode import enable_grad, no_grad
from ..ops.contraction import vecdot
from ..ops.shape import concat, reshape
from ..tensor import Tensor
from .optimizer import Optimizer

__all__ = ["LBFGS"]


class Point(NamedTuple):
    """What is known of the loss at one step length along the direction."""

    t: float
    loss: float
    slope: float
    g: Tensor


class LBFGS(Optimizer):
    """Descent along ``-H g``, H built from the last changes of weights and gradients.

    With ``s = x_(k+1) - x_k``, ``y = g_(k+1) - g_k`` and ``rho = 1 / (y s)`` of the last
    ``history_size`` iterations, H is the BFGS inverse Hessian that begins at ``(y s / y y) I``,
    applied by the two-loop recursion.

    Parameters
    ----------
    params : iterable
        Tensors or (name, tensor) pairs of one dtype; one group.
    lr : float
        Length of a step, and the first one that the line search tries.
    max_iter : int
        Iterations per ``step``.
    max_eval : int, optional
        Evaluations of the closure per ``step``; 5/4 of ``max_iter`` by default.
    tolerance_grad : float
        Stop when the largest absolute gradient is at most this.
    tolerance_change : float
        Stop when loss or weights change by less.
    history_size : int
        Pairs (s, y) that are kept; memory is ``2 history_size + 4`` times the weights.
    line_search_fn : str, optional
        ``"strong_wolfe"``, or None for steps of length lr.

    References
    ----------
    Nocedal & Wright, Numerical optimization, 2006, algorithms 7.4, 3.5 and 3.6; the search's
    constants and its bracketing are those of M. Schmidt's minFunc and of PyTorch.

    Examples
    --------
    >>> import medai_engine as me
    >>> x = me.Parameter(me.tensor([-1.0, 2.0]))
    >>> opt = me.optim.LBFGS([x], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     opt.zero_grad()
    ...     loss = ((x - 1.0) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> opt.step(closure)
    tensor(5., requires_grad=True)
    >>> abs(x - 1.0).max().item() < 1e-6
    True
    """

    def __init__(self, params: Any, lr: float = 1, max_iter: int = 20,
                 max_eval: int | None = None, tolerance_grad: float = 1e-7,
                 tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None):
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, lr=lr, max_iter=max_iter, max_eval=max_eval,
                         tolerance_grad=tolerance_grad, tolerance_change=tolerance_change,
                         history_size=history_size, line_search_fn=line_search_fn)
        self.memory = self._begin()

    @staticmethod
    def _begin() -> dict[str, Any]:
        return {"iterations": 0, "evaluations": 0, "t": 0.0, "scale": 1.0, "direction": None,
                "gradient": None, "steps": [], "changes": []}

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Take the only group."""
        if self.param_groups:
            raise ParameterError(self._say("one group", "another one",
                                           "Pass all parameters in one list"))
        super().add_param_group(group)
        dtypes = {str(p.data.dtype) for p in self._all()}
        if len(dtypes) > 1:
            self.param_groups.clear()
            raise ParameterError(self._say("parameters of one dtype", ", ".join(sorted(dtypes)),
                                           "Convert them with .astype"))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do up to ``max_iter`` iterations.

        Parameters
        ----------
        closure : callable
            Clears the gradients, computes the loss and its gradients, returns the loss.

        Returns
        -------
        The loss before the first iteration.
        """
        if closure is None:
            raise ParameterError(self._say("a closure that computes the loss again", "none",
                                           "Call opt.step(closure)"))
        group, memory = self.param_groups[0], self.memory
        change = group["tolerance_change"]

        def evaluate() -> tuple[Any, Tensor]:
            memory["evaluations"] += 1
            with enable_grad():
                loss = closure()
            return loss, self._gradient()

        with no_grad():
            last = memory["evaluations"] + group["max_eval"]
            first, g = evaluate()
            loss = float(first)
            for iteration in range(1, group["max_iter"] + 1):
                if largest(g) <= group["tolerance_grad"]:
                    break
                memory["iterations"] += 1
                d = self._direction(g)
                t = group["lr"]
                if memory["iterations"] == 1:
                    t *= min(1.0, 1.0 / abs(g).sum().item())
                slope = dot(g, d)
                memory.update(gradient=g, direction=d, t=t)
                if slope > -change:
                    break
                before, x = loss, self._weights()
                if group["line_search_fn"] is not None:
                    def along(t: float) -> Point:
                        self._move(x + d * t)  # noqa: B023
                        value, g = evaluate()
                        return Point(t, float(value), dot(g, d), g)  # noqa: B023

                    best = strong_wolfe(along, Point(0.0, loss, slope, g), t, largest(d),
                                        last - memory["evaluations"], change)
                    _, loss, _, g = best
                    t = memory["t"] = best.t
                    self._move(x + d * t)
                else:
                    self._move(x + d * t)
                    if iteration < group["max_iter"]:
                        value, g = evaluate()
                        loss = float(value)
                if (memory["evaluations"] >= last or largest(d) * t <= change
                        or abs(loss - before) < change):
                    break
        return first

    def _direction(self, g: Tensor) -> Tensor:
        """Return -H g after taking the last iteration into H: the two-loop recursion."""
        memory = self.memory
        steps, changes = memory["steps"], memory["changes"]
        if memory["gradient"] is not None:
            y, s = g - memory["gradient"], memory["direction"] * memory["t"]
            curvature = dot(y, s)
            if curvature > 1e-10:  # H stays positive definite
                if len(steps) == self.param_groups[0]["history_size"]:
                    del steps[0], changes[0]
                steps.append(s)
                changes.append(y)
                memory["scale"] = curvature / dot(y, y)
        pairs = [(s, y, 1 / dot(y, s)) for s, y in zip(steps, changes, strict=True)]
        weights = []
        q = -g
        for s, y, rho in reversed(pairs):
            weights.append(dot(s, q) * rho)
            q = q - y * weights[-1]
        q = q * memory["scale"]
        for s, y, rho in pairs:
            q = q + s * (weights.pop() - dot(y, q) * rho)
        return q

    def _weights(self) -> Tensor:
        return concat([reshape(p.detach(), -1) for p in self._all()])

    def _gradient(self) -> Tensor:
        return concat([Tensor(np.zeros(p.size, p.dtype)) if p.grad is None
                       else reshape(p.grad.detach(), -1) for p in self._all()])

    def _move(self, x: Tensor) -> None:
        """Write a flat vector into the parameters."""
        start = 0
        for p in self._all():
            p.copy_(reshape(x[start: start + p.size], p.shape))
            start += p.size

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of options, counts and history: arrays, and values for JSON."""
        def plain(value: Any) -> Any:
            if isinstance(value, list):
                return [plain(item) for item in value]
            return value.data.copy() if isinstance(value, Tensor) else value

        return {**super().state_dict(),
                "state": {key: plain(value) for key, value in self.memory.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned (also when it went through JSON)."""
        where, saved = "LBFGS.load_state_dict", {}
        if isinstance(state_dict, Mapping):
            saved = state_dict.get("state", {})
        fresh = self._begin()
        if not isinstance(saved, Mapping) or set(saved) != set(fresh):
            raise ParameterError(say(where, f"a state with {', '.join(fresh)}", str(list(saved)),
                                     "It was saved by another optimiser than LBFGS"))
        size, dtype = sum(p.size for p in self._all()), self._all()[0].dtype

        def restored(value: Any) -> Any:
            if value is None or isinstance(value, (int, float)):
                return value
            if isinstance(value, list) and not (value and isinstance(value[0], float)):
                return [restored(item) for item in value]
            array = np.array(value, dtype)
            if array.shape != (size,):
                raise ShapeError(say(where, f"vectors of {size} weights", str(array.shape),
                                     "It was saved with another model"))
            return Tensor(array)

        memory = {key: restored(value) for key, value in saved.items()}
        super().load_state_dict({**state_dict, "state": {}})
        self.memory = memory


def dot(a: Tensor, b: Tensor) -> float:
    """Return the scalar product."""
    return vecdot(a, b).item()


def largest(x: Tensor) -> float:
    """Return the largest absolute value."""
    return abs(x).max().item()


def interpolate(a: Point, b: Point, low: float | None = None, high: float | None = None) -> float:
    """Return the minimum of the cubic through two points with slopes, within bounds.

    Nocedal & Wright, equation 3.59; the middle where the cubic has none.
    """
    if a.t > b.t:
        a, b = b, a
    low, high = (a.t, b.t) if low is None or high is None else (low, high)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    width = b.slope - a.slope + 2 * d2
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / width) if width else math.nan
    return min(max(t, low), high) if math.isfinite(t) else (low + high) / 2


def strong_wolfe(evaluate: Callable[[float], Point], start: Point, t: float, size: float,
                 limit: int, tolerance: float, c1: float = 1e-4, c2: float = 0.9) -> Point:
    """Find a step with ``loss(t) <= loss(0) + c1 t slope(0)`` and ``|slope(t)| <= c2 |slope(0)|``.

    First a bracket around such a step is looked for, then it is narrowed by cubic interpolation.

    Parameters
    ----------
    evaluate : callable
        Step length -> Point.
    start : Point
        At t = 0.
    t : float
        The first length to try.
    size : float
        The direction's largest entry; a bracket times this below ``tolerance`` ends the search.
    limit : int
        How many evaluations may follow the first.
    tolerance, c1, c2 : float
        See above.

    Returns
    -------
    Point
        That step, or the lowest one found.
    """
    def too_high(point: Point) -> bool:  # a NaN is
        return not point.loss <= start.loss + c1 * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    previous, new = start, evaluate(t)
    used = 0
    while used < limit:
        if too_high(new) or (used > 1 and new.loss >= previous.loss):
            break
        if flat(new):
            return new
        if new.slope >= 0:
            break
        farther = interpolate(previous, new, new.t + 0.01 * (new.t - previous.t), new.t * 10)
        previous, new = new, evaluate(farther)
        used += 1
    else:
        previous = start
    low, high = (new, previous) if new.loss < previous.loss else (previous, new)
    close = False  # whether the last trial lay close to an end of the bracket
    while used < limit and abs(high.t - low.t) * size >= tolerance:
        left, right = min(low.t, high.t), max(low.t, high.t)
        margin = 0.1 * (right - left)
        t = interpolate(low, high)
        if min(right - t, t - left) < margin:
            if close or t >= right or t <= left:
                t = right - margin if right - t < t - left else left + margin
                close = False
            else:
                close = True
        else:
            close = False
        new = evaluate(t)
        used += 1
        if too_high(new) or new.loss >= low.loss:
            high = new
            if high.loss < low.loss:
                low, high = high, low
        else:
            if flat(new):
                return new
            if new.slope * (high.t - low.t) >= 0:
                high = low
            low = new
    return low
