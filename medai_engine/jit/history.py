"""The program before and after each rewriting rule.

A plan keeps what was recorded as a list of tuples (the lines and values themselves are changed by
the rules). When somebody asks, the program is made again from it and rewritten once more, with a
look at it after every rule.
"""

from __future__ import annotations

from copy import copy
from difflib import SequenceMatcher
from typing import NamedTuple

from ..op import OPS
from .record import Line, Program, Value
from .rewrite import rewrite

__all__ = ["Recorded", "Stage", "Text", "history", "texts"]


class Text(NamedTuple):
    """A line of a program, in print."""

    line: str
    place: str  # source line and module


class Stage(NamedTuple):
    """What one rule did.

    Attributes
    ----------
    rule : str
    says : str
        What it does, in a sentence.
    changes : int
        As it counts them itself.
    before, after : list of Text
        The program's lines.
    """

    rule: str
    says: str
    changes: int
    before: list[Text]
    after: list[Text]

    @property
    def difference(self) -> list[tuple[list[Text], list[Text]]]:
        """The runs of lines that went, with those that came in their place."""
        return [(self.before[a:b], self.after[c:d]) for kind, a, b, c, d in SequenceMatcher(
            None, self.before, self.after, autojunk=False).get_opcodes() if kind != "equal"]


class Recorded:
    """A program as it was recorded, so that it can be made again."""

    def __init__(self, program: Program):
        self.lines = [(x.op, x.params, (*x.inputs,), (*x.outputs,), (*x.writes,), x.host, x.place,
                       x.frame) for x in program.lines]
        self.arguments = list(program.arguments)
        self.outputs = list(program.outputs)
        self.grads = list(program.grads)
        self.count = program.count

    def program(self) -> Program:
        """Return the program, of new lines and values."""
        made, known = Program(), {}

        def value(old: Value) -> Value:
            if old not in known:
                new = known[old] = copy(old)
                new.root = new if old.root is old else value(old.root)
            return known[old]

        for op, params, inputs, outputs, writes, host, place, frame in self.lines:
            read = [value(old) for old in inputs]
            view = op is not None and op.view and OPS.get(op.name) is op
            for old in outputs:
                new = known[old] = copy(old)
                new.kind, new.source, new.root = "temporary", None, read[0].root if view else new
            made.lines.append(Line(op, params, read, [known[old] for old in outputs],
                                   [value(old) for old in writes], host, place, frame))
        made.arguments = [value(old) for old in self.arguments]
        made.outputs = [value(x) if isinstance(x, Value) else x for x in self.outputs]
        made.grads = [(leaf, None if old is None else value(old)) for leaf, old in self.grads]
        made.count = self.count
        return made


def texts(program: Program) -> list[Text]:
    """Return the lines of a program in print."""
    return [Text(repr(line), f"{line.site} {line.place.path}".strip()) for line in program.lines]


def history(recorded: Recorded, exact: bool) -> list[Stage]:
    """Rewrite a recorded program once more; return what each rule did, in order."""
    program = recorded.program()
    stages: list[Stage] = []
    now = texts(program)

    def heard(name: str, says: str, changes: int) -> None:
        nonlocal now
        before, now = now, texts(program)
        stages.append(Stage(name, says, changes, before, now))

    rewrite(program, exact, heard)
    return stages
