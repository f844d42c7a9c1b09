"""Convolution: the compiled kernels, from the file of each; equations in reference.py.

direct.pyx      convolution and its input gradient, on the tile of taps.inc
grad_weight.pyx the weight gradient
"""

from .direct import conv, conv_grad_input
from .grad_weight import conv_grad_weight

__all__ = ["conv", "conv_grad_input", "conv_grad_weight"]
