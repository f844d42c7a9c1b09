"""Op cards: ``me.inspect.op("conv2d")`` shows all that is known of an op, and runs it."""

from .card import Card, op, ops

__all__ = ["Card", "op", "ops"]
