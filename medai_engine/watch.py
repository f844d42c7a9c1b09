"""What watches a running computation: eager ops, backward rules, and the lines of replayed plans.

While somebody watches (``me.profile``, ``me.debug_nans``, ``me.jit`` taking a plan down), a
``Scene`` hangs in the mode. It knows where the computation is: the user's source line, the
innermost module, and in the reverse pass the op whose gradient runs, with the line and module that
it ran at on the way forward (nodes note that while there is a scene). ``apply`` tells its watchers
every call of an op; a plan that is replayed tells them every line.

Where nobody watches there is no scene, and nothing of this runs.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .errors import MedaiError
from .mode import MODE, Mode, switched

if TYPE_CHECKING:
    from .jit.plan import Plan
    from .op import Op
    from .tensor import Tensor

__all__ = ["Place", "RunEagerly", "Scene", "Watcher", "user_line", "watching"]

PACKAGE = str(Path(__file__).parent)
# short names of source files; "" inside the package, None in its room of optimisers
OUTSIDE: dict[str, str | None] = {}


class Place:
    """Where a call of an op belongs. Calls at the same place have the same object.

    Attributes
    ----------
    site : str
        The user's source line, ``file.py:12``; of a gradient, that of the op it is the gradient of.
    module : Module or None
        The innermost module that was running (on the way forward).
    path : str
        Its dotted name and class, as in error messages: ``model.3 (Linear)``; "" outside.
    phase : str
        ``"forward"``, ``"backward"``, ``"recomputed"`` (forward once more, for a checkpoint) or
        ``"optimizer"``.
    """

    __slots__ = ("gradient", "module", "path", "phase", "site")

    def __init__(self, site: str = "", module: Any = None, path: str = "",
                 phase: str = "forward"):
        self.site = site
        self.module = module
        self.path = path
        self.phase = phase
        self.gradient: Place | None = None  # where that of an op at this place belongs

    def behind(self) -> Place:
        """Return the place of gradients of ops at this one."""
        if self.gradient is None:
            self.gradient = Place(self.site, self.module, self.path, "backward")
        return self.gradient

    def __repr__(self) -> str:
        return f"Place({', '.join(part for part in (self.site, self.path, self.phase) if part)})"


def named(path: str) -> str | None:
    """Return what ``OUTSIDE`` keeps of a source file."""
    if not path.startswith(PACKAGE) or path.startswith(f"{PACKAGE}/examples/"):
        return path.rpartition("/")[2]  # examples are users' programs
    return None if path.startswith(f"{PACKAGE}/optim/") else ""


def caller(depth: int = 1) -> tuple[Any, bool]:
    """Return the innermost frame outside this package, and whether an optimiser is on the way.

    The innermost ``depth`` frames are passed over: they are known to be inside.
    """
    frame: Any = sys._getframe(depth)
    optimizer = False
    while frame is not None:
        path = frame.f_code.co_filename
        try:
            name = OUTSIDE[path]
        except KeyError:
            name = OUTSIDE[path] = named(path)
        if name:
            break
        optimizer = optimizer or name is None
        frame = frame.f_back
    return frame, optimizer


def site(frame: Any) -> str:
    """Return the source line of a frame."""
    return "" if frame is None else f"{OUTSIDE[frame.f_code.co_filename]}:{frame.f_lineno}"


def user_line() -> str:
    """Return the innermost source line outside this package."""
    return site(caller()[0])


class Watcher:
    """What hears of a computation; a subclass fills the methods that it needs.

    A watcher must not keep tensors or arrays that it is shown: memory would not be reused. Ops
    that it computes itself are heard as well: it should use NumPy, or kernels.
    """

    def op(self, scene: Scene, op: Op, inputs: Sequence[Tensor], results: Sequence[Tensor],
           params: dict[str, Any]) -> None:
        """Hear of a call of an op that has just run.

        ``scene.place`` says where, ``scene.began`` and ``scene.ended`` (``time.perf_counter``)
        when its kernel ran, ``scene.node`` whose gradient it is a part of. An op that updates
        inputs in place has no results.
        """

    def differentiate(self, scene: Scene, outputs: Sequence[Tensor]) -> None:
        """Hear that a reverse pass is about to begin, from these outputs."""

    def differentiated(self, scene: Scene, found: Mapping[tuple[Any, int], Tensor]) -> None:
        """Hear the gradients that a reverse pass has found, by (node or leaf, output number)."""

    def replay(self, scene: Scene, plan: Plan) -> None:
        """Hear that a plan is about to run on its arguments (they are copied in)."""

    stepwise = False  # whether ``line`` is called

    def line(self, scene: Scene, plan: Plan, number: int) -> None:
        """Hear that ``plan.calls[number]`` has run, the call of ``plan.origins[number]``.

        May raise ``RunEagerly``, having put back what the plan has written.
        """

    def replayed(self, scene: Scene, plan: Plan, times: Sequence[float]) -> None:
        """Hear that a plan's calls have run: call i from ``times[i]`` to ``times[i + 1]``."""


class RunEagerly(Exception):
    """What a watcher raises in a replay, so that the same call runs op by op under its eyes."""


