"""Tile programs: each text equals its elementwise kernels called one by one, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medai_engine.kernels.elementwise import loops as elementwise_loops
from medai_engine.kernels.elementwise import reference as elementwise_reference
from medai_engine.kernels.program import loops, reference
from medai_engine.kernels.program.reference import OPCODES, PARAMETERS, TESTS

fast = pytest.importorskip("medai_engine.kernels.program.fast", reason="kernels not compiled")
from medai_engine.kernels.elementwise import fast as elementwise_fast  # noqa: E402
from medai_engine.kernels.simd import isa  # noqa: E402
from medai_engine.kernels.threads import pool  # noqa: E402

TEXTS = {"reference": (reference, elementwise_reference), "fast": (fast, elementwise_fast),
         "loops": (loops, elementwise_loops)}

def words(text):
    return text.split()


FEW = words("add multiply subtract maximum exp sigmoid relu_grad tanh_grad less where clip")
TWO = words("""add subtract multiply divide power maximum minimum atan2 hypot logaddexp remainder
    floor_divide bce_with_logits equal not_equal less less_equal greater greater_equal logical_and
    logical_or logical_xor""")
COUNT = {name: 3 if name in ("where", "bce_with_logits_grad") else
         2 if name.endswith("_grad") or name in TWO else 1 for name in OPCODES}


@pytest.fixture(autouse=True)
def _restore():
    level, threads = isa.get_isa(), pool.get_num_threads()
    yield
    isa.set_isa(level)
    pool.set_num_threads(threads)


def assemble(steps):
    """Return the code and parameters of (name, sources, target, values) rows."""
    code = np.zeros((len(steps), 6), np.int64)
    values = np.zeros((len(steps), 2))
    for row, (name, sources, target, numbers) in enumerate(steps):
        code[row] = OPCODES[name], len(sources), *sources, *[0] * (3 - len(sources)), target
        values[row, :len(numbers)] = numbers
    return code, values


def one_by_one(text, inputs, steps, outs, shape, dtype):
    """Call the kernels of the other family, each into its own full array."""
    register = {i: np.broadcast_to(x, shape) for i, x in enumerate(inputs)}
    for name, sources, target, numbers in steps:
        out = np.empty(shape, np.bool_ if name in TESTS else dtype)
        getattr(text, name)(*[register[s] for s in sources], out, *numbers)
        register[target] = out
    return [register[len(inputs) + k] for k in range(outs)]


def check(text, inputs, steps, outs, shape, dtype):
    own, kernels = TEXTS[text]
    results = [np.full(shape, np.nan, dtype) for _ in range(outs)]
    for k in range(outs):
        last = [name for name, _, target, _ in steps if target == len(inputs) + k][-1]
        if last in TESTS:
            results[k] = np.full(shape, 7, np.bool_)
    before = [x.copy() for x in inputs]
    assert own.program(inputs, results, *assemble(steps)) is None
    for got, want in zip(results, one_by_one(kernels, inputs, steps, outs, shape, dtype),
                         strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype
    for x, kept in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, kept)
    return results


def draw_program(data, names, inputs, condition):
    """Draw instructions; the last registers become outputs."""
    steps, floats, conditions = [], list(range(inputs)), [inputs] if condition else []
    free = inputs + bool(condition)
    outs = data.draw(st.integers(1, 3))
    count = outs + data.draw(st.integers(0, 5))
    targets = [*range(free + outs, free + count), *range(free, free + outs)]
    for target in targets:
        name = data.draw(st.sampled_from(names))
        if name == "where" and not conditions:
            name = "maximum"
        sources = [data.draw(st.sampled_from(floats)) for _ in range(COUNT[name])]
        if name == "where":
            sources[0] = data.draw(st.sampled_from(conditions))
        values = [-1.25, 1.5][:PARAMETERS.get(name, 0)]
        steps.append((name, sources, target, values))
        (conditions if name in TESTS else floats).append(target)
    return steps, outs


def operand(rng, shape, dtype, layout):
    """Return values that broadcast to the shape, laid out in one of several ways."""
    x = rng.normal(size=shape).astype(dtype)
    if layout == "scalar":
        return x.reshape(-1)[:1].reshape(())
    if layout == "last" and shape:
        return np.ascontiguousarray(x.reshape(-1, shape[-1])[0])
    if layout == "column" and shape:
        return np.ascontiguousarray(x[..., :1])
    if layout == "middle" and len(shape) > 2:
        return np.ascontiguousarray(x[:1, :, :1])
    if layout == "transposed":
        return x.T.copy().T
    if layout == "reversed" and shape:
        return x[..., ::-1]
    if layout == "strided" and shape:
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return x


LAYOUTS = ["same", "scalar", "last", "column", "middle", "transposed", "reversed", "strided"]


@given(st.data())
def test_equals_its_kernels(data):
    text = data.draw(st.sampled_from(["fast", "fast", "reference", "loops"]))
    # loops compiles what it meets: a few kernels only
    names = sorted(OPCODES) if text != "loops" else FEW
    isa.set_isa(data.draw(st.sampled_from(isa.available_isas())))
    pool.set_num_threads(data.draw(st.sampled_from([1, 2, 3])))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    shape = data.draw(st.sampled_from(
        [(), (1,), (7,), (5, 1), (3, 4), (2, 3, 5), (40, 130), (3, 7, 501), (2, 3, 1, 5, 211)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    inputs = [operand(rng, shape, dtype, data.draw(st.sampled_from(LAYOUTS)))
              for _ in range(data.draw(st.integers(1, 4)))]
    count = len(inputs)
    condition = data.draw(st.booleans())
    if condition:
        values = operand(rng, shape, dtype, data.draw(st.sampled_from(LAYOUTS)))
        inputs.append(np.asarray(values > 0))
    steps, outs = draw_program(data, names, count, condition)
    check(text, inputs, steps, outs, shape, dtype)


@pytest.mark.parametrize("name", sorted(OPCODES))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kernel_has_its_opcode(name, dtype):
    """On every instruction set the instruction is that kernel and no other."""
    rng = np.random.default_rng(3)
    inputs = [rng.normal(size=(5, 211)).astype(dtype) for _ in range(COUNT[name])]
    if name == "where":
        inputs[0] = inputs[0] > 0
    count = len(inputs)
    for level in isa.available_isas():
        isa.set_isa(level)
        values = [-0.5, 0.75][:PARAMETERS.get(name, 0)]
        check("fast", inputs, [(name, list(range(count)), count, values)], 1, (5, 211), dtype)


@pytest.mark.parametrize("text", ["fast", "reference"])
def test_a_temporary_may_be_used_again(text):
    """Registers are memory: a later instruction may take one whose value is not read any more."""
    x = np.linspace(-3, 3, 5000, dtype=np.float32)
    steps = [("square", [0], 2, []), ("less", [2, 0], 3, []), ("exp", [2], 2, []),
             ("where", [3, 2, 0], 1, [])]
    out, = check(text, [x], steps, 1, x.shape, np.float32)
    np.testing.assert_allclose(out, np.where(x * x < x, np.exp(x * x), x), rtol=1e-6)


def test_an_output_may_lie_on_an_input_that_is_not_read_again():
    x = np.linspace(-3, 3, 70_000, dtype=np.float32)
    kept = x.copy()
    steps = [("exp", [0], 3, []), ("multiply", [3, 1], 2, [])]
    fast.program([x, x], [x], *assemble(steps))
    want, = one_by_one(elementwise_fast, [kept, kept], steps, 1, x.shape, np.float32)
    np.testing.assert_array_equal(x, want)


def test_threads_leave_no_trace():
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(300, 700)).astype(np.float32), rng.normal(size=700).astype("f4")]
    steps = [("add", [0, 1], 4, []), ("tanh", [4], 2, []), ("tanh_grad", [0, 2], 3, [])]
    found = []
    for threads in (1, 2, 3, 8):
        pool.set_num_threads(threads)
        found.append(check("fast", inputs, steps, 2, (300, 700), np.float32))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_too_large_a_program_is_refused():
    x = np.zeros(3, np.float32)
    steps = [("square", [0], 1, [])] * (reference.MAX_STEPS + 1)
    with pytest.raises(ValueError, match="more inputs"):
        fast.program([x], [np.empty_like(x)], *assemble(steps))
