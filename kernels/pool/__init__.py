"""Pooling and resampling of signals, images and volumes."""
