"""Rows of the elementwise ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ShapeError
from medai_engine.op import OPS

from . import Draw, bad, pin, r0, row, sample, special, torch

LARGE = 100_003  # several chunks, the last one shorter
Values = Callable[..., np.ndarray]



def step(*inputs: str) -> dict[str, str]:
    """Return the wrong rules that give the gradient of a step function, which is 0, as well."""
    return {f"{x} {wrong}": "the gradient is 0, and so is any multiple or part of it"
            for x in inputs for wrong in ("times 1.001", "flipped", "last dropped", "zeros")}



def values(low: float, high: float, *kinks: float) -> Callable[[Draw], Values]:
    """Return how an input is drawn: evenly between two numbers, away from kinks."""
    return lambda r: lambda *shape: r.away(kinks, low, high, *shape)


def T(name: str) -> Callable[..., Any]:
    """Return the PyTorch function of a dotted name, found when it is called."""

    def function(*arguments: Any, **params: Any) -> Any:
        found = torch()
        for part in name.split("."):
            found = getattr(found, part)
        return found(*arguments, **params)

    return function


def unary(name: str, low: float, high: float, *kinks: float, params: list[dict[str, Any]]
          | None = None, oracle: Any = "", **fields: Any) -> None:
    """Add the row of an op of one input; ``params`` are used in turn."""
    choices = params or [{}]

    def samples(r: Draw) -> list[Any]:
        draw = values(low, high, *kinks)(r)
        shapes = [(2, 3), (3, 4, 5), (7,), (), (1,), (0, 3)]
        return [sample(draw(*shape), **choices[i % len(choices)])
                for i, shape in enumerate(shapes)]

    if oracle != "":
        fields.setdefault("oracles", {})["torch"] = T(oracle) if isinstance(oracle, str) else oracle
    row(name, samples, large=lambda r: sample(values(low, high, *kinks)(r)(LARGE), **choices[0]),
        bad=[bad(DTypeError, f"{name}: expected numbers, got list", ["a"], **choices[0])], **fields)


def binary(name: str, a: Callable[[Draw], Values], b: Callable[[Draw], Values], *, oracle: Any = "",
           params: list[dict[str, Any]] | None = None, **fields: Any) -> None:
    """Add the row of an op of two inputs that broadcast."""
    choices = params or [{}]

    def samples(r: Draw) -> list[Any]:
        left, right = a(r), b(r)
        shapes = [((2, 3), (2, 3)), ((3, 1, 5), (4, 1)), ((4, 5), (5,)), ((), (3,)), ((7, 1), ()),
                  ((1,), (1, 1)), ((0, 3), (1, 3)), ((), ())]
        return [sample(left(*m), right(*n), **choices[i % len(choices)])
                for i, (m, n) in enumerate(shapes)]

    if oracle != "":
        fields.setdefault("oracles", {})["torch"] = T(oracle) if isinstance(oracle, str) else oracle
    row(name, samples, large=lambda r: sample(a(r)(317, 331), b(r)(331), **choices[0]),
        bad=[bad(ShapeError, r"\(4, 3\).*\(2,\)", r0(4, 3), r0(2), **choices[0])], **fields)


wide, positive = values(-3, 3), values(0.5, 4)


def large_enough(r: Draw) -> Values:
    """Draw numbers of either sign away from 0, for divisors."""
    return lambda *shape: r.uniform(0.5, 3, *shape) * (1 - 2 * r.integers(0, 2, *shape))


# ---- arithmetic -------------------------------------------------------------------------------

binary("add", wide, wide, oracle="add", pins=[
    pin([3.0, 5.0], [1.0, 2.0], [2.0, 3.0], gradients=[[1.0, 1.0], [1.0, 1.0]])],
    equivalent={"a and b swapped": "both gradients of a sum are the cotangent"})
binary("subtract", wide, wide, oracle="sub")
binary("multiply", wide, wide, oracle="mul", pins=[
    pin([np.nan, -0.0], [np.inf, -0.0], [0.0, 1.0])])
binary("divide", wide, large_enough, oracle="div", pins=[
    pin([np.inf, -np.inf, np.nan], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0])])
binary("power", positive, wide, oracle="pow", pins=[
    pin([1.0, 0.0, -8.0], [0.0, 0.0, -2.0], [0.0, 2.0, 3.0],
        gradients=[[0.0, 0.0, 12.0], [0.0, 0.0, np.nan]])])
binary("maximum", lambda r: r.distinct, lambda r: lambda *s: r.distinct(*s) + 0.05,
       oracle="maximum", pins=[
    pin([2.0, 1.0, np.nan], [2.0, 0.0, np.nan], [2.0, 1.0, 1.0]),
    pin([2.0, 1.0], [2.0, 0.0], [2.0, 1.0], gradients=[[0.5, 0.0], [0.5, 1.0]])])
binary("minimum", lambda r: r.distinct, lambda r: lambda *s: r.distinct(*s) + 0.05,
       oracle="minimum", pins=[
    pin([2.0, 0.0, np.nan], [2.0, 0.0, np.nan], [2.0, 1.0, 1.0]),
    pin([2.0, 0.0], [2.0, 0.0], [2.0, 1.0], gradients=[[0.5, 1.0], [0.5, 0.0]])])
binary("atan2", large_enough, large_enough, oracle="atan2")
binary("hypot", large_enough, large_enough, oracle="hypot")
binary("logaddexp", wide, wide, oracle="logaddexp", pins=[
    pin([np.log(2), 1000.0, -np.inf], [0.0, 1000.0, -np.inf], [0.0, 0.0, -np.inf])],
    terms=lambda a, b: (2, np.abs(np.maximum(a, b)) + np.log(2)))
binary("remainder", values(1.15, 1.85), values(-1.04, -1), oracle="remainder", pins=[
    pin([1.0, -1.0, 0.5, np.nan], [-5.0, 5.0, 2.5, 1.0], [3.0, -3.0, 1.0, 0.0])])
binary("floor_divide", values(0.1, 0.9), values(-3, -1), oracle="floor_divide",
       equivalent=step("a", "b") | {"a and b swapped": "both gradients are 0"},
       pins=[pin([-2.0, -2.0, 2.0], [-5.0, 5.0, 5.0], [3.0, -3.0, 2.0])])

unary("negative", -3, 3, oracle="neg")
unary("abs", -3, 3, 0.0, oracle="abs", pins=[pin([0.0, 2.0], [-0.0, -2.0],
                                                gradients=[[0.0, -1.0]])])
unary("sign", -3, 3, 0.0, oracle="sign", equivalent=step("x"),
      pins=[pin([0.0, 1.0, -1.0, np.nan], [0.0, 2.0, -np.inf, np.nan])])
unary("sqrt", 0.5, 4, oracle="sqrt", pins=[pin([0.0, 3.0, np.nan], [0.0, 9.0, -1.0])])
unary("square", -3, 3, oracle="square")
unary("reciprocal", 0.5, 3, oracle="reciprocal", pins=[pin([np.inf, -np.inf], [0.0, -0.0])])

# ---- exponentials, logarithms, angles ---------------------------------------------------------

unary("exp", -3, 3, oracle="exp", pins=[pin([0.0, 1.0, np.inf, np.nan],
                                            [-np.inf, 0.0, np.inf, np.nan])])
unary("expm1", -3, 3, oracle="expm1", pins=[pin([0.0, -1.0], [0.0, -np.inf])])
unary("log", 0.5, 4, oracle="log", pins=[pin([-np.inf, 0.0, np.nan], [0.0, 1.0, -1.0])])
unary("log1p", -0.5, 3, oracle="log1p", pins=[pin([0.0, -np.inf], [0.0, -1.0])])
unary("log2", 0.5, 4, oracle="log2", pins=[pin([3.0, -np.inf], [8.0, 0.0])])
unary("log10", 0.5, 4, oracle="log10", pins=[pin([-np.inf, 0.0], [0.0, 1.0])])
unary("sin", -3, 3, oracle="sin", pins=[pin([0.0, np.nan], [0.0, np.inf])])
unary("cos", -3, 3, oracle="cos", pins=[pin([1.0, np.nan], [0.0, np.inf])])
unary("tan", -1.0, 1.0, oracle="tan")
unary("asin", -0.7, 0.7, oracle="asin", pins=[pin([0.0, np.nan], [0.0, 2.0])])
unary("acos", -0.7, 0.7, oracle="acos", pins=[pin([0.0, np.nan], [1.0, 2.0])])
unary("atan", -3, 3, oracle="atan")
unary("sinh", -3, 3, oracle="sinh")
unary("cosh", -3, 3, oracle="cosh")
unary("erf", -3, 3, oracle="erf", pins=[pin([0.0, 1.0, -1.0], [0.0, np.inf, -np.inf])])

# ---- rounding, tests, comparison, logic -------------------------------------------------------

HALVES = [-1.5, -0.5, 0.5, 1.5, 2.5]
for _name, _results in (("floor", [-2.0, -1.0, 0.0, 1.0, 2.0]),
                        ("ceil", [-1.0, 0.0, 1.0, 2.0, 3.0]),
                        ("round", [-2.0, 0.0, 0.0, 2.0, 2.0]),
                        ("trunc", [-1.0, 0.0, 0.0, 1.0, 2.0])):
    unary(_name, -3, 3, *np.arange(-3, 3.5, 0.5), oracle=_name, equivalent=step("x"),
          pins=[pin(_results, HALVES)])

SPECIAL = [0.0, 1.0, np.nan, np.inf, -np.inf]
for _name, _oracle, _results in (("isnan", "isnan", [False, False, True, False, False]),
                                 ("isinf", "isinf", [False, False, False, True, True]),
                                 ("isfinite", "isfinite", [True, True, False, False, False]),
                                 ("logical_not", "logical_not", [True] + [False] * 4)):
    unary(_name, -3, 3, oracle=_oracle, pins=[pin(_results, SPECIAL)])


def few(r: Draw) -> Values:
    """Draw small whole numbers, so that comparisons meet equal ones."""
    return lambda *shape: r.integers(0, 3, *shape).astype(np.float64)


for _name, _oracle, _results in (
        ("equal", "eq", [True, False, False]), ("not_equal", "ne", [False, True, True]),
        ("less", "lt", [False, True, False]), ("less_equal", "le", [True, True, False]),
        ("greater", "gt", [False, False, False]), ("greater_equal", "ge", [True, False, False]),
        ("logical_and", "logical_and", [True, False, True]),
        ("logical_or", "logical_or", [True, True, True]),
        ("logical_xor", "logical_xor", [False, True, False])):
    binary(_name, few, few, oracle=_oracle, pins=[pin(_results, [1.0, 0.0, np.nan],
                                                      [1.0, 1.0, np.nan])])


def _where_samples(r: Draw) -> list[Any]:
    shapes = [((2, 3),) * 3, ((4, 1), (3, 1, 5), ()), ((), (7,), (1,)), ((0, 3), (3,), (1, 3)),
              ((1,), (1,), ())]
    return [sample(r.integers(0, 2, *c).astype(bool), r.normal(*a), r.normal(*b))
            for c, a, b in shapes]


row("where", _where_samples,
    large=lambda r: sample(r.integers(0, 2, 317, 1).astype(bool), r.normal(317, 331),
                           r.normal(331)),
    bad=[bad(ShapeError, r"\(4, 3\).*\(2,\)", r0(4, 3) > 0, r0(2), r0(4, 3))],
    oracles={"torch": T("where")},
    pins=[pin([1.0, np.nan], [True, False], [1.0, 2.0], [np.nan, np.nan],
              gradients=[[1.0, 0.0], [0.0, 1.0]])])

BOUNDS = [{"low": -1.0, "high": 2.0}, {"low": -0.5, "high": 0.5}]
KINKS = (-1.0, 2.0, -0.5, 0.5)
unary("clip", -3, 3, *KINKS, params=BOUNDS, oracle=lambda x, low, high: torch().clip(x, low, high),
      pins=[pin([-1.0, 2.0, 2.0], [-1.0, 2.0, 3.0], low=-1.0, high=2.0,
                gradients=[[1.0, 1.0, 0.0]])])
binary("clip_grad", wide, values(-3, 3, *KINKS), params=BOUNDS,
       oracles={"torch": lambda g, x, low, high: pulled_back("clip")(g, x, min=low, max=high)})

# ---- activations and their fused gradients ----------------------------------------------------

A = "nn.functional."


def activation(name: str, *kinks: float, oracle: Any = None, slope: tuple[float, float] = (-3, 3),
               params: list[dict[str, Any]] | None = None, terms: Any = None,
               grad_terms: Any = None, pins: Any = (), **fields: Any) -> None:
    """Add the rows of an activation and its gradient; ``slope`` bounds what the latter gets."""
    extra = {} if terms is None else {"terms": terms}
    unary(name, -4, 4, *kinks, oracle=A + name if oracle is None else oracle, params=params,
          pins=pins, **extra, **fields)
    extra = {} if grad_terms is None else {"terms": grad_terms}
    # PyTorch's gradients of the other two go through float32 constants, in float64 as well
    if OPS[f"{name}_grad"].inputs[1] == "x" and name not in ("celu", "hardsigmoid"):
        extra["oracles"] = {"torch": pulled_back(oracle or A + name)}
    binary(f"{name}_grad", wide, values(*slope, *kinks), params=params, **extra)


def pulled_back(function: Any) -> Callable[..., Any]:
    """Return PyTorch's own gradient of a function of x, for a cotangent g."""

    def gradient(g: Any, x: Any, **params: Any) -> Any:
        g, x = torch().broadcast_tensors(g, x)
        x = x.clone().requires_grad_()
        y = (T(function) if isinstance(function, str) else function)(x, **params)
        return torch().autograd.grad(y, x, g)

    return gradient


