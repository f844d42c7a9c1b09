"""Convolution with activation and pooling, and the gradients; equations in reference.py.

direct.pyx applies them while its tiles are in cache, and expands the rows of pooled gradients as it
reads them. Where another file computes the convolution (see dispatch.pyx) some images at a time go
through a workspace, so that the bits are those of the separate kernels. Only the weight gradient
there, a sum over all images, expands all of them.
Bytes: x, weight and the pooled arrays once; the workspace stays in L2 unless an image is larger.
"""

cimport numpy as cnp

import numpy as np

from medai_engine.kernels.elementwise import fast as elementwise

from . import direct, grad_weight
from .dispatch import conv, conv_grad_input, conv_grad_weight
from .narrow import is_narrow
from .pooled import pool_images, unpool_images

cnp.import_array()

__all__ = ["conv_activation", "conv_pool", "conv_pool_grad_input", "conv_pool_grad_weight"]

cdef enum:
    WORKSPACE = 512 << 10       # bytes of some images


cdef bint has_own_file(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, Py_ssize_t groups):
    """Tell whether it is depthwise, or maybe a product of matrices."""
    cdef bint pointwise = True
    cdef int a
    for a in range(1, 4):
        pointwise = pointwise and cnp.PyArray_DIM(weight, a) == 1
    return pointwise or (groups > 1 and cnp.PyArray_DIM(x, 4) == groups
                         and cnp.PyArray_DIM(y, 4) == groups)


cdef bint is_tiled(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, Py_ssize_t groups):
    """Tell whether direct.pyx computes y from x."""
    return not has_own_file(x, weight, y, groups) and (groups > 1 or not is_narrow(x, y))


cdef list some_images(Py_ssize_t N, Py_ssize_t image_bytes):
    """Cut a batch into slices of about a workspace."""
    cdef Py_ssize_t count = max(1, WORKSPACE // image_bytes), i
    return [slice(i, min(i + count, N)) for i from 0 <= i < N by count]


def conv_activation(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride,
                    tuple padding, tuple dilation, Py_ssize_t groups, str activation,
                    tuple parameters):
    """Write the activation of the convolution."""
    if is_tiled(x, weight, out, groups):
        direct.conv_activation(x, weight, bias, out, stride, padding, dilation, groups, activation,
                               parameters)
        return
    for some in some_images(len(x), out[0].nbytes):
        conv(x[some], weight, bias, out[some], stride, padding, dilation, groups)
        if activation:
            getattr(elementwise, activation)(out[some], out[some], *parameters)


def conv_pool(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, cnp.ndarray index,
              tuple stride, tuple padding, tuple dilation, Py_ssize_t groups, str activation,
              tuple parameters, tuple pool, tuple sizes):
    """Write the maxima of windows of the activated convolution, and their places."""
    if is_tiled(x, weight, out, groups):
        direct.conv_pool(x, weight, bias, out, index, stride, padding, dilation, groups,
                         activation, parameters, pool)
        return
    shape = (*sizes, out.shape[4])
    slices = some_images(len(x), np.prod(shape) * out.itemsize)
    full = np.empty((slices[0].stop, *shape), out.dtype)
    for some in slices:
        part = full[:some.stop - some.start]
        conv_activation(x[some], weight, bias, part, stride, padding, dilation, groups, activation,
                        parameters)
        pool_images(part, out[some], index[some], pool)


def conv_pool_grad_input(cnp.ndarray g, cnp.ndarray index, cnp.ndarray weight, cnp.ndarray out,
                         tuple stride, tuple padding, tuple dilation, Py_ssize_t groups,
                         tuple pool, tuple sizes):
    """Write the gradient of x; `sizes` are those before the pooling."""
    if is_tiled(g, weight, out, groups):
        direct.conv_pool_grad_input(g, index, weight, out, stride, padding, dilation, groups, pool,
                                    sizes)
        return
    shape = (*sizes, g.shape[4])
    slices = some_images(len(g), np.prod(shape) * g.itemsize)
    full = np.empty((slices[0].stop, *shape), g.dtype)
    for some in slices:
        part = full[:some.stop - some.start]
        unpool_images(g[some], index[some], part, pool)
        conv_grad_input(part, weight, out[some], stride, padding, dilation, groups)


def conv_pool_grad_weight(cnp.ndarray x, cnp.ndarray g, cnp.ndarray index, cnp.ndarray out,
                          tuple stride, tuple padding, tuple dilation, Py_ssize_t groups,
                          tuple pool, tuple sizes):
    """Write the gradient of the weight; `sizes` are those before the pooling."""
    if not has_own_file(x, out, g, groups):
        grad_weight.conv_pool_grad_weight(x, g, index, out, stride, padding, dilation, groups,
                                          pool, sizes)
        return
    full = np.empty((len(g), *sizes, g.shape[4]), g.dtype)
    unpool_images(g, index, full, pool)
    conv_grad_weight(x, full, out, stride, padding, dilation, groups)
