"""Augmentation: random changes of an image that a diagnosis must not depend on.

A transform is called as ``t(x, rng)`` on one image (H, W, C) or volume (D, H, W, C), float32, and
returns another. All randomness comes from ``rng``; ``Augment`` makes one for each (seed, epoch,
sample), so results do not depend on the number of workers or on the order of batches.
Interpolation leans on SciPy (extra ``data``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import DataError, ParameterError, ShapeError, extra, say

__all__ = ["Affine", "Augment", "CenterCrop", "Compose", "Cutout", "Elastic", "Flip", "Intensity",
           "Noise", "Normalize", "RandomCrop", "Resize", "Rotate", "Window", "mixup"]

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def generator(seed: int, epoch: int, sample: int) -> np.random.Generator:
    """Return the random numbers of one sample in one epoch."""
    mask = 2**64 - 1
    return np.random.Generator(np.random.Philox(
        key=np.array([seed & mask, sample & mask], np.uint64), counter=[0, 0, 0, epoch & mask]))


def _ndimage() -> Any:
    return extra("scipy.ndimage", "data", "transforms")


def _spatial(x: np.ndarray, where: str) -> int:
    """Return the number of spatial axes."""
    if x.ndim not in (3, 4):
        raise ShapeError(say(where, "an image (H, W, C) or a volume (D, H, W, C)", x.shape,
                             "Add the axis of channels: x[..., None]"))
    return x.ndim - 1


def _sizes(value: Any, axes: int, where: str) -> tuple[int, ...]:
    sizes = (int(value),) * axes if np.ndim(value) == 0 else tuple(int(v) for v in value)
    if len(sizes) != axes or min(sizes) < 1:
        raise ParameterError(say(where, f"{axes} sizes of 1 or more", repr(value),
                                 f"Pass one number, or {axes}"))
    return sizes


def _between(where: str, name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ParameterError(say(where, f"{name} from {low:g} to {high:g}", repr(value),
                                 f"Use {name}={low:g} to switch it off"))
    return float(value)


class Compose:
    """Several transforms, one after the other."""

    def __init__(self, transforms: Sequence[Transform]):
        self.transforms = list(transforms)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Apply them."""
        for transform in self.transforms:
            x = transform(x, rng)
        return np.ascontiguousarray(x, dtype=np.float32)

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


