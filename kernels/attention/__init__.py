"""Scaled dot-product attention without its matrix of weights."""
