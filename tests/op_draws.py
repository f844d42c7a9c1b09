"""Hypothesis strategies for further samples of the op table.

Values come from the fixed samples of the row (so they stay in the op's domain and away from
kinks); shapes, broadcasts, axes, sizes and indices are drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from op_table import ROWS, Sample

from medai_engine.op import OPS

REDUCTIONS = ("sum", "mean", "prod", "max", "min", "argmax", "argmin", "logsumexp")
NO_EMPTY = ("mean", "max", "min", "argmax", "argmin", "logsumexp")


def drawn(name: str) -> Any:
    """Return a strategy for samples of an op, or None."""
    op = OPS[name]
    if op.elementwise:
        return elementwise(name)
    if name in REDUCTIONS:
        return reduction(name)
    found = {"cumulative_sum": scan, "cumulative_prod": scan, "softmax": scan,
             "log_softmax": scan, "matmul": matmul, "linear": linear,
             "permute_dims": permute, "slice": index, "concat": concat}.get(name)
    return found and found(name)


def fill(draw: Any, pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return values of a pool in a shape; all of them differ where the pool has enough."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = int(np.prod(shape))
    return np.resize(rng.permutation(pool.ravel()), max(size, 1))[:size].reshape(shape)


def pools(name: str) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Return the largest value pool of every input, and the parameters of the samples."""
    samples = ROWS[name].draw()
    count = 1 if OPS[name].variadic else len(samples[0].inputs)
    return ([max((s.inputs[i] for s in samples), key=np.size) for i in range(count)],
            [dict(s.params) for s in samples])


def shapes(min_dims: int = 0, min_side: int = 0) -> Any:
    """Return shapes of up to 4 axes and 60 elements or so."""
    return nps.array_shapes(min_dims=min_dims, max_dims=4, min_side=min_side, max_side=5).filter(
        lambda shape: np.prod(shape) <= 60)


@st.composite
def elementwise(draw: Any, name: str) -> Sample:
    """Draw shapes that broadcast."""
    values, params = pools(name)
    found = draw(nps.mutually_broadcastable_shapes(
        num_shapes=len(values), max_dims=4, min_side=0, max_side=4).filter(
        lambda b: np.prod(b.result_shape) <= 100))
    return Sample(tuple(fill(draw, v, s) for v, s in zip(values, found.input_shapes, strict=True)),
                  draw(st.sampled_from(params)))


@st.composite
def reduction(draw: Any, name: str) -> Sample:
    """Draw any axes, several of them, negative or all."""
    shape = draw(shapes(0, 1 if name in NO_EMPTY else 0))
    single = name.startswith("arg")
    axes = st.none()
    if shape:
        one = st.integers(-len(shape), len(shape) - 1)
        axes |= one if single else one | nps.valid_tuple_axes(len(shape))
    return Sample((fill(draw, pools(name)[0][0], shape),),
                  {"axis": draw(axes), "keepdims": draw(st.booleans())})


@st.composite
def scan(draw: Any, name: str) -> Sample:
    """Draw a shape and an axis (of at least one class for softmax)."""
    shape = draw(shapes(1, int("softmax" in name)))
    return Sample((fill(draw, pools(name)[0][0], shape),),
                  {"axis": draw(st.integers(-len(shape), len(shape) - 1))})


@st.composite
def matmul(draw: Any, name: str) -> Sample:
    """Draw sizes, a batch on either side, and what is transposed."""
    m, k, n = (draw(st.integers(0, 20)) for _ in range(3))
    batch = draw(st.sampled_from([(), (2,), (3,)]))
    left, right = draw(st.sampled_from([(batch, batch), ((), batch), (batch, ())]))
    ta, tb = draw(st.booleans()), draw(st.booleans())
    values = pools(name)[0]
    return Sample((fill(draw, values[0], (*left, k, m) if ta else (*left, m, k)),
                   fill(draw, values[1], (*right, n, k) if tb else (*right, k, n))),
                  {"transpose_a": ta, "transpose_b": tb})


@st.composite
def linear(draw: Any, name: str) -> Sample:
    """Draw sizes and leading axes."""
    lead = draw(shapes(0))
    k, n = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    values = pools(name)[0]
    return Sample(tuple(fill(draw, v, s) for v, s in zip(
        values, ((*lead, k), (n, k), (n,)), strict=True)), {})


@st.composite
def permute(draw: Any, name: str) -> Sample:
    """Draw a shape and an order of its axes."""
    shape = draw(shapes(0))
    order = draw(st.permutations(range(len(shape))))
    return Sample((fill(draw, pools(name)[0][0], shape),), {"axes": tuple(order)})


@st.composite
def index(draw: Any, name: str) -> Sample:
    """Draw basic indices: slices with any steps, integers, None and Ellipsis."""
    shape = draw(shapes(1))
    found = draw(nps.basic_indices(shape, allow_newaxis=True))
    return Sample((fill(draw, pools(name)[0][0], shape),),
                  {"index": found if isinstance(found, tuple) else (found,)})


@st.composite
def concat(draw: Any, name: str) -> Sample:
    """Draw one to four arrays and the axis that joins them."""
    shape = draw(shapes(1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    parts = []
    for size in sizes:
        part = list(shape)
        part[axis] = size
        parts.append(fill(draw, pools(name)[0][0], tuple(part)))
    return Sample(tuple(parts), {"axis": axis})
