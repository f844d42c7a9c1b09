"""The card of an op: what its record, its kernels and a live run of them say.

A card is read from the engine each time it is shown. Its parts are the same for text and HTML
(``show.py``); the words of a derivation (``words/``), the axes and the sample (``samples.py``) are
all that is written for cards.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...coerce import promote
from ...errors import ParameterError, say
from ...op import OPS, Cost, Op, specs_of
from ...ops.shape import as_tensor
from .. import page
from .find import family_of, find, home_of
from .race import Lane, race
from .samples import Row, Sample, row_of
from .sections import parts
from .show import as_html, as_text
from .slopes import Slope, slopes
from .texts import Piece, function_text, kernel_texts
from .words import DERIVATIONS

__all__ = ["Card", "op", "ops"]

WIDTH = 100


class Card:
    """Everything about one op; prints as text, shows as HTML in a notebook.

    Attributes
    ----------
    name : str
        Of the op or kernel.
    op : Op or None
        The record; None for a kernel that no op calls.
    sample : Sample or None
        The inputs and params of the live comparison.
    cost : Cost or None
        Of the sample: contraction flops, other operations, bytes read, bytes written.
    lanes : list of Lane
        Each text of the kernel on the sample: median seconds, largest difference from the
        reference. Run when it is first asked for.
    slopes : list of Slope
        Each gradient rule on the sample beside a difference quotient.
    """

    def __init__(self, name: str, record: Op | None, sample: Sample | None,
                 function: Callable[..., Any] | None = None):
        self.name = name
        self.op = record
        self.sample = sample
        self.function = function  # a user's own op or kernel
        self.row: Row | None = row_of(record) if record is not None else None
        self.derivations: Mapping[str, str] = DERIVATIONS.get(name, {}) if self.row else {}

    @cached_property
    def cost(self) -> Cost | None:
        """Return what the sample costs; None without a sample or a rule of cost."""
        if self.op is None or self.sample is None or self.own:
            return None
        arrays = self.sample.inputs
        if self.op.elementwise:
            arrays = tuple(np.broadcast_arrays(*arrays))
        return self.op.cost(arrays, **self.sample.params)

    @cached_property
    def lanes(self) -> list[Lane]:
        """Run the texts."""
        return [] if self.op is None or self.sample is None else race(self.op, self.sample)

    @cached_property
    def slopes(self) -> list[Slope]:
        """Differentiate the sample, by the rules and by difference quotients."""
        if self.op is None or self.sample is None or not self.op.rules:
            return []
        return slopes(self.op, self.sample)

    @property
    def own(self) -> bool:
        """Tell whether this op is the user's, not the engine's."""
        return self.op is not None and self.row is None

    @property
    def kernel(self) -> str | None:
        """Return the name of the kernel."""
        if self.op is not None:
            return self.op.kernel
        return self.name if self.function is None else None

    @cached_property
    def texts(self) -> dict[str, list[Piece]]:
        """Return the sources of what computes it, by text."""
        if self.kernel is not None:
            return kernel_texts(self.kernel)
        function = self.function or self.op.definition  # type: ignore[union-attr]
        return {"definition": function_text(getattr(function, "python", function))}

    # ---- showing --------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """Return what it is, and where it is written."""
        if self.op is not None and not self.own:
            return f"op of the family {family_of(self.op)} ({home_of(self.op)})"
        return f"{'your own' if self.function or self.own else 'a'} {'op' if self.op else 'kernel'}"

    def text(self, full: bool = False) -> str:
        """Return the card as text of 100 columns; ``full`` shows sources to their ends."""
        return as_text(f"{self.name}, {self.kind}", parts(self, full), WIDTH)

    def html(self, full: bool = True) -> str:
        """Return the card as a page of its own."""
        return page.page(self.name, *self.blocks(full), lead=self.kind)

    def save(self, path: str | Path) -> Path:
        """Write the page; return where it is."""
        return page.save(path, self.html())

    def _repr_html_(self) -> str:
        """Return the card as a block for a notebook."""
        return "\n".join([f"<h2>{page.html(self.name)}, {page.html(self.kind)}</h2>",
                          *self.blocks(False)])

    def blocks(self, full: bool) -> list[page.Html]:
        """Return the sections as HTML, the long sources last."""
        blocks = as_html(parts(self, full))
        if self.op is not None:  # the live run is what text ends with, in sight of the prompt
            blocks[-2:] = reversed(blocks[-2:])
        return blocks

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__


def op(what: Any, *inputs: Any, **params: Any) -> Card:
    """Return the card of an op: equation, shapes, gradient, cost, its three texts, a live run.

    Parameters
    ----------
    what : str or callable
        The name of an op, of a public function, layer or optimiser that is one (``"conv2d"``), or
        of a kernel; the function itself; an op or kernel of your own (``@me.op``, ``@me.kernel``).
    *inputs : arrays
        What to run it on in the live comparison; by default a small sample.
    **params
        The op's own params for these inputs; those of the sample where left away.

    Returns
    -------
    Card
        ``print(card)`` shows it, ``card.text(full=True)`` with all sources, ``card.save(path)``
        writes it as a page.

    Raises
    ------
    ParameterError
        For a name that means nothing, with its neighbours; for another number of inputs.
    ShapeError, DTypeError, DataError
        What the op says of inputs that do not fit.

    Examples
    --------
    >>> import medai_engine as me
    >>> card = me.inspect.op("conv2d")
    >>> card.name, card.op.onnx
    ('conv', 'Conv')
    """
    name, record = find(what)
    function = what if callable(what) and (record is None or OPS.get(name) is not record) else None
    if record is None and (inputs or params):
        raise ParameterError(say("inspect.op", "a name alone, for a kernel that no op calls",
                                 f"{name} with inputs", "Leave the inputs away"))
    sample = None
    if record is not None:
        row = row_of(record)
        sample = row.draw() if row is not None else None
        if inputs:
            defaults = sample.params if sample is not None else getattr(
                inspect.unwrap(function), "__kwdefaults__", None) if function else None
            sample = given(record, inputs, {**(defaults or {}), **params})
    return Card(name, record, sample, function)


def given(record: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Sample:
    """Return a user's inputs as a sample, checked as the op checks them."""
    if len(inputs) != len(record.inputs) and not record.variadic:
        raise ParameterError(say("inspect.op", f"{len(record.inputs)} inputs of {record.name} "
                                 f"({', '.join(record.inputs)})", str(len(inputs)),
                                 "Pass them in this order, params by name"))
    tensors = promote(record, inputs) if record.elementwise else map(as_tensor, inputs)
    sample = Sample(tuple(t.data for t in tensors), params)
    specs_of(record, sample.inputs, params)
    if record.check is not None:
        record.check(*sample.inputs, **params)
    return sample


def ops() -> str:
    """Return all ops by family, one line each."""
    families: dict[str, list[Op]] = {}
    for record in OPS.values():
        families.setdefault(family_of(record), []).append(record)
    wide = max(map(len, OPS))
    lines = []
    for family, records in families.items():
        lines += ["", family]
        for record in records:
            equation = textwrap.shorten(record.doc, WIDTH - wide - 4, placeholder=" ...")
            lines.append(f"  {record.name:{wide}}  {equation}")
    return "\n".join([f"{len(OPS)} ops; medai inspect NAME shows one", *lines])
