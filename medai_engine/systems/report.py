"""One page that a clinician can read: self-contained HTML, no network, no script."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

from ..io.files import write_atomically

__all__ = ["score_lines", "write_report"]

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
}
FIGURES = {"evaluation.png": "What the held-out samples say",
           "samples.png": "Samples", "history.png": "How it was trained"}
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #ddd;vertical-align:top}td.n{text-align:right;font-variant-numeric:
tabular-nums;white-space:nowrap}img{max-width:100%;border:1px solid #eee}
.lead{color:#555}.note{background:#fff6e5;padding:.5rem .8rem;border-left:4px solid #d9601a;
margin:.4rem 0}
"""


def score_lines(scores: dict[str, Any]) -> list[str]:
    """Return scores with their intervals as lines for a terminal."""
    width = max(len(name) for name in scores)
    return [f"  {name.replace('_', ' '):{width}}  {s.value:9.4f}  (95 %: {s.low:.4g} to "
            f"{s.high:.4g})" for name, s in scores.items()]


def write_report(run: Any) -> None:
    """Write report.html into a run's folder."""
    config = run.config
    options = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in config["options"].items()
                        if v is not None)
    counts = ", ".join(f"{n} {part}" for part, n in config["patients"].items())
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td class=n>{s.value:.3f}</td>"
        f"<td class=n>{s.low:.3f} to {s.high:.3f}</td>"
        f"<td>{escape(MEANING.get(name.partition('[')[0], ''))}</td></tr>"
        for name, s in run.scores.items())
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in run.notes)
    if run.interrupted:
        notes += "<p class=note>The training was interrupted; this is its best epoch so far.</p>"
    figures = "".join(f"<h2>{text}</h2><img alt='{text}' src='{_embedded(run.folder / name)}'>"
                      for name, text in FIGURES.items() if (run.folder / name).is_file())
    write_atomically(run.folder / "report.html", f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(run.system.title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>
<h1>{escape(run.system.title)}</h1>
<p class=lead>{escape(config["source"])}; predicted: {escape(config["target"])}
{f"({escape(', '.join(run.classes))})" if run.classes else ""}. Samples: {counts}.</p>
{notes}
<h2>Scores on held-out samples, which training never saw</h2>
<table><tr><th>score</th><th>value</th><th>95 % interval</th><th>meaning</th></tr>{rows}</table>
{figures}
<h2>How to read this</h2>
<p>An interval says where the score would lie with other samples of the same kind. It does not
cover patients of another hospital, scanner or time. This is no medical device: a prediction is
not a diagnosis.</p>
<p class=lead>Settings: {escape(options)}. Same data and settings give the same weights and
scores, on any number of threads.</p>
</body></html>
""".encode())


def _embedded(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
