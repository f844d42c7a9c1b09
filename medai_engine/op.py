"""The op record, and ``apply``: the only gate through which computation happens.

An op is one record. Eager execution, gradients, gradient checks, costs and documentation all read
that record; nothing about an op is written twice. The life of one call:

    coerce inputs -> infer (validates) -> check values -> kernel writes ``out`` -> Node

Broadcasting of gradients, contiguity, dtypes, result memory and the mask of wanted gradients are
handled here, once; a gradient rule only states the mathematics, with ops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from . import kernels
from .autograd import Node, Slot
from .coerce import as_array, promote, weak
from .kernels import empty, ready
from .mode import MODE
from .tensor import Tensor, mark_written

__all__ = ["OPS", "Cost", "Op", "apply", "define", "short_binary", "short_unary"]

OPS: dict[str, Op] = {}

Spec = tuple[tuple[int, ...], Any]


class Cost(NamedTuple):
    """What one call of an op costs."""

    contraction: int  # floating-point operations of sums of products (2 per multiply-add)
    other: int  # scalar operations outside contractions
    read: int  # bytes
    written: int  # bytes


class Rule(NamedTuple):
    """One gradient rule with the sources of its arguments behind ``g``."""

    function: Callable[..., Any]
    arguments: tuple[tuple[str, Any], ...]  # (kind, key), see Op._read
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Return positional names, keyword-only names, and whether a starred name takes the rest."""
    code = function.__code__
    positional, keywords = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    starred = bool(code.co_flags & 4)  # CO_VARARGS: the starred name follows the keyword-only ones
    rest = names[positional + keywords: positional + keywords + starred]
    return names[:positional] + rest, names[positional: positional + keywords], starred


