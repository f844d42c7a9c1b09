"""Convolution with what follows it: an activation, or an activation and max pooling.

Neither of them keeps or computes anything twice: the derivatives of ``ACTIVATIONS`` are functions
of the output, so the output is what is kept, and with pooling the place of each maximum in a byte.
The gradient at full resolution is never an array: the gradient kernels expand it row by row. All
bits are those of the separate ops.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, ParameterError, ShapeError, say
from ..op import OPS, Op, apply, define
from ..tensor import Tensor
from .conv import (
    CONV_GRAD_INPUT,
    CONV_GRAD_WEIGHT,
    Pairs,
    Shape,
    bias_gradient,
    checked,
    conv_infer,
    output_sizes,
    products,
    same_shape,
    wide,
    without_bias,
)
from .elementwise import F
from .linalg import same_float
from .pool import MAX_POOL_TAKE, Sliding
from .shape import astype, broadcast_to, reshape

__all__ = ["ACTIVATIONS", "CONV_ACTIVATION", "CONV_POOL", "LARGEST_POOL", "fusible"]

# whose derivative is a function of y; of leaky_relu for slopes of at least 0
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "selu", "sigmoid", "tanh")
LARGEST_POOL = 256  # entries of a window: a place is a byte


def fusible(activation: str, parameters: tuple[float, ...]) -> bool:
    """Tell whether an activation (or "") has its derivative in its output."""
    return not activation or (activation in ACTIVATIONS and (
        activation != "leaky_relu" or parameters[0] >= 0))


def _check_activation(where: str, activation: str, parameters: tuple[float, ...]) -> None:
    """Raise unless the activation is one that a convolution can apply."""
    known = activation in ACTIVATIONS or not activation
    if not known or len(parameters) != (len(OPS[activation].params) if activation else 0):
        raise ParameterError(say(where, f"one of the activations {', '.join(ACTIVATIONS)}, with "
                                 "its parameters", f"{activation!r} {parameters}",
                                 "Apply others behind the convolution"))
    if not fusible(activation, parameters):
        raise ParameterError(say(where, "a slope of at least 0", repr(parameters[0]),
                                 "Apply leaky_relu behind the convolution"))


def _pull(g: Tensor, y: Tensor, activation: str, parameters: tuple[float, ...]) -> Tensor:
    """Return the gradient before the activation."""
    if not activation:
        return g
    named = dict(zip(OPS[activation].params, parameters, strict=True))
    return F[f"{activation}_grad"](g, y, **named)


def _applied(activation: str, parameters: tuple[float, ...], shape: Shape) -> int:
    """Count the operations of an activation."""
    if not activation:
        return 0
    named = dict(zip(OPS[activation].params, parameters, strict=True))
    return OPS[activation].work([], [(shape, None)], named)[1]


# ---- y = f(conv(x, weight) + bias) ------------------------------------------------------------


def _activation_infer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, stride: Shape,
                      padding: Pairs, dilation: Shape, groups: int, activation: str,
                      parameters: tuple[float, ...]) -> tuple[Shape, Any]:
    _check_activation(f"conv{len(stride)}d", activation, parameters)
    return conv_infer(x, weight, bias, stride=stride, padding=padding, dilation=dilation,
                      groups=groups)


def _activation_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                        params: dict[str, Any]) -> list[Any]:
    return [*wide([*arrays, *outs], params), params["activation"], params["parameters"]]


def _activation_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    out = outs[0][0]
    flops = 2 * products(arrays[0].shape, arrays[1].shape, out, params["stride"],
                         params["padding"], params["dilation"])
    return flops, math.prod(out) + _applied(params["activation"], params["parameters"], out)


def _activation_vjp(g: Tensor, x: Tensor, weight: Tensor, y: Tensor, needs: Any, stride: Shape,
                    padding: Pairs, dilation: Shape, groups: int, activation: str,
                    parameters: tuple[float, ...]) -> tuple[Tensor | None, ...]:
    g = _pull(g, y, activation, parameters)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (apply(CONV_GRAD_INPUT, g, weight, sizes=x.data.shape[1:-1], **geometry)
            if needs[0] else None,
            apply(CONV_GRAD_WEIGHT, x, g, kernel=weight.data.shape[1:-1], **geometry)
            if needs[1] else None,
            bias_gradient(g) if needs[2] else None)


CONV_ACTIVATION: Op = define(
    "conv_activation", infer=_activation_infer, kernel="conv_activation",
    prepare=_activation_prepare, vjp=_activation_vjp, work=_activation_work,
    onnx="Conv and the activation's",
    doc="y = f(b_f + sum_kc w_fkc x_(o stride - padding + k dilation)c), f an activation")


# ---- y = max over windows of f(conv(x, weight) + bias) ----------------------------------------


def _pooled(shape: Shape, pool: Shape) -> Shape:
    """Return the shape behind the windows; raise where there is none."""
    where = f"conv{len(pool)}d"
    if len(pool) != len(shape) - 2 or min(pool) < 1 or math.prod(pool) > LARGEST_POOL:
        raise ParameterError(say(where, f"pool of {len(shape) - 2} sizes of at least 1, of at most "
                                 f"{LARGEST_POOL} entries", str(pool),
                                 "Use a max pooling layer for larger windows"))
    sizes = tuple([n // p for n, p in zip(shape[1:-1], pool, strict=True)])
    if min(sizes) < 1:
        raise ShapeError(say(where, f"at least {pool} outputs of the convolution for a window",
                             str(shape[1:-1]), "Use a smaller pool"))
    return shape[0], *sizes, shape[-1]


def _pool_infer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, stride: Shape,
                padding: Pairs, dilation: Shape, groups: int, activation: str,
                parameters: tuple[float, ...], pool: Shape) -> list[Any]:
    full, dtype = _activation_infer(
        x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups,
        activation=activation, parameters=parameters)
    shape = _pooled(full, pool)
    return [(shape, dtype), (shape, np.uint8)]


def _three(sizes: Shape) -> Shape:
    return (1,) * (3 - len(sizes)) + sizes


def _pool_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> list[Any]:
    return [*_activation_prepare(arrays, outs, params), _three(params["pool"]),
            _three(_full(arrays[0].shape, arrays[1].shape, params)[1:-1])]


def _full(x: Shape, weight: Shape, params: Any) -> Shape:
    """Return the shape before the pooling."""
    return (*x[:1], *output_sizes(x[1:-1], weight[1:-1], params["stride"], params["padding"],
                                  params["dilation"]), weight[0])


def _pool_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    full = _full(arrays[0].shape, arrays[1].shape, params)
    flops, other = _activation_work(arrays, [(full, None)], params)
    return flops, other + math.prod(outs[0][0]) * (math.prod(params["pool"]) - 1)


def _pool_vjp(g: Tensor, g_index: Tensor, x: Tensor, weight: Tensor, y: Tensor, index: Tensor,
              needs: Any, stride: Shape, padding: Pairs, dilation: Shape, groups: int,
              activation: str, parameters: tuple[float, ...],
              pool: Shape) -> tuple[Tensor | None, ...]:
    g = _pull(g, y, activation, parameters)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
                "pool": pool}
    sizes = output_sizes(x.data.shape[1:-1], weight.data.shape[1:-1], stride, padding, dilation)
    return (apply(CONV_POOL_GRAD_INPUT, g, index, weight, sizes=x.data.shape[1:-1], **geometry)
            if needs[0] else None,
            apply(CONV_POOL_GRAD_WEIGHT, x, g, index, kernel=weight.data.shape[1:-1], **geometry)
            if needs[1] else None,
            apply(CONV_POOL_GRAD_BIAS, g, index, pool=pool, sizes=sizes) if needs[2] else None)


CONV_POOL: Op = define(
    "conv_pool", infer=_pool_infer, kernel="conv_pool", outputs=("y", "index"),
    prepare=_pool_prepare, vjp=_pool_vjp, work=_pool_work,
    onnx="Conv, the activation's and MaxPool",
    doc="y = max over windows of conv_activation, index = the first place of it in the window")


# ---- its gradients ----------------------------------------------------------------------------


def _same_places(where: str, g: np.ndarray, index: np.ndarray, full: Shape, pool: Shape) -> None:
    """Raise unless g and index are what a convolution of this shape gives behind windows."""
    same_shape(where, "g", g.shape, _pooled(full, pool))
    if index.shape != g.shape:
        raise ShapeError(say(where, f"places of shape {g.shape}", str(index.shape),
                             "Pass what conv_pool gave"))
    if index.dtype != np.uint8:
        raise DTypeError(say(where, "places as uint8", str(index.dtype),
                             "Pass what conv_pool gave"))


def _grad_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> list[Any]:
    x, weight = params["sizes"], params["kernel"]
    return [*wide([*arrays, *outs], params), _three(params["pool"]), _three(output_sizes(
        x, weight, params["stride"], params["padding"], params["dilation"]))]


def _where_inside(index: Tensor, pool: Shape, y: Tensor) -> Tensor:
    """Return y where a place lies in its window, 0 elsewhere."""
    return F["where"](astype(index, np.int32) < math.prod(pool), y, 0.0)


def _at_places(y: Tensor, index: Tensor, pool: Shape) -> Tensor:
    """Return the entries of y at full resolution that places of windows name."""
    place = astype(index, np.int32)
    flat: Any = 0  # row-major within an image
    for axis, (p, size) in enumerate(zip(pool, y.data.shape[1:-1], strict=True)):
        n = index.data.shape[axis + 1]
        first = (np.arange(n, dtype=np.int32) * p).reshape(n, *(1,) * (len(pool) - axis))
        flat = place // math.prod(pool[axis + 1:]) % p + Tensor(first) + flat * size
    windows = tuple([Sliding(p, p) for p in pool])
    return _where_inside(index, pool, apply(MAX_POOL_TAKE, y, flat, windows=windows))


def _input_infer(g: np.ndarray, index: np.ndarray, weight: np.ndarray, *, sizes: Shape,
                 stride: Shape, padding: Pairs, dilation: Shape, groups: int,
                 pool: Shape) -> tuple[Shape, Any]:
    where = "conv_pool_grad_input"
    same_float(where, "g weight", g, weight)
    x = (*g.shape[:1], *sizes, weight.shape[-1] * groups if weight.ndim else 0)
    _same_places(where, g, index, checked(x, weight.shape, stride, padding, dilation, groups), pool)
    return x, g.dtype


def _input_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                   params: dict[str, Any]) -> list[Any]:
    return _grad_prepare(arrays, outs, {**params, "kernel": arrays[2].shape[1:-1]})


def _input_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    x, weight = outs[0][0], arrays[2].shape
    return 2 * products(x, weight, _full(x, weight, params), params["stride"], params["padding"],
                        params["dilation"]), 0


def _input_vjp(u: Tensor, g: Tensor, index: Tensor, weight: Tensor, needs: Any, sizes: Shape,
               stride: Shape, padding: Pairs, dilation: Shape, groups: int,
               pool: Shape) -> tuple[Tensor | None, ...]:
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    to_g = (_at_places(without_bias(u, weight, **geometry), index, pool) if needs[0]
            else None)
    to_weight = apply(CONV_POOL_GRAD_WEIGHT, u, g, index, kernel=weight.data.shape[1:-1],
                      pool=pool, **geometry) if needs[2] else None
    return to_g, None, to_weight


CONV_POOL_GRAD_INPUT: Op = define(
    "conv_pool_grad_input", infer=_input_infer, kernel="conv_pool_grad_input",
    prepare=_input_prepare, vjp=_input_vjp, work=_input_work, linear=[("g",), ("weight",)],
    onnx="none: a gradient",
    doc="y = conv_grad_input of g at the places and 0 elsewhere")


def _weight_infer(x: np.ndarray, g: np.ndarray, index: np.ndarray, *, kernel: Shape,
                  stride: Shape, padding: Pairs, dilation: Shape, groups: int,
                  pool: Shape) -> tuple[Shape, Any]:
    where = "conv_pool_grad_weight"
    same_float(where, "x g", x, g)
    weight = (*g.shape[-1:], *kernel, max(1, (x.shape[-1] if x.ndim else 0) // max(1, groups)))
    _same_places(where, g, index, checked(x.shape, weight, stride, padding, dilation, groups), pool)
    return weight, x.dtype


def _weight_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                    params: dict[str, Any]) -> list[Any]:
    return _grad_prepare(arrays, outs, {**params, "sizes": arrays[0].shape[1:-1]})


def _weight_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    x, weight = arrays[0].shape, outs[0][0]
    return 2 * products(x, weight, _full(x, weight, params), params["stride"], params["padding"],
                        params["dilation"]), 0


def _weight_vjp(u: Tensor, x: Tensor, g: Tensor, index: Tensor, needs: Any, stride: Shape,
                padding: Pairs, dilation: Shape, groups: int,
                pool: Shape) -> tuple[Tensor | None, ...]:
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    to_x = apply(CONV_POOL_GRAD_INPUT, g, index, u, sizes=x.data.shape[1:-1], pool=pool,
                 **geometry) if needs[0] else None
    to_g = _at_places(without_bias(x, u, **geometry), index, pool) if needs[1] else None
    return to_x, to_g, None


CONV_POOL_GRAD_WEIGHT: Op = define(
    "conv_pool_grad_weight", infer=_weight_infer, kernel="conv_pool_grad_weight",
    prepare=_weight_prepare, vjp=_weight_vjp, work=_weight_work, linear=[("x",), ("g",)],
    onnx="none: a gradient",
    doc="y = conv_grad_weight of g at the places and 0 elsewhere")


def _bias_infer(g: np.ndarray, index: np.ndarray, *, pool: Shape,
                sizes: Shape) -> tuple[Shape, Any]:
    _same_places("conv_pool_grad_bias", g, index, (*g.shape[:1], *sizes, *g.shape[-1:]), pool)
    return g.shape[-1:], g.dtype


def _bias_prepare(arrays: list[np.ndarray], outs: list[np.ndarray],
                  params: dict[str, Any]) -> list[Any]:
    ones = (1,) * (3 - len(params["pool"]))
    return [*[a.reshape(a.shape[0], *ones, *a.shape[1:]) for a in arrays], outs[0],
            _three(params["pool"]), _three(params["sizes"])]


def _bias_work(arrays: Any, outs: Any, params: Any) -> tuple[int, int]:
    N, F = arrays[0].shape[0], arrays[0].shape[-1]
    return 0, max(0, N * math.prod(params["sizes"]) * F - F)


def _bias_vjp(u: Tensor, index: Tensor, g_shape: Shape, pool: Shape) -> Tensor:
    return _where_inside(index, pool, broadcast_to(
        reshape(u, (1,) * (len(g_shape) - 1) + (-1,)), g_shape))


CONV_POOL_GRAD_BIAS: Op = define(
    "conv_pool_grad_bias", infer=_bias_infer, kernel="conv_pool_grad_bias", prepare=_bias_prepare,
    vjp={"g": _bias_vjp}, work=_bias_work, linear=[("g",)], onnx="none: a gradient",
    doc="y = sum of g over all places, in the order of a sum over full resolution")
