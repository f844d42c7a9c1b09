"""Diagnosis from images: convolutional networks on folders of images, or on made-up slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..data import ImageFolder, datasets
from ..data.images import SUFFIXES, read_image
from ..errors import DataError, MedaiError, say
from .deep import Cohort, Options, Recipe, System

__all__ = ["Diagnosis"]


def cnn64(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return convolutions of 32, 64 and 128 filters with pooling, and a dense layer of 128."""
    return _network(shape, classes, (32, 64, 128), 128)


def cnn224(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return the same convolutions and a dense layer of 512, for large images."""
    return _network(shape, classes, (32, 64, 128), 512)


def cnn256(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return convolutions of 32, 64 and 64 filters with pooling, and a dense layer of 64."""
    return _network(shape, classes, (32, 64, 64), 64)


def _network(shape: tuple[int, ...], classes: int, filters: tuple[int, ...], hidden: int
             ) -> nn.Module:
    layers: list[nn.Module] = []
    channels, size = shape[-1], min(shape[:2])
    for count in filters:
        if size < 4:  # nothing would be left to pool
            break
        layers += [nn.Conv2d(channels, count, 3), nn.ReLU(), nn.MaxPool2d(2)]
        channels, size = count, (size - 2) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(None, hidden), nn.ReLU(),
                         nn.Linear(hidden, classes))


class Diagnosis(System):
    """Which class an image belongs to.

    ``--data`` is a folder with one sub-folder of images per class (any sizes, grey or colour);
    ``--patients`` a CSV file with columns ``file`` and ``patient``, so that no patient is in two
    parts. Without data: 2,000 made-up CT-like slices of 500 patients, half with a nodule.
    """

    name = "diagnosis"
    title = "Diagnosis from images"
    floor = ("auc", 0.95)
    models: ClassVar[dict[str, Recipe]] = {
        "cnn64": Recipe(cnn64, epochs=12, patience=6),
        "cnn224": Recipe(cnn224, epochs=12, patience=6),
        "cnn256": Recipe(cnn256, epochs=12, patience=6),
    }
    sizes: ClassVar[dict[str, int]] = {"cnn64": 64, "cnn224": 224, "cnn256": 256}

    def gather(self, options: Options) -> Cohort:
        """Return the images of a folder, or made-up slices."""
        size = options.image_size = options.image_size or self.sizes[options.model or "cnn64"]
        if options.data is None:
            x, y, patients = datasets.slices(2000, size, seed=options.seed)
            return Cohort(x, y, ["no nodule", "nodule"], patients,
                          [f"slice {i}" for i in range(len(x))],
                          "2,000 made-up CT-like slices of 500 patients", "finding",
                          ["The slices are generated, not of real patients."])
        folder = ImageFolder(options.data, size, patients=options.patients)
        x, y = folder.arrays()
        counts = np.bincount(y, minlength=len(folder.classes))
        few = int(counts.argmin())
        if counts[few] < 3:
            raise DataError(say(str(options.data), "three images or more of each class (training, "
                                "validation, held out)", f"{counts[few]} of {folder.classes[few]}",
                                "Add images"))
        notes = folder.report().splitlines()
        if folder.groups is None:
            notes.append("No table of patients was given: if a patient has several images, the "
                         "scores may be too good. Pass --patients FILE.csv.")
        names = [str(p.relative_to(folder.root)) for p in folder.files]
        return Cohort(x, y, folder.classes, folder.groups, names, str(options.data), "class",
                      notes)

    def plan(self, cohort: Cohort, rows: np.ndarray) -> dict[str, Any]:
        """Return the shape of the images, mean and spread of their pixels."""
        part = cohort.x[rows]
        return {"shape": list(part.shape[1:]), "mean": float(part.mean(dtype=np.float64)),
                "std": float(part.std(dtype=np.float64)) or 1.0}

    def features(self, x: np.ndarray, plan: dict[str, Any]) -> np.ndarray:
        """Return standardised images: a plateau at the start of training is left sooner."""
        return (x - np.float32(plan["mean"])) / np.float32(plan["std"])

    def read(self, path: str, config: dict[str, Any]) -> Cohort:
        """Return one image, or all below a folder (classes known where sub-folders say them)."""
        height, width, channels = config["plan"]["shape"]
        root, classes = Path(path), config["classes"]
        if not root.exists():
            raise DataError(say(path, "an image or a folder of images", "no such file",
                                f"Check the path (the current folder is {Path.cwd()})"))
        files = [root] if root.is_file() else sorted(
            p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
        images, kept, notes = [], [], []
        for file in files:
            try:
                images.append(read_image(file, (height, width), channels))
                kept.append(file)
            except MedaiError as error:
                notes.append(f"left out: {error}")
        if not images:
            raise DataError(say(path, "one image or more", "none that can be read",
                                "Pass PNG or JPEG files"))
        names = [str(p.relative_to(root)) if root.is_dir() else str(p) for p in kept]
        folders = [Path(name).parts[0] for name in names]
        y = np.array([classes.index(f) for f in folders], np.int64) if (
            root.is_dir() and all(f in classes for f in folders)) else np.zeros(0, np.int64)
        return Cohort(np.stack(images), y, classes, None, names, path, config["target"], notes)

    def drawings(self, run: Any, folder: Path, cohort: Cohort, output: np.ndarray) -> None:
        """Draw the images of which the network is surest, rightly and wrongly."""
        from .pictures import draw_images

        surest = output.max(axis=1)
        right = output.argmax(axis=1) == cohort.y
        chosen = [rows[np.argsort(-surest[rows], kind="stable")][:8]
                  for rows in (np.flatnonzero(right), np.flatnonzero(~right))]
        rows = np.concatenate(chosen)
        titles = [f"{run.classes[int(output[i].argmax())]} {surest[i]:.2f}"
                  + ("" if right[i] else f"\nis {run.classes[cohort.y[i]]}") for i in rows]
        draw_images(cohort.x[rows], titles, folder / "samples.png",
                    "Held out: surest of the right ones, then of the wrong ones")
