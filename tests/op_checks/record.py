"""Checks 11 and 12: the cost record, and bits that do not depend on threads."""

from __future__ import annotations

import numpy as np
from op_table import Row

import medai_engine as me
from medai_engine.op import OPS, specs_of

from .counting import counting, wrap
from .run import forward, reverse, wanted


def check_cost(row: Row) -> None:
    """Compare the cost record with what the definition does to counting arrays."""
    op = OPS[row.op]
    for drawn in row.draw():
        sample = drawn.cast(np.float64)
        arrays = [np.array(x) for x in sample.inputs]
        if op.elementwise:
            arrays = [np.array(x) for x in np.broadcast_arrays(*arrays)]
        if any(x.ndim == 0 for x in arrays):
            continue  # NumPy gives scalars, which do not count
        params = dict(sample.params)
        cost = op.cost(arrays, **params)
        specs = [] if op.writes else specs_of(op, arrays, params)
        moved = sum(x.nbytes for x in arrays), sum(
            int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in specs)
        if op.view:
            assert cost == (0, 0, 0, 0), f"{row.op}: a view costs {cost}"
            continue
        if not op.writes:
            assert cost[2:] == moved, f"{row.op}: bytes {cost[2:]}, not {moved}"
        counted, tally = counting(arrays)
        outs = [wrap(np.empty(shape, dtype), tally) for shape, dtype in specs]
        op.definition(*(op.prepare(counted, outs, params) if op.prepare
                        else (*counted, *outs, *[params[name] for name in op.params])))
        if "cost" not in row.exempt:
            assert cost[:2] == (tally["contraction"], tally["other"]), \
                f"{row.op}: record says {cost[:2]}, counted {tally} for {params}"


def check_threads(row: Row) -> None:
    """Compare the bits of results and gradients for 1, 2, 3 and 8 threads."""
    op = OPS[row.op]
    if op.kernel is None or "threads" in row.exempt:
        return
    assert row.large is not None, f"{row.op}: no sample large enough to be cut into chunks"
    before = me.get_num_threads()
    try:
        for dtype in (np.float32, np.float64):
            sample = row.draw_large().cast(dtype)
            which = wanted(op, sample)
            results = []
            for threads in (1, 2, 3, 8):
                me.set_num_threads(threads)
                found = forward(op, sample)
                if which:
                    found += [g.data for g in reverse(op, sample, which)[2]]
                results.append([y.tobytes() for y in found])
            assert all(r == results[0] for r in results), \
                f"{row.op} {np.dtype(dtype)}: bits depend on the number of threads"
    finally:
        me.set_num_threads(before)
