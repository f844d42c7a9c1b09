"""Calls that are shown as one: those of a module, without making a cycle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..jit.show import amount
from .calls import Call, Tip, label, sizes

__all__ = ["Group", "grouped", "keeping", "reads"]


@dataclass(eq=False)
class Group:
    """Calls that are shown as one: those of a module, one behind the other."""

    calls: list[Call]
    parts: tuple[str, ...]  # () for a single op

    @property
    def name(self) -> str:
        """Dotted name and class of the module, or the op's name."""
        if not self.parts:
            return self.calls[0].name
        behind = "gradient of " if self.calls[0].phase == "backward" else ""
        kinds = max((c.kinds[:len(self.parts)] for c in self.calls), key=lambda k: k[-1:])
        return behind + label(self.parts, kinds)

    @property
    def outputs(self) -> str:
        """Shapes that the last call gives."""
        return ", ".join(sizes(shape) for _, shape in sorted(self.calls[-1].outputs.items()))

    @property
    def keeps(self) -> int:
        """Bytes kept."""
        return sum(call.keeps for call in self.calls)


def grouped(calls: Sequence[Call], depth: int | None) -> list[Group]:
    """Return the calls, those of one module of that depth together.

    A call joins its module's group unless another group lies in between: a module that is called
    twice makes two groups, and the groups have no cycle.
    """
    groups: list[Group] = []
    home: dict[Call, int] = {}
    latest: dict[Any, int] = {}
    after: list[set[int]] = []
    for call in calls:
        key = (call.phase, call.parts[:depth]) if depth and len(call.parts) >= depth else None
        before = {home[s] for s in call.sources if isinstance(s, Call) and s in home}
        k = latest.get(key, -1) if key else -1
        if k < 0 or reaches(k, before - {k}, after):
            k = len(groups)
            groups.append(Group([], key[1] if key else ()))
            after.append(set())
            if key:
                latest[key] = k
        groups[k].calls.append(call)
        home[call] = k
        for b in before - {k}:
            after[b].add(k)
    return [groups[k] for k in sorting(after)]


def reaches(start: int, goals: set[int], after: Sequence[set[int]]) -> bool:
    """Tell whether a way leads from a group to one of the goals."""
    seen, stack = {start}, [start]
    while stack and goals:
        for k in after[stack.pop()] - seen:
            if k in goals:
                return True
            seen.add(k)
            stack.append(k)
    return False


def sorting(after: Sequence[set[int]]) -> Iterator[int]:
    """Yield groups, each behind those that lead to it, else in their order."""
    left = [0] * len(after)
    for ways in after:
        for k in ways:
            left[k] += 1
    ready = [k for k, n in enumerate(left) if n == 0][::-1]
    while ready:
        k = ready.pop()
        yield k
        for b in sorted(after[k], reverse=True):
            left[b] -= 1
            if not left[b]:
                ready.append(b)


def reads(group: Group, number: dict[Call, int]) -> str:
    """Return the inputs of a group: calls by number, leaves by name, others by their own.

    A module's each once; an op's all, in order.
    """
    inside = set(group.calls)
    found: set[str] = set()
    out = []
    for call in group.calls:
        for name, shape, source in zip(call.names, call.shapes, call.sources, strict=True):
            if source in inside:
                continue
            text = (f"%{number[source]}" if source in number else
                    source.name if isinstance(source, Tip) else name)
            full = f"{text} {sizes(shape)}"
            if full not in found:
                out.append(full)
            elif not group.parts:
                out.append(text)
            found.add(full)
    return ", ".join(out)


def keeping(group: Group, number: dict[Call, int]) -> str:
    """Return what a group keeps, in a few words."""
    states = sorted({call.state for call in group.calls if call.state})
    if group.parts:
        return ", ".join([*states, *([amount(group.keeps, "B")] * (group.keeps > 0))])
    return ", ".join([*states, *(
        f"{name} {amount(size, 'B')}" if holder is None else
        f"{name} (leaf)" if isinstance(holder, Tip) else
        f"{name} ({f'%{number[holder]}' if holder in number else holder})"
        for name, size, holder in group.calls[0].kept)])
