"""DICOM files and series (pydicom reads them; extra ``data``).

Nothing is guessed: where the geometry is missing or contradicts itself, an error says which file
and which attribute. Values are those that the scanner measured: the modality's rescale is applied
(Hounsfield units for CT), inverted grey scales (MONOCHROME1) are turned over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, extra, say
from .scan import Scan, finite

__all__ = ["read_dicom", "read_dicom_series"]

SAME = 1e-3  # relative difference of spacings and cosines that is a rounding of decimal strings
EVEN = 0.01  # largest relative difference between gaps of neighbouring slices


def read_dicom(path: str | Path, *, geometry: bool = True) -> Scan:
    """Read one DICOM image: (H, W), (H, W, 3) in colour, (D, H, W) with several frames.

    Parameters
    ----------
    path : str
        The file.
    geometry : bool
        Whether the spacing has to be known. With False it is None where the file lacks it.

    Raises
    ------
    DataError
        When the file is missing, no DICOM, truncated, without an image, in a compression that is
        not installed, or without spacing.
    MissingExtraError
        When pydicom is not installed.
    """
    path = Path(path)
    header = _open(path)
    array, notes = _pixels(header, path)
    spacing: tuple[float, ...] | None = None
    if geometry or header.get("PixelSpacing") is not None:
        spacing = _spacing(header, path)
    affine = None
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1 and spacing is not None:
        gap = header.get("SpacingBetweenSlices")
        if gap is None and geometry:
            raise DataError(say(str(path), "SpacingBetweenSlices of its frames", "none",
                                "Pass geometry=False if the distance does not matter"))
        spacing = None if gap is None else (abs(float(gap)), *spacing)
    elif frames == 1 and spacing is not None and header.get("ImagePositionPatient") is not None:
        along, down, normal = _directions(header, path)
        origin = _numbers(header, "ImagePositionPatient", 3, path)
        affine = _affine(origin, normal, down * spacing[0], along * spacing[1])
    return Scan(finite(array, str(path)), spacing, affine, _units(header),
                str(header.get("PatientID") or ""), str(header.get("Modality") or ""), str(path),
                tuple(notes))


def read_dicom_series(folder: str | Path | Sequence[str | Path], *, series: str | None = None
                      ) -> Scan:
    """Read the slices of one series as a volume (D, H, W), sorted by their place in the patient.

    Slices lie along the normal of the image plane, from the first position to the last; file names
    and instance numbers are not trusted.

    Parameters
    ----------
    folder : str, or list of files
        Where the slices are (sub-folders included). Files that are no DICOM images are left out
        and counted in ``notes``.
    series : str, optional
        The SeriesInstanceUID, where the folder holds several.

    Raises
    ------
    DataError
        When there is no slice, more than one series or patient, when slices differ in size,
        orientation or spacing, or when positions are missing, doubled or unevenly spaced (a slice
        is missing): with the files and places.
    """
    if isinstance(folder, (str, Path)):
        root = Path(folder)
        if not root.is_dir():
            raise DataError(say(str(root), "a folder of DICOM files",
                                "a file" if root.is_file() else "no such folder",
                                "Use read_dicom for one file" if root.is_file()
                                else f"Check the path (the current folder is {Path.cwd()})"))
        files, where = sorted(p for p in root.rglob("*") if p.is_file()), str(root)
    else:
        files = [Path(p) for p in folder]
        where = f"{len(files)} files"
    found: dict[str, list[tuple[Path, Any]]] = {}
    left_out = 0
    for path in files:
        header = _header(path)
        if header is None or "Rows" not in header:
            left_out += 1
            continue
        found.setdefault(str(header.get("SeriesInstanceUID") or ""), []).append((path, header))
    if not found:
        raise DataError(say(where, "DICOM images", f"none among {len(files)} files",
                            "Check the folder"))
    if series is None and len(found) > 1:
        lines = [f"{uid} ({len(members)} images, {members[0][1].get('SeriesDescription', '')})"
                 for uid, members in found.items()]
        raise DataError(say(where, "one series", f"{len(found)}: {'; '.join(lines)}",
                            "Choose one: series=UID"))
    uid = next(iter(found)) if series is None else series
    if uid not in found:
        raise DataError(say(where, f"the series {uid}", f"only {', '.join(found)}",
                            "Use one of these"))
    notes = [f"{left_out} files that are no DICOM images were left out"] * (left_out > 0)
    return _volume(found[uid], where, notes)


def _volume(slices: list[tuple[Path, Any]], where: str, notes: list[str]) -> Scan:
    first_path, first = slices[0]
    for name in ("PatientID", "Rows", "Columns", "Modality", "PhotometricInterpretation"):
        for path, header in slices:
            if header.get(name) != first.get(name):
                raise DataError(say(where, f"one {name} in a series",
                                    f"{first.get(name)} in {first_path.name} and "
                                    f"{header.get(name)} in {path.name}",
                                    "Choose the files that belong together"))
    spacing = _spacing(first, first_path)
    along, down, normal = _directions(first, first_path)
    places = []
    for path, header in slices:
        other = _directions(header, path)
        if max(np.abs(a - b).max() for a, b in zip((along, down), other[:2], strict=True)) > SAME:
            raise DataError(say(where, "one orientation in a series",
                                f"another in {path.name} than in {first_path.name}",
                                "Leave out localisers and reformatted images"))
        if not np.allclose(_spacing(header, path), spacing, rtol=SAME):
            raise DataError(say(where, f"one PixelSpacing, {spacing}",
                                f"another in {path.name}", "Choose the files of one acquisition"))
        places.append(_numbers(header, "ImagePositionPatient", 3, path))
    depth = np.array([p @ normal for p in places])
    order = np.argsort(depth, kind="stable")
    slices = [slices[i] for i in order]
    places, depth = [places[i] for i in order], depth[order]
    if len(slices) == 1:
        raise DataError(say(where, "two slices or more for a volume", "one",
                            "Use read_dicom for one image"))
    gaps = np.diff(depth)
    gap = float(np.quantile(gaps, 0.5, method="lower"))
    for i, each in enumerate(gaps):
        pair = f"{slices[i][0].name} and {slices[i + 1][0].name}"
        if each <= SAME:
            raise DataError(say(where, "one slice at each place",
                                f"two at {depth[i]:.3f} mm: {pair}",
                                "Remove the copies, or separate the phases of the acquisition"))
        if abs(each - gap) > EVEN * gap:
            raise DataError(say(where, f"slices {gap:.4g} mm apart",
                                f"{each:.4g} mm between {pair}",
                                "A slice is missing or the series has gaps: complete it"))
    shift = (places[-1] - places[0]) - (depth[-1] - depth[0]) * normal
    if np.abs(shift).max() > EVEN * max(float(depth[-1] - depth[0]), gap):
        raise DataError(say(where, "slices stacked along their normal",
                            f"a shear of {np.abs(shift).max():.3g} mm (a tilted gantry)",
                            "Resample the series to a straight one first"))
    gap = float(depth[-1] - depth[0]) / len(gaps)
    parts = []
    for path, header in slices:
        array, own = _pixels(header if "PixelData" in header else _open(path), path)
        if array.ndim != 2:
            raise DataError(say(str(path), "a grey slice (H, W)", array.shape,
                                "Read colour and multi-frame files with read_dicom"))
        notes += [note for note in own if note not in notes]
        parts.append(array)
    return Scan(finite(np.stack(parts), where), (gap, *spacing),
                _affine(places[0], normal * gap, down * spacing[0], along * spacing[1]),
                _units(first), str(first.get("PatientID") or ""), str(first.get("Modality") or ""),
                where, tuple(notes))


# ---- one file -----------------------------------------------------------------------------------


def _open(path: Path) -> Any:
    """Return a whole file, or say what is wrong with it."""
    pydicom = extra("pydicom", "data", "reading DICOM")
    if not path.is_file():
        raise DataError(say(str(path), "an existing DICOM file",
                            "a folder" if path.is_dir() else "no such file",
                            "Use read_dicom_series for a folder" if path.is_dir()
                            else f"Check the path (the current folder is {Path.cwd()})"))
    try:
        return pydicom.dcmread(path)
    except Exception as error:  # pydicom raises many types on damaged files
        raise DataError(say(str(path), "a DICOM file", f"{type(error).__name__}: {error}",
                            "Export it again")) from error


def _header(path: Path) -> Any:
    """Return a file's attributes without its pixels, or None when it is no DICOM."""
    pydicom = extra("pydicom", "data", "reading DICOM")
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception:  # not one of ours
        return None


