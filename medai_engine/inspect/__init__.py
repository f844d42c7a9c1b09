"""Looking into models and into this installation."""

from .doctor import doctor
from .summary import summary

__all__ = ["doctor", "summary"]
