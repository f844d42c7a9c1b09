"""Autoencoders: an image through a narrow code and back, g(f(x)), with the least squared error."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..data import ImageFolder, datasets
from ..errors import DataError, say
from ..training.evaluation import Score, bootstrap_interval
from .deep import Cohort, Options, Recipe, System
from .sequences import _npz

__all__ = ["Autoencoder"]

CODE = 32  # numbers in the code of the dense network


def dense(shape: tuple[int, ...], _: int) -> nn.Module:
    """Return a dense layer to the code and one back, sigmoid."""
    return nn.Sequential(nn.Linear(shape[0], CODE), nn.ReLU(), nn.Linear(CODE, shape[0]),
                         nn.Sigmoid())


def deeper(shape: tuple[int, ...], _: int) -> nn.Module:
    """Return two layers to the code and two back."""
    return nn.Sequential(nn.Linear(shape[0], 128), nn.ReLU(), nn.Linear(128, CODE), nn.ReLU(),
                         nn.Linear(CODE, 128), nn.ReLU(), nn.Linear(128, shape[0]), nn.Sigmoid())


class Autoencoder(System):
    """Images through a code of 32 numbers; what comes back badly is unlike the training images.

    ``--data`` is a folder of images with sub-folders, or an NPZ file with ``x`` (N, ...) between 0
    and 1. Without data: 1,797 handwritten digits. Scores stand beside the principal components of
    the same number, the best that a linear code can do on its training images.
    """

    name = "autoencoder"
    title = "Autoencoder"
    floor = ("explained", 0.85)
    models: ClassVar[dict[str, Recipe]] = {
        "ae": Recipe(dense, epochs=150, lr=3e-3, patience=15),
        "deep": Recipe(deeper, epochs=150, lr=2e-3, patience=15),
    }

    def gather(self, options: Options) -> Cohort:
        """Return the images of a folder or file, or the bundled digits."""
        if options.data is None:
            x, y = datasets.digits()
            names = [f"digit {i} ({k})" for i, k in enumerate(y)]
            return self._cohort(x, names, "1,797 handwritten digits (scikit-learn's copy)", [])
        return self._open(options.data, options.image_size)

    def _open(self, path: str, size: int | None) -> Cohort:
        if str(path).endswith(".npz"):
            x = _npz(path).get("x", np.zeros(0, np.float32)).astype(np.float32)
            if x.ndim < 2 or not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
                raise DataError(say(path, "an array x (N, ...) between 0 and 1", f"shape {x.shape}",
                                    "Scale it, and save it with numpy.savez(path, x=x)"))
            return self._cohort(x, [f"sample {i}" for i in range(len(x))], path, [])
        folder = ImageFolder(path, size or 28)
        return self._cohort(folder.arrays()[0], [str(p.relative_to(folder.root))
                                                 for p in folder.files], str(path),
                            folder.report().splitlines())

    def _cohort(self, x: np.ndarray, names: list[str], source: str, notes: list[str]) -> Cohort:
        flat = x.reshape(len(x), -1)
        return Cohort(x, flat, [], None, names, source, "the image itself", notes)

    def plan(self, cohort: Cohort, rows: np.ndarray) -> dict[str, Any]:
        """Return the shape of a sample; find the principal components of the training images."""
        part = cohort.y[rows].astype(np.float64)
        self._mean = part.mean(axis=0)
        self._axes = np.linalg.svd(part - self._mean, full_matrices=False)[2][:CODE]
        return {"shape": list(cohort.x.shape[1:]), "mean": self._mean.tolist()}

    def features(self, x: np.ndarray, plan: dict[str, Any]) -> np.ndarray:
        """Return flat samples."""
        return x.reshape(len(x), -1)

    def scores(self, part: Cohort, found: np.ndarray) -> dict[str, Score]:
        """Return the squared error and the explained share of the spread, and those of PCA."""
        y = part.y.astype(np.float64)

        def error(y: np.ndarray, p: np.ndarray) -> float:
            return float(((p - y) ** 2).mean())

        def explained(y: np.ndarray, p: np.ndarray) -> float:
            return 1 - float(((p - y) ** 2).sum() / ((y - self._mean) ** 2).sum())

        scores = {}
        linear = (y - self._mean) @ self._axes.T @ self._axes + self._mean
        for name, function, p in (("mse", error, found), ("explained", explained, found),
                                  ("explained_by_components", explained, linear)):
            scores[name] = Score(function(y, p), *bootstrap_interval(function, y, p, repeats=200),
                                 "bootstrap")
        return scores

    def read(self, path: str, config: dict[str, Any]) -> Cohort:
        """Return images like those of training."""
        cohort = self._open(path, config["plan"]["shape"][0])
        if list(cohort.x.shape[1:]) != config["plan"]["shape"]:
            raise DataError(say(path, f"samples of shape {tuple(config['plan']['shape'])}",
                                cohort.x.shape[1:], "Use images like those of training"))
        return cohort