def _pixels(header: Any, path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the measured values, and what was done to get them."""
    pixels = extra("pydicom.pixels", "data", "reading DICOM")
    if "PixelData" not in header:
        raise DataError(say(str(path), "an image",
                            f"a DICOM file without one ({header.get('Modality', 'no modality')})",
                            "Leave this file out"))
    if "TransferSyntaxUID" not in getattr(header, "file_meta", ()):
        raise DataError(say(str(path), "a TransferSyntaxUID", "none",
                            "Export it again as a complete DICOM file"))
    try:
        array = header.pixel_array
    except Exception as error:
        raise DataError(say(str(path), "an image that can be decoded",
                            f"{type(error).__name__}: {' '.join(str(error).split())}",
                            "Export it again, uncompressed if a decoder is missing")) from error
    notes = []
    kind = str(header.get("PhotometricInterpretation") or "")
    if kind == "MONOCHROME1":  # the smallest stored value is white
        stored = int(header.BitsStored)
        array = (-1 - array.astype(np.int64) if header.PixelRepresentation
                 else 2**stored - 1 - array.astype(np.int64))
        notes.append("grey values turned over (MONOCHROME1)")
    elif kind == "PALETTE COLOR":
        array = pixels.apply_color_lut(array, header)
    if "RescaleSlope" in header or "ModalityLUTSequence" in header:
        array = pixels.apply_modality_lut(array, header)
    return array, notes


def _units(header: Any) -> str:
    kind = str(header.get("RescaleType") or "")
    if header.get("Modality") == "CT" and "RescaleSlope" in header and kind in ("", "HU", "US"):
        return "HU"  # a CT's rescale is to Hounsfield units unless it says otherwise
    return kind if kind != "US" else ""


def _numbers(header: Any, name: str, count: int, path: Path) -> np.ndarray:
    value = header.get(name)
    try:
        numbers = np.array([float(v) for v in value])
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise DataError(say(str(path), f"{name} of {count} numbers", value if value else "none",
                            "Export the images with their geometry"))
    return numbers


def _spacing(header: Any, path: Path) -> tuple[float, float]:
    if header.get("PixelSpacing") is None:
        fix = "Pass geometry=False if distances do not matter"
        if header.get("ImagerPixelSpacing") is not None:
            fix = f"ImagerPixelSpacing is at the detector, not in the patient. {fix}"
        raise DataError(say(str(path), "PixelSpacing", "none", fix))
    spacing = _numbers(header, "PixelSpacing", 2, path)
    if spacing.min() <= 0:
        raise DataError(say(str(path), "PixelSpacing over 0", tuple(spacing),
                            "Export the image again"))
    return float(spacing[0]), float(spacing[1])


def _directions(header: Any, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit vectors along a row, down a column, and of the slices' normal (LPS)."""
    numbers = _numbers(header, "ImageOrientationPatient", 6, path)
    along, down = numbers[:3], numbers[3:]
    if max(abs(along @ along - 1), abs(down @ down - 1), abs(along @ down)) > 10 * SAME:
        raise DataError(say(str(path), "ImageOrientationPatient: two unit vectors at right angles",
                            tuple(numbers.tolist()), "Export the images again"))
    return along, down, np.cross(along, down)


def _affine(origin: np.ndarray, slice_step: np.ndarray, row_step: np.ndarray,
            column_step: np.ndarray) -> np.ndarray:
    """Return the map from (d, h, w, 1) to RAS, from steps in DICOM's LPS."""
    affine = np.eye(4)
    affine[:3] = np.stack([slice_step, row_step, column_step, origin], axis=1)
    affine[:2] *= -1  # left -> right, back -> front
    return affine
