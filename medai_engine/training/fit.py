"""``fit``, ``evaluate`` and ``predict``, attached to Module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.loader import ArrayDataset, DataLoader
from ..data.split import require_apart
from ..errors import ParameterError, ShapeError, say
from ..mode import no_grad
from ..nn import Module
from ..tensor import Tensor
from .callbacks import Callback
from .compiled import Compiled, as_output, compiled_of
from .history import History
from .inputs import Samples, as_array, check_finite, floating, samples_of, split_samples
from .plans import Planned
from .progress import Progress
from .run import Run, batches_of, evaluate_batches, in_mode

__all__ = ["evaluate", "fit", "predict"]


def fit(self: Module, x: Any, y: Any = None, epochs: int = 1, batch_size: int | None = None,
        validation_data: Any = None, validation_split: float = 0.0,
        callbacks: Sequence[Callback] | Callback = (), class_weight: Any = None,
        sample_weight: Any = None, groups: Any = None, *, validation_groups: Any = None,
        shuffle: bool = True, seed: int = 0, accumulate: int = 1,
        resume: str | Path | None = None, verbose: bool = True) -> History:
    """Train this module: for each batch the gradients of the mean loss, then one optimiser step.

    The loop is the one that a user would write, and gives the same bits::

        for epoch in range(epochs):
            for x, y in DataLoader(ArrayDataset(x, y), batch_size, shuffle=True, seed=0):
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()

    Parameters
    ----------
    x : array of shape (N, ...), dataset or DataLoader
        Inputs; floating ones are cast to the parameters' dtype. A dataset gives (x, y) or
        (x, y, weight) for each sample; a loader decides on batches and order itself.
    y : array of shape (N, ...)
        Targets: class numbers, probabilities or values, as the loss wants them.
    epochs : int
        How often all samples are seen, in all: a resumed run goes up to the same number.
    batch_size : int, optional
        Samples per batch, 32 by default.
    validation_data : (x, y), (x, y, weight) or DataLoader, optional
        Measured after each epoch in evaluation mode, never trained on.
    validation_split : float
        Or the share of the samples to hold out for that: whole ``groups`` if given, else in
        proportion to classes if y holds class numbers, else at random by ``seed``.
    callbacks : list of Callback, or one
        See ``training.callbacks``.
    class_weight : dict or "balanced", optional
        The weight of each class's samples; balanced gives every class the same sum.
    sample_weight : array of shape (N,), optional
        The weight of each sample; the loss of a batch is sum(w l) / sum(w).
    groups : array of shape (N,), optional
        The patient of each sample, for ``validation_split``.
    validation_groups : array of shape (M,), optional
        The patient of each sample of ``validation_data``: one that is among ``groups`` as well is
        refused, by name.
    shuffle, seed : bool, int
        The order in epoch e is a function of (seed, e). Dropout and initial weights draw from
        ``me.manual_seed`` instead.
    accumulate : int
        Batches whose gradients are put together for one step: the step of the one large batch.
    resume : str, optional
        A checkpoint file to go on from; with the same data and options the run ends with the same
        bits as an unbroken one.
    verbose : bool
        Show progress.

    Returns
    -------
    History
        Per epoch: loss, metrics, ``val_`` values, learning rate, seconds.

    Raises
    ------
    MedaiError
        For anything wrong in data or options, before the weights have changed.
    """
    compiled = compiled_of(self, "fit")
    callbacks = [callbacks] if isinstance(callbacks, Callback) else callbacks or ()
    check_options(epochs, batch_size, accumulate, validation_split, callbacks)
    if validation_groups is not None:
        if groups is None:
            raise ParameterError(say("fit", "groups beside validation_groups", "none",
                                     "Pass the patient of each training sample, too"))
        require_apart(groups, validation_groups)
    if y is None:
        for name, value in (("sample_weight", sample_weight), ("groups", groups),
                            ("validation_split", validation_split or None),
                            ("batch_size", batch_size if isinstance(x, DataLoader) else None)):
            if value is not None:
                raise ParameterError(say("fit", f"no {name} beside a {type(x).__name__}", name,
                                         "Leave it to the loader or its dataset"))
        if isinstance(class_weight, str):
            raise ParameterError(say("fit", f"class_weight as a dict beside a {type(x).__name__}",
                                     repr(class_weight), "Pass {class: weight}"))
        loader = x if isinstance(x, DataLoader) else DataLoader(
            as_dataset(x), batch_size or 32, shuffle, seed)
        held = None
        try_out(self, compiled, loader)
    else:
        samples = samples_of("fit", self, x, y, sample_weight, class_weight)
        # before a split, so that an error names the caller's row
        try_out(self, compiled, DataLoader(samples.dataset(), batch_size or 32), finite=True)
        held = None
        if validation_split:
            if validation_data is not None:
                raise ParameterError(say("fit", "validation_data or validation_split", "both",
                                         "Leave one out"))
            samples, held = split_samples(samples, validation_split, groups, seed)
        loader = DataLoader(samples.dataset(), batch_size or 32, shuffle, seed)
        class_weight = None  # it is in the samples' weights
    validation = loader_of("validation_data", self, held or validation_data, batch_size or 32)
    if validation is not None:
        try_out(self, compiled, validation, finite=not isinstance(validation_data, DataLoader))
    if not any(p.requires_grad for p in self.parameters()):
        raise ParameterError(say("fit", "a parameter that is learned",
                                 "none, or all of them frozen", "Call model.requires_grad_()"))
    run = Run(self, compiled, loader, epochs=epochs, validation=validation,
              callbacks=[*callbacks, *([Progress()] if verbose else [])],
              class_weight=class_weight, accumulate=accumulate)
    if resume is not None:
        run.resume(resume)
    return run.train()


def as_dataset(x: Any) -> Any:
    """Return x if it can be one; arrays without targets are not."""
    if isinstance(x, (np.ndarray, Tensor, list, tuple)) or not hasattr(x, "__getitem__"):
        raise ParameterError(say("fit", "targets y beside the inputs, or a dataset of (x, y)",
                                 f"{type(x).__name__} alone", "Pass fit(x, y)"))
    return x


def check_options(epochs: Any, batch_size: Any, accumulate: Any, validation_split: Any,
                  callbacks: Any) -> None:
    """Refuse options that no run can have."""
    for name, value in (("epochs", epochs), ("batch_size", batch_size or 1),
                        ("accumulate", accumulate)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ParameterError(say("fit", f"{name} as a whole number of at least 1",
                                     repr(value), f"Use {name}=1"))
    if not 0 <= validation_split < 1:
        raise ParameterError(say("fit", "validation_split from 0 to below 1",
                                 repr(validation_split), "Use validation_split=0.2"))
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise ParameterError(say(
                "fit", "callbacks of training.callbacks",
                f"the class {callback.__name__}" if isinstance(callback, type)
                else type(callback).__name__, "Derive from Callback, and pass an object"))


def loader_of(name: str, module: Module, given: Any, batch_size: int) -> DataLoader | None:
    """Return a loader in plain order for (x, y), (x, y, weight), Samples or a loader."""
    if given is None or isinstance(given, DataLoader):
        return given
    if not isinstance(given, Samples):
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise ParameterError(say("fit", f"{name} as (x, y) or a DataLoader",
                                     type(given).__name__, f"Pass {name}=(x, y)"))
        given = samples_of(name, module, *given)
    return DataLoader(given.dataset(), batch_size)


def try_out(module: Module, compiled: Compiled, loader: DataLoader, finite: bool = False) -> None:
    """Compute the loss of one batch and check all labels, so that errors come before changes.

    In evaluation mode and without gradients; a layer that infers its size sees its first input.
    ``finite`` says that NaN and infinity have been looked for already.
    """
    place = loader.state_dict()
    loader.load_state_dict({"epoch": place["epoch"], "position": 0})
    arrays = loader.dataset.arrays if (
        isinstance(loader.dataset, ArrayDataset) and loader.collate is None) else ()
    if not finite:
        for name, array in zip(("x", "y"), arrays, strict=False):
            check_finite("fit", name, array)
    try:
        with no_grad(), in_mode(module, False):
            batch = next(iter(batches_of(module, loader)))
            output = as_output(module(batch.x))
            if len(arrays) > 1:
                compiled.loss.check_range(output, arrays[1])  # all of them, by sample
            compiled.loss(output, batch.y, batch.shares)
            if compiled.metrics and len(arrays) > 1:  # can these labels be scored at all?
                some = np.resize(output.data, (len(arrays[1]), *output.shape[1:]))
                compiled.scores(some, arrays[1], None)
    finally:
        loader.load_state_dict(place)


def evaluate(self: Module, x: Any, y: Any = None, batch_size: int = 256, *,
             sample_weight: Any = None) -> dict[str, float]:
    """Return the mean loss and the compiled metrics on these samples, in evaluation mode.

    Parameters
    ----------
    x, y : arrays, or x a DataLoader
        As for ``fit``.
    batch_size : int
        Samples computed at once; results do not depend on it beyond rounding.
    sample_weight : array of shape (N,), optional
        The weight of each sample.
    """
    compiled = compiled_of(self, "evaluate")
    loader = x if isinstance(x, DataLoader) else DataLoader(
        samples_of("evaluate", self, x, y, sample_weight).dataset(), batch_size)
    try_out(self, compiled, loader, finite=not isinstance(x, DataLoader))
    return evaluate_batches(self, compiled, loader)


def predict(self: Module, x: Any, batch_size: int = 256) -> np.ndarray:
    """Return the module's outputs for these inputs as an array, in evaluation mode.

    Parameters
    ----------
    x : array of shape (N, ...), or DataLoader
        Inputs; of a loader's batches the first array.
    batch_size : int
        Samples computed at once.
    """
    dtype = floating(self)
    if isinstance(x, DataLoader):
        x.load_state_dict({"epoch": 0, "position": 0})
        batches = (found[0] if isinstance(found, tuple) else found for found in x)
    else:
        array = as_array("predict", "x", x, dtype)
        check_finite("predict", "x", array)
        if array.ndim == 0:
            raise ParameterError(say("predict", "samples along axis 0", "a single number",
                                     "Pass x[None]"))
        # an empty array still goes through once, for the shape of its result
        batches = (Tensor(array[i:i + batch_size]) for i in range(0, max(len(array), 1),
                                                                   batch_size))
    outputs = []
    forward = Planned(lambda batch: as_output(self(batch)), self, "predict")
    with no_grad(), in_mode(self, False):
        for batch in batches:
            if batch.dtype.kind == "f" and batch.dtype != dtype:
                batch = Tensor(batch.data.astype(dtype))
            output = forward(batch)
            if output.shape[:1] != batch.shape[:1]:
                raise ShapeError(say("predict", f"outputs for {batch.shape[0]} samples",
                                     output.shape, "Pass samples along axis 0, a single one as "
                                     "x[None]", {"x": batch.shape}))
            outputs.append(output.data)
    return np.concatenate(outputs)


Module.fit = fit  # type: ignore[attr-defined]
Module.evaluate = evaluate  # type: ignore[attr-defined]
Module.predict = predict  # type: ignore[attr-defined]
