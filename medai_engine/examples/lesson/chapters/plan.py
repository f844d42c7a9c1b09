"""A plan.

A training step does the same computations on new numbers, again and again. Recorded once, it
becomes a list of kernel calls over one piece of memory: nothing is decided twice.
"""

from textwrap import fill

import numpy as np

import medai_engine as me
from medai_engine import functional as F
from medai_engine import kernels, nn, optim
from medai_engine.errors import CaptureError
from medai_engine.examples.lesson.desk import best_time, check, draw, show
from medai_engine.examples.lesson.pictures import bars
from medai_engine.jit.plan import Plan
from medai_engine.jit.rewrite import RULES

"""
# A step

A network of three layers, a loss, its gradient, and Adam's update. Written as one function:
"""


def network():
    me.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(),
                         nn.Linear(16, 2))


def step_of(model):
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


rng = np.random.default_rng(0)
batches = [(rng.normal(size=(32, 30)).astype(np.float32), rng.integers(0, 2, 32))
           for _ in range(20)]

"""
# Eager, and as a plan

Called as it stands, the function runs *eagerly*: each op passes the gate (chapter 2), finds
memory, remembers its inputs. `me.jit` returns a function that runs eagerly once, with a recorder
standing at the gate. From then on it replays what the recorder took down.
"""

eager_model, planned_model = network(), network()
eager, planned = step_of(eager_model), me.jit(step_of(planned_model))
eager_losses = [eager(x, y).item() for x, y in batches]
planned_losses = [planned(x, y).item() for x, y in batches]
print("first and last loss, eager:", eager_losses[0], eager_losses[-1])
print("                   planned:", planned_losses[0], planned_losses[-1])
check("all twenty losses are the same, to the last bit", eager_losses == planned_losses)
check("and so are all weights after twenty steps",
      all(np.array_equal(p.numpy(), q.numpy()) for p, q in
          zip(eager_model.parameters(), planned_model.parameters(), strict=True)))
check("it was recorded once", len(planned.plans) == 1)

"""
# The list

A plan can be read. Each line is a call of a kernel: what it takes, what it makes, the operations
and bytes of it, where the result lies in memory, which line of the program it came from.
"""

plan = planned.plan
print(plan)

check("the whole step, backward pass and Adam included, is fewer than thirty calls",
      len(plan.program.lines) < 30)
check("one line updates all six parameters",
      sum("adam" in line.op.name for line in plan.program.lines if line.op) == 1)

"""
# Rewriting

Between recording and replaying, a few rules make the list shorter: they leave out what nobody
reads, compute once what is computed twice, put the bias and the activation into the matrix product
that precedes them, and join chains of simple ops into one pass over the data. The last column of
the list says which rule made a line.
"""

print("\n".join(f"{rule.__name__:20} {(rule.__doc__ or '').splitlines()[0]}" for rule in RULES))
made = {rule for line in plan.program.lines for rule in line.by}
print("used here:", ", ".join(sorted(made)))
names = [line.op.name for line in plan.program.lines if line.op]
check("relu went into the first product: no relu is left in the list",
      "relu" not in names and "epilogue relu" in made)

"""
No rule may change a bit of the result. It is allowed to do the same arithmetic with less memory
and fewer calls; not to do other arithmetic. So a plan needs no tolerance, and the checks above are
made with `==`.

# The memory

When the list is known, so is the life of every intermediate result: from the line that makes it to
the last one that reads it. Two that do not live at the same time may lie at the same place. All of
them together lie in one block, the *arena*, at places that are fixed before the first replay.
"""

blocks = {id(block): block for block in plan.layout.blocks.values()}.values()
seen = me.inspect.plan(planned, repeats=10 if kernels.COMPILED else 0)  # passes that are timed
draw(seen.arena(), "Who lies where in the arena (top to bottom), and from which line to which "
     "(left to right), drawn by `me.inspect.plan`. The dashed line marks where most is in use.")
total = sum(block.size for block in blocks)
print(f"all results: {total:,} bytes; arena: {plan.layout.arena:,}; the most in use at one line: "
      f"{plan.layout.peak:,}")


def apart(a, b):
    """Tell whether two blocks have no place and line in common."""
    in_time = a.last < b.first or b.last < a.first
    return in_time or a.offset + a.size <= b.offset or b.offset + b.size <= a.offset


check("no two results lie at the same place at the same time",
      all(apart(a, b) for a in blocks for b in blocks if a is not b))
check("the arena is smaller than all results together", plan.layout.arena < total)
check("the arena is no smaller than what lives at once", plan.layout.arena >= plan.layout.peak)

"""
# The replay

This is all that happens in a call: copy the arguments in, run the list, hand the results out.
"""

show(Plan.__call__)

x, y = batches[0]
times = {"eager": 1e6 * best_time(lambda: eager(x, y), 200),
         "planned": 1e6 * best_time(lambda: planned(x, y), 200)}
draw(bars(times, "us"), "One training step of the small network, just now: microseconds, the "
     "fastest of 200.")

if kernels.COMPILED:
    draw(seen.timeline(), "Where the planned step spends its time: one block for each kernel.")

"""
What is gained is what eager execution spends between the kernels. A model of a few thousand
numbers spends most of its time there, one of many millions nearly none.

# What cannot be recorded

A plan replays calls of kernels. Python in between runs once, while it is recorded. So a plan
cannot look at a value and decide by it; instead of being silently wrong, the recording says where,
and what to do.
"""


@me.jit
def careless(x):
    if x.sum().item() > 0:
        return x * 2
    return x


message = ""
try:
    careless(np.ones(3, np.float32))
except CaptureError as error:
    message = str(error)
print(fill(message, 96))
check("a value that Python reads is refused, with the way out", "me.where" in message)

"""
What the surroundings may change is watched: another batch size, another mode, a frozen layer make
another plan. What is random stays random: a plan keeps where in the stream of random numbers it
stands, and goes on from there, as eager execution does.
"""

dropped = nn.Dropout(0.5)
ones = np.ones(8, np.float32)
drop = me.jit(lambda x: dropped(x))
me.manual_seed(5)
first = [dropped(me.asarray(ones)).numpy().copy() for _ in range(6)]
me.manual_seed(5)
second = [drop(ones).numpy().copy() for _ in range(6)]
check("six draws of dropout in a plan are the six draws of eager execution",
      np.array_equal(first, second))
check("and they differ from one another", len({row.tobytes() for row in first}) > 1)
dropped.eval()
check("switched to evaluation, the next call is another plan, without dropout",
      np.array_equal(drop(ones).numpy(), ones) and len(drop.plans) == 2)
planned(batches[0][0][:7], batches[0][1][:7])
check("another batch size is another plan", len(planned.plans) == 2)
planned_model[0].requires_grad_(False)
for _ in range(2):  # recorded, then planned
    planned(*batches[0])
check("with a frozen layer the step is recorded anew, without that layer's gradients",
      planned.plan is not plan and len(planned.plan.program.lines) < len(plan.program.lines))
