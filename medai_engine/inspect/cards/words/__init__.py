"""Gradient rules derived in words, by op and input.

A table beside the records, not a field of them: what the record needs to compute is in the record,
these are two hundred sentences for readers, and the files of the ops would double for them. Nothing
here is said twice: the equation is the record's doc, the rule is shown from its source, and a test
fails where a rule has no words or words have no rule.

``g`` is the gradient of the loss L in the result, g = dL/dy; a rule gives dL/dx = g dy/dx for
each input x (summed over the elements of y that read an element of x).
"""

from __future__ import annotations

from .arrays import ARRAYS
from .elementwise import ELEMENTWISE
from .layers import LAYERS

__all__ = ["DERIVATIONS"]

# Per op a sentence or more for each input with a gradient; "*" for one that covers all of them.
DERIVATIONS: dict[str, dict[str, str]] = {**ELEMENTWISE, **ARRAYS, **LAYERS}