def tail(g: Any, x: Any) -> tuple[int, Any]:
    """Return terms of g f'(x) where the two terms of f' cancel, and rounding of x^2 is magnified.

    Both grow like x^2 e^(-x^2 / 2); it matters to NumPy's float32 text only.
    """
    return 4, np.abs(g) * (1 + x * x) * np.exp(-x * x / 2) / 2


activation("relu", 0.0, pins=[pin([0.0, 0.0, np.nan], [-1.0, 0.0, np.nan]),
                              pin([0.0, 0.0, 2.0], [-1.0, 0.0, 2.0], gradients=[[0.0, 0.0, 1.0]])])
activation("relu6", 0.0, 6.0, pins=[pin([0.0, 6.0, 3.0], [0.0, 6.0, 3.0],
                                        gradients=[[0.0, 0.0, 1.0]])])
activation("sigmoid", slope=(0.05, 0.95), oracle="sigmoid",
           pins=[pin([0.0, 0.5, 1.0], [-1e4, 0.0, 1e4])])
activation("tanh", slope=(-0.95, 0.95), oracle="tanh", pins=[pin([-1.0, 0.0, 1.0],
                                                               [-1e4, 0.0, 1e4])])
activation("log_sigmoid", oracle=A + "logsigmoid", pins=[pin([-1e4, -np.log(2)], [-1e4, 0.0])])
activation("softsign", 0.0)
activation("gelu", grad_terms=tail, oracle="",  # PyTorch's 1 + erf cancels
           oracles={"scipy": lambda x: x * special().ndtr(x)},  # off by x^2 eps in its tail
           oracle_terms=lambda x: (1, (2 + x * x) * np.exp(-x * x / 2)),
           pins=[pin([0.0, 100.0], [0.0, 100.0])])
