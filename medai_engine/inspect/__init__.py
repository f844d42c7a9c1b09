"""Looking into models and into this installation."""

from .cards import Card, op, ops
from .doctor import doctor
from .plan_page import plan
from .profiler import profile
from .step import step
from .summary import summary
from .tape import graph, tape

__all__ = ["Card", "doctor", "graph", "op", "ops", "plan", "profile", "step", "summary", "tape"]
