"""Diagnosis from images: convolutional networks on folders of images, or on made-up slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..data import ImageFolder, datasets
from ..data.transforms import Window
from ..errors import DataError, say
from .arrays import columns_of, images_below, images_of, labels_in, patients_in, read_npz
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

    ``--data`` is a folder with one sub-folder of images per class (any sizes, grey or colour, DICOM
    files among them) or an NPZ file with ``x`` (N, H, W) or (N, H, W, C), ``y`` (N,) and, if known,
    ``patients`` (N,). ``--patients`` is a CSV file with columns ``file`` and ``patient``, so that
    no patient is in two parts; DICOM files name their patients themselves. ``--window`` is the
    grey scale of DICOM images. Without data: 2,000 made-up CT-like slices of 500 patients, half
    with a nodule.
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
        if options.data is not None and str(options.data).endswith(".npz"):
            size = options.image_size
            return self._file(options.data, (size, size) if size else None, options.window)
        size = options.image_size = options.image_size or self.sizes[options.model or "cnn64"]
        if options.data is None:
            x, y, patients = datasets.slices(2000, size, seed=options.seed)
            return Cohort(x, y, ["no nodule", "nodule"], patients,
                          [f"slice {i}" for i in range(len(x))],
                          f"{len(x):,} made-up CT-like slices of {int(patients[-1]) + 1} patients "
                          f"(seed {options.seed}, {size} x {size})", "finding",
                          ["The slices are generated, not of real patients."])
        folder = ImageFolder(options.data, size, patients=options.patients,
                             window=None if options.window is None else Window(*options.window))
        x, y = folder.arrays()
        cohort = Cohort(x, y, folder.classes, folder.groups, folder.names, str(options.data),
                        "class", folder.report().splitlines(), folder.about)
        enough(cohort)
        if folder.groups is None:
            cohort.notes.append(
                "No table of patients was given: if a patient has several images, the scores may "
                "be too good. Pass --patients FILE.csv.")
        elif options.patients is None:
            cohort.notes.append(
                f"{len(set(folder.groups.tolist()))} patients, by the PatientID of the DICOM files"
                + f"; {folder.nameless} images name none and count as a patient each."
                * (folder.nameless > 0))
        return cohort

    def _file(self, path: str, size: tuple[int, int] | None, window: Any,
              config: dict[str, Any] | None = None) -> Cohort:
        """Return the images of an NPZ file: to train on, or like those of a run's config."""
        found = read_npz(path)
        channels = config["plan"]["shape"][-1] if config else None
        x = images_of(found, path, size, window, channels)
        y, classes = labels_in(found, len(x), path, config["classes"] if config else None)
        groups = patients_in(found, len(x), path)
        cohort = Cohort(x, y, classes, groups, [f"sample {i}" for i in range(len(x))],
                        str(path), "class", about=columns_of(found, len(x), "x", "y"))
        if config is None:
            enough(cohort)
            if groups is None:
                cohort.notes.append(
                    "The file names no patients: if one has several images, the scores may be too "
                    "good. Save them too: numpy.savez(path, x=x, y=y, patients=patients).")
        return cohort

    def plan(self, cohort: Cohort, rows: np.ndarray) -> dict[str, Any]:
        """Return the shape of the images, mean and spread of their pixels."""
        part = cohort.x[rows]
        return {"shape": list(part.shape[1:]), "mean": float(part.mean(dtype=np.float64)),
                "std": float(part.std(dtype=np.float64)) or 1.0}

    def features(self, x: np.ndarray, plan: dict[str, Any]) -> np.ndarray:
        """Return standardised images: a plateau at the start of training is left sooner."""
        return (x - np.float32(plan["mean"])) / np.float32(plan["std"])

    def read(self, path: str, config: dict[str, Any], patients: str | None = None) -> Cohort:
        """Return one image, or all below a folder (classes known where sub-folders say them)."""
        height, width, channels = config["plan"]["shape"]
        window = config["options"].get("window")
        if path.endswith(".npz"):
            return self._file(path, (height, width), window, config)
        root, classes = Path(path), config["classes"]
        found = images_below(path, (height, width), window, channels, patients)
        folders = [Path(name).parts[0] for name in found.names]
        y = np.array([classes.index(f) for f in folders], np.int64) if (
            root.is_dir() and all(f in classes for f in folders)) else np.zeros(0, np.int64)
        return Cohort(found.x, y, classes, found.groups, found.names, path, config["target"],
                      found.notes, found.about)

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


def enough(cohort: Cohort) -> None:
    """Refuse classes or patients that are too few for three parts."""
    counts = np.bincount(cohort.y, minlength=len(cohort.classes))
    rare = int(counts.argmin())
    if counts[rare] < 3:
        raise DataError(say(cohort.source, "three images or more of each class (training, "
                            "validation, held out)", f"{counts[rare]} of {cohort.classes[rare]}",
                            "Add images"))
    patients = set() if cohort.groups is None else set(cohort.groups.tolist())
    if cohort.groups is not None and len(patients) < 3:
        raise DataError(say(cohort.source, "three patients or more (training, validation, held "
                            "out)", f"{len(patients)}: {', '.join(sorted(patients))}",
                            "Say whose image each is with --patients FILE.csv (columns file, "
                            "patient), if the files do not"))
