"""One peer in its own process: builds a model, then runs training steps on command.

It reads lines ``<steps>`` from standard input and answers each with a JSON line: seconds per step
(median and minimum over the steps), and the loss after them. Started by ``benchmarks.peers``.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .models import MODELS, Model
from .networks_jax import trained

RATE = 1e-3


def medai(model: Model, threads: int) -> Callable[[], Any]:
    """Return one eager training step of this package."""
    import medai_engine as me
    from medai_engine import functional as F
    from medai_engine import nn, optim

    me.set_num_threads(threads)
    layers: list[Any] = []
    kinds = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
    for (weight, bias), activation in zip(model.weights(), model.activations, strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers += [layer, *([kinds[activation]()] if activation else [])]
    net = nn.Sequential(*layers)
    optimizer = optim.Adam(net.parameters(), lr=RATE)
    x, target = (me.asarray(a) for a in model.data())
    loss_of = F.mse_loss if model.loss == "mse" else F.cross_entropy

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of(net(x), target)
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch(model: Model, threads: int, compiled: bool = False) -> Callable[[], Any]:
    """Return one training step of PyTorch, eager or under torch.compile."""
    import torch as th

    th.set_num_threads(threads)
    layers: list[Any] = []
    kinds = {"relu": th.nn.ReLU, "sigmoid": th.nn.Sigmoid}
    for (weight, bias), activation in zip(model.weights(), model.activations, strict=True):
        layer = th.nn.Linear(weight.shape[1], weight.shape[0])
        with th.no_grad():
            layer.weight.copy_(th.from_numpy(weight))
            layer.bias.copy_(th.from_numpy(bias))
        layers += [layer, *([kinds[activation]()] if activation else [])]
    net = th.nn.Sequential(*layers)
    optimizer = th.optim.Adam(net.parameters(), lr=RATE)
    x, target = (th.from_numpy(np.asarray(a)) for a in model.data())
    loss_of = th.nn.functional.mse_loss if model.loss == "mse" else th.nn.functional.cross_entropy

    def forward_loss(a: Any, b: Any) -> Any:
        return loss_of(net(a), b)

    if compiled:
        forward_loss = th.compile(forward_loss)

    def step() -> Any:
        optimizer.zero_grad()
        loss = forward_loss(x, target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def jax(model: Model, threads: int) -> Callable[[], Any]:
    """Return one jitted training step of JAX."""
    import jax as jx
    import jax.numpy as jnp

    x, target = (jnp.asarray(a) for a in model.data())
    functions = {"relu": jx.nn.relu, "sigmoid": jx.nn.sigmoid, "": lambda a: a}

    def loss_of(weights: Any) -> Any:
        h = x
        for (weight, bias), activation in zip(weights, model.activations, strict=True):
            h = functions[activation](h @ weight.T + bias)
        if model.loss == "mse":
            return jnp.mean((h - target) ** 2)
        return -jnp.mean(jnp.take_along_axis(jx.nn.log_softmax(h), target[:, None], 1))

    return trained(loss_of, model.weights())


PEERS: dict[str, Callable[[Model, int], Callable[[], Any]]] = {
    "medai": medai,
    "torch": torch,
    "torch.compile": lambda model, threads: torch(model, threads, compiled=True),
    "jax": jax,
}


def main() -> None:
    """Serve steps until standard input ends."""
    peer, name, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    step = PEERS[peer](MODELS[name], threads)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        times, loss = [], None
        for _ in range(int(line)):
            start = time.perf_counter()
            loss = step()
            times.append(time.perf_counter() - start)
        print(json.dumps({
            "seconds": float(np.median(times)), "best": min(times), "loss": float(loss),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)


if __name__ == "__main__":
    main()
