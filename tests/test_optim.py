"""Optimisers against independent texts: the papers' formulas, and PyTorch over 100 steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optim_cases import CASES, IDS, NAMES, gradients, parameters, values
from oracle import EXECUTED, enough

import medai_engine as me
from medai_engine import optim
from medai_engine.tensor import Parameter, Tensor


@pytest.fixture
def torch():
    found = pytest.importorskip("torch")
    before = found.get_default_dtype()
    found.set_default_dtype(found.float64)  # NAdam keeps a product in the default dtype
    yield found
    found.set_default_dtype(before)


# ---- the papers, one number at a time ---------------------------------------------------------


def paper_sgd(p, gs, lr, mu, wd):
    """Sutskever et al. 2013, as PyTorch scales it: v = mu v + g; p = p - lr v."""
    v = 0.0
    for g in gs:
        v = mu * v + g + wd * p
        p -= lr * v
    return p


def paper_nesterov(p, gs, lr, mu):
    """The same with the gradient's look ahead folded in: p - lr (g + mu v)."""
    v = 0.0
    for g in gs:
        v = mu * v + g
        p -= lr * (g + mu * v)
    return p


def paper_adam(p, gs, lr, b1, b2, eps, wd=0.0):
    """Kingma & Ba 2015, algorithm 1; wd: Loshchilov & Hutter 2019, algorithm 2."""
    m = v = 0.0
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        p = p - lr * wd * p - lr * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
    return p


def paper_amsgrad(p, gs, lr, b1, b2, eps):
    """Reddi et al. 2018, with Adam's bias correction of the largest v."""
    m = v = top = 0.0
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        top = max(top, v)
        p -= lr * (m / (1 - b1**t)) / (math.sqrt(top / (1 - b2**t)) + eps)
    return p


def paper_nadam(p, gs, lr, b1, b2, eps, psi):
    """Dozat 2016, algorithm 2 with the momentum schedule of section 3."""
    def mu(t):
        return b1 * (1 - 0.5 * 0.96 ** (t * psi))

    m = n = 0.0
    for t, g in enumerate(gs, 1):
        now = math.prod(mu(i) for i in range(1, t + 1))
        g_hat = g / (1 - now)
        m = b1 * m + (1 - b1) * g
        m_hat = m / (1 - now * mu(t + 1))
        n = b2 * n + (1 - b2) * g**2
        m_bar = (1 - mu(t)) * g_hat + mu(t + 1) * m_hat
        p -= lr * m_bar / (math.sqrt(n / (1 - b2**t)) + eps)
    return p


def paper_radam(p, gs, lr, b1, b2, eps):
    """Liu et al. 2020, algorithm 2, with the threshold 5 of the authors' code."""
    m = v = 0.0
    longest = 2 / (1 - b2) - 1
    for t, g in enumerate(gs, 1):
        v = b2 * v + (1 - b2) * g**2
        m = b1 * m + (1 - b1) * g
        m_hat = m / (1 - b1**t)
        rho = longest - 2 * t * b2**t / (1 - b2**t)
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * longest
                          / ((longest - 4) * (longest - 2) * rho))
            p -= lr * r * m_hat * math.sqrt(1 - b2**t) / (math.sqrt(v) + eps)
        else:
            p -= lr * m_hat
    return p


def paper_rmsprop(p, gs, lr, alpha, eps):
    """Tieleman & Hinton 2012."""
    v = 0.0
    for g in gs:
        v = alpha * v + (1 - alpha) * g**2
        p -= lr * g / (math.sqrt(v) + eps)
    return p


def paper_graves(p, gs, lr, alpha, eps, mu):
    """Graves 2013, equations 38 to 41, with eps outside the root."""
    n = mean = delta = 0.0
    for g in gs:
        n = alpha * n + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        delta = mu * delta + g / (math.sqrt(n - mean**2) + eps)
        p -= lr * delta
    return p


def paper_adagrad(p, gs, lr, decay, eps):
    """Duchi et al. 2011, with a falling rate."""
    total = 0.0
    for t, g in enumerate(gs, 1):
        total += g**2
        p -= lr / (1 + (t - 1) * decay) * g / (math.sqrt(total) + eps)
    return p


def paper_adadelta(p, gs, lr, rho, eps):
    """Zeiler 2012, algorithm 1."""
    square = moved = 0.0
    for g in gs:
        square = rho * square + (1 - rho) * g**2
        x = -math.sqrt(moved + eps) / math.sqrt(square + eps) * g
        moved = rho * moved + (1 - rho) * x**2
        p += lr * x
    return p


def paper_adamax(p, gs, lr, b1, b2, eps):
    """Kingma & Ba 2015, algorithm 2, eps added to the gradient's size."""
    m = u = 0.0
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        u = max(b2 * u, abs(g) + eps)
        p -= lr / (1 - b1**t) * m / u
    return p


def paper_lion(p, gs, lr, b1, b2, wd):
    """Chen et al. 2023, program 1."""
    m = 0.0
    for g in gs:
        update = math.copysign(1, b1 * m + (1 - b1) * g)
        p -= lr * (update + wd * p)
        m = b2 * m + (1 - b2) * g
    return p


