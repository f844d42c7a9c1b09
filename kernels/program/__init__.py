"""Chains of elementwise kernels in one pass over tiles."""
