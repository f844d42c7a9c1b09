"""Autoencoders: an image through a narrow code and back, g(f(x)), with the least squared error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..data import datasets
from ..errors import DataError, say
from ..training.evaluation import Score, bootstrap_interval
from .arrays import images_below, images_of, read_npz
from .deep import Cohort, Options, Recipe, System

__all__ = ["Autoencoder"]

CODE = 32  # numbers in the code of the dense network


def dense(shape: tuple[int, ...], _: int) -> nn.Module:
    """Return a dense layer to the code and one back, sigmoid."""
    n = math.prod(shape)
    return nn.Sequential(nn.Flatten(), nn.Linear(n, CODE), nn.ReLU(), nn.Linear(CODE, n),
                         nn.Sigmoid())


def deeper(shape: tuple[int, ...], _: int) -> nn.Module:
    """Return two layers to the code and two back."""
    n = math.prod(shape)
    return nn.Sequential(nn.Flatten(), nn.Linear(n, 128), nn.ReLU(), nn.Linear(128, CODE),
                         nn.ReLU(), nn.Linear(CODE, 128), nn.ReLU(), nn.Linear(128, n),
                         nn.Sigmoid())


def convolutional(shape: tuple[int, ...], _: int) -> nn.Module:
    """Return convolutions that halve the image twice, the code, and convolutions that undo it."""
    if len(shape) != 3 or shape[0] % 4 or shape[1] % 4:
        raise DataError(say("train autoencoder --model conv", "images (N, H, W, C) with sides that "
                            "4 divides", f"samples of shape {shape}",
                            "Pass --image-size 32, or use --model ae"))
    height, width, channels = shape[0] // 4, shape[1] // 4, shape[2]
    inner = height * width * 32
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(inner, CODE),
        nn.Linear(CODE, inner), nn.ReLU(), nn.Reshape((height, width, 32)),
        nn.Upsample(2), nn.Conv2d(32, 16, 3, padding="same"), nn.ReLU(),
        nn.Upsample(2), nn.Conv2d(16, channels, 3, padding="same"), nn.Sigmoid(), nn.Flatten())


class Autoencoder(System):
    """Images through a code of 32 numbers; what comes back badly is unlike the training images.

    ``--data`` is a folder of images (DICOM files among them; sub-folders do not matter), or an NPZ
    file with ``x`` (N, ...) between 0 and 1. Without data: 1,797 handwritten digits; for ``conv``,
    2,000 made-up CT-like slices. Scores stand beside the principal components of the same number,
    the best that a linear code can do on its training images.
    """

    name = "autoencoder"
    title = "Autoencoder"
    floor = ("explained", 0.85)
    models: ClassVar[dict[str, Recipe]] = {
        "ae": Recipe(dense, epochs=150, lr=3e-3, patience=15),
        "deep": Recipe(deeper, epochs=150, lr=2e-3, patience=15),
        "conv": Recipe(convolutional, epochs=60, lr=3e-3, patience=10, floor=("explained", 0.68)),
    }

    def gather(self, options: Options) -> Cohort:
        """Return the images of a folder or file, the bundled digits, or made-up slices."""
        if options.data is not None:
            return self._open(options.data, options.image_size, options.window)
        if options.model != "conv":
            x, y = datasets.digits()
            names = [f"digit {i} ({k})" for i, k in enumerate(y)]
            return self._cohort(x, names, "1,797 handwritten digits (scikit-learn's copy)")
        size = options.image_size = options.image_size or 32
        x, _, patients = datasets.slices(2000, size, seed=options.seed)
        return self._cohort(
            x, [f"slice {i}" for i in range(len(x))],
            f"{len(x):,} made-up CT-like slices (seed {options.seed}, {size} x {size})",
            ["The slices are generated, not of real patients."], patients)

    def _open(self, path: str, size: int | tuple[int, int] | None, window: Any,
              channels: int | None = None) -> Cohort:
        if str(path).endswith(".npz"):
            found = read_npz(path)
            names = [f"sample {i}" for i in range(len(found.get("x", ())))]
            if window is not None or found.get("x", np.zeros(0)).ndim in (3, 4):
                square = (size, size) if isinstance(size, int) else size
                return self._cohort(images_of(found, path, square, window, channels), names, path)
            x = found.get("x", np.zeros(0)).astype(np.float32)
            if x.ndim != 2 or not x.size or not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
                raise DataError(say(path, "an array x (N, ...) between 0 and 1", f"shape {x.shape}"
                                    + (f", {x.min():g} to {x.max():g}" if x.size else ""),
                                    "Scale it, and save it with numpy.savez(path, x=x)"))
            return self._cohort(x, names, path)
        square = size if isinstance(size, tuple) else (size or 28, size or 28)
        image = images_below(path, square, window, channels)
        return self._cohort(image.x, image.names, path, image.notes, image.groups, image.about)

    def _cohort(self, x: np.ndarray, names: list[str], source: str, notes: Sequence[str] = (),
                groups: np.ndarray | None = None, about: dict[str, np.ndarray] | None = None
                ) -> Cohort:
        if len(x) < 1:
            raise DataError(say(source, "one sample or more", "none", "Add samples"))
        return Cohort(x, x.reshape(len(x), -1), [], groups, names, source, "the image itself",
                      list(notes), about or {})

    _mean: np.ndarray
    _axes: np.ndarray | None

    def plan(self, cohort: Cohort, rows: np.ndarray) -> dict[str, Any]:
        """Return the shape of a sample; find the principal components of the training images."""
        part = cohort.y[rows].astype(np.float64)
        self._mean = part.mean(axis=0)
        self._axes = np.linalg.svd(part - self._mean, full_matrices=False)[2][:CODE]
        return {"shape": list(cohort.x.shape[1:]), "mean": self._mean.tolist()}

    def scores(self, part: Cohort, found: np.ndarray) -> dict[str, Score]:
        """Return the squared error and the explained share of the spread, and those of PCA."""
        y = part.y.astype(np.float64)

        def error(y: np.ndarray, p: np.ndarray) -> float:
            return float(((p - y) ** 2).mean())

        def explained(y: np.ndarray, p: np.ndarray) -> float:
            return 1 - float(((p - y) ** 2).sum() / ((y - self._mean) ** 2).sum())

        scores = {}
        cases = [("mse", error, found), ("explained", explained, found)]
        if self._axes is not None:  # not of a run that was read from its folder
            linear = (y - self._mean) @ self._axes.T @ self._axes + self._mean
            cases.append(("explained_by_components", explained, linear))
        for name, function, p in cases:
            scores[name] = Score(function(y, p), *bootstrap_interval(
                function, y, p, patients=part.groups, repeats=200), "bootstrap")
        return scores

    def read(self, path: str, config: dict[str, Any], patients: str | None = None) -> Cohort:
        """Return images like those of training, and take its mean image as the yardstick."""
        shape = config["plan"]["shape"]
        image = len(shape) == 3
        cohort = self._open(path, tuple(shape[:2]) if image else None,
                            config["options"].get("window"), shape[2] if image else None)
        if list(cohort.x.shape[1:]) != shape:
            raise DataError(say(path, f"samples of shape {tuple(shape)}", cohort.x.shape[1:],
                                "Use images like those of training"))
        self._mean, self._axes = np.array(config["plan"]["mean"]), None
        return cohort
