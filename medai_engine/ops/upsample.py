"""Upsampling: windows of one input (nearest) or two (linear) for ``resample``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError, say

__all__ = ["Linear", "Nearest"]


def _some(where: str, size: int, n: int) -> int:
    """Return n, or raise where there is nothing to take values from."""
    if size == 0 or n == 0:
        raise ShapeError(say(where, "at least one entry along each axis, before and after",
                             f"{size} and {n}", "Use a larger scale_factor"))
    return n


@dataclass(frozen=True)
class Nearest:
    """n outputs, each a copy of the input at floor(o scale)."""

    n: int
    scale: float  # inputs per output
    step: int = 1

    def out(self, where: str, size: int) -> int:
        """Return the number that was asked for."""
        return _some(where, size, self.n)

    def table(self, size: int) -> np.ndarray:
        """Return windows of one input. PyTorch rounds the product to float32, so it is here."""
        places = np.floor(np.arange(self.n, dtype=np.float32) * np.float32(self.scale))
        start = np.minimum(places.astype(np.int64), size - 1)
        return np.stack([start, start + 1], axis=1)

    def weights(self, size: int) -> np.ndarray:
        """Return ones."""
        return np.ones((self.n, 1))


@dataclass(frozen=True)
class Linear:
    """n outputs between two inputs: centres of pixels meet, ends are repeated."""

    n: int
    scale: float  # inputs per output
    step: int = 1

    def out(self, where: str, size: int) -> int:
        """Return the number that was asked for."""
        return _some(where, size, self.n)

    def _places(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower input and the weight of the upper one."""
        place = np.maximum((np.arange(self.n) + 0.5) * self.scale - 0.5, 0.0)
        start = np.minimum(place.astype(np.int64), size - 1)
        return start, np.clip(place - start, 0.0, 1.0)

    def table(self, size: int) -> np.ndarray:
        """Return windows of two inputs, of one at the end."""
        start, _ = self._places(size)
        return np.stack([start, np.minimum(start + 2, size)], axis=1)

    def weights(self, size: int) -> np.ndarray:
        """Return the shares of both; the last input takes all where it stands alone."""
        start, upper = self._places(size)
        upper = np.where(start == size - 1, 0.0, upper)
        return np.stack([1.0 - upper, upper], axis=1)
