"""The package as its users see it: Keras's layers are written with its public names."""

from typing import Any

import medai_engine

__all__ = ["me"]

me: Any = medai_engine  # half of its names are made from a table, which type checkers cannot see
