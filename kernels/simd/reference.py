"""The interface of `isa` where nothing is compiled: NumPy chooses its own instruction set."""

__all__ = ["available_isas", "get_isa", "set_isa"]


def available_isas():
    """Return the one entry that stands for NumPy's own kernels."""
    return ("numpy",)


def get_isa():
    """Return the name of the instruction set in use."""
    return "numpy"


def set_isa(name):
    """Accept "numpy" only."""
    if name != "numpy":
        raise ValueError(f"instruction set: expected numpy (nothing is compiled), got {name!r}.")
