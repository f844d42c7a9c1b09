"""Op cards: every op has a complete one, and what it says is so."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import op_checks as check
import pytest
from op_checks.values import close
from op_table import ROWS, Sample

import medai_engine as me
from medai_engine import kernels
from medai_engine.cli import main
from medai_engine.errors import MissingExtraError, ParameterError, say
from medai_engine.inspect.cards import race, sections
from medai_engine.inspect.cards.find import public
from medai_engine.inspect.cards.samples import ROWS as WRITTEN
from medai_engine.inspect.cards.samples import row_of
from medai_engine.inspect.cards.texts import BACKENDS
from medai_engine.inspect.cards.words import DERIVATIONS
from medai_engine.op import OPS, specs_of

NAMES = sorted(OPS)
ROOT = Path(__file__).parents[1]
each_op = pytest.mark.parametrize("name", NAMES)


def texts_here() -> list[str]:
    """Return the texts that can run on this machine."""
    return sorted({where.partition(" ")[0] for where in check.engines()})


def axes(card) -> dict[str, int]:
    """Match the letters of a card's axes with its sample: one letter, one size."""
    op, sample = card.op, card.sample
    outs = [] if op.writes else [s for s, _ in specs_of(op, sample.inputs, sample.params)]
    given = [x.shape for x in sample.inputs]
    sizes = {**card.row.sizes, **{f"|{n}|": int(np.prod(shape, dtype=int)) for n, shape in zip(
        (*op.inputs, *op.outputs), (*given, *outs), strict=False)}}
    written = re.findall(r"(\w*) \(([^)]*)\)", card.row.axes)
    arrays = given if "each input of" in card.row.axes else [*given, *outs]
    if op.elementwise or op.writes or op.name.startswith("segments"):  # lists of any length
        return sizes
    assert len(written) == len(arrays), f"{op.name}: {written} for {arrays}"
    if not op.variadic:
        assert [name for name, _ in written] == [*op.inputs, *op.outputs][:len(written)]
    for (name, letters), shape in zip(written, arrays, strict=True):
        if letters == "shape":
            continue
        names = [c for c in letters.split(", ") if c]
        assert len(names) == len(shape), f"{op.name}: {name} has {shape}, not {letters}"
        for letter, size in zip(names, shape, strict=True):
            if re.fullmatch(r"[A-Z]", letter):
                assert sizes.setdefault(letter, size) == size, f"{op.name}: {letter} of {name}"
    for (name, letters), shape in zip(written, arrays, strict=True):
        for letter, size in zip(letters.split(", "), shape, strict=False):
            if re.fullmatch(r"[A-Z0-9 +]+", letter):
                assert value(letter, sizes) == size, f"{op.name}: {letter} of {name}"
    return sizes


