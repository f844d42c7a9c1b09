"""What is known of a NaN or an infinity: which op made it of what, and what helps.

``describe`` looks once, at the moment of the fault, when the inputs are still there; ``report``
words the error. The hints are a table by op: forward, and in the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import NonFiniteError, say
from ..op import Op
from ..tensor import Parameter, Tensor
from ..watch import Scene, caller

__all__ = ["Fault", "describe", "from_outside", "report"]

CLIP = "Lower the learning rate, or clip gradients with optim.clip_grad_norm_"
GROWN = f"The values have grown beyond the range of the dtype. {CLIP}, or scale the inputs"
DIVIDE = "Add a small number to the denominator, or choose it with where before dividing"
ROOT = "Add a small number under the root: sqrt(x + 1e-12)"
ANGLE = "Clip the input to [-1 + 1e-6, 1 - 1e-6]"
LOG = ("Clip the input (x.clip(1e-12, None)), or use log_softmax or a loss on logits, which never "
       "take the logarithm of 0")
EXP = "Subtract the maximum first, or use softmax, logsumexp or log1p, which do"
BASE = "Clip the base to positive numbers, or take abs(x) ** p"
SPREAD = "Use eps > 0: a feature that is constant in the batch has no variance"
CERTAIN = "Clip the probabilities to [1e-7, 1 - 1e-7], or use the loss on logits"
MASKED = "Leave at least one entry of every row unmasked, or multiply the result by the mask"

HINTS = {  # in the forward pass
    "divide": DIVIDE, "reciprocal": DIVIDE, "remainder": DIVIDE, "floor_divide": DIVIDE,
    "sqrt": "Clip the input at 0", "log": LOG, "log2": LOG, "log10": LOG, "log1p": LOG,
    "exp": EXP, "expm1": EXP, "sinh": EXP, "cosh": EXP, "power": BASE, "acos": ANGLE,
    "asin": ANGLE, "softmax": MASKED, "log_softmax": MASKED, "attention": MASKED,
    "norm": SPREAD, "channel_affine": SPREAD, "binary_cross_entropy": CERTAIN,
    "astype": "Scale the values first: float32 ends at 3.4e38",
    "inv": "The matrix is singular: add a small multiple of the identity",
    "solve": "The matrix is singular: add a small multiple of the identity",
    "cholesky": "The matrix is not positive definite: add a small multiple of the identity",
}
GRADIENTS = {  # in the gradient of that op
    "sqrt": ROOT, "hypot": ROOT, "norm": SPREAD, "channel_affine": SPREAD, "acos": ANGLE,
    "asin": ANGLE, "log": LOG, "log2": LOG, "log10": LOG, "log1p": LOG, "divide": DIVIDE,
    "reciprocal": DIVIDE, "power": BASE, "binary_cross_entropy": CERTAIN, "exp": EXP,
    "softmax": MASKED, "log_softmax": MASKED,
}
UNUSED = ("The result is not used there (its gradient is 0), but 0 times infinity is NaN: choose "
          "the input of {} with where, not its result")
LATE = "0 times infinity is NaN: choose with where(mask, x, 0) instead of multiplying by a mask"


@dataclass(frozen=True)
class Fault:
    """One NaN or infinity.

    Attributes
    ----------
    op : str
        The op that made it; in the backward pass the op whose gradient it is.
    rule : str
        In the backward pass the op inside of the gradient rule, else "".
    phase : str
        ``"forward"``, ``"backward"``, ``"recomputed"`` or ``"optimizer"``.
    site, layer : str
        The source line (of the forward pass) and the layer path; "" where there is none.
    value : str
        ``"nan"``, ``"inf"`` or ``"-inf"``.
    index : tuple of int
        Of the first bad element.
    count, size : int
        Bad elements, and all.
    inputs : str
        What it was made of: the inputs at that index, or their ranges.
    kind : str
        ``"born"`` (the inputs were finite), ``"infinity"`` (made of one), ``"data"`` or
        ``"parameter"`` (it came from outside, in a tensor or in a weight).
    hint : str
        What helps.
    """

    op: str
    rule: str
    phase: str
    site: str
    layer: str
    value: str
    index: tuple[int, ...]
    count: int
    size: int
    inputs: str
    kind: str
    hint: str

    def __str__(self) -> str:
        what = f"the gradient of {self.op}" if self.phase == "backward" else self.op
        where = [f"at {self.site}" * bool(self.site), f"in {self.layer}" * bool(self.layer)]
        return " ".join([what, *filter(None, where)])


def spot(array: np.ndarray) -> tuple[str, tuple[int, ...], int]:
    """Return the first bad value of an array, its index, and how many there are: NaN before inf."""
    bad = np.isnan(array)
    if not bad.any():
        bad = ~np.isfinite(array)
    index = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
    return str(float(array[index])), index, int(bad.sum())


def at(index: tuple[int, ...]) -> str:
    """Return an index as it is written in Python."""
    return f"[{', '.join(map(str, index))}]" if index else ""


def describe(scene: Scene, op: Op, inputs: Sequence[Tensor], array: np.ndarray,
             kind: str = "born") -> Fault:
    """Return what is known of the bad values that an op has just made."""
    value, index, count = spot(array)
    place = scene.place
    backward = place.phase == "backward" and hasattr(scene.node, "op")
    name = scene.node.op.name if backward else op.name
    here: list[float] = []
    if op.elementwise and op.inputs:
        here = [float(np.broadcast_to(x.data, array.shape)[index]) for x in inputs]
        made = ", ".join(f"{n}{at(index)} = {v:.6g}" for n, v in zip(op.inputs, here, strict=True))
    else:
        some = inputs[:3] if not op.variadic else inputs[:1]
        made = ", ".join(f"{label(op, i)} {extent(x.data)}" for i, x in enumerate(some))
    help_ = (GRADIENTS if backward else HINTS).get(name, GROWN)
    if value == "nan" and 0.0 in here:
        if backward and op.name in ("divide", "multiply"):
            help_ = UNUSED.format(name)
        elif any(np.isinf(here)):
            help_ = LATE
    return Fault(name, op.name if backward else "", place.phase, place.site, place.path, value,
                 index, count, array.size, made, kind, help_)


def label(op: Op, i: int) -> str:
    """Return the name of an op's input."""
    return f"input {i}" if op.variadic else op.inputs[i]


