"""Whole medical systems, from a file of patients to a run folder: what the command line runs."""

from .risk import Options, Risk, load_risk, train_risk

__all__ = ["Options", "Risk", "load_risk", "train_risk"]
