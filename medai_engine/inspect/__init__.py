"""Looking into models and into this installation."""

from .cards import Card, op, ops
from .doctor import doctor
from .profiler import profile
from .summary import summary

__all__ = ["Card", "doctor", "op", "ops", "profile", "summary"]