class Resize:
    """Resample to a size: linear, after averaging over the source pixels where it shrinks."""

    def __init__(self, size: int | Sequence[int]):
        self.size = size

    def __call__(self, x: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return x in the new size; needs no random numbers."""
        axes = _spatial(x, "Resize")
        sizes = _sizes(self.size, axes, "Resize")
        for axis, size in enumerate(sizes):
            x = _resample(x, axis, size)
        return x


def _resample(x: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Resample one axis with a triangle filter, as wide as the larger of the two pixels."""
    old = x.shape[axis]
    if old == size:
        return x
    scale = old / size
    width = max(scale, 1.0)
    centre = (np.arange(size) + 0.5) * scale - 0.5
    weight = np.maximum(0, 1 - np.abs(np.arange(old) - centre[:, None]) / width)
    weight /= weight.sum(axis=1, keepdims=True)
    moved = np.moveaxis(x, axis, -1)
    return np.moveaxis(moved @ weight.T.astype(x.dtype), -1, axis)


class CenterCrop:
    """The middle part of a size."""

    def __init__(self, size: int | Sequence[int]):
        self.size = size

    def __call__(self, x: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return the middle of x; needs no random numbers."""
        sizes = _fit(x, self.size, "CenterCrop")
        return x[tuple(slice((n - s) // 2, (n - s) // 2 + s)
                       for n, s in zip(x.shape, sizes, strict=False))]


class RandomCrop:
    """A part of a size at a random place, after padding all sides with zeros."""

    def __init__(self, size: int | Sequence[int], padding: int = 0):
        self.size, self.padding = size, int(padding)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the part."""
        if self.padding:
            x = np.pad(x, [(self.padding,) * 2] * (x.ndim - 1) + [(0, 0)])
        sizes = _fit(x, self.size, "RandomCrop")
        starts = [int(rng.integers(0, n - s + 1)) for n, s in zip(x.shape, sizes, strict=False)]
        return x[tuple(slice(a, a + s) for a, s in zip(starts, sizes, strict=True))]


def _fit(x: np.ndarray, size: Any, where: str) -> tuple[int, ...]:
    sizes = _sizes(size, _spatial(x, where), where)
    if any(s > n for s, n in zip(sizes, x.shape, strict=False)):
        raise ShapeError(say(where, f"an image of at least {sizes}", x.shape[:-1],
                             "Resize first, or crop less"))
    return sizes


class Normalize:
    """(x - mean) / std, per channel."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]):
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        if not (self.std > 0).all():
            raise ParameterError(say("Normalize", "std over 0", std,
                                     "Measure it on training images"))

    def __call__(self, x: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return x normalised; needs no random numbers."""
        return (x - self.mean) / self.std


class Window:
    """The grey scale that radiologists look at: ``center - width / 2`` is 0, ``+ width / 2`` 1.

    ``Window.named`` has the usual ones for CT in Hounsfield units.
    """

    NAMES: ClassVar[dict[str, tuple[float, float]]] = {
        "lung": (-600.0, 1500.0), "soft": (40.0, 400.0), "bone": (400.0, 1800.0),
        "brain": (40.0, 80.0), "wide": (0.0, 2000.0)}

    def __init__(self, center: float, width: float):
        self.center, self.width = float(center), float(width)
        if self.width <= 0:
            raise ParameterError(say("Window", "a width over 0", repr(width), "Use width=400"))

    @classmethod
    def named(cls, name: str) -> Window:
        """Return a usual window: lung, soft (tissue), bone, brain, or wide, which has all."""
        if name not in cls.NAMES:
            raise ParameterError(say("window", f"one of {', '.join(cls.NAMES)}, or center and "
                                     "width", repr(name), "Use lung, or -600 1500"))
        return cls(*cls.NAMES[name])

    def __repr__(self) -> str:
        return f"Window({self.center:g}, {self.width:g})"

    def __call__(self, x: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return x between 0 and 1; needs no random numbers."""
        low = self.center - self.width / 2
        return np.clip((x - np.float32(low)) / np.float32(self.width), 0, 1)


class Flip:
    """Mirror along an axis with probability p (the last spatial axis: left and right)."""

    def __init__(self, axis: int = -1, p: float = 0.5):
        self.axis, self.p = axis, _between("Flip", "p", p, 0, 1)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return x or its mirror image."""
        axes = _spatial(x, "Flip")
        if not -axes <= self.axis < axes:
            raise ParameterError(say("Flip", f"an axis from {-axes} to {axes - 1}",
                                     repr(self.axis), "Use axis=-1 for left and right"))
        return np.flip(x, self.axis % axes) if rng.random() < self.p else x


class Affine:
    """Rotation, shift, scale and shear together, by one linear interpolation.

    Parameters
    ----------
    degrees : float
        The image is turned by up to this angle, either way, in the plane of the last two axes.
    translate : float
        Shifted by up to this share of each size.
    scale : pair of float
        Enlarged by a factor between these two.
    shear : float
        Sheared along the last axis by up to this angle in degrees.
    fill : float or None
        The value of what comes from outside; None repeats the edge.
    """

    def __init__(self, degrees: float = 0.0, translate: float = 0.0,
                 scale: tuple[float, float] = (1.0, 1.0), shear: float = 0.0,
                 fill: float | None = 0.0):
        self.degrees = _between("Affine", "degrees", degrees, 0, 180)
        self.translate = _between("Affine", "translate", translate, 0, 1)
        self.shear = _between("Affine", "shear", shear, 0, 60)
        low, high = scale
        if not 0 < low <= high:
            raise ParameterError(say("Affine", "scale (low, high) with 0 < low <= high",
                                     repr(scale), "Use scale=(0.9, 1.1)"))
        self.scale, self.fill = (float(low), float(high)), fill

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return x moved."""
        axes = _spatial(x, "Affine")
        turn = np.deg2rad(rng.uniform(-self.degrees, self.degrees))
        shift = rng.uniform(-self.translate, self.translate, axes) * x.shape[:-1]
        size = rng.uniform(*self.scale)
        slant = np.tan(np.deg2rad(rng.uniform(-self.shear, self.shear)))
        plane = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array(
            [[1.0, 0.0], [slant, 1.0]])
        forward = np.eye(axes) * size
        forward[-2:, -2:] = plane * size
        back = np.linalg.inv(forward)  # where an output pixel comes from
        centre = (np.array(x.shape[:-1]) - 1) / 2
        offset = centre - back @ (centre + shift)
        mode, fill = ("nearest", 0.0) if self.fill is None else ("constant", self.fill)
        move = _ndimage().affine_transform
        return np.stack([move(x[..., c], back, offset, order=1, mode=mode, cval=fill)
                         for c in range(x.shape[-1])], axis=-1)


class Rotate(Affine):
    """Rotation by up to ``degrees``, either way."""

    def __init__(self, degrees: float, fill: float | None = 0.0):
        super().__init__(degrees=degrees, fill=fill)


class Elastic:
    """Smooth random displacement: white noise of ``alpha`` pixels, smoothed over ``sigma``.

    References
    ----------
    Simard, Steinkraus & Platt 2003, Best practices for convolutional neural networks applied to
    visual document analysis.
    """

    def __init__(self, alpha: float = 30.0, sigma: float = 4.0):
        self.alpha = _between("Elastic", "alpha", alpha, 0, 1e6)
        self.sigma = _between("Elastic", "sigma", sigma, 0.1, 1e6)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return x displaced."""
        axes = _spatial(x, "Elastic")
        nd = _ndimage()
        grid = np.indices(x.shape[:-1]).astype(np.float64)
        for axis in range(axes):
            noise = rng.uniform(-1, 1, x.shape[:-1])
            grid[axis] += self.alpha * nd.gaussian_filter(noise, self.sigma, mode="constant")
        return np.stack([nd.map_coordinates(x[..., c], grid, order=1, mode="nearest")
                         for c in range(x.shape[-1])], axis=-1)


class Intensity:
    """Another exposure: ``contrast * x^gamma + brightness``, each drawn around no change.

    Parameters
    ----------
    brightness : float
        Added: up to this, either way.
    contrast, gamma : float
        Factor and power between 1 / (1 + v) and 1 + v. A gamma needs values of 0 or more.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, gamma: float = 0.0):
        self.brightness = _between("Intensity", "brightness", brightness, 0, 1e9)
        self.contrast = _between("Intensity", "contrast", contrast, 0, 10)
        self.gamma = _between("Intensity", "gamma", gamma, 0, 10)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return x in another exposure."""
        shift = rng.uniform(-self.brightness, self.brightness)
        factor, power = (np.exp(rng.uniform(-1, 1) * np.log1p(v))
                         for v in (self.contrast, self.gamma))
        if self.gamma:
            if x.min() < 0:
                raise DataError(say("Intensity", "values of 0 or more for gamma",
                                    f"{x.min():g}", "Window the image to 0 .. 1 first"))
            x = x ** np.float32(power)
        return np.float32(factor) * x + np.float32(shift)


class Noise:
    """Gaussian noise of a standard deviation between 0 and ``std``."""

    def __init__(self, std: float):
        self.std = _between("Noise", "std", std, 0, 1e9)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return x with noise."""
        level = np.float32(rng.uniform(0, self.std))
        return x + level * rng.standard_normal(x.shape, dtype=np.float32)


class Cutout:
    """A box of a size at a random place, filled: the model must not rely on one spot.

    References
    ----------
    DeVries & Taylor 2017, Improved regularization of convolutional neural networks with cutout.
    """

    def __init__(self, size: int | Sequence[int], fill: float = 0.0, p: float = 0.5):
        self.size, self.fill, self.p = size, float(fill), _between("Cutout", "p", p, 0, 1)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return x with the box."""
        sizes = _sizes(self.size, _spatial(x, "Cutout"), "Cutout")
        places = [int(rng.integers(0, n)) for n in x.shape[:-1]]
        if rng.random() >= self.p:
            return x
        x = x.copy()
        x[tuple(slice(max(0, c - s // 2), c - s // 2 + s)
                for c, s in zip(places, sizes, strict=True))] = self.fill
        return x


class Augment:
    """A transform as a ``DataLoader`` calls it: one stream of numbers per (seed, epoch, sample).

    Parameters
    ----------
    *transforms : callable
        Applied one after the other to the first array of each sample.
    seed : int
        Where the randomness starts.

    Examples
    --------
    >>> import numpy as np
    >>> from medai_engine.data import transforms as t
    >>> augment = t.Augment(t.Flip(), t.Noise(0.1), seed=1)
    >>> x = np.zeros((4, 4, 1), np.float32)
    >>> bool((augment(x, epoch=0, sample=7) == augment(x, epoch=0, sample=7)).all())
    True
    """

    def __init__(self, *transforms: Transform, seed: int = 0):
        self.compose, self.seed = Compose(transforms), int(seed)

    def __call__(self, x: np.ndarray, epoch: int, sample: int) -> np.ndarray:
        """Return the sample as it looks in this epoch."""
        return self.compose(x, generator(self.seed, epoch, sample))

    def __repr__(self) -> str:
        return f"Augment({', '.join(map(repr, self.compose.transforms))}, seed={self.seed})"


def mixup(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, alpha: float = 0.2
          ) -> tuple[np.ndarray, np.ndarray]:
    """Return l x + (1 - l) x', l y + (1 - l) y' for a batch and a shuffled copy of it.

    Parameters
    ----------
    x : array of shape (N, ...)
    y : array of shape (N, C)
        Probabilities of the classes (one-hot labels).
    rng : numpy.random.Generator
    alpha : float
        l is drawn from Beta(alpha, alpha), one per batch.

    References
    ----------
    Zhang, Cisse, Dauphin & Lopez-Paz 2018, mixup: beyond empirical risk minimization.
    """
    if y.ndim != 2 or y.dtype.kind != "f":
        raise ShapeError(say("mixup", "class probabilities (N, C)", f"{y.dtype} {y.shape}",
                             "Turn class numbers into one-hot rows first"))
    share = y.dtype.type(rng.beta(alpha, alpha))
    other = rng.permutation(len(x))
    return (x.dtype.type(share) * x + x.dtype.type(1 - share) * x[other],
            share * y + (1 - share) * y[other])
