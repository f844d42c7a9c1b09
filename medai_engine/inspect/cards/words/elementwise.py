"""Derivations of the elementwise ops: a calculus page, one line each.

An element of y depends on one element of each input, so every rule is g times a derivative of one
variable; the engine sums over the repeats of a broadcast input.
"""

from __future__ import annotations

__all__ = ["ELEMENTWISE"]

STEP = ("y is constant between its jumps, so dy/dx = 0 wherever it exists; the rule says 0 at the "
        "jumps too, and nothing is learnt through this op.")
INSIDE = "dy/dx = 1 where x lies between the bounds (y = x there), 0 outside (y is constant)"

ELEMENTWISE: dict[str, dict[str, str]] = {
    "add": {"a": "dy/da = 1: a grows by d, y grows by d.", "b": "dy/db = 1, as for a."},
    "subtract": {"a": "dy/da = 1.", "b": "dy/db = -1: what b gains, y loses."},
    "multiply": {"a": "dy/da = b: with b held fixed the product is linear in a with slope b, so "
                      "each factor's gradient needs the other factor.",
                 "b": "dy/db = a, by symmetry."},
    "divide": {"a": "dy/da = 1 / b: linear in a.",
               "b": "dy/db = -a / b^2 = -y / b: the quotient y is at hand, so a is not kept."},
    "power": {"a": "dy/da = b a^(b-1), the power rule; where b = 0 the power is the constant 1 and "
                   "the derivative 0, also at a = 0 where the formula would give NaN.",
              "b": "y = e^(b log a), so dy/db = a^b log a = y log a; at a = 0 with b >= 0 the "
                   "power stays 0 (or 1) and the derivative is 0."},
    "maximum": {"a": "y is a where a > b (dy/da = 1), b where a < b (dy/da = 0). At a = b there is "
                     "a kink; half the gradient goes to each, so that the shares add up to g.",
                "b": "the other share: 1 where b wins, 1/2 at ties."},
    "minimum": {"a": "dy/da = 1 where a < b, 0 where a > b, 1/2 at ties.",
                "b": "the other share: 1 where b is smaller, 1/2 at ties."},
    "atan2": {"a": "the angle t has tan t = a / b; differentiating, (1 + (a/b)^2) dt = da / b, so "
                   "dt/da = b / (a^2 + b^2).",
              "b": "in the same way (1 + (a/b)^2) dt = -a db / b^2: dt/db = -a / (a^2 + b^2)."},
    "hypot": {"a": "y^2 = a^2 + b^2, so 2 y dy = 2 a da and dy/da = a / y, a cosine.",
              "b": "dy/db = b / y, the sine."},
    "logaddexp": {"a": "dy/da = e^a / (e^a + e^b) = sigmoid(a - b): the share of a in the sum, "
                       "written so that nothing overflows.",
                  "b": "dy/db = sigmoid(b - a), the other share; both add up to 1."},
    "remainder": {"a": "y = a - b floor(a / b), and floor is constant between jumps: dy/da = 1.",
                  "b": "with floor(a / b) = q constant, y = a - b q has dy/db = -q."},
    "floor_divide": {"a": STEP, "b": STEP},
    "negative": {"x": "dy/dx = -1."},
    "abs": {"x": "y = x above 0 and -x below: dy/dx = sign(x). At the kink every slope from -1 to "
                 "1 supports |x|; the engine takes 0, which keeps a zero weight where it is."},
    "sign": {"x": STEP},
    "sqrt": {"x": "y^2 = x, so 2 y dy = dx and dy/dx = 1 / (2 y): the result is kept, not x. At 0 "
                  "the slope is infinite, a well-known place where NaNs are born."},
    "square": {"x": "dy/dx = 2 x."},
    "reciprocal": {"x": "dy/dx = -1 / x^2 = -y^2: the result is kept, not x."},
    "exp": {"x": "dy/dx = e^x = y: the exponential is its own derivative, so only y is kept."},
    "expm1": {"x": "dy/dx = e^x = y + 1."},
    "log": {"x": "x = e^y, so dx = x dy and dy/dx = 1 / x."},
    "log1p": {"x": "dy/dx = 1 / (1 + x), the slope of log at 1 + x."},
    "log2": {"x": "y = log(x) / log(2), so dy/dx = 1 / (x log 2)."},
    "log10": {"x": "y = log(x) / log(10), so dy/dx = 1 / (x log 10)."},
    "sin": {"x": "dy/dx = cos x: on the unit circle the height grows as fast as the width says."},
    "cos": {"x": "dy/dx = -sin x."},
    "tan": {"x": "y = sin x / cos x; the quotient rule gives (cos^2 + sin^2) / cos^2 = 1 + y^2, so "
                 "the result is all that is kept."},
    "asin": {"x": "x = sin y, so dx = cos y dy and dy/dx = 1 / cos y = 1 / sqrt(1 - x^2)."},
    "acos": {"x": "x = cos y, so dx = -sin y dy and dy/dx = -1 / sqrt(1 - x^2)."},
    "atan": {"x": "x = tan y, so dx = (1 + x^2) dy and dy/dx = 1 / (1 + x^2)."},
    "sinh": {"x": "dy/dx = (e^x + e^-x) / 2 = cosh x."},
    "cosh": {"x": "dy/dx = (e^x - e^-x) / 2 = sinh x."},
    "erf": {"x": "y is an integral up to x, so dy/dx is what is integrated, at x: "
                 "2 / sqrt(pi) e^(-x^2)."},
    **{name: {"x": STEP} for name in ("floor", "ceil", "round", "trunc")},
    "where": {"a": "y = a where the condition holds: dy/da = 1 there and 0 elsewhere. The "
                   "condition is no quantity to differentiate in, and the choice has no slope.",
              "b": "dy/db = 1 where the condition does not hold, 0 where it does."},
    "clip": {"x": f"{INSIDE}; on a bound the rule lets the gradient through, so that a value that "
                  "has just been clipped can leave it."},
    "relu": {"x": "y = x above 0, so dy/dx = 1 there; y = 0 below, so dy/dx = 0; at 0 the engine "
                  "takes 0. y > 0 says the same as x > 0, so the result is kept, not x."},
    "relu6": {"x": "dy/dx = 1 for 0 < x < 6 and 0 outside, where y is constant."},
    "sigmoid": {"x": "with e = e^-x, y = 1 / (1 + e) and dy/dx = e / (1 + e)^2 = y (1 - y): the "
                     "result is all that is kept. At most 1/4, at x = 0; almost 0 where flat."},
    "tanh": {"x": "y = sinh / cosh; the quotient rule gives (cosh^2 - sinh^2) / cosh^2 = 1 - y^2: "
                  "the result is all that is kept."},
    "log_sigmoid": {"x": "y = -log(1 + e^-x), so dy/dx = e^-x / (1 + e^-x) = 1 / (1 + e^x) = "
                         "sigmoid(-x)."},
    "softsign": {"x": "for x > 0, d/dx x / (1 + x) = 1 / (1 + x)^2, and y is odd, so with |x| it "
                      "holds everywhere."},
    "gelu": {"x": "y = x Phi(x) with the normal distribution function Phi, whose derivative is the "
                  "density phi(x) = e^(-x^2/2) / sqrt(2 pi); the product rule gives "
                  "dy/dx = Phi(x) + x phi(x)."},
    "gelu_tanh": {"x": "y = x (1 + tanh u) / 2, u = sqrt(2/pi) (x + 0.044715 x^3); the product "
                       "rule gives dy/dx = (1 + tanh u) / 2 + x (1 - tanh(u)^2) u' / 2."},
    "silu": {"x": "y = x s with s = sigmoid(x) and s' = s (1 - s), so the product rule gives "
                  "dy/dx = s + x s (1 - s)."},
    "mish": {"x": "y = x w with w = tanh(softplus(x)); softplus' = sigmoid = s, tanh' = 1 - w^2, "
                  "so dy/dx = w + x (1 - w^2) s."},
    "hardsigmoid": {"x": "a line of slope 1/6 for -3 < x < 3, constant outside."},
    "hardswish": {"x": "0 for x <= -3, x for x >= 3, and x (x + 3) / 6 between, whose derivative "
                       "is (2 x + 3) / 6."},
    "selu": {"x": "y = scale x for x > 0: slope scale. Below, y = scale alpha (e^x - 1), so "
                  "dy/dx = scale alpha e^x = y + scale alpha: the result tells it, x is not kept."},
    "elu": {"x": "slope 1 for x > 0; below, y = alpha (e^x - 1) and dy/dx = alpha e^x = y + alpha, "
                 "from the result alone."},
    "celu": {"x": "slope 1 for x > 0; below, y = alpha (e^(x/alpha) - 1) and dy/dx = e^(x/alpha), "
                  "which meets 1 at 0: no kink, whatever alpha."},
    "leaky_relu": {"x": "dy/dx = 1 for x > 0, the slope for x <= 0: never 0, so no unit dies."},
    "hardtanh": {"x": f"{INSIDE} and on the bounds."},
    "softplus": {"x": "y = log(1 + e^(beta x)) / beta, so dy/dx = e^(beta x) / (1 + e^(beta x)) = "
                      "sigmoid(beta x); 1 where the op returns x itself."},
    "bce_with_logits": {
        "x": "y = softplus(x) - x t in other words, and softplus' = sigmoid: dy/dx = sigmoid(x) - t"
             ", the predicted probability minus the target. No quotient is left that could "
             "overflow, which is why loss and sigmoid are one op.",
        "t": "y is linear in t with slope -x."},
}

