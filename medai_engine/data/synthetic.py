"""Made-up patients for first runs: slices, histories, procedures. No real person is in them.

Each generator puts the answer where a simple model cannot see it (a linear one on pixels, one of
the last values, one of single steps), because a task that a linear model solves teaches nothing
about a network. Everything follows from the seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import ParameterError, say

__all__ = ["CHANNELS", "PHASES", "Histories", "Phases", "Slices", "histories", "phases", "slices"]


def _random(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed & (2**64 - 1), stream],
                                                             np.uint64)))


def _count(where: str, n: int, least: int, name: str = "n") -> int:
    if not isinstance(n, (int, np.integer)) or n < least:
        raise ParameterError(say(where, f"{name} of {least} or more", repr(n),
                                 f"Use {name}={least}"))
    return int(n)


# ---- slices ------------------------------------------------------------------------------------


class Slices(NamedTuple):
    """CT-like slices.

    Attributes
    ----------
    x : array of shape (N, size, size, 1), float32
        Between 0 (air) and 1 (bone).
    y : array of shape (N,), int64
        1 where there is a nodule.
    patients : array of shape (N,), int64
        Four slices of each.
    """

    x: np.ndarray
    y: np.ndarray
    patients: np.ndarray


def slices(n: int = 2000, size: int = 64, seed: int = 0) -> Slices:
    """Make axial slices of a chest, half of them with a nodule in a lung.

    Body, lungs, spine and ribs differ from patient to patient; every lung has vessels, seen as
    streaks. A nodule is round; slices without one have a further streak of the same brightness and
    area instead, so that neither the mean nor any single pixel tells the two apart.

    Parameters
    ----------
    n : int
        How many slices.
    size : int
        Pixels along each side, 32 or more.
    seed : int

    Examples
    --------
    >>> from medai_engine.data import datasets
    >>> x, y, patients = datasets.slices(8)
    >>> x.shape, int(y.sum()), len(set(patients.tolist()))
    ((8, 64, 64, 1), 4, 2)
    """
    n, size = _count("slices", n, 1), _count("slices", size, 32, "size")
    rng = _random(seed, 1)
    patients = np.arange(n) // 4
    y = np.arange(n) % 2
    count = int(patients[-1]) + 1
    # millimetres do not matter: everything is in units of half the image
    v, u = ((np.mgrid[0:size, 0:size] + 0.5) / (size / 2) - 1).astype(np.float32)
    soft = np.float32(4 / size)  # the width of an edge: two pixels

    def inside(distance: np.ndarray) -> np.ndarray:
        """Return 1 within a border, 0 outside, with an edge of about a pixel."""
        return np.clip(0.5 - distance / soft, 0, 1)

    anatomy = rng.uniform(-1, 1, (count, 12))
    x = np.empty((n, size, size, 1), np.float32)
    for i in range(n):
        a = anatomy[patients[i]]
        shift = rng.uniform(-0.04, 0.04, 2)
        px, py = u - shift[0], v - shift[1]
        wide, high = 0.85 + 0.06 * a[0], 0.68 + 0.05 * a[1]
        body = inside(np.hypot(px / wide, py / high) - 1)
        image = 0.55 * body
        lungs = np.zeros_like(body)
        for side in (-1, 1):
            cx, cy = side * (0.40 + 0.03 * a[2]), -0.02 + 0.04 * a[3 + (side > 0)]
            rx, ry = 0.27 + 0.03 * a[5], 0.43 + 0.04 * a[6]
            lungs = np.maximum(lungs, inside(np.hypot((px - cx) / rx, (py - cy) / ry) - 1))
        image = image * (1 - lungs) + 0.14 * lungs
        image += 0.4 * inside(np.hypot(px, py - 0.42) - 0.10)  # the spine
        ring = np.abs(np.hypot(px / (0.93 * wide), py / (0.93 * high)) - 1) * 0.8
        ribs = np.cos(np.arctan2(py, px) * (9 + int(3 * abs(a[7]))) + 3 * a[8]) > 0.5
        image += 0.35 * inside(ring - 0.025) * ribs
        for _ in range(3 + int(rng.integers(0, 4))):
            image += _streak(rng, px, py, lungs, 0.02, rng.uniform(0.08, 0.22))
        radius = rng.uniform(0.08, 0.13)
        if y[i]:
            cx, cy = _place(rng, a)
            image += 0.6 * inside(np.hypot(px - cx, py - cy) - radius) * lungs
        else:  # pi r^2 = 2 w l: as bright and as large, but long
            image += _streak(rng, px, py, lungs, 0.03, np.pi * radius**2 / 0.06 / 2, 0.6)
        texture = rng.normal(0, 1, (size, size))
        texture = (texture + np.roll(texture, 1, 0) + np.roll(texture, 1, 1)
                   + np.roll(texture, (1, 1), (0, 1))) / 2
        x[i, ..., 0] = image * rng.uniform(0.92, 1.08) + 0.035 * texture
    return Slices(np.clip(x, 0, 1), y, patients)


def _place(rng: np.random.Generator, a: np.ndarray) -> tuple[float, float]:
    """Return a place within a lung."""
    side = rng.choice([-1.0, 1.0])
    angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 0.55))
    return (side * (0.40 + 0.03 * a[2]) + 0.27 * reach * np.cos(angle),
            -0.02 + 0.43 * reach * np.sin(angle))


def _streak(rng: np.random.Generator, px: np.ndarray, py: np.ndarray, lungs: np.ndarray,
            width: float, half: float, bright: float | None = None) -> np.ndarray:
    """Return a vessel: a bright line of a half length, at a random place and angle."""
    cx, cy = _place(rng, np.zeros(12))
    angle = rng.uniform(0, np.pi)
    along = (px - cx) * np.cos(angle) + (py - cy) * np.sin(angle)
    across = (py - cy) * np.cos(angle) - (px - cx) * np.sin(angle)
    distance = np.hypot(np.maximum(np.abs(along) - half, 0), across) - width
    level = rng.uniform(0.2, 0.42) if bright is None else bright
    return level * np.clip(0.5 - distance * (len(px) / 4), 0, 1) * lungs


# ---- histories ---------------------------------------------------------------------------------

CHANNELS = ("heart rate", "systolic pressure", "diastolic pressure", "respiratory rate",
            "oxygen saturation", "temperature", "consciousness", "urine output",
            "lactate", "creatinine", "white cells", "platelets",
            "bilirubin", "potassium", "sodium", "glucose")
# mean and spread of each, and how it moves (in spreads) when perfusion fails
NORMAL = np.array([[82, 11], [122, 13], [74, 9], [16, 3], [96.5, 1.5], [37.0, 0.45], [14.6, 0.7],
                   [75, 28], [1.3, 0.5], [0.95, 0.25], [8.5, 2.4], [235, 55], [0.8, 0.3],
                   [4.1, 0.4], [139, 3], [118, 26]])
SHOCK = np.array([1.8, -1.9, -1.5, 1.2, -0.6, 0.3, -0.8, -1.3, 1.6, 0.7, 0.5, -0.3, 0.1, 0.2, 0, 0])
# how often it is measured: vital signs most hours, laboratory values a few times a day
MEASURED = np.array([0.9] * 5 + [0.6, 0.5, 0.7] + [0.15] * 8)


class Histories(NamedTuple):
    """Hours of intensive care.

    Attributes
    ----------
    x : array of shape (N, T, 16), float32
        Values of ``CHANNELS`` in their usual units; NaN where not measured, and after the end.
    lengths : array of shape (N,), int64
        Hours of each stay.
    y : array of shape (N,), int64
        1 where the patient deteriorated within the following day.
    """

    x: np.ndarray
    lengths: np.ndarray
    y: np.ndarray


def histories(n: int = 2000, seed: int = 0) -> Histories:
    """Make hourly vital signs and laboratory values of stays of 12 to 72 hours.

    Who deteriorates has had shock (fast heart, low pressure, rising lactate) for six hours or more
    at some time; who does not has had some short spells, of as many hours in all. By the
    end of the stay both are back to normal, nearly: the last values say little, the course does.
    Patients differ in their own normal values; sick ones are measured a little more often.

    Examples
    --------
    >>> from medai_engine.data import datasets
    >>> x, lengths, y = datasets.histories(10)
    >>> x.shape[2], int(y.sum())
    (16, 5)
    """
    n = _count("histories", n, 2)
    rng = _random(seed, 2)
    y = np.arange(n) % 2
    lengths = rng.integers(12, 73, n)
    most = int(lengths.max())
    x = np.full((n, most, len(CHANNELS)), np.nan)
    for i in range(n):
        hours = int(lengths[i])
        state = np.zeros(hours)
        total = int(rng.integers(6, 10))
        if y[i]:
            start = int(rng.integers(0, hours - total))
            state[start: start + total] = 1
        else:  # the same hours in spells of one or two
            free = rng.permutation(np.arange(0, hours - 1, 3))
            left = total
            for at in free:
                spell = min(left, int(rng.integers(1, 3)))
                state[at: at + spell] = 1
                left -= spell
                if left == 0:
                    break
        state *= rng.uniform(0.8, 1.3)
        course = np.zeros((hours, len(CHANNELS)))
        own = rng.normal(0, 0.7, len(CHANNELS))
        drift = rng.normal(0, 0.35, (hours, len(CHANNELS)))
        memory = np.zeros(len(CHANNELS))
        for t in range(hours):
            memory = 0.8 * memory + drift[t]
            course[t] = own + memory + SHOCK * state[t] + rng.normal(0, 0.3, len(CHANNELS))
        values = NORMAL[:, 0] + NORMAL[:, 1] * course
        seen = rng.uniform(size=values.shape) < np.minimum(
            MEASURED * (1 + 0.25 * y[i] * rng.uniform(0, 1)), 0.97)
        seen[0] |= MEASURED > 0.5  # admission
        values[:, 4] = np.minimum(values[:, 4], 100)
        values[:, 6] = np.clip(np.round(values[:, 6]), 3, 15)
        x[i, :hours] = np.where(seen, np.maximum(values, 0.05), np.nan)
    return Histories(x.astype(np.float32), lengths.astype(np.int64), y)


# ---- phases ------------------------------------------------------------------------------------

PHASES = ("preparation", "calot triangle dissection", "clipping and cutting",
          "gallbladder dissection", "gallbladder packaging", "cleaning and coagulation",
          "gallbladder retraction")


class Phases(NamedTuple):
    """Procedures, step by step.

    Attributes
    ----------
    x : array of shape (N, T, 64), float32
        What a camera and the instruments would give at each step.
    y : array of shape (N, T), int64
        The phase, of ``PHASES``.
    """

    x: np.ndarray
    y: np.ndarray


def phases(n: int = 400, steps: int = 100, features: int = 64, seed: int = 0) -> Phases:
    """Make gall bladder operations: seven phases of varying length, now and then one left out.

    Phases that use the same instruments (dissections; packaging and retraction; clipping and
    coagulation) look nearly alike at a single step: which one it is follows from what came before.

    Examples
    --------
    >>> from medai_engine.data import datasets
    >>> x, y = datasets.phases(3)
    >>> x.shape, y.shape
    ((3, 100, 64), (3, 100))
    """
    n, steps = _count("phases", n, 1), _count("phases", steps, 20)
    features = _count("phases", features, 8)
    looks = _random(0, 3)  # the same instruments for every seed
    rng = _random(seed, 4)
    shared = looks.normal(0, 1, (4, features))[[0, 1, 2, 1, 3, 2, 3]]
    own = shared + 0.12 * looks.normal(0, 1, (7, features))
    typical = np.array([8, 30, 10, 25, 8, 12, 7], float)
    x = np.empty((n, steps, features), np.float32)
    y = np.empty((n, steps), np.int64)
    for i in range(n):
        lasting = typical * rng.lognormal(0, 0.35, 7)
        lasting[[4, 5]] *= rng.uniform(size=2) > 0.15  # left out by some surgeons
        ends = np.cumsum(lasting) / lasting.sum() * steps
        y[i] = np.minimum(np.searchsorted(ends, np.arange(steps) + 0.5), 6)
        camera = np.cumsum(rng.normal(0, 0.12, (steps, features)), axis=0)
        camera -= camera.mean(axis=0)
        x[i] = own[y[i]] + camera + rng.normal(0, 1.5, (steps, features))
    return Phases(x, y)
