"""Figures of a run and of its predictions (extra ``plot``)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import extra
from ..io.files import write_atomically
from .evaluation import wilson_interval
from .metrics import roc_auc, roc_curve

if TYPE_CHECKING:
    from .history import History

__all__ = ["plot_history", "plot_predictions"]

TRAIN, HELD, QUIET = "#1f5a8c", "#d9601a", "#8a8a8a"  # told apart without colour vision, too


def plot_history(history: History, path: str | Path, title: str = "",
                 labels: Mapping[str, str] | None = None) -> None:
    """Draw loss and metrics over the epochs, training and validation in one panel each.

    A line marks the epoch with the least validation loss.

    Parameters
    ----------
    history : History
    path : str
        The PNG to write.
    title : str
        Over the figure.
    labels : mapping, optional
        What to write at the vertical axes, with units, by name of the values.
    """
    skipped = {"epoch", "lr", "seconds"}
    names = [n for n in history.names if n not in skipped and not n.startswith("val_")]
    figure, axes = _figure(1, len(names), title)
    epochs = np.array(history["epoch"])
    labels = {**LABELS, **(labels or {})}
    best = history.best("val_loss") if "val_loss" in history.names else None
    for axis, name in zip(axes, names, strict=True):
        marker = "o" if len(epochs) < 3 else None
        axis.plot(epochs, history[name], color=TRAIN, label="training", marker=marker)
        if f"val_{name}" in history.names:
            held = history[f"val_{name}"]
            axis.plot(epochs, held, color=HELD, label="validation", marker=marker)
            if best is not None:
                axis.axvline(epochs[best], color=QUIET, linestyle=":", linewidth=1)
                axis.plot(epochs[best], held[best], "o", color=HELD, markersize=5)
                axis.set_title(f"{held[best]:.3g} at epoch {epochs[best]} "
                               "(least validation loss)", fontsize=9, color="#555555")
        axis.set(xlabel="epoch", ylabel=labels.get(name, name.replace("_", " ")))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(loc="best")
    _write(figure, path)


LABELS = {"loss": "mean loss", "auc": "area under the ROC curve",
          "roc_auc": "area under the ROC curve", "accuracy": "accuracy (share that is right)"}


def plot_predictions(y: Any, p: Any, path: str | Path, names: tuple[str, str] = ("0", "1"),
                     title: str = "") -> None:
    """Draw what a clinic asks of a risk: the ROC curve, the calibration, the risks by outcome.

    Parameters
    ----------
    y : array of shape (N,)
        Outcomes, 0 and 1.
    p : array of shape (N,)
        Predicted probability of 1.
    path : str
        The PNG to write.
    names : pair of str
        What 0 and 1 are called.
    title : str
        Over the figure.
    """
    y, p = np.asarray(y), np.asarray(p, np.float64)
    figure, (roc, calibration, risks) = _figure(1, 3, title)
    fpr, tpr, _ = roc_curve(y, p)
    roc.plot([0, 1], [0, 1], color=QUIET, linestyle=":", label="chance")
    roc.plot(fpr, tpr, color=TRAIN, drawstyle="steps-post" if len(set(p)) == len(p) else None,
             label=f"model, AUC {roc_auc(y, p):.3f}", clip_on=False)
    roc.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC curve", aspect="equal",
            xlim=(0, 1), ylim=(0, 1))
    roc.legend(loc="lower right")

    calibration.plot([0, 1], [0, 1], color=QUIET, linestyle=":", label="perfect")
    bins = np.minimum((p * 5).astype(int), 4)
    full = [bins == b for b in range(5) if (bins == b).any()]
    mean, share = (np.array([a[b].mean() for b in full]) for a in (p, y))
    ends = np.array([wilson_interval(s, int(b.sum())) for s, b in zip(share, full, strict=True)]).T
    calibration.errorbar(mean, share, np.abs(ends - share), fmt="o", color=TRAIN, capsize=3,
                         clip_on=False, label="steps of 0.2, 95 % interval")
    for b, at in zip(full, mean, strict=True):
        calibration.annotate(f"n={b.sum()}", (at, 1.02), ha="center", fontsize=8, color="#555555",
                             annotation_clip=False)
    calibration.set(xlabel=f"predicted risk of {names[1]}", ylabel=f"observed share of {names[1]}",
                    aspect="equal", xlim=(0, 1), ylim=(0, 1))
    calibration.set_title("calibration", pad=16)
    calibration.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)

    for value, colour in ((0, TRAIN), (1, HELD)):
        risks.hist(p[y == value], bins=np.linspace(0, 1, 21).tolist(), color=colour, alpha=0.65,
                   label=f"{names[value]} ({(y == value).sum()})")
    risks.axvline(0.5, color=QUIET, linestyle=":", label="decision at 0.5")
    risks.set(xlabel=f"predicted risk of {names[1]}", ylabel="patients", title="risk by outcome",
              xlim=(0, 1))
    risks.yaxis.get_major_locator().set_params(integer=True)
    risks.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False,
                 columnspacing=1.0, handlelength=1.2)
    _write(figure, path)


def _figure(rows: int, columns: int, title: str) -> tuple[Any, Any]:
    """Return a figure that needs no display, and its axes in one row."""
    extra("matplotlib", "plot", "plots")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * columns, 3.8 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#e4e4e4", linewidth=0.6)
        axis.set_axisbelow(True)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, axes


def _write(figure: Any, path: str | Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())
