"""What training and evaluation measure: losses and metrics of several outputs, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, say
from . import metrics
from .batches import Arrays
from .engine import flatten

__all__ = ["Meter", "Scorers", "by_output", "listed"]


class Scorers:
    """The metrics of a model: (name in the logs, number of the output, metric, weighted)."""

    def __init__(self, plain: Any, weighted: Any, outputs: Sequence[str]):
        self.outputs = list(outputs)
        self.rows: list[tuple[str, int, Any, bool]] = []
        for given, counts in ((plain, False), (weighted, True)):
            groups = [] if given is None else (
                by_output("metrics", given, outputs) if len(outputs) > 1 else [
                    flatten(given) if not isinstance(given, dict) else [
                        m for group in given.values() for m in flatten(group)]])
            for number, group in enumerate(groups):
                for one in flatten([] if group is None else group):
                    for member in flatten(one):
                        metric = metrics.get(member)
                        name = f"{outputs[number]}_{metric.name}" if len(
                            outputs) > 1 else metric.name
                        self.rows.append((name, number, metric, counts))


class Meter:
    """The means of the losses and the metrics over some batches."""

    def __init__(self, scorers: Scorers):
        self.scorers = scorers
        self.totals: Any = 0.0
        self.count = 0
        for _, _, metric, _ in self.scorers.rows:
            metric.reset_state()

    def add(self, found: list[float], outputs: Arrays, ys: Arrays, weight: Any) -> None:
        """Take the losses, outputs and targets of a batch."""
        self.totals = self.totals + np.array(found) * len(ys[0])
        self.count += len(ys[0])
        for _, number, metric, counts in self.scorers.rows:
            metric.update_state(ys[number], outputs[number], weight if counts else None)

    def logs(self) -> dict[str, Any]:
        """Return the values by name."""
        means = (self.totals / self.count).tolist()
        logs = {"loss": means[0], **{f"{name}_loss": value for name, value in zip(
            self.scorers.outputs, means[1:], strict=False)}}
        return logs | {name: metrics.plain(m.result()) for name, _, m, _ in self.scorers.rows}

    def told(self, return_dict: bool) -> Any:
        """Return the values as ``train_on_batch`` does."""
        return self.logs() if return_dict else listed(self.logs())


def listed(logs: dict[str, Any]) -> Any:
    """Return the loss, or all values in a list where there are more."""
    return list(logs.values()) if len(logs) > 1 else logs["loss"]


def by_output(what: str, given: Any, outputs: Sequence[str]) -> list[Any]:
    """Return what was given for each output; a dict is read by their names."""
    if isinstance(given, dict):
        unknown = [key for key in given if key not in outputs]
        if unknown and len(outputs) > 0:
            raise ParameterError(say("compile", f"{what} by the outputs {', '.join(outputs)}",
                                     ", ".join(map(str, given)), "Use the names of the layers"))
        return [given.get(name) for name in outputs] if outputs else list(given.values())
    return list(given) if isinstance(given, (list, tuple)) else [given]
