"""Elementwise ops: one table row each.

A row gives the name, how dtypes behave, the number of scalar operations of the definition per
element, the derivative, and the equation. Gradient rules are written with ops; activations have a
fused gradient (``relu_grad`` ...), an op with a row of its own, so second derivatives follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError, say
from ..op import Op, bind, define, short_binary, short_unary
from ..tensor import Constant, Tensor, is_scalar

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017
FUNCTIONS: dict[str, Callable[..., Any]] = {}


def row(name: str, inputs: str, kind: str, operations: float, equation: str,
        vjp: Mapping[str, Any] | None = None, *, params: str = "",
        linear: Sequence[Sequence[str]] = (), analytic: bool = False, onnx: str = "") -> Op:
    """Define one elementwise op (see the module's docstring for the columns)."""
    names = inputs.split()

    def infer(*arrays: np.ndarray, **_: Any) -> tuple[tuple[int, ...], Any]:
        first = arrays[0].shape
        if all(a.shape == first for a in arrays):
            shape = first
        else:
            try:
                shape = np.broadcast_shapes(*(a.shape for a in arrays))
            except ValueError:
                shapes = dict(zip(names, (a.shape for a in arrays), strict=True))
                raise ShapeError(say(
                    name, "shapes that broadcast (sizes equal or 1, aligned at the last axis)",
                    " and ".join(str(s) for s in shapes.values()),
                    "Insert axes of size 1 with expand_dims or reshape", shapes)) from None
        return shape, np.bool_ if kind == "bool" else arrays[-1].dtype

    op = define(
        name, infer=infer, kernel=name, vjp=vjp, elementwise=kind, linear=linear,
        analytic=analytic, onnx=onnx, names=(tuple(names), tuple(params.split())),
        inplace=[n for n in names if n != "condition"],
        work=lambda arrays, outs, params: (0, int(operations * math.prod(outs[0][0]))),
        doc=equation)
    FUNCTIONS[name] = (bind(op) if params or len(names) > 2
                       else short_unary(op) if len(names) == 1 else short_binary(op))
    return op


def __getattr__(name: str) -> Any:
    """Give the table's functions as names of this module: ``from .elementwise import exp``."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


F = FUNCTIONS  # rules call the public functions, which come to be while the table is read


def zeros(g: Tensor) -> Tensor:
    """Return the gradient of a step function."""
    return Tensor(np.zeros(g.data.shape, g.data.dtype))


def first_share(a: Tensor, b: Tensor) -> Tensor:
    """Return the share of a's gradient in max(a, b): 1 where a wins, 1/2 at ties."""
    one, half, zero = (Constant(np.array(n, a.data.dtype)) for n in (1.0, 0.5, 0.0))
    return F["where"](F["greater"](a, b), one, F["where"](F["equal"](a, b), half, zero))


def where_else_zero(condition: Any, g: Tensor) -> Tensor:
    """Return g where the condition holds, 0 elsewhere."""
    return F["where"](condition, g, 0.0)


def power_base(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return g b a^(b-1), and 0 where b = 0 (also at a = 0)."""
    return where_else_zero(F["not_equal"](b, 0.0), g * (b * F["power"](a, b - 1.0)))


def power_exponent(g: Tensor, a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """Return g a^b log(a), and 0 where a = 0 and b >= 0."""
    nonzero = F["not_equal"](a, 0.0)
    alive = F["logical_or"](nonzero, F["less"](b, 0.0))
    safe = F["where"](nonzero, a, 1.0)
    return where_else_zero(alive, g * y * F["log"](safe))


# ---- arithmetic -------------------------------------------------------------------------------

row("add", "a b", "same", 1, "y = a + b", {"a": lambda g: g, "b": lambda g: g},
    linear=[("a", "b")], analytic=True, onnx="Add")
row("subtract", "a b", "same", 1, "y = a - b", {"a": lambda g: g, "b": lambda g: -g},
    linear=[("a", "b")], analytic=True, onnx="Sub")
row("multiply", "a b", "same", 1, "y = a b", {"a": lambda g, b: g * b, "b": lambda g, a: g * a},
    linear=[("a",), ("b",)], analytic=True, onnx="Mul")
row("divide", "a b", "float", 1, "y = a / b",
    {"a": lambda g, b: g / b, "b": lambda g, b, y: -(g * y / b)},
    linear=[("a",)], analytic=True, onnx="Div")
row("power", "a b", "same", 1, "y = a^b; dy/da = 0 where b = 0, dy/db = 0 where a = 0 <= b",
    {"a": power_base, "b": power_exponent}, analytic=True, onnx="Pow")
row("maximum", "a b", "same", 1, "y = max(a, b); NaN wins; ties share the gradient equally",
    {"a": lambda g, a, b: g * first_share(a, b), "b": lambda g, a, b: g * first_share(b, a)},
    onnx="Max")
row("minimum", "a b", "same", 1, "y = min(a, b); NaN wins; ties share the gradient equally",
    {"a": lambda g, a, b: g * first_share(b, a), "b": lambda g, a, b: g * first_share(a, b)},
    onnx="Min")
row("atan2", "a b", "float", 1, "y = angle of the point (b, a)",
    {"a": lambda g, a, b: g * b / (F["square"](a) + F["square"](b)),
     "b": lambda g, a, b: -(g * a / (F["square"](a) + F["square"](b)))})
row("hypot", "a b", "float", 1, "y = sqrt(a^2 + b^2)",
    {"a": lambda g, a, y: g * a / y, "b": lambda g, b, y: g * b / y})
row("logaddexp", "a b", "float", 1, "y = log(exp(a) + exp(b))",
    {"a": lambda g, a, b: g * F["sigmoid"](a - b), "b": lambda g, a, b: g * F["sigmoid"](b - a)})
row("remainder", "a b", "same", 1, "y = a - b floor(a / b): the sign of the divisor",
    {"a": lambda g: g, "b": lambda g, a, b: -(g * F["floor"](a / b))})
row("floor_divide", "a b", "same", 1, "y = floor(a / b)", {"a": zeros, "b": zeros})

row("negative", "x", "same", 1, "y = -x", {"x": lambda g: -g},
    linear=[("x",)], analytic=True, onnx="Neg")
row("abs", "x", "same", 1, "y = |x|; derivative 0 at 0", {"x": lambda g, x: g * F["sign"](x)},
    onnx="Abs")
row("sign", "x", "same", 1, "y = -1, 0 or 1", {"x": zeros}, onnx="Sign")
row("sqrt", "x", "float", 1, "y = x^(1/2)", {"x": lambda g, y: g / (y * 2.0)},
    analytic=True, onnx="Sqrt")
row("square", "x", "same", 1, "y = x^2", {"x": lambda g, x: g * (x * 2.0)}, analytic=True)
row("reciprocal", "x", "float", 1, "y = 1 / x", {"x": lambda g, y: -(g * F["square"](y))},
    analytic=True, onnx="Reciprocal")

# ---- exponentials, logarithms, angles ---------------------------------------------------------

row("exp", "x", "float", 1, "y = e^x", {"x": lambda g, y: g * y}, analytic=True, onnx="Exp")
row("expm1", "x", "float", 1, "y = e^x - 1, accurate near 0", {"x": lambda g, y: g * (y + 1.0)},
    analytic=True)
row("log", "x", "float", 1, "y = natural logarithm of x", {"x": lambda g, x: g / x},
    analytic=True, onnx="Log")
row("log1p", "x", "float", 1, "y = log(1 + x), accurate near 0",
    {"x": lambda g, x: g / (x + 1.0)}, analytic=True)
row("log2", "x", "float", 1, "y = log(x) / log(2)",
    {"x": lambda g, x: g / (x * math.log(2))}, analytic=True)
row("log10", "x", "float", 1, "y = log(x) / log(10)",
    {"x": lambda g, x: g / (x * math.log(10))}, analytic=True)
row("sin", "x", "float", 1, "y = sin x (radians)", {"x": lambda g, x: g * F["cos"](x)},
    analytic=True, onnx="Sin")
row("cos", "x", "float", 1, "y = cos x (radians)", {"x": lambda g, x: -(g * F["sin"](x))},
    analytic=True, onnx="Cos")
row("tan", "x", "float", 1, "y = tan x (radians)",
    {"x": lambda g, y: g * (F["square"](y) + 1.0)}, analytic=True, onnx="Tan")
row("asin", "x", "float", 1, "y = arc sine of x",
    {"x": lambda g, x: g / F["sqrt"](1.0 - F["square"](x))}, analytic=True, onnx="Asin")
row("acos", "x", "float", 1, "y = arc cosine of x",
    {"x": lambda g, x: -(g / F["sqrt"](1.0 - F["square"](x)))}, analytic=True, onnx="Acos")
row("atan", "x", "float", 1, "y = arc tangent of x",
    {"x": lambda g, x: g / (F["square"](x) + 1.0)}, analytic=True, onnx="Atan")
row("sinh", "x", "float", 1, "y = (e^x - e^-x) / 2", {"x": lambda g, x: g * F["cosh"](x)},
    analytic=True, onnx="Sinh")
row("cosh", "x", "float", 1, "y = (e^x + e^-x) / 2", {"x": lambda g, x: g * F["sinh"](x)},
    analytic=True, onnx="Cosh")
row("erf", "x", "float", 1, "y = 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x",
    {"x": lambda g, x: g * (F["exp"](-F["square"](x)) * (2 / math.sqrt(math.pi)))}, onnx="Erf")

# ---- rounding, tests, comparison, logic -------------------------------------------------------

for _name, _text in (("floor", "y = the largest integer <= x"),
                     ("ceil", "y = the smallest integer >= x"),
                     ("round", "y = the nearest integer, ties to even"),
                     ("trunc", "y = x without its fraction")):
    row(_name, "x", "same", 1, _text, {"x": zeros})
for _name in ("isnan", "isinf", "isfinite", "logical_not"):
    row(_name, "x", "bool", 1, f"y = {_name}(x), a boolean")
for _name, _sign in (("equal", "=="), ("not_equal", "!="), ("less", "<"), ("less_equal", "<="),
                     ("greater", ">"), ("greater_equal", ">="), ("logical_and", "and"),
                     ("logical_or", "or"), ("logical_xor", "xor")):
    row(_name, "a b", "bool", 1, f"y = a {_sign} b, a boolean")

row("where", "condition a b", "same", 0, "y = a where the condition holds, b elsewhere",
    {"a": lambda g, condition: F["where"](condition, g, 0.0),
     "b": lambda g, condition: F["where"](condition, 0.0, g)},
    linear=[("a", "b")], analytic=True, onnx="Where")
row("clip", "x", "same", 2, "y = min(max(x, low), high); derivative 1 on the bounds",
    {"x": lambda g, x, low, high: F["clip_grad"](g, x, low=low, high=high)}, params="low high",
    onnx="Clip")
row("clip_grad", "g x", "same", 3, "y = g where low <= x <= high, else 0",
    {"g": lambda g, x, low, high: F["clip_grad"](g, x, low=low, high=high)}, params="low high",
    linear=[("g",)])



def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """Return x limited to [min, max]; bounds may be numbers, arrays or None.

    The derivative is 1 on bounds that are numbers.
    """
    bounds = [b for b in (min, max) if b is not None]
    if all(is_scalar(b) for b in bounds) and (len(bounds) == 2 or not integral(x)):
        return F["clip"](x, low=-math.inf if min is None else min,
                         high=math.inf if max is None else max)
    y = x if min is None else F["maximum"](x, min)
    return y if max is None else F["minimum"](y, max)


def integral(x: Any) -> bool:
    """Tell whether x is an array of integers or booleans."""
    return getattr(x, "dtype", np.dtype(np.float32)).kind in "biu"


# ---- activations and their fused gradients ----------------------------------------------------


def activation(name: str, operations: float, equation: str, saved: str, grad_operations: float,
               derivative: str, second: Callable[..., Any] | None = None, *, params: str = "",
               analytic: bool = False, onnx: str = "") -> None:
    """Define an activation and its fused gradient ``g f'(saved)``.

    ``second(h, saved, **params)`` gives ``h f''`` for h = the product of both cotangents, or is
    None where the second derivative is 0 almost everywhere.
    """
    gradient = f"{name}_grad"
    keys = params.split()

    def pull(g: Tensor, kept: Tensor, *values: Any) -> Tensor:
        return F[gradient](g, kept, **dict(zip(keys, values, strict=True)))

    vjp: dict[str, Any] = {"g": (f"{saved} {params}", pull)}
    if second is not None:
        vjp[saved] = (f"g {saved} {params}",
                      lambda u, g, kept, *values: second(u * g, kept, *values))
    row(name, "x", "float", operations, equation, {"x": (f"{saved} {params}", pull)},
        params=params, analytic=analytic, onnx=onnx)
    row(gradient, f"g {saved}", "float", grad_operations, f"y = g {derivative}", vjp,
        params=params, linear=[("g",)])


def _sigmoid_slope(x: Tensor) -> Tensor:
    s = F["sigmoid"](x)
    return s * (1.0 - s)


def _gelu_second(h: Tensor, x: Tensor) -> Tensor:
    density = F["exp"](F["square"](x) * -0.5) * (1 / math.sqrt(2 * math.pi))
    return h * density * (2.0 - F["square"](x))


def _gelu_tanh_second(h: Tensor, x: Tensor) -> Tensor:
    c, k = math.sqrt(2 / math.pi), 0.044715
    xx = F["square"](x)
    t = F["tanh"]((x + x * xx * k) * c)
    first, second = (xx * (3 * k) + 1.0) * c, x * (6 * c * k)
    slope = 1.0 - F["square"](t)
    return h * slope * (first + x * 0.5 * (second - t * F["square"](first) * 2.0))


def _silu_second(h: Tensor, x: Tensor) -> Tensor:
    s = F["sigmoid"](x)
    return h * s * (1.0 - s) * (x * (1.0 - s * 2.0) + 2.0)


def _mish_second(h: Tensor, x: Tensor) -> Tensor:
    s = F["sigmoid"](x)
    w = F["tanh"](F["logaddexp"](x, Tensor(np.zeros((), x.data.dtype))))
    return h * (1.0 - F["square"](w)) * (s * 2.0 + x * (s * (1.0 - s) - w * F["square"](s) * 2.0))


def _below_zero(h: Tensor, y: Tensor) -> Tensor:
    return where_else_zero(F["less"](y, 0.0), h)


def _celu_second(h: Tensor, x: Tensor, alpha: float) -> Tensor:
    return where_else_zero(F["less"](x, 0.0), h * F["exp"](F["minimum"](x, 0.0) / alpha) / alpha)


def _softplus_second(h: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor:
    return where_else_zero(F["less_equal"](x * beta, threshold),
                           h * _sigmoid_slope(x * beta) * beta)


activation("relu", 1, "y = max(x, 0); derivative 0 at 0", "y", 1, "[y > 0]", onnx="Relu")
activation("relu6", 2, "y = min(max(x, 0), 6)", "x", 3, "[0 < x < 6]")
activation("sigmoid", 6, "y = 1 / (1 + e^-x)", "y", 3, "y (1 - y)",
           lambda h, y: h * (1.0 - y * 2.0), analytic=True, onnx="Sigmoid")
activation("tanh", 1, "y = (e^x - e^-x) / (e^x + e^-x)", "y", 4, "(1 - y^2)",
           lambda h, y: h * y * -2.0, analytic=True, onnx="Tanh")
activation("log_sigmoid", 8, "y = -log(1 + e^-x)", "x", 8, "/ (1 + e^x)",
           lambda h, x: -(h * _sigmoid_slope(x)))
activation("softsign", 4, "y = x / (1 + |x|)", "x", 4, "/ (1 + |x|)^2",
           lambda h, x: h * F["sign"](x) * -2.0 / F["power"](F["abs"](x) + 1.0, 3.0),
           onnx="Softsign")
activation("gelu", 12, "y = x (1 + erf(x / sqrt 2)) / 2 (Hendrycks & Gimpel 2016)", "x", 18,
           "(Phi(x) + x phi(x))", _gelu_second)
activation("gelu_tanh", 13, "y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2", "x", 31,
           "f'(x)", _gelu_tanh_second)
activation("silu", 7, "y = x / (1 + e^-x)", "x", 17, "s (1 + x (1 - s)), s = sigmoid(x)",
           _silu_second)
activation("mish", 14, "y = x tanh(log(1 + e^x)) (Misra 2019)", "x", 36, "f'(x)", _mish_second,
           onnx="Mish")
activation("hardsigmoid", 4, "y = min(max(x + 3, 0), 6) / 6", "x", 4, "[-3 < x < 3] / 6")
activation("hardswish", 5, "y = x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)", "x", 5,
           "0, (2 x + 3) / 6 or 1",
           lambda h, x: where_else_zero(F["less"](F["abs"](x), 3.0), h / 3.0), onnx="HardSwish")
activation("selu", 4, "y = scale (max(x, 0) + min(alpha (e^x - 1), 0)) (Klambauer et al. 2017)",
           "y", 4, "scale, or y + scale alpha where y < 0", _below_zero, onnx="Selu")
activation("elu", 3, "y = x, or alpha (e^x - 1) where x < 0 (Clevert et al. 2015)", "y", 3,
           "1, or y + alpha where y < 0", lambda h, y, alpha: _below_zero(h, y), params="alpha",
           onnx="Elu")
activation("celu", 4, "y = max(x, 0) + min(alpha (e^(x / alpha) - 1), 0) (Barron 2017)", "x", 4,
           "1, or e^(x / alpha) where x < 0", _celu_second, params="alpha", onnx="Celu")
activation("leaky_relu", 2, "y = x, or slope x where x < 0", "x", 2, "1, or slope where x <= 0",
           params="slope", onnx="LeakyRelu")
activation("hardtanh", 2, "y = min(max(x, low), high)", "x", 3, "[low < x < high]",
           params="low high")
activation("softplus", 9, "y = log(1 + e^(beta x)) / beta, or x where beta x > threshold", "x", 9,
           "sigmoid(beta x)", _softplus_second, params="beta threshold", onnx="Softplus")

# ---- the fused loss of one logit --------------------------------------------------------------

row("bce_with_logits", "x t", "float", 8, "y = max(x, 0) - x t + log(1 + e^-|x|)",
    {"x": lambda g, x, t: F["bce_with_logits_grad"](g, x, t), "t": lambda g, x: -(g * x)})
row("bce_with_logits_grad", "g x t", "float", 8, "y = g (sigmoid(x) - t)",
    {"g": lambda u, x, t: F["bce_with_logits_grad"](u, x, t),
     "x": lambda u, g, x: u * g * _sigmoid_slope(x), "t": lambda u, g: -(u * g)},
    linear=[("g",)])

# ---- operators --------------------------------------------------------------------------------


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: function(other, self)


for _symbol, _name in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"),
                       ("truediv", "divide"), ("pow", "power"), ("mod", "remainder"),
                       ("floordiv", "floor_divide"), ("and", "logical_and"),
                       ("or", "logical_or"), ("xor", "logical_xor")):
    setattr(Tensor, f"__{_symbol}__", F[_name])
    setattr(Tensor, f"__r{_symbol}__", _reflected(F[_name]))
for _symbol, _name in (("eq", "equal"), ("ne", "not_equal"), ("lt", "less"), ("le", "less_equal"),
                       ("gt", "greater"), ("ge", "greater_equal"), ("neg", "negative"),
                       ("abs", "abs"), ("invert", "logical_not")):
    setattr(Tensor, f"__{_symbol}__", F[_name])
