"""Synthetic cases: a conditional GAN, and the check that no case is a copy of a patient.

The generator makes an image from noise and a class, the discriminator tells made from real ones
(Goodfellow et al. 2014; Mirza & Osindero 2014 for the condition). Useful samples are those on which
a classifier can be trained that works on real cases (train on synthetic, test on real); safe ones
lie no nearer to the training cases than unseen real cases do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import functional as F
from .. import nn, optim
from ..data import datasets, split_stratified
from ..data.loader import order
from ..errors import DataError, MissingExtraError, ParameterError, say
from ..generator import manual_seed
from ..io import load, write_json
from ..io.models import buildable
from ..jit import jit
from ..mode import no_grad
from ..nn import Module
from ..ops.shape import concat
from ..random import normal
from ..tensor import Tensor
from ..training.metrics import roc_auc
from .arrays import read_npz
from .folder import new_folder, read_config

__all__ = ["Generator", "SynthesisOptions", "load_generator", "privacy", "synthesize",
           "train_synthesis", "usefulness"]

HELD_OUT = 0.25


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


@dataclass
class SynthesisOptions:
    """What a run was asked for; ``config.json`` holds it.

    Attributes
    ----------
    data : str or None
        An NPZ file with ``x`` (N, ...) between 0 and 1 and ``y`` (N,) class numbers; None for the
        bundled digits.
    epochs, batch_size : int
    lr : float
    noise : int
        How many random numbers make a sample.
    seed : int
    """

    data: str | None = None
    epochs: int = 200
    batch_size: int = 64
    lr: float = 2e-4
    noise: int = 64
    seed: int = 0

    def check(self) -> None:
        """Refuse options that no run can have."""
        for name in ("epochs", "batch_size", "noise"):
            if getattr(self, name) < 1:
                raise ParameterError(say("train synthesize", f"{name} of at least 1",
                                         getattr(self, name), "Leave it out"))
        if not 0 < self.lr < 1:
            raise ParameterError(say("train synthesize", "a learning rate between 0 and 1",
                                     self.lr, "Leave out --lr"))


def cases(options: SynthesisOptions) -> tuple[np.ndarray, np.ndarray, str]:
    """Return samples, class numbers and where they came from."""
    if options.data is None:
        return *datasets.digits(), "1,797 handwritten digits (scikit-learn's copy)"
    found = read_npz(options.data)
    if not {"x", "y"} <= set(found) or len(found["x"]) != len(found["y"]) or found["y"].ndim != 1:
        raise DataError(say(options.data, "arrays x (N, ...) and y (N,)",
                            f"{ {k: v.shape for k, v in found.items()} }",
                            "Save it with numpy.savez(path, x=x, y=y)"))
    x = found["x"].astype(np.float32)
    if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
        raise DataError(say(options.data, "x between 0 and 1", f"{x.min():g} to {x.max():g}",
                            "Scale it to 0 .. 1"))
    return x, found["y"].astype(np.int64), options.data


def train_synthesis(options: SynthesisOptions | None = None, out: str | Path | None = None,
                    verbose: bool = True) -> dict[str, Any]:
    """Train a conditional GAN; write its run folder; return the scores.

    Returns
    -------
    dict
        ``folder``; ``usefulness`` (accuracy on held-out real cases of a classifier that saw only
        samples, and of one that saw the real ones); ``privacy`` (see ``privacy``).
    """
    options = options or SynthesisOptions()
    options.check()
    x, y, source = cases(options)
    rows, held = split_stratified(y, HELD_OUT, options.seed)
    classes = int(y.max()) + 1
    flat = x.reshape(len(x), -1)
    folder = new_folder(out, "synthesize")
    config: dict[str, Any] = {
        "system": "synthesize", "format": 1, "options": asdict(options), "source": source,
        "shape": list(x.shape[1:]), "classes": classes}
    write_json(folder / "config.json", config)
    generator = adversaries(options, flat[rows], y[rows], classes, verbose)
    generator.save(folder / "model")  # type: ignore[attr-defined]
    samples, labels = synthesize(generator, 2000, options.seed)
    scores = {"usefulness": usefulness(samples, labels, flat[rows], y[rows], flat[held], y[held],
                                       options.seed),
              "privacy": privacy(samples, flat[rows], flat[held])}
    write_json(folder / "metrics.json", scores)
    try:
        from .pictures import draw_images

        if len(config["shape"]) == 3:
            shown = np.argsort(labels, kind="stable")[:: len(labels) // 40][:40]
            draw_images(samples[shown].reshape(-1, *config["shape"]),
                        [str(labels[i]) for i in shown], folder / "samples.png",
                        f"Made-up cases after {source}", columns=10)
    except MissingExtraError:
        pass  # the cases are there, only not drawn
    return {"folder": folder, **scores}


def adversaries(options: SynthesisOptions, x: np.ndarray, y: np.ndarray, classes: int,
                verbose: bool) -> Generator:
    """Train generator and discriminator against each other; return the generator."""
    manual_seed(options.seed)
    generator = Generator(options.noise, classes, x.shape[1])
    discriminator = Discriminator(x.shape[1], classes)
    makers = optim.Adam(generator.parameters(), options.lr, betas=(0.5, 0.999))
    judges = optim.Adam(discriminator.parameters(), options.lr, betas=(0.5, 0.999))
    judge = F.binary_cross_entropy_with_logits

    @jit
    def step(real: Any, condition: Any, wanted: Any, ones: Any, zeros: Any) -> tuple[Any, Any]:
        """Move both once; ``ones`` holds 0.9, so that the discriminator is never too sure."""
        z = normal((real.shape[0], options.noise))
        with no_grad():
            made = generator(z, wanted)
        judges.zero_grad()
        told = judge(discriminator(real, condition), ones) + judge(
            discriminator(made, wanted), zeros)
        told.backward()
        judges.step()
        makers.zero_grad()
        fooled = judge(discriminator(generator(z, wanted), wanted), ones)
        fooled.backward()
        makers.step()
        return told, fooled

    hot = np.eye(classes, dtype=np.float32)[y]
    size = min(options.batch_size, len(x))
    ones, zeros = (np.full((size, 1), v, np.float32) for v in (0.9, 0.0))
    draw = np.random.Generator(np.random.Philox(options.seed))
    for epoch in range(options.epochs):
        rows = order(len(x), options.seed, epoch)
        for start in range(0, len(x) - size + 1, size):
            part = rows[start: start + size]
            wanted = hot[draw.integers(0, len(hot), size)]  # classes as often as in the data
            told, fooled = step(x[part], hot[part], wanted, ones, zeros)
        if verbose and (epoch + 1) % max(1, options.epochs // 10) == 0:
            print(f"epoch {epoch + 1}/{options.epochs}: discriminator {told.item():.3f}, "
                  f"generator {fooled.item():.3f}", flush=True)
    return generator.eval()


def synthesize(generator: Generator, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return n samples (n, features) and their classes, all classes equally often."""
    labels = np.arange(n) % generator.classes
    draw = np.random.Generator(np.random.Philox(key=np.array([seed, 1], np.uint64)))
    z = draw.standard_normal((n, generator.noise), dtype=np.float32)
    hot = np.eye(generator.classes, dtype=np.float32)[labels]
    with no_grad():
        return generator.eval()(Tensor(z), Tensor(hot)).data, labels


