"""Looking into ops, tapes, plans, models and this installation."""

from typing import TYPE_CHECKING, Any

from ..jit import Plan
from .doctor import doctor
from .summary import summary

if TYPE_CHECKING:
    from .backwards import step
    from .cards import Card, op, ops
    from .plan_page import plan
    from .profiler import profile
    from .recording import graph, tape

__all__ = ["Card", "doctor", "graph", "op", "ops", "plan", "profile", "step", "summary", "tape"]

# loaded when they are asked for: importing the package does not wait for them
ROOMS = {"Card": "cards", "graph": "recording", "op": "cards", "ops": "cards", "plan": "plan_page",
         "profile": "profiler", "step": "backwards", "tape": "recording"}


if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        found = globals()[name] = getattr(
            importlib.import_module(f".{ROOMS[name]}", __name__), name)
        return found


def _page(self: Plan, path: Any, repeats: int = 10) -> Any:
    """Write the plan as a page (``me.inspect.plan``); return the path."""
    from .plan_page import plan

    return plan(self, repeats).save(path)


Plan.page = _page  # type: ignore[attr-defined]
