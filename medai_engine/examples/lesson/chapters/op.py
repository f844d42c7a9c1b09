"""An op.

One record says all that the engine knows of an operation: shapes, mathematics, gradient, cost. One
gate is the only way to compute. What a record claims can be checked from outside.
"""

import time
from textwrap import fill

import numpy as np

import medai_engine as me
from medai_engine.errors import ShapeError
from medai_engine.examples.lesson.desk import check, draw, show
from medai_engine.examples.lesson.pictures import bars
from medai_engine.op import OPS, apply
from medai_engine.testing import GradientError, gradcheck
from medai_engine.watch import Watcher, watching

"""
# The record

The engine knows well over a hundred operations, called ops. Each is one record in a table, found
by its name; nothing about an op is written in a second place. Here is the whole text of the matrix
product: its shape rule, its cost, its gradient, and the record that joins them.
"""

print(f"{len(OPS)} ops, among them {', '.join(sorted(OPS)[60:66])}")
matmul = OPS["matmul"]
print("inputs", matmul.inputs, "options", matmul.params, "outputs", matmul.outputs)
print(matmul.doc)

show("ops/linalg.py", "def _matmul_infer", "def _added_infer")

"""
Read the record as a list of promises, and hold it to each of them.

# Promise 1: the shape rule

`infer` looks at the inputs' shapes and dtypes, before anything is computed. It returns what the
result will look like, or says what does not fit and what to do about it.
"""

a, b = np.ones((3, 4)), np.ones((4, 5))
shape, dtype = matmul.infer(a, b, transpose_a=False, transpose_b=False)
check("the rule foretells the result's shape and dtype",
      me.matmul(a, b).shape == shape == (3, 5) and me.matmul(a, b).dtype == dtype == np.float64)

message = ""
try:
    me.matmul(a, np.ones((3, 5)))
except ShapeError as error:
    message = str(error)
print(fill(message, 96))
check("a product that does not fit is refused, with both shapes in the message",
      "(3, 4)" in message and "(3, 5)" in message)

"""
# Promise 2: the mathematics

`definition` is the op in NumPy, as short as it can be. It is what all faster texts are compared
with. (The next chapter opens those.)
"""

show(matmul.definition)

rng = np.random.default_rng(0)
a, b = rng.normal(size=(3, 4)), rng.normal(size=(4, 5))
out = np.empty((3, 5))
matmul.definition(a, b, out, False, False)
loops = np.array([[sum(a[i, k] * b[k, j] for k in range(4)) for j in range(5)] for i in range(3)])
check("the definition is the sum over k of a[i, k] b[k, j]", np.allclose(out, loops, rtol=1e-13))

"""
# The gate

All computation passes one function, `apply`. It is long because everything that ops have in common
is in it, once: shapes are checked, memory is found, the kernel runs, and the result is tied to its
inputs if somebody wants a gradient.
"""

show(apply)

"""
Because there is only one gate, one watcher at the gate hears everything. Let us stand there, and
write down the names of the ops that pass while a gradient is computed. The profiler and the search
for the birth of a NaN stand there too.
"""


class Ear(Watcher):
    def __init__(self):
        self.heard = {"forward": [], "backward": []}

    def op(self, scene, op, inputs, results, params):
        self.heard[scene.place.phase].append(op.name)


weight = me.tensor(rng.normal(size=(4, 2)), requires_grad=True)
x = me.asarray(a)
ear = Ear()
with watching(ear):
    me.tanh(x @ weight).sum().backward()
for phase, names in ear.heard.items():
    print(f"{phase:9}", ", ".join(names))
check("three ops forward", ear.heard["forward"] == ["matmul", "tanh", "sum"])
check("backward passes the same gate: the gradient of a product is a product",
      "matmul" in ear.heard["backward"])

"""
# Promise 3: the gradient

For y = a b, and g the derivative of the loss with respect to y, the rules are

    dL/da = g bᵀ        dL/db = aᵀ g

Where do they come from? Nudge a by da: y changes by da b, the loss by the sum over all entries of
g · (da b). Move b to the other side and it reads as the sum of (g bᵀ) · da. What stands beside da
is the derivative.
"""

ta, tb = (me.tensor(v, dtype=me.float64, requires_grad=True) for v in (a, b))
g = rng.normal(size=(3, 5))
(ta @ tb).backward(g)
check("the gradient of a is g bᵀ", np.allclose(ta.grad.numpy(), g @ b.T, rtol=1e-12))
check("the gradient of b is aᵀ g", np.allclose(tb.grad.numpy(), a.T @ g, rtol=1e-12))

