"""Optimiser kernels: three texts, the papers' formulas, PyTorch, segments, threads."""

from __future__ import annotations

import math
from itertools import chain, pairwise

import numpy as np
import pytest

from medai_engine.kernels.gemm import fast as gemm
from medai_engine.kernels.gemm import reference as gemm_reference
from medai_engine.kernels.optimizer import fast, loops, reference
from medai_engine.kernels.optimizer.reference import COLUMNS
from medai_engine.kernels.simd.isa import available_isas, get_isa, set_isa
from medai_engine.kernels.threads.pool import get_num_threads, set_num_threads

TEXTS = {"reference": reference, "loops": loops, "fast": fast}
DTYPES = (np.float32, np.float64)
STATES = {"sgd_step": 1, "adam_step": 3, "nadam_step": 2, "radam_step": 2, "rmsprop_step": 3,
          "adagrad_step": 1, "adadelta_step": 2, "adamax_step": 2, "lion_step": 1}
# which states are running means: those that decay
COUNTED = {"sgd_step": (1,), "adam_step": (1, 1, 0), "nadam_step": (1, 1), "radam_step": (1, 1),
           "rmsprop_step": (1, 1, 1), "adagrad_step": (0,), "adadelta_step": (1, 1),
           "adamax_step": (1, 0), "lion_step": (1,)}
