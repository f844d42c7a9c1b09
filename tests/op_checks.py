"""What is checked of every op: functions of a row that raise AssertionError.

``test_ops.py`` runs them on every backend and instruction set, ``test_harness.py`` against wrong
gradient rules.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
from op_cost import counting, wrap
from op_table import EXECUTED, Row, Sample

import medai_engine as me
from medai_engine import kernels
from medai_engine.autograd import gradients
from medai_engine.mode import switched
from medai_engine.op import OPS, Op, apply, specs_of
from medai_engine.tensor import Tensor
from medai_engine.testing.gradients import agree, stencil, weighted

Arrays = list[np.ndarray]
RTOL = 1e-8  # of gradients in float64
STEP = 5e-4  # of differences where nothing exact is at hand
COMPLEX_STEP = 1e-100

try:
    import numba
except ImportError:
    numba = None
try:
    from medai_engine.kernels.memory.allocator import set_poison as poison
except ImportError:
    def poison(on: bool) -> None:
        """Do nothing: where nothing is compiled, memory comes from NumPy."""


# ---- where things run -------------------------------------------------------------------------


def engines() -> list[str]:
    """Return the texts and instruction sets of this machine."""
    fast = [f"fast {isa}" for isa in kernels.available_isas()] if kernels.COMPILED else []
    return ["reference", *(["loops"] if numba else []), *fast]


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Run a block on one of ``engines()``; every result starts as NaN."""
    text, _, isa = name.partition(" ")
    before = kernels.get_isa()
    if isa:
        kernels.set_isa(isa)
    poison(True)
    try:
        with me.backend(text):
            yield
    finally:
        poison(False)
        kernels.set_isa(before)


def forward(op: Op, sample: Sample) -> Arrays:
    """Run an op on a sample; return its outputs, or the arrays that it has updated."""
    inputs = [Tensor(x.copy() if op.writes else x) for x in sample.inputs]
    y = apply(op, *inputs, **sample.params)
    if op.writes:
        return [inputs[i].data for i in op.writes(len(inputs), **sample.params)]
    return [t.data for t in (y if isinstance(y, tuple) else (y,))]


def reference(op: Op, sample: Sample) -> Arrays:
    """Run the definition itself, also on complex numbers."""
    real = [x.real if x.dtype.kind == "c" else x for x in sample.inputs]
    arrays = [np.array(x, order="C") for x in sample.inputs]
    params = dict(sample.params)
    specs = specs_of(op, real, params)
    if op.view:
        y = op.definition(*arrays, **params)
        return y if isinstance(y, list) else [y]
    complex_ = any(x.dtype.kind == "c" for x in arrays)
    outs = [np.empty(shape, np.complex128 if complex_ and np.dtype(dtype).kind == "f" else dtype)
            for shape, dtype in ([] if op.writes else specs)]
    op.definition(*(op.prepare(arrays, outs, params) if op.prepare
                    else (*arrays, *outs, *[params[name] for name in op.params])))
    if op.writes:
        return [arrays[i] for i in op.writes(len(arrays), **params)]
    return outs


def wanted(op: Op, sample: Sample) -> list[int]:
    """Return the numbers of the inputs that have a gradient."""
    if not op.rules:
        return []
    return [i for i, x in enumerate(sample.inputs)
            if x.dtype.kind == "f" and (op.joint or i in op.rules)]


def floating(arrays: Sequence[np.ndarray]) -> Arrays:
    """Return the arrays that gradients come from."""
    return [x for x in arrays if x.dtype.kind == "f"]