AB = {"betas": (0.8, 0.95), "eps": 1e-3}
PAPERS = [
    ("SGD", {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.2}, paper_sgd, (0.1, 0.8, 0.2)),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}, paper_sgd, (0.1, 0.0, 0.2)),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}, paper_nesterov, (0.1, 0.8)),
    ("Adam", {"lr": 0.1, **AB}, paper_adam, (0.1, 0.8, 0.95, 1e-3)),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, **AB}, paper_adam, (0.1, 0.8, 0.95, 1e-3, 0.3)),
    ("Adam", {"lr": 0.1, "amsgrad": True, **AB}, paper_amsgrad, (0.1, 0.8, 0.95, 1e-3)),
    ("NAdam", {"lr": 0.1, "momentum_decay": 0.1, **AB}, paper_nadam, (0.1, 0.8, 0.95, 1e-3, 0.1)),
    ("RAdam", {"lr": 0.1, **AB}, paper_radam, (0.1, 0.8, 0.95, 1e-3)),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-3}, paper_rmsprop, (0.1, 0.9, 1e-3)),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "centered": True, "momentum": 0.7},
     paper_graves, (0.1, 0.9, 1e-3, 0.7)),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "eps": 1e-3}, paper_adagrad, (0.1, 0.2, 1e-3)),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3}, paper_adadelta, (0.5, 0.8, 1e-3)),
    ("Adamax", {"lr": 0.1, **AB}, paper_adamax, (0.1, 0.8, 0.95, 1e-3)),
    ("Lion", {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.3}, paper_lion,
     (0.1, 0.8, 0.95, 0.3)),
]


@pytest.mark.parametrize("text", ["reference", "fast"])
@pytest.mark.parametrize(("name", "choice", "paper", "arguments"), PAPERS)
def test_paper(name, choice, paper, arguments, text):
    gs = [1.5, -0.5, 0.25, 2.0, -1.0, 0.75, 0.125, -3.0]
    for steps in (1, 8):
        p = Parameter(np.array([0.7, -1.3]))
        opt = getattr(optim, name)([p], **choice)
        with me.backend(text):
            for g in gs[:steps]:
                p.grad = Tensor(np.array([g, -2 * g]))
                opt.step()
        expected = [paper(0.7, gs[:steps], *arguments),
                    paper(-1.3, [-2 * g for g in gs[:steps]], *arguments)]
        np.testing.assert_allclose(p.data, expected, rtol=1e-13)
        assert abs(p.data - [0.7, -1.3]).min() > 1e-3
        EXECUTED["optim paper"] += 1


# ---- PyTorch ----------------------------------------------------------------------------------


def both(torch, name, choice, dtype, steps, seed=0):
    """Return the weights after some steps here and in PyTorch."""
    mine = parameters(dtype, seed=seed)
    theirs = [torch.tensor(p.data, requires_grad=True) for p in mine]
    a, b = getattr(optim, name)(mine, **choice), getattr(torch.optim, name)(theirs, **choice)
    for i in range(steps):
        for p, t, g in zip(mine, theirs, gradients(mine, i), strict=True):
            p.grad, t.grad = Tensor(g), torch.tensor(g)
        a.step()
        b.step()
    EXECUTED["optim"] += 1
    return values(mine), [t.detach().numpy() for t in theirs]


@pytest.mark.parametrize(("name", "choice"), [c for c in CASES if c[0] != "Lion"],
                         ids=[i for i in IDS if not i.startswith("Lion")])
def test_torch(torch, name, choice):
    for got, expected in zip(*both(torch, name, choice, np.float64, 100), strict=True):
        # maximised with weight decay, weights grow; else they are of the size of 1
        np.testing.assert_allclose(got, expected, rtol=2e-12, atol=2e-12)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_torch_float32(torch, name):
    for got, expected in zip(*both(torch, name, {}, np.float32, 100), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def test_torch_groups(torch):
    mine = parameters()
    theirs = [torch.tensor(p.data, requires_grad=True) for p in mine]

    def groups(ps):
        return [{"params": ps[:2], "lr": 0.1}, {"params": ps[2:3], "momentum": 0.5},
                {"params": [ps[3]], "weight_decay": 0.2, "momentum": 0.9, "nesterov": True}]

    a, b = optim.SGD(groups(mine), lr=0.01), torch.optim.SGD(groups(theirs), lr=0.01)
    for i in range(60):
        for p, t, g in zip(mine, theirs, gradients(mine, i), strict=True):
            p.grad, t.grad = Tensor(g), torch.tensor(g)
        if i == 20:  # options change between steps, momentum comes in late
            for opt in (a, b):
                opt.param_groups[0]["lr"] = 0.03
                opt.param_groups[0]["momentum"] = 0.8
                opt.param_groups[1]["weight_decay"] = 0.1
        if i == 10:  # nothing but a rate changes, as schedules do it
            for opt in (a, b):
                opt.param_groups[2]["lr"] = 0.02
        if i == 40:  # without a gradient nothing of a parameter changes
            mine[0].grad = theirs[0].grad = None
        a.step()
        b.step()
    for p, t in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=2e-12, atol=2e-12)
    EXECUTED["optim"] += 1


def test_torch_two_optimisers(torch):
    mine = parameters()
    theirs = [torch.tensor(p.data, requires_grad=True) for p in mine]
    pairs = [(optim.Adam(mine[:3], lr=0.05), torch.optim.Adam(theirs[:3], lr=0.05)),
             (optim.SGD(mine, lr=0.1, momentum=0.9),
              torch.optim.SGD(theirs, lr=0.1, momentum=0.9))]
    for i in range(40):
        for p, t, g in zip(mine, theirs, gradients(mine, i), strict=True):
            p.grad, t.grad = Tensor(g), torch.tensor(g)
        for opt in pairs[i % 2]:
            opt.step()
            opt.zero_grad()
    for p, t in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=2e-12, atol=2e-12)
    EXECUTED["optim"] += 1


def test_oracles_ran():
    """The comparisons above were not skipped without a word."""
    assert EXECUTED["optim paper"] >= 2 * 2 * len(PAPERS)
    enough({"optim": 105})
