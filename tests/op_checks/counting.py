"""Arrays that count: what a kernel's definition does is what the op's cost record has to say.

One operation is one element of one NumPy function: an arithmetic operation, a comparison, a
logical connective or a call of a function such as exp. A reduction of n elements takes n - 1, a
product of matrices 2 per multiply-add, kept apart as contraction. Choosing (where), moving,
converting and arithmetic of indices are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Counted(np.ndarray):
    """An array whose functions add to ``tally``."""

    tally: dict[str, int]

    def __array_finalize__(self, source: Any) -> None:
        self.tally = getattr(source, "tally", {"contraction": 0, "other": 0})

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None,
                        **options: Any) -> Any:
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        if out is not None:
            options["out"] = tuple(
                x.view(np.ndarray) if isinstance(x, Counted) else x for x in out)
        result = getattr(ufunc, method)(*plain, **options)
        size = np.size(result)
        if all(np.asarray(x).dtype.kind in "iu" for x in plain if x is not None):
            pass
        elif ufunc is np.matmul:
            self.tally["contraction"] += 2 * size * plain[0].shape[-1]
        elif method == "__call__":
            # clipping compares with both bounds
            self.tally["other"] += size * (2 if ufunc.__name__ == "clip" else 1)
        elif method == "reduce":
            self.tally["other"] += max(0, plain[0].size - size)
        elif method == "accumulate":
            axis = options.get("axis", 0)
            self.tally["other"] += size - (size // plain[0].shape[axis] if size else 0)
        elif method == "at":
            self.tally["other"] += np.size(plain[2])
            return None
        else:
            raise NotImplementedError(f"counting {ufunc.__name__}.{method}")
        return wrap(result, self.tally)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if function is np.einsum:
            self.tally["contraction"] += 2 * summed(*arguments[: 1 + arguments[0].count(",") + 1])
        result = super().__array_function__(function, types, arguments, options)
        if function in (np.argmax, np.argmin):
            self.tally["other"] += max(0, np.size(arguments[0]) - np.size(result))
        return wrap(result, self.tally)


def summed(subscripts: str, *arrays: np.ndarray) -> int:
    """Return how many products an einsum adds."""
    sizes: dict[str, int] = {}
    for letters, array in zip(subscripts.split("->")[0].split(","), arrays, strict=True):
        sizes.update(zip(letters, array.shape, strict=True))
    return int(np.prod(list(sizes.values())))


def wrap(result: Any, tally: dict[str, int]) -> Any:
    """Let a result count into the same tally."""
    if isinstance(result, np.ndarray):
        result = result.view(Counted)
        result.tally = tally
    return result


def counting(arrays: Sequence[np.ndarray]) -> tuple[list[Any], dict[str, int]]:
    """Return the arrays as counting ones, and their common tally."""
    tally = {"contraction": 0, "other": 0}
    return [wrap(np.array(x), tally) for x in arrays], tally
