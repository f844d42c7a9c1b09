"""Folders of images, one sub-folder per class (Pillow decodes them; extra ``data``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, ParameterError, extra, say
from .pictures import is_dicom, read_picture
from .tables import read_csv
from .transforms import Resize, Window

__all__ = ["ImageFolder", "read_image"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff"}
MODES = {1: "L", 3: "RGB"}


LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue (ITU-R BT.601)


def read_image(path: str | Path, size: tuple[int, int] | None = None, channels: int | None = None,
               window: Window | None = None) -> np.ndarray:
    """Return an image as (H, W, C), float32 between 0 and 1.

    Parameters
    ----------
    path : str
        A PNG, JPEG, BMP, GIF (first frame) or TIFF file. A camera's rotation (EXIF) is applied;
        transparency is laid over black; 16-bit grey keeps its depth. Or a DICOM file of one frame,
        as ``read_picture`` shows it.
    size : pair of int, optional
        (H, W) to resample to, with a filter that covers all source pixels (no aliasing).
    channels : {None, 1, 3}
        1 makes grey of colour (luma), 3 repeats grey; None keeps what the file has.
    window : Window, optional
        The grey scale of DICOM files; others are as they are.

    Raises
    ------
    DataError
        When the file is missing, damaged or no image.
    MissingExtraError
        When Pillow (for DICOM, pydicom) is not installed.
    """
    if channels not in (None, *MODES):
        raise ParameterError(say("read_image", "channels 1, 3 or None", repr(channels),
                                 "Use channels=1 for grey, 3 for colour"))
    if is_dicom(path):
        return fitted(read_picture(path, window).array, size, channels)
    pillow = extra("PIL.Image", "data", "reading images")
    turn = extra("PIL.ImageOps", "data", "reading images").exif_transpose
    try:
        with pillow.open(path) as file:
            file.load()
            image = turn(file)
        if image.mode == "P":  # a palette, of which grey is a special case
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        if image.mode in ("LA", "PA", "RGBA"):
            under = pillow.new("RGBA", image.size, (0, 0, 0, 255))
            grey = image.mode == "LA"
            image = pillow.alpha_composite(under, image.convert("RGBA")).convert(
                "L" if grey else "RGB")
        if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            values = np.asarray(image).astype(np.float32)
            image, top = pillow.fromarray(values, "F"), 1.0 if image.mode == "F" else 65535.0
            planes = [image] * (channels or 1)
        else:
            if image.mode not in ("L", "RGB"):
                image = image.convert("L" if image.mode == "1" else "RGB")
            if channels is not None and image.mode != MODES[channels]:
                image = image.convert(MODES[channels])
            planes, top = [image], 255.0
        if size is not None and image.size != (size[1], size[0]):
            planes = [plane.resize((size[1], size[0]), pillow.Resampling.BILINEAR)
                      for plane in planes]
        arrays = [np.asarray(plane, np.float32) for plane in planes]
    except Exception as error:  # Pillow raises many types on damaged files
        raise DataError(say(str(path), "an image", f"{type(error).__name__}: {error}",
                            "Remove the file or export it again")) from error
    array = arrays[0] if arrays[0].ndim == 3 else np.stack(arrays, axis=-1)
    return array / np.float32(top)


def fitted(image: np.ndarray, size: tuple[int, int] | None, channels: int | None) -> np.ndarray:
    """Return an image (H, W, 1) or (H, W, 3) in another size and number of channels."""
    if channels == 1 and image.shape[-1] == 3:
        image = image @ LUMA[:, None]
    elif channels == 3 and image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    return np.ascontiguousarray(image if size is None else Resize(size)(image))


class ImageFolder:
    """Images of a folder with one sub-folder per class: ``dataset[i] = (image, class number)``.

    PNG, JPEG and other pictures and DICOM files (with or without ``.dcm``) may be mixed. Images are
    decoded when they are asked for, all to one size and number of channels. A file that is no image
    or is damaged is left out and listed in ``skipped``, never silently: every file is opened once
    when the dataset is made.

    Parameters
    ----------
    root : str
        The folder. Names of its sub-folders, sorted, are the classes; what lies deeper counts to
        the sub-folder.
    size : int or pair of int
        (H, W) of the images.
    channels : {None, 1, 3}
        Grey or colour; None takes colour if most files are.
    transform : callable, optional
        ``f(image)`` on every decoded image, (H, W, C) float32.
    patients : str, optional
        A CSV file with columns ``file`` (path inside the folder) and ``patient``, for splits that
        keep patients apart: ``dataset.groups``. Without it DICOM files name their patient
        themselves (PatientID), and an image that names none counts as a patient.
    window : Window, optional
        The grey scale of DICOM files (see ``read_picture``).

    Attributes
    ----------
    classes : list of str
    labels : array of int64, shape (N,)
    files : list of Path
    groups : array of str or None
        The patient of each image; None where neither a table nor a file names one.
    about : dict of str to array
        What else is known of each image: the table's other columns, else what DICOM files say
        (sex, age, site, scanner); None where nothing is.
    skipped : list of (Path, str)
        What was left out, and why.

    Raises
    ------
    DataError
        When the folder is missing, has fewer than two classes, a class without an image, or an
        image without a patient.
    """

    def __init__(self, root: str | Path, size: int | tuple[int, int] = 64,
                 channels: int | None = None, transform: Callable[[np.ndarray], Any] | None = None,
                 patients: str | Path | None = None, window: Window | None = None):
        self.root = Path(root)
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        if min(self.size) < 1:
            raise ParameterError(say("ImageFolder", "a size of 1 or more", repr(size),
                                     "Use size=64"))
        if channels not in (None, *MODES):
            raise ParameterError(say("ImageFolder", "channels 1, 3 or None", repr(channels),
                                     "Use channels=1 for grey, 3 for colour"))
        if not self.root.is_dir():
            raise DataError(say(str(root), "a folder with one sub-folder per class",
                                "a file" if self.root.is_file() else "no such folder",
                                f"Check the path (the current folder is {Path.cwd()})"))
        self.classes = sorted(p.name for p in self.root.iterdir()
                              if p.is_dir() and not p.name.startswith("."))
        if len(self.classes) < 2:
            raise DataError(say(str(root), "two classes or more, a sub-folder each",
                                f"{len(self.classes)} ({', '.join(self.classes) or 'none'})",
                                "Sort the images into sub-folders named after their classes"))
        self.transform = transform
        self.window = window
        self.skipped: list[tuple[Path, str]] = []
        self.files: list[Path] = []
        labels: list[int] = []
        looks: list[Look] = []
        for number, name in enumerate(self.classes):
            before = len(self.files)
            for path in sorted(p for p in (self.root / name).rglob("*") if p.is_file()):
                found = look(path, window)
                if isinstance(found, str):
                    self.skipped.append((path, found))
                    continue
                looks.append(found)
                self.files.append(path)
                labels.append(number)
            if len(self.files) == before:
                raise DataError(say(
                    str(self.root / name), "one image or more", "none that can be read"
                    if any(self.root / name in p.parents for p, _ in self.skipped) else "none",
                    "Add images or remove the sub-folder"))
        self.labels = np.array(labels, np.int64)
        coloured = sum(found.coloured for found in looks)
        self.channels = channels or (3 if coloured > len(looks) - coloured else 1)
        self.scales = Counter(found.scale for found in looks if found.scale)
        self.nameless = sum(not found.patient for found in looks)
        self.names = [str(p.relative_to(self.root)) for p in self.files]
        self.groups, self.about = told(looks, self.names) if patients is None else (
            patients_of(patients, self.names, self.root))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, np.int64]:
        image = read_image(self.files[index], self.size, self.channels, self.window)
        return (image if self.transform is None else self.transform(image)), self.labels[index]

    def arrays(self, rows: Sequence[int] | np.ndarray | None = None
               ) -> tuple[np.ndarray, np.ndarray]:
        """Return images (N, H, W, C) and labels (N,) of some rows, or of all, in memory."""
        rows = np.arange(len(self)) if rows is None else np.asarray(rows)
        return np.stack([self[int(i)][0] for i in rows]), self.labels[rows]

    def report(self) -> str:
        """Return the counts by class and what was left out, as lines for a terminal."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        lines = [f"{len(self)} images of {self.size[0]} x {self.size[1]} x {self.channels}: "
                 + ", ".join(f"{n} {name}" for n, name in zip(counts, self.classes, strict=True))]
        lines += [f"grey values of {n} DICOM images: {scale}" for scale, n in self.scales.items()]
        lines += [f"left out: {path} ({reason})" for path, reason in self.skipped[:10]]
        if len(self.skipped) > 10:
            lines.append(f"left out: {len(self.skipped) - 10} more")
        return "\n".join(lines)


