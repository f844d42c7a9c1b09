"""Sums of products over named axes: einsum, tensordot, vecdot, outer, dot.

Every contraction of two arrays becomes one batched matrix product: axes are sorted into shared
ones that stay (batch), shared ones that are summed, and those of one side only.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from ..coerce import FLOATS
from ..errors import ParameterError, ShapeError, say
from ..op import apply
from ..tensor import Tensor
from .arrange import diagonal
from .axes import normalized
from .elementwise import F
from .linalg import MATMUL
from .shape import as_tensor, ints, permute_dims, reshape
from .statistics import sum as sum_along

__all__ = ["dot", "einsum", "outer", "tensordot", "vecdot"]

Labels = list[Hashable]


def _transposed(x: Tensor, labels: Labels, wanted: Sequence[Hashable]) -> Tensor:
    """Return x with its labelled axes in the wanted order."""
    order = [labels.index(name) for name in wanted]
    return x if order == list(range(x.ndim)) else permute_dims(x, order)


def _matrices(x: Tensor, labels: Labels, batch: Labels, rows: Labels,
              columns: Labels) -> tuple[Tensor, bool]:
    """Return x as matrices (batch, rows, columns), or as their transposes where x lies so."""
    lies = bool(rows and columns) and labels == batch + columns + rows
    first, second = (columns, rows) if lies else (rows, columns)
    sizes = dict(zip(labels, x.shape, strict=True))
    shape = [math.prod(sizes[name] for name in group) for group in (batch, first, second)]
    x = _transposed(x, labels, batch + first + second)
    wanted = tuple(shape if batch else shape[1:])
    return (x if x.shape == wanted else reshape(x, wanted)), lies


def _pair(a: Tensor, a_labels: Labels, b: Tensor, b_labels: Labels,
          keep: set[Hashable]) -> tuple[Tensor, Labels]:
    """Multiply two labelled arrays and sum over the shared labels that nobody else needs."""
    shared = [name for name in a_labels if name in b_labels]
    batch = [name for name in shared if name in keep]
    summed = [name for name in shared if name not in keep]
    left = [name for name in a_labels if name not in b_labels]
    right = [name for name in b_labels if name not in a_labels]
    labels = batch + left + right
    sizes = {**dict(zip(a_labels, a.shape, strict=True)),
             **dict(zip(b_labels, b.shape, strict=True))}
    shape = tuple(sizes[name] for name in labels)
    if summed and a.dtype in FLOATS and a.dtype == b.dtype:
        x, transpose_a = _matrices(a, a_labels, batch, left, summed)
        y, transpose_b = _matrices(b, b_labels, batch, summed, right)
        product = apply(MATMUL, x, y, transpose_a=transpose_a, transpose_b=transpose_b)
        return (product if product.shape == shape else reshape(product, shape)), labels
    # nothing to sum, or integers: axes (batch, left, summed, right), of size 1 where absent
    order = batch + left + summed + right
    x, y = (reshape(_transposed(t, names, [n for n in order if n in names]),
                    tuple(sizes[n] if n in names else 1 for n in order))
            for t, names in ((a, a_labels), (b, b_labels)))
    product = F["multiply"](x, y)
    first = len(batch) + len(left)
    return (sum_along(product, tuple(range(first, first + len(summed)))) if summed
            else product), labels


def _parse(subscripts: str, arrays: Sequence[Tensor]) -> tuple[list[Labels], Labels]:
    """Return the labels of every operand and of the result; "..." gives numbers from the right."""
    text = subscripts.replace(" ", "")
    source, arrow, target = text.partition("->")
    terms = source.split(",")
    bad = next((c for c in text.replace("->", "").replace("...", "").replace(",", "")
                if not (c.isascii() and c.isalpha())), None)
    if bad is not None or len(terms) != len(arrays):
        got = f"{subscripts!r} with {len(arrays)} arrays" if bad is None else repr(bad)
        raise ParameterError(say("einsum", f"letters, one term per array in {subscripts!r}", got,
                                 'Write, for example, einsum("ij,jk->ik", a, b)'))
    operands: list[Labels] = []
    for term, x in zip(terms, arrays, strict=True):
        head, dots, tail = term.partition("...")
        free = x.ndim - len(head) - len(tail)
        if free < 0 or (free > 0 and not dots) or "..." in tail:
            raise ShapeError(say("einsum", f"{term!r} to name every axis", f"shape {x.shape}",
                                 'One letter per axis, "..." for the others'))
        operands.append([*head, *range(-free, 0), *tail])
    ellipsis = sorted({name for labels in operands for name in labels if isinstance(name, int)})
    if not arrow:  # letters that occur once, sorted, behind the ellipsis
        letters = source.replace(",", "").replace(".", "")
        return operands, [*ellipsis, *sorted(c for c in set(letters) if letters.count(c) == 1)]
    head, dots, tail = target.partition("...")
    result: Labels = [*head, *(ellipsis if dots else []), *tail]
    known = {name for labels in operands for name in labels}
    if len(set(result)) != len(result) or not known.issuperset(result) or (ellipsis and not dots):
        raise ParameterError(say("einsum", "a result of different letters from the terms",
                                 repr(target), 'Repeat "..." in it where a term has it',
                                 ))
    return operands, result


def _checked(subscripts: str, arrays: list[Tensor], operands: list[Labels]) -> None:
    """Check sizes; take diagonals of repeated labels and drop axes of size 1 that broadcast."""
    sizes: dict[Hashable, int] = {}
    for x, labels in zip(arrays, operands, strict=True):
        for name, n in zip(labels, x.shape, strict=True):
            if sizes.setdefault(name, n) == 1:
                sizes[name] = n
            if n not in (1, sizes[name]):
                raise ShapeError(say("einsum", f"one size for {name!r} in {subscripts!r}",
                                     f"{sizes[name]} and {n}", "Check the order of the letters",
                                     {f"operand {i}": x.shape for i, x in enumerate(arrays)}))
    for i, labels in enumerate(operands):
        for name in dict.fromkeys(labels):
            while labels.count(name) > 1:
                first = labels.index(name)
                second = labels.index(name, first + 1)
                arrays[i] = diagonal(arrays[i], axis1=first, axis2=second)
                labels[:] = [n for k, n in enumerate(labels) if k not in (first, second)] + [name]
        alive = [k for k, n in enumerate(arrays[i].shape) if n == sizes[labels[k]]]
        if len(alive) < len(labels):
            arrays[i] = reshape(arrays[i], tuple(arrays[i].shape[k] for k in alive))
            labels[:] = [labels[k] for k in alive]


def einsum(subscripts: str, *arrays: Any) -> Tensor:
    """Sum of products by Einstein's convention.

    Letters name axes; those absent from the result are summed over. ``...`` stands for leading
    axes that broadcast; a letter twice in one term takes the diagonal; without ``->`` the result
    has the letters that occur once, in alphabetical order.

    Parameters
    ----------
    subscripts : str
        Such as ``"bij,bjk->bik"``.
    *arrays : Tensor
        One per term. Several are contracted in pairs, the pair with the smallest result first.

    Raises
    ------
    ShapeError
        When a letter has two sizes or a term does not name all axes.
    ParameterError
        When the subscripts cannot be read.

    Examples
    --------
    >>> import medai_engine as me
    >>> me.einsum("ii", me.eye(3))
    tensor(3.)
    """
    parts = [as_tensor(x) for x in arrays]
    operands, result = _parse(subscripts, parts)
    _checked(subscripts, parts, operands)
    pool = list(zip(parts, operands, strict=True))
    while True:
        # sum over what only one operand has and the result does not want
        for i, (x, labels) in enumerate(pool):
            others = {name for j, (_, names) in enumerate(pool) if j != i for name in names}
            gone = [k for k, name in enumerate(labels)
                    if name not in others and name not in result]
            if gone:
                pool[i] = (sum_along(x, tuple(gone)),
                           [name for k, name in enumerate(labels) if k not in gone])
        if len(pool) == 1:
            break
        sizes = {name: n for x, names in pool for name, n in zip(names, x.shape, strict=True)}
        i, j = min(((i, j) for j in range(len(pool)) for i in range(j)),
                   key=lambda pair: _growth(pool, pair, result, sizes))
        (a, a_labels), (b, b_labels) = pool[i], pool[j]
        del pool[j], pool[i]
        keep = {*result, *(name for _, names in pool for name in names)}
        pool.append(_pair(a, a_labels, b, b_labels, keep))
    x, labels = pool[0]
    return _transposed(x, labels, result)


def _growth(pool: list[tuple[Tensor, Labels]], pair: tuple[int, int], result: Labels,
            sizes: dict[Hashable, int]) -> int:
    """Return how much larger the product of a pair is than the pair."""
    keep = {*result, *(name for k, (_, names) in enumerate(pool) if k not in pair
                       for name in names)}
    (a, a_labels), (b, b_labels) = pool[pair[0]], pool[pair[1]]
    product = math.prod(sizes[name] for name in {*a_labels, *b_labels} if name in keep)
    return product - a.size - b.size


def tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    """Sum of products over pairs of axes.

    Parameters
    ----------
    a, b : Tensor
        Any shapes.
    axes : int or pair of sequences
        n: the last n axes of a with the first n of b; or the axes of a and of b to pair.

    Returns
    -------
    Tensor
        The remaining axes of a, then those of b.
    """
    a, b = as_tensor(a), as_tensor(b)
    if isinstance(axes, (int, np.integer)):
        n = int(axes)
        if not 0 <= n <= min(a.ndim, b.ndim):
            raise ParameterError(say("tensordot", f"axes from 0 to {min(a.ndim, b.ndim)}", str(n),
                                     "Pass fewer axes", {"a": a.shape, "b": b.shape}))
        first, second = list(range(a.ndim - n, a.ndim)), list(range(n))
    else:
        pairs = [ints("tensordot", "axes", tuple(side) if isinstance(side, (tuple, list)) else side)
                 for side in axes]
        if len(pairs) != 2 or len(pairs[0]) != len(pairs[1]):
            raise ParameterError(say("tensordot", "as many axes of a as of b", str(axes),
                                     "Pass axes=([1], [0]), for example"))
        first, second = ([normalized("tensordot", (i,), x.ndim)[0] for i in side]
                         for side, x in zip(pairs, (a, b), strict=True))
    if [a.shape[i] for i in first] != [b.shape[i] for i in second]:
        raise ShapeError(say("tensordot", "equal sizes along the paired axes",
                             f"{[a.shape[i] for i in first]} and {[b.shape[i] for i in second]}",
                             "Check axes", {"a": a.shape, "b": b.shape}))
    a_labels: Labels = [("a", i) for i in range(a.ndim)]
    b_labels: Labels = [("b", i) for i in range(b.ndim)]
    for i, j in zip(first, second, strict=True):
        b_labels[j] = a_labels[i]
    return _pair(a, a_labels, b, b_labels, set())[0]


def vecdot(a: Any, b: Any, axis: int = -1) -> Tensor:
    """Sum of products along one axis, the other axes broadcast."""
    a, b = as_tensor(a), as_tensor(b)
    if axis >= 0 and a.ndim != b.ndim:
        raise ParameterError(say("vecdot", "a negative axis for arrays of unequal ndim", str(axis),
                                 "Pass axis=-1", {"a": a.shape, "b": b.shape}))
    sizes = [x.shape[normalized("vecdot", (axis,), x.ndim)[0]] for x in (a, b)]
    if sizes[0] != sizes[1]:
        raise ShapeError(say("vecdot", f"equal sizes along axis {axis}",
                             f"{sizes[0]} and {sizes[1]}", "Check axis",
                             {"a": a.shape, "b": b.shape}))
    return sum_along(a * b, axis)


def outer(a: Any, b: Any) -> Tensor:
    """Return ``y[i, j] = a[i] b[j]`` of two arrays, flattened."""
    return F["multiply"](reshape(a, -1, 1), reshape(b, 1, -1))


def dot(a: Any, b: Any) -> Tensor:
    """Product of vectors and matrices: the sum over a's last axis and b's last but one."""
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return tensordot(a, b, ([-1], [-2 if b.ndim > 1 else -1]))
