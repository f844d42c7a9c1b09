"""The models of the systems: layers once, built by every peer with the same weights.

Layers are words: ``linear F`` (of the last axis), ``conv F K`` (no padding), ``same F K [S]``
(padding K / 2, stride S), ``transposed F K [S]`` (S times the size; one more for even K and S 1,
which ``crop`` takes away), ``pool`` (2 x 2), ``up`` (nearest, times 2), ``flatten``, ``grid H C``
(rows to H x H x C), ``norm``, ``dropout P`` (per cent), ``rnn H``, ``lstm H`` and ``relulstm H``
(all steps), ``last`` (the last step), and activations. Shapes are channels last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

ACTIVATIONS = ("relu", "sigmoid", "tanh", "leaky")
RATE, SLOPE = 1e-3, 0.2
OF_TWO = {"lr": 2e-4, "betas": (0.5, 0.999)}  # Adam of two players
GATES = {"rnn": 1, "lstm": 4, "relulstm": 4}


def stride(numbers: list[int]) -> int:
    """Return the stride among a convolution's numbers."""
    return numbers[2] if len(numbers) > 2 else 1


@dataclass(frozen=True)
class Network:
    """A model: its name, the shape of one sample, its layers, its loss, and who can run it.

    ``against`` holds the layers of the network that judges its outputs, if there is one: a step
    then moves the judge, by real and made samples, and after it the maker.
    """

    name: str
    shape: tuple[int, ...]
    layers: str
    loss: str  # "cross_entropy", "mse" or "bce" (on logits)
    batch: int = 32
    jax: bool = True
    against: str = ""

    @property
    def random(self) -> bool:
        """Whether a training step throws dice."""
        return "dropout" in self.layers

    @property
    def out(self) -> tuple[int, ...]:
        """The shape of an output."""
        *_, (_, _, shape) = replace(self, layers=f"{self.layers},end").steps()
        return shape

    @property
    def judge(self) -> Network:
        """The network that judges the outputs."""
        return Network(f"judge of {self.name}", self.out, self.against, "bce", self.batch)

    def steps(self) -> Iterator[tuple[str, list[int], tuple[int, ...]]]:
        """Yield each layer's word, its numbers, and the shape of a sample before it."""
        shape = self.shape
        for text in self.layers.split(","):
            word, *numbers = text.split()
            n = [int(number) for number in numbers]
            yield word, n, shape
            if word == "linear":
                shape = (*shape[:-1], n[0])
            elif word == "conv":
                shape = (shape[0] - n[1] + 1, shape[1] - n[1] + 1, n[0])
            elif word == "same":
                shape = (*(-(-size // stride(n)) for size in shape[:2]), n[0])
            elif word == "transposed":
                more = int(stride(n) == 1 and n[1] % 2 == 0)
                shape = (*(size * stride(n) + more for size in shape[:2]), n[0])
            elif word == "crop":
                shape = (shape[0] - 1, shape[1] - 1, shape[2])
            elif word == "pool":
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            elif word == "up":
                shape = (2 * shape[0], 2 * shape[1], shape[2])
            elif word == "flatten":
                shape = (int(np.prod(shape)),)
            elif word == "grid":
                shape = (n[0], n[0], n[1])
            elif word in GATES:
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
            if word in GATES:
                sizes = [(GATES[word] * n[0], c), (GATES[word] * n[0], n[0])]
            elif word == "linear":
                sizes = [(n[0], c)]
            elif word in ("conv", "same", "transposed"):
                sizes = [(c, n[1], n[1], n[0]) if word == "transposed" else (n[0], n[1], n[1], c)]
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
        out = self.out
        if self.against:
            return x, np.tanh(rng.normal(size=(n, *out))).astype(np.float32)
        if self.loss == "cross_entropy":
            return x, rng.integers(0, out[-1], (n, *out[:-1]))
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
    # the systems that the nine above leave out: 8, 9, 12 to 17
    Network("hand16", (16, 16, 3), "same 32 3,relu,pool,same 64 3,relu,pool,same 128 3,relu,pool,"
            "flatten,linear 2", "cross_entropy"),
    Network("rnn64", (48, 32), "rnn 64,last,linear 1", "mse"),
    Network("labels64", (48, 32), "dropout 20,lstm 64,dropout 50,linear 7", "cross_entropy",
            jax=False),
    Network("relu64", (48, 32), "relulstm 64,last,linear 1", "bce"),
    Network("convae", (28, 28, 1), "same 16 3,relu,pool,same 8 3,relu,pool,same 8 3,relu,up,"
            "same 16 3,relu,up,same 1 3,sigmoid", "mse", jax=False),
    Network("gan", (100,), "linear 1024,leaky,linear 784,tanh", "bce", jax=False,
            against="linear 1024,leaky,linear 1"),
    Network("dcgan_both", (100,), "linear 256,leaky,norm,linear 512,leaky,norm,linear 1024,leaky,"
            "norm,linear 12544,leaky,grid 7 256,up,transposed 128 5,leaky,norm,up,"
            "transposed 64 5,leaky,norm,transposed 3 5,tanh", "bce", jax=False,
            against="same 64 5 2,leaky,same 128 5 2,leaky,flatten,linear 1"),
    Network("dcgan_small", (32,), "linear 256,leaky,linear 128,norm,leaky,grid 4 8,"
            "transposed 32 4,crop,leaky,transposed 16 4 2,leaky,transposed 1 3 2,tanh", "bce",
            jax=False, against="same 16 3 2,leaky,same 32 3 2,leaky,same 64 3 2,leaky,flatten,"
            "linear 1"),
)}
GROUPS = {"nine": list(NETWORKS)[:9], "systems": list(NETWORKS)[9:]}


def chosen(names: list[str]) -> list[str]:
    """Return the names of models for names of models and of groups."""
    return [name for given in names for name in GROUPS.get(given, [given])]


def transposed(n: list[int]) -> dict[str, int]:
    """Return stride, padding and output padding of a transposed convolution."""
    padding = (n[1] - 1) // 2
    return {"stride": stride(n), "padding": padding,
            "output_padding": max(0, stride(n) - n[1] + 2 * padding)}


def lazily(build: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
    """Return a function that is built when it is first called."""
    built = cache(build)
    return lambda: built()()
