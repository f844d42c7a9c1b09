"""Which file computes a convolution: by the shape of its groups; equations in reference.py."""

cimport numpy as cnp

from . import direct, grad_weight
from .depthwise import depthwise, depthwise_grad_weight

cnp.import_array()

__all__ = ["conv", "conv_grad_input", "conv_grad_weight"]


cdef inline bint is_depthwise(cnp.ndarray x, cnp.ndarray y, Py_ssize_t groups):
    return groups > 1 and cnp.PyArray_DIM(x, 4) == groups and cnp.PyArray_DIM(y, 4) == groups


def conv(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray out, tuple stride, tuple padding,
         tuple dilation, Py_ssize_t groups):
    """Write the convolution of x with the weight, plus the bias if there is one."""
    if is_depthwise(x, out, groups):
        depthwise(x, weight, bias, out, stride, padding, dilation, False)
    else:
        direct.conv(x, weight, bias, out, stride, padding, dilation, groups)


def conv_grad_input(cnp.ndarray g, cnp.ndarray weight, cnp.ndarray out, tuple stride,
                    tuple padding, tuple dilation, Py_ssize_t groups):
    """Write the gradient of x."""
    if is_depthwise(g, out, groups):
        depthwise(g, weight, None, out, stride, padding, dilation, True)
    else:
        direct.conv_grad_input(g, weight, out, stride, padding, dilation, groups)


def conv_grad_weight(cnp.ndarray x, cnp.ndarray g, cnp.ndarray out, tuple stride, tuple padding,
                     tuple dilation, Py_ssize_t groups):
    """Write the gradient of the weight."""
    if is_depthwise(x, g, groups):
        depthwise_grad_weight(x, g, out, stride, padding, dilation)
    else:
        grad_weight.conv_grad_weight(x, g, out, stride, padding, dilation, groups)
