"""Matrix products as loops; equations in reference.py.

Order: one row of the result at a time, k, then columns, so that the innermost loop adds a multiple
of a row of b to the row of sums: contiguous, no reduction, what a compiler vectorises by itself.
Sums are carried in float64 whatever the dtype.
Bytes: a and out once, all of b for each row of a.
Source: Golub & Van Loan, Matrix Computations, 1.1 (the row-oriented "kij" forms).
"""

import numpy as np
from numba import njit

from ..elementwise import loops as elementwise
from ..program.reference import PARAMETERS

__all__ = ["linear", "linear_activation", "matmul", "matmul_add"]

kernel = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def _product(a, b, out):
    M, K = a.shape
    N = b.shape[1]
    sums = np.empty(N)
    for m in range(M):
        sums[:] = 0
        for k in range(K):
            x = np.float64(a[m, k])
            for n in range(N):
                sums[n] += x * b[k, n]
        for n in range(N):
            out[m, n] = sums[n]


@kernel
def _batched(a, b, out, transpose_a, transpose_b):
    for i in range(out.shape[0]):
        left, right = a[i % a.shape[0]], b[i % b.shape[0]]
        if transpose_a and transpose_b:
            _product(left.T, right.T, out[i])
        elif transpose_a:
            _product(left.T, right, out[i])
        elif transpose_b:
            _product(left, right.T, out[i])
        else:
            _product(left, right, out[i])


def matmul(a, b, out, transpose_a, transpose_b):
    _batched(*[x.reshape(-1, *x.shape[-2:]) for x in (a, b, out)], transpose_a, transpose_b)  # type: ignore[call-arg]


def matmul_add(c, a, b, out, transpose_a, transpose_b):
    product = np.empty_like(out)
    matmul(a, b, product, transpose_a, transpose_b)
    np.add(c, product, out=out)


@kernel
def _linear(x, weight, bias, out):
    _product(x, weight.T, out)
    if bias is not None:
        for m in range(out.shape[0]):
            for n in range(out.shape[1]):
                out[m, n] += bias[n]


def linear(x, weight, bias, out):
    _linear(x.reshape(-1, x.shape[-1]), weight, bias, out.reshape(-1, out.shape[-1]))


def linear_activation(x, weight, bias, out, activation, parameter):
    linear(x, weight, bias, out)
    getattr(elementwise, activation)(out.copy(), out, *[parameter][:PARAMETERS.get(activation, 0)])