def value(formula: str, sizes: dict[str, int]) -> float:
    """Evaluate a formula; what stands side by side is multiplied."""
    for name, size in sizes.items():
        if name.startswith("|"):
            formula = formula.replace(name, str(size))
    formula = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula.replace("^", "**"))
    return float(eval(formula, {}, dict(sizes)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# The rows' samples stay away from where a slope changes its sign; those of the cards do not. Its
# terms cancel there: so many roundings of the sum of their magnitudes.
CANCELLING = {
    "silu_grad": lambda g, x: (4, abs(g) * sigmoid(x) * (1 + abs(x) * sigmoid(-x))),
    "hardswish_grad": lambda g, x: (2, abs(g) * (abs(x) / 3 + 0.5)),
    "selu_grad": lambda g, y: (2, abs(g) * (abs(y) + 1.7581)),
}

# ---- every op ---------------------------------------------------------------------------------


def test_tables_name_ops_only():
    assert set(DERIVATIONS) <= set(OPS) and set(WRITTEN) <= set(OPS)


@each_op
def test_words(name):
    """Every rule has its derivation, and every derivation a rule."""
    op = OPS[name]
    ruled = set() if not op.rules else {"*"} if op.joint else {op.inputs[i] for i in op.rules}
    words = DERIVATIONS.get(name, {})
    assert set(words) == ruled
    assert all(len(text) >= 10 for text in words.values()), words
    card = me.inspect.op(name)
    shown = " ".join(str(block) for block in sections.gradient(card))
    assert all(text in shown for text in words.values())
    for rule in op.rules.values():
        pieces, _ = sections.rule_text(rule.function)
        assert pieces, f"{name}: the source of a rule is not found"


@each_op
def test_texts(name):
    """What computes the op is found, and is what the files say."""
    op, card = OPS[name], me.inspect.op(name)
    assert set(card.texts) == (set(BACKENDS) if op.kernel else {"definition"})
    for text, pieces in card.texts.items():
        assert pieces, f"{name}: no text {text}"
        for piece in pieces:
            lines = (ROOT / piece.file).read_text().splitlines()[piece.first - 1: piece.last]
            assert piece.source.split("\n")[0].strip() in lines[0], piece.place
        if op.kernel and text != "fast":
            assert op.kernel in pieces[0].source
    if op.kernel:
        inner = [p for p in card.texts["fast"] if p.file.endswith(".inc")]
        assert inner or op.kernel == "embedding", f"{name}: no vector loop"


@each_op
def test_sample_and_cost(name):
    """The sample fits its axes, the formula is the record's cost, the record what is counted."""
    card = me.inspect.op(name)
    assert card.sample is not None, f"{name}: no sample"
    sizes = axes(card)
    if card.op.elementwise:
        sizes["|y|"] = int(np.prod(np.broadcast_shapes(*(x.shape for x in card.sample.inputs))))
    assert value(card.row.contraction, sizes) == card.cost.contraction
    assert int(value(card.row.other, sizes)) == card.cost.other
    sample = Sample(card.sample.inputs, card.sample.params)
    check.check_cost(replace(ROWS[name], samples=lambda draw: [sample]))


@each_op
def test_texts_agree(name):
    """Each text gives the definition in float64, within the bound of the op's row."""
    op, row = OPS[name], ROWS[name]
    card = me.inspect.op(name)
    sample = Sample(card.sample.inputs, card.sample.params)
    exact = sample if "precision" in row.exempt else sample.cast(np.float64)
    expected = check.reference(op, exact)
    for text in texts_here() if op.kernel else ["reference"]:
        close(row, sample, race.run(op, card.sample, text), expected, text, CANCELLING.get(name))


@each_op
def test_rules_are_derivatives(name):
    """Every rule that a card derives gives the difference quotient on its sample."""
    card = me.inspect.op(name)
    ruled = [i for i in range(len(card.sample.inputs)) if card.op.rules and (
        card.op.joint or i in card.op.rules) and card.sample.inputs[i].dtype.kind == "f"]
    assert len(card.slopes) == len(ruled)
    for slope in card.slopes:
        assert slope.agrees, slope


@each_op
def test_card(name):
    """The whole card: all sections, lines that fit, every text timed."""
    card = me.inspect.op(name)
    text = card.text()
    for heading in ("Gradient", "Cost", "Kernel" if card.op.kernel else "Definition", "Live"):
        assert f"\n{heading}" in text
    assert card.op.doc.split("\n")[0][:60] in text and "\ncalled by  " in text
    long = [line for line in text.split("\n") if len(line) > 100 and not line.startswith("|")]
    assert not long
    ran = [lane.text for lane in card.lanes if lane.seconds]
    assert ran == [*(t for t in (BACKENDS if card.op.kernel else BACKENDS[:1])
                     if t in texts_here()), "eager op"]
    assert card.lanes[0].ulps == 0
    assert all(lane.ulps is None or lane.ulps < 100 for lane in card.lanes)


# ---- what is asked for ------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "op"), [
    ("conv", "conv"), ("conv2d", "conv"), (me.functional.conv2d, "conv"), (me.nn.Conv3d, "conv"),
    ("me.functional.gelu", "gelu"), (me.sum, "sum"), ("Adam", "adam_step"),
    (me.optim.AdamW, "adam_step"), ("layer_norm", "norm"), ("BatchNorm2d", "norm"),
    ("cross_entropy", "softmax_cross_entropy"), (me.nn.CrossEntropyLoss, "softmax_cross_entropy"),
    ("embedding_grad", "scatter_add"), (OPS["exp"], "exp"), (me.linalg.solve, "solve")])
def test_names(what, op):
    assert me.inspect.op(what).op is OPS[op]


@pytest.mark.parametrize(("what", "hint"), [
    ("sofmax", "softmax"), ("conv2x", "conv"), ("adan", "adam"),
    (me.functional.huber_loss, "composed"),
    (me.linalg.norm, "composed"), ("linalg.norm", "norm"), (len, "len"), (3, "3"), ("", "lists")])
def test_unknown_names(what, hint):
    with pytest.raises(ParameterError, match=hint):
        me.inspect.op(what)


