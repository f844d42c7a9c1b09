"""DICOM images as a screen shows them: grey values between 0 and 1, for networks on pictures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, MedaiError, say
from .dicom import _open, _pixels, _units
from .scan import finite
from .transforms import Window

__all__ = ["Picture", "is_dicom", "read_picture"]

SUFFIXES = {".dcm", ".dicom", ".ima"}


def is_dicom(path: str | Path) -> bool:
    """Tell whether a file is DICOM by its name or, since many have none, by its first bytes."""
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


class Picture(NamedTuple):
    """A DICOM image as a screen shows it.

    Attributes
    ----------
    array : array of shape (H, W, 1) or (H, W, 3), float32
        Between 0 and 1.
    scale : str
        What 0 and 1 stand for.
    patient : str
        PatientID; "" where the file names none.
    about : dict of str to str
        ``sex``, ``age`` (years), ``site`` and ``scanner``, where the file says them.
    """

    array: np.ndarray
    scale: str
    patient: str
    about: dict[str, str]


def read_picture(path: str | Path, window: Window | None = None) -> Picture:
    """Read one DICOM image as grey values (or colours) between 0 and 1.

    Parameters
    ----------
    path : str
        The file, of one frame.
    window : Window, optional
        Of the measured values (Hounsfield units for CT). Without it a CT is shown from -1000 to
        1000 HU, so that a grey means the same tissue in all files; others in the first window that
        their file holds (WindowCenter, WindowWidth), else from their least to their greatest value.

    Raises
    ------
    DataError
        As ``read_dicom``; and when the file has several frames, of which none is "the" image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, on entries that do not matter here
        try:
            return _picture(Path(path), window)
        except MedaiError:
            raise
        except Exception as error:  # pydicom reads entries, and finds damage, as they are asked for
            raise DataError(say(str(path), "a DICOM image", f"{type(error).__name__}: {error}",
                                "Export it again")) from error


def _picture(path: Path, window: Window | None) -> Picture:
    header = _open(path)
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise DataError(say(str(path), "one image", f"{frames} frames in one file",
                            "Save the frames that count as files of their own"))
    values, _ = _pixels(header, path)
    array = finite(values, str(path))
    if array.ndim == 3:
        table = header.get("RedPaletteColorLookupTableDescriptor")
        bits = table[2] if table else header.BitsStored
        array, scale = array / np.float32(2 ** int(bits) - 1), "colours"
    else:
        array = array[..., None]
        window, scale = _window(header, window, array)
        array = window(array)
    return Picture(np.ascontiguousarray(array, np.float32), scale,
                   str(header.get("PatientID") or "").strip(), _about(header))


def _window(header: Any, window: Window | None, array: np.ndarray) -> tuple[Window, str]:
    """Return the window to show values with, and what to call it."""
    if window is not None:
        return window, f"{window.center:g} +- {window.width / 2:g}"
    if _units(header) == "HU":
        return Window.named("wide"), "-1000 to 1000 HU"
    try:
        center, width = (float(np.atleast_1d(header.get(name))[0])
                         for name in ("WindowCenter", "WindowWidth"))
    except (TypeError, ValueError):
        center = width = 0.0
    if width > 0 and np.isfinite([center, width]).all() and "ModalityLUTSequence" not in header:
        if header.get("PhotometricInterpretation") == "MONOCHROME1":  # as the values were
            top = -1 if header.PixelRepresentation else 2 ** int(header.BitsStored) - 1
            slope, intercept = (float(header.get(f"Rescale{n}", d)) for n, d in
                                (("Slope", 1), ("Intercept", 0)))
            center = slope * top + 2 * intercept - center
        return Window(center, width), "the window in the file"
    low, high = float(array.min()), float(array.max())
    return Window((low + high) / 2, (high - low) or 1.0), "least to greatest value of each"


def _about(header: Any) -> dict[str, str]:
    """Return what a file says about its patient and place, for scores by subgroup."""
    names = {"sex": "PatientSex", "site": "InstitutionName", "scanner": "ManufacturerModelName"}
    found = {key: str(header.get(name) or "").strip() for key, name in names.items()}
    age = str(header.get("PatientAge") or "").strip()  # such as 045Y, 006M
    years = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}.get(age[-1:])
    if years and age[:-1].isdigit():
        found["age"] = f"{int(age[:-1]) * years:.4g}"
    return {key: value for key, value in found.items() if value}
