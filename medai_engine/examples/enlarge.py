"""Do made-up cases help where real ones are few? An experiment with its controls (system 18).

A conditional GAN learns from some real digits; its samples join them to train a classifier, which
real digits that neither has seen then judge. Each seed draws other real cases and is repeated with
these alone, and with as many more copies of them, moved by a pixel: the plain way to have more.
Before anything is claimed the samples are held against the cases that they were learned from.

    python -m medai_engine.examples.enlarge
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import medai_engine as me
from medai_engine import nn, optim
from medai_engine.data import datasets, split_stratified
from medai_engine.systems.adversaries import Adversaries
from medai_engine.systems.generative import privacy, synthesize


class Trial(NamedTuple):
    """What one seed gave: accuracies on unseen real cases, and the check for copies."""

    real: float
    moved: float  # real cases and copies of them, each moved by a pixel
    enlarged: float  # real and made-up cases
    privacy: dict[str, float]


def accuracy(x: np.ndarray, y: np.ndarray, held: tuple[np.ndarray, np.ndarray],
             steps: int, seed: int) -> float:
    """Return the share of held-out cases that a classifier gets right after so many steps."""
    me.manual_seed(seed)
    model: Any = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    model.compile(optim.Adam(model.parameters(), 2e-3), "cross_entropy", ["accuracy"])
    batch = 32  # the same number of steps, however many cases there are
    model.fit(x, y, epochs=max(1, steps * batch // len(x)), batch_size=batch, seed=seed,
              verbose=False)
    return model.evaluate(*held)["accuracy"]


def moved(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return images (count, 8, 8, 1) out of x, moved by up to a pixel."""
    found = x[np.arange(count) % len(x)]
    return np.stack([np.roll(image, rng.integers(-1, 2, 2), axis=(0, 1)) for image in found])


def trial(real: int, made: int, epochs: int, steps: int, seed: int) -> Trial:
    """Train generator and classifiers from one seed."""
    x, y = datasets.digits()
    held, rows = split_stratified(y, real / len(y), seed)
    flat, test = x.reshape(len(x), -1), (x.reshape(len(x), -1)[held], y[held])
    players = Adversaries(64, 10, noise=32, lr=5e-4, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        players.train(flat[rows], y[rows], epochs, 32, Path(folder) / "last", verbose=False)
    samples, labels = synthesize(players.generator, made, seed)
    copies = moved(x[rows], made, np.random.default_rng(seed)).reshape(made, -1)
    more = [(flat[:0], y[:0]), (copies, y[rows][np.arange(made) % len(rows)]), (samples, labels)]
    alone, moving, enlarged = (
        accuracy(np.concatenate([flat[rows], a]), np.concatenate([y[rows], b]), test, steps, seed)
        for a, b in more)
    return Trial(alone, moving, enlarged, privacy(samples, flat[rows], flat[held]))


def main(real: int = 150, made: int = 450, epochs: int = 300, steps: int = 600, seeds: int = 4
         ) -> list[Trial]:
    """Run all seeds, print a table and what it says; return the trials."""
    trials = []
    print(f"{real} real cases; accuracy on unseen real ones\n"
          f"seed  real alone  + moved copies  + made up  copies  membership AUC")
    for seed in range(seeds):
        found = trial(real, made, epochs, steps, seed)
        trials.append(found)
        print(f"{seed:4} {found.real:11.3f} {found.moved:15.3f} {found.enlarged:10.3f} "
              f"{found.privacy['copies']:7} {found.privacy['membership_auc']:15.3f}", flush=True)
    for name in ("moved", "enlarged"):
        gains = np.array([getattr(t, name) - t.real for t in trials])
        error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
        verdict = "a help" if gains.mean() > 2 * error else (
            "a harm" if gains.mean() < -2 * error else "no difference that so few trials can show")
        print(f"{'moved copies' if name == 'moved' else 'made-up cases'}: {gains.mean():+.3f} "
              f"(standard error {error:.3f}): {verdict}")
    return trials


if __name__ == "__main__":
    main()
