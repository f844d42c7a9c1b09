"""The one context-local object: gradient mode, backend, and what watches the running computation.

A ``Mode`` is immutable; changing it means setting another one for a while. A new thread starts
with the default, so a loader thread under ``no_grad`` does not take the main thread's gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from . import kernels
from .errors import ParameterError, say

if TYPE_CHECKING:
    from .jit.record import Recorder
    from .transforms import Frame
    from .watch import Scene

__all__ = ["MODE", "Mode", "backend", "enable_grad", "look", "no_grad", "on_the_host", "switched"]

BACKENDS = ("reference", "loops", "fast")


class Mode:
    """What ops read of their surroundings.

    Attributes
    ----------
    grad : bool
        Whether results get nodes.
    backend : str
        Which text of a kernel runs.
    depth : int
        How many differentiating functions (``me.grad``, ``me.vjp``, ...) are running.
    frame : Frame or None
        The checkpointed region that takes the place of saved values.
    recorder : Recorder or None
        What takes down every op for a plan (``me.jit``).
    scene : Scene or None
        Where the computation is and who watches it; there for a recorder, too.
    direct : bool
        Derived: nothing watches, and the fast kernels run.
    short : bool
        Derived: direct and nothing is checkpointed; small ops may take the short path.
    lean : bool
        Derived: as short, but for watchers: small ops take the short path and are told.
    """

    __slots__ = ("backend", "depth", "direct", "frame", "grad", "lean", "recorder", "scene",
                 "short")

    def __init__(self, grad: bool, backend: str, depth: int = 0, frame: Frame | None = None,
                 recorder: Recorder | None = None, scene: Scene | None = None):
        self.grad = grad
        self.backend = backend
        self.depth = depth
        self.frame = frame
        self.recorder = recorder
        self.scene = recorder.scene if scene is None and recorder is not None else scene
        self.direct = backend == "fast" and self.scene is None
        self.short = self.direct and frame is None
        self.lean = (backend == "fast" and self.scene is not None and frame is None
                     and recorder is None)

    def but(self, **changes: Any) -> Mode:
        """Return a copy with some fields changed."""
        fields = {"grad": self.grad, "backend": self.backend, "depth": self.depth,
                  "frame": self.frame, "recorder": self.recorder, "scene": self.scene}
        return Mode(**{**fields, **changes})


DEFAULT = Mode(grad=True, backend="fast" if kernels.COMPILED else "reference")
MODE: ContextVar[Mode] = ContextVar("medai_mode", default=DEFAULT)


@contextmanager
def switched(**changes: Any) -> Iterator[Mode]:
    """Run a block under a changed mode."""
    mode = MODE.get().but(**changes)
    token = MODE.set(mode)
    try:
        yield mode
    finally:
        MODE.reset(token)


def on_the_host(function: Callable[[], Any]) -> None:
    """Let a plan that is being recorded call this at every replay; does not call it now."""
    recorder = MODE.get().recorder
    if recorder is not None:
        recorder.host(function)


def look(function: Callable[..., Any], *tensors: Any) -> None:
    """Call a check on the values of tensors, now and at every replay of a plan."""
    function(*[t.data for t in tensors])
    recorder = MODE.get().recorder
    if recorder is not None:
        recorder.host(function, tensors)


def no_grad() -> Any:
    """Compute without recording gradients: a context manager and a decorator.

    Examples
    --------
    >>> import medai_engine as me
    >>> w = me.tensor([1.0], requires_grad=True)
    >>> with me.no_grad():
    ...     y = w * 2
    >>> y.requires_grad
    False
    """
    return switched(grad=False)


def enable_grad() -> Any:
    """Record gradients again inside ``no_grad``: a context manager and a decorator."""
    return switched(grad=True)


def backend(name: str) -> Any:
    """Choose the text of the kernels that runs: ``"reference"``, ``"loops"`` or ``"fast"``.

    Raises
    ------
    ParameterError
        For another name, or ``"fast"`` where nothing is compiled.
    MissingExtraError
        For ``"loops"`` where Numba is not installed.
    """
    if name not in BACKENDS:
        raise ParameterError(say("backend", f"one of {', '.join(BACKENDS)}", repr(name),
                                 'Use me.backend("fast"), the default'))
    kernels.require(name)
    return switched(backend=name)
