"""Classical estimators with scikit-learn's contract on the engine's own kernels."""

from .base import Classifier, Estimator, Regressor
from .linear import LinearRegression, Ridge
from .linear_svm import LinearSVC, LinearSVR
from .logistic import LogisticRegression
from .storage import save
from .svm import SVC, SVR

__all__ = ["Classifier", "Estimator", "LinearRegression", "LinearSVC", "LinearSVR",
           "LogisticRegression", "Regressor", "Ridge", "SVC", "SVR", "save"]