class Op:
    """One operation: shape rule, kernel, gradient rule, cost, documentation.

    Attributes
    ----------
    name : str
        Unique name in ``OPS``.
    infer : callable
        ``infer(*arrays, **params)`` validates and returns ``(shape, dtype)``, or a list of them
        for several outputs. Its positional parameters name the inputs (a starred one takes any
        number), its keyword-only ones the params. The only validator of user input.
    vjp : mapping or callable or None
        Per input name a rule ``rule(g, ...)``, or one rule for all inputs that returns a tuple.
        The names of a rule's parameters say what is kept from the forward pass: an input, an
        output, ``<input>_shape`` (keeps nothing), a param, or ``needs``. A joint rule takes as
        many cotangents as the op has outputs first. Made rules give the names beside the
        function: ``("x alpha", rule)``.
    kernel : str or None
        The kernel that computes it; without one, ``definition`` runs.
    definition : callable
        The NumPy text: ``definition(*arrays, *outs, *geometry)``; for views it returns the view.
    prepare : callable or None
        ``prepare(arrays, outs, params)`` gives the kernel's arguments; without one they are
        inputs, outputs and the params in order.
    work, workspace : callable
        ``work(arrays, outs, params)`` gives (contraction flops, other scalar operations);
        ``workspace`` the bytes that the fast kernel takes, if that is not None and grows with N.
    writes : callable or None
        ``writes(count, **params)`` gives the numbers of the inputs that the op updates in place;
        such an op has no outputs.
    inplace : sequence of str
        Inputs whose memory the result may take (for plans).
    linear : sequence of groups of input names
        In each group jointly the op is linear: (("a", "b"),) for a + b, (("a",), ("b",)) for a b.
    analytic : bool
        Whether the reference takes complex steps.
    elementwise : str
        "" or how dtypes behave: "float" (integers become float32), "same", "bool" (the result).
    strided : bool
        Whether the kernel takes inputs of any strides.
    onnx : str
        The ONNX operator, or the reason for none.
    names : pair of tuples, optional
        Inputs and params, where ``infer`` is one function for many ops and cannot name them.
    check : callable or None
        ``check(*arrays, **params)`` looks at values (labels, indices) before anything is written.
    """

    __slots__ = ("analytic", "check", "compiled", "definition", "doc", "elementwise", "infer",
                 "inplace", "inputs", "joint", "kernel", "linear", "name", "onnx", "outputs",
                 "params", "plans", "prepare", "rules", "strided", "variadic", "view",
                 "vjp", "work", "workspace", "writes")

    def __init__(self, name: str, *, infer: Callable[..., Any], doc: str,
                 vjp: Mapping[str, Any] | Callable[..., Any] | None = None,
                 kernel: str | None = None, definition: Callable[..., Any] | None = None,
                 outputs: Sequence[str] = ("y",), prepare: Callable[..., Any] | None = None,
                 work: Callable[..., tuple[int, int]] | None = None,
                 workspace: Callable[..., int] | None = None, view: bool = False,
                 check: Callable[..., None] | None = None,
                 writes: Callable[..., Sequence[int]] | None = None, inplace: Sequence[str] = (),
                 linear: Sequence[Sequence[str]] = (), analytic: bool = False,
                 elementwise: str = "", strided: bool = False, onnx: str = "",
                 names: tuple[tuple[str, ...], tuple[str, ...]] | None = None):
        self.name = name
        self.infer = infer
        self.doc = doc
        self.kernel = kernel
        self.outputs = tuple(outputs)
        self.prepare = prepare
        self.work = work or (lambda arrays, outs, params: (0, 0))
        self.workspace = workspace
        self.check = check
        self.view = view
        self.writes = writes
        self.inplace = tuple(inplace)
        self.linear = tuple(tuple(group) for group in linear)
        self.analytic = analytic
        self.elementwise = elementwise
        self.strided = strided or bool(elementwise)
        self.onnx = onnx
        self.inputs, self.params, self.variadic = parameters(infer)
        if names is not None:
            self.inputs, self.params, self.variadic = (*names, False)
        if definition is not None:
            self.definition = definition
        else:
            self.definition = kernels.lookup(str(kernel), "reference")
        self.compiled = (kernels.lookup(kernel, "fast") if kernel and kernels.COMPILED
                         else self.definition)
        self.vjp = vjp
        self.joint = callable(vjp)
        self.rules: dict[Any, Rule] = {}
        if callable(vjp):
            self.rules[None] = self._read(vjp, len(self.outputs))
        elif vjp:
            for key, function in vjp.items():
                self.rules[self.inputs.index(key)] = self._read(function, len(self.outputs))
        self.plans: dict[tuple[bool, ...], tuple[bool, ...]] = {}

    def _read(self, function: Any, cotangents: int) -> Rule:
        """Find where each argument of a gradient rule comes from."""
        if isinstance(function, tuple):
            names, function = function[0].split(), function[1]
        else:
            names = parameters(function)[0][cotangents:]
        arguments: list[tuple[str, Any]] = []
        for name in names:
            if name == "needs":
                arguments.append(("needs", None))
            elif name in self.inputs:
                arguments.append(("input", self.inputs.index(name)))
            elif name in self.outputs:
                arguments.append(("output", self.outputs.index(name)))
            elif name in self.params:
                arguments.append(("param", name))
            elif name.endswith("_shape") and name[:-6] in self.inputs:
                arguments.append(("shape", self.inputs.index(name[:-6])))
            elif name == "shapes":
                arguments.append(("shapes", None))
            else:
                raise TypeError(f"op {self.name}: gradient rule asks for {name!r}, which is no "
                                f"input {self.inputs}, output {self.outputs} or param")
        return Rule(function, tuple(arguments),
                    tuple(key for kind, key in arguments if kind == "input"),
                    tuple(key for kind, key in arguments if kind == "output"))

    def keeps(self, mask: tuple[bool, ...]) -> tuple[bool, ...]:
        """Tell which inputs, then which outputs, the rules of the wanted gradients need."""
        found = self.plans.get(mask)
        if found is None:
            rules = ([self.rules[None]] if self.joint else
                     [rule for i, rule in self.rules.items() if mask[i]])
            inputs = {i for rule in rules for i in rule.inputs}
            outputs = {i for rule in rules for i in rule.outputs}
            found = self.plans[mask] = (
                *((bool(inputs),) * len(mask) if self.variadic
                  else (i in inputs for i in range(len(mask)))),
                *(i in outputs for i in range(len(self.outputs))))
        return found

    def cost(self, arrays: Sequence[np.ndarray], **params: Any) -> Cost:
        """Return what a call on these arrays costs: operations counted, bytes moved."""
        specs = specs_of(self, arrays, params)
        flops, other = self.work(arrays, specs, params)
        if self.view:
            return Cost(flops, other, 0, 0)
        if self.writes is not None:
            written = sum(arrays[i].nbytes for i in self.writes(len(arrays), **params))
        else:
            written = sum(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
                          for shape, dtype in specs)
        return Cost(flops, other, sum(a.nbytes for a in arrays), written)

    def __repr__(self) -> str:
        return f"<op {self.name}({', '.join(self.inputs + self.params)})>"