def reverse(op: Op, sample: Sample, which: Sequence[int],
            seed: int = 0) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Run an op and its gradient; return outputs, cotangents, gradients of the inputs ``which``."""
    tensors = [Tensor(x).requires_grad_(i in which) for i, x in enumerate(sample.inputs)]
    y = apply(op, *tensors, **sample.params)
    outputs = [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]
    rng = np.random.default_rng(seed)
    cotangents = [Tensor(weighted(rng, t.shape).astype(t.dtype)) for t in outputs]
    return outputs, cotangents, gradients(outputs, [tensors[i] for i in which], cotangents)


# ---- 1, 2, 3: values --------------------------------------------------------------------------


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


def check_forward(row: Row, samples: Sequence[Sample], where: str) -> None:
    """Compare the current backend, in both dtypes, with the definition in float64."""
    op = OPS[row.op]
    for drawn in samples:
        for dtype in (np.float64, np.float32):
            sample = drawn.cast(dtype)
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


# ---- 4, 5, 6: gradients -----------------------------------------------------------------------


def method(row: Row) -> str:
    """Return how an op's derivative is checked."""
    op = OPS[row.op]
    if row.derivative != "auto":
        return row.derivative
    if not op.rules:
        return "none"
    linear = {name for group in op.linear for name in group}
    if linear >= {op.inputs[i] if not op.joint else name
                  for i in op.rules for name in (op.inputs if i is None else [op.inputs[i]])}:
        return "exact"
    return "complex" if op.analytic else "stencil"


def complex_step(op: Op, sample: Sample, which: Sequence[int]) -> Callable[[Arrays], Arrays]:
    """Return dy/dt by Im f(x + i h v) / h: no difference, so no cancellation (h = 1e-100).

    The step goes through the reference, so compiled kernels get an independent derivative.
    """

    def slope(direction: Arrays) -> Arrays:
        stepped = list(sample.inputs)
        for i, v in zip(which, direction, strict=True):
            stepped[i] = stepped[i] + 1j * COMPLEX_STEP * v
        return [y.imag / COMPLEX_STEP for y in
                reference(op, Sample(tuple(stepped), sample.params)) if y.dtype.kind == "c"]

    return slope


def check_gradient(row: Row, samples: Sequence[Sample] | None = None) -> None:
    """Compare gradients with differences that the row or the op's record chooses."""
    op = OPS[row.op]
    how = method(row)
    for drawn in row.draw() if samples is None else samples:
        sample = drawn.cast(np.float64)
        which = wanted(op, sample)
        if how == "none" or not which:
            continue
        leaves = [Tensor(x) for x in sample.inputs]
        targets = {op.inputs[min(i, len(op.inputs) - 1)] + (str(i) if op.variadic else ""):
                   leaves[i].requires_grad_() for i in which}

        def compute() -> list[Tensor]:
            y = apply(op, *leaves, **sample.params)  # noqa: B023
            return [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]

        step = 1.0 if how == "exact" else STEP
        slope = complex_step(op, sample, which) if how == "complex" else stencil(
            compute, targets, step)
        agree(f"{row.op} {dict(sample.params)}", compute, targets, slope, rtol=RTOL, step=step)


def check_second(row: Row, samples: Sequence[Sample] | None = None) -> None:
    """Compare the gradient of the gradient with differences of the gradient, and jvp with vjp."""
    op = OPS[row.op]
    if method(row) == "none":
        return
    for drawn in row.draw() if samples is None else samples:
        sample = drawn.cast(np.float64)
        which = wanted(op, sample)
        if not which:
            continue
        leaves = [Tensor(x).requires_grad_(i in which) for i, x in enumerate(sample.inputs)]
        inner = [leaves[i] for i in which]

        def first() -> list[Tensor]:
            y = apply(op, *leaves, **sample.params)  # noqa: B023
            return [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]

        rng = np.random.default_rng(1)
        us = [Tensor(weighted(rng, y.shape)).requires_grad_() for y in first()]

        def compute() -> list[Tensor]:
            with switched(grad=True):
                return gradients(first(), inner, us, create_graph=True)  # noqa: B023

        targets = {**{f"input {i}": leaves[i] for i in which},
                   **{f"cotangent {i}": u for i, u in enumerate(us)}}
        agree(f"second derivative of {row.op} {dict(sample.params)}", compute, targets,
              stencil(compute, targets, STEP), rtol=RTOL, step=STEP)
        check_products(row, op, sample, which)


