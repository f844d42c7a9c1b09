"""Normalisation over rows and over channels."""
