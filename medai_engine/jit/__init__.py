"""``me.jit``: a step recorded once, simplified, planned, and replayed.

``capture`` decides whether a call is recorded or replayed; ``record`` writes the ops down as lines
over values; ``rewrite`` (with ``chains``, ``epilogues``, ``updates``, ``upsampling``) makes fewer
lines of them; ``memory`` gives the values their places in one arena; ``plan`` binds kernels to
arguments and replays; ``recompute`` lets results be differentiated outside; ``show`` prints,
``history`` tells what each rule did.
"""

from .capture import Jitted, jit
from .plan import Plan

__all__ = ["Jitted", "Plan", "jit"]