class Look(NamedTuple):
    """What is known of a file without keeping its image."""

    coloured: bool
    scale: str = ""  # of DICOM files, as the rest
    patient: str = ""
    about: dict[str, str] | None = None


def look(path: Path, window: Window | None = None) -> Look | str:
    """Return what is known of an image, or why it cannot be used."""
    try:
        if is_dicom(path):
            array, scale, patient, about = read_picture(path, window)
            return Look(array.shape[-1] == 3, scale, patient, about)
        if path.suffix.lower() not in SUFFIXES:
            return "no image by its name"
        return Look(read_image(path).shape[-1] == 3)
    except DataError as error:
        return str(error).partition("got ")[2].partition(". ")[0]


def told(looks: Sequence[Look], names: Sequence[str]
         ) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """Return the patient of each image and what else is known, as the files say it."""
    keys = sorted({key for found in looks for key in found.about or ()})
    about = {key: np.array([(found.about or {}).get(key) for found in looks], object)
             for key in keys}
    if not any(found.patient for found in looks):
        return None, about
    return np.array([found.patient or f"file {name}"
                     for found, name in zip(looks, names, strict=True)]), about


def patients_of(path: str | Path, names: Sequence[str], root: Path
                ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the patient of each image, and the other columns, from a table of files.

    Parameters
    ----------
    path : str
        A CSV file with columns ``file`` and ``patient``.
    names : list of str
        The images, as paths inside the folder ``root``.
    """
    table = read_csv(path)
    table.require(["file", "patient"])
    rows = {str(Path(name)): row for row, name in enumerate(table.text("file").tolist())}
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise DataError(say(str(path), "a patient for every image",
                            f"none for {unknown[0]} ({len(unknown)} in all)",
                            f"Add rows with the path inside {root}, such as {names[0]}"))
    table = table.take(np.array([rows[name] for name in names]))
    return table.text("patient"), {name: column for name, column in table.columns.items()
                                   if name not in ("file", "patient")}
