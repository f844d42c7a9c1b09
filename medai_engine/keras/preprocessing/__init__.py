"""Where Keras's users look for ``pad_sequences``."""

from . import sequence

__all__ = ["sequence"]