def load_generator(folder: str | Path) -> tuple[Generator, dict[str, Any]]:
    """Read the generator of a run folder, and its config."""
    config = read_config(folder, "synthesize")
    if not (Path(folder) / "model.safetensors").is_file():
        raise DataError(say(str(folder), "a trained generator", "an unfinished run",
                            "Train anew: medai train synthesize"))
    generator: Any = load(Path(folder) / "model")
    return generator, config


def usefulness(samples: np.ndarray, labels: np.ndarray, x: np.ndarray, y: np.ndarray,
               held_x: np.ndarray, held_y: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Return accuracies on held-out real cases of classifiers of samples, and of real cases."""
    def accuracy(x: np.ndarray, y: np.ndarray) -> float:
        manual_seed(seed)
        model: Any = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Dropout(0.2),
                                   nn.Linear(64, int(y.max()) + 1))
        model.compile(optim.Adam(model.parameters(), 2e-3), "cross_entropy", ["accuracy"])
        model.fit(x, y, epochs=30, batch_size=64, seed=seed, verbose=False)
        return model.evaluate(held_x, held_y)["accuracy"]

    return {"accuracy_of_samples": accuracy(samples, labels), "accuracy_of_real": accuracy(x, y)}


def nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distance of each row of a to the nearest row of b."""
    squares = (b.astype(np.float64) ** 2).sum(axis=1)
    found = np.empty(len(a))
    for i in range(0, len(a), 256):
        part = a[i: i + 256].astype(np.float64)
        found[i: i + 256] = (squares - 2 * part @ b.T.astype(np.float64)).min(axis=1) + (
            part**2).sum(axis=1)
    return np.sqrt(np.maximum(found, 0))


def privacy(samples: np.ndarray, training: np.ndarray, held: np.ndarray) -> dict[str, float]:
    """Return what tells whether samples copy the patients that they were learned from.

    Returns
    -------
    dict
        ``copies``: samples closer to a training case than any held-out case is (to rounding: the
        same). ``distance_to_training`` and ``distance_to_held_out``: medians of the distances to
        the nearest real case, of equally many of each kind. ``membership_auc``: how well the
        distance to the nearest sample tells training cases from unseen ones; 0.5 is no better
        than guessing.

    References
    ----------
    Chen et al. 2020, GAN-Leaks: a taxonomy of membership inference attacks against generative
    models.
    """
    count = min(len(training), len(held))
    seen = training[order(len(training), 0, 0)[:count]]
    unseen = held[order(len(held), 0, 0)[:count]]
    closest = float(nearest(held, training).min())
    to_training = nearest(samples, training)
    members = np.concatenate([nearest(seen, samples), nearest(unseen, samples)])
    return {"copies": int((to_training < min(closest, 1e-6 + closest / 2)).sum()),
            "samples": len(samples),
            "distance_to_training": float(np.median(nearest(samples, seen))),
            "distance_to_held_out": float(np.median(nearest(samples, unseen))),
            "membership_auc": roc_auc(np.repeat([1, 0], count), -members)}