activation("gelu_tanh", grad_terms=tail, terms=lambda x: tail(1.0, x),
           oracle_terms=lambda x: (4, x),  # PyTorch subtracts 1 - tanh
           oracle=lambda x: torch().nn.functional.gelu(x, approximate="tanh"))
activation("silu")
activation("mish", grad_terms=tail, pins=[pin([0.0, 1e4], [0.0, 1e4])])
activation("hardsigmoid", -3.0, 3.0, pins=[pin([0.0, 1.0], [-3.0, 3.0], gradients=[[0.0, 0.0]])])
activation("hardswish", -3.0, 3.0,
           pins=[pin([0.0, 3.0], [-3.0, 3.0], gradients=[[0.0, 1.0]])])
activation("selu", 0.0, slope=(-1.5, 1.5))
activation("elu", 0.0, slope=(-0.6, 0.6), params=[{"alpha": 1.0}, {"alpha": 0.7}])
activation("celu", 0.0, params=[{"alpha": 1.0}, {"alpha": 0.7}])
activation("leaky_relu", 0.0, params=[{"slope": 0.01}, {"slope": 0.3}],
           oracle=lambda x, slope: torch().nn.functional.leaky_relu(x, slope))
activation("hardtanh", *KINKS, params=BOUNDS,
           oracle=lambda x, low, high: torch().nn.functional.hardtanh(x, low, high),
           pins=[pin([-1.0, 2.0], [-1.0, 2.0], low=-1.0, high=2.0, gradients=[[0.0, 0.0]])])
