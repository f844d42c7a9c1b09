"""Convolution: the compiled kernels, from the file of each; equations in reference.py.

direct.pyx       convolution and its input gradient on the tile of taps.inc, epilogues included
grad_weight.pyx  the weight gradient
depthwise.pyx    all three where groups have one channel or a few
narrow.pyx       convolution to few channels, and the input gradient of first layers
dispatch.pyx     which of these a call goes to
fused.pyx        the same with activation and pooling
pooled.pyx       rows of pooling, rows of pooled gradients, the gradient of a bias before pooling
"""

from .dispatch import conv, conv_grad_input, conv_grad_weight
from .fused import conv_activation, conv_pool, conv_pool_grad_input, conv_pool_grad_weight
from .pooled import conv_pool_grad_bias

__all__ = ["conv", "conv_activation", "conv_grad_input", "conv_grad_weight", "conv_pool",
           "conv_pool_grad_bias", "conv_pool_grad_input", "conv_pool_grad_weight"]
