"""``me.jit``: a step recorded once, planned, and replayed."""

from .capture import Jitted, jit
from .plan import Plan

__all__ = ["Jitted", "Plan", "jit"]
