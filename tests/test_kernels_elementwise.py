"""Elementwise kernels: three texts, every instruction set, every layout, one value per element."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medai_engine.kernels.elementwise import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads


def words(text):
    return text.split()


UNARY = words("""negative positive abs sign square sqrt reciprocal exp expm1 log log1p log2 log10
    sin cos tan asin acos atan sinh cosh tanh erf floor ceil round trunc isnan isinf isfinite
    logical_not relu relu6 sigmoid log_sigmoid softsign gelu gelu_tanh silu mish hardsigmoid
    hardswish selu""")
BINARY = words("""add subtract multiply divide power maximum minimum atan2 hypot logaddexp remainder
    floor_divide equal not_equal less less_equal greater greater_equal logical_and logical_or
    logical_xor bce_with_logits relu_grad relu6_grad sigmoid_grad tanh_grad log_sigmoid_grad
    softsign_grad gelu_grad gelu_tanh_grad silu_grad mish_grad hardsigmoid_grad hardswish_grad
    selu_grad""")
TERNARY = ["where", "bce_with_logits_grad"]
PARAMETERS = {
    "clip": (-1.25, 1.5), "leaky_relu": (0.2,), "elu": (1.3,), "celu": (0.7,),
    "hardtanh": (-1.0, 2.0), "softplus": (1.5, 20.0),
}
PARAMETERS |= {f"{name}_grad": values for name, values in PARAMETERS.items()}
INPUTS = {name: 1 for name in UNARY} | {name: 2 for name in BINARY} | {n: 3 for n in TERNARY}
INPUTS |= {name: 2 if name.endswith("_grad") else 1 for name in PARAMETERS}
BOOLEAN = set(words("""isnan isinf isfinite logical_not equal not_equal less less_equal greater
    greater_equal logical_and logical_or logical_xor"""))
NAMES = sorted(INPUTS)
DTYPES = (np.float32, np.float64)
ISAS = available_isas()
SAVES_Y = {"relu_grad", "sigmoid_grad", "tanh_grad", "elu_grad", "selu_grad"}

# NumPy says nothing about which zero the larger of 0 and -0 is.
EITHER_ZERO = {"maximum", "minimum", "relu", "relu6", "clip", "hardtanh", "hardsigmoid"}


@pytest.fixture(autouse=True)
def restore():
    isa, threads = get_isa(), get_num_threads()
    yield
    set_isa(isa)
    set_num_threads(threads)


def extremes(dtype):
    info = np.finfo(dtype)
    some = [0.0, info.smallest_subnormal, info.tiny / 2, info.tiny, info.eps, 0.5, 1.0, 3.0, 20.5,
            88.8, 104.0, 709.9, 745.2, 2.0**23 + 1, 2.0**52 + 1, info.max / 2, info.max, np.inf]
    return np.array([*some, *(-v for v in some), np.nan], dtype)


@cache
def samples(name, dtype):
    """Arrays of one dimension: magnitudes from 1e-6 to 1e3, then all pairs of extremes."""
    rng = np.random.default_rng(len(name))
    spread = [rng.normal(size=150) * s for s in (1e-6, 1e-3, 0.1, 1, 3, 12, 90, 1000)]
    if name in ("sin", "cos", "tan"):  # next to their zeros, and across the limit of the vectors
        spread += [np.pi / 2 * np.arange(300), np.pi / 2 * rng.integers(0, 50_000, 300)]
    if INPUTS[name] == 1:
        return (np.concatenate([*spread, extremes(dtype)]).astype(dtype),)
    a = np.concatenate(spread).astype(dtype)
    first, second = extremes(dtype), extremes(dtype)
    if name.endswith("_grad"):  # g is finite, and y is what the activation can give
        first = first[~(np.abs(first) > 1e4)]
        second = second[~(np.abs(second) > 1e4)] if name in SAVES_Y else second
    pairs = np.array(list(product(first, second)), dtype).T
    arrays = [np.concatenate([rng.permutation(a), pairs[0]]), np.concatenate([a, pairs[1]])]
    if name == "where":
        arrays.insert(0, rng.random(arrays[0].shape) < 0.5)
    elif name == "bce_with_logits_grad":
        arrays.append(rng.random(arrays[0].shape).astype(dtype))
    return tuple(arrays)


def call(text, name, arrays, dtype, shape=None):
    shape = np.broadcast_shapes(*(a.shape for a in arrays)) if shape is None else shape
    out = np.full(shape, np.nan, dtype) if name not in BOOLEAN else np.full(shape, 7, np.bool_)
    assert getattr(text, name)(*arrays, out, *PARAMETERS.get(name, ())) is None
    return out


def same_bits(a, b):
    """Equal, signs of zeros included; any NaN equals any NaN."""
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)
    zeros = a == 0
    np.testing.assert_array_equal(np.signbit(a[zeros]), np.signbit(b[zeros]))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def magnitude(name, arrays, y):
    """The size that rounding is measured by: |y|, or the terms that cancel in y.

    Where an argument of exp is itself rounded (a product), its size counts as often.
    """
    x = arrays[-1]
    u = np.abs(1.6 * x * (1 + 0.045 * x * x))
    terms = {
        "gelu_tanh": lambda: np.abs(y) * (1 + u),
        "gelu_tanh_grad": lambda: np.abs(y) * (1 + u) + np.abs(arrays[0]) * np.exp(-4 * x * x),
        "gelu_grad": lambda: np.abs(arrays[0]) * (1 + np.abs(x) ** 3) * np.exp(-x * x / 2)
        + np.abs(y),
        "silu_grad": lambda: np.abs(arrays[0]) * sigmoid(x) * (1 + np.abs(x)),
        "mish_grad": lambda: np.abs(arrays[0]) * (np.exp(np.minimum(x, 0))) * (1 + np.abs(x)),
        "hardsigmoid": lambda: (np.abs(x) + 3) / 6,
        "hardswish": lambda: np.abs(x) * (np.abs(x) + 3) / 6,
        "hardswish_grad": lambda: np.abs(arrays[0]) * (np.abs(x) / 3 + 0.5),
        "elu_grad": lambda: np.abs(arrays[0]) * (np.abs(x) + 1.3),
        "selu_grad": lambda: np.abs(arrays[0]) * (np.abs(x) + 1.8),
        "celu": lambda: np.abs(y) * (1 + np.abs(x)),
        "celu_grad": lambda: np.abs(y) * (1 + np.abs(x)),
        "softplus": lambda: np.abs(y) * (1 + np.abs(x)),
        "softplus_grad": lambda: np.abs(y) * (1 + np.abs(x)),
        "logaddexp": lambda: np.maximum(np.abs(arrays[0]), np.abs(x)) + 1,
        "bce_with_logits": lambda: np.abs(arrays[0]) * (1 + np.abs(x)) + 1,
        "bce_with_logits_grad": lambda: np.abs(arrays[0]) * (1 + np.abs(x)),
        "remainder": lambda: np.abs(x) + np.abs(y),
    }
    return terms.get(name, lambda: np.abs(y))()


@cache
def expected(name, dtype):
    """The reference on the same numbers in the next wider type, and the error that is allowed."""
    wide = np.float64 if dtype == np.float32 else np.longdouble
    arrays = samples(name, dtype)
    widened = [a if a.dtype == np.bool_ else a.astype(wide) for a in arrays]
    y = call(reference, name, widened, wide)
    if name in BOOLEAN:
        return y, None
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        size = np.nan_to_num(magnitude(name, widened, y), posinf=0)
        # a subnormal factor has lost digits before it is multiplied
        factors = np.prod([np.maximum(np.abs(a), 1) for a in widened], axis=0)
        allowed = 4 * info.eps * (size + np.nan_to_num(info.tiny * factors, posinf=0))
        allowed[(size > info.max / 4) & (size > 1.5 * np.abs(y))] = np.inf  # a term overflows
    return y, allowed


def check(name, dtype, y):
    want, allowed = expected(name, dtype)
    if name in BOOLEAN:
        np.testing.assert_array_equal(y, want)
        return
    with np.errstate(all="ignore"):
        rounded = want.astype(dtype)
        exact = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
        near = np.isfinite(want) & (np.abs(y - want) <= allowed)
    bad = np.flatnonzero(~(exact | near))
    inputs = [a[bad[:5]] for a in samples(name, dtype)]
    with np.errstate(all="ignore"):
        excess = (np.abs(y - want) / allowed)[bad[:5]].astype(float)
    assert bad.size == 0, (f"{name}: {bad.size} wrong\n  at {inputs}\n  got {y[bad[:5]]}\n"
                           f"  expected {rounded[bad[:5]]}\n  {excess} times the error allowed")
    if name not in EITHER_ZERO and not name.endswith("_grad"):
        zeros = (y == 0) & (want == 0)
        np.testing.assert_array_equal(np.signbit(y[zeros]), np.signbit(want[zeros]), name)


def test_the_texts_have_the_same_kernels():
    assert sorted(fast.__all__) == sorted(loops.__all__) == reference.__all__ == NAMES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_fast_values(name, dtype):
    for isa in ISAS:
        set_isa(isa)
        check(name, dtype, call(fast, name, samples(name, dtype), dtype))


@pytest.mark.parametrize("exponent", [2, 3, 0.5, -1, 0])
def test_common_exponents(exponent):
    for dtype in DTYPES:
        x = np.concatenate([*samples("log", dtype), -samples("log", dtype)[0]])
        y = fast.power(x, np.full(x.shape, exponent, dtype))
        same_bits(y, fast.power(x, np.array(exponent, dtype)))
        with np.errstate(all="ignore"):
            want = x.astype(np.longdouble) ** np.longdouble(exponent)
            np.testing.assert_allclose(y, want.astype(dtype), rtol=2 * np.finfo(dtype).eps,
                                       atol=float(np.finfo(dtype).smallest_subnormal))


def test_log2_of_powers_of_two_is_exact():
    for isa in ISAS:
        set_isa(isa)
        for dtype, low, high in ((np.float32, -149, 127), (np.float64, -1074, 1023)):
            k = np.arange(low, high + 1)
            np.testing.assert_array_equal(fast.log2(np.ldexp(dtype(1), k)), k)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_loops_values(name, dtype):
    check(name, dtype, call(loops, name, samples(name, dtype), dtype))


@pytest.mark.parametrize("name", NAMES)
def test_reference_serves_float32(name):
    want, _ = expected(name, np.float32)
    y = call(reference, name, samples(name, np.float32), np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.isnan(y), np.isnan(want.astype(y.dtype)))


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "remainder", "floor_divide", "less",
                                  "logical_and", "abs", "sign", "square", "negative", "relu"])
def test_reference_serves_integers(name):
    arrays = [np.array([-7, 7, 0, 5]), np.array([2, -2, 3, 5])][: INPUTS[name]]
    np_name = {"relu": lambda x: np.maximum(x, 0)}.get(name) or getattr(np, name)
    want = np_name(*arrays)
    out = np.empty_like(want)
    getattr(reference, name)(*arrays, out)
    np.testing.assert_array_equal(out, want)


# --- an element's bits depend on nothing but the element ----------------------------------------


def layouts(x):
    """The values of x (4, 6, 5) in other clothes: (what, view)."""
    yield "C", x.copy()
    yield "Fortran", np.asfortranarray(x)
    yield "reversed", x[::-1, :, ::-1].copy()[::-1, :, ::-1]
    wide = np.repeat(np.repeat(x, 2, axis=2), 3, axis=0)
    yield "steps", wide[::3, :, ::2]
    yield "transposed", np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0)
    offset = np.empty(x.size + 3, x.dtype)
    offset[3:] = x.ravel()
    yield "offset", offset[3:].reshape(x.shape)
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NAMES)
def test_layouts(name, isa):
    set_isa(isa)
    rng = np.random.default_rng(3)
    for dtype in DTYPES:
        arrays = [rng.permutation(a)[:120].reshape(4, 6, 5) for a in samples(name, dtype)]
        want = call(fast, name, arrays, dtype)
        flat = [call(fast, name, [a.ravel()[i:i + 1] for a in arrays], dtype) for i in range(120)]
        same_bits(np.concatenate(flat).reshape(want.shape), want)
        for k in range(len(arrays)):
            before = arrays[k].copy()
            for what, view in layouts(arrays[k]):
                got = call(fast, name, [*arrays[:k], view, *arrays[k + 1:]], dtype)
                assert same_bits(got, want) is None, what
            np.testing.assert_array_equal(arrays[k], before)
        out = np.full((5, 6, 4), np.nan, want.dtype).T.swapaxes(1, 2).swapaxes(1, 2)
        getattr(fast, name)(*arrays, out, *PARAMETERS.get(name, ()))
        same_bits(np.ascontiguousarray(out), want)


BROADCASTS = [
    ((7, 5), (5,)), ((7, 5), (7, 1)), ((200, 3), (3,)), ((300, 10), (300, 1)), ((3, 700), (700,)),
    ((3, 700), (3, 1)), ((40, 1), (1, 300)), ((2, 3, 4), (3, 1)), ((5, 1, 7), (1, 6, 1)),
    ((9,), ()), ((1, 1), (4, 5)), ((1,), (1, 1)), ((2, 600, 3), (1, 3)), ((4, 2, 150), (4, 1, 150)),
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
def test_broadcasting(shapes, isa):
    set_isa(isa)
    rng = np.random.default_rng(4)
    for dtype in DTYPES:
        x, y = (np.asarray(rng.normal(size=s), dtype) for s in shapes)
        for a, b in ((x, y), (y, x)):
            same_bits(call(fast, "subtract", [a, b], dtype), np.asarray(a - b))
            same_bits(call(fast, "less", [a, b], dtype), np.asarray(a < b))
            same_bits(fast.divide(a, b), np.asarray(a / b))
            same_bits(call(fast, "where", [np.asarray(a > 0), a, b], dtype), np.where(a > 0, a, b))
            same_bits(call(fast, "where", [np.asarray(b > 0), b, a], dtype), np.where(b > 0, b, a))


@settings(deadline=None)  # the first use compiles
@given(st.data())
def test_any_shapes_and_strides(data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=9,
                                                         min_side=1))
    dtype = data.draw(st.sampled_from(DTYPES))
    set_isa(data.draw(st.sampled_from(ISAS)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    arrays = []
    for shape in shapes.input_shapes:
        steps = data.draw(st.tuples(*(st.sampled_from([1, 2, -1, -3]) for _ in shape)))
        axes = data.draw(st.permutations(range(len(shape))))
        grown = [abs(steps[d]) * shape[d] for d in axes]
        view = np.asarray(rng.normal(size=grown), dtype).transpose(np.argsort(axes).tolist())
        arrays.append(view[(*(slice(None, None, s) for s in steps), ...)])
    a, b, c = arrays
    condition = np.asarray(c > 0)
    same_bits(call(fast, "subtract", [a, b], dtype), np.asarray(a - b))
    same_bits(call(fast, "where", [condition, a, b], dtype), np.where(condition, a, b))
    same_bits(fast.where(condition, a, b), np.where(condition, a, b))
    same_bits(call(fast, "hypot", [b, a], dtype), call(loops, "hypot", [b, a], dtype))


@pytest.mark.parametrize("name", NAMES)
def test_threads(name):
    rng = np.random.default_rng(5)
    for dtype in DTYPES:
        arrays = [rng.choice(a, (41, 1001)) for a in samples(name, dtype)]
        results = []
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            results.append(call(fast, name, arrays, dtype))
        for y in results[1:]:
            same_bits(y, results[0])
        same_bits(call(fast, name, [a[:, ::-1] for a in arrays], dtype), results[0][:, ::-1])


@pytest.mark.parametrize("name", ["exp", "gelu", "add", "sigmoid_grad", "where"])
def test_out_may_be_an_input(name):
    x = np.random.default_rng(6).normal(size=(30, 1000)).astype(np.float32)
    arrays = [x > 0.5, x, x + 1][-INPUTS[name]:] if name == "where" else [x, x + 1][: INPUTS[name]]
    want = call(fast, name, arrays, np.float32)
    target = arrays[-1].copy()
    getattr(fast, name)(*arrays[:-1], target, target)
    same_bits(target, want)


# --- the short path -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_short_path(name):
    parameters = (None, *PARAMETERS[name]) if name in PARAMETERS else ()
    for dtype in DTYPES:
        arrays = [a[:99].reshape(9, 11) for a in samples(name, dtype)]
        y = getattr(fast, name)(*arrays, *parameters)
        same_bits(y, call(fast, name, arrays, dtype))
        assert y.flags.c_contiguous and y.flags.owndata and y.flags.writeable
    empty = [np.empty((0, 3), a.dtype) for a in arrays]
    assert getattr(fast, name)(*empty, *parameters).shape == (0, 3)


def test_short_path_leaves_the_rest_to_the_engine():
    x = np.ones((2, 3), np.float32)
    assert fast.add(x, x.astype(np.float64)) is None
    assert fast.add(x, 1.0) is None
    assert fast.add(x, np.ones((2, 4), np.float32)) is None
    assert fast.add(x, x.astype(">f4")) is None
    assert fast.add(x.astype(np.int64), x.astype(np.int64)) is None
    assert fast.exp(np.ma.masked_array(x)) is None
    assert fast.exp(np.ones(3, np.float16)) is None
    assert fast.where(x, x, x) is None
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32)
    assert fast.exp(unaligned) is None
    assert fast.exp(np.float32(1.0)) is None


def test_zero_dimensions():
    y = fast.multiply(np.array(3.0), np.array(2.0))
    assert isinstance(y, np.ndarray) and y.shape == () and y == 6.0
