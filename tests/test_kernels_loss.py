"""Loss kernels: three texts against wider floats, special rows, derivatives, threads."""

from __future__ import annotations

import numpy as np
import pytest

from medai_engine.kernels.loss import fast, loops, reference
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

TEXTS = {"reference": reference, "loops": loops, "fast": fast}
DTYPES = (np.float32, np.float64)
# (outer, n, inner): short rows (columns in disguise), tails, strided axes, several chunks
SHAPES = [(1, 1, 1), (5, 2, 1), (19, 10, 1), (33, 16, 1), (3, 17, 1), (4, 64, 1), (2, 131, 1),
          (1, 3, 2), (2, 5, 7), (3, 9, 64), (2, 4, 131), (700, 33, 1), (3, 50, 200), (2, 20000, 1)]
ROWS = [(1, 1), (1, 2), (33, 2), (7, 10), (40, 16), (5, 17), (19, 131), (900, 30), (3, 9001)]
NAN, INF = np.nan, np.inf


@pytest.fixture(autouse=True)
def restore():
    isa, threads = get_isa(), get_num_threads()
    yield
    set_isa(isa)
    set_num_threads(threads)


@pytest.fixture(params=[("reference", ""), ("loops", ""), *(("fast", i) for i in available_isas())],
                ids=lambda p: "-".join(filter(None, p)))
def text(request):
    name, isa = request.param
    if isa:
        set_isa(isa)
    return TEXTS[name]


def run(kernel, inputs, *shapes):
    """Return the outputs of a kernel; each stood between two margins that must stay as they are."""
    dtype = next(a.dtype for a in inputs if a.dtype != np.int64)
    outs, memories = [], []
    for shape in shapes:
        memory = np.full(int(np.prod(shape)) + 64, NAN, dtype)
        memory[:32] = memory[-32:] = 7
        memories.append(memory)
        outs.append(memory[32:-32].reshape(shape))
    before = [a.copy() for a in inputs]
    kernel(*inputs, *outs)
    for memory in memories:
        assert (memory[:32] == 7).all() and (memory[-32:] == 7).all()
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)
    return outs[0] if len(outs) == 1 else outs


def wide(*arrays):
    """Return the arrays in the widest float of NumPy, in which exact results are computed."""
    return [a.astype(np.longdouble) for a in arrays]


def assert_within(found, exact, bound):
    """`bound` is in units of the dtype's epsilon."""
    error = np.abs(found - exact)
    assert np.isfinite(error).all()
    worst = np.max(error / (bound * np.finfo(found.dtype).eps))
    assert worst <= 1, f"{worst:.2f} times the bound"


def axis_sample(shape, dtype):
    rng = np.random.default_rng(shape)
    x = rng.normal(size=shape) * 6 + 50 * rng.normal(size=(shape[0], 1, shape[2]))
    return x.astype(dtype), rng.normal(size=shape).astype(dtype)


def class_sample(shape, dtype):
    rng = np.random.default_rng(shape)
    N, C = shape
    logits = (rng.normal(size=shape) * 4 + 30 * rng.normal(size=(N, 1))).astype(dtype)
    labels = rng.integers(0, C, N)
    labels[::5] = rng.choice([-100, -1, C, 2**62, -(2**63)], len(labels[::5]))
    g_loss, g_lse = rng.normal(size=(2, N)).astype(dtype)
    g_lse[::3] = 0
    return logits, labels, g_loss, g_lse


