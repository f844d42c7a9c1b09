"""Networks as estimators: any module in pipelines, grid searches and cross-validation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from .. import functional as F
from .. import nn
from ..errors import DataError, ParameterError, ShapeError, say
from ..generator import DEFAULT, manual_seed
from ..tensor import Tensor
from ..training.callbacks import EarlyStopping
from .base import Classifier, Estimator, Regressor
from .checks import balanced, seed_of
from .options import iterations, number

__all__ = ["NetClassifier", "NetRegressor"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let the default generator (first weights, dropout) start at a seed, then go on as before."""
    before = DEFAULT.get_state()
    manual_seed(seed)
    try:
        yield
    finally:
        DEFAULT.set_state(before)


class Network(Estimator):
    """What both have: how the module is made, trained and asked."""

    module: nn.Module | Callable[[int, int], nn.Module] | None
    optimizer: str
    lr: float
    weight_decay: float
    epochs: int
    batch_size: int
    validation_split: float
    patience: int
    random_state: Any
    verbose: bool
    module_: nn.Module
    history_: list[dict[str, float]]

    def made(self, features: int, outputs: int) -> nn.Module:
        """Return a new module: a copy of the one given, or what the function makes."""
        if self.module is None:
            return nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, outputs))
        if isinstance(self.module, nn.Module):
            return copy.deepcopy(self.module)
        found = self.module(features, outputs) if callable(self.module) else None
        if not isinstance(found, nn.Module):
            raise ParameterError(say(type(self).__name__, "module a Module, None, or a function "
                                     "(features, outputs) that makes one", repr(self.module),
                                     "Use module=nn.Sequential(...)"))
        return found

    def train(self, X: np.ndarray, y: np.ndarray, outputs: int, loss: Callable[[int], str],
              weight: np.ndarray | None) -> None:
        """Set ``module_`` and ``history_``; ``loss`` gets the number of outputs that it has."""
        number(self, "lr", above=True)
        number(self, "weight_decay")
        number(self, "validation_split", 0, 0.9)
        for name, low in (("epochs", 1), ("batch_size", 1), ("patience", 0)):
            iterations(self, name, low)
        seed = seed_of(self.random_state)
        with seeded(seed):
            module: Any = self.made(X.shape[1], outputs)
            found = module.predict(X[:1])
            if found.ndim != 2:
                raise ShapeError(say(type(self).__name__, "a module with outputs (N, K)",
                                     str(found.shape), "Add a Flatten or Linear layer"))
            settings = {"name": self.optimizer, "lr": self.lr}
            if self.weight_decay:
                settings["weight_decay"] = self.weight_decay
            module.compile(settings, loss(found.shape[1]))
            stops = [EarlyStopping("val_loss", self.patience)] if self.validation_split else []
            history = module.fit(X, y, self.epochs, min(self.batch_size, len(X)),
                                 validation_split=self.validation_split, callbacks=stops,
                                 sample_weight=weight, seed=seed % 2**31,
                                 verbose=bool(self.verbose))
        del module.compiled  # optimiser and gradients: nothing of a fitted estimator
        module.zero_grad()
        self.module_ = module.eval()
        self.history_ = [dict(row) for row in history.rows]
        self.n_iter_ = len(self.history_)

    def outputs(self, X: Any, method: str) -> np.ndarray:
        """Return what the module says of X, (N, K) float64."""
        X = self.table(X, method, np.float32)
        return self.module_.predict(X).astype(np.float64)  # type: ignore[attr-defined]


