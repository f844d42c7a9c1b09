"""Convolution and its two gradients, for 1 to 3 spatial axes, groups and depthwise included."""
