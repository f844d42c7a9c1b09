"""A rule that rounds differently: upsampling and convolution at the low resolution.

Nearest-neighbour upsampling by 2 and a k x k convolution with "same" padding are four convolutions
of the low resolution, one for each parity of the output's row and column, whose kernels are sums
of the k x k kernel's entries. With t = 2 floor((k + 1) / 4) + 1 places each they are one
convolution with four times the features: 36 instead of 100 multiplications for k = 5. Weights are
summed by a matrix product, w4 = K w, so that the gradient of w is K^T times that of w4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ..ops.pool import Adjoint
from ..ops.upsample import Nearest
from ..tensor import Constant
from .epilogues import GEOMETRY, own
from .record import Line, Program, Value, packed
from .writer import Writer, settle

__all__ = ["upsampling"]


def folding(k: int) -> np.ndarray:
    """Return the (4 t^2, k^2) matrix of sums: rows (row parity, column parity, t, t)."""
    p, q = k // 2, (k + 1) // 4
    line = np.zeros((2, 2 * q + 1, k))
    for parity in (0, 1):
        for place in range(k):
            line[parity, (parity + place - p) // 2 + q, place] = 1
    return np.einsum("aok,bpl->abopkl", line, line).reshape(-1, k * k)


class Site:
    """An upsampling with a convolution that reads it, plain or transposed."""

    def __init__(self, program: Program, up: Line, conv: Line):
        self.program, self.up, self.conv = program, up, conv
        self.transposed = own(conv, "conv_grad_input")
        self.x, self.wide, self.weight = up.inputs[0], up.outputs[0], conv.inputs[1]
        self.k = self.weight.shape[1]
        self.q = (self.k + 1) // 4
        self.N, self.H, self.W, self.C = self.x.shape
        self.F = conv.outputs[0].shape[-1]
        sums = folding(self.k)[:, ::-1] if self.transposed else folding(self.k)
        self.sums = self.constant(np.ascontiguousarray(sums))
        self.geometry = {"stride": (1, 1), "padding": ((self.q, self.q),) * 2,
                         "dilation": (1, 1), "groups": 1}
        self.narrow: dict[Value, Value] = {}  # gradients, one row of 4 F numbers a low pixel

    def constant(self, array: np.ndarray) -> Value:
        """Return a constant of the convolution's dtype."""
        array = array.astype(self.x.dtype)
        return self.program.value(array, "constant", Constant(array))

    def forward(self) -> list[Line]:
        """Write the convolution at the low resolution, and spread its features over the pixels."""
        write, t = Writer(self.program, self.conv, "upsampling"), 2 * self.q + 1
        first, last = self.weight.shape[0], self.weight.shape[-1]
        flat = write("reshape", self.weight, shape=(first, self.k**2, last))
        summed = write("matmul", self.sums, flat, transpose_a=False, transpose_b=False)
        axes = (1, 2, 5, 3, 4, 0) if self.transposed else (1, 2, 0, 3, 4, 5)
        self.w4 = write.turned(summed, (first, 2, 2, t, t, last), axes, (4 * self.F, t, t, self.C))
        if self.transposed:
            bias = self.constant(np.zeros(4 * self.F))
        else:
            bias = write("concat", *[self.conv.inputs[2]] * 4, axis=0)
        y = write("conv", self.x, self.w4, bias, **self.geometry)
        N, H, W, F = self.N, self.H, self.W, self.F
        made = write.turned(y, (N, H, W, 2, 2, F), (0, 1, 3, 2, 4, 5), (N, 2 * H, 2 * W, F))
        write.give(made, self.conv.outputs[0])
        return write.lines

    def gather(self, write: Writer, g: Value) -> Value:
        """Write the gradient of the output as that of the low-resolution convolution."""
        if g not in self.narrow:
            N, H, W, F = self.N, self.H, self.W, self.F
            self.narrow[g] = write.turned(g, (N, H, 2, W, 2, F), (0, 1, 3, 2, 4, 5),
                                          (N, H, W, 4 * F))
        return self.narrow[g]

    def to_weight(self, line: Line) -> list[Line]:
        """Write the gradient of the weight in place of a line."""
        write, t = Writer(self.program, line, "upsampling"), 2 * self.q + 1
        g4 = self.gather(write, line.inputs[0 if self.transposed else 1])
        d4 = write("conv_grad_weight", self.x, g4, kernel=(t, t), **self.geometry)
        first, last = self.weight.shape[0], self.weight.shape[-1]
        axes = (5, 0, 1, 3, 4, 2) if self.transposed else (2, 0, 1, 3, 4, 5)
        rows = write.turned(d4, (2, 2, self.F, t, t, self.C), axes, (first, 4 * t * t, last))
        d = write("matmul", self.sums, rows, transpose_a=True, transpose_b=False)
        write.give(write("reshape", d, shape=self.weight.shape), line.outputs[0])
        return write.lines

    def to_input(self, line: Line, g: Value) -> list[Line]:
        """Write the gradient of the low-resolution input in place of a line."""
        write = Writer(self.program, line, "upsampling")
        g4 = self.gather(write, g)
        d = write("conv_grad_input", g4, self.w4, sizes=(self.H, self.W), **self.geometry)
        write.give(d, line.outputs[0])
        return write.lines


