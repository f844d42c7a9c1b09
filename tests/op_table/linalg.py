"""Rows of the matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from medai_engine.errors import DTypeError, ParameterError, ShapeError

from . import Draw, bad, r0, row, sample, torch

FLAT = [(2, 3, 4), (5, 1, 3), (1, 4, 1), (3, 0, 2), (0, 3, 4)]  # M, K, N


def turned(x: np.ndarray, turn: bool) -> np.ndarray:
    """Return the matrices transposed, in C order, where asked."""
    return np.array(np.swapaxes(x, -1, -2), order="C") if turn else x


def matmul_sample(a: np.ndarray, b: np.ndarray, ta: bool, tb: bool) -> Any:
    """Return a sample whose product is a b."""
    return sample(turned(a, ta), turned(b, tb), transpose_a=ta, transpose_b=tb)


def _matmul_samples(r: Draw) -> list[Any]:
    flags = [(False, False), (True, False), (False, True), (True, True)]
    found = [matmul_sample(r.normal(m, k), r.normal(k, n), *flags[i % 4])
             for i, (m, k, n) in enumerate(FLAT)]
    # a batch on both sides, and on one
    found += [matmul_sample(r.normal(2, 3, 4), r.normal(2, 4, 5), *f) for f in flags]
    found += [matmul_sample(r.normal(3, 4), r.normal(2, 4, 5), *f) for f in flags]
    found += [matmul_sample(r.normal(2, 3, 4), r.normal(4, 5), *f) for f in flags]
    return found


def _matmul_terms(a: np.ndarray, b: np.ndarray, transpose_a: bool,
                  transpose_b: bool) -> tuple[int, Any]:
    left, right = turned(abs(a), transpose_a), turned(abs(b), transpose_b)
    return left.shape[-1], left @ right


row("matmul", _matmul_samples,
    large=lambda r: matmul_sample(r.normal(67, 300), r.normal(300, 201), False, True),
    terms=_matmul_terms,
    bad=[bad(ShapeError, r"3 columns and 4 rows.*a \(2, 3\), b \(4, 5\)", r0(2, 3), r0(4, 5),
             transpose_a=False, transpose_b=False),
         bad(DTypeError, "a float32, b float64", r0(2, 3),
             r0(3, 2).astype(np.float64), transpose_a=False, transpose_b=False)],
    oracles={"torch": lambda a, b, transpose_a, transpose_b:
             (a.mT if transpose_a else a) @ (b.mT if transpose_b else b)})


def _linear_samples(r: Draw) -> list[Any]:
    return [sample(r.normal(2, 3), r.normal(4, 3), r.normal(4)),
            sample(r.normal(3, 2, 5), r.normal(4, 5), r.normal(4)),
            sample(r.normal(5), r.normal(2, 5), r.normal(2)),
            sample(r.normal(1, 1), r.normal(1, 1), r.normal(1)),
            sample(r.normal(0, 3), r.normal(4, 3), r.normal(4)),
            sample(r.normal(2, 0), r.normal(4, 0), r.normal(4))]


row("linear", _linear_samples,
    large=lambda r: sample(r.normal(203, 300), r.normal(67, 300), r.normal(67)),
    terms=lambda x, weight, bias: (x.shape[-1] + 1, abs(x) @ abs(weight).T + abs(bias)),
    bad=[bad(ShapeError, r"3 input features, got 5.*Use Linear\(5, 4\)", r0(2, 5), r0(4, 3),
             r0(4)),
         bad(ShapeError, r"bias of shape \(4,\), got \(3,\)", r0(2, 3), r0(4, 3), r0(3)),
         bad(DTypeError, "weight float64", r0(2, 3), r0(4, 3).astype(np.float64), r0(4))],
    oracles={"torch": lambda x, weight, bias: torch().nn.functional.linear(x, weight, bias)})


def _activated(r: Draw, m: int, k: int, n: int, activation: str, parameter: float) -> Any:
    return sample(r.normal(m, k), r.normal(n, k), r.normal(n), activation=activation,
                  parameter=parameter)


def _activated_oracle(x: Any, weight: Any, bias: Any, activation: str, parameter: float) -> Any:
    f = torch().nn.functional
    y = f.linear(x, weight, bias)
    return getattr(f, activation)(y, *[parameter][:activation in ("elu", "leaky_relu")])


row("linear_activation",
    lambda r: [_activated(r, 2, 3, 4, "tanh", 0.0), _activated(r, 3, 5, 2, "leaky_relu", 0.2),
               _activated(r, 4, 2, 3, "elu", 0.7), _activated(r, 1, 4, 1, "sigmoid", 0.0),
               _activated(r, 3, 2, 5, "selu", 0.0), _activated(r, 5, 3, 2, "relu", 0.0),
               _activated(r, 0, 3, 4, "relu", 0.0), _activated(r, 2, 0, 4, "tanh", 0.0)],
    large=lambda r: _activated(r, 203, 300, 67, "relu", 0.0),
    terms=lambda x, weight, bias, activation, parameter: (
        x.shape[-1] + 1, 2 * (abs(x) @ abs(weight).T + abs(bias)) + 2),
    bad=[bad(ShapeError, r"3 input features, got 5", r0(2, 5), r0(4, 3), r0(4),
             activation="relu", parameter=0.0),
         bad(ParameterError, "one of relu, sigmoid.*'gelu' with 0.0", r0(2, 3), r0(4, 3), r0(4),
             activation="gelu", parameter=0.0),
         bad(ParameterError, "slope from 0 on", r0(2, 3), r0(4, 3), r0(4),
             activation="leaky_relu", parameter=-0.1)],
    oracles={"torch": _activated_oracle})


def _added_samples(r: Draw) -> list[Any]:
    found = []
    for i, (m, k, n) in enumerate(FLAT):
        ta, tb = [(False, False), (True, False), (False, True), (True, True)][i % 4]
        found.append(sample(r.normal(m, n), turned(r.normal(m, k), ta), turned(r.normal(k, n), tb),
                            transpose_a=ta, transpose_b=tb))
    found.append(sample(r.normal(2, 3, 5), r.normal(2, 3, 4), r.normal(4, 5), transpose_a=False,
                        transpose_b=False))
    return found


row("matmul_add", _added_samples,
    large=lambda r: sample(r.normal(67, 201), r.normal(67, 300), r.normal(201, 300),
                           transpose_a=False, transpose_b=True),
    terms=lambda c, a, b, transpose_a, transpose_b: (
        a.shape[-2 if transpose_a else -1] + 1,
        abs(c) + turned(abs(a), transpose_a) @ turned(abs(b), transpose_b)),
    bad=[bad(ShapeError, r"c of shape \(2, 5\), as the product, got \(5,\)", r0(5), r0(2, 3),
             r0(3, 5), transpose_a=False, transpose_b=False),
         bad(ShapeError, r"3 columns and 4 rows", r0(2, 5), r0(2, 3), r0(4, 5),
             transpose_a=False, transpose_b=False),
         bad(DTypeError, "c float64", r0(2, 2).astype(np.float64), r0(2, 3), r0(3, 2),
             transpose_a=False, transpose_b=False)],
    oracles={"torch": lambda c, a, b, transpose_a, transpose_b:
             c + (a.mT if transpose_a else a) @ (b.mT if transpose_b else b)})
