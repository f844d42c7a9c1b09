"""Softmax and the cross-entropy of class indices."""
