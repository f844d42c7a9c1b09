"""One page that a clinician can read: self-contained HTML, no network, no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..inspect import page
from .subgroups import subgroup_rows

__all__ = ["floor_line", "score_lines", "write_report", "write_synthesis_report"]

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
    "calibration_slope": "1 is right; below, risks are too extreme; above, too timid",
    "mae": "mean absolute error", "rmse": "root mean squared error",
    "r2": "share of the spread that is explained",
    "mse": "mean squared error of a pixel",
    "explained": "share of the spread around the mean image that comes back",
    "explained_by_components": "the same by principal components, as many as the code has numbers",
}
OF_CLASS = {"sensitivity": "share of this class that was called so",
            "ppv": "share of those called so that are of this class"}
FIGURES = {"subgroups.png": "Groups side by side (number of samples; grey: too few to judge)",
           "evaluation.png": "What these samples say",
           "samples.png": "Samples", "history.png": "How it was trained"}


def score_lines(scores: dict[str, Any]) -> list[str]:
    """Return scores with their intervals as lines for a terminal."""
    width = max(len(name) for name in scores)
    return [f"  {name.replace('_', ' '):{width}}  {s.value:9.4f}  (95 %: {s.low:.4g} to "
            f"{s.high:.4g})" for name, s in scores.items()]


def floor_line(name: str, reached: float, floor: float) -> str:
    """Return whether a score on a system's own data is what it should be there."""
    return (f"  {name} {reached:.3f} is {'above' if reached >= floor else 'BELOW'} the floor of "
            f"{floor} for this data")


def write_report(run: Any, scores: dict[str, Any] | None = None,
                 of: str = "held-out samples, which training never saw") -> None:
    """Write report.html into a run's folder.

    Parameters
    ----------
    run : Run, Risk or Treatment
        Whatever has their ``folder``, ``config``, ``classes``, ``notes`` and ``subgroups``.
    scores : dict of str to Score, optional
        Where they are not the run's.
    of : str
        What was scored.
    """
    config = run.config
    counts = ", ".join(f"{n} {part}" for part, n in config["patients"].items())
    classes = f" ({', '.join(run.classes)})" if run.classes else ""
    interrupted = "The training was interrupted; this is its best epoch so far."
    notes = _notes([*[interrupted] * run.interrupted, *run.notes])
    rows = [(name.replace("_", " "), _number(s.value), f"{_number(s.low)} to {_number(s.high)}",
             _meaning(name)) for name, s in (scores or run.scores).items()]
    page.save(run.folder / "report.html", page.page(
        run.system.title, *notes,
        page.section(f"Scores on {of}", page.table(
            ("score", "value", "95 % interval", "meaning"), rows, right=(1, 2))),
        *_subgroups(run.subgroups), *_figures(run.folder, FIGURES),
        page.section("How to read this", "An interval says where the score would lie with other "
                     "samples of the same kind. It does not cover patients of another hospital, "
                     "scanner or time. This is no medical device: a prediction is not a "
                     "diagnosis."),
        page.Html(f"<p class=lead>{_settings(config)} Same data and settings give the same "
                  "weights and scores, on any number of threads.</p>"),
        lead=f"{config['source']}; predicted: {config['target']}{classes}. Samples: {counts}."))


def _number(value: float) -> str:
    """Return a value with three decimals, or two digits where that would show none."""
    return f"{value:.3f}" if abs(value) >= 0.01 or not value else f"{value:.2g}"


def _meaning(score: str) -> str:
    """Return what a score says; of one class where it names it."""
    name, of_class, _ = score.partition("[")
    return (OF_CLASS if of_class else MEANING).get(name, "")


def _notes(notes: list[str]) -> list[page.Html]:
    """Return what the reader should know first, in one box."""
    lines = "<br>".join(page.html(note) for note in notes)
    return [page.note(page.Html(lines))] * bool(notes)


def _settings(config: dict[str, Any]) -> page.Html:
    """Return the options of a run in a sentence."""
    told = [f"{name.replace('_', ' ')} "
            f"{', '.join(map(str, value)) if isinstance(value, list) else value}"
            for name, value in config["options"].items()
            if value is not None and value is not False]
    return page.html(f"Settings: {'; '.join(told)}.")


def _figures(folder: Path, titles: dict[str, str]) -> list[page.Html]:
    """Return those of the figures that were drawn."""
    return [page.section(text, page.figure(page.image(folder / name, text)))
            for name, text in titles.items() if (folder / name).is_file()]


def _subgroups(found: dict[str, Any]) -> list[page.Html]:
    """Return the scores of the groups of each column."""
    parts = []
    for name, groups in found.items():
        header, rows = subgroup_rows(groups)
        rows = [[cell.replace(" ", "\N{NO-BREAK SPACE}") for cell in row] for row in rows]
        parts.append(page.section(f"By {name}", page.table(header, rows,
                                                           right=range(1, len(header) - 1))))
    if parts:
        parts.append(page.Html("<p class=dim>Value with its 95 % interval. Groups whose intervals "
                               "overlap may well be served alike; of a group that is flagged "
                               "there are too few samples to tell.</p>"))
    return parts


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
    told = [*["The training was interrupted; this is its last whole epoch."]
            * scores["interrupted"], *notes]
    if private["copies"]:
        told.append(f"{private['copies']} samples lie on training cases: do not give samples of "
                    "this generator away.")
    figures = _figures(folder, {"samples.png": "Samples by class",
                                "history.png": FIGURES["history.png"]})
    page.save(folder / "report.html", page.page(
        "Synthetic cases", *_notes(told),
        page.section("Are the samples useful, and are they safe?",
                     page.table(("what", "value"), rows, right=(1,))), *figures,
        page.section("How to read this", "Samples are useful if a classifier that learned from "
                     "them alone works on real cases. They are safe if they lie no nearer to the "
                     "training cases than to others: then they say little about a single patient. "
                     "This is evidence, not proof of privacy."),
        page.Html(f"<p class=lead>{_settings(config)}</p>"),
        lead=f"{config['source']}; {config['classes']} classes."))
