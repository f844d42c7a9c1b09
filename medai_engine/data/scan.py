"""What the readers of medical files return: an array that still knows where in the body it lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, say

__all__ = ["Scan", "Signal"]


@dataclass(frozen=True)
class Scan:
    """An image or a volume with its geometry.

    Attributes
    ----------
    array : array, float32
        (H, W), (H, W, 3) in colour, (D, H, W), or (D, H, W, T) with several volumes.
    spacing : tuple of float or None
        Distance in mm between neighbours along H, W or D, H, W; None where the file does not say
        and ``geometry=False`` was asked for.
    affine : array of shape (4, 4) or None
        Takes (d, h, w, 1), d = 0 for an image, to the place in the patient in mm: to the right,
        to the front, to the head (RAS, as NIfTI; DICOM's own axes are turned). None where unknown.
    units : str
        Of the values: ``"HU"`` for CT, else what the file says, or "".
    patient : str
        Who it is, for splits that keep patients apart; "" where the file does not say.
    modality : str
        ``"CT"``, ``"MR"``, ...
    source : str
        The file or folder.
    notes : tuple of str
        What was done to the values beyond reading, and what was left out.
    """

    array: np.ndarray
    spacing: tuple[float, ...] | None
    affine: np.ndarray | None
    units: str = ""
    patient: str = ""
    modality: str = ""
    source: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    def __repr__(self) -> str:
        spacing = "unknown" if self.spacing is None else " x ".join(
            f"{s:.4g}" for s in self.spacing) + " mm"
        return (f"<Scan {self.source}: {self.modality or 'image'} {self.shape}, spacing {spacing}"
                f"{', ' + self.units if self.units else ''}>")


@dataclass(frozen=True)
class Signal:
    """Simultaneous signals of one patient.

    Attributes
    ----------
    array : array of shape (L, C), float32
        NaN where the recording has a gap.
    rate : float
        Samples a second.
    names, units : tuple of str
        Of the C channels.
    patient : str
        The record's name.
    source : str
        The file.
    """

    array: np.ndarray
    rate: float
    names: tuple[str, ...]
    units: tuple[str, ...]
    patient: str = ""
    source: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    def channel(self, name: str) -> np.ndarray:
        """Return one channel, shape (L,)."""
        if name not in self.names:
            raise ParameterError(say(self.source, f"a channel of {', '.join(self.names)}",
                                     repr(name), "Use one of these names"))
        return self.array[:, self.names.index(name)]

    def __repr__(self) -> str:
        return f"<Signal {self.source}: {', '.join(self.names)}, {self.shape} at {self.rate:g} Hz>"


def finite(array: np.ndarray, source: str) -> np.ndarray:
    """Return an array as float32, refusing values that are no numbers."""
    array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        place: Any = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise DataError(say(source, "finite values", f"{array[place]} at {place}",
                            "Repair or leave out this file"))
    return array
