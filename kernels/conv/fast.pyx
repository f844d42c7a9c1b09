"""Convolution: the compiled kernels, from the file of each; equations in reference.py.

direct.pyx      convolution and its input gradient, on the tile of taps.inc
grad_weight.pyx the weight gradient
depthwise.pyx   all three where each channel has its own filter
dispatch.pyx    which of these a call goes to
"""

from .dispatch import conv, conv_grad_input, conv_grad_weight

__all__ = ["conv", "conv_grad_input", "conv_grad_weight"]
