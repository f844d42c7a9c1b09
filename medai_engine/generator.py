"""Where random numbers come from: a seed and an offset.

Draws are counter-based (Philox): a number is a function of (seed, offset, index), so it depends
neither on threads nor on what was drawn in another order. A generator only hands out offsets.
"""

from __future__ import annotations

import os
from typing import Any

from .errors import CaptureError, ParameterError, say
from .mode import MODE

__all__ = ["DEFAULT", "Generator", "manual_seed"]


class Generator:
    """A stream of random numbers that starts at a seed.

    Parameters
    ----------
    seed : int
        Any integer; its low 64 bits count. The same seed gives the same numbers on every machine
        and for every number of threads.
    """

    def __init__(self, seed: int | None = None):
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little")
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise ParameterError(say("Generator", "an integer seed", repr(seed), "Pass seed=0"))
        self.seed = int(seed) & 0xFFFFFFFFFFFFFFFF
        self.offset = 0

    def take(self, count: int) -> int:
        """Reserve ``count`` counters (each of four 32-bit words); return the first one."""
        frame = MODE.get().frame
        if frame is not None:
            return frame.draw(self, count)
        return self.advance(count)

    def advance(self, count: int) -> int:
        """Move on by ``count`` counters; return where the reserved ones start."""
        start = self.offset
        self.offset += count
        recorder = MODE.get().recorder
        return start if recorder is None else recorder.draw(self, start, count)

    def get_state(self) -> dict[str, int]:
        """Return seed and position."""
        return {"seed": self.seed, "offset": self.offset}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a seed and position that ``get_state`` gave."""
        if MODE.get().recorder is not None:
            raise CaptureError(say("me.jit", "random numbers that go on from call to call",
                                   "a seed set inside", "Set it before the call"))
        self.seed, self.offset = int(state["seed"]), int(state["offset"])

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, offset={self.offset})"


DEFAULT = Generator()


def manual_seed(seed: int) -> Generator:
    """Start the default generator again at a seed, and return it."""
    DEFAULT.set_state(Generator(seed).get_state())
    return DEFAULT
