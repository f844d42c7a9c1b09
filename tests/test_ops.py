"""The generic checks: every row of the op table, on every backend and instruction set.

The loops backend runs the forward check only: it shares the gradient rules, and its kernels are
compared with the definition there, gradient kernels included.
"""

from __future__ import annotations

import importlib.util

import op_checks as check
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_checks import LAYOUTS, engine, engines
from op_draws import drawn
from op_table import EXECUTED, ROWS

from medai_engine.op import OPS

NAMES = sorted(ROWS)
each_op = pytest.mark.parametrize("name", NAMES)
VECTOR = [where for where in engines() if where != "loops"]
# fewer executions than this mean that an oracle has gone missing
FLOORS = {"torch": 1500, "numpy": 50, "scipy": 10}


def test_complete():
    """Every op has a row, and every row an op."""
    assert set(OPS) == set(ROWS)


@each_op
def test_samples(name):
    """Samples are tiny, uneven and varied; they include size 0 and size 1."""
    row, op = ROWS[name], OPS[name]
    samples = row.draw()
    for sample in samples:
        for x in sample.inputs:
            assert x.size <= 60, f"{x.shape} is large"
    values = {key: [s.params[key] for s in samples] for key in op.params}
    fixed = [key for key, seen in values.items()
             if len(set(map(repr, seen))) < 2 and not any(map(callable, seen))
             and f"param {key}" not in row.exempt]
    assert not fixed, f"{name}: no sample varies {fixed}"
    if op.inputs and "sizes" not in row.exempt:
        sizes = {n for s in samples for x in s.inputs for n in (*x.shape, x.size)}
        assert {0, 1} <= sizes, f"{name}: no sample of size 0 or 1"
        uneven = any(len(set(x.shape)) == x.ndim >= 2 for s in samples for x in s.inputs)
        assert uneven or all(x.ndim < 2 for s in samples for x in s.inputs), \
            f"{name}: no sample with a different size in every dimension"


@each_op
def test_forward(name):
    for where in engines():
        with engine(where):
            check.check_forward(ROWS[name], ROWS[name].draw(), where)


@each_op
def test_pins(name):
    for where in VECTOR:
        with engine(where):
            check.check_pins(ROWS[name])


@each_op
def test_oracle(name):
    check.check_oracles(ROWS[name])


@each_op
def test_infer(name):
    check.check_infer(ROWS[name])


@each_op
def test_gradient(name):
    for where in VECTOR:
        with engine(where):
            check.check_gradient(ROWS[name])


@each_op
def test_second_derivative(name):
    for where in (VECTOR[0], VECTOR[-1]):
        with engine(where):
            check.check_second(ROWS[name])


@each_op
def test_subsets(name):
    check.check_subsets(ROWS[name])


@each_op
def test_layouts(name):
    for where in VECTOR:
        with engine(where):
            check.check_layouts(ROWS[name], exact=where != "reference")


@each_op
def test_inplace(name):
    for where in engines():
        with engine(where):
            check.check_inplace(ROWS[name])


@each_op
def test_ownership(name):
    check.check_ownership(ROWS[name])


@each_op
def test_bad_inputs(name, monkeypatch):
    check.check_bad(ROWS[name], monkeypatch)


@each_op
def test_adjoint(name):
    for where in VECTOR:
        with engine(where):
            check.check_adjoint(ROWS[name])


@each_op
def test_cost(name):
    check.check_cost(ROWS[name])


@each_op
def test_threads(name):
    for where in VECTOR:
        if where != "reference":
            with engine(where):
                check.check_threads(ROWS[name])


@each_op
def test_jit(name):
    for where in (VECTOR[0], VECTOR[-1]):
        with engine(where):
            check.check_jit(ROWS[name])


@each_op
def test_doc(name):
    """The doc of an op is its equation: it starts with its outputs."""
    op = OPS[name]
    if op.writes:
        assert op.doc
    else:
        starts = (*[f"{out} = " for out in op.outputs], ", ".join(op.outputs))
        assert op.doc.startswith(starts), op.doc


@pytest.mark.parametrize("name", [name for name in NAMES if drawn(name) is not None])
@given(data=st.data())
def test_drawn(name, data):
    """Further shapes, broadcasts, axes, indices and layouts, on top of the fixed samples."""
    sample = data.draw(drawn(name))
    layout = data.draw(st.sampled_from(sorted(LAYOUTS)))
    for where in VECTOR:
        with engine(where):
            check.check_forward(ROWS[name], [sample], where, LAYOUTS[layout])
    with engine(VECTOR[-1]):
        check.check_gradient(ROWS[name], [sample])


def test_oracles_ran(request):
    """Oracles are optional to install, but not to run: executions have a floor."""
    ran = sum("test_oracle[" in item.nodeid for item in request.session.items)
    if ran < len(NAMES):
        pytest.skip("only some of the oracle tests were selected")
    for library, floor in FLOORS.items():
        if library == "numpy" or importlib.util.find_spec(library):
            assert EXECUTED[library] >= floor, f"{library}: {EXECUTED[library]} executions"