# ---- the slopes as ops of their own: what gradients of gradients are made of ------------------

BENDS = {
    "sigmoid": "y (1 - y) has the derivative 1 - 2 y in y",
    "tanh": "1 - y^2 has the derivative -2 y in y",
    "log_sigmoid": "sigmoid(-x) has the derivative -s (1 - s), s = sigmoid(x)",
    "softsign": "(1 + |x|)^-2 has the derivative -2 sign(x) (1 + |x|)^-3",
    "gelu": "phi' = -x phi, so (Phi + x phi)' = phi + phi - x^2 phi = phi (2 - x^2)",
    "gelu_tanh": "with t = tanh u once more by the product and chain rules: "
                 "(1 - t^2) (u' + x (u'' / 2 - t u'^2))",
    "silu": "s' = s (1 - s), so the slope bends by s (1 - s) (2 + x (1 - 2 s))",
    "mish": "w' = (1 - w^2) s, so the slope bends by (1 - w^2) (2 s + x (s (1 - s) - 2 w s^2))",
    "hardswish": "(2 x + 3) / 6 has the derivative 1/3 between -3 and 3, the constants have 0",
    "selu": "y + scale alpha has the derivative 1 in y below 0, the constant above has 0",
    "elu": "y + alpha has the derivative 1 in y below 0, the constant above has 0",
    "celu": "e^(x/alpha) has the derivative e^(x/alpha) / alpha below 0, the constant above has 0",
    "softplus": "sigmoid(beta x) has the derivative beta s (1 - s)",
}
LINEAR_IN_G = ("y is linear in g with this slope as factor, so the rule multiplies the new "
               "cotangent u by the same slope: the op itself, with u for g.")

for _name in ("relu", "relu6", "hardsigmoid", "hardtanh", "leaky_relu", "clip", *BENDS):
    _of = "y" if _name in ("relu", "sigmoid", "tanh", "selu", "elu") else "x"
    ELEMENTWISE[f"{_name}_grad"] = {"g": LINEAR_IN_G} | (
        {_of: f"the second derivative: {BENDS[_name]}; times g and the new cotangent u."}
        if _name in BENDS else {})
ELEMENTWISE["bce_with_logits_grad"] = {
    "g": LINEAR_IN_G,
    "x": "sigmoid(x) - t has the derivative s (1 - s) in x, s = sigmoid(x).",
    "t": "sigmoid(x) - t has the derivative -1 in t, times g."}
