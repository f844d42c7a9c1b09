"""Checks 1, 2, 3 and 9: results, shape rules, known values, outside oracles, bad inputs."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from op_table import EXECUTED, Row, Sample

from medai_engine.autograd import gradients
from medai_engine.op import OPS, apply, specs_of
from medai_engine.tensor import Tensor

from .run import Arrays, forward, reference


def close(row: Row, sample: Sample, got: Arrays, expected: Arrays, where: str,
          terms: Any = None) -> None:
    """Compare within 2 sqrt(k) eps magnitude + 4 eps |y|; integers and booleans exactly."""
    assert len(got) == len(expected), f"{row.op} {where}: {len(got)} outputs"
    k, magnitude = (terms or row.terms)(*sample.inputs, **sample.params)
    magnitudes = magnitude if isinstance(magnitude, tuple) else (magnitude,) * len(got)
    for y, z, m in zip(got, expected, magnitudes, strict=True):
        assert y.shape == z.shape, f"{row.op} {where}: {y.shape}, not {z.shape}"
        if y.dtype.kind != "f":
            assert np.array_equal(y, z), f"{row.op} {where}: {y} is not {z}"
            continue
        eps = np.finfo(y.dtype).eps
        bound = 2 * np.sqrt(k) * eps * np.abs(m) + 4 * eps * np.abs(z)
        with np.errstate(invalid="ignore"):
            wrong = ~((np.abs(y - z) <= bound) | (y == z) | (np.isnan(y) & np.isnan(z)))
        if wrong.any():
            i = tuple(int(n) for n in np.argwhere(wrong)[0])
            raise AssertionError(
                f"{row.op} {where}: {int(wrong.sum())} of {wrong.size} entries are wrong, entry "
                f"{i} is {y[i]!r}, not {z[i]!r} (off by {np.abs(y - z)[i] / eps:.3g} eps); "
                f"shapes {[x.shape for x in sample.inputs]}, params {dict(sample.params)}")


def check_forward(row: Row, samples: Sequence[Sample], where: str,
                  place: Callable[[np.ndarray], np.ndarray] = np.asarray) -> None:
    """Compare the current backend, in both dtypes, with the definition in float64.

    ``place`` brings the inputs into some layout.
    """
    op = OPS[row.op]
    for drawn in samples:
        for dtype in (np.float64, np.float32):
            sample = drawn.cast(dtype)
            sample = Sample(tuple(map(place, sample.inputs)), sample.params)
            exact = sample if "precision" in row.exempt else Sample(
                sample.inputs, drawn.params).cast(np.float64)
            got = forward(op, sample)
            close(row, sample, got, reference(op, exact), f"{where} {np.dtype(dtype)}")
            for y, x in product(got, sample.inputs):
                if not op.view and not op.writes:
                    assert not np.may_share_memory(y, x), f"{row.op}: result shares memory"


def check_infer(row: Row) -> None:
    """Compare the shape rule with what really comes out, dtype included."""
    op = OPS[row.op]
    for drawn, dtype in product(row.draw(), (np.float64, np.float32)):
        sample = drawn.cast(dtype)
        if op.writes:
            continue
        specs = [(shape, np.dtype(kind)) for shape, kind in
                 specs_of(op, sample.inputs, sample.params)]
        got = [(y.shape, y.dtype) for y in forward(op, sample)]
        assert got == specs, f"{row.op}: infer says {specs}, result is {got}"
        if op.view:
            continue
        # the definition itself, without a prepared out to hide its shape behind
        assert [(y.shape, y.dtype) for y in reference(op, sample)] == specs


def check_pins(row: Row) -> None:
    """Compare with results that are known exactly, and with the gradients of their sum."""
    op = OPS[row.op]
    for pin, dtype in product(row.pins, (np.float64, np.float32)):
        sample = Sample(pin.inputs, pin.params).cast(dtype)
        expected = pin.expected if isinstance(pin.expected, list) and len(op.outputs) > 1 \
            else [pin.expected]
        got = forward(op, sample)
        for y, z in zip(got, expected, strict=True):
            z = np.asarray(z)
            fits = y.shape == z.shape and (
                np.array_equal(y, z) if y.dtype.kind != "f" else np.allclose(
                    y, z.astype(y.dtype), rtol=4 * np.finfo(y.dtype).eps, atol=0, equal_nan=True))
            assert fits, f"{row.op}: {y} is not {z} for {sample.inputs} {dict(sample.params)}"
        if pin.gradients is None:
            continue
        tensors = [Tensor(x).requires_grad_(x.dtype.kind == "f") for x in sample.inputs]
        y = apply(op, *tensors, **sample.params)
        found = gradients([y], [t for t in tensors if t.requires_grad],
                          [Tensor(np.ones(y.shape, y.dtype))])
        for g, h in zip(found, [h for h in pin.gradients if h is not None], strict=True):
            assert np.allclose(g.data, h, rtol=1e-6, atol=0, equal_nan=True), \
                f"{row.op}: gradient {g.data} is not {h} for {sample.inputs}"


def check_oracles(row: Row) -> None:
    """Compare the default backend with functions of other libraries; count what really ran."""
    op = OPS[row.op]
    for library, function in row.oracles.items():
        if library != "numpy" and not importlib.util.find_spec(library):
            continue
        for drawn, dtype in product(row.draw(), (np.float64, np.float32)):
            sample = drawn.cast(dtype)
            exact = sample.cast(np.float64) if "precision" not in row.exempt else sample
            if library == "torch":
                torch = importlib.import_module("torch")
                y = function(*(torch.from_numpy(x.copy()) for x in exact.inputs), **exact.params)
            else:
                y = function(*exact.inputs, **exact.params)
            expected = [np.asarray(t) for t in (y if isinstance(y, (tuple, list)) else (y,))]
            close(row, sample, forward(op, sample), expected, f"{library} {np.dtype(dtype)}",
                  row.oracle_terms)
            EXECUTED[library] += 1


def check_bad(row: Row, monkeypatch: Any) -> None:
    """Bad inputs raise their error before anything is computed; the message has all its parts."""
    op = OPS[row.op]
    assert row.bad or "bad" in row.exempt, f"{row.op}: no bad input in its row"

    def computed(*_: Any) -> None:
        raise AssertionError(f"{row.op}: a result was allocated before the error")

    for fault in row.bad:
        before = [np.array(x) for x in fault.inputs]
        if "early" not in row.exempt:
            monkeypatch.setattr(sys.modules["medai_engine.op"], "empty", computed)
        try:
            if fault.function is not None:
                fault.function(*fault.inputs, **fault.params)
            else:
                apply(op, *fault.inputs, **fault.params)
        except fault.error as error:
            message = str(error)
        else:
            raise AssertionError(f"{row.op}: no {fault.error.__name__} for {fault.inputs}")
        finally:
            monkeypatch.undo()
        assert re.match(r"[^:]+: expected .+, got .+\. .+\.$", message, re.DOTALL), message
        assert re.search(fault.match, message, re.DOTALL), f"{fault.match!r} is not in {message!r}"
        for x, y in zip(fault.inputs, before, strict=True):
            assert np.array_equal(np.array(x), y), f"{row.op}: an input was written"
