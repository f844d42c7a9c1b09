"""Which file computes a convolution: by the shape of its groups; equations in reference.py."""

cimport numpy as cnp

from medai_engine.kernels.gemm.fast import linear, matmul

from . import direct, grad_weight
from .depthwise import depthwise, depthwise_grad_weight, is_depthwise
from .narrow import is_narrow, narrow

cnp.import_array()

__all__ = ["conv", "conv_grad_input", "conv_grad_weight"]


cdef enum:
    POINTWISE = 16              # pixels of an image from which on the matrix product pays
    FEW = 16                    # channels of g: it is then broadcast, and x loaded in vectors


cdef inline bint is_pointwise(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, tuple stride,
                              Py_ssize_t groups):
    """Tell whether pixels are the rows of a matrix product: by all but the batch, so that an image
    has the same bits in every batch."""
    cdef Py_ssize_t pixels = 1
    cdef int a
    if groups > 1 or stride != (1, 1, 1):
        return False
    for a in range(1, 4):
        if cnp.PyArray_DIM(weight, a) > 1 or cnp.PyArray_DIM(x, a) != cnp.PyArray_DIM(y, a):
            return False
        pixels *= cnp.PyArray_DIM(x, a)
    return pixels >= POINTWISE


cdef inline cnp.ndarray rows(cnp.ndarray a):
    """All axes but the last as one."""
    return a.reshape(-1, cnp.PyArray_DIM(a, 4))


cdef inline cnp.ndarray matrix(cnp.ndarray weight):
    return weight.reshape(cnp.PyArray_DIM(weight, 0), -1)


def conv(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride, tuple padding,
         tuple dilation, Py_ssize_t groups):
    """Write the convolution of x with the weight, plus the bias if there is one."""
    if is_depthwise(x, out, groups):
        depthwise(x, weight, bias, out, stride, padding, dilation, False)
    elif groups == 1 and is_narrow(x, out):
        narrow(x, weight, bias, out, stride, padding, dilation, False)
    elif is_pointwise(x, weight, out, stride, groups):
        linear(rows(x), matrix(weight), bias, rows(out))
    else:
        direct.conv(x, weight, bias, out, stride, padding, dilation, groups)


def conv_grad_input(cnp.ndarray g, cnp.ndarray weight, cnp.ndarray out, tuple stride,
                    tuple padding, tuple dilation, Py_ssize_t groups):
    """Write the gradient of x."""
    if is_depthwise(g, out, groups):
        depthwise(g, weight, None, out, stride, padding, dilation, True)
    elif groups == 1 and is_narrow(g, out):
        narrow(g, weight, None, out, stride, padding, dilation, True)
    elif is_pointwise(g, weight, out, stride, groups):
        matmul(rows(g), matrix(weight), rows(out), False, False)
    else:
        direct.conv_grad_input(g, weight, out, stride, padding, dilation, groups)


def conv_grad_weight(cnp.ndarray x, cnp.ndarray g, cnp.ndarray out, tuple stride, tuple padding,
                     tuple dilation, Py_ssize_t groups):
    """Write the gradient of the weight."""
    if is_depthwise(x, g, groups):
        depthwise_grad_weight(x, g, out, stride, padding, dilation)
    elif cnp.PyArray_DIM(g, 4) < FEW and is_pointwise(x, out, g, stride, groups):
        matmul(rows(g), rows(x), matrix(out), True, False)
    else:
        grad_weight.conv_grad_weight(x, g, out, stride, padding, dilation, groups)
