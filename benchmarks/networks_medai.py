"""The networks in this package."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .networks import GATES, OF_TWO, RATE, SLOPE, Network, lazily, stride, transposed


def medai_net(network: Network) -> Any:
    """Return the network as a module."""
    from medai_engine import functional as F
    from medai_engine import nn

    class Steps(nn.Module):
        """All outputs of a recurrent layer."""

        def __init__(self, word: str, c: int, h: int):
            self.cell = nn.RNN(c, h) if word == "rnn" else nn.LSTM(
                c, h, activation="relu" if word == "relulstm" else "tanh")

        def forward(self, x: Any) -> Any:
            return self.cell(x)[0]

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
            layer = nn.ConvTranspose2d(c, n[0], n[1], **transposed(n))
        elif word == "same":
            layer = nn.Conv2d(c, n[0], n[1], stride=stride(n), padding=n[1] // 2)
        elif word in GATES:
            layer = Steps(word, c, n[0])
        elif word == "dropout":
            layer = nn.Dropout(n[0] / 100)
        elif word == "crop":
            layer = Do(lambda x: x[:, :-1, :-1])
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
    optimizer = optim.Adam(net.parameters(), **(OF_TWO if network.against else {"lr": RATE}))
    loss_of = {"mse": F.mse_loss, "cross_entropy": F.cross_entropy,
               "bce": F.binary_cross_entropy_with_logits}[network.loss]
    x, target = map(me.asarray, network.data())

    def train(x: Any, target: Any) -> Any:
        loss = loss_of(net(x), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    if network.against:
        judge = medai_net(network.judge)
        judging = optim.Adam(judge.parameters(), **OF_TWO)
        ones, zeros = (me.full((network.batch, 1), v, dtype=np.float32) for v in (1.0, 0.0))

        def train(x: Any, target: Any) -> Any:
            with me.no_grad():
                made = net(x)
            told = loss_of(judge(target), ones) + loss_of(judge(made), zeros)
            told.backward()
            judging.step()
            fooled = loss_of(judge(net(x)), ones)
            fooled.backward()
            optimizer.step()
            judging.zero_grad()
            optimizer.zero_grad()
            return told.detach() + fooled.detach()

    step = me.jit(train, exact=exact) if jitted else train

    def predict() -> Any:
        alone = medai_net(network).eval()
        function = me.no_grad()(lambda x: alone(x))
        return partial(me.jit(function) if jitted else function,
                       me.asarray(network.data(1)[0]))

    return lambda: step(x, target), lazily(predict)
