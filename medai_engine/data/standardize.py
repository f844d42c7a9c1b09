"""Measurements in units of their own spread, as the first layer of a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError, say
from ..io.models import buildable
from ..nn import Module
from ..tensor import Buffer, Tensor

__all__ = ["Standardize"]


@buildable
class Standardize(Module):
    """``y = (x - mean) / deviation`` of each feature, over the rows it was fitted on.

    A layer, so that mean and deviation are saved with the model and a patient at prediction time
    is measured with the training patients' ruler.

    Parameters
    ----------
    features : int
        Size of the last axis of x.

    Attributes
    ----------
    mean, deviation : Buffer
        (features,); 0 and 1 until ``fit_rows``.
    """

    def __init__(self, features: int):
        self.features = features
        self.mean = Buffer(np.zeros(features, np.float32))
        self.deviation = Buffer(np.ones(features, np.float32))

    def fit_rows(self, x: Any) -> Standardize:
        """Measure rows of shape (N, features); a feature that never varies keeps deviation 1."""
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != self.features or not len(x):
            raise ShapeError(say("Standardize.fit_rows", f"rows of {self.features} features",
                                 x.shape, f"Use Standardize({x.shape[-1] if x.ndim else 1})"))
        spread = x.std(axis=0)
        self.mean.data[:] = x.mean(axis=0)
        self.deviation.data[:] = np.where(spread > 0, spread, 1.0)
        return self

    def forward(self, x: Any) -> Any:
        """Return x in these units."""
        if not isinstance(x, Tensor) or x.dtype != self.mean.dtype:
            x = Tensor(np.asarray(x.data if isinstance(x, Tensor) else x, self.mean.dtype))
        if x.ndim == 0 or x.shape[-1] != self.features:
            raise ShapeError(say("Standardize", f"{self.features} features", x.shape,
                                 "Give the columns that it was fitted on", {"x": x.shape}))
        return (x - self.mean) / self.deviation