class Scene:
    """Where a computation is, and who watches it.

    Attributes
    ----------
    watchers : list of Watcher
    modules : list of Module
        Those that are running, outermost first.
    path : str
        Name and class of the innermost: ``model.3 (Linear)``.
    node : Node, Leaf or None
        In a reverse pass the node whose gradient rule runs, or the leaf that takes its gradient.
    place : Place
        Of the op that is told.
    began, ended : float
        When its kernel began and ended, in seconds of ``time.perf_counter``.
    """

    __slots__ = ("alone", "began", "behind", "ended", "modules", "names", "node", "path", "paths",
                 "place", "places", "watchers")

    def __init__(self, watchers: Sequence[Watcher] = ()):
        self.watchers = list(watchers)
        self.modules: list[Any] = []
        self.path = ""
        self.paths: dict[tuple[str, Any], str] = {}
        self.names: dict[Any, dict[Any, str]] = {}  # of the modules below one, by module
        self.node: Any = None
        self.behind: Place | None = None
        self.place = Place()
        self.places: dict[Any, Place] = {}  # those that were seen before
        self.alone: dict[Any, Mode] = {}  # the modes without this scene
        self.began = self.ended = 0.0

    def time(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """Call a kernel and note when it began and ended."""
        began = perf_counter()
        result = function(*arguments)  # which may be a user's, with ops inside
        self.ended = perf_counter()
        self.began = began
        return result

    def short(self, mode: Mode, op: Op, function: Callable[..., Any], inputs: Sequence[Tensor],
              params: dict[str, Any]) -> Any:
        """Let a small op take its short path, as if nobody watched; tell of it."""
        alone = self.alone.get((mode.grad, mode.depth))
        if alone is None:
            alone = self.alone[mode.grad, mode.depth] = mode.but(scene=None)
        token = MODE.set(alone)
        try:
            began = perf_counter()
            result = function(*inputs, **params)
            self.ended = perf_counter()
            self.began = began
        finally:
            MODE.reset(token)
        self.told(mode, op, inputs, (result,), params)
        return result

    def here(self, mode: Mode) -> Place:
        """Return the place of an op that runs now."""
        again = mode.frame is not None and mode.frame.replaying
        if self.behind is not None and not again:
            return self.behind
        frame, optimizer = caller(3)  # behind itself, here and told
        phase = ("recomputed" if again else "backward" if self.node is not None else
                 "optimizer" if optimizer else "forward")
        key = (frame and frame.f_code, frame and frame.f_lasti, self.path, phase)
        place = self.places.get(key)
        module = self.modules[-1] if self.modules else None
        if place is None or place.module is not module:
            place = self.places[key] = Place(site(frame), module, self.path, phase)
        return place

    def told(self, mode: Mode, op: Op, inputs: Sequence[Tensor], results: Sequence[Tensor],
             params: dict[str, Any]) -> None:
        """Note the place of an op that has run, in the node of its results too; tell all."""
        behind = self.behind
        self.place = place = (behind if behind is not None and mode.frame is None
                              else self.here(mode))
        for result in results:
            edge = result.node
            if edge is not None:
                node = getattr(edge, "node", edge)  # an op with several results has slots
                node.place = place
        for watcher in self.watchers:
            watcher.op(self, op, inputs, results, params)
        if mode.recorder is not None and results:
            mode.recorder.record(op, inputs, results, params)

    def enter(self, node: Any) -> None:
        """Note whose gradient runs from now on; None: that of nobody."""
        self.node = node
        place = getattr(node, "place", None)  # nodes of before have none
        self.behind = None if place is None else place.behind()

    def reverse(self, visits: Iterator[Any], found: Mapping[tuple[Any, int], Tensor]) -> None:
        """Walk a graph backwards to its end (``autograd.walk``); tell what was found."""
        before, behind = self.node, self.behind
        try:
            deque(visits, 0)  # keeps no stop
        finally:
            self.node, self.behind = before, behind
        for watcher in self.watchers:
            watcher.differentiated(self, found)

    def inside(self, module: Any, function: Callable[..., Any], args: Any, kwargs: Any,
               joined: Sequence[Any] = ()) -> Any:
        """Call a module's forward, as the innermost one; ``joined``: modules that it includes."""
        recorder = MODE.get().recorder
        if recorder is not None:
            recorder.called += [module, *joined]
        outer = self.path
        path = self.paths.get((outer, module))
        if path is None:
            path = self.paths[outer, module] = self.named(module)
        self.path = path
        self.modules.append(module)
        try:
            return function(*args, **kwargs)
        except MedaiError as error:
            error.trail.append(module)
            raise
        finally:
            self.modules.pop()
            self.path = outer

    def named(self, module: Any) -> str:
        """Return a module's dotted name below the innermost one that is running, and its class."""
        name = "model"
        if self.modules:
            inner = self.modules[-1]
            if inner not in self.names:  # walked once: a container calls hundreds
                self.names[inner] = {m: n for n, m in inner.named_modules() if n}
            name = ".".join(filter(None, (self.path.partition(" ")[0],
                                          self.names[inner].get(module))))
        return f"{name} ({type(module).__name__})"

    def replay(self, plan: Plan) -> None:
        """Run a plan's calls, and tell the watchers each with its number."""
        for watcher in self.watchers:
            watcher.replay(self, plan)
        stepwise = [watcher for watcher in self.watchers if watcher.stepwise]
        times = [perf_counter()]
        note = times.append
        if not stepwise:
            for function, arguments in plan.calls:
                function(*arguments)
                note(perf_counter())
        else:
            for number, (function, arguments) in enumerate(plan.calls):
                function(*arguments)
                note(perf_counter())
                for watcher in stepwise:
                    watcher.line(self, plan, number)
        for watcher in self.watchers:
            watcher.replayed(self, plan, times)


@contextmanager
def watching(watcher: Watcher) -> Iterator[Scene]:
    """Let a watcher hear what this thread computes inside the block."""
    scene = MODE.get().scene
    if scene is None:
        with switched(scene=Scene([watcher])) as mode:
            yield mode.scene  # type: ignore[misc]
        return
    scene.watchers.append(watcher)
    try:
        yield scene
    finally:
        scene.watchers.remove(watcher)