def test_public_functions_are_the_ops_they_stand_for():
    """What is named as an op does run that op: it is on the tape of a call."""
    x, image = me.tensor(np.ones((2, 6), "f")), me.tensor(np.ones((1, 4, 4, 2), "f"))
    f, n = me.functional, me.tensor(np.ones((2, 2, 2, 2), "f"))
    for t in (x, image, n):
        t.requires_grad_()
    labels = me.tensor([0, 1]).astype(me.int64)
    calls = {
        "me.functional.conv2d": lambda: f.conv2d(image, n),
        "me.functional.conv_transpose2d": lambda: f.conv_transpose2d(image, n),
        "me.functional.max_pool2d": lambda: f.max_pool2d(image, 2),
        "me.functional.adaptive_max_pool2d": lambda: f.adaptive_max_pool2d(image, 2),
        "me.functional.avg_pool2d": lambda: f.avg_pool2d(image, 2),
        "me.functional.adaptive_avg_pool2d": lambda: f.adaptive_avg_pool2d(image, 2),
        "me.functional.upsample": lambda: f.upsample(image, scale_factor=2),
        "me.functional.layer_norm": lambda: f.layer_norm(x, 6),
        "me.functional.cross_entropy": lambda: f.cross_entropy(x, labels),
        "me.functional.binary_cross_entropy_with_logits":
            lambda: f.binary_cross_entropy_with_logits(x, x.detach()),
        "me.functional.embedding": lambda: f.embedding(labels, x),
        "me.functional.scaled_dot_product_attention":
            lambda: f.scaled_dot_product_attention(n, n, n),
        "me.take": lambda: me.take(x, labels, 0), "me.flip": lambda: me.flip(x),
        "me.expand_dims": lambda: me.expand_dims(x, 0),
        "me.squeeze": lambda: me.squeeze(me.expand_dims(x, 0), 0),
        "me.matrix_transpose": lambda: me.matrix_transpose(x),
        "me.stack": lambda: me.stack([x, x]), "me.pow": lambda: me.pow(x, x)}
    for name, call in calls.items():
        y = call()
        waiting, ran = [(y[0] if isinstance(y, tuple) else y).node], set()
        while waiting:
            node = waiting.pop()
            node = getattr(node, "node", node)  # of several outputs
            if hasattr(node, "op"):
                ran.add(node.op.name)
                waiting += [edge for edge in node.edges if edge is not None]
        assert public()[name][1] in ran, f"{name} ran {ran}"


def test_own_op():
    @me.op(gradient={"x": lambda g, x: g * x * x * 3})
    def cube(x, *, scale=1.0):
        """Return y = scale x^3."""
        return x * x * x * scale

    text = str(me.inspect.op(cube))
    assert "cube, your own op" in text and "lambda g, x: g * x * x * 3" in text
    assert "return x * x * x * scale" in text and "Give inputs" in text
    card = me.inspect.op(cube, [1.0, 2.0], scale=2.0)
    assert "eager op" in str(card) and "float64 -> float64" in str(card)
    assert [lane.text for lane in card.lanes] == ["reference", "eager op"]


def test_a_wrong_rule_of_your_own_is_seen():
    @me.op(gradient={"x": lambda g, x: g * x * 2})
    def cube(x):
        """Return y = x^3."""
        return x * x * x

    text = str(me.inspect.op(cube, np.linspace(1, 2, 5)))
    assert "they differ" in text and "they agree" not in text


def test_own_op_with_the_name_of_an_op_is_not_that_op():
    @me.op(gradient={"x": lambda g, x: g})
    def relu(x):
        """Return x."""
        return x.copy()

    text = str(me.inspect.op(relu))
    assert "your own op" in text and "Relu" not in text and "me.nn" not in text


def test_own_kernel_and_kernel_without_op():
    @me.kernel
    def running_max(x, out):
        """out[i] = the largest of x[0] .. x[i]"""
        out[0] = x[0]

    assert "running_max, your own kernel" in str(me.inspect.op(running_max))
    text = str(me.inspect.op("tree_grow"))
    assert "tree_grow, a kernel" in text and "kernels/tree/loops.py" in text
    assert "<h1>tree_grow" in me.inspect.op("tree_grow").html()
    with pytest.raises(ParameterError, match="Leave the inputs away"):
        me.inspect.op("tree_grow", [1.0])
    with_op = set(OPS) | {op.kernel for op in OPS.values()}
    for name in set(kernels.families()) - with_op:
        assert me.inspect.op(name).text(), name