def check_products(row: Row, op: Op, sample: Sample, which: Sequence[int]) -> None:
    """Compare <u, J v> by jvp with <J^T u, v> by vjp."""
    _, us, gs = reverse(op, sample, which)
    rng = np.random.default_rng(2)
    vs = [weighted(rng, sample.inputs[i].shape) for i in which]

    def function(*chosen: Tensor) -> list[Tensor]:
        arguments: list[Any] = [Tensor(x) for x in sample.inputs]
        for i, x in zip(which, chosen, strict=True):
            arguments[i] = x
        y = apply(op, *arguments, **sample.params)
        return [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]

    _, pushed = me.jvp(function, [sample.inputs[i] for i in which], vs)
    left = [u.data * jv.data for u, jv in zip(us, pushed, strict=True)]
    right = [g.data * v for g, v in zip(gs, vs, strict=True)]
    scale = sum(float(np.abs(t).sum()) for t in (*left, *right))
    difference = sum(float(t.sum()) for t in left) - sum(float(t.sum()) for t in right)
    assert abs(difference) <= 1e-10 * scale, f"{row.op}: jvp and vjp differ by {difference}"


def check_subsets(row: Row) -> None:
    """Ask for every subset of the gradients: the same bits each time, of the inputs' dtype."""
    op = OPS[row.op]
    for drawn, dtype in product(row.draw(), (np.float64, np.float32)):
        sample = drawn.cast(dtype)
        which = wanted(op, sample)
        if not which:
            continue
        everything = reverse(op, sample, which)[2]
        for g, i in zip(everything, which, strict=True):
            x = sample.inputs[i]
            assert (g.shape, g.dtype) == (x.shape, x.dtype), \
                f"{row.op}: gradient {i} is {g.shape} {g.dtype}, its input {x.shape} {x.dtype}"
        for bits in range(1, 2 ** len(which) - 1):
            chosen = [i for n, i in enumerate(which) if bits >> n & 1]
            for g, i in zip(reverse(op, sample, chosen)[2], chosen, strict=True):
                assert np.array_equal(g.data, everything[which.index(i)].data, equal_nan=True), \
                    f"{row.op}: gradient {i} depends on which others are wanted ({chosen})"


# ---- 7, 8: memory -----------------------------------------------------------------------------


def contiguous(x: np.ndarray) -> np.ndarray:
    """Return a copy in C order (``np.ascontiguousarray`` would give 0-d arrays an axis)."""
    return np.array(x, order="C")


def offset(x: np.ndarray) -> np.ndarray:
    """Return a copy that starts one element into its memory, so not on a cache line."""
    memory = np.zeros(x.size + 1, x.dtype)
    memory[1:] = x.ravel()
    return memory[1:].reshape(x.shape)


def backwards(x: np.ndarray) -> np.ndarray:
    """Return a copy whose every stride is negative."""
    every = (..., *(slice(None, None, -1),) * x.ndim)
    return contiguous(x[every])[every]


def spaced(x: np.ndarray) -> np.ndarray:
    """Return a copy with a hole behind every element."""
    wide = np.full(tuple(2 * n for n in x.shape), 7, x.dtype)
    every = (..., *(slice(None, None, 2),) * x.ndim)
    wide[every] = x
    return wide[every]


def frozen(x: np.ndarray) -> np.ndarray:
    """Return a read-only copy."""
    x = x.copy()
    x.flags.writeable = False
    return x


def stretched(x: np.ndarray) -> np.ndarray:
    """Return the first slice of x along its first axis, repeated with stride 0."""
    return np.broadcast_to(x[:1], x.shape) if x.ndim else np.broadcast_to(x, ())


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran": np.asfortranarray, "reversed": backwards, "step 2": spaced,
    "stride 0": stretched, "read-only": frozen, "offset": offset}


