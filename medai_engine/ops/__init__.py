"""The ops, one file per family; importing this registers all of them."""

from . import elementwise, linalg, reduce, shape  # noqa: F401
