"""Classical estimators with scikit-learn's contract on the engine's own kernels."""

from .base import Classifier, Estimator, Regressor
from .storage import save
from .svm import SVC, SVR

__all__ = ["Classifier", "Estimator", "Regressor", "SVC", "SVR", "save"]
