"""Synthetic cases: a conditional GAN, and the check that no case is a copy of a patient.

Useful samples are those on which
a classifier can be trained that works on real cases (train on synthetic, test on real); safe ones
lie no nearer to the training cases than unseen real cases do.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn, optim
from ..data import datasets, split_stratified
from ..data.loader import order
from ..errors import DataError, MissingExtraError, ParameterError, say
from ..generator import manual_seed
from ..io import load, write_json
from ..io.files import read_state
from ..mode import no_grad
from ..tensor import Tensor
from ..training.history import History
from ..training.metrics import roc_auc
from ..training.plots import plot_history
from .adversaries import Adversaries, Generator
from .arrays import read_npz
from .folder import new_folder, read_config, resumable
from .report import write_synthesis_report

__all__ = ["Generator", "SynthesisOptions", "load_generator", "privacy", "synthesize",
           "train_synthesis", "usefulness"]

HELD_OUT = 0.25
FLOOR = 0.8  # what a classifier of samples of the digits has to reach on real ones


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
    x, y = found["x"], found["y"]
    if not x.size or x.dtype.kind not in "biuf" or y.dtype.kind not in "iu":
        raise DataError(say(options.data, "numbers x, class numbers y",
                            f"x {x.shape} of {x.dtype}, y of {y.dtype}",
                            "Number the classes from 0, one case or more"))
    x = x.astype(np.float32)
    if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
        raise DataError(say(options.data, "x between 0 and 1", f"{x.min():g} to {x.max():g}",
                            "Scale it to 0 .. 1"))
    rare = np.bincount(y).argmin() if y.min() >= 0 else 0
    if y.min() < 0 or (y == rare).sum() < 2:
        raise DataError(say(options.data, "classes numbered from 0, two cases or more of each",
                            f"{y.min()}" if y.min() < 0 else f"{(y == rare).sum()} of {rare}",
                            "Number the classes without gaps, and add cases of rare ones"))
    return x, y.astype(np.int64), options.data


def train_synthesis(options: SynthesisOptions | None = None, out: str | Path | None = None,
                    verbose: bool = True, resume: str | Path | None = None,
                    epochs: int | None = None) -> dict[str, Any]:
    """Train a conditional GAN; write its run folder; return the scores.

    Parameters
    ----------
    options : SynthesisOptions, optional
        Taken from the run when it is resumed.
    out : str, optional
        The folder; the next free ``runs/synthesize-N`` without it.
    verbose : bool
        Print the losses.
    resume : str, optional
        A run folder to finish; it ends with the same bits as an unbroken run.
    epochs : int, optional
        Up to how many, of a resumed run.

    Returns
    -------
    dict
        ``folder``; ``usefulness`` (accuracy on held-out real cases of a classifier that saw only
        samples, and of one that saw the real ones); ``privacy`` (see ``privacy``);
        ``interrupted``.
    """
    options = options or SynthesisOptions()
    config: dict[str, Any] = {}
    if resume is not None:
        config = read_config(resume, "synthesize")
        options = SynthesisOptions(**config["options"])
        options.epochs = epochs or options.epochs
    options.check()
    x, y, source = cases(options)
    rows, held = split_stratified(y, HELD_OUT, options.seed)
    classes = int(y.max()) + 1
    flat = x.reshape(len(x), -1)
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    pair = Adversaries(flat.shape[1], classes, options.noise, options.lr, options.seed)
    if resume is None:
        folder = new_folder(out, "synthesize")
        config = {"system": "synthesize", "format": 1, "options": asdict(options),
                  "source": source, "shape": list(x.shape[1:]), "classes": classes,
                  "data_sha256": digest}
        write_json(folder / "config.json", config)
    else:
        folder = Path(resume)
        if config["data_sha256"] != digest:
            raise DataError(say(f"resume {folder}", "the cases it was started with",
                                f"others in {source}", "Restore the file, or train anew"))
    last = folder / "checkpoint" / "last.safetensors"
    if resume is not None and last.is_file():
        pair.load_state_dict(read_state(last))
    with resumable(folder):
        interrupted = pair.train(flat[rows], y[rows], options.epochs, options.batch_size, last,
                                 verbose)
        generator: Any = pair.generator.eval()
        generator.save(folder / "model")
        History(pair.history).to_csv(folder / "history.csv")
        samples, labels = synthesize(generator, 2000, options.seed)
        scores = {"usefulness": None if classes < 2 else usefulness(
                      samples, labels, flat[rows], y[rows], flat[held], y[held], options.seed),
                  "privacy": privacy(samples, flat[rows], flat[held]),
                  "epochs": len(pair.history), "interrupted": interrupted}
        write_json(folder / "metrics.json", scores)
        notes = []
        try:
            from .pictures import draw_images

            plot_history(History(pair.history), folder / "history.png", f"{source}, training",
                         {"discriminator": "loss of the discriminator (nats)",
                          "generator": "loss of the generator (nats)"})
            if len(config["shape"]) == 3:
                shown = np.argsort(labels, kind="stable")[:: len(labels) // 40][:40]
                draw_images(samples[shown].reshape(-1, *config["shape"]),
                            [str(labels[i]) for i in shown], folder / "samples.png",
                            f"Made-up cases after {source}", columns=10)
        except MissingExtraError as error:
            notes.append(f"no plots: {error}")
        write_synthesis_report(folder, config, scores, notes)
    return {"folder": folder, "notes": notes, **scores}


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
                            f"Finish it: medai train synthesize --resume {folder}"))
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