"""
The names of a rule's parameters say what the engine has to keep until the backward pass. The rule
for `a` asks for `b` and only for the *shape* of a; so where b is data that needs no gradient, a
itself is not kept. tanh keeps its result, since its derivative is 1 - y², and add keeps nothing.
"""

for name, mask in (("matmul", (True, False)), ("tanh", (True,)), ("add", (True, True))):
    op = OPS[name]
    names = [n for n, kept in zip(op.inputs + op.outputs, op.keeps(mask), strict=True) if kept]
    print(f"{name:8} gradient of {', '.join(op.inputs[:sum(mask)]):5} keeps "
          f"{', '.join(names) or 'nothing'}")

check("matmul keeps b for the gradient of a, and nothing else",
      matmul.keeps((True, False)) == (False, True, False))
check("tanh keeps its result and not its input", OPS["tanh"].keeps((True,)) == (False, True))
check("add keeps nothing", not any(OPS["add"].keeps((True, True))))

"""
# Never trust a gradient

A wrong rule does not crash. It trains a little worse, and nobody knows why. So every rule is
compared with differences, as in chapter 1, along random directions; and the test itself is tested:
a rule that is wrong by a tenth of a per cent must not pass.
"""


@me.op(gradient={"x": lambda g, y: g * y * (1 - y)})
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@me.op(gradient={"x": lambda g, y: g * y * (1 - y) * 1.001})
def nearly(x):
    return 1 / (1 + np.exp(-x))


check("an op of our own with the right rule passes",
      gradcheck(sigmoid, rng.normal(size=5)))
found = ""
try:
    gradcheck(nearly, rng.normal(size=5))
except GradientError as error:
    found = str(error)
print(fill(found, 96))
check("the same op with a rule that is 0.1 % wrong is caught", found)

"""
# Promise 4: the cost

The record also counts: multiplications and additions of the product itself, other operations,
bytes read and written. A matrix product (M, K) by (K, N) has M N sums of K products, two
operations each.
"""

M, K, N = 64, 256, 128
left, right = rng.normal(size=(M, K)), rng.normal(size=(K, N))
cost = matmul.cost([left, right], transpose_a=False, transpose_b=False)
print(cost)
check("2 M K N operations", cost.contraction == 2 * M * K * N)
check("both inputs are read once, the result is written once",
      cost.read == left.nbytes + right.nbytes and cost.written == M * N * 8)

"""
Operations and bytes tell what an op waits for. A product of large matrices does hundreds of
operations for each byte and waits for the arithmetic. An addition does one for every 12 bytes and
waits for the memory, however fast the arithmetic is.
"""

big = np.ones((1024, 1024), np.float32)
intensity = {}
for name, options in (("matmul", {"transpose_a": False, "transpose_b": False}), ("add", {})):
    cost = OPS[name].cost([big, big], **options)
    intensity[name] = (cost.contraction + cost.other) / (cost.read + cost.written)
draw(bars(intensity, "operations per byte"),
     "Operations per byte moved, for two matrices of 1024 x 1024 in float32.")
check("a product of matrices of 1024 x 1024 does over a hundred operations per byte",
      intensity["matmul"] > 100)
check("an addition does one operation for 12 bytes", intensity["add"] == 1 / 12)

"""
# On one page

All that this chapter went through, and the three texts of the next, stand on the *card* of an op.
`me.inspect.op` makes it, for every op; `medai inspect matmul` shows it in a terminal. It runs what
it shows: the gradient rule against a difference, the texts of the kernel against each other.
"""

card = str(me.inspect.op("matmul"))
print("\n".join(card.splitlines()[:32]), "\n...")
check("the card has found the rules for a and b to agree with a difference",
      card.count("they agree") == 2)

"""
# What the gate costs

Each call passes checks, allocation, bookkeeping. For a result of a few numbers that is all there
is to pay; for a large one it does not matter. That is why small models want a plan (chapter 6).
"""

small = me.asarray(np.ones(4, np.float32))
large = me.asarray(np.ones(1 << 20, np.float32))
for name, value, repeats in (("4", small, 2000), ("1,048,576", large, 20)):
    start = time.perf_counter()
    for _ in range(repeats):
        me.tanh(value)
    seconds = (time.perf_counter() - start) / repeats
    print(f"tanh of {name:>9} numbers: {1e6 * seconds:8.2f} us, "
          f"{1e9 * seconds / value.size:8.2f} ns a number")
