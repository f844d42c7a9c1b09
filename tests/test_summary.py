"""summary(): what it counts and foresees, next to PyTorch's counter and to measured memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracle import EXECUTED, enough, torch

import medai_engine as me
from medai_engine import functional as F
from medai_engine import kernels, nn
from medai_engine.generator import DEFAULT
from medai_engine.inspect.foresight import ceilings

if torch is not None:
    from torch import nn as tn
    from torch.utils import flop_counter

BATCH = 8


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, c, f, stride):
        self.first = nn.Conv2d(c, f, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(f)
        self.second = nn.Conv2d(f, f, 3, padding=1, bias=False)
        self.across = nn.Conv2d(c, f, 1, stride)

    def forward(self, x):
        return F.relu(self.second(F.relu(self.norm(self.first(x)))) + self.across(x))


class Last(nn.Module):
    """The last output of an LSTM whose first state is learned, too."""

    def __init__(self, d=12, h=16):
        self.lstm = nn.LSTM(d, h, num_layers=2)
        self.start = nn.Parameter(np.zeros((2, 2, 1, h), np.float32))
        self.head = nn.Linear(h, 3)

    def forward(self, x):
        state = me.broadcast_to(self.start, (2, 2, x.shape[0], self.start.shape[3]))
        return self.head(self.lstm(x, (state[0], state[1]))[0][:, -1])


def dcgan():
    """Return the generator of a DCGAN, narrow."""
    return nn.Sequential(
        nn.Reshape((1, 1, 20)), nn.ConvTranspose2d(20, 32, 4, bias=False), nn.BatchNorm2d(32),
        nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh())


def cnn(size=64):
    """Return three convolutions with activations and pooling, and two dense layers."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(((size - 6) // 4)**2 * 64, 32), nn.ReLU(),
        nn.Linear(32, 2))


OURS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)), (784,)),
    "cnn": (cnn, (64, 64, 1)),
    "resnet": (lambda: nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, padding=3), Block(8, 8, 1), Block(8, 16, 2), nn.GlobalAvgPool2d(),
        nn.Linear(16, 4)), (33, 33, 3)),
    "lstm": (Last, (20, 12)),
    "transformer": (lambda: nn.Sequential(*(nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0)
                                            for _ in range(2))), (17, 32)),
    "dcgan": (dcgan, (20,)),
}


def theirs(name):
    """Return PyTorch's network, and its input without the batch."""
    if name == "mlp":
        return tn.Sequential(tn.Linear(784, 128), tn.ReLU(), tn.Linear(128, 10)), (784,)
    if name == "cnn":
        return tn.Sequential(tn.Conv2d(1, 32, 3), tn.ReLU(), tn.MaxPool2d(2), tn.Conv2d(32, 64, 3),
                             tn.ReLU(), tn.MaxPool2d(2), tn.Flatten(), tn.Linear(14**2 * 64, 32),
                             tn.ReLU(), tn.Linear(32, 2)), (1, 64, 64)
    if name == "resnet":
        class Residual(tn.Module):
            def __init__(self, c, f, stride):
                super().__init__()
                self.first = tn.Conv2d(c, f, 3, stride, padding=1, bias=False)
                self.norm = tn.BatchNorm2d(f)
                self.second = tn.Conv2d(f, f, 3, padding=1, bias=False)
                self.across = tn.Conv2d(c, f, 1, stride)

            def forward(self, x):
                return (self.second(self.norm(self.first(x)).relu()) + self.across(x)).relu()

        return tn.Sequential(tn.Conv2d(3, 8, 7, 2, padding=3), Residual(8, 8, 1),
                             Residual(8, 16, 2), tn.AdaptiveAvgPool2d(1), tn.Flatten(),
                             tn.Linear(16, 4)), (3, 33, 33)
    if name == "lstm":
        class Read(tn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = tn.LSTM(12, 16, num_layers=2, batch_first=True)
                self.start = tn.Parameter(torch.zeros(2, 2, 1, 16))
                self.head = tn.Linear(16, 3)

            def forward(self, x):
                h, c = self.start.expand(2, 2, x.shape[0], 16).contiguous()
                return self.head(self.lstm(x, (h, c))[0][:, -1])

        return Read(), (20, 12)
    if name == "transformer":
        return tn.Sequential(*(tn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, batch_first=True)
                               for _ in range(2))), (17, 32)
    return tn.Sequential(
        tn.Unflatten(1, (20, 1, 1)), tn.ConvTranspose2d(20, 32, 4, bias=False), tn.BatchNorm2d(32),
        tn.ReLU(), tn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), tn.BatchNorm2d(16), tn.ReLU(),
        tn.ConvTranspose2d(16, 3, 4, 2, 1), tn.Tanh()), (20,)