def check_layouts(row: Row, exact: bool) -> None:
    """Give inputs and cotangents in seven layouts: the bits of C order each time."""
    op = OPS[row.op]
    sample = max(row.draw(), key=lambda s: sum(x.size for x in s.inputs)).cast(np.float32)
    if op.writes:
        return
    for name, layout in LAYOUTS.items():
        inputs = tuple(layout(x) for x in sample.inputs)
        plain = Sample(tuple(contiguous(x) for x in inputs), sample.params)
        if name == "stride 0" and "layouts" in row.exempt:
            continue
        placed = Sample(inputs, sample.params)
        got, expected = forward(op, placed), forward(op, plain)
        if exact:
            for y, z in zip(got, expected, strict=True):
                assert np.array_equal(y, z, equal_nan=y.dtype.kind == "f"), \
                    f"{row.op}: another result for {name} inputs"
        else:  # NumPy itself rounds differently for other strides
            close(row, plain, got, expected, f"{name} inputs")
        which = wanted(op, plain)
        if not which:
            continue

        for g, h in zip(pulled(op, placed, which, layout),
                        pulled(op, plain, which, lambda u, place=layout: contiguous(place(u))),
                        strict=True):
            assert np.array_equal(g, h, equal_nan=True) if exact else np.allclose(
                g, h, rtol=1e-5, atol=1e-6, equal_nan=True), \
                f"{row.op}: another gradient for {name} inputs and cotangents"


def pulled(op: Op, sample: Sample, which: Sequence[int],
           place: Callable[[np.ndarray], np.ndarray]) -> Arrays:
    """Return the gradients for cotangents in a layout."""
    tensors = [Tensor(x).requires_grad_(i in which) for i, x in enumerate(sample.inputs)]
    y = apply(op, *tensors, **sample.params)
    outputs = [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]
    rng = np.random.default_rng(0)
    us = [Tensor(place(weighted(rng, t.shape).astype(t.dtype))) for t in outputs]
    return [g.data for g in gradients(outputs, [tensors[i] for i in which], us)]


def check_ownership(row: Row) -> None:
    """Inputs and cotangents stay as they are; results and gradients have memory of their own."""
    op = OPS[row.op]
    for drawn in row.draw():
        sample = drawn.cast(np.float32)
        which = wanted(op, sample)
        if not which:
            continue
        before = [x.copy() for x in sample.inputs]
        outputs, us, gs = reverse(op, sample, which, seed=0)
        kept = [g.data.copy() for g in gs]
        other = reverse(op, sample, which, seed=1)
        for x, y in zip(sample.inputs, before, strict=True):
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), \
                f"{row.op}: an input was written"
        rng = np.random.default_rng(0)
        for u in us:
            assert np.array_equal(u.data, weighted(rng, u.shape).astype(u.dtype)), \
                f"{row.op}: a cotangent was written"
        for g, h in zip(gs, kept, strict=True):
            assert np.array_equal(g.data, h, equal_nan=True), \
                f"{row.op}: a gradient changed when another was computed"
        shared = [*sample.inputs, *(u.data for u in us), *(y.data for y in outputs),
                  *(g.data for g in other[2])]
        for n, g in enumerate(gs):
            for x in (*shared, *(h.data for h in gs[:n])):
                assert not (g.size and np.may_share_memory(g.data, x)), \
                    f"{row.op}: a gradient shares memory"


# ---- 9: bad inputs ----------------------------------------------------------------------------


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


# ---- 10, 11, 12: linearity, cost, threads -----------------------------------------------------


def check_adjoint(row: Row) -> None:
    """<A v, u> = <v, A^T u> for every group of inputs in which the op is linear.

    A v comes from a forward call at v, A^T u from the gradient somewhere else: an op that is not
    linear does not pass.
    """
    op = OPS[row.op]
    for group, drawn in product(op.linear, row.draw()):
        sample = drawn.cast(np.float64)
        chosen = [i for i in wanted(op, sample)
                  if op.inputs[min(i, len(op.inputs) - 1)] in group]
        if not chosen or not floating(forward(op, sample)):
            continue
        rng = np.random.default_rng(3)
        moved = list(sample.inputs)
        for i in chosen:
            moved[i] = weighted(rng, moved[i].shape)
        _, us, gs = reverse(op, sample, chosen)
        image = floating(forward(op, Sample(tuple(moved), sample.params)))
        left = [u.data * y for u, y in zip(us, image, strict=True)]
        right = [g.data * moved[i] for g, i in zip(gs, chosen, strict=True)]
        scale = sum(float(np.abs(t).sum()) for t in (*left, *right))
        difference = sum(float(t.sum()) for t in left) - sum(float(t.sum()) for t in right)
        assert abs(difference) <= 1e-13 * scale, \
            f"{row.op} is not linear in {group}, or its gradient is not the adjoint: {difference}"


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