def test_the_three_texts_have_the_same_names():
    assert reference.__all__ == loops.__all__ == fast.__all__


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_and_relatives_within_rounding(text, shape, dtype):
    x, g = axis_sample(shape, dtype)
    x64, g64 = wide(x, g)
    spread = 4 + 2 * np.sqrt(shape[1]) + np.abs(x64 - x64.max(1, keepdims=True))
    y = run(text.softmax, [x], shape)
    assert_within(y, run(reference.softmax, [x64], shape), spread * y)
    log_y = run(text.log_softmax, [x], shape)
    assert_within(log_y, run(reference.log_softmax, [x64], shape), spread)

    total = 2 * np.sqrt(shape[1])
    y64, log_y64 = wide(y, log_y)
    dot = np.abs(g64 * y64).sum(1, keepdims=True)
    assert_within(run(text.softmax_grad, [g, y], shape),
                  run(reference.softmax_grad, [g64, y64], shape),
                  y64 * (4 * np.abs(g64) + (4 + total) * dot) + 1e-30)
    assert_within(run(text.log_softmax_grad, [g, log_y], shape),
                  run(reference.log_softmax_grad, [g64, log_y64], shape),
                  4 * np.abs(g64) + (8 + total) * np.abs(g64).sum(1, keepdims=True) * y64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_cross_entropy_within_rounding(text, shape, dtype):
    logits, labels, g_loss, g_lse = class_sample(shape, dtype)
    N, C = shape
    known = (labels >= 0) & (labels < C)
    loss, lse = run(text.softmax_cross_entropy, [logits, labels], (N,), (N,))
    # the definition again, by another road: logaddexp over the classes
    (exact,) = wide(logits)
    exact = np.logaddexp.reduce(exact, axis=1)
    spread = 4 + 2 * np.sqrt(C) + np.abs(logits - exact[:, None]).max(1)
    assert_within(lse, exact, spread + np.abs(exact))
    picked = logits[np.arange(N), np.where(known, labels, 0)]
    assert_within(loss, np.where(known, exact - picked, 0), spread * known + 1e-30)

    out = run(text.softmax_cross_entropy_grad, [g_loss, g_lse, logits, labels, lse], shape)
    log_p = np.subtract(*wide(logits, lse[:, None]))
    p, (g, g_lse) = np.exp(log_p), wide(np.where(known, g_loss, 0), g_lse)
    one_hot = np.arange(C) == labels[:, None]
    bound = (6 + np.abs(log_p)) * (np.abs(g) + np.abs(g_lse))[:, None] * (p + one_hot)
    assert_within(out, (g + g_lse)[:, None] * p - g[:, None] * one_hot, bound + 1e-30)


def test_rows_with_infinities(text):
    """A logit of -inf has probability 0; a row of nothing else has none."""
    x = np.array([[0, -INF, 1], [-INF, -INF, 3], [-INF] * 3, [1, NAN, 2], [1, INF, 2]], np.float32)
    one, e = 1 / (1 + np.e), np.log1p(np.e)
    y = run(text.softmax, [x[:, :, None]], (5, 3, 1))[:, :, 0]
    np.testing.assert_allclose(y[:2], [[one, 0, 1 - one], [0, 0, 1]], rtol=1e-6)
    assert np.isnan(y[2:4]).all() and np.isnan(y[4, 1])
    log_y = run(text.log_softmax, [x[:, :, None]], (5, 3, 1))[:, :, 0]
    np.testing.assert_allclose(log_y[:2], [[-e, -INF, 1 - e], [-INF, -INF, 0]], rtol=1e-6)
    assert np.isnan(log_y[2:4]).all()

    labels = np.array([2, 2, 0, 0, 0])
    loss, lse = run(text.softmax_cross_entropy, [x, labels], (5,), (5,))
    np.testing.assert_allclose(lse, [e, 3, -INF, NAN, INF], rtol=1e-6)
    np.testing.assert_allclose(loss, [e - 1, 0, NAN, NAN, INF], rtol=1e-6)
    loss, _ = run(text.softmax_cross_entropy, [x, np.array([1, 0, -1, -1, -1])], (5,), (5,))
    np.testing.assert_array_equal(loss, [INF, INF, 0, 0, 0])  # ignored: 0 whatever the logits
    g = np.ones(5, np.float32)
    out = run(text.softmax_cross_entropy_grad, [g, 0 * g, x, labels, lse], (5, 3))
    np.testing.assert_allclose(out[:2], [[one, 0, -one], [0, 0, 0]], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("C", [2, 40])
def test_rows_without_a_cotangent_get_exact_zeros(text, C):
    x = np.full((4, C), NAN, np.float32)
    labels = np.array([-100, C, 0, 1])  # two ignored, two weighted by 0
    g_loss, g_lse = np.array([1, 1, 0, 0], np.float32), np.zeros(4, np.float32)
    out = run(text.softmax_cross_entropy_grad, [g_loss, g_lse, x, labels, g_lse], (4, C))
    np.testing.assert_array_equal(out, 0)


@pytest.mark.parametrize("extreme", [1e4, 3e38, 1e-45])
def test_extreme_logits_are_shifted_into_range(text, extreme):
    x = np.array([[extreme, 0, -extreme, extreme]], np.float32)
    exact = run(reference.softmax, [x[:, :, None].astype(np.float64)], (1, 4, 1))
    np.testing.assert_allclose(run(text.softmax, [x[:, :, None]], (1, 4, 1)), exact, rtol=1e-6)
    loss, lse = run(text.softmax_cross_entropy, [x, np.array([0])], (1,), (1,))
    np.testing.assert_allclose(loss, -np.log(exact[:, 0, 0]), rtol=1e-6)
    assert np.isfinite(lse).all()


def four_point(f, x, direction, h=1e-4):
    """The derivative of f along a direction, error of order h^4."""
    return (8 * (f(x + h * direction) - f(x - h * direction))
            - (f(x + 2 * h * direction) - f(x - 2 * h * direction))) / (12 * h)


@pytest.mark.parametrize("shape", [(3, 4, 1), (2, 19, 1), (2, 3, 5)], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_gradients_are_the_derivatives(text, name, shape):
    rng = np.random.default_rng(3)
    x, g, direction = rng.normal(size=(3, *shape))

    def f(x):
        return (g * run(getattr(text, name), [x], shape)).sum()

    y = run(getattr(text, name), [x], shape)
    gradient = run(getattr(text, f"{name}_grad"), [g, y], shape)
    assert (gradient * direction).sum() == pytest.approx(four_point(f, x, direction), rel=1e-9)


@pytest.mark.parametrize("shape", [(6, 4), (5, 19)], ids=str)
def test_the_gradient_of_the_cross_entropy_is_its_derivative(text, shape):
    rng = np.random.default_rng(4)
    x, direction = rng.normal(size=(2, *shape))
    g_loss, g_lse = rng.normal(size=(2, shape[0]))
    labels = rng.integers(0, shape[1], shape[0])
    labels[2] = -1

    def f(x):
        loss, lse = run(text.softmax_cross_entropy, [x, labels], shape[:1], shape[:1])
        return (g_loss * loss + g_lse * lse).sum()

    _, lse = run(text.softmax_cross_entropy, [x, labels], shape[:1], shape[:1])
    out = run(text.softmax_cross_entropy_grad, [g_loss, g_lse, x, labels, lse], shape)
    assert (out * direction).sum() == pytest.approx(four_point(f, x, direction), rel=1e-9)


@pytest.mark.parametrize("C", [2, 10, 16, 17, 100])
def test_permuted_rows_give_the_same_bits_permuted(text, C):
    logits, labels, *_ = class_sample((45, C), np.float32)
    order = np.random.default_rng(0).permutation(45)
    whole = [run(text.softmax, [logits[:, :, None]], (45, C, 1))[:, :, 0],
             *run(text.softmax_cross_entropy, [logits, labels], (45,), (45,))]
    again = [run(text.softmax, [logits[order][:, :, None]], (45, C, 1))[:, :, 0],
             *run(text.softmax_cross_entropy, [logits[order], labels[order]], (45,), (45,))]
    for a, b in zip(whole, again, strict=True):
        np.testing.assert_array_equal(a[order], b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_give_the_same_bits(dtype):
    found = []
    for threads in (1, 2, 3, 8):
        set_num_threads(threads)
        bits = []
        for shape in [(700, 33, 1), (5000, 2, 1), (3, 50, 200), (2, 20000, 1)]:
            x, g = axis_sample(shape, dtype)
            for name in ("softmax", "log_softmax"):
                y = run(getattr(fast, name), [x], shape)
                bits += [y, run(getattr(fast, f"{name}_grad"), [g, y], shape)]
        for shape in [(900, 30), (9001, 3)]:
            logits, labels, g_loss, g_lse = class_sample(shape, dtype)
            loss, lse = run(fast.softmax_cross_entropy, [logits, labels], shape[:1], shape[:1])
            bits += [loss, lse, run(fast.softmax_cross_entropy_grad,
                                    [g_loss, g_lse, logits, labels, lse], shape)]
        found.append(b"".join(a.tobytes() for a in bits))
    assert len(set(found)) == 1


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_torch(text, dtype):
    torch = pytest.importorskip("torch")
    logits, labels, g_loss, _ = class_sample((40, 9), dtype)
    labels[(labels < 0) | (labels >= 9)] = -100
    x = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(x, torch.tensor(labels), reduction="none")
    expected.backward(torch.tensor(g_loss))
    loss, lse = run(text.softmax_cross_entropy, [logits, labels], (40,), (40,))
    out = run(text.softmax_cross_entropy_grad,
              [g_loss, np.zeros_like(g_loss), logits, labels, lse], (40, 9))
    # the logits stand around +-60, so that lse itself rounds by 60 eps
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(loss, expected.detach(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(out, x.grad, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(lse, torch.logsumexp(x, 1).detach(), rtol=tolerance)
    y = run(text.softmax, [logits[:, :, None]], (40, 9, 1))[:, :, 0]
    np.testing.assert_allclose(y, torch.softmax(x, 1).detach(), rtol=tolerance)