def counted(net, x):
    """Return PyTorch's counts of a forward and a backward pass.

    Of a padded convolution it counts products with the padding, which this engine does not
    compute: they are taken off, counted by a convolution of ones with ones. Attention counts in
    neither pass of the CPU's kernel: PyTorch's formulas are added for it.
    """
    padding = [0, 0]

    def convolved(module, inputs, y):
        given, = inputs
        transposed = isinstance(module, tn.ConvTranspose2d)
        full = flop_counter.conv_flop_count(given.shape, module.weight.shape, y.shape, transposed)
        function = (tn.functional.conv_transpose2d if transposed else tn.functional.conv2d)
        with flop_counter.FlopCounterMode(display=False):
            real = 2 * function(torch.ones_like(given, dtype=torch.float64),
                                torch.ones_like(module.weight, dtype=torch.float64), None,
                                module.stride, module.padding).sum().item()
        padding[0] += full - real
        padding[1] += (full - real) * (1 + given.requires_grad)

    def attended(module, inputs, y):
        n, length, width = inputs[0].shape
        shape = (n, module.num_heads, length, width // module.num_heads)
        padding[0] -= flop_counter.sdpa_flop_count(shape, shape, shape)
        padding[1] -= flop_counter.sdpa_backward_flop_count(shape, shape, shape, shape)

    for module in net.modules():
        if isinstance(module, (tn.Conv2d, tn.ConvTranspose2d)):
            module.register_forward_hook(convolved)
        if isinstance(module, tn.MultiheadAttention):
            module.register_forward_hook(attended)
    with torch.backends.mkldnn.flags(enabled=False):  # whose LSTM is not counted
        net(x)
        found = padding[:]
        for module in net.modules():
            module._forward_hooks.clear()
        with flop_counter.FlopCounterMode(display=False) as forward:
            y = net(x)
        with flop_counter.FlopCounterMode(display=False) as backward:
            y.sum().backward()
    return forward.get_total_flops() - found[0], backward.get_total_flops() - found[1]


@pytest.mark.filterwarnings("ignore:TF32")
@pytest.mark.parametrize("name", OURS)
def test_counts_are_pytorchs(name):
    if torch is None:
        pytest.skip("PyTorch, the oracle, is not installed")
    make, shape = OURS[name]
    found = make().summary(shape, batch_size=BATCH)
    other, shape = theirs(name)
    assert found.parameters == sum(p.numel() for p in other.parameters())
    forward, backward = counted(other.train(), torch.zeros(BATCH, *shape))
    assert forward > 0 and backward > 0
    # averages are weighted sums of their own here, and count
    means = sum(row.flops for row in found.rows if row.kind == "GlobalAvgPool2d")
    assert (found.flops - means, found.backward - means) == (forward, backward)
    EXECUTED[f"flops {name}"] += 1


def test_counts_were_compared():
    enough({f"flops {name}": 1 for name in OURS})


def recorded(model, shape):
    """Return the peak that a plan's recorder hears of in a real run, from ops alone."""
    weights = [p for p in model.parameters() if p.requires_grad]

    def step(x):
        y = model(x) * 1.0
        me.autograd.gradients([y], weights, [me.zeros(y.shape)])
        return y

    planned = me.jit(step)
    planned(np.zeros((BATCH, *shape), np.float32))
    return planned.plan.eager


@pytest.mark.parametrize("name", OURS)
def test_memory_is_that_of_a_recorded_step(name):
    make, shape = OURS[name]
    model = make()
    found = model.summary(shape, batch_size=BATCH)
    if name == "lstm":  # whose kernel takes memory for itself
        assert recorded(model, shape) < found.peak
    else:
        assert recorded(model, shape) == found.peak
    assert 0 < found.kept <= found.peak


def test_checkpoints_keep_less_and_compute_again():
    class Net(nn.Module):
        """Two layers, computed again where they are asked to be."""

        def __init__(self, again):
            self.first, self.second, self.again = nn.Linear(16, 64), nn.Linear(64, 16), again

        def inner(self, x):
            return F.tanh(self.second(F.tanh(self.first(x))))

        def forward(self, x):
            return (me.checkpoint(self.inner) if self.again else self.inner)(x)

    plain, saving = (Net(again).summary((16,), batch_size=BATCH) for again in (False, True))
    assert saving.kept < plain.kept and saving.flops == plain.flops
    assert saving.backward == plain.backward + plain.flops
    assert recorded(Net(True), (16,)) == saving.peak


MEASURE = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
import medai_engine as me
from medai_engine.autograd import zeros
from medai_engine.kernels.memory.allocator import set_cache_limit
from medai_engine.tensor import Constant
from test_summary import wide
model, shape, batch = wide({name!r})

def now(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) * 1024

def step(n):
    x = me.asarray(np.ones((n, *shape), np.float32))
    y = model(x) * 1.0
    held = now("VmRSS") - x.nbytes - y.nbytes
    me.autograd.gradients([y], list(model.parameters()), [Constant(zeros(y.shape, y.dtype))])
    return held, now("VmHWM") - x.nbytes

set_cache_limit(0)  # what dies goes back to the system
step(batch)  # threads keep their scratch
before = now("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak begins here
print(*(bytes - before for bytes in step(batch)))
"""


def wide(name):
    """Return a network, its input and a batch whose results are some 50 MB."""
    if name == "mlp":
        return nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(512, 512), nn.Tanh())
                               )), (512,), 4096
    if name == "cnn":
        return cnn(), (64, 64, 1), 512
    return Last(64, 64), (50, 64), 512


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak")
@pytest.mark.skipif(not kernels.COMPILED, reason="NumPy's own memory is not the engine's")
@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm"])
def test_memory_is_that_of_the_process(name):
    """The system's account of a real step, pages that were touched, is within 10 %."""
    model, shape, batch = wide(name)
    found = model.summary(shape, batch_size=batch)
    script = MEASURE.format(tests=str(Path(__file__).parent), name=name)
    # so that what was freed is not counted: the C library would keep it for later
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True, env=env)
    kept, peak = map(int, done.stdout.split())
    assert found.kept == pytest.approx(kept, rel=0.1)
    assert found.peak == pytest.approx(peak, rel=0.1)


def test_a_batch_is_foreseen_and_not_computed():
    model = OURS["mlp"][0]()
    small, large = (model.summary((784,), batch_size=n) for n in (1, 1 << 20))
    assert large.flops == small.flops << 20 and large.kept == small.kept << 20
    assert small.flops == 2 * (784 * 128 + 128 * 10)


def test_looking_changes_nothing():
    class Restless(nn.Module):
        """Changes all that a forward pass can."""

        def __init__(self):
            self.norm = nn.BatchNorm1d(4)
            self.drop = nn.Dropout(0.5)
            self.mean = nn.Buffer(np.ones(4, np.float32))
            self.calls = 0

        def forward(self, x):
            if self.training:
                self.calls += 1
                self.mean.data = x.data.mean(axis=0)
                self.norm.running_mean.data[...] = 7
            return self.drop(self.norm(x))

    model = Restless()
    model.drop.eval()
    y = model(me.tensor(np.random.default_rng(0).normal(size=(4, 4)))).sum()  # its graph is alive
    attributes = [dict(vars(module)) for module in model.modules()]
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    position = DEFAULT.get_state()
    assert model.summary((4,)).kept > 0
    assert [dict(vars(module)) for module in model.modules()] == attributes
    assert model.training and not model.drop.training and DEFAULT.get_state() == position
    assert before and {name: t.tolist() for name, t in model.state_dict().items()} == {
        name: values.tolist() for name, values in before.items()}
    y.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_costs_belong_to_layers():
    rows = OURS["resnet"][0]().summary((33, 33, 3), batch_size=2).rows
    by_name = {(row.depth, row.name): row for row in rows}
    first = by_name[1, "0"]
    assert first.flops == first.backward > 0  # the image needs no gradient
    within = [row for row in rows if row.depth == 2 and row.kind == "Conv2d"]
    assert len(within) == 6 and all(row.backward == 2 * row.flops > 0 for row in within)
    assert sum(row.flops for row in rows if row.kind == "BatchNorm2d") == 0
    kept = {(row.depth, row.name) for row in rows if row.kept}
    assert {(1, "0"), (1, "1"), (2, "norm"), (1, "3")} <= kept
    assert (2, "second") not in kept  # the sum that it goes into needs nothing


def test_the_table_fits_and_says_what_is_known():
    for name, (make, shape) in OURS.items():
        text = str(make().summary(shape, batch_size=BATCH))
        assert max(map(len, text.splitlines())) <= 100, name
        assert "batches of 8" in text and "at the peak" in text
        assert ("prediction" in text) is kernels.COMPILED
    alone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).summary((4,), batch_size=1)
    assert "costs are not known: model.1 (BatchNorm1d)" in str(alone) and alone.seconds() == 0
    with pytest.raises(me.errors.ParameterError, match="batch_size of at least 1"):
        nn.Linear(4, 2).summary((4,), batch_size=0)
    frozen = nn.Linear(4, 2).requires_grad_(False).summary((4,), batch_size=3)
    assert (frozen.flops, frozen.backward) == (48, 0)
    rows = Last().summary((20, 12)).rows
    assert next(row.shape for row in rows if row.kind == "LSTM") == (
        "(N, 20, 16), (2, N, 16), (2, N, 16)")
    words = nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 2)).summary((7,), np.int64)
    assert words.flops == 32 * 7 * 2 * 4 * 2


@pytest.mark.skipif(not kernels.COMPILED, reason="nothing to measure")
def test_the_prediction_adds_up_to_the_ceilings(monkeypatch):
    from medai_engine.inspect import foresight

    reach = foresight.Ceilings(1e9, 1e8, 1e-6)
    monkeypatch.setattr(foresight, "ceilings", lambda *_: reach)
    found = nn.Linear(10, 20).summary((10,), batch_size=5)
    forward, loss = (call for call in found.foreseen.calls if call.phase == "forward")
    moved = 4 * (5 * 10 + 10 * 20 + 20 + 5 * 20)
    assert (forward.flops, forward.moved) == (2 * 5 * 10 * 20, moved)
    assert loss.moved == 4 * (1 + 2 * 5 * 20)  # a product with 1 stands for it
    assert found.seconds("forward") == pytest.approx((moved + loss.moved) / 1e8 + 2e-6)
    assert found.seconds() == pytest.approx(
        sum(found.seconds(p) for p in ("forward", "backward", "optimizer")))
    assert found.seconds("optimizer") > 0
    monkeypatch.undo()
    real = ceilings("float32", 1, 20)
    assert real.flops > real.bandwidth > 0 < real.call < 1e-3