def extent(array: np.ndarray) -> str:
    """Return the range of an array's finite values in words."""
    if array.dtype.kind != "f":
        return f"of {array.dtype}"
    finite = array[np.isfinite(array)]
    if not finite.size:
        return f"{array.shape} of nothing finite"
    text = f"{array.shape} from {finite.min():.4g} to {finite.max():.4g}"
    return text if finite.size == array.size else f"{text}, besides {array.size - finite.size} " + (
        "NaN" if np.isnan(array).any() else "infinite")


def from_outside(scene: Scene, op: Op, i: int, x: Tensor) -> Fault:
    """Return what is known of bad values that no op has made, in input i of one."""
    value, index, count = spot(x.data)
    place = scene.place
    module = scene.modules[0] if scene.modules else place.module
    name = next((n for n, p in module.named_parameters() if p is x), "") if module else ""
    known = isinstance(x, Parameter) or bool(name)
    if known:
        kind, text = "parameter", f"parameter {name}" if name else "a parameter"
        help_ = "Load a checkpoint from before, or initialise the weights again"
    else:
        kind, text = "data", f"input {label(op, i)!r}"
        frame = caller()[0]
        around = list(frame.f_locals.items()) if frame else []
        variable = next((n for own in (x, x.data) for n, v in around if v is own), "")
        text += f" (the variable {variable})" * bool(variable)
        help_ = ("Look for NaN and infinity in the data (np.isfinite) and leave out or fill in "
                 "those samples before training")
    return Fault(op.name, "", place.phase, place.site, place.path, value, index, count,
                 x.data.size, text, kind, help_)


def report(fault: Fault, became: Fault | None = None, source: Fault | None = None,
           reached: str = "") -> NonFiniteError:
    """Return the error: the first fault, and what is known of what came before and after.

    ``became`` made NaN of the infinity; ``source`` is where infinity came in from outside;
    ``reached`` says where it has arrived.
    """
    got = f"{fault.value} at {list(fault.index)} ({fault.count} of {fault.size} elements)"
    if fault.kind in ("data", "parameter"):
        got = f"{got} in {fault.inputs}, which came from outside"
    else:
        got = f"{got} from {fault.inputs}"
        if fault.rule and fault.rule != fault.op:
            got += f" ({fault.rule} in its rule)"
    if became is not None:
        got += f"; {became} made NaN of it, from {became.inputs}"
    if source is not None:
        got += f"; the infinity came from outside, in {source.inputs} of {source}"
    if reached:
        got += f"; it has reached {reached}"
    help_ = fault.hint
    if became is not None and became.hint == LATE:
        help_ += f". {LATE}"
    error = NonFiniteError(say(f"{fault} ({fault.phase})", "finite values", got, help_))
    error.fault, error.became = fault, became
    return error