def define(name: str, **fields: Any) -> Op:
    """Register an op and return its record (see ``Op`` for the fields)."""
    if name in OPS:
        raise ValueError(f"op {name!r} is defined twice")
    op = OPS[name] = Op(name, **fields)
    return op


def specs_of(op: Op, arrays: Sequence[np.ndarray], params: Mapping[str, Any]) -> list[Spec]:
    """Run the shape rule; always a list, one (shape, dtype) per output."""
    spec = op.infer(*arrays, **params)
    return spec if isinstance(spec, list) else [spec]


def apply(op: Op, *inputs: Any, **params: Any) -> Any:
    """Compute an op on tensors, arrays and numbers; return its output tensor (or a tuple).

    The one place where shapes are checked, memory is found, the kernel of the current backend
    runs, and the result is tied to its inputs for the reverse pass.
    """
    mode: Any = MODE.get()
    if op.writes is not None and mode.frame is not None and mode.frame.replaying:
        return None  # written in the forward pass; running again only computes
    tensors = []
    arrays = []
    traced = False
    for x in promote(op, inputs) if op.elementwise else inputs:
        if not isinstance(x, Tensor):
            x = Tensor(as_array(x, op.name))
        elif x.node is not None:
            traced = True
        tensors.append(x)
        arrays.append(x.data)
    specs = op.infer(*arrays, **params)
    if op.check is not None:
        op.check(*arrays, **params)
    if op.view:
        outs = (op.definition(*arrays, **params) if mode.scene is None else
                mode.scene.time(partial(op.definition, **params), arrays))
        outs = outs if type(outs) is list else [outs]
    else:
        state = ready(arrays)
        given = tensors
        if not (state & 1 or op.strided):
            tensors = [t if t.data.flags.c_contiguous else apply(OPS["copy"], t) for t in tensors]
            arrays = [t.data for t in tensors]
        if op.writes is not None:
            outs = []
        else:
            outs = [empty(*spec) for spec in specs] if type(specs) is list else [empty(*specs)]
        if op.prepare is not None:
            arguments = op.prepare(arrays, outs, params)
        else:
            arguments = [*arrays, *outs, *[params[name] for name in op.params]]
        # compiled texts take float32 and float64, and no empty array
        ordinary = op.kernel is not None and state & 6 == 6
        if ordinary and mode.direct:
            op.compiled(*arguments)
        elif ordinary and mode.lean:
            mode.scene.began = perf_counter()
            op.compiled(*arguments)
            mode.scene.ended = perf_counter()
        else:
            run(op, arguments, ordinary, mode)
        if op.writes is not None:
            for i in op.writes(len(tensors), **params):
                if tensors[i] is not given[i]:  # a contiguous copy was updated
                    np.copyto(given[i].data, arrays[i])
                mark_written(given[i])
            if mode.scene is not None:
                mode.scene.told(mode, op, given, (), params)
                if mode.recorder is not None:
                    mode.recorder.record_write(op, given, tensors, params)
            return None
    if len(outs) == 1:
        result = Tensor(outs[0])
        if op.view:
            share(result, tensors[0])
        if traced and mode.grad and op.rules:
            attach(op, tensors, [result], params, mode)
        if mode.scene is not None:
            mode.scene.told(mode, op, tensors, (result,), params)
        return result
    results = [Tensor(out) for out in outs]
    if op.view:
        for result in results:
            share(result, tensors[0])
    if traced and mode.grad and op.rules:
        attach(op, tensors, results, params, mode)
    if mode.scene is not None:
        mode.scene.told(mode, op, tensors, results, params)
    return tuple(results)