class NetClassifier(Network, Classifier):
    """A network as a classifier, trained by ``module.fit`` on the cross-entropy.

    Parameters
    ----------
    module : Module, callable or None
        A module from features to K logits (one logit will do for two classes), of which a copy is
        trained; a function (features, outputs) that makes one, so that the same estimator fits
        any table; or None for one hidden layer of 32 units. One for images starts with
        ``Reshape``: X has a row per sample.
    optimizer : str
        A name of ``optim``: "adam", "sgd", ...
    lr, weight_decay : float
        Of the optimiser.
    epochs, batch_size : int
        As for ``module.fit``.
    validation_split : float
        Share held out to stop early, when its loss has not improved for ``patience`` epochs.
    patience : int
        See there.
    class_weight : dict or "balanced", optional
        Factors of the samples' weights by class.
    random_state : int, optional
        Of first weights that are not given, of dropout, of the order and the split.
    verbose : bool
        Show progress.

    Attributes
    ----------
    module_ : Module
        The trained one.
    history_ : list of dict
        What each epoch measured.

    Examples
    --------
    >>> from medai_engine import nn
    >>> from medai_engine.estimators import NetClassifier
    >>> model = NetClassifier(nn.Linear(None, 2), lr=0.1, epochs=50, random_state=0).fit(
    ...     [[-2.0], [-1.0], [1.0], [2.0]], ["ill", "ill", "well", "well"])
    >>> model.predict([[-3.0], [3.0]]).tolist()
    ['ill', 'well']
    """

    def __init__(self, module: Any = None, *, optimizer: str = "adam", lr: float = 1e-2,
                 weight_decay: float = 0.0, epochs: int = 100, batch_size: int = 32,
                 validation_split: float = 0.0, patience: int = 10, class_weight: Any = None,
                 random_state: Any = None, verbose: bool = False):
        self.module = module
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.patience = patience
        self.class_weight = class_weight
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (N, D), y (N,)."""
        X, codes, weight = self.training_data(X, y, sample_weight, np.float32)
        K = len(self.classes_)
        if K < 2:
            raise DataError(say("NetClassifier", "two classes or more in y", "one class",
                                "Add samples of another class"))
        if self.class_weight is not None:
            share = balanced(self, self.class_weight, self.classes_, codes, weight)[codes]
            weight = share if weight is None else weight * share

        def loss(outputs: int) -> str:
            if outputs not in ({1, 2} if K == 2 else {K}):
                raise ShapeError(say("NetClassifier", f"a module with {K} outputs, one per class",
                                     f"{outputs}", f"Let its last layer be Linear(..., {K})"))
            return "bce_with_logits" if outputs == 1 else "cross_entropy"

        self.train(X, codes, K, loss, weight)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, (N, K)."""
        z = self.outputs(X, "predict_proba")
        if z.shape[1] == 1:
            z = np.concatenate([np.zeros_like(z), z], axis=1)
        return F.softmax(Tensor(z), -1).data

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class, (N,)."""
        self.require_fitted("predict")
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class NetRegressor(Network, Regressor):
    """A network as a regressor, trained by ``module.fit`` on the squared error.

    Targets are standardised for training, so that ``lr`` does not depend on their unit.

    Parameters
    ----------
    module : Module, callable or None
        From features to one number; else as for ``NetClassifier``.
    optimizer, lr, weight_decay, epochs, batch_size, validation_split, patience, random_state, \
verbose
        As for ``NetClassifier``.

    Attributes
    ----------
    module_, history_
        As for ``NetClassifier``.
    mean_, scale_ : float
        Of the targets: the prediction is ``mean_ + scale_ module_(x)``.
    """

    def __init__(self, module: Any = None, *, optimizer: str = "adam", lr: float = 1e-2,
                 weight_decay: float = 0.0, epochs: int = 100, batch_size: int = 32,
                 validation_split: float = 0.0, patience: int = 10, random_state: Any = None,
                 verbose: bool = False):
        self.module = module
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.patience = patience
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (N, D), y (N,)."""
        X, y, weight = self.training_data(X, y, sample_weight, np.float32)
        self.mean_ = float(np.average(y, weights=weight))
        spread = float(np.sqrt(np.average((y - self.mean_) ** 2, weights=weight)))
        self.scale_ = spread if spread > 0 else 1.0

        def loss(outputs: int) -> str:
            if outputs != 1:
                raise ShapeError(say("NetRegressor", "a module with one output", f"{outputs}",
                                     "Let its last layer be Linear(..., 1)"))
            return "mse"

        target = ((y - self.mean_) / self.scale_).astype(np.float32)[:, None]
        self.train(X, target, 1, loss, weight)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return a number per row, (N,)."""
        z = self.outputs(X, "predict")[:, 0]
        return self.mean_ + self.scale_ * z
