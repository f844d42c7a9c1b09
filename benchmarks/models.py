"""The models of the training benchmarks: one description, from which every peer builds its own.

A model is a list of layers over features, with the batch, the loss and the arithmetic of one
training step (forward, both gradients; 2 per multiply-add; the first layer needs no input
gradient).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Model:
    """One network of dense layers and its loss."""

    name: str
    widths: tuple[int, ...]
    activations: tuple[str, ...]  # behind each layer: "relu", "sigmoid" or ""
    loss: str  # "cross_entropy" or "mse"
    batch: int = 32

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(m * n + n for m, n in zip(self.widths, self.widths[1:], strict=False))

    @property
    def flops(self) -> int:
        """Contraction operations of one training step."""
        products = [2 * self.batch * m * n for m, n in zip(self.widths, self.widths[1:],
                                                           strict=False)]
        return 3 * sum(products) - products[0]

    def weights(self, dtype: type = np.float32) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the same (weight (out, in), bias (out,)) for every peer."""
        rng = np.random.default_rng(1)
        return [(rng.normal(0, m**-0.5, (n, m)).astype(dtype), np.zeros(n, dtype))
                for m, n in zip(self.widths, self.widths[1:], strict=False)]

    def data(self, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """Return one batch of inputs and targets, the same for every peer."""
        rng = np.random.default_rng(2)
        x = rng.normal(size=(self.batch, self.widths[0])).astype(dtype)
        if self.loss == "mse":
            x = 1 / (1 + np.exp(-x))
            return x, x
        return x, rng.integers(0, self.widths[-1], self.batch)


MODELS = {m.name: m for m in (
    Model("tiny", (30, 16, 2), ("relu", ""), "cross_entropy"),
    Model("mlp", (784, 1024, 10), ("relu", ""), "cross_entropy"),
    Model("ae", (784, 32, 784), ("relu", "sigmoid"), "mse"),
)}
