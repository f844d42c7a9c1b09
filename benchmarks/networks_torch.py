"""The networks in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .networks import GATES, OF_TWO, RATE, SLOPE, Network, lazily, stride, transposed


def torch_net(network: Network) -> Any:
    """Return the network as PyTorch's module."""
    import torch as th

    class Steps(th.nn.Module):
        def __init__(self, word: str, c: int, h: int):
            super().__init__()
            self.cell = (th.nn.RNN if word == "rnn" else th.nn.LSTM)(c, h, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.cell(x)[0]

    class ReluLSTM(th.nn.Module):
        """PyTorch has none: written as its users do, the inputs' product for all steps at once."""

        def __init__(self, c: int, h: int):
            super().__init__()
            shapes = (4 * h, c), (4 * h, h), (4 * h,), (4 * h,)
            self.w, self.u, self.b, self.b2 = (th.nn.Parameter(th.empty(s)) for s in shapes)

        def forward(self, x: Any) -> Any:
            steps = x @ self.w.T + (self.b + self.b2)
            h = c = x.new_zeros(len(x), self.u.shape[1])
            outs = []
            for step in steps.unbind(1):
                i, f, g, o = (step + h @ self.u.T).chunk(4, -1)
                c = th.sigmoid(f) * c + th.sigmoid(i) * th.relu(g)
                h = th.sigmoid(o) * th.relu(c)
                outs.append(h)
            return th.stack(outs, 1)

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
            layer = th.nn.ConvTranspose2d(c, n[0], n[1], **transposed(n))
            arrays = [arrays[0].transpose(0, 3, 1, 2), arrays[1]]
        elif word == "same":
            layer = th.nn.Conv2d(c, n[0], n[1], stride=stride(n), padding=n[1] // 2)
            arrays = [arrays[0].transpose(0, 3, 1, 2), arrays[1]]
        elif word == "relulstm":
            layer = ReluLSTM(c, n[0])
        elif word in GATES:
            layer = Steps(word, c, n[0])
        elif word == "dropout":
            layer = th.nn.Dropout(n[0] / 100)
        elif word == "crop":
            layer = Do(lambda x: x[:, :, :-1, :-1])
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
    optimizer = th.optim.Adam(net.parameters(), **(OF_TWO if network.against else {"lr": RATE}))
    functional = th.nn.functional
    loss_of = {"mse": functional.mse_loss, "cross_entropy": lambda y, t: functional.cross_entropy(
                   y.flatten(0, -2), t.flatten()),
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

    def predict() -> Any:
        alone, one = torch_net(network).eval(), enter(network.data(1)[0])
        if variant == "channels_last":
            alone = alone.to(memory_format=th.channels_last)
        return th.inference_mode()(lambda: alone(one))

    if network.against:
        return two_players(network, net, optimizer, x, target, variant), lazily(predict)

    def training() -> Any:
        loss = forward_loss(x, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return training, lazily(predict)


def two_players(network: Network, net: Any, optimizer: Any, x: Any, target: Any,
                variant: str) -> Callable[[], Any]:
    """Return a step of the judge and then of the maker."""
    import torch as th

    judge = torch_net(network.judge)
    if variant == "channels_last":
        judge = judge.to(memory_format=th.channels_last)
    judging = th.optim.Adam(judge.parameters(), **OF_TWO)
    loss_of = th.nn.functional.binary_cross_entropy_with_logits
    ones, zeros = th.ones(network.batch, 1), th.zeros(network.batch, 1)

    def told_of(real: Any, made: Any) -> Any:
        return loss_of(judge(real), ones) + loss_of(judge(made), zeros)

    def fooled_of(x: Any) -> Any:
        return loss_of(judge(net(x)), ones)

    make = net
    if variant == "compile":
        make, told_of, fooled_of = map(th.compile, (net, told_of, fooled_of))

    def training() -> Any:
        with th.no_grad():
            made = make(x)
        told = told_of(target, made)
        told.backward()
        judging.step()
        fooled = fooled_of(x)
        fooled.backward()
        optimizer.step()
        judging.zero_grad()
        optimizer.zero_grad()
        return told.detach() + fooled.detach()

    return training
