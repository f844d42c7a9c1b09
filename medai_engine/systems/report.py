"""One page that a clinician can read: self-contained HTML, no network, no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..inspect import page
from .subgroups import subgroup_rows

__all__ = ["score_lines", "write_report", "write_synthesis_report"]

MEANING = {
    "accuracy": "share of samples that were called rightly",
    "sensitivity": "share of the sick that were found",
    "specificity": "share of the healthy that were cleared",
    "ppv": "share of alarms that were right",
    "npv": "share of all-clears that were right",
    "f1": "balance of found and right alarms",
    "auc": "how often a sick one gets a higher risk than a healthy one",
    "auprc": "area under precision and recall",
    "brier": "mean squared error of the risks; 0 is perfect",
    "log_loss": "surprise by the outcomes; 0 is perfect",
    "calibration_error": "how far risks are from observed shares",
    "calibration_slope": "1 is right; below, risks are too extreme",
    "mae": "mean absolute error", "rmse": "root mean squared error",
    "r2": "share of the spread that is explained",
    "mse": "mean squared error of a pixel",
    "explained": "share of the spread around the mean image that comes back",
    "explained_by_components": "the same by principal components, as many as the code has numbers",
}
FIGURES = {"evaluation.png": "What the held-out samples say",
           "samples.png": "Samples", "history.png": "How it was trained"}


def score_lines(scores: dict[str, Any]) -> list[str]:
    """Return scores with their intervals as lines for a terminal."""
    width = max(len(name) for name in scores)
    return [f"  {name.replace('_', ' '):{width}}  {s.value:9.4f}  (95 %: {s.low:.4g} to "
            f"{s.high:.4g})" for name, s in scores.items()]


def write_report(run: Any, scores: dict[str, Any] | None = None) -> None:
    """Write report.html into a run's folder; ``scores`` where they are not the run's."""
    config = run.config
    options = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in config["options"].items()
                        if v is not None and v is not False)
    counts = ", ".join(f"{n} {part}" for part, n in config["patients"].items())
    classes = f" ({', '.join(run.classes)})" if run.classes else ""
    notes = [page.note(note) for note in run.notes]
    if run.interrupted:
        notes.append(page.note("The training was interrupted; this is its best epoch so far."))
    rows = [(name.replace("_", " "), f"{s.value:.3f}", f"{s.low:.3f} to {s.high:.3f}",
             MEANING.get(name.partition("[")[0], "")) for name, s in (scores or run.scores).items()]
    figures = [page.section(text, page.image(run.folder / name, text))
               for name, text in FIGURES.items() if (run.folder / name).is_file()]
    page.save(run.folder / "report.html", page.page(
        run.system.title, *notes,
        page.section("Scores on held-out samples, which training never saw", page.table(
            ("score", "value", "95 % interval", "meaning"), rows, right=(1, 2))),
        *[_subgroup(name, groups) for name, groups in run.subgroups.items()],
        *figures,
        page.section("How to read this", "An interval says where the score would lie with other "
                     "samples of the same kind. It does not cover patients of another hospital, "
                     "scanner or time. This is no medical device: a prediction is not a "
                     "diagnosis."),
        page.Html(f"<p class=lead>{page.html(f'Settings: {options}.')} Same data and settings give "
                  "the same weights and scores, on any number of threads.</p>"),
        lead=f"{config['source']}; predicted: {config['target']}{classes}. Samples: {counts}."))


def _subgroup(name: str, groups: dict[str, Any]) -> page.Html:
    """Return the scores of the groups of one column."""
    header, rows = subgroup_rows(groups)
    return page.section(
        f"By {name}", page.table(header, rows, right=range(1, len(header) - 1)),
        "Groups whose intervals overlap may well be served alike; a group that is flagged has too "
        "few samples to tell.")


def write_synthesis_report(folder: Path, config: dict[str, Any], scores: dict[str, Any],
                           notes: list[str]) -> None:
    """Write report.html of a generator: what its samples are worth, and whether they are copies."""
    useful, private = scores["usefulness"], scores["privacy"]
    rows = [] if useful is None else [
        ("accuracy of a classifier that saw samples alone, on held-out real cases",
         f"{useful['accuracy_of_samples']:.3f}"),
        ("the same of one that saw the real training cases", f"{useful['accuracy_of_real']:.3f}")]
    rows += [
        (f"copies of training cases among {private['samples']} samples", f"{private['copies']}"),
        ("median distance of a sample to the nearest training case",
         f"{private['distance_to_training']:.3f}"),
        ("the same to the nearest held-out case, which training never saw",
         f"{private['distance_to_held_out']:.3f}"),
        ("how well that distance tells training cases from others (0.5: not at all)",
         f"{private['membership_auc']:.3f}")]
    parts = [page.note(note) for note in notes]
    if scores["interrupted"]:
        parts.append(page.note("The training was interrupted; this is its last whole epoch."))
    if private["copies"]:
        parts.append(page.note(f"{private['copies']} samples lie on training cases: do not give "
                               "samples of this generator away."))
    options = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in config["options"].items()
                        if v is not None)
    figures = [page.section(text, page.image(folder / name, text)) for name, text in (
        ("samples.png", "Samples by class"), ("history.png", FIGURES["history.png"]))
        if (folder / name).is_file()]
    page.save(folder / "report.html", page.page(
        "Synthetic cases", *parts,
        page.section("Are the samples useful, and are they safe?",
                     page.table(("what", "value"), rows, right=(1,))), *figures,
        page.section("How to read this", "Samples are useful if a classifier that learned from "
                     "them alone works on real cases. They are safe if they lie no nearer to the "
                     "training cases than to others: then they say little about a single patient. "
                     "This is evidence, not proof of privacy."),
        page.Html(f"<p class=lead>{page.html(f'Settings: {options}.')}</p>"),
        lead=f"{config['source']}; {config['classes']} classes."))
