"""Autodiff in a hundred lines.

How a program computes the derivative of its own result: a tiny engine, written here, then the
shipped one, which does the same with arrays.
"""

import math
from random import Random

import numpy as np

import medai_engine as me
from medai_engine import autograd
from medai_engine.examples.lesson.desk import check, draw, show
from medai_engine.examples.lesson.pictures import curves
from medai_engine.inspect.drawing import Box, drawing
from medai_engine.tensor import Leaf

"""
# What is asked for

Training means: change each number of a model a little so that its error falls. Which way, and by
how much? The derivative of the error with respect to that number says it. A model has thousands of
numbers and one error, so we want all derivatives of *one* result at once.

A program is a chain of small steps: a product, a sum, a tanh. The derivative of each step is on a
page of any calculus book, and the chain rule joins them. If y depends on u, and u on x, then

    dy/dx = dy/du · du/dx

and where x reaches y on several ways, the ways add up. That is all the mathematics there is in
this chapter.

# A number that remembers

A `Value` is a number that remembers what it was made of: its inputs, and the derivative of this
one step with respect to each of them.
"""


class Value:
    def __init__(self, data, inputs=()):
        self.data = data
        self.inputs = inputs  # pairs of (Value, derivative of this step)
        self.grad = 0.0

    def __add__(self, other):
        other = as_value(other)
        return Value(self.data + other.data, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        other = as_value(other)
        return Value(self.data * other.data, ((self, other.data), (other, self.data)))

    def __sub__(self, other):
        return self + as_value(other) * -1.0

    def tanh(self):
        y = math.tanh(self.data)
        return Value(y, ((self, 1 - y * y),))

    __radd__, __rmul__ = __add__, __mul__


def as_value(x):
    return x if isinstance(x, Value) else Value(x)


"""
Computing with such numbers builds a graph, from the inputs to the result. Nothing is
differentiated yet; every arrow only carries one number.
"""

a, b, c = Value(2.0), Value(-3.0), Value(5.5)
product = a * b
total = product + c
y = total.tanh()
print(f"y = tanh(a b + c) = {y.data:.4f}")

names = {a: "a", b: "b", c: "c", product: "a b", total: "a b + c", y: "tanh"}
boxes = [Box((name, f"value {value.data:.4g}"), 0 if value.inputs else 2)
         for value, name in names.items()]
place = {value: i for i, value in enumerate(names)}
arrows = [(place[below], place[value], f"{slope:.4g}")
          for value in names for below, slope in value.inputs]
draw(drawing(boxes, arrows), "The graph of `tanh(a b + c)`: values in the boxes, the derivative of "
     "each step at its arrow.")

"""
# Backwards

The derivative of the result with respect to itself is 1. From there we walk against the arrows:
each node hands its own derivative, times the number at the arrow, to each of its inputs, which
*adds* what it gets.

The order matters. A node may pass on its derivative only when all that used the node have added
theirs: every node before its inputs. A list in that order is a topological order; walking down to
the inputs and listing a node after them gives its reverse.
"""


def ordered(root):
    order, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for below, _ in node.inputs:
                visit(below)
            order.append(node)

    visit(root)
    return order[::-1]


def backward(root):
    root.grad = 1.0
    for node in ordered(root):
        for below, slope in node.inputs:
            below.grad += node.grad * slope


backward(y)
print(f"dy/da = {a.grad:.4f}, dy/db = {b.grad:.4f}, dy/dc = {c.grad:.4f}")

"""
Is it right? A derivative can always be measured: nudge the input by a small h on both sides, and
divide the change of the result by 2 h. The error of this difference is of the order of h².
"""


def measured(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


check("dy/da is what a nudge of a measures",
      abs(a.grad - measured(lambda v: math.tanh(v * -3.0 + 5.5), 2.0)) < 1e-9)
check("dy/db is what a nudge of b measures",
      abs(b.grad - measured(lambda v: math.tanh(2.0 * v + 5.5), -3.0)) < 1e-9)

x = Value(3.0)
backward(x * x + x)
check("where x is used three times, the ways add up: d(x² + x)/dx = 2 x + 1 = 7 at x = 3",
      x.grad == 7.0)

"""
# Why not along every way?

One could also multiply along each way from x to y and add up all ways. Forty doublings, each `x +
x`, show why nobody does: there are 2⁴⁰ ways, but only 41 nodes, and the walk above visits each
node once.
"""

x = doubled = Value(1.0)
for _ in range(40):
    doubled = doubled + doubled
backward(doubled)
print(f"{len(ordered(doubled))} nodes; derivative {x.grad:.0f}, the number of ways")
check("41 nodes carry the sum over 2⁴⁰ ways", len(ordered(doubled)) == 41 and x.grad == 2.0**40)

"""
# It learns

Enough to train a network. Four points, labelled +1 where the signs of their two coordinates
differ, -1 where they agree: no straight line separates them. A layer of four tanh units can. The
walk downhill is one line: each number moves against its derivative.
"""

random = Random(1)
hidden = [[Value(random.uniform(-1, 1)) for _ in range(3)] for _ in range(4)]
output = [Value(random.uniform(-1, 1)) for _ in range(5)]
weights = [w for unit in [*hidden, output] for w in unit]
points = [((-1, -1), -1), ((-1, 1), 1), ((1, -1), 1), ((1, 1), -1)]


def predict(point):
    units = [(w[0] * point[0] + w[1] * point[1] + w[2]).tanh() for w in hidden]
    return sum((w * u for w, u in zip(output, units, strict=False)), output[-1]).tanh()


losses = []
for _ in range(150):
    errors = [predict(point) - label for point, label in points]
    loss = sum((e * e for e in errors), Value(0.0))
    for w in weights:
        w.grad = 0.0
    backward(loss)
    for w in weights:
        w.data -= 0.1 * w.grad
    losses.append(loss.data)

draw(curves({"squared error": losses}, "steps", "error"), "The error of the four points.")
check("after 150 steps all four points have their sign",
      all(predict(point).data * label > 0 for point, label in points))

"""
# The shipped engine

A number for each element would be slow: an image has many thousands. The engine's node stands for
one call of an operation on whole arrays. Instead of a number at each arrow it keeps what its
*gradient rule* needs to compute the product of the incoming derivative with that step's.
"""

show(autograd.Node)

"""
Its order is made without recursion, so that a long chain does not end Python's stack: it counts
how often each node is used, and takes a node when all its users have been taken.
"""

show(autograd.ordered)

chain = Value(1.0)
for _ in range(5000):
    chain = chain * 1.0
try:
    ordered(chain)
    ended = False
except RecursionError:
    ended = True
check("a chain of 5,000 steps ends the stack of the recursive walk above", ended)

long = start = me.tensor(1.0, requires_grad=True)
for _ in range(20_000):
    long = long * 1.0
long.backward()
check("the shipped one takes a chain of 20,000", start.grad.item() == 1.0)

"""
And the walk. It does what ours does: in order, pull the derivative through each node, give every
input its share, add where several arrive. Around that it skips parts that lead nowhere, and frees
what a node kept as soon as it was used. It stops at every node, so that somebody can look.
"""

show(autograd.walk)

"""
The same expression on both:
"""

p, q, r = (me.tensor(v, dtype=me.float64, requires_grad=True) for v in (2.0, -3.0, 5.5))
z = me.tanh(p * q + r)
names = ["leaf" if type(node) is Leaf else node.op.name for node in autograd.ordered([z.node])]
print(", ".join(names))
draw(me.inspect.graph(z).svg(), "The same graph as the engine keeps it, drawn by "
     "`me.inspect.graph`.")
check("the shipped engine has the same graph: three steps and three inputs",
      sorted(names) == ["add", "leaf", "leaf", "leaf", "multiply", "tanh"])

z.backward()
for name, ours, theirs in (("a", a, p), ("b", b, q), ("c", c, r)):
    check(f"dy/d{name} is equal in both engines, to the last bits of float64",
          math.isclose(ours.grad, theirs.grad.item(), rel_tol=1e-14))

"""
# Derivatives of derivatives

Our numbers at the arrows are plain floats: their own history is lost. The shipped rules are
written with the engine's operations, so that a gradient is a result like any other and has a
gradient itself. The second derivative of tanh is -2 tanh (1 - tanh²).
"""

points = me.asarray(np.linspace(-2, 2, 41))


def slope(x):
    return me.grad(lambda x: me.tanh(x).sum())(x)


second = me.grad(lambda x: slope(x).sum())(points).numpy()
t = np.tanh(points.numpy())
draw(curves({"tanh": t, "first derivative": 1 - t * t, "second derivative": second},
            "x from -2 to 2, in steps of 0.1", "value"),
     "tanh and its derivatives; the second one comes from differentiating twice.")
check("differentiating twice gives -2 tanh (1 - tanh²)",
      np.allclose(second, -2 * t * (1 - t * t), rtol=1e-12, atol=1e-15))
