"""NPZ files of users: arrays by name, images among them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..data.images import fitted
from ..data.transforms import Window
from ..errors import DataError, say

__all__ = ["columns_of", "images_of", "read_npz"]


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of an NPZ file."""
    if not Path(path).is_file():
        raise DataError(say(str(path), "an existing NPZ file", "no such file",
                            f"Check the path (the current folder is {Path.cwd()})"))
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
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