def run(op: Op, arguments: Sequence[Any], ordinary: bool, mode: Any) -> None:
    """Run the text of the backend; ``ordinary``: the compiled ones can take these arrays."""
    if mode.backend == "none":  # a step that is only foreseen: shapes and nodes are all
        return
    if not ordinary or mode.backend == "reference":
        function = op.definition
    elif mode.backend == "fast":
        function = op.compiled
    else:
        function = kernels.lookup(str(op.kernel), mode.backend)
    scene = mode.scene
    if scene is None:
        function(*arguments)
    else:
        scene.began = perf_counter()
        function(*arguments)
        scene.ended = perf_counter()


def share(view: Tensor, source: Tensor) -> None:
    """Note whose storage a view shares, if it does."""
    memory = view.data.base
    if memory is not None and (memory is source.data or memory is source.data.base):
        view.base = source if source.base is None else source.base


def attach(op: Op, tensors: Sequence[Tensor], results: Sequence[Tensor],
           params: dict[str, Any], mode: Any) -> None:
    """Give the results the node through which gradients will flow."""
    edges: list[Any] = []
    kept: list[Any] = []
    shapes = []
    for t in tensors:
        edges.append(t.node)
        kept.append(t)
        shapes.append(t.data.shape)
    if not op.joint and len(op.rules) < len(edges):
        edges = [edge if i in op.rules else None for i, edge in enumerate(edges)]
        if edges.count(None) == len(edges):
            return
    single = len(results) == 1
    for result in results:
        kept.append(result.data)
    for i, keep in enumerate(op.keeps(tuple([edge is not None for edge in edges]))):
        if not keep:
            kept[i] = None
    node = Node(op, tuple(edges), tuple(kept), tuple(shapes), params,
                None if single else [(r.data.shape, r.data.dtype) for r in results])
    if mode.frame is not None:
        mode.frame.take(node, tensors)
    for i, result in enumerate(results):
        if result.data.dtype.kind == "f":
            result.node = node if single else Slot(node, i)


def short_binary(op: Op) -> Callable[[Any, Any], Tensor]:
    """Return the public function of an elementwise op of two inputs, with its short path.

    Where nothing watches and both are float tensors of one dtype, one call of the fast kernel
    allocates and computes; everything else, errors included, goes through ``apply``.
    """
    kernel = op.compiled
    get: Any = MODE.get
    first, second = 0 in op.rules, 1 in op.rules  # an input without a rule has no edge
    # which of a, b and the result to keep, by what requires a gradient
    left, right, both = (op.keeps(mask) for mask in ((True, False), (False, True), (True, True)))

    def function(a: Any, b: Any) -> Tensor:
        if not isinstance(b, Tensor):
            b = weak(b, a)
        elif not isinstance(a, Tensor):
            a = weak(a, b)
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            mode = get()
            if mode.short:
                x = a.data
                y = b.data
                out = kernel(x, y)
                if out is not None:
                    m = a.node if first else None
                    n = b.node if second else None
                    if m is None:
                        if n is None:
                            return Tensor(out)
                        keep = right
                    else:
                        keep = left if n is None else both
                    if not mode.grad:
                        return Tensor(out)
                    i, j, o = keep
                    return Tensor(out, Node(
                        op, (m, n), (a if i else None, b if j else None, out if o else None),
                        (x.shape, y.shape)))
            elif mode.lean:
                return mode.scene.short(mode, op, function, (a, b), {})
        return apply(op, a, b)

    return _named(function, op)


def short_unary(op: Op) -> Callable[[Any], Tensor]:
    """Return the public function of an elementwise op of one input, with its short path."""
    kernel = op.compiled
    get: Any = MODE.get
    rules = bool(op.rules)
    keep_x, keep_y = op.keeps((True,)) if rules else (False, False)

    def function(x: Any) -> Tensor:
        if isinstance(x, Tensor):
            mode = get()
            if mode.short:
                out = kernel(x.data)
                if out is not None:
                    edge = x.node
                    if edge is None or not (rules and mode.grad):
                        return Tensor(out)
                    return Tensor(out, Node(
                        op, (edge,), (x if keep_x else None, out if keep_y else None),
                        (out.shape,)))
            elif mode.lean:
                return mode.scene.short(mode, op, function, (x,), {})
        return apply(op, x)

    return _named(function, op)


def _named(function: Callable[..., Any], op: Op) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.doc
    return function


def bind(op: Op) -> Callable[..., Any]:
    """Return ``apply`` with its first argument filled in, named and documented."""
    return _named(lambda *inputs, **params: apply(op, *inputs, **params), op)

