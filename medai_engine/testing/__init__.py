"""Gradient checks for any function, op or module (``me.testing.gradcheck``)."""

from .gradients import GradientError, gradcheck, gradgradcheck

__all__ = ["GradientError", "gradcheck", "gradgradcheck"]
