"""Figures of a run: learning curves, what the scores say, confusion, images (extra ``plot``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..training.plots import HELD, QUIET, TRAIN, _figure, _write, plot_history, plot_predictions
from .deep import IGNORED, Cohort, Run
from .subgroups import SHOWN

__all__ = ["draw", "draw_confusion", "draw_evaluation", "draw_images", "draw_subgroups",
           "draw_values"]


def draw(run: Run, part: Cohort, found: np.ndarray) -> None:
    """Draw history.png and evaluation.png of a run."""
    title = f"{run.config['source']}"
    plot_history(run.history, run.folder / "history.png", f"{title}, training",
                 {"loss": "cross-entropy (nats)" if run.classes else "mean squared error"})
    draw_evaluation(part, found, run.folder / "evaluation.png",
                    f"{title}, {len(part.y)} held out")
    draw_subgroups(run.subgroups, run.folder / "subgroups.png")


def draw_evaluation(part: Cohort, found: np.ndarray, path: Path, held: str) -> None:
    """Draw what the outputs for samples with known outcomes say, under the title ``held``."""
    if not part.classes and part.y.ndim > 1 and part.x.ndim != 4:
        draw_errors(((found - part.y) ** 2).mean(axis=1), path, held)
    elif not part.classes and part.y.ndim > 1:
        chosen = np.linspace(0, len(part.y) - 1, 8).astype(int)
        pairs = np.concatenate([part.x[chosen], found[chosen].reshape(part.x[chosen].shape)])
        draw_images(pairs, ["as it is"] * 8 + ["from its code"] * 8, path, held)
    elif not part.classes:
        draw_values(part.y, found, path, held, part.target)
    elif part.y.ndim == 1 and len(part.classes) == 2:
        plot_predictions(part.y, found[:, 1], path, (part.classes[0], part.classes[1]), held)
    else:
        known = part.y != IGNORED
        draw_confusion(part.y[known], found[known].argmax(axis=-1), part.classes, path, held)


def draw_subgroups(found: dict[str, Any], path: Path) -> None:
    """Draw one score of each group of each column, with its interval; small groups in grey."""
    headline = next((n for n in SHOWN if any(
        n in group["scores"] for groups in found.values() for group in groups.values())), None)
    if headline is None:
        return
    figure, axes = _figure(1, len(found), "")
    figure.set_size_inches(4.2 * len(found), 1.3 + 0.32 * max(map(len, found.values())))
    for axis, (name, groups) in zip(axes, found.items(), strict=True):
        for place, group in enumerate(groups.values()):
            if headline in group["scores"]:
                s = group["scores"][headline]
                colour = QUIET if group["few"] else TRAIN
                axis.plot([s["low"], s["high"]], [place, place], color=colour)
                axis.plot(s["value"], place, "o", color=colour, markersize=5)
        labels = [f"{value} ({group['samples']})" for value, group in groups.items()]
        axis.set_yticks(range(len(groups)), labels, fontsize=8)
        axis.set(xlabel=f"{headline} with its 95 % interval", ylim=(len(groups) - 0.5, -0.5))
        axis.set_title(f"by {name}", fontsize=10)
    ends = np.array([axis.get_xlim() for axis in axes])
    for axis in axes:
        axis.set_xlim(ends[:, 0].min(), ends[:, 1].max())
    _write(figure, path)


def draw_confusion(y: np.ndarray, guess: np.ndarray, classes: Sequence[str], path: Path,
                   title: str) -> None:
    """Draw how often each class (rows) was called each class (columns)."""
    count = len(classes)
    table = np.bincount(y * count + guess, minlength=count * count).reshape(count, count)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(1, 1, title)
    figure.set_size_inches(1.2 + 0.75 * count + 2.2, 1.2 + 0.6 * count + 1.4)
    axis = axes[0]
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), n in np.ndenumerate(table):
        axis.text(j, i, f"{n}", ha="center", va="center", fontsize=8,
                  color="white" if share[i, j] > 0.6 else "black")
    axis.set_xticks(range(count), classes, rotation=35, ha="right", fontsize=8)
    axis.set_yticks(range(count), classes, fontsize=8)
    axis.set(xlabel="called", ylabel="is")
    axis.grid(False)
    _write(figure, path)


def draw_values(y: np.ndarray, p: np.ndarray, path: Path, title: str, target: str) -> None:
    """Draw predicted against observed values, and the errors."""
    figure, (plane, errors) = _figure(1, 2, title)
    low, high = min(y.min(), p.min()), max(y.max(), p.max())
    plane.plot([low, high], [low, high], color=QUIET, linestyle=":", label="perfect")
    plane.plot(y, p, "o", color=TRAIN, markersize=4, alpha=0.7)
    plane.set(xlabel=f"observed {target}", ylabel=f"predicted {target}")
    plane.legend(loc="upper left")
    errors.hist(p - y, bins=20, color=HELD, alpha=0.8)
    errors.axvline(0, color=QUIET, linestyle=":")
    errors.set(xlabel="predicted - observed", ylabel="patients")
    errors.yaxis.get_major_locator().set_params(integer=True)
    _write(figure, path)


def draw_errors(errors: np.ndarray, path: Path, title: str) -> None:
    """Draw how large the squared errors of samples are."""
    figure, (axis,) = _figure(1, 1, title)
    axis.hist(errors, bins=20, color=HELD, alpha=0.8)
    axis.set(xlabel="mean squared error of a sample", ylabel="samples")
    axis.yaxis.get_major_locator().set_params(integer=True)
    _write(figure, path)


def draw_images(images: Any, titles: Sequence[str], path: Path, title: str, columns: int = 8
                ) -> None:
    """Draw images (N, H, W, C) between 0 and 1 in a grid."""
    rows = -(-len(images) // columns)
    figure, _ = _figure(1, 1, title)
    figure.clear()
    figure.set_size_inches(1.25 * columns, 1.55 * rows + 0.4)
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, image, text in zip(axes, images, titles, strict=False):
        grey = image.shape[-1] == 1
        axis.imshow(np.clip(image[..., 0] if grey else image, 0, 1), vmin=0, vmax=1,
                    cmap="gray" if grey else None, interpolation="nearest")
        axis.set_title(text, fontsize=7)
    _write(figure, path)
