"""The generic checks: every row of the op table, on every backend and instruction set."""

from __future__ import annotations

import pytest
from op_checks import (
    check_forward,
    check_gradient,
    check_infer,
    check_layouts,
    check_ownership,
    check_second,
    check_subsets,
    engine,
    engines,
)
from op_table import ROWS

each_op = pytest.mark.parametrize("name", sorted(ROWS))


@each_op
def test_forward(name):
    row = ROWS[name]
    for where in engines():
        with engine(where):
            check_forward(row, row.draw(), where)


@each_op
def test_infer(name):
    check_infer(ROWS[name])


@each_op
def test_gradient(name):
    for where in engines():
        if where != "loops":
            with engine(where):
                check_gradient(ROWS[name])


@each_op
def test_second_derivative(name):
    check_second(ROWS[name])


@each_op
def test_subsets(name):
    check_subsets(ROWS[name])


@each_op
def test_layouts(name):
    for where in engines():
        if where != "loops":
            with engine(where):
                check_layouts(ROWS[name], exact=where != "reference")


@each_op
def test_ownership(name):
    check_ownership(ROWS[name])
