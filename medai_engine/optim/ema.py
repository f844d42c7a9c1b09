"""Running averages of weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import DTypeError, ParameterError, ShapeError, say
from ..mode import no_grad, on_the_host
from ..op import apply
from ..ops.optimizer import EMA_STEP
from ..tensor import Tensor

__all__ = ["EMA"]


class EMA:
    """Exponential moving average of weights: ``average <- decay average + (1 - decay) p``.

    Averages begin at the parameters' values (those of a layer that infers its size at the first
    ``update``). Evaluate or save with them by ``swap``.

    Parameters
    ----------
    module_or_params : Module or iterable
        What to average: a module's parameters, or tensors or (name, tensor) pairs.
    decay : float
        In [0, 1]; the average looks back over about ``1 / (1 - decay)`` updates.

    Attributes
    ----------
    averages : list of Tensor
        One per parameter, in order.
    updates : int
        How often ``update`` was called.

    References
    ----------
    Polyak & Juditsky, Acceleration of stochastic approximation by averaging, 1992.

    Examples
    --------
    >>> import medai_engine as me
    >>> w = me.Parameter([0.0])
    >>> ema = me.optim.EMA([w], decay=0.5)
    >>> with me.no_grad():
    ...     w += 1.0
    >>> ema.update()
    >>> with ema.swap():
    ...     print(w.item())
    0.5
    >>> w.item()
    1.0
    """

    def __init__(self, module_or_params: Any, decay: float = 0.999):
        source = module_or_params
        given = list(source.parameters() if hasattr(source, "parameters") else source)
        self.params: list[Tensor] = [p[1] if isinstance(p, tuple) else p for p in given]
        if not self.params or not all(isinstance(p, Tensor) for p in self.params):
            raise ParameterError(say("EMA", "a module, or at least one tensor", repr(given[:1]),
                                     "Pass the model itself"))
        if len({id(p) for p in self.params}) < len(self.params):
            raise ParameterError(say("EMA", "every parameter once", "one a second time",
                                     "Remove it from the list"))
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay <= 1:
            raise ParameterError(say("EMA", "a decay from 0 to 1", repr(decay), "Try 0.999"))
        for p in self.params:
            if p.data.dtype.kind != "f":
                raise DTypeError(say("EMA", "floating values", str(p.data.dtype),
                                     "Pass parameters only"))
        self.decay = float(decay)
        self.updates = 0
        self.averages = [Tensor(p.data.copy()) for p in self.params]

    def update(self) -> None:
        """Take the present weights into the averages: one kernel call per dtype."""
        self._follow()
        groups: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for average, p in zip(self.averages, self.params, strict=True):
            groups.setdefault(p.data.dtype, []).append((average, p))
        for pairs in groups.values():
            averages, params = zip(*pairs, strict=True)
            apply(EMA_STEP, *averages, *params, decay=self.decay)
        self._count()
        on_the_host(self._count)

    def _count(self) -> None:
        self.updates += 1

    @contextmanager
    def swap(self) -> Iterator[None]:
        """Put the averages into the parameters for the length of a ``with`` block."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def exchange(self) -> None:
        """Exchange averages and weights; a second call restores them."""
        self._follow()
        with no_grad():
            for average, p in zip(self.averages, self.params, strict=True):
                held = p.detach().copy()
                p.copy_(average)
                average.copy_(held)

    def copy_to(self) -> None:
        """Give the parameters the averages for good."""
        self._follow()
        with no_grad():
            for average, p in zip(self.averages, self.params, strict=True):
                p.copy_(average)

    def _follow(self) -> None:
        """Begin where a layer has inferred its size since; take over a module's new dtype."""
        for i, (average, p) in enumerate(zip(self.averages, self.params, strict=True)):
            if average.data.dtype != p.data.dtype:
                average = self.averages[i] = Tensor(average.data.astype(p.data.dtype))
            if average.data.shape != p.data.shape and not average.data.size:
                self.averages[i] = Tensor(p.data.copy())

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of averages (arrays by number), decay and count."""
        return {"decay": self.decay, "updates": self.updates,
                "averages": {str(i): a.data.copy() for i, a in enumerate(self.averages)}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned.

        Raises
        ------
        ParameterError, ShapeError
            When it does not fit; nothing is changed then.
        """
        where = "EMA.load_state_dict"
        if not isinstance(state_dict, Mapping) or not {
                "decay", "updates", "averages"} <= set(state_dict):
            raise ParameterError(say(where, "a dict with decay, updates and averages",
                                     type(state_dict).__name__, "Pass what state_dict() returned"))
        saved = {int(i): np.asarray(a) for i, a in state_dict["averages"].items()}
        if set(saved) != set(range(len(self.averages))):
            raise ParameterError(say(where, f"{len(self.averages)} averages", str(len(saved)),
                                     "Build the EMA over the same parameters as before"))
        for i, average in enumerate(self.averages):
            if saved[i].shape != average.shape:
                raise ShapeError(say(where, f"average {i} of shape {average.shape}",
                                     str(saved[i].shape), "It was saved with another model"))
        self.averages = [Tensor(np.array(saved[i], a.dtype)) for i, a in enumerate(self.averages)]
        self.decay = float(state_dict["decay"])
        self.updates = int(state_dict["updates"])