def test_own_inputs():
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    card = me.inspect.op("matmul", x, x.T.copy(), transpose_a=False, transpose_b=False)
    assert card.cost.contraction == 2 * 3 * 4 * 3 and "a (3, 4), b (4, 3)" in str(card)
    assert me.inspect.op("matmul", me.tensor(x), x, transpose_b=True).lanes[-1].seconds
    assert me.inspect.op("exp", [1, 2, 3]).sample.inputs[0].dtype == np.float32
    # integers have the reference only, as in the op
    card = me.inspect.op("add", np.array([1, 2]), np.array([[3], [4]]))
    assert [lane.text for lane in card.lanes] == ["reference", "eager op"] and card.cost.other == 4
    with pytest.raises(me.ShapeError):
        me.inspect.op("matmul", x, x)
    with pytest.raises(me.DataError):  # kernels do not check labels
        me.inspect.op("cross_entropy", x, np.array([0, 1, 7]))
    with pytest.raises(ParameterError, match="a, b"):
        me.inspect.op("matmul", x)


# ---- the live run -----------------------------------------------------------------------------


def test_a_wrong_text_is_seen(monkeypatch):
    """A text that is off by a part in ten thousand shows up in the card."""
    right = kernels.lookup

    def wrong(name, backend):
        def softmax(x, out):
            right(name, "reference")(x, out)
            out *= 1.0001
        return softmax if backend == "loops" else right(name, backend)

    monkeypatch.setattr(kernels, "lookup", wrong)
    lanes = {lane.text: lane for lane in me.inspect.op("softmax").lanes}
    assert lanes["loops"].ulps > 500
    assert sections.agreement(lanes["loops"]).startswith("within")


def test_difference_counts_units():
    y = np.array([1.0, 2.0], np.float32)
    assert race.difference([y], [y]) == 0
    assert race.difference([np.nextafter(y, np.float32(9))], [y]) == 1
    assert race.difference([y], [np.array([1.0, np.nan], np.float32)]) == np.inf
    assert race.difference([np.array([1])], [np.array([2])]) == np.inf
    assert race.difference([np.array([np.nan])], [np.array([np.nan])]) == 0


def test_missing_texts_are_said(monkeypatch):
    right = kernels.lookup

    def lookup(name, backend):
        if backend == "loops":
            raise MissingExtraError(say('backend("loops")', "numba to be installed", "no module",
                                        'Run: pip install "medai-engine[numba]"'))
        return right(name, backend)

    monkeypatch.setattr(kernels, "lookup", lookup)
    monkeypatch.setattr(kernels, "COMPILED", False)
    text = str(me.inspect.op("relu"))
    assert 'pip install "medai-engine[numba]"' in text.replace("\n", " ")
    assert "Nothing is compiled in this installation" in text.replace("\n", " ")


# ---- the command and the page -----------------------------------------------------------------


def test_command_lists_all(capsys):
    assert main(["inspect"]) == 0
    out = capsys.readouterr().out
    assert f"{len(OPS)} ops" in out and max(map(len, out.split("\n"))) <= 100
    found = re.findall(r"^  (\w+)  ", out, re.MULTILINE)
    assert sorted(found) == NAMES


def test_command_shows_a_card(capsys):
    assert main(["inspect", "conv2d"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("conv, op of the family conv (medai_engine/ops/conv.py:")
    assert "kernels/conv/taps.inc" in out and "the definition" in out
    assert "more lines" not in out or main(["inspect", "conv2d", "--full"]) == 0
    assert "more lines" not in capsys.readouterr().out


def test_command_refuses_unknown_names(capsys):
    assert main(["inspect", "conv2x"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Did you mean conv" in error
    assert main(["inspect", "--html", "all.html"]) == 2
    assert "NAME" in capsys.readouterr().err


def test_page(tmp_path, browser):
    path = tmp_path / "card.html"
    assert main(["inspect", "softmax", "--html", str(path)]) == 0
    text = browser(path)
    assert "<h1>softmax" in text and "LINE(softmax)" in text and "e^x / sum e^x" in text
    assert text.index("Live") < text.index("Kernel</h2>")
    block = me.inspect.op("softmax")._repr_html_()
    assert block.startswith("<h2>softmax") and "<html" not in block


def test_rows_are_for_ops_that_need_one():
    """Elementwise ops take theirs from the record; all others have one."""
    assert all(row_of(op) is not None for op in OPS.values())
    assert not [name for name in WRITTEN if OPS[name].elementwise]