def twice(line: Line) -> bool:
    """Tell whether a line repeats each pixel of images 2 x 2 times."""
    return own(line, "resample") and len(line.inputs[0].shape) == 4 and all(
        isinstance(w, Nearest) and w.scale == 0.5 and w.step == 1 and w.n == 2 * size
        for w, size in zip(line.params["windows"], line.inputs[0].shape[1:], strict=False))


def same(line: Line, weight: Value) -> bool:
    """Tell whether a line is a plain k x k convolution of that weight that keeps the size."""
    k = weight.shape[1]
    return len(weight.shape) == 4 and weight.shape[2] == k and k % 2 == 1 and k >= 5 and (
        [line.params[key] for key in GEOMETRY] == [(1, 1), ((k // 2,) * 2,) * 2, (1, 1), 1])


def sites(program: Program) -> Iterator[Site]:
    """Yield upsamplings and the convolutions that read them."""
    ups = {line.outputs[0]: line for line in program.lines if twice(line)}
    for line in program.lines:
        if not (own(line, "conv") or own(line, "conv_grad_input")) or line.inputs[0] not in ups:
            continue
        x, weight = ups[line.inputs[0]].inputs[0], line.inputs[1]
        if same(line, weight) and all(
                v.strides == packed(v.shape, v.dtype.itemsize) for v in (x, weight)):
            yield Site(program, ups[line.inputs[0]], line)


def replacements(program: Program, site: Site) -> dict[int, Callable[[], list[Line]]]:
    """Return what is to be written in place of which lines, by their numbers."""
    makers = {v: line for line in program.lines for v in line.outputs}
    back = "conv" if site.transposed else "conv_grad_input"
    found: dict[int, Callable[[], list[Line]]] = {}
    for i, line in enumerate(program.lines):
        if line is site.conv:
            found[i] = site.forward
        elif own(line, "conv_grad_weight") and same(line, site.weight) and (
                line.inputs[site.transposed] is site.wide):
            found[i] = partial(site.to_weight, line)
        elif own(line, "resample") and line.outputs[0].shape == site.x.shape:
            maker = makers.get(line.inputs[0])
            if maker is not None and own(maker, back) and maker.inputs[1] is site.weight and (
                    same(maker, site.weight)) and all(
                        isinstance(w, Adjoint) and w.window == v for w, v in zip(
                            line.params["windows"], site.up.params["windows"], strict=True)):
                found[i] = partial(site.to_input, line, maker.inputs[0])
    return found


def upsampling(program: Program) -> int:
    """Compute upsampling and convolution, there and back, at the low resolution."""
    changes = 0
    for site in list(sites(program)):
        instead = replacements(program, site)
        roots = {site.x.root, site.weight.root, site.conv.outputs[0].root}
        span = program.lines[program.lines.index(site.up): max(instead) + 1]
        if any(value.root in roots for line in span for value in line.writes):
            continue  # the gradients would see other numbers than the forward pass
        program.lines = [new for i, line in enumerate(program.lines)
                         for new in (instead[i]() if i in instead else [line])]
        settle(program)
        changes += 1
    return changes
