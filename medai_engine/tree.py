"""Nested lists, tuples and dicts of tensors: flatten, and put back together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["flatten", "unflatten"]


def flatten(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Return the leaves of a nested structure, and a function that rebuilds it from leaves."""
    leaves: list[Any] = []
    collect(tree, leaves)
    return leaves, lambda values: unflatten(tree, iter(values))


def collect(tree: Any, leaves: list[Any]) -> None:
    """Append the leaves of a structure to a list, in order."""
    if isinstance(tree, dict):
        for key in tree:
            collect(tree[key], leaves)
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            collect(item, leaves)
    else:
        leaves.append(tree)


def unflatten(tree: Any, values: Any) -> Any:
    """Return a structure like ``tree`` whose leaves come from an iterator."""
    if isinstance(tree, dict):
        return {key: unflatten(item, values) for key, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(unflatten(item, values) for item in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(unflatten(item, values) for item in tree)
    return next(values)
