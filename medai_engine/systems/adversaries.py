"""A conditional GAN: a generator and a discriminator that train against each other.

The generator makes a sample from noise and a class, the discriminator tells made from real ones
(Goodfellow et al. 2014; Mirza & Osindero 2014 for the condition).
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .. import functional as F
from .. import nn, optim
from ..data.loader import order
from ..errors import DataError, say
from ..generator import manual_seed
from ..io.files import write_state
from ..io.models import buildable
from ..jit import jit
from ..mode import no_grad
from ..nn import Module
from ..ops.shape import concat
from ..random import normal

__all__ = ["Adversaries", "Discriminator", "Generator"]


@buildable
class Generator(Module):
    """Noise and a class to a sample: dense layers, LeakyReLU 0.2, batch norm, sigmoid.

    Parameters
    ----------
    noise, classes, features : int
        Sizes of the inputs and of a sample.
    hidden : int
        Units of the first layer; the second has twice as many.
    """

    def __init__(self, noise: int, classes: int, features: int, hidden: int = 256):
        self.noise, self.classes, self.features, self.hidden = noise, classes, features, hidden
        self.layers = nn.Sequential(
            nn.Linear(noise + classes, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2),
            nn.Linear(hidden, 2 * hidden), nn.BatchNorm1d(2 * hidden), nn.LeakyReLU(0.2),
            nn.Linear(2 * hidden, features), nn.Sigmoid())

    def forward(self, z: Any, condition: Any) -> Any:
        """Return samples (N, features) for noise (N, noise) and one-hot classes (N, classes)."""
        return self.layers(concat([z, condition], axis=1))


class Discriminator(Module):
    """A sample and a class to the logit of being real."""

    def __init__(self, features: int, classes: int, hidden: int = 256):
        self.layers = nn.Sequential(
            nn.Linear(features + classes, 2 * hidden), nn.LeakyReLU(0.2), nn.Dropout(0.3),
            nn.Linear(2 * hidden, hidden), nn.LeakyReLU(0.2), nn.Dropout(0.3),
            nn.Linear(hidden, 1))

    def forward(self, x: Any, condition: Any) -> Any:
        """Return logits (N, 1)."""
        return self.layers(concat([x, condition], axis=1))


class Adversaries:
    """A generator and a discriminator that train against each other.

    Parameters
    ----------
    features, classes, noise : int
        Sizes of a sample and of what it is made from.
    lr : float
        Of both optimisers (Adam with beta1 0.5, Radford et al. 2016).
    seed : int
        Of the first weights, the noise and the order.

    Attributes
    ----------
    history : list of dict
        Both losses of each epoch that is done.
    """

    def __init__(self, features: int, classes: int, noise: int, lr: float, seed: int):
        self.seed, self.noise = seed, noise
        self.random = manual_seed(seed)
        self.generator = Generator(noise, classes, features)
        self.discriminator = Discriminator(features, classes)
        self.makers = optim.Adam(self.generator.parameters(), lr, betas=(0.5, 0.999))
        self.judges = optim.Adam(self.discriminator.parameters(), lr, betas=(0.5, 0.999))
        self.history: list[dict[str, Any]] = []
        self.step = jit(self._step)

    def _step(self, real: Any, condition: Any, wanted: Any, ones: Any, zeros: Any
              ) -> tuple[Any, Any]:
        """Move both once; ``ones`` holds 0.9, so that the discriminator is never too sure."""
        judge = F.binary_cross_entropy_with_logits
        z = normal((real.shape[0], self.noise))
        with no_grad():
            made = self.generator(z, wanted)
        self.judges.zero_grad()
        told = judge(self.discriminator(real, condition), ones) + judge(
            self.discriminator(made, wanted), zeros)
        told.backward()
        self.judges.step()
        self.makers.zero_grad()
        fooled = judge(self.discriminator(self.generator(z, wanted), wanted), ones)
        fooled.backward()
        self.makers.step()
        return told, fooled

    def train(self, x: np.ndarray, y: np.ndarray, epochs: int, batch_size: int, last: Path,
              verbose: bool) -> bool:
        """Train up to so many epochs in all; return whether it was interrupted.

        The state after every twentieth of the epochs, or after the last whole one before an
        interruption, is written to ``last``.
        """
        hot = np.eye(self.generator.classes, dtype=np.float32)[y]
        size = min(batch_size, len(x))
        ones, zeros = (np.full((size, 1), v, np.float32) for v in (0.9, 0.0))
        draw = np.random.Generator(np.random.Philox(self.seed))
        batches = len(x) // size
        draw.integers(0, len(hot), (len(self.history) * batches, size))  # those of epochs done
        state = self.state_dict()
        try:
            for epoch in range(len(self.history), epochs):
                rows = order(len(x), self.seed, epoch)[:batches * size].reshape(batches, size)
                losses = []
                for part in rows:
                    wanted = hot[draw.integers(0, len(hot), size)]  # classes as in the data
                    losses.append(self.step(x[part], hot[part], wanted, ones, zeros))
                told, fooled = (float(np.mean([v.item() for v in loss]))
                                for loss in zip(*losses, strict=True))
                if not np.isfinite([told, fooled]).all():
                    raise DataError(say("train synthesize", "losses that are numbers",
                                        f"{told} and {fooled} in epoch {epoch + 1}",
                                        "Lower --lr"))
                self.history.append({"epoch": epoch + 1, "discriminator": told,
                                     "generator": fooled})
                state = self.state_dict()
                if (epoch + 1) % max(1, epochs // 20) == 0 or epoch + 1 == epochs:
                    write_state(last, state)
                if verbose and (epoch + 1) % max(1, epochs // 10) == 0:
                    print(f"epoch {epoch + 1}/{epochs}: discriminator {told:.3f}, "
                          f"generator {fooled:.3f}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            if not state["history"]:
                raise  # not one epoch is done
            self.load_state_dict(state)  # the end of the last whole epoch
            write_state(last, state)
            return True
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs to end with the same bits."""
        return {
            "models": [{name: np.array(value) for name, value in model.state_dict().items()}
                       for model in (self.generator, self.discriminator)],
            "optimizers": copy.deepcopy([o.state_dict() for o in (self.makers, self.judges)]),
            "random": self.random.get_state(), "history": list(self.history)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        for model, values in zip((self.generator, self.discriminator), state["models"],
                                 strict=True):
            model.load_state_dict(values)
        for optimizer, values in zip((self.makers, self.judges), state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.random.set_state(state["random"])
        self.history = list(state["history"])
