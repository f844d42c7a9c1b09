"""NIfTI volumes and WFDB signals (nibabel and wfdb read them; extra ``data``)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ..errors import DataError, ParameterError, extra, say
from .scan import Scan, Signal, finite

__all__ = ["read_nifti", "read_wfdb"]

MILLIMETRES = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}


def read_nifti(path: str | Path, *, units: str | None = None) -> Scan:
    """Read a NIfTI volume as (D, H, W), or (D, H, W, T) with several.

    D goes from feet to head, H from back to front, W from left to right: the axes are turned (never
    resampled), so that every file comes in the same orientation.

    Parameters
    ----------
    path : str
        A ``.nii`` or ``.nii.gz`` file.
    units : {None, "mm", "meter", "micron"}
        Of its spacing, where the file does not say.

    Raises
    ------
    DataError
        When the file is missing, damaged, of another dimension, or without geometry.
    MissingExtraError
        When nibabel is not installed.
    """
    nib = extra("nibabel", "data", "reading NIfTI")
    path = Path(path)
    _exists(path, "NIfTI file")
    if units not in (None, *MILLIMETRES):
        raise ParameterError(say("read_nifti", f"units of {', '.join(MILLIMETRES)}", repr(units),
                                 'Use units="mm"'))
    try:
        image = nib.load(path)
        if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image)):
            raise ValueError(f"{type(image).__name__}")
        header = image.header
        coded = int(header["sform_code"]) or int(header["qform_code"])
        if len(image.shape) > 2:
            image = nib.as_closest_canonical(image)  # axes left-right, back-front, feet-head
        values = np.asarray(image.dataobj)
    except Exception as error:  # nibabel raises many types on damaged files
        raise DataError(say(str(path), "a NIfTI volume", f"{type(error).__name__}: {error}",
                            "Export it again")) from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (3, 4):
        raise DataError(say(str(path), "3 axes, or 4 with time", f"shape {values.shape}",
                            "Split it into volumes"))
    if values.dtype.kind not in "iuf":
        raise DataError(say(str(path), "real numbers", f"values of type {values.dtype}",
                            "Store magnitude, or one channel, as a volume of its own"))
    if not coded:
        raise DataError(say(str(path), "sform or qform geometry", "neither is set",
                            "Export it with its orientation"))
    stated = header.get_xyzt_units()[0]
    if stated not in MILLIMETRES and units is None:
        raise DataError(say(str(path), "the unit of its spacing", "none in the header",
                            'Say it: units="mm"'))
    scale = MILLIMETRES[units or stated]
    affine = image.affine.astype(np.float64)
    affine[:3] *= scale
    # columns of the affine belong to (x, y, z); the array comes as (z, y, x)
    affine = affine[:, [2, 1, 0, 3]]
    spacing = tuple(float(s) for s in np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))
    if min(spacing) <= 0 or not np.isfinite(affine).all():
        raise DataError(say(str(path), "a spacing over 0", spacing, "Export it again"))
    values = values.transpose(2, 1, 0, *range(3, values.ndim))
    return Scan(finite(values, str(path)), spacing, affine, source=str(path))


def read_wfdb(path: str | Path) -> Signal:
    """Read a WFDB record (PhysioNet): all channels in physical units, shape (L, C).

    Parameters
    ----------
    path : str
        The record, with or without ``.hea``. Gaps are NaN. Channels that were sampled several
        times a frame come as the mean of each frame.

    Raises
    ------
    DataError
        When the header or a signal file is missing or damaged, or the record has no signal.
    MissingExtraError
        When wfdb is not installed.
    """
    wfdb = extra("wfdb", "data", "reading WFDB")
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".hea", ".dat") else path
    _exists(stem.with_name(stem.name + ".hea"), "WFDB header")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies
            record = wfdb.rdrecord(str(stem))
    except Exception as error:  # wfdb raises many types on damaged files
        raise DataError(say(str(stem), "a WFDB record", f"{type(error).__name__}: {error}",
                            "Download its .hea and .dat files again")) from error
    values = record.p_signal
    if values is None or not values.size:
        raise DataError(say(str(stem), "signals", "a record without any", "Leave it out"))
    return Signal(np.ascontiguousarray(values, dtype=np.float32), float(record.fs),
                  tuple(record.sig_name), tuple(record.units), record.record_name, str(stem))


def _exists(path: Path, what: str) -> None:
    if not path.is_file():
        raise DataError(say(str(path), f"an existing {what}",
                            "a folder" if path.is_dir() else "no such file",
                            f"Check the path (the current folder is {Path.cwd()})"))
