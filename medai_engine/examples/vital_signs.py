"""What will be measured next? A plain recurrent network at every hour of a stay (system 9).

h_t = tanh(W x_t + U h_(t-1) + b), y_t = V h_t + c: from the measurements up to an hour, those of
the next one. Stays are made up, 12 to 72 hours long, with gaps; an error counts where something
was measured. Beside the network stands the simplest forecast, that nothing changes.

    python -m medai_engine.examples.vital_signs
"""

from __future__ import annotations

import numpy as np

import medai_engine as me
from medai_engine import nn, optim
from medai_engine.data import datasets
from medai_engine.data.loader import order
from medai_engine.systems.sequences import carry_forward


class Forecast(nn.Module):
    """A recurrent layer and a dense one, at every step."""

    def __init__(self, features: int, channels: int, units: int = 64):
        self.rnn = nn.RNN(features, units)
        self.read = nn.Linear(units, channels)

    def forward(self, x: me.Tensor) -> me.Tensor:
        """Return forecasts (N, T, channels) for features (N, T, features)."""
        states, _ = self.rnn(x)
        return self.read(states)


def squared_error(y: me.Tensor, target: me.Tensor, seen: me.Tensor) -> me.Tensor:
    """Return the mean of (y - target)^2 where something was measured."""
    return ((y - target) ** 2 * seen).sum() / seen.sum()


def stays(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features of all hours but the last, values an hour later, and which are measured.

    Values are in standard deviations of their channel; gaps hold the last value.
    """
    x, _, _ = datasets.histories(n, seed)
    known = x[n // 4:].reshape(-1, x.shape[2])
    features = carry_forward(x, np.nanmean(known, axis=0), np.nanstd(known, axis=0))
    channels = x.shape[2]
    values, seen = features[:, :, :channels], features[:, :, channels: 2 * channels]
    return features[:, :-1, : 2 * channels], values[:, 1:], seen[:, 1:]


def main(n: int = 800, epochs: int = 15, seed: int = 0) -> float:
    """Train; return the squared error on other stays, in shares of that of "nothing changes"."""
    me.manual_seed(seed)
    features, target, seen = stays(n, seed)
    rows, held = np.arange(n // 4, n), np.arange(n // 4)
    channels = target.shape[2]
    unchanged = squared_error(me.asarray(features[held, :, :channels]), me.asarray(target[held]),
                              me.asarray(seen[held])).item()
    model = Forecast(features.shape[2], channels)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)

    @me.jit
    def step(x: me.Tensor, y: me.Tensor, seen: me.Tensor) -> me.Tensor:
        optimizer.zero_grad()
        loss = squared_error(model(x), y, seen)
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    share = 1.0
    for epoch in range(epochs):
        mixed = rows[order(len(rows), seed, epoch)]
        for start in range(0, len(mixed) - 31, 32):
            part = mixed[start: start + 32]
            step(features[part], target[part], seen[part])
        with me.no_grad():
            error = squared_error(model(me.asarray(features[held])), me.asarray(target[held]),
                                  me.asarray(seen[held])).item()
        share = error / unchanged
        print(f"epoch {epoch + 1}: squared error {error:.3f}, {share:.0%} of that of the forecast "
              f"that nothing changes ({unchanged:.3f})")
    return share


if __name__ == "__main__":
    main()
