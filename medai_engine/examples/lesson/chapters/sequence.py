"""A sequence.

A patient's course is a list of measurements, and how long it is differs from one to the next. An
LSTM reads it step by step and keeps a memory; this chapter builds one from its equations.
"""

import numpy as np

import medai_engine as me
from medai_engine import functional as F
from medai_engine import kernels, nn
from medai_engine.examples.lesson.desk import check, draw, show
from medai_engine.examples.lesson.pictures import curves
from medai_engine.op import OPS

"""
# The cell

At each time the cell gets the measurements x, and what it said last time, h. From both it computes
three gates, which are numbers between 0 and 1, and a proposal g between -1 and 1:

    i = sigmoid(W_i x + U_i h + b_i)      how much of the proposal to take
    f = sigmoid(W_f x + U_f h + b_f)      how much of the memory to keep
    g = tanh   (W_g x + U_g h + b_g)      the proposal
    o = sigmoid(W_o x + U_o h + b_o)      how much of the memory to say

and then the new memory c and what it says, h:

    c = f · c + i · g
    h = o · tanh(c)

The four matrices lie one below the other in `weight_ih` (for x) and `weight_hh` (for h).
"""


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell(x, h, c, weight_ih, weight_hh, bias):
    i, f, g, o = np.split(weight_ih @ x + weight_hh @ h + bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def sequence(xs, weight_ih, weight_hh, bias, h, c):
    said, memory = [], []
    for x in xs:
        h, c = cell(x, h, c, weight_ih, weight_hh, bias)
        said.append(h)
        memory.append(c)
    return np.array(said), np.array(memory)


"""
The engine computes the whole sequence in one op, so that nothing but arithmetic happens between
the steps. Its definition is the same loop over time, for a batch of sequences at once.
"""

show(kernels.lookup("lstm", "reference"))

D, H, T = 3, 4, 10
rng = np.random.default_rng(0)
weight_ih, weight_hh = rng.normal(size=(4 * H, D)), rng.normal(size=(4 * H, H))
bias = rng.normal(size=4 * H)
xs = rng.normal(size=(T, D))
zero = np.zeros(H)


said, memory = sequence(xs, weight_ih, weight_hh, bias, zero, zero)
output, (h, c) = F.lstm(xs[None], weight_ih, weight_hh, bias, state=(zero[None], zero[None]))
check("the engine's LSTM says what the equations say, at every time",
      np.allclose(output.numpy()[0], said, rtol=1e-11, atol=1e-13))
check("its last memory is that of the equations",
      np.allclose(c.numpy()[0], memory[-1], rtol=1e-11, atol=1e-13))

"""
# Memory that is kept, and memory that is cleared

The gates are why it can remember. Force them by large biases: a forget gate of 1 and an input gate
of 0 copy the memory unchanged, whatever is measured. A forget gate of 0 clears it at once.
"""


def forced(forget):
    """Return a bias that shuts the input gate and sets the forget gate."""
    return np.repeat([-50.0, forget, 0.0, 50.0], H)


start = np.array([1.0, -0.5, 2.0, 0.25])
_, copied = sequence(xs, weight_ih, weight_hh, forced(50.0), zero, start)
_, cleared = sequence(xs, weight_ih, weight_hh, forced(-50.0), zero, start)
_, fading = sequence(xs, 0 * weight_ih, 0 * weight_hh, forced(1.0), zero, start)
draw(curves({"forget gate 1": [start[2], *copied[:, 2]],
             "forget gate 0.73": [start[2], *fading[:, 2]],
             "forget gate 0": [start[2], *cleared[:, 2]]}, "time", "memory"),
     "One number of the memory, from the same start, under three forget gates.")
for name, bias_, expected in (("copied", 50.0, start), ("cleared", -50.0, zero)):
    _, (_, c) = F.lstm(xs[None], weight_ih, weight_hh, forced(bias_),
                       state=(zero[None], start[None]))
    check(f"with saturated gates the memory is {name}, after {T} steps of any measurements",
          np.allclose(c.numpy()[0], expected, atol=1e-12))

"""
# Backwards through time

The loss at the end depends on an early measurement through every step in between. The chain rule
multiplies one factor per step. In a plain recurrent network that factor is a matrix times the
slope of tanh; in an LSTM the way through the memory has the factor f, the forget gate, alone.
"""

U = np.zeros((4 * H, H))
_, memory = sequence(xs, weight_ih, U, bias, zero, start)
forget = sigmoid(xs @ weight_ih.T + bias)[:, H:2 * H]  # without U it depends on x only
c0 = me.tensor(start[None], dtype=me.float64, requires_grad=True)
_, (_, c) = F.lstm(xs[None], weight_ih, U, bias, state=(zero[None], c0))
c.sum().backward()
check("the derivative of the last memory by the first is the product of the forget gates",
      np.allclose(c0.grad.numpy()[0], forget.prod(axis=0), rtol=1e-10))

"""
So a forget gate of 0.5 divides the gradient by a thousand in ten steps; one near 1 lets it live.
That is why the bias of the forget gate is often started at 1. The same for a plain recurrent
network, whose factor is a weight times a slope of at most 1:
"""

steps, alive = 60, {}
still = np.zeros((1, steps, 1))
for gate in (0.5, 0.9, 0.99):
    b = np.array([-50.0, np.log(gate / (1 - gate)), 0.0, 50.0])
    c0 = me.tensor([[1.0]], dtype=me.float64, requires_grad=True)
    none = np.zeros((4, 1))
    _, (_, c) = F.lstm(still, none, none, b, state=(none[:1], c0))
    c.sum().backward()
    alive[f"LSTM, f = {gate}"] = [t * np.log10(gate) for t in range(steps + 1)]
    check(f"after {steps} steps with f = {gate} the gradient is {gate}^{steps} = "
          f"{gate**steps:.1e}", np.isclose(c0.grad.item(), gate**steps, rtol=1e-9))
h0 = me.tensor([[0.5]], dtype=me.float64, requires_grad=True)
plain, _ = F.rnn(still, np.zeros((1, 1)), np.array([[0.9]]), state=h0)
plain[:, -1].sum().backward()
slopes = 0.9 * (1 - plain.numpy()[0, :, 0]**2)
alive["plain, weight 0.9"] = [0.0, *np.log10(np.cumprod(slopes))]
check("in the plain network it is the product of weight times slope",
      np.isclose(h0.grad.item(), slopes.prod(), rtol=1e-9))
draw(curves(alive, "steps back in time", "log10 of the gradient"),
     "How much of the gradient arrives, on a logarithmic scale.")

"""
The backward pass is an op of its own. It walks from the last step to the first, with the gates
that the forward pass kept.
"""

show(kernels.lookup("lstm_grad", "reference"))
kept = [n for n, k in zip(OPS["lstm"].inputs + OPS["lstm"].outputs,
                          OPS["lstm"].keeps((True,) * 6 + (False,)), strict=True) if k]
print("kept for it:", ", ".join(kept))
check("gates and cells of every step are kept for the gradient",
      {"gates", "cells"} <= set(kept))

"""
# Courses of different length

A batch is one array, so short courses are filled up at their end. `lengths` says where each of
them ends; what stands behind is never read. To be sure of that, fill it with NaN: one look at it
would spoil the result.
"""

lengths = np.array([10, 4, 7])
batch = rng.normal(size=(3, T, D))
for n, length in enumerate(lengths):
    batch[n, length:] = np.nan
states = np.zeros((3, H))
tb = me.tensor(batch, dtype=me.float64, requires_grad=True)
output, (h, c) = F.lstm(tb, weight_ih, weight_hh, bias, state=(states, states), lengths=lengths)
alone = [sequence(batch[n, :length], weight_ih, weight_hh, bias, zero, zero)
         for n, length in enumerate(lengths)]
check("each course of the batch ends in the state that it has alone",
      all(np.allclose(h.numpy()[n], a[0][-1], rtol=1e-11) and
          np.allclose(c.numpy()[n], a[1][-1], rtol=1e-11) for n, a in enumerate(alone)))
check("behind its end a course says 0",
      all((output.numpy()[n, length:] == 0).all() for n, length in enumerate(lengths)))
(h * h).sum().backward()
check("the gradient of what stands behind the end is 0, not NaN",
      all((tb.grad.numpy()[n, length:] == 0).all() for n, length in enumerate(lengths)))

"""
# It learns to remember

The classic test: the first number of a sequence says the answer, noise follows, and only at the
end is the network asked. What decides must be carried through all steps. The biases start as
above: the forget gates are drawn so that memories last from one step to the whole course. And a
gradient that is longer than 1 is shortened to 1, so that one unlucky batch cannot throw the
weights far off.
"""

me.manual_seed(0)
rng = np.random.default_rng(1)
T = 30


def task(n):
    x = rng.normal(0, 0.3, (n, T, 1)).astype(np.float32)
    y = rng.integers(0, 2, n)
    x[:, 0, 0] = 2.0 * y - 1
    return x, y


class Reader(nn.Module):
    def __init__(self):
        self.lstm = nn.LSTM(1, 16)
        self.answer = nn.Linear(16, 2)

    def forward(self, x):
        return self.answer(self.lstm(x)[0][:, -1])


model = Reader()
nn.init.chrono_(model.lstm.bias_ih_l0, T)
nn.init.zeros_(model.lstm.bias_hh_l0)
optimizer = me.optim.Adam(model.parameters(), lr=0.01)


@me.jit
def step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    me.optim.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


losses = [step(*task(64)).item() for _ in range(400)]
draw(curves({"loss": losses}, "steps", "cross-entropy"), "Learning to carry one bit over 30 steps.")
x, y = task(500)
right = float((model(x).numpy().argmax(axis=1) == y).mean())
print(f"{100 * right:.1f} % of 500 new sequences are right")
check("the network carries one bit over 30 steps: over 95 % of new sequences are right",
      right > 0.95)
