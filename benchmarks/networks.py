"""The nine models of the training table: layers once, built by every peer with the same weights.

Layers are words: ``linear F``, ``conv F K`` (no padding), ``transposed F K`` (same size), ``pool``
(2 x 2), ``up`` (nearest, times 2), ``flatten``, ``grid H C`` (rows to H x H x C), ``norm``,
``lstm H`` (all steps), ``last`` (the last step), and activations. Shapes are channels last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

ACTIVATIONS = ("relu", "sigmoid", "tanh", "leaky")
RATE, SLOPE = 1e-3, 0.2


@dataclass(frozen=True)
class Network:
    """A model: its name, the shape of one sample, its layers, its loss, and who can run it."""

    name: str
    shape: tuple[int, ...]
    layers: str
    loss: str  # "cross_entropy", "mse" or "bce" (on logits)
    batch: int = 32
    jax: bool = True

    def steps(self) -> Iterator[tuple[str, list[int], tuple[int, ...]]]:
        """Yield each layer's word, its numbers, and the shape of a sample before it."""
        shape = self.shape
        for text in self.layers.split(","):
            word, *numbers = text.split()
            n = [int(number) for number in numbers]
            yield word, n, shape
            if word == "linear":
                shape = (n[0],)
            elif word == "conv":
                shape = (shape[0] - n[1] + 1, shape[1] - n[1] + 1, n[0])
            elif word == "transposed":
                shape = (*shape[:2], n[0])
            elif word == "pool":
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            elif word == "up":
                shape = (2 * shape[0], 2 * shape[1], shape[2])
            elif word == "flatten":
                shape = (int(np.prod(shape)),)
            elif word == "grid":
                shape = (n[0], n[0], n[1])
            elif word == "lstm":
                shape = (shape[0], n[0])
            elif word == "last":
                shape = shape[1:]

    def weights(self) -> list[list[np.ndarray]]:
        """Return the arrays of each layer: (out, in), (F, K, K, C), (C, K, K, F), gates (4H, .)."""
        rng = np.random.default_rng(1)
        found: list[list[np.ndarray]] = []
        for word, n, shape in self.steps():
            c = shape[-1]
            sizes: list[tuple[int, ...]] = []
            if word == "lstm":
                sizes = [(4 * n[0], c), (4 * n[0], n[0])]
            elif word in ("linear", "conv", "transposed"):
                sizes = [{"linear": (n[0], c), "conv": (n[0], n[-1], n[-1], c),
                          "transposed": (c, n[-1], n[-1], n[0])}[word]]
            fans = [np.prod(s) / (s[-1] if word == "transposed" else s[0]) for s in sizes]
            arrays = [rng.normal(0, fan**-0.5, s) for fan, s in zip(fans, sizes, strict=True)]
            biases = [np.zeros(s[-1] if word == "transposed" else s[0]) for s in sizes]
            if word == "norm":
                arrays, biases = [np.ones(c)], [np.zeros(c)]
            found.append([a.astype(np.float32) for a in (*arrays, *biases)])
        return found

    def data(self, batch: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return one batch and its targets."""
        rng = np.random.default_rng(2)
        n = batch or self.batch
        x = rng.normal(size=(n, *self.shape)).astype(np.float32)
        *_, (word, numbers, shape) = self.steps()
        out = tuple(numbers[:1]) if word == "linear" else shape
        if self.loss == "cross_entropy":
            return x, rng.integers(0, out[-1], n)
        if self.loss == "bce":
            return x, rng.integers(0, 2, (n, *out)).astype(np.float32)
        target = x if out == self.shape else rng.normal(size=(n, *out)).astype(np.float32)
        return x, target


NETWORKS = {n.name: n for n in (
    Network("tiny", (30,), "linear 16,relu,linear 2", "cross_entropy"),
    Network("mlp", (784,), "linear 1024,relu,linear 10", "cross_entropy"),
    Network("ae", (784,), "linear 32,relu,linear 784,sigmoid", "mse"),
    Network("lstm64", (48, 32), "lstm 64,last,linear 32,relu,linear 2", "cross_entropy"),
    Network("lstm128x2", (100, 64), "lstm 128,lstm 128,last,linear 8", "cross_entropy"),
    Network("cnn64", (64, 64, 1), "conv 32 3,relu,pool,conv 64 3,relu,pool,conv 128 3,relu,pool,"
            "flatten,linear 128,relu,linear 2", "cross_entropy"),
    Network("cnn224", (224, 224, 3), "conv 32 3,relu,pool,conv 64 3,relu,pool,conv 128 3,relu,pool,"
            "flatten,linear 512,relu,linear 1", "bce", jax=False),
    Network("cnn256", (256, 256, 3), "conv 32 3,relu,pool,conv 64 3,relu,pool,conv 64 3,relu,pool,"
            "flatten,linear 64,relu,linear 2", "cross_entropy", jax=False),
    Network("dcgan", (100,), "linear 256,leaky,norm,linear 512,leaky,norm,linear 1024,leaky,norm,"
            "linear 12544,leaky,grid 7 256,up,transposed 128 5,leaky,norm,up,transposed 64 5,leaky,"
            "norm,transposed 3 5,tanh", "mse", jax=False),
)}


def lazily(build: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
    """Return a function that is built when it is first called."""
    built = cache(build)
    return lambda: built()()


# ---- this package -----------------------------------------------------------------------------


def medai_net(network: Network) -> Any:
    """Return the network as a module."""
    from medai_engine import functional as F
    from medai_engine import nn

    class Steps(nn.Module):
        """All outputs of an LSTM, or the last."""

        def __init__(self, c: int, h: int):
            self.lstm = nn.LSTM(c, h)

        def forward(self, x: Any) -> Any:
            return self.lstm(x)[0]

    class Do(nn.Module):
        """A function as a layer."""

        def __init__(self, function: Callable[[Any], Any]):
            self.function = function

        def forward(self, x: Any) -> Any:
            return self.function(x)

    layers: list[Any] = []
    for (word, n, shape), arrays in zip(network.steps(), network.weights(), strict=True):
        c = shape[-1]
        if word == "linear":
            layer: Any = nn.Linear(c, n[0])
        elif word == "conv":
            layer = nn.Conv2d(c, n[0], n[1])
        elif word == "transposed":
            layer = nn.ConvTranspose2d(c, n[0], n[1], padding=n[1] // 2)
        elif word == "lstm":
            layer = Steps(c, n[0])
        elif word == "norm":
            layer = nn.BatchNorm1d(c) if len(shape) == 1 else nn.BatchNorm2d(c)
        elif word == "pool":
            layer = nn.MaxPool2d(2)
        elif word == "up":
            layer = Do(lambda x: F.upsample(x, 2))
        elif word == "flatten":
            layer = nn.Flatten()
        elif word == "grid":
            layer = nn.Reshape((n[0], n[0], n[1]))
        elif word == "last":
            layer = Do(lambda x: x[:, -1])
        else:
            layer = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
                     "leaky": lambda: nn.LeakyReLU(SLOPE)}[word]()
        for p, array in zip(layer.parameters(), arrays, strict=True):
            p.data[...] = array
        layers.append(layer)
    return nn.Sequential(*layers)


def medai(network: Network, threads: int, exact: bool = True,
          jitted: bool = True) -> tuple[Any, Any]:
    """Return a training step, and a prediction of one sample; both jitted, or both eager."""
    import medai_engine as me
    from medai_engine import functional as F
    from medai_engine import optim

    me.set_num_threads(threads)
    net = medai_net(network)
    optimizer = optim.Adam(net.parameters(), lr=RATE)
    loss_of = {"mse": F.mse_loss, "cross_entropy": F.cross_entropy,
               "bce": F.binary_cross_entropy_with_logits}[network.loss]
    x, target = map(me.asarray, network.data())

    def train(x: Any, target: Any) -> Any:
        loss = loss_of(net(x), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    step = me.jit(train, exact=exact) if jitted else train

    def predict() -> Any:
        alone = medai_net(network).eval()
        function = me.no_grad()(lambda x: alone(x))
        return partial(me.jit(function) if jitted else function,
                       me.asarray(network.data(1)[0]))

    return lambda: step(x, target), lazily(predict)


# ---- PyTorch ----------------------------------------------------------------------------------


def torch_net(network: Network) -> Any:
    """Return the network as PyTorch's module."""
    import torch as th

    class Steps(th.nn.Module):
        def __init__(self, c: int, h: int):
            super().__init__()
            self.lstm = th.nn.LSTM(c, h, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.lstm(x)[0]

    class Do(th.nn.Module):
        def __init__(self, function: Callable[[Any], Any]):
            super().__init__()
            self.function = function

        def forward(self, x: Any) -> Any:
            return self.function(x)

    layers: list[Any] = []
    for (word, n, shape), arrays in zip(network.steps(), network.weights(), strict=True):
        c = shape[-1]
        if word == "linear":
            layer: Any = th.nn.Linear(c, n[0])
        elif word == "conv":
            layer = th.nn.Conv2d(c, n[0], n[1])
            arrays = [arrays[0].transpose(0, 3, 1, 2), arrays[1]]
        elif word == "transposed":
            layer = th.nn.ConvTranspose2d(c, n[0], n[1], padding=n[1] // 2)
            arrays = [arrays[0].transpose(0, 3, 1, 2), arrays[1]]
        elif word == "lstm":
            layer = Steps(c, n[0])
        elif word == "norm":
            layer = th.nn.BatchNorm1d(c) if len(shape) == 1 else th.nn.BatchNorm2d(c)
        elif word == "pool":
            layer = th.nn.MaxPool2d(2)
        elif word == "up":
            layer = th.nn.Upsample(scale_factor=2)
        elif word == "flatten":  # in this package's order of features
            layer = Do(lambda x: x.permute(0, 2, 3, 1).flatten(1))
        elif word == "grid":
            layer = Do(lambda x, n=n: x.reshape(-1, n[0], n[0], n[1]).permute(0, 3, 1, 2))
        elif word == "last":
            layer = Do(lambda x: x[:, -1])
        else:
            layer = {"relu": th.nn.ReLU, "sigmoid": th.nn.Sigmoid, "tanh": th.nn.Tanh,
                     "leaky": lambda: th.nn.LeakyReLU(SLOPE)}[word]()
        with th.no_grad():
            for p, array in zip(layer.parameters(), arrays, strict=True):
                p.copy_(th.from_numpy(np.ascontiguousarray(array)))
        layers.append(layer)
    return th.nn.Sequential(*layers)


def torch(network: Network, threads: int, variant: str = "eager") -> tuple[Any, Any]:
    """Return the same in PyTorch: eager, channels-last or under torch.compile."""
    import torch as th

    th.set_num_threads(threads)
    net = torch_net(network)
    optimizer = th.optim.Adam(net.parameters(), lr=RATE)
    functional = th.nn.functional
    loss_of = {"mse": functional.mse_loss, "cross_entropy": functional.cross_entropy,
               "bce": functional.binary_cross_entropy_with_logits}[network.loss]

    def enter(a: np.ndarray) -> Any:
        t = th.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2) if a.ndim == 4 else a))
        return t.to(memory_format=th.channels_last) if (
            a.ndim == 4 and variant == "channels_last") else t

    if variant == "channels_last":
        net = net.to(memory_format=th.channels_last)
    x, target = map(enter, network.data())

    def forward_loss(a: Any, b: Any) -> Any:
        return loss_of(net(a), b)

    if variant == "compile":
        forward_loss = th.compile(forward_loss)

    def training() -> Any:
        loss = forward_loss(x, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    def predict() -> Any:
        alone, one = torch_net(network).eval(), enter(network.data(1)[0])
        if variant == "channels_last":
            alone = alone.to(memory_format=th.channels_last)
        return th.inference_mode()(lambda: alone(one))

    return training, lazily(predict)


# ---- JAX --------------------------------------------------------------------------------------


def jax(network: Network, threads: int) -> tuple[Any, Any]:
    """Return the same in JAX, one jitted function with its own Adam."""
    import jax as jx
    import jax.numpy as jnp

    def lstm(x: Any, w: Any, u: Any, b: Any, c: Any) -> Any:
        def one(state: Any, x_t: Any) -> Any:
            h, cell = state
            i, f, g, o = jnp.split(x_t + h @ u.T, 4, axis=-1)
            cell = jx.nn.sigmoid(f) * cell + jx.nn.sigmoid(i) * jnp.tanh(g)
            h = jx.nn.sigmoid(o) * jnp.tanh(cell)
            return (h, cell), h

        zero = jnp.zeros((x.shape[0], u.shape[1]), x.dtype)
        _, hs = jx.lax.scan(one, (zero, zero), jnp.swapaxes(x @ w.T + b + c, 0, 1))
        return jnp.swapaxes(hs, 0, 1)

    def forward(weights: Any, x: Any) -> Any:
        for (word, _, _), w in zip(network.steps(), weights, strict=True):
            if word == "linear":
                x = x @ w[0].T + w[1]
            elif word == "conv":
                x = jx.lax.conv_general_dilated(
                    x, w[0], (1, 1), "VALID", dimension_numbers=("NHWC", "OHWI", "NHWC")) + w[1]
            elif word == "lstm":
                x = lstm(x, *w)
            elif word == "pool":
                x = jx.lax.reduce_window(x, -jnp.inf, jx.lax.max, (1, 2, 2, 1), (1, 2, 2, 1),
                                         "VALID")
            elif word == "flatten":
                x = x.reshape(x.shape[0], -1)
            elif word == "last":
                x = x[:, -1]
            else:
                x = {"relu": jx.nn.relu, "sigmoid": jx.nn.sigmoid, "tanh": jnp.tanh}[word](x)
        return x

    x, target = map(jnp.asarray, network.data())

    def loss_of(weights: Any, x: Any, target: Any) -> Any:
        y = forward(weights, x)
        if network.loss == "mse":
            return jnp.mean((y - target) ** 2)
        return -jnp.mean(jnp.take_along_axis(jx.nn.log_softmax(y), target[:, None], 1))

    def update(state: Any, count: Any, x: Any, target: Any) -> Any:
        weights, first, second = state
        loss, grads = jx.value_and_grad(loss_of)(weights, x, target)
        first = jx.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
        second = jx.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
        rate = RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = jx.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8),
                              weights, first, second)
        return (weights, first, second), loss

    jitted = jx.jit(update, donate_argnums=0)
    weights = jx.tree.map(jnp.asarray, network.weights())
    zeros = jx.tree.map(jnp.zeros_like, weights)
    state, count = (weights, zeros, jx.tree.map(jnp.zeros_like, weights)), 0

    def training() -> Any:
        nonlocal state, count
        count += 1
        state, loss = jitted(state, float(count), x, target)
        return loss.block_until_ready()

    def predict() -> Any:
        fixed, one = jx.tree.map(jnp.asarray, network.weights()), jnp.asarray(network.data(1)[0])
        function = jx.jit(forward)
        return lambda: function(fixed, one).block_until_ready()

    return training, lazily(predict)


PEERS: dict[str, Callable[[Network, int], tuple[Any, Any]]] = {
    "medai": medai,
    "inexact": lambda network, threads: medai(network, threads, exact=False),
    "eager": lambda network, threads: medai(network, threads, jitted=False),
    "torch": torch,
    "channels_last": lambda network, threads: torch(network, threads, "channels_last"),
    "compile": lambda network, threads: torch(network, threads, "compile"),
    "jax": jax,
}
