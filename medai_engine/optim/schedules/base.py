"""What all schedules share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from ...errors import ParameterError, say
from ...mode import on_the_host
from ..optimizer import Optimizer

__all__ = ["Schedule", "cosine", "linear"]


def cosine(start: float, end: float, fraction: float) -> float:
    """Return ``end + (start - end) (1 + cos(pi fraction)) / 2``."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def linear(start: float, end: float, fraction: float) -> float:
    """Return ``start + (end - start) fraction``."""
    return start + (end - start) * fraction


class Schedule:
    """The base of all schedules: ``lr`` of each group as a function of n.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups' rates when the first schedule is built are the base rates.
    last_epoch : int
        -1 to start; the count of the last step to go on from (or use ``load_state_dict``).

    Attributes
    ----------
    last_epoch : int
        The count n.
    base_lrs : list of float
        One base rate per group.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self._take(optimizer)
        for group in optimizer.param_groups:
            self._require(last_epoch == -1 or "initial_lr" in group, "initial_lr in every group",
                          f"last_epoch={last_epoch} without it",
                          "Load the optimiser's state first, or use load_state_dict")
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def lr_at(self, n: float, base: float) -> float:
        """Return the rate at count n of a group with this base rate."""
        raise NotImplementedError

    def values(self, n: float) -> list[dict[str, Any]]:
        """Return what to write into each group at count n."""
        return [{"lr": self.lr_at(n, base)} for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go to the next count, or to the given one (a fraction where the formula allows it)."""
        on_the_host(partial(self.step, epoch))
        n = self.last_epoch + 1 if epoch is None else epoch
        self._write(n)
        self.last_epoch = n  # type: ignore[assignment]

    def get_last_lr(self) -> list[float]:
        """Return the present rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the count, the base rates and the options, as values for JSON."""
        return {key: value.state_dict() if isinstance(value, Schedule)
                else list(value) if isinstance(value, (list, tuple)) else value
                for key, value in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` returned; sets the optimiser's rates too.

        Raises
        ------
        ParameterError
            When it belongs to another kind of schedule; nothing is changed then.
        """
        mine = self.state_dict()
        self._require(isinstance(state_dict, Mapping) and set(state_dict) == set(mine),
                      f"a state with {', '.join(sorted(mine))}",
                      str(sorted(state_dict)) if isinstance(state_dict, Mapping)
                      else type(state_dict).__name__, "Pass this schedule's own state_dict()")
        for key, value in state_dict.items():
            if isinstance(getattr(self, key), Schedule):
                getattr(self, key).load_state_dict(value)
            else:
                setattr(self, key, list(value) if isinstance(value, (list, tuple)) else value)
        self._write(self.last_epoch)

    def _take(self, optimizer: Optimizer) -> None:
        self._require(isinstance(optimizer, Optimizer), "an optimiser", type(optimizer).__name__,
                      "Pass the optimiser first")
        self.optimizer = optimizer

    def _write(self, n: float) -> None:
        for group, values in zip(self.optimizer.param_groups, self.values(n), strict=True):
            group.update(values)

    def _require(self, holds: bool, expected: str, got: Any, fix: str) -> None:
        if not holds:
            raise ParameterError(say(type(self).__name__, expected, str(got), fix))

    def _per_group(self, name: str, value: Any) -> list[float]:
        """Return one number per group."""
        count = len(self.optimizer.param_groups)
        values = list(value) if isinstance(value, (list, tuple)) else [value] * count
        self._require(len(values) == count, f"{name} to be a number, or one for each of {count} "
                      "groups", repr(value), "Pass one number for all groups")
        return values

    def __repr__(self) -> str:
        return f"{type(self).__name__}(step {self.last_epoch}, lr {self.get_last_lr()})"
