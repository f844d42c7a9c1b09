"""Comparison of a function of ours with one of PyTorch's: values and gradients in float64.

Executions are counted by name; the files that compare hold floors under the counts, so that a
missing PyTorch or an emptied grid cannot pass.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import medai_engine as me

try:
    import torch
except ImportError:
    torch = None

__all__ = ["EXECUTED", "agree", "channels_first", "enough", "rng"]

EXECUTED: Counter[str] = Counter()


def channels_first(x: Any) -> Any:
    """Return a PyTorch tensor (N, ..., C) as (N, C, ...)."""
    return x.movedim(-1, 1).contiguous() if x.ndim > 2 else x


def agree(name: str, ours: Callable[..., Any], theirs: Callable[..., Any], inputs: list[np.ndarray],
          gradients: tuple[int, ...] = (0,), rtol: float = 1e-12) -> None:
    """Compare values and gradients (random cotangents) in float64."""
    if torch is None:
        pytest.skip("PyTorch, the oracle, is not installed")
    mine = [me.Tensor(x.copy()).requires_grad_(i in gradients) for i, x in enumerate(inputs)]
    others = [torch.from_numpy(x.copy()).requires_grad_(i in gradients)
              for i, x in enumerate(inputs)]
    y, z = ours(*mine), theirs(*others)
    assert y.shape == tuple(z.shape) and y.dtype == np.float64
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=rtol, atol=1e-14)
    cotangent = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(cotangent)
    z.backward(torch.from_numpy(cotangent))
    for i in gradients:
        np.testing.assert_allclose(mine[i].grad.data, others[i].grad.numpy(), rtol=rtol,
                                   atol=1e-14, err_msg=f"gradient {i} of {name}")
    EXECUTED[name] += 1


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def enough(floors: dict[str, int]) -> None:
    """Raise unless every function ran as often as its floor says."""
    if torch is None and "CI" not in os.environ:
        pytest.skip("PyTorch, the oracle, is not installed")
    assert not {name: EXECUTED[name] for name, floor in floors.items() if EXECUTED[name] < floor}