activation("softplus", 1.0, 1.5, params=[{"beta": 2.0, "threshold": 2.0},
                                         {"beta": 1.0, "threshold": 1.5}])

# ---- the fused loss of one logit --------------------------------------------------------------

binary("bce_with_logits", values(-3, 3, 0.0), values(0.05, 0.95),
       oracle=lambda x, t: torch().nn.functional.binary_cross_entropy_with_logits(
           *torch().broadcast_tensors(x, t), reduction="none"),
       terms=lambda x, t: (3, np.abs(x) * (1 + t) + np.log(2)),
       pins=[pin([0.0, 1e4], [1e4, -1e4], [1.0, 1.0])])


def _bce_grad_samples(r: Draw) -> list[Any]:
    shapes = [((2, 3),) * 3, ((4, 1), (3, 1, 5), (5,)), ((7,), (1,), ()), ((0, 3), (3,), (1, 3)),
              ((1,), (), ())]
    return [sample(r.normal(*g), r.away((0.0,), -3, 3, *x), r.uniform(0.05, 0.95, *t))
            for g, x, t in shapes]


row("bce_with_logits_grad", _bce_grad_samples,
    large=lambda r: sample(r.normal(317, 1), r.normal(317, 331), r.uniform(0, 1, 317, 331)),
    terms=lambda g, x, t: (2, np.abs(g) * (1 + np.abs(t)) * np.ones_like(x)),
    bad=[bad(ShapeError, r"\(4, 3\).*\(2,\)", r0(4, 3), r0(2), r0(4, 3))])
