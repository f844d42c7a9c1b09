"""Classical estimators with scikit-learn's contract on the engine's own kernels."""

from .base import Classifier, Estimator, Regressor
from .forest import RandomForestClassifier, RandomForestRegressor
from .importance import permutation_importance
from .linear import LinearRegression, Ridge
from .linear_svm import LinearSVC, LinearSVR
from .logistic import LogisticRegression
from .network import NetClassifier, NetRegressor
from .preprocessing import OneHotEncoder, SimpleImputer, StandardScaler
from .storage import save
from .svm import SVC, SVR
from .tree_models import DecisionTreeClassifier, DecisionTreeRegressor

__all__ = ["Classifier", "DecisionTreeClassifier", "DecisionTreeRegressor", "Estimator",
           "LinearRegression", "LinearSVC", "LinearSVR", "LogisticRegression", "NetClassifier",
           "NetRegressor", "OneHotEncoder", "RandomForestClassifier", "RandomForestRegressor",
           "Regressor", "Ridge", "SVC", "SVR", "SimpleImputer", "StandardScaler",
           "permutation_importance", "save"]
