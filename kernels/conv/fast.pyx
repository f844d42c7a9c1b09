"""Convolution: the compiled kernels, from the file of each; equations in reference.py.

direct.pyx       convolution and its input gradient on the tile of taps.inc, epilogues included
grad_weight.pyx  the weight gradient
depthwise.pyx    all three where each channel has its own filter
dispatch.pyx     which of these a call goes to
pooled.pyx       rows of pooling, rows of pooled gradients, the gradient of a bias before pooling
"""

from .direct import conv_activation, conv_pool, conv_pool_grad_input
from .dispatch import conv, conv_grad_input, conv_grad_weight
from .grad_weight import conv_pool_grad_weight
from .pooled import conv_pool_grad_bias

__all__ = ["conv", "conv_activation", "conv_grad_input", "conv_grad_weight", "conv_pool",
           "conv_pool_grad_bias", "conv_pool_grad_input", "conv_pool_grad_weight"]
