"""Whole medical systems, from a file of patients to a run folder: what the command line runs."""

from .risk import Options, Risk, load_risk, train_risk
from .treatment import Treatment, TreatmentOptions, load_treatment, train_treatment

__all__ = ["Options", "Risk", "Treatment", "TreatmentOptions", "load_risk", "load_treatment",
           "train_risk", "train_treatment"]
