"""Plans for ``fit``, ``evaluate`` and ``predict``: they use ``me.jit`` by themselves.

A user who calls ``fit`` has not asked for a plan, so one is used only where it is sure to do what
the function does. A function that reads values into Python cannot be recorded; one that does
something else at every call (random numbers of NumPy's, counters) shows it when it is recorded a
second time. Both run as they are, with one line that says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import CaptureError
from ..generator import DEFAULT, Generator
from ..jit import Jitted
from ..jit.record import Offset, Program
from ..mode import Mode
from ..nn import Module

__all__ = ["Planned", "generators"]

PATIENCE = 4  # recordings that differ: with a gradient there or not, training or not


def generators(model: Module) -> dict[str, Generator]:
    """Return the default generator and those that modules hold, by name."""
    found = {"default": DEFAULT}
    for i, module in enumerate(model.modules()):
        found |= {f"{i}.{name}": value for name, value in vars(module).items()
                  if isinstance(value, Generator)}
    return found


class Planned(Jitted):
    """A function of a model's that runs as a plan where it can, else as it is.

    Parameters
    ----------
    fn : callable
        Takes tensors and None.
    model : Module
        Whose buffers and generators are put back when a recording has to be given up.
    where : str
        The name for the line that explains.
    """

    def __init__(self, fn: Callable[..., Any], model: Module, where: str):
        super().__init__(fn)
        self.model = model
        self.where = where
        self.plain = False
        self.prints: dict[Any, list[Any]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay, record, or just run."""
        if self.plain:
            return self.eager(args, kwargs)
        return super().__call__(*args, **kwargs)

    def record(self, key: Any, leaves: list[Any], rebuild: Callable[[list[Any]], Any],
               mode: Mode) -> Any:
        """Record, twice before a plan is used; give up where that cannot be."""
        buffers = [(buffer, buffer.data.copy()) for buffer in self.model.buffers()]
        drawn = [(g, g.get_state()) for g in generators(self.model).values()]
        self.last = None
        try:
            result = super().record(key, leaves, rebuild, mode)
        except CaptureError as error:
            for buffer, data in buffers:
                np.copyto(buffer.data, data)
            for generator, state in drawn:
                generator.set_state(state)
            self.give_up(str(error))
            return self.eager(*rebuild(leaves))
        if self.last is not None:
            now, before = fingerprint(self.last.plan.program), self.prints.setdefault(key, [])
            if not any(equal(one, now) for one in before):
                before.append(now)
                self.found[key].remove(self.last)
                self.last = None
            if len(before) > PATIENCE:
                self.give_up("it does something else at every call, so Python or NumPy decides "
                             "inside (draw with me.random, keep counts in buffers)")
        return result

    def give_up(self, reason: str) -> None:
        """Run the function as it is from now on, and say why."""
        self.plain = True
        self.found.clear()
        warnings.warn(f"{self.where} runs without a plan: {reason}", RuntimeWarning, stacklevel=2)


def fingerprint(program: Program) -> list[Any]:
    """Return what two recordings of one function have in common: lines, options, constants."""
    found: list[Any] = []
    for line in program.lines:
        found.append("" if line.op is None else line.op.name)
        found += [value.source.data if value.kind == "constant" else value.shape
                  for value in line.inputs]
        found += [p.relative if isinstance(p, Offset) else p for name, p in line.params.items()
                  if name not in ("seed", "hyper")]
    return found


def equal(a: Any, b: Any) -> bool:
    """Compare nested lists and tuples of arrays and plain values."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)
