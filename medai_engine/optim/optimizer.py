"""The base of all optimisers: groups, states, and one fused call per step.

An optimiser states three things: which states a group's options need (``states``), how they begin
(``init_state``), and the row of hyper-parameters of its step op (``row``). This file does the
rest: it keeps one table of segments per dtype, made of the parameters that have a gradient, and
makes it again only when that set, their storage or the states change (engine-rules 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

import numpy as np

from ..autograd import drop
from ..errors import DTypeError, GraphError, ParameterError, ShapeError, say
from ..kernels import clear_cache
from ..mode import MODE, enable_grad
from ..op import Op
from ..ops.optimizer import COLUMNS, Segments
from ..tensor import EPOCH, Tensor
from .options import OPTIONS, Options

__all__ = ["Optimizer"]

Group = dict[str, Any]
LARGE = 1 << 24  # bytes of a parameter that decides how much memory a run takes
# Group entries that schedules write.
SCHEDULED = ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum")


class Span:
    """The rows of one group in a table, and what was last written into them."""

    __slots__ = ("group", "names", "rows", "values")

    def __init__(self, group: Group, names: tuple[str, ...], rows: slice):
        self.group = group
        self.names = names
        self.rows = rows
        self.values: tuple[Any, ...] = ()


class Optimizer:
    """The base of all optimisers.

    Parameters
    ----------
    params : iterable
        Tensors, ``(name, tensor)`` pairs, or dicts ``{"params": [...], option: value}``, one per
        group of parameters with options of its own.
    **defaults
        The options of groups that do not state them.

    Attributes
    ----------
    param_groups : list of dict
        ``params`` and every option. Options may be changed between steps.
    state : dict
        Per parameter (from its first step on) its step count and state tensors.

    Raises
    ------
    ParameterError
        For an empty list, a parameter that appears twice, a wrong or unknown option.
    GraphError
        For a tensor that an op computed.
    """

    rule: Op

    def __init__(self, params: Any, **defaults: Any):
        self.defaults = {key: self._option(key, value) for key, value in defaults.items()}
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._tables: list[tuple[Segments, list[Span], np.ndarray | None]] | None = None
        self._idle: list[Tensor] = []
        if isinstance(params, (Tensor, np.ndarray, str)) or hasattr(params, "parameters") or (
                not isinstance(params, Iterable)):
            raise ParameterError(self._say(
                "an iterable of tensors, of (name, tensor) pairs, or of groups",
                type(params).__name__, "Pass model.parameters(), or [tensor] for a single one"))
        given = list(params)
        if not given:
            raise ParameterError(self._say("at least one parameter", "an empty list", (
                "An iterator can be used once only: pass model.parameters() anew, and call a "
                "layer that infers its size on a first batch before")))
        if not isinstance(given[0], dict):
            given = [{"params": given}]
        for group in given:
            self.add_param_group(group)

    # what an optimiser states

    def states(self, group: Group) -> tuple[str, ...]:
        """Return the names of the state tensors that a group's options need."""
        raise NotImplementedError

    def row(self, group: Group) -> tuple[Any, ...]:
        """Return a group's values for the columns of ``hyper``; None for those that count."""
        raise NotImplementedError

    def init_state(self, p: Tensor, group: Group) -> dict[str, Any]:
        """Return the state of a parameter before its first step: zeros, and counts at 0."""
        if p.data.nbytes > LARGE:
            clear_cache()  # of what the backward pass has left: states would lie beside it
        state: dict[str, Any] = {"step": 0.0} if "step" in self.columns else {}
        state |= {name: Tensor(np.zeros(p.data.shape, p.data.dtype))
                  for name in self.states(group)}
        return state

    def advance(self, hyper: np.ndarray) -> None:
        """Compute what else changes with every step, after the steps of all rows were counted."""

    # groups

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own.

        Parameters
        ----------
        group : mapping
            ``{"params": tensors or (name, tensor) pairs, option: value, ...}``; options left out
            have the optimiser's defaults.
        """
        if not isinstance(group, Mapping) or "params" not in group:
            raise ParameterError(self._say('a group such as {"params": [...], "lr": 0.1}',
                                           type(group).__name__, "Put its tensors under params"))
        params = group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, (set, frozenset)):
            raise ParameterError(self._say("parameters in a fixed order", "a set",
                                           "Pass a list"))
        params = list(params)
        names = []
        for i, p in enumerate(params):
            if isinstance(p, tuple) and len(p) == 2:
                names.append(p[0])
                params[i] = p[1]
        if names and len(names) != len(params):
            raise ParameterError(self._say("names for all parameters of a group, or for none",
                                           f"{len(names)} names for {len(params)}",
                                           "Pass model.named_parameters()"))
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            label = f"parameter {names[i] if names else i}"
            if not isinstance(p, Tensor):
                raise ParameterError(self._say("tensors", f"{label}: {type(p).__name__}",
                                               "Wrap it: me.tensor(x, requires_grad=True)"))
            if not p.is_leaf:
                raise GraphError(self._say("leaves", f"{label}, the result of an op",
                                           "Use .detach().requires_grad_()"))
            if p.data.dtype.kind != "f":
                raise DTypeError(self._say("floating parameters", f"{label}: {p.data.dtype}",
                                           "Convert with .astype(me.float32)"))
            if id(p) in taken:
                raise ParameterError(self._say("every parameter once", f"{label} a second time",
                                               "Remove it from one of the places"))
            taken.add(id(p))
        options = {key: self._option(key, value) for key, value in group.items()
                   if key not in ("params", "param_names", *SCHEDULED)}
        extra = {key: group[key] for key in SCHEDULED if key in group}
        new = {"params": params, **self.defaults, **options, **extra}
        if names:
            new["param_names"] = names
        self.check_group(new)
        self.param_groups.append(Options(new))
        self._tables = None
        EPOCH[0] += 1

    def check_group(self, group: Group) -> None:
        """Check options that depend on each other."""

    @property
    def lr(self) -> float:
        """The learning rate of the first group; setting it sets that of every group."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        value = self._option("lr", value)
        for group in self.param_groups:
            group["lr"] = value

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters (``grad`` is None afterwards).

        As the last line of a step under ``me.jit`` it saves memory and time: gradients of large
        weights that nobody can look at are never written as a whole.
        """
        drop(self._all())

    # the step

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss again, gradients included; called before the update.

        Returns
        -------
        The closure's result, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        recorder = MODE.get().recorder
        if recorder is not None:
            for p in self._all():
                recorder.touch(p)
        if not self._ready():
            self._lay_out()
            if recorder is None:
                EPOCH[0] += 1
        tables: Any = self._tables
        if recorder is not None:
            recorder.guards.append(lambda: self._tables is tables and self._fits())
        for table, spans, steps in tables:
            count = partial(self._count, table.hyper, spans, steps)
            count()
            if recorder is not None:
                recorder.host(count)
            table()
        return loss

    def _fits(self) -> bool:
        """Tell whether the options still need the states that the tables have."""
        return all(self.states(span.group) == span.names
                   for _, spans, _ in self._tables or () for span in spans)

    def _count(self, hyper: np.ndarray, spans: list[Span], steps: np.ndarray | None) -> None:
        """Take options into a table and count the step: what a plan does on the host each time."""
        for span in spans:
            values = self.row(span.group)
            if values != span.values:
                fill(hyper, span, values)
        if steps is not None:
            steps += 1
            self.advance(hyper)

    def _ready(self) -> bool:
        """Take the gradients into the tables; False when they have to be made again."""
        if self._tables is None:
            return False
        for p in self._idle:
            if p.grad is not None:
                return False
        return self._fits() and all(table.ready() for table, _, _ in self._tables)

    def _lay_out(self) -> None:
        """Make the tables: one per dtype and set of states, from what has a gradient now."""
        self._tables = None
        self._idle = []
        found: dict[Any, list[tuple[Group, list[Tensor]]]] = {}
        for group in self.param_groups:
            names = self.states(group)
            parts: dict[Any, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is None:
                    self._idle.append(p)
                elif p.data.size:
                    parts.setdefault((p.data.dtype, names), []).append(p)
            for key, params in parts.items():
                found.setdefault(key, []).append((group, params))
        made = [self._table(names, parts) for (_, names), parts in found.items()]
        # everything is validated: now, and not before, something changes
        self._tables = []
        for table, spans, states in made:
            for i, (p, state) in enumerate(zip(table.params, states, strict=True)):
                self.state[p] = state
                for c, name in enumerate(self.columns):
                    if spans[0].values[c] is None:  # a count lives in the table from now on
                        table.hyper[i, c] = state[name]
                        state[name] = table.hyper[i, c: c + 1].reshape(())
            steps = table.hyper[:, self.columns.index("step")] if "step" in self.columns else None
            self._tables.append((table, spans, steps))

    def _table(self, names: tuple[str, ...], parts: list[tuple[Group, list[Tensor]]]
               ) -> tuple[Segments, list[Span], list[dict[str, Any]]]:
        """Return a table, the spans of its groups, and the state of each of its parameters."""
        params = [p for _, members in parts for p in members]
        hyper = np.zeros((len(params), len(self.columns)))
        spans: list[Span] = []
        states: list[dict[str, Any]] = []
        for group, members in parts:
            span = Span(group, names, slice(len(states), len(states) + len(members)))
            fill(hyper, span, self.row(group))
            spans.append(span)
            counts = [c for c, value in zip(self.columns, span.values, strict=True)
                      if value is None]
            for p in members:
                state = self.state.get(p)
                if state is None or state.keys() != {*names, *counts}:
                    # the first step, or other options need other states: begin anew
                    state = self.init_state(p, group)
                states.append({name: Tensor(value.data.astype(p.data.dtype)) if isinstance(
                    value, Tensor) and value.data.dtype != p.data.dtype else value
                    for name, value in state.items()})  # the module's dtype may have changed
        table = Segments(self.rule, params, {
            name: [state[name] for state in states] for name in names}, hyper)
        return table, spans, states

    # saving

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything that a resumed run needs: arrays, and values for JSON.

        Returns
        -------
        dict
            ``state``: per parameter number (a string) arrays and counts; ``param_groups``: the
            options, with parameter numbers under ``params``.
        """
        numbers = {id(p): i for i, p in enumerate(self._all())}
        state = {str(numbers[id(p)]): {
            key: value.data.copy() if isinstance(value, Tensor) else float(value)
            for key, value in kept.items()} for p, kept in self.state.items()}
        groups = [{key: [numbers[id(p)] for p in value] if key == "params"
                   else list(value) if isinstance(value, (tuple, list)) else value
                   for key, value in group.items()} for group in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned (also when it went through JSON).

        Raises
        ------
        ParameterError
            When it does not fit this optimiser; nothing is changed then.
        """
        where = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise ParameterError(say(where, "a dict with state and param_groups",
                                     type(state_dict).__name__ if not isinstance(
                                         state_dict, Mapping) else str(sorted(state_dict)),
                                     "Pass what an optimiser's state_dict returned"))
        saved = state_dict["param_groups"]
        if not isinstance(saved, (list, tuple)) or not all(
                isinstance(group, Mapping) and "params" in group for group in saved):
            raise ParameterError(say(where, "param_groups to be a list of groups with params",
                                     type(saved).__name__, "The state dict is damaged"))
        sizes = [len(group["params"]) for group in saved]
        mine = [len(group["params"]) for group in self.param_groups]
        if sizes != mine:
            raise ParameterError(say(where, f"groups of {mine} parameters", str(sizes),
                                     "Build the optimiser over the same parameters as before"))
        groups = []
        for group, old in zip(self.param_groups, saved, strict=True):
            options = {key: self._option(key, value) for key, value in old.items()
                       if key not in ("params", "param_names", *SCHEDULED)}
            extra = {key: old[key] for key in SCHEDULED if key in old}
            groups.append({**group, **options, **extra})
            self.check_group(groups[-1])
        owners = {int(number): (p, group) for group, old in zip(groups, saved, strict=True)
                  for number, p in zip(old["params"], group["params"], strict=True)}
        state = {}
        for number, kept in state_dict["state"].items():
            if not str(number).isdecimal() or int(number) not in owners:
                raise ParameterError(say(where, f"states of parameters {sorted(owners)}", number,
                                         "The state dict is damaged"))
            p, group = owners[int(number)]
            state[p] = self._loaded(where, p, group, kept, number)
        for group, new in zip(self.param_groups, groups, strict=True):
            group.update(new)
        self.state = state
        self._tables = None
        EPOCH[0] += 1

    def _loaded(self, where: str, p: Tensor, group: Group, kept: Mapping[str, Any],
                number: Any) -> dict[str, Any]:
        """Return a parameter's state from a saved one, checked."""
        wanted = self.init_state(p, group)
        if set(kept) != set(wanted):
            raise ParameterError(say(where, f"the states {', '.join(wanted)}",
                                     f"{', '.join(kept)} for parameter {number}",
                                     "It was saved by another optimiser than "
                                     f"{type(self).__name__}"))
        state: dict[str, Any] = {}
        for key, like in wanted.items():
            if not isinstance(like, Tensor):
                state[key] = float(kept[key])
                continue
            array = np.array(kept[key], like.data.dtype)
            if array.shape != like.data.shape:
                raise ShapeError(say(where, f"{key} of parameter {number} to have shape "
                                     f"{like.shape}", str(array.shape),
                                     "It was saved with another model"))
            state[key] = Tensor(array)
        return state

    # helpers

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the step op's ``hyper``."""
        return COLUMNS[self.rule.name]

    def _all(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _say(self, expected: str, got: str, fix: str) -> str:
        return say(type(self).__name__, expected, got, fix)

    def _option(self, key: str, value: Any) -> Any:
        """Return a checked option."""
        known = getattr(self, "defaults", None)
        if key not in OPTIONS or (known is not None and key not in known):
            close = get_close_matches(key, known or OPTIONS, 1)
            raise ParameterError(self._say(
                f"the options {', '.join(known or OPTIONS)}", repr(key),
                f"Did you mean {close[0]!r}?" if close else "Remove it from the group"))
        try:
            return OPTIONS[key](value)
        except ValueError as error:
            raise ParameterError(self._say(f"{key} to be {error}", repr(value),
                                           f"The default is {self._default(key)}")) from None

    def _default(self, key: str) -> Any:
        import inspect

        parameter = inspect.signature(type(self)).parameters.get(key)
        return "in the documentation" if parameter is None else repr(parameter.default)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tables out of copies: they point into this optimiser's parameters."""
        return {**self.__dict__, "_tables": None}

    def __repr__(self) -> str:
        lines = [f"  {i}: {sum(p.data.size for p in group['params'])} weights, " + ", ".join(
            f"{key}={value}" for key, value in group.items() if key in self.defaults)
            for i, group in enumerate(self.param_groups)]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


def fill(hyper: np.ndarray, span: Span, values: tuple[Any, ...]) -> None:
    """Write a group's changed values into its rows."""
    old = span.values or (None,) * len(values)
    for c, (new, last) in enumerate(zip(values, old, strict=True)):
        if new is not None and new != last:
            hyper[span.rows, c] = new
    span.values = values
