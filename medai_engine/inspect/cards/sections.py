"""What a card says, section by section, read from the record, the kernels and a live run."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import kernels
from ...errors import MedaiError
from ...jit.show import took
from ...mode import no_grad
from ...op import OPS, apply
from .find import callers
from .race import Lane
from .show import Code, Facts, Part, Table
from .texts import BACKENDS, Piece, rule_text

if TYPE_CHECKING:
    from .card import Card

__all__ = ["parts"]


def parts(card: Card, full: bool = False) -> list[Part]:
    """Return the sections of the card, headed."""
    found: list[Part] = [("", [equation(card)]), ("", [facts(card)])]
    if card.op is not None:
        found.append(("Gradient", gradient(card)))
        found.append(("Cost", costs(card)))
    found.append(("Kernel" if card.kernel else "Definition", sources(card, full)))
    if card.op is not None:
        found.append(("Live: every text on the sample", live(card)))
    return found


def equation(card: Card) -> str:
    """Return the equation, or what the author says."""
    if card.op is not None:
        return inspect.cleandoc(card.op.doc)
    function = card.function or kernels.lookup(card.name, "reference")
    return inspect.getdoc(function) or str(inspect.getdoc(inspect.getmodule(function)))


def facts(card: Card) -> Facts:
    """Return inputs, outputs, dtypes, memory and names."""
    op = card.op
    if op is None:
        return Facts([("what", "a kernel that no op stands for: it is called with arrays, "
                       "without gradients" if card.function is None else
                       "your own kernel: Numba compiles it at its first call")])
    axes = card.row.axes if card.row else f"{', '.join(op.inputs)} -> {', '.join(op.outputs)}"
    taken, _, given = axes.partition("->")
    rows = [("called by", callers(op)), ("inputs", taken.strip() or "none"),
            ("params", ", ".join(op.params)), ("outputs", given.strip()),
            ("dtypes", dtypes(card)), ("memory", memory(card)),
            ("linear in", " and in ".join(
                group[0] if len(group) == 1 else f"({', '.join(group)}) together"
                for group in op.linear)),
            ("checks", "values (labels, indices, lengths) before anything is computed"
             if op.check else ""),
            ("ONNX", "" if card.own else op.onnx or "no operator is stated for it")]
    return Facts([(label, text) for label, text in rows if text])


def dtypes(card: Card) -> str:
    """Try what comes out of float32, float64 and int64 inputs."""
    op, sample = card.op, card.sample
    if op is None or sample is None or not any(x.dtype.kind == "f" for x in sample.inputs):
        return ""
    found = []
    for kind in ("float32", "float64", "int64"):
        arrays = [x.astype(kind) if x.dtype.kind == "f" else np.array(x) for x in sample.inputs]
        try:
            with no_grad(), np.errstate(all="ignore"):
                y = apply(op, *arrays, **sample.params)
            kinds = [str(t.dtype) for t in (y if isinstance(y, tuple) else (y,))
                     if t is not None]
            found.append(f"{kind} -> {', '.join(dict.fromkeys(kinds)) or 'in place'}")
        except Exception as error:  # a user's own op may raise anything
            found.append(f"{kind}: {type(error).__name__}")
    return "; ".join(found)


def memory(card: Card) -> str:
    """Return whose memory the result is."""
    op = card.op
    assert op is not None
    if card.own:
        return "a new array, as the function returns it"
    if op.view:
        return "a view of x where strides allow it: nothing is moved"
    if op.writes is not None:
        assert card.sample is not None and card.row is not None
        count = len(card.sample.inputs)
        lists = re.findall(r"(\w+) \(", card.row.axes.partition("->")[0])
        written = op.writes(count, **card.sample.params)
        return "updates in place: " + ", ".join(dict.fromkeys(
            lists[i * len(lists) // count] for i in written))
    if op.inplace:
        return f"a new array; in a plan also that of {' or '.join(op.inplace)}"
    return "a new array"


def gradient(card: Card) -> list[Any]:
    """Return every rule: what it keeps, why it is so, its source."""
    op = card.op
    assert op is not None
    if not op.rules:
        return ["None: " + (
            "the op updates arrays in place, after the gradients are there." if op.writes else
            "it is the gradient of another op, whose rule composes it with ops where it has to "
            "be differentiated again." if op.name.endswith("_grad") else
            "the result is made of places, choices or draws, which have no slope."
            if not card.own else "no rule was given.")]
    found: list[Any] = []
    for key, rule in op.rules.items():
        name = ", ".join(op.inputs) if key is None else op.inputs[key]
        kept = [*(op.inputs[i] for i in rule.inputs), *(op.outputs[i] for i in rule.outputs)]
        shapes = [op.inputs[i] for kind, i in rule.arguments if kind == "shape"]
        keeps = ", ".join([*dict.fromkeys(kept), *(f"the shape of {n}" for n in shapes)])
        pieces, values = rule_text(rule.function)
        rows = [("one rule" if key is None else f"dL/d{name}", card.derivations.get(
                    "*" if key is None else name, f"your rule for {name}")),
                ("keeps", keeps or "nothing"),
                ("rule", "" if pieces else "its source is not at hand (typed in, or compiled)"),
                ("where", ", ".join(f"{n} = {v}" for n, v in values.items()))]
        rows += [(value, OPS[value].doc) for v in values.values()
                 if (value := v.strip("'")) in OPS]
        found.append(Facts([(label, text) for label, text in rows if text]))
        found += [Code(piece, is_python(piece)) for piece in pieces]
    return [*found, *checked(card)]


def checked(card: Card) -> list[Any]:
    """Return what each rule gives on the sample, beside a difference quotient."""
    try:
        found = card.slopes
    except MedaiError as error:  # an op of the user's that takes no float64, or draws at random
        return [str(error)]
    if not found:
        return []
    rows = [[slope.name, f"{slope.rule:.9g}", f"{slope.quotient:.9g}", "they agree" if slope.agrees
             else "they differ: the rule is wrong, or a kink is near"] for slope in found]
    return ["Along a random direction, in float64:",
            Table(("of", "the rule gives", "the difference quotient", ""), rows, (1, 2))]


def costs(card: Card) -> list[Any]:
    """Return the formula and the numbers of the sample."""
    op, row, sample, cost = card.op, card.row, card.sample, card.cost
    if cost is None or row is None or sample is None or op is None:
        return ["Not stated: a user's own op has no rule of cost." if card.own else
                "Not stated."]
    rows = [("flops", f"{row.contraction} = {cost.contraction:,} (2 for each product that is "
             "summed)" if cost.contraction else "none in sums of products"),
            ("other", f"{row.other} = {cost.other:,} scalar operations" if cost.other else
             "none counted")]
    moved = cost.read + cost.written
    dense = (cost.contraction + cost.other) / moved if moved else 0
    rows.append(("bytes", f"{cost.read:,} read, {cost.written:,} written" + (
        f": {dense:.2g} operations a byte" if dense else "") if moved else "none: a view"))
    names = op.inputs if len(op.inputs) == len(sample.inputs) else [""] * len(sample.inputs)
    shown = [f"{n} {x.shape}".strip() for n, x in zip(names, sample.inputs, strict=True)]
    shown += [f"{n}={v!r}" for n, v in sample.params.items() if len(repr(v)) < 40]
    rows += [("sample", ", ".join(shown)), ("note", row.note)]
    return [Facts([(label, text) for label, text in rows if text])]


def sources(card: Card, full: bool) -> list[Any]:
    """Return the texts as shipped."""
    found: list[Any] = []
    if card.op is not None and card.op.kernel is not None:
        found.append(f"{card.op.kernel}, in three texts with the same arguments; the fast one "
                     f"runs on {kernels.get_isa()} here (of "
                     f"{', '.join(kernels.available_isas())}), {kernels.get_num_threads()} "
                     f"thread{'s' * (kernels.get_num_threads() > 1)}."
                     if kernels.COMPILED else f"{card.op.kernel}, in three texts with the same "
                     "arguments. Nothing is compiled in this installation: the reference runs.")
    elif card.op is not None and not card.own:
        found.append("One text, NumPy's: there is no kernel of its own to be faster with.")
    for text, pieces in card.texts.items():
        if not pieces:
            found.append(f"{text}: the source is not at hand (code that was typed in).")
        found += shortened(text, pieces, full)
    return found


def live(card: Card) -> list[Any]:
    """Run the texts on the sample and say how far they agree and how fast they are."""
    if card.sample is None:
        return ["Give inputs to run it on: me.inspect.op(function, x, ...)."]
    rows, notes = [], []
    slowest = next((lane.seconds for lane in card.lanes if lane.seconds), None)
    for lane in card.lanes:
        if lane.seconds is None:
            notes.append(lane.note)
            continue
        rows.append([lane.text, took(lane.seconds), *rates(card, lane.seconds),
                     f"{(slowest or 0) / lane.seconds:.3g} x", agreement(lane)])
    head = ["text", "a call", "GFLOP/s", "GB/s", "speed", "result"]
    notes.append("Medians after a warm-up; eager op is the whole call: checks, memory for the "
                 "result, what gradients will need.")
    return [Table(head, rows, (1, 2, 3, 4)), *notes]


def rates(card: Card, seconds: float) -> list[str]:
    """Return operations and bytes per second."""
    if card.cost is None:
        return ["", ""]
    work = card.cost.contraction + card.cost.other, card.cost.read + card.cost.written
    return [f"{n / seconds / 1e9:.3g}" if n else "" for n in work]


def is_python(piece: Piece) -> bool:
    """Tell whether a piece is Python or Cython."""
    return not piece.file.endswith((".inc", ".h"))


# ---- sources and numbers in words ---------------------------------------------------------------

LINES = 36  # of one text, before it is cut


def shortened(text: str, pieces: list[Piece], full: bool) -> list[Any]:
    """Return pieces of a text: the function called and, of the fast one, its inner loop always."""
    found: list[Any] = []
    left, hidden = LINES, []
    for i, piece in enumerate(pieces):
        lines = piece.source.split("\n")
        if not full and len(lines) > left and i > (text == "fast"):
            hidden.append(f"{called(piece)} ({piece.place})")
            continue
        cut = len(lines) if full or len(lines) <= max(left, 12) else max(left, 12)
        body = "\n".join(lines[:cut])
        if cut < len(lines):
            body += f"\n... {len(lines) - cut} more lines"
        found.append(Code(piece._replace(source=body), is_python(piece),
                          f"{text}: " if i == 0 else ""))
        left -= cut
    if hidden:
        found.append(f"and {', '.join(hidden)}")
    return found


def called(piece: Piece) -> str:
    """Return the name of the function that a piece defines."""
    for line in piece.source.split("\n"):
        for sign in ("#define ", "def ", "NAME(", "cdef "):
            if sign in line and not line.startswith((" *", "/*")):
                return line.partition(sign)[2].partition("(")[0].partition(")")[0].split()[-1]
    return Path(piece.file).name


def agreement(lane: Lane) -> str:
    """Return how a result compares with the reference's."""
    if lane.ulps is None:
        return ""
    if lane.text == BACKENDS[0]:
        return "the definition"
    return "bit-equal" if lane.ulps == 0 else f"within {lane.ulps:.2g} ulp of the largest entry"
