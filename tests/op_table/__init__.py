"""The op table: one row per op of ``medai_engine.op.OPS``, walked by every generic check.

A family file holds the rows of one file of ``medai_engine/ops``::

    row("linear", lambda r: [
            sample(r.normal(5, 3), r.normal(4, 3), r.normal(4)),       # smallest first
            sample(r.normal(0, 3), r.normal(4, 3), r.normal(4))],      # size 0
        bad=[bad(ShapeError, "3 input features", r0(5, 2), r0(4, 3), r0(4))],
        oracles={"torch": lambda x, w, b: torch().nn.functional.linear(x, w, b)},
        terms=lambda x, w, b: (w.shape[1] + 1, abs(x) @ abs(w).T + abs(b)))

``tests/test_ops.py`` says what is done with it. Samples hold 60 elements or fewer per input, a
different size in every dimension, and vary every parameter. Floating inputs are float64 here; the
checks cast them. Where a parameter depends on the dtype of the run, pass a function of it.
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["EXECUTED", "ROWS", "Bad", "Draw", "Pin", "Row", "Sample", "bad", "pin", "r0", "row",
           "sample", "special", "torch"]

CHECKS = ("precision", "sizes", "layouts", "cost", "threads",
          "bad", "early")

ROWS: dict[str, Row] = {}
EXECUTED: Counter[str] = Counter()  # outside oracles that really ran, by library


@dataclass(frozen=True)
class Sample:
    """One call: input arrays, and keyword parameters."""

    inputs: tuple[np.ndarray, ...]
    params: Mapping[str, Any]

    def cast(self, dtype: Any) -> Sample:
        """Return it with floating inputs in a dtype, and parameters that depend on it filled in."""
        dtype = np.dtype(dtype)
        arrays = tuple(x.astype(dtype) if x.dtype.kind == "f" else x.copy() for x in self.inputs)
        return Sample(arrays, {k: v(dtype) if callable(v) and not isinstance(v, type) else v
                               for k, v in self.params.items()})


@dataclass(frozen=True)
class Bad:
    """A call that has to raise ``error`` with a message that matches ``match``.

    ``function`` is called instead of the op where the public function is what users meet.
    """

    error: type[Exception]
    match: str
    inputs: tuple[Any, ...]
    params: Mapping[str, Any]
    function: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Pin:
    """A special case whose result (and gradient of the sum) is known exactly."""

    inputs: tuple[Any, ...]
    params: Mapping[str, Any]
    expected: Any
    gradients: Sequence[Any] | None


class Draw:
    """Random inputs of a row, the same ones every time."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> np.ndarray:
        """Draw from the normal distribution."""
        return self.rng.standard_normal(shape)

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Draw evenly between two numbers."""
        return self.rng.uniform(low, high, shape)

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Draw int64 numbers, low <= n < high."""
        return self.rng.integers(low, high, shape)

    def away(self, kinks: Sequence[float], low: float, high: float, *shape: int) -> np.ndarray:
        """Draw evenly, at least 0.05 away from kinks (finite differences must not cross them)."""
        x = self.rng.uniform(low, high, shape)
        for kink in kinks:
            x = np.where(np.abs(x - kink) < 0.05, kink + np.where(x < kink, -0.05, 0.05), x)
        return x

    def distinct(self, *shape: int) -> np.ndarray:
        """Draw numbers that differ by at least 0.05 from each other (no ties, no near ties)."""
        n = int(np.prod(shape))
        return ((self.rng.permutation(n) - n / 2) * 0.1 + self.rng.uniform(-0.02, 0.02, n)
                ).reshape(shape)


@dataclass(frozen=True)
class Row:
    """What the generic checks need to know of an op.

    Attributes
    ----------
    op : str
        Its name in OPS.
    samples : callable
        Draw -> samples.
    large : callable or None
        Draw -> one sample large enough to be cut into chunks; needed where there is a kernel.
    terms : callable
        (*arrays, **params) -> (k, magnitude): the length of the sums inside and the sum of the
        magnitudes of their terms, for the bound 2 sqrt(k) eps magnitude + 4 eps |y|.
    oracle_terms : callable or None
        The same for the comparison with oracles, where their own rounding is larger.
    derivative : str
        "exact" (step 1: the op is linear in each input), "complex" (step through the reference),
        "stencil" (4 points, samples away from kinks), "none", or "auto": by the op's record.
    bad, pins, oracles
        Calls that raise, known results, and outside functions by library: "torch" ones get and
        give tensors, others arrays.
    equivalent : mapping
        Wrong gradient rules (see test_harness.py) that no check can tell from the right one, with
        the reason.
    exempt : mapping
        Checks that do not apply, with the reason: "precision" (float32 does not approximate
        float64, compare dtype by dtype), "sizes" (no size 0, 1 or uneven), "layouts" (no stride
        0), "cost", "threads", "bad" (none exists), "early" (the error needs a computation),
        "param <name>" (one meaningful value).
    """

    op: str
    samples: Callable[[Draw], list[Sample]]
    large: Callable[[Draw], Sample] | None = None
    terms: Callable[..., tuple[int, Any]] = lambda *arrays, **params: (0, 0.0)
    oracle_terms: Callable[..., tuple[int, Any]] | None = None
    derivative: str = "auto"
    bad: Sequence[Bad] = ()
    pins: Sequence[Pin] = ()
    oracles: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    equivalent: Mapping[str, str] = field(default_factory=dict)
    exempt: Mapping[str, str] = field(default_factory=dict)

    def draw(self) -> list[Sample]:
        """Return the samples, fresh arrays each time."""
        return self.samples(Draw(zlib.crc32(self.op.encode())))

    def draw_large(self) -> Sample:
        """Return the large sample."""
        return self.large(Draw(zlib.crc32(self.op.encode())))


def row(op: str, samples: Callable[[Draw], list[Sample]], **fields: Any) -> Row:
    """Add a row to the table."""
    if op in ROWS:
        raise ValueError(f"two rows for op {op!r}")
    for name, reason in {**fields.get("exempt", {}), **fields.get("equivalent", {})}.items():
        if len(reason) < 10:
            raise ValueError(f"row {op!r}: {name!r} needs a reason")
    for name in fields.get("exempt", {}):
        if name not in CHECKS and not name.startswith("param "):
            raise ValueError(f"row {op!r}: no check is called {name!r}")
    found = ROWS[op] = Row(op, samples, **fields)
    return found


def sample(*inputs: Any, **params: Any) -> Sample:
    """Return a sample; numbers become 0-d float64 arrays."""
    return Sample(tuple(np.asarray(x) for x in inputs), params)


def bad(error: type[Exception], match: str, *inputs: Any, function: Any = None,
        **params: Any) -> Bad:
    """Return a call that has to raise."""
    return Bad(error, match, inputs, params, function)


def pin(expected: Any, *inputs: Any, gradients: Sequence[Any] | None = None,
        **params: Any) -> Pin:
    """Return a call with a known result; lists become float64 arrays."""
    return Pin(tuple(np.asarray(x) for x in inputs), params, expected, gradients)


def r0(*shape: int) -> np.ndarray:
    """Return float32 zeros, for bad inputs."""
    return np.zeros(shape, np.float32)


def torch() -> Any:
    """Return PyTorch, an optional oracle."""
    return importlib.import_module("torch")


def special() -> Any:
    """Return SciPy's special functions, an optional oracle."""
    return importlib.import_module("scipy.special")


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