DEFAULTS = {
    "lr": 0.05, "momentum": 0.0, "dampening": 0.0, "nesterov": 0, "weight_decay": 0.0, "step": 1,
    "maximize": 0, "beta1": 0.9, "beta2": 0.97, "eps": 1e-6, "decoupled": 0, "alpha": 0.95,
    "momentum_decay": 0.004, "mu_product": 1.0, "lr_decay": 0.0, "rho": 0.9,
}
# rule, which optional states it has, columns other than the defaults
CASES = [
    ("sgd_step", "0", {}),
    ("sgd_step", "0", {"weight_decay": 0.1, "maximize": 1}),
    ("sgd_step", "1", {"momentum": 0.9}),
    ("sgd_step", "1", {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    ("sgd_step", "1", {"momentum": 0.9, "nesterov": 1, "maximize": 1}),
    ("adam_step", "110", {}),
    ("adam_step", "110", {"weight_decay": 0.1, "maximize": 1}),
    ("adam_step", "110", {"weight_decay": 0.1, "decoupled": 1}),
    ("adam_step", "111", {"weight_decay": 0.1, "beta1": 0.0}),
    ("adam_step", "111", {"decoupled": 1, "weight_decay": 0.02, "beta2": 0.5}),
    ("nadam_step", "11", {}),
    ("nadam_step", "11", {"weight_decay": 0.1, "decoupled": 1, "momentum_decay": 0.1}),
    ("nadam_step", "11", {"weight_decay": 0.1, "maximize": 1}),
    ("radam_step", "11", {}),  # rectified from the sixth step on
    ("radam_step", "11", {"weight_decay": 0.1, "beta2": 0.5}),  # never rectified
    ("radam_step", "11", {"weight_decay": 0.1, "decoupled": 1, "maximize": 1}),
    ("rmsprop_step", "100", {}),
    ("rmsprop_step", "100", {"weight_decay": 0.1, "maximize": 1}),
    ("rmsprop_step", "101", {"momentum": 0.9}),
    ("rmsprop_step", "111", {"momentum": 0.5, "weight_decay": 0.1}),
    ("adagrad_step", "1", {"weight_decay": 0.1}),
    ("adagrad_step", "1", {"lr_decay": 0.3, "maximize": 1}),
    ("adadelta_step", "11", {"lr": 1.0}),
    ("adadelta_step", "11", {"weight_decay": 0.1, "maximize": 1}),
    ("adamax_step", "11", {}),
    ("adamax_step", "11", {"weight_decay": 0.1, "maximize": 1}),
    ("lion_step", "1", {}),
    ("lion_step", "1", {"weight_decay": 0.1, "maximize": 1}),
]
IDS = ["-".join([rule, states, *(f"{k}={v}" for k, v in columns.items())])
       for rule, states, columns in CASES]
STEPS = 9


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


def rows(rule, columns, segments, step=1, product=1.0):
    values = DEFAULTS | columns | {"step": step, "mu_product": product}
    return np.array([[values[c] for c in COLUMNS[rule]]] * segments, np.float64)


def mu_of(columns, step):
    c = DEFAULTS | columns
    return c["beta1"] * (1 - 0.5 * 0.96 ** (step * c["momentum_decay"]))


def train(text, rule, states, columns, params, gradients):
    """Run one step per entry of `gradients` (lists of segments) in place; return the states."""
    kept = [[np.zeros_like(p) for p in params] if present == "1" else [] for present in states]
    product = 1.0
    for step, grads in enumerate(gradients, 1):
        product *= mu_of(columns, step)
        before = [g.copy() for g in grads]
        getattr(text, rule)(params, grads, *kept, rows(rule, columns, len(params), step, product))
        for g, b in zip(grads, before, strict=True):
            np.testing.assert_array_equal(g, b)
    return kept


def problem(sizes, dtype, steps=STEPS, seed=0):
    """Return parameters, and gradients of one scale per element, as training has them."""
    rng = np.random.default_rng(seed)
    params = [rng.normal(size=n).astype(dtype) for n in sizes]
    scales = [10.0 ** rng.uniform(-3, 1, n) for n in sizes]
    gradients = [[(s * rng.normal(size=len(s))).astype(dtype) for s in scales]
                 for _ in range(steps)]
    return params, gradients


def by_the_paper(rule, states, c, p, gradients):
    """Train one Python float by the formulas as their papers print them, with m_hat and v_hat."""
    m = v = u = b = 0.0
    product = 1.0
    b1, b2, eps, lr, w = c["beta1"], c["beta2"], c["eps"], c["lr"], c["weight_decay"]
    for t, gradient in enumerate(gradients, 1):
        g = -gradient if c["maximize"] else gradient
        if rule == "lion_step" or c["decoupled"]:
            p -= lr * w * p
        else:
            g += w * p
        m_lion, m, v_old = m, b1 * m + (1 - b1) * g, v
        v = b2 * v + (1 - b2) * g**2
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        if rule == "sgd_step":
            b = g if t == 1 else c["momentum"] * b + (1 - c["dampening"]) * g
            p -= lr * (g if states == "0" else g + c["momentum"] * b if c["nesterov"] else b)
        elif rule == "adam_step":
            u = max(u, v)
            p -= lr * m_hat / (math.sqrt(u / (1 - b2**t) if states[2] == "1" else v_hat) + eps)
        elif rule == "nadam_step":
            mu, after = mu_of(c, t), mu_of(c, t + 1)
            product *= mu
            look_ahead = after * m / (1 - product * after) + (1 - mu) * g / (1 - product)
            p -= lr * look_ahead / (math.sqrt(v_hat) + eps)
        elif rule == "radam_step":
            limit = 2 / (1 - b2) - 1
            length = limit - 2 * t * b2**t / (1 - b2**t)
            if length > 5:
                r = math.sqrt((length - 4) * (length - 2) * limit
                              / ((limit - 4) * (limit - 2) * length))
                p -= lr * m_hat * r * math.sqrt(1 - b2**t) / (math.sqrt(v) + eps)
            else:
                p -= lr * m_hat
        elif rule == "rmsprop_step":
            a = c["alpha"]
            v = a * v_old + (1 - a) * g**2
            u = a * u + (1 - a) * g  # the mean gradient
            variance = max(v - u**2, 0) if states[1] == "1" else v
            b = c["momentum"] * b + g / (math.sqrt(variance) + eps)
            p -= lr * b
        elif rule == "adagrad_step":
            v = v_old + g**2
            p -= lr / (1 + (t - 1) * c["lr_decay"]) * g / (math.sqrt(v) + eps)
        elif rule == "adadelta_step":
            rho = c["rho"]
            v = rho * v_old + (1 - rho) * g**2
            change = math.sqrt(u + eps) / math.sqrt(v + eps) * g
            u = rho * u + (1 - rho) * change**2
            p -= lr * change
        elif rule == "adamax_step":
            u = max(b2 * u, abs(g) + eps)
            p -= lr / (1 - b1**t) * m / u
        elif rule == "lion_step":
            blend = b1 * m_lion + (1 - b1) * g
            p -= lr * (blend > 0) - lr * (blend < 0)
            m = b2 * m_lion + (1 - b2) * g
    return p


def test_the_three_texts_have_the_same_names():
    assert reference.__all__ == loops.__all__ == fast.__all__
    assert set(COLUMNS) == {name for name in reference.__all__ if name.endswith("_step")} - {
        "ema_step"} == {rule for rule, *_ in CASES}


@pytest.mark.parametrize("rule, states, columns", CASES, ids=IDS)
def test_the_papers_formulas_over_several_steps(text, rule, states, columns):
    params, gradients = problem([1, 19], np.float64)
    start = [p.copy() for p in params]
    train(text, rule, states, columns, params, gradients)
    for k, p in enumerate(params):
        for i, found in enumerate(p):
            exact = by_the_paper(rule, states, DEFAULTS | columns, start[k][i],
                                 [grads[k][i] for grads in gradients])
            assert found == pytest.approx(exact, rel=1e-12, abs=1e-12)
            assert abs(exact - start[k][i]) > 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule, states, columns", CASES, ids=IDS)
def test_texts_agree_on_all_that_is_written(text, rule, states, columns, dtype):
    """Against the reference in twice the precision, over tails of every vector width."""
    sizes = [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 130]
    params, gradients = problem(sizes, dtype)
    wide_params = [p.astype(np.longdouble) for p in params]
    wide_gradients = [[g.astype(np.longdouble) for g in grads] for grads in gradients]
    kept = train(text, rule, states, columns, params, gradients)
    exact = train(reference, rule, states, columns, wide_params, wide_gradients)
    for found_list, exact_list in zip([params, *kept], [wide_params, *exact], strict=True):
        for found, expected in zip(found_list, exact_list, strict=True):
            # v - c^2 of the centred rule cancels: its error counts in the condition of that step
            slack = 2000 if states == "111" and rule == "rmsprop_step" else 40
            np.testing.assert_allclose(found, expected, rtol=slack * np.finfo(dtype).eps,
                                       atol=slack * np.finfo(dtype).eps)


@pytest.mark.parametrize("rule, states, columns", CASES[:1] + CASES[4:6] + CASES[10:11], ids=str)
@pytest.mark.parametrize("isa", available_isas())
def test_an_element_does_not_know_its_segment(rule, states, columns, isa):
    """One array and the same array in pieces give the same bits: tails round as vectors do."""
    set_isa(isa)
    cuts = [0, 1, 4, 20, 57, 20_000, 20_016, 41_000]
    (whole,), gradients = problem([41_000], np.float32, steps=3)
    pieces = [whole[a:b].copy() for a, b in pairwise(cuts)]
    in_pieces = [[g[a:b] for a, b in pairwise(cuts)] for (g,) in gradients]
    train(fast, rule, states, columns, [whole], gradients)
    train(fast, rule, states, columns, pieces, in_pieces)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_give_the_same_bits(dtype):
    found = []
    for threads in (1, 2, 3, 8):
        set_num_threads(threads)
        bits = []
        for rule, states, columns in CASES:
            params, gradients = problem([40_000, 7, 20_001, 300], dtype, steps=2)
            bits += chain(params, *train(fast, rule, states, columns, params, gradients))
        arrays, total = problem([40_000, 7, 20_001, 300], dtype)[0], np.full(1, np.nan)
        fast.segments_sum_squares(arrays, total)
        averages = [np.zeros_like(a) for a in arrays]
        fast.ema_step(averages, arrays, 0.9)
        fast.segments_scale(arrays, 0.3)
        fast.segments_clip(arrays, -0.1, 0.2)
        weight = np.ones(200 * 2500, dtype)  # by the factors of its gradient, 8 x 200 and 8 x 2500
        factors = arrays[0][:1600].reshape(8, 200), arrays[2][:20_000].reshape(8, 2500)
        fast.sgd_step([weight], [factors], [], rows("sgd_step", {}, 1))
        found.append(b"".join(a.tobytes() for a in [*bits, total, *averages, *arrays, weight]))
    assert len(set(found)) == 1


def test_each_segment_has_its_row_and_its_states(text):
    """Rates and optional states may differ between the segments of one call."""
    rng = np.random.default_rng(0)
    start, grads = [rng.normal(size=(4, 6)) for _ in range(2)]
    hyper = rows("adam_step", {}, 4, step=3)
    hyper[:, 0] = [0.1, 0.1, 0.2, 0.0]
    together = [[*array.copy()] for array in (start, grads, 0 * start, 0 * start)]
    tops = [None, np.zeros(6), None, np.full(6, 100.0)]
    text.adam_step(*together, tops, hyper)
    for k in range(4):
        alone = [[array[k].copy()] for array in (start, grads, 0 * start, 0 * start)]
        top = [np.full(6, 100.0) if k == 3 else np.zeros(6)] if k % 2 else []
        reference.adam_step(*alone, top, hyper[k:k + 1])
        for found, expected in zip([x[k] for x in together], [x[0] for x in alone], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-14)
    np.testing.assert_array_equal(together[0][3], start[3])  # rate 0
    np.testing.assert_array_equal(tops[3], 100)


def test_the_first_momentum_ignores_what_the_buffer_held(text):
    p, g, b = np.ones(5), np.full(5, 2.0), np.full(5, np.nan)
    text.sgd_step([p], [g], [b], rows("sgd_step", {"momentum": 0.9, "dampening": 0.5}, 1))
    np.testing.assert_array_equal(b, g)
    np.testing.assert_allclose(p, 1 - 0.05 * 2)


def test_no_momentum_of_beta_0_is_the_gradient(text):
    """beta1 = 0 keeps nothing of a mean a million times larger."""
    p, g, m, v = np.zeros(3, np.float32), np.full(3, 1e-3, np.float32), *np.ones((2, 3), np.float32)
    m[:] = 1e6
    text.adam_step([p], [g], [m], [v], [], rows("adam_step", {"beta1": 0.0}, 1, step=5))
    np.testing.assert_array_equal(m, g)


def test_lion_takes_the_sign(text):
    """Of 0 it is 0, and a NaN stays visible."""
    g = np.array([2.0, -1e-30, 0.0, -0.0, np.nan, np.inf])
    p, m = np.ones(6), np.zeros(6)
    text.lion_step([p], [g], [m], rows("lion_step", {"lr": 0.25}, 1))
    np.testing.assert_array_equal(p, [0.75, 1.25, 1, 1, np.nan, 0.75])


@pytest.mark.parametrize("dtype", DTYPES)
def test_averages_of_the_parameters(text, dtype):
    params, _ = problem([1, 37, 17_000], dtype)
    averages, _ = problem([1, 37, 17_000], dtype, seed=1)
    expected = [0.7 * a.astype(np.float64) + 0.3 * p for a, p in zip(averages, params, strict=True)]
    text.ema_step(averages, params, 0.7)
    for found, exact in zip(averages, expected, strict=True):
        np.testing.assert_allclose(found, exact, rtol=4 * np.finfo(dtype).eps,
                                   atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sum_of_squares(text, dtype):
    arrays, _ = problem([1, 3, 31, 32, 33, 40_000, 16_384, 500], dtype)
    total = np.full(1, np.nan)
    text.segments_sum_squares(arrays, total)
    exact = math.fsum(float(x) ** 2 for a in arrays for x in a)
    assert total[0] == pytest.approx(exact, rel=1e-13)
    text.segments_sum_squares([np.full(3, 1e30, dtype)], total)  # beyond float32
    assert total[0] == pytest.approx(3e60)
    text.segments_sum_squares([], total)
    assert total[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_scale_and_clip(text, dtype):
    arrays, _ = problem([1, 5, 33, 17_000], dtype)
    arrays[2][:4] = np.nan, np.inf, -np.inf, 0
    start = [a.copy() for a in arrays]
    text.segments_scale(arrays, 0.3)
    for a, s in zip(arrays, start, strict=True):
        np.testing.assert_array_equal(a, s * dtype(0.3))
    text.segments_clip(arrays, -0.25, 0.1)
    for a, s in zip(arrays, start, strict=True):
        np.testing.assert_array_equal(a, np.clip(s * dtype(0.3), -0.25, 0.1))
    assert np.isnan(arrays[2][0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule, states, columns", CASES, ids=IDS)
def test_means_end_at_zero_not_among_the_subnormals(rule, states, columns, dtype, text):
    """Where the gradients have ended a mean decays to 0, as PyTorch's would not."""
    tiny = np.finfo(dtype).tiny
    params = [np.full(37, 1.0, dtype)]
    kept = [[np.full(37, 3 * tiny, dtype)] if present == "1" else [] for present in states]
    means = [k for name, k in zip(COUNTED[rule], kept, strict=True) if k and name]
    for step in range(2, 60):
        getattr(text, rule)(params, [np.zeros(37, dtype)], *kept,
                            rows(rule, columns | {"weight_decay": 0.0}, 1, step, 0.5))
        for (mean,) in means:
            assert not ((mean != 0) & (np.abs(mean) < tiny)).any()
    for (mean,) in means:
        np.testing.assert_array_equal(mean, 0)


@pytest.mark.parametrize("rule, states, columns", CASES, ids=IDS)
def test_a_gradient_given_by_its_factors(rule, states, columns, text):
    """The bits of the product and the step behind it, beside segments with plain gradients."""
    rng = np.random.default_rng(0)
    sizes = [(5, 7, 3), (32, 100, 1040), (1, 97, 33), (8, 200, 2100)]
    for dtype in DTYPES:
        factors = [(rng.normal(size=(K, M)).astype(dtype), rng.normal(size=(K, N)).astype(dtype))
                   for K, M, N in sizes]
        grads = [np.empty((M, N), dtype) for _, M, N in sizes]
        for (a, b), g in zip(factors, grads, strict=True):
            (gemm if text is fast else gemm_reference).matmul(a, b, g, True, False)
        plain = [rng.normal(size=n).astype(dtype) for n in (20_000, 3)]
        given = [plain[0], *factors, plain[1]]
        whole = [plain[0], *(g.reshape(-1) for g in grads), plain[1]]
        found = []
        for gradients in (whole, given):
            params = [np.full(g.size, 0.5, dtype) for g in whole]
            kept = [[np.full(g.size, 0.25, dtype) for g in whole] if present == "1" else []
                    for present in states]
            getattr(text, rule)(params, gradients, *kept, rows(rule, columns, 6, 2, 0.5))
            found.append([*params, *chain(*kept)])
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_only_the_segments_are_written(text):
    """Margins around every array stay as they are."""
    for rule, states, columns in CASES:
        memory = np.full((2 + STATES[rule], 3, 67), 7.0, np.float32)
        parts = memory[:, :, 16:-16]
        parts[:] = np.random.default_rng(0).normal(size=parts.shape) ** 2
        arrays = [list(part) for part in parts]
        kept = [part if s == "1" else [] for part, s in zip(arrays[2:], states, strict=True)]
        getattr(text, rule)(*arrays[:2], *kept, rows(rule, columns, 3, step=8, product=0.5))
        assert (memory[:, :, :16] == 7).all() and (memory[:, :, -16:] == 7).all()
        assert np.isfinite(parts).all()


def test_no_segments(text):
    for rule, count in STATES.items():
        getattr(text, rule)([], [], *[[]] * count, np.empty((0, len(COLUMNS[rule]))))
    text.ema_step([], [], 0.5)
    text.segments_scale([], 0.5)
    text.segments_clip([], 0.0, 1.0)


def torch_optimizer(torch, rule, states, columns, parameters):
    c = DEFAULTS | columns
    common = {"lr": c["lr"], "weight_decay": c["weight_decay"], "maximize": bool(c["maximize"])}
    adam = {"betas": (c["beta1"], c["beta2"]), "eps": c["eps"]} | common
    decoupled = {"decoupled_weight_decay": bool(c["decoupled"])}
    optim = torch.optim
    if rule == "sgd_step":
        return optim.SGD(parameters, momentum=c["momentum"], dampening=c["dampening"],
                         nesterov=bool(c["nesterov"]), **common)
    if rule == "adam_step":
        kind = optim.AdamW if c["decoupled"] else optim.Adam
        return kind(parameters, amsgrad=states[2] == "1", **adam)
    if rule == "nadam_step":
        return optim.NAdam(parameters, momentum_decay=c["momentum_decay"], **decoupled, **adam)
    if rule == "radam_step":
        return optim.RAdam(parameters, **decoupled, **adam)
    if rule == "rmsprop_step":
        return optim.RMSprop(parameters, alpha=c["alpha"], eps=c["eps"], momentum=c["momentum"],
                             centered=states[1] == "1", **common)
    if rule == "adagrad_step":
        return optim.Adagrad(parameters, lr_decay=c["lr_decay"], eps=c["eps"], **common)
    if rule == "adadelta_step":
        return optim.Adadelta(parameters, rho=c["rho"], eps=c["eps"], **common)
    return optim.Adamax(parameters, **adam)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule, states, columns", [c for c in CASES if c[0] != "lion_step"],
                         ids=[i for i in IDS if not i.startswith("lion")])  # PyTorch has no Lion
def test_a_hundred_steps_of_torch(rule, states, columns, dtype):
    torch = pytest.importorskip("torch")
    params, gradients = problem([23, 40], dtype, steps=100)
    theirs = [torch.nn.Parameter(torch.tensor(p)) for p in params]
    optimizer = torch_optimizer(torch, rule, states, columns, theirs)
    torch.set_default_dtype(torch.float64)  # of NAdam's product, else rounded to float32
    try:
        for grads in gradients:
            for p, g in zip(theirs, grads, strict=True):
                p.grad = torch.tensor(g)
            optimizer.step()
    finally:
        torch.set_default_dtype(torch.float32)
    train(fast, rule, states, columns, params, gradients)
    for found, expected in zip(params, theirs, strict=True):
        tolerance = 1e-11 if dtype == np.float64 else 5e-5
        np.testing.assert_allclose(found, expected.detach(), rtol=tolerance, atol=tolerance)
