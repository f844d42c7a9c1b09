"""Arrays of users: NPZ files by name, images among them, and folders of images."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.images import fitted, look, patients_of, read_image, told
from ..data.transforms import Window
from ..errors import DataError, say

__all__ = ["Images", "columns_of", "images_below", "images_of", "labels_in", "patients_in",
           "read_npz"]


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of an NPZ file."""
    if not Path(path).is_file():
        raise DataError(say(str(path), "an existing NPZ file", "no such file",
                            f"Check the path (the current folder is {Path.cwd()})"))
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(say(str(path), "an NPZ file of plain arrays", f"{type(error).__name__}",
                            "Save it with numpy.savez(path, x=x, y=y)")) from error


def images_of(found: dict[str, np.ndarray], path: str, size: tuple[int, int] | None,
              window: Any = None, channels: int | None = None) -> np.ndarray:
    """Return the array ``x`` of an NPZ file as images (N, H, W, C) between 0 and 1.

    Parameters
    ----------
    found : dict of str to array
        ``x`` of shape (N, H, W) or (N, H, W, C), C 1 or 3: bytes; or numbers between 0 and 1, or
        of any size where a window is given.
    path : str
        For messages.
    size : pair of int, or None
        (H, W) to resample to.
    window : pair of float, optional
        Center and width of the grey scale.
    channels : {None, 1, 3}
    """
    x = found.get("x", np.zeros(0))
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or not x.size or x.dtype.kind not in "biuf":
        shapes = {name: value.shape for name, value in found.items()}
        raise DataError(say(path, "an array x of images, (N, H, W) or (N, H, W, 1 or 3)",
                            f"{shapes}", "Save it with numpy.savez(path, x=x, y=y)"))
    whole = x.dtype == np.uint8 and window is None
    x = x.astype(np.float32) / np.float32(255 if whole else 1)
    if not np.isfinite(x).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise DataError(say(path, "finite values in x", f"{x[place]} at {place}",
                            "Fill in what is missing, or leave the image out"))
    if window is not None:
        x = Window(*window)(x)
    elif x.min() < 0 or x.max() > 1:
        raise DataError(say(path, "x between 0 and 1, or bytes", f"{x.min():g} to {x.max():g}",
                            "Scale it, or pass --window CENTER WIDTH (lung, soft, ... for CT)"))
    return np.stack([fitted(image, size, channels) for image in x])


def columns_of(found: dict[str, np.ndarray], n: int, *used: str) -> dict[str, np.ndarray]:
    """Return the other arrays with an entry for each of n samples."""
    return {name: value for name, value in found.items()
            if name not in used and value.shape == (n,)}


def labels_in(found: dict[str, np.ndarray], n: int, path: str, given: list[str] | None
              ) -> tuple[np.ndarray, list[str]]:
    """Return the class numbers of n samples, and the classes.

    Parameters
    ----------
    found : dict of str to array
        ``y`` (N,), numbers or names; ``classes``, the names of the numbers, if known.
    n : int
    path : str
        For messages.
    given : list of str, or None
        The classes of a trained model; without ``y`` no class is known then.
    """
    y = found.get("y", np.zeros(0, np.int64))
    if given is not None and not len(y):
        return y, given
    if y.shape != (n,) or y.dtype.kind not in "biuUS":
        raise DataError(say(path, f"an array y of {n} classes, by number or name",
                            f"{y.shape} of {y.dtype}", "Save it with numpy.savez(path, x=x, y=y)"))
    told = y.astype(str)
    names = sorted(set(told.tolist()), key=lambda v: v.zfill(9) if v.isdigit() else v)
    if "classes" in found and y.dtype.kind in "iu":
        names = [str(name) for name in found["classes"]]
        if y.min() < 0 or y.max() >= len(names):
            raise DataError(say(path, f"class numbers from 0 to {len(names) - 1}",
                                f"{y.min()} to {y.max()}", "Correct y or classes"))
        told = np.array(names)[y]
    classes = given or names
    strange = sorted(set(told.tolist()) - set(classes))
    if strange:
        raise DataError(say(path, f"classes of {', '.join(classes)}", strange[0],
                            "Correct y, or leave these samples out"))
    if len(classes) < 2:
        raise DataError(say(path, "two classes or more in y", ", ".join(classes),
                            "Add samples of another class"))
    return np.array([classes.index(name) for name in told.tolist()], np.int64), classes


def patients_in(found: dict[str, np.ndarray], n: int, path: str) -> np.ndarray | None:
    """Return the patient of each of n samples, if the file names them."""
    patients = found.get("patients")
    if patients is not None and patients.shape != (n,):
        raise DataError(say(path, f"patients of shape ({n},)", patients.shape,
                            "Name the patient of every sample, or leave the array out"))
    return None if patients is None else patients.astype(str)


class Images(NamedTuple):
    """Images (N, H, W, C), what they are called, whose they are, and what was left out."""

    x: np.ndarray
    names: list[str]
    groups: np.ndarray | None
    about: dict[str, np.ndarray]
    notes: list[str]


def images_below(path: str, size: tuple[int, int], window: Any = None, channels: int | None = None,
                 patients: str | None = None) -> Images:
    """Return one image, or all below a folder, of one size; files that are none are left out.

    Parameters
    ----------
    path : str
        A file or a folder; names are paths inside it.
    size, channels
        See ``read_image``; without channels colour is taken if most images have it.
    window : pair of float, optional
        Center and width of the grey scale of DICOM files.
    patients : str, optional
        A CSV file with columns ``file`` and ``patient``.
    """
    root, scale = Path(path), None if window is None else Window(*window)
    if not root.exists():
        raise DataError(say(path, "an image or a folder of images", "no such file",
                            f"Check the path (the current folder is {Path.cwd()})"))
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    looks = [look(file, scale) for file in files]
    kept = [(file, found) for file, found in zip(files, looks, strict=True)
            if not isinstance(found, str)]
    notes = [f"left out: {file} ({found})" for file, found in zip(files, looks, strict=True)
             if isinstance(found, str)]
    if not kept:
        raise DataError(say(path, "one image or more", f"none that can be read among {len(files)} "
                            f"files{'; ' * bool(notes)}{'; '.join(notes[:3])}",
                            "Pass PNG, JPEG or DICOM files"))
    if len(notes) > 10:
        notes = [*notes[:10], f"left out: {len(notes) - 10} more"]
    coloured = sum(found.coloured for _, found in kept)
    channels = channels or (3 if coloured > len(kept) - coloured else 1)
    names = [str(p.relative_to(root)) if root.is_dir() else str(p) for p, _ in kept]
    groups, about = told([found for _, found in kept], names) if patients is None else (
        patients_of(patients, names, root))
    x = np.stack([read_image(file, size, channels, scale) for file, _ in kept])
    return Images(x, names, groups, about, notes)
